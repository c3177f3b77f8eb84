// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {Signatures} from "../common/Signatures.sol";

/// @title Where users' signed actions become entries.
/// @notice Anybody may bring an action; its author is whoever signed it. The contract recovers the signer and lets each
/// signed digest through once; whether an action means anything is judged by those who read the logs.
contract EntityManager is Governed {
    /// @custom:storage-location erc7201:coliving.storage.EntityManager
    struct EntityManagerStorage {
        address verifier;
        mapping(bytes32 key => bool) burned;
    }

    bytes32 private constant ENTITY_MANAGER_SLOT = 0x1cbe5c1e93eab6d650fcb9532ae2a0c75e00dceb516c08d317bd531901f14400;

    /// @notice Typehash of an action; the type string says `uint`, literally.
    bytes32 public constant MANAGE_ENTITY_TYPEHASH = keccak256(
        "ManageEntity(uint userId,string entityType,uint entityId,string action,string metadata,bytes32 nonce)"
    );

    /// @notice Typehash of the domain.
    bytes32 public constant DOMAIN_TYPEHASH = Signatures.DOMAIN_TYPEHASH;

    /// @notice Most bytes that the ABI-encoded arguments of `manageEntity` may take.
    uint256 public constant ARGUMENT_BYTES_MAX = 16 * 1024;

    /// @notice An action by `_signer`. Metadata comes before action here, and after it in the call.
    // Its form is that of the system whose readers read it, so nothing is indexed.
    // slither-disable-next-line unindexed-event-address
    event ManageEntity(
        uint256 _userId, address _signer, string _entityType, uint256 _entityId, string _metadata, string _action
    );

    /// @notice Follows each `ManageEntity` directly, so that the two logs hold everything that was signed.
    event Signed(bytes32 digest, bytes32 nonce, bytes signature);

    /// @notice The verifier marked a user as verified, or took the mark away.
    event ManageIsVerified(uint256 _userId, bool _isVerified);

    /// @notice The address that may mark users as verified changed.
    event VerifierChanged(address indexed previousVerifier, address indexed verifier);

    /// @notice The arguments are larger than an action may be.
    error ArgumentsAreTooLarge(uint256 size, uint256 sizeMax);

    /// @notice This signer's action with this digest is on the chain already.
    error ActionIsUsed(bytes32 digest, address signer);

    /// @notice Only the verifier may mark users as verified.
    error CallerIsNotVerifier(address caller);

    /// @param initialGovernance the governance address
    /// @param initialVerifier the address that may mark users as verified
    function initialize(address initialGovernance, address initialVerifier) external initializer {
        _initializeGoverned(initialGovernance);
        _setVerifier(initialVerifier);
    }

    /// @notice Names the address that may mark users as verified.
    function setVerifier(address newVerifier) external onlyGovernance {
        _setVerifier(newVerifier);
    }

    /// @notice Takes a user's signed action and logs it with its signer.
    /// @param userId the user who acts
    /// @param entityType what is acted on, such as `Track`
    /// @param entityId which one
    /// @param action what is done, such as `Create`
    /// @param metadata what is said about it
    /// @param nonce chosen by the signer; makes equal actions differ
    /// @param signature r ‖ s ‖ v over the action's EIP-712 digest
    function manageEntity(
        uint256 userId,
        string calldata entityType,
        uint256 entityId,
        string calldata action,
        string calldata metadata,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        _requireSize(bytes(entityType).length, bytes(action).length, bytes(metadata).length, signature.length);
        bytes32 digest = actionDigest(userId, entityType, entityId, action, metadata, nonce);
        _log(userId, _burn(digest, signature), entityType, entityId, metadata, action);
        emit Signed(digest, nonce, signature);
    }

    /// @notice Marks a user as verified or not; only the verifier can.
    function manageIsVerified(uint256 userId, bool isVerified) external {
        if (msg.sender != _manager().verifier) revert CallerIsNotVerifier(msg.sender);
        emit ManageIsVerified(userId, isVerified);
    }

    /// @notice Whether this signer's action with this digest is on the chain.
    function isUsed(bytes32 digest, address signer) external view returns (bool) {
        return _manager().burned[_burnKey(digest, signer)];
    }

    /// @notice The address that may mark users as verified.
    function verifier() external view returns (address) {
        return _manager().verifier;
    }

    /// @notice The digest that a user signs for an action.
    function actionDigest(
        uint256 userId,
        string calldata entityType,
        uint256 entityId,
        string calldata action,
        string calldata metadata,
        bytes32 nonce
    ) public view returns (bytes32) {
        bytes32 structHash = keccak256(
            abi.encode(
                MANAGE_ENTITY_TYPEHASH,
                userId,
                keccak256(bytes(entityType)),
                entityId,
                keccak256(bytes(action)),
                keccak256(bytes(metadata)),
                nonce
            )
        );
        return Signatures.digest(domainSeparator(), structHash);
    }

    /// @notice Domain separator {"Entity Manager", "1", chain id, this address}.
    function domainSeparator() public view returns (bytes32) {
        return Signatures.domainSeparator(keccak256("Entity Manager"));
    }

    function _burn(bytes32 digest, bytes calldata signature) private returns (address signer) {
        signer = Signatures.recover(digest, signature);
        EntityManagerStorage storage $ = _manager();
        bytes32 key = _burnKey(digest, signer);
        if ($.burned[key]) revert ActionIsUsed(digest, signer);
        $.burned[key] = true;
    }

    /// Strings in memory take one stack slot each; in calldata they take two, which the event's encoder has no room for.
    function _log(
        uint256 userId,
        address signer,
        string memory entityType,
        uint256 entityId,
        string memory metadata,
        string memory action
    ) private {
        emit ManageEntity(userId, signer, entityType, entityId, metadata, action);
    }

    function _setVerifier(address newVerifier) private {
        _requireNonZero(newVerifier, "verifier");
        EntityManagerStorage storage $ = _manager();
        emit VerifierChanged($.verifier, newVerifier);
        $.verifier = newVerifier;
    }

    /// Both the calldata and the plain encoding are measured: arguments that overlap in the calldata are logged apart.
    function _requireSize(uint256 entityType, uint256 action, uint256 metadata, uint256 signature) private pure {
        uint256 size = 7 * 32 + _encodedSize(entityType) + _encodedSize(action) + _encodedSize(metadata)
            + _encodedSize(signature);
        uint256 callSize = msg.data.length - 4;
        if (callSize > size) size = callSize;
        if (size > ARGUMENT_BYTES_MAX) revert ArgumentsAreTooLarge(size, ARGUMENT_BYTES_MAX);
    }

    function _encodedSize(uint256 length) private pure returns (uint256) {
        // Rounds up to whole words.
        // slither-disable-next-line divide-before-multiply
        return 32 + (length + 31) / 32 * 32;
    }

    function _burnKey(bytes32 digest, address signer) private pure returns (bytes32) {
        return keccak256(abi.encode(digest, signer));
    }

    function _manager() private pure returns (EntityManagerStorage storage $) {
        assembly {
            $.slot := ENTITY_MANAGER_SLOT
        }
    }
}
