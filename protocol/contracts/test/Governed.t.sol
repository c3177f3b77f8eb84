// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {Initializable} from "@openzeppelin/contracts/proxy/utils/Initializable.sol";
import {ERC1967Proxy} from "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
import {UUPSUpgradeable} from "@openzeppelin/contracts/proxy/utils/UUPSUpgradeable.sol";
import {Governed} from "../common/Governed.sol";
import {ClaimsManager} from "../eth/ClaimsManager.sol";
import {ColivingToken} from "../eth/ColivingToken.sol";
import {DelegateManager} from "../eth/DelegateManager.sol";
import {PeerRegistry} from "../eth/PeerRegistry.sol";
import {Records} from "../eth/Records.sol";
import {ServiceProviderFactory} from "../eth/ServiceProviderFactory.sol";
import {ServiceTypeManager} from "../eth/ServiceTypeManager.sol";
import {Staking} from "../eth/Staking.sol";
import {Evidence} from "../eth/Evidence.sol";
import {Governance} from "../eth/Governance.sol";
import {Registry} from "../eth/Registry.sol";
import {TrustedNotifierManager} from "../eth/TrustedNotifierManager.sol";
import {EntityManager} from "../data/EntityManager.sol";
import {PaymentRouter} from "../data/PaymentRouter.sol";
import {SocialVerifier} from "../data/SocialVerifier.sol";
import {Fixture} from "./Fixture.sol";

/// A next version of any contract here: it answers one more question.
contract NextVersion is Governed {
    function version() external pure returns (uint256) {
        return 2;
    }
}

