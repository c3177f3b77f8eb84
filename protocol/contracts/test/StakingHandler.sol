// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ClaimsManager} from "../eth/ClaimsManager.sol";
import {ColivingToken} from "../eth/ColivingToken.sol";
import {DelegateManager} from "../eth/DelegateManager.sol";
import {ServiceProviderFactory} from "../eth/ServiceProviderFactory.sol";
import {Staking} from "../eth/Staking.sol";
import {Vm} from "./Vm.sol";

/// Everything that operators, delegators and governance can try with stake, in any order; attempts may be refused.
/// What must never happen is counted, and what history said is kept, to be asked again later.
contract StakingHandler {
    struct Sample {
        uint256 blockNumber;
        uint256 all;
        uint256[5] staked;
        uint256[5] votes;
    }

    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    uint256 private constant SAMPLES_MAX = 64;

    ColivingToken private immutable token;
    Staking private immutable staking;
    ServiceProviderFactory private immutable factory;
    DelegateManager private immutable delegates;
    ClaimsManager private immutable claims;
    address private immutable governance;
    uint256 private immutable lockup;
    bytes32[2] private types;

    /// The first three operate, and all delegate.
    address[5] public actors = [address(0xa1), address(0xa2), address(0xa3), address(0xa4), address(0xa5)];
    uint256 public early;
    uint256 public overpaid;
    uint256 public wrongSlashes;
    uint256 public minted;
    uint256 public burned;
    uint256 public claimCount;
    uint256 public slashCount;
    uint256 public withdrawalCount;
    uint256 public undelegationCount;
    uint256 public removalCount;
    Sample[] private samples;
    uint256 private sampleCount;
    mapping(address actor => uint256) private decreaseRequested;
    mapping(address actor => uint256) private undelegationRequested;
    mapping(address operator => mapping(address delegator => uint256)) private removalRequested;

    constructor(DelegateManager manager, ColivingToken tokens, address governing, bytes32[2] memory serviceTypes) {
        delegates = manager;
        token = tokens;
        staking = Staking(manager.staking());
        factory = ServiceProviderFactory(manager.serviceProviderFactory());
        claims = ClaimsManager(manager.claimsManager());
        governance = governing;
        types = serviceTypes;
        lockup = manager.getUndelegateLockupDuration();
    }

    function register(uint256 who, uint256 kind, uint256 amount) external {
        address operator = operatorOf(who);
        uint256 stake = amount % 3 == 0 ? 0 : amount % 400 ether;
        bytes32 serviceType = types[kind % 2];
        string memory endpoint = vm.toString(address(uint160(kind % 3 + (uint256(uint160(operator)) << 8))));
        vm.prank(operator);
        try factory.register(serviceType, endpoint, stake, operator) {} catch {}
    }

    function deregister(uint256 who, uint256 kind, uint256 luck) external {
        if (luck % 3 != 0) return;
        address operator = operatorOf(who);
        (, uint256 before) = factory.getPendingDecreaseStakeRequest(operator);
        string memory endpoint = vm.toString(address(uint160(kind % 3 + (uint256(uint160(operator)) << 8))));
        vm.prank(operator);
        try factory.deregister(types[kind % 2], endpoint) {
            (, uint256 unlockBlock) = factory.getPendingDecreaseStakeRequest(operator);
            if (unlockBlock != before) decreaseRequested[operator] = block.number;
        } catch {}
    }

    function increaseStake(uint256 who, uint256 amount) external {
        vm.prank(operatorOf(who));
        try factory.increaseStake(amount % 300 ether) {} catch {}
    }

    function requestDecrease(uint256 who, uint256 amount) public {
        clear(amount);
        address operator = operatorOf(who);
        vm.prank(operator);
        try factory.requestDecreaseStake(amount % 300 ether) {
            decreaseRequested[operator] = block.number;
        } catch {}
    }

    function decrease(uint256 who, uint256 wait) external {
        address operator = operatorOf(who);
        (, uint256 unlockBlock) = factory.getPendingDecreaseStakeRequest(operator);
        if (unlockBlock == 0) {
            requestDecrease(who, wait);
            (, unlockBlock) = factory.getPendingDecreaseStakeRequest(operator);
        }
        approach(unlockBlock, wait);
        vm.prank(operator);
        try factory.decreaseStake() {
            withdrawn(decreaseRequested[operator]);
        } catch {}
    }

    function cancelDecrease(uint256 who) external {
        vm.prank(operatorOf(who));
        try factory.cancelDecreaseStakeRequest() {} catch {}
    }

    function delegate(uint256 who, uint256 to, uint256 amount) external {
        clear(amount);
        vm.prank(actors[who % 5]);
        try delegates.delegateStake(operatorOf(to), amount % 200 ether) {} catch {}
    }

    function requestUndelegate(uint256 who, uint256 from, uint256 amount) public {
        clear(amount);
        address delegator = actors[who % 5];
        address operator = operatorOf(from);
        uint256 delegated = delegates.getDelegatorStakeForServiceProvider(delegator, operator);
        uint256 asked = amount % 2 == 0 ? delegated : amount % (delegated + 2);
        vm.prank(delegator);
        try delegates.requestUndelegateStake(operator, asked) {
            undelegationRequested[delegator] = block.number;
        } catch {}
    }

    function cancelUndelegate(uint256 who, uint256 luck) external {
        if (luck % 3 != 0) return;
        vm.prank(actors[who % 5]);
        try delegates.cancelUndelegateStakeRequest() {} catch {}
    }

    function undelegate(uint256 who, uint256 wait) external {
        address delegator = actors[who % 5];
        (,, uint256 unlockBlock) = delegates.getPendingUndelegateRequest(delegator);
        if (unlockBlock == 0) {
            requestUndelegate(who, wait >> 8, wait >> 16);
            (,, unlockBlock) = delegates.getPendingUndelegateRequest(delegator);
        }
        approach(unlockBlock, wait);
        vm.prank(delegator);
        try delegates.undelegateStake() {
            withdrawn(undelegationRequested[delegator]);
            undelegationCount += 1;
        } catch {}
    }

    function requestRemoval(uint256 who, uint256 of_) public {
        (address operator, address delegator) = (operatorOf(who), actors[of_ % 5]);
        vm.prank(operator);
        try delegates.cancelRemoveDelegatorRequest(operator, delegator) {} catch {}
        vm.prank(operator);
        try delegates.requestRemoveDelegator(operator, delegator) {
            removalRequested[operator][delegator] = block.number;
        } catch {}
    }

    function remove(uint256 who, uint256 of_, uint256 wait) external {
        (address operator, address delegator) = (operatorOf(who), actors[of_ % 5]);
        if (wait % 2 == 0) requestRemoval(who, of_);
        approach(delegates.getPendingRemoveDelegatorRequest(operator, delegator), wait);
        vm.prank(operator);
        try delegates.removeDelegator(operator, delegator) {
            if (block.number < removalRequested[operator][delegator] + lockup) early += 1;
            removalRequested[operator][delegator] = block.number;
        } catch {}
    }

    /// Whoever is sent away may have asked for all of it before, which is when its lock-up began.
    function release(uint256 who, uint256 of_, uint256 wait) external {
        (address operator, address delegator) = (operatorOf(who), actors[of_ % 5]);
        (, uint256 unlockBlock) = delegates.getRemovedDelegation(operator, delegator);
        approach(unlockBlock, wait);
        try delegates.releaseDelegator(operator, delegator) {
            withdrawn(unlockBlock - lockup);
            removalCount += 1;
        } catch {}
    }

    function changeCut(uint256 who, uint256 cut) external {
        address operator = operatorOf(who);
        vm.startPrank(operator);
        try factory.updateDeployerCut(operator) {} catch {}
        try factory.requestUpdateDeployerCut(operator, cut % 102) {} catch {}
        vm.stopPrank();
    }

    function beginRound(uint256 who, uint256 wait) external {
        approach(claims.getLastFundedBlock() + claims.getFundingRoundBlockDiff() + 1, wait);
        vm.prank(actors[who % 5]);
        try claims.initiateRound() {} catch {}
    }

    function claim() public {
        for (uint256 i = 0; i < 3; i++) {
            claimFor(actors[i]);
        }
    }

    function claimFor(address operator) private {
        uint256 supply = token.totalSupply();
        try delegates.claimRewards(operator) {
            claimCount += 1;
            minted += token.totalSupply() - supply;
            if (claims.getTotalClaimedInRound() > claims.getFundedAmount()) overpaid += 1;
        } catch {}
    }

    /// Beside slashes within the stake there are some beyond it, which burn all of it.
    function slash(uint256 who, uint256 amount) external {
        address operator = operatorOf(who);
        uint256 staked = staking.totalStakedFor(operator);
        if (staked == 0) return;
        uint256 asked = amount % 16 == 0 ? staked : amount % (staked / 16 + 1);
        if (amount % 8 == 1) asked += staked;
        uint256 supply = token.totalSupply();
        vm.prank(governance);
        try delegates.slash(asked, operator) {
            slashCount += 1;
            if (asked > staked) asked = staked;
            burned += asked;
            if (supply - token.totalSupply() != asked) wrongSlashes += 1;
            if (staking.totalStakedFor(operator) != staked - asked) wrongSlashes += 1;
            if (staking.lockedFor(operator) != 0) wrongSlashes += 1;
        } catch {
            if (asked != 0) wrongSlashes += 1;
        }
    }

    function pass(uint256 blocks) external {
        advance(block.number + 1 + blocks % 90);
    }

    function historyHolds() external view returns (bool) {
        for (uint256 k = 0; k < samples.length; k++) {
            Sample memory sample = samples[k];
            if (staking.totalStakedAt(sample.blockNumber) != sample.all) return false;
            for (uint256 i = 0; i < 5; i++) {
                if (staking.totalStakedForAt(actors[i], sample.blockNumber) != sample.staked[i]) return false;
                if (staking.votingStakeForAt(actors[i], sample.blockNumber) != sample.votes[i]) return false;
            }
        }
        return true;
    }

    /// Mostly claims what stands in the way of a step.
    function clear(uint256 luck) private {
        if (luck % 7 != 0) claim();
    }

    /// Mostly moves to a block that something waits for, or just before it.
    function approach(uint256 blockNumber, uint256 wait) private {
        clear(wait);
        if (wait % 5 == 0) return;
        uint256 target = blockNumber - (blockNumber > 0 && wait % 5 == 1 ? 1 : 0);
        if (target > block.number) advance(target);
    }

    /// What the chain says of the block that ends here is kept.
    function advance(uint256 blockNumber) private {
        Sample memory sample;
        sample.blockNumber = block.number;
        sample.all = staking.totalStaked();
        for (uint256 i = 0; i < 5; i++) {
            sample.staked[i] = staking.totalStakedFor(actors[i]);
            sample.votes[i] = staking.votingStakeFor(actors[i]);
        }
        if (sampleCount < SAMPLES_MAX) samples.push(sample);
        else samples[sampleCount % SAMPLES_MAX] = sample;
        sampleCount += 1;
        vm.roll(blockNumber);
    }

    function withdrawn(uint256 requested) private {
        withdrawalCount += 1;
        if (requested == 0 || block.number < requested + lockup) early += 1;
    }

    function operatorOf(uint256 who) private view returns (address) {
        return actors[who % 3];
    }
}
