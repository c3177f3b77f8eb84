// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {Signatures} from "../common/Signatures.sol";
import {SignedRecords} from "../common/SignedRecords.sol";
import {EntityManager} from "../data/EntityManager.sol";
import {SocialVerifier} from "../data/SocialVerifier.sol";
import {Fixture} from "./Fixture.sol";
import {Vm} from "./Vm.sol";

contract SocialVerifierTest is Fixture {
    uint256 private constant USER = 3_000_001;
    address private constant WALLET = address(0x3a11e7);
    bytes32 private constant SUBJECT = keccak256("783214");
    uint256 private constant START = 1_800_000_000;

    SocialVerifier private verifier;
    Vm.Wallet[4] private peers;
    address[4] private operators;

    /// Three operators with an identity peer each; the fourth peer is another one of the third operator.
    function setUp() public override {
        super.setUp();
        vm.warp(START);
        verifier = SocialVerifier(
            proxied(
                address(new SocialVerifier()),
                abi.encodeCall(SocialVerifier.initialize, (GOVERNANCE, address(entities), address(registry), 2))
            )
        );
        vm.prank(GOVERNANCE);
        entities.setVerifier(address(verifier));
        operators = [ADA, BOB, address(0xc1e0), address(0xc1e0)];
        fund(operators[2], 1_000_000 ether);
        for (uint256 i = 0; i < 4; i++) {
            peers[i] = vm.createWallet(0xc0ffee + i);
            string memory endpoint = string.concat("https://", decimal(i), ".example");
            register(operators[i], IDENTITY, endpoint, CONTENT_MIN, peers[i].addr);
            confirm(peers[i], IDENTITY, i + 1);
        }
    }

    function testItKnowsItsParts() public {
        same(verifier.threshold(), 2, "threshold");
        same(verifier.entityManager(), address(entities), "entity manager");
        same(verifier.peerRegistry(), address(registry), "peer registry");
        address implementation = address(new SocialVerifier());
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "entity manager"));
        proxied(implementation, abi.encodeCall(SocialVerifier.initialize, (GOVERNANCE, address(0), address(1), 1)));
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "peer registry"));
        proxied(implementation, abi.encodeCall(SocialVerifier.initialize, (GOVERNANCE, address(1), address(0), 1)));
    }

    function testPeersOfDistinctOperatorsVerifyAUser() public {
        yes(!verifier.isVerified(USER), "not yet");
        (uint64[] memory times, bytes[] memory signatures) = attested(USER, "x", 0, 1);
        expectEvent(address(verifier));
        emit SocialVerifier.Verified(USER, WALLET, "x", SUBJECT);
        expectEvent(address(entities));
        emit EntityManager.ManageIsVerified(USER, true);
        vm.prank(STRANGER);
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
        yes(verifier.isVerified(USER), "verified");
        same(verifier.userOf("x", SUBJECT), USER, "user of the account");
        same(verifier.userOf("y", SUBJECT), 0, "elsewhere it is nobody's");
    }

    function testEachAttesterHasItsOwnTime() public {
        (uint64[] memory times, bytes[] memory signatures) = (new uint64[](2), new bytes[](2));
        (times[0], times[1]) = (uint64(START - 5), uint64(START + 7));
        signatures[0] = attest(peers[0], USER, "x", times[0]);
        signatures[1] = attest(peers[1], USER, "x", times[1]);
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
    }

    function testTheThresholdMustBeReached() public {
        (uint64[] memory times, bytes[] memory signatures) = attestedBy(USER, "x", 1);
        refuses(abi.encodeWithSelector(SocialVerifier.AttestationCountIsWrong.selector, 1, 1, 2, 32));
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
        setThreshold(3);
        (times, signatures) = attestedBy(USER, "x", 2);
        refuses(abi.encodeWithSelector(SocialVerifier.AttestationCountIsWrong.selector, 2, 2, 3, 32));
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
        (times, signatures) = attestedBy(USER, "x", 3);
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
    }

    function testTimesAndSignaturesComeInPairsAndAreBounded() public {
        (, bytes[] memory signatures) = attestedBy(USER, "x", 2);
        refuses(abi.encodeWithSelector(SocialVerifier.AttestationCountIsWrong.selector, 1, 2, 2, 32));
        verifier.verify(USER, WALLET, "x", SUBJECT, new uint64[](1), signatures);
        refuses(abi.encodeWithSelector(SocialVerifier.AttestationCountIsWrong.selector, 33, 33, 2, 32));
        verifier.verify(USER, WALLET, "x", SUBJECT, new uint64[](33), new bytes[](33));
    }

    function testOneOperatorAttestsOnce() public {
        (uint64[] memory times, bytes[] memory signatures) = attested(USER, "x", 2, 3);
        refuses(abi.encodeWithSelector(SocialVerifier.OperatorAttestsTwice.selector, operators[2]));
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
        (times, signatures) = attested(USER, "x", 0, 0);
        refuses(abi.encodeWithSelector(SocialVerifier.OperatorAttestsTwice.selector, ADA));
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
    }

    function testOnlyConfirmedIdentityPeersAttest() public {
        Vm.Wallet memory content = vm.createWallet(0xdecaf);
        register(ADA, CONTENT, "https://content.example", CONTENT_MIN, content.addr);
        confirm(content, CONTENT, 1);
        (uint64[] memory times, bytes[] memory signatures) = attestedBy(USER, "x", 2);
        signatures[1] = attest(content, USER, "x", times[1]);
        refuses(abi.encodeWithSelector(SocialVerifier.SignerIsNotIdentityPeer.selector, content.addr));
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
    }

    function testALapsedPeerDoesNotAttest() public {
        (uint64[] memory times, bytes[] memory signatures) = attestedBy(USER, "x", 2);
        vm.prank(BOB);
        factory.deregister(IDENTITY, "https://1.example");
        refuses(abi.encodeWithSelector(SocialVerifier.SignerIsNotIdentityPeer.selector, peers[1].addr));
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
    }

    function testWhatWasAttestedCannotBeChanged() public {
        (uint64[] memory times, bytes[] memory signatures) = attestedBy(USER, "x", 2);
        vm.expectPartialRevert(SocialVerifier.SignerIsNotIdentityPeer.selector);
        verifier.verify(USER + 1, WALLET, "x", SUBJECT, times, signatures);
        vm.expectPartialRevert(SocialVerifier.SignerIsNotIdentityPeer.selector);
        verifier.verify(USER, BOB, "x", SUBJECT, times, signatures);
        vm.expectPartialRevert(SocialVerifier.SignerIsNotIdentityPeer.selector);
        verifier.verify(USER, WALLET, "y", SUBJECT, times, signatures);
        vm.expectPartialRevert(SocialVerifier.SignerIsNotIdentityPeer.selector);
        verifier.verify(USER, WALLET, "x", 0, times, signatures);
        times[0] -= 1;
        vm.expectPartialRevert(SocialVerifier.SignerIsNotIdentityPeer.selector);
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
        times[0] += 1;
        vm.chainId(4242);
        vm.expectPartialRevert(SocialVerifier.SignerIsNotIdentityPeer.selector);
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
    }

    function testAnAccountElsewhereServesOneUser() public {
        verify(USER, "x");
        (uint64[] memory times, bytes[] memory signatures) = attestedBy(USER, "x", 2);
        refuses(abi.encodeWithSelector(SocialVerifier.SubjectIsUsed.selector, "x", SUBJECT, USER));
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
        (times, signatures) = attestedBy(USER + 1, "x", 2);
        refuses(abi.encodeWithSelector(SocialVerifier.SubjectIsUsed.selector, "x", SUBJECT, USER));
        verifier.verify(USER + 1, WALLET, "x", SUBJECT, times, signatures);
        verify(USER, "y");
        same(verifier.userOf("y", SUBJECT), USER, "one user may have several");
    }

    function testAUserHasFewAccountsElsewhere() public {
        for (uint256 i = 0; i < verifier.SUBJECTS_PER_USER_MAX(); i++) {
            verify(USER, decimal(i));
        }
        (uint64[] memory times, bytes[] memory signatures) = attestedBy(USER, "one more", 2);
        refuses(abi.encodeWithSelector(SocialVerifier.TooManySubjects.selector, USER, 16));
        verifier.verify(USER, WALLET, "one more", SUBJECT, times, signatures);
    }

    function testAttestationsCountForAMonth() public {
        (uint64[] memory times, bytes[] memory signatures) = attestedBy(USER, "x", 2);
        vm.warp(START + 30 days + 1);
        refuses(
            abi.encodeWithSelector(
                SocialVerifier.AttestationTimeIsWrong.selector, START, START + 1, START + 30 days + 1 hours + 1
            )
        );
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
        vm.warp(START - 1 hours - 1);
        refuses(
            abi.encodeWithSelector(
                SocialVerifier.AttestationTimeIsWrong.selector, START, START - 1 hours - 1 - 30 days, START - 1
            )
        );
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
        vm.warp(START + 30 days);
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
    }

    function testAYoungChainTakesAttestations() public {
        vm.warp(1000);
        (uint64[] memory times, bytes[] memory signatures) = attestedBy(USER, "x", 2);
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
    }

    function testGovernanceTakesTheMarkAwayAndOldAttestationsDoNotBringItBack() public {
        vm.prank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(SocialVerifier.UserIsNotVerified.selector, USER));
        verifier.revoke(USER);
        verify(USER, "x");
        verify(USER, "y");
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, STRANGER));
        verifier.revoke(USER);

        expectEvent(address(verifier));
        emit SocialVerifier.Revoked(USER);
        expectEvent(address(entities));
        emit EntityManager.ManageIsVerified(USER, false);
        vm.prank(GOVERNANCE);
        verifier.revoke(USER);
        yes(!verifier.isVerified(USER), "revoked");
        same(verifier.userOf("x", SUBJECT) + verifier.userOf("y", SUBJECT), 0, "free");

        (uint64[] memory times, bytes[] memory signatures) = (new uint64[](2), new bytes[](2));
        for (uint256 i = 0; i < 2; i++) {
            times[i] = uint64(START + 1 hours);
            signatures[i] = attest(peers[i], USER, "x", times[i]);
        }
        vm.expectPartialRevert(SocialVerifier.AttestationTimeIsWrong.selector);
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
        vm.warp(START + 1 hours + 1);
        vm.expectPartialRevert(SocialVerifier.AttestationTimeIsWrong.selector);
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
        verify(USER, "x");
        yes(verifier.isVerified(USER), "fresh attestations do");
        vm.warp(START);
        verify(USER + 1, "y");
    }

    function testMistakesAreRefused() public {
        (uint64[] memory times, bytes[] memory signatures) = attestedBy(USER, "x", 2);
        refuses(abi.encodeWithSelector(SocialVerifier.UserIsZero.selector));
        verifier.verify(0, WALLET, "x", SUBJECT, times, signatures);
        refuses(abi.encodeWithSelector(Governed.AddressIsZero.selector, "user wallet"));
        verifier.verify(USER, address(0), "x", SUBJECT, times, signatures);
        refuses(abi.encodeWithSelector(SocialVerifier.ProviderLengthIsWrong.selector, 0, 64));
        verifier.verify(USER, WALLET, "", SUBJECT, times, signatures);
        refuses(abi.encodeWithSelector(SocialVerifier.ProviderLengthIsWrong.selector, 65, 64));
        verifier.verify(USER, WALLET, text(65), SUBJECT, times, signatures);
        bytes32 highS;
        (signatures[1], highS) = withHighS(signatures[1]);
        refuses(abi.encodeWithSelector(Signatures.SignatureHasHighS.selector, highS));
        verifier.verify(USER, WALLET, "x", SUBJECT, times, signatures);
    }

    function testTheThresholdHasBounds() public {
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, STRANGER));
        verifier.setThreshold(1);
        vm.startPrank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(SocialVerifier.ThresholdIsWrong.selector, 0, 32));
        verifier.setThreshold(0);
        vm.expectRevert(abi.encodeWithSelector(SocialVerifier.ThresholdIsWrong.selector, 33, 32));
        verifier.setThreshold(33);
        expectEvent(address(verifier));
        emit SocialVerifier.ThresholdChanged(2, 32);
        verifier.setThreshold(32);
        same(verifier.threshold(), 32, "threshold");
    }

    function testAnySubjectServesItsFirstUserOnly(uint256 first, uint256 second, bytes32 subject) public {
        vm.assume(first != 0 && second != 0);
        (uint64[] memory times, bytes[] memory signatures) = (new uint64[](2), new bytes[](2));
        for (uint256 round = 0; round < 2; round++) {
            uint256 user = round == 0 ? first : second;
            for (uint256 i = 0; i < 2; i++) {
                times[i] = uint64(START);
                bytes32 hash = records.hashAttestation(
                    SignedRecords.Attestation(user, WALLET, "x", subject, uint64(START))
                );
                signatures[i] = sign(peers[i].privateKey, records.digest(hash));
            }
            if (round == 1) refuses(abi.encodeWithSelector(SocialVerifier.SubjectIsUsed.selector, "x", subject, first));
            verifier.verify(user, WALLET, "x", subject, times, signatures);
        }
        same(verifier.userOf("x", subject), first, "the first one's");
    }

    function verify(uint256 user, string memory provider) private {
        (uint64[] memory times, bytes[] memory signatures) = attestedBy(user, provider, 2);
        verifier.verify(user, WALLET, provider, SUBJECT, times, signatures);
    }

    function setThreshold(uint256 threshold) private {
        vm.prank(GOVERNANCE);
        verifier.setThreshold(threshold);
    }

    function confirm(Vm.Wallet memory peer, bytes32 serviceType, uint256 id) private {
        bytes memory key = publicKey(peer);
        vm.prank(peer.addr);
        registry.confirm(serviceType, id, key, ZONE);
    }

    function refuses(bytes memory reason) private {
        vm.expectRevert(reason);
    }

    function attestedBy(uint256 user, string memory provider, uint256 count)
        private
        view
        returns (uint64[] memory times, bytes[] memory signatures)
    {
        (times, signatures) = (new uint64[](count), new bytes[](count));
        for (uint256 i = 0; i < count; i++) {
            times[i] = uint64(block.timestamp);
            signatures[i] = attest(peers[i], user, provider, times[i]);
        }
    }

    function attested(uint256 user, string memory provider, uint256 first, uint256 second)
        private
        view
        returns (uint64[] memory times, bytes[] memory signatures)
    {
        (times, signatures) = attestedBy(user, provider, 2);
        signatures[0] = attest(peers[first], user, provider, times[0]);
        signatures[1] = attest(peers[second], user, provider, times[1]);
    }

    function attest(Vm.Wallet memory peer, uint256 user, string memory provider, uint64 time)
        private
        view
        returns (bytes memory)
    {
        SignedRecords.Attestation memory record =
            SignedRecords.Attestation(user, WALLET, provider, SUBJECT, time);
        return sign(peer.privateKey, records.digest(records.hashAttestation(record)));
    }
}
