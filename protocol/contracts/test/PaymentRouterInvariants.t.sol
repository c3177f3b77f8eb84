// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {PaymentRouter} from "../data/PaymentRouter.sol";
import {Fixture} from "./Fixture.sol";
import {FalseToken, FeeToken, IdleToken, PlainToken, SilentToken} from "./Tokens.sol";
import {Vm} from "./Vm.sol";

/// Pays with good and bad tokens, among a few accounts of which one is the router itself.
contract PaymentHandler {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    PaymentRouter private immutable router;
    address[] public tokens;
    address[5] public accounts;
    uint256 public paid;
    uint256 public wrongPayments;
    Vm.Wallet[3] private keys;
    mapping(address payer => mapping(uint256 nonce => bool)) private brought;

    constructor(PaymentRouter payments, address[] memory allTokens) {
        router = payments;
        tokens = allTokens;
        accounts = [address(0), address(0), address(0), address(payments), address(0)];
        for (uint256 i = 0; i < 3; i++) {
            keys[i] = vm.createWallet(0xa1 + i);
            accounts[i] = keys[i].addr;
        }
    }

    function approve(uint256 who, uint256 which, uint96 amount) external {
        vm.prank(accounts[who % 3]);
        (bool done,) = token(which).call(abi.encodeCall(PlainToken.approve, (address(router), amount)));
        done;
    }

    function pay(uint256 who, uint256 which, uint256[3] calldata to, uint72[3] calldata parts, uint8 count, bool lies)
        external
    {
        count = count % 4;
        (address[] memory payees, uint256[] memory amounts) = (new address[](count), new uint256[](count));
        uint256 sum = lies ? 1 : 0;
        for (uint256 i = 0; i < count; i++) {
            payees[i] = accounts[to[i] % (i == 0 ? 5 : 3)];
            amounts[i] = parts[i];
            sum += parts[i];
        }
        bytes memory call = abi.encodeCall(PaymentRouter.pay, (token(which), sum, payees, amounts, ""));
        bool done = send(accounts[who % 3], call);
        if (done) paid += 1;
        if (done && !mayPass(payees, amounts, lies)) wrongPayments += 1;
    }

    function payWithPermit(uint256 who, uint256 which, uint72 amount, bytes32 r, bytes32 s, uint8 v) external {
        (address[] memory payees, uint256[] memory amounts) = (new address[](1), new uint256[](1));
        (payees[0], amounts[0]) = (accounts[(who % 3 + 1) % 3], amount);
        bytes memory signature = abi.encodePacked(r, s, v);
        address chosen = token(which);
        address payer = accounts[who % 3];
        vm.prank(payer);
        try router.payWithPermit(chosen, amount, payees, amounts, "", block.timestamp, signature) {} catch {}
    }

    /// One of three brings what one of them signed; a nonce counts once.
    function payFor(uint256 who, uint256 signer, uint256 by, uint256 which, uint72 amount, uint72 fee, uint8 nonce)
        external
    {
        PaymentRouter.Payment memory payment;
        payment.payer = accounts[who % 3];
        payment.token = token(which);
        payment.amount = amount;
        (payment.payees, payment.amounts) = (new address[](1), new uint256[](1));
        (payment.payees[0], payment.amounts[0]) = (accounts[by % 3], amount);
        payment.fee = fee;
        payment.nonce = nonce % 16;
        payment.deadline = block.timestamp;
        // Most sign for themselves.
        uint256 key = signer % 4 == 0 ? signer >> 2 : who;
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keys[key % 3].privateKey, router.paymentDigest(payment));
        vm.prank(accounts[(by >> 8) % 3]);
        try router.payFor(payment, abi.encodePacked(r, s, v), 0, "") {
            paid += 1;
            if (key % 3 != who % 3 || brought[payment.payer][payment.nonce]) wrongPayments += 1;
            brought[payment.payer][payment.nonce] = true;
        } catch {}
    }

    /// Exactly the sum leaves the payer and reaches the payees.
    function send(address payer, bytes memory call) private returns (bool done) {
        vm.prank(payer);
        (done,) = address(router).call(call);
    }

    function mayPass(address[] memory payees, uint256[] memory amounts, bool lies) private view returns (bool) {
        if (lies || payees.length == 0) return false;
        for (uint256 i = 0; i < payees.length; i++) {
            if (payees[i] == address(0) || payees[i] == address(router) || amounts[i] == 0) return false;
        }
        return true;
    }

    function token(uint256 which) private view returns (address) {
        return tokens[which % tokens.length];
    }
}

/// The router never keeps a token, and no payment makes or loses any.
contract PaymentRouterInvariantsTest is Fixture {
    uint256 private constant EACH = 1_000_000 ether;

    PaymentRouter private router;
    PaymentHandler private handler;
    address[] private tokens;

    function setUp() public override {
        super.setUp();
        router = PaymentRouter(
            proxied(address(new PaymentRouter()), abi.encodeCall(PaymentRouter.initialize, (GOVERNANCE)))
        );
        tokens = [
            address(token),
            address(new PlainToken()),
            address(new FeeToken()),
            address(new FalseToken()),
            address(new IdleToken()),
            address(new SilentToken())
        ];
        handler = new PaymentHandler(router, tokens);
        for (uint256 i = 0; i < 3; i++) {
            address account = handler.accounts(i);
            vm.prank(TREASURY);
            token.transfer(account, EACH);
            for (uint256 j = 0; j < tokens.length; j++) {
                if (j > 0) PlainToken(tokens[j]).give(account, EACH);
                vm.prank(account);
                (bool done,) =
                    tokens[j].call(abi.encodeCall(PlainToken.approve, (address(router), type(uint256).max)));
                yes(done || j == 5, "approved");
            }
        }
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariantTheRouterKeepsNothing() public view {
        for (uint256 i = 0; i < tokens.length; i++) {
            same(PlainToken(tokens[i]).balanceOf(address(router)), 0, "the router's balance");
        }
        same(address(router).balance, 0, "and no ether");
    }

    function invariantNothingIsMadeOrLost() public view {
        for (uint256 i = 0; i < tokens.length; i++) {
            uint256 sum = 0;
            for (uint256 j = 0; j < 3; j++) {
                sum += PlainToken(tokens[i]).balanceOf(handler.accounts(j));
            }
            same(sum, 3 * EACH, "sum of all balances");
        }
        same(handler.wrongPayments(), 0, "payments that should have been refused");
    }
}
