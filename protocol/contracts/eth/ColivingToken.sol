// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ERC20BurnableUpgradeable} from
    "@openzeppelin/contracts-upgradeable/token/ERC20/extensions/ERC20BurnableUpgradeable.sol";
import {ERC20PermitUpgradeable} from
    "@openzeppelin/contracts-upgradeable/token/ERC20/extensions/ERC20PermitUpgradeable.sol";
import {Governed} from "../common/Governed.sol";

/// @title The Coliving token, DGC.
/// @notice 10^9 tokens of 18 decimals go to the treasury; only the claims manager can mint more. Anybody may burn its own.
contract ColivingToken is ERC20PermitUpgradeable, ERC20BurnableUpgradeable, Governed {
    /// @custom:storage-location erc7201:coliving.storage.ColivingToken
    struct ColivingTokenStorage {
        address claimsManager;
    }

    bytes32 private constant COLIVING_TOKEN_SLOT = 0xc5b662119557e62e91dc1683963a14afbd5599dceb258a40c7b7f032c6646400;

    /// @notice Supply minted once, at deployment.
    uint256 public constant INITIAL_SUPPLY = 1_000_000_000 ether;

    /// @notice The address that may mint changed; zero means nobody can.
    event ClaimsManagerChanged(address indexed previousClaimsManager, address indexed claimsManager);

    /// @notice Only the claims manager may mint.
    error CallerIsNotClaimsManager(address caller);

    /// @param initialGovernance the governance address
    /// @param treasury receives the whole initial supply
    function initialize(address initialGovernance, address treasury) external initializer {
        _requireNonZero(treasury, "treasury");
        __ERC20_init("Coliving", "DGC");
        __ERC20Permit_init("Coliving");
        _initializeGoverned(initialGovernance);
        _mint(treasury, INITIAL_SUPPLY);
    }

    /// @notice Names the only address that may mint; zero switches minting off.
    function setClaimsManager(address newClaimsManager) external onlyGovernance {
        ColivingTokenStorage storage $ = _token();
        emit ClaimsManagerChanged($.claimsManager, newClaimsManager);
        $.claimsManager = newClaimsManager;
    }

    /// @notice Mints rewards; only the claims manager can.
    function mint(address account, uint256 amount) external {
        if (msg.sender != _token().claimsManager) revert CallerIsNotClaimsManager(msg.sender);
        _mint(account, amount);
    }

    /// @notice The only address that may mint, or zero.
    function claimsManager() external view returns (address) {
        return _token().claimsManager;
    }

    function _token() private pure returns (ColivingTokenStorage storage $) {
        assembly {
            $.slot := COLIVING_TOKEN_SLOT
        }
    }
}
