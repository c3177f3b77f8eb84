//! Reorganisations under load leave every node as a fresh replay would be.

use protocol::chain::Log;
use protocol::chain::entries_from_logs;
use protocol::entity::build::{Builder, UserFields};
use rpc::RawTransaction;
use storage::backend::MemoryBackend;
use storage::blocks::BlockStoreConfig;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::Config;
use crate::context::Context;
use crate::discovery;
use crate::index::IndexHandle;
use crate::metrics::Metrics;
use crate::net::{self, NetConfig};
use crate::store::StoreHandle;
use crate::tasks::Floor;

/// All that a node knows from the chain.
#[derive(Debug, PartialEq)]
struct Known {
    registry: Arc<Registry>,
    snapshot: Arc<Registry>,
    entries: u64,
    entries_root: Hash32,
    index: Hash32,
}

/// Sends transactions of many wallets.
struct Load<'a> {
    net: &'a TestChain,
    random: u64,
    /// What was sent, by wallet and nonce.
    sent: BTreeMap<(u8, u64), RawTransaction>,
    next: BTreeMap<u8, u64>,
    actions: u64,
    endpoints: u64,
}

impl TestChain {
    /// A node that follows the chain and indexes it.
    async fn node(&self, seed: u8, confirmations: u64) -> Context {
        let (clock, metrics, key) = (Clock::system(), Metrics::new(), key(seed));
        let chain_config = ChainConfig {
            confirmations,
            ..self.config(vec![self.chain.url()])
        };
        let net_config = NetConfig {
            seed: [seed; 32],
            ..NetConfig::default().on_loopback()
        };
        let store_config = BlockStoreConfig {
            disk_reserve_bytes: 0,
            ..BlockStoreConfig::with_size(1 << 30)
        };
        let disk = Arc::new(MemoryBackend::default());
        let mut config = Config::default();
        config.chain.confirmations = confirmations;
        let context = Context {
            config: Arc::new(config),
            peer: key.address(),
            contracts: self.contracts,
            clock,
            store: StoreHandle::with_backend(disk, store_config).unwrap(),
            index: IndexHandle::in_memory().unwrap(),
            net: net::start(net_config, &key, clock, &metrics).await.unwrap(),
            chain: ChainHandle::spawn(&chain_config, clock).unwrap(),
            stop: CancellationToken::new(),
            floor: Floor::new("peer"),
            metrics,
            key,
        };
        discovery::spawn(&context, &[Role::Discovery])
            .await
            .unwrap();
        context
    }

    /// Entries of the chain as it is, read at once.
    async fn entries(&self) -> usize {
        let head = self.client.latest().await.unwrap().number;
        let addresses = [self.contracts.entity_manager];
        let mut count = 0;
        for from in (0..=head).step_by(100) {
            let numbers: Vec<u64> = (from..=head.min(from + 99)).collect();
            let read = self.client.blocks_with_logs(&numbers, &addresses);
            let (headers, logs) = read.await.unwrap();
            for header in headers {
                let of_block: Vec<Log> = logs
                    .iter()
                    .filter(|log| log.block_number == header.number)
                    .cloned()
                    .collect();
                let domain = self.contracts.action_domain();
                let (entries, skipped) = entries_from_logs(&domain, &header, &of_block);
                assert_eq!(skipped, []);
                count += entries.len();
            }
        }
        count
    }

