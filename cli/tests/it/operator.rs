//! An operator's and a holder's life on a development network, from an empty
//! wallet to rewards and back, one command after the other.

use std::net::TcpListener;

use serde_json::Value;

use crate::bench::{Bench, Peer, stdout};

/// A network, an operator's peer beside it, and wallets for everybody.
struct Town {
    bench: Bench,
    net: Peer,
    oak: Peer,
    endpoint: String,
}

impl Town {
    fn start() -> Self {
        let mut bench = Bench::new();
        let net = bench.start(&["devnet", "--peers", "2", "--data", "net"]);
        let light = net.ready["light"].clone();
        bench.use_node(text(&light, "http"), text(&light, "token"));
        for wallet in ["oak", "ada", "bob"] {
            bench.json(&["wallet", "new", wallet]);
        }
        let port = free_port();
        let (listen, endpoint) = (
            format!("127.0.0.1:{port}"),
            format!("http://127.0.0.1:{port}"),
        );
        let made = bench.json(&[
            "init",
            "--data",
            "oak",
            "--join",
            "--role",
            "content",
            "--role",
            "discovery",
            "--role",
            "identity",
            "--url",
            &endpoint,
            "--listen",
            &listen,
            "--p2p",
            "/ip4/127.0.0.1/tcp/0",
        ]);
        assert!(text(&made, "peer").starts_with("0x"));
        let oak = bench.start(&["run", "--config", "oak/config.toml"]);
        assert_eq!(oak.ready["peer"], made["peer"]);
        Self {
            bench,
            net,
            oak,
            endpoint,
        }
    }

    /// Runs a command of a wallet that succeeds.
    fn run(&self, wallet: &str, arguments: &[&str]) -> Value {
        let more = ["--wallet", wallet];
        self.bench.json(&[arguments, &more].concat())
    }

    /// As [`Town::run`], sent without a question.
    fn send(&self, wallet: &str, arguments: &[&str]) -> Value {
        self.run(wallet, &[arguments, &["--yes"]].concat())
    }

    /// Runs a command of a wallet that fails.
    fn refused(&self, wallet: &str, arguments: &[&str]) -> Value {
        let more = ["--wallet", wallet, "--yes"];
        self.bench.error(&[arguments, &more].concat())
    }

    fn status(&self) -> Value {
        self.run("oak", &["operator", "status"])
    }

    fn mine(&self, blocks: u64) {
        self.bench.json(&["chain", "mine", &blocks.to_string()]);
    }

    fn mine_to(&self, block: &Value) {
        let head = self.bench.json(&["chain", "mine", "1"])["head"]
            .as_u64()
            .unwrap();
        let block = block.as_u64().unwrap();
        if block > head {
            self.mine(block - head);
        }
    }

    fn address(&self, wallet: &str) -> String {
        text(&self.bench.json(&["wallet", "show", wallet]), "address").to_owned()
    }

    fn stop(self) {
        self.oak.stop();
        self.net.stop();
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("`{field}` of {value}"))
}

