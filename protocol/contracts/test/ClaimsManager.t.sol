// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {ClaimsManager} from "../eth/ClaimsManager.sol";
import {StakingFixture} from "./StakingFixture.sol";

contract ClaimsManagerTest is StakingFixture {
    function testRoundsAreMoreThanTheirDistanceApart() public {
        operate(ADA, D);
        same(claims.getLastFundedBlock(), 0, "no round yet");
        vm.prank(ADA);
        expectEvent(address(claims));
        emit ClaimsManager.RoundInitiated(block.number, 1, FUNDING);
        claims.initiateRound();
        uint256 funded = block.number;
        same(claims.getLastFundedBlock(), funded, "funded block");
        same(claims.getFundedAmount(), FUNDING, "funded amount");

        vm.roll(funded + ROUND_BLOCKS);
        vm.prank(ADA);
        vm.expectRevert(
            abi.encodeWithSelector(
                ClaimsManager.RoundIsTooEarly.selector, funded + ROUND_BLOCKS + 1, funded + ROUND_BLOCKS
            )
        );
        claims.initiateRound();
        vm.roll(funded + ROUND_BLOCKS + 1);
        vm.prank(ADA);
        claims.initiateRound();
        same(claims.getRoundNumber(), 2, "rounds");
    }

    function testTheFirstRoundWaitsAsWell() public {
        vm.roll(ROUND_BLOCKS);
        vm.prank(GOVERNANCE);
        vm.expectRevert(
            abi.encodeWithSelector(ClaimsManager.RoundIsTooEarly.selector, ROUND_BLOCKS + 1, ROUND_BLOCKS)
        );
        claims.initiateRound();
    }

    function testStakersAndGovernanceBeginRounds() public {
        operate(ADA, D);
        delegate(CORA, ADA, D);
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(ClaimsManager.CallerIsNotStaker.selector, STRANGER));
        claims.initiateRound();
        vm.prank(CORA);
        claims.initiateRound();
        vm.roll(block.number + ROUND_BLOCKS + 1);
        vm.prank(GOVERNANCE);
        claims.initiateRound();
    }

    function testSharesAreThoseBeforeTheRoundsBlock() public {
        operate(ADA, D);
        operate(BOB, D);
        vm.roll(block.number + 1);
        vm.prank(ADA);
        claims.initiateRound();
        delegates.claimRewards(ADA);
        operate(CORA, 100 * D);
        vm.prank(GOVERNANCE);
        delegates.slash(1 ether, ADA);
        delegates.claimRewards(BOB);
        same(staking.totalStakedFor(ADA), D + FUNDING / 2 - 1 ether, "ada");
        same(staking.totalStakedFor(BOB), D + FUNDING / 2, "bob");
        yes(!claims.claimPending(CORA), "came in the round's block");
        same(claims.getTotalClaimedInRound(), FUNDING, "claimed");
    }

    function testEachOperatorClaimsOncePerRound() public {
        operate(ADA, D);
        vm.expectRevert(abi.encodeWithSelector(ClaimsManager.AlreadyClaimed.selector, ADA, 0));
        delegates.claimRewards(ADA);
        beginRound();
        yes(claims.claimPending(ADA), "pending");
        expectEvent(address(claims));
        emit ClaimsManager.ClaimProcessed(ADA, FUNDING, D, D + FUNDING);
        delegates.claimRewards(ADA);
        yes(!claims.claimPending(ADA), "done");
        same(claims.getLastClaimedRound(ADA), 1, "last round");
        vm.expectRevert(abi.encodeWithSelector(ClaimsManager.AlreadyClaimed.selector, ADA, 1));
        delegates.claimRewards(ADA);
    }

    function testAClaimOfTheOldRoundInTheBlockOfTheNextOneDoesNotCountForIt() public {
        operate(ADA, D);
        beginRound();
        vm.roll(block.number + ROUND_BLOCKS + 1);
        delegates.claimRewards(ADA);
        vm.prank(ADA);
        claims.initiateRound();
        yes(claims.claimPending(ADA), "pending");
        vm.roll(block.number + 1);
        delegates.claimRewards(ADA);
        same(staking.totalStakedFor(ADA), D + 2 * FUNDING, "both rounds");
    }

    function testOnlyServicesWithStakeAtTheRoundsBlockHaveAClaim() public {
        operate(ADA, D);
        beginRound();
        operate(BOB, D);
        yes(claims.claimPending(ADA), "ada");
        yes(!claims.claimPending(BOB), "came later");
        yes(!claims.claimPending(STRANGER), "no operator");
        vm.prank(ADA);
        factory.deregister(SMALL, vm.toString(ADA));
        yes(!claims.claimPending(ADA), "no service");
        delegates.claimRewards(ADA);
        same(claims.getTotalClaimedInRound(), 0, "without a service");
        delegates.claimRewards(BOB);
        same(claims.getTotalClaimedInRound(), 0, "came later");
    }

    function testARoundWithoutStakeMintsNothing() public {
        beginRound();
        operate(ADA, D);
        delegates.claimRewards(ADA);
        same(claims.getTotalClaimedInRound(), 0, "claimed");
    }

    function testAnOperatorThatMovesItsOnlyServiceKeepsItsClaim() public {
        operate(ADA, D);
        beginRound();
        vm.startPrank(ADA);
        factory.deregister(SMALL, vm.toString(ADA));
        factory.cancelDecreaseStakeRequest();
        factory.register(SMALL, "again", 0, WALLET);
        vm.stopPrank();
        yes(claims.claimPending(ADA), "pending");
        delegates.claimRewards(ADA);
        same(staking.totalStakedFor(ADA), D + FUNDING, "stake");
    }

    function testOnlyTheDelegateManagerProcessesClaims(address caller) public {
        vm.assume(caller != address(delegates));
        vm.prank(caller);
        vm.expectRevert(abi.encodeWithSelector(ClaimsManager.CallerIsNotDelegateManager.selector, caller));
        claims.processClaim(ADA, 0);
    }

    function testMoreLockedThanStakedAtTheRoundEarnsNothing() public {
        operate(ADA, D);
        operate(BOB, D);
        beginRound();
        vm.prank(address(delegates));
        same(claims.processClaim(ADA, D + 1), 0, "rewards");
    }

    function testRoundsNeverMintMoreThanTheirAmount(uint96[4] memory stakes, uint96 funding) public {
        uint256 amount = uint256(funding) % (claims.FUNDING_AMOUNT_MAX() + 1);
        vm.prank(GOVERNANCE);
        claims.updateFundingAmount(amount);
        address[4] memory operators = [ADA, BOB, CORA, DAN];
        uint256[4] memory shares;
        uint256 all = 0;
        for (uint256 i = 0; i < 4; i++) {
            shares[i] = limited(stakes[i], 5 ether, 20_000_000 ether);
            operate(operators[i], shares[i]);
            all += shares[i];
        }
        beginRound();
        uint256 supply = token.totalSupply();
        for (uint256 i = 0; i < 4; i++) {
            delegates.claimRewards(operators[i]);
            same(staking.totalStakedFor(operators[i]), shares[i] + shares[i] * amount / all, "share");
        }
        uint256 minted = token.totalSupply() - supply;
        yes(minted <= amount && amount - minted < 4, "minted");
        same(claims.getTotalClaimedInRound(), minted, "claimed");
    }

    function testParametersAreGovernances() public {
        vm.startPrank(STRANGER);
        expectNotGovernance(STRANGER);
        claims.updateFundingAmount(1);
        expectNotGovernance(STRANGER);
        claims.updateFundingRoundBlockDiff(1);
        expectNotGovernance(STRANGER);
        claims.updateRecurringCommunityFundingAmount(1);
        expectNotGovernance(STRANGER);
        claims.updateCommunityPoolAddress(STRANGER);
        vm.stopPrank();

        vm.startPrank(GOVERNANCE);
        expectEvent(address(claims));
        emit ClaimsManager.FundingAmountUpdated(5);
        claims.updateFundingAmount(5);
        expectEvent(address(claims));
        emit ClaimsManager.FundingRoundBlockDiffUpdated(6);
        claims.updateFundingRoundBlockDiff(6);
        expectEvent(address(claims));
        emit ClaimsManager.RecurringCommunityFundingAmountUpdated(7);
        claims.updateRecurringCommunityFundingAmount(7);
        expectEvent(address(claims));
        emit ClaimsManager.CommunityPoolAddressUpdated(address(0), BOB);
        claims.updateCommunityPoolAddress(BOB);
        same(claims.getFundsPerRound(), 5, "funding");
        same(claims.getFundingRoundBlockDiff(), 6, "distance");
        same(claims.getRecurringCommunityFundingAmount(), 7, "community");
        same(claims.getCommunityPoolAddress(), BOB, "pool");
    }

    function testParametersHaveBounds() public {
        uint256 most = claims.FUNDING_AMOUNT_MAX();
        vm.startPrank(GOVERNANCE);
        bytes memory refusal = abi.encodeWithSelector(ClaimsManager.FundingAmountIsTooLarge.selector, most + 1, most);
        vm.expectRevert(refusal);
        claims.updateFundingAmount(most + 1);
        vm.expectRevert(refusal);
        claims.updateRecurringCommunityFundingAmount(most + 1);
        vm.expectRevert(abi.encodeWithSelector(ClaimsManager.FundingRoundIsZero.selector));
        claims.updateFundingRoundBlockDiff(0);
        vm.expectRevert(
            abi.encodeWithSelector(ClaimsManager.FundingRoundIsTooLong.selector, CUT_LOCKUP, CUT_LOCKUP)
        );
        claims.updateFundingRoundBlockDiff(CUT_LOCKUP);
        claims.updateFundingRoundBlockDiff(CUT_LOCKUP - 1);
    }

    function testANewAmountCountsFromTheNextRound() public {
        operate(ADA, D);
        beginRound();
        vm.prank(GOVERNANCE);
        claims.updateFundingAmount(1 ether);
        delegates.claimRewards(ADA);
        same(staking.totalStakedFor(ADA), D + FUNDING, "this round");
        beginRound();
        delegates.claimRewards(ADA);
        same(staking.totalStakedFor(ADA), D + FUNDING + 1 ether, "next round");
    }

    function testAPoolWithoutAnAmountAndAnAmountWithoutAPoolMintNothing() public {
        uint256 supply = token.totalSupply();
        vm.prank(GOVERNANCE);
        claims.updateCommunityPoolAddress(STRANGER);
        beginRound();
        vm.startPrank(GOVERNANCE);
        claims.updateCommunityPoolAddress(address(0));
        claims.updateRecurringCommunityFundingAmount(10);
        vm.stopPrank();
        beginRound();
        same(token.totalSupply(), supply, "supply");
    }

    function testItKnowsItsParts() public view {
        same(claims.token(), address(token), "token");
        same(claims.staking(), address(staking), "staking");
        same(claims.serviceProviderFactory(), address(factory), "factory");
        same(claims.delegateManager(), address(delegates), "delegates");
    }

    function testAnIncompleteDeploymentIsRefused() public {
        address implementation = address(new ClaimsManager());
        string[4] memory names = ["token", "staking", "service provider factory", "delegate manager"];
        for (uint256 i = 0; i < 4; i++) {
            address[4] memory parts = [address(token), address(staking), address(factory), address(delegates)];
            parts[i] = address(0);
            vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, names[i]));
            proxied(
                implementation,
                abi.encodeCall(
                    ClaimsManager.initialize,
                    (GOVERNANCE, parts[0], parts[1], parts[2], parts[3], 1, 1, address(0), 0)
                )
            );
        }
    }
}
