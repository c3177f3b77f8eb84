// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Governed} from "../common/Governed.sol";
import {TrustedNotifierManager} from "../eth/TrustedNotifierManager.sol";
import {Fixture} from "./Fixture.sol";

contract TrustedNotifierManagerTest is Fixture {
    string private constant ENDPOINT = "https://notify.example";
    string private constant EMAIL = "notify@example.org";

    TrustedNotifierManager private notifiers;

    function setUp() public override {
        super.setUp();
        notifiers = TrustedNotifierManager(
            proxied(
                address(new TrustedNotifierManager()),
                abi.encodeCall(TrustedNotifierManager.initialize, (GOVERNANCE))
            )
        );
    }

    function testNumbersStartAtOne() public {
        same(notifiers.getLatestNotifierID(), 0, "none");
        expectEvent(address(notifiers));
        emit TrustedNotifierManager.NotifierRegistered(ADA, 1, ENDPOINT, EMAIL);
        same(add(ADA, ENDPOINT, EMAIL), 1, "first");
        same(add(BOB, "https://two.example", "two@example.org"), 2, "second");
        same(notifiers.getLatestNotifierID(), 2, "latest");
        check(1, ADA, ENDPOINT, EMAIL);
        check(2, BOB, "https://two.example", "two@example.org");
    }

    function testOnlyGovernanceTrusts() public {
        vm.prank(ADA);
        vm.expectRevert(abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, ADA));
        notifiers.registerNotifier(ADA, ENDPOINT, EMAIL);
    }

    function testWalletEndpointAndEmailBelongToOneNotifier() public {
        add(ADA, ENDPOINT, EMAIL);
        vm.startPrank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(TrustedNotifierManager.WalletIsTaken.selector, ADA, 1));
        notifiers.registerNotifier(ADA, "https://two.example", "two@example.org");
        vm.expectRevert(abi.encodeWithSelector(TrustedNotifierManager.EndpointIsTaken.selector, ENDPOINT, 1));
        notifiers.registerNotifier(BOB, ENDPOINT, "two@example.org");
        vm.expectRevert(abi.encodeWithSelector(TrustedNotifierManager.EmailIsTaken.selector, EMAIL, 1));
        notifiers.registerNotifier(BOB, "https://two.example", EMAIL);
    }

    function testEverythingMustBeGiven() public {
        vm.startPrank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "notifier wallet"));
        notifiers.registerNotifier(address(0), ENDPOINT, EMAIL);
        refusesLength("endpoint", "", EMAIL, 0);
        refusesLength("endpoint", text(257), EMAIL, 257);
        refusesLength("email", ENDPOINT, "", 0);
        refusesLength("email", ENDPOINT, text(257), 257);
        notifiers.registerNotifier(ADA, text(256), text(256));
    }

    function testGovernanceOrTheWalletEndsTheTrust() public {
        add(ADA, ENDPOINT, EMAIL);
        vm.prank(BOB);
        vm.expectRevert(
            abi.encodeWithSelector(TrustedNotifierManager.CallerIsNeitherGovernanceNorNotifier.selector, BOB, ADA)
        );
        notifiers.deregisterNotifier(ADA);

        expectEvent(address(notifiers));
        emit TrustedNotifierManager.NotifierDeregistered(ADA, 1, ENDPOINT, EMAIL);
        vm.prank(ADA);
        notifiers.deregisterNotifier(ADA);
        checkGone(1, ADA, ENDPOINT, EMAIL);
        vm.prank(ADA);
        vm.expectRevert(abi.encodeWithSelector(TrustedNotifierManager.NotifierIsUnknown.selector, ADA));
        notifiers.deregisterNotifier(ADA);

        same(add(ADA, ENDPOINT, EMAIL), 2, "a number never comes back");
        vm.prank(GOVERNANCE);
        notifiers.deregisterNotifier(ADA);
        checkGone(2, ADA, ENDPOINT, EMAIL);
        same(notifiers.getLatestNotifierID(), 2, "latest");
    }

    function add(address wallet, string memory endpoint, string memory email) private returns (uint256) {
        vm.prank(GOVERNANCE);
        return notifiers.registerNotifier(wallet, endpoint, email);
    }

    function refusesLength(string memory what, string memory endpoint, string memory email, uint256 length) private {
        vm.expectRevert(
            abi.encodeWithSelector(TrustedNotifierManager.TextLengthIsWrong.selector, what, length, 256)
        );
        notifiers.registerNotifier(ADA, endpoint, email);
    }

    function check(uint256 id, address wallet, string memory endpoint, string memory email) private view {
        (address foundWallet, string memory foundEndpoint, string memory foundEmail) = notifiers.getNotifierForID(id);
        same(foundWallet, wallet, "wallet");
        same(foundEndpoint, endpoint, "endpoint");
        same(foundEmail, email, "email");
        uint256 foundId;
        (foundId, foundEndpoint, foundEmail) = notifiers.getNotifierForWallet(wallet);
        same(foundId, id, "id of the wallet");
        same(foundEndpoint, endpoint, "endpoint of the wallet");
        same(foundEmail, email, "email of the wallet");
        (foundId, foundWallet, foundEmail) = notifiers.getNotifierForEndpoint(endpoint);
        same(foundId, id, "id of the endpoint");
        same(foundWallet, wallet, "wallet of the endpoint");
        same(foundEmail, email, "email of the endpoint");
        (foundId, foundWallet, foundEndpoint) = notifiers.getNotifierForEmail(email);
        same(foundId, id, "id of the email");
        same(foundWallet, wallet, "wallet of the email");
        same(foundEndpoint, endpoint, "endpoint of the email");
    }

    function checkGone(uint256 id, address wallet, string memory endpoint, string memory email) private view {
        (address foundWallet,,) = notifiers.getNotifierForID(id);
        same(foundWallet, address(0), "no notifier has the number");
        (uint256 byWallet,,) = notifiers.getNotifierForWallet(wallet);
        (uint256 byEndpoint,,) = notifiers.getNotifierForEndpoint(endpoint);
        (uint256 byEmail,,) = notifiers.getNotifierForEmail(email);
        same(byWallet + byEndpoint + byEmail, 0, "nothing is taken");
    }
}
