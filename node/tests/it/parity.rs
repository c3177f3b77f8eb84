//! The same transactions on the embedded chain and on anvil give the same
//! blocks, receipts, logs, balances and gas, field by field.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use devchain::{DevChain, DevChainConfig, Mining};
use protocol::amount::U256;
use protocol::chain::{ContractKind, calls};
use protocol::id::Address;
use rpc::{Clock, Transaction};
use serde_json::{Value, json};

use crate::life::{FUNDED, Life, wallet};
use crate::npm;

const CHAIN_ID: u64 = 1337;

/// What a block's hash depends on and what depends on it, and what comes from
/// the clock. Hashes of transactions are compared.
const IGNORED: [&str; 8] = [
    "blockHash",
    "blockTimestamp",
    "mixHash",
    "parentHash",
    "receiptsRoot",
    "stateRoot",
    "timestamp",
    "transactionsRoot",
];

/// Speaks to one of the two chains.
struct Endpoint {
    url: String,
    http: reqwest::Client,
}

/// A running anvil, which ends with the test.
struct Anvil {
    child: Child,
    url: String,
}

/// Both chains, and what they do not agree on.
struct Pair {
    ours: Endpoint,
    theirs: Endpoint,
    differences: Vec<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_of_the_contracts_is_the_same_on_anvil() {
    let Some(tools) = npm::tools("the comparison with anvil") else {
        return;
    };
    let chain = dev_chain().await;
    let life = Life::begin(&chain).await;
    life.live().await;
    let anvil = Anvil::start(&tools);
    let mut pair = Pair::new(&chain.url(), &anvil.url);
    pair.fund().await;
    pair.replay().await;
    let height = pair.height().await;
    pair.compare_blocks(height).await;
    pair.compare_logs(height).await;
    let accounts = pair.accounts(height).await;
    pair.compare_accounts(&accounts, life.contracts().token)
        .await;
    pair.compare_calls(life.contracts().token).await;
    pair.compare_refusals().await;
    assert!(
        pair.differences.is_empty(),
        "{} differences: {:#?}",
        pair.differences.len(),
        &pair.differences[..pair.differences.len().min(40)]
    );
    chain.stop().await;
}

async fn dev_chain() -> DevChain {
    let balance = U256::exp10(21);
    let funded = FUNDED.map(|seed| (wallet(seed).address(), balance));
    let clock = Clock::system();
    DevChain::spawn(DevChainConfig {
        chain_id: CHAIN_ID,
        listen: ([127, 0, 0, 1], 0).into(),
        data: None,
        mining: Mining::Instant,
        funded: funded.to_vec(),
        clock: devchain::Clock::new(move || clock.now()),
    })
    .await
    .unwrap()
}

impl Anvil {
    fn start(tools: &Path) -> Self {
        let system = match std::env::consts::OS {
            "macos" => "darwin",
            other => other,
        };
        let machine = match std::env::consts::ARCH {
            "aarch64" => "arm64",
            _ => "amd64",
        };
        let binary = format!("node_modules/@foundry-rs/anvil-{system}-{machine}/bin/anvil");
        let mut child = Command::new(tools.join(binary))
            .args(["--hardfork", "prague", "--port", "0", "--accounts", "1"])
            .args(["--no-mining", "--chain-id", &CHAIN_ID.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .find_map(|line| {
                line.unwrap()
                    .strip_prefix("Listening on ")
                    .map(str::to_owned)
            })
            .unwrap();
        // It says something for every request, to nobody.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            url: format!("http://{address}"),
        }
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Endpoint {
    fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            http: reqwest::Client::new(),
        }
    }

    /// The whole answer, be it a result or an error.
    async fn answer(&self, method: &str, params: &Value) -> Value {
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = self.http.post(&self.url).json(&request).send().await;
        answer.unwrap().json().await.unwrap()
    }

    async fn result(&self, method: &str, params: Value) -> Value {
        let answer = self.answer(method, &params).await;
        assert!(answer["error"].is_null(), "{method} {params}: {answer}");
        answer["result"].clone()
    }
}

impl Pair {
    fn new(ours: &str, theirs: &str) -> Self {
        Self {
            ours: Endpoint::new(ours),
            theirs: Endpoint::new(theirs),
            differences: Vec::new(),
        }
    }

