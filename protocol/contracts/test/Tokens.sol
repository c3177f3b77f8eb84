// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// A token of the least kind, for tests to make worse.
contract PlainToken {
    mapping(address account => uint256) public balanceOf;
    mapping(address owner => mapping(address spender => uint256)) public allowance;

    function give(address account, uint256 amount) external {
        balanceOf[account] += amount;
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        return true;
    }

    function transferFrom(address from, address to, uint256 amount) external virtual returns (bool) {
        _move(from, to, amount, amount);
        return true;
    }

    function _move(address from, address to, uint256 taken, uint256 given) internal {
        allowance[from][msg.sender] -= taken;
        balanceOf[from] -= taken;
        balanceOf[to] += given;
    }
}

/// Keeps one per cent of each transfer.
contract FeeToken is PlainToken {
    function transferFrom(address from, address to, uint256 amount) external override returns (bool) {
        _move(from, to, amount, amount - amount / 100);
        return true;
    }
}

/// Says no instead of reverting.
contract FalseToken is PlainToken {
    function transferFrom(address, address, uint256) external pure override returns (bool) {
        return false;
    }
}

/// Says yes and does nothing.
contract IdleToken is PlainToken {
    function transferFrom(address, address, uint256) external pure override returns (bool) {
        return true;
    }
}

/// Brings a payment once more while it is made.
contract EagerToken is PlainToken {
    address private router;
    bytes private again;
    bytes public refusal;

    function set(address payments, bytes calldata call) external {
        (router, again) = (payments, call);
    }

    function transferFrom(address from, address to, uint256 amount) external override returns (bool) {
        (bool done, bytes memory answer) = router.call(again);
        require(!done, "paid twice");
        refusal = answer;
        _move(from, to, amount, amount);
        return true;
    }
}

/// Returns nothing, as some old tokens do.
contract SilentToken {
    mapping(address account => uint256) public balanceOf;

    function give(address account, uint256 amount) external {
        balanceOf[account] += amount;
    }

    function transferFrom(address from, address to, uint256 amount) external {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
    }
}
