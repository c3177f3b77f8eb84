// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";
import {Governed} from "../common/Governed.sol";
import {ClaimsManager} from "./ClaimsManager.sol";
import {Lockups} from "./Lockups.sol";
import {ServiceProviderFactory} from "./ServiceProviderFactory.sol";
import {Staking} from "./Staking.sol";

/// @title Where anybody delegates stake to operators, where rewards are shared out, and where operators are slashed.
/// @notice A delegation earns its share of the operator's rewards without the operator's cut, and is slashed with it.
/// It leaves by request and lock-up, or is sent away after a notice and a lock-up. Divisions round down, and what they
/// leave over is the operator's.
contract DelegateManager is Governed {
    using EnumerableSet for EnumerableSet.AddressSet;

    /// What is delegated to an operator, and by whom.
    struct Delegations {
        EnumerableSet.AddressSet delegators;
        uint256 total;
        uint256 locked;
        uint256 minAmount;
    }

    /// A request is pending while its amount is not zero. Beside it stands what operators are sending back unasked.
    struct UndelegateRequest {
        address operator;
        uint64 unlockBlock;
        uint128 amount;
        uint128 sentAway;
    }

    /// The removal of a delegator is announced while its amount is zero; once it is made, the whole delegation is locked.
    struct Removal {
        uint64 unlockBlock;
        uint128 amount;
    }

    /// @custom:storage-location erc7201:coliving.storage.DelegateManager
    struct DelegateManagerStorage {
        Staking staking;
        ServiceProviderFactory serviceProviderFactory;
        ClaimsManager claimsManager;
        address votingGovernance;
        uint256 undelegateLockupBlocks;
        uint256 removeDelegatorLockupBlocks;
        uint256 removeDelegatorEvalBlocks;
        uint256 maxDelegators;
        uint256 minDelegationAmount;
        mapping(address operator => Delegations) operators;
        mapping(address delegator => mapping(address operator => uint256)) stakes;
        mapping(address delegator => uint256) totals;
        mapping(address delegator => UndelegateRequest) undelegateRequests;
        mapping(address operator => mapping(address delegator => Removal)) removals;
    }

    bytes32 private constant DELEGATE_MANAGER_SLOT =
        0x5fcf3eaa6a5390e537bfedbf7b01e4bff9c9c87a171e71b67c398433e17f4100;

    /// @notice Governance cannot allow more delegators per operator than this: a claim and a slash reach all of them in
    /// one transaction.
    uint256 public constant DELEGATORS_LIMIT = 200;

    /// @notice A delegator added to its delegation.
    event DelegatedStakeIncreased(address indexed delegator, address indexed operator, uint256 amount);

    /// @notice A delegator can take `amount` back from `unlockBlock` on.
    event UndelegateStakeRequested(
        address indexed delegator, address indexed operator, uint256 amount, uint256 unlockBlock
    );

    /// @notice A delegator's request ended without the stake leaving: it was cancelled, or a slash or a removal came
    /// first.
    event UndelegateStakeRequestCancelled(address indexed delegator, address indexed operator, uint256 amount);

    /// @notice A delegator took stake back.
    event UndelegateStakeRequestEvaluated(address indexed delegator, address indexed operator, uint256 amount);

    /// @notice An operator can send a delegator away from `unlockBlock` on.
    event RemoveDelegatorRequested(address indexed operator, address indexed delegator, uint256 unlockBlock);

    /// @notice An operator keeps a delegator: it cancelled the removal, or a slash came first.
    event RemoveDelegatorRequestCancelled(address indexed operator, address indexed delegator);

    /// @notice An operator sends a delegator away: its whole delegation is locked and leaves from `unlockBlock` on.
    event DelegatorSentAway(
        address indexed operator, address indexed delegator, uint256 amount, uint256 unlockBlock
    );

    /// @notice A delegator that was sent away got its whole delegation back.
    event RemoveDelegatorRequestEvaluated(
        address indexed operator, address indexed delegator, uint256 unstakedAmount
    );

    /// @notice Rewards were shared out; `newTotal` is the stake behind the operator after it.
    event Claimed(address indexed operator, uint256 rewards, uint256 newTotal);

    /// @notice Stake behind an operator was burned; `newTotal` is left.
    event Slashed(address indexed operator, uint256 amount, uint256 newTotal);

    /// @notice A delegator added to its delegation. This and the next two are for tools that read them in other deployments
    /// of these contracts; `DelegatedStakeIncreased`, `Claimed` and `Slashed` tell the same.
    event IncreaseDelegatedStake(
        address indexed delegator, address indexed serviceProvider, uint256 indexed increaseAmount
    );

    /// @notice Rewards were shared out.
    event Claim(address indexed claimer, uint256 indexed rewards, uint256 indexed newTotal);

    /// @notice Stake behind an operator was burned.
    event Slash(address indexed target, uint256 indexed amount, uint256 indexed newTotal);

    /// @notice An operator takes no delegation below this.
    event SPMinDelegationAmountUpdated(address indexed operator, uint256 amount);

    /// @notice No delegation may be below this.
    event MinDelegationAmountUpdated(uint256 amount);

    /// @notice An operator may have this many delegators.
    event MaxDelegatorsUpdated(uint256 maxDelegators);

    /// @notice Undelegations requested from now on are locked for this many blocks.
    event UndelegateLockupDurationUpdated(uint256 lockupBlocks);

    /// @notice Of removals requested from now on delegators are told this many blocks before.
    event RemoveDelegatorLockupDurationUpdated(uint256 lockupBlocks);

    /// @notice A removal can be made for this many blocks after its lock-up.
    event RemoveDelegatorEvalDurationUpdated(uint256 evalBlocks);

    /// @notice The contract that processes claims was named.
    event ClaimsManagerChanged(address indexed previousManager, address indexed claimsManager);

    /// @notice The contract whose votes lock-ups must outlast was named.
    event VotingGovernanceChanged(address indexed previousGovernance, address indexed votingGovernance);

    /// @notice A delegation, a request and what a slash burns must be more than zero.
    error AmountIsZero();

    /// @notice A delegation must reach what governance and the operator ask for, or be zero.
    error DelegationIsTooSmall(uint256 delegated, uint256 minDelegation);

    /// @notice The operator has as many delegators as it may.
    error TooManyDelegators(uint256 maxDelegators);

    /// @notice Rewards of the round must be claimed first (`claimRewards`, by anybody).
    error ClaimIsPending(address operator);

    /// @notice Claims cannot be made before governance named the claims manager.
    error ClaimsManagerIsNotSet();

    /// @notice The account has delegated less to the operator.
    error DelegationIsLess(address operator, uint256 delegated, uint256 amount);

    /// @notice The account has delegated nothing to the operator.
    error DelegatorIsUnknown(address operator, address delegator);

    /// @notice One undelegation is pending; it must be taken out or cancelled first.
    error UndelegationIsPending(address operator, uint256 amount, uint256 unlockBlock);

    /// @notice No undelegation is pending.
    error NoUndelegationIsPending(address delegator);

    /// @notice The undelegation is locked for some more blocks.
    error UndelegationIsLocked(uint256 unlockBlock, uint256 currentBlock);

    /// @notice Only the operator and governance may do this.
    error CallerIsNotOperator(address caller, address operator);

    /// @notice The removal was requested already.
    error RemovalIsPending(uint256 unlockBlock);

    /// @notice No removal of the delegator is pending.
    error NoRemovalIsPending(address operator, address delegator);

    /// @notice The operator sends the delegator away, and all that it has delegated is locked until `unlockBlock`.
    error DelegatorIsSentAway(address operator, address delegator, uint256 unlockBlock);

    /// @notice The operator does not send the delegator away: that takes a request and `removeDelegator`.
    error DelegatorIsNotSentAway(address operator, address delegator);

    /// @notice The removal is locked for some more blocks.
    error RemovalIsLocked(uint256 unlockBlock, uint256 currentBlock);

    /// @notice The removal could be made until `lastBlock`; it must be cancelled and requested again.
    error RemovalHasLapsed(uint256 lastBlock, uint256 currentBlock);

    /// @notice Nobody has staked for this operator and it has no services.
    error OperatorIsUnknown(address operator);

    /// @notice The number of delegators must be at least one and at most `limit`.
    error MaxDelegatorsIsWrong(uint256 maxDelegators, uint256 limit);

    /// @notice A removal can be made for at least one block.
    error EvalDurationIsZero();

    /// @param initialGovernance the governance address
    /// @param stakingProxy the contract that holds the stake
    /// @param factory the contract that knows the operators
    /// @param votes the contract whose votes lock-ups must outlast
    /// @param undelegateLockup how many blocks an undelegation is locked
    /// @param removeLockup how many blocks before its removal a delegator is told
    /// @param removeEval how many blocks after that it can be made
    function initialize(
        address initialGovernance,
        address stakingProxy,
        address factory,
        address votes,
        uint256 undelegateLockup,
        uint256 removeLockup,
        uint256 removeEval
    ) external initializer {
        _initializeGoverned(initialGovernance);
        _requireNonZero(stakingProxy, "staking");
        _requireNonZero(factory, "service provider factory");
        _requireNonZero(votes, "voting governance");
        DelegateManagerStorage storage $ = _manager();
        $.staking = Staking(stakingProxy);
        $.serviceProviderFactory = ServiceProviderFactory(factory);
        $.votingGovernance = votes;
        emit VotingGovernanceChanged(address(0), votes);
        _setUndelegateLockup(undelegateLockup);
        _setRemoveLockup(removeLockup);
        _setRemoveEval(removeEval);
        _setMaxDelegators(175);
        _setMinDelegation(100 ether);
    }

    /// @notice Names the contract that processes claims.
    function setClaimsManager(address newManager) external onlyGovernance {
        _requireNonZero(newManager, "claims manager");
        DelegateManagerStorage storage $ = _manager();
        emit ClaimsManagerChanged(address($.claimsManager), newManager);
        $.claimsManager = ClaimsManager(newManager);
    }

    /// @notice Names the contract whose votes lock-ups must outlast.
    function setVotingGovernance(address newGovernance) external onlyGovernance {
        _requireNonZero(newGovernance, "voting governance");
        DelegateManagerStorage storage $ = _manager();
        Lockups.requireLongerThanVote(newGovernance, $.undelegateLockupBlocks);
        Lockups.requireLongerThanVote(newGovernance, $.removeDelegatorLockupBlocks);
        emit VotingGovernanceChanged($.votingGovernance, newGovernance);
        $.votingGovernance = newGovernance;
    }

    /// @notice Changes how many blocks undelegations requested from now on are locked.
    function updateUndelegateLockupDuration(uint256 lockupBlocks) external onlyGovernance {
        _setUndelegateLockup(lockupBlocks);
    }

    /// @notice Changes how many blocks removals requested from now on wait.
    function updateRemoveDelegatorLockupDuration(uint256 lockupBlocks) external onlyGovernance {
        _setRemoveLockup(lockupBlocks);
    }

    /// @notice Changes for how many blocks after its lock-up a removal can be made.
    function updateRemoveDelegatorEvalDuration(uint256 evalBlocks) external onlyGovernance {
        _setRemoveEval(evalBlocks);
    }

    /// @notice Changes how many delegators an operator may have; those that it has stay.
    function updateMaxDelegators(uint256 maxDelegators) external onlyGovernance {
        _setMaxDelegators(maxDelegators);
    }

    /// @notice Changes the least delegation, in wei; smaller ones that exist stay.
    function updateMinDelegationAmount(uint256 amount) external onlyGovernance {
        _setMinDelegation(amount);
    }

    /// @notice Changes the least delegation that an operator takes, in wei; smaller ones that exist stay.
    function updateSPMinDelegationAmount(address operator, uint256 amount) external {
        if (msg.sender != operator) revert CallerIsNotOperator(msg.sender, operator);
        _manager().operators[operator].minAmount = amount;
        emit SPMinDelegationAmountUpdated(operator, amount);
    }

    /// @notice Delegates `amount` to an operator; the caller approves the staking contract first.
    /// @return what the caller has delegated to the operator after it, in wei
    function delegateStake(address operator, uint256 amount) external returns (uint256) {
        if (amount == 0) revert AmountIsZero();
        _requireNoClaim(operator);
        _requireNotSentAway(operator, msg.sender);
        DelegateManagerStorage storage $ = _manager();
        uint256 delegated = $.stakes[msg.sender][operator] + amount;
        _requireMinimum(operator, delegated);
        Delegations storage delegations = $.operators[operator];
        if (delegations.delegators.add(msg.sender) && delegations.delegators.length() > $.maxDelegators) {
            revert TooManyDelegators($.maxDelegators);
        }
        $.stakes[msg.sender][operator] = delegated;
        $.totals[msg.sender] += amount;
        delegations.total += amount;
        emit DelegatedStakeIncreased(msg.sender, operator, amount);
        emit IncreaseDelegatedStake(msg.sender, operator, amount);
        _updateVotes(msg.sender);
        $.staking.delegateStakeFor(operator, msg.sender, amount);
        $.serviceProviderFactory.validateAccountStakeBalance(operator);
        return delegated;
    }

    /// @notice Locks part of the caller's delegation to an operator, to be taken back after the lock-up.
    /// @return unlockBlock the first block at which it can be taken back
    // The contracts that it calls are our own and do not call back.
    // slither-disable-next-line reentrancy-no-eth
    function requestUndelegateStake(address operator, uint256 amount) external returns (uint256 unlockBlock) {
        if (amount == 0) revert AmountIsZero();
        DelegateManagerStorage storage $ = _manager();
        UndelegateRequest storage request = $.undelegateRequests[msg.sender];
        if (request.amount != 0) {
            revert UndelegationIsPending(request.operator, request.amount, request.unlockBlock);
        }
        _requireNotSentAway(operator, msg.sender);
        uint256 delegated = $.stakes[msg.sender][operator];
        if (amount > delegated) revert DelegationIsLess(operator, delegated, amount);
        _requireNoClaim(operator);
        if (amount < delegated) _requireMinimum(operator, delegated - amount);

        unlockBlock = block.number + $.undelegateLockupBlocks;
        request.operator = operator;
        request.unlockBlock = SafeCast.toUint64(unlockBlock);
        request.amount = SafeCast.toUint128(amount);
        emit UndelegateStakeRequested(msg.sender, operator, amount, unlockBlock);
        $.operators[operator].locked += amount;
        _updateLock($, operator, msg.sender);
    }

    /// @notice Keeps the delegation that the caller was to take back.
    /// @dev Refused while it would leave the operator out of bounds, as when other stake took its place.
    function cancelUndelegateStakeRequest() external {
        DelegateManagerStorage storage $ = _manager();
        (address operator,) = _requirePending(msg.sender);
        _cancelRequest(msg.sender);
        _updateLock($, operator, msg.sender);
        $.serviceProviderFactory.validateAccountStakeBalance(operator);
    }

    /// @notice Takes back what the caller requested, once its lock-up is over.
    /// @return what the caller has delegated to the operator after it, in wei
    function undelegateStake() external returns (uint256) {
        DelegateManagerStorage storage $ = _manager();
        (address operator, uint256 amount) = _requirePending(msg.sender);
        uint256 unlockBlock = $.undelegateRequests[msg.sender].unlockBlock;
        if (block.number < unlockBlock) revert UndelegationIsLocked(unlockBlock, block.number);
        _requireNoClaim(operator);
        _endRequest(msg.sender);
        _lower(operator, msg.sender, amount);
        emit UndelegateStakeRequestEvaluated(msg.sender, operator, amount);
        // This gives up the lock too, and what was locked had no vote.
        $.staking.undelegateStakeFor(operator, msg.sender, amount);
        return $.stakes[msg.sender][operator];
    }

    /// @notice Announces that the operator sends a delegator away; the operator and governance can.
    /// @return unlockBlock the first block at which it can
    function requestRemoveDelegator(address operator, address delegator) external returns (uint256 unlockBlock) {
        _requireOperatorOrGovernance(operator);
        DelegateManagerStorage storage $ = _manager();
        if ($.stakes[delegator][operator] == 0) revert DelegatorIsUnknown(operator, delegator);
        Removal storage removal = $.removals[operator][delegator];
        if (removal.unlockBlock != 0) revert RemovalIsPending(removal.unlockBlock);
        unlockBlock = block.number + $.removeDelegatorLockupBlocks;
        removal.unlockBlock = SafeCast.toUint64(unlockBlock);
        emit RemoveDelegatorRequested(operator, delegator, unlockBlock);
    }

    /// @notice Keeps a delegator that was to be sent away.
    function cancelRemoveDelegatorRequest(address operator, address delegator) external {
        _requireOperatorOrGovernance(operator);
        _requireRemoval(operator, delegator);
        delete _manager().removals[operator][delegator];
        emit RemoveDelegatorRequestCancelled(operator, delegator);
    }

    /// @notice Sends a delegator away, after the notice and not too long after: its whole delegation is an undelegation
    /// from here on. It neither votes nor earns, a slash reaches it, and `releaseDelegator` gives it back after the lock-up.
    /// @dev What the delegator asked back itself is part of it; when that is all, it keeps the block of its own request.
    /// @return unlockBlock the first block at which the delegation can be given back
    // The contracts that it calls are our own and do not call back.
    // slither-disable-next-line reentrancy-no-eth
    function removeDelegator(address operator, address delegator) external returns (uint256 unlockBlock) {
        _requireOperatorOrGovernance(operator);
        DelegateManagerStorage storage $ = _manager();
        Removal storage removal = _requireRemoval(operator, delegator);
        unlockBlock = removal.unlockBlock;
        if (block.number < unlockBlock) revert RemovalIsLocked(unlockBlock, block.number);
        uint256 lastBlock = unlockBlock + $.removeDelegatorEvalBlocks - 1;
        if (block.number > lastBlock) revert RemovalHasLapsed(lastBlock, block.number);
        _requireNoClaim(operator);

        uint256 amount = $.stakes[delegator][operator];
        unlockBlock = block.number + $.undelegateLockupBlocks;
        UndelegateRequest storage request = $.undelegateRequests[delegator];
        if (request.operator == operator) {
            if (request.amount == amount) unlockBlock = request.unlockBlock;
            _cancelRequest(delegator);
        }
        removal.unlockBlock = SafeCast.toUint64(unlockBlock);
        removal.amount = SafeCast.toUint128(amount);
        request.sentAway += removal.amount;
        $.operators[operator].locked += amount;
        emit DelegatorSentAway(operator, delegator, amount, unlockBlock);
        _updateLock($, operator, delegator);
    }

    /// @notice Gives a delegator that was sent away its whole delegation back, once its lock-up is over; anybody can.
    function releaseDelegator(address operator, address delegator) external {
        DelegateManagerStorage storage $ = _manager();
        (uint256 amount, uint256 unlockBlock) = getRemovedDelegation(operator, delegator);
        if (amount == 0) revert DelegatorIsNotSentAway(operator, delegator);
        if (block.number < unlockBlock) revert UndelegationIsLocked(unlockBlock, block.number);
        _requireNoClaim(operator);
        $.operators[operator].locked -= amount;
        $.undelegateRequests[delegator].sentAway -= uint128(amount);
        _lower(operator, delegator, amount);
        emit RemoveDelegatorRequestEvaluated(operator, delegator, amount);
        // This gives up the lock too, and what was locked had no vote.
        $.staking.undelegateStakeFor(operator, delegator, amount);
    }

    /// @notice Claims an operator's rewards of the round and shares them out; anybody can.
    // The contracts that it calls are our own and do not call back; of the details it needs three.
    // slither-disable-next-line reentrancy-events,unused-return
    function claimRewards(address operator) external {
        DelegateManagerStorage storage $ = _manager();
        if (address($.claimsManager) == address(0)) revert ClaimsManagerIsNotSet();
        (uint256 ownStake, uint256 cut,, uint256 serviceCount,,) =
            $.serviceProviderFactory.getServiceProviderDetails(operator);
        uint256 staked = $.staking.totalStakedFor(operator);
        if (staked == 0 && serviceCount == 0) revert OperatorIsUnknown(operator);
        uint256 locked = $.staking.lockedFor(operator);
        uint256 rewards = $.claimsManager.processClaim(operator, locked);
        emit Claimed(operator, rewards, staked + rewards);
        emit Claim(operator, rewards, staked + rewards);
        if (rewards == 0) return;
        uint256 delegated = _shareOut($, operator, rewards, staked - locked, cut);
        $.serviceProviderFactory.updateServiceProviderStake(operator, ownStake + rewards - delegated);
    }

    /// @notice Burns `amount` of the stake behind an operator, or all when that is less, pro rata of its own stake and
    /// each delegation.
    /// @dev Every pending request of the operator and of its delegators to take stake out is cancelled, and so are the
    /// removals that it made.
    // The contracts that it calls are our own and do not call back.
    // slither-disable-next-line reentrancy-no-eth,reentrancy-events
    function slash(uint256 amount, address operator) external onlyGovernance {
        DelegateManagerStorage storage $ = _manager();
        uint256 staked = $.staking.totalStakedFor(operator);
        uint256 burned = Math.min(amount, staked);
        if (burned == 0) revert AmountIsZero();
        uint256 left = staked - burned;
        emit Slashed(operator, burned, left);
        emit Slash(operator, burned, left);
        $.serviceProviderFactory.dropDecreaseStakeRequest(operator);
        uint256 delegated = _slashDelegations($, operator, staked, left);
        if ($.staking.lockedFor(operator) > 0) $.staking.setLocked(operator, 0);
        $.staking.slash(burned, operator);
        $.serviceProviderFactory.updateServiceProviderStake(operator, left - delegated);
    }

    /// @notice Who has delegated to an operator, in no particular order.
    function getDelegatorsList(address operator) external view returns (address[] memory) {
        return _manager().operators[operator].delegators.values();
    }

    /// @notice All that is delegated to an operator, in wei.
    function getTotalDelegatedToServiceProvider(address operator) external view returns (uint256) {
        return _manager().operators[operator].total;
    }

    /// @notice All that an account has delegated, in wei.
    function getTotalDelegatorStake(address delegator) external view returns (uint256) {
        return _manager().totals[delegator];
    }

    /// @notice What an account has delegated to an operator, in wei.
    function getDelegatorStakeForServiceProvider(address delegator, address operator)
        external
        view
        returns (uint256)
    {
        return _manager().stakes[delegator][operator];
    }

    /// @notice What of the delegations to an operator is on its way out, in wei.
    function getTotalLockedDelegationForServiceProvider(address operator) external view returns (uint256) {
        return _manager().operators[operator].locked;
    }

    /// @notice The undelegation that an account asked for, and the first block at which it can be taken back.
    function getPendingUndelegateRequest(address delegator)
        external
        view
        returns (address target, uint256 amount, uint256 unlockBlock)
    {
        UndelegateRequest storage request = _manager().undelegateRequests[delegator];
        return (request.operator, request.amount, request.unlockBlock);
    }

    /// @notice The first block at which an operator can send a delegator away; zero when no removal is pending.
    function getPendingRemoveDelegatorRequest(address operator, address delegator) external view returns (uint256) {
        Removal storage removal = _manager().removals[operator][delegator];
        return removal.amount == 0 ? removal.unlockBlock : 0;
    }

    /// @notice The least delegation that an operator takes, in wei; the general one counts as well.
    function getSPMinDelegationAmount(address operator) external view returns (uint256) {
        return _manager().operators[operator].minAmount;
    }

    /// @notice The least delegation, in wei.
    function getMinDelegationAmount() external view returns (uint256) {
        return _manager().minDelegationAmount;
    }

    /// @notice How many delegators an operator may have.
    function getMaxDelegators() external view returns (uint256) {
        return _manager().maxDelegators;
    }

    /// @notice How many blocks an undelegation is locked.
    function getUndelegateLockupDuration() external view returns (uint256) {
        return _manager().undelegateLockupBlocks;
    }

    /// @notice How many blocks the removal of a delegator waits.
    function getRemoveDelegatorLockupDuration() external view returns (uint256) {
        return _manager().removeDelegatorLockupBlocks;
    }

    /// @notice For how many blocks after its lock-up a removal can be made.
    function getRemoveDelegatorEvalDuration() external view returns (uint256) {
        return _manager().removeDelegatorEvalBlocks;
    }

    /// @notice The contract that holds the stake.
    function staking() external view returns (address) {
        return address(_manager().staking);
    }

    /// @notice The contract that knows the operators.
    function serviceProviderFactory() external view returns (address) {
        return address(_manager().serviceProviderFactory);
    }

    /// @notice The contract that processes claims, or zero before it is named.
    function claimsManager() external view returns (address) {
        return address(_manager().claimsManager);
    }

    /// @notice The contract whose votes lock-ups must outlast.
    function votingGovernance() external view returns (address) {
        return _manager().votingGovernance;
    }

    /// @notice The delegation that an operator sent away, and the first block at which it can be given back; both zero
    /// when it did not.
    function getRemovedDelegation(address operator, address delegator)
        public
        view
        returns (uint256 amount, uint256 unlockBlock)
    {
        Removal storage removal = _manager().removals[operator][delegator];
        if (removal.amount == 0) return (0, 0);
        return (removal.amount, removal.unlockBlock);
    }

    /// Adds to each delegation its share of the rewards, by what of it is active, without the operator's cut.
    function _shareOut(
        DelegateManagerStorage storage $,
        address operator,
        uint256 rewards,
        uint256 active,
        uint256 cut
    ) private returns (uint256 shared) {
        address[] memory delegators = $.operators[operator].delegators.values();
        if (delegators.length == 0) return 0;
        uint256[] memory votes = new uint256[](delegators.length);
        for (uint256 i = 0; i < delegators.length; i++) {
            address delegator = delegators[i];
            (uint256 pending, uint256 pendingHere) = _pendingOf($, delegator, operator);
            uint256 delegated = $.stakes[delegator][operator];
            uint256 share = _share(delegated - pendingHere, rewards, active, cut);
            $.stakes[delegator][operator] = delegated + share;
            uint256 total = $.totals[delegator] + share;
            $.totals[delegator] = total;
            votes[i] = total - pending;
            shared += share;
        }
        $.operators[operator].total += shared;
        $.staking.setVotingStakes(delegators, votes);
    }

    /// Lowers each delegation to its part of what is left, and cancels what would take it out.
    // The contracts that it calls are our own and do not call back.
    // slither-disable-next-line reentrancy-no-eth,reentrancy-events
    function _slashDelegations(DelegateManagerStorage storage $, address operator, uint256 staked, uint256 left)
        private
        returns (uint256 delegated)
    {
        address[] memory delegators = $.operators[operator].delegators.values();
        uint256[] memory votes = new uint256[](delegators.length);
        for (uint256 i = 0; i < delegators.length; i++) {
            address delegator = delegators[i];
            _dropRequest($, delegator, operator);
            uint256 sentAway = _dropRemoval($, delegator, operator);
            uint256 before = $.stakes[delegator][operator];
            uint256 kept = Math.mulDiv(left, before, staked);
            _lower(operator, delegator, before - kept);
            votes[i] = $.totals[delegator] - sentAway;
            delegated += kept;
        }
        $.staking.setVotingStakes(delegators, votes);
    }

    /// Cancels whatever request an account has; one to another operator unlocks there.
    function _dropRequest(DelegateManagerStorage storage $, address delegator, address slashed) private {
        UndelegateRequest storage request = $.undelegateRequests[delegator];
        if (request.amount == 0) return;
        address operator = request.operator;
        _cancelRequest(delegator);
        // Once for each of an operator's delegators, whose number is bounded.
        // slither-disable-next-line calls-loop
        if (operator != slashed) $.staking.setLocked(operator, $.operators[operator].locked);
    }

    /// Cancels the removal that the operator made, and tells what others are still sending back.
    function _dropRemoval(DelegateManagerStorage storage $, address delegator, address operator)
        private
        returns (uint256 sentAway)
    {
        UndelegateRequest storage request = $.undelegateRequests[delegator];
        sentAway = request.sentAway;
        if (sentAway == 0) return 0;
        uint128 amount = $.removals[operator][delegator].amount;
        if (amount == 0) return sentAway;
        delete $.removals[operator][delegator];
        emit RemoveDelegatorRequestCancelled(operator, delegator);
        $.operators[operator].locked -= amount;
        sentAway -= amount;
        request.sentAway = uint128(sentAway);
    }

    function _cancelRequest(address delegator) private {
        UndelegateRequest storage request = _manager().undelegateRequests[delegator];
        emit UndelegateStakeRequestCancelled(delegator, request.operator, request.amount);
        _endRequest(delegator);
    }

    function _endRequest(address delegator) private {
        DelegateManagerStorage storage $ = _manager();
        UndelegateRequest storage request = $.undelegateRequests[delegator];
        $.operators[request.operator].locked -= request.amount;
        request.operator = address(0);
        request.unlockBlock = 0;
        request.amount = 0;
    }

    /// Takes `amount` off a delegation; one that is used up leaves the list, and a pending removal with it.
    function _lower(address operator, address delegator, uint256 amount) private {
        DelegateManagerStorage storage $ = _manager();
        Delegations storage delegations = $.operators[operator];
        uint256 rest = $.stakes[delegator][operator] - amount;
        $.stakes[delegator][operator] = rest;
        $.totals[delegator] -= amount;
        delegations.total -= amount;
        if (rest > 0) return;
        // It is there: the delegation was more than nothing.
        // slither-disable-next-line unused-return
        delegations.delegators.remove(delegator);
        delete $.removals[operator][delegator];
    }

    // The contracts that it calls are our own and do not call back.
    // slither-disable-next-line reentrancy-no-eth
    function _updateLock(DelegateManagerStorage storage $, address operator, address delegator) private {
        $.staking.setLocked(operator, $.operators[operator].locked);
        _updateVotes(delegator);
    }

    function _updateVotes(address delegator) private {
        DelegateManagerStorage storage $ = _manager();
        UndelegateRequest storage request = $.undelegateRequests[delegator];
        $.staking.setVotingStake(delegator, $.totals[delegator] - request.amount - request.sentAway);
    }

    function _setUndelegateLockup(uint256 lockupBlocks) private {
        DelegateManagerStorage storage $ = _manager();
        Lockups.requireLongerThanVote($.votingGovernance, lockupBlocks);
        $.undelegateLockupBlocks = lockupBlocks;
        emit UndelegateLockupDurationUpdated(lockupBlocks);
    }

    function _setRemoveLockup(uint256 lockupBlocks) private {
        DelegateManagerStorage storage $ = _manager();
        Lockups.requireLongerThanVote($.votingGovernance, lockupBlocks);
        $.removeDelegatorLockupBlocks = lockupBlocks;
        emit RemoveDelegatorLockupDurationUpdated(lockupBlocks);
    }

    function _setRemoveEval(uint256 evalBlocks) private {
        if (evalBlocks == 0) revert EvalDurationIsZero();
        _manager().removeDelegatorEvalBlocks = evalBlocks;
        emit RemoveDelegatorEvalDurationUpdated(evalBlocks);
    }

    function _setMaxDelegators(uint256 maxDelegators) private {
        if (maxDelegators == 0 || maxDelegators > DELEGATORS_LIMIT) {
            revert MaxDelegatorsIsWrong(maxDelegators, DELEGATORS_LIMIT);
        }
        _manager().maxDelegators = maxDelegators;
        emit MaxDelegatorsUpdated(maxDelegators);
    }

    function _setMinDelegation(uint256 amount) private {
        _manager().minDelegationAmount = amount;
        emit MinDelegationAmountUpdated(amount);
    }

    /// What of an account's delegations is on its way out, in all and from one operator.
    function _pendingOf(DelegateManagerStorage storage $, address delegator, address operator)
        private
        view
        returns (uint256 pending, uint256 pendingHere)
    {
        UndelegateRequest storage request = $.undelegateRequests[delegator];
        (uint256 asked, uint256 sentAway) = (request.amount, request.sentAway);
        if (asked > 0 && request.operator == operator) pendingHere = asked;
        if (sentAway > 0) pendingHere += $.removals[operator][delegator].amount;
        pending = asked + sentAway;
    }

    function _share(uint256 stake, uint256 rewards, uint256 active, uint256 cut) private pure returns (uint256) {
        return Math.mulDiv(stake, rewards, active) - Math.mulDiv(stake * cut, rewards, active * 100);
    }

    function _requireMinimum(address operator, uint256 delegated) private view {
        DelegateManagerStorage storage $ = _manager();
        uint256 minimum = Math.max($.minDelegationAmount, $.operators[operator].minAmount);
        if (delegated < minimum) revert DelegationIsTooSmall(delegated, minimum);
    }

    function _requireNoClaim(address operator) private view {
        ClaimsManager claims = _manager().claimsManager;
        if (address(claims) != address(0) && claims.claimPending(operator)) revert ClaimIsPending(operator);
    }

    function _requireOperatorOrGovernance(address operator) private view {
        if (msg.sender != operator && msg.sender != governance()) revert CallerIsNotOperator(msg.sender, operator);
    }

    function _requirePending(address delegator) private view returns (address operator, uint256 amount) {
        UndelegateRequest storage request = _manager().undelegateRequests[delegator];
        (operator, amount) = (request.operator, request.amount);
        if (amount == 0) revert NoUndelegationIsPending(delegator);
    }

    /// A removal that is announced and not made.
    function _requireRemoval(address operator, address delegator) private view returns (Removal storage removal) {
        removal = _manager().removals[operator][delegator];
        if (removal.unlockBlock == 0) revert NoRemovalIsPending(operator, delegator);
        _requireNotSentAway(operator, delegator);
    }

    function _requireNotSentAway(address operator, address delegator) private view {
        (uint256 amount, uint256 unlockBlock) = getRemovedDelegation(operator, delegator);
        if (amount != 0) revert DelegatorIsSentAway(operator, delegator, unlockBlock);
    }

    function _manager() private pure returns (DelegateManagerStorage storage $) {
        assembly {
            $.slot := DELEGATE_MANAGER_SLOT
        }
    }
}