    async fn fund(&self) {
        for seed in FUNDED {
            let address = wallet(seed).address().to_string();
            let balance = self
                .ours
                .result("eth_getBalance", json!([address, "earliest"]))
                .await;
            self.theirs
                .result("anvil_setBalance", json!([address, balance]))
                .await;
        }
    }

    async fn height(&self) -> u64 {
        number(&self.ours.result("eth_blockNumber", json!([])).await)
    }

    /// Gives anvil every transaction in the block in which it stands with us,
    /// after asking both what gas it takes.
    async fn replay(&mut self) {
        let mut empty_count = 0;
        for height in 1..=self.height().await {
            let block = self
                .ours
                .result("eth_getBlockByNumber", json!([quantity(height), true]))
                .await;
            let transactions = block["transactions"].as_array().unwrap();
            if transactions.is_empty() {
                empty_count += 1;
                continue;
            }
            if empty_count > 0 {
                let count = quantity(std::mem::take(&mut empty_count));
                self.theirs.result("anvil_mine", json!([count])).await;
            }
            if let [transaction] = transactions.as_slice() {
                self.compare_estimates(transaction, height - 1).await;
            }
            for transaction in transactions {
                let raw = self
                    .ours
                    .result("eth_getRawTransactionByHash", json!([transaction["hash"]]))
                    .await;
                let hash = self
                    .theirs
                    .result("eth_sendRawTransaction", json!([raw]))
                    .await;
                assert_eq!(hash, transaction["hash"]);
            }
            self.theirs.result("evm_mine", json!([])).await;
        }
    }

    async fn compare_estimates(&mut self, transaction: &Value, before: u64) {
        let call = json!({
            "from": transaction["from"],
            "to": transaction["to"],
            "data": transaction["input"],
            "value": transaction["value"],
        });
        let at = quantity(before);
        for method in ["eth_estimateGas", "eth_call"] {
            let ours = self.ours.answer(method, &json!([call, at])).await;
            let theirs = self.theirs.answer(method, &json!([call, at])).await;
            let place = format!("{method} of {}", transaction["hash"]);
            self.compare_answers(&place, &ours, &theirs);
        }
    }

    /// Results, and codes and data of errors; each says them in its own words.
    fn compare_answers(&mut self, place: &str, ours: &Value, theirs: &Value) {
        let shape = |answer: &Value| {
            json!({
                "result": answer["result"],
                "code": answer["error"]["code"],
                "data": answer["error"]["data"],
            })
        };
        self.compare(place, &shape(ours), &shape(theirs));
    }

    async fn compare_blocks(&mut self, height: u64) {
        let theirs = self.theirs.result("eth_blockNumber", json!([])).await;
        self.compare("height", &json!(quantity(height)), &theirs);
        for number in 0..=height {
            let at = json!([quantity(number), true]);
            let (mut ours, mut theirs) = self.both("eth_getBlockByNumber", &at).await;
            for block in [&mut ours, &mut theirs] {
                block["hash"] = Value::Null;
            }
            self.compare(&format!("block {number}"), &ours, &theirs);
            for transaction in ours["transactions"].as_array().unwrap() {
                let hash = &transaction["hash"];
                for method in ["eth_getTransactionByHash", "eth_getTransactionReceipt"] {
                    let (ours, theirs) = self.both(method, &json!([hash])).await;
                    self.compare(&format!("{method} {hash} in {number}"), &ours, &theirs);
                }
            }
            let at = json!([quantity(number)]);
            let (ours, theirs) = self.both("eth_getBlockReceipts", &at).await;
            self.compare(&format!("receipts {number}"), &ours, &theirs);
        }
        let fees = json!(["0x20", quantity(height), [25.0, 75.0]]);
        let (ours, theirs) = self.both("eth_feeHistory", &fees).await;
        self.compare("eth_feeHistory", &ours, &theirs);
    }

