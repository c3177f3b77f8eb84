// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {Signatures} from "../common/Signatures.sol";
import {SignedRecords} from "../common/SignedRecords.sol";
import {PeerRegistry} from "./PeerRegistry.sol";

/// @title The hash of each signed record, as a contract computes it.
/// @notice Struct hashes are pure; `digest` puts one under the domain of the peer registry, which is what gets signed.
contract Records is Governed {
    /// @custom:storage-location erc7201:coliving.storage.Records
    struct RecordsStorage {
        PeerRegistry peerRegistry;
    }

    bytes32 private constant RECORDS_SLOT = 0xb8c0e2d1a2b82d19ab916258f9c5fe5ec5c71a5ff77aa8b0da352af1a8ae9600;

    /// @param initialGovernance the governance address
    /// @param registry proxy of the peer registry whose domain the records are signed under
    function initialize(address initialGovernance, address registry) external initializer {
        _initializeGoverned(initialGovernance);
        _requireNonZero(registry, "peer registry");
        _records().peerRegistry = PeerRegistry(registry);
    }

    /// @notice The peer registry whose domain the records are signed under.
    function peerRegistry() external view returns (address) {
        return address(_records().peerRegistry);
    }

    /// @notice The digest that a key signs: keccak256(0x1901 ‖ domain separator ‖ struct hash).
    function digest(bytes32 structHash) external view returns (bytes32) {
        return Signatures.digest(domainSeparator(), structHash);
    }

    /// @notice Struct hash of a `Confirm`.
    function hashConfirm(SignedRecords.Confirm calldata record) external pure returns (bytes32 structHash) {
        return SignedRecords.hash(record);
    }

    /// @notice Struct hash of a `Lease`.
    function hashLease(SignedRecords.Lease calldata record) external pure returns (bytes32 structHash) {
        return SignedRecords.hash(record);
    }

    /// @notice Struct hash of a `Page`.
    function hashPage(SignedRecords.Page calldata record) external pure returns (bytes32 structHash) {
        return SignedRecords.hash(record);
    }

    /// @notice Struct hash of a `Head`.
    function hashHead(SignedRecords.Head calldata record) external pure returns (bytes32 structHash) {
        return SignedRecords.hash(record);
    }

    /// @notice Struct hash of a `PendingAction`.
    function hashPendingAction(SignedRecords.PendingAction calldata record) external pure returns (bytes32 structHash) {
        return SignedRecords.hash(record);
    }

    /// @notice Struct hash of a `Presence`.
    function hashPresence(SignedRecords.Presence calldata record) external pure returns (bytes32 structHash) {
        return SignedRecords.hash(record);
    }

    /// @notice Struct hash of a `Vault`.
    function hashVault(SignedRecords.Vault calldata record) external pure returns (bytes32 structHash) {
        return SignedRecords.hash(record);
    }

    /// @notice Struct hash of a `Reply`.
    function hashReply(SignedRecords.Reply calldata record) external pure returns (bytes32 structHash) {
        return SignedRecords.hash(record);
    }

    /// @notice Struct hash of an `Endpoint`.
    function hashEndpoint(SignedRecords.Endpoint calldata record) external pure returns (bytes32 structHash) {
        return SignedRecords.hash(record);
    }

    /// @notice Struct hash of an `Attestation`.
    function hashAttestation(SignedRecords.Attestation calldata record) external pure returns (bytes32 structHash) {
        return SignedRecords.hash(record);
    }

    /// @notice Domain separator of the peer registry.
    function domainSeparator() public view returns (bytes32) {
        return _records().peerRegistry.domainSeparator();
    }

    function _records() private pure returns (RecordsStorage storage $) {
        assembly {
            $.slot := RECORDS_SLOT
        }
    }
}
