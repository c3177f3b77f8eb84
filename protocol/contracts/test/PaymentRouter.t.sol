// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Signatures} from "../common/Signatures.sol";
import {PaymentRouter} from "../data/PaymentRouter.sol";
import {Fixture} from "./Fixture.sol";
import {EagerToken, FalseToken, FeeToken, IdleToken, PlainToken, SilentToken} from "./Tokens.sol";
import {Vm} from "./Vm.sol";

contract PaymentRouterTest is Fixture {
    bytes32 private constant PERMIT_TYPEHASH =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
    address private constant CLEO = address(0xc1e0);

    PaymentRouter private router;
    Vm.Wallet private payer;

    function setUp() public override {
        super.setUp();
        router = PaymentRouter(
            proxied(address(new PaymentRouter()), abi.encodeCall(PaymentRouter.initialize, (GOVERNANCE)))
        );
        payer = vm.createWallet(0xfee);
        vm.prank(TREASURY);
        token.transfer(payer.addr, 1000 ether);
    }

    function testAPaymentReachesEveryPayee() public {
        (address[] memory payees, uint256[] memory amounts) = split(60 ether, 40 ether);
        approve(100 ether);
        expectEvent(address(router));
        emit PaymentRouter.Paid(payer.addr, address(token), 100 ether, payees, amounts, "track:1:2:3:download");
        vm.prank(payer.addr);
        router.pay(address(token), 100 ether, payees, amounts, "track:1:2:3:download");
        same(token.balanceOf(CLEO), 60 ether, "first");
        same(token.balanceOf(DAN), 40 ether, "second");
        checkSpent(100 ether);
    }

    function testTheSplitsOfTheFactsArePaidExactly() public {
        uint256[] memory amounts = new uint256[](9);
        address[] memory payees = new address[](9);
        uint256[9] memory units =
            [uint256(2), 19_700, 197_000, 65_666, 65_666, 65_666, 492_500, 985_000, 78_800];
        uint256 sum = 0;
        for (uint256 i = 0; i < 9; i++) {
            payees[i] = address(uint160(0x1000 + i));
            amounts[i] = units[i];
            sum += units[i];
        }
        same(sum, 1_970_000, "197 cents");
        approve(sum);
        vm.prank(payer.addr);
        router.pay(address(token), sum, payees, amounts, "");
        for (uint256 i = 0; i < 9; i++) {
            same(token.balanceOf(payees[i]), units[i], "amount");
        }
        checkSpent(sum);
    }

    function testTheAmountsAddUp() public {
        (address[] memory payees, uint256[] memory amounts) = split(60, 40);
        approve(1000);
        refuses(abi.encodeWithSelector(PaymentRouter.SumIsWrong.selector, 100, 101));
        router.pay(address(token), 101, payees, amounts, "");
        refuses(abi.encodeWithSelector(PaymentRouter.SumIsWrong.selector, 100, 99));
        router.pay(address(token), 99, payees, amounts, "");
        amounts[1] = type(uint256).max;
        // Panic: arithmetic overflow.
        refuses(abi.encodeWithSignature("Panic(uint256)", 0x11));
        router.pay(address(token), 59, payees, amounts, "");
    }

    function testPayeesAreBetweenOneAndSixtyFour() public {
        approve(1000);
        refuses(abi.encodeWithSelector(PaymentRouter.PayeeCountIsWrong.selector, 0, 0, 64));
        router.pay(address(token), 0, new address[](0), new uint256[](0), "");
        (address[] memory payees, uint256[] memory amounts) = many(65);
        refuses(abi.encodeWithSelector(PaymentRouter.PayeeCountIsWrong.selector, 65, 65, 64));
        router.pay(address(token), 65, payees, amounts, "");
        refuses(abi.encodeWithSelector(PaymentRouter.PayeeCountIsWrong.selector, 2, 1, 64));
        router.pay(address(token), 1, new address[](2), new uint256[](1), "");
        (payees, amounts) = many(64);
        vm.prank(payer.addr);
        router.pay(address(token), 64, payees, amounts, "");
        same(token.balanceOf(payees[63]), 1, "the last one");
    }

    function testMemosAreBounded() public {
        (address[] memory payees, uint256[] memory amounts) = split(60, 40);
        approve(1000);
        refuses(abi.encodeWithSelector(PaymentRouter.MemoIsTooLong.selector, 1025, 1024));
        router.pay(address(token), 100, payees, amounts, text(1025));
        vm.prank(payer.addr);
        router.pay(address(token), 100, payees, amounts, text(1024));
    }

    function testNobodyIsPaidNothingAndTheRouterIsNotPaid() public {
        (address[] memory payees, uint256[] memory amounts) = split(60, 0);
        approve(1000);
        refuses(abi.encodeWithSelector(PaymentRouter.PayeeAmountIsZero.selector, 1));
        router.pay(address(token), 60, payees, amounts, "");
        amounts[1] = 40;
        payees[1] = address(0);
        refuses(abi.encodeWithSelector(PaymentRouter.PayeeIsWrong.selector, 1, address(0)));
        router.pay(address(token), 100, payees, amounts, "");
        payees[1] = address(router);
        refuses(abi.encodeWithSelector(PaymentRouter.PayeeIsWrong.selector, 1, address(router)));
        router.pay(address(token), 100, payees, amounts, "");
    }

    function testOnePayeeMayComeTwiceAndThePayerMayBeOne() public {
        (address[] memory payees, uint256[] memory amounts) = split(60, 40);
        payees[1] = CLEO;
        approve(200);
        vm.prank(payer.addr);
        router.pay(address(token), 100, payees, amounts, "");
        same(token.balanceOf(CLEO), 100, "both parts");
        payees[1] = payer.addr;
        vm.prank(payer.addr);
        router.pay(address(token), 100, payees, amounts, "");
        same(token.balanceOf(CLEO), 160, "one part");
        same(token.balanceOf(payer.addr), 1000 ether - 160, "the other came back");
    }

    function testWithoutApprovalNothingMoves() public {
        (address[] memory payees, uint256[] memory amounts) = split(60, 40);
        approve(99);
        refuses(abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(router), 39, 40));
        router.pay(address(token), 100, payees, amounts, "");
        same(token.balanceOf(CLEO), 0, "not even the first part");
    }

    function testSomebodyElsesApprovalIsNotSpent() public {
        (address[] memory payees, uint256[] memory amounts) = split(60, 40);
        approve(100);
        vm.prank(STRANGER);
        vm.expectRevert(
            abi.encodeWithSelector(IERC20Errors.ERC20InsufficientAllowance.selector, address(router), 0, 60)
        );
        router.pay(address(token), 100, payees, amounts, "");
    }

    function testAPermitTakesThePlaceOfAnApproval() public {
        (address[] memory payees, uint256[] memory amounts) = split(60, 40);
        bytes memory signature = permit(100, block.timestamp);
        vm.prank(payer.addr);
        router.payWithPermit(address(token), 100, payees, amounts, "memo", block.timestamp, signature);
        same(token.balanceOf(CLEO), 60, "first");
        same(token.balanceOf(DAN), 40, "second");
        checkSpent(100);
    }

    function testAPermitThatSomebodyUsedFirstDoesNotStopThePayment() public {
        (address[] memory payees, uint256[] memory amounts) = split(60, 40);
        bytes memory signature = permit(100, block.timestamp);
        (bytes32 r, bytes32 s) = (part(signature, 0), part(signature, 32));
        vm.prank(STRANGER);
        token.permit(payer.addr, address(router), 100, block.timestamp, uint8(signature[64]), r, s);
        vm.prank(payer.addr);
        router.payWithPermit(address(token), 100, payees, amounts, "", block.timestamp, signature);
        checkSpent(100);
    }

    function testABadPermitIsRefused() public {
        (address[] memory payees, uint256[] memory amounts) = split(60, 40);
        bytes memory signature = permit(99, block.timestamp);
        approve(7);
        refuses(
            abi.encodeWithSelector(PaymentRouter.PermitIsRefused.selector, address(token), payer.addr, 7, 100)
        );
        router.payWithPermit(address(token), 100, payees, amounts, "", block.timestamp, signature);
        signature = permit(100, block.timestamp - 1);
        refuses(
            abi.encodeWithSelector(PaymentRouter.PermitIsRefused.selector, address(token), payer.addr, 7, 100)
        );
        router.payWithPermit(address(token), 100, payees, amounts, "", block.timestamp - 1, signature);
        refuses(abi.encodeWithSelector(Signatures.SignatureLengthIsWrong.selector, 64));
        router.payWithPermit(address(token), 100, payees, amounts, "", block.timestamp, new bytes(64));
    }

    function testATokenWithoutPermitsIsPaidByApproval() public {
        PlainToken plain = new PlainToken();
        plain.give(payer.addr, 100);
        (address[] memory payees, uint256[] memory amounts) = split(60, 40);
        refuses(
            abi.encodeWithSelector(PaymentRouter.PermitIsRefused.selector, address(plain), payer.addr, 0, 100)
        );
        router.payWithPermit(address(plain), 100, payees, amounts, "", block.timestamp, new bytes(65));
        vm.prank(payer.addr);
        plain.approve(address(router), 100);
        vm.prank(payer.addr);
        router.payWithPermit(address(plain), 100, payees, amounts, "", block.timestamp, new bytes(65));
        same(plain.balanceOf(DAN), 40, "paid");
    }

    function testSomebodyElseBringsAPaymentForAFee() public {
        PaymentRouter.Payment memory payment = signed(100, 5);
        expectEvent(address(router));
        emit PaymentRouter.Paid(payer.addr, address(token), 100, payment.payees, payment.amounts, "memo");
        expectEvent(address(router));
        emit PaymentRouter.PaidFor(payer.addr, STRANGER, address(token), 5, 7);
        bring(payment, by(payer, payment), block.timestamp, permit(105, block.timestamp));
        same(token.balanceOf(CLEO), 60, "first");
        same(token.balanceOf(DAN), 40, "second");
        same(token.balanceOf(STRANGER), 5, "fee");
        checkSpent(105);
        yes(router.isUsed(payer.addr, 7), "used");
        yes(!router.isUsed(payer.addr, 8), "another nonce");
    }

    function testAnApprovalAndNoFeeWillDoToo() public {
        PaymentRouter.Payment memory payment = signed(100, 0);
        approve(100);
        bring(payment, by(payer, payment), 0, "");
        same(token.balanceOf(STRANGER), 0, "no fee");
        checkSpent(100);
    }

    function testThePayerMayBringItsOwn() public {
        PaymentRouter.Payment memory payment = signed(100, 5);
        bytes memory signature = by(payer, payment);
        approve(105);
        vm.prank(payer.addr);
        router.payFor(payment, signature, 0, "");
        same(token.balanceOf(payer.addr), 1000 ether - 100, "the fee came back");
    }

    function testASignedPaymentIsMadeOnce() public {
        PaymentRouter.Payment memory payment = signed(100, 5);
        approve(1000);
        bring(payment, by(payer, payment), 0, "");
        bytes memory signature = by(payer, payment);
        bytes memory used = abi.encodeWithSelector(PaymentRouter.PaymentIsUsed.selector, payer.addr, 7);
        vm.expectRevert(used);
        router.payFor(payment, signature, 0, "");
        // Nor does another payment with the nonce go through, or the twin of the signature.
        (payment.amount, payment.amounts[0]) = (101, 61);
        signature = by(payer, payment);
        vm.expectRevert(used);
        router.payFor(payment, signature, 0, "");
        payment.nonce = 3;
        (bytes memory twin, bytes32 highS) = withHighS(by(payer, payment));
        vm.expectRevert(abi.encodeWithSelector(Signatures.SignatureHasHighS.selector, highS));
        router.payFor(payment, twin, 0, "");
        bring(payment, by(payer, payment), 0, "");
    }

    function testASignedPaymentHasADeadline() public {
        PaymentRouter.Payment memory payment = signed(100, 5);
        bytes memory signature = by(payer, payment);
        approve(1000);
        uint256 deadline = payment.deadline;
        vm.warp(deadline + 1);
        vm.expectRevert(
            abi.encodeWithSelector(PaymentRouter.PaymentHasExpired.selector, deadline, deadline + 1)
        );
        router.payFor(payment, signature, 0, "");
        vm.warp(deadline);
        bring(payment, signature, 0, "");
    }

    function testNothingOfASignedPaymentCanBeChanged() public {
        approve(type(uint256).max);
        Vm.Wallet memory other = vm.createWallet(0xdecaf);
        PaymentRouter.Payment memory payment = signed(100, 5);
        bytes memory signature = by(other, payment);
        vm.expectRevert(abi.encodeWithSelector(PaymentRouter.SignerIsNotPayer.selector, other.addr, payer.addr));
        router.payFor(payment, signature, 0, "");

        signature = by(payer, payment);
        payment.fee = 6;
        refusesChanged(payment, signature);
        payment = signed(100, 5);
        payment.payees[1] = STRANGER;
        refusesChanged(payment, signature);
        payment = signed(100, 5);
        (payment.amounts[0], payment.amounts[1]) = (61, 39);
        refusesChanged(payment, signature);
        payment = signed(100, 5);
        payment.amount = 101;
        refusesChanged(payment, signature);
        payment = signed(100, 5);
        payment.memo = "other";
        refusesChanged(payment, signature);
        payment = signed(100, 5);
        payment.token = address(new PlainToken());
        refusesChanged(payment, signature);
        payment = signed(100, 5);
        payment.nonce = 8;
        refusesChanged(payment, signature);
        payment = signed(100, 5);
        payment.deadline += 1;
        refusesChanged(payment, signature);
        payment = signed(100, 5);
        payment.payer = other.addr;
        refusesChanged(payment, signature);
        payment = signed(100, 5);
        vm.chainId(4242);
        refusesChanged(payment, signature);
    }

    /// Somebody sees the payment on its way and hands the permit to the token first.
    function testAPermitOfABroughtPaymentThatSomebodyUsedFirstStopsNothing() public {
        PaymentRouter.Payment memory payment = signed(100, 5);
        bytes memory signature = permit(105, block.timestamp);
        (bytes32 r, bytes32 s) = (part(signature, 0), part(signature, 32));
        vm.prank(DAN);
        token.permit(payer.addr, address(router), 105, block.timestamp, uint8(signature[64]), r, s);
        bring(payment, by(payer, payment), block.timestamp, signature);
        checkSpent(105);
    }

    function testAPermitOfABroughtPaymentCoversTheFee() public {
        PaymentRouter.Payment memory payment = signed(100, 5);
        bytes memory signature = by(payer, payment);
        bytes memory permission = permit(100, block.timestamp);
        vm.expectRevert(
            abi.encodeWithSelector(PaymentRouter.PermitIsRefused.selector, address(token), payer.addr, 0, 105)
        );
        router.payFor(payment, signature, block.timestamp, permission);
        yes(!router.isUsed(payer.addr, 7), "not used up by what failed");
    }

    function testAPayerWithdrawsWhatItSigned() public {
        PaymentRouter.Payment memory payment = signed(100, 5);
        bytes memory signature = by(payer, payment);
        approve(1000);
        vm.prank(STRANGER);
        router.cancelPayment(7);
        expectEvent(address(router));
        emit PaymentRouter.PaymentCancelled(payer.addr, 7);
        vm.prank(payer.addr);
        router.cancelPayment(7);
        vm.expectRevert(abi.encodeWithSelector(PaymentRouter.PaymentIsUsed.selector, payer.addr, 7));
        router.payFor(payment, signature, 0, "");
    }

    function testATokenThatBringsThePaymentAgainPaysOnce() public {
        EagerToken eager = new EagerToken();
        eager.give(payer.addr, 1000);
        vm.prank(payer.addr);
        eager.approve(address(router), 1000);
        PaymentRouter.Payment memory payment = signed(100, 5);
        payment.token = address(eager);
        bytes memory signature = by(payer, payment);
        eager.set(address(router), abi.encodeCall(PaymentRouter.payFor, (payment, signature, 0, "")));
        bring(payment, signature, 0, "");
        same(eager.balanceOf(CLEO), 60, "paid once");
        same(
            eager.refusal(), abi.encodeWithSelector(PaymentRouter.PaymentIsUsed.selector, payer.addr, 7), "refusal"
        );
    }

    function testTheDigestIsThatOfTheTypedData() public view {
        PaymentRouter.Payment memory payment = signed(100, 5);
        bytes32 typehash = keccak256(
            "Payment(address payer,address token,uint256 amount,address[] payees,uint256[] amounts,string memo,uint256 fee,uint256 nonce,uint256 deadline)"
        );
        bytes32 payees = keccak256(abi.encode(CLEO, DAN));
        bytes32 amounts = keccak256(abi.encode(60, 40));
        bytes32 structHash = keccak256(
            abi.encode(
                typehash, payer.addr, address(token), 100, payees, amounts, keccak256("memo"), 5, 7, payment.deadline
            )
        );
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Payment Router"),
                keccak256("1"),
                block.chainid,
                address(router)
            )
        );
        same(router.domainSeparator(), domain, "domain");
        same(router.paymentDigest(payment), keccak256(abi.encodePacked(hex"1901", domain, structHash)), "digest");
    }

    function testATokenThatTakesAFeeIsRefused() public {
        FeeToken fee = new FeeToken();
        fee.give(payer.addr, 10_000);
        (address[] memory payees, uint256[] memory amounts) = split(6000, 4000);
        vm.prank(payer.addr);
        fee.approve(address(router), 10_000);
        refuses(abi.encodeWithSelector(PaymentRouter.TransferIsInexact.selector, address(fee), CLEO, 5940, 6000));
        router.pay(address(fee), 10_000, payees, amounts, "");
    }

    function testATokenThatSaysNoOrDoesNothingIsRefused() public {
        (address[] memory payees, uint256[] memory amounts) = split(60, 40);
        address no = address(new FalseToken());
        refuses(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, no));
        router.pay(no, 100, payees, amounts, "");
        address idle = address(new IdleToken());
        refuses(abi.encodeWithSelector(PaymentRouter.TransferIsInexact.selector, idle, CLEO, 0, 60));
        router.pay(idle, 100, payees, amounts, "");
        refuses("");
        router.pay(DAN, 100, payees, amounts, "");
    }

    function testATokenThatReturnsNothingIsPaid() public {
        SilentToken silent = new SilentToken();
        silent.give(payer.addr, 100);
        (address[] memory payees, uint256[] memory amounts) = split(60, 40);
        vm.prank(payer.addr);
        router.pay(address(silent), 100, payees, amounts, "");
        same(silent.balanceOf(DAN), 40, "paid");
    }

    function testAnySplitIsPaidExactly(uint64[8] memory parts) public {
        address[] memory payees = new address[](8);
        uint256[] memory amounts = new uint256[](8);
        uint256 sum = 0;
        for (uint256 i = 0; i < 8; i++) {
            payees[i] = address(uint160(0x1000 + i));
            amounts[i] = uint256(parts[i]) + 1;
            sum += amounts[i];
        }
        approve(sum);
        vm.prank(payer.addr);
        router.pay(address(token), sum, payees, amounts, "");
        for (uint256 i = 0; i < 8; i++) {
            same(token.balanceOf(payees[i]), amounts[i], "amount");
        }
        checkSpent(sum);
    }

    function refuses(bytes memory reason) private {
        vm.prank(payer.addr);
        vm.expectRevert(reason);
    }

    /// A payment to two, which the payer signs with nonce 7.
    function signed(uint256 amount, uint256 fee) private view returns (PaymentRouter.Payment memory payment) {
        payment.payer = payer.addr;
        payment.token = address(token);
        payment.amount = amount;
        (payment.payees, payment.amounts) = split(60, 40);
        payment.memo = "memo";
        payment.fee = fee;
        payment.nonce = 7;
        payment.deadline = block.timestamp + 1000;
    }

    function by(Vm.Wallet memory wallet, PaymentRouter.Payment memory payment) private view returns (bytes memory) {
        return sign(wallet.privateKey, router.paymentDigest(payment));
    }

    function bring(
        PaymentRouter.Payment memory payment,
        bytes memory signature,
        uint256 permitDeadline,
        bytes memory permission
    ) private {
        vm.prank(STRANGER);
        router.payFor(payment, signature, permitDeadline, permission);
    }

    function refusesChanged(PaymentRouter.Payment memory payment, bytes memory signature) private {
        vm.expectPartialRevert(PaymentRouter.SignerIsNotPayer.selector);
        router.payFor(payment, signature, 0, "");
    }

    function checkSpent(uint256 amount) private view {
        same(token.balanceOf(payer.addr), 1000 ether - amount, "the payer's");
        same(token.balanceOf(address(router)), 0, "the router keeps nothing");
        same(token.allowance(payer.addr, address(router)), 0, "and may take nothing more");
    }

    function approve(uint256 amount) private {
        vm.prank(payer.addr);
        token.approve(address(router), amount);
    }

    function permit(uint256 amount, uint256 deadline) private view returns (bytes memory) {
        bytes32 structHash = keccak256(
            abi.encode(
                PERMIT_TYPEHASH, payer.addr, address(router), amount, token.nonces(payer.addr), deadline
            )
        );
        return sign(payer.privateKey, Signatures.digest(token.DOMAIN_SEPARATOR(), structHash));
    }

    function split(uint256 first, uint256 second)
        private
        pure
        returns (address[] memory payees, uint256[] memory amounts)
    {
        (payees, amounts) = (new address[](2), new uint256[](2));
        (payees[0], payees[1]) = (CLEO, DAN);
        (amounts[0], amounts[1]) = (first, second);
    }

    function many(uint256 count) private pure returns (address[] memory payees, uint256[] memory amounts) {
        (payees, amounts) = (new address[](count), new uint256[](count));
        for (uint256 i = 0; i < count; i++) {
            payees[i] = address(uint160(0x1000 + i));
            amounts[i] = 1;
        }
    }

    function part(bytes memory signature, uint256 offset) private pure returns (bytes32 word) {
        assembly {
            word := mload(add(add(signature, 32), offset))
        }
    }
}
