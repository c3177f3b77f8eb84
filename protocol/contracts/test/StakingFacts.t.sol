// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {DelegateManager} from "../eth/DelegateManager.sol";
import {Lockups} from "../eth/Lockups.sol";
import {ServiceProviderFactory} from "../eth/ServiceProviderFactory.sol";
import {VotingPeriods} from "./Fixture.sol";
import {StakingFixture} from "./StakingFixture.sol";

/// The numbers that any implementation of these rules gives, to the wei.
contract StakingFactsTest is StakingFixture {
    function testSelectorsAreTheKnownOnes() public pure {
        require(DelegateManager.slash.selector == bytes4(0x3d82e3c1), "slash");
        require(ServiceProviderFactory.register.selector == bytes4(0x4fe84c09), "register");
    }

    function testOneStakerGetsTheWholeRound() public {
        require(claims.initiateRound.selector == bytes4(0xb8a0ca0e), "selector");
        operate(ADA, D);
        beginRound();
        delegates.claimRewards(ADA);
        same(staking.totalStakedFor(ADA), 1342585753420000000000000, "after the first round");
        beginRound();
        delegates.claimRewards(ADA);
        same(staking.totalStakedFor(ADA), 2685051506840000000000000, "after the second round");
        same(ownStake(ADA), 2685051506840000000000000, "own stake");
        same(staking.votingStakeFor(ADA), 2685051506840000000000000, "votes");
    }

    function testMissedRoundsArePaidAsOne() public {
        operate(ADA, D);
        beginRound();
        delegates.claimRewards(ADA);
        uint256 supply = token.totalSupply();
        vm.roll(block.number + 2 * ROUND_BLOCKS);
        beginRound();
        delegates.claimRewards(ADA);
        same(token.totalSupply() - supply, FUNDING, "minted");
        same(claims.getTotalClaimedInRound(), FUNDING, "claimed in the round");
        same(claims.getRoundNumber(), 2, "rounds");
    }

    function testADelegatorGetsItsShareWithoutTheCut() public {
        operate(ADA, D);
        operate(BOB, D);
        setCut(ADA, 10);
        delegate(CORA, ADA, 60 ether);
        beginRound();
        delegates.claimRewards(ADA);
        same(claims.getTotalClaimedInRound(), 805479452052000000000000, "rewards");
        same(delegation(CORA, ADA), 241703835615600000000000, "delegation");
        same(ownStake(ADA), 563955616436400000000000, "own stake");
        same(staking.totalStakedFor(ADA), 180 ether + 805479452052000000000000, "all");
        same(delegates.getTotalDelegatedToServiceProvider(ADA), 241703835615600000000000, "delegated");
        same(delegates.getTotalDelegatorStake(CORA), 241703835615600000000000, "delegator");
    }

    function testRewardsAndASlashOfSmallStakes() public {
        vm.prank(GOVERNANCE);
        claims.updateFundingAmount(20 ether);
        operate(ADA, D);
        operate(BOB, D);
        setCut(ADA, 10);
        delegate(CORA, ADA, 60 ether);
        beginRound();
        delegates.claimRewards(ADA);
        delegates.claimRewards(BOB);
        same(ownStake(ADA), 128.4 ether, "own stake");
        same(delegation(CORA, ADA), 63.6 ether, "delegation");
        same(staking.totalStakedFor(ADA), 192 ether, "all");
        same(staking.totalStakedFor(BOB), D + 8 ether, "the other operator");

        uint256 supply = token.totalSupply();
        slash(57.6 ether, ADA);
        same(staking.totalStakedFor(ADA), 134.4 ether, "all after the slash");
        same(delegation(CORA, ADA), 44.52 ether, "delegation after the slash");
        same(ownStake(ADA), 89.88 ether, "own stake after the slash");
        same(supply - token.totalSupply(), 57.6 ether, "burned");
        same(token.balanceOf(address(staking)), 134.4 ether + 128 ether, "tokens held");
    }

    function testAPendingDecreaseEarnsNothing() public {
        operate(ADA, D);
        operate(BOB, D);
        vm.prank(ADA);
        factory.requestDecreaseStake(D / 2);
        beginRound();
        delegates.claimRewards(ADA);
        same(claims.getTotalClaimedInRound(), 335616438355000000000000, "a quarter of the round");
    }

    function testAPendingUndelegationEarnsNothing() public {
        operate(ADA, D / 2);
        operate(BOB, D);
        delegate(CORA, ADA, D / 2);
        undelegate(CORA, ADA, D / 2);
        beginRound();
        delegates.claimRewards(ADA);
        same(claims.getTotalClaimedInRound(), 335616438355000000000000, "a quarter of the round");
        same(delegation(CORA, ADA), D / 2, "delegation");
        same(ownStake(ADA), D / 2 + 335616438355000000000000, "own stake");
    }

    function testOneDelegatorTooManyIsRefused() public {
        vm.prank(GOVERNANCE);
        delegates.updateMaxDelegators(4);
        operate(ADA, D);
        for (uint160 i = 1; i <= 4; i++) {
            fund(address(i << 80), 10 ether);
            delegate(address(i << 80), ADA, 5 ether);
        }
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.TooManyDelegators.selector, 4));
        delegate(CORA, ADA, 5 ether);
        delegate(address(uint160(1) << 80), ADA, 5 ether);
        same(delegates.getDelegatorsList(ADA).length, 4, "delegators");
    }

    function testAnOperatorOutOfBoundsGetsNothingAndIsDoneWithTheRound() public {
        register(ADA, TIGHT, "tight", TIGHT_MIN, WALLET);
        operate(BOB, D);
        beginRound();
        slash(1, ADA);
        yes(!validBounds(ADA), "in bounds");
        yes(claims.claimPending(ADA), "no claim is pending");
        delegates.claimRewards(ADA);
        same(staking.totalStakedFor(ADA), TIGHT_MIN - 1, "stake");
        yes(!claims.claimPending(ADA), "the claim is still pending");
        vm.prank(ADA);
        factory.increaseStake(1);
        yes(validBounds(ADA), "out of bounds");
    }

    function testTheCommunityPoolGetsItsAmountEachRound() public {
        vm.startPrank(GOVERNANCE);
        claims.updateCommunityPoolAddress(STRANGER);
        claims.updateRecurringCommunityFundingAmount(10 ether);
        vm.stopPrank();
        beginRound();
        same(token.balanceOf(STRANGER), 10 ether, "after one round");
        beginRound();
        same(token.balanceOf(STRANGER), 20 ether, "after two rounds");
    }

    function testADecreaseIsLockedLongerThanAVote() public {
        bytes memory refusal = abi.encodeWithSelector(Lockups.LockupIsTooShort.selector, 90, 90);
        address implementation = address(new ServiceProviderFactory());
        vm.expectRevert(refusal);
        proxied(
            implementation,
            abi.encodeCall(
                ServiceProviderFactory.initialize,
                (GOVERNANCE, address(staking), address(types), address(votes), 90, CUT_LOCKUP)
            )
        );
        vm.startPrank(GOVERNANCE);
        vm.expectRevert(refusal);
        factory.updateDecreaseStakeLockupDuration(90);
        factory.updateDecreaseStakeLockupDuration(91);
        same(factory.getDecreaseStakeLockupDuration(), 91, "lock-up");
    }

    function testTheParametersOfThirteenSecondBlocksFit() public {
        votes.set(13292, 6646);
        factory = newFactory(address(votes), 46523, 53169);
        delegates = newDelegateManager(address(votes), 46523, 46523, 6646);
        claims = newClaimsManager(46523, FUNDING, address(0), 0);
        same(delegates.getMaxDelegators(), 175, "delegators");
        same(delegates.getMinDelegationAmount(), 100 ether, "least delegation");
        same(claims.getFundingRoundBlockDiff(), 46523, "round");
        same(claims.getFundsPerRound(), 1342465753420000000000000, "funding");
        same(claims.getRecurringCommunityFundingAmount(), 0, "community");
        same(factory.DEPLOYER_CUT_BASE(), 100, "cut");
        VotingPeriods longer = new VotingPeriods();
        longer.set(46523, 0);
        vm.expectRevert(abi.encodeWithSelector(Lockups.LockupIsTooShort.selector, 46523, 46523));
        vm.prank(GOVERNANCE);
        factory.setVotingGovernance(address(longer));
    }
}
