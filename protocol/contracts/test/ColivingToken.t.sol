// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

import {ERC20PermitUpgradeable} from
    "@openzeppelin/contracts-upgradeable/token/ERC20/extensions/ERC20PermitUpgradeable.sol";
import {Governed} from "../common/Governed.sol";
import {ColivingToken} from "../eth/ColivingToken.sol";
import {Fixture} from "./Fixture.sol";
import {Vm} from "./Vm.sol";

contract ColivingTokenTest is Fixture {
    function testTheTreasuryGetsTheWholeSupply() public {
        ColivingToken fresh = ColivingToken(
            proxied(address(new ColivingToken()), abi.encodeCall(ColivingToken.initialize, (GOVERNANCE, BOB)))
        );
        same(fresh.name(), "Coliving", "name");
        same(fresh.symbol(), "DGC", "symbol");
        same(fresh.decimals(), 18, "decimals");
        same(fresh.totalSupply(), 10 ** 27, "supply");
        same(fresh.balanceOf(BOB), 10 ** 27, "treasury");
    }

    function testATreasuryMustBeGiven() public {
        address implementation = address(new ColivingToken());
        vm.expectRevert(abi.encodeWithSelector(Governed.AddressIsZero.selector, "treasury"));
        proxied(implementation, abi.encodeCall(ColivingToken.initialize, (GOVERNANCE, address(0))));
    }

    function testNobodyMintsBeforeAClaimsManagerIsNamed() public {
        ColivingToken fresh = ColivingToken(
            proxied(address(new ColivingToken()), abi.encodeCall(ColivingToken.initialize, (GOVERNANCE, BOB)))
        );
        same(fresh.claimsManager(), address(0), "claims manager");
        vm.prank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(ColivingToken.CallerIsNotClaimsManager.selector, GOVERNANCE));
        fresh.mint(GOVERNANCE, 1);
    }

    function testOnlyGovernanceNamesTheClaimsManager() public {
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(Governed.CallerIsNotGovernance.selector, STRANGER));
        token.setClaimsManager(STRANGER);

        expectEvent(address(token));
        emit ColivingToken.ClaimsManagerChanged(address(claims), BOB);
        vm.prank(GOVERNANCE);
        token.setClaimsManager(BOB);
        same(token.claimsManager(), BOB, "claims manager");
    }

    function testOnlyTheClaimsManagerMints(address caller, uint96 amount) public {
        vm.assume(caller != BOB);
        vm.prank(GOVERNANCE);
        token.setClaimsManager(BOB);
        vm.prank(BOB);
        token.mint(STRANGER, amount);
        same(token.balanceOf(STRANGER), amount, "minted");
        same(token.totalSupply(), token.INITIAL_SUPPLY() + amount, "supply");

        vm.prank(caller);
        vm.expectRevert(abi.encodeWithSelector(ColivingToken.CallerIsNotClaimsManager.selector, caller));
        token.mint(caller, amount);
    }

    function testAnybodyBurnsItsOwnTokensOnly(uint96 amount) public {
        uint256 burned = uint256(amount) % (20_000_000 ether + 1);
        vm.prank(ADA);
        token.burn(burned);
        same(token.balanceOf(ADA), 20_000_000 ether - burned, "left");
        same(token.totalSupply(), token.INITIAL_SUPPLY() - burned, "supply");
        vm.prank(STRANGER);
        vm.expectRevert(
            abi.encodeWithSignature("ERC20InsufficientAllowance(address,uint256,uint256)", STRANGER, 0, 1)
        );
        token.burnFrom(BOB, 1);
    }

    function testAPermitIsUsedOnce() public {
        Vm.Wallet memory wallet = vm.createWallet(0xf00d);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(wallet.privateKey, permitDigest(wallet.addr, BOB, 5, 0));
        token.permit(wallet.addr, BOB, 5, block.timestamp, v, r, s);
        same(token.allowance(wallet.addr, BOB), 5, "allowance");
        same(token.nonces(wallet.addr), 1, "nonce");

        address signer = ecrecover(permitDigest(wallet.addr, BOB, 5, 1), v, r, s);
        vm.expectRevert(
            abi.encodeWithSelector(ERC20PermitUpgradeable.ERC2612InvalidSigner.selector, signer, wallet.addr)
        );
        token.permit(wallet.addr, BOB, 5, block.timestamp, v, r, s);
    }

    function permitDigest(address owner, address spender, uint256 value, uint256 nonce)
        private
        view
        returns (bytes32)
    {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("Coliving"),
                keccak256("1"),
                block.chainid,
                address(token)
            )
        );
        same(token.DOMAIN_SEPARATOR(), domain, "permit domain");
        bytes32 structHash = keccak256(
            abi.encode(
                bytes32(0x6e71edae12b1b97f4d1f60370fef10105fa2faae0126114a169c64845d6126c9),
                owner,
                spender,
                value,
                nonce,
                block.timestamp
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }
}
