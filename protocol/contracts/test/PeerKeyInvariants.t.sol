// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {PeerRegistry} from "../eth/PeerRegistry.sol";
import {ServiceProviderFactory} from "../eth/ServiceProviderFactory.sol";
import {Fixture} from "./Fixture.sol";
import {Vm} from "./Vm.sol";

/// Three operators register, confirm, move and give up services of all types with four keys among them.
contract PeerKeyHandler {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bytes32[3] private TYPES = [bytes32("content-node"), "discovery-node", "identity-node"];
    string[3] private ENDPOINTS = ["https://one.example", "https://two.example", "https://three.example"];

    ServiceProviderFactory private immutable factory;
    PeerRegistry private immutable registry;
    address[3] public operators;
    Vm.Wallet[4] private keys;

    constructor(ServiceProviderFactory services, PeerRegistry peers, address[3] memory allOperators) {
        factory = services;
        registry = peers;
        operators = allOperators;
        for (uint256 i = 0; i < 4; i++) {
            keys[i] = vm.createWallet(0xc0ffee + i);
        }
    }

    function register(uint8 who, uint8 kind, uint8 where, uint8 key) external {
        vm.prank(operators[who % 3]);
        try factory.register(TYPES[kind % 3], ENDPOINTS[where % 3], 200_000 ether, keys[key % 4].addr) {} catch {}
    }

    function deregister(uint8 who, uint8 kind, uint8 where) external {
        vm.prank(operators[who % 3]);
        try factory.deregister(TYPES[kind % 3], ENDPOINTS[where % 3]) {} catch {}
    }

    function move(uint8 who, uint8 kind, uint8 where, uint8 key) external {
        vm.prank(operators[who % 3]);
        try factory.updateDelegateOwnerWallet(TYPES[kind % 3], ENDPOINTS[where % 3], keys[key % 4].addr) {} catch {}
    }

    /// The key that the service runs under confirms it, if it is one of these.
    function confirm(uint8 kind, uint8 id) external {
        bytes32 serviceType = TYPES[kind % 3];
        uint256 serviceId = 1 + id % (factory.getTotalServiceTypeProviders(serviceType) + 1);
        (, address wallet) = factory.getServiceWallets(serviceType, serviceId);
        for (uint256 i = 0; i < 4; i++) {
            if (keys[i].addr == wallet) {
                vm.prank(wallet);
                try registry.confirm(
                    serviceType, serviceId, abi.encodePacked(keys[i].publicKeyX, keys[i].publicKeyY), "zone"
                ) {} catch {}
            }
        }
    }

    function pass() external {
        vm.roll(block.number + factory.getDecreaseStakeLockupDuration());
    }

    function takeBack(uint8 who) external {
        vm.prank(operators[who % 3]);
        try factory.cancelDecreaseStakeRequest() {} catch {}
    }

    function walletOfKey(uint256 which) external view returns (address) {
        return keys[which].addr;
    }

    function nameOfType(uint256 which) external view returns (bytes32) {
        return TYPES[which];
    }
}

/// A peer's key belongs to one operator.
contract PeerKeyInvariantsTest is Fixture {
    PeerKeyHandler private handler;

    function setUp() public override {
        super.setUp();
        address cleo = address(0xc1e0);
        fund(cleo, 20_000_000 ether);
        handler = new PeerKeyHandler(factory, registry, [ADA, BOB, cleo]);
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function invariantAKeyBelongsToOneOperator() public view {
        for (uint256 which = 0; which < 4; which++) {
            address wallet = handler.walletOfKey(which);
            address operator = registry.operatorOfWallet(wallet);
            uint256 all = 0;
            for (uint256 kind = 0; kind < 3; kind++) {
                uint256 count = confirmedServices(wallet, handler.nameOfType(kind), operator);
                yes(registry.isConfirmed(wallet, handler.nameOfType(kind)) == (count > 0), "isConfirmed");
                all += count;
            }
            yes((operator != address(0)) == (all > 0), "an operator as long as a confirmation lives");
            if (operator == address(0)) continue;
            same(registry.operatorOfWalletAtBlock(wallet, uint96(block.number)), operator, "who answers now");
            same(registry.operatorOfWalletAtTime(wallet, uint96(block.timestamp)), operator, "who answers now");
        }
    }

    function invariantNumbersAreForEver() public view {
        for (uint64 number = 1; number <= registry.operatorCount(); number++) {
            same(registry.operatorNumber(registry.operatorOfNumber(number)), number, "number of the operator");
        }
        for (uint256 i = 0; i < 3; i++) {
            uint64 number = registry.operatorNumber(handler.operators(i));
            if (number != 0) same(registry.operatorOfNumber(number), handler.operators(i), "operator of the number");
        }
    }

    function confirmedServices(address wallet, bytes32 serviceType, address operator)
        private
        view
        returns (uint256 count)
    {
        for (uint256 id = 1; id <= factory.getTotalServiceTypeProviders(serviceType); id++) {
            (address staker, address confirmed,,,) = registry.confirmation(serviceType, id);
            if (confirmed != wallet) continue;
            same(staker, operator, "two operators of one key");
            count += 1;
        }
    }
}
