use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use proptest::prelude::*;

use super::*;
use crate::admission::{Network, Source};
use crate::id::{Address, OperatorNumber};
use crate::time::Moment;
use crate::unixfs::{BLOCK_BYTES_MAX, HASHED, Importer, Profile, VerifiedBlock, raw_cid};
use crate::wire::Protocol;

#[test]
fn a_file_comes_from_one_holder() {
    let mut net = Net::new(7 << 20, &[Peer::Honest]);
    net.run();
    net.check_done();
}

#[test]
fn a_fetch_hashes_each_block_once() {
    let mut net = Net::new(7 << 20, &[Peer::Honest; 2]);
    let before = HASHED.get();
    net.run();
    assert_eq!(HASHED.get() - before, net.total.len() as u64);
    net.check_done();
}

#[test]
fn a_file_is_striped_over_all_holders() {
    let mut net = Net::new(60 << 20, &[Peer::Honest; 4]);
    net.run();
    net.check_done();
    assert!(
        net.served.values().all(|blocks| *blocks >= 6),
        "{:?}",
        net.served
    );
    let fetched: usize = net.served.values().sum();
    assert_eq!(fetched, net.total.len(), "no block is fetched twice");
}

#[test]
fn a_fast_holder_gives_more_than_a_slow_one() {
    let mut net = Net::new(60 << 20, &[Peer::Rate(80 << 20), Peer::Rate(8 << 20)]);
    net.run();
    net.check_done();
    assert!(
        net.served[&peer(0)] > 3 * net.served[&peer(1)],
        "{:?}",
        net.served
    );
}

#[test]
fn a_liar_is_reported_once_and_never_asked_again() {
    let mut net = Net::new(20 << 20, &[Peer::Liar, Peer::Honest]);
    net.run();
    net.check_done();
    let offences: Vec<&Event> = net
        .events
        .iter()
        .filter(|event| matches!(event, Event::Offence { holder, .. } if *holder == peer(0)))
        .collect();
    assert_eq!(offences.len(), 1);
    let asked = net.asked[&peer(0)];
    net.fetch.handle_holder(peer(0), 0, net.now);
    net.run();
    assert_eq!(net.asked[&peer(0)], asked);
}

#[test]
fn silent_and_lossy_holders_only_cost_time() {
    let mut net = Net::new(20 << 20, &[Peer::Silent, Peer::Lossy(3), Peer::Honest]);
    net.run();
    net.check_done();
}

#[test]
fn a_single_lossy_holder_is_asked_until_all_is_here() {
    let mut net = Net::new(20 << 20, &[Peer::Lossy(2)]);
    net.run();
    net.check_done();
}

#[test]
fn holders_that_have_different_parts_are_put_together() {
    let mut net = Net::new(
        20 << 20,
        &[Peer::Every(3, 0), Peer::Every(3, 1), Peer::Every(3, 2)],
    );
    net.run();
    net.check_done();
}

#[test]
fn a_block_that_nobody_has_ends_the_fetch_by_name() {
    let mut net = Net::new(20 << 20, &[Peer::Every(3, 0), Peer::Every(3, 1)]);
    net.run();
    assert!(
        net.events
            .iter()
            .any(|event| matches!(event, Event::Starved { .. }))
    );
    assert!(matches!(
        net.events.last(),
        Some(Event::Failed {
            reason: FailReason::NoHolder { .. }
        })
    ));
    assert!(net.now >= start() + FetchConfig::staked().starve_timeout);
}

#[test]
fn a_holder_that_comes_late_saves_a_starving_fetch() {
    let mut net = Net::new(5 << 20, &[Peer::Missing]);
    let comer = (Peer::Honest, Serve::new(ServeConfig::default()), start());
    net.peers.push(comer);
    net.run_until(start() + Duration::from_secs(10));
    assert!(matches!(net.events.last(), Some(Event::Starved { .. })));
    net.fetch.handle_holder(peer(1), 1, net.now);
    net.run();
    net.check_done();
}

