// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {SignedRecords} from "../common/SignedRecords.sol";
import {PeerRegistry} from "../eth/PeerRegistry.sol";
import {Records} from "../eth/Records.sol";
import {Fixture} from "./Fixture.sol";

/// The example hashes of docs/formats/signed.md, which test/signed.js recomputes from the page alone.
contract RecordsTest is Fixture {
    address private constant REGISTRY = address(bytes20(hex"5fbdb2315678afecb367f032d93f642f64180aa3"));

    function setUp() public override {
        super.setUp();
        vm.chainId(1337);
        vm.etch(REGISTRY, address(new PeerRegistry()).code);
        records = Records(
            proxied(address(new Records()), abi.encodeCall(Records.initialize, (GOVERNANCE, REGISTRY)))
        );
    }

    function testTheDomainIsThePeerRegistrys() public view {
        same(records.peerRegistry(), REGISTRY, "peer registry");
        same(records.domainSeparator(), PeerRegistry(REGISTRY).domainSeparator(), "the registry's");
        same(
            records.domainSeparator(),
            0xfe7715e7eef07aa56ded5dfae8b857af7036773978885a85871d650570f43703,
            "the example's"
        );
    }

    function testAPeerRegistryMustBeGiven() public {
        address implementation = address(new Records());
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "peer registry"));
        proxied(implementation, abi.encodeCall(Records.initialize, (GOVERNANCE, address(0))));
    }

    function testTheConfirmExample() public view {
        SignedRecords.Confirm memory record = SignedRecords.Confirm({
            serviceType: 0x636f6e74656e742d6e6f64650000000000000000000000000000000000000000,
            serviceId: 1,
            operator: address(bytes20(hex"3333333333333333333333333333333333333333")),
            publicKey: hex"79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8",
            zone: 0x7a6f6e652d610000000000000000000000000000000000000000000000000000,
            nonce: 0
        });
        check(
            records.hashConfirm(record),
            0x989ecc0bcbd85a946f7c1243d649f2ea059d3f848681f26dbb85228166c1354a,
            0xcfe2ae636bba3254a85d6c0d4a31c1f3cd27fa66b83e91b3f5b24b5da3434102
        );
    }

    function testTheLeaseExample() public view {
        SignedRecords.Lease memory record = SignedRecords.Lease({
            root: hex"015512200212f0a6e7024b7970f3e4852f6ccbaa7f7f9c3f4a09d7453eb30ce3beddbc3f",
            proofRoot: 0x6993ea6816d02c7dd2508989b0f96aa280455e3479f3def9bd8f3bb62bea580d,
            size: 1048590,
            holder: address(bytes20(hex"1111111111111111111111111111111111111111")),
            serial: 7,
            fromEpoch: 494000,
            toEpoch: 496160
        });
        check(
            records.hashLease(record),
            0x3a47f61bc94991aa5e558bb7bd5f909bb2d76a2723d2bd21a87e2992fb54e698,
            0xe841f8fb4cc925239f80fcd77df8f93614f84b47b86bc30c6fc2e219d27018c8
        );
    }

    function testThePageExample() public view {
        SignedRecords.Page memory record = SignedRecords.Page({
            holder: address(bytes20(hex"1111111111111111111111111111111111111111")),
            serial: 3,
            epoch: 494001,
            count: 1,
            size: 1048590,
            leasesRoot: 0x76d0140636b76d66495c3ff1e334b39dc89ff63639060b87c7707a98c732d99f
        });
        check(
            records.hashPage(record),
            0xeba615733d8329922f27589cd600a6773b3d96b7cb52a5e6bf438262493050cf,
            0xe01827e5d125bb187e69672f9c4d8a506f025212137c7e0b6dfc8f3db5a7b272
        );
    }

    function testTheHeadExample() public view {
        SignedRecords.Head memory record = SignedRecords.Head({
            blockNumber: 20000000,
            blockHash: 0x496aca80e4d8f29fb8e8cd816c3afb48d3f103970b3a2ee1600c08ca67326dee,
            previousHead: bytes32(0),
            entriesRoot: 0x87d05cd08817497883161da4d8a323c8986b6aa1c1fdff34d53fc824dec598b2,
            entryCount: 64,
            stateRoot: bytes32(0),
            registryRoot: 0x872491a30d60d598962de6e7b834ab76b2aa65fbab102c6ebaaae6acdc238822
        });
        check(
            records.hashHead(record),
            0x9619a0f06af193a333bdc982a162736844c12911fe4f829c081efad72f577dbb,
            0x7bb5fc85fd827033f718f504d38020cff8c565d9478d1e67609e650d41891a42
        );
    }

    function testThePendingActionExample() public view {
        SignedRecords.PendingAction memory record = SignedRecords.PendingAction({
            digest: 0xbd938c688f49b77c7fc537c6b9222e2c97ebddd63076b87f2feaec66fb9c05d0,
            signature: hex"444444444444444444444444444444444444444444444444444444444444444455555555555555555555555555555555555555555555555555555555555555551b",
            peer: address(bytes20(hex"1111111111111111111111111111111111111111")),
            time: 1778400000
        });
        check(
            records.hashPendingAction(record),
            0xb448c4d488a36a4ff52355a5936969540341ee9cd3021186fd35c37194a0792f,
            0x6bc1931f3202da15f424616bf2fb38c5bc3df0d8e4d2c07d38917187461715e8
        );
    }

    function testThePresenceExample() public view {
        SignedRecords.Presence memory record = SignedRecords.Presence({
            peer: address(bytes20(hex"1111111111111111111111111111111111111111")),
            time: 1778400000,
            pageSerial: 3,
            pageHash: 0x3660315a9af3df255d8f19ab077e4797822b41488a0e2a04bc6af71213c23274,
            capacity: 1099511627776,
            used: 1048590
        });
        check(
            records.hashPresence(record),
            0xcae62bd4d97164fee6d8b152bf992df3905eaca19b5ee8af6ab08e18e3b548d9,
            0x75a7b8a8a34f510a3140c2a28d38fdea9055e990cc84552dd48009e2cb5483e0
        );
    }

    function testTheVaultExample() public view {
        SignedRecords.Vault memory record = SignedRecords.Vault({
            scheme: 1,
            lookupKey: 0x18c6f07f7b891bc5f2c79a20bd39f7971a499f3e7ada02cb2382d40e44661b92,
            iv: bytes16(0xe85bf7579aafe1554c6d0e5235a4a883),
            cipherText: hex"6b6cd020f0e50105fa4d7ba074c60f4b3f56a85739b734164fba6d30954d45f925ab5cd68a7c3d0270d58f8ee318d69b088998a4190c69b4692e45298a2fdb77",
            wallet: address(bytes20(hex"2222222222222222222222222222222222222222")),
            version: 1,
            replaces: bytes32(0)
        });
        check(
            records.hashVault(record),
            0xbfe9f7e29eec79926f670426634c34469779d352e0f0f3ea48fc84a36946490a,
            0x2a092c793e7c9dd9388ef6ff546b2d207d6212c00e5424a310b8c44cf5c20c6f
        );
    }

    function testTheReplyExample() public view {
        SignedRecords.Reply memory record = SignedRecords.Reply({
            request: 0x61aff0cae5ef821eeb6435d7bc67ee7b1295a407a78cb6e2b79fc9c4227d520d,
            height: 20000000,
            body: 0x8fe32e407a1038ee38753b70e5374b3a46d6ae9d5f16cd5b73c53abaca8f5ed0,
            time: 1778400000
        });
        check(
            records.hashReply(record),
            0xe7e44a3a2479588ef21d70f6d28c03fef08616f4de0fe257f461e1a23bb37d06,
            0xc9e3e6eccebfa0e5eaaba7a3a6047a83a85a211519787eea9f18d8f5008820aa
        );
    }

    function testTheEndpointExample() public view {
        string[] memory addresses = new string[](2);
        addresses[0] = "/ip4/192.0.2.1/udp/4001/quic-v1/p2p/16Uiu2HAmExample";
        addresses[1] = "/ip4/192.0.2.1/tcp/4001/p2p/16Uiu2HAmExample";
        SignedRecords.Endpoint memory record = SignedRecords.Endpoint({
            peer: address(bytes20(hex"1111111111111111111111111111111111111111")),
            url: "https://one.example",
            addresses: addresses,
            time: 1778400000
        });
        check(
            records.hashEndpoint(record),
            0xe7d429a390a4720dc4fc3b53e760772d3390de5ed2640ff51c0d5678c010ec77,
            0x8bf288666621450ca38a45349489bcc6036957babef36d66e6db5b8039c780f3
        );
    }

    function testTheAttestationExample() public view {
        SignedRecords.Attestation memory record = SignedRecords.Attestation({
            userId: 3000001,
            wallet: address(bytes20(hex"2222222222222222222222222222222222222222")),
            provider: "x",
            subject: 0x2db7e29715e71ac8b68744506df049204ab5ecd31aeade915a921b5ecdddeef4,
            time: 1778400000
        });
        check(
            records.hashAttestation(record),
            0xaded0e1895e4d26c1d054fffb028115e8377e29877b707609768602400ac8606,
            0x4b468cb249f551703e6b3ae5e1ded2a577ca49b7e8d5b0addab272fa3b58dbc4
        );
    }

    function testEveryFieldCounts(uint64 left, uint64 right) public view {
        vm.assume(left != right);
        SignedRecords.Page memory page = SignedRecords.Page(ADA, left, left, left, left, bytes32(uint256(left)));
        bytes32 hash = records.hashPage(page);
        differs(hash, SignedRecords.Page(BOB, left, left, left, left, bytes32(uint256(left))));
        differs(hash, SignedRecords.Page(ADA, right, left, left, left, bytes32(uint256(left))));
        differs(hash, SignedRecords.Page(ADA, left, right, left, left, bytes32(uint256(left))));
        differs(hash, SignedRecords.Page(ADA, left, left, right, left, bytes32(uint256(left))));
        differs(hash, SignedRecords.Page(ADA, left, left, left, right, bytes32(uint256(left))));
        differs(hash, SignedRecords.Page(ADA, left, left, left, left, bytes32(uint256(right))));
    }

    function differs(bytes32 hash, SignedRecords.Page memory page) private view {
        yes(records.hashPage(page) != hash, "a field is not hashed");
    }

    function check(bytes32 structHash, bytes32 expectedStructHash, bytes32 expectedDigest) private view {
        same(structHash, expectedStructHash, "struct hash");
        same(records.digest(structHash), expectedDigest, "digest");
    }
}
