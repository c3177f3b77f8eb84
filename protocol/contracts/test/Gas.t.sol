// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {PaymentRouter} from "../data/PaymentRouter.sol";
import {SignedRecords} from "../common/SignedRecords.sol";
import {Signatures} from "../common/Signatures.sol";
import {Deployment} from "./Deployment.sol";
import {Vm} from "./Vm.sol";

/// What the most usual transactions cost, from fixed states; gas.js runs each call as a transaction and compares.
contract GasTest is Deployment {
    string private constant METADATA =
        '{"cid":"bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy","data":{"title":"A title","genre":"Electronic"}}';
    bytes32 private constant PERMIT_TYPEHASH =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    /// What an evaluation has to be given at most, `EXECUTION_GAS_ENOUGH` of governance.
    uint256 private constant ENOUGH = 15_000_000;

    Vm.Wallet private peer;
    Vm.Wallet private user;

    function setUp() public override {
        super.setUp();
        peer = vm.createWallet(0xc0ffee);
        user = vm.createWallet(0xdecaf);
        register(ADA, CONTENT, "https://one.example", 600_000 ether, peer.addr);
        fund(CORA, 1_000_000 ether);
        vm.prank(TREASURY);
        token.transfer(user.addr, 1000 ether);
        next(1);
    }

    function testRegister() public {
        vm.prank(BOB);
        factory.register(CONTENT, "https://two.example", 200_000 ether, user.addr);
        measured("register");
    }

    function testConfirm() public {
        bytes memory key = publicKey(peer);
        vm.prank(peer.addr);
        registry.confirm(CONTENT, 1, key, ZONE);
        measured("confirm");
    }

    function testStake() public {
        vm.prank(ADA);
        factory.increaseStake(100_000 ether);
        measured("stake");
    }

    function testDelegate() public {
        vm.prank(CORA);
        delegates.delegateStake(ADA, 1000 ether);
        measured("delegate");
    }

    function testClaim() public {
        vm.prank(CORA);
        delegates.delegateStake(ADA, 1000 ether);
        next(ROUND_BLOCKS + 1);
        vm.prank(ADA);
        claims.initiateRound();
        measured("initiateRound");
        next(1);
        vm.prank(ADA);
        delegates.claimRewards(ADA);
        measured("claim");
    }

    /// A claim and a slash reach as many delegators as there can be. Each has a request pending elsewhere, and all are sent
    /// away before the slash, which cancels both.
    function testClaimAndSlashOfAllDelegators() public {
        uint256 limit = delegates.DELEGATORS_LIMIT();
        vm.prank(address(governance));
        delegates.updateMaxDelegators(limit);
        vm.prank(BOB);
        factory.register(CONTENT, "https://two.example", 200_000 ether, user.addr);
        for (uint160 i = 1; i <= limit; i++) {
            address delegator = address(i << 80);
            fund(delegator, 200 ether);
            vm.startPrank(delegator);
            delegates.delegateStake(ADA, 100 ether);
            delegates.delegateStake(BOB, 100 ether);
            delegates.requestUndelegateStake(BOB, 100 ether);
            vm.stopPrank();
            vm.prank(ADA);
            delegates.requestRemoveDelegator(ADA, delegator);
        }
        next(ROUND_BLOCKS + 1);
        vm.prank(ADA);
        claims.initiateRound();
        next(1);
        delegates.claimRewards(ADA);
        yes(measured("claimOf200Delegators") < ENOUGH, "a claim costs too much");

        vm.prank(address(governance));
        delegates.updateRemoveDelegatorEvalDuration(2 * ROUND_BLOCKS);
        for (uint160 i = 1; i <= limit; i++) {
            vm.prank(ADA);
            delegates.removeDelegator(ADA, address(i << 80));
        }
        next(1);
        vm.prank(address(governance));
        delegates.slash(1000 ether, ADA);
        yes(measured("slashOf200Delegators") < ENOUGH, "a slash costs too much");
        same(staking.lockedFor(ADA), 0, "every removal is cancelled");
        same(staking.lockedFor(BOB), 0, "every request is cancelled");
    }

    function testVote() public {
        vm.prank(ADA);
        governance.submitProposal("DelegateManager", 0, "slash(uint256,address)", abi.encode(1 ether, ADA), "n", "d");
        measured("propose");
        next(1);
        vm.prank(ADA);
        governance.submitVote(1, YES);
        measured("vote");
        (, uint256 evaluationBlock,) = governance.getProposalRules(1);
        vm.roll(evaluationBlock);
        governance.evaluateProposalOutcome(1);
        measured("evaluateSlash");
    }

    /// All places that there can be are taken by accounts of a little each, and one gives way.
    function testProposeInPlaceOfAnother() public {
        uint256 places = governance.IN_PROGRESS_MAX();
        uint256 each = governance.IN_PROGRESS_PER_PROPOSER_MAX();
        vm.prank(address(governance));
        governance.setMaxInProgressProposals(places);
        for (uint256 i = 0; i < places; i++) {
            address proposer = address(uint160(1 + i / each) << 80);
            if (i % each == 0) {
                fund(proposer, 1000 ether);
                vm.prank(proposer);
                delegates.delegateStake(ADA, 1000 ether);
            }
            propose(proposer, "PaymentRouter", "setGovernance(address)", abi.encode(proposer));
        }
        vm.prank(ADA);
        governance.submitProposal("DelegateManager", 0, "slash(uint256,address)", abi.encode(1 ether, ADA), "n", "d");
        measured("proposeInPlaceOfAnother");
        same(governance.getProposalBacking(1), 0, "gave way");
    }

    function testManageEntity() public {
        bytes32 digest = entities.actionDigest(3_000_001, "Track", 2_000_001, "Create", METADATA, bytes32(uint256(1)));
        bytes memory signature = sign(user.privateKey, digest);
        entities.manageEntity(3_000_001, "Track", 2_000_001, "Create", METADATA, bytes32(uint256(1)), signature);
        measured("manageEntity");
    }

    function testPay() public {
        (address[] memory payees, uint256[] memory amounts) = split();
        vm.prank(user.addr);
        token.approve(address(router), 1 ether);
        vm.prank(user.addr);
        router.pay(address(token), 1 ether, payees, amounts, "track:2000001:1000:3000001:stream");
        measured("pay");
    }

    function testPayWithPermit() public {
        (address[] memory payees, uint256[] memory amounts) = split();
        bytes memory signature = permit(1 ether);
        vm.prank(user.addr);
        router.payWithPermit(
            address(token), 1 ether, payees, amounts, "track:2000001:1000:3000001:stream", type(uint256).max, signature
        );
        measured("payWithPermit");
    }

    function testPayFor() public {
        PaymentRouter.Payment memory payment;
        (payment.payer, payment.token) = (user.addr, address(token));
        (payment.payees, payment.amounts) = split();
        (payment.amount, payment.fee) = (1 ether, 0.01 ether);
        payment.memo = "track:2000001:1000:3000001:stream";
        payment.deadline = type(uint256).max;
        bytes memory signature = sign(user.privateKey, router.paymentDigest(payment));
        bytes memory permission = permit(1.01 ether);
        vm.prank(CORA);
        router.payFor(payment, signature, type(uint256).max, permission);
        measured("payFor");
    }

    function testProveHeads() public {
        confirm(peer, CONTENT, 1);
        SignedRecords.Head memory a = SignedRecords.Head(7, 0, 0, 0, 1, 0, 0);
        SignedRecords.Head memory b = SignedRecords.Head(7, 0, 0, 0, 2, 0, 0);
        bytes memory signatureA = sign(peer.privateKey, records.digest(records.hashHead(a)));
        bytes memory signatureB = sign(peer.privateKey, records.digest(records.hashHead(b)));
        evidence.proveHeads(a, signatureA, b, signatureB);
        measured("proveHeads");
    }

    function measured(string memory name) private returns (uint256) {
        return vm.snapshotGasLastCall("transactions", name);
    }

    function permit(uint256 amount) private view returns (bytes memory) {
        bytes32 structHash =
            keccak256(abi.encode(PERMIT_TYPEHASH, user.addr, address(router), amount, 0, type(uint256).max));
        return sign(user.privateKey, Signatures.digest(token.DOMAIN_SEPARATOR(), structHash));
    }

    /// The seller and the network, neither of which had any of the token.
    function split() private pure returns (address[] memory payees, uint256[] memory amounts) {
        (payees, amounts) = (new address[](2), new uint256[](2));
        (payees[0], amounts[0]) = (address(0x5e11e4), 0.9 ether);
        (payees[1], amounts[1]) = (address(0x9e7), 0.1 ether);
    }
}
