// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";
import {Governed} from "../common/Governed.sol";

/// @title Which proxy stands behind each contract's name.
/// @notice Proposals name their target here. A name is its UTF-8 text, left-aligned in 32 bytes.
contract Registry is Governed {
    using EnumerableSet for EnumerableSet.Bytes32Set;

    /// @custom:storage-location erc7201:coliving.storage.Registry
    struct RegistryStorage {
        mapping(bytes32 name => address) contracts;
        EnumerableSet.Bytes32Set names;
    }

    bytes32 private constant REGISTRY_SLOT = 0x99b2d10b911d185f3e1484dd6a64f325a430a64d426bc3a77877c448a8ed2000;

    /// @notice Most names at a time; bounds `getContractNames`.
    uint256 public constant CONTRACTS_MAX = 64;

    /// @notice A name stands for a proxy from this block on.
    event ContractAdded(bytes32 indexed name, address indexed proxy);

    /// @notice A name stands for nothing any longer.
    event ContractRemoved(bytes32 indexed name, address indexed proxy);

    /// @notice A name stands for another proxy.
    event ContractUpgraded(bytes32 indexed name, address indexed previousProxy, address indexed proxy);

    /// @notice The name is empty.
    error ContractNameIsEmpty();

    /// @notice The name stands for a contract already; it can be upgraded or removed.
    error ContractNameIsTaken(bytes32 name, address proxy);

    /// @notice No contract has this name.
    error ContractIsUnknown(bytes32 name);

    /// @notice The name stands for this contract already.
    error ContractIsUnchanged(bytes32 name, address proxy);

    /// @notice No further name fits.
    error TooManyContracts(uint256 contractsMax);

    /// @param initialGovernance the governance address
    function initialize(address initialGovernance) external initializer {
        _initializeGoverned(initialGovernance);
    }

    /// @notice Gives a free name to a proxy.
    function addContract(bytes32 name, address proxy) external onlyGovernance {
        if (name == 0) revert ContractNameIsEmpty();
        _requireNonZero(proxy, "proxy");
        RegistryStorage storage $ = _registry();
        if (!$.names.add(name)) revert ContractNameIsTaken(name, $.contracts[name]);
        if ($.names.length() > CONTRACTS_MAX) revert TooManyContracts(CONTRACTS_MAX);
        $.contracts[name] = proxy;
        emit ContractAdded(name, proxy);
    }

    /// @notice Frees a name.
    function removeContract(bytes32 name) external onlyGovernance {
        address proxy = _requireKnown(name);
        RegistryStorage storage $ = _registry();
        // It is there: the name is known.
        // slither-disable-next-line unused-return
        $.names.remove(name);
        delete $.contracts[name];
        emit ContractRemoved(name, proxy);
    }

    /// @notice Puts a name onto another proxy; open proposals under this name then fail.
    function upgradeContract(bytes32 name, address proxy) external onlyGovernance {
        address previous = _requireKnown(name);
        _requireNonZero(proxy, "proxy");
        if (proxy == previous) revert ContractIsUnchanged(name, proxy);
        _registry().contracts[name] = proxy;
        emit ContractUpgraded(name, previous, proxy);
    }

    /// @notice The proxy that has a name; zero when none has it.
    function getContract(bytes32 name) external view returns (address) {
        return _registry().contracts[name];
    }

    /// @notice All names in use, in no particular order.
    function getContractNames() external view returns (bytes32[] memory) {
        return _registry().names.values();
    }

    function _requireKnown(bytes32 name) private view returns (address proxy) {
        proxy = _registry().contracts[name];
        if (proxy == address(0)) revert ContractIsUnknown(name);
    }

    function _registry() private pure returns (RegistryStorage storage $) {
        assembly {
            $.slot := REGISTRY_SLOT
        }
    }
}
