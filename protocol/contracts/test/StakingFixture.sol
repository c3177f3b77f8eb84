// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {Fixture} from "./Fixture.sol";

/// @title A service type with small bounds, and the steps of operators and delegators in one line each.
abstract contract StakingFixture is Fixture {
    bytes32 internal constant SMALL = "small-node";
    bytes32 internal constant TIGHT = "tight-node";
    uint256 internal constant TIGHT_MIN = 100 ether;
    uint256 internal constant TIGHT_MAX = 200 ether;
    uint256 internal constant D = 120 ether;
    address internal constant WALLET = address(0xa11e7);

    function setUp() public virtual override {
        super.setUp();
        vm.startPrank(GOVERNANCE);
        types.addServiceType(SMALL, 5 ether, 100_000_000 ether);
        types.addServiceType(TIGHT, TIGHT_MIN, TIGHT_MAX);
        delegates.updateMinDelegationAmount(1 ether);
        vm.stopPrank();
        fund(CORA, 20_000_000 ether);
        fund(DAN, 20_000_000 ether);
    }

    function operate(address operator, uint256 stake) internal {
        register(operator, SMALL, vm.toString(operator), stake, WALLET);
    }

    function delegate(address delegator, address operator, uint256 amount) internal {
        vm.prank(delegator);
        delegates.delegateStake(operator, amount);
    }

    function undelegate(address delegator, address operator, uint256 amount) internal {
        vm.prank(delegator);
        delegates.requestUndelegateStake(operator, amount);
    }

    function setCut(address operator, uint256 cut) internal {
        vm.prank(operator);
        uint256 unlockBlock = factory.requestUpdateDeployerCut(operator, cut);
        vm.roll(unlockBlock);
        vm.prank(operator);
        factory.updateDeployerCut(operator);
    }

    /// Begins a round and moves to the first block at which it can be claimed.
    function beginRound() internal {
        vm.roll(block.number + claims.getFundingRoundBlockDiff() + 1);
        vm.prank(GOVERNANCE);
        claims.initiateRound();
        vm.roll(block.number + 1);
    }

    function slash(uint256 amount, address operator) internal {
        vm.prank(GOVERNANCE);
        delegates.slash(amount, operator);
    }

    function ownStake(address operator) internal view returns (uint256 stake) {
        (stake,,,,,) = factory.getServiceProviderDetails(operator);
    }

    function validBounds(address operator) internal view returns (bool valid) {
        (,, valid,,,) = factory.getServiceProviderDetails(operator);
    }

    function delegation(address delegator, address operator) internal view returns (uint256) {
        return delegates.getDelegatorStakeForServiceProvider(delegator, operator);
    }

    function limited(uint256 value, uint256 least, uint256 most) internal pure returns (uint256) {
        return least + value % (most - least + 1);
    }

    function expectNotGovernance(address caller) internal {
        vm.expectRevert(abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, caller));
    }
}
