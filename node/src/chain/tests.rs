use std::collections::BTreeMap;
use std::time::Duration;

use client::deploy::ServiceConfig;
use ethers_core::abi::Token;
use ethers_core::types::transaction::eip2718::TypedTransaction;
use ethers_core::utils::rlp::Rlp;
use protocol::action::Action;
use protocol::amount::Dgc;
use protocol::chain::{ContractKind, calls};
use protocol::entry::{Entry, EntryId};
use protocol::id::{EntityId, OperatorNumber, Role, ServiceId, UserId, Zone};
use protocol::records::{
    Attestation, Confirm, Endpoint, Head, Iv, Lease, PendingAction, Presence, Reply, VaultRecord,
};
use protocol::signing::{Record, Signature};
use protocol::time::Epoch;
use rpc::{Progress, TransactConfig, Transaction, estimate, transact, transact_with};

use super::*;
use crate::testing::{CHAIN_ID, TestChain, key, peer_key, within};

mod absent;
mod door;
mod endpoints;
mod reorg;
mod stake;
mod transact;

impl TestChain {
    fn handle(&self, urls: Vec<String>) -> ChainHandle {
        ChainHandle::spawn(&self.config(urls), Clock::system()).unwrap()
    }

    fn config(&self, urls: Vec<String>) -> ChainConfig {
        ChainConfig {
            rpc: urls,
            chain_id: None,
            contracts: self.contracts,
            confirmations: 0,
            poll_interval: Duration::from_millis(20),
            ..ChainConfig::default()
        }
    }

    /// Sends an action and waits until it is mined.
    async fn send(&self, number: u64) -> Receipt {
        let (to, data) = (self.contracts.entity_manager, self.action(number));
        transact(&self.client, &wallet(4), to, data, U256::zero(), |_| {})
            .await
            .unwrap()
    }

    /// Stakes for the peer with key `seed` as the operator with the same key.
    async fn stake(&self, seed: u8) -> Vec<(Role, ServiceId)> {
        let service = ServiceConfig {
            endpoint: format!("http://peer-{seed}"),
            roles: Role::ALL.to_vec(),
            zone: Zone::new("eu-1"),
            stake: Dgc::whole(600_000),
        };
        self.enrol(seed, &peer_key(seed), &service).await
    }

    fn action(&self, number: u64) -> Vec<u8> {
        let action = Action {
            user_id: UserId(3_000_000 + number),
            entity_type: "User".into(),
            entity_id: EntityId(3_000_000 + number),
            action: "Create".into(),
            metadata: r#"{"cid":"","data":{"handle":"a"}}"#.into(),
            nonce: Hash32([7; 32]),
        };
        calls::manage_entity(&action.sign(&self.contracts.action_domain(), &key(50)))
    }
}

/// What a subscriber has made of the events so far.
#[derive(Default)]
struct Replica {
    entries: BTreeMap<u64, Vec<EntryId>>,
    tip: BlockRef,
    rollbacks: usize,
}

impl Replica {
    fn apply(&mut self, event: ChainEvent) {
        match event {
            ChainEvent::Block(next) => {
                let block = next.block;
                // Empty blocks far from the head are passed over.
                let is_first = self.tip == BlockRef::default();
                let is_next = self.tip.number + 1 == block.number;
                assert!(is_first || !is_next || self.tip.hash == next.parent);
                self.tip = block;
                self.entries
                    .insert(block.number, next.entries.iter().map(Entry::id).collect());
            }
            ChainEvent::Rollback { to } => {
                self.entries.split_off(&(to.number + 1));
                self.tip = to;
                self.rollbacks += 1;
            }
            ChainEvent::Final { block } => assert_eq!(block, self.tip),
            ChainEvent::TooDeep(error) => panic!("{error}"),
        }
    }

    fn ids(&self) -> Vec<EntryId> {
        self.entries.values().flatten().copied().collect()
    }

    /// Applies events until the tip has this number.
    async fn follow(&mut self, events: &mut mpsc::Receiver<ChainEvent>, number: u64) {
        within(async {
            while self.tip.number != number {
                self.apply(events.recv().await.unwrap());
            }
        })
        .await;
    }
}

fn wallet(seed: u8) -> Wallet {
    Wallet::new(key(seed))
}

