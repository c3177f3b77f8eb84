// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {Staking} from "../eth/Staking.sol";
import {Fixture} from "./Fixture.sol";

/// The addresses of the three contracts that move stake stand in for them here.
contract StakingTest is Fixture {
    function testStakeIsTakenAndGivenBack() public {
        expectEvent(address(staking));
        emit Staking.StakeChanged(ADA, 70, 0);
        stake(ADA, 70);
        stake(BOB, 5);
        same(staking.totalStakedFor(ADA), 70, "ada");
        same(staking.totalStaked(), 75, "all");
        same(token.balanceOf(address(staking)), 75, "tokens held");

        uint256 before = token.balanceOf(ADA);
        expectEvent(address(staking));
        emit Staking.StakeChanged(ADA, 70, 30);
        vm.prank(address(factory));
        staking.setLocked(ADA, 30);
        expectEvent(address(staking));
        emit Staking.StakeChanged(ADA, 40, 0);
        vm.prank(address(factory));
        staking.unstakeFor(ADA, 30);
        same(token.balanceOf(ADA), before + 30, "given back");
        same(staking.totalStaked(), 45, "all");
        same(token.balanceOf(address(staking)), 45, "tokens held");
    }

    function testHistoryAnswersForEveryBlock() public {
        vm.roll(2000);
        stake(ADA, 10);
        stake(ADA, 5);
        vm.roll(2010);
        stake(BOB, 100);
        vm.roll(2020);
        unstake(ADA, 15);

        same(staking.totalStakedForAt(ADA, 0), 0, "block 0");
        same(staking.totalStakedForAt(ADA, 1999), 0, "before");
        same(staking.totalStakedForAt(ADA, 2000), 15, "the last change of a block counts");
        same(staking.totalStakedForAt(ADA, 2019), 15, "until the next change");
        same(staking.totalStakedForAt(ADA, 2020), 0, "the current block");
        same(staking.totalStakedAt(2009), 15, "all, early");
        same(staking.totalStakedAt(2010), 115, "all, later");
        same(staking.totalStakedAt(2020), 100, "all, at the end");
        vm.roll(3000);
        same(staking.totalStakedAt(2999), 100, "between changes");
    }

    function testHistoryMatchesAPlainModel(uint64[12] memory amounts, uint8[12] memory gaps) public {
        uint256[12] memory blocks;
        uint256[12] memory expected;
        uint256 staked = 0;
        uint256 number = 5000;
        for (uint256 i = 0; i < amounts.length; i++) {
            number += 1 + uint256(gaps[i]);
            vm.roll(number);
            uint256 amount = 1 + uint256(amounts[i]);
            if (i % 3 == 2 && amount <= staked) {
                unstake(ADA, amount);
                staked -= amount;
            } else {
                stake(ADA, amount);
                staked += amount;
            }
            blocks[i] = number;
            expected[i] = staked;
        }
        for (uint256 i = 0; i < blocks.length; i++) {
            same(staking.totalStakedForAt(ADA, blocks[i]), expected[i], "at the change");
            same(staking.totalStakedForAt(ADA, blocks[i] - 1), i == 0 ? 0 : expected[i - 1], "just before it");
            same(staking.totalStakedAt(blocks[i]), expected[i], "all");
        }
        same(token.balanceOf(address(staking)), staked, "tokens held");
    }

    function testTheFutureIsRefused() public {
        bytes memory refusal =
            abi.encodeWithSelector(Staking.BlockIsInTheFuture.selector, block.number + 1, block.number);
        vm.expectRevert(refusal);
        staking.totalStakedForAt(ADA, block.number + 1);
        vm.expectRevert(refusal);
        staking.totalStakedAt(block.number + 1);
    }

    function testOnlyTheFactoryMovesStake(address caller) public {
        vm.assume(caller != address(factory));
        bytes memory refusal = abi.encodeWithSelector(Staking.CallerIsNotServiceProviderFactory.selector, caller);
        vm.prank(caller);
        vm.expectRevert(refusal);
        staking.stakeFor(ADA, 1);
        vm.prank(caller);
        vm.expectRevert(refusal);
        staking.unstakeFor(ADA, 1);
    }

    function testNothingIsNotAnAmount() public {
        vm.startPrank(address(factory));
        vm.expectRevert(abi.encodeWithSelector(Staking.AmountIsZero.selector));
        staking.stakeFor(ADA, 0);
        vm.expectRevert(abi.encodeWithSelector(Staking.AmountIsZero.selector));
        staking.unstakeFor(ADA, 0);
    }

    function testMoreThanTheStakeIsRefused() public {
        stake(ADA, 10);
        stake(BOB, 10);
        vm.startPrank(address(factory));
        vm.expectRevert(abi.encodeWithSelector(Staking.LockIsTooLarge.selector, ADA, 10, 11));
        staking.setLocked(ADA, 11);
        staking.setLocked(ADA, 9);
        vm.expectRevert(abi.encodeWithSelector(Staking.StakeIsNotLocked.selector, ADA, 9, 10));
        staking.unstakeFor(ADA, 10);
    }

    function testStakeNeedsAnApproval() public {
        vm.prank(ADA);
        token.approve(address(staking), 3);
        vm.prank(address(factory));
        vm.expectRevert(
            abi.encodeWithSignature("ERC20InsufficientAllowance(address,uint256,uint256)", address(staking), 3, 4)
        );
        staking.stakeFor(ADA, 4);
        same(staking.totalStakedFor(ADA), 0, "nothing staked");
    }

    function testGovernanceNamesTheFactory() public {
        same(staking.token(), address(token), "token");
        same(staking.serviceProviderFactory(), address(factory), "factory");
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, STRANGER));
        staking.setServiceProviderFactory(STRANGER);
        vm.prank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "service provider factory"));
        staking.setServiceProviderFactory(address(0));

        expectEvent(address(staking));
        emit Staking.ServiceProviderFactoryChanged(address(factory), BOB);
        vm.prank(GOVERNANCE);
        staking.setServiceProviderFactory(BOB);
        same(staking.serviceProviderFactory(), BOB, "factory");
    }

    function testEachCallerHasItsPart() public {
        stake(ADA, 100);
        bytes memory notManager = abi.encodeWithSelector(Staking.CallerIsNotDelegateManager.selector, address(factory));
        bytes memory notFactory =
            abi.encodeWithSelector(Staking.CallerIsNotServiceProviderFactory.selector, address(delegates));
        bytes memory notClaims =
            abi.encodeWithSelector(Staking.CallerIsNotClaimsManager.selector, address(delegates));
        vm.startPrank(address(factory));
        vm.expectRevert(notManager);
        staking.delegateStakeFor(ADA, BOB, 1);
        vm.expectRevert(notManager);
        staking.undelegateStakeFor(ADA, BOB, 1);
        vm.expectRevert(notManager);
        staking.slash(1, ADA);
        vm.expectRevert(notManager);
        staking.setVotingStakes(new address[](0), new uint256[](0));
        vm.stopPrank();
        vm.startPrank(address(delegates));
        vm.expectRevert(notFactory);
        staking.stakeFor(ADA, 1);
        vm.expectRevert(notFactory);
        staking.unstakeFor(ADA, 1);
        vm.expectRevert(notClaims);
        staking.stakeRewards(ADA, 1);
    }

    function testStrangersLockNothingAndSetNoVotes(address caller) public {
        vm.assume(caller != address(factory) && caller != address(delegates));
        bytes memory refusal = abi.encodeWithSelector(Staking.CallerDoesNotMoveStake.selector, caller);
        vm.startPrank(caller);
        vm.expectRevert(refusal);
        staking.setLocked(ADA, 0);
        vm.expectRevert(refusal);
        staking.setVotingStake(ADA, 1);
    }

    function testLocksAreKeptApartAndAddUp() public {
        stake(ADA, 100);
        vm.prank(address(delegates));
        staking.delegateStakeFor(ADA, BOB, 50);
        vm.prank(address(factory));
        staking.setLocked(ADA, 60);
        expectEvent(address(staking));
        emit Staking.StakeChanged(ADA, 150, 90);
        vm.prank(address(delegates));
        staking.setLocked(ADA, 30);
        same(staking.lockedFor(ADA), 90, "both locks");
        vm.prank(address(delegates));
        vm.expectRevert(abi.encodeWithSelector(Staking.StakeIsNotLocked.selector, ADA, 30, 31));
        staking.undelegateStakeFor(ADA, BOB, 31);
        vm.prank(address(delegates));
        staking.undelegateStakeFor(ADA, BOB, 30);
        same(staking.lockedFor(ADA), 60, "the own lock is left");
        vm.prank(address(delegates));
        vm.expectRevert(abi.encodeWithSelector(Staking.LockIsTooLarge.selector, ADA, 120, 121));
        staking.setLocked(ADA, 61);
    }

    function testVotesHaveAHistoryOfTheirOwn() public {
        vm.roll(2000);
        vm.prank(address(factory));
        staking.setVotingStake(ADA, 10);
        vm.prank(address(delegates));
        staking.setVotingStake(ADA, 5);
        vm.roll(2010);
        vm.prank(address(factory));
        staking.setVotingStake(ADA, 10);
        address[] memory accounts = new address[](2);
        uint256[] memory amounts = new uint256[](2);
        (accounts[0], accounts[1], amounts[0], amounts[1]) = (ADA, BOB, 7, 8);
        vm.prank(address(delegates));
        staking.setVotingStakes(accounts, amounts);
        vm.roll(2020);
        vm.prank(address(factory));
        staking.setVotingStake(ADA, 0);
        same(staking.votingStakeForAt(ADA, 1999), 0, "before");
        same(staking.votingStakeForAt(ADA, 2000), 15, "own and delegated");
        same(staking.votingStakeForAt(ADA, 2010), 17, "delegated more");
        same(staking.votingStakeForAt(ADA, 2019), 17, "until the next change");
        same(staking.votingStakeForAt(ADA, 2020), 7, "so far");
        same(staking.votingStakeFor(BOB), 8, "bob");
        yes(staking.isStaker(BOB) && !staking.isStaker(CORA), "stakers");
        vm.expectRevert(abi.encodeWithSelector(Staking.BlockIsInTheFuture.selector, 2021, 2020));
        staking.votingStakeForAt(ADA, 2021);
        vm.prank(address(delegates));
        vm.expectRevert(abi.encodeWithSelector(Staking.LengthsDiffer.selector, 2, 1));
        staking.setVotingStakes(accounts, new uint256[](1));
    }

    function testRewardsMustHaveArrived() public {
        stake(ADA, 100);
        vm.prank(address(claims));
        vm.expectRevert(abi.encodeWithSelector(Staking.RewardsAreMissing.selector, 100, 107));
        staking.stakeRewards(ADA, 7);
        vm.prank(address(claims));
        vm.expectRevert(abi.encodeWithSelector(Staking.AmountIsZero.selector));
        staking.stakeRewards(ADA, 0);
        vm.prank(BOB);
        token.transfer(address(staking), 7);
        vm.prank(address(claims));
        staking.stakeRewards(ADA, 7);
        same(staking.totalStakedFor(ADA), 107, "stake");
    }

    function testASlashBurnsWhatIsNotLocked() public {
        stake(ADA, 100);
        vm.prank(address(factory));
        staking.setLocked(ADA, 30);
        vm.startPrank(address(delegates));
        vm.expectRevert(abi.encodeWithSelector(Staking.StakeIsTooSmall.selector, ADA, 100, 101));
        staking.slash(101, ADA);
        vm.expectRevert(abi.encodeWithSelector(Staking.LockIsTooLarge.selector, ADA, 29, 30));
        staking.slash(71, ADA);
        vm.expectRevert(abi.encodeWithSelector(Staking.AmountIsZero.selector));
        staking.slash(0, ADA);
        uint256 supply = token.totalSupply();
        expectEvent(address(staking));
        emit Staking.StakeSlashed(ADA, 70);
        staking.slash(70, ADA);
        same(token.totalSupply(), supply - 70, "burned");
        same(staking.totalStaked(), 30, "left");
    }

    function testGovernanceNamesTheOtherTwo() public {
        same(staking.delegateManager(), address(delegates), "delegate manager");
        same(staking.claimsManager(), address(claims), "claims manager");
        bytes memory refusal = abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, STRANGER);
        vm.startPrank(STRANGER);
        vm.expectRevert(refusal);
        staking.setDelegateManager(STRANGER);
        vm.expectRevert(refusal);
        staking.setClaimsManager(STRANGER);
        vm.stopPrank();
        vm.startPrank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "delegate manager"));
        staking.setDelegateManager(address(0));
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "claims manager"));
        staking.setClaimsManager(address(0));
        expectEvent(address(staking));
        emit Staking.DelegateManagerChanged(address(delegates), BOB);
        staking.setDelegateManager(BOB);
        expectEvent(address(staking));
        emit Staking.ClaimsManagerChanged(address(claims), BOB);
        staking.setClaimsManager(BOB);
    }

    function testATokenMustBeGiven() public {
        address implementation = address(new Staking());
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "token"));
        proxied(implementation, abi.encodeCall(Staking.initialize, (GOVERNANCE, address(0))));
    }

    function stake(address operator, uint256 amount) private {
        vm.prank(address(factory));
        staking.stakeFor(operator, amount);
    }

    function unstake(address operator, uint256 amount) private {
        vm.startPrank(address(factory));
        staking.setLocked(operator, amount);
        staking.unstakeFor(operator, amount);
        vm.stopPrank();
    }
}
