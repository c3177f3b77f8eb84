use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::*;
use crate::action::{Action, ActionDomain};
use crate::admission::Source;
use crate::author::{
    Candidate, Publication, PublicationConfig, PublicationEvent as Event, State, Transmit,
};
use crate::content::{
    BookConfig, Counters, Grant, Holder, HolderConfig, HolderEvent, IndexState, LeaseBook, Upload,
    UserFacts,
};
use crate::id::{EntityId, OperatorNumber, UserId};
use crate::origin::{Origin, RequestId};
use crate::signing::{Domain, Signed, SigningKey};
use crate::time::{Moment, UnixSeconds};

mod crowd;

#[test]
fn a_publication_reaches_its_target_over_one_upload() {
    let mut net = Net::new(7, 7);
    let end = net.run();
    check_distinct(&end, 5);
    assert!(matches!(end, Event::Complete { .. }));
    assert_eq!(
        net.author_bytes, SIZE,
        "only the first pulls from the author"
    );
    assert_eq!(net.durable_at, Some(3));
}

#[test]
fn few_operators_lower_target_and_minimum() {
    let mut net = Net::new(6, 2);
    let end = net.run();
    assert!(matches!(end, Event::Complete { .. }));
    check_distinct(&end, 2);
}

#[test]
fn leases_count_once_for_an_operator() {
    // The first four peers are one operator's.
    let mut net = Net::with_operators(&[1, 1, 1, 1, 2, 3, 4]);
    let end = net.run();
    assert!(matches!(end, Event::Complete { .. }));
    let first_four: BTreeSet<Address> = (1..=4).map(peer).collect();
    let of_one = leases(&end)
        .iter()
        .filter(|lease| first_four.contains(&lease.record.holder))
        .count();
    assert_eq!((leases(&end).len(), of_one), (4, 1));
    // A silent peer gives way to its operator's next.
    let mut net = Net::with_operators(&[1, 1, 2, 3]);
    net.faults.insert(peer(1), Fault::Silent);
    let end = net.run();
    assert!(matches!(end, Event::Complete { .. }));
    check_distinct(&end, 3);
}

#[test]
fn silent_and_lying_peers_are_passed_over() {
    for fault in [
        Fault::Silent,
        Fault::Stall,
        Fault::WrongSigner,
        Fault::WrongRoot,
    ] {
        let mut net = Net::new(8, 8);
        net.faults.insert(peer(1), fault);
        net.faults.insert(peer(3), fault);
        let end = net.run();
        assert!(matches!(end, Event::Complete { .. }), "{fault:?}: {end:?}");
        check_distinct(&end, 5);
        assert!(
            !leases(&end)
                .iter()
                .any(|lease| net.faults.contains_key(&lease.record.holder)),
            "{fault:?}"
        );
    }
}

#[test]
fn too_few_honest_operators_fail_with_every_reason() {
    let mut net = Net::new(5, 5);
    for faulty in 1..=3 {
        net.faults.insert(peer(faulty), Fault::Silent);
    }
    match net.run() {
        Event::Failed {
            leases,
            minimum,
            reasons,
        } => {
            assert_eq!((leases.len(), minimum, reasons.len()), (2, 3, 3));
        }
        other => panic!("expected a failure, got {other:?}"),
    }
    let mut net = Net::new(5, 5);
    net.faults.insert(peer(1), Fault::Silent);
    assert!(matches!(net.run(), Event::Partial { target: 5, .. }));
}

#[test]
fn peers_that_are_away_for_an_hour_are_waited_for_while_too_few_hold_the_root() {
    for fault in [Fault::Silent, Fault::Stall] {
        let mut net = Net::new(5, 5);
        net.faults
            .extend((1..=5).map(|number| (peer(number), fault)));
        while net.now < start() + Duration::from_secs(3600) {
            assert_eq!(net.step(), None, "{fault:?}");
        }
        net.faults.clear();
        check_distinct(&net.run(), 5);
    }
}

#[test]
fn requests_are_lost_and_the_upload_still_ends() {
    for seed in 0..20 {
        let mut net = Net::new(8, 8);
        net.loss = Some(seed);
        let end = net.run();
        check_distinct(&end, leases(&end).len());
        assert!(leases(&end).len() >= 3, "seed {seed}: {end:?}");
    }
}

