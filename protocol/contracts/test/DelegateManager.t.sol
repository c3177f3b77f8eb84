// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {DelegateManager} from "../eth/DelegateManager.sol";
import {Lockups} from "../eth/Lockups.sol";
import {ServiceProviderFactory} from "../eth/ServiceProviderFactory.sol";
import {Staking} from "../eth/Staking.sol";
import {VotingPeriods} from "./Fixture.sol";
import {StakingFixture} from "./StakingFixture.sol";

contract DelegateManagerTest is StakingFixture {
    function testADelegationIsStakedForTheOperator() public {
        operate(ADA, D);
        expectEvent(address(delegates));
        emit DelegateManager.DelegatedStakeIncreased(CORA, ADA, 60 ether);
        expectEvent(address(staking));
        emit Staking.StakeChanged(ADA, D + 60 ether, 0);
        vm.prank(CORA);
        same(delegates.delegateStake(ADA, 60 ether), 60 ether, "delegated");
        vm.prank(CORA);
        same(delegates.delegateStake(ADA, 1), 60 ether + 1, "delegated more");
        same(staking.totalStakedFor(ADA), D + 60 ether + 1, "all");
        same(ownStake(ADA), D, "own stake");
        same(delegates.getTotalDelegatedToServiceProvider(ADA), 60 ether + 1, "delegated");
        same(delegates.getDelegatorsList(ADA).length, 1, "delegators");
        same(staking.votingStakeFor(CORA), 60 ether + 1, "the delegator's votes");
        same(staking.votingStakeFor(ADA), D, "the operator's votes");
        same(token.balanceOf(CORA), 20_000_000 ether - 60 ether - 1, "tokens");
    }

    function testADelegationReachesTheMinimum() public {
        operate(ADA, D);
        vm.expectRevert(
            abi.encodeWithSelector(DelegateManager.DelegationIsTooSmall.selector, 1 ether - 1, 1 ether)
        );
        delegate(CORA, ADA, 1 ether - 1);
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.CallerIsNotOperator.selector, STRANGER, ADA));
        delegates.updateSPMinDelegationAmount(ADA, 3 ether);
        expectEvent(address(delegates));
        emit DelegateManager.SPMinDelegationAmountUpdated(ADA, 3 ether);
        vm.prank(ADA);
        delegates.updateSPMinDelegationAmount(ADA, 3 ether);
        same(delegates.getSPMinDelegationAmount(ADA), 3 ether, "the operator's minimum");
        vm.expectRevert(
            abi.encodeWithSelector(DelegateManager.DelegationIsTooSmall.selector, 3 ether - 1, 3 ether)
        );
        delegate(CORA, ADA, 3 ether - 1);
        delegate(CORA, ADA, 3 ether);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.AmountIsZero.selector));
        delegate(CORA, ADA, 0);
    }

    function testDelegationsStayWithinTheOperatorsBounds() public {
        register(ADA, TIGHT, "tight", TIGHT_MIN, WALLET);
        vm.expectRevert(outOfBounds(TIGHT_MAX + 1, TIGHT_MIN, TIGHT_MAX));
        delegate(CORA, ADA, TIGHT_MAX - TIGHT_MIN + 1);
        delegate(CORA, ADA, TIGHT_MAX - TIGHT_MIN);
        vm.expectRevert(outOfBounds(TIGHT_MAX + 1, TIGHT_MIN, TIGHT_MAX));
        vm.prank(ADA);
        factory.increaseStake(1);
        vm.expectRevert(outOfBounds(1 ether, 0, 0));
        delegate(CORA, STRANGER, 1 ether);
    }

    function testDelegationsNeverStandInForOwnStake() public {
        register(ADA, TIGHT, "tight", TIGHT_MIN, WALLET);
        delegate(CORA, ADA, 50 ether);
        vm.expectRevert(outOfBounds(TIGHT_MIN - 1, TIGHT_MIN, TIGHT_MAX));
        vm.prank(ADA);
        factory.requestDecreaseStake(1);
        slash(30 ether, ADA);
        same(ownStake(ADA), 80 ether, "own stake");
        yes(validBounds(ADA), "out of bounds");
        vm.expectRevert(outOfBounds(80 ether, TIGHT_MIN, TIGHT_MAX));
        delegate(CORA, ADA, 1 ether);
    }

    function testAnUndelegationWaitsForItsLockup() public {
        operate(ADA, D);
        delegate(CORA, ADA, 60 ether);
        uint256 unlockBlock = block.number + LOCKUP;
        expectEvent(address(delegates));
        emit DelegateManager.UndelegateStakeRequested(CORA, ADA, 20 ether, unlockBlock);
        expectEvent(address(staking));
        emit Staking.StakeChanged(ADA, D + 60 ether, 20 ether);
        vm.startPrank(CORA);
        same(delegates.requestUndelegateStake(ADA, 20 ether), unlockBlock, "unlock block");
        checkRequest(CORA, ADA, 20 ether, unlockBlock);
        same(staking.votingStakeFor(CORA), 40 ether, "votes");
        same(delegates.getTotalLockedDelegationForServiceProvider(ADA), 20 ether, "locked");
        vm.expectRevert(
            abi.encodeWithSelector(DelegateManager.UndelegationIsPending.selector, ADA, 20 ether, unlockBlock)
        );
        delegates.requestUndelegateStake(ADA, 1 ether);
        vm.roll(unlockBlock - 1);
        vm.expectRevert(
            abi.encodeWithSelector(DelegateManager.UndelegationIsLocked.selector, unlockBlock, unlockBlock - 1)
        );
        delegates.undelegateStake();

        vm.roll(unlockBlock);
        uint256 before = token.balanceOf(CORA);
        expectEvent(address(delegates));
        emit DelegateManager.UndelegateStakeRequestEvaluated(CORA, ADA, 20 ether);
        expectEvent(address(staking));
        emit Staking.StakeChanged(ADA, D + 40 ether, 0);
        same(delegates.undelegateStake(), 40 ether, "delegated");
        same(token.balanceOf(CORA), before + 20 ether, "given back");
        same(staking.votingStakeFor(CORA), 40 ether, "votes after it");
        checkRequest(CORA, address(0), 0, 0);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.NoUndelegationIsPending.selector, CORA));
        delegates.undelegateStake();
    }

    function testAWholeUndelegationLeavesTheList() public {
        operate(ADA, D);
        delegate(BOB, ADA, 1 ether);
        delegate(CORA, ADA, 1 ether);
        delegate(DAN, ADA, 1 ether);
        undelegate(BOB, ADA, 1 ether);
        vm.roll(block.number + LOCKUP);
        vm.prank(BOB);
        same(delegates.undelegateStake(), 0, "delegated");
        address[] memory list = delegates.getDelegatorsList(ADA);
        same(list.length, 2, "delegators");
        yes(list[0] != BOB && list[1] != BOB && list[0] != list[1], "the wrong one left");
    }

    function testAnUndelegationLeavesTheMinimumOrNothing() public {
        operate(ADA, D);
        delegate(CORA, ADA, 10 ether);
        vm.startPrank(CORA);
        vm.expectRevert(
            abi.encodeWithSelector(DelegateManager.DelegationIsTooSmall.selector, 1 ether - 1, 1 ether)
        );
        delegates.requestUndelegateStake(ADA, 9 ether + 1);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.AmountIsZero.selector));
        delegates.requestUndelegateStake(ADA, 0);
        vm.expectRevert(
            abi.encodeWithSelector(DelegateManager.DelegationIsLess.selector, ADA, 10 ether, 10 ether + 1)
        );
        delegates.requestUndelegateStake(ADA, 10 ether + 1);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.DelegationIsLess.selector, BOB, 0, 1));
        delegates.requestUndelegateStake(BOB, 1);
        delegates.requestUndelegateStake(ADA, 9 ether);
        delegates.cancelUndelegateStakeRequest();
        delegates.requestUndelegateStake(ADA, 10 ether);
    }

    function testAnUndelegationCanBeCancelledWhileThereIsRoom() public {
        register(ADA, TIGHT, "tight", TIGHT_MIN, WALLET);
        delegate(CORA, ADA, 100 ether);
        undelegate(CORA, ADA, 50 ether);
        expectEvent(address(delegates));
        emit DelegateManager.UndelegateStakeRequestCancelled(CORA, ADA, 50 ether);
        vm.prank(CORA);
        delegates.cancelUndelegateStakeRequest();
        same(staking.lockedFor(ADA), 0, "locked");
        same(staking.votingStakeFor(CORA), 100 ether, "votes");
        vm.prank(CORA);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.NoUndelegationIsPending.selector, CORA));
        delegates.cancelUndelegateStakeRequest();

        undelegate(CORA, ADA, 50 ether);
        delegate(DAN, ADA, 20 ether);
        vm.prank(CORA);
        vm.expectRevert(outOfBounds(220 ether, TIGHT_MIN, TIGHT_MAX));
        delegates.cancelUndelegateStakeRequest();
    }

    function testNothingMovesWhileAClaimIsPending() public {
        operate(ADA, D);
        delegate(CORA, ADA, 10 ether);
        delegate(DAN, ADA, 10 ether);
        undelegate(DAN, ADA, 10 ether);
        vm.startPrank(ADA);
        delegates.requestRemoveDelegator(ADA, CORA);
        factory.requestDecreaseStake(10 ether);
        vm.stopPrank();
        beginRound();
        bytes memory refusal = abi.encodeWithSelector(DelegateManager.ClaimIsPending.selector, ADA);
        vm.expectRevert(refusal);
        delegate(CORA, ADA, 1 ether);
        vm.expectRevert(refusal);
        undelegate(CORA, ADA, 1 ether);
        vm.prank(DAN);
        vm.expectRevert(refusal);
        delegates.undelegateStake();
        vm.startPrank(ADA);
        bytes memory ownRefusal = abi.encodeWithSelector(ServiceProviderFactory.ClaimIsPending.selector, ADA);
        vm.expectRevert(ownRefusal);
        factory.increaseStake(1);
        vm.expectRevert(ownRefusal);
        factory.decreaseStake();
        factory.cancelDecreaseStakeRequest();
        vm.expectRevert(ownRefusal);
        factory.requestDecreaseStake(1);
        vm.expectRevert(ownRefusal);
        factory.register(SMALL, "another", 1, WALLET);
        factory.register(SMALL, "another", 0, WALLET);
        vm.stopPrank();
        delegates.claimRewards(ADA);
        vm.prank(DAN);
        delegates.undelegateStake();
        delegate(CORA, ADA, 1 ether);
    }

    function testARemovalWaitsForAClaim() public {
        operate(ADA, D);
        delegate(CORA, ADA, 10 ether);
        vm.prank(GOVERNANCE);
        claims.updateFundingRoundBlockDiff(LOCKUP);
        vm.prank(ADA);
        delegates.requestRemoveDelegator(ADA, CORA);
        beginRound();
        vm.startPrank(ADA);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.ClaimIsPending.selector, ADA));
        delegates.removeDelegator(ADA, CORA);
        delegates.claimRewards(ADA);
        delegates.removeDelegator(ADA, CORA);
        vm.stopPrank();
        beginRound();
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.ClaimIsPending.selector, ADA));
        delegates.releaseDelegator(ADA, CORA);
        uint256 delegated = delegation(CORA, ADA);
        delegates.claimRewards(ADA);
        same(delegation(CORA, ADA), delegated, "who was sent away earns nothing");
        delegates.releaseDelegator(ADA, CORA);
    }

    function testAnOperatorSendsADelegatorAway() public {
        operate(ADA, D);
        delegate(CORA, ADA, 10 ether);
        delegate(CORA, ADA, 7 ether);
        undelegate(CORA, ADA, 4 ether);
        uint256 unlockBlock = block.number + LOCKUP;
        expectEvent(address(delegates));
        emit DelegateManager.RemoveDelegatorRequested(ADA, CORA, unlockBlock);
        vm.startPrank(ADA);
        same(delegates.requestRemoveDelegator(ADA, CORA), unlockBlock, "unlock block");
        same(delegates.getPendingRemoveDelegatorRequest(ADA, CORA), unlockBlock, "pending");
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.RemovalIsPending.selector, unlockBlock));
        delegates.requestRemoveDelegator(ADA, CORA);
        vm.roll(unlockBlock - 1);
        vm.expectRevert(
            abi.encodeWithSelector(DelegateManager.RemovalIsLocked.selector, unlockBlock, unlockBlock - 1)
        );
        delegates.removeDelegator(ADA, CORA);
        vm.roll(unlockBlock);
        uint256 release = unlockBlock + LOCKUP;
        expectEvent(address(delegates));
        emit DelegateManager.UndelegateStakeRequestCancelled(CORA, ADA, 4 ether);
        expectEvent(address(delegates));
        emit DelegateManager.DelegatorSentAway(ADA, CORA, 17 ether, release);
        same(delegates.removeDelegator(ADA, CORA), release, "release");
        vm.stopPrank();
        checkRequest(CORA, address(0), 0, 0);
        checkRemoval(ADA, CORA, 17 ether, release);
        same(delegates.getPendingRemoveDelegatorRequest(ADA, CORA), 0, "no longer pending");
        same(staking.votingStakeFor(CORA), 0, "votes");
        same(staking.lockedFor(ADA), 17 ether, "locked");
        vm.roll(release - 1);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.UndelegationIsLocked.selector, release, release - 1));
        delegates.releaseDelegator(ADA, CORA);
        vm.roll(release);
        uint256 before = token.balanceOf(CORA);
        expectEvent(address(delegates));
        emit DelegateManager.RemoveDelegatorRequestEvaluated(ADA, CORA, 17 ether);
        vm.prank(STRANGER);
        delegates.releaseDelegator(ADA, CORA);
        same(token.balanceOf(CORA), before + 17 ether, "given back");
        same(staking.lockedFor(ADA), 0, "locked");
        same(staking.totalStakedFor(ADA), D, "stake");
        same(delegates.getDelegatorsList(ADA).length, 0, "delegators");
        checkRemoval(ADA, CORA, 0, 0);
        vm.prank(ADA);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.NoRemovalIsPending.selector, ADA, CORA));
        delegates.removeDelegator(ADA, CORA);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.DelegatorIsNotSentAway.selector, ADA, CORA));
        delegates.releaseDelegator(ADA, CORA);
    }

    function testWhoIsSentAwayDoesNotMoveItsDelegation() public {
        operate(ADA, D);
        delegate(CORA, ADA, 10 ether);
        delegate(DAN, ADA, 10 ether);
        sendAway(CORA, ADA);
        uint256 release = block.number + LOCKUP;
        bytes memory refusal =
            abi.encodeWithSelector(DelegateManager.DelegatorIsSentAway.selector, ADA, CORA, release);
        vm.startPrank(CORA);
        vm.expectRevert(refusal);
        delegates.delegateStake(ADA, 1 ether);
        vm.expectRevert(refusal);
        delegates.requestUndelegateStake(ADA, 1 ether);
        vm.stopPrank();
        vm.startPrank(ADA);
        vm.expectRevert(refusal);
        delegates.removeDelegator(ADA, CORA);
        vm.expectRevert(refusal);
        delegates.cancelRemoveDelegatorRequest(ADA, CORA);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.RemovalIsPending.selector, release));
        delegates.requestRemoveDelegator(ADA, CORA);
        vm.stopPrank();
        beginRound();
        delegates.claimRewards(ADA);
        same(delegation(CORA, ADA), 10 ether, "earns nothing");
        yes(delegation(DAN, ADA) > 10 ether, "the others do");
        delegates.releaseDelegator(ADA, CORA);
        delegate(CORA, ADA, 10 ether);
        same(staking.votingStakeFor(CORA), 10 ether, "it may come again");
    }

    function testARequestOfAllKeepsItsBlock() public {
        operate(ADA, D);
        delegate(CORA, ADA, 10 ether);
        vm.prank(ADA);
        delegates.requestRemoveDelegator(ADA, CORA);
        vm.roll(block.number + LOCKUP / 2);
        undelegate(CORA, ADA, 10 ether);
        uint256 unlockBlock = block.number + LOCKUP;
        vm.roll(block.number + LOCKUP / 2);
        vm.prank(ADA);
        same(delegates.removeDelegator(ADA, CORA), unlockBlock, "the block of its own request");
        checkRemoval(ADA, CORA, 10 ether, unlockBlock);
    }

    /// Two operators send one delegator away, and a slash of one of them reaches it there alone.
    function testASlashCancelsTheRemovalsOfItsOperator() public {
        operate(ADA, D);
        operate(BOB, D);
        delegate(CORA, ADA, 40 ether);
        delegate(CORA, BOB, 40 ether);
        sendAway(CORA, ADA);
        sendAway(CORA, BOB);
        same(staking.votingStakeFor(CORA), 0, "no votes");
        expectEvent(address(delegates));
        emit DelegateManager.RemoveDelegatorRequestCancelled(ADA, CORA);
        slash(80 ether, ADA);
        same(delegation(CORA, ADA), 20 ether, "slashed");
        checkRemoval(ADA, CORA, 0, 0);
        same(delegation(CORA, BOB), 40 ether, "not there");
        same(staking.votingStakeFor(CORA), 20 ether, "votes");
        same(staking.lockedFor(ADA), 0, "locked");
        same(staking.lockedFor(BOB), 40 ether, "locked there");
        vm.roll(block.number + LOCKUP);
        delegates.releaseDelegator(BOB, CORA);
        same(staking.votingStakeFor(CORA), 20 ether, "votes");
    }

    /// An operator and a delegator of its own keep a removal ready, to leave when a slash comes.
    function testAStandingRemovalIsNoWayOutOfASlash() public {
        operate(ADA, D);
        delegate(CORA, ADA, 20 * D);
        vm.prank(ADA);
        delegates.requestRemoveDelegator(ADA, CORA);
        vm.roll(block.number + LOCKUP);
        uint256 before = token.balanceOf(CORA);
        vm.prank(ADA);
        delegates.removeDelegator(ADA, CORA);
        same(token.balanceOf(CORA), before, "it left at once");
        // The lock-up outlasts a vote that began before it, until the block in which the slash is executed.
        vm.roll(block.number + votes.getVotingPeriod() + votes.getExecutionDelay());
        slash(21 * D, ADA);
        same(token.balanceOf(address(staking)), 0, "all is burned");
    }

    /// A little that leaves before a slash of everything does not save the rest.
    function testASlashOfMoreThanIsThereBurnsAll() public {
        operate(ADA, D);
        delegate(CORA, ADA, 10 ether);
        undelegate(CORA, ADA, 1 ether);
        uint256 approved = staking.totalStakedFor(ADA);
        vm.roll(block.number + LOCKUP);
        vm.prank(CORA);
        delegates.undelegateStake();
        slash(approved, ADA);
        same(staking.totalStakedFor(ADA), 0, "all is burned");
        vm.prank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.AmountIsZero.selector));
        delegates.slash(1, ADA);
    }

    function testARemovalKeepsARequestToAnotherOperator() public {
        operate(ADA, D);
        operate(BOB, D);
        delegate(CORA, ADA, 10 ether);
        delegate(CORA, BOB, 10 ether);
        undelegate(CORA, BOB, 5 ether);
        vm.prank(GOVERNANCE);
        delegates.requestRemoveDelegator(ADA, CORA);
        vm.roll(block.number + LOCKUP);
        vm.prank(GOVERNANCE);
        delegates.removeDelegator(ADA, CORA);
        (address target, uint256 amount,) = delegates.getPendingUndelegateRequest(CORA);
        same(target, BOB, "target");
        same(amount, 5 ether, "amount");
        same(staking.votingStakeFor(CORA), 5 ether, "votes");
        vm.roll(block.number + LOCKUP);
        delegates.releaseDelegator(ADA, CORA);
        (target, amount,) = delegates.getPendingUndelegateRequest(CORA);
        same(target, BOB, "target");
        same(amount, 5 ether, "amount");
        same(staking.votingStakeFor(CORA), 5 ether, "votes");
    }

    function testARemovalLapsesAndCanBeCancelled() public {
        operate(ADA, D);
        delegate(CORA, ADA, 10 ether);
        vm.startPrank(ADA);
        uint256 unlockBlock = delegates.requestRemoveDelegator(ADA, CORA);
        vm.roll(unlockBlock + EVAL_BLOCKS);
        vm.expectRevert(
            abi.encodeWithSelector(
                DelegateManager.RemovalHasLapsed.selector, unlockBlock + EVAL_BLOCKS - 1, unlockBlock + EVAL_BLOCKS
            )
        );
        delegates.removeDelegator(ADA, CORA);
        vm.roll(unlockBlock + EVAL_BLOCKS - 1);
        expectEvent(address(delegates));
        emit DelegateManager.RemoveDelegatorRequestCancelled(ADA, CORA);
        delegates.cancelRemoveDelegatorRequest(ADA, CORA);
        bytes memory refusal = abi.encodeWithSelector(DelegateManager.NoRemovalIsPending.selector, ADA, CORA);
        vm.expectRevert(refusal);
        delegates.cancelRemoveDelegatorRequest(ADA, CORA);
        vm.expectRevert(refusal);
        delegates.removeDelegator(ADA, CORA);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.DelegatorIsUnknown.selector, ADA, BOB));
        delegates.requestRemoveDelegator(ADA, BOB);
        vm.stopPrank();
        vm.startPrank(CORA);
        bytes memory foreign = abi.encodeWithSelector(DelegateManager.CallerIsNotOperator.selector, CORA, ADA);
        vm.expectRevert(foreign);
        delegates.requestRemoveDelegator(ADA, CORA);
        vm.expectRevert(foreign);
        delegates.cancelRemoveDelegatorRequest(ADA, CORA);
        vm.expectRevert(foreign);
        delegates.removeDelegator(ADA, CORA);
    }

    function testARemovalEndsWhenTheDelegatorLeavesByItself() public {
        operate(ADA, D);
        delegate(CORA, ADA, 10 ether);
        undelegate(CORA, ADA, 10 ether);
        vm.prank(ADA);
        delegates.requestRemoveDelegator(ADA, CORA);
        vm.roll(block.number + LOCKUP);
        vm.prank(CORA);
        delegates.undelegateStake();
        delegate(CORA, ADA, 10 ether);
        vm.prank(ADA);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.NoRemovalIsPending.selector, ADA, CORA));
        delegates.removeDelegator(ADA, CORA);
    }

    function testASlashCancelsEveryRequest() public {
        operate(ADA, D);
        operate(BOB, D);
        delegate(CORA, ADA, 40 ether);
        delegate(DAN, ADA, 40 ether);
        delegate(DAN, BOB, 40 ether);
        undelegate(CORA, ADA, 10 ether);
        undelegate(DAN, BOB, 10 ether);
        vm.prank(ADA);
        factory.requestDecreaseStake(50 ether);
        expectEvent(address(delegates));
        emit DelegateManager.Slashed(ADA, 100 ether, 100 ether);
        expectEvent(address(delegates));
        emit DelegateManager.UndelegateStakeRequestCancelled(CORA, ADA, 10 ether);
        slash(100 ether, ADA);
        checkRequest(CORA, address(0), 0, 0);
        checkRequest(DAN, address(0), 0, 0);
        (uint256 pending,) = factory.getPendingDecreaseStakeRequest(ADA);
        same(pending, 0, "decrease");
        same(staking.lockedFor(ADA), 0, "locked");
        same(staking.lockedFor(BOB), 0, "locked at the other operator");
        same(staking.votingStakeFor(ADA), 60 ether, "ada's votes");
        same(staking.votingStakeFor(CORA), 20 ether, "cora's votes");
        same(staking.votingStakeFor(DAN), 60 ether, "dan's votes");
    }

    function testASlashToZeroLeavesNothing() public {
        operate(ADA, D);
        delegate(CORA, ADA, 40 ether);
        slash(160 ether, ADA);
        same(ownStake(ADA), 0, "own stake");
        same(staking.totalStakedFor(ADA), 0, "stake");
        same(staking.totalStaked(), 0, "all");
        same(delegates.getDelegatorsList(ADA).length, 0, "delegators");
        same(delegates.getTotalDelegatorStake(CORA), 0, "delegator");
        same(staking.votingStakeFor(CORA), 0, "votes");
        same(token.balanceOf(address(staking)), 0, "tokens");
        beginRound();
        vm.prank(ADA);
        factory.increaseStake(D);
    }

    function testASlashIsGovernances() public {
        operate(ADA, D);
        expectNotGovernance(STRANGER);
        vm.prank(STRANGER);
        delegates.slash(1, ADA);
        vm.startPrank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.AmountIsZero.selector));
        delegates.slash(0, ADA);
    }

    function testDelegationsOfAnOperatorThatLeftCanBeSlashedAndTakenBack() public {
        operate(ADA, D);
        delegate(CORA, ADA, 30 ether);
        vm.startPrank(ADA);
        factory.deregister(SMALL, vm.toString(ADA));
        vm.roll(block.number + LOCKUP);
        factory.decreaseStake();
        vm.stopPrank();
        same(staking.totalStakedFor(ADA), 30 ether, "stake");
        beginRound();
        delegates.claimRewards(ADA);
        slash(10 ether, ADA);
        same(delegation(CORA, ADA), 20 ether, "delegation");
        undelegate(CORA, ADA, 20 ether);
        vm.roll(block.number + LOCKUP);
        vm.prank(CORA);
        delegates.undelegateStake();
        same(token.balanceOf(address(staking)), 0, "tokens held");
    }

    /// Tools that read other deployments of these contracts find what they look for.
    function testStakeIsToldUnderTheOldNamesToo() public {
        bytes32 topic = DelegateManager.IncreaseDelegatedStake.selector;
        same(topic, 0x82d701855f3ac4a098fc0249261c5e06d1050d23c8aa351fae8abefc2a464fda, "topic");
        yes(staking.supportsHistory(), "history");
        same(staking.lastStakedFor(ADA), 0, "never staked");
        same(staking.lastClaimedFor(ADA), 0, "never claimed");
        expectEvent(address(staking));
        emit Staking.Staked(ADA, D, D);
        operate(ADA, D);
        expectEvent(address(delegates));
        emit DelegateManager.IncreaseDelegatedStake(CORA, ADA, 40 ether);
        expectEvent(address(staking));
        emit Staking.Staked(ADA, 40 ether, D + 40 ether);
        delegate(CORA, ADA, 40 ether);
        same(staking.lastStakedFor(ADA), block.number, "staked now");
        undelegate(CORA, ADA, 10 ether);
        vm.roll(block.number + LOCKUP);
        expectEvent(address(staking));
        emit Staking.Unstaked(ADA, 10 ether, D + 30 ether);
        vm.prank(CORA);
        delegates.undelegateStake();
        expectEvent(address(delegates));
        emit DelegateManager.Slash(ADA, 30 ether, D);
        expectEvent(address(staking));
        emit Staking.Slashed(ADA, 30 ether, D);
        vm.prank(GOVERNANCE);
        delegates.slash(30 ether, ADA);
        beginRound();
        expectEvent(address(delegates));
        emit DelegateManager.Claim(ADA, FUNDING, D + FUNDING);
        delegates.claimRewards(ADA);
        same(staking.lastClaimedFor(ADA), block.number, "claimed now");
        vm.prank(ADA);
        factory.requestDecreaseStake(1 ether);
        vm.roll(block.number + LOCKUP);
        expectEvent(address(staking));
        emit Staking.Unstaked(ADA, 1 ether, D + FUNDING - 1 ether);
        vm.prank(ADA);
        factory.decreaseStake();
    }

    function testAnybodyClaimsForAnOperator() public {
        operate(ADA, D);
        beginRound();
        expectEvent(address(delegates));
        emit DelegateManager.Claimed(ADA, FUNDING, D + FUNDING);
        vm.prank(STRANGER);
        delegates.claimRewards(ADA);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.OperatorIsUnknown.selector, STRANGER));
        delegates.claimRewards(STRANGER);
    }

    function testClaimsNeedTheClaimsManager() public {
        DelegateManager fresh = newDelegateManager(address(votes), LOCKUP, LOCKUP, EVAL_BLOCKS);
        same(fresh.claimsManager(), address(0), "claims manager");
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.ClaimsManagerIsNotSet.selector));
        fresh.claimRewards(ADA);
        vm.prank(GOVERNANCE);
        staking.setDelegateManager(address(fresh));
        operate(ADA, D);
        vm.prank(CORA);
        fresh.delegateStake(ADA, 100 ether);
    }

    function testSharesFollowTheFormula(uint96[3] memory stakes, uint96[2] memory pending, uint8 cut) public {
        uint256 own = limited(stakes[0], 5 ether, 19_000_000 ether);
        uint256 first = limited(stakes[1], 1 ether, 19_000_000 ether);
        uint256 second = limited(stakes[2], 1 ether, 19_000_000 ether);
        uint256 lockedOwn = uint256(pending[0]) % (own - 5 ether + 1);
        uint256 lockedFirst = uint256(pending[1]) % (first - 1 ether + 1);
        uint256 part = uint256(cut) % 101;
        operate(BOB, D);
        operate(ADA, own);
        setCut(ADA, part);
        delegate(CORA, ADA, first);
        delegate(DAN, ADA, second);
        if (lockedFirst > 0) undelegate(CORA, ADA, lockedFirst);
        vm.prank(ADA);
        if (lockedOwn > 0) factory.requestDecreaseStake(lockedOwn);
        beginRound();
        delegates.claimRewards(ADA);

        uint256 active = own + first + second - lockedOwn - lockedFirst;
        uint256 reward = active * FUNDING / (own + first + second + D);
        uint256 firstShare = share(first - lockedFirst, reward, active, part);
        uint256 secondShare = share(second, reward, active, part);
        same(delegation(CORA, ADA), first + firstShare, "first");
        same(delegation(DAN, ADA), second + secondShare, "second");
        same(ownStake(ADA), own + reward - firstShare - secondShare, "the operator has the rest");
        same(staking.votingStakeFor(CORA), first + firstShare - lockedFirst, "votes");
        same(staking.totalStakedFor(ADA), own + first + second + reward, "all");
    }

    function testASlashIsProRata(uint96[3] memory stakes, uint256 amount) public {
        uint256 own = limited(stakes[0], 5 ether, 19_000_000 ether);
        uint256 first = limited(stakes[1], 1 ether, 19_000_000 ether);
        uint256 second = limited(stakes[2], 1 ether, 19_000_000 ether);
        operate(ADA, own);
        delegate(CORA, ADA, first);
        delegate(DAN, ADA, second);
        uint256 staked = own + first + second;
        uint256 burned = limited(amount, 1, staked);
        uint256 left = staked - burned;
        uint256 supply = token.totalSupply();
        slash(burned, ADA);
        same(delegation(CORA, ADA), left * first / staked, "first");
        same(delegation(DAN, ADA), left * second / staked, "second");
        same(ownStake(ADA), left - left * first / staked - left * second / staked, "the operator has the rest");
        same(supply - token.totalSupply(), burned, "burned");
        same(token.balanceOf(address(staking)), left, "tokens held");
    }

    function testParametersAreGovernances() public {
        vm.startPrank(STRANGER);
        expectNotGovernance(STRANGER);
        delegates.setClaimsManager(STRANGER);
        expectNotGovernance(STRANGER);
        delegates.setVotingGovernance(STRANGER);
        expectNotGovernance(STRANGER);
        delegates.updateMaxDelegators(1);
        expectNotGovernance(STRANGER);
        delegates.updateMinDelegationAmount(1);
        expectNotGovernance(STRANGER);
        delegates.updateUndelegateLockupDuration(1000);
        expectNotGovernance(STRANGER);
        delegates.updateRemoveDelegatorLockupDuration(1000);
        expectNotGovernance(STRANGER);
        delegates.updateRemoveDelegatorEvalDuration(1);
        vm.stopPrank();

        vm.startPrank(GOVERNANCE);
        expectEvent(address(delegates));
        emit DelegateManager.MaxDelegatorsUpdated(9);
        delegates.updateMaxDelegators(9);
        expectEvent(address(delegates));
        emit DelegateManager.MinDelegationAmountUpdated(8);
        delegates.updateMinDelegationAmount(8);
        expectEvent(address(delegates));
        emit DelegateManager.UndelegateLockupDurationUpdated(101);
        delegates.updateUndelegateLockupDuration(101);
        expectEvent(address(delegates));
        emit DelegateManager.RemoveDelegatorLockupDurationUpdated(102);
        delegates.updateRemoveDelegatorLockupDuration(102);
        expectEvent(address(delegates));
        emit DelegateManager.RemoveDelegatorEvalDurationUpdated(5);
        delegates.updateRemoveDelegatorEvalDuration(5);
        expectEvent(address(delegates));
        emit DelegateManager.ClaimsManagerChanged(address(claims), BOB);
        delegates.setClaimsManager(BOB);
        expectEvent(address(delegates));
        emit DelegateManager.VotingGovernanceChanged(address(votes), BOB);
        delegates.setVotingGovernance(BOB);
        same(delegates.getMaxDelegators(), 9, "delegators");
        same(delegates.getMinDelegationAmount(), 8, "least delegation");
        same(delegates.getUndelegateLockupDuration(), 101, "undelegation");
        same(delegates.getRemoveDelegatorLockupDuration(), 102, "removal");
        same(delegates.getRemoveDelegatorEvalDuration(), 5, "evaluation");
        same(delegates.votingGovernance(), BOB, "votes");
    }

    function testParametersHaveBounds() public {
        uint256 limit = delegates.DELEGATORS_LIMIT();
        vm.startPrank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.MaxDelegatorsIsWrong.selector, 0, limit));
        delegates.updateMaxDelegators(0);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.MaxDelegatorsIsWrong.selector, limit + 1, limit));
        delegates.updateMaxDelegators(limit + 1);
        vm.expectRevert(abi.encodeWithSelector(Lockups.LockupIsTooShort.selector, 90, 90));
        delegates.updateUndelegateLockupDuration(90);
        vm.expectRevert(abi.encodeWithSelector(Lockups.LockupIsTooShort.selector, 90, 90));
        delegates.updateRemoveDelegatorLockupDuration(90);
        vm.expectRevert(abi.encodeWithSelector(DelegateManager.EvalDurationIsZero.selector));
        delegates.updateRemoveDelegatorEvalDuration(0);
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "claims manager"));
        delegates.setClaimsManager(address(0));
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "voting governance"));
        delegates.setVotingGovernance(address(0));
        VotingPeriods longer = new VotingPeriods();
        longer.set(LOCKUP, 0);
        vm.expectRevert(abi.encodeWithSelector(Lockups.LockupIsTooShort.selector, LOCKUP, LOCKUP));
        delegates.setVotingGovernance(address(longer));
        delegates.updateUndelegateLockupDuration(LOCKUP + 1);
        vm.expectRevert(abi.encodeWithSelector(Lockups.LockupIsTooShort.selector, LOCKUP, LOCKUP));
        delegates.setVotingGovernance(address(longer));
        delegates.updateRemoveDelegatorLockupDuration(LOCKUP + 1);
        delegates.setVotingGovernance(address(longer));
    }

    function testAnIncompleteDeploymentIsRefused() public {
        address implementation = address(new DelegateManager());
        string[3] memory names = ["staking", "service provider factory", "voting governance"];
        for (uint256 i = 0; i < 3; i++) {
            address[3] memory parts = [address(staking), address(factory), address(votes)];
            parts[i] = address(0);
            vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, names[i]));
            proxied(
                implementation,
                abi.encodeCall(
                    DelegateManager.initialize, (GOVERNANCE, parts[0], parts[1], parts[2], LOCKUP, LOCKUP, 1)
                )
            );
        }
        same(delegates.staking(), address(staking), "staking");
        same(delegates.serviceProviderFactory(), address(factory), "factory");
        same(delegates.claimsManager(), address(claims), "claims");
    }

    function sendAway(address delegator, address operator) private {
        vm.prank(operator);
        delegates.requestRemoveDelegator(operator, delegator);
        vm.roll(block.number + LOCKUP);
        vm.prank(operator);
        delegates.removeDelegator(operator, delegator);
    }

    function share(uint256 stake, uint256 reward, uint256 active, uint256 cut) private pure returns (uint256) {
        return stake * reward / active - stake * reward * cut / (active * 100);
    }

    function outOfBounds(uint256 active, uint256 least, uint256 most) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ServiceProviderFactory.StakeIsOutOfBounds.selector, active, least, most);
    }

    function checkRemoval(address operator, address delegator, uint256 amount, uint256 unlockBlock) private view {
        (uint256 nowAmount, uint256 nowUnlock) = delegates.getRemovedDelegation(operator, delegator);
        same(nowAmount, amount, "amount");
        same(nowUnlock, unlockBlock, "unlock block");
    }

    function checkRequest(address delegator, address target, uint256 amount, uint256 unlockBlock) private view {
        (address nowTarget, uint256 nowAmount, uint256 nowUnlock) = delegates.getPendingUndelegateRequest(delegator);
        same(nowTarget, target, "target");
        same(nowAmount, amount, "amount");
        same(nowUnlock, unlockBlock, "unlock block");
    }
}
