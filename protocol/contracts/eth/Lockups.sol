// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title How long a proposal takes, as the voting contract tells it.
interface IVotingPeriods {
    /// @notice Blocks in which votes are taken.
    function getVotingPeriod() external view returns (uint256);

    /// @notice Blocks between the end of the vote and its execution.
    function getExecutionDelay() external view returns (uint256);
}

/// @title The relation between lock-ups and votes.
/// @notice Stake must stay locked for longer than a vote takes, or an operator leaves before a slash reaches it.
library Lockups {
    /// @notice A lock-up must be longer than voting period and execution delay together.
    error LockupIsTooShort(uint256 lockupBlocks, uint256 voteBlocks);

    /// @notice A lock-up is at least one block.
    error LockupIsZero();

    /// @dev A governance without code takes no votes, so only the lower bound of one block holds then.
    function requireLongerThanVote(address votingGovernance, uint256 lockupBlocks) internal view {
        if (lockupBlocks == 0) revert LockupIsZero();
        if (votingGovernance.code.length == 0) return;
        IVotingPeriods votes = IVotingPeriods(votingGovernance);
        uint256 voteBlocks = votes.getVotingPeriod() + votes.getExecutionDelay();
        if (lockupBlocks <= voteBlocks) revert LockupIsTooShort(lockupBlocks, voteBlocks);
    }
}
