// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {ServiceTypeManager} from "../eth/ServiceTypeManager.sol";
import {Fixture} from "./Fixture.sol";

contract ServiceTypeManagerTest is Fixture {
    bytes32 private constant EXTRA = "extra-node";

    function testTheThreeTypesStandFromTheStart() public view {
        checkType(CONTENT, true, 200_000 ether, 3_000_000 ether);
        checkType(DISCOVERY, true, 200_000 ether, 2_000_000 ether);
        checkType(IDENTITY, true, 200_000 ether, 2_000_000 ether);
        bytes32[] memory valid = types.getValidServiceTypes();
        same(valid.length, 3, "valid types");
        same(valid[0], CONTENT, "first");
        same(valid[2], IDENTITY, "last");
    }

    function testAnUnknownTypeIsNotValid() public view {
        checkType(EXTRA, false, 0, 0);
    }

    function testGovernanceAddsAndRemoves() public {
        same(types.addServiceType.selector, bytes4(0xb04bee46), "selector");
        expectEvent(address(types));
        emit ServiceTypeManager.ServiceTypeAdded(EXTRA, 1, 2);
        vm.prank(GOVERNANCE);
        types.addServiceType(EXTRA, 1, 2);
        checkType(EXTRA, true, 1, 2);
        same(types.getValidServiceTypes().length, 4, "with it");

        expectEvent(address(types));
        emit ServiceTypeManager.ServiceTypeRemoved(EXTRA);
        vm.prank(GOVERNANCE);
        types.removeServiceType(EXTRA);
        checkType(EXTRA, false, 1, 2);
        same(types.getValidServiceTypes().length, 3, "without it");
    }

    function testARemovedTypeNeverComesBack() public {
        vm.startPrank(GOVERNANCE);
        types.removeServiceType(CONTENT);
        vm.expectRevert(abi.encodeWithSelector(ServiceTypeManager.ServiceTypeNameIsUsed.selector, CONTENT));
        types.addServiceType(CONTENT, 1, 2);
        vm.expectRevert(abi.encodeWithSelector(ServiceTypeManager.ServiceTypeIsUnknown.selector, CONTENT));
        types.removeServiceType(CONTENT);
    }

    function testATypeIsAddedOnce() public {
        vm.prank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(ServiceTypeManager.ServiceTypeNameIsUsed.selector, CONTENT));
        types.addServiceType(CONTENT, 1, 2);
    }

    function testANameMustBeGiven() public {
        vm.prank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(ServiceTypeManager.ServiceTypeNameIsEmpty.selector));
        types.addServiceType(0, 1, 2);
    }

    function testBoundsMustMakeSense(uint256 minStake, uint256 maxStake) public {
        bool fine = minStake != 0 && minStake <= maxStake && maxStake <= type(uint128).max;
        if (!fine) {
            vm.expectRevert(
                abi.encodeWithSelector(ServiceTypeManager.StakeBoundsAreWrong.selector, minStake, maxStake)
            );
        }
        vm.prank(GOVERNANCE);
        types.addServiceType(EXTRA, minStake, maxStake);
        same(types.serviceTypeIsValid(EXTRA) ? 1 : 0, fine ? 1 : 0, "valid");
    }

    function testTheEdgesOfTheBounds() public {
        testBoundsMustMakeSense(0, 1);
        testBoundsMustMakeSense(2, 1);
        testBoundsMustMakeSense(1, uint256(type(uint128).max) + 1);
        testBoundsMustMakeSense(7, 7);
    }

    function testTheNumberOfTypesIsBounded() public {
        vm.startPrank(GOVERNANCE);
        uint256 typesMax = types.SERVICE_TYPES_MAX();
        for (uint256 i = 3; i < typesMax; i++) {
            types.addServiceType(bytes32(i), 1, 2);
        }
        vm.expectRevert(abi.encodeWithSelector(ServiceTypeManager.TooManyServiceTypes.selector, typesMax));
        types.addServiceType(EXTRA, 1, 2);
    }

    function testTheVersionThatWasSetLastIsTheCurrentOne() public {
        bytes32 topic = ServiceTypeManager.SetServiceVersion.selector;
        same(topic, 0x4e7a43cd7eeaa502383fb22f02605cd2094b120455a217c6b6d6f6e6d22886aa, "topic");
        same(types.getNumberOfVersions(CONTENT), 0, "none at first");
        vm.expectRevert(abi.encodeWithSelector(ServiceTypeManager.ServiceVersionIsUnknown.selector, CONTENT, 0));
        types.getCurrentVersion(CONTENT);
        vm.startPrank(GOVERNANCE);
        expectEvent(address(types));
        emit ServiceTypeManager.SetServiceVersion(CONTENT, "0.1.0");
        types.setServiceVersion(CONTENT, "0.1.0");
        types.setServiceVersion(CONTENT, "0.2.0");
        same(types.getCurrentVersion(CONTENT), "0.2.0", "current");
        same(types.getVersion(CONTENT, 0), "0.1.0", "the one before");
        same(types.getNumberOfVersions(CONTENT), 2, "count");
        yes(types.serviceVersionIsValid(CONTENT, "0.1.0"), "known");
        yes(!types.serviceVersionIsValid(CONTENT, "0.3.0"), "unknown");
        yes(!types.serviceVersionIsValid(DISCOVERY, "0.1.0"), "of another type");
        vm.expectRevert(abi.encodeWithSelector(ServiceTypeManager.ServiceVersionIsUnknown.selector, CONTENT, 2));
        types.getVersion(CONTENT, 2);
    }

    function testAVersionIsSetOnceForATypeThatIsThere() public {
        vm.startPrank(GOVERNANCE);
        types.setServiceVersion(CONTENT, "0.1.0");
        types.setServiceVersion(DISCOVERY, "0.1.0");
        bytes memory used =
            abi.encodeWithSelector(ServiceTypeManager.ServiceVersionIsUsed.selector, CONTENT, bytes32("0.1.0"));
        vm.expectRevert(used);
        types.setServiceVersion(CONTENT, "0.1.0");
        vm.expectRevert(abi.encodeWithSelector(ServiceTypeManager.ServiceVersionIsEmpty.selector));
        types.setServiceVersion(CONTENT, 0);
        vm.expectRevert(abi.encodeWithSelector(ServiceTypeManager.ServiceTypeIsUnknown.selector, EXTRA));
        types.setServiceVersion(EXTRA, "0.1.0");
        types.removeServiceType(CONTENT);
        vm.expectRevert(abi.encodeWithSelector(ServiceTypeManager.ServiceTypeIsUnknown.selector, CONTENT));
        types.setServiceVersion(CONTENT, "0.2.0");
        same(types.getCurrentVersion(CONTENT), "0.1.0", "kept");
    }

    function testNobodyElseAddsOrRemoves() public {
        vm.startPrank(STRANGER);
        bytes memory refusal = abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, STRANGER);
        vm.expectRevert(refusal);
        types.addServiceType(EXTRA, 1, 2);
        vm.expectRevert(refusal);
        types.removeServiceType(CONTENT);
        vm.expectRevert(refusal);
        types.setServiceVersion(CONTENT, "0.1.0");
    }

    function checkType(bytes32 serviceType, bool isValid, uint256 minStake, uint256 maxStake) private view {
        (bool valid, uint256 lower, uint256 upper) = types.getServiceTypeInfo(serviceType);
        yes(valid == isValid && types.serviceTypeIsValid(serviceType) == isValid, "validity");
        same(lower, minStake, "minimum");
        same(upper, maxStake, "maximum");
    }
}
