// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Governed} from "../common/Governed.sol";
import {ColivingToken} from "./ColivingToken.sol";
import {ServiceProviderFactory} from "./ServiceProviderFactory.sol";
import {Staking} from "./Staking.sol";
import {ILastClaims} from "./VotingStakes.sol";

/// @title Mints the rewards of staking, round by round.
/// @notice A round fixes an amount and a block. Until the next round each operator may claim, once, the share of the
/// amount that its active stake was of all stake when that block began. Rounds that nobody began are not made up for.
contract ClaimsManager is Governed, ILastClaims {
    struct Round {
        uint64 number;
        uint64 fundedBlock;
        uint128 fundedAmount;
        uint128 claimed;
    }

    struct LastClaim {
        uint128 round;
        uint128 blockNumber;
    }

    /// @custom:storage-location erc7201:coliving.storage.ClaimsManager
    struct ClaimsManagerStorage {
        ColivingToken token;
        Staking staking;
        ServiceProviderFactory serviceProviderFactory;
        address delegateManager;
        uint256 fundingRoundBlocks;
        uint256 fundingAmount;
        address communityPool;
        uint256 recurringCommunityFundingAmount;
        Round round;
        mapping(address operator => LastClaim) lastClaims;
    }

    bytes32 private constant CLAIMS_MANAGER_SLOT = 0x241a9e6f569d9b84528a2cbe0f6832d264614b413b3cc6798d2163ce2af71600;

    /// @notice Most that one round may mint, for claims and for the community pool each: a tenth of the first supply.
    uint256 public constant FUNDING_AMOUNT_MAX = 100_000_000 ether;

    /// @notice A round began; `fundAmount` can be claimed in it.
    event RoundInitiated(uint256 indexed blockNumber, uint256 indexed roundNumber, uint256 fundAmount);

    /// @notice An operator's share of the round was added to the stake behind it; zero when it had none.
    event ClaimProcessed(address indexed claimer, uint256 rewards, uint256 oldTotal, uint256 newTotal);

    /// @notice The community pool got its part of a round.
    event CommunityRewardsTransferred(address indexed communityPool, uint256 amount);

    /// @notice Rounds that begin from now on have this amount.
    event FundingAmountUpdated(uint256 amount);

    /// @notice Rounds are more than this many blocks apart.
    event FundingRoundBlockDiffUpdated(uint256 blocks);

    /// @notice The community pool gets this amount in each round.
    event RecurringCommunityFundingAmountUpdated(uint256 amount);

    /// @notice The community pool moved.
    event CommunityPoolAddressUpdated(address indexed previousPool, address indexed communityPool);

    /// @notice Only accounts with stake, and governance, begin a round.
    error CallerIsNotStaker(address caller);

    /// @notice The next round can begin at `firstBlock`.
    error RoundIsTooEarly(uint256 firstBlock, uint256 currentBlock);

    /// @notice The operator has claimed in this round, or there was no round yet.
    error AlreadyClaimed(address operator, uint256 roundNumber);

    /// @notice Only the delegate manager, which shares rewards out, processes claims.
    error CallerIsNotDelegateManager(address caller);

    /// @notice Rounds must be at least one block apart.
    error FundingRoundIsZero();

    /// @notice Rounds must be closer together than a change of the deployer cut is locked.
    error FundingRoundIsTooLong(uint256 fundingRoundBlocks, uint256 deployerCutLockupBlocks);

    /// @notice A round cannot mint so much.
    error FundingAmountIsTooLarge(uint256 amount, uint256 amountMax);

    /// @param initialGovernance the governance address
    /// @param tokenProxy the token that is minted
    /// @param stakingProxy the contract that holds the stake
    /// @param factory the contract that knows the operators
    /// @param delegates the contract that shares rewards out
    /// @param fundingRoundBlocks rounds are more than this many blocks apart
    /// @param fundingAmount what can be claimed in a round, in wei
    /// @param communityPool gets its part of every round; may be zero
    /// @param communityAmount what the community pool gets, in wei; may be zero
    function initialize(
        address initialGovernance,
        address tokenProxy,
        address stakingProxy,
        address factory,
        address delegates,
        uint256 fundingRoundBlocks,
        uint256 fundingAmount,
        address communityPool,
        uint256 communityAmount
    ) external initializer {
        _initializeGoverned(initialGovernance);
        _requireNonZero(tokenProxy, "token");
        _requireNonZero(stakingProxy, "staking");
        _requireNonZero(factory, "service provider factory");
        _requireNonZero(delegates, "delegate manager");
        ClaimsManagerStorage storage $ = _claims();
        $.token = ColivingToken(tokenProxy);
        $.staking = Staking(stakingProxy);
        $.serviceProviderFactory = ServiceProviderFactory(factory);
        $.delegateManager = delegates;
        _setFundingRound(fundingRoundBlocks);
        _setFundingAmount(fundingAmount);
        _setCommunityPool(communityPool);
        _setCommunityAmount(communityAmount);
    }

    /// @notice Begins a round, and pays the community pool if there is one.
    function initiateRound() external {
        ClaimsManagerStorage storage $ = _claims();
        if (msg.sender != governance() && !$.staking.isStaker(msg.sender)) revert CallerIsNotStaker(msg.sender);
        Round storage round = $.round;
        uint256 firstBlock = round.fundedBlock + $.fundingRoundBlocks + 1;
        if (block.number < firstBlock) revert RoundIsTooEarly(firstBlock, block.number);
        round.number += 1;
        round.fundedBlock = uint64(block.number);
        // At most FUNDING_AMOUNT_MAX.
        round.fundedAmount = uint128($.fundingAmount);
        round.claimed = 0;
        emit RoundInitiated(block.number, round.number, $.fundingAmount);
        _payCommunity($);
    }

    /// @notice Mints an operator's share of the round into the stake behind it; the delegate manager shares it out.
    /// @dev An operator out of bounds gets nothing, and its claim is done all the same.
    /// @param operator whose stake earned
    /// @param totalLocked what of the stake behind it is on its way out, in wei
    /// @return rewards what was minted, in wei
    function processClaim(address operator, uint256 totalLocked) external returns (uint256 rewards) {
        ClaimsManagerStorage storage $ = _claims();
        if (msg.sender != $.delegateManager) revert CallerIsNotDelegateManager(msg.sender);
        Round storage round = $.round;
        if ($.lastClaims[operator].round == round.number) revert AlreadyClaimed(operator, round.number);
        $.lastClaims[operator] = LastClaim(SafeCast.toUint128(round.number), SafeCast.toUint128(block.number));
        uint256 oldTotal = $.staking.totalStakedFor(operator);
        rewards = _rewards($, operator, totalLocked);
        emit ClaimProcessed(operator, rewards, oldTotal, oldTotal + rewards);
        if (rewards == 0) return 0;
        // At most what is left of the round's amount.
        round.claimed += uint128(rewards);
        $.token.mint(address($.staking), rewards);
        $.staking.stakeRewards(operator, rewards);
    }

    /// @notice Changes what can be claimed in rounds to come, in wei.
    function updateFundingAmount(uint256 amount) external onlyGovernance {
        _setFundingAmount(amount);
    }

    /// @notice Changes how many blocks rounds are more than apart.
    function updateFundingRoundBlockDiff(uint256 blocks) external onlyGovernance {
        _setFundingRound(blocks);
    }

    /// @notice Changes what the community pool gets in rounds to come, in wei.
    function updateRecurringCommunityFundingAmount(uint256 amount) external onlyGovernance {
        _setCommunityAmount(amount);
    }

    /// @notice Moves the community pool; zero for none.
    function updateCommunityPoolAddress(address newPool) external onlyGovernance {
        _setCommunityPool(newPool);
    }

    /// @notice Whether an operator with services, and with stake when the round began, has not claimed in the round.
    function claimPending(address operator) external view returns (bool) {
        ClaimsManagerStorage storage $ = _claims();
        if ($.lastClaims[operator].round == $.round.number) return false;
        // Of the details, one is needed.
        // slither-disable-next-line unused-return
        (,,, uint256 serviceCount,,) = $.serviceProviderFactory.getServiceProviderDetails(operator);
        return serviceCount > 0 && $.staking.totalStakedForAt(operator, _countedBlock($)) > 0;
    }

    /// @notice Rounds are more than this many blocks apart.
    function getFundingRoundBlockDiff() external view returns (uint256) {
        return _claims().fundingRoundBlocks;
    }

    /// @notice The block that the round began in; zero before the first round.
    function getLastFundedBlock() external view returns (uint256) {
        return _claims().round.fundedBlock;
    }

    /// @notice What can be claimed in rounds to come, in wei.
    function getFundsPerRound() external view returns (uint256) {
        return _claims().fundingAmount;
    }

    /// @notice What can be claimed in this round, in wei.
    function getFundedAmount() external view returns (uint256) {
        return _claims().round.fundedAmount;
    }

    /// @notice What was claimed in this round, in wei.
    function getTotalClaimedInRound() external view returns (uint256) {
        return _claims().round.claimed;
    }

    /// @notice What the community pool gets in each round, in wei.
    function getRecurringCommunityFundingAmount() external view returns (uint256) {
        return _claims().recurringCommunityFundingAmount;
    }

    /// @notice The community pool, or zero.
    function getCommunityPoolAddress() external view returns (address) {
        return _claims().communityPool;
    }

    /// @notice How many rounds there were.
    function getRoundNumber() external view returns (uint256) {
        return _claims().round.number;
    }

    /// @notice The round that an operator claimed in last, or zero.
    function getLastClaimedRound(address operator) external view returns (uint256) {
        return _claims().lastClaims[operator].round;
    }

    /// @notice The block in which an operator claimed last, or zero.
    function getLastClaimedBlock(address operator) external view returns (uint256) {
        return _claims().lastClaims[operator].blockNumber;
    }

    /// @notice The token that is minted.
    function token() external view returns (address) {
        return address(_claims().token);
    }

    /// @notice The contract that holds the stake.
    function staking() external view returns (address) {
        return address(_claims().staking);
    }

    /// @notice The contract that knows the operators.
    function serviceProviderFactory() external view returns (address) {
        return address(_claims().serviceProviderFactory);
    }

    /// @notice The contract that shares rewards out.
    function delegateManager() external view returns (address) {
        return _claims().delegateManager;
    }

    function _rewards(ClaimsManagerStorage storage $, address operator, uint256 totalLocked)
        private
        view
        returns (uint256)
    {
        // Of the details, one is needed.
        // slither-disable-next-line unused-return
        (,, bool validBounds,,,) = $.serviceProviderFactory.getServiceProviderDetails(operator);
        if (!validBounds) return 0;
        uint256 countedBlock = _countedBlock($);
        uint256 active = Math.saturatingSub($.staking.totalStakedForAt(operator, countedBlock), totalLocked);
        if (active == 0) return 0;
        uint256 share = Math.mulDiv(active, $.round.fundedAmount, $.staking.totalStakedAt(countedBlock));
        return Math.min(share, $.round.fundedAmount - $.round.claimed);
    }

    /// The block at whose end the round's shares were fixed: the last one before the round, which nothing can change.
    function _countedBlock(ClaimsManagerStorage storage $) private view returns (uint256) {
        return $.round.fundedBlock - 1;
    }

    function _payCommunity(ClaimsManagerStorage storage $) private {
        (address pool, uint256 amount) = ($.communityPool, $.recurringCommunityFundingAmount);
        if (pool == address(0) || amount == 0) return;
        emit CommunityRewardsTransferred(pool, amount);
        $.token.mint(pool, amount);
    }

    function _setFundingRound(uint256 blocks) private {
        if (blocks == 0) revert FundingRoundIsZero();
        ClaimsManagerStorage storage $ = _claims();
        uint256 lockup = $.serviceProviderFactory.getDeployerCutLockupDuration();
        if (blocks >= lockup) revert FundingRoundIsTooLong(blocks, lockup);
        $.fundingRoundBlocks = blocks;
        emit FundingRoundBlockDiffUpdated(blocks);
    }

    function _setFundingAmount(uint256 amount) private {
        if (amount > FUNDING_AMOUNT_MAX) revert FundingAmountIsTooLarge(amount, FUNDING_AMOUNT_MAX);
        _claims().fundingAmount = amount;
        emit FundingAmountUpdated(amount);
    }

    function _setCommunityAmount(uint256 amount) private {
        if (amount > FUNDING_AMOUNT_MAX) revert FundingAmountIsTooLarge(amount, FUNDING_AMOUNT_MAX);
        _claims().recurringCommunityFundingAmount = amount;
        emit RecurringCommunityFundingAmountUpdated(amount);
    }

    function _setCommunityPool(address newPool) private {
        ClaimsManagerStorage storage $ = _claims();
        emit CommunityPoolAddressUpdated($.communityPool, newPool);
        $.communityPool = newPool;
    }

    function _claims() private pure returns (ClaimsManagerStorage storage $) {
        assembly {
            $.slot := CLAIMS_MANAGER_SLOT
        }
    }
}