#[test]
fn a_stored_state_goes_on_without_asking_its_holders_again() {
    let mut net = Net::new(7, 7);
    while net.publication.state().leases.len() < 2 {
        assert!(net.step().is_none());
    }
    let bytes = codec::to_bytes(net.publication.state());
    let state: State = codec::from_bytes("state", &bytes, 1 << 20).unwrap();
    net.publication = Publication::restore(PublicationConfig::new(DOMAIN), state, net.now);
    net.inbox.clear();
    let before = net.author_bytes;
    let end = net.run();
    check_distinct(&end, 5);
    assert_eq!(net.author_bytes, before);
}

#[test]
fn an_answer_that_was_not_asked_for_changes_nothing() {
    let mut net = Net::new(7, 7);
    let lease = net.lease_of(peer(5), root());
    net.publication
        .handle_response(peer(5), Response::Lease(Box::new(lease)), net.now);
    assert!(net.publication.state().leases.is_empty());
}

#[test]
fn offers_are_refused_by_name() {
    check_offer(|_| {}, Ok(()));
    check_offer(
        |offer| offer.action = offer.action.action.clone().sign(&ACTIONS, &key(201)),
        Err(RefusalCode::User),
    );
    check_offer(|offer| offer.root = other_root(), Err(RefusalCode::Invalid));
    check_offer(|offer| offer.size = 0, Err(RefusalCode::Invalid));
    check_offer(
        |offer| offer.sources = vec![peer(1); 17],
        Err(RefusalCode::Invalid),
    );
    check_offer(|offer| offer.size = 2 << 30, Err(RefusalCode::Quota));
    check_offer(|offer| offer.size = 25 << 30, Err(RefusalCode::Full));
}