#[test]
fn what_is_here_already_is_not_fetched() {
    let mut net = Net::new(20 << 20, &[Peer::Honest]);
    let half: Vec<Cid> = net.total.keys().copied().step_by(2).collect();
    for cid in &half {
        net.stored.insert(*cid, net.total[cid].clone());
    }
    net.run();
    net.check_done();
    assert_eq!(net.served[&peer(0)], net.total.len() - half.len());
}

#[test]
fn a_block_that_went_bad_on_the_disk_is_fetched_again() {
    let mut net = Net::new(3 << 20, &[Peer::Honest]);
    net.stored.insert(net.root, Bytes::from_static(b"rust"));
    net.run();
    net.check_done();
}

#[test]
fn a_range_needs_only_its_blocks() {
    let (root, total) = file(20 << 20);
    let target = Target::Range(root, (5 << 20) + 1..(7 << 20) + 1);
    let mut net = Net::with_target(&target, root, total, &[Peer::Honest], FetchConfig::light());
    net.run();
    assert!(matches!(
        net.events.last(),
        Some(Event::Done { blocks: 4, .. })
    ));
}

#[test]
fn a_list_needs_nothing_below_its_blocks() {
    let (root, total) = file(20 << 20);
    let target = Target::Blocks(vec![root]);
    let mut net = Net::with_target(&target, root, total, &[Peer::Honest], FetchConfig::light());
    net.run();
    assert!(matches!(
        net.events.last(),
        Some(Event::Done { blocks: 1, .. })
    ));
}

#[test]
fn blocks_come_in_pre_order_from_a_steady_holder() {
    let mut net = Net::new(30 << 20, &[Peer::Honest]);
    net.run();
    let mut importer = crate::unixfs::Traversal::new(net.root);
    for cid in &net.order {
        assert_eq!(importer.poll_needed().unwrap(), Some(*cid));
        importer.handle_block(cid, &net.total[cid]).unwrap();
    }
}

#[test]
fn a_store_that_does_not_keep_up_holds_the_fetch_back() {
    let mut net = Net::new(60 << 20, &[Peer::Honest, Peer::Honest]);
    net.is_store_stuck = true;
    net.run_until(start() + Duration::from_secs(60));
    let (_, _, buffered) = net.fetch.load();
    let limit = FetchConfig::light().buffered_bytes_max + FetchConfig::light().request_bytes_max;
    assert!((1 << 20..=limit).contains(&buffered), "{buffered}");
    net.is_store_stuck = false;
    net.run();
    net.check_done();
}

#[test]
fn a_malformed_dag_ends_the_fetch() {
    let data = Bytes::from_static(b"\x0a\x02\x08");
    let root = Profile::V1_2025.node_cid(&data);
    let total = BTreeMap::from([(root, data)]);
    let target = Target::Dag(root);
    let mut net = Net::with_target(&target, root, total, &[Peer::Honest], FetchConfig::light());
    net.run();
    assert!(matches!(
        net.events.last(),
        Some(Event::Failed {
            reason: FailReason::Dag(_)
        })
    ));
}

#[test]
fn more_answers_than_questions_are_an_offence() {
    let mut fetch = fetch_of_one();
    let transmit = fetch.poll_transmit().unwrap();
    let response = Response::all(&Answer::Missing, 2);
    fetch.handle_response(transmit.id, response, start());
    let mut events = std::iter::from_fn(|| fetch.poll_event());
    assert!(events.any(|event| matches!(event, Event::Offence { .. })));
}

#[test]
fn garbage_is_an_offence_and_a_lost_answer_is_not() {
    let mut fetch = fetch_of_one();
    let transmit = fetch.poll_transmit().unwrap();
    fetch.handle_failure(transmit.id, start());
    assert_eq!(fetch.poll_transmit(), None, "it rests first");
    let (at, _) = fetch.poll_timeout().unwrap();
    fetch.handle_timeout(at);
    let transmit = fetch.poll_transmit().unwrap();
    fetch.handle_garbage(transmit.id, "nonsense".to_owned(), at);
    let events: Vec<Event> = std::iter::from_fn(|| fetch.poll_event()).collect();
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::Offence { .. }))
    );
}

