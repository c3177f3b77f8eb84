// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {Signatures} from "../common/Signatures.sol";
import {SignedRecords} from "../common/SignedRecords.sol";
import {PeerRegistry} from "../eth/PeerRegistry.sol";
import {EntityManager} from "./EntityManager.sol";

/// @title Marks users as verified when enough identity peers attest to their account elsewhere.
/// @notice Holds the entity manager's verifier role. An account elsewhere (provider and subject) serves one user.
contract SocialVerifier is Governed {
    /// @custom:storage-location erc7201:coliving.storage.SocialVerifier
    struct SocialVerifierStorage {
        EntityManager entityManager;
        uint8 threshold;
        PeerRegistry peerRegistry;
        mapping(bytes32 subjectKey => uint256) users;
        mapping(uint256 userId => bytes32[]) subjectsOf;
        mapping(uint256 userId => uint256) revokedUntil;
    }

    bytes32 private constant SOCIAL_VERIFIER_SLOT = 0x706457b483676bb817ebb659b9f42810d3ed3d0a225697ea45a2b674f9553900;

    bytes32 private constant IDENTITY_NODE = "identity-node";

    /// @notice Most attestations of one verification, and the highest threshold.
    uint256 public constant ATTESTATIONS_MAX = 32;

    /// @notice Most accounts elsewhere that verify one user.
    uint256 public constant SUBJECTS_PER_USER_MAX = 16;

    /// @notice Longest name of a provider.
    uint256 public constant PROVIDER_BYTES_MAX = 64;

    /// @notice An attestation counts for this long.
    uint256 public constant ATTESTATION_SECONDS_MAX = 30 days;

    /// @notice An attestation may be this far ahead of the chain's clock.
    uint256 public constant ATTESTATION_AHEAD_SECONDS_MAX = 1 hours;

    /// @notice Enough identity peers saw that the account `subject` at `provider` is this user's.
    event Verified(uint256 indexed userId, address indexed wallet, string provider, bytes32 subject);

    /// @notice Governance took the mark away; the user's accounts elsewhere are free again.
    event Revoked(uint256 indexed userId);

    /// @notice How many attestations are needed changed.
    event ThresholdChanged(uint256 previousThreshold, uint256 threshold);

    /// @notice The threshold is between 1 and `thresholdMax`.
    error ThresholdIsWrong(uint256 threshold, uint256 thresholdMax);

    /// @notice User ids start at 1.
    error UserIsZero();

    /// @notice The provider's name is empty or longer than `lengthMax` bytes.
    error ProviderLengthIsWrong(uint256 length, uint256 lengthMax);

    /// @notice Fewer than `threshold` or more than `attestationsMax` signatures, or not one time for each.
    error AttestationCountIsWrong(uint256 times, uint256 signatures, uint256 threshold, uint256 attestationsMax);

    /// @notice The attestation is not from between `earliest` and `latest`.
    error AttestationTimeIsWrong(uint256 time, uint256 earliest, uint256 latest);

    /// @notice The signer is no confirmed identity peer.
    error SignerIsNotIdentityPeer(address signer);

    /// @notice Another attestation is by a peer of the same operator.
    error OperatorAttestsTwice(address operator);

    /// @notice This account elsewhere verifies a user already.
    error SubjectIsUsed(string provider, bytes32 subject, uint256 userId);

    /// @notice The user has as many verified accounts elsewhere as fit.
    error TooManySubjects(uint256 userId, uint256 subjectsMax);

    /// @notice The user is not verified.
    error UserIsNotVerified(uint256 userId);

    /// @param initialGovernance the governance address
    /// @param entities proxy of the entity manager, which names this contract as its verifier
    /// @param registry proxy of the peer registry, whose domain attestations are signed under
    /// @param initialThreshold how many attestations are needed
    function initialize(address initialGovernance, address entities, address registry, uint256 initialThreshold)
        external
        initializer
    {
        _initializeGoverned(initialGovernance);
        _requireNonZero(entities, "entity manager");
        _requireNonZero(registry, "peer registry");
        SocialVerifierStorage storage $ = _verifier();
        $.entityManager = EntityManager(entities);
        $.peerRegistry = PeerRegistry(registry);
        _setThreshold(initialThreshold);
    }

    /// @notice Sets how many attestations are needed.
    function setThreshold(uint256 newThreshold) external onlyGovernance {
        _setThreshold(newThreshold);
    }

    /// @notice Marks a user as verified; anybody may bring the attestations.
    /// @param userId the user
    /// @param wallet the user's wallet, as the attesters saw it
    /// @param provider where the account is, such as `x`
    /// @param subject which account it is
    /// @param times when each attester signed, in unix seconds
    /// @param signatures their signatures r ‖ s ‖ v over the `Attestation`
    function verify(
        uint256 userId,
        address wallet,
        string calldata provider,
        bytes32 subject,
        uint64[] calldata times,
        bytes[] calldata signatures
    ) external {
        if (userId == 0) revert UserIsZero();
        _requireNonZero(wallet, "user wallet");
        SignedRecords.Attestation memory attestation =
            SignedRecords.Attestation(userId, wallet, provider, subject, 0);
        _requireAttesters(attestation, times, signatures);
        _bind(attestation);
        emit Verified(userId, wallet, provider, subject);
        _verifier().entityManager.manageIsVerified(userId, true);
    }

    /// @notice Takes the mark away. No attestation that could exist by then verifies this user again.
    function revoke(uint256 userId) external onlyGovernance {
        SocialVerifierStorage storage $ = _verifier();
        bytes32[] storage subjects = $.subjectsOf[userId];
        if (subjects.length == 0) revert UserIsNotVerified(userId);
        for (uint256 i = 0; i < subjects.length; i++) {
            delete $.users[subjects[i]];
        }
        delete $.subjectsOf[userId];
        $.revokedUntil[userId] = block.timestamp + ATTESTATION_AHEAD_SECONDS_MAX;
        emit Revoked(userId);
        $.entityManager.manageIsVerified(userId, false);
    }

    /// @notice How many attestations are needed.
    function threshold() external view returns (uint256) {
        return _verifier().threshold;
    }

    /// @notice The user that an account elsewhere verifies; zero when it verifies none.
    function userOf(string calldata provider, bytes32 subject) external view returns (uint256) {
        return _verifier().users[_subjectKey(provider, subject)];
    }

    /// @notice Whether a user is verified by at least one account elsewhere.
    function isVerified(uint256 userId) external view returns (bool) {
        return _verifier().subjectsOf[userId].length != 0;
    }

    /// @notice The contract that logs the mark.
    function entityManager() external view returns (address) {
        return address(_verifier().entityManager);
    }

    /// @notice The registry that knows the identity peers.
    function peerRegistry() external view returns (address) {
        return address(_verifier().peerRegistry);
    }

    function _bind(SignedRecords.Attestation memory attestation) private {
        SocialVerifierStorage storage $ = _verifier();
        bytes32 key = _subjectKey(attestation.provider, attestation.subject);
        uint256 user = $.users[key];
        if (user != 0) revert SubjectIsUsed(attestation.provider, attestation.subject, user);
        bytes32[] storage subjects = $.subjectsOf[attestation.userId];
        if (subjects.length == SUBJECTS_PER_USER_MAX) {
            revert TooManySubjects(attestation.userId, SUBJECTS_PER_USER_MAX);
        }
        $.users[key] = attestation.userId;
        subjects.push(key);
    }

    function _setThreshold(uint256 newThreshold) private {
        if (newThreshold == 0 || newThreshold > ATTESTATIONS_MAX) {
            revert ThresholdIsWrong(newThreshold, ATTESTATIONS_MAX);
        }
        SocialVerifierStorage storage $ = _verifier();
        emit ThresholdChanged($.threshold, newThreshold);
        // The guard above keeps it within 8 bits.
        $.threshold = uint8(newThreshold);
    }

    /// Uses `attestation` up: its time becomes each attester's in turn.
    function _requireAttesters(
        SignedRecords.Attestation memory attestation,
        uint64[] calldata times,
        bytes[] calldata signatures
    ) private view {
        uint256 length = bytes(attestation.provider).length;
        if (length == 0 || length > PROVIDER_BYTES_MAX) revert ProviderLengthIsWrong(length, PROVIDER_BYTES_MAX);
        uint256 count = signatures.length;
        uint256 needed = _verifier().threshold;
        if (count < needed || count > ATTESTATIONS_MAX || count != times.length) {
            revert AttestationCountIsWrong(times.length, count, needed, ATTESTATIONS_MAX);
        }
        bytes32 separator = _verifier().peerRegistry.domainSeparator();
        address[] memory operators = new address[](count);
        for (uint256 i = 0; i < count; i++) {
            attestation.time = times[i];
            _requireTime(attestation);
            bytes32 digest = Signatures.digest(separator, SignedRecords.hash(attestation));
            operators[i] = _operatorOf(Signatures.recover(digest, signatures[i]));
            for (uint256 j = 0; j < i; j++) {
                if (operators[j] == operators[i]) revert OperatorAttestsTwice(operators[i]);
            }
        }
    }

    /// Days and an hour; what a block's proposer can shift is seconds.
    // slither-disable-next-line timestamp
    function _requireTime(SignedRecords.Attestation memory attestation) private view {
        uint256 earliest = _verifier().revokedUntil[attestation.userId] + 1;
        if (block.timestamp > ATTESTATION_SECONDS_MAX && earliest < block.timestamp - ATTESTATION_SECONDS_MAX) {
            earliest = block.timestamp - ATTESTATION_SECONDS_MAX;
        }
        uint256 latest = block.timestamp + ATTESTATION_AHEAD_SECONDS_MAX;
        if (attestation.time < earliest || attestation.time > latest) {
            revert AttestationTimeIsWrong(attestation.time, earliest, latest);
        }
    }

    function _operatorOf(address signer) private view returns (address) {
        PeerRegistry registry = _verifier().peerRegistry;
        // Our own registry is asked about each of at most 32 attesters; a refusal refuses the whole.
        // slither-disable-next-line calls-loop
        if (!registry.isConfirmed(signer, IDENTITY_NODE)) revert SignerIsNotIdentityPeer(signer);
        // slither-disable-next-line calls-loop
        return registry.operatorOfWallet(signer);
    }

    function _subjectKey(string memory provider, bytes32 subject) private pure returns (bytes32) {
        return keccak256(abi.encode(provider, subject));
    }

    function _verifier() private pure returns (SocialVerifierStorage storage $) {
        assembly {
            $.slot := SOCIAL_VERIFIER_SLOT
        }
    }
}
