// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {Governance} from "../eth/Governance.sol";
import {Registry} from "../eth/Registry.sol";
import {GovernanceFixture, Target} from "./GovernanceFixture.sol";

/// A next version of governance, which tells so.
contract NextGovernance is Governance {
    function version() external pure returns (uint256) {
        return 2;
    }
}

/// Votes while it is called by an execution.
contract Reenterer {
    Governance private immutable governance;

    constructor(Governance governed) {
        governance = governed;
    }

    function evaluateAgain(uint256 id) external {
        governance.evaluateProposalOutcome(id);
    }
}

/// What the call of a passed proposal may do, and what can happen to its target meanwhile.
contract GovernanceExecutionTest is GovernanceFixture {
    function testARefusalIsLoggedAndClosesTheProposal() public {
        uint256 id = propose(TARGET, "refuse(uint256)", abi.encode(5));
        pass(id);
        expectEvent(address(governance));
        emit Governance.ProposalTransactionExecuted(id, false, abi.encodeWithSelector(Target.Refused.selector, 5));
        expectEvent(address(governance));
        emit Governance.ProposalOutcomeEvaluated(id, 4, STAKE, 0, 1);
        same(evaluate(id), Governance.Outcome.ApprovedExecutionFailed, "outcome");
        yes(governance.inProgressProposalsAreUpToDate(), "closed");
    }

    function testAFunctionThatDoesNotExistFails() public {
        uint256 id = propose(TARGET, "sett(uint256)", abi.encode(5));
        same(passAndEvaluate(id), Governance.Outcome.ApprovedExecutionFailed, "outcome");
    }

    function testALongAnswerIsCutOff() public {
        uint256 id = propose(TARGET, "explode(uint256)", abi.encode(100_000));
        pass(id);
        expectEvent(address(governance));
        emit Governance.ProposalTransactionExecuted(id, false, new bytes(1024));
        same(evaluate(id), Governance.Outcome.ApprovedExecutionFailed, "outcome");

        id = propose(TARGET, "answer(uint256)", abi.encode(100_000));
        pass(id);
        expectEvent(address(governance));
        emit Governance.ProposalTransactionExecuted(id, true, new bytes(1024));
        same(evaluate(id), Governance.Outcome.ApprovedExecuted, "outcome");
    }

    function testAnAnswerIsLoggedToTheByte(uint8 length) public {
        uint256 id = propose(TARGET, "answer(uint256)", abi.encode(length));
        pass(id);
        expectEvent(address(governance));
        emit Governance.ProposalTransactionExecuted(id, true, new bytes(length));
        evaluate(id);
    }

    function testATargetThatBurnsAllGasFailsWithEnoughOfIt() public {
        uint256 id = propose(TARGET, "burnGas()", "");
        pass(id);
        vm.expectPartialRevert(Governance.GasIsTooLittle.selector);
        governance.evaluateProposalOutcome{gas: 5_000_000}(id);
        same(
            governance.evaluateProposalOutcome{gas: 20_000_000}(id),
            Governance.Outcome.ApprovedExecutionFailed,
            "outcome"
        );
    }

    /// Whatever gas the evaluation gets, a call that can succeed succeeds or the evaluation reverts whole.
    function testAGoodCallCannotBeStarved(uint256 gasGiven, uint8 depth) public {
        uint256 id = propose(TARGET, "work(uint256,uint256)", abi.encode(20, depth % 8));
        pass(id);
        gasGiven = 30_000 + gasGiven % 1_200_000;
        try governance.evaluateProposalOutcome{gas: gasGiven}(id) returns (Governance.Outcome outcome) {
            same(outcome, Governance.Outcome.ApprovedExecuted, "outcome");
        } catch {
            same(outcomeOf(id), Governance.Outcome.InProgress, "nothing happened");
            same(evaluate(id), Governance.Outcome.ApprovedExecuted, "with enough gas it passes");
        }
    }

    function testEtherGoesWithTheCall() public {
        vm.deal(STRANGER, 3 ether);
        vm.prank(STRANGER);
        expectEvent(address(governance));
        emit Governance.EtherReceived(STRANGER, 3 ether);
        (bool sent,) = address(governance).call{value: 3 ether}("");
        yes(sent, "governance takes ether");
        vm.prank(ADA);
        uint256 id = governance.submitProposal(TARGET, 2 ether, "take()", "", "n", "d");
        same(passAndEvaluate(id), Governance.Outcome.ApprovedExecuted, "outcome");
        same(target.value(), 2 ether, "taken");
        same(address(target).balance, 2 ether, "balance");
        vm.prank(ADA);
        id = governance.submitProposal(TARGET, 2 ether, "take()", "", "n", "d");
        same(passAndEvaluate(id), Governance.Outcome.ApprovedExecutionFailed, "more than there is");
        same(address(governance).balance, 1 ether, "the rest stays");
    }

    function testEtherToAFunctionThatTakesNoneFails() public {
        vm.deal(address(governance), 1 ether);
        vm.prank(ADA);
        uint256 id = governance.submitProposal(TARGET, 1, "set(uint256)", abi.encode(1), "n", "d");
        same(passAndEvaluate(id), Governance.Outcome.ApprovedExecutionFailed, "outcome");
        same(address(governance).balance, 1 ether, "nothing left");
    }

    function testAMovedTargetIsNotCalled() public {
        uint256 id = propose();
        pass(id);
        address other = proxied(address(new Target()), abi.encodeCall(Target.initialize, (address(governance))));
        vm.prank(GOVERNANCE);
        contractRegistry.upgradeContract(TARGET, other);
        expectEvent(address(governance));
        emit Governance.ProposalOutcomeEvaluated(id, 7, STAKE, 0, 1);
        same(evaluate(id), Governance.Outcome.TargetContractAddressChanged, "outcome");
        same(target.value() + Target(other).value(), 0, "neither is called");
    }

    function testARemovedTargetIsNotCalled() public {
        uint256 id = propose();
        pass(id);
        vm.prank(GOVERNANCE);
        contractRegistry.removeContract(TARGET);
        same(evaluate(id), Governance.Outcome.TargetContractAddressChanged, "outcome");
    }

    function testATargetWithOtherCodeIsNotCalled() public {
        uint256 id = propose();
        pass(id);
        vm.etch(address(target), address(new Target()).code);
        expectEvent(address(governance));
        emit Governance.ProposalOutcomeEvaluated(id, 8, STAKE, 0, 1);
        same(evaluate(id), Governance.Outcome.TargetContractCodeHashChanged, "outcome");
    }

    function testATargetWithAnotherImplementationIsNotCalled() public {
        uint256 id = propose();
        bytes32 before = governance.getProposalTargetContractHash(id);
        pass(id);
        address implementation = address(new NextGovernance());
        vm.prank(address(governance));
        target.upgradeToAndCall(implementation, "");
        same(target.implementation(), implementation, "implementation");
        same(evaluate(id), Governance.Outcome.TargetContractCodeHashChanged, "outcome");
        uint256 later = propose();
        yes(governance.getProposalTargetContractHash(later) != before, "hash");
    }

    function testATargetWithoutAnImplementationIsBoundToItsOwnCode() public {
        Reenterer plain = new Reenterer(governance);
        vm.prank(GOVERNANCE);
        contractRegistry.addContract("Plain", address(plain));
        uint256 id = propose("Plain", "evaluateAgain(uint256)", abi.encode(2));
        // Ether gives the zero address a code hash; that is no change of the target.
        vm.deal(address(0), address(0).balance + 1);
        same(passAndEvaluate(id), Governance.Outcome.ApprovedExecutionFailed, "proposal 2 does not exist");
        id = propose("Plain", "evaluateAgain(uint256)", abi.encode(2));
        pass(id);
        vm.etch(address(plain), hex"00");
        same(evaluate(id), Governance.Outcome.TargetContractCodeHashChanged, "outcome");
    }

    function testAnExecutionCannotEvaluateItself() public {
        Reenterer reenterer = new Reenterer(governance);
        vm.prank(GOVERNANCE);
        contractRegistry.addContract("Reenterer", address(reenterer));
        uint256 id = propose("Reenterer", "evaluateAgain(uint256)", abi.encode(1));
        pass(id);
        expectEvent(address(governance));
        emit Governance.ProposalTransactionExecuted(
            id,
            false,
            abi.encodeWithSelector(
                Governance.ProposalIsNotInProgress.selector, id, Governance.Outcome.Evaluating
            )
        );
        same(evaluate(id), Governance.Outcome.ApprovedExecutionFailed, "outcome");
    }

    function testAnExecutionMayEvaluateAnotherProposal() public {
        Reenterer reenterer = new Reenterer(governance);
        vm.prank(GOVERNANCE);
        contractRegistry.addContract("Reenterer", address(reenterer));
        uint256 first = propose();
        uint256 second = propose("Reenterer", "evaluateAgain(uint256)", abi.encode(first));
        next(1);
        castVote(ADA, first, YES);
        castVote(BOB, second, YES);
        toEvaluation(second);
        same(evaluate(second), Governance.Outcome.ApprovedExecuted, "second");
        same(outcomeOf(first), Governance.Outcome.ApprovedExecuted, "first");
        same(target.value(), 42, "called once");
    }

    function testGovernanceChangesItsOwnRulesByProposal() public {
        same(passSelf("setVotingPeriod(uint256)", 11), Governance.Outcome.ApprovedExecuted, "period");
        same(passSelf("setExecutionDelay(uint256)", 12), Governance.Outcome.ApprovedExecuted, "delay");
        same(passSelf("setVotingQuorumPercent(uint256)", 13), Governance.Outcome.ApprovedExecuted, "quorum");
        same(passSelf("setMaxInProgressProposals(uint256)", 14), Governance.Outcome.ApprovedExecuted, "limit");
        same(governance.getVotingPeriod(), 11, "period");
        same(governance.getExecutionDelay(), 12, "delay");
        same(governance.getVotingQuorumPercent(), 13, "quorum");
        same(governance.getMaxInProgressProposals(), 14, "limit");
        same(passSelf("setVotingQuorumPercent(uint256)", 101), Governance.Outcome.ApprovedExecutionFailed, "bounds");
    }

    function testGovernanceUpgradesItselfByProposal() public {
        address implementation = address(new NextGovernance());
        uint256 id = propose(SELF, "upgradeToAndCall(address,bytes)", abi.encode(implementation, ""));
        uint256 other = propose(SELF, "setVotingPeriod(uint256)", abi.encode(11));
        next(1);
        castVote(ADA, id, YES);
        castVote(ADA, other, YES);
        toEvaluation(id);
        same(evaluate(id), Governance.Outcome.ApprovedExecuted, "outcome");
        same(governance.implementation(), implementation, "implementation");
        same(NextGovernance(payable(address(governance))).version(), 2, "version");
        same(governance.getVotingPeriod(), PERIOD, "state stays");
        same(outcomeOf(id), Governance.Outcome.ApprovedExecuted, "and the outcome");
        same(evaluate(other), Governance.Outcome.TargetContractCodeHashChanged, "what was voted on is gone");
    }

    function testAnUpgradeToSomethingElseFails() public {
        uint256 id = propose(SELF, "upgradeToAndCall(address,bytes)", abi.encode(address(stakes), ""));
        same(passAndEvaluate(id), Governance.Outcome.ApprovedExecutionFailed, "outcome");
    }

    function testTheRegistryIsChangedByProposal() public {
        vm.prank(GOVERNANCE);
        contractRegistry.setGovernance(address(governance));
        uint256 id = propose("Registry", "addContract(bytes32,address)", abi.encode(bytes32("Another"), stakes));
        same(passAndEvaluate(id), Governance.Outcome.ApprovedExecuted, "outcome");
        same(contractRegistry.getContract("Another"), address(stakes), "added");
    }

    function testAnotherRegistryEndsWhatItDoesNotKnow() public {
        uint256 id = propose();
        Registry other =
            Registry(proxied(address(new Registry()), abi.encodeCall(Registry.initialize, (GOVERNANCE))));
        vm.prank(address(governance));
        governance.setRegistryAddress(address(other));
        same(passAndEvaluate(id), Governance.Outcome.TargetContractAddressChanged, "outcome");
    }

    function testGovernanceIsNotGivenAwayButByProposal() public {
        uint256 id = propose(SELF, "setGovernance(address)", abi.encode(BOB));
        vm.prank(BOB);
        vm.expectRevert(abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, BOB));
        governance.setVotingPeriod(1);
        same(passAndEvaluate(id), Governance.Outcome.ApprovedExecuted, "outcome");
        same(governance.governance(), BOB, "moved");
    }

    function passSelf(string memory functionSignature, uint256 value) private returns (Governance.Outcome) {
        return passAndEvaluate(propose(SELF, functionSignature, abi.encode(value)));
    }
}
