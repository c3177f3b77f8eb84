// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";

/// @title Which kinds of service exist, how much stake each asks for and allows, and in which version it runs.
/// @notice A name and a version are their UTF-8 text, left-aligned in 32 bytes. Bounds never change and a removed name
/// never comes back. The version that was set last is the current one, and no version is set twice.
contract ServiceTypeManager is Governed {
    struct ServiceType {
        bool isValid;
        uint128 minStake;
        uint128 maxStake;
    }

    /// @custom:storage-location erc7201:coliving.storage.ServiceTypeManager
    struct ServiceTypeManagerStorage {
        mapping(bytes32 serviceType => ServiceType) types;
        bytes32[] names;
        mapping(bytes32 serviceType => bytes32[]) versions;
        mapping(bytes32 serviceType => mapping(bytes32 version => bool)) isVersion;
    }

    bytes32 private constant SERVICE_TYPE_MANAGER_SLOT =
        0xbcb29f58175c182cc0e7a258eabd9f790a3ebd7f734cbae3cd26058509933200;

    /// @notice Most types that can ever be added; bounds `validServiceTypes`.
    uint256 public constant SERVICE_TYPES_MAX = 32;

    /// @notice A type can be registered from this block on.
    event ServiceTypeAdded(bytes32 indexed serviceType, uint256 minStake, uint256 maxStake);

    /// @notice A type takes no more registrations.
    event ServiceTypeRemoved(bytes32 indexed serviceType);

    /// @notice A type runs in this version from this block on.
    event SetServiceVersion(bytes32 indexed serviceType, bytes32 indexed serviceVersion);

    /// @notice The name is empty.
    error ServiceTypeNameIsEmpty();

    /// @notice The type exists, or existed and was removed; either way the name is used up.
    error ServiceTypeNameIsUsed(bytes32 serviceType);

    /// @notice The type does not exist or was removed.
    error ServiceTypeIsUnknown(bytes32 serviceType);

    /// @notice The minimum is zero or above the maximum, or the maximum does not fit 128 bits.
    error StakeBoundsAreWrong(uint256 minStake, uint256 maxStake);

    /// @notice The version is empty.
    error ServiceVersionIsEmpty();

    /// @notice The type has or had this version.
    error ServiceVersionIsUsed(bytes32 serviceType, bytes32 serviceVersion);

    /// @notice The type has had fewer versions.
    error ServiceVersionIsUnknown(bytes32 serviceType, uint256 versionIndex);

    /// @notice No further type fits.
    error TooManyServiceTypes(uint256 serviceTypesMax);

    /// @notice Adds `content-node`, `discovery-node` and `identity-node` with their bounds.
    /// @param initialGovernance the governance address
    function initialize(address initialGovernance) external initializer {
        _initializeGoverned(initialGovernance);
        _add("content-node", 200_000 ether, 3_000_000 ether);
        _add("discovery-node", 200_000 ether, 2_000_000 ether);
        _add("identity-node", 200_000 ether, 2_000_000 ether);
    }

    /// @notice Adds a type; stakes in wei of DGC, both bounds inclusive.
    function addServiceType(bytes32 serviceType, uint256 minStake, uint256 maxStake) external onlyGovernance {
        _add(serviceType, minStake, maxStake);
    }

    /// @notice Closes a type to new registrations; services that exist stay and can be deregistered.
    function removeServiceType(bytes32 serviceType) external onlyGovernance {
        ServiceType storage info = _manager().types[serviceType];
        if (!info.isValid) revert ServiceTypeIsUnknown(serviceType);
        info.isValid = false;
        emit ServiceTypeRemoved(serviceType);
    }

    /// @notice Makes a version the current one of a type.
    function setServiceVersion(bytes32 serviceType, bytes32 serviceVersion) external onlyGovernance {
        ServiceTypeManagerStorage storage $ = _manager();
        if (!$.types[serviceType].isValid) revert ServiceTypeIsUnknown(serviceType);
        if (serviceVersion == 0) revert ServiceVersionIsEmpty();
        if ($.isVersion[serviceType][serviceVersion]) revert ServiceVersionIsUsed(serviceType, serviceVersion);
        $.isVersion[serviceType][serviceVersion] = true;
        $.versions[serviceType].push(serviceVersion);
        emit SetServiceVersion(serviceType, serviceVersion);
    }

    /// @notice The version that was set at a place, from 0.
    function getVersion(bytes32 serviceType, uint256 versionIndex) external view returns (bytes32) {
        return _version(serviceType, versionIndex);
    }

    /// @notice The version that a type runs in; reverts before the first one is set.
    function getCurrentVersion(bytes32 serviceType) external view returns (bytes32) {
        uint256 count = _manager().versions[serviceType].length;
        return _version(serviceType, count == 0 ? 0 : count - 1);
    }

    /// @notice How many versions a type has had.
    function getNumberOfVersions(bytes32 serviceType) external view returns (uint256) {
        return _manager().versions[serviceType].length;
    }

    /// @notice Whether a type has or had this version.
    function serviceVersionIsValid(bytes32 serviceType, bytes32 serviceVersion) external view returns (bool) {
        return _manager().isVersion[serviceType][serviceVersion];
    }

    /// @notice Whether the type takes registrations, and its bounds (kept after removal; zero when it never was).
    function getServiceTypeInfo(bytes32 serviceType)
        external
        view
        returns (bool isValid, uint256 minStake, uint256 maxStake)
    {
        ServiceType storage info = _manager().types[serviceType];
        return (info.isValid, info.minStake, info.maxStake);
    }

    /// @notice Whether the type takes registrations.
    function serviceTypeIsValid(bytes32 serviceType) external view returns (bool) {
        return _manager().types[serviceType].isValid;
    }

    /// @notice The types that take registrations, in the order they were added.
    function getValidServiceTypes() external view returns (bytes32[] memory valid) {
        ServiceTypeManagerStorage storage $ = _manager();
        valid = new bytes32[]($.names.length);
        uint256 count = 0;
        for (uint256 i = 0; i < $.names.length; i++) {
            if ($.types[$.names[i]].isValid) valid[count++] = $.names[i];
        }
        assembly {
            mstore(valid, count)
        }
    }

    function _version(bytes32 serviceType, uint256 versionIndex) private view returns (bytes32) {
        bytes32[] storage versions = _manager().versions[serviceType];
        if (versionIndex >= versions.length) revert ServiceVersionIsUnknown(serviceType, versionIndex);
        return versions[versionIndex];
    }

    function _add(bytes32 serviceType, uint256 minStake, uint256 maxStake) private {
        ServiceTypeManagerStorage storage $ = _manager();
        if (serviceType == 0) revert ServiceTypeNameIsEmpty();
        if ($.types[serviceType].maxStake != 0) revert ServiceTypeNameIsUsed(serviceType);
        if (minStake == 0 || minStake > maxStake || maxStake > type(uint128).max) {
            revert StakeBoundsAreWrong(minStake, maxStake);
        }
        if ($.names.length == SERVICE_TYPES_MAX) revert TooManyServiceTypes(SERVICE_TYPES_MAX);
        // The guard above keeps both within 128 bits.
        $.types[serviceType] = ServiceType(true, uint128(minStake), uint128(maxStake));
        $.names.push(serviceType);
        emit ServiceTypeAdded(serviceType, minStake, maxStake);
    }

    function _manager() private pure returns (ServiceTypeManagerStorage storage $) {
        assembly {
            $.slot := SERVICE_TYPE_MANAGER_SLOT
        }
    }
}
