// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {EntityManager} from "../data/EntityManager.sol";
import {PaymentRouter} from "../data/PaymentRouter.sol";
import {SocialVerifier} from "../data/SocialVerifier.sol";
import {Evidence} from "../eth/Evidence.sol";
import {Governance} from "../eth/Governance.sol";
import {PeerRegistry} from "../eth/PeerRegistry.sol";
import {Records} from "../eth/Records.sol";
import {Registry} from "../eth/Registry.sol";
import {ServiceTypeManager} from "../eth/ServiceTypeManager.sol";
import {TrustedNotifierManager} from "../eth/TrustedNotifierManager.sol";
import {Governed} from "../common/Governed.sol";
import {GovernanceFixture, Stakes} from "./GovernanceFixture.sol";
import {Vm} from "./Vm.sol";

/// Counts how often it was called, and lets only governance call it.
contract Counter is Governed {
    uint256 public count;

    function initialize(address initialGovernance) external initializer {
        _initializeGoverned(initialGovernance);
    }

    function increment() external onlyGovernance {
        count += 1;
    }
}

/// Everything that anybody but governance itself can try, in any order; stakes move as if they were never locked.
contract GovernanceHandler {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    Governance private immutable governance;
    Stakes private immutable stakes;
    address private immutable guardian;
    address[5] public actors;
    address[] private initializables;
    bytes[] private initializations;

    /// Each action starts at the block where the last one ended; forge itself goes back to the first one.
    uint256 private present = block.number;

    uint256 public executed;
    uint256 public captures;
    uint256 public wrongExecutions;

    modifier atPresent() {
        vm.roll(present);
        _;
    }

    constructor(
        Governance governed,
        Stakes stakesOfAll,
        address vetoer,
        address[] memory watched,
        bytes[] memory watchedInitializations
    ) {
        governance = governed;
        stakes = stakesOfAll;
        guardian = vetoer;
        initializables = watched;
        initializations = watchedInitializations;
        actors = [address(0xa1), address(0xa2), address(0xa3), address(0xa4), vetoer];
    }

    /// The whole life of a proposal on which everybody votes as the bits of `choices` say.
    function live(uint256 who, uint8 choices) external atPresent {
        uint256[] memory open = governance.getInProgressProposals();
        for (uint256 i = 0; i < open.length; i++) {
            evaluateOne(open[i]);
        }
        submit(who);
        uint256 id = governance.getProposalCount();
        if (id == 0) return;
        present += 1;
        for (uint256 i = 0; i < actors.length; i++) {
            vote(i, id - 1, choices >> i & 1 == 0 ? 1 : 2);
        }
        present += 19;
        vm.roll(present);
        evaluateOne(id);
    }

    function moveStake(uint256 who, uint96 stake) external atPresent {
        stakes.set(actor(who), stake % 5000 ether);
    }

    /// Has stake for one block only, and acts in it.
    function flash(uint256 who, uint96 stake, uint256 id, uint8 choice) external atPresent {
        address account = actor(who);
        uint256 before = stakes.votingStakeFor(account);
        stakes.set(account, uint256(stake) + before);
        submit(who);
        vote(who, id, choice);
        updateVote(who, id, choice);
        stakes.set(account, before);
    }

    function submit(uint256 who) public atPresent {
        vm.prank(actor(who));
        try governance.submitProposal("Counter", 0, "increment()", "", "n", "d") {} catch {}
    }

    function vote(uint256 who, uint256 id, uint8 choice) public atPresent {
        id = known(id);
        vm.prank(actor(who));
        try governance.submitVote(id, choice % 4) {} catch {}
    }

    function updateVote(uint256 who, uint256 id, uint8 choice) public atPresent {
        id = known(id);
        vm.prank(actor(who));
        try governance.updateVote(id, choice % 4) {} catch {}
    }

    function evaluate(uint256 who, uint256 id) external atPresent {
        id = known(id);
        vm.prank(actor(who));
        evaluateOne(id);
    }

    function veto(uint256 who, uint256 id) external atPresent {
        id = known(id);
        vm.prank(actor(who));
        try governance.vetoProposal(id) {
            if (actor(who) != guardian) captures += 1;
        } catch {}
    }

    function roll(uint8 blocks) external {
        present += 1 + blocks % 12;
    }

    function reinitialize(uint256 who, uint256 which) external atPresent {
        which = which % initializables.length;
        vm.prank(actor(who));
        (bool done,) = initializables[which].call(initializations[which]);
        if (done) captures += 1;
    }

    function seize(uint256 who, uint256 which) external atPresent {
        address account = actor(who);
        Governed governed = Governed(initializables[which % initializables.length]);
        vm.prank(account);
        try governed.setGovernance(account) {
            captures += 1;
        } catch {}
        vm.prank(account);
        try governed.upgradeToAndCall(address(this), "") {
            captures += 1;
        } catch {}
    }

    function evaluateOne(uint256 id) private {
        try governance.evaluateProposalOutcome(id) returns (Governance.Outcome outcome) {
            if (outcome != Governance.Outcome.ApprovedExecuted) return;
            executed += 1;
            if (!mayPass(id)) wrongExecutions += 1;
        } catch {}
    }

    function mayPass(uint256 id) private view returns (bool) {
        (, bytes memory answer) = address(governance).staticcall(abi.encodeCall(Governance.getProposalById, (id)));
        uint256 submission;
        uint256 votesYes;
        uint256 votesNo;
        assembly {
            submission := mload(add(answer, 96))
            votesYes := mload(add(answer, 320))
            votesNo := mload(add(answer, 352))
        }
        (, uint256 evaluationBlock, uint256 quorum) = governance.getProposalRules(id);
        uint256 total = stakes.totalStakedAt(submission);
        return votesYes > votesNo && (votesYes + votesNo) * 100 >= total * quorum && block.number >= evaluationBlock;
    }

    function actor(uint256 who) private view returns (address) {
        return actors[who % actors.length];
    }

    /// A proposal, or the number after the last.
    function known(uint256 id) private view returns (uint256) {
        return 1 + id % (governance.getProposalCount() + 1);
    }
}

