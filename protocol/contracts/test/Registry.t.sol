// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {Registry} from "../eth/Registry.sol";
import {Fixture} from "./Fixture.sol";

contract RegistryTest is Fixture {
    Registry private names;

    function setUp() public override {
        super.setUp();
        names = Registry(proxied(address(new Registry()), abi.encodeCall(Registry.initialize, (GOVERNANCE))));
    }

    function testANameStandsForAProxy() public {
        same(names.getContract("Staking"), address(0), "nobody has it");
        expectEvent(address(names));
        emit Registry.ContractAdded("Staking", address(staking));
        add("Staking", address(staking));
        same(names.getContract("Staking"), address(staking), "added");
        add("Token", address(token));
        bytes32[] memory all = names.getContractNames();
        same(all.length, 2, "names");
        same(all[0], "Staking", "first");
        same(all[1], "Token", "second");
    }

    function testANameMovesAndGoes() public {
        add("Staking", address(staking));
        expectEvent(address(names));
        emit Registry.ContractUpgraded("Staking", address(staking), address(token));
        vm.prank(GOVERNANCE);
        names.upgradeContract("Staking", address(token));
        same(names.getContract("Staking"), address(token), "moved");
        expectEvent(address(names));
        emit Registry.ContractRemoved("Staking", address(token));
        vm.prank(GOVERNANCE);
        names.removeContract("Staking");
        same(names.getContract("Staking"), address(0), "gone");
        same(names.getContractNames().length, 0, "no names");
        add("Staking", address(staking));
        same(names.getContract("Staking"), address(staking), "it can come back");
    }

    function testOnlyGovernanceNames() public {
        add("Staking", address(staking));
        bytes memory refusal = abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, STRANGER);
        vm.startPrank(STRANGER);
        vm.expectRevert(refusal);
        names.addContract("Token", address(token));
        vm.expectRevert(refusal);
        names.upgradeContract("Staking", address(token));
        vm.expectRevert(refusal);
        names.removeContract("Staking");
    }

    function testMistakesAreRefused() public {
        add("Staking", address(staking));
        vm.startPrank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(Registry.ContractNameIsEmpty.selector));
        names.addContract("", address(token));
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "proxy"));
        names.addContract("Token", address(0));
        vm.expectRevert(abi.encodeWithSelector(Registry.ContractNameIsTaken.selector, bytes32("Staking"), staking));
        names.addContract("Staking", address(token));
        vm.expectRevert(abi.encodeWithSelector(Registry.ContractIsUnknown.selector, bytes32("Token")));
        names.upgradeContract("Token", address(token));
        vm.expectRevert(abi.encodeWithSelector(Registry.ContractIsUnknown.selector, bytes32("Token")));
        names.removeContract("Token");
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "proxy"));
        names.upgradeContract("Staking", address(0));
        vm.expectRevert(abi.encodeWithSelector(Registry.ContractIsUnchanged.selector, bytes32("Staking"), staking));
        names.upgradeContract("Staking", address(staking));
    }

    function testNamesAreBounded() public {
        for (uint256 i = 1; i <= names.CONTRACTS_MAX(); i++) {
            add(bytes32(i), address(token));
        }
        vm.prank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(Registry.TooManyContracts.selector, 64));
        names.addContract("One more", address(token));
        same(names.getContractNames().length, 64, "names");
    }

    function add(bytes32 name, address proxy) private {
        vm.prank(GOVERNANCE);
        names.addContract(name, proxy);
    }
}