/// What holds for every contract: locked initializers, governance alone upgrades and configures, namespaced state.
contract GovernedTest is Fixture {
    bytes32 private constant IMPLEMENTATION_SLOT = 0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc;

    Registry private names;
    TrustedNotifierManager private notifiers;
    Evidence private evidence;
    SocialVerifier private socials;
    PaymentRouter private router;

    function setUp() public override {
        super.setUp();
        names = Registry(proxied(address(new Registry()), abi.encodeCall(Registry.initialize, (GOVERNANCE))));
        notifiers = TrustedNotifierManager(
            proxied(
                address(new TrustedNotifierManager()),
                abi.encodeCall(TrustedNotifierManager.initialize, (GOVERNANCE))
            )
        );
        evidence = Evidence(
            proxied(address(new Evidence()), abi.encodeCall(Evidence.initialize, (GOVERNANCE, address(registry))))
        );
        socials = SocialVerifier(
            proxied(
                address(new SocialVerifier()),
                abi.encodeCall(SocialVerifier.initialize, (GOVERNANCE, address(entities), address(registry), 2))
            )
        );
        router = PaymentRouter(
            proxied(address(new PaymentRouter()), abi.encodeCall(PaymentRouter.initialize, (GOVERNANCE)))
        );
    }

    /// For the proxy and for what is behind it, which nobody ever initialized.
    function testNeitherProxyNorImplementationIsInitializedAgain() public {
        refuses(names, abi.encodeCall(Registry.initialize, (STRANGER)));
        refuses(notifiers, abi.encodeCall(TrustedNotifierManager.initialize, (STRANGER)));
        refuses(evidence, abi.encodeCall(Evidence.initialize, (STRANGER, address(registry))));
        refuses(socials, abi.encodeCall(SocialVerifier.initialize, (STRANGER, STRANGER, STRANGER, 1)));
        refuses(router, abi.encodeCall(PaymentRouter.initialize, (STRANGER)));
        bytes memory data = abi.encodeCall(
            Governance.initialize, (address(names), address(staking), 1, 1, 1, 1, STRANGER, type(uint64).max)
        );
        refuses(Governed(proxied(address(new Governance()), data)), data);
    }

    function testAProxyTellsItsImplementation() public view {
        Governed[] memory all = everything();
        for (uint256 i = 0; i < all.length; i++) {
            same(all[i].implementation(), implementationOf(all[i]), "implementation");
            same(Governed(all[i].implementation()).implementation(), address(0), "there is nothing behind it");
        }
    }

    function testAProxyCannotBeInitializedAgain() public {
        bytes memory refusal = abi.encodeWithSelector(Initializable.InvalidInitialization.selector);
        vm.expectRevert(refusal);
        token.initialize(STRANGER, STRANGER);
        vm.expectRevert(refusal);
        types.initialize(STRANGER);
        vm.expectRevert(refusal);
        staking.initialize(STRANGER, address(token));
        vm.expectRevert(refusal);
        factory.initialize(STRANGER, address(staking), address(types), STRANGER, 1, 1);
        vm.expectRevert(refusal);
        delegates.initialize(STRANGER, address(staking), address(factory), STRANGER, 1, 1, 1);
        vm.expectRevert(refusal);
        claims.initialize(
            STRANGER, address(token), address(staking), address(factory), address(delegates), 1, 1, STRANGER, 1
        );
        vm.expectRevert(refusal);
        registry.initialize(STRANGER, address(factory), 1);
        vm.expectRevert(refusal);
        records.initialize(STRANGER, address(registry));
        vm.expectRevert(refusal);
        entities.initialize(STRANGER, STRANGER);
    }

    function testAnImplementationCannotBeInitialized() public {
        Governed[] memory all = everything();
        for (uint256 i = 0; i < all.length; i++) {
            address implementation = implementationOf(all[i]);
            same(Governed(implementation).governance(), address(0), "an implementation has no governance");
        }
        bytes memory refusal = abi.encodeWithSelector(Initializable.InvalidInitialization.selector);
        address locked = implementationOf(token);
        vm.expectRevert(refusal);
        ColivingToken(locked).initialize(STRANGER, STRANGER);
        locked = implementationOf(types);
        vm.expectRevert(refusal);
        ServiceTypeManager(locked).initialize(STRANGER);
        locked = implementationOf(staking);
        vm.expectRevert(refusal);
        Staking(locked).initialize(STRANGER, STRANGER);
        locked = implementationOf(factory);
        vm.expectRevert(refusal);
        ServiceProviderFactory(locked).initialize(STRANGER, STRANGER, STRANGER, STRANGER, 1, 1);
        locked = implementationOf(delegates);
        vm.expectRevert(refusal);
        DelegateManager(locked).initialize(STRANGER, STRANGER, STRANGER, STRANGER, 1, 1, 1);
        locked = implementationOf(claims);
        vm.expectRevert(refusal);
        ClaimsManager(locked).initialize(STRANGER, STRANGER, STRANGER, STRANGER, STRANGER, 1, 1, STRANGER, 1);
        locked = implementationOf(registry);
        vm.expectRevert(refusal);
        PeerRegistry(locked).initialize(STRANGER, STRANGER, 1);
        locked = implementationOf(records);
        vm.expectRevert(refusal);
        Records(locked).initialize(STRANGER, STRANGER);
        locked = implementationOf(entities);
        vm.expectRevert(refusal);
        EntityManager(locked).initialize(STRANGER, STRANGER);
    }

    function testAProxyWithoutInitializationIsRefused() public {
        address implementation = address(new NextVersion());
        vm.expectRevert(abi.encodeWithSelector(ERC1967Proxy.ERC1967ProxyUninitialized.selector));
        new ERC1967Proxy(implementation, "");
    }

    function testGovernanceMustBeGiven() public {
        address implementation = address(new ServiceTypeManager());
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "governance"));
        proxied(implementation, abi.encodeCall(ServiceTypeManager.initialize, (address(0))));
        vm.prank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "governance"));
        types.setGovernance(address(0));
    }

    function testOnlyGovernanceMovesGovernance() public {
        Governed[] memory all = everything();
        for (uint256 i = 0; i < all.length; i++) {
            same(all[i].governance(), GOVERNANCE, "governance is what initialize was given");
            vm.prank(STRANGER);
            vm.expectRevert(abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, STRANGER));
            all[i].setGovernance(STRANGER);

            expectEvent(address(all[i]));
            emit Governed.GovernanceChanged(GOVERNANCE, BOB);
            vm.prank(GOVERNANCE);
            all[i].setGovernance(BOB);
            same(all[i].governance(), BOB, "governance moved");

            vm.prank(GOVERNANCE);
            vm.expectRevert(abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, GOVERNANCE));
            all[i].setGovernance(GOVERNANCE);
        }
    }

    function testOnlyGovernanceUpgradesAndStateStays() public {
        address next = address(new NextVersion());
        Governed[] memory all = everything();
        for (uint256 i = 0; i < all.length; i++) {
            vm.prank(STRANGER);
            vm.expectRevert(abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, STRANGER));
            all[i].upgradeToAndCall(next, "");

            vm.prank(GOVERNANCE);
            all[i].upgradeToAndCall(next, "");
            same(implementationOf(all[i]), next, "the proxy points at the next version");
            same(NextVersion(address(all[i])).version(), 2, "version");
            same(all[i].governance(), GOVERNANCE, "governance survives an upgrade");
        }
    }

    function testAnImplementationCannotBeUpgradedDirectly() public {
        address next = address(new NextVersion());
        Governed implementation = Governed(implementationOf(staking));
        vm.prank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(UUPSUpgradeable.UUPSUnauthorizedCallContext.selector));
        implementation.upgradeToAndCall(next, "");
    }

    function testStateLiesInItsNamespace() public view {
        Governed[] memory all = everything();
        for (uint256 i = 0; i < all.length; i++) {
            same(loadAddress(all[i], namespace("coliving.storage.Governed")), GOVERNANCE, "governed");
        }
        same(loadAddress(staking, namespace("coliving.storage.Staking")), address(token), "staking");
        same(
            loadAddress(factory, namespace("coliving.storage.ServiceProviderFactory")), address(staking), "factory"
        );
        same(loadAddress(delegates, namespace("coliving.storage.DelegateManager")), address(staking), "delegates");
        same(loadAddress(claims, namespace("coliving.storage.ClaimsManager")), address(token), "claims");
        same(loadAddress(registry, namespace("coliving.storage.PeerRegistry")), address(factory), "registry");
        same(loadAddress(records, namespace("coliving.storage.Records")), address(registry), "records");
        same(loadAddress(entities, namespace("coliving.storage.EntityManager")), VERIFIER, "entity manager");
        same(loadAddress(evidence, namespace("coliving.storage.Evidence")), address(registry), "evidence");
        // The threshold of 2 shares the word of the entity manager's address.
        same(loadAddress(socials, namespace("coliving.storage.SocialVerifier")), address(entities), "social verifier");
        bytes32 typeNames = bytes32(uint256(namespace("coliving.storage.ServiceTypeManager")) + 1);
        same(uint256(vm.load(address(types), typeNames)), 3, "service type manager");
    }

    function testTheStateOfGovernanceLiesInItsNamespace() public {
        bytes memory data = abi.encodeCall(
            Governance.initialize, (address(names), address(staking), 1, 1, 1, 1, ADA, type(uint64).max)
        );
        Governed governance = Governed(proxied(address(new Governance()), data));
        same(loadAddress(governance, namespace("coliving.storage.Governance")), address(names), "governance");
        vm.startPrank(GOVERNANCE);
        names.addContract("Name", ADA);
        notifiers.registerNotifier(ADA, "endpoint", "email");
        vm.stopPrank();
        bytes32 count = bytes32(uint256(namespace("coliving.storage.Registry")) + 1);
        same(uint256(vm.load(address(names), count)), 1, "registry");
        same(
            uint256(vm.load(address(notifiers), namespace("coliving.storage.TrustedNotifierManager"))),
            1,
            "notifiers"
        );
    }

    function testTheTokensStateLiesInItsNamespace() public {
        vm.prank(GOVERNANCE);
        token.setClaimsManager(BOB);
        same(loadAddress(token, namespace("coliving.storage.ColivingToken")), BOB, "token");
    }

    function everything() private view returns (Governed[] memory all) {
        Governed[14] memory list = [
            Governed(token), types, staking, factory, delegates, claims, registry, records, entities, names, notifiers, evidence, socials, router
        ];
        all = new Governed[](list.length);
        for (uint256 i = 0; i < list.length; i++) {
            all[i] = list[i];
        }
    }

    function refuses(Governed proxy, bytes memory initialization) private {
        bytes memory refusal = abi.encodeWithSelector(Initializable.InvalidInitialization.selector);
        address[2] memory both = [address(proxy), implementationOf(proxy)];
        for (uint256 i = 0; i < 2; i++) {
            (bool done, bytes memory answer) = both[i].call(initialization);
            yes(!done, "initialized again");
            same(answer, refusal, "refused for another reason");
        }
    }

    function implementationOf(Governed proxy) private view returns (address) {
        return loadAddress(proxy, IMPLEMENTATION_SLOT);
    }

    function loadAddress(Governed proxy, bytes32 slot) private view returns (address) {
        return address(uint160(uint256(vm.load(address(proxy), slot))));
    }

    /// ERC-7201.
    function namespace(string memory id) private pure returns (bytes32) {
        return keccak256(abi.encode(uint256(keccak256(bytes(id))) - 1)) & ~bytes32(uint256(0xff));
    }
}
