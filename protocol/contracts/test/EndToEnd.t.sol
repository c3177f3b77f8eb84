// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {SignedRecords} from "../common/SignedRecords.sol";
import {Governance} from "../eth/Governance.sol";
import {ServiceProviderFactory} from "../eth/ServiceProviderFactory.sol";
import {Staking} from "../eth/Staking.sol";
import {Deployment} from "./Deployment.sol";
import {Vm} from "./Vm.sol";

/// A next version of the staking contract, which tells so.
contract NextStaking is Staking {
    function version() external pure returns (uint256) {
        return 2;
    }
}

/// What the whole deployment does through governance alone.
contract EndToEndTest is Deployment {
    Vm.Wallet private peer;

    /// Ada has 600,000 of her own, Bob 300,000 and 100,000 that Cora delegated.
    function setUp() public override {
        super.setUp();
        peer = vm.createWallet(0xc0ffee);
        register(ADA, CONTENT, "https://ada.example", 600_000 ether, ADA);
        register(BOB, DISCOVERY, "https://bob.example", 300_000 ether, peer.addr);
        confirm(peer, DISCOVERY, 1);
        fund(CORA, 1_000_000 ether);
        vm.prank(CORA);
        delegates.delegateStake(BOB, 100_000 ether);
        next(1);
    }

    function testNobodyButGovernanceGovernsAnything() public {
        bytes32[] memory names = contractRegistry.getContractNames();
        same(names.length, 15, "contracts");
        for (uint256 i = 0; i < names.length; i++) {
            Governed governed = Governed(contractRegistry.getContract(names[i]));
            same(governed.governance(), address(governance), "governance");
            vm.prank(GOVERNANCE);
            vm.expectRevert(abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, GOVERNANCE));
            governed.setGovernance(GOVERNANCE);
        }
    }

    function testAProvedContradictionIsSlashed() public {
        SignedRecords.Head memory a = SignedRecords.Head(7, 0, 0, 0, 1, 0, 0);
        SignedRecords.Head memory b = SignedRecords.Head(7, 0, 0, 0, 2, 0, 0);
        bytes memory signatureA = sign(peer.privateKey, records.digest(records.hashHead(a)));
        bytes memory signatureB = sign(peer.privateKey, records.digest(records.hashHead(b)));
        evidence.proveHeads(a, signatureA, b, signatureB);
        same(evidence.contradictionCount(BOB), 1, "proved");

        uint256 supply = token.totalSupply();
        uint256 id = propose(ADA, "DelegateManager", "slash(uint256,address)", abi.encode(100_000 ether, BOB));
        // Bob sees it coming and wants to leave; so does Cora.
        vm.prank(BOB);
        factory.deregister(DISCOVERY, "https://bob.example");
        vm.prank(CORA);
        delegates.requestUndelegateStake(BOB, 100_000 ether);
        next(1);
        castVote(ADA, id, YES);
        vm.prank(BOB);
        vm.expectRevert(abi.encodeWithSelector(Governance.VoterHasNoStake.selector, id, BOB));
        governance.submitVote(id, 1);

        (, uint256 evaluationBlock,) = governance.getProposalRules(id);
        vm.roll(evaluationBlock);
        vm.prank(BOB);
        vm.expectPartialRevert(ServiceProviderFactory.DecreaseIsLocked.selector);
        factory.decreaseStake();
        same(evaluate(id), Governance.Outcome.ApprovedExecuted, "outcome");
        same(staking.totalStakedFor(BOB), 300_000 ether, "three quarters are left");
        same(delegates.getTotalDelegatorStake(CORA), 75_000 ether, "of the delegation, too");
        same(token.totalSupply(), supply - 100_000 ether, "the rest is burned");
        same(staking.lockedFor(BOB), 0, "nothing is on its way out");
        (uint256 pending,) = factory.getPendingDecreaseStakeRequest(BOB);
        same(pending, 0, "Bob's request is gone");
    }

    function testASlashBeyondTheStakeTakesAll() public {
        same(
            pass("DelegateManager", "slash(uint256,address)", abi.encode(400_001 ether, BOB)),
            Governance.Outcome.ApprovedExecuted,
            "outcome"
        );
        same(staking.totalStakedFor(BOB), 0, "all of it");
    }

    function testNobodyElseSlashes() public {
        vm.prank(GUARDIAN);
        vm.expectRevert(abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, GUARDIAN));
        delegates.slash(1, BOB);
    }

    function testAContractIsUpgraded() public {
        address version = address(new NextStaking());
        uint256 later = propose(ADA, "Staking", "setGovernance(address)", abi.encode(ADA));
        same(
            pass("Staking", "upgradeToAndCall(address,bytes)", abi.encode(version, "")),
            Governance.Outcome.ApprovedExecuted,
            "outcome"
        );
        same(NextStaking(address(staking)).version(), 2, "version");
        same(staking.totalStakedFor(ADA), 600_000 ether, "state stays");
        same(staking.governance(), address(governance), "governance stays");
        same(evaluate(later), Governance.Outcome.TargetContractCodeHashChanged, "an open proposal on it ends");
    }

    function testAServiceTypeIsAdded() public {
        bytes memory data = abi.encode(bytes32("archive-node"), 1000 ether, 2_000_000 ether);
        same(
            pass("ServiceTypeManager", "addServiceType(bytes32,uint256,uint256)", data),
            Governance.Outcome.ApprovedExecuted,
            "outcome"
        );
        register(BOB, "archive-node", "https://bob.example", 0, peer.addr);
    }

    function testAllVotingStakeTogetherIsNoMoreThanAllStake() public view {
        uint256 sum = staking.votingStakeFor(ADA) + staking.votingStakeFor(BOB) + staking.votingStakeFor(CORA);
        same(sum, staking.totalStaked(), "votes");
    }

    function testStakeThatIsMovedDoesNotVoteTwice() public {
        uint256 id = propose(ADA, "PaymentRouter", "setGovernance(address)", abi.encode(CORA));
        next(1);
        castVote(CORA, id, YES);
        // Bob throws Cora out, who gives her tokens to Dan, who delegates them again.
        vm.prank(BOB);
        delegates.requestRemoveDelegator(BOB, CORA);
        next(LOCKUP);
        vm.prank(BOB);
        delegates.removeDelegator(BOB, CORA);
        next(LOCKUP);
        delegates.releaseDelegator(BOB, CORA);
        vm.prank(CORA);
        token.transfer(DAN, 100_000 ether);
        vm.startPrank(DAN);
        token.approve(address(staking), 100_000 ether);
        delegates.delegateStake(BOB, 100_000 ether);
        vm.expectPartialRevert(Governance.VotingIsClosed.selector);
        governance.submitVote(id, YES);
        vm.stopPrank();
        same(evaluateNow(id), Governance.Outcome.ApprovedExecuted, "10 per cent of all stake voted");

        uint256 other = propose(ADA, "PaymentRouter", "setGovernance(address)", abi.encode(CORA));
        fund(STRANGER, 1_000_000 ether);
        next(1);
        vm.prank(STRANGER);
        delegates.delegateStake(BOB, 1_000_000 ether);
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(Governance.VoterHasNoStake.selector, other, STRANGER));
        governance.submitVote(other, YES);
    }

    function testPeriodsCannotOutgrowTheLockups() public {
        same(
            pass("Governance", "setVotingPeriod(uint256)", abi.encode(LOCKUP - EXECUTION_DELAY)),
            Governance.Outcome.ApprovedExecutionFailed,
            "as long as the lock-ups"
        );
        same(
            pass("Governance", "setVotingPeriod(uint256)", abi.encode(LOCKUP - EXECUTION_DELAY - 1)),
            Governance.Outcome.ApprovedExecuted,
            "shorter"
        );
        same(
            pass("ServiceProviderFactory", "updateDecreaseStakeLockupDuration(uint256)", abi.encode(LOCKUP - 1)),
            Governance.Outcome.ApprovedExecutionFailed,
            "nor the lock-ups shrink below"
        );
    }

    function testGovernanceTrustsANotifierAndRevokesAUser() public {
        same(
            pass(
                "TrustedNotifierManager",
                "registerNotifier(address,string,string)",
                abi.encode(CORA, "https://notify.example", "notify@example.org")
            ),
            Governance.Outcome.ApprovedExecuted,
            "notifier"
        );
        same(notifiers.getLatestNotifierID(), 1, "number");
        same(
            pass("SocialVerifier", "revoke(uint256)", abi.encode(1)),
            Governance.Outcome.ApprovedExecutionFailed,
            "nobody is verified"
        );
    }

    function evaluateNow(uint256 id) private returns (Governance.Outcome) {
        vm.prank(STRANGER);
        return governance.evaluateProposalOutcome(id);
    }
}
