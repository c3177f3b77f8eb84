// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {Signatures} from "../common/Signatures.sol";
import {EntityManager} from "../data/EntityManager.sol";
import {Fixture} from "./Fixture.sol";
import {Vm} from "./Vm.sol";

contract EntityManagerTest is Fixture {
    bytes32 private constant NONCE = keccak256("a nonce");

    Vm.Wallet private user;

    function setUp() public override {
        super.setUp();
        user = vm.createWallet(0xace);
    }

    function testTheConstantsAreTheOnesThatClientsSignUnder() public view {
        same(
            entities.DOMAIN_TYPEHASH(),
            0x8b73c3c69bb8fe3d512ecc4cf759cc79239f7b179b0ffacaa9a75d522b39400f,
            "domain typehash"
        );
        same(
            entities.MANAGE_ENTITY_TYPEHASH(),
            0x9a6b44fb0f3210845b6e72f755bb82d1f6412455a75ca6fe91fda8b1c35f44ee,
            "struct typehash"
        );
        same(EntityManager.manageEntity.selector, bytes4(0xd622c72d), "selector");
        same(
            EntityManager.ManageEntity.selector,
            0x772d62d21cc8467a14127f11ab2c094d32e5b521433cefba5a7312fc464d88b4,
            "event topic"
        );
        same(EntityManager.Signed.selector, keccak256("Signed(bytes32,bytes32,bytes)"), "second event topic");
    }

    /// An action that was signed for another deployment, on its chain id and address.
    function testAForeignActionRecoversItsSigner() public {
        EntityManager there = EntityManager(0x1Cd8a543596D499B9b6E7a6eC15ECd2B7857Fd64);
        vm.etch(address(there), address(new EntityManager()).code);
        there.initialize(GOVERNANCE, VERIFIER);
        vm.chainId(31524);
        same(
            there.domainSeparator(),
            0x69f78a9df47f3ec95868854df32b783e4f1fbd59af3088ef43454ed1759b4b33,
            "domain separator"
        );
        string memory metadata =
            '{"cid":"bagaaiera2c6skimqkebrc2rmb6i5sx4a7zbglckodqzve7ot6kjxxrschnlq","data":{"name":"Matcha Male","handle":"matchamale","bio":"matcha is lyfe","location":"Aurora, CO","events":{},"is_deactivated":false,"allow_ai_attribution":false,"spl_usdc_payout_wallet":null}}';
        bytes32 nonce = 0x8172f237c0ff351c2478fbb8ac5a21c4aa179304f8550e782284828191adf142;
        bytes memory signature =
            hex"d654719ec699cd00e06afb73bf7e1155c64b736bab9905f098ef11927c04afe82a90e72e8202592d6ad5ba6c2e1eac3120e34f4caea2a36d63f28434efa655551c";
        bytes32 digest = there.actionDigest(713621629, "User", 713621629, "Update", metadata, nonce);
        same(digest, 0xf72e746858f0ed1f30488fcb5c43673069dcb69d10ae56ee8b5c9e042efe9432, "digest");

        address signer = 0x570d5bD4d4DbCc3f896ba095f4002a2545e5E5F6;
        expectEvent(address(there));
        emit EntityManager.ManageEntity(713621629, signer, "User", 713621629, metadata, "Update");
        expectEvent(address(there));
        emit EntityManager.Signed(digest, nonce, signature);
        there.manageEntity(713621629, "User", 713621629, "Update", metadata, nonce, signature);
        yes(there.isUsed(digest, signer), "used");
    }

    function testTwoLogsHoldEverythingWhoeverCalls(
        uint256 userId,
        uint256 entityId,
        string memory entityType,
        string memory action,
        string memory metadata,
        bytes32 nonce,
        address caller
    ) public {
        bytes32 digest = entities.actionDigest(userId, entityType, entityId, action, metadata, nonce);
        bytes memory signature = sign(user.privateKey, digest);
        vm.recordLogs();
        vm.prank(caller);
        entities.manageEntity(userId, entityType, entityId, action, metadata, nonce, signature);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        same(logs.length, 2, "logs");
        same(logs[0].topics[0], EntityManager.ManageEntity.selector, "first");
        same(
            logs[0].data, abi.encode(userId, user.addr, entityType, entityId, metadata, action), "the action's log"
        );
        same(logs[1].topics[0], EntityManager.Signed.selector, "second");
        same(logs[1].data, abi.encode(digest, nonce, signature), "the signature's log");
    }

    function testAnActionIsTakenOnce() public {
        bytes32 digest = entities.actionDigest(1, "Track", 2, "Create", "{}", NONCE);
        bytes memory signature = sign(user.privateKey, digest);
        yes(!entities.isUsed(digest, user.addr), "not used");
        entities.manageEntity(1, "Track", 2, "Create", "{}", NONCE, signature);
        yes(entities.isUsed(digest, user.addr), "used");
        vm.expectRevert(abi.encodeWithSelector(EntityManager.ActionIsUsed.selector, digest, user.addr));
        entities.manageEntity(1, "Track", 2, "Create", "{}", NONCE, signature);
    }

    function testEachSignerHasTheDigestOnce() public {
        bytes32 digest = entities.actionDigest(1, "Track", 2, "Create", "{}", NONCE);
        Vm.Wallet memory other = vm.createWallet(0xbee);
        entities.manageEntity(1, "Track", 2, "Create", "{}", NONCE, sign(user.privateKey, digest));
        entities.manageEntity(1, "Track", 2, "Create", "{}", NONCE, sign(other.privateKey, digest));
        yes(entities.isUsed(digest, user.addr) && entities.isUsed(digest, other.addr), "used by both");
    }

    function testTheBurnKeyIsTheHashOfDigestAndSigner() public {
        bytes32 digest = entities.actionDigest(1, "Track", 2, "Create", "{}", NONCE);
        entities.manageEntity(1, "Track", 2, "Create", "{}", NONCE, sign(user.privateKey, digest));
        bytes32 namespace = keccak256(abi.encode(uint256(keccak256("coliving.storage.EntityManager")) - 1))
            & ~bytes32(uint256(0xff));
        bytes32 key = keccak256(abi.encode(digest, user.addr));
        bytes32 slot = keccak256(abi.encode(key, uint256(namespace) + 1));
        same(uint256(vm.load(address(entities), slot)), 1, "burned");
    }

    function testTheTwinWithAHighSIsRefused(uint256 privateKey, bytes32 nonce) public {
        privateKey = 1 + privateKey % (CURVE_ORDER - 1);
        bytes32 digest = entities.actionDigest(1, "Track", 2, "Create", "{}", nonce);
        (bytes memory twin, bytes32 highS) = withHighS(sign(privateKey, digest));
        vm.expectRevert(abi.encodeWithSelector(Signatures.SignatureHasHighS.selector, highS));
        entities.manageEntity(1, "Track", 2, "Create", "{}", nonce, twin);
    }

    function testASignatureHasItsLength(uint8 length) public {
        vm.assume(length != 65);
        bytes memory signature = new bytes(length);
        vm.expectRevert(abi.encodeWithSelector(Signatures.SignatureLengthIsWrong.selector, uint256(length)));
        entities.manageEntity(1, "Track", 2, "Create", "{}", NONCE, signature);
    }

    function testOnlyTwoRecoveryBytesAreTaken(uint8 v) public {
        vm.assume(v != 27 && v != 28);
        bytes32 digest = entities.actionDigest(1, "Track", 2, "Create", "{}", NONCE);
        bytes memory signature = sign(user.privateKey, digest);
        signature[64] = bytes1(v);
        vm.expectRevert(abi.encodeWithSelector(Signatures.SignatureIsInvalid.selector));
        entities.manageEntity(1, "Track", 2, "Create", "{}", NONCE, signature);
    }

    function testASignatureOfZeroesIsRefused() public {
        bytes memory signature = new bytes(65);
        signature[64] = bytes1(uint8(27));
        vm.expectRevert(abi.encodeWithSelector(Signatures.SignatureIsInvalid.selector));
        entities.manageEntity(1, "Track", 2, "Create", "{}", NONCE, signature);
    }

    function testArgumentsFillSixteenKibibytesAndNoMore() public {
        // Seven head words, four lengths, one word each for "Track" and "Create", three for the signature.
        uint256 metadataMax = 16 * 1024 - (7 + 4 + 1 + 1 + 3) * 32;
        string memory metadata = text(metadataMax);
        bytes memory signature =
            sign(user.privateKey, entities.actionDigest(1, "Track", 2, "Create", metadata, NONCE));
        bytes memory call =
            abi.encodeCall(EntityManager.manageEntity, (1, "Track", 2, "Create", metadata, NONCE, signature));
        same(call.length - 4, entities.ARGUMENT_BYTES_MAX(), "the largest call");
        entities.manageEntity(1, "Track", 2, "Create", metadata, NONCE, signature);

        metadata = text(metadataMax + 1);
        expectTooLarge(16 * 1024 + 32);
        entities.manageEntity(1, "Track", 2, "Create", metadata, NONCE, signature);
        expectTooLarge(16 * 1024 + 32);
        entities.manageEntity(1, metadata, 2, "Create", "Track", NONCE, signature);
        bytes memory longSignature = bytes(text(16 * 1024 - (7 + 4 + 1 + 1) * 32 + 1));
        expectTooLarge(16 * 1024 + 32);
        entities.manageEntity(1, "Track", 2, "Create", "", NONCE, longSignature);
    }

    function testTrailingBytesCountAsArguments() public {
        bytes memory call =
            abi.encodeCall(EntityManager.manageEntity, (1, "Track", 2, "Create", "{}", NONCE, bytes(text(65))));
        call = bytes.concat(call, bytes(text(16 * 1024)));
        (bool done, bytes memory answer) = address(entities).call(call);
        yes(!done, "refused");
        same(
            answer,
            abi.encodeWithSelector(EntityManager.ArgumentsAreTooLarge.selector, call.length - 4, 16 * 1024),
            "reason"
        );
    }

    /// Three strings that share their bytes in the calldata are three strings in the log.
    function testOverlappingArgumentsCountAsOftenAsTheyAreLogged() public {
        uint256 length = 8 * 1024;
        bytes memory call = bytes.concat(
            EntityManager.manageEntity.selector,
            abi.encode(1, 7 * 32, 2, 7 * 32, 7 * 32, NONCE, 7 * 32),
            abi.encode(length),
            bytes(text(length))
        );
        (bool done, bytes memory answer) = address(entities).call(call);
        yes(!done, "refused");
        uint256 size = 7 * 32 + 4 * (32 + length);
        same(
            answer, abi.encodeWithSelector(EntityManager.ArgumentsAreTooLarge.selector, size, 16 * 1024), "reason"
        );
    }

    function testOnlyTheVerifierVerifies(address caller, uint256 userId, bool isVerified) public {
        vm.assume(caller != VERIFIER);
        expectEvent(address(entities));
        emit EntityManager.ManageIsVerified(userId, isVerified);
        vm.prank(VERIFIER);
        entities.manageIsVerified(userId, isVerified);

        vm.prank(caller);
        vm.expectRevert(abi.encodeWithSelector(EntityManager.CallerIsNotVerifier.selector, caller));
        entities.manageIsVerified(userId, isVerified);
    }

    function testGovernanceNamesTheVerifier() public {
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, STRANGER));
        entities.setVerifier(STRANGER);
        vm.prank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "verifier"));
        entities.setVerifier(address(0));
        expectEvent(address(entities));
        emit EntityManager.VerifierChanged(VERIFIER, BOB);
        vm.prank(GOVERNANCE);
        entities.setVerifier(BOB);
        same(entities.verifier(), BOB, "verifier");

        address implementation = address(new EntityManager());
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "verifier"));
        proxied(implementation, abi.encodeCall(EntityManager.initialize, (GOVERNANCE, address(0))));
    }

    function expectTooLarge(uint256 size) private {
        vm.expectRevert(abi.encodeWithSelector(EntityManager.ArgumentsAreTooLarge.selector, size, 16 * 1024));
    }
}
