// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Governed} from "../common/Governed.sol";
import {Signatures} from "../common/Signatures.sol";

/// @title Splits a payment among its payees and logs it whole.
/// @notice Tokens move from the payer to each payee directly; the router holds none. Somebody else may bring a payment that
/// the payer signed, for a fee, and the router keeps which of those were made. Who reads `Paid` may rely on every payee
/// having received its amount of this token.
contract PaymentRouter is Governed {
    using SafeERC20 for IERC20;

    /// A payment as its payer signs it.
    struct Payment {
        address payer;
        address token;
        uint256 amount;
        address[] payees;
        uint256[] amounts;
        string memo;
        uint256 fee;
        uint256 nonce;
        uint256 deadline;
    }

    /// @custom:storage-location erc7201:coliving.storage.PaymentRouter
    struct PaymentRouterStorage {
        mapping(address payer => mapping(uint256 nonce => bool)) used;
    }

    bytes32 private constant PAYMENT_ROUTER_SLOT =
        0x3bd182dfc5ab9952431530c6c721aca74820cd7887142a09c6acd73c54d5e100;

    /// @notice Typehash of a `Payment`.
    bytes32 public constant PAYMENT_TYPEHASH = keccak256(
        "Payment(address payer,address token,uint256 amount,address[] payees,uint256[] amounts,string memo,uint256 fee,uint256 nonce,uint256 deadline)"
    );

    /// @notice Most payees of one payment.
    uint256 public constant PAYEES_MAX = 64;

    /// @notice Longest memo.
    uint256 public constant MEMO_BYTES_MAX = 1024;

    /// @notice `payer` paid `amount` in all, `amounts[i]` of it to `payees[i]`.
    event Paid(
        address indexed payer, address indexed token, uint256 amount, address[] payees, uint256[] amounts, string memo
    );

    /// @notice Follows the `Paid` of a payment that `bringer` brought for `fee`.
    event PaidFor(
        address indexed payer, address indexed bringer, address indexed token, uint256 fee, uint256 nonce
    );

    /// @notice A payer withdrew the signed payments with this nonce.
    event PaymentCancelled(address indexed payer, uint256 nonce);

    /// @notice A payment with this nonce was made or cancelled.
    error PaymentIsUsed(address payer, uint256 nonce);

    /// @notice The payment could be brought until `deadline`, in unix seconds.
    error PaymentHasExpired(uint256 deadline, uint256 time);

    /// @notice Somebody else signed the payment, or another one.
    error SignerIsNotPayer(address signer, address payer);

    /// @notice A payment has between one and `payeesMax` payees, and one amount for each.
    error PayeeCountIsWrong(uint256 payees, uint256 amounts, uint256 payeesMax);

    /// @notice The payee at this place is zero or the router.
    error PayeeIsWrong(uint256 index, address payee);

    /// @notice The amount at this place is zero.
    error PayeeAmountIsZero(uint256 index);

    /// @notice The amounts do not add up to what is paid.
    error SumIsWrong(uint256 sum, uint256 amount);

    /// @notice The memo is longer than `lengthMax` bytes.
    error MemoIsTooLong(uint256 length, uint256 lengthMax);

    /// @notice The token gave the payee less or more than it should have.
    error TransferIsInexact(address token, address payee, uint256 received, uint256 amount);

    /// @notice The token refused the permit, and the payer has not approved enough otherwise.
    error PermitIsRefused(address token, address payer, uint256 allowance, uint256 amount);

    /// @param initialGovernance the governance address
    function initialize(address initialGovernance) external initializer {
        _initializeGoverned(initialGovernance);
    }

    /// @notice Pays from the caller, who has approved the router for `amount`.
    /// @param token what is paid with
    /// @param amount the whole payment, in the token's smallest unit
    /// @param payees who receives
    /// @param amounts how much each receives; their sum is `amount`
    /// @param memo what the payment is for
    function pay(
        address token,
        uint256 amount,
        address[] calldata payees,
        uint256[] calldata amounts,
        string calldata memo
    ) external {
        _pay(msg.sender, token, amount, payees, amounts, memo);
    }

    /// @notice Pays from the caller, who signed an EIP-2612 permit of `amount` for the router instead of approving it.
    /// @dev Anybody may hand the permit to the token first; the payment goes through all the same.
    /// @param deadline until when the permit holds, in unix seconds
    /// @param signature r ‖ s ‖ v over the permit's EIP-712 digest
    // The log follows the permit. A token that calls back from there makes another payment, which is logged as such:
    // there is no state here to get out of step.
    // slither-disable-next-line reentrancy-events
    function payWithPermit(
        address token,
        uint256 amount,
        address[] calldata payees,
        uint256[] calldata amounts,
        string calldata memo,
        uint256 deadline,
        bytes calldata signature
    ) external {
        _permit(token, msg.sender, amount, deadline, signature);
        _pay(msg.sender, token, amount, payees, amounts, memo);
    }

    /// @notice Makes a payment for the payer who signed it, and takes its fee from the payer for the caller. Anybody may bring
    /// it, once. The payer has approved the router for amount and fee together, or signed an EIP-2612 permit of that.
    /// @dev Nonces are in no order. Anybody may hand the permit to the token first; the payment goes through all the same.
    /// @param payment what is paid, in the token's smallest unit
    /// @param signature r ‖ s ‖ v over the payment's EIP-712 digest, by the payer
    /// @param permitDeadline until when the permit holds, in unix seconds
    /// @param permitSignature r ‖ s ‖ v over the permit's EIP-712 digest; empty when an approval stands
    // The nonce is used up before any token is called; the logs follow the permit as in `payWithPermit`.
    // slither-disable-next-line reentrancy-events
    function payFor(
        Payment calldata payment,
        bytes calldata signature,
        uint256 permitDeadline,
        bytes calldata permitSignature
    ) external {
        (address payer, address token, uint256 fee) = (payment.payer, payment.token, payment.fee);
        // A deadline is hours away; seconds by which a block's time may be off do not matter.
        // slither-disable-next-line timestamp
        if (block.timestamp > payment.deadline) revert PaymentHasExpired(payment.deadline, block.timestamp);
        address signer = Signatures.recover(paymentDigest(payment), signature);
        if (signer != payer) revert SignerIsNotPayer(signer, payer);
        _use(payer, payment.nonce);
        if (permitSignature.length > 0) {
            _permit(token, payer, payment.amount + fee, permitDeadline, permitSignature);
        }
        _pay(payer, token, payment.amount, payment.payees, payment.amounts, payment.memo);
        emit PaidFor(payer, msg.sender, token, fee, payment.nonce);
        if (fee > 0) _move(IERC20(token), payer, msg.sender, fee);
    }

    /// @notice Withdraws what the caller signed with this nonce and nobody has brought.
    function cancelPayment(uint256 nonce) external {
        _use(msg.sender, nonce);
        emit PaymentCancelled(msg.sender, nonce);
    }

    /// @notice Whether a payment with this nonce was made or cancelled.
    function isUsed(address payer, uint256 nonce) external view returns (bool) {
        return _router().used[payer][nonce];
    }

    /// @notice The digest that a payer signs.
    function paymentDigest(Payment calldata payment) public view returns (bytes32) {
        bytes32 structHash = keccak256(
            abi.encode(
                PAYMENT_TYPEHASH,
                payment.payer,
                payment.token,
                payment.amount,
                keccak256(abi.encodePacked(payment.payees)),
                keccak256(abi.encodePacked(payment.amounts)),
                keccak256(bytes(payment.memo)),
                payment.fee,
                payment.nonce,
                payment.deadline
            )
        );
        return Signatures.digest(domainSeparator(), structHash);
    }

    /// @notice Domain separator {"Payment Router", "1", chain id, this address}.
    function domainSeparator() public view returns (bytes32) {
        return Signatures.domainSeparator(keccak256("Payment Router"));
    }

    function _use(address payer, uint256 nonce) private {
        PaymentRouterStorage storage $ = _router();
        if ($.used[payer][nonce]) revert PaymentIsUsed(payer, nonce);
        $.used[payer][nonce] = true;
    }

    function _pay(
        address payer,
        address token,
        uint256 amount,
        address[] memory payees,
        uint256[] memory amounts,
        string memory memo
    ) private {
        uint256 count = payees.length;
        if (count == 0 || count > PAYEES_MAX || count != amounts.length) {
            revert PayeeCountIsWrong(count, amounts.length, PAYEES_MAX);
        }
        if (bytes(memo).length > MEMO_BYTES_MAX) revert MemoIsTooLong(bytes(memo).length, MEMO_BYTES_MAX);
        _requireSum(amount, payees, amounts);
        emit Paid(payer, token, amount, payees, amounts, memo);
        for (uint256 i = 0; i < count; i++) {
            _move(IERC20(token), payer, payees[i], amounts[i]);
        }
    }

    /// The balance is read around the transfer: a token that takes a fee would make the log say too much.
    function _move(IERC20 token, address payer, address payee, uint256 amount) private {
        // A payment is one call for each of at most 64 payees, and fails as a whole.
        // slither-disable-next-line calls-loop
        uint256 before = token.balanceOf(payee);
        // The payer is the caller or signed the payment.
        // slither-disable-next-line arbitrary-send-erc20
        token.safeTransferFrom(payer, payee, amount);
        // slither-disable-next-line calls-loop
        uint256 received = token.balanceOf(payee) - before;
        uint256 expected = payee == payer ? 0 : amount;
        if (received != expected) revert TransferIsInexact(address(token), payee, received, expected);
    }

    /// A permit that somebody else has used up already left its allowance behind, so its failure alone says nothing.
    function _permit(address token, address payer, uint256 amount, uint256 deadline, bytes calldata signature)
        private
    {
        if (signature.length != 65) revert Signatures.SignatureLengthIsWrong(signature.length);
        bytes32 r = bytes32(signature[:32]);
        bytes32 s = bytes32(signature[32:64]);
        uint8 v = uint8(signature[64]);
        try IERC20Permit(token).permit(payer, address(this), amount, deadline, v, r, s) {}
        catch {
            uint256 allowance = IERC20(token).allowance(payer, address(this));
            if (allowance < amount) revert PermitIsRefused(token, payer, allowance, amount);
        }
    }

    function _requireSum(uint256 amount, address[] memory payees, uint256[] memory amounts) private view {
        uint256 sum = 0;
        for (uint256 i = 0; i < payees.length; i++) {
            if (payees[i] == address(0) || payees[i] == address(this)) revert PayeeIsWrong(i, payees[i]);
            if (amounts[i] == 0) revert PayeeAmountIsZero(i);
            sum += amounts[i];
        }
        if (sum != amount) revert SumIsWrong(sum, amount);
    }

    function _router() private pure returns (PaymentRouterStorage storage $) {
        assembly {
            $.slot := PAYMENT_ROUTER_SLOT
        }
    }
}
