// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";
import {Governed} from "../common/Governed.sol";
import {IVotingPeriods} from "./Lockups.sol";
import {Registry} from "./Registry.sol";
import {IVotingStakes} from "./VotingStakes.sol";

/// @title What governance asks the contracts that lock stake.
interface IStakeLockups {
    /// @notice How many blocks a decrease of stake is locked.
    function getDecreaseStakeLockupDuration() external view returns (uint256);

    /// @notice How many blocks undelegated stake is locked.
    function getUndelegateLockupDuration() external view returns (uint256);

    /// @notice How many blocks before its removal a delegator is told.
    function getRemoveDelegatorLockupDuration() external view returns (uint256);
}

/// @title Stakers decide here what every contract does next, this one included.
/// @notice A proposal is one call of one contract of the registry. Stakers vote for the voting period with what they had
/// when it was submitted; after the execution delay anybody has it evaluated, which executes it if it passed. Its rules
/// are those of the block of its submission. Places are few: a proposal is backed by its proposer's stake divided by the
/// proposals that it has in progress, and when no place is free one that is backed by more takes that of the least.
/// A guardian can veto until a fixed block, and has no other right.
contract Governance is Governed, IVotingPeriods {
    using EnumerableSet for EnumerableSet.UintSet;

    enum Vote {
        None,
        No,
        Yes
    }

    enum Outcome {
        InProgress,
        Rejected,
        ApprovedExecuted,
        QuorumNotMet,
        ApprovedExecutionFailed,
        Evaluating,
        Vetoed,
        TargetContractAddressChanged,
        TargetContractCodeHashChanged,
        Displaced
    }

    /// The magnitude is that of the first vote for ever.
    struct Ballot {
        uint8 vote;
        uint248 magnitude;
    }

    struct Proposal {
        address proposer;
        uint48 submissionBlock;
        Outcome outcome;
        uint8 quorumPercent;
        uint32 voteCount;
        address target;
        uint48 lastVoteBlock;
        uint48 evaluationBlock;
        uint128 yes;
        uint128 no;
        uint128 stake;
        bytes32 targetKey;
        bytes32 targetHash;
        uint256 callValue;
        string functionSignature;
        bytes callData;
        string name;
        string description;
        mapping(address voter => Ballot) ballots;
    }

    /// @custom:storage-location erc7201:coliving.storage.Governance
    struct GovernanceStorage {
        Registry registry;
        uint48 votingPeriod;
        uint48 executionDelay;
        IVotingStakes staking;
        uint8 votingQuorumPercent;
        uint16 maxInProgressProposals;
        address guardian;
        uint96 guardianUntilBlock;
        uint256 proposalCount;
        mapping(uint256 id => Proposal) proposals;
        EnumerableSet.UintSet inProgress;
        mapping(address proposer => uint256) inProgressOf;
    }

    bytes32 private constant GOVERNANCE_SLOT = 0xf5f4f67be7a751ecd8dbaeebdd586fd46adca48c683b3688dd6524107895df00;

    bytes32 private constant SERVICE_PROVIDER_FACTORY = "ServiceProviderFactory";
    bytes32 private constant DELEGATE_MANAGER = "DelegateManager";

    /// @notice Longest voting period and longest execution delay, in blocks.
    uint256 public constant PERIOD_BLOCKS_MAX = 100_000_000;

    /// @notice Highest limit on proposals in progress; bounds `getInProgressProposals`.
    uint256 public constant IN_PROGRESS_MAX = 256;

    /// @notice Most proposals that one account may have in progress.
    uint256 public constant IN_PROGRESS_PER_PROPOSER_MAX = 10;

    /// @notice A proposer votes with at least one part in this many of all stake.
    uint256 public constant PROPOSER_STAKE_DIVISOR = 1000;

    /// @notice Longest name of a proposal.
    uint256 public constant NAME_BYTES_MAX = 128;

    /// @notice Longest description of a proposal.
    uint256 public constant DESCRIPTION_BYTES_MAX = 4096;

    /// @notice Longest function signature.
    uint256 public constant FUNCTION_SIGNATURE_BYTES_MAX = 256;

    /// @notice Largest encoded arguments.
    uint256 public constant CALL_DATA_BYTES_MAX = 16 * 1024;

    /// @notice Of what the target answers, this many bytes are logged.
    uint256 public constant RETURN_BYTES_MAX = 1024;

    /// @notice With this much gas a failed execution counts as one, whatever it used.
    uint256 public constant EXECUTION_GAS_ENOUGH = 15_000_000;

    uint256 private constant IMPLEMENTATION_GAS_MAX = 100_000;

    /// @notice A proposal is open for votes from the next block on.
    event ProposalSubmitted(uint256 indexed proposalId, address indexed proposer, string name, string description);

    /// @notice An account voted; `voterStake` stays its weight.
    event ProposalVoteSubmitted(
        uint256 indexed proposalId, address indexed voter, uint8 indexed vote, uint256 voterStake
    );

    /// @notice An account changed its vote.
    event ProposalVoteUpdated(
        uint256 indexed proposalId, address indexed voter, uint8 indexed vote, uint256 voterStake, uint8 previousVote
    );

    /// @notice A proposal is closed.
    event ProposalOutcomeEvaluated(
        uint256 indexed proposalId,
        uint8 indexed outcome,
        uint256 voteMagnitudeYes,
        uint256 voteMagnitudeNo,
        uint256 numVotes
    );

    /// @notice A passed proposal's call was made; `returnData` is the beginning of what came back.
    event ProposalTransactionExecuted(uint256 indexed proposalId, bool indexed success, bytes returnData);

    /// @notice A proposal lost its place to one that is backed by more.
    event ProposalDisplaced(uint256 indexed proposalId, uint256 indexed byProposalId);

    /// @notice The guardian closed a proposal.
    event ProposalVetoed(uint256 indexed proposalId);

    /// @notice Somebody left ether here, which proposals can pass on.
    event EtherReceived(address indexed from, uint256 amount);

    /// @notice How many blocks a vote lasts changed.
    event VotingPeriodChanged(uint256 previousBlocks, uint256 blocks);

    /// @notice How many blocks lie between a vote and its execution changed.
    event ExecutionDelayChanged(uint256 previousBlocks, uint256 blocks);

    /// @notice How much of all stake must vote changed.
    event VotingQuorumPercentChanged(uint256 previousPercent, uint256 percent);

    /// @notice How many proposals may be in progress changed.
    event MaxInProgressProposalsChanged(uint256 previousCount, uint256 count);

    /// @notice The registry that names targets changed.
    event RegistryAddressChanged(address indexed previousRegistry, address indexed registry);

    /// @notice The contract that knows the stakes changed.
    event StakingAddressChanged(address indexed previousStaking, address indexed staking);

    /// @notice A period is between 1 and `blocksMax` blocks.
    error PeriodIsWrong(uint256 blocks, uint256 blocksMax);

    /// @notice The quorum is between 1 and 100 per cent.
    error QuorumIsWrong(uint256 percent);

    /// @notice The limit on proposals in progress is between 1 and `countMax`.
    error InProgressLimitIsWrong(uint256 count, uint256 countMax);

    /// @notice Stake could leave before a proposal of its voter is executed: `lockedBy` locks it for too short.
    error LockupIsTooShort(address lockedBy, uint256 lockupBlocks, uint256 votingAndDelayBlocks);

    /// @notice There is no code at the address; `what` names it.
    error AddressHasNoCode(string what, address account);

    /// @notice The contract does not know what governance asks it; `what` names it.
    error AddressDoesNotAnswer(string what, address account);

    /// @notice A proposer votes with at least `needed`.
    error ProposersStakeIsTooSmall(address proposer, uint256 stake, uint256 needed);

    /// @notice A proposal can be evaluated; that comes before a new one.
    error ProposalAwaitsEvaluation(uint256 proposalId);

    /// @notice As many proposals are in progress as may be, and each that could give way is backed by `leastStake` or more.
    error TooManyProposals(uint256 proposalsMax, uint256 backingStake, uint256 leastStake);

    /// @notice As many proposals of this proposer are in progress as may be.
    error TooManyProposalsOfProposer(address proposer, uint256 proposalsMax);

    /// @notice The text or data is empty or longer than `lengthMax` bytes; `what` names it.
    error LengthIsWrong(string what, uint256 length, uint256 lengthMax);

    /// @notice A function signature is a name and types without spaces, such as `slash(uint256,address)`.
    error FunctionSignatureIsMalformed(string functionSignature);

    /// @notice No contract of the registry has this name.
    error TargetIsUnknown(bytes32 targetContractRegistryKey);

    /// @notice There is no such proposal.
    error ProposalIsUnknown(uint256 proposalId);

    /// @notice The proposal is closed.
    error ProposalIsNotInProgress(uint256 proposalId, Outcome outcome);

    /// @notice Votes are taken from the block after the submission to the end of the voting period.
    error VotingIsClosed(uint256 proposalId, uint256 firstBlock, uint256 lastBlock, uint256 currentBlock);

    /// @notice A vote is 1 (no) or 2 (yes).
    error VoteIsUnknown(uint8 vote);

    /// @notice The account has voted; it can update its vote.
    error VoteIsCast(uint256 proposalId, address voter);

    /// @notice The account has not voted.
    error VoteIsNotCast(uint256 proposalId, address voter);

    /// @notice The account has no stake, or had none when the proposal was submitted.
    error VoterHasNoStake(uint256 proposalId, address voter);

    /// @notice The execution delay is not over.
    error ProposalIsNotEvaluable(uint256 proposalId, uint256 evaluationBlock, uint256 currentBlock);

    /// @notice The execution failed and may have lacked gas; give more, `gasEnough` at most.
    error GasIsTooLittle(uint256 gasGiven, uint256 gasEnough);

    /// @notice Only the guardian vetoes.
    error CallerIsNotGuardian(address caller);

    /// @notice The guardian's time is over.
    error GuardianIsGone(uint256 guardianUntilBlock);

    /// @param registry proxy of the registry that names targets
    /// @param staking proxy of the contract that knows the stakes
    /// @param votingPeriod how many blocks a vote lasts
    /// @param executionDelay how many blocks lie between a vote and its execution
    /// @param votingQuorumPercent how much of all stake must vote, in per cent
    /// @param maxInProgressProposals how many proposals may be in progress
    /// @param guardian who can veto; may be zero
    /// @param guardianUntilBlock the first block at which it cannot any longer
    function initialize(
        address registry,
        address staking,
        uint256 votingPeriod,
        uint256 executionDelay,
        uint256 votingQuorumPercent,
        uint256 maxInProgressProposals,
        address guardian,
        uint256 guardianUntilBlock
    ) external initializer {
        _initializeGoverned(address(this));
        _setRegistry(registry);
        _setStaking(staking);
        _setVotingPeriod(votingPeriod);
        _setExecutionDelay(executionDelay);
        _setQuorum(votingQuorumPercent);
        _setInProgressLimit(maxInProgressProposals);
        GovernanceStorage storage $ = _governance();
        $.guardian = guardian;
        $.guardianUntilBlock = SafeCast.toUint96(guardianUntilBlock);
    }

    /// @notice Takes ether, for proposals to pass on.
    receive() external payable {
        emit EtherReceived(msg.sender, msg.value);
    }

    /// @notice Proposes one call; the caller is a staker.
    /// @param targetContractRegistryKey name of the contract that is called
    /// @param callValue ether that goes with the call, in wei, of what governance has
    /// @param functionSignature such as `slash(uint256,address)`
    /// @param callData the encoded arguments, without the selector
    /// @param name what it is called
    /// @param description what it is for
    /// @return id number of the proposal, from 1
    function submitProposal(
        bytes32 targetContractRegistryKey,
        uint256 callValue,
        string calldata functionSignature,
        bytes calldata callData,
        string calldata name,
        string calldata description
    ) external returns (uint256 id) {
        uint256 stake = _requireProposer();
        uint256 displaced = _requireRoom(stake);
        _requireLength("name", 1, bytes(name).length, NAME_BYTES_MAX);
        _requireLength("description", 1, bytes(description).length, DESCRIPTION_BYTES_MAX);
        _requireLength("call data", 0, callData.length, CALL_DATA_BYTES_MAX);
        _requireSignature(functionSignature);
        id = _open(targetContractRegistryKey, callValue, stake);
        if (displaced != 0) _displace(displaced, id);
        Proposal storage proposal = _governance().proposals[id];
        proposal.functionSignature = functionSignature;
        proposal.callData = callData;
        proposal.name = name;
        proposal.description = description;
        emit ProposalSubmitted(id, msg.sender, name, description);
    }

    /// @notice Votes; the weight is the smaller of the caller's stake at the submission and its stake at this moment.
    /// @param id the proposal
    /// @param vote 1 for no, 2 for yes
    function submitVote(uint256 id, uint8 vote) external {
        Proposal storage proposal = _requireOpenForVotes(id, vote);
        Ballot storage ballot = proposal.ballots[msg.sender];
        if (ballot.vote != uint8(Vote.None)) revert VoteIsCast(id, msg.sender);
        uint256 magnitude = _weight(proposal.submissionBlock);
        if (magnitude == 0) revert VoterHasNoStake(id, msg.sender);
        ballot.vote = vote;
        ballot.magnitude = SafeCast.toUint248(magnitude);
        proposal.voteCount += 1;
        _count(proposal, vote, magnitude);
        emit ProposalVoteSubmitted(id, msg.sender, vote, magnitude);
    }

    /// @notice Changes the caller's vote; its weight stays that of its first vote.
    /// @param id the proposal
    /// @param vote 1 for no, 2 for yes
    function updateVote(uint256 id, uint8 vote) external {
        Proposal storage proposal = _requireOpenForVotes(id, vote);
        Ballot storage ballot = proposal.ballots[msg.sender];
        uint8 previous = ballot.vote;
        if (previous == uint8(Vote.None)) revert VoteIsNotCast(id, msg.sender);
        uint128 magnitude = SafeCast.toUint128(ballot.magnitude);
        if (previous == uint8(Vote.Yes)) proposal.yes -= magnitude;
        else proposal.no -= magnitude;
        ballot.vote = vote;
        _count(proposal, vote, magnitude);
        emit ProposalVoteUpdated(id, msg.sender, vote, magnitude, previous);
    }

    /// @notice Closes a proposal after its execution delay and, if it passed, makes its call; anybody may ask for it.
    /// @param id the proposal
    /// @return outcome how it ended
    function evaluateProposalOutcome(uint256 id) external returns (Outcome outcome) {
        Proposal storage proposal = _requireInProgress(id);
        if (block.number < proposal.evaluationBlock) {
            revert ProposalIsNotEvaluable(id, proposal.evaluationBlock, block.number);
        }
        _close(id, proposal, Outcome.Evaluating);
        outcome = _judge(proposal);
        if (outcome == Outcome.ApprovedExecuted && !_execute(id, proposal)) outcome = Outcome.ApprovedExecutionFailed;
        proposal.outcome = outcome;
        emit ProposalOutcomeEvaluated(id, uint8(outcome), proposal.yes, proposal.no, proposal.voteCount);
    }

    /// @notice Closes a proposal without its call; only the guardian, and only in its time.
    function vetoProposal(uint256 id) external {
        GovernanceStorage storage $ = _governance();
        if (msg.sender != $.guardian) revert CallerIsNotGuardian(msg.sender);
        if (block.number >= $.guardianUntilBlock) revert GuardianIsGone($.guardianUntilBlock);
        _close(id, _requireInProgress(id), Outcome.Vetoed);
        emit ProposalVetoed(id);
    }

    /// @notice Sets how many blocks the votes on later proposals last.
    function setVotingPeriod(uint256 blocks) external onlyGovernance {
        _setVotingPeriod(blocks);
        _requireLockups();
    }

    /// @notice Sets how many blocks lie between the votes on later proposals and their execution.
    function setExecutionDelay(uint256 blocks) external onlyGovernance {
        _setExecutionDelay(blocks);
        _requireLockups();
    }

    /// @notice Sets how much of all stake must vote on later proposals, in per cent.
    function setVotingQuorumPercent(uint256 percent) external onlyGovernance {
        _setQuorum(percent);
    }

    /// @notice Sets how many proposals may be in progress.
    function setMaxInProgressProposals(uint256 count) external onlyGovernance {
        _setInProgressLimit(count);
    }

    /// @notice Names the registry that names targets.
    function setRegistryAddress(address registry) external onlyGovernance {
        _setRegistry(registry);
        _requireLockups();
    }

    /// @notice Names the contract that knows the stakes.
    function setStakingAddress(address staking) external onlyGovernance {
        _setStaking(staking);
    }

    /// @notice A proposal and its votes; reverts when there is none.
    function getProposalById(uint256 id)
        external
        view
        returns (
            uint256 proposalId,
            address proposer,
            uint256 submissionBlockNumber,
            bytes32 targetContractRegistryKey,
            address targetContractAddress,
            uint256 callValue,
            string memory functionSignature,
            bytes memory callData,
            Outcome outcome,
            uint256 voteMagnitudeYes,
            uint256 voteMagnitudeNo,
            uint256 numVotes
        )
    {
        Proposal storage proposal = _requireKnown(id);
        proposalId = id;
        proposer = proposal.proposer;
        submissionBlockNumber = proposal.submissionBlock;
        targetContractRegistryKey = proposal.targetKey;
        targetContractAddress = proposal.target;
        callValue = proposal.callValue;
        functionSignature = proposal.functionSignature;
        callData = proposal.callData;
        outcome = proposal.outcome;
        voteMagnitudeYes = proposal.yes;
        voteMagnitudeNo = proposal.no;
        numVotes = proposal.voteCount;
    }

    /// @notice The last block for votes, the first block for the evaluation, and the quorum of a proposal.
    function getProposalRules(uint256 id)
        external
        view
        returns (uint256 lastVoteBlock, uint256 evaluationBlock, uint256 quorumPercent)
    {
        Proposal storage proposal = _requireKnown(id);
        return (proposal.lastVoteBlock, proposal.evaluationBlock, proposal.quorumPercent);
    }

    /// @notice The stake behind a proposal's place: its proposer's at the submission, divided by the proposals that it
    /// has in progress; zero when the proposal is closed.
    function getProposalBacking(uint256 id) external view returns (uint256) {
        Proposal storage proposal = _requireKnown(id);
        return proposal.outcome == Outcome.InProgress ? _backing(proposal) : 0;
    }

    /// @notice What the code behind a proposal's target hashed to when it was submitted.
    function getProposalTargetContractHash(uint256 id) external view returns (bytes32) {
        return _requireKnown(id).targetHash;
    }

    /// @notice What a proposal is called and what it is for.
    function getProposalText(uint256 id) external view returns (string memory name, string memory description) {
        Proposal storage proposal = _requireKnown(id);
        return (proposal.name, proposal.description);
    }

    /// @notice An account's vote on a proposal and its weight; both zero before it voted.
    function getVoteInfoByProposalAndVoter(uint256 id, address voter)
        external
        view
        returns (uint8 vote, uint256 magnitude)
    {
        Ballot storage ballot = _requireKnown(id).ballots[voter];
        return (ballot.vote, ballot.magnitude);
    }

    /// @notice How many blocks a vote lasts.
    function getVotingPeriod() external view returns (uint256) {
        return _governance().votingPeriod;
    }

    /// @notice How many blocks lie between a vote and its execution.
    function getExecutionDelay() external view returns (uint256) {
        return _governance().executionDelay;
    }

    /// @notice How much of all stake must vote, in per cent.
    function getVotingQuorumPercent() external view returns (uint256) {
        return _governance().votingQuorumPercent;
    }

    /// @notice How many proposals may be in progress.
    function getMaxInProgressProposals() external view returns (uint256) {
        return _governance().maxInProgressProposals;
    }

    /// @notice The proposals that are in progress, in no particular order.
    function getInProgressProposals() external view returns (uint256[] memory) {
        return _governance().inProgress.values();
    }

    /// @notice Whether no proposal awaits its evaluation, so that a new one can be submitted.
    function inProgressProposalsAreUpToDate() external view returns (bool) {
        return _awaitingEvaluation() == 0;
    }

    /// @notice How many proposals there were, which is also the highest number.
    function getProposalCount() external view returns (uint256) {
        return _governance().proposalCount;
    }

    /// @notice Who can veto; zero when nobody ever could.
    function getGuardianAddress() external view returns (address) {
        return _governance().guardian;
    }

    /// @notice The first block at which the guardian cannot veto.
    function getGuardianUntilBlock() external view returns (uint256) {
        return _governance().guardianUntilBlock;
    }

    /// @notice The registry that names targets.
    function getRegistryAddress() external view returns (address) {
        return address(_governance().registry);
    }

    /// @notice The contract that knows the stakes.
    function getStakingAddress() external view returns (address) {
        return address(_governance().staking);
    }

    function _open(bytes32 targetKey, uint256 callValue, uint256 stake) private returns (uint256 id) {
        GovernanceStorage storage $ = _governance();
        address target = $.registry.getContract(targetKey);
        if (target == address(0)) revert TargetIsUnknown(targetKey);
        _requireCode("target", target);
        id = ++$.proposalCount;
        Proposal storage proposal = $.proposals[id];
        proposal.proposer = msg.sender;
        proposal.submissionBlock = SafeCast.toUint48(block.number);
        proposal.quorumPercent = $.votingQuorumPercent;
        proposal.target = target;
        proposal.lastVoteBlock = SafeCast.toUint48(block.number + $.votingPeriod);
        proposal.evaluationBlock = SafeCast.toUint48(block.number + $.votingPeriod + $.executionDelay);
        proposal.stake = SafeCast.toUint128(stake);
        proposal.targetKey = targetKey;
        proposal.targetHash = _codeHash(target);
        proposal.callValue = callValue;
        // slither-disable-next-line unused-return
        $.inProgress.add(id); // a fresh number is never in the set
        $.inProgressOf[msg.sender] += 1;
    }

    function _displace(uint256 id, uint256 byId) private {
        _close(id, _governance().proposals[id], Outcome.Displaced);
        emit ProposalDisplaced(id, byId);
    }

    function _close(uint256 id, Proposal storage proposal, Outcome outcome) private {
        GovernanceStorage storage $ = _governance();
        proposal.outcome = outcome;
        // slither-disable-next-line unused-return
        $.inProgress.remove(id); // an open proposal is always in the set
        $.inProgressOf[proposal.proposer] -= 1;
    }

    function _count(Proposal storage proposal, uint8 vote, uint256 magnitude) private {
        if (vote == uint8(Vote.Yes)) proposal.yes += SafeCast.toUint128(magnitude);
        else proposal.no += SafeCast.toUint128(magnitude);
    }

    function _execute(uint256 id, Proposal storage proposal) private returns (bool success) {
        bytes4 selector = bytes4(keccak256(bytes(proposal.functionSignature)));
        bytes memory data = abi.encodePacked(selector, proposal.callData);
        bytes memory returned;
        (success, returned) = _call(proposal.target, proposal.callValue, data);
        emit ProposalTransactionExecuted(id, success, returned);
    }

    /// Whoever asks for the evaluation chooses the gas and must not be able to make a good call fail with too little.
    /// A failure therefore counts only if half of the gas was left, or if there was enough for anything; a call that ran
    /// out some levels below leaves far less than half.
    function _call(address target, uint256 value, bytes memory data)
        private
        returns (bool success, bytes memory returned)
    {
        uint256 gasGiven = gasleft();
        uint256 lengthMax = RETURN_BYTES_MAX;
        assembly ("memory-safe") {
            success := call(gas(), target, value, add(data, 32), mload(data), 0, 0)
            let length := returndatasize()
            if gt(length, lengthMax) { length := lengthMax }
            returned := mload(0x40)
            mstore(returned, length)
            returndatacopy(add(returned, 32), 0, length)
            mstore(0x40, add(returned, and(add(length, 63), not(31))))
        }
        if (!success && gasGiven < EXECUTION_GAS_ENOUGH && gasleft() < gasGiven / 2) {
            revert GasIsTooLittle(gasGiven, EXECUTION_GAS_ENOUGH);
        }
    }

    function _setVotingPeriod(uint256 blocks) private {
        _requirePeriod(blocks);
        GovernanceStorage storage $ = _governance();
        emit VotingPeriodChanged($.votingPeriod, blocks);
        $.votingPeriod = SafeCast.toUint48(blocks);
    }

    function _setExecutionDelay(uint256 blocks) private {
        _requirePeriod(blocks);
        GovernanceStorage storage $ = _governance();
        emit ExecutionDelayChanged($.executionDelay, blocks);
        $.executionDelay = SafeCast.toUint48(blocks);
    }

    function _setQuorum(uint256 percent) private {
        if (percent == 0 || percent > 100) revert QuorumIsWrong(percent);
        GovernanceStorage storage $ = _governance();
        emit VotingQuorumPercentChanged($.votingQuorumPercent, percent);
        $.votingQuorumPercent = SafeCast.toUint8(percent);
    }

    function _setInProgressLimit(uint256 count) private {
        if (count == 0 || count > IN_PROGRESS_MAX) revert InProgressLimitIsWrong(count, IN_PROGRESS_MAX);
        GovernanceStorage storage $ = _governance();
        emit MaxInProgressProposalsChanged($.maxInProgressProposals, count);
        $.maxInProgressProposals = SafeCast.toUint16(count);
    }

    function _setRegistry(address registry) private {
        _requireCode("registry", registry);
        _requireAnswer("registry", registry, abi.encodeCall(Registry.getContract, (SERVICE_PROVIDER_FACTORY)));
        GovernanceStorage storage $ = _governance();
        emit RegistryAddressChanged(address($.registry), registry);
        $.registry = Registry(registry);
    }

    function _setStaking(address staking) private {
        _requireCode("staking", staking);
        _requireAnswer("staking", staking, abi.encodeCall(IVotingStakes.totalStakedAt, (block.number)));
        _requireAnswer(
            "staking", staking, abi.encodeCall(IVotingStakes.votingStakeForAt, (address(this), block.number))
        );
        GovernanceStorage storage $ = _governance();
        emit StakingAddressChanged(address($.staking), staking);
        $.staking = IVotingStakes(staking);
    }

    /// How a proposal ends, but for the success of its call.
    function _judge(Proposal storage proposal) private view returns (Outcome) {
        GovernanceStorage storage $ = _governance();
        if ($.registry.getContract(proposal.targetKey) != proposal.target) return Outcome.TargetContractAddressChanged;
        if (_codeHash(proposal.target) != proposal.targetHash) return Outcome.TargetContractCodeHashChanged;
        return _judgeVotes(proposal);
    }

    function _judgeVotes(Proposal storage proposal) private view returns (Outcome) {
        // Asked at most once for each place, whose number is bounded.
        // slither-disable-next-line calls-loop
        uint256 total = _governance().staking.totalStakedAt(proposal.submissionBlock);
        uint256 voted = uint256(proposal.yes) + proposal.no;
        if (total == 0 || voted * 100 / total < proposal.quorumPercent) return Outcome.QuorumNotMet;
        return proposal.yes > proposal.no ? Outcome.ApprovedExecuted : Outcome.Rejected;
    }

    /// What a vote of the caller weighs: stake that came after the submission or left since does not count.
    function _weight(uint256 submissionBlock) private view returns (uint256) {
        IVotingStakes staking = _governance().staking;
        uint256 atSubmission = staking.votingStakeForAt(msg.sender, submissionBlock);
        uint256 atPresent = staking.votingStakeFor(msg.sender);
        return atSubmission < atPresent ? atSubmission : atPresent;
    }

    /// The code of a target and, when it is one of our proxies, of its implementation.
    function _codeHash(address target) private view returns (bytes32) {
        bytes memory question = abi.encodeCall(Governed.implementation, ());
        address behind = address(0);
        uint256 gasMax = IMPLEMENTATION_GAS_MAX;
        assembly ("memory-safe") {
            let answered := staticcall(gasMax, target, add(question, 32), mload(question), 0, 32)
            if and(answered, eq(returndatasize(), 32)) { behind := and(mload(0), sub(shl(160, 1), 1)) }
        }
        // The zero address has a code hash as soon as somebody sends it ether.
        bytes32 codeBehind = behind == address(0) ? bytes32(0) : behind.codehash;
        return keccak256(abi.encode(target.codehash, behind, codeBehind));
    }

    /// A number of a proposal that can be evaluated, or zero.
    function _awaitingEvaluation() private view returns (uint256) {
        GovernanceStorage storage $ = _governance();
        uint256 count = $.inProgress.length();
        for (uint256 i = 0; i < count; i++) {
            uint256 id = $.inProgress.at(i);
            if (block.number >= $.proposals[id].evaluationBlock) return id;
        }
        return 0;
    }

    function _requireProposer() private view returns (uint256 stake) {
        GovernanceStorage storage $ = _governance();
        stake = $.staking.votingStakeFor(msg.sender);
        uint256 needed = $.staking.totalStaked() / PROPOSER_STAKE_DIVISOR;
        if (stake == 0 || stake < needed) revert ProposersStakeIsTooSmall(msg.sender, stake, needed);
        if ($.inProgressOf[msg.sender] == IN_PROGRESS_PER_PROPOSER_MAX) {
            revert TooManyProposalsOfProposer(msg.sender, IN_PROGRESS_PER_PROPOSER_MAX);
        }
    }

    /// The proposal that gives way to one of the caller, or zero when a place is free.
    function _requireRoom(uint256 stake) private view returns (uint256 weakest) {
        GovernanceStorage storage $ = _governance();
        uint256 awaiting = _awaitingEvaluation();
        if (awaiting != 0) revert ProposalAwaitsEvaluation(awaiting);
        uint256 count = $.inProgress.length();
        if (count < $.maxInProgressProposals) return 0;
        uint256 backing = stake / ($.inProgressOf[msg.sender] + 1);
        uint256 least = type(uint256).max;
        for (uint256 i = 0; i < count; i++) {
            uint256 id = $.inProgress.at(i);
            Proposal storage proposal = $.proposals[id];
            uint256 its = _backing(proposal);
            if (its >= least || _isCarried(proposal)) continue;
            (weakest, least) = (id, its);
        }
        if (weakest == 0 || backing <= least) {
            revert TooManyProposals($.maxInProgressProposals, backing, least);
        }
    }

    function _backing(Proposal storage proposal) private view returns (uint256) {
        return proposal.stake / _governance().inProgressOf[proposal.proposer];
    }

    /// Whether the vote is over and went for the proposal, which then keeps its place.
    function _isCarried(Proposal storage proposal) private view returns (bool) {
        return block.number > proposal.lastVoteBlock && _judgeVotes(proposal) == Outcome.ApprovedExecuted;
    }

    /// Stake stays locked until whatever its owner can vote on has been executed.
    function _requireLockups() private view {
        GovernanceStorage storage $ = _governance();
        uint256 blocks = uint256($.votingPeriod) + $.executionDelay;
        address lockedBy = $.registry.getContract(SERVICE_PROVIDER_FACTORY);
        if (lockedBy != address(0)) {
            _requireLockup(lockedBy, IStakeLockups(lockedBy).getDecreaseStakeLockupDuration(), blocks);
        }
        lockedBy = $.registry.getContract(DELEGATE_MANAGER);
        if (lockedBy != address(0)) {
            _requireLockup(lockedBy, IStakeLockups(lockedBy).getUndelegateLockupDuration(), blocks);
            _requireLockup(lockedBy, IStakeLockups(lockedBy).getRemoveDelegatorLockupDuration(), blocks);
        }
    }

    function _requireOpenForVotes(uint256 id, uint8 vote) private view returns (Proposal storage proposal) {
        proposal = _requireInProgress(id);
        if (vote != uint8(Vote.No) && vote != uint8(Vote.Yes)) revert VoteIsUnknown(vote);
        uint256 submission = proposal.submissionBlock;
        // In the block of the submission itself the stakes can still change.
        if (block.number <= submission || block.number > proposal.lastVoteBlock) {
            revert VotingIsClosed(id, submission + 1, proposal.lastVoteBlock, block.number);
        }
    }

    function _requireInProgress(uint256 id) private view returns (Proposal storage proposal) {
        proposal = _requireKnown(id);
        if (proposal.outcome != Outcome.InProgress) revert ProposalIsNotInProgress(id, proposal.outcome);
    }

    function _requireKnown(uint256 id) private view returns (Proposal storage) {
        GovernanceStorage storage $ = _governance();
        if (id == 0 || id > $.proposalCount) revert ProposalIsUnknown(id);
        return $.proposals[id];
    }

    function _requireCode(string memory what, address account) private view {
        if (account.code.length == 0) revert AddressHasNoCode(what, account);
    }

    /// Without these answers no proposal could be evaluated, the one that repairs it included.
    function _requireAnswer(string memory what, address account, bytes memory question) private view {
        // A contract that does not know the question is told by name, not by a bare revert.
        // slither-disable-next-line low-level-calls
        (bool answered, bytes memory answer) = account.staticcall(question);
        if (!answered || answer.length != 32) revert AddressDoesNotAnswer(what, account);
    }

    function _requireLockup(address lockedBy, uint256 lockupBlocks, uint256 blocks) private pure {
        if (lockupBlocks <= blocks) revert LockupIsTooShort(lockedBy, lockupBlocks, blocks);
    }

    function _requirePeriod(uint256 blocks) private pure {
        if (blocks == 0 || blocks > PERIOD_BLOCKS_MAX) revert PeriodIsWrong(blocks, PERIOD_BLOCKS_MAX);
    }

    function _requireLength(string memory what, uint256 lengthMin, uint256 length, uint256 lengthMax) private pure {
        if (length < lengthMin || length > lengthMax) revert LengthIsWrong(what, length, lengthMax);
    }

    /// A signature with a space or without brackets has a selector, too, but no function has it.
    function _requireSignature(string calldata functionSignature) private pure {
        bytes calldata text = bytes(functionSignature);
        _requireLength("function signature", 3, text.length, FUNCTION_SIGNATURE_BYTES_MAX);
        bool opens = false;
        bool isPlain = text[0] != "(" && text[text.length - 1] == ")";
        for (uint256 i = 0; i < text.length; i++) {
            if (text[i] == "(") opens = true;
            if (text[i] <= 0x20 || text[i] >= 0x7f) isPlain = false;
        }
        if (!opens || !isPlain) revert FunctionSignatureIsMalformed(functionSignature);
    }

    function _governance() private pure returns (GovernanceStorage storage $) {
        assembly {
            $.slot := GOVERNANCE_SLOT
        }
    }
}
