// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";

/// @title Who is trusted to notify operators about content that must go.
/// @notice Numbers start at 1 and never come back; wallet, endpoint and e-mail address each belong to one notifier.
contract TrustedNotifierManager is Governed {
    struct Notifier {
        address wallet;
        string endpoint;
        string email;
    }

    /// @custom:storage-location erc7201:coliving.storage.TrustedNotifierManager
    struct TrustedNotifierManagerStorage {
        uint256 latestId;
        mapping(uint256 id => Notifier) notifiers;
        mapping(address wallet => uint256) idOfWallet;
        mapping(bytes32 endpointHash => uint256) idOfEndpoint;
        mapping(bytes32 emailHash => uint256) idOfEmail;
    }

    bytes32 private constant TRUSTED_NOTIFIER_MANAGER_SLOT =
        0xd2fa2dd93375de9e41837ee3474945d8d5c68e5c9298b216162b157d54b93e00;

    /// @notice Longest endpoint, and longest e-mail address.
    uint256 public constant TEXT_BYTES_MAX = 256;

    /// @notice A notifier is trusted from this block on.
    event NotifierRegistered(address indexed wallet, uint256 indexed id, string endpoint, string email);

    /// @notice A notifier is not trusted any longer.
    event NotifierDeregistered(address indexed wallet, uint256 indexed id, string endpoint, string email);

    /// @notice The text is empty or longer than `lengthMax` bytes; `what` names it.
    error TextLengthIsWrong(string what, uint256 length, uint256 lengthMax);

    /// @notice Another notifier has this wallet.
    error WalletIsTaken(address wallet, uint256 id);

    /// @notice Another notifier has this endpoint.
    error EndpointIsTaken(string endpoint, uint256 id);

    /// @notice Another notifier has this e-mail address.
    error EmailIsTaken(string email, uint256 id);

    /// @notice No notifier has this wallet.
    error NotifierIsUnknown(address wallet);

    /// @notice Only governance or the notifier's own wallet ends the trust.
    error CallerIsNeitherGovernanceNorNotifier(address caller, address wallet);

    /// @param initialGovernance the governance address
    function initialize(address initialGovernance) external initializer {
        _initializeGoverned(initialGovernance);
    }

    /// @notice Trusts a notifier.
    /// @param wallet its wallet
    /// @param endpoint where its lists are served
    /// @param email where it is reached
    /// @return id its number, from 1
    function registerNotifier(address wallet, string calldata endpoint, string calldata email)
        external
        onlyGovernance
        returns (uint256 id)
    {
        _requireNonZero(wallet, "notifier wallet");
        _requireLength("endpoint", bytes(endpoint).length);
        _requireLength("email", bytes(email).length);
        TrustedNotifierManagerStorage storage $ = _manager();
        id = $.idOfWallet[wallet];
        if (id != 0) revert WalletIsTaken(wallet, id);
        id = $.idOfEndpoint[keccak256(bytes(endpoint))];
        if (id != 0) revert EndpointIsTaken(endpoint, id);
        id = $.idOfEmail[keccak256(bytes(email))];
        if (id != 0) revert EmailIsTaken(email, id);

        id = ++$.latestId;
        $.notifiers[id] = Notifier(wallet, endpoint, email);
        $.idOfWallet[wallet] = id;
        $.idOfEndpoint[keccak256(bytes(endpoint))] = id;
        $.idOfEmail[keccak256(bytes(email))] = id;
        emit NotifierRegistered(wallet, id, endpoint, email);
    }

    /// @notice Ends the trust in a notifier; governance does, or the wallet itself.
    function deregisterNotifier(address wallet) external {
        if (msg.sender != governance() && msg.sender != wallet) {
            revert CallerIsNeitherGovernanceNorNotifier(msg.sender, wallet);
        }
        TrustedNotifierManagerStorage storage $ = _manager();
        uint256 id = $.idOfWallet[wallet];
        if (id == 0) revert NotifierIsUnknown(wallet);
        Notifier memory notifier = $.notifiers[id];
        delete $.notifiers[id];
        delete $.idOfWallet[wallet];
        delete $.idOfEndpoint[keccak256(bytes(notifier.endpoint))];
        delete $.idOfEmail[keccak256(bytes(notifier.email))];
        emit NotifierDeregistered(wallet, id, notifier.endpoint, notifier.email);
    }

    /// @notice The highest number that a notifier has had; zero before the first.
    function getLatestNotifierID() external view returns (uint256) {
        return _manager().latestId;
    }

    /// @notice The notifier with a number; all zero when there is none.
    function getNotifierForID(uint256 id)
        external
        view
        returns (address wallet, string memory endpoint, string memory email)
    {
        Notifier storage notifier = _manager().notifiers[id];
        return (notifier.wallet, notifier.endpoint, notifier.email);
    }

    /// @notice The notifier with a wallet; all zero when there is none.
    function getNotifierForWallet(address wallet)
        external
        view
        returns (uint256 id, string memory endpoint, string memory email)
    {
        TrustedNotifierManagerStorage storage $ = _manager();
        id = $.idOfWallet[wallet];
        Notifier storage notifier = $.notifiers[id];
        return (id, notifier.endpoint, notifier.email);
    }

    /// @notice The notifier with an endpoint; all zero when there is none.
    function getNotifierForEndpoint(string calldata endpoint)
        external
        view
        returns (uint256 id, address wallet, string memory email)
    {
        TrustedNotifierManagerStorage storage $ = _manager();
        id = $.idOfEndpoint[keccak256(bytes(endpoint))];
        Notifier storage notifier = $.notifiers[id];
        return (id, notifier.wallet, notifier.email);
    }

    /// @notice The notifier with an e-mail address; all zero when there is none.
    function getNotifierForEmail(string calldata email)
        external
        view
        returns (uint256 id, address wallet, string memory endpoint)
    {
        TrustedNotifierManagerStorage storage $ = _manager();
        id = $.idOfEmail[keccak256(bytes(email))];
        Notifier storage notifier = $.notifiers[id];
        return (id, notifier.wallet, notifier.endpoint);
    }

    function _requireLength(string memory what, uint256 length) private pure {
        if (length == 0 || length > TEXT_BYTES_MAX) revert TextLengthIsWrong(what, length, TEXT_BYTES_MAX);
    }

    function _manager() private pure returns (TrustedNotifierManagerStorage storage $) {
        assembly {
            $.slot := TRUSTED_NOTIFIER_MANAGER_SLOT
        }
    }
}
