// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {Lockups} from "../eth/Lockups.sol";
import {ServiceProviderFactory} from "../eth/ServiceProviderFactory.sol";
import {Staking} from "../eth/Staking.sol";
import {Fixture} from "./Fixture.sol";

contract ServiceProviderFactoryTest is Fixture {
    string private constant ONE = "https://one.example";
    string private constant TWO = "https://two.example";
    address private constant WALLET = address(0xa11e7);

    function testRegisteringTakesStakeAndNumbersTheService() public {
        same(factory.register.selector, bytes4(0x4fe84c09), "selector");
        expectEvent(address(factory));
        emit ServiceProviderFactory.ServiceRegistered(CONTENT, 1, ADA, ONE, WALLET);
        expectEvent(address(staking));
        emit Staking.StakeChanged(ADA, CONTENT_MIN, 0);
        same(register(ADA, CONTENT, ONE, CONTENT_MIN, WALLET), 1, "first id");
        same(register(ADA, CONTENT, TWO, CONTENT_MIN, WALLET), 2, "second id");
        same(register(BOB, DISCOVERY, "https://three.example", CONTENT_MIN, WALLET), 1, "ids count per type");

        (address operator, string memory endpoint, uint256 number, address wallet) =
            factory.getServiceEndpointInfo(CONTENT, 1);
        same(operator, ADA, "operator");
        same(endpoint, ONE, "endpoint");
        same(number, block.number, "block");
        same(wallet, WALLET, "wallet");
        same(factory.getTotalServiceTypeProviders(CONTENT), 2, "highest id");
        same(factory.getServiceProviderIdFromEndpoint(CONTENT, TWO), 2, "id by endpoint");
        same(factory.getServiceProviderIdsFromAddress(ADA, CONTENT).length, 2, "ids by operator");
        checkDetails(ADA, 2 * CONTENT_MIN, 2 * CONTENT_MIN, 2 * CONTENT_MIN, 2 * CONTENT_MAX, 2);
    }

    function testOneEndpointServesAllTypesOfOneOperator() public {
        registerAllThree(ADA, ONE);
        same(factory.getServiceProviderIdFromEndpoint(CONTENT, ONE), 1, "content");
        same(factory.getServiceProviderIdFromEndpoint(DISCOVERY, ONE), 1, "discovery");
        same(factory.getServiceProviderIdFromEndpoint(IDENTITY, ONE), 1, "identity");
        checkDetails(ADA, 600_000 ether, 600_000 ether, 600_000 ether, 7_000_000 ether, 3);
    }

    function testAnUnknownOrRemovedTypeIsRefused() public {
        vm.expectRevert(
            abi.encodeWithSelector(ServiceProviderFactory.ServiceTypeIsUnknown.selector, bytes32("other-node"))
        );
        register(ADA, "other-node", ONE, CONTENT_MIN, WALLET);
        vm.prank(GOVERNANCE);
        types.removeServiceType(CONTENT);
        vm.expectRevert(abi.encodeWithSelector(ServiceProviderFactory.ServiceTypeIsUnknown.selector, CONTENT));
        register(ADA, CONTENT, ONE, CONTENT_MIN, WALLET);
    }

    function testAServiceOfARemovedTypeCanBeDeregistered() public {
        register(ADA, CONTENT, ONE, CONTENT_MIN, WALLET);
        vm.prank(GOVERNANCE);
        types.removeServiceType(CONTENT);
        vm.prank(ADA);
        factory.deregister(CONTENT, ONE);
        checkDetails(ADA, CONTENT_MIN, 0, 0, 0, 0);
    }

    function testAnEndpointIsTakenOncePerType() public {
        register(ADA, CONTENT, ONE, CONTENT_MIN, WALLET);
        bytes memory refusal = abi.encodeWithSelector(ServiceProviderFactory.EndpointIsTaken.selector, CONTENT, ONE);
        vm.expectRevert(refusal);
        register(ADA, CONTENT, ONE, CONTENT_MIN, WALLET);
        vm.expectRevert(refusal);
        register(BOB, CONTENT, ONE, CONTENT_MIN, WALLET);
    }

    function testAnEndpointBelongsToOneOperator() public {
        register(ADA, CONTENT, ONE, CONTENT_MIN, WALLET);
        register(ADA, DISCOVERY, ONE, CONTENT_MIN, WALLET);
        bytes memory refusal =
            abi.encodeWithSelector(ServiceProviderFactory.EndpointIsAnotherOperators.selector, ONE, ADA);
        vm.expectRevert(refusal);
        register(BOB, IDENTITY, ONE, CONTENT_MIN, WALLET);

        vm.prank(ADA);
        factory.deregister(CONTENT, ONE);
        vm.expectRevert(refusal);
        register(BOB, CONTENT, ONE, CONTENT_MIN, WALLET);

        vm.prank(ADA);
        factory.deregister(DISCOVERY, ONE);
        same(register(BOB, CONTENT, ONE, CONTENT_MIN, WALLET), 2, "a number never comes back");
    }

    function testSpellingsOfOneEndpointAreOne() public {
        register(ADA, CONTENT, "https://one.example", 2 * CONTENT_MIN, address(1));
        string[4] memory spellings =
            ["https://one.example/", "HTTPS://one.example", "https://One.EXAMPLE", "httpS://onE.example/"];
        for (uint256 i = 0; i < 4; i++) {
            same(factory.getServiceProviderIdFromEndpoint(CONTENT, spellings[i]), 1, spellings[i]);
            vm.prank(BOB);
            vm.expectRevert(
                abi.encodeWithSelector(ServiceProviderFactory.EndpointIsAnotherOperators.selector, spellings[i], ADA)
            );
            factory.register(DISCOVERY, spellings[i], CONTENT_MIN, address(2));
        }
        vm.startPrank(ADA);
        factory.updateEndpoint(CONTENT, spellings[3], spellings[2]);
        (, string memory endpoint,,) = factory.getServiceEndpointInfo(CONTENT, 1);
        same(endpoint, spellings[2], "it is kept as it was given");
        factory.deregister(CONTENT, spellings[0]);
        same(factory.getServiceProviderIdFromEndpoint(CONTENT, spellings[2]), 0, "free");
    }

    function testPathsAndPortsTellEndpointsApart() public {
        string[8] memory different = [
            "https://one.example",
            "http://one.example",
            "https://one.example:443",
            "https://one.example//",
            "https://one.example/A",
            "https://one.example/a",
            "https://one.example?A",
            "https://one.example#A"
        ];
        for (uint256 i = 0; i < 8; i++) {
            register(ADA, CONTENT, different[i], CONTENT_MIN, address(1));
        }
        same(factory.getServiceProviderIdFromEndpoint(CONTENT, "https://ONE.example?A"), 7, "query");
        same(factory.getServiceProviderIdFromEndpoint(CONTENT, "https://one.example?a"), 0, "query");
        same(factory.getServiceProviderIdFromEndpoint(CONTENT, "https://one.example/A/"), 5, "path");
    }

    /// An operator moves its service to whatever endpoint somebody is about to register.
    function testASquatterTakesAFewEndpoints() public {
        register(BOB, CONTENT, "https://bob.example", CONTENT_MIN, address(2));
        string memory before = "https://bob.example";
        uint256 since = block.number;
        for (uint256 i = 0; i < 3; i++) {
            string memory wanted = string.concat("https://ada.example/", decimal(i));
            if (i == 2) {
                vm.prank(BOB);
                vm.expectRevert(
                    abi.encodeWithSelector(ServiceProviderFactory.TooManyEndpoints.selector, 3, since + LOCKUP)
                );
                factory.updateEndpoint(CONTENT, before, wanted);
                break;
            }
            vm.prank(BOB);
            factory.updateEndpoint(CONTENT, before, wanted);
            before = wanted;
            vm.prank(ADA);
            vm.expectRevert(abi.encodeWithSelector(ServiceProviderFactory.EndpointIsTaken.selector, CONTENT, wanted));
            factory.register(CONTENT, wanted, CONTENT_MIN, address(1));
        }
        // Nor does it help to give the service up and register it again.
        vm.startPrank(BOB);
        factory.deregister(CONTENT, before);
        factory.cancelDecreaseStakeRequest();
        vm.expectRevert(abi.encodeWithSelector(ServiceProviderFactory.TooManyEndpoints.selector, 2, since + LOCKUP));
        factory.register(CONTENT, "https://ada.example/2", 0, address(2));
        vm.stopPrank();
        register(ADA, CONTENT, "https://ada.example/2", CONTENT_MIN, address(1));
        vm.roll(since + LOCKUP);
        register(BOB, CONTENT, "https://bob.example", 0, address(2));
    }

    function testAnOperatorGrowsAsFastAsItLikes() public {
        for (uint256 i = 0; i < 15; i++) {
            register(ADA, CONTENT, string.concat("https://ada.example/", decimal(i)), CONTENT_MIN, address(1));
        }
    }

    function testAnEndpointHasALength() public {
        uint256 lengthMax = factory.ENDPOINT_BYTES_MAX();
        vm.expectRevert(
            abi.encodeWithSelector(ServiceProviderFactory.EndpointLengthIsWrong.selector, 0, lengthMax)
        );
        register(ADA, CONTENT, "", CONTENT_MIN, WALLET);
        vm.expectRevert(
            abi.encodeWithSelector(ServiceProviderFactory.EndpointLengthIsWrong.selector, lengthMax + 1, lengthMax)
        );
        register(ADA, CONTENT, text(lengthMax + 1), CONTENT_MIN, WALLET);
        register(ADA, CONTENT, text(lengthMax), CONTENT_MIN, WALLET);
    }

    function testAWalletMustBeGiven() public {
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "delegate owner wallet"));
        register(ADA, CONTENT, ONE, CONTENT_MIN, address(0));
    }

    function testStakeMustReachTheMinimaAndNotPassTheMaxima(uint96 amount) public {
        uint256 stake = uint256(amount) % 4_000_000 ether;
        bool fine = stake >= CONTENT_MIN && stake <= CONTENT_MAX;
        if (!fine) expectOutOfBounds(stake, CONTENT_MIN, CONTENT_MAX);
        register(ADA, CONTENT, ONE, stake, WALLET);
        same(staking.totalStakedFor(ADA), fine ? stake : 0, "staked");
    }

    function testAFirstServiceWithoutStakeIsRefused() public {
        expectOutOfBounds(0, CONTENT_MIN, CONTENT_MAX);
        register(ADA, CONTENT, ONE, 0, WALLET);
    }

    function testEachServiceAddsToTheMinimum() public {
        register(ADA, CONTENT, ONE, CONTENT_MIN, WALLET);
        expectOutOfBounds(CONTENT_MIN + 1, 2 * CONTENT_MIN, 5_000_000 ether);
        register(ADA, DISCOVERY, ONE, 1, WALLET);
        vm.prank(ADA);
        factory.increaseStake(CONTENT_MIN);
        register(ADA, DISCOVERY, ONE, 0, WALLET);
        checkDetails(ADA, 2 * CONTENT_MIN, 2 * CONTENT_MIN, 2 * CONTENT_MIN, 5_000_000 ether, 2);
    }

    function testRegisteringNeedsThePeerRegistry() public {
        ServiceProviderFactory fresh = newFactory(address(votes), LOCKUP, CUT_LOCKUP);
        vm.expectRevert(abi.encodeWithSelector(ServiceProviderFactory.PeerRegistryIsNotSet.selector));
        fresh.register(CONTENT, ONE, CONTENT_MIN, WALLET);
    }

    function testDeregisteringTheLastServiceRequestsTheWholeStake() public {
        register(ADA, CONTENT, ONE, CONTENT_MIN + 7, WALLET);
        expectEvent(address(factory));
        emit ServiceProviderFactory.ServiceDeregistered(CONTENT, 1, ADA);
        expectEvent(address(factory));
        emit ServiceProviderFactory.DecreaseStakeRequested(ADA, CONTENT_MIN + 7, block.number + LOCKUP);
        vm.prank(ADA);
        same(factory.deregister(CONTENT, ONE), 1, "its number");

        (address operator, string memory endpoint,, address wallet) = factory.getServiceEndpointInfo(CONTENT, 1);
        same(operator, address(0), "operator");
        same(endpoint, "", "endpoint");
        same(wallet, address(0), "wallet");
        same(factory.getServiceProviderIdFromEndpoint(CONTENT, ONE), 0, "id by endpoint");
        same(factory.getServiceProviderIdsFromAddress(ADA, CONTENT).length, 0, "ids by operator");
        checkPending(ADA, CONTENT_MIN + 7, block.number + LOCKUP);
        checkDetails(ADA, CONTENT_MIN + 7, 0, 0, 0, 0);
    }

    function testDeregisteringRequestsOnlyWhatTheRestDoesNotAllow() public {
        register(ADA, CONTENT, ONE, CONTENT_MAX, WALLET);
        register(ADA, DISCOVERY, ONE, 1_000_000 ether, WALLET);
        register(ADA, IDENTITY, ONE, 0, WALLET);
        vm.prank(ADA);
        factory.deregister(IDENTITY, ONE);
        checkPending(ADA, 0, 0);
        vm.prank(ADA);
        factory.deregister(CONTENT, ONE);
        checkPending(ADA, 2_000_000 ether, block.number + LOCKUP);
        checkDetails(ADA, 4_000_000 ether, 2_000_000 ether, CONTENT_MIN, 2_000_000 ether, 1);
    }

    function testALargerPendingRequestOutlivesADeregistration() public {
        register(ADA, CONTENT, ONE, CONTENT_MAX, WALLET);
        register(ADA, DISCOVERY, ONE, 0, WALLET);
        vm.prank(ADA);
        uint256 unlockBlock = factory.requestDecreaseStake(2_500_000 ether);
        vm.roll(block.number + 10);
        vm.prank(ADA);
        factory.deregister(CONTENT, ONE);
        checkPending(ADA, 2_500_000 ether, unlockBlock);
    }

    function testOnlyTheOperatorChangesItsService() public {
        register(ADA, CONTENT, ONE, CONTENT_MIN, WALLET);
        bytes memory refusal =
            abi.encodeWithSelector(ServiceProviderFactory.CallerIsNotOperator.selector, BOB, ADA);
        vm.startPrank(BOB);
        vm.expectRevert(refusal);
        factory.deregister(CONTENT, ONE);
        vm.expectRevert(refusal);
        factory.updateEndpoint(CONTENT, ONE, TWO);
        vm.expectRevert(refusal);
        factory.updateDelegateOwnerWallet(CONTENT, ONE, BOB);
    }

    function testAnUnknownServiceCannotBeChanged() public {
        register(ADA, CONTENT, ONE, CONTENT_MIN, WALLET);
        vm.startPrank(ADA);
        bytes memory refusal = abi.encodeWithSelector(ServiceProviderFactory.ServiceIsUnknown.selector, CONTENT, TWO);
        vm.expectRevert(refusal);
        factory.deregister(CONTENT, TWO);
        vm.expectRevert(refusal);
        factory.updateEndpoint(CONTENT, TWO, ONE);
        vm.expectRevert(refusal);
        factory.updateDelegateOwnerWallet(CONTENT, TWO, BOB);
        vm.expectRevert(abi.encodeWithSelector(ServiceProviderFactory.ServiceIsUnknown.selector, DISCOVERY, ONE));
        factory.deregister(DISCOVERY, ONE);
    }

    function testAnEndpointMoves() public {
        register(ADA, CONTENT, ONE, CONTENT_MIN, WALLET);
        expectEvent(address(factory));
        emit ServiceProviderFactory.EndpointUpdated(CONTENT, 1, ADA, TWO);
        vm.prank(ADA);
        same(factory.updateEndpoint(CONTENT, ONE, TWO), 1, "its number");
        same(factory.getServiceProviderIdFromEndpoint(CONTENT, ONE), 0, "old");
        same(factory.getServiceProviderIdFromEndpoint(CONTENT, TWO), 1, "new");
        (, string memory endpoint,,) = factory.getServiceEndpointInfo(CONTENT, 1);
        same(endpoint, TWO, "endpoint");
        same(register(BOB, CONTENT, ONE, CONTENT_MIN, WALLET), 2, "the old endpoint is free");
    }

    function testAnEndpointDoesNotMoveOntoATakenOne() public {
        register(ADA, CONTENT, ONE, CONTENT_MIN, WALLET);
        register(BOB, CONTENT, TWO, CONTENT_MIN, WALLET);
        register(BOB, DISCOVERY, "https://three.example", CONTENT_MIN, WALLET);
        vm.startPrank(ADA);
        vm.expectRevert(abi.encodeWithSelector(ServiceProviderFactory.EndpointIsTaken.selector, CONTENT, TWO));
        factory.updateEndpoint(CONTENT, ONE, TWO);
        vm.expectRevert(
            abi.encodeWithSelector(
                ServiceProviderFactory.EndpointIsAnotherOperators.selector, "https://three.example", BOB
            )
        );
        factory.updateEndpoint(CONTENT, ONE, "https://three.example");
        vm.expectRevert(abi.encodeWithSelector(ServiceProviderFactory.EndpointLengthIsWrong.selector, 0, 256));
        factory.updateEndpoint(CONTENT, ONE, "");
    }

    function testTheWalletMoves() public {
        register(ADA, CONTENT, ONE, CONTENT_MIN, WALLET);
        vm.startPrank(ADA);
        vm.expectRevert(
            abi.encodeWithSelector(ServiceProviderFactory.DelegateOwnerWalletIsUnchanged.selector, WALLET)
        );
        factory.updateDelegateOwnerWallet(CONTENT, ONE, WALLET);
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "delegate owner wallet"));
        factory.updateDelegateOwnerWallet(CONTENT, ONE, address(0));

        expectEvent(address(factory));
        emit ServiceProviderFactory.DelegateOwnerWalletUpdated(CONTENT, 1, ADA, BOB);
        factory.updateDelegateOwnerWallet(CONTENT, ONE, BOB);
        (address operator, address wallet) = factory.getServiceWallets(CONTENT, 1);
        same(operator, ADA, "operator");
        same(wallet, BOB, "wallet");
    }

    function testStakeRisesToTheMaximum() public {
        register(ADA, CONTENT, ONE, CONTENT_MIN, WALLET);
        vm.startPrank(ADA);
        same(factory.increaseStake(CONTENT_MAX - CONTENT_MIN), CONTENT_MAX, "stake");
        expectOutOfBounds(CONTENT_MAX + 1, CONTENT_MIN, CONTENT_MAX);
        factory.increaseStake(1);
        vm.expectRevert(abi.encodeWithSelector(ServiceProviderFactory.AmountIsZero.selector));
        factory.increaseStake(0);
    }

    function testStakeWithoutAServiceIsRefused() public {
        vm.prank(ADA);
        expectOutOfBounds(1, 0, 0);
        factory.increaseStake(1);
    }

    function testADecreaseWaitsForItsLockup() public {
        register(ADA, CONTENT, ONE, CONTENT_MIN + 50, WALLET);
        uint256 unlockBlock = block.number + LOCKUP;
        expectEvent(address(factory));
        emit ServiceProviderFactory.DecreaseStakeRequested(ADA, 20, unlockBlock);
        vm.startPrank(ADA);
        same(factory.requestDecreaseStake(20), unlockBlock, "unlock block");
        checkDetails(ADA, CONTENT_MIN + 50, CONTENT_MIN + 30, CONTENT_MIN, CONTENT_MAX, 1);
        vm.expectRevert(
            abi.encodeWithSelector(ServiceProviderFactory.DecreaseIsPending.selector, 20, unlockBlock)
        );
        factory.requestDecreaseStake(1);

        vm.roll(unlockBlock - 1);
        vm.expectRevert(
            abi.encodeWithSelector(ServiceProviderFactory.DecreaseIsLocked.selector, unlockBlock, unlockBlock - 1)
        );
        factory.decreaseStake();

        vm.roll(unlockBlock);
        uint256 before = token.balanceOf(ADA);
        expectEvent(address(factory));
        emit ServiceProviderFactory.StakeDecreased(ADA, 20);
        same(factory.decreaseStake(), CONTENT_MIN + 30, "stake");
        same(token.balanceOf(ADA), before + 20, "given back");
        checkPending(ADA, 0, 0);
        vm.expectRevert(abi.encodeWithSelector(ServiceProviderFactory.NoDecreaseIsPending.selector, ADA));
        factory.decreaseStake();
    }

    function testADecreaseStaysWithinTheBounds() public {
        register(ADA, CONTENT, ONE, CONTENT_MIN + 50, WALLET);
        vm.startPrank(ADA);
        expectOutOfBounds(CONTENT_MIN - 1, CONTENT_MIN, CONTENT_MAX);
        factory.requestDecreaseStake(51);
        expectOutOfBounds(0, CONTENT_MIN, CONTENT_MAX);
        factory.requestDecreaseStake(CONTENT_MIN + 50);
        vm.expectRevert(
            abi.encodeWithSelector(
                ServiceProviderFactory.StakeIsTooSmall.selector, CONTENT_MIN + 50, CONTENT_MIN + 51
            )
        );
        factory.requestDecreaseStake(CONTENT_MIN + 51);
        vm.expectRevert(abi.encodeWithSelector(ServiceProviderFactory.AmountIsZero.selector));
        factory.requestDecreaseStake(0);
    }

    function testLockedStakeDoesNotCountForANewService() public {
        register(ADA, CONTENT, ONE, 2 * CONTENT_MIN, WALLET);
        vm.prank(ADA);
        factory.requestDecreaseStake(CONTENT_MIN);
        expectOutOfBounds(CONTENT_MIN, 2 * CONTENT_MIN, 5_000_000 ether);
        register(ADA, DISCOVERY, ONE, 0, WALLET);
    }

    function testADecreaseCanBeCancelled() public {
        register(ADA, CONTENT, ONE, CONTENT_MIN + 50, WALLET);
        vm.startPrank(ADA);
        vm.expectRevert(abi.encodeWithSelector(ServiceProviderFactory.NoDecreaseIsPending.selector, ADA));
        factory.cancelDecreaseStakeRequest();
        factory.requestDecreaseStake(50);
        expectEvent(address(factory));
        emit ServiceProviderFactory.DecreaseStakeRequestCancelled(ADA, 50);
        factory.cancelDecreaseStakeRequest();
        checkPending(ADA, 0, 0);
        checkDetails(ADA, CONTENT_MIN + 50, CONTENT_MIN + 50, CONTENT_MIN, CONTENT_MAX, 1);
    }

    function testACancelledDecreaseMayNotPassTheMaximum() public {
        register(ADA, CONTENT, ONE, CONTENT_MAX, WALLET);
        vm.startPrank(ADA);
        factory.requestDecreaseStake(10);
        factory.increaseStake(10);
        expectOutOfBounds(CONTENT_MAX + 10, CONTENT_MIN, CONTENT_MAX);
        factory.cancelDecreaseStakeRequest();
    }

    function testAnOperatorComesBackWithTheStakeItHad() public {
        register(ADA, CONTENT, ONE, CONTENT_MIN, WALLET);
        vm.startPrank(ADA);
        factory.deregister(CONTENT, ONE);
        factory.cancelDecreaseStakeRequest();
        same(factory.register(CONTENT, ONE, 0, WALLET), 2, "a new number");
        checkDetails(ADA, CONTENT_MIN, CONTENT_MIN, CONTENT_MIN, CONTENT_MAX, 1);
    }

    /// Whatever an operator does, its active stake stays within its bounds and every token is accounted for.
    function testActiveStakeIsAlwaysWithinBounds(uint256[24] memory choices) public {
        uint256 supplied = token.balanceOf(ADA);
        for (uint256 i = 0; i < choices.length; i++) {
            act(choices[i]);
            vm.roll(block.number + 1 + choices[i] % 60);
            (uint256 staked,, bool valid, uint256 count, uint256 minStake, uint256 maxStake) =
                factory.getServiceProviderDetails(ADA);
            yes(count == 0 || valid, "active stake is out of bounds");
            yes(count != 0 || (!valid && minStake == 0 && maxStake == 0), "bounds without a service");
            same(staking.totalStakedFor(ADA), staked, "own stake is all there is");
            same(token.balanceOf(ADA) + staked, supplied, "tokens");
            same(token.balanceOf(address(staking)), staked, "tokens held");
        }
    }

    function testTheFactoryKnowsItsParts() public {
        same(factory.staking(), address(staking), "staking");
        same(factory.serviceTypeManager(), address(types), "types");
        same(factory.peerRegistry(), address(registry), "registry");
        same(factory.getDecreaseStakeLockupDuration(), LOCKUP, "lock-up");
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, STRANGER));
        factory.setPeerRegistry(STRANGER);
        vm.prank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "peer registry"));
        factory.setPeerRegistry(address(0));
        expectEvent(address(factory));
        emit ServiceProviderFactory.PeerRegistryChanged(address(registry), BOB);
        vm.prank(GOVERNANCE);
        factory.setPeerRegistry(BOB);
    }

    function testAnIncompleteDeploymentIsRefused() public {
        address implementation = address(new ServiceProviderFactory());
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "staking"));
        proxied(
            implementation,
            abi.encodeCall(
                ServiceProviderFactory.initialize, (GOVERNANCE, address(0), address(types), STRANGER, LOCKUP, LOCKUP)
            )
        );
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "service type manager"));
        proxied(
            implementation,
            abi.encodeCall(
                ServiceProviderFactory.initialize,
                (GOVERNANCE, address(staking), address(0), STRANGER, LOCKUP, LOCKUP)
            )
        );
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "voting governance"));
        proxied(
            implementation,
            abi.encodeCall(
                ServiceProviderFactory.initialize,
                (GOVERNANCE, address(staking), address(types), address(0), LOCKUP, LOCKUP)
            )
        );
        for (uint256 i = 0; i < 2; i++) {
            vm.expectRevert(abi.encodeWithSelector(Lockups.LockupIsZero.selector));
            proxied(
                implementation,
                abi.encodeCall(
                    ServiceProviderFactory.initialize,
                    (GOVERNANCE, address(staking), address(types), STRANGER, i, 1 - i)
                )
            );
        }
    }

    /// One attempt, which may be refused.
    function act(uint256 choice) private {
        bytes32 serviceType = [CONTENT, DISCOVERY, IDENTITY][(choice >> 8) % 3];
        string memory endpoint = (choice >> 16) % 2 == 0 ? ONE : TWO;
        uint256 amount = (choice >> 32) % 3_000_000 ether;
        vm.startPrank(ADA);
        uint256 kind = choice % 6;
        if (kind == 0) try factory.register(serviceType, endpoint, amount, WALLET) {} catch {}
        if (kind == 1) try factory.deregister(serviceType, endpoint) {} catch {}
        if (kind == 2) try factory.increaseStake(amount) {} catch {}
        if (kind == 3) try factory.requestDecreaseStake(amount) {} catch {}
        if (kind == 4) try factory.decreaseStake() {} catch {}
        if (kind == 5) try factory.cancelDecreaseStakeRequest() {} catch {}
        vm.stopPrank();
    }

    function registerAllThree(address operator, string memory endpoint) private {
        register(operator, CONTENT, endpoint, CONTENT_MIN, WALLET);
        register(operator, DISCOVERY, endpoint, CONTENT_MIN, WALLET);
        register(operator, IDENTITY, endpoint, CONTENT_MIN, WALLET);
    }

    function expectOutOfBounds(uint256 active, uint256 minStake, uint256 maxStake) private {
        vm.expectRevert(
            abi.encodeWithSelector(ServiceProviderFactory.StakeIsOutOfBounds.selector, active, minStake, maxStake)
        );
    }

    function checkPending(address operator, uint256 amount, uint256 unlockBlock) private view {
        (uint256 pending, uint256 unlocks) = factory.getPendingDecreaseStakeRequest(operator);
        same(pending, amount, "pending decrease");
        same(unlocks, unlockBlock, "unlock block");
    }

    function checkDetails(
        address operator,
        uint256 staked,
        uint256 active,
        uint256 minStake,
        uint256 maxStake,
        uint256 count
    ) private view {
        (uint256 nowStaked,, bool valid, uint256 nowCount, uint256 nowMin, uint256 nowMax) =
            factory.getServiceProviderDetails(operator);
        same(nowStaked, staked, "staked");
        same(staking.totalStakedFor(operator) - staking.lockedFor(operator), active, "active");
        same(staking.votingStakeFor(operator), active, "votes");
        same(nowMin, minStake, "minimum");
        same(nowMax, maxStake, "maximum");
        same(nowCount, count, "services");
        same(valid ? 1 : 0, count > 0 && active >= minStake && active <= maxStake ? 1 : 0, "valid bounds");
    }
}
