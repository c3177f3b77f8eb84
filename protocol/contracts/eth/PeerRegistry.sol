// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {Governed} from "../common/Governed.sol";
import {Signatures} from "../common/Signatures.sol";
import {SignedRecords} from "../common/SignedRecords.sol";
import {ServiceProviderFactory} from "./ServiceProviderFactory.sol";

/// @title Which key, in which zone, stands behind each registered service.
/// @notice A service counts only while it is confirmed: its delegate owner wallet has shown the public key that the
/// address is the hash of, so that anybody can derive the peer id. Its domain is the one all peers sign under.
contract PeerRegistry is Governed {
    using Checkpoints for Checkpoints.Trace160;

    struct Confirmation {
        address operator;
        uint64 blockNumber;
        address wallet;
        bytes32 zone;
        bytes publicKey;
    }

    /// A wallet belongs to one operator as long as a confirmation of it lives. Who had it since which block and since
    /// which second stays known: a tenure ends where the next operator's begins.
    struct WalletUse {
        address operator;
        uint96 count;
        Checkpoints.Trace160 byBlock;
        Checkpoints.Trace160 byTime;
    }

    /// @custom:storage-location erc7201:coliving.storage.PeerRegistry
    struct PeerRegistryStorage {
        ServiceProviderFactory serviceProviderFactory;
        uint64 snapshotBlocks;
        uint64 operatorCount;
        mapping(bytes32 serviceType => mapping(uint256 serviceId => Confirmation)) confirmations;
        mapping(address wallet => WalletUse) walletUses;
        mapping(address wallet => uint256) nonces;
        mapping(address operator => uint64) numbers;
        mapping(uint64 number => address) operators;
        mapping(address wallet => mapping(bytes32 serviceType => uint256)) confirmedCounts;
    }

    bytes32 private constant PEER_REGISTRY_SLOT = 0x270867f5a10dfff2ddbbed1ce63e452178b589666fa2364e015831d5e267cc00;

    /// @notice Typehash of a `Confirm`.
    bytes32 public constant CONFIRM_TYPEHASH = SignedRecords.CONFIRM_TYPEHASH;

    /// @notice Length of an uncompressed secp256k1 public key without its prefix byte.
    uint256 public constant PUBLIC_KEY_BYTES = 64;

    /// @notice An operator confirmed its first service and has this number for ever; numbers start at 1.
    event OperatorNumbered(address indexed operator, uint64 number);

    /// @notice A service is confirmed with this key and zone from this block on.
    event Confirmed(
        bytes32 indexed serviceType,
        uint256 indexed serviceId,
        address indexed operator,
        address wallet,
        bytes publicKey,
        bytes32 zone
    );

    /// @notice A service lost its confirmation: it was deregistered or runs under another wallet.
    event Lapsed(
        bytes32 indexed serviceType, uint256 indexed serviceId, address indexed operator, address wallet
    );

    /// @notice No such service is registered.
    error ServiceIsUnknown(bytes32 serviceType, uint256 serviceId);

    /// @notice Only the registered delegate owner wallet confirms a service.
    error SignerIsNotDelegateOwnerWallet(address signer, address delegateOwnerWallet);

    /// @notice A public key is x ‖ y, 64 bytes without a prefix.
    error PublicKeyLengthIsWrong(uint256 length);

    /// @notice The wallet is not the hash of this public key.
    error PublicKeyIsNotTheWallets(address keyAddress, address wallet);

    /// @notice The wallet is confirmed for another operator.
    error WalletIsAnotherOperators(address wallet, address operator);

    /// @notice The nonce is not the wallet's next one.
    error NonceIsWrong(address wallet, uint256 nonce, uint256 expected);

    /// @notice Only the service provider factory reports lapses.
    error CallerIsNotServiceProviderFactory(address caller);

    /// @notice Snapshots are at least one block apart.
    error SnapshotBlocksIsZero();

    /// @param initialGovernance the governance address
    /// @param factory the contract that knows the services
    /// @param blocksPerSnapshot placement uses the registry at the last final block divisible by this
    function initialize(address initialGovernance, address factory, uint64 blocksPerSnapshot) external initializer {
        _initializeGoverned(initialGovernance);
        _requireNonZero(factory, "service provider factory");
        if (blocksPerSnapshot == 0) revert SnapshotBlocksIsZero();
        PeerRegistryStorage storage $ = _registry();
        $.serviceProviderFactory = ServiceProviderFactory(factory);
        $.snapshotBlocks = blocksPerSnapshot;
    }

    /// @notice Confirms a service; the caller is its delegate owner wallet, whose next nonce this uses up.
    /// @dev A confirmed service may be confirmed again, to change its zone.
    /// @param serviceType type of the service
    /// @param serviceId number of the service within its type
    /// @param publicKey64 the wallet's public key, x ‖ y
    /// @param zone where the peer stands, as the operator names it
    function confirm(bytes32 serviceType, uint256 serviceId, bytes calldata publicKey64, bytes32 zone) external {
        (address operator, address wallet) = _requireService(serviceType, serviceId);
        if (msg.sender != wallet) revert SignerIsNotDelegateOwnerWallet(msg.sender, wallet);
        _confirm(serviceType, serviceId, operator, wallet, publicKey64, zone);
    }

    /// @notice Confirms a service for its delegate owner wallet, which signed the `Confirm` record; anybody may bring it.
    /// @param nonce the wallet's next nonce
    /// @param signature r ‖ s ‖ v over the record's EIP-712 digest
    function confirmWithSignature(
        bytes32 serviceType,
        uint256 serviceId,
        bytes calldata publicKey64,
        bytes32 zone,
        uint256 nonce,
        bytes calldata signature
    ) external {
        (address operator, address wallet) = _requireService(serviceType, serviceId);
        uint256 expected = _registry().nonces[wallet];
        if (nonce != expected) revert NonceIsWrong(wallet, nonce, expected);
        bytes32 structHash =
            SignedRecords.hash(SignedRecords.Confirm(serviceType, serviceId, operator, publicKey64, zone, nonce));
        address signer = Signatures.recover(Signatures.digest(domainSeparator(), structHash), signature);
        if (signer != wallet) revert SignerIsNotDelegateOwnerWallet(signer, wallet);
        _confirm(serviceType, serviceId, operator, wallet, publicKey64, zone);
    }

    /// @notice Ends a confirmation, if there is one; the service provider factory calls it.
    function lapse(bytes32 serviceType, uint256 serviceId) external {
        PeerRegistryStorage storage $ = _registry();
        if (msg.sender != address($.serviceProviderFactory)) revert CallerIsNotServiceProviderFactory(msg.sender);
        Confirmation storage present = $.confirmations[serviceType][serviceId];
        address wallet = present.wallet;
        if (wallet == address(0)) return;
        emit Lapsed(serviceType, serviceId, present.operator, wallet);
        delete $.confirmations[serviceType][serviceId];
        $.confirmedCounts[wallet][serviceType] -= 1;
        $.walletUses[wallet].count -= 1;
    }

    /// @notice A service's confirmation; all zero when it has none.
    /// @return operator who staked for it
    /// @return wallet the peer's address
    /// @return publicKey the peer's key, x ‖ y
    /// @return zone where it stands
    /// @return blockNumber since when
    function confirmation(bytes32 serviceType, uint256 serviceId)
        external
        view
        returns (address operator, address wallet, bytes memory publicKey, bytes32 zone, uint64 blockNumber)
    {
        Confirmation storage present = _registry().confirmations[serviceType][serviceId];
        return (present.operator, present.wallet, present.publicKey, present.zone, present.blockNumber);
    }

    /// @notice An operator's number; zero before its first confirmation.
    function operatorNumber(address operator) external view returns (uint64) {
        return _registry().numbers[operator];
    }

    /// @notice The operator that has a number; zero when nobody has it.
    function operatorOfNumber(uint64 number) external view returns (address) {
        return _registry().operators[number];
    }

    /// @notice How many operators have a number, which is also the highest one.
    function operatorCount() external view returns (uint64) {
        return _registry().operatorCount;
    }

    /// @notice The operator that a wallet is confirmed for; zero when it is confirmed for none.
    function operatorOfWallet(address wallet) external view returns (address) {
        WalletUse storage use = _registry().walletUses[wallet];
        return use.count == 0 ? address(0) : use.operator;
    }

    /// @notice The operator that answers for what a wallet signed about a block: the last that had confirmed it by then,
    /// also after it lapsed, or the first of all for earlier blocks; zero when it was never confirmed.
    function operatorOfWalletAtBlock(address wallet, uint96 blockNumber) external view returns (address) {
        return _operatorAt(_registry().walletUses[wallet].byBlock, blockNumber);
    }

    /// @notice The same by time, in unix seconds.
    function operatorOfWalletAtTime(address wallet, uint96 time) external view returns (address) {
        return _operatorAt(_registry().walletUses[wallet].byTime, time);
    }

    /// @notice Whether a wallet is confirmed for a service of this type.
    function isConfirmed(address wallet, bytes32 serviceType) external view returns (bool) {
        return _registry().confirmedCounts[wallet][serviceType] != 0;
    }

    /// @notice The nonce of a wallet's next confirmation.
    function nonces(address wallet) external view returns (uint256) {
        return _registry().nonces[wallet];
    }

    /// @notice Placement uses the registry at the last final block divisible by this; fixed at deployment.
    function snapshotBlocks() external view returns (uint64) {
        return _registry().snapshotBlocks;
    }

    /// @notice The contract that knows the services.
    function serviceProviderFactory() external view returns (address) {
        return address(_registry().serviceProviderFactory);
    }

    /// @notice Domain separator {"Coliving", "1", chain id, this address} that all peers sign under.
    function domainSeparator() public view returns (bytes32) {
        return Signatures.domainSeparator(keccak256("Coliving"));
    }

    function _confirm(
        bytes32 serviceType,
        uint256 serviceId,
        address operator,
        address wallet,
        bytes calldata publicKey64,
        bytes32 zone
    ) private {
        _requireKey(publicKey64, wallet);
        PeerRegistryStorage storage $ = _registry();
        $.nonces[wallet] += 1;
        Confirmation storage present = $.confirmations[serviceType][serviceId];
        if (present.wallet == address(0)) _useWallet(wallet, operator, serviceType);
        present.operator = operator;
        present.blockNumber = SafeCast.toUint64(block.number);
        present.wallet = wallet;
        present.zone = zone;
        present.publicKey = publicKey64;
        _number(operator);
        emit Confirmed(serviceType, serviceId, operator, wallet, publicKey64, zone);
    }

    function _useWallet(address wallet, address operator, bytes32 serviceType) private {
        PeerRegistryStorage storage $ = _registry();
        WalletUse storage use = $.walletUses[wallet];
        if (use.count != 0 && use.operator != operator) revert WalletIsAnotherOperators(wallet, use.operator);
        if (use.operator != operator) {
            use.operator = operator;
            // What push returns is the value before and the one given.
            // slither-disable-next-line unused-return
            use.byBlock.push(uint96(block.number), uint160(operator));
            // slither-disable-next-line unused-return
            use.byTime.push(uint96(block.timestamp), uint160(operator));
        }
        use.count += 1;
        $.confirmedCounts[wallet][serviceType] += 1;
    }

    function _number(address operator) private {
        PeerRegistryStorage storage $ = _registry();
        if ($.numbers[operator] != 0) return;
        uint64 number = ++$.operatorCount;
        $.numbers[operator] = number;
        $.operators[number] = operator;
        emit OperatorNumbered(operator, number);
    }

    function _requireService(bytes32 serviceType, uint256 serviceId)
        private
        view
        returns (address operator, address wallet)
    {
        (operator, wallet) = _registry().serviceProviderFactory.getServiceWallets(serviceType, serviceId);
        if (operator == address(0)) revert ServiceIsUnknown(serviceType, serviceId);
    }

    function _operatorAt(Checkpoints.Trace160 storage tenures, uint96 key) private view returns (address) {
        uint160 operator = tenures.upperLookupRecent(key);
        if (operator == 0 && tenures.length() > 0) operator = tenures.at(0)._value;
        return address(operator);
    }

    function _requireKey(bytes calldata publicKey64, address wallet) private pure {
        if (publicKey64.length != PUBLIC_KEY_BYTES) revert PublicKeyLengthIsWrong(publicKey64.length);
        address keyAddress = address(uint160(uint256(keccak256(publicKey64))));
        if (keyAddress != wallet) revert PublicKeyIsNotTheWallets(keyAddress, wallet);
    }

    function _registry() private pure returns (PeerRegistryStorage storage $) {
        assembly {
            $.slot := PEER_REGISTRY_SLOT
        }
    }
}