    /// Waits until every node knows what a fresh replay makes of the chain.
    async fn compare_nodes(&self, nodes: &[(u64, Context)]) {
        let head = self.client.latest().await.unwrap().block();
        let entries = u64::try_from(self.entries().await).unwrap();
        let mut fresh = BTreeMap::new();
        for (confirmations, _) in nodes {
            if !fresh.contains_key(confirmations) {
                let node = self.node(90, *confirmations).await;
                within(async {
                    while known(&node).entries != entries
                        || node.chain.registry().borrow().block() != head
                    {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                })
                .await;
                let expected = known(&node);
                assert_eq!(expected.registry.block(), head);
                end(node).await;
                fresh.insert(*confirmations, expected);
            }
        }
        for (confirmations, node) in nodes {
            let expected = &fresh[confirmations];
            let agrees = async {
                while known(node) != *expected {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            if tokio::time::timeout(Duration::from_secs(60), agrees)
                .await
                .is_err()
            {
                assert_eq!(known(node), *expected, "{confirmations} confirmations");
            }
        }
    }
}

fn known(node: &Context) -> Known {
    let index = node.index.snapshot().unwrap();
    Known {
        registry: node.chain.registry().borrow().clone(),
        snapshot: node.chain.snapshot().borrow().clone(),
        entries: index.entry_count().unwrap(),
        entries_root: index.entries_root().unwrap(),
        index: index.fingerprint().unwrap(),
    }
}

async fn end(node: Context) {
    node.floor.end().await;
    node.net.stop().await;
    node.chain.stop().await;
    node.store.stop().await;
}

impl<'a> Load<'a> {
    fn new(net: &'a TestChain) -> Self {
        Self {
            net,
            random: 11,
            sent: BTreeMap::new(),
            next: BTreeMap::new(),
            actions: 0,
            endpoints: 0,
        }
    }

    fn draw(&mut self, limit: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % limit
    }

    /// Some transactions, now and then several in one block.
    async fn run(&mut self, count: u64) {
        let control = self.net.chain.control();
        for _ in 0..count {
            let in_block = if self.draw(4) == 0 { 5 } else { 1 };
            if in_block > 1 {
                control.stall(true).await.unwrap();
            }
            for _ in 0..in_block {
                self.step().await;
            }
            if in_block > 1 {
                control.stall(false).await.unwrap();
            }
        }
    }

    async fn step(&mut self) {
        let contracts = self.net.contracts;
        let operator = OPERATORS[usize::try_from(self.draw(4)).unwrap() % OPERATORS.len()];
        match self.draw(8) {
            0 => {
                let call = calls::increase_stake(Dgc::whole(1_000));
                let to = contracts.service_provider_factory;
                self.send(operator, to, call).await;
            }
            1 => {
                let call = calls::encode(
                    ContractKind::ServiceProviderFactory,
                    "requestDecreaseStake",
                    &[Token::Uint(Dgc::whole(1).0)],
                );
                let to = contracts.service_provider_factory;
                self.send(operator, to, call).await;
            }
            2 => {
                self.endpoints += 1;
                let endpoint = format!("http://more-{}", self.endpoints);
                let peer = key(OPERATORS[0] + 100).address();
                let stake = Dgc::whole(200_000);
                let call = calls::register(Role::Content, &endpoint, stake, peer);
                let to = contracts.service_provider_factory;
                self.send(operator, to, call).await;
            }
            3 => {
                let call = calls::deregister(Role::Content, &format!("http://peer-{operator}"));
                let to = contracts.service_provider_factory;
                self.send(operator, to, call).await;
            }
            _ => self.act().await,
        }
    }

    /// An action of a user, who may exist or not: both have their place in the
    /// index.
    async fn act(&mut self) {
        self.actions += 1;
        let user = 1 + self.draw(12);
        let builder = Builder {
            user: UserId(3_000_000 + user),
            nonce: Hash32([u8::try_from(self.actions % 256).unwrap(); 32]),
        };
        let action = match self.draw(3) {
            0 => builder.create_user(&UserFields {
                handle: Some(format!("user{user}")),
                ..UserFields::default()
            }),
            1 => builder.update_user(&UserFields {
                name: Some(format!("name {}", self.actions)),
                ..UserFields::default()
            }),
            _ => builder.follow(UserId(3_000_001 + self.draw(12))),
        };
        let signer = key(100 + u8::try_from(user).unwrap());
        let signed = action.sign(&self.net.contracts.action_domain(), &signer);
        let wallet = 10 + u8::try_from(self.draw(10)).unwrap();
        let to = self.net.contracts.entity_manager;
        self.send(wallet, to, calls::manage_entity(&signed)).await;
    }

    async fn send(&mut self, seed: u8, to: Address, data: Vec<u8>) {
        let nonce = match self.next.get(&seed) {
            Some(nonce) => *nonce,
            None => {
                let address = wallet(seed).address();
                self.net.client.transaction_count(address).await.unwrap()
            }
        };
        let raw = wallet(seed).sign(&Transaction {
            chain_id: CHAIN_ID,
            nonce,
            to: Some(to),
            value: U256::zero(),
            data,
            gas_limit: 2_000_000,
            max_fee: U256::exp10(11),
            max_priority_fee: U256::exp10(9),
        });
        self.net.client.send_raw(&raw.bytes).await.unwrap();
        self.sent.insert((seed, nonce), raw);
        self.next.insert(seed, nonce + 1);
    }

    /// After blocks were undone with their transactions: some are lost, the
    /// others come again in another order.
    async fn send_again(&mut self) {
        let mut queues: Vec<(u8, u64, u64)> = Vec::new();
        let wallets: Vec<(u8, u64)> = self.next.clone().into_iter().collect();
        for (seed, next) in wallets {
            let address = wallet(seed).address();
            let mined = self.net.client.transaction_count(address).await.unwrap();
            let kept = match self.draw(2) {
                0 => next,
                _ => mined + self.draw(next - mined + 1),
            };
            self.sent
                .retain(|(of, nonce), _| *of != seed || *nonce < kept);
            self.next.insert(seed, kept);
            queues.push((seed, mined, kept));
        }
        queues.retain(|(_, from, to)| from < to);
        while !queues.is_empty() {
            let idx = usize::try_from(self.draw(queues.len() as u64)).unwrap();
            let (seed, nonce, kept) = queues[idx];
            let raw = &self.sent[&(seed, nonce)];
            self.net.client.send_raw(&raw.bytes).await.unwrap();
            queues[idx].1 += 1;
            if nonce + 1 == kept {
                queues.remove(idx);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reorganisations_of_1_10_and_200_blocks_under_load_leave_what_a_replay_gives() {
    let net = TestChain::with_snapshots(16).await;
    let control = net.chain.control();
    let mut nodes = Vec::new();
    for (seed, confirmations) in [(80, 0), (81, 0), (82, 5), (83, 300)] {
        nodes.push((confirmations, net.node(seed, confirmations).await));
    }
    for operator in OPERATORS {
        net.stake(operator).await;
        let (to, more) = (wallet(operator).address(), Dgc::whole(1_000_000));
        let transfer = calls::transfer(to, more);
        let token = net.contracts.token;
        transact(
            &net.client,
            &wallet(1),
            token,
            transfer,
            U256::zero(),
            |_| {},
        )
        .await
        .unwrap();
        let approve = calls::approve(net.contracts.staking, more);
        transact(
            &net.client,
            &wallet(operator),
            token,
            approve,
            U256::zero(),
            |_| {},
        )
        .await
        .unwrap();
    }
    let mut load = Load::new(&net);
    load.run(40).await;
    control.mine(300).await.unwrap();
    load.run(40).await;
    net.compare_nodes(&nodes).await;
    for depth in [1, 10, 200] {
        for keeps in [false, true] {
            load.run(12).await;
            if depth == 200 && keeps {
                // Consents given on the branch that goes.
                net.stake(NEWCOMER).await;
            }
            control.reorg(depth, keeps).await.unwrap();
            if !keeps {
                load.send_again().await;
            }
            load.run(6).await;
            net.compare_nodes(&nodes).await;
        }
    }
    let registry = nodes[0].1.chain.registry().borrow().clone();
    assert!(registry.peer(&key(NEWCOMER + 100).address()).is_some());
    for (_, node) in nodes {
        end(node).await;
    }
}

/// Seeds of operators' wallets; their peers' keys are 100 higher.
const OPERATORS: [u8; 3] = [2, 3, 5];

const NEWCOMER: u8 = 6;