    async fn compare_logs(&mut self, height: u64) {
        let filter = json!([{ "fromBlock": "0x0", "toBlock": quantity(height) }]);
        let (ours, theirs) = self.both("eth_getLogs", &filter).await;
        assert!(ours.as_array().unwrap().len() > 50);
        self.compare("eth_getLogs", &ours, &theirs);
    }

    /// Everybody who sent, received or was created.
    async fn accounts(&self, height: u64) -> BTreeSet<String> {
        let mut accounts = BTreeSet::new();
        for number in 1..=height {
            let receipts = self
                .ours
                .result("eth_getBlockReceipts", json!([quantity(number)]))
                .await;
            for receipt in receipts.as_array().unwrap() {
                for key in ["from", "to", "contractAddress"] {
                    accounts.extend(receipt[key].as_str().map(str::to_owned));
                }
                for log in receipt["logs"].as_array().unwrap() {
                    let topics = log["topics"].as_array().unwrap().iter().skip(1);
                    let addresses = topics.filter_map(|topic| {
                        let digits = topic.as_str()?.strip_prefix("0x000000000000000000000000")?;
                        Some(format!("0x{digits}"))
                    });
                    accounts.extend(addresses);
                }
            }
        }
        accounts
    }

    async fn compare_accounts(&mut self, accounts: &BTreeSet<String>, token: Address) {
        for account in accounts {
            for method in ["eth_getBalance", "eth_getTransactionCount", "eth_getCode"] {
                let (ours, theirs) = self.both(method, &json!([account, "latest"])).await;
                self.compare(&format!("{method} {account}"), &ours, &theirs);
            }
            let word = json!([account, IMPLEMENTATION_WORD, "latest"]);
            let (ours, theirs) = self.both("eth_getStorageAt", &word).await;
            self.compare(&format!("implementation of {account}"), &ours, &theirs);
            let data = hex(&calls::encode(
                ContractKind::ColivingToken,
                "balanceOf",
                &[calls::address(account.parse().unwrap())],
            ));
            let call = json!([{ "to": token.to_string(), "data": data }, "latest"]);
            let (ours, theirs) = self.both("eth_call", &call).await;
            self.compare(&format!("tokens of {account}"), &ours, &theirs);
        }
    }

    /// Calls that fail, and what they touch.
    async fn compare_calls(&mut self, token: Address) {
        let to = Address([9; 20]);
        let data = hex(&calls::transfer(to, protocol::amount::Dgc::whole(1)));
        let rich = wallet(1).address().to_string();
        for from in [rich, Address([8; 20]).to_string()] {
            let call = json!([{ "from": from, "to": token.to_string(), "data": data }, "latest"]);
            for method in ["eth_call", "eth_estimateGas", "eth_createAccessList"] {
                let mut ours = self.ours.answer(method, &call).await;
                let mut theirs = self.theirs.answer(method, &call).await;
                if method == "eth_createAccessList" && ours["result"]["error"].is_string() {
                    continue;
                }
                sort_access_list(&mut ours);
                sort_access_list(&mut theirs);
                self.compare_answers(&format!("{method} from {from}"), &ours, &theirs);
            }
        }
    }

