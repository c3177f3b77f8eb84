// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {Governed} from "../common/Governed.sol";
import {Governance} from "../eth/Governance.sol";
import {Registry} from "../eth/Registry.sol";
import {IVotingStakes} from "../eth/VotingStakes.sol";
import {Fixture} from "./Fixture.sol";

/// Stakes as governance sees them, set by the test.
contract Stakes is IVotingStakes {
    using Checkpoints for Checkpoints.Trace208;

    Checkpoints.Trace208 private total;
    mapping(address account => Checkpoints.Trace208) private stakes;

    function set(address account, uint256 stake) external {
        uint256 next = total.latest() + stake - stakes[account].latest();
        stakes[account].push(uint48(block.number), uint208(stake));
        total.push(uint48(block.number), uint208(next));
    }

    function votingStakeFor(address account) external view returns (uint256) {
        return stakes[account].latest();
    }

    function votingStakeForAt(address account, uint256 blockNumber) external view returns (uint256) {
        return stakes[account].upperLookupRecent(uint48(blockNumber));
    }

    function totalStaked() external view returns (uint256) {
        return total.latest();
    }

    function totalStakedAt(uint256 blockNumber) external view returns (uint256) {
        return total.upperLookupRecent(uint48(blockNumber));
    }
}

/// What proposals call in these tests.
contract Target is Governed {
    uint256 public value;
    uint256 public lockup;
    uint256 public removalLockup;

    error Refused(uint256 value);

    function initialize(address initialGovernance) external initializer {
        _initializeGoverned(initialGovernance);
    }

    function set(uint256 newValue) external onlyGovernance returns (uint256) {
        value = newValue;
        return newValue;
    }

    function refuse(uint256 newValue) external view onlyGovernance {
        revert Refused(newValue);
    }

    function take() external payable onlyGovernance {
        value = msg.value;
    }

    function explode(uint256 length) external pure {
        assembly {
            revert(mload(0x40), length)
        }
    }

    function answer(uint256 length) external pure {
        assembly {
            return(mload(0x40), length)
        }
    }

    function burnGas() external pure {
        assembly {
            invalid()
        }
    }

    /// Uses about 22,000 gas a round, `depth` calls further down.
    function work(uint256 rounds, uint256 depth) external {
        if (depth > 0) {
            Target(address(this)).work(rounds, depth - 1);
            return;
        }
        for (uint256 i = 1; i <= rounds; i++) {
            assembly {
                sstore(i, i)
            }
        }
    }

    function setLockup(uint256 blocks) external {
        (lockup, removalLockup) = (blocks, blocks);
    }

    function setRemovalLockup(uint256 blocks) external {
        removalLockup = blocks;
    }

    function getDecreaseStakeLockupDuration() external view returns (uint256) {
        return lockup;
    }

    function getUndelegateLockupDuration() external view returns (uint256) {
        return lockup;
    }

    function getRemoveDelegatorLockupDuration() external view returns (uint256) {
        return removalLockup;
    }
}

/// @title Governance with the numbers of the facts: period 10, delay 10, quorum 10 %, stakes of 1000.
abstract contract GovernanceFixture is Fixture {
    uint256 internal constant PERIOD = 10;
    uint256 internal constant DELAY = 10;
    uint256 internal constant QUORUM = 10;
    uint256 internal constant LIMIT = 20;
    uint256 internal constant STAKE = 1000 ether;
    uint256 internal constant GUARDIAN_UNTIL = 2000;
    bytes32 internal constant TARGET = "Target";
    bytes32 internal constant SELF = "Governance";
    uint8 internal constant NO = 1;
    uint8 internal constant YES = 2;

    address internal constant GUARDIAN = address(0x9a4d);
    address internal constant CLEO = address(0xc1e0);

    Registry internal contractRegistry;
    Governance internal governance;
    Stakes internal stakes;
    Target internal target;

    function setUp() public virtual override {
        super.setUp();
        contractRegistry = Registry(
            proxied(address(new Registry()), abi.encodeCall(Registry.initialize, (GOVERNANCE)))
        );
        stakes = new Stakes();
        governance = Governance(payable(proxied(address(new Governance()), initialization())));
        target = Target(
            proxied(address(new Target()), abi.encodeCall(Target.initialize, (address(governance))))
        );
        vm.startPrank(GOVERNANCE);
        contractRegistry.addContract(TARGET, address(target));
        contractRegistry.addContract(SELF, address(governance));
        contractRegistry.addContract("Registry", address(contractRegistry));
        vm.stopPrank();
        stakes.set(ADA, STAKE);
        stakes.set(BOB, STAKE);
        next(1);
    }

    function initialization() internal view returns (bytes memory) {
        return abi.encodeCall(
            Governance.initialize,
            (address(contractRegistry), address(stakes), PERIOD, DELAY, QUORUM, LIMIT, GUARDIAN, GUARDIAN_UNTIL)
        );
    }

    function next(uint256 blocks) internal {
        vm.roll(block.number + blocks);
    }

    /// Ada proposes that the target remembers 42.
    function propose() internal returns (uint256) {
        return propose(TARGET, "set(uint256)", abi.encode(42));
    }

    function propose(bytes32 key, string memory functionSignature, bytes memory callData) internal returns (uint256) {
        vm.prank(ADA);
        return governance.submitProposal(key, 0, functionSignature, callData, "a name", "a description");
    }

    function castVote(address voter, uint256 id, uint8 choice) internal {
        vm.prank(voter);
        governance.submitVote(id, choice);
    }

    /// From the submission: the next block, one vote, and the end of the delay.
    function pass(uint256 id) internal {
        next(1);
        castVote(ADA, id, YES);
        toEvaluation(id);
    }

    function toEvaluation(uint256 id) internal {
        (, uint256 evaluationBlock,) = governance.getProposalRules(id);
        vm.roll(evaluationBlock);
    }

    function evaluate(uint256 id) internal returns (Governance.Outcome) {
        vm.prank(STRANGER);
        return governance.evaluateProposalOutcome(id);
    }

    function passAndEvaluate(uint256 id) internal returns (Governance.Outcome) {
        pass(id);
        return evaluate(id);
    }

    function outcomeOf(uint256 id) internal view returns (Governance.Outcome outcome) {
        return Governance.Outcome(proposalWord(id, 8));
    }

    function votesOf(uint256 id) internal view returns (uint256 votesYes, uint256 votesNo, uint256 count) {
        return (proposalWord(id, 9), proposalWord(id, 10), proposalWord(id, 11));
    }

    /// One of the twelve words of `getProposalById`; all at once are too many for the stack.
    function proposalWord(uint256 id, uint256 index) internal view returns (uint256 word) {
        bytes memory answer = proposalAnswer(id);
        assembly {
            word := mload(add(answer, mul(32, add(index, 1))))
        }
    }

    /// The bytes that one of those words points at.
    function proposalBytes(uint256 id, uint256 index) internal view returns (bytes memory tail) {
        bytes memory answer = proposalAnswer(id);
        uint256 offset = proposalWord(id, index);
        assembly {
            tail := add(add(answer, 32), offset)
        }
    }

    function proposalAnswer(uint256 id) private view returns (bytes memory answer) {
        bool answered;
        (answered, answer) = address(governance).staticcall(abi.encodeCall(Governance.getProposalById, (id)));
        require(answered, "getProposalById reverted");
    }

    function same(Governance.Outcome left, Governance.Outcome right, string memory what) internal pure {
        same(uint256(left), uint256(right), what);
    }
}
