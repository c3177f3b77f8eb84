// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title What the staking contract asks the claims manager.
interface ILastClaims {
    /// @notice The block in which an operator claimed last, or zero.
    function getLastClaimedBlock(address operator) external view returns (uint256);
}

/// @title What governance asks the staking contract.
interface IVotingStakes {
    /// @notice The stake that an account votes with.
    function votingStakeFor(address account) external view returns (uint256);

    /// @notice The stake that an account voted with at the end of a block.
    function votingStakeForAt(address account, uint256 blockNumber) external view returns (uint256);

    /// @notice All stake.
    function totalStaked() external view returns (uint256);

    /// @notice All stake at the end of a block.
    function totalStakedAt(uint256 blockNumber) external view returns (uint256);
}
