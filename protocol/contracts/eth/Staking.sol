// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {Governed} from "../common/Governed.sol";

/// @title Holds the operators' tokens and remembers every stake by block.
/// @notice Operators approve this contract; only the service provider factory moves stake.
contract Staking is Governed {
    using SafeERC20 for IERC20;
    using Checkpoints for Checkpoints.Trace208;

    /// @custom:storage-location erc7201:coliving.storage.Staking
    struct StakingStorage {
        IERC20 token;
        address serviceProviderFactory;
        Checkpoints.Trace208 total;
        mapping(address operator => Checkpoints.Trace208) stakes;
    }

    bytes32 private constant STAKING_SLOT = 0x2ac30b264bfff73acd5be694021fa3e246e6e6ca56729d8f7d1a772f72ca4500;

    /// @notice An operator's own stake is `total` from this block on.
    event StakeChanged(address indexed operator, uint256 total);

    /// @notice The contract that moves stake was named.
    event ServiceProviderFactoryChanged(address indexed previousFactory, address indexed serviceProviderFactory);

    /// @notice Only the service provider factory moves stake.
    error CallerIsNotServiceProviderFactory(address caller);

    /// @notice A change of stake must be more than zero.
    error AmountIsZero();

    /// @notice More is asked back than is staked.
    error StakeIsTooSmall(address operator, uint256 staked, uint256 amount);

    /// @notice The block asked for has not come yet.
    error BlockIsInTheFuture(uint256 blockNumber, uint256 currentBlock);

    /// @param initialGovernance the governance address
    /// @param stakedToken the token that is staked
    function initialize(address initialGovernance, address stakedToken) external initializer {
        _initializeGoverned(initialGovernance);
        _requireNonZero(stakedToken, "token");
        _staking().token = IERC20(stakedToken);
    }

    /// @notice Names the contract that moves stake.
    function setServiceProviderFactory(address newFactory) external onlyGovernance {
        _requireNonZero(newFactory, "service provider factory");
        StakingStorage storage $ = _staking();
        emit ServiceProviderFactoryChanged($.serviceProviderFactory, newFactory);
        $.serviceProviderFactory = newFactory;
    }

    /// @notice Takes `amount` from the operator, who has approved this contract, into its own stake.
    function stakeFor(address operator, uint256 amount) external {
        StakingStorage storage $ = _requireFactory();
        if (amount == 0) revert AmountIsZero();
        _record($, operator, $.stakes[operator].latest() + amount, $.total.latest() + amount);
        $.token.safeTransferFrom(operator, address(this), amount);
    }

    /// @notice Gives `amount` of its own stake back to the operator.
    function unstakeFor(address operator, uint256 amount) external {
        StakingStorage storage $ = _requireFactory();
        if (amount == 0) revert AmountIsZero();
        uint256 staked = $.stakes[operator].latest();
        if (amount > staked) revert StakeIsTooSmall(operator, staked, amount);
        _record($, operator, staked - amount, $.total.latest() - amount);
        $.token.safeTransfer(operator, amount);
    }

    /// @notice The operator's own stake.
    function totalStakedFor(address operator) external view returns (uint256) {
        return _staking().stakes[operator].latest();
    }

    /// @notice The operator's own stake at the end of a block; for the current block, so far.
    function totalStakedForAt(address operator, uint256 blockNumber) external view returns (uint256) {
        return _staking().stakes[operator].upperLookupRecent(_requireReached(blockNumber));
    }

    /// @notice All stake.
    function totalStaked() external view returns (uint256) {
        return _staking().total.latest();
    }

    /// @notice All stake at the end of a block; for the current block, so far.
    function totalStakedAt(uint256 blockNumber) external view returns (uint256) {
        return _staking().total.upperLookupRecent(_requireReached(blockNumber));
    }

    /// @notice The token that is staked.
    function token() external view returns (address) {
        return address(_staking().token);
    }

    /// @notice The contract that moves stake, or zero before it is named.
    function serviceProviderFactory() external view returns (address) {
        return _staking().serviceProviderFactory;
    }

    function _record(StakingStorage storage $, address operator, uint256 stake, uint256 total) private {
        uint48 blockNumber = SafeCast.toUint48(block.number);
        $.stakes[operator].push(blockNumber, SafeCast.toUint208(stake));
        $.total.push(blockNumber, SafeCast.toUint208(total));
        emit StakeChanged(operator, stake);
    }

    function _requireFactory() private view returns (StakingStorage storage $) {
        $ = _staking();
        if (msg.sender != $.serviceProviderFactory) revert CallerIsNotServiceProviderFactory(msg.sender);
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