#[test]
fn what_a_peer_takes_opens_its_window() {
    let mut serve = Serve::default();
    let lookups = ask(&mut serve, stranger(0), 0..17);
    assert_eq!(lookups.len(), 1, "one block, until it is known to read");
    assert_eq!(lookups[0].bytes_max, BLOCK_BYTES_MAX);
    let asked = answer(&mut serve, lookups, true);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].bytes_max, PAYLOAD_BYTES_MAX);
    let asked = answer(&mut serve, asked, true);
    assert_eq!(asked.len(), 2, "8 MiB in all");
    // What is not taken closes it.
    let asked = answer(&mut serve, asked, false);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].bytes_max, BLOCK_BYTES_MAX);
}

#[test]
fn peers_that_take_nothing_keep_nobody_waiting_who_reads() {
    let mut serve = Serve::default();
    // Somebody that read before, and 300 that do not, each from another network.
    let asked = ask(&mut serve, stranger(0), 0..1);
    answer(&mut serve, asked, true);
    let mut held = 0;
    for peer in 1..=300 {
        let source = Source {
            network: Network::of(Some(IpAddr::from(
                (0x0102_0000 + u32::from(peer)).to_be_bytes(),
            ))),
            ..stranger(peer)
        };
        held += ask(
            &mut serve,
            source,
            u64::from(peer) * 2..u64::from(peer) * 2 + 2,
        )
        .len();
    }
    assert_eq!(held, 8, "a quarter of the memory");
    let lookups = ask(&mut serve, stranger(0), 1000..1001);
    assert_eq!(lookups.len(), 1, "who reads is served");
    let source = Source {
        operator: Some(OperatorNumber(1)),
        ..stranger(999)
    };
    assert_eq!(
        ask(&mut serve, source, 1001..1002).len(),
        1,
        "who is staked too"
    );
}

#[test]
fn newcomers_of_one_network_leave_room_for_others() {
    let mut serve = Serve::default();
    let network = Network::of(Some(IpAddr::from([1, 2, 3, 4])));
    let mut held = 0;
    for peer in 0..100 {
        let source = Source {
            network,
            ..stranger(peer)
        };
        held += ask(&mut serve, source, u64::from(peer)..u64::from(peer) + 1).len();
    }
    assert_eq!(held, 4, "half of that");
    let source = Source {
        network: Network::of(Some(IpAddr::from([1, 2, 3, 5]))),
        ..stranger(100)
    };
    assert_eq!(ask(&mut serve, source, 100..101).len(), 1);
}

#[test]
fn who_stalled_has_its_turn_after_the_others() {
    let config = ServeConfig {
        bytes_max: BLOCK_BYTES_MAX as u64,
        ..ServeConfig::default()
    };
    let mut serve = Serve::new(config);
    let held = ask(&mut serve, stranger(0), 0..3);
    assert_eq!(ask(&mut serve, stranger(1), 3..4).len(), 0);
    let next = answer(&mut serve, held, false);
    assert_eq!(next[0].peer, stranger(1).peer);
    let next = answer(&mut serve, next, true);
    assert_eq!(next[0].peer, stranger(0).peer, "nobody else asks");
}

/// A peer that is not staked, from nowhere in particular.
fn stranger(idx: u16) -> Source {
    let mut peer = Address::ZERO;
    peer.0[..2].copy_from_slice(&idx.to_be_bytes());
    Source {
        peer,
        operator: None,
        network: Network::Unknown,
    }
}

/// Asks for 64 blocks in each of several requests; what is looked up.
fn ask(serve: &mut Serve, source: Source, ids: Range<u64>) -> Vec<Lookup> {
    for id in ids {
        serve.handle_request(ServeId(id), source, request(64), start());
    }
    std::iter::from_fn(|| serve.poll_lookup()).collect()
}

