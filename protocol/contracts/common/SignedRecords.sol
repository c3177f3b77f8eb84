// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// @title The records that peer and user keys sign, and their EIP-712 struct hashes.
/// @notice Fields, units and example hashes: docs/formats/signed.md. A CID is binary CIDv1, a peer is its address.
library SignedRecords {
    struct Confirm {
        bytes32 serviceType;
        uint256 serviceId;
        address operator;
        bytes publicKey;
        bytes32 zone;
        uint256 nonce;
    }

    struct Lease {
        bytes root;
        bytes32 proofRoot;
        uint64 size;
        address holder;
        uint64 serial;
        uint64 fromEpoch;
        uint64 toEpoch;
    }

    struct Page {
        address holder;
        uint64 serial;
        uint64 epoch;
        uint64 count;
        uint64 size;
        bytes32 leasesRoot;
    }

    struct Head {
        uint64 blockNumber;
        bytes32 blockHash;
        bytes32 previousHead;
        bytes32 entriesRoot;
        uint64 entryCount;
        bytes32 stateRoot;
        bytes32 registryRoot;
    }

    struct PendingAction {
        bytes32 digest;
        bytes signature;
        address peer;
        uint64 time;
    }

    struct Presence {
        address peer;
        uint64 time;
        uint64 pageSerial;
        bytes32 pageHash;
        uint64 capacity;
        uint64 used;
    }

    struct Vault {
        uint8 scheme;
        bytes32 lookupKey;
        bytes16 iv;
        bytes cipherText;
        address wallet;
        uint64 version;
        bytes32 replaces;
    }

    struct Reply {
        bytes32 request;
        uint64 height;
        bytes32 body;
        uint64 time;
    }

    struct Endpoint {
        address peer;
        string url;
        string[] addresses;
        uint64 time;
    }

    struct Attestation {
        uint256 userId;
        address wallet;
        string provider;
        bytes32 subject;
        uint64 time;
    }

    bytes32 internal constant CONFIRM_TYPEHASH = keccak256(
        "Confirm(bytes32 serviceType,uint256 serviceId,address operator,bytes publicKey,bytes32 zone,uint256 nonce)"
    );
    bytes32 internal constant LEASE_TYPEHASH = keccak256(
        "Lease(bytes root,bytes32 proofRoot,uint64 size,address holder,uint64 serial,uint64 fromEpoch,uint64 toEpoch)"
    );
    bytes32 internal constant PAGE_TYPEHASH =
        keccak256("Page(address holder,uint64 serial,uint64 epoch,uint64 count,uint64 size,bytes32 leasesRoot)");
    bytes32 internal constant HEAD_TYPEHASH = keccak256(
        "Head(uint64 blockNumber,bytes32 blockHash,bytes32 previousHead,bytes32 entriesRoot,uint64 entryCount,bytes32 stateRoot,bytes32 registryRoot)"
    );
    bytes32 internal constant PENDING_ACTION_TYPEHASH =
        keccak256("PendingAction(bytes32 digest,bytes signature,address peer,uint64 time)");
    bytes32 internal constant PRESENCE_TYPEHASH = keccak256(
        "Presence(address peer,uint64 time,uint64 pageSerial,bytes32 pageHash,uint64 capacity,uint64 used)"
    );
    bytes32 internal constant VAULT_TYPEHASH = keccak256(
        "Vault(uint8 scheme,bytes32 lookupKey,bytes16 iv,bytes cipherText,address wallet,uint64 version,bytes32 replaces)"
    );
    bytes32 internal constant REPLY_TYPEHASH =
        keccak256("Reply(bytes32 request,uint64 height,bytes32 body,uint64 time)");
    bytes32 internal constant ENDPOINT_TYPEHASH =
        keccak256("Endpoint(address peer,string url,string[] addresses,uint64 time)");
    bytes32 internal constant ATTESTATION_TYPEHASH =
        keccak256("Attestation(uint256 userId,address wallet,string provider,bytes32 subject,uint64 time)");

    function hash(Confirm memory r) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                CONFIRM_TYPEHASH, r.serviceType, r.serviceId, r.operator, keccak256(r.publicKey), r.zone, r.nonce
            )
        );
    }

    function hash(Lease memory r) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                LEASE_TYPEHASH, keccak256(r.root), r.proofRoot, r.size, r.holder, r.serial, r.fromEpoch, r.toEpoch
            )
        );
    }

    function hash(Page memory r) internal pure returns (bytes32) {
        return keccak256(abi.encode(PAGE_TYPEHASH, r));
    }

    function hash(Head memory r) internal pure returns (bytes32) {
        return keccak256(abi.encode(HEAD_TYPEHASH, r));
    }

    function hash(PendingAction memory r) internal pure returns (bytes32) {
        return keccak256(abi.encode(PENDING_ACTION_TYPEHASH, r.digest, keccak256(r.signature), r.peer, r.time));
    }

    function hash(Presence memory r) internal pure returns (bytes32) {
        return keccak256(abi.encode(PRESENCE_TYPEHASH, r));
    }

    function hash(Vault memory r) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                VAULT_TYPEHASH, r.scheme, r.lookupKey, r.iv, keccak256(r.cipherText), r.wallet, r.version, r.replaces
            )
        );
    }

    function hash(Reply memory r) internal pure returns (bytes32) {
        return keccak256(abi.encode(REPLY_TYPEHASH, r));
    }

    function hash(Endpoint memory r) internal pure returns (bytes32) {
        bytes32[] memory addressHashes = new bytes32[](r.addresses.length);
        for (uint256 i = 0; i < r.addresses.length; i++) {
            addressHashes[i] = keccak256(bytes(r.addresses[i]));
        }
        return keccak256(
            abi.encode(
                ENDPOINT_TYPEHASH, r.peer, keccak256(bytes(r.url)), keccak256(abi.encodePacked(addressHashes)), r.time
            )
        );
    }

    function hash(Attestation memory r) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(ATTESTATION_TYPEHASH, r.userId, r.wallet, keccak256(bytes(r.provider)), r.subject, r.time)
        );
    }
}