fn dgc(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn an_operator_comes_in_earns_and_leaves() {
    let town = Town::start();
    let (oak, ada) = (town.address("oak"), town.address("ada"));

    // Nothing can be paid from an empty wallet.
    let register = ["operator", "register", "--endpoint", &town.endpoint];
    assert_eq!(town.refused("oak", &register)["code"], "balance");
    town.run("oak", &["chain", "fund"]);
    town.run("ada", &["chain", "fund", "--dgc", "5000"]);

    // What would be sent is shown; nothing is sent unasked.
    let dry = town.run("oak", &[&register[..], &["--dry-run"]].concat());
    assert_eq!(dry["dry_run"], true);
    assert_eq!(dry["staked"], "600000");
    assert_eq!(dry["transactions"].as_array().unwrap().len(), 4);
    let more = ["--wallet", "oak"];
    let error = town.bench.error(&[&register[..], &more].concat());
    assert_eq!(error["code"], "not_confirmed");

    let registered = town.send("oak", &register);
    assert_eq!(registered["peer"], town.oak.ready["peer"]);
    assert_eq!(registered["endpoint_report"]["reachable"], true);
    // A second time says so, whatever the wallet still holds.
    assert_eq!(town.refused("oak", &register)["code"], "registered");
    let status = town.status();
    assert_eq!(status["stake"]["own"], "600000");
    assert_eq!(status["services"].as_array().unwrap().len(), 3);
    assert!(status["services"][0]["confirmation"].is_null());
    assert_eq!(status["placement_weight"], 0);

    let confirm = [
        "operator",
        "confirm",
        "--data",
        "oak/coliving-data",
        "--zone",
        "home",
    ];
    town.send("oak", &confirm);
    assert_eq!(town.refused("oak", &confirm)["code"], "confirmed");
    let status = town.status();
    assert_eq!(status["services"][0]["confirmation"]["zone"], "home");
    assert_eq!(status["placement_weight"], 600);
    let report = &status["peers"][0]["endpoint_report"];
    assert_eq!(report["peer"], town.oak.ready["peer"]);

    // Stake and a holder's delegation.
    let staked = town.send("oak", &["operator", "stake", "50000.5"]);
    assert_eq!(staked["staked"], "650000.5");
    assert_eq!(
        town.refused("ada", &["delegate", &oak, "5"])["code"],
        "amount"
    );
    let nobody = format!("0x{:040x}", 1);
    assert_eq!(
        town.refused("ada", &["delegate", &nobody, "500"])["code"],
        "operator_unknown"
    );
    let delegated = town.send("ada", &["delegate", &oak, "max"]);
    assert_eq!(delegated["amount"], "5000");
    let list = town.run("ada", &["delegate", "--list"]);
    assert_eq!(list["delegations"][0]["amount"], "5000");
    assert_eq!(list["voting_stake"], "5000");
    assert_eq!(town.status()["stake"]["delegated"], "5000");

    // A round of rewards.
    town.send("oak", &["operator", "cut", "10"]);
    let status = town.status();
    town.mine_to(&status["cut"]["pending"]["unlock_block"]);
    town.send("oak", &["operator", "cut", "--finish"]);
    assert_eq!(town.status()["cut"]["percent"], 10);
    let claimed = town.send("ada", &["claim", "oak"]);
    assert_eq!(claimed["round"], 1);
    assert!(dgc(&claimed["rewards"]) > 0.0);
    assert_eq!(town.refused("oak", &["claim"])["code"], "nothing_to_claim");
    let delegators = &town.status()["delegations"];
    assert_eq!(text(&delegators[0], "delegator"), ada);
    assert!(dgc(&delegators[0]["amount"]) > 5000.0);

    // And back out.
    let asked = town.send("ada", &["undelegate", &oak, "all"]);
    assert_eq!(
        town.refused("ada", &["undelegate", "--finish"])["code"],
        "locked"
    );
    let asked_too = town.send("oak", &["operator", "unstake", "50000"]);
    assert!(asked_too["unlock_block"].as_u64() > asked["unlock_block"].as_u64());
    town.mine_to(&asked_too["unlock_block"]);
    let back = town.send("ada", &["undelegate", "--finish"]);
    assert_eq!(back["amount"], asked["amount"]);
    town.send("oak", &["operator", "unstake", "--finish"]);
    let gone = town.send("oak", &["operator", "deregister", &town.endpoint]);
    assert_eq!(gone["roles"].as_array().unwrap().len(), 3);
    let status = town.status();
    assert!(status["services"].as_array().unwrap().is_empty());
    town.mine_to(&status["stake"]["pending_decrease"]["unlock_block"]);
    town.send("oak", &["operator", "unstake", "--finish"]);
    assert_eq!(town.status()["stake"]["own"], "0");
    town.stop();
}

#[test]
fn stakers_decide_and_users_pay_each_other() {
    let town = Town::start();
    let (oak, bob) = (town.address("oak"), town.address("bob"));
    town.run("oak", &["chain", "fund"]);
    let register = ["operator", "register", "--endpoint", &town.endpoint];
    town.send("oak", &register);

    // A proposal in words passes by the operator's own vote.
    let propose = [
        "govern",
        "propose",
        "DelegateManager",
        "updateMinDelegationAmount(uint256)",
        "250 DGC",
        "--name",
        "Larger delegations",
        "--description",
        "Small ones cost more than they bring.",
    ];
    assert_eq!(town.refused("bob", &propose)["code"], "no_stake");
    let proposed = town.send("oak", &propose);
    assert_eq!(proposed["id"], 1);
    let voted = town.send("oak", &["govern", "vote", "1", "yes"]);
    assert_eq!(voted["weight"], "600000");
    assert_eq!(
        town.refused("oak", &["govern", "execute", "1"])["code"],
        "locked"
    );
    let shown = town.run("oak", &["govern", "show", "1"]);
    assert_eq!(shown["own_vote"]["vote"], "yes");
    assert_eq!(shown["outcome"], "in_progress");
    town.mine_to(&shown["execution_block"]);
    let done = town.send("oak", &["govern", "execute", "1"]);
    assert_eq!(done["outcome"], "approved_executed");
    let listed = town.run("oak", &["govern", "list", "--all"]);
    assert_eq!(listed["proposals"][0]["outcome"], "approved_executed");
    let error = town.refused("oak", &["govern", "veto", "1"]);
    assert_eq!(error["code"], "not_guardian");

    // Payments, by address and by handle.
    let half = |who: &str| format!("{who}=33.3333%");
    let rest = "0x00000000000000000000000000000000000000aa=66.6667%";
    let paid = town.send("oak", &["pay", &half(&bob), rest, "--amount", "1"]);
    assert_eq!(paid["payees"][0]["amount"], "0.333333");
    assert_eq!(paid["payees"][1]["amount"], "0.666667");
    let funded = town.run("bob", &["chain", "fund", "--dgc", "0"]);
    assert_eq!(funded["balances"]["dgc"], "0.333333");
    town.run("bob", &["user", "create", "--handle", "bob"]);
    let tip = town.send("oak", &["tip", "bob", "2.5", "--message", "thanks"]);
    assert!(text(&tip, "memo").ends_with(":0:thanks"), "{tip}");
    let list = town.run("bob", &["delegate", "--list"]);
    assert_eq!(list["balances"]["dgc"], "2.833333");
    let error = town.refused("bob", &["pay", &format!("{oak}=1000")]);
    assert_eq!(error["code"], "balance");
    town.stop();
}

#[test]
fn what_cannot_work_is_refused_before_it_costs_anything() {
    let bench = Bench::new();
    for (arguments, expected) in [
        (
            &["operator", "stake", "0.1234567890123456789"][..],
            "19 decimal places, at most 18",
        ),
        (&["operator", "stake", "1,000"], "without separators"),
        (&["operator", "cut", "101"], "101"),
        (&["pay", "ada"], "PAYEE=AMOUNT"),
        (&["pay", "ada=101%"], "between 0 and 100"),
        (&["govern", "vote", "1", "maybe"], "maybe"),
    ] {
        let output = bench.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(expected), "{arguments:?}: {text}");
        assert_eq!(stdout(&output), "");
    }
    bench.json(&["wallet", "new"]);
    assert_eq!(
        bench.error(&["operator", "status", "ada"])["code"],
        "operator"
    );
    let error = bench.error(&["operator", "status"]);
    assert_eq!(error["code"], "no_chain");
    assert!(text(&error, "hint").contains("--rpc"));
}
