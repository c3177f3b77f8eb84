// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {PaymentRouter} from "../data/PaymentRouter.sol";
import {SocialVerifier} from "../data/SocialVerifier.sol";
import {Evidence} from "../eth/Evidence.sol";
import {Governance} from "../eth/Governance.sol";
import {Registry} from "../eth/Registry.sol";
import {TrustedNotifierManager} from "../eth/TrustedNotifierManager.sol";
import {Fixture} from "./Fixture.sol";
import {Vm} from "./Vm.sol";

/// @title Every contract, named in the registry and handed over to governance.
abstract contract Deployment is Fixture {
    uint256 internal constant VOTING_PERIOD = 50;
    uint256 internal constant EXECUTION_DELAY = 40;
    address internal constant GUARDIAN = address(0x9a4d);
    uint8 internal constant YES = 2;

    Registry internal contractRegistry;
    Governance internal governance;
    TrustedNotifierManager internal notifiers;
    Evidence internal evidence;
    SocialVerifier internal socials;
    PaymentRouter internal router;

    function setUp() public virtual override {
        super.setUp();
        contractRegistry =
            Registry(proxied(address(new Registry()), abi.encodeCall(Registry.initialize, (GOVERNANCE))));
        bytes memory data = abi.encodeCall(
            Governance.initialize,
            (
                address(contractRegistry),
                address(staking),
                VOTING_PERIOD,
                EXECUTION_DELAY,
                5,
                100,
                GUARDIAN,
                type(uint64).max
            )
        );
        governance = Governance(payable(proxied(address(new Governance()), data)));
        data = abi.encodeCall(TrustedNotifierManager.initialize, (GOVERNANCE));
        notifiers = TrustedNotifierManager(proxied(address(new TrustedNotifierManager()), data));
        data = abi.encodeCall(Evidence.initialize, (GOVERNANCE, address(registry)));
        evidence = Evidence(proxied(address(new Evidence()), data));
        data = abi.encodeCall(SocialVerifier.initialize, (GOVERNANCE, address(entities), address(registry), 1));
        socials = SocialVerifier(proxied(address(new SocialVerifier()), data));
        router = PaymentRouter(
            proxied(address(new PaymentRouter()), abi.encodeCall(PaymentRouter.initialize, (GOVERNANCE)))
        );
        handOver();
    }

    function next(uint256 blocks) internal {
        vm.roll(block.number + blocks);
    }

    function propose(address proposer, bytes32 key, string memory signature, bytes memory data)
        internal
        returns (uint256)
    {
        vm.prank(proposer);
        return governance.submitProposal(key, 0, signature, data, "a name", "a description");
    }

    function castVote(address voter, uint256 id, uint8 choice) internal {
        vm.prank(voter);
        governance.submitVote(id, choice);
    }

    function evaluate(uint256 id) internal returns (Governance.Outcome) {
        (, uint256 evaluationBlock,) = governance.getProposalRules(id);
        vm.roll(evaluationBlock);
        vm.prank(STRANGER);
        return governance.evaluateProposalOutcome(id);
    }

    /// From the submission by Ada to the end, with Ada's vote for it.
    function pass(bytes32 key, string memory signature, bytes memory data) internal returns (Governance.Outcome) {
        uint256 id = propose(ADA, key, signature, data);
        next(1);
        castVote(ADA, id, YES);
        return evaluate(id);
    }

    function confirm(Vm.Wallet memory peer, bytes32 serviceType, uint256 id) internal {
        bytes memory key = publicKey(peer);
        vm.prank(peer.addr);
        registry.confirm(serviceType, id, key, ZONE);
    }

    function same(Governance.Outcome left, Governance.Outcome right, string memory what) internal pure {
        same(uint256(left), uint256(right), what);
    }

    function handOver() private {
        vm.startPrank(GOVERNANCE);
        entities.setVerifier(address(socials));
        factory.setVotingGovernance(address(governance));
        delegates.setVotingGovernance(address(governance));
        contractRegistry.addContract("Governance", address(governance));
        hand("ColivingToken", token);
        hand("ServiceTypeManager", types);
        hand("ServiceProviderFactory", factory);
        hand("PeerRegistry", registry);
        hand("Staking", staking);
        hand("DelegateManager", delegates);
        hand("ClaimsManager", claims);
        hand("TrustedNotifierManager", notifiers);
        hand("Evidence", evidence);
        hand("EntityManager", entities);
        hand("SocialVerifier", socials);
        hand("PaymentRouter", router);
        hand("Records", records);
        hand("Registry", contractRegistry);
        vm.stopPrank();
    }

    function hand(bytes32 name, Governed deployed) private {
        contractRegistry.addContract(name, address(deployed));
        deployed.setGovernance(address(governance));
    }
}
