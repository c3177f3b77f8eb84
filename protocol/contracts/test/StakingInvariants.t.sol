// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {StakingFixture} from "./StakingFixture.sol";
import {StakingHandler} from "./StakingHandler.sol";

/// Whatever operators, delegators and governance do, every token of stake is there, belongs to somebody, votes once and
/// leaves after its lock-up.
contract StakingInvariantsTest is StakingFixture {
    uint256 private constant TOKENS = 10_000 ether;

    StakingHandler private handler;

    function setUp() public override {
        super.setUp();
        vm.startPrank(GOVERNANCE);
        claims.updateFundingAmount(100 ether);
        delegates.updateMaxDelegators(4);
        vm.stopPrank();
        handler = new StakingHandler(delegates, token, GOVERNANCE, [SMALL, TIGHT]);
        for (uint256 i = 0; i < 5; i++) {
            fund(handler.actors(i), TOKENS);
        }
        for (uint256 i = 0; i < 3; i++) {
            register(handler.actors(i), SMALL, vm.toString(handler.actors(i)), 50 ether, WALLET);
            delegate(handler.actors(4), handler.actors(i), 20 ether);
        }
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariantTheTokensOfAllStakeAreThere() public view {
        uint256 staked = 0;
        uint256 free = 0;
        for (uint256 i = 0; i < 5; i++) {
            staked += staking.totalStakedFor(handler.actors(i));
            free += token.balanceOf(handler.actors(i));
        }
        same(staking.totalStaked(), staked, "all stake");
        yes(token.balanceOf(address(staking)) >= staked, "tokens are missing");
        same(free + staked + handler.burned(), 5 * TOKENS + handler.minted(), "tokens appeared or vanished");
        same(handler.overpaid(), 0, "claims beyond the round's amount");
    }

    function invariantDelegationsAddUp() public view {
        uint256[5] memory totals;
        for (uint256 i = 0; i < 3; i++) {
            address operator = handler.actors(i);
            uint256 delegated = 0;
            uint256 delegators = 0;
            for (uint256 k = 0; k < 5; k++) {
                uint256 part = delegation(handler.actors(k), operator);
                delegated += part;
                totals[k] += part;
                if (part > 0) delegators += 1;
            }
            same(delegates.getTotalDelegatedToServiceProvider(operator), delegated, "delegated");
            same(ownStake(operator) + delegated, staking.totalStakedFor(operator), "own and delegated");
            checkList(operator, delegators);
        }
        for (uint256 k = 0; k < 5; k++) {
            same(delegates.getTotalDelegatorStake(handler.actors(k)), totals[k], "delegator");
        }
    }

    function invariantVotesAreActiveStakeAndLocksArePendingRequests() public view {
        uint256[3] memory pending;
        for (uint256 k = 0; k < 5; k++) {
            address account = handler.actors(k);
            (address target, uint256 leaving,) = delegates.getPendingUndelegateRequest(account);
            uint256 votes = delegates.getTotalDelegatorStake(account) - leaving;
            for (uint256 i = 0; i < 3; i++) {
                (uint256 sentAway,) = delegates.getRemovedDelegation(handler.actors(i), account);
                if (sentAway > 0) same(sentAway, delegation(account, handler.actors(i)), "sent away whole");
                votes -= sentAway;
                pending[i] += sentAway;
            }
            if (k < 3) {
                (uint256 decrease,) = factory.getPendingDecreaseStakeRequest(account);
                votes += ownStake(account) - decrease;
            }
            same(staking.votingStakeFor(account), votes, "votes");
            if (leaving > 0) yes(leaving <= delegation(account, target), "more leaves than was delegated");
            for (uint256 i = 0; i < 3; i++) {
                if (leaving > 0 && target == handler.actors(i)) pending[i] += leaving;
            }
        }
        for (uint256 i = 0; i < 3; i++) {
            address operator = handler.actors(i);
            (uint256 decrease,) = factory.getPendingDecreaseStakeRequest(operator);
            same(delegates.getTotalLockedDelegationForServiceProvider(operator), pending[i], "locked delegations");
            same(staking.lockedFor(operator), pending[i] + decrease, "locked");
        }
    }

    function invariantHistoryNeverRewritesThePast() public view {
        yes(handler.historyHolds(), "history changed");
    }

    function invariantNothingLeavesInALockupAndSlashesAreExact() public view {
        same(handler.early(), 0, "left inside a lock-up");
        same(handler.wrongSlashes(), 0, "slashes");
    }

    /// So that the invariants are not about nothing: every kind of step succeeds in a long enough run.
    function testEveryStepIsReached() public {
        for (uint256 i = 0; i < 600; i++) {
            uint256 seed = uint256(keccak256(abi.encode(i)));
            step(seed % 18, seed >> 8, seed >> 32, seed >> 128);
        }
        yes(handler.claimCount() > 10, "claims");
        yes(handler.minted() > 0, "rewards");
        yes(handler.slashCount() > 5, "slashes");
        yes(handler.undelegationCount() > 2, "undelegations");
        yes(handler.removalCount() > 0, "removals");
        yes(handler.withdrawalCount() > handler.undelegationCount() + handler.removalCount(), "decreases");
        invariantTheTokensOfAllStakeAreThere();
        invariantDelegationsAddUp();
        invariantVotesAreActiveStakeAndLocksArePendingRequests();
        invariantHistoryNeverRewritesThePast();
        invariantNothingLeavesInALockupAndSlashesAreExact();
    }

    function step(uint256 kind, uint256 who, uint256 other, uint256 amount) private {
        if (kind == 0) handler.register(who, other, amount);
        if (kind == 1) handler.deregister(who, other, amount);
        if (kind == 2) handler.increaseStake(who, amount);
        if (kind == 3) handler.requestDecrease(who, amount);
        if (kind == 4) handler.decrease(who, other);
        if (kind == 5) handler.cancelDecrease(who);
        if (kind == 6) handler.delegate(who, other, amount);
        if (kind == 7) handler.requestUndelegate(who, other, amount);
        if (kind == 8) handler.cancelUndelegate(who, other);
        if (kind == 9) handler.undelegate(who, other);
        if (kind == 10) handler.requestRemoval(who, other);
        if (kind == 11) handler.remove(who, other, amount);
        if (kind == 12) handler.changeCut(who, other);
        if (kind == 13) handler.beginRound(who, other);
        if (kind == 14) handler.claim();
        if (kind == 15) handler.slash(who, amount);
        if (kind == 16) handler.pass(who);
        if (kind == 17) handler.release(who, other, amount);
    }

    /// The list holds whoever has a delegation, once each.
    function checkList(address operator, uint256 delegators) private view {
        address[] memory list = delegates.getDelegatorsList(operator);
        same(list.length, delegators, "delegators");
        yes(list.length <= delegates.getMaxDelegators(), "too many delegators");
        for (uint256 i = 0; i < list.length; i++) {
            yes(delegation(list[i], operator) > 0, "listed without a delegation");
            for (uint256 k = 0; k < i; k++) {
                yes(list[k] != list[i], "listed twice");
            }
        }
    }
}
