// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

/// @title EIP-712 digests and strict recovery of their signers.
library Signatures {
    bytes32 internal constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 internal constant VERSION_HASH = keccak256("1");

    /// @notice A signature is r ‖ s ‖ v, 65 bytes.
    error SignatureLengthIsWrong(uint256 length);

    /// @notice The s value is in the upper half of the curve order, so a second signature of the same digest exists.
    error SignatureHasHighS(bytes32 s);

    /// @notice No key gives this signature: v is not 27 or 28, or r or s is out of range.
    error SignatureIsInvalid();

    /// @notice Domain separator of the calling contract on the chain it runs on, version "1".
    function domainSeparator(bytes32 nameHash) internal view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, nameHash, VERSION_HASH, block.chainid, address(this)));
    }

    /// @notice keccak256(0x1901 ‖ separator ‖ structHash).
    function digest(bytes32 separator, bytes32 structHash) internal pure returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(separator, structHash);
    }

    /// @notice The address whose key signed `hash`; reverts instead of returning zero.
    function recover(bytes32 hash, bytes calldata signature) internal pure returns (address) {
        (address signer, ECDSA.RecoverError problem, bytes32 detail) = ECDSA.tryRecoverCalldata(hash, signature);
        if (problem == ECDSA.RecoverError.InvalidSignatureLength) revert SignatureLengthIsWrong(uint256(detail));
        if (problem == ECDSA.RecoverError.InvalidSignatureS) revert SignatureHasHighS(detail);
        if (problem != ECDSA.RecoverError.NoError) revert SignatureIsInvalid();
        return signer;
    }
}
