// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {ClaimsManager} from "../eth/ClaimsManager.sol";
import {ColivingToken} from "../eth/ColivingToken.sol";
import {DelegateManager} from "../eth/DelegateManager.sol";
import {IVotingPeriods} from "../eth/Lockups.sol";
import {PeerRegistry} from "../eth/PeerRegistry.sol";
import {Records} from "../eth/Records.sol";
import {ServiceProviderFactory} from "../eth/ServiceProviderFactory.sol";
import {ServiceTypeManager} from "../eth/ServiceTypeManager.sol";
import {Staking} from "../eth/Staking.sol";
import {EntityManager} from "../data/EntityManager.sol";
import {Vm} from "./Vm.sol";

/// Stands in for the contract that takes votes.
contract VotingPeriods is IVotingPeriods {
    uint256 public getVotingPeriod = 50;
    uint256 public getExecutionDelay = 40;

    function set(uint256 votingPeriod, uint256 executionDelay) external {
        getVotingPeriod = votingPeriod;
        getExecutionDelay = executionDelay;
    }
}

/// @title Every contract, deployed and wired as the README's list says, and the assertions of these tests.
abstract contract Fixture {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    bytes32 internal constant CONTENT = "content-node";
    bytes32 internal constant DISCOVERY = "discovery-node";
    bytes32 internal constant IDENTITY = "identity-node";
    bytes32 internal constant ZONE = "zone-a";
    uint256 internal constant CONTENT_MIN = 200_000 ether;
    uint256 internal constant CONTENT_MAX = 3_000_000 ether;
    uint256 internal constant LOCKUP = 100;
    uint256 internal constant CUT_LOCKUP = 300;
    uint256 internal constant ROUND_BLOCKS = 200;
    uint256 internal constant EVAL_BLOCKS = 60;
    uint256 internal constant FUNDING = 1342465753420000000000000;
    uint256 internal constant CURVE_ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;

    address internal constant GOVERNANCE = address(0x60);
    address internal constant TREASURY = address(0x70);
    address internal constant VERIFIER = address(0x80);
    address internal constant ADA = address(0xada);
    address internal constant BOB = address(0xb0b);
    address internal constant CORA = address(0xc0ca);
    address internal constant DAN = address(0xda17);
    address internal constant STRANGER = address(0x5747);

    ColivingToken internal token;
    ServiceTypeManager internal types;
    Staking internal staking;
    VotingPeriods internal votes;
    ServiceProviderFactory internal factory;
    DelegateManager internal delegates;
    ClaimsManager internal claims;
    PeerRegistry internal registry;
    Records internal records;
    EntityManager internal entities;

    function setUp() public virtual {
        vm.roll(1000);
        token = ColivingToken(
            proxied(address(new ColivingToken()), abi.encodeCall(ColivingToken.initialize, (GOVERNANCE, TREASURY)))
        );
        types = ServiceTypeManager(
            proxied(address(new ServiceTypeManager()), abi.encodeCall(ServiceTypeManager.initialize, (GOVERNANCE)))
        );
        staking = Staking(
            proxied(address(new Staking()), abi.encodeCall(Staking.initialize, (GOVERNANCE, address(token))))
        );
        votes = new VotingPeriods();
        factory = newFactory(address(votes), LOCKUP, CUT_LOCKUP);
        delegates = newDelegateManager(address(votes), LOCKUP, LOCKUP, EVAL_BLOCKS);
        claims = newClaimsManager(ROUND_BLOCKS, FUNDING, address(0), 0);
        registry = PeerRegistry(
            proxied(
                address(new PeerRegistry()), abi.encodeCall(PeerRegistry.initialize, (GOVERNANCE, address(factory), 256))
            )
        );
        records = Records(
            proxied(address(new Records()), abi.encodeCall(Records.initialize, (GOVERNANCE, address(registry))))
        );
        entities = EntityManager(
            proxied(address(new EntityManager()), abi.encodeCall(EntityManager.initialize, (GOVERNANCE, VERIFIER)))
        );
        wire();
        fund(ADA, 20_000_000 ether);
        fund(BOB, 20_000_000 ether);
    }

    function newFactory(address voting, uint256 decreaseLockup, uint256 cutLockup)
        internal
        returns (ServiceProviderFactory)
    {
        return ServiceProviderFactory(
            proxied(
                address(new ServiceProviderFactory()),
                abi.encodeCall(
                    ServiceProviderFactory.initialize,
                    (GOVERNANCE, address(staking), address(types), voting, decreaseLockup, cutLockup)
                )
            )
        );
    }

    function newDelegateManager(address voting, uint256 undelegateLockup, uint256 removeLockup, uint256 evalBlocks)
        internal
        returns (DelegateManager)
    {
        return DelegateManager(
            proxied(
                address(new DelegateManager()),
                abi.encodeCall(
                    DelegateManager.initialize,
                    (GOVERNANCE, address(staking), address(factory), voting, undelegateLockup, removeLockup, evalBlocks)
                )
            )
        );
    }

    function newClaimsManager(uint256 roundBlocks, uint256 funding, address pool, uint256 poolFunding)
        internal
        returns (ClaimsManager)
    {
        return ClaimsManager(
            proxied(
                address(new ClaimsManager()),
                abi.encodeCall(
                    ClaimsManager.initialize,
                    (
                        GOVERNANCE,
                        address(token),
                        address(staking),
                        address(factory),
                        address(delegates),
                        roundBlocks,
                        funding,
                        pool,
                        poolFunding
                    )
                )
            )
        );
    }

    function wire() private {
        vm.startPrank(GOVERNANCE);
        staking.setServiceProviderFactory(address(factory));
        staking.setDelegateManager(address(delegates));
        staking.setClaimsManager(address(claims));
        factory.setPeerRegistry(address(registry));
        factory.setDelegateManager(address(delegates));
        factory.setClaimsManager(address(claims));
        delegates.setClaimsManager(address(claims));
        token.setClaimsManager(address(claims));
        vm.stopPrank();
    }

    /// Tokens for an operator, with the staking contract approved for all of them.
    function fund(address operator, uint256 amount) internal {
        vm.prank(TREASURY);
        token.transfer(operator, amount);
        vm.prank(operator);
        token.approve(address(staking), type(uint256).max);
    }

    function register(address operator, bytes32 serviceType, string memory endpoint, uint256 stake, address wallet)
        internal
        returns (uint256)
    {
        vm.prank(operator);
        return factory.register(serviceType, endpoint, stake, wallet);
    }

    function proxied(address implementation, bytes memory data) internal returns (address) {
        return address(new ERC1967Proxy(implementation, data));
    }

    function publicKey(Vm.Wallet memory wallet) internal pure returns (bytes memory) {
        return abi.encodePacked(wallet.publicKeyX, wallet.publicKeyY);
    }

    function sign(uint256 privateKey, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(privateKey, digest);
        return abi.encodePacked(r, s, v);
    }

    /// The other signature of the same digest by the same key, with s in the upper half.
    function withHighS(bytes memory signature) internal pure returns (bytes memory, bytes32) {
        bytes32 r;
        bytes32 s;
        assembly {
            r := mload(add(signature, 32))
            s := mload(add(signature, 64))
        }
        bytes32 highS = bytes32(CURVE_ORDER - uint256(s));
        uint8 v = uint8(signature[64]) == 27 ? 28 : 27;
        return (abi.encodePacked(r, highS, v), highS);
    }

    function text(uint256 length) internal pure returns (string memory) {
        bytes memory filled = new bytes(length);
        for (uint256 i = 0; i < length; i++) {
            filled[i] = "x";
        }
        return string(filled);
    }

    function expectEvent(address emitter) internal {
        vm.expectEmit(true, true, true, true, emitter);
    }

    function same(uint256 left, uint256 right, string memory what) internal pure {
        require(left == right, string.concat(what, ": ", decimal(left), " is not ", decimal(right)));
    }

    function same(address left, address right, string memory what) internal pure {
        require(left == right, what);
    }

    function same(bytes32 left, bytes32 right, string memory what) internal pure {
        require(left == right, what);
    }

    function same(bytes memory left, bytes memory right, string memory what) internal pure {
        require(keccak256(left) == keccak256(right), what);
    }

    function same(string memory left, string memory right, string memory what) internal pure {
        require(keccak256(bytes(left)) == keccak256(bytes(right)), what);
    }

    function yes(bool condition, string memory what) internal pure {
        require(condition, what);
    }

    function decimal(uint256 value) internal pure returns (string memory) {
        if (value < 10) return string(abi.encodePacked(uint8(48 + value)));
        return string.concat(decimal(value / 10), decimal(value % 10));
    }
}
