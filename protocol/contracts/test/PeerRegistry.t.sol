// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {Signatures} from "../common/Signatures.sol";
import {SignedRecords} from "../common/SignedRecords.sol";
import {PeerRegistry} from "../eth/PeerRegistry.sol";
import {Fixture} from "./Fixture.sol";
import {Vm} from "./Vm.sol";

contract PeerRegistryTest is Fixture {
    string private constant ONE = "https://one.example";
    string private constant TWO = "https://two.example";

    Vm.Wallet private peer;
    Vm.Wallet private other;

    function setUp() public override {
        super.setUp();
        peer = vm.createWallet(0xc0ffee);
        other = vm.createWallet(0xdecaf);
        register(ADA, CONTENT, ONE, 2 * CONTENT_MIN, peer.addr);
    }

    function testTheWalletConfirmsItself() public {
        expectEvent(address(registry));
        emit PeerRegistry.OperatorNumbered(ADA, 1);
        expectEvent(address(registry));
        emit PeerRegistry.Confirmed(CONTENT, 1, ADA, peer.addr, publicKey(peer), ZONE);
        confirm(peer, CONTENT, 1, ZONE);
        checkConfirmed(CONTENT, 1, ADA, peer, ZONE, block.number);
        same(registry.operatorNumber(ADA), 1, "number");
        same(registry.operatorOfNumber(1), ADA, "operator of the number");
        same(registry.operatorOfWallet(peer.addr), ADA, "operator of the wallet");
        same(registry.operatorOfWalletAtBlock(peer.addr, 0), ADA, "who answers for it");
        same(registry.nonces(peer.addr), 1, "nonce");
        yes(registry.isConfirmed(peer.addr, CONTENT), "confirmed");
        yes(!registry.isConfirmed(peer.addr, IDENTITY), "for this type only");
        yes(!registry.isConfirmed(other.addr, CONTENT), "nobody else");
    }

    function testAnybodyBringsASignedConfirmation(uint256 privateKey, bytes32 zone) public {
        privateKey = 1 + privateKey % (CURVE_ORDER - 1);
        Vm.Wallet memory wallet = vm.createWallet(privateKey);
        vm.assume(wallet.addr != peer.addr);
        register(BOB, CONTENT, TWO, CONTENT_MIN, wallet.addr);
        bytes memory signature = signed(wallet, CONTENT, 2, BOB, zone, 0);
        vm.prank(STRANGER);
        registry.confirmWithSignature(CONTENT, 2, publicKey(wallet), zone, 0, signature);
        checkConfirmed(CONTENT, 2, BOB, wallet, zone, block.number);
    }

    function testASignedConfirmationIsUsedOnce() public {
        bytes memory signature = signed(peer, CONTENT, 1, ADA, ZONE, 0);
        registry.confirmWithSignature(CONTENT, 1, publicKey(peer), ZONE, 0, signature);
        vm.expectRevert(abi.encodeWithSelector(PeerRegistry.NonceIsWrong.selector, peer.addr, 0, 1));
        registry.confirmWithSignature(CONTENT, 1, publicKey(peer), ZONE, 0, signature);
        bytes memory next = signed(peer, CONTENT, 1, ADA, "zone-b", 1);
        registry.confirmWithSignature(CONTENT, 1, publicKey(peer), "zone-b", 1, next);
        checkConfirmed(CONTENT, 1, ADA, peer, "zone-b", block.number);
    }

    function testNoncesComeInOrder() public {
        bytes memory signature = signed(peer, CONTENT, 1, ADA, ZONE, 1);
        vm.expectRevert(abi.encodeWithSelector(PeerRegistry.NonceIsWrong.selector, peer.addr, 1, 0));
        registry.confirmWithSignature(CONTENT, 1, publicKey(peer), ZONE, 1, signature);
    }

    function testADirectConfirmationKillsAnOlderSignature() public {
        bytes memory signature = signed(peer, CONTENT, 1, ADA, ZONE, 0);
        confirm(peer, CONTENT, 1, "zone-b");
        vm.expectRevert(abi.encodeWithSelector(PeerRegistry.NonceIsWrong.selector, peer.addr, 0, 1));
        registry.confirmWithSignature(CONTENT, 1, publicKey(peer), ZONE, 0, signature);
    }

    function testWhatWasSignedCannotBeChanged() public {
        bytes memory signature = signed(peer, CONTENT, 1, ADA, ZONE, 0);
        address signer = recovered(digestOf(CONTENT, 1, ADA, publicKey(peer), "zone-b", 0), signature);
        vm.expectRevert(
            abi.encodeWithSelector(PeerRegistry.SignerIsNotDelegateOwnerWallet.selector, signer, peer.addr)
        );
        registry.confirmWithSignature(CONTENT, 1, publicKey(peer), "zone-b", 0, signature);
    }

    function testASignatureHoldsOnItsOwnChainOnly() public {
        bytes memory signature = signed(peer, CONTENT, 1, ADA, ZONE, 0);
        vm.chainId(4242);
        address signer = recovered(digestOf(CONTENT, 1, ADA, publicKey(peer), ZONE, 0), signature);
        vm.expectRevert(
            abi.encodeWithSelector(PeerRegistry.SignerIsNotDelegateOwnerWallet.selector, signer, peer.addr)
        );
        registry.confirmWithSignature(CONTENT, 1, publicKey(peer), ZONE, 0, signature);
    }

    function testSomebodyElsesConfirmationIsRefused() public {
        vm.prank(ADA);
        vm.expectRevert(abi.encodeWithSelector(PeerRegistry.SignerIsNotDelegateOwnerWallet.selector, ADA, peer.addr));
        registry.confirm(CONTENT, 1, publicKey(peer), ZONE);

        bytes memory signature = signed(other, CONTENT, 1, ADA, ZONE, 0);
        address signer = recovered(digestOf(CONTENT, 1, ADA, publicKey(peer), ZONE, 0), signature);
        vm.expectRevert(
            abi.encodeWithSelector(PeerRegistry.SignerIsNotDelegateOwnerWallet.selector, signer, peer.addr)
        );
        registry.confirmWithSignature(CONTENT, 1, publicKey(peer), ZONE, 0, signature);
    }

    function testABadSignatureIsRefused() public {
        bytes memory signature = signed(peer, CONTENT, 1, ADA, ZONE, 0);
        (bytes memory twin, bytes32 highS) = withHighS(signature);
        vm.expectRevert(abi.encodeWithSelector(Signatures.SignatureHasHighS.selector, highS));
        registry.confirmWithSignature(CONTENT, 1, publicKey(peer), ZONE, 0, twin);
        vm.expectRevert(abi.encodeWithSelector(Signatures.SignatureLengthIsWrong.selector, 0));
        registry.confirmWithSignature(CONTENT, 1, publicKey(peer), ZONE, 0, "");
        signature[64] = 0x00;
        vm.expectRevert(abi.encodeWithSelector(Signatures.SignatureIsInvalid.selector));
        registry.confirmWithSignature(CONTENT, 1, publicKey(peer), ZONE, 0, signature);
    }

    function testAnUnknownServiceIsRefused() public {
        bytes memory key = publicKey(peer);
        bytes memory refusal = abi.encodeWithSelector(PeerRegistry.ServiceIsUnknown.selector, CONTENT, 2);
        vm.prank(peer.addr);
        vm.expectRevert(refusal);
        registry.confirm(CONTENT, 2, key, ZONE);
        vm.expectRevert(refusal);
        registry.confirmWithSignature(CONTENT, 2, key, ZONE, 0, "");
    }

    function testTheKeyMustBeTheWallets() public {
        bytes memory key = publicKey(other);
        vm.startPrank(peer.addr);
        vm.expectRevert(
            abi.encodeWithSelector(PeerRegistry.PublicKeyIsNotTheWallets.selector, other.addr, peer.addr)
        );
        registry.confirm(CONTENT, 1, key, ZONE);
        key = abi.encodePacked(hex"04", publicKey(peer));
        vm.expectRevert(abi.encodeWithSelector(PeerRegistry.PublicKeyLengthIsWrong.selector, 65));
        registry.confirm(CONTENT, 1, key, ZONE);
        vm.expectRevert(abi.encodeWithSelector(PeerRegistry.PublicKeyLengthIsWrong.selector, 0));
        registry.confirm(CONTENT, 1, "", ZONE);
    }

    function testAWalletStandsForOneOperator() public {
        confirm(peer, CONTENT, 1, ZONE);
        register(ADA, DISCOVERY, ONE, 0, peer.addr);
        confirm(peer, DISCOVERY, 1, ZONE);
        register(BOB, CONTENT, TWO, CONTENT_MIN, peer.addr);

        bytes memory key = publicKey(peer);
        bytes memory refusal = abi.encodeWithSelector(PeerRegistry.WalletIsAnotherOperators.selector, peer.addr, ADA);
        vm.prank(peer.addr);
        vm.expectRevert(refusal);
        registry.confirm(CONTENT, 2, key, ZONE);

        vm.prank(ADA);
        factory.deregister(CONTENT, ONE);
        vm.prank(peer.addr);
        vm.expectRevert(refusal);
        registry.confirm(CONTENT, 2, key, ZONE);

        vm.prank(ADA);
        factory.deregister(DISCOVERY, ONE);
        same(registry.operatorOfWallet(peer.addr), address(0), "the wallet is free");
        confirm(peer, CONTENT, 2, ZONE);
        same(registry.operatorOfWallet(peer.addr), BOB, "operator of the wallet");
    }

    function testOperatorsAreNumberedInOrderAndKeepTheirNumber() public {
        register(BOB, CONTENT, TWO, CONTENT_MIN, other.addr);
        confirm(other, CONTENT, 2, ZONE);
        confirm(peer, CONTENT, 1, ZONE);
        same(registry.operatorNumber(BOB), 1, "bob");
        same(registry.operatorNumber(ADA), 2, "ada");
        same(registry.operatorCount(), 2, "count");

        vm.prank(BOB);
        factory.deregister(CONTENT, TWO);
        same(registry.operatorNumber(BOB), 1, "bob, gone");
        vm.prank(BOB);
        factory.cancelDecreaseStakeRequest();
        register(BOB, CONTENT, TWO, 0, other.addr);
        confirm(other, CONTENT, 3, ZONE);
        same(registry.operatorNumber(BOB), 1, "bob, back");
        same(registry.operatorCount(), 2, "count");
        same(registry.operatorNumber(STRANGER), 0, "nobody");
        same(registry.operatorOfNumber(3), address(0), "nobody");
    }

    function testConfirmingAgainChangesTheZoneAndCountsTheWalletOnce() public {
        confirm(peer, CONTENT, 1, ZONE);
        vm.roll(block.number + 5);
        confirm(peer, CONTENT, 1, "zone-b");
        checkConfirmed(CONTENT, 1, ADA, peer, "zone-b", block.number);
        vm.prank(ADA);
        factory.deregister(CONTENT, ONE);
        same(registry.operatorOfWallet(peer.addr), address(0), "the wallet is free");
    }

    function testAConfirmationLapsesWithItsService() public {
        confirm(peer, CONTENT, 1, ZONE);
        expectEvent(address(registry));
        emit PeerRegistry.Lapsed(CONTENT, 1, ADA, peer.addr);
        vm.prank(ADA);
        factory.deregister(CONTENT, ONE);
        checkLapsed(CONTENT, 1);
    }

    function testAConfirmationLapsesWithItsWallet() public {
        confirm(peer, CONTENT, 1, ZONE);
        expectEvent(address(registry));
        emit PeerRegistry.Lapsed(CONTENT, 1, ADA, peer.addr);
        vm.prank(ADA);
        factory.updateDelegateOwnerWallet(CONTENT, ONE, other.addr);
        checkLapsed(CONTENT, 1);

        bytes memory key = publicKey(peer);
        vm.prank(peer.addr);
        vm.expectRevert(
            abi.encodeWithSelector(PeerRegistry.SignerIsNotDelegateOwnerWallet.selector, peer.addr, other.addr)
        );
        registry.confirm(CONTENT, 1, key, ZONE);
        confirm(other, CONTENT, 1, ZONE);
        checkConfirmed(CONTENT, 1, ADA, other, ZONE, block.number);
    }

    function testAMovedEndpointKeepsTheConfirmation() public {
        confirm(peer, CONTENT, 1, ZONE);
        vm.prank(ADA);
        factory.updateEndpoint(CONTENT, ONE, TWO);
        checkConfirmed(CONTENT, 1, ADA, peer, ZONE, block.number);
    }

    function testAnUnconfirmedServiceEndsWithoutALapse() public {
        vm.recordLogs();
        vm.prank(ADA);
        factory.deregister(CONTENT, ONE);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        for (uint256 i = 0; i < logs.length; i++) {
            yes(logs[i].emitter != address(registry), "the registry has nothing to say");
        }
    }

    function testOnlyTheFactoryReportsLapses(address caller) public {
        vm.assume(caller != address(factory));
        confirm(peer, CONTENT, 1, ZONE);
        vm.prank(caller);
        vm.expectRevert(abi.encodeWithSelector(PeerRegistry.CallerIsNotServiceProviderFactory.selector, caller));
        registry.lapse(CONTENT, 1);
    }

    function testTheDomainIsItsOwn() public {
        vm.chainId(777);
        bytes32 expected = keccak256(
            abi.encode(
                bytes32(0x8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f),
                keccak256("Coliving"),
                keccak256("1"),
                777,
                address(registry)
            )
        );
        same(registry.domainSeparator(), expected, "domain separator");
    }

    function testSettingsAreFixedAtDeployment() public {
        same(registry.snapshotBlocks(), 256, "snapshot blocks");
        same(registry.serviceProviderFactory(), address(factory), "factory");
        address implementation = address(new PeerRegistry());
        vm.expectRevert(abi.encodeWithSelector(PeerRegistry.SnapshotBlocksIsZero.selector));
        proxied(implementation, abi.encodeCall(PeerRegistry.initialize, (GOVERNANCE, address(factory), 0)));
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "service provider factory"));
        proxied(implementation, abi.encodeCall(PeerRegistry.initialize, (GOVERNANCE, address(0), 1)));
    }

    function confirm(Vm.Wallet memory wallet, bytes32 serviceType, uint256 serviceId, bytes32 zone) private {
        vm.prank(wallet.addr);
        registry.confirm(serviceType, serviceId, publicKey(wallet), zone);
    }

    function signed(
        Vm.Wallet memory wallet,
        bytes32 serviceType,
        uint256 serviceId,
        address operator,
        bytes32 zone,
        uint256 nonce
    ) private view returns (bytes memory) {
        bytes32 digest = digestOf(serviceType, serviceId, operator, publicKey(wallet), zone, nonce);
        return sign(wallet.privateKey, digest);
    }

    function digestOf(
        bytes32 serviceType,
        uint256 serviceId,
        address operator,
        bytes memory key,
        bytes32 zone,
        uint256 nonce
    ) private view returns (bytes32) {
        return records.digest(
            records.hashConfirm(SignedRecords.Confirm(serviceType, serviceId, operator, key, zone, nonce))
        );
    }

    function recovered(bytes32 digest, bytes memory signature) private pure returns (address) {
        bytes32 r;
        bytes32 s;
        assembly {
            r := mload(add(signature, 32))
            s := mload(add(signature, 64))
        }
        return ecrecover(digest, uint8(signature[64]), r, s);
    }

    function checkConfirmed(
        bytes32 serviceType,
        uint256 serviceId,
        address operator,
        Vm.Wallet memory wallet,
        bytes32 zone,
        uint256 number
    ) private view {
        (address who, address addr, bytes memory key, bytes32 where, uint64 since) =
            registry.confirmation(serviceType, serviceId);
        same(who, operator, "operator");
        same(addr, wallet.addr, "wallet");
        same(key, publicKey(wallet), "key");
        same(where, zone, "zone");
        same(since, number, "block");
    }

    function checkLapsed(bytes32 serviceType, uint256 serviceId) private view {
        (address who, address addr, bytes memory key, bytes32 where, uint64 since) =
            registry.confirmation(serviceType, serviceId);
        yes(who == address(0) && addr == address(0) && key.length == 0 && where == 0 && since == 0, "nothing is left");
    }
}