#[test]
fn a_signed_transaction_decodes_to_its_sender() {
    let wallet = wallet(3);
    let raw = wallet.sign(&Transaction {
        chain_id: CHAIN_ID,
        nonce: 5,
        to: Some(Address([9; 20])),
        value: U256::from(7),
        data: vec![1, 2, 3],
        gas_limit: 50_000,
        max_fee: U256::exp10(10),
        max_priority_fee: U256::exp10(9),
    });
    let (transaction, signature) = TypedTransaction::decode_signed(&Rlp::new(&raw.bytes)).unwrap();
    assert_eq!(transaction.from().unwrap().0, wallet.address().0);
    assert_eq!(transaction.hash(&signature).0, raw.hash.0);
    assert!(signature.v < 2);
    assert_eq!(transaction.rlp_signed(&signature).to_vec(), raw.bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registry_and_the_entries_survive_a_reorganisation_and_a_stall() {
    let net = TestChain::new().await;
    let handle = net.handle(vec![net.chain.url()]);
    let control = net.chain.control();
    let services = [net.stake(2).await, net.stake(3).await];
    assert_eq!(services[1][0], (Role::Content, ServiceId(2)));

    let peers = [key(102).address(), key(103).address()];
    let mut registry = handle.registry();
    within(registry.wait_for(|registry| {
        let has_all = |peer| Role::ALL.iter().all(|role| registry.has_role(peer, *role));
        peers.iter().all(has_all)
    }))
    .await
    .unwrap();
    let seen = registry.borrow().peer(&peers[1]).unwrap();
    assert_eq!(seen.operator, wallet(3).address());
    assert_eq!(seen.operator_number, OperatorNumber(2));
    assert_eq!(seen.endpoint, "http://peer-3");
    assert_eq!(seen.public_key, key(103).public_key());
    assert_eq!(registry.borrow().weight(&seen.operator), 600);

    let mut events = handle.subscribe_entries(net.contracts.start());
    let mut replica = Replica::default();
    let mut tip = 0;
    for number in 1..=3 {
        let call = net.action(number);
        let sent = handle
            .send(
                &wallet(4),
                Some(net.contracts.entity_manager),
                call,
                U256::zero(),
            )
            .await
            .unwrap();
        tip = within(handle.receipt(sent, 0)).await.unwrap().block.number;
    }
    replica.follow(&mut events, tip).await;
    assert_eq!(replica.ids().len(), 3);

    let before = replica.ids();
    let tip = control.reorg(3, true).await.unwrap();
    replica.follow(&mut events, tip).await;
    assert_eq!(replica.rollbacks, 1);
    assert_eq!(replica.ids().len(), 3);
    assert_ne!(replica.ids(), before);

    let tip = control.reorg(3, false).await.unwrap();
    replica.follow(&mut events, tip).await;
    assert_eq!(replica.rollbacks, 2);

    let mut snapshot = handle.snapshot();
    within(snapshot.wait_for(|registry| registry.block() == replica.tip))
        .await
        .unwrap();
    assert!(snapshot.borrow().peer(&peers[0]).is_some());

    control.stall(true).await.unwrap();
    let call = net.action(9);
    let to = Some(net.contracts.entity_manager);
    let sent = handle
        .send(&wallet(4), to, call, U256::zero())
        .await
        .unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), handle.receipt(sent, 0)).await;
    assert!(early.is_err(), "a stalled chain mines nothing");
    assert!(handle.status().borrow().connected);
    control.stall(false).await.unwrap();
    let receipt = within(handle.receipt(sent, 0)).await.unwrap();
    replica.follow(&mut events, receipt.block.number).await;

    let mut afresh = Replica::default();
    let mut events = handle.subscribe_entries(net.contracts.start());
    afresh.follow(&mut events, replica.tip.number).await;
    assert_eq!(afresh.entries, replica.entries);
    // What the reorganisation dropped was broadcast again.
    assert_eq!(afresh.ids().len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_goes_on_from_its_cursor() {
    let net = TestChain::new().await;
    let handle = net.handle(vec![net.chain.url()]);
    let to = Some(net.contracts.entity_manager);
    let mut tips = Vec::new();
    for number in 1..=2 {
        let call = net.action(number);
        let sent = handle
            .send(&wallet(4), to, call, U256::zero())
            .await
            .unwrap();
        tips.push(within(handle.receipt(sent, 0)).await.unwrap().block);
    }
    let mut events = handle.subscribe_entries(Cursor::after(tips[0]));
    let event = within(events.recv()).await.unwrap();
    let ChainEvent::Block(next) = event else {
        panic!("the block after the cursor comes first");
    };
    assert_eq!(next.block.number, tips[0].number + 1);
    assert_eq!(next.entries.len(), usize::from(next.block == tips[1]));

    let stranger = BlockRef {
        hash: Hash32([1; 32]),
        ..tips[0]
    };
    let mut events = handle.subscribe_entries(Cursor::after(stranger));
    let event = within(events.recv()).await.unwrap();
    assert!(matches!(event, ChainEvent::TooDeep(_)), "{event:?}");
    assert_eq!(within(events.recv()).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_transactions_of_one_wallet_get_through_and_a_bad_one_says_why() {
    let net = TestChain::new().await;
    let handle = net.handle(vec![net.chain.url()]);
    let to = Some(net.contracts.entity_manager);
    net.chain.control().stall(true).await.unwrap();
    let mut sent = Vec::new();
    for number in 1..=5 {
        let call = net.action(number);
        sent.push(
            handle
                .send(&wallet(4), to, call, U256::zero())
                .await
                .unwrap(),
        );
    }
    net.chain.control().stall(false).await.unwrap();
    for tx_hash in sent {
        within(handle.receipt(tx_hash, 0)).await.unwrap();
    }
    let again = handle
        .send(&wallet(4), to, net.action(1), U256::zero())
        .await;
    let Err(SendError::Rpc(RpcError::Revert(revert))) = again else {
        panic!("an action counts once: {again:?}");
    };
    assert_eq!(revert.name, "ActionIsUsed");
    assert_eq!(
        net.client.transaction_count(wallet(4).address()).await,
        Ok(5)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_endpoint_is_passed_over_and_a_foreign_one_refused() {
    let net = TestChain::new().await;
    // A port that nothing listens on any more.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead_url = format!("http://{}", dead.local_addr().unwrap());
    drop(dead);
    let handle = net.handle(vec![dead_url.clone(), net.chain.url()]);
    within(handle.status().wait_for(|status| status.connected))
        .await
        .unwrap();

    let lost = net.handle(vec![dead_url]);
    within(lost.status().wait_for(|status| status.error.is_some()))
        .await
        .unwrap();
    assert!(!lost.status().borrow().connected);

    let foreign = Client::new(&[net.chain.url()], Some(1)).unwrap();
    let error = foreign.latest().await.unwrap_err();
    assert!(
        matches!(
            error,
            RpcError::ChainId {
                expected: 1,
                found: CHAIN_ID,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_signed_record_hashes_as_in_the_contract() {
    let net = TestChain::new().await;
    let cid = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
        .parse()
        .unwrap();
    let (peer, hash) = (Address([3; 20]), |byte| Hash32([byte; 32]));
    let (word, number, address) = (calls::hash, calls::number, calls::address);

    let confirm = Confirm {
        role: Role::Discovery,
        service_id: ServiceId(4),
        operator: peer,
        public_key: key(5).public_key().to_vec(),
        zone: Zone::new("eu-1"),
        nonce: 6,
    };
    let tokens = vec![
        word(confirm.role.service_type_bytes()),
        number(4),
        address(peer),
        Token::Bytes(confirm.public_key.clone()),
        word(confirm.zone.0),
        number(6),
    ];
    net.compare("hashConfirm", &confirm, tokens).await;

    let lease = Lease {
        root: cid,
        proof_root: hash(1),
        size: u64::MAX,
        holder: peer,
        serial: 2,
        from_epoch: Epoch(3),
        to_epoch: Epoch(4),
    };
    let tokens = vec![
        Token::Bytes(lease.root.to_bytes()),
        word(hash(1)),
        number(u64::MAX),
        address(peer),
        number(2),
        number(3),
        number(4),
    ];
    net.compare("hashLease", &lease, tokens).await;

    let page = protocol::content::page_of(peer, 1, Epoch(2), [&lease].into_iter());
    let tokens = vec![
        address(peer),
        number(1),
        number(2),
        number(1),
        number(u64::MAX),
        word(page.leases_root),
    ];
    net.compare("hashPage", &page, tokens).await;

    let head = Head {
        block_number: 1,
        block_hash: hash(2),
        previous_head: hash(3),
        entries_root: hash(4),
        entry_count: 5,
        state_root: hash(6),
        registry_root: hash(7),
    };
    let tokens = vec![
        number(1),
        word(hash(2)),
        word(hash(3)),
        word(hash(4)),
        number(5),
        word(hash(6)),
        word(hash(7)),
    ];
    net.compare("hashHead", &head, tokens).await;
    net.compare_statements(peer).await;
}

impl TestChain {
    async fn compare_statements(&self, peer: Address) {
        let (word, number, address) = (calls::hash, calls::number, calls::address);
        let hash = |byte| Hash32([byte; 32]);
        let pending = PendingAction {
            digest: hash(1),
            signature: Signature([2; 65]),
            peer,
            time: UnixSeconds(3),
        };
        let tokens = vec![
            word(hash(1)),
            Token::Bytes(vec![2; 65]),
            address(peer),
            number(3),
        ];
        self.compare("hashPendingAction", &pending, tokens).await;

        let presence = Presence {
            peer,
            time: UnixSeconds(1),
            page_serial: 2,
            page_hash: hash(3),
            capacity: 4,
            used: 5,
        };
        let tokens = vec![
            address(peer),
            number(1),
            number(2),
            word(hash(3)),
            number(4),
            number(5),
        ];
        self.compare("hashPresence", &presence, tokens).await;

        let vault = VaultRecord {
            scheme: 1,
            lookup_key: hash(2),
            iv: Iv([3; 16]),
            cipher_text: vec![4; 64],
            wallet: peer,
            version: 5,
            replaces: hash(6),
        };
        let tokens = vec![
            number(1),
            word(hash(2)),
            Token::FixedBytes(vec![3; 16]),
            Token::Bytes(vec![4; 64]),
            address(peer),
            number(5),
            word(hash(6)),
        ];
        self.compare("hashVault", &vault, tokens).await;

        let reply = Reply {
            request: hash(1),
            height: 2,
            body: hash(3),
            time: UnixSeconds(4),
        };
        let tokens = vec![word(hash(1)), number(2), word(hash(3)), number(4)];
        self.compare("hashReply", &reply, tokens).await;

        let endpoint = Endpoint {
            peer,
            url: "http://peer".into(),
            addresses: vec!["/ip4/1.2.3.4".into(), "/ip6/::1".into()],
            time: UnixSeconds(5),
        };
        let addresses = endpoint.addresses.iter().map(|text| calls::text(text));
        let tokens = vec![
            address(peer),
            calls::text(&endpoint.url),
            Token::Array(addresses.collect()),
            number(5),
        ];
        self.compare("hashEndpoint", &endpoint, tokens).await;

        let attestation = Attestation {
            user_id: UserId(1),
            wallet: peer,
            provider: "x".into(),
            subject: hash(2),
            time: UnixSeconds(3),
        };
        let tokens = vec![
            number(1),
            address(peer),
            calls::text(&attestation.provider),
            word(hash(2)),
            number(3),
        ];
        self.compare("hashAttestation", &attestation, tokens).await;
    }

    /// Compares a record's type with the page's, its struct hash and digest with
    /// the contract's.
    async fn compare<R: Record>(&self, function: &str, record: &R, fields: Vec<Token>) {
        let line = format!("```\n{}\n```", R::TYPE);
        assert!(SIGNED.contains(&line), "{function}");
        let data = calls::encode(ContractKind::Records, function, &[Token::Tuple(fields)]);
        let struct_hash = self.records(data).await;
        assert_eq!(struct_hash, record.struct_hash(), "{function}");
        let data = calls::encode(ContractKind::Records, "digest", &[calls::hash(struct_hash)]);
        let digest = self.records(data).await;
        assert_eq!(
            digest,
            record.digest(&self.contracts.domain()),
            "{function}"
        );
    }

    async fn records(&self, data: Vec<u8>) -> Hash32 {
        let call = CallRequest::view(self.contracts.records, data);
        Hash32(self.client.call(&call).await.unwrap().try_into().unwrap())
    }
}

/// The page of all records.
const SIGNED: &str = include_str!("../../../docs/formats/signed.md");