    /// What is refused has the same code and begins with the same words.
    async fn compare_refusals(&mut self) {
        let rich = wallet(1);
        let nonce = self
            .ours
            .result(
                "eth_getTransactionCount",
                json!([rich.address().to_string(), "latest"]),
            )
            .await;
        let good = Transaction {
            chain_id: CHAIN_ID,
            nonce: number(&nonce),
            to: Some(Address([9; 20])),
            value: U256::one(),
            data: Vec::new(),
            gas_limit: 21_000,
            max_fee: U256::exp10(10),
            max_priority_fee: U256::exp10(9),
        };
        let signed = |change: &dyn Fn(&mut Transaction)| {
            let mut transaction = good.clone();
            change(&mut transaction);
            hex(&rich.sign(&transaction).bytes)
        };
        let poor = hex(&wallet(99)
            .sign(&Transaction {
                nonce: 0,
                ..good.clone()
            })
            .bytes);
        let cases = [
            (
                "nonce too low",
                signed(&|transaction| transaction.nonce = 0),
            ),
            ("insufficient funds for gas * price + value", poor),
            (
                "insufficient funds for gas * price + value",
                signed(&|transaction| transaction.value = U256::exp10(30)),
            ),
            (
                "invalid chain id for signer",
                signed(&|transaction| transaction.chain_id = 5),
            ),
            (
                "intrinsic gas too low",
                signed(&|transaction| transaction.gas_limit = 20_999),
            ),
            (
                "intrinsic gas too high",
                signed(&|transaction| transaction.gas_limit = 40_000_000),
            ),
            (
                "max fee per gas less than block base fee",
                signed(&|transaction| {
                    transaction.max_fee = U256::one();
                    transaction.max_priority_fee = U256::one();
                }),
            ),
            ("", "0x03c0".to_owned()),
            ("", "0x7ec0".to_owned()),
            ("", "0x".to_owned()),
        ];
        for (words, raw) in cases {
            let raw = json!([raw]);
            let ours = self.ours.answer("eth_sendRawTransaction", &raw).await;
            let theirs = self.theirs.answer("eth_sendRawTransaction", &raw).await;
            for answer in [&ours, &theirs] {
                let message = answer["error"]["message"].as_str().unwrap_or_default();
                if !message.to_lowercase().starts_with(words) || message.is_empty() {
                    self.differences.push(format!("{words:?}: {answer}"));
                }
            }
            let place = format!("refusal of {raw}");
            self.compare(&place, &ours["error"]["code"], &theirs["error"]["code"]);
        }
    }

    async fn both(&self, method: &str, params: &Value) -> (Value, Value) {
        let ours = self.ours.result(method, params.clone()).await;
        (ours, self.theirs.result(method, params.clone()).await)
    }

    fn compare(&mut self, place: &str, ours: &Value, theirs: &Value) {
        match (ours, theirs) {
            (Value::Object(left), Value::Object(right)) => {
                let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
                for key in keys {
                    if !IGNORED.contains(&key.as_str()) {
                        let (left, right) = (&ours[key], &theirs[key]);
                        self.compare(&format!("{place} {key}"), left, right);
                    } else if left.contains_key(key) != right.contains_key(key) {
                        self.differences
                            .push(format!("{place}: only one has {key}"));
                    }
                }
            }
            (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
                for (idx, (left, right)) in left.iter().zip(right).enumerate() {
                    self.compare(&format!("{place} [{idx}]"), left, right);
                }
            }
            _ if is_equal(ours, theirs) => {}
            _ => self
                .differences
                .push(format!("{place}: {ours} and {theirs}")),
        }
    }
}

/// An access list is a set: anvil gives its addresses in any order.
fn sort_access_list(answer: &mut Value) {
    let found = answer.pointer_mut("/result/accessList");
    let Some(list) = found.and_then(Value::as_array_mut) else {
        return;
    };
    for entry in list.iter_mut() {
        let keys = entry.get_mut("storageKeys").and_then(Value::as_array_mut);
        if let Some(keys) = keys {
            keys.sort_by_key(ToString::to_string);
        }
    }
    list.sort_by_key(|entry| entry["address"].to_string());
}

/// Ratios may be written as whole numbers.
fn is_equal(ours: &Value, theirs: &Value) -> bool {
    match (ours.as_f64(), theirs.as_f64()) {
        (Some(ours), Some(theirs)) => (ours - theirs).abs() < 1e-12,
        _ => ours == theirs,
    }
}

fn quantity(number: u64) -> String {
    format!("{number:#x}")
}

fn number(quantity: &Value) -> u64 {
    let digits = quantity.as_str().unwrap().trim_start_matches("0x");
    u64::from_str_radix(digits, 16).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// Where an ERC-1967 proxy keeps the address of its implementation.
const IMPLEMENTATION_WORD: &str =
    "0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc";
