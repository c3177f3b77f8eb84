// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {Signatures} from "../common/Signatures.sol";
import {SignedRecords} from "../common/SignedRecords.sol";
import {Evidence} from "../eth/Evidence.sol";
import {Fixture} from "./Fixture.sol";
import {Vm} from "./Vm.sol";

contract EvidenceTest is Fixture {
    string private constant ONE = "https://one.example";

    uint8 private constant HEADS = 0;
    uint8 private constant PAGES = 1;
    uint8 private constant LEASES = 2;

    Evidence private evidence;
    Vm.Wallet private peer;
    Vm.Wallet private other;

    function setUp() public override {
        super.setUp();
        evidence = Evidence(
            proxied(address(new Evidence()), abi.encodeCall(Evidence.initialize, (GOVERNANCE, address(registry))))
        );
        peer = vm.createWallet(0xc0ffee);
        other = vm.createWallet(0xdecaf);
        register(ADA, CONTENT, ONE, CONTENT_MIN, peer.addr);
        bytes memory key = publicKey(peer);
        vm.prank(peer.addr);
        registry.confirm(CONTENT, 1, key, ZONE);
    }

    function testItKnowsTheRegistry() public {
        same(evidence.peerRegistry(), address(registry), "peer registry");
        address implementation = address(new Evidence());
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "peer registry"));
        proxied(implementation, abi.encodeCall(Evidence.initialize, (GOVERNANCE, address(0))));
    }

    function testTwoHeadsOfOneBlockAreAContradiction() public {
        (SignedRecords.Head memory a, SignedRecords.Head memory b) = (head(7, 1), head(7, 2));
        (bytes32 hashA, bytes32 hashB) = (records.hashHead(a), records.hashHead(b));
        (bytes memory signatureA, bytes memory signatureB) = (by(peer, hashA), by(peer, hashB));
        yes(!evidence.isProved(peer.addr, HEADS, 7), "not yet");
        expectEvent(address(evidence));
        emit Evidence.Contradiction(ADA, peer.addr, HEADS, 7, hashA, hashB);
        vm.prank(STRANGER);
        evidence.proveHeads(a, signatureA, b, signatureB);
        check(HEADS, 7, 1);
        refusesTwice(HEADS, 7);
        evidence.proveHeads(b, signatureB, a, signatureA);

        a.blockNumber = 8;
        b.blockNumber = 8;
        evidence.proveHeads(a, by(peer, records.hashHead(a)), b, by(peer, records.hashHead(b)));
        check(HEADS, 8, 2);
    }

    function testTwoPagesOfOneEpochAreAContradiction() public {
        (SignedRecords.Page memory a, SignedRecords.Page memory b) = (page(9, 1), page(9, 2));
        (bytes32 hashA, bytes32 hashB) = (records.hashPage(a), records.hashPage(b));
        (bytes memory signatureA, bytes memory signatureB) = (by(peer, hashA), by(peer, hashB));
        expectEvent(address(evidence));
        emit Evidence.Contradiction(ADA, peer.addr, PAGES, 9, hashA, hashB);
        evidence.provePages(a, signatureA, b, signatureB);
        check(PAGES, 9, 1);
        refusesTwice(PAGES, 9);
        evidence.provePages(b, signatureB, a, signatureA);
    }

    function testTwoLeasesOfOneSerialAreAContradiction() public {
        (SignedRecords.Lease memory a, SignedRecords.Lease memory b) = (lease(3, 1), lease(3, 2));
        (bytes32 hashA, bytes32 hashB) = (records.hashLease(a), records.hashLease(b));
        (bytes memory signatureA, bytes memory signatureB) = (by(peer, hashA), by(peer, hashB));
        expectEvent(address(evidence));
        emit Evidence.Contradiction(ADA, peer.addr, LEASES, 3, hashA, hashB);
        evidence.proveLeases(a, signatureA, b, signatureB);
        check(LEASES, 3, 1);
        refusesTwice(LEASES, 3);
        evidence.proveLeases(b, signatureB, a, signatureA);
    }

    function testKindsAreCountedApart() public {
        proveHeads(5);
        provePages(5);
        proveLeases(5);
        same(evidence.contradictionCount(ADA), 3, "three");
        same(evidence.contradictionCount(BOB), 0, "somebody else's");
    }

    function testOneRecordTwiceIsNoContradiction() public {
        SignedRecords.Head memory a = head(7, 1);
        bytes32 hash = records.hashHead(a);
        bytes memory signature = by(peer, hash);
        vm.expectRevert(abi.encodeWithSelector(Evidence.RecordsAreEqual.selector, hash));
        evidence.proveHeads(a, signature, a, signature);
    }

    function testDifferentNumbersAreNoContradiction() public {
        vm.expectRevert(abi.encodeWithSelector(Evidence.NumbersDiffer.selector, 7, 8));
        evidence.proveHeads(head(7, 1), "", head(8, 1), "");
        vm.expectRevert(abi.encodeWithSelector(Evidence.NumbersDiffer.selector, 7, 8));
        evidence.provePages(page(7, 1), "", page(8, 1), "");
        vm.expectRevert(abi.encodeWithSelector(Evidence.NumbersDiffer.selector, 7, 8));
        evidence.proveLeases(lease(7, 1), "", lease(8, 1), "");
    }

    function testBothRecordsAreByOneKey() public {
        (SignedRecords.Head memory a, SignedRecords.Head memory b) = (head(7, 1), head(7, 2));
        bytes memory signatureA = by(peer, records.hashHead(a));
        bytes memory signatureB = by(other, records.hashHead(b));
        vm.expectRevert(abi.encodeWithSelector(Evidence.SignersDiffer.selector, peer.addr, other.addr));
        evidence.proveHeads(a, signatureA, b, signatureB);
    }

    function testTheSignerIsOrWasAConfirmedPeer() public {
        (SignedRecords.Head memory a, SignedRecords.Head memory b) = (head(7, 1), head(7, 2));
        bytes memory signatureA = by(other, records.hashHead(a));
        bytes memory signatureB = by(other, records.hashHead(b));
        vm.expectRevert(abi.encodeWithSelector(Evidence.PeerIsUnknown.selector, other.addr));
        evidence.proveHeads(a, signatureA, b, signatureB);
    }

    function testPagesAndLeasesAreSignedByTheirHolder() public {
        (SignedRecords.Page memory a, SignedRecords.Page memory b) = (page(7, 1), page(7, 2));
        a.holder = other.addr;
        refusesPages(a, b);
        a.holder = peer.addr;
        b.holder = other.addr;
        refusesPages(a, b);
        (SignedRecords.Lease memory c, SignedRecords.Lease memory d) = (lease(7, 1), lease(7, 2));
        c.holder = other.addr;
        refusesLeases(c, d);
        c.holder = peer.addr;
        d.holder = other.addr;
        refusesLeases(c, d);
    }

    function testAPeerThatLapsedIsStillHeldToItsWord() public {
        vm.prank(ADA);
        factory.deregister(CONTENT, ONE);
        same(registry.operatorOfWallet(peer.addr), address(0), "lapsed");
        vm.roll(5000);
        same(registry.operatorOfWalletAtBlock(peer.addr, 4000), ADA, "its last operator");
        proveHeads(4000);
        check(HEADS, 4000, 1);
    }

    /// An operator gives the key that it misused to another one with little to lose.
    function testEvidenceIsOfTheOperatorThatHadThePeer() public {
        uint64 epoch = uint64(block.timestamp / 3600);
        vm.prank(ADA);
        factory.deregister(CONTENT, ONE);
        vm.roll(2000);
        vm.warp((epoch + 5) * 3600 + 1800);
        register(BOB, CONTENT, "https://two.example", CONTENT_MIN, peer.addr);
        bytes memory key = publicKey(peer);
        vm.prank(peer.addr);
        registry.confirm(CONTENT, 2, key, ZONE);
        vm.roll(3000);

        proveHeads(999);
        proveHeads(1999);
        provePages(epoch);
        provePages(epoch + 5);
        proveLeases(1, epoch, epoch + 5);
        same(evidence.contradictionCount(ADA), 5, "ada's");
        same(evidence.contradictionCount(BOB), 0, "bob's");
        proveHeads(2000);
        provePages(epoch + 6);
        proveLeases(2, epoch + 6, epoch);
        proveLeases(3, epoch, epoch + 6);
        same(evidence.contradictionCount(ADA), 5, "ada's");
        same(evidence.contradictionCount(BOB), 4, "bob's");
    }

    /// Whoever has the wallet between two tenures, the one before answers; a return of the same operator adds nothing.
    function testTenuresEndWhereTheNextBegins() public {
        address wallet = peer.addr;
        same(registry.operatorOfWalletAtBlock(other.addr, 1000), address(0), "never confirmed");
        same(registry.operatorOfWalletAtTime(other.addr, 1000), address(0), "never confirmed");
        vm.roll(2000);
        handOver(ADA, BOB, "https://one.example", "https://two.example", 2);
        vm.roll(3000);
        handOver(BOB, ADA, "https://two.example", "https://one.example", 3);
        vm.roll(4000);
        handOver(ADA, ADA, "https://one.example", "https://one.example", 4);
        same(registry.operatorOfWalletAtBlock(wallet, 0), ADA, "the first");
        same(registry.operatorOfWalletAtBlock(wallet, 1999), ADA, "the first");
        same(registry.operatorOfWalletAtBlock(wallet, 2000), BOB, "the second");
        same(registry.operatorOfWalletAtBlock(wallet, 2999), BOB, "the second");
        same(registry.operatorOfWalletAtBlock(wallet, 3000), ADA, "the third");
        same(registry.operatorOfWalletAtBlock(wallet, type(uint96).max), ADA, "the last");
    }

    function testASignatureIsStrictAndOfThisChain() public {
        (SignedRecords.Head memory a, SignedRecords.Head memory b) = (head(7, 1), head(7, 2));
        bytes memory signatureA = by(peer, records.hashHead(a));
        bytes memory signatureB = by(peer, records.hashHead(b));
        vm.expectRevert(abi.encodeWithSelector(Signatures.SignatureLengthIsWrong.selector, 0));
        evidence.proveHeads(a, signatureA, b, "");
        (bytes memory twin, bytes32 highS) = withHighS(signatureB);
        vm.expectRevert(abi.encodeWithSelector(Signatures.SignatureHasHighS.selector, highS));
        evidence.proveHeads(a, signatureA, b, twin);
        vm.chainId(4242);
        vm.expectPartialRevert(Evidence.SignersDiffer.selector);
        evidence.proveHeads(a, signatureA, b, signatureB);
    }

    function testAnyTwoDifferentRecordsOfANumberContradict(uint64 number, bytes32 left, bytes32 right) public {
        vm.assume(left != right);
        (SignedRecords.Head memory a, SignedRecords.Head memory b) = (head(number, 0), head(number, 0));
        a.stateRoot = left;
        b.stateRoot = right;
        evidence.proveHeads(a, by(peer, records.hashHead(a)), b, by(peer, records.hashHead(b)));
        check(HEADS, number, 1);
    }

    function proveHeads(uint64 number) private {
        (SignedRecords.Head memory a, SignedRecords.Head memory b) = (head(number, 1), head(number, 2));
        evidence.proveHeads(a, by(peer, records.hashHead(a)), b, by(peer, records.hashHead(b)));
    }

    function provePages(uint64 epoch) private {
        (SignedRecords.Page memory a, SignedRecords.Page memory b) = (page(epoch, 1), page(epoch, 2));
        evidence.provePages(a, by(peer, records.hashPage(a)), b, by(peer, records.hashPage(b)));
    }

    function proveLeases(uint64 serial) private {
        proveLeases(serial, 1, 1);
    }

    function proveLeases(uint64 serial, uint64 from, uint64 fromOther) private {
        (SignedRecords.Lease memory a, SignedRecords.Lease memory b) = (lease(serial, 1), lease(serial, 2));
        (a.fromEpoch, b.fromEpoch) = (from, fromOther);
        evidence.proveLeases(a, by(peer, records.hashLease(a)), b, by(peer, records.hashLease(b)));
    }

    function handOver(address from, address to, string memory left, string memory taken, uint256 id) private {
        vm.prank(from);
        factory.deregister(CONTENT, left);
        (uint256 stake,,,,,) = factory.getServiceProviderDetails(to);
        if (stake == 0) {
            register(to, CONTENT, taken, CONTENT_MIN, peer.addr);
        } else {
            vm.prank(to);
            factory.cancelDecreaseStakeRequest();
            register(to, CONTENT, taken, 0, peer.addr);
        }
        bytes memory key = publicKey(peer);
        vm.prank(peer.addr);
        registry.confirm(CONTENT, id, key, ZONE);
    }

    function refusesTwice(uint8 kind, uint256 number) private {
        vm.expectRevert(abi.encodeWithSelector(Evidence.ContradictionIsProved.selector, peer.addr, kind, number));
    }

    function refusesPages(SignedRecords.Page memory a, SignedRecords.Page memory b) private {
        bytes memory signatureA = by(peer, records.hashPage(a));
        bytes memory signatureB = by(peer, records.hashPage(b));
        vm.expectRevert(abi.encodeWithSelector(Evidence.SignerIsNotHolder.selector, peer.addr, other.addr));
        evidence.provePages(a, signatureA, b, signatureB);
    }

    function refusesLeases(SignedRecords.Lease memory a, SignedRecords.Lease memory b) private {
        bytes memory signatureA = by(peer, records.hashLease(a));
        bytes memory signatureB = by(peer, records.hashLease(b));
        vm.expectRevert(abi.encodeWithSelector(Evidence.SignerIsNotHolder.selector, peer.addr, other.addr));
        evidence.proveLeases(a, signatureA, b, signatureB);
    }

    function check(uint8 kind, uint256 number, uint256 count) private view {
        yes(evidence.isProved(peer.addr, kind, number), "proved");
        yes(!evidence.isProved(other.addr, kind, number), "nobody else's");
        same(evidence.contradictionCount(ADA), count, "count");
    }

    function head(uint64 number, uint64 entries) private pure returns (SignedRecords.Head memory) {
        return SignedRecords.Head(number, 0, 0, 0, entries, 0, 0);
    }

    function page(uint64 epoch, uint64 serial) private view returns (SignedRecords.Page memory) {
        return SignedRecords.Page(peer.addr, serial, epoch, 1, 1, 0);
    }

    function lease(uint64 serial, uint64 size) private view returns (SignedRecords.Lease memory) {
        return SignedRecords.Lease("root", 0, size, peer.addr, serial, 1, 2);
    }

    function by(Vm.Wallet memory wallet, bytes32 structHash) private view returns (bytes memory) {
        return sign(wallet.privateKey, records.digest(structHash));
    }
}
