// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {Lockups} from "../eth/Lockups.sol";
import {ServiceProviderFactory} from "../eth/ServiceProviderFactory.sol";
import {StakingFixture} from "./StakingFixture.sol";

/// What of the service provider factory concerns delegators, claims and votes.
contract DeployerCutTest is StakingFixture {
    function testTheCutChangesAfterItsLockup() public {
        operate(ADA, D);
        uint256 unlockBlock = block.number + CUT_LOCKUP;
        expectEvent(address(factory));
        emit ServiceProviderFactory.DeployerCutUpdateRequested(ADA, 25, unlockBlock);
        vm.startPrank(ADA);
        same(factory.requestUpdateDeployerCut(ADA, 25), unlockBlock, "unlock block");
        checkPending(25, unlockBlock);
        vm.expectRevert(
            abi.encodeWithSelector(ServiceProviderFactory.DeployerCutUpdateIsPending.selector, 25, unlockBlock)
        );
        factory.requestUpdateDeployerCut(ADA, 1);
        vm.roll(unlockBlock - 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                ServiceProviderFactory.DeployerCutUpdateIsLocked.selector, unlockBlock, unlockBlock - 1
            )
        );
        factory.updateDeployerCut(ADA);
        vm.roll(unlockBlock);
        expectEvent(address(factory));
        emit ServiceProviderFactory.DeployerCutUpdated(ADA, 25);
        factory.updateDeployerCut(ADA);
        checkPending(0, 0);
        same(cutOf(ADA), 25, "cut");
        vm.expectRevert(abi.encodeWithSelector(ServiceProviderFactory.NoDeployerCutUpdateIsPending.selector, ADA));
        factory.updateDeployerCut(ADA);
    }

    function testTheCutIsAHundredHundredthsAtMost() public {
        vm.startPrank(ADA);
        vm.expectRevert(abi.encodeWithSelector(ServiceProviderFactory.DeployerCutIsTooLarge.selector, 101, 100));
        factory.requestUpdateDeployerCut(ADA, 101);
        factory.requestUpdateDeployerCut(ADA, 100);
    }

    function testAChangeOfTheCutCanBeCancelled() public {
        vm.startPrank(ADA);
        bytes memory refusal =
            abi.encodeWithSelector(ServiceProviderFactory.NoDeployerCutUpdateIsPending.selector, ADA);
        vm.expectRevert(refusal);
        factory.cancelUpdateDeployerCut(ADA);
        factory.requestUpdateDeployerCut(ADA, 0);
        expectEvent(address(factory));
        emit ServiceProviderFactory.DeployerCutUpdateCancelled(ADA, 0);
        factory.cancelUpdateDeployerCut(ADA);
        vm.expectRevert(refusal);
        factory.updateDeployerCut(ADA);
    }

    function testTheOperatorAndGovernanceChangeTheCut() public {
        bytes memory refusal =
            abi.encodeWithSelector(ServiceProviderFactory.CallerIsNotOperator.selector, STRANGER, ADA);
        vm.startPrank(STRANGER);
        vm.expectRevert(refusal);
        factory.requestUpdateDeployerCut(ADA, 1);
        vm.expectRevert(refusal);
        factory.cancelUpdateDeployerCut(ADA);
        vm.expectRevert(refusal);
        factory.updateDeployerCut(ADA);
        vm.stopPrank();
        vm.startPrank(GOVERNANCE);
        factory.requestUpdateDeployerCut(ADA, 1);
        vm.roll(block.number + CUT_LOCKUP);
        factory.updateDeployerCut(ADA);
        same(cutOf(ADA), 1, "cut");
    }

    function testARoundIsSharedOutUnderTheCutItWasEarnedUnder() public {
        operate(ADA, D);
        delegate(CORA, ADA, D);
        vm.prank(ADA);
        factory.requestUpdateDeployerCut(ADA, 100);
        vm.roll(block.number + CUT_LOCKUP);
        beginRound();
        vm.startPrank(ADA);
        vm.expectRevert(abi.encodeWithSelector(ServiceProviderFactory.ClaimIsPending.selector, ADA));
        factory.updateDeployerCut(ADA);
        delegates.claimRewards(ADA);
        factory.updateDeployerCut(ADA);
        vm.stopPrank();
        same(delegation(CORA, ADA), D + FUNDING / 2, "half of the round");
        beginRound();
        delegates.claimRewards(ADA);
        same(delegation(CORA, ADA), D + FUNDING / 2, "nothing under a cut of all");
    }

    function testDeregisteringLeavesDelegations() public {
        operate(ADA, D);
        delegate(CORA, ADA, 50 ether);
        vm.startPrank(ADA);
        factory.deregister(SMALL, vm.toString(ADA));
        (uint256 pending,) = factory.getPendingDecreaseStakeRequest(ADA);
        same(pending, D, "own stake is asked back");
        same(staking.lockedFor(ADA), D, "locked");
        same(staking.votingStakeFor(ADA), 0, "votes");
        same(delegation(CORA, ADA), 50 ether, "delegation");
        yes(!validBounds(ADA), "in bounds without a service");
    }

    function testDeregisteringAsksBackWhatTheRestDoesNotAllowBesideDelegations() public {
        register(ADA, TIGHT, "one", TIGHT_MIN, WALLET);
        register(ADA, TIGHT, "two", TIGHT_MIN, WALLET);
        delegate(CORA, ADA, 150 ether);
        vm.prank(ADA);
        factory.deregister(TIGHT, "one");
        (uint256 pending,) = factory.getPendingDecreaseStakeRequest(ADA);
        same(pending, 100 ether, "down to what the other one asks for");
        yes(!validBounds(ADA), "delegations alone are too much");
    }

    function testDeregisteringAfterASlashAsksNothingBack() public {
        register(ADA, TIGHT, "one", TIGHT_MIN, WALLET);
        register(ADA, TIGHT, "two", TIGHT_MIN, WALLET);
        delegate(CORA, ADA, 200 ether);
        slash(240 ether, ADA);
        vm.prank(ADA);
        factory.deregister(TIGHT, "one");
        (uint256 pending,) = factory.getPendingDecreaseStakeRequest(ADA);
        same(pending, 0, "own stake is below the minimum");
    }

    function testRewardsMayPassTheMaximumAndEarnNothingFurther() public {
        register(ADA, TIGHT, "tight", TIGHT_MIN, WALLET);
        beginRound();
        delegates.claimRewards(ADA);
        same(staking.totalStakedFor(ADA), TIGHT_MIN + FUNDING, "stake");
        yes(!validBounds(ADA), "in bounds");
        beginRound();
        delegates.claimRewards(ADA);
        same(staking.totalStakedFor(ADA), TIGHT_MIN + FUNDING, "stake after another round");
        vm.prank(ADA);
        factory.requestDecreaseStake(FUNDING);
        yes(validBounds(ADA), "out of bounds");
    }

    function testOnlyTheDelegateManagerSetsOwnStake(address caller) public {
        vm.assume(caller != address(delegates));
        bytes memory refusal =
            abi.encodeWithSelector(ServiceProviderFactory.CallerIsNotDelegateManager.selector, caller);
        vm.startPrank(caller);
        vm.expectRevert(refusal);
        factory.updateServiceProviderStake(ADA, 1);
        vm.expectRevert(refusal);
        factory.dropDecreaseStakeRequest(ADA);
    }

    function testTheRestIsGovernances() public {
        vm.startPrank(STRANGER);
        expectNotGovernance(STRANGER);
        factory.setDelegateManager(STRANGER);
        expectNotGovernance(STRANGER);
        factory.setClaimsManager(STRANGER);
        expectNotGovernance(STRANGER);
        factory.setVotingGovernance(STRANGER);
        expectNotGovernance(STRANGER);
        factory.updateDecreaseStakeLockupDuration(1000);
        expectNotGovernance(STRANGER);
        factory.updateDeployerCutLockupDuration(1000);
        vm.stopPrank();

        vm.startPrank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "delegate manager"));
        factory.setDelegateManager(address(0));
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "claims manager"));
        factory.setClaimsManager(address(0));
        expectEvent(address(factory));
        emit ServiceProviderFactory.DelegateManagerChanged(address(delegates), BOB);
        factory.setDelegateManager(BOB);
        expectEvent(address(factory));
        emit ServiceProviderFactory.VotingGovernanceChanged(address(votes), BOB);
        factory.setVotingGovernance(BOB);
        expectEvent(address(factory));
        emit ServiceProviderFactory.DecreaseStakeLockupDurationUpdated(1);
        factory.updateDecreaseStakeLockupDuration(1);
        vm.expectRevert(abi.encodeWithSelector(Lockups.LockupIsZero.selector));
        factory.updateDecreaseStakeLockupDuration(0);
        same(factory.delegateManager(), BOB, "delegate manager");
        same(factory.votingGovernance(), BOB, "votes");
        same(factory.claimsManager(), address(claims), "claims manager");
    }

    function testTheCutIsLockedForLongerThanARound() public {
        bytes memory refusal = abi.encodeWithSelector(
            ServiceProviderFactory.DeployerCutLockupIsTooShort.selector, ROUND_BLOCKS, ROUND_BLOCKS
        );
        vm.startPrank(GOVERNANCE);
        vm.expectRevert(refusal);
        factory.updateDeployerCutLockupDuration(ROUND_BLOCKS);
        expectEvent(address(factory));
        emit ServiceProviderFactory.DeployerCutLockupDurationUpdated(ROUND_BLOCKS + 1);
        factory.updateDeployerCutLockupDuration(ROUND_BLOCKS + 1);
        same(factory.getDeployerCutLockupDuration(), ROUND_BLOCKS + 1, "lock-up");
        vm.expectRevert(abi.encodeWithSelector(Lockups.LockupIsZero.selector));
        factory.updateDeployerCutLockupDuration(0);
        vm.stopPrank();
        ServiceProviderFactory fresh = newFactory(address(votes), LOCKUP, ROUND_BLOCKS);
        vm.prank(GOVERNANCE);
        vm.expectRevert(refusal);
        fresh.setClaimsManager(address(claims));
    }

    function cutOf(address operator) private view returns (uint256 cut) {
        (, cut,,,,) = factory.getServiceProviderDetails(operator);
    }

    function checkPending(uint256 cut, uint256 unlockBlock) private view {
        (uint256 newCut, uint256 unlocks) = factory.getPendingUpdateDeployerCutRequest(ADA);
        same(newCut, cut, "new cut");
        same(unlocks, unlockBlock, "unlock block");
    }
}
