// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {Governance} from "../eth/Governance.sol";
import {GovernanceFixture, Stakes, Target} from "./GovernanceFixture.sol";

/// Submitting, voting and how proposals end.
contract GovernanceTest is GovernanceFixture {
    function testItGovernsItselfAndKnowsItsRules() public view {
        same(governance.governance(), address(governance), "governed by itself");
        same(governance.getVotingPeriod(), PERIOD, "period");
        same(governance.getExecutionDelay(), DELAY, "delay");
        same(governance.getVotingQuorumPercent(), QUORUM, "quorum");
        same(governance.getMaxInProgressProposals(), LIMIT, "limit");
        same(governance.getGuardianAddress(), GUARDIAN, "guardian");
        same(governance.getGuardianUntilBlock(), GUARDIAN_UNTIL, "guardian's last block");
        same(governance.getRegistryAddress(), address(contractRegistry), "registry");
        same(governance.getStakingAddress(), address(stakes), "staking");
        same(governance.getProposalCount(), 0, "no proposal");
        yes(governance.inProgressProposalsAreUpToDate(), "nothing to evaluate");
    }

    function testAProposalIsKeptWhole() public {
        expectEvent(address(governance));
        emit Governance.ProposalSubmitted(1, ADA, "a name", "a description");
        vm.prank(ADA);
        uint256 id = governance.submitProposal(TARGET, 7, "set(uint256)", abi.encode(42), "a name", "a description");
        same(id, 1, "numbers start at 1");
        checkCall(id);
        (string memory name, string memory description) = governance.getProposalText(id);
        same(name, "a name", "name");
        same(description, "a description", "description");
        (uint256 lastVoteBlock, uint256 evaluationBlock, uint256 quorum) = governance.getProposalRules(id);
        same(lastVoteBlock, block.number + PERIOD, "last vote");
        same(evaluationBlock, block.number + PERIOD + DELAY, "evaluation");
        same(quorum, QUORUM, "quorum");
        same(governance.getInProgressProposals().length, 1, "in progress");
        same(governance.getProposalCount(), 1, "count");
        yes(governance.getProposalTargetContractHash(id) != 0, "code hash");
    }

    function testOnlyStakersPropose() public {
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(Governance.ProposersStakeIsTooSmall.selector, STRANGER, 0, 2 ether));
        governance.submitProposal(TARGET, 0, "set(uint256)", "", "n", "d");
        vm.prank(GUARDIAN);
        vm.expectRevert(abi.encodeWithSelector(Governance.ProposersStakeIsTooSmall.selector, GUARDIAN, 0, 2 ether));
        governance.submitProposal(TARGET, 0, "set(uint256)", "", "n", "d");
        stakes.set(ADA, 0);
        vm.prank(ADA);
        vm.expectRevert(abi.encodeWithSelector(Governance.ProposersStakeIsTooSmall.selector, ADA, 0, 1 ether));
        governance.submitProposal(TARGET, 0, "set(uint256)", "", "n", "d");
        stakes.set(BOB, 0);
        vm.prank(ADA);
        vm.expectRevert(abi.encodeWithSelector(Governance.ProposersStakeIsTooSmall.selector, ADA, 0, 0));
        governance.submitProposal(TARGET, 0, "set(uint256)", "", "n", "d");
    }

    function testAProposerHasAThousandthOfAllStake() public {
        stakes.set(CLEO, 2 ether);
        vm.prank(CLEO);
        vm.expectRevert(
            abi.encodeWithSelector(Governance.ProposersStakeIsTooSmall.selector, CLEO, 2 ether, 2.002 ether)
        );
        governance.submitProposal(TARGET, 0, "set(uint256)", "", "n", "d");
        stakes.set(CLEO, 2.01 ether);
        vm.prank(CLEO);
        same(governance.submitProposal(TARGET, 0, "set(uint256)", "", "n", "d"), 1, "enough");
    }

    function testAProposerHasFewProposalsInProgress() public {
        for (uint256 i = 0; i < governance.IN_PROGRESS_PER_PROPOSER_MAX(); i++) {
            propose();
        }
        vm.prank(ADA);
        vm.expectRevert(abi.encodeWithSelector(Governance.TooManyProposalsOfProposer.selector, ADA, 10));
        governance.submitProposal(TARGET, 0, "set(uint256)", "", "n", "d");
        vm.prank(GUARDIAN);
        governance.vetoProposal(1);
        propose();
    }

    function testAsManyAreInProgressAsMayBe() public {
        for (uint256 i = 0; i < LIMIT; i++) {
            vm.prank(i % 2 == 0 ? ADA : BOB);
            governance.submitProposal(TARGET, 0, "set(uint256)", "", "n", "d");
        }
        stakes.set(CLEO, STAKE / 10);
        vm.prank(CLEO);
        vm.expectRevert(
            abi.encodeWithSelector(Governance.TooManyProposals.selector, LIMIT, STAKE / 10, STAKE / 10)
        );
        governance.submitProposal(TARGET, 0, "set(uint256)", "", "n", "d");
    }

    /// Ten accounts of a thousandth each fill all places, and fill them again whenever one is free.
    function testOnePerCentOfTheStakeBlocksNothing() public {
        vm.prank(address(governance));
        governance.setMaxInProgressProposals(100);
        stakes.set(ADA, 980 ether);
        for (uint160 i = 1; i <= 10; i++) {
            stakes.set(address(i << 80), 2 ether);
        }
        for (uint160 i = 0; i < 100; i++) {
            vm.prank(address((1 + i / 10) << 80));
            governance.submitProposal(TARGET, 0, "set(uint256)", "", "n", "d");
        }
        uint256 id = propose();
        same(governance.getInProgressProposals().length, 100, "in progress");
        same(uint256(outcomeOf(1)), uint256(Governance.Outcome.Displaced), "one gave way");
        vm.prank(address(uint160(1) << 80));
        vm.expectRevert(abi.encodeWithSelector(Governance.TooManyProposals.selector, 100, 0.2 ether, 0.2 ether));
        governance.submitProposal(TARGET, 0, "set(uint256)", "", "n", "d");
        same(passAndEvaluate(id), Governance.Outcome.ApprovedExecuted, "outcome");
    }

    function testAProposalBackedByLessGivesWay() public {
        stakes.set(CLEO, STAKE / 2);
        fill(BOB, CLEO);
        same(governance.getProposalBacking(1), STAKE / 10, "bob's");
        same(governance.getProposalBacking(2), STAKE / 20, "cleo's");
        expectEvent(address(governance));
        emit Governance.ProposalDisplaced(2, 21);
        uint256 id = propose();
        same(id, 21, "number");
        same(governance.getProposalBacking(id), STAKE, "a single one has all of the stake");
        same(governance.getProposalBacking(2), 0, "a closed one has none");
        same(governance.getProposalBacking(4), STAKE / 18, "the others share what it had");
        next(1);
        bytes memory closed =
            abi.encodeWithSelector(Governance.ProposalIsNotInProgress.selector, 2, Governance.Outcome.Displaced);
        vm.prank(ADA);
        vm.expectRevert(closed);
        governance.submitVote(2, YES);
        toEvaluation(id);
        vm.expectRevert(closed);
        governance.evaluateProposalOutcome(2);
    }

    /// Each of the others' proposals is backed by its part of their stake, and those parts are no more than all of it.
    function testThePartOfAPlaceOfAllStakeFindsAPlace(uint72 first, uint72 second, uint72 more) public {
        stakes.set(ADA, 0);
        stakes.set(BOB, uint256(first) + STAKE);
        stakes.set(CLEO, uint256(second) + STAKE);
        fill(BOB, CLEO);
        uint256 others = uint256(first) + second + 2 * STAKE;
        stakes.set(ADA, others / (LIMIT - 1) + 1 + more);
        propose();
        same(governance.getInProgressProposals().length, LIMIT, "in progress");
    }

    function testWhatTheVoteWentForKeepsItsPlace() public {
        stakes.set(CLEO, 10 ether);
        next(1);
        vm.prank(CLEO);
        uint256 carried = governance.submitProposal(TARGET, 0, "set(uint256)", abi.encode(42), "n", "d");
        vm.prank(CLEO);
        uint256 refused = governance.submitProposal(TARGET, 0, "set(uint256)", abi.encode(41), "n", "d");
        next(1);
        castVote(BOB, carried, YES);
        castVote(BOB, refused, NO);
        next(PERIOD);
        stakes.set(DAN, STAKE);
        for (uint256 i = 0; i < LIMIT - 2; i++) {
            vm.prank(i % 2 == 0 ? BOB : DAN);
            governance.submitProposal(TARGET, 0, "set(uint256)", "", "n", "d");
        }
        propose();
        same(uint256(outcomeOf(refused)), uint256(Governance.Outcome.Displaced), "what it went against gives way");
        propose();
        same(uint256(outcomeOf(carried)), 0, "in progress");
        toEvaluation(carried);
        same(evaluate(carried), Governance.Outcome.ApprovedExecuted, "outcome");
    }

    function testNothingIsSubmittedWhileAProposalAwaitsItsEvaluation() public {
        uint256 first = propose();
        next(5);
        uint256 second = propose();
        toEvaluation(first);
        yes(!governance.inProgressProposalsAreUpToDate(), "the first waits");
        vm.prank(ADA);
        vm.expectRevert(abi.encodeWithSelector(Governance.ProposalAwaitsEvaluation.selector, first));
        governance.submitProposal(TARGET, 0, "set(uint256)", "", "n", "d");
        evaluate(first);
        yes(governance.inProgressProposalsAreUpToDate(), "the second is not ready");
        uint256 third = propose();
        same(third, 3, "submitted");
        same(uint256(outcomeOf(second)), 0, "the second is in progress");
    }

    function testTheTargetMustBeKnownAndHaveCode() public {
        vm.prank(ADA);
        vm.expectRevert(abi.encodeWithSelector(Governance.TargetIsUnknown.selector, bytes32("Nobody")));
        governance.submitProposal("Nobody", 0, "set(uint256)", "", "n", "d");
        vm.prank(GOVERNANCE);
        contractRegistry.addContract("Wallet", STRANGER);
        vm.prank(ADA);
        vm.expectRevert(abi.encodeWithSelector(Governance.AddressHasNoCode.selector, "target", STRANGER));
        governance.submitProposal("Wallet", 0, "set(uint256)", "", "n", "d");
    }

    function testTextsHaveALength() public {
        refusesTexts("", "d", "name", 0, 128);
        refusesTexts(text(129), "d", "name", 129, 128);
        refusesTexts("n", "", "description", 0, 4096);
        refusesTexts("n", text(4097), "description", 4097, 4096);
        bytes memory data = bytes(text(16 * 1024 + 1));
        vm.prank(ADA);
        vm.expectRevert(abi.encodeWithSelector(Governance.LengthIsWrong.selector, "call data", 16 * 1024 + 1, 16 * 1024));
        governance.submitProposal(TARGET, 0, "set(uint256)", data, "n", "d");
        vm.prank(ADA);
        governance.submitProposal(TARGET, 0, "set(uint256)", bytes(text(16 * 1024)), text(128), text(4096));
    }

    function testAFunctionSignatureIsOne() public {
        refusesLength("");
        refusesLength("()");
        refusesLength(text(257));
        refusesSignature("set");
        refusesSignature("set(uint256) ");
        refusesSignature("set(uint256, address)");
        refusesSignature("(uint256)");
        refusesSignature("uint256)");
        refusesSignature(unicode"sét()");
        propose(TARGET, "f()", "");
        propose(TARGET, "f((uint256,bytes32)[],string)", "");
    }

    function testNobodyVotesInTheBlockOfTheSubmissionOrAfterThePeriod() public {
        uint256 id = propose();
        uint256 submission = block.number;
        vm.prank(ADA);
        vm.expectRevert(votingIsClosed(id, submission));
        governance.submitVote(id, YES);
        next(PERIOD);
        castVote(ADA, id, YES);
        next(1);
        vm.prank(BOB);
        vm.expectRevert(votingIsClosed(id, submission));
        governance.submitVote(id, YES);
        vm.prank(ADA);
        vm.expectRevert(votingIsClosed(id, submission));
        governance.updateVote(id, NO);
    }

    function testAVoteIsNoOrYes() public {
        uint256 id = propose();
        next(1);
        vm.startPrank(ADA);
        vm.expectRevert(abi.encodeWithSelector(Governance.VoteIsUnknown.selector, 0));
        governance.submitVote(id, 0);
        vm.expectRevert(abi.encodeWithSelector(Governance.VoteIsUnknown.selector, 3));
        governance.submitVote(id, 3);
        governance.submitVote(id, NO);
        vm.expectRevert(abi.encodeWithSelector(Governance.VoteIsUnknown.selector, 0));
        governance.updateVote(id, 0);
    }

    function testOneVotesOnceAndUpdatesAfterwards() public {
        uint256 id = propose();
        next(1);
        vm.prank(ADA);
        vm.expectRevert(abi.encodeWithSelector(Governance.VoteIsNotCast.selector, id, ADA));
        governance.updateVote(id, YES);

        expectEvent(address(governance));
        emit Governance.ProposalVoteSubmitted(id, ADA, YES, STAKE);
        castVote(ADA, id, YES);
        checkVotes(id, STAKE, 0, 1);
        vm.prank(ADA);
        vm.expectRevert(abi.encodeWithSelector(Governance.VoteIsCast.selector, id, ADA));
        governance.submitVote(id, NO);

        expectEvent(address(governance));
        emit Governance.ProposalVoteUpdated(id, ADA, NO, STAKE, YES);
        vm.prank(ADA);
        governance.updateVote(id, NO);
        checkVotes(id, 0, STAKE, 1);
        vm.prank(ADA);
        governance.updateVote(id, YES);
        checkVotes(id, STAKE, 0, 1);
        castVote(BOB, id, NO);
        checkVotes(id, STAKE, STAKE, 2);
    }

    function testTheWeightIsFixedAtTheFirstVote() public {
        uint256 id = propose();
        next(1);
        castVote(ADA, id, YES);
        stakes.set(ADA, 5 * STAKE);
        next(1);
        vm.prank(ADA);
        governance.updateVote(id, NO);
        checkVotes(id, 0, STAKE, 1);
        (uint8 choice, uint256 magnitude) = governance.getVoteInfoByProposalAndVoter(id, ADA);
        same(choice, NO, "choice");
        same(magnitude, STAKE, "magnitude");
        stakes.set(ADA, 0);
        vm.prank(ADA);
        governance.updateVote(id, YES);
        checkVotes(id, STAKE, 0, 1);
    }

    function testStakeThatCameAfterTheSubmissionDoesNotVote() public {
        uint256 id = propose();
        next(1);
        stakes.set(ADA, 5 * STAKE);
        castVote(ADA, id, YES);
        checkVotes(id, STAKE, 0, 1);
        stakes.set(CLEO, STAKE);
        vm.prank(CLEO);
        vm.expectRevert(abi.encodeWithSelector(Governance.VoterHasNoStake.selector, id, CLEO));
        governance.submitVote(id, YES);
    }

    function testStakeThatLeftSinceTheSubmissionDoesNotVote() public {
        uint256 id = propose();
        next(1);
        stakes.set(ADA, STAKE / 4);
        castVote(ADA, id, YES);
        checkVotes(id, STAKE / 4, 0, 1);
        stakes.set(BOB, 0);
        vm.prank(BOB);
        vm.expectRevert(abi.encodeWithSelector(Governance.VoterHasNoStake.selector, id, BOB));
        governance.submitVote(id, YES);
    }

    function testWithoutVotesTheQuorumIsNotMet() public {
        uint256 id = propose();
        toEvaluation(id);
        expectEvent(address(governance));
        emit Governance.ProposalOutcomeEvaluated(id, 3, 0, 0, 0);
        same(evaluate(id), Governance.Outcome.QuorumNotMet, "outcome");
        same(target.value(), 0, "nothing happened");
        same(governance.getInProgressProposals().length, 0, "closed");
    }

    function testTheQuorumIsFlooredPerCent() public {
        stakes.set(BOB, 9.01 * 1000 ether);
        next(1);
        uint256 id = propose();
        next(1);
        castVote(ADA, id, YES);
        toEvaluation(id);
        same(evaluate(id), Governance.Outcome.QuorumNotMet, "1000 of 10,010 are 9 per cent");
        stakes.set(BOB, 9000 ether);
        next(1);
        id = propose();
        same(passAndEvaluate(id), Governance.Outcome.ApprovedExecuted, "1000 of 10,000 are 10 per cent");
    }

    function testTheQuorumIsOfTheStakeAtTheSubmission() public {
        uint256 id = propose();
        next(1);
        castVote(ADA, id, YES);
        stakes.set(CLEO, 1000 * STAKE);
        toEvaluation(id);
        same(evaluate(id), Governance.Outcome.ApprovedExecuted, "later stake does not count");
    }

    function testWithoutStakeNothingPasses() public {
        uint256 id = propose();
        Stakes empty = new Stakes();
        vm.prank(address(governance));
        governance.setStakingAddress(address(empty));
        toEvaluation(id);
        same(evaluate(id), Governance.Outcome.QuorumNotMet, "outcome");
    }

    function testATieIsRejected() public {
        uint256 id = propose();
        next(1);
        castVote(ADA, id, YES);
        castVote(BOB, id, NO);
        toEvaluation(id);
        same(evaluate(id), Governance.Outcome.Rejected, "outcome");
        same(target.value(), 0, "nothing happened");
    }

    function testAMajorityAgainstIsRejected() public {
        uint256 id = propose();
        next(1);
        castVote(BOB, id, NO);
        toEvaluation(id);
        same(evaluate(id), Governance.Outcome.Rejected, "outcome");
    }

    function testAMajorityExecutes() public {
        uint256 id = propose();
        pass(id);
        expectEvent(address(governance));
        emit Governance.ProposalTransactionExecuted(id, true, abi.encode(42));
        expectEvent(address(governance));
        emit Governance.ProposalOutcomeEvaluated(id, 2, STAKE, 0, 1);
        same(evaluate(id), Governance.Outcome.ApprovedExecuted, "a stranger may evaluate");
        same(target.value(), 42, "the call was made");
    }

    function testNothingIsEvaluatedBeforeItsDelayIsOver() public {
        uint256 id = propose();
        uint256 due = block.number + PERIOD + DELAY;
        next(1);
        castVote(ADA, id, YES);
        vm.roll(due - 1);
        vm.expectRevert(abi.encodeWithSelector(Governance.ProposalIsNotEvaluable.selector, id, due, due - 1));
        governance.evaluateProposalOutcome(id);
        vm.roll(due);
        evaluate(id);
    }

    function testNothingIsEvaluatedTwice() public {
        uint256 id = propose();
        passAndEvaluate(id);
        vm.expectRevert(
            abi.encodeWithSelector(
                Governance.ProposalIsNotInProgress.selector, id, Governance.Outcome.ApprovedExecuted
            )
        );
        governance.evaluateProposalOutcome(id);
    }

    function testAnOpenProposalKeepsTheRulesOfItsSubmission() public {
        uint256 id = propose();
        vm.startPrank(address(governance));
        governance.setVotingQuorumPercent(100);
        governance.setVotingPeriod(1);
        governance.setExecutionDelay(1);
        vm.stopPrank();
        (uint256 lastVoteBlock, uint256 evaluationBlock, uint256 quorum) = governance.getProposalRules(id);
        next(PERIOD);
        same(lastVoteBlock, block.number, "last vote");
        same(evaluationBlock, block.number + DELAY, "evaluation");
        same(quorum, QUORUM, "quorum");
        castVote(ADA, id, YES);
        yes(governance.inProgressProposalsAreUpToDate(), "not evaluable");
        toEvaluation(id);
        same(evaluate(id), Governance.Outcome.ApprovedExecuted, "by the old quorum");
        uint256 later = propose();
        same(passAndEvaluate(later), Governance.Outcome.QuorumNotMet, "by the new quorum");
    }

    function testAnUnknownProposalIsRefused() public {
        propose();
        bytes memory refusal = abi.encodeWithSelector(Governance.ProposalIsUnknown.selector, 2);
        vm.expectRevert(refusal);
        governance.submitVote(2, YES);
        vm.expectRevert(refusal);
        governance.updateVote(2, YES);
        vm.expectRevert(refusal);
        governance.evaluateProposalOutcome(2);
        vm.expectRevert(refusal);
        governance.getProposalRules(2);
        vm.expectRevert(abi.encodeWithSelector(Governance.ProposalIsUnknown.selector, 0));
        governance.getProposalText(0);
        vm.prank(GUARDIAN);
        vm.expectRevert(refusal);
        governance.vetoProposal(2);
    }

    function testOnlyTheGuardianVetoesAndOnlyInItsTime() public {
        uint256 id = propose();
        vm.prank(ADA);
        vm.expectRevert(abi.encodeWithSelector(Governance.CallerIsNotGuardian.selector, ADA));
        governance.vetoProposal(id);
        pass(id);
        expectEvent(address(governance));
        emit Governance.ProposalVetoed(id);
        vm.prank(GUARDIAN);
        governance.vetoProposal(id);
        same(outcomeOf(id), Governance.Outcome.Vetoed, "outcome");
        same(governance.getInProgressProposals().length, 0, "closed");

        bytes memory closed =
            abi.encodeWithSelector(Governance.ProposalIsNotInProgress.selector, id, Governance.Outcome.Vetoed);
        vm.expectRevert(closed);
        governance.evaluateProposalOutcome(id);
        vm.prank(GUARDIAN);
        vm.expectRevert(closed);
        governance.vetoProposal(id);
        vm.prank(BOB);
        vm.expectRevert(closed);
        governance.submitVote(id, YES);

        vm.roll(GUARDIAN_UNTIL - 1);
        id = propose();
        uint256 other = propose();
        vm.prank(GUARDIAN);
        governance.vetoProposal(id);
        vm.roll(GUARDIAN_UNTIL);
        vm.prank(GUARDIAN);
        vm.expectRevert(abi.encodeWithSelector(Governance.GuardianIsGone.selector, GUARDIAN_UNTIL));
        governance.vetoProposal(other);
    }

    function testTheGuardianHasNoOtherRight() public {
        uint256 id = propose();
        address nextVersion = address(new Governance());
        next(1);
        vm.startPrank(GUARDIAN);
        vm.expectRevert(abi.encodeWithSelector(Governance.VoterHasNoStake.selector, id, GUARDIAN));
        governance.submitVote(id, NO);
        bytes memory refusal = abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, GUARDIAN);
        vm.expectRevert(refusal);
        governance.setGovernance(GUARDIAN);
        vm.expectRevert(refusal);
        governance.upgradeToAndCall(nextVersion, "");
        vm.expectRevert(refusal);
        target.set(1);
        vm.stopPrank();
        refusesSetters(GUARDIAN);
        refusesSetters(ADA);
    }

    function testParametersHaveBounds() public {
        vm.startPrank(address(governance));
        vm.expectRevert(abi.encodeWithSelector(Governance.PeriodIsWrong.selector, 0, 100_000_000));
        governance.setVotingPeriod(0);
        vm.expectRevert(abi.encodeWithSelector(Governance.PeriodIsWrong.selector, 100_000_001, 100_000_000));
        governance.setVotingPeriod(100_000_001);
        vm.expectRevert(abi.encodeWithSelector(Governance.PeriodIsWrong.selector, 0, 100_000_000));
        governance.setExecutionDelay(0);
        vm.expectRevert(abi.encodeWithSelector(Governance.QuorumIsWrong.selector, 0));
        governance.setVotingQuorumPercent(0);
        vm.expectRevert(abi.encodeWithSelector(Governance.QuorumIsWrong.selector, 101));
        governance.setVotingQuorumPercent(101);
        vm.expectRevert(abi.encodeWithSelector(Governance.InProgressLimitIsWrong.selector, 0, 256));
        governance.setMaxInProgressProposals(0);
        vm.expectRevert(abi.encodeWithSelector(Governance.InProgressLimitIsWrong.selector, 257, 256));
        governance.setMaxInProgressProposals(257);
        vm.expectRevert(abi.encodeWithSelector(Governance.AddressHasNoCode.selector, "registry", ADA));
        governance.setRegistryAddress(ADA);
        vm.expectRevert(abi.encodeWithSelector(Governance.AddressHasNoCode.selector, "staking", ADA));
        governance.setStakingAddress(ADA);
        vm.expectRevert(
            abi.encodeWithSelector(Governance.AddressDoesNotAnswer.selector, "registry", address(stakes))
        );
        governance.setRegistryAddress(address(stakes));
        vm.expectRevert(
            abi.encodeWithSelector(Governance.AddressDoesNotAnswer.selector, "staking", address(contractRegistry))
        );
        governance.setStakingAddress(address(contractRegistry));
        governance.setVotingPeriod(100_000_000);
        governance.setExecutionDelay(100_000_000);
        governance.setVotingQuorumPercent(100);
        governance.setMaxInProgressProposals(256);
        governance.setRegistryAddress(address(contractRegistry));
        same(governance.getVotingPeriod(), 100_000_000, "period");
        same(governance.getExecutionDelay(), 100_000_000, "delay");
        same(governance.getVotingQuorumPercent(), 100, "quorum");
        same(governance.getMaxInProgressProposals(), 256, "limit");
    }

    function testPeriodsStayBelowTheLockups() public {
        Target factoryStub = new Target();
        Target delegatesStub = new Target();
        factoryStub.setLockup(PERIOD + DELAY + 1);
        delegatesStub.setLockup(PERIOD + DELAY + 2);
        vm.startPrank(GOVERNANCE);
        contractRegistry.addContract("ServiceProviderFactory", address(factoryStub));
        contractRegistry.addContract("DelegateManager", address(delegatesStub));
        vm.stopPrank();
        vm.startPrank(address(governance));
        governance.setVotingPeriod(PERIOD);
        vm.expectRevert(abi.encodeWithSelector(Governance.LockupIsTooShort.selector, address(factoryStub), 21, 21));
        governance.setVotingPeriod(PERIOD + 1);
        vm.expectRevert(abi.encodeWithSelector(Governance.LockupIsTooShort.selector, address(factoryStub), 21, 21));
        governance.setExecutionDelay(DELAY + 1);
        factoryStub.setLockup(100);
        governance.setExecutionDelay(DELAY + 1);
        vm.expectRevert(abi.encodeWithSelector(Governance.LockupIsTooShort.selector, address(delegatesStub), 22, 22));
        governance.setVotingPeriod(PERIOD + 1);
        delegatesStub.setLockup(100);
        delegatesStub.setRemovalLockup(22);
        vm.expectRevert(abi.encodeWithSelector(Governance.LockupIsTooShort.selector, address(delegatesStub), 22, 22));
        governance.setVotingPeriod(PERIOD + 1);
    }

    /// Two accounts in turn take all places.
    function fill(address one, address other) private {
        for (uint256 i = 0; i < LIMIT; i++) {
            vm.prank(i % 2 == 0 ? one : other);
            governance.submitProposal(TARGET, 0, "set(uint256)", "", "n", "d");
        }
    }

    function testTheHeavierSideDecides(uint8 choiceA, uint8 choiceB, uint72 a, uint72 b) public {
        stakes.set(ADA, uint256(a) + STAKE);
        stakes.set(BOB, uint256(b) + STAKE);
        next(1);
        uint256 id = propose();
        next(1);
        castVote(ADA, id, 1 + choiceA % 2);
        castVote(BOB, id, 1 + choiceB % 2);
        (uint256 votesYes, uint256 votesNo,) = votesOf(id);
        same(votesYes + votesNo, uint256(a) + b + 2 * STAKE, "every vote counts");
        toEvaluation(id);
        Governance.Outcome outcome = evaluate(id);
        Governance.Outcome expected =
            votesYes > votesNo ? Governance.Outcome.ApprovedExecuted : Governance.Outcome.Rejected;
        same(outcome, expected, "the majority decides");
        same(target.value(), votesYes > votesNo ? 42 : 0, "value");
    }

    function checkCall(uint256 id) private view {
        same(proposalWord(id, 0), id, "id");
        same(address(uint160(proposalWord(id, 1))), ADA, "proposer");
        same(proposalWord(id, 2), block.number, "submission");
        same(bytes32(proposalWord(id, 3)), TARGET, "key");
        same(address(uint160(proposalWord(id, 4))), address(target), "target");
        same(proposalWord(id, 5), 7, "call value");
        same(proposalBytes(id, 6), "set(uint256)", "function signature");
        same(proposalBytes(id, 7), abi.encode(42), "call data");
    }

    function checkVotes(uint256 id, uint256 expectedYes, uint256 expectedNo, uint256 expectedCount) private view {
        (uint256 votesYes, uint256 votesNo, uint256 count) = votesOf(id);
        same(votesYes, expectedYes, "yes");
        same(votesNo, expectedNo, "no");
        same(count, expectedCount, "count");
    }

    function refusesTexts(string memory name, string memory description, string memory what, uint256 length, uint256 max)
        private
    {
        vm.prank(ADA);
        vm.expectRevert(abi.encodeWithSelector(Governance.LengthIsWrong.selector, what, length, max));
        governance.submitProposal(TARGET, 0, "set(uint256)", "", name, description);
    }

    function refusesLength(string memory signature) private {
        vm.prank(ADA);
        vm.expectRevert(
            abi.encodeWithSelector(
                Governance.LengthIsWrong.selector, "function signature", bytes(signature).length, 256
            )
        );
        governance.submitProposal(TARGET, 0, signature, "", "n", "d");
    }

    function refusesSignature(string memory signature) private {
        vm.prank(ADA);
        vm.expectRevert(abi.encodeWithSelector(Governance.FunctionSignatureIsMalformed.selector, signature));
        governance.submitProposal(TARGET, 0, signature, "", "n", "d");
    }

    function refusesSetters(address caller) private {
        bytes memory refusal = abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, caller);
        vm.startPrank(caller);
        vm.expectRevert(refusal);
        governance.setVotingPeriod(1);
        vm.expectRevert(refusal);
        governance.setExecutionDelay(1);
        vm.expectRevert(refusal);
        governance.setVotingQuorumPercent(1);
        vm.expectRevert(refusal);
        governance.setMaxInProgressProposals(1);
        vm.expectRevert(refusal);
        governance.setRegistryAddress(address(contractRegistry));
        vm.expectRevert(refusal);
        governance.setStakingAddress(address(stakes));
        vm.stopPrank();
    }

    function votingIsClosed(uint256 id, uint256 submission) private view returns (bytes memory) {
        return abi.encodeWithSelector(
            Governance.VotingIsClosed.selector, id, submission + 1, submission + PERIOD, block.number
        );
    }
}
