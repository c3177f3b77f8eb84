// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ERC1967Utils} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Utils.sol";
import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts/proxy/utils/UUPSUpgradeable.sol";

/// @title What every contract here shares: one governance address that alone may upgrade it and set its parameters.
/// @notice Deployed behind an ERC-1967 proxy; the implementation itself can never be initialized.
abstract contract Governed is Initializable, UUPSUpgradeable {
    /// @custom:storage-location erc7201:coliving.storage.Governed
    struct GovernedStorage {
        address governance;
    }

    bytes32 private constant GOVERNED_SLOT = 0xa1cfdfd5eef6a852386c661f48e67d4eab12d20cbf7604780f8c87faf367b000;

    /// @notice The governance address moved.
    event GovernanceChanged(address indexed previousGovernance, address indexed governance);

    /// @notice Only the governance address may call this.
    error CallerIsNotGovernance(address caller);

    /// @notice An address that must be given is zero; `what` names it.
    error AddressIsZero(string what);

    modifier onlyGovernance() {
        if (msg.sender != governance()) revert CallerIsNotGovernance(msg.sender);
        _;
    }

    constructor() {
        _disableInitializers();
    }

    /// @notice Hands governance to another address; only the present one can.
    function setGovernance(address newGovernance) external onlyGovernance {
        _setGovernance(newGovernance);
    }

    /// @notice The implementation behind this proxy; zero when asked of an implementation itself.
    function implementation() external view returns (address) {
        return ERC1967Utils.getImplementation();
    }

    /// @notice The address that may upgrade this contract and set its parameters.
    function governance() public view returns (address) {
        return _governed().governance;
    }

    function _initializeGoverned(address initialGovernance) internal onlyInitializing {
        _setGovernance(initialGovernance);
    }

    function _authorizeUpgrade(address) internal view override onlyGovernance {}

    function _requireNonZero(address value, string memory what) internal pure {
        if (value == address(0)) revert AddressIsZero(what);
    }

    function _setGovernance(address newGovernance) private {
        _requireNonZero(newGovernance, "governance");
        emit GovernanceChanged(governance(), newGovernance);
        _governed().governance = newGovernance;
    }

    function _governed() private pure returns (GovernedStorage storage $) {
        assembly {
            $.slot := GOVERNED_SLOT
        }
    }
}