/// Governance cannot be captured by initializing anything again, by stake that stays for a moment, or by voting twice.
contract GovernanceInvariantsTest is GovernanceFixture {
    GovernanceHandler private handler;
    Counter private counter;
    address private implementation;
    address[] private watched;
    bytes[] private initializations;

    function setUp() public override {
        super.setUp();
        stakes.set(ADA, 0);
        stakes.set(BOB, 0);
        counter =
            Counter(proxied(address(new Counter()), abi.encodeCall(Counter.initialize, (address(governance)))));
        vm.prank(GOVERNANCE);
        contractRegistry.addContract("Counter", address(counter));
        implementation = governance.implementation();
        watchAll();
        handler = new GovernanceHandler(governance, stakes, GUARDIAN, watched, initializations);
        for (uint256 i = 0; i < 4; i++) {
            stakes.set(handler.actors(i), STAKE);
        }
        next(1);
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariantNothingIsCaptured() public view {
        same(handler.captures(), 0, "captures");
        same(governance.governance(), address(governance), "governance");
        same(governance.implementation(), implementation, "implementation");
        same(counter.governance(), address(governance), "the counter's governance");
    }

    function invariantOnlyWhatPassedIsExecutedAndOnce() public view {
        same(handler.wrongExecutions(), 0, "executed against the votes");
        same(counter.count(), handler.executed(), "executions");
    }

    /// Nobody's weight exceeds its stake at the end of the block of the submission, so neither does the sum.
    function invariantVotesAreStakesOfTheSubmission() public view {
        for (uint256 id = 1; id <= governance.getProposalCount(); id++) {
            uint256 submission = proposalWord(id, 2);
            uint256[3] memory sums;
            uint256 voters = 0;
            for (uint256 i = 0; i < 5; i++) {
                address voter = handler.actors(i);
                (uint8 choice, uint256 magnitude) = governance.getVoteInfoByProposalAndVoter(id, voter);
                yes(magnitude <= stakes.votingStakeForAt(voter, submission), "heavier than the stake was");
                yes(choice != 0 || magnitude == 0, "no vote weighs nothing");
                sums[choice] += magnitude;
                if (choice != 0) voters += 1;
            }
            (uint256 votesYes, uint256 votesNo, uint256 count) = votesOf(id);
            same(votesYes, sums[YES], "yes");
            same(votesNo, sums[NO], "no");
            same(count, voters, "voters");
            yes(votesYes + votesNo <= stakes.totalStakedAt(submission), "more votes than stake");
        }
    }

    function invariantWhatIsInProgressIsListedOnce() public view {
        uint256[] memory open = governance.getInProgressProposals();
        yes(open.length <= LIMIT, "too many");
        uint256 count = 0;
        for (uint256 id = 1; id <= governance.getProposalCount(); id++) {
            Governance.Outcome outcome = outcomeOf(id);
            yes(outcome != Governance.Outcome.Evaluating, "left half-way");
            if (outcome == Governance.Outcome.InProgress) count += 1;
        }
        same(open.length, count, "in progress");
    }

    /// What the invariants are worth depends on this.
    function testTheHandlerPassesProposals() public {
        handler.submit(0);
        handler.roll(0);
        handler.vote(0, 0, YES);
        handler.roll(11);
        handler.roll(11);
        handler.evaluate(1, 0);
        same(handler.executed(), 1, "step by step");
        handler.live(1, 7);
        same(handler.executed(), 2, "at once");
        handler.live(1, 0);
        same(handler.executed(), 2, "rejected");
    }

    function watchAll() private {
        watch(governance, initialization());
        watch(contractRegistry, abi.encodeCall(Registry.initialize, (GOVERNANCE)));
        watch(types, abi.encodeCall(ServiceTypeManager.initialize, (GOVERNANCE)));
        watch(registry, abi.encodeCall(PeerRegistry.initialize, (GOVERNANCE, address(factory), 1)));
        watch(records, abi.encodeCall(Records.initialize, (GOVERNANCE, address(registry))));
        watch(entities, abi.encodeCall(EntityManager.initialize, (GOVERNANCE, VERIFIER)));
        watch(counter, abi.encodeCall(Counter.initialize, (GOVERNANCE)));
        bytes memory data = abi.encodeCall(TrustedNotifierManager.initialize, (GOVERNANCE));
        watch(Governed(proxied(address(new TrustedNotifierManager()), data)), data);
        data = abi.encodeCall(Evidence.initialize, (GOVERNANCE, address(registry)));
        watch(Governed(proxied(address(new Evidence()), data)), data);
        data = abi.encodeCall(SocialVerifier.initialize, (GOVERNANCE, address(entities), address(registry), 1));
        watch(Governed(proxied(address(new SocialVerifier()), data)), data);
        data = abi.encodeCall(PaymentRouter.initialize, (GOVERNANCE));
        watch(Governed(proxied(address(new PaymentRouter()), data)), data);
    }

    /// Both the proxy and what is behind it.
    function watch(Governed proxy, bytes memory data) private {
        watched.push(address(proxy));
        watched.push(proxy.implementation());
        initializations.push(data);
        initializations.push(data);
    }
}
