// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {Signatures} from "../common/Signatures.sol";
import {SignedRecords} from "../common/SignedRecords.sol";
import {PeerRegistry} from "./PeerRegistry.sol";

/// @title Where a peer's contradictions become facts that a proposal can point at.
/// @notice A peer never signs two heads of one block, two pages of one epoch, or two leases of one serial. Anybody who
/// holds two such records brings them; each contradiction counts once, also after the peer lapsed, and for the operator
/// that had the peer when the records were made.
contract Evidence is Governed {
    enum Kind {
        Heads,
        Pages,
        Leases
    }

    /// @custom:storage-location erc7201:coliving.storage.Evidence
    struct EvidenceStorage {
        PeerRegistry peerRegistry;
        mapping(address peer => mapping(uint8 kind => mapping(uint256 number => bool))) proved;
        mapping(address operator => uint256) counts;
    }

    bytes32 private constant EVIDENCE_SLOT = 0x80ec6dbebb4b991c1b804604adedd65f626f2b93ffb83f6bc04ba2f37d73e900;

    /// @notice Length of an epoch, in seconds.
    uint256 public constant EPOCH_SECONDS = 3600;

    /// @notice A peer signed two records that exclude each other. `kind` is 0 for heads, 1 for pages, 2 for leases;
    /// `number` is the heads' block, the pages' epoch or the leases' serial; the hashes are the records' struct hashes.
    event Contradiction(
        address indexed operator,
        address indexed peer,
        uint8 indexed kind,
        uint256 number,
        bytes32 hashA,
        bytes32 hashB
    );

    /// @notice One record twice is no contradiction.
    error RecordsAreEqual(bytes32 structHash);

    /// @notice The records are about different blocks, epochs or serials, which is no contradiction.
    error NumbersDiffer(uint256 numberA, uint256 numberB);

    /// @notice Different keys signed the records.
    error SignersDiffer(address signerA, address signerB);

    /// @notice A page or a lease binds only when its holder signed it.
    error SignerIsNotHolder(address signer, address holder);

    /// @notice The signer was never a confirmed peer.
    error PeerIsUnknown(address peer);

    /// @notice This contradiction is on the chain already.
    error ContradictionIsProved(address peer, uint8 kind, uint256 number);

    /// @param initialGovernance the governance address
    /// @param registry proxy of the peer registry, whose domain the records are signed under
    function initialize(address initialGovernance, address registry) external initializer {
        _initializeGoverned(initialGovernance);
        _requireNonZero(registry, "peer registry");
        _evidence().peerRegistry = PeerRegistry(registry);
    }

    /// @notice Proves that a peer signed two heads of one block.
    function proveHeads(
        SignedRecords.Head calldata a,
        bytes calldata signatureA,
        SignedRecords.Head calldata b,
        bytes calldata signatureB
    ) external {
        _requireSameNumber(a.blockNumber, b.blockNumber);
        (bytes32 hashA, bytes32 hashB) = (SignedRecords.hash(a), SignedRecords.hash(b));
        address peer = _signer(hashA, signatureA, hashB, signatureB);
        address operator = _evidence().peerRegistry.operatorOfWalletAtBlock(peer, a.blockNumber);
        _record(operator, peer, Kind.Heads, a.blockNumber, hashA, hashB);
    }

    /// @notice Proves that a holder signed two pages of one epoch.
    function provePages(
        SignedRecords.Page calldata a,
        bytes calldata signatureA,
        SignedRecords.Page calldata b,
        bytes calldata signatureB
    ) external {
        _requireSameNumber(a.epoch, b.epoch);
        (bytes32 hashA, bytes32 hashB) = (SignedRecords.hash(a), SignedRecords.hash(b));
        address peer = _signer(hashA, signatureA, hashB, signatureB);
        _requireHolders(peer, a.holder, b.holder);
        _record(_operatorIn(a.epoch, peer), peer, Kind.Pages, a.epoch, hashA, hashB);
    }

    /// @notice Proves that a holder signed two leases of one serial; the later one made the contradiction.
    function proveLeases(
        SignedRecords.Lease calldata a,
        bytes calldata signatureA,
        SignedRecords.Lease calldata b,
        bytes calldata signatureB
    ) external {
        _requireSameNumber(a.serial, b.serial);
        (bytes32 hashA, bytes32 hashB) = (SignedRecords.hash(a), SignedRecords.hash(b));
        address peer = _signer(hashA, signatureA, hashB, signatureB);
        _requireHolders(peer, a.holder, b.holder);
        uint64 epoch = a.fromEpoch > b.fromEpoch ? a.fromEpoch : b.fromEpoch;
        _record(_operatorIn(epoch, peer), peer, Kind.Leases, a.serial, hashA, hashB);
    }

    /// @notice Whether a contradiction of this peer, kind (0 heads, 1 pages, 2 leases) and number is proved.
    function isProved(address peer, uint8 kind, uint256 number) external view returns (bool) {
        return _evidence().proved[peer][kind][number];
    }

    /// @notice How many contradictions of an operator's peers are proved.
    function contradictionCount(address operator) external view returns (uint256) {
        return _evidence().counts[operator];
    }

    /// @notice The peer registry whose domain the records are signed under.
    function peerRegistry() external view returns (address) {
        return address(_evidence().peerRegistry);
    }

    function _record(address operator, address peer, Kind kindOf, uint256 number, bytes32 hashA, bytes32 hashB)
        private
    {
        EvidenceStorage storage $ = _evidence();
        if (operator == address(0)) revert PeerIsUnknown(peer);
        uint8 kind = uint8(kindOf);
        if ($.proved[peer][kind][number]) revert ContradictionIsProved(peer, kind, number);
        $.proved[peer][kind][number] = true;
        $.counts[operator] += 1;
        emit Contradiction(operator, peer, kind, number, hashA, hashB);
    }

    /// Who had the peer when the epoch began: nobody hands it over in the hour of its fault to be rid of it.
    function _operatorIn(uint64 epoch, address peer) private view returns (address) {
        return _evidence().peerRegistry.operatorOfWalletAtTime(peer, uint96(epoch * EPOCH_SECONDS));
    }

    function _signer(bytes32 hashA, bytes calldata signatureA, bytes32 hashB, bytes calldata signatureB)
        private
        view
        returns (address signer)
    {
        if (hashA == hashB) revert RecordsAreEqual(hashA);
        bytes32 separator = _evidence().peerRegistry.domainSeparator();
        signer = Signatures.recover(Signatures.digest(separator, hashA), signatureA);
        address other = Signatures.recover(Signatures.digest(separator, hashB), signatureB);
        if (signer != other) revert SignersDiffer(signer, other);
    }

    function _requireSameNumber(uint256 numberA, uint256 numberB) private pure {
        if (numberA != numberB) revert NumbersDiffer(numberA, numberB);
    }

    function _requireHolders(address signer, address holderA, address holderB) private pure {
        if (holderA != signer) revert SignerIsNotHolder(signer, holderA);
        if (holderB != signer) revert SignerIsNotHolder(signer, holderB);
    }

    function _evidence() private pure returns (EvidenceStorage storage $) {
        assembly {
            $.slot := EVIDENCE_SLOT
        }
    }
}
