// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {Governed} from "../common/Governed.sol";
import {ILastClaims, IVotingStakes} from "./VotingStakes.sol";
import {ColivingToken} from "./ColivingToken.sol";

/// @title Holds the tokens behind every operator, its own and those delegated to it, and remembers all stake by block.
/// @notice Owners of tokens approve this contract. The service provider factory moves operators' own stake, the
/// delegate manager moves delegations and slashes, the claims manager adds rewards. Stake leaves only after it was
/// locked; who locks it, and for how long, is up to the two callers, whose locks are kept apart.
contract Staking is Governed, IVotingStakes {
    using SafeERC20 for IERC20;
    using Checkpoints for Checkpoints.Trace208;

    /// What of an operator's stake is on its way out.
    struct Locks {
        uint128 own;
        uint128 delegated;
    }

    /// @custom:storage-location erc7201:coliving.storage.Staking
    struct StakingStorage {
        IERC20 token;
        address serviceProviderFactory;
        address delegateManager;
        address claimsManager;
        Checkpoints.Trace208 total;
        mapping(address operator => Checkpoints.Trace208) stakes;
        mapping(address operator => Locks) locks;
        mapping(address account => Checkpoints.Trace208) ownVotes;
        mapping(address account => Checkpoints.Trace208) delegatedVotes;
    }

    bytes32 private constant STAKING_SLOT = 0x2ac30b264bfff73acd5be694021fa3e246e6e6ca56729d8f7d1a772f72ca4500;

    /// @notice The stake behind an operator, own and delegated, is `total` from this block on, `locked` of it on its
    /// way out. What is not locked is active.
    event StakeChanged(address indexed operator, uint256 total, uint256 locked);

    /// @notice Stake of an operator was burned.
    event StakeSlashed(address indexed operator, uint256 amount);

    /// @notice `amount` came to the stake behind an operator. This and the next two are for tools that read them in other
    /// deployments of these contracts; `StakeChanged` tells the same and what is locked.
    event Staked(address indexed user, uint256 amount, uint256 total);

    /// @notice `amount` of the stake behind an operator left.
    event Unstaked(address indexed user, uint256 amount, uint256 total);

    /// @notice `amount` of the stake behind an operator was burned.
    event Slashed(address indexed user, uint256 amount, uint256 total);

    /// @notice The contract that moves operators' own stake was named.
    event ServiceProviderFactoryChanged(address indexed previousFactory, address indexed serviceProviderFactory);

    /// @notice The contract that moves delegations was named.
    event DelegateManagerChanged(address indexed previousManager, address indexed delegateManager);

    /// @notice The contract that adds rewards was named.
    event ClaimsManagerChanged(address indexed previousManager, address indexed claimsManager);

    /// @notice Only the service provider factory moves operators' own stake.
    error CallerIsNotServiceProviderFactory(address caller);

    /// @notice Only the delegate manager moves delegations and slashes.
    error CallerIsNotDelegateManager(address caller);

    /// @notice Only the claims manager adds rewards.
    error CallerIsNotClaimsManager(address caller);

    /// @notice Only the service provider factory and the delegate manager lock stake and set voting stake.
    error CallerDoesNotMoveStake(address caller);

    /// @notice A change of stake must be more than zero.
    error AmountIsZero();

    /// @notice More is taken than is staked.
    error StakeIsTooSmall(address operator, uint256 staked, uint256 amount);

    /// @notice More would be locked than is staked.
    error LockIsTooLarge(address operator, uint256 staked, uint256 locked);

    /// @notice Only locked stake can be taken out.
    error StakeIsNotLocked(address operator, uint256 locked, uint256 amount);

    /// @notice The rewards did not arrive here before they were added.
    error RewardsAreMissing(uint256 balance, uint256 staked);

    /// @notice One amount is needed per account.
    error LengthsDiffer(uint256 accounts, uint256 amounts);

    /// @notice The block asked for has not come yet.
    error BlockIsInTheFuture(uint256 blockNumber, uint256 currentBlock);

    /// @param initialGovernance the governance address
    /// @param stakedToken the token that is staked
    function initialize(address initialGovernance, address stakedToken) external initializer {
        _initializeGoverned(initialGovernance);
        _requireNonZero(stakedToken, "token");
        _staking().token = IERC20(stakedToken);
    }

    /// @notice Names the contract that moves operators' own stake.
    function setServiceProviderFactory(address newFactory) external onlyGovernance {
        _requireNonZero(newFactory, "service provider factory");
        StakingStorage storage $ = _staking();
        emit ServiceProviderFactoryChanged($.serviceProviderFactory, newFactory);
        $.serviceProviderFactory = newFactory;
    }

    /// @notice Names the contract that moves delegations and slashes.
    function setDelegateManager(address newManager) external onlyGovernance {
        _requireNonZero(newManager, "delegate manager");
        StakingStorage storage $ = _staking();
        emit DelegateManagerChanged($.delegateManager, newManager);
        $.delegateManager = newManager;
    }

    /// @notice Names the contract that adds rewards.
    function setClaimsManager(address newManager) external onlyGovernance {
        _requireNonZero(newManager, "claims manager");
        StakingStorage storage $ = _staking();
        emit ClaimsManagerChanged($.claimsManager, newManager);
        $.claimsManager = newManager;
    }

    /// @notice Takes `amount` from the operator, who has approved this contract, into its own stake.
    function stakeFor(address operator, uint256 amount) external {
        StakingStorage storage $ = _requireFactory();
        _add($, operator, amount);
        // Only the service provider factory gets here, with its own caller as the operator.
        // slither-disable-next-line arbitrary-send-erc20
        $.token.safeTransferFrom(operator, address(this), amount);
    }

    /// @notice Gives `amount` of its own locked stake back to the operator.
    function unstakeFor(address operator, uint256 amount) external {
        StakingStorage storage $ = _requireFactory();
        Locks storage locks = $.locks[operator];
        locks.own = _lowered(operator, locks.own, amount);
        emit Unstaked(operator, amount, _subtract($, operator, amount));
        $.token.safeTransfer(operator, amount);
    }

    /// @notice Takes `amount` from the delegator, who has approved this contract, into the operator's stake.
    function delegateStakeFor(address operator, address delegator, uint256 amount) external {
        StakingStorage storage $ = _requireDelegateManager();
        _add($, operator, amount);
        // Only the delegate manager gets here, with its own caller as the delegator.
        // slither-disable-next-line arbitrary-send-erc20
        $.token.safeTransferFrom(delegator, address(this), amount);
    }

    /// @notice Gives `amount` of the locked delegations of an operator back to a delegator.
    function undelegateStakeFor(address operator, address delegator, uint256 amount) external {
        StakingStorage storage $ = _requireDelegateManager();
        Locks storage locks = $.locks[operator];
        locks.delegated = _lowered(operator, locks.delegated, amount);
        emit Unstaked(operator, amount, _subtract($, operator, amount));
        $.token.safeTransfer(delegator, amount);
    }

    /// @notice Adds rewards that were minted to this contract.
    function stakeRewards(address operator, uint256 amount) external {
        StakingStorage storage $ = _staking();
        if (msg.sender != $.claimsManager) revert CallerIsNotClaimsManager(msg.sender);
        _add($, operator, amount);
        uint256 balance = $.token.balanceOf(address(this));
        if (balance < $.total.latest()) revert RewardsAreMissing(balance, $.total.latest());
    }

    /// @notice Burns `amount` of the stake behind an operator; what is left must cover its locks.
    function slash(uint256 amount, address operator) external {
        StakingStorage storage $ = _requireDelegateManager();
        uint256 left = _subtract($, operator, amount);
        emit StakeSlashed(operator, amount);
        emit Slashed(operator, amount, left);
        ColivingToken(address($.token)).burn(amount);
    }

    /// @notice Sets what of the operator's stake is on its way out: own stake for the service provider factory,
    /// delegations for the delegate manager.
    function setLocked(address operator, uint256 amount) external {
        StakingStorage storage $ = _staking();
        Locks storage locks = $.locks[operator];
        if (_callerIsFactory($)) locks.own = SafeCast.toUint128(amount);
        else locks.delegated = SafeCast.toUint128(amount);
        _announce($, operator);
    }

    /// @notice Sets an account's part of the votes: by its own stake for the service provider factory, by its
    /// delegations for the delegate manager.
    function setVotingStake(address account, uint256 amount) external {
        StakingStorage storage $ = _staking();
        _pushVotes(_callerIsFactory($) ? $.ownVotes[account] : $.delegatedVotes[account], amount);
    }

    /// @notice Sets many accounts' votes by their delegations.
    function setVotingStakes(address[] calldata accounts, uint256[] calldata amounts) external {
        StakingStorage storage $ = _requireDelegateManager();
        if (accounts.length != amounts.length) revert LengthsDiffer(accounts.length, amounts.length);
        for (uint256 i = 0; i < accounts.length; i++) {
            _pushVotes($.delegatedVotes[accounts[i]], amounts[i]);
        }
    }

    /// @notice The stake behind an operator, own and delegated.
    function totalStakedFor(address operator) external view returns (uint256) {
        return _staking().stakes[operator].latest();
    }

    /// @notice The stake behind an operator at the end of a block; for the current block, so far.
    function totalStakedForAt(address operator, uint256 blockNumber) external view returns (uint256) {
        return _staking().stakes[operator].upperLookupRecent(_requireReached(blockNumber));
    }

    /// @notice The block in which the stake behind an operator changed last, or zero.
    function lastStakedFor(address operator) external view returns (uint256) {
        // Of the checkpoint, its block is needed.
        // slither-disable-next-line unused-return
        (, uint48 blockNumber,) = _staking().stakes[operator].latestCheckpoint();
        return blockNumber;
    }

    /// @notice The block in which an operator claimed last, or zero.
    function lastClaimedFor(address operator) external view returns (uint256) {
        address claims = _staking().claimsManager;
        return claims == address(0) ? 0 : ILastClaims(claims).getLastClaimedBlock(operator);
    }

    /// @notice That stakes of earlier blocks can be asked for (ERC-900).
    function supportsHistory() external pure returns (bool) {
        return true;
    }

    /// @notice All stake.
    function totalStaked() external view returns (uint256) {
        return _staking().total.latest();
    }

    /// @notice All stake at the end of a block; for the current block, so far.
    function totalStakedAt(uint256 blockNumber) external view returns (uint256) {
        return _staking().total.upperLookupRecent(_requireReached(blockNumber));
    }

    /// @notice What of an operator's stake, own and delegated, is on its way out.
    function lockedFor(address operator) external view returns (uint256) {
        return _locked(_staking(), operator);
    }

    /// @notice The stake that an account votes with: its own and what it delegated, without what is on its way out.
    function votingStakeFor(address account) public view returns (uint256) {
        StakingStorage storage $ = _staking();
        return uint256($.ownVotes[account].latest()) + $.delegatedVotes[account].latest();
    }

    /// @notice The stake that an account voted with at the end of a block; for the current block, so far.
    function votingStakeForAt(address account, uint256 blockNumber) external view returns (uint256) {
        StakingStorage storage $ = _staking();
        uint48 key = _requireReached(blockNumber);
        return
            uint256($.ownVotes[account].upperLookupRecent(key)) + $.delegatedVotes[account].upperLookupRecent(key);
    }

    /// @notice Whether an account has stake to vote with.
    function isStaker(address account) external view returns (bool) {
        return votingStakeFor(account) > 0;
    }

    /// @notice The token that is staked.
    function token() external view returns (address) {
        return address(_staking().token);
    }

    /// @notice The contract that moves operators' own stake, or zero before it is named.
    function serviceProviderFactory() external view returns (address) {
        return _staking().serviceProviderFactory;
    }

    /// @notice The contract that moves delegations and slashes, or zero before it is named.
    function delegateManager() external view returns (address) {
        return _staking().delegateManager;
    }

    /// @notice The contract that adds rewards, or zero before it is named.
    function claimsManager() external view returns (address) {
        return _staking().claimsManager;
    }

    function _add(StakingStorage storage $, address operator, uint256 amount) private {
        if (amount == 0) revert AmountIsZero();
        uint256 staked = $.stakes[operator].latest() + amount;
        _record($, operator, staked, $.total.latest() + amount);
        emit Staked(operator, amount, staked);
    }

    function _subtract(StakingStorage storage $, address operator, uint256 amount) private returns (uint256 left) {
        if (amount == 0) revert AmountIsZero();
        uint256 staked = $.stakes[operator].latest();
        if (amount > staked) revert StakeIsTooSmall(operator, staked, amount);
        left = staked - amount;
        _record($, operator, left, $.total.latest() - amount);
    }

    function _record(StakingStorage storage $, address operator, uint256 stake, uint256 total) private {
        uint48 blockNumber = SafeCast.toUint48(block.number);
        // What push returns is the value before and the one given.
        // slither-disable-next-line unused-return
        $.stakes[operator].push(blockNumber, SafeCast.toUint208(stake));
        // slither-disable-next-line unused-return
        $.total.push(blockNumber, SafeCast.toUint208(total));
        _announce($, operator);
    }

    function _announce(StakingStorage storage $, address operator) private {
        uint256 staked = $.stakes[operator].latest();
        uint256 locked = _locked($, operator);
        if (locked > staked) revert LockIsTooLarge(operator, staked, locked);
        emit StakeChanged(operator, staked, locked);
    }

    function _pushVotes(Checkpoints.Trace208 storage votes, uint256 amount) private {
        if (votes.latest() == amount) return;
        // What push returns is the value before and the one given.
        // slither-disable-next-line unused-return
        votes.push(SafeCast.toUint48(block.number), SafeCast.toUint208(amount));
    }

    function _lowered(address operator, uint128 locked, uint256 amount) private pure returns (uint128) {
        if (amount > locked) revert StakeIsNotLocked(operator, locked, amount);
        return locked - uint128(amount);
    }

    function _locked(StakingStorage storage $, address operator) private view returns (uint256) {
        Locks storage locks = $.locks[operator];
        return uint256(locks.own) + locks.delegated;
    }

    function _callerIsFactory(StakingStorage storage $) private view returns (bool) {
        if (msg.sender == $.serviceProviderFactory) return true;
        if (msg.sender != $.delegateManager) revert CallerDoesNotMoveStake(msg.sender);
        return false;
    }

    function _requireFactory() private view returns (StakingStorage storage $) {
        $ = _staking();
        if (msg.sender != $.serviceProviderFactory) revert CallerIsNotServiceProviderFactory(msg.sender);
    }

    function _requireDelegateManager() private view returns (StakingStorage storage $) {
        $ = _staking();
        if (msg.sender != $.delegateManager) revert CallerIsNotDelegateManager(msg.sender);
    }

    function _requireReached(uint256 blockNumber) private view returns (uint48) {
        if (blockNumber > block.number) revert BlockIsInTheFuture(blockNumber, block.number);
        return SafeCast.toUint48(blockNumber);
    }

    function _staking() private pure returns (StakingStorage storage $) {
        assembly {
            $.slot := STAKING_SLOT
        }
    }
}