#[test]
fn a_root_named_only_in_a_description_is_no_root_of_the_action() {
    let check = |metadata: String, expected| {
        check_offer(
            |offer| {
                let mut action = offer.action.action.clone();
                action.metadata.clone_from(&metadata);
                offer.action = action.sign(&ACTIONS, &key(200));
            },
            expected,
        );
    };
    let (named, other) = (root(), other_root());
    check(
        format!(r#"{{"data":{{"cid":"{other}","cover_art":"{named}"}}}}"#),
        Ok(()),
    );
    for data in [
        format!(r#"{{"cid":"{other}","description":"{named}"}}"#),
        format!(r#"{{"cid":"{other}","tags":"{named}"}}"#),
        format!(r#"{{"cid":"{other}","profile_picture":"{named}"}}"#),
        format!(r#"{{"cid":"{other}","cover_art":["{named}"]}}"#),
        format!(r#"{{"cid":"{other}","track_cid":"{named}"}}"#),
    ] {
        check(format!(r#"{{"data":{data}}}"#), Err(RefusalCode::Invalid));
    }
    check(named.to_string(), Err(RefusalCode::Invalid));
}

#[test]
fn a_prefix_has_a_quota_a_day_and_loopback_has_none() {
    let config = HolderConfig {
        prefix_bytes_per_day_max: Some(SIZE),
        ..HolderConfig::for_devnet()
    };
    let mut holder = Holder::new(config, [], start());
    holder.handle_capacity(1 << 40, 0);
    let mut ask = |root: Cid, ip: &str, now| {
        let offer = offer_of(root);
        ask(&mut holder, offer, ip, now)
    };
    assert_eq!(ask(nth_root(1), "10.0.0.1", start()), Response::Accepted);
    let Response::Refused(refusal) = ask(nth_root(2), "10.0.0.1", start()) else {
        panic!("over the quota")
    };
    assert_eq!(refusal.code, RefusalCode::Prefix);
    assert_eq!(ask(nth_root(3), "10.0.0.2", start()), Response::Accepted);
    assert_eq!(ask(nth_root(4), "127.0.0.1", start()), Response::Accepted);
    assert_eq!(
        ask(nth_root(5), "::ffff:127.0.0.1", start()),
        Response::Accepted
    );
    assert_eq!(
        ask(nth_root(6), "2001:db8:1:2::1", start()),
        Response::Accepted
    );
    let Response::Refused(_) = ask(nth_root(7), "2001:db8:1:3::9", start()) else {
        panic!("one /48")
    };
    let tomorrow = start() + Duration::from_secs(24 * 3600);
    assert_eq!(ask(nth_root(8), "10.0.0.1", tomorrow), Response::Accepted);
}

#[test]
fn what_is_not_published_in_time_is_dropped() {
    for published in [false, true] {
        let mut holder = Holder::new(HolderConfig::default(), [], start());
        holder.handle_capacity(1 << 40, 0);
        ask(&mut holder, offer_of(root()), "10.0.0.1", start());
        holder.handle_pulled(&root(), PROOF, SIZE, start());
        holder.handle_lease(lease(&key(1), root()));
        // A restart in between forgets nothing.
        let uploads: Vec<Upload> = holder.uploads().cloned().collect();
        let mut holder = Holder::new(HolderConfig::default(), uploads, start());
        if published {
            holder.handle_published(&root());
        }
        // While the chain is away nobody can tell.
        let hours = |count: u64| start() + Duration::from_secs(count * 3600);
        holder.handle_index(IndexState::Away, hours(1));
        holder.handle_timeout(hours(10));
        assert_eq!(holder.poll_event(), None);
        // What waited for the chain gets its whole time again.
        holder.handle_index(IndexState::Current, hours(10));
        holder.handle_timeout(hours(11));
        assert_eq!(holder.poll_event(), None);
        holder.handle_timeout(hours(12));
        let expected = (!published).then_some(HolderEvent::Drop { root: root() });
        assert_eq!(holder.poll_event(), expected);
    }
}

#[test]
fn a_pull_that_brought_something_else_gives_no_lease() {
    let mut holder = Holder::new(HolderConfig::for_devnet(), [], start());
    holder.handle_capacity(1 << 40, 0);
    ask(&mut holder, offer_of(root()), "10.0.0.1", start());
    while holder.poll_event().is_some() {}
    holder.handle_pulled(&root(), Hash32([9; 32]), SIZE, start());
    assert_eq!(
        holder.poll_event(),
        Some(HolderEvent::Drop { root: root() })
    );
    assert_eq!(holder.poll_event(), None);
}

#[test]
fn pulls_have_a_bound_and_go_in_order() {
    let config = HolderConfig {
        pulls_max: 1,
        ..HolderConfig::for_devnet()
    };
    let mut holder = Holder::new(config, [], start());
    holder.handle_capacity(1 << 40, 0);
    for number in 1..=2 {
        ask(&mut holder, offer_of(nth_root(number)), "10.0.0.1", start());
    }
    let pulls = |holder: &mut Holder| {
        std::iter::from_fn(|| holder.poll_event())
            .filter(|event| matches!(event, HolderEvent::Pull { .. }))
            .count()
    };
    assert_eq!(pulls(&mut holder), 1);
    holder.handle_pull_failed(&nth_root(1), start());
    assert_eq!(pulls(&mut holder), 1);
}

#[test]
fn messages_survive_their_encoding() {
    let request = Request::Offer(Box::new(offer_of(root())));
    assert_eq!(Request::from_bytes(&request.to_bytes()), Ok(request));
    let refusal = Refusal::new(RefusalCode::Quota, "é".repeat(400)).retry_after(3);
    assert!(refusal.reason.len() <= refusal::REASON_BYTES_MAX);
    for response in [
        Response::Accepted,
        Response::Progress { bytes: 7 },
        Response::Lease(Box::new(lease(&key(1), root()))),
        Response::Refused(refusal),
        Response::Unknown,
    ] {
        assert_eq!(Response::from_bytes(&response.to_bytes()), Ok(response));
    }
    assert!(
        Request::from_bytes(&vec![0; Protocol::Publish.limits().request_bytes_max + 1]).is_err()
    );
}

/// One author and many holders; a request takes a step, a pull takes three.
struct Net {
    now: Moment,
    publication: Publication,
    holders: BTreeMap<Address, Peer>,
    faults: BTreeMap<Address, Fault>,
    inbox: VecDeque<Transmit>,
    loss: Option<u64>,
    author_bytes: u64,
    durable_at: Option<usize>,
}

struct Peer {
    key: SigningKey,
    holder: Holder,
    book: LeaseBook,
    pulling: Option<(Cid, u8)>,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Silent,
    Stall,
    WrongSigner,
    WrongRoot,
}

impl Net {
    fn new(peers: u8, operators: u8) -> Self {
        let operators: Vec<u8> = (1..=peers).map(|number| number % operators).collect();
        Self::with_operators(&operators)
    }

    /// Peer n, counted from 1, is of the n-th operator given.
    fn with_operators(operators: &[u8]) -> Self {
        let peers = u8::try_from(operators.len()).unwrap();
        let candidates = (1..=peers)
            .zip(operators)
            .map(|(number, operator)| Candidate {
                peer: peer(number),
                operator: OperatorNumber(u64::from(*operator)),
            })
            .collect();
        let holders = (1..=peers)
            .map(|number| {
                let key = key(number);
                let mut holder = Holder::new(HolderConfig::for_devnet(), [], start());
                holder.handle_capacity(1 << 40, 0);
                let book = LeaseBook::new(
                    BookConfig::default(),
                    key.address(),
                    Counters::default(),
                    [],
                    None,
                );
                (
                    key.address(),
                    Peer {
                        key,
                        holder,
                        book,
                        pulling: None,
                    },
                )
            })
            .collect();
        Self {
            now: start(),
            publication: Publication::new(
                PublicationConfig::new(DOMAIN),
                offer_of(root()),
                candidates,
                start(),
            ),
            holders,
            faults: BTreeMap::new(),
            inbox: VecDeque::new(),
            loss: None,
            author_bytes: 0,
            durable_at: None,
        }
    }

    #[track_caller]
    fn run(&mut self) -> Event {
        for _ in 0..100_000 {
            if let Some(end) = self.step() {
                return end;
            }
        }
        panic!("the publication does not end");
    }

    fn step(&mut self) -> Option<Event> {
        while let Some(transmit) = self.publication.poll_transmit() {
            self.inbox.push_back(transmit);
        }
        while let Some(event) = self.publication.poll_event() {
            match event {
                Event::Progress { .. } => {}
                Event::Durable { leases } => {
                    assert_eq!(self.durable_at.replace(leases.len()), None, "durable once");
                }
                end => return Some(end),
            }
        }
        if let Some(transmit) = self.inbox.pop_front() {
            self.deliver(transmit);
        } else if let Some((at, _)) = self.publication.poll_timeout() {
            assert!(
                at >= self.now,
                "a deadline that has passed would be polled for ever"
            );
            self.now = at;
            self.publication.handle_timeout(at);
        }
        let addresses: Vec<Address> = self.holders.keys().copied().collect();
        for address in addresses {
            self.drive(address);
        }
        None
    }

    fn deliver(&mut self, transmit: Transmit) {
        if let Some(seed) = &mut self.loss {
            *seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            if *seed >> 62 == 0 {
                // Lost: sometimes noticed, sometimes not.
                if *seed & 1 << 40 == 0 {
                    self.publication.handle_failure(transmit.to, self.now);
                }
                return;
            }
        }
        let fault = self.faults.get(&transmit.to).copied();
        let response = match (fault, &transmit.request) {
            (Some(Fault::Silent), _) => return,
            (Some(Fault::Stall), Request::Offer(_)) => Response::Accepted,
            (Some(Fault::Stall), Request::Status { .. }) => Response::Progress { bytes: 10 },
            (Some(Fault::WrongSigner), _) => {
                let mut lease = lease(&key(99), root());
                lease.record.holder = transmit.to;
                Response::Lease(Box::new(lease))
            }
            (Some(Fault::WrongRoot), _) => {
                Response::Lease(Box::new(self.lease_of(transmit.to, other_root())))
            }
            (None, _) => {
                let peer = self.holders.get_mut(&transmit.to).unwrap();
                let lease = peer.book.lease(&root());
                let request = transmit.request;
                answer(&mut peer.holder, request, "10.0.0.1", lease, self.now)
            }
        };
        self.publication
            .handle_response(transmit.to, response, self.now);
    }

    fn drive(&mut self, address: Address) {
        let peer = self.holders.get_mut(&address).unwrap();
        if let Some((root, left)) = peer.pulling {
            peer.pulling = left.checked_sub(1).map(|left| (root, left));
            match peer.pulling {
                Some(_) => peer.holder.handle_progress(&root, SIZE / 2, self.now),
                None => peer.holder.handle_pulled(&root, PROOF, SIZE, self.now),
            }
        }
        while let Some(event) = peer.holder.poll_event() {
            match event {
                HolderEvent::Pull {
                    root,
                    size,
                    sources,
                    ..
                } => {
                    if sources.is_empty() {
                        self.author_bytes += size;
                    }
                    peer.pulling = Some((root, 3));
                }
                HolderEvent::Grant {
                    root,
                    proof_root,
                    size,
                } => match peer.book.grant(root, proof_root, size, self.now.epoch()) {
                    Grant::Draft { lease, .. } => {
                        let signed = Signed::new(lease, &DOMAIN, &peer.key);
                        peer.book.handle_signed(signed.clone());
                        peer.holder.handle_lease(signed);
                    }
                    other => panic!("expected a draft, got {other:?}"),
                },
                HolderEvent::Drop { .. } => peer.pulling = None,
            }
        }
    }

    fn lease_of(&self, holder: Address, root: Cid) -> SignedLease {
        lease(&self.holders[&holder].key, root)
    }
}

fn known_user(user: UserId, signer: Address) -> Option<UserFacts> {
    (user == UserId(7) && signer == key(200).address()).then_some(UserFacts {
        created: start().unix(),
        stored_bytes: 0,
        extra_bytes: 0,
    })
}

/// What a holder says to a request, after the checks that need nobody.
fn answer(
    holder: &mut Holder,
    request: Request,
    ip: &str,
    lease: Option<&SignedLease>,
    now: Moment,
) -> Response {
    let id = RequestId(1);
    let source = source(200, ip);
    match request {
        Request::Status { root } => holder.handle_status(id, &source.peer, &root, lease),
        Request::Offer(offer) => {
            if let Err(refusal) = offer.check() {
                return Response::Refused(refusal);
            }
            let Ok(signer) = offer.action.signer(&ACTIONS) else {
                let reason = "no signature";
                return Response::Refused(Refusal::new(RefusalCode::Signature, reason));
            };
            let user = known_user(offer.action.action.user_id, signer);
            holder.handle_offer(id, source, *offer, signer, (user, lease), now);
        }
    }
    holder.poll_reply().unwrap().response
}

#[track_caller]
fn check_offer(change: impl Fn(&mut Offer), expected: Result<(), RefusalCode>) {
    let mut holder = Holder::new(HolderConfig::default(), [], start());
    holder.handle_capacity(1 << 40, 0);
    let mut offer = offer_of(root());
    change(&mut offer);
    match (ask(&mut holder, offer, "10.0.0.1", start()), expected) {
        (Response::Accepted, Ok(())) => {
            assert!(matches!(
                holder.poll_event(),
                Some(HolderEvent::Pull { .. })
            ));
        }
        (Response::Refused(refusal), Err(code)) => {
            assert_eq!(refusal.code, code, "{}", refusal.reason);
            assert_eq!(holder.poll_event(), None, "no byte moves");
        }
        (response, expected) => panic!("expected {expected:?}, got {response:?}"),
    }
}

fn ask(holder: &mut Holder, offer: Offer, ip: &str, now: Moment) -> Response {
    let request = Request::Offer(Box::new(offer));
    answer(holder, request, ip, None, now)
}

#[track_caller]
fn check_distinct(end: &Event, expected: usize) {
    let holders: BTreeSet<Address> = leases(end)
        .iter()
        .map(|lease| lease.record.holder)
        .collect();
    assert_eq!(holders.len(), expected);
}

fn leases(end: &Event) -> &[SignedLease] {
    match end {
        Event::Complete { leases }
        | Event::Durable { leases }
        | Event::Partial { leases, .. }
        | Event::Failed { leases, .. } => leases,
        Event::Progress { .. } => &[],
    }
}

fn lease(key: &SigningKey, root: Cid) -> SignedLease {
    let mut book = LeaseBook::new(
        BookConfig::default(),
        key.address(),
        Counters::default(),
        [],
        None,
    );
    match book.grant(root, PROOF, SIZE, start().epoch()) {
        Grant::Draft { lease, .. } => Signed::new(lease, &DOMAIN, key),
        other => panic!("expected a draft, got {other:?}"),
    }
}

fn offer_of(root: Cid) -> Offer {
    let action = Action {
        user_id: UserId(7),
        entity_type: "Track".to_owned(),
        entity_id: EntityId(2_000_001),
        action: "Create".to_owned(),
        metadata: format!(r#"{{"data":{{"cid":"{root}"}}}}"#),
        nonce: Hash32([3; 32]),
    };
    Offer {
        action: action.sign(&ACTIONS, &key(200)),
        root,
        proof_root: PROOF,
        size: SIZE,
        sources: Vec::new(),
    }
}

/// A peer without stake.
fn source(number: u8, ip: &str) -> Source {
    let origin = Origin {
        peer: peer(number),
        ip: Some(ip.parse().unwrap()),
    };
    Source::new(origin, None)
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32]).unwrap()
}

fn peer(number: u8) -> Address {
    key(number).address()
}

fn root() -> Cid {
    nth_root(0)
}

fn other_root() -> Cid {
    nth_root(255)
}

fn nth_root(number: u8) -> Cid {
    Cid::new_v1(
        0x55,
        multihash::Multihash::wrap(0x12, &[number; 32]).unwrap(),
    )
}

fn start() -> Moment {
    Moment::from_unix(UnixSeconds(1_700_000_000))
}

const SIZE: u64 = 10 << 20;

const PROOF: Hash32 = Hash32([4; 32]);

const DOMAIN: Domain = Domain {
    chain_id: 1337,
    verifying_contract: Address([1; 20]),
};

const ACTIONS: ActionDomain = ActionDomain {
    chain_id: 1338,
    entity_manager: Address([2; 20]),
};