/// Serves as many bytes as were looked up, which are taken or not; what is looked up
/// next.
fn answer(serve: &mut Serve, lookups: Vec<Lookup>, is_taken: bool) -> Vec<Lookup> {
    for lookup in lookups {
        let blocks = lookup.bytes_max / BLOCK_BYTES_MAX;
        let block = Bytes::from(vec![0; BLOCK_BYTES_MAX]);
        serve.handle_blocks(lookup.id, vec![Some(block); blocks]);
        serve.handle_sent(lookup.id, is_taken);
    }
    std::iter::from_fn(|| serve.poll_lookup()).collect()
}

#[test]
fn too_many_requests_of_one_peer_hear_busy() {
    let mut serve = Serve::default();
    ask(&mut serve, stranger(0), 0..18);
    let reply = serve.poll_transmit().unwrap();
    assert_eq!(reply.id, ServeId(17));
    assert_eq!(reply.response, Response::all(&Answer::Busy, 64));
    assert_eq!(serve.poll_transmit(), None);
    let (at, _) = serve.poll_timeout().unwrap();
    serve.handle_timeout(at);
    let busy = std::iter::from_fn(|| serve.poll_transmit()).count();
    assert_eq!(busy, 16, "those that waited too long");
}

#[test]
fn a_response_that_would_be_too_large_is_cut() {
    let mut serve = Serve::default();
    let source = Source {
        operator: Some(OperatorNumber(1)),
        ..stranger(0)
    };
    let asked = ask(&mut serve, source, 0..1);
    let asked = answer(&mut serve, asked, true);
    assert_eq!(asked, []);
    while serve.poll_transmit().is_some() {}
    serve.handle_request(ServeId(2), source, request(64), start());
    let lookup = serve.poll_lookup().unwrap();
    assert_eq!(lookup.bytes_max, PAYLOAD_BYTES_MAX);
    let block = Bytes::from(vec![0; 1 << 20]);
    serve.handle_blocks(lookup.id, vec![Some(block); 5]);
    let reply = serve.poll_transmit().unwrap();
    assert_eq!(reply.response.answers.len(), 4);
    assert!(reply.response.encode().len() <= Protocol::Blocks.limits().response_bytes_max);
}

#[test]
fn messages_are_canonical_dag_cbor() {
    let request = request(3);
    assert_eq!(Request::decode(&request.encode()), Ok(request));
    let response = Response {
        answers: vec![
            Answer::Data(Bytes::from(vec![7; 300])),
            Answer::Missing,
            Answer::Busy,
            Answer::Data(Bytes::new()),
            Answer::Data(Bytes::from(vec![7; 70_000])),
        ],
    };
    let bytes = response.encode();
    assert_eq!(Response::decode(&bytes), Ok(response));
    let value: ipld_core::ipld::Ipld = serde_ipld_dagcbor::from_slice(&bytes).unwrap();
    assert_eq!(serde_ipld_dagcbor::to_vec(&value).unwrap(), bytes);
}

#[test]
fn messages_beyond_a_limit_are_refused() {
    assert!(Request::decode(&request(64).encode()).is_ok());
    assert!(Request::decode(&request(65).encode()).is_err());
    assert!(Request::decode(&request(0).encode()).is_err());
    let mut twice = request(1);
    twice.cids.push(twice.cids[0]);
    assert!(Request::decode(&twice.encode()).is_err());
    assert!(Request::decode(&vec![0; Protocol::Blocks.limits().request_bytes_max + 1]).is_err());
    let decode = |answers: Vec<Answer>| Response::decode(&Response { answers }.encode());
    let data = |size| Answer::Data(Bytes::from(vec![0; size]));
    assert!(decode(vec![data(2 << 20); 2]).is_ok());
    assert!(decode(vec![data(2 << 20), data(2 << 20), data(1)]).is_err());
    assert!(decode(vec![data((2 << 20) + 1)]).is_err());
    assert!(decode(vec![Answer::Busy; 64]).is_ok());
    assert!(decode(vec![Answer::Busy; 65]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Request::decode(&bytes);
        let mut response = b"\xa1\x66blocks".to_vec();
        response.extend(&bytes);
        if let Ok(decoded) = Response::decode(&Bytes::from(response.clone())) {
            prop_assert_eq!(decoded.encode(), response);
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Peer {
    Honest,
    /// Answers so many bytes a second.
    Rate(u64),
    Liar,
    Silent,
    Missing,
    /// Loses every n-th request.
    Lossy(usize),
    /// Has the root and each block whose number leaves this rest.
    Every(usize, usize),
}

#[derive(Debug)]
enum Arrival {
    Response(RequestId, Response),
    Stored(usize),
}

/// One fetching peer, its holders, and the wires between them in virtual time.
struct Net {
    fetch: Fetch,
    peers: Vec<(Peer, Serve, Moment)>,
    root: Cid,
    total: BTreeMap<Cid, Bytes>,
    stored: BTreeMap<Cid, Bytes>,
    order: Vec<Cid>,
    arrivals: BTreeMap<(Moment, u64), Arrival>,
    served: BTreeMap<Address, usize>,
    asked: BTreeMap<Address, usize>,
    events: Vec<Event>,
    now: Moment,
    sequence: u64,
    is_store_stuck: bool,
    unreported: usize,
}

impl Net {
    fn new(size: usize, peers: &[Peer]) -> Self {
        let (root, total) = file(size);
        let config = FetchConfig::light();
        Self::with_target(&Target::Dag(root), root, total, peers, config)
    }

    fn with_target(
        target: &Target,
        root: Cid,
        total: BTreeMap<Cid, Bytes>,
        peers: &[Peer],
        config: FetchConfig,
    ) -> Self {
        let mut fetch = Fetch::new(config, target, start());
        for idx in 0..peers.len() {
            fetch.handle_holder(peer(idx), 0, start());
        }
        let serve = |kind: &Peer| (*kind, Serve::default(), start());
        Self {
            fetch,
            peers: peers.iter().map(serve).collect(),
            root,
            total,
            stored: BTreeMap::new(),
            order: Vec::new(),
            arrivals: BTreeMap::new(),
            served: BTreeMap::new(),
            asked: BTreeMap::new(),
            events: Vec::new(),
            now: start(),
            sequence: 0,
            is_store_stuck: false,
            unreported: 0,
        }
    }

    fn run(&mut self) {
        self.run_until(start() + Duration::from_secs(3600));
    }

    fn run_until(&mut self, end: Moment) {
        if !self.is_store_stuck {
            let count = std::mem::take(&mut self.unreported);
            self.fetch.handle_stored(count, self.now);
        }
        loop {
            self.drain();
            let timeout = self.fetch.poll_timeout().map(|(at, _)| at);
            let arrival = self.arrivals.keys().next().map(|(at, _)| *at);
            let Some(next) = timeout.into_iter().chain(arrival).min() else {
                return;
            };
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            if arrival == Some(next) {
                match self.arrivals.pop_first().unwrap().1 {
                    Arrival::Response(id, response) => {
                        self.fetch.handle_response(id, response, self.now);
                    }
                    Arrival::Stored(count) => self.fetch.handle_stored(count, self.now),
                }
            } else {
                self.fetch.handle_timeout(self.now);
                let next = self.fetch.poll_timeout();
                assert!(next.is_none_or(|(at, _)| at > self.now), "{next:?} spins");
            }
            let (requests, _, _) = self.fetch.load();
            assert!(requests <= FetchConfig::light().requests_max);
        }
    }

    fn drain(&mut self) {
        while let Some(query) = self.fetch.poll_local() {
            let local = match self.stored.get(&query.cid) {
                None => Local::Absent,
                Some(data) if query.needs_data => Local::Data(data.clone()),
                Some(data) => Local::Present(data.len() as u64),
            };
            self.fetch.handle_local(&query.cid, local, self.now);
        }
        while let Some(transmit) = self.fetch.poll_transmit() {
            self.deliver(transmit);
        }
        let mut count = 0;
        while let Some(block) = self.fetch.poll_block() {
            let (cid, data) = block.into_parts();
            self.order.push(cid);
            self.stored.insert(cid, data);
            count += 1;
        }
        if self.is_store_stuck {
            self.unreported += count;
        } else if count > 0 {
            self.arrive(self.now + Duration::from_millis(5), Arrival::Stored(count));
        }
        self.events
            .extend(std::iter::from_fn(|| self.fetch.poll_event()));
    }

    fn deliver(&mut self, transmit: Transmit) {
        let idx = usize::from(transmit.to.0[19]);
        let count = self.asked.entry(transmit.to).or_default();
        *count += 1;
        let count = *count;
        let root = self.root;
        let numbers: BTreeMap<Cid, usize> = self.total.keys().copied().zip(0..).collect();
        let (kind, serve, free_at) = &mut self.peers[idx];
        let is_lost = match *kind {
            Peer::Silent => true,
            Peer::Lossy(every) => count.is_multiple_of(every),
            _ => false,
        };
        if is_lost {
            return;
        }
        let request = Request::decode(&transmit.request.encode()).unwrap();
        serve.handle_request(ServeId(transmit.id.0), stranger(100), request, self.now);
        let lookup = serve.poll_lookup().unwrap();
        let blocks = lookup.cids.iter().map(|cid| {
            let data = self.total.get(cid)?;
            match *kind {
                Peer::Missing => None,
                Peer::Every(n, rest) if *cid != root && numbers[cid] % n != rest => None,
                Peer::Liar => Some(Bytes::from(vec![1; data.len()])),
                _ => Some(data.clone()),
            }
        });
        serve.handle_blocks(lookup.id, blocks.collect());
        let reply = serve.poll_transmit().unwrap();
        serve.handle_sent(reply.id, true);
        let response = Response::decode(&reply.response.encode()).unwrap();
        let has_data = |answer: &&Answer| matches!(answer, Answer::Data(_));
        *self.served.entry(transmit.to).or_default() +=
            response.answers.iter().filter(has_data).count();
        let rate = match *kind {
            Peer::Rate(rate) => rate,
            _ => 20 << 20,
        };
        let nanos = response.payload_bytes() as u64 * 1_000_000_000 / rate;
        *free_at = self.now.max(*free_at) + Duration::from_nanos(nanos);
        let at = *free_at + Duration::from_millis(20);
        self.arrive(at, Arrival::Response(transmit.id, response));
    }

    fn arrive(&mut self, at: Moment, arrival: Arrival) {
        self.sequence += 1;
        self.arrivals.insert((at, self.sequence), arrival);
    }

    #[track_caller]
    fn check_done(&self) {
        let bytes = self.total.values().map(|data| data.len() as u64).sum();
        let blocks = self.total.len() as u64;
        assert_eq!(self.events.last(), Some(&Event::Done { blocks, bytes }));
        assert_eq!(self.stored, self.total);
        let distinct: BTreeSet<&Cid> = self.order.iter().collect();
        assert_eq!(
            distinct.len(),
            self.order.len(),
            "each block comes out once"
        );
    }
}

fn fetch_of_one() -> Fetch {
    let mut config = FetchConfig::light();
    config.asks_locally = false;
    let mut fetch = Fetch::new(config, &Target::Blocks(vec![raw_cid(b"a")]), start());
    fetch.handle_holder(peer(0), 0, start());
    fetch
}

fn request(count: u8) -> Request {
    Request {
        cids: (0..count).map(|number| raw_cid(&[number])).collect(),
    }
}

/// A file whose chunks all differ.
fn file(size: usize) -> (Cid, BTreeMap<Cid, Bytes>) {
    let mut importer = Importer::new(Profile::V1_2025);
    let mut chunk = vec![0; 1 << 20];
    for idx in 0..size >> 20 {
        chunk[..8].copy_from_slice(&(idx as u64).to_le_bytes());
        importer.push(&chunk);
    }
    let mut blocks: Vec<_> = std::iter::from_fn(|| importer.poll_block()).collect();
    let (root, rest) = importer.finish();
    blocks.extend(rest);
    let blocks = blocks.into_iter().map(VerifiedBlock::into_parts);
    (root.cid, blocks.collect())
}

fn peer(idx: usize) -> Address {
    let mut address = Address::ZERO;
    address.0[19] = u8::try_from(idx).unwrap();
    address
}

fn start() -> Moment {
    Moment::from_nanos(1)
}
