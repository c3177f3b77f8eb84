use super::*;
use crate::amount::Dgc;
use crate::id::Role;
use crate::placement::Placement;
use crate::registry::Registry;
use crate::registry::testing::{Enrolment, registry_of};
use crate::time::UnixSeconds;

#[test]
fn every_root_gets_back_to_its_target_after_a_loss() {
    let mut net = Net::new(9, 200);
    net.settle();
    net.check_replicas(5);
    net.kill(3);
    net.run_for(Duration::from_secs(40));
    net.check_replicas(5);
}

#[test]
fn a_returned_peer_relieves_its_substitutes() {
    let mut net = Net::new(8, 100);
    net.settle();
    let before = net.holdings();
    net.kill(2);
    net.run_for(Duration::from_secs(60));
    assert_ne!(net.holdings(), before);
    net.revive(2);
    net.run_for(Duration::from_secs(120));
    assert_eq!(net.holdings(), before);
    assert_eq!(
        net.replicas_lowest, 5,
        "a release never went below the target"
    );
}

#[test]
fn a_release_waits_for_the_checked_reads() {
    let (mut repair, root) = surplus();
    let readers = checks(&mut repair);
    assert_eq!(readers.len(), 2);
    repair.handle_check(readers[0], &root, true);
    assert_eq!(repair.poll_event(), None, "one answer is not all answers");
    repair.handle_check(readers[1], &root, true);
    assert_eq!(repair.poll_event(), Some(Event::Release { root }));
}

#[test]
fn a_refuted_read_keeps_the_root() {
    let (mut repair, root) = surplus();
    let readers = checks(&mut repair);
    repair.handle_check(readers[0], &root, false);
    repair.handle_check(readers[1], &root, true);
    step(&mut repair, start());
    assert_eq!(drain(&mut repair), []);
    assert!(repair.holders(&root).any(|holder| holder == ME));
}

#[test]
fn a_page_does_not_outweigh_a_refuted_read() {
    let (mut repair, root) = surplus();
    let readers = checks(&mut repair);
    repair.handle_check(readers[0], &root, false);
    repair.handle_holding(readers[0], root, FACTS);
    repair.handle_check(readers[1], &root, true);
    assert_eq!(drain(&mut repair), []);
}

#[test]
fn a_change_during_the_check_keeps_the_root() {
    let (mut repair, root) = surplus();
    let readers = checks(&mut repair);
    repair.handle_released(&readers[0], &root);
    for reader in readers {
        repair.handle_check(reader, &root, true);
    }
    assert_eq!(drain(&mut repair), []);
}

#[test]
fn a_table_that_disagrees_with_the_others_is_named() {
    let (repair, root) = surplus();
    assert_eq!(repair.contradiction(), None);
    let check = |table: &str, wrong: &dyn Fn(&mut Repair)| {
        let (mut repair, _) = surplus();
        wrong(&mut repair);
        assert_eq!(repair.contradiction(), Some(table));
    };
    check("retries", &|repair| {
        repair.retries.insert((start(), root));
    });
    check("holdings", &|repair| drop(repair.holdings.remove(&ME)));
    check("claims", &|repair| repair.claimed_count += 1);
    check("queue", &|repair| {
        repair.queue.insert(root, (queue::Line::Nobody, 0), 1);
    });
}

#[test]
fn the_roots_with_the_fewest_holders_come_first() {
    let mut repair = one(&[ME, peer(2), peer(3)], 3);
    for number in 0..4 {
        hold(&mut repair, peer(2), root(number), FACTS);
        if number != 2 {
            hold(&mut repair, peer(3), root(number), FACTS);
        }
    }
    step(&mut repair, start());
    let Some(Event::Fetch {
        root: first,
        holders,
        ..
    }) = repair.poll_event()
    else {
        panic!("a fetch")
    };
    assert_eq!((first, holders), (root(2), vec![peer(2)]));
}

#[test]
fn a_peer_is_lost_once_it_was_silent_for_long() {
    let mut repair = one(&[ME, peer(2)], 2);
    let heard = start() + Duration::from_secs(5);
    repair.handle_presence(peer(2), heard, heard);
    repair.handle_timeout(start() + Duration::from_secs(10));
    assert!(repair.lost().is_empty());
    repair.handle_timeout(heard + Duration::from_secs(10));
    assert_eq!(drain(&mut repair), [Event::Lost { peer: peer(2) }]);
    repair.handle_presence(peer(2), heard, heard);
    assert!(!repair.lost().is_empty(), "an old presence proves nothing");
    repair.handle_presence(
        peer(2),
        heard + Duration::from_secs(11),
        heard + Duration::from_secs(11),
    );
    assert_eq!(drain(&mut repair), [Event::Returned { peer: peer(2) }]);
}

#[test]
fn a_lost_peer_does_not_return_by_a_word_that_is_as_old_as_its_silence() {
    let mut repair = one(&[ME, peer(2)], 2);
    let late = start() + Duration::from_secs(15);
    repair.handle_timeout(late);
    assert_eq!(drain(&mut repair), [Event::Lost { peer: peer(2) }]);
    repair.handle_presence(peer(2), start() + Duration::from_secs(5), late);
    repair.handle_timeout(late);
    assert_eq!(
        drain(&mut repair),
        [],
        "it was silent for long since then, too"
    );
    assert!(repair.lost().contains(&peer(2)));
    repair.handle_presence(peer(2), start() + Duration::from_secs(6), late);
    assert_eq!(drain(&mut repair), [Event::Returned { peer: peer(2) }]);
    repair.handle_timeout(late + Duration::from_secs(1));
    assert_eq!(drain(&mut repair), [Event::Lost { peer: peer(2) }]);
}

#[test]
fn a_root_without_live_holders_is_starved_once() {
    let mut repair = one(&[ME, peer(2)], 2);
    hold(&mut repair, peer(2), root(1), FACTS);
    let late = start() + Duration::from_secs(10);
    repair.handle_timeout(late);
    step(&mut repair, late);
    let starved = Event::Starved {
        root: root(1),
        lost_holders: vec![peer(2)],
    };
    let searched = Event::Fetch {
        root: root(1),
        facts: None,
        holders: Vec::new(),
    };
    let lost = Event::Lost { peer: peer(2) };
    assert_eq!(drain(&mut repair), [lost, starved, searched.clone()]);
    repair.handle_fetch_failed(&root(1), late);
    step(&mut repair, late + Duration::from_secs(60));
    assert_eq!(
        drain(&mut repair),
        [searched],
        "it is told once and looked for again"
    );
    assert_eq!(repair.progress().starved, 1);
}

#[test]
fn a_root_is_not_called_starved_before_its_holders_could_be_heard() {
    let mut repair = one(&[ME, peer(2)], 2);
    hold(&mut repair, ME, root(1), FACTS);
    repair.handle_corrupt(&root(1));
    step(&mut repair, start() + Duration::from_secs(1));
    let is_starved = |event: &Event| matches!(event, Event::Starved { .. });
    assert!(
        !drain(&mut repair).iter().any(is_starved),
        "nobody was asked yet"
    );
    hold(&mut repair, peer(2), root(1), FACTS);
    repair.handle_presence(
        peer(2),
        start() + Duration::from_secs(5),
        start() + Duration::from_secs(5),
    );
    step(&mut repair, start() + Duration::from_secs(11));
    assert!(
        !drain(&mut repair).iter().any(is_starved),
        "it has a holder"
    );
}

#[test]
fn bandwidth_and_fetches_are_bounded() {
    let mut repair = one(&[ME, peer(2), peer(3)], 3);
    for number in 0..10 {
        let holder = peer(2 + u8::try_from(number % 2).unwrap());
        hold(&mut repair, holder, root(number), FACTS);
    }
    step(&mut repair, start());
    // The burst is four roots, the bound on fetches three.
    assert_eq!(drain(&mut repair).len(), 3);
    for number in 0..3 {
        repair.handle_fetched(&root(number), FACTS, start());
    }
    assert_eq!(drain(&mut repair).len(), 1);
    let (at, reason) = repair.poll_timeout().unwrap();
    assert_eq!(reason, "repair step");
    step(&mut repair, at);
    let (at, reason) = repair.poll_timeout().unwrap();
    assert_eq!(
        (at - start(), reason),
        (Duration::from_secs(1), "repair bandwidth")
    );
    repair.handle_timeout(at);
    assert_eq!(drain(&mut repair).len(), 1);
}

#[test]
fn a_failed_fetch_is_tried_again_later() {
    let mut repair = one(&[ME, peer(2)], 2);
    hold(&mut repair, peer(2), root(1), FACTS);
    step(&mut repair, start());
    assert_eq!(drain(&mut repair).len(), 1);
    repair.handle_fetch_failed(&root(1), start());
    step(&mut repair, start() + Duration::from_secs(1));
    assert_eq!(drain(&mut repair), []);
    repair.handle_presence(
        peer(2),
        start() + Duration::from_secs(3),
        start() + Duration::from_secs(3),
    );
    step(&mut repair, start() + Duration::from_secs(5));
    assert_eq!(drain(&mut repair).len(), 1);
}

#[test]
fn a_corrupt_root_is_fetched_again_even_where_it_is_not_wanted() {
    let mut repair = one(&[peer(2), ME], 1);
    hold(&mut repair, ME, root(1), FACTS);
    step(&mut repair, start());
    hold(&mut repair, peer(2), root(1), FACTS);
    repair.handle_corrupt(&root(1));
    step(&mut repair, start() + Duration::from_secs(1));
    assert!(matches!(&drain(&mut repair)[..], [Event::Fetch { .. }]));
    repair.handle_fetched(&root(1), FACTS, start());
    assert!(repair.holders(&root(1)).any(|holder| holder == ME));
}

#[test]
fn a_root_that_nothing_names_any_more_is_given_up_when_it_arrives() {
    let mut repair = one(&[ME, peer(2)], 2);
    hold(&mut repair, peer(2), root(1), FACTS);
    step(&mut repair, start());
    drain(&mut repair);
    repair.handle_unrequired(&root(1));
    repair.handle_fetched(&root(1), FACTS, start());
    assert_eq!(drain(&mut repair), [Event::Release { root: root(1) }]);
    repair.handle_released(&peer(2), &root(1));
    assert_eq!(repair.progress().roots, 0);
}

#[test]
fn a_claim_alone_is_fetched_by_nobody() {
    let mut repair = one(&[ME, peer(2)], 2);
    for number in 0..100 {
        repair.handle_holding(peer(2), root(number), FACTS);
    }
    hold(&mut repair, peer(2), root(7), FACTS);
    step(&mut repair, start());
    step(&mut repair, start() + Duration::from_secs(60));
    let fetched: Vec<Cid> = fetches(&mut repair);
    assert_eq!(fetched, [root(7)]);
}

#[test]
fn roots_that_nobody_claims_are_looked_for_one_at_a_time_and_after_all_others() {
    let mut repair = one(&[ME, peer(2)], 2);
    for number in 0..10 {
        repair.handle_required(root(number), None);
    }
    hold(&mut repair, peer(2), root(30), FACTS);
    step(&mut repair, start());
    step(&mut repair, start() + Duration::from_secs(1));
    assert_eq!(fetches(&mut repair), [root(30), root(0)]);
    repair.handle_fetched(&root(0), FACTS, start());
    assert_eq!(fetches(&mut repair), [root(1)]);
}

#[test]
fn a_root_is_not_fetched_before_its_authors_offers_have_come() {
    let mut repair = one(&[ME, peer(2)], 2);
    let from = start() + Duration::from_secs(30);
    repair.handle_required(root(1), Some(from));
    repair.handle_holding(peer(2), root(1), FACTS);
    repair.handle_presence(peer(2), from, from);
    step(&mut repair, start() + Duration::from_secs(29));
    assert_eq!(fetches(&mut repair), []);
    step(&mut repair, from);
    assert_eq!(fetches(&mut repair), [root(1)]);
}

#[test]
fn a_claimant_that_delivers_nothing_holds_nobody_else_up() {
    let mut repair = one(&[ME, peer(2), peer(3)], 3);
    for number in 0..50 {
        hold(&mut repair, peer(2), root(number), FACTS);
    }
    let mut now = start();
    let mut junk = 0;
    for number in 100..110 {
        hold(&mut repair, peer(3), root(number), FACTS);
        let mut is_fetched = false;
        for _ in 0..20 {
            step(&mut repair, now);
            for root in fetches(&mut repair) {
                if (0..50).any(|number| self::root(number) == root) {
                    junk += 1;
                    repair.handle_fetch_failed(&root, now);
                } else {
                    is_fetched = true;
                    repair.handle_fetched(&root, FACTS, now);
                }
            }
            now = now + Duration::from_secs(1);
            repair.handle_presence(peer(2), now, now);
            repair.handle_presence(peer(3), now, now);
        }
        assert!(
            is_fetched,
            "root {number} waits behind the claims of another"
        );
    }
    assert!(
        junk < 20,
        "{junk} fetches in 200 s from a peer that delivers nothing"
    );
}

#[test]
fn more_claims_than_are_remembered_leave_room_for_what_is_published() {
    let mut repair = Repair::new(
        Config {
            claimed_roots_max: 10,
            ..config(2)
        },
        ME,
        Arc::new(Fixed(vec![ME, peer(2)])),
        start(),
    );
    for number in 0..100 {
        repair.handle_holding(peer(2), root(number), FACTS);
    }
    assert_eq!(repair.progress().roots, 10);
    hold(&mut repair, peer(2), root(99), FACTS);
    step(&mut repair, start());
    assert_eq!(fetches(&mut repair), [root(99)]);
}

#[test]
fn claims_that_contradict_what_was_verified_are_not_counted() {
    let mut repair = one(&[ME, peer(2), peer(3)], 3);
    hold(&mut repair, ME, root(1), FACTS);
    let other = RootFacts { size: 1, ..FACTS };
    hold(&mut repair, peer(2), root(1), other);
    let counted: Vec<Address> = repair.holders(&root(1)).collect();
    assert_eq!(counted, [ME]);
}

#[test]
fn a_lie_about_a_root_does_not_stop_its_repair() {
    for lie in [
        RootFacts { size: 1, ..FACTS },
        RootFacts {
            size: u64::MAX,
            ..FACTS
        },
        RootFacts {
            proof_root: Hash32([9; 32]),
            ..FACTS
        },
    ] {
        let mut repair = one(&[ME, peer(2), peer(3)], 3);
        hold(&mut repair, peer(2), root(1), lie);
        hold(&mut repair, peer(3), root(1), FACTS);
        let mut now = start();
        let mut tried = Vec::new();
        while tried.len() < 2 {
            step(&mut repair, now);
            for event in drain(&mut repair) {
                let Event::Fetch { root, facts, .. } = event else {
                    continue;
                };
                tried.extend(facts);
                repair.handle_fetch_failed(&root, now);
            }
            now = repair.poll_timeout().unwrap().0;
            assert!(now < start() + Duration::from_secs(120), "only {tried:?}");
        }
        tried.sort();
        assert!(tried.contains(&FACTS) && tried.contains(&lie), "{tried:?}");
    }
}

#[test]
fn what_most_operators_claim_is_tried_first() {
    let mut repair = one(&[ME, peer(2), peer(3), peer(4)], 4);
    let lie = RootFacts { size: 1, ..FACTS };
    hold(&mut repair, peer(2), root(1), lie);
    hold(&mut repair, peer(3), root(1), FACTS);
    hold(&mut repair, peer(4), root(1), FACTS);
    step(&mut repair, start());
    let fetch = Event::Fetch {
        root: root(1),
        facts: Some(FACTS),
        holders: vec![peer(3), peer(4), peer(2)],
    };
    assert_eq!(drain(&mut repair), [fetch]);
}

#[test]
fn what_was_verified_outranks_every_claim() {
    let mut repair = one(&[ME, peer(2), peer(3), peer(4)], 4);
    let lie = RootFacts { size: 1, ..FACTS };
    hold(&mut repair, peer(2), root(1), lie);
    hold(&mut repair, peer(3), root(1), lie);
    hold(&mut repair, peer(4), root(1), FACTS);
    step(&mut repair, start());
    assert_eq!(drain(&mut repair).len(), 1);
    repair.handle_fetched(&root(1), FACTS, start());
    let counted: Vec<Address> = repair.holders(&root(1)).collect();
    assert_eq!(counted, [ME, peer(4)]);
}

#[test]
fn a_claimed_size_holds_other_roots_up_for_a_bounded_time() {
    let mut repair = one(&[ME, peer(2), peer(3)], 3);
    let lie = RootFacts {
        size: u64::MAX,
        ..FACTS
    };
    hold(&mut repair, peer(2), root(1), lie);
    step(&mut repair, start());
    assert_eq!(drain(&mut repair).len(), 1);
    hold(&mut repair, peer(3), root(2), FACTS);
    step(&mut repair, start() + Duration::from_secs(1));
    let hour = start() + Duration::from_secs(3600);
    repair.handle_presence(peer(3), hour, hour);
    repair.handle_timeout(hour);
    let is_fetch = |event: &Event| matches!(event, Event::Fetch { .. });
    assert!(drain(&mut repair).iter().any(is_fetch));
}

#[test]
fn a_step_looks_at_a_bounded_number_of_roots() {
    let mut repair = one(&[ME, peer(2)], 2);
    for number in 0..100 {
        hold(&mut repair, ME, root(number), FACTS);
        hold(&mut repair, peer(2), root(number), FACTS);
    }
    let mut steps = 0;
    let mut now = start();
    while repair.progress().is_scanning {
        repair.handle_timeout(now);
        now = now + Duration::from_millis(20);
        steps += 1;
    }
    // 100 changed roots and a pass over as many, 16 a step.
    assert_eq!(steps, 13);
}

/// All peers' machines, with leases known to everybody a second later.
struct Net {
    now: Moment,
    machines: BTreeMap<Address, Repair>,
    dead: BTreeSet<Address>,
    stored: BTreeMap<Address, BTreeSet<Cid>>,
    roots: usize,
    replicas_lowest: usize,
    is_settled: bool,
}

impl Net {
    fn new(peers: u8, roots: usize) -> Self {
        let placement = Arc::new(Placement::new(&registry(peers)));
        let machines = (1..=peers)
            .map(|number| {
                (
                    peer(number),
                    Repair::new(fast(), peer(number), placement.clone(), start()),
                )
            })
            .collect();
        let mut net = Self {
            now: start(),
            machines,
            dead: BTreeSet::new(),
            stored: (1..=peers)
                .map(|number| (peer(number), BTreeSet::new()))
                .collect(),
            roots,
            replicas_lowest: usize::MAX,
            is_settled: false,
        };
        // At first one peer holds each root.
        for number in 0..roots {
            let holder = peer(u8::try_from(number % usize::from(peers)).unwrap() + 1);
            net.stored.get_mut(&holder).unwrap().insert(root(number));
            net.tell(holder, root(number), true);
        }
        net
    }

    fn settle(&mut self) {
        self.run_for(Duration::from_secs(120));
        self.is_settled = true;
    }

    fn kill(&mut self, number: u8) {
        self.dead.insert(peer(number));
    }

    fn revive(&mut self, number: u8) {
        self.dead.remove(&peer(number));
        // It missed what happened, and reads the pages of the others.
        let stored = self.stored.clone();
        for (holder, roots) in stored {
            for root in roots {
                let machine = self.machines.get_mut(&peer(number)).unwrap();
                hold(machine, holder, root, FACTS);
            }
        }
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now = self.now + Duration::from_millis(100);
            let alive: Vec<Address> = self
                .stored
                .keys()
                .filter(|peer| !self.dead.contains(*peer))
                .copied()
                .collect();
            for peer in &alive {
                for other in &alive {
                    self.machines
                        .get_mut(peer)
                        .unwrap()
                        .handle_presence(*other, self.now, self.now);
                }
                self.machines
                    .get_mut(peer)
                    .unwrap()
                    .handle_timeout(self.now);
                self.drain(*peer);
            }
        }
    }

    fn drain(&mut self, me: Address) {
        while let Some(event) = self.machines.get_mut(&me).unwrap().poll_event() {
            match event {
                Event::Fetch { root, holders, .. } => {
                    let source = holders.iter().find(|holder| !self.dead.contains(*holder));
                    let is_there = source.is_some_and(|source| self.stored[source].contains(&root));
                    if is_there {
                        self.stored.get_mut(&me).unwrap().insert(root);
                        self.machines
                            .get_mut(&me)
                            .unwrap()
                            .handle_fetched(&root, FACTS, self.now);
                        self.tell(me, root, true);
                    } else {
                        self.machines
                            .get_mut(&me)
                            .unwrap()
                            .handle_fetch_failed(&root, self.now);
                    }
                }
                Event::CheckRead { peer, root } => {
                    let is_held = !self.dead.contains(&peer) && self.stored[&peer].contains(&root);
                    self.machines
                        .get_mut(&me)
                        .unwrap()
                        .handle_check(peer, &root, is_held);
                }
                Event::Release { root } => {
                    self.stored.get_mut(&me).unwrap().remove(&root);
                    self.tell(me, root, false);
                    if self.is_settled {
                        let left = self.replicas(&root);
                        self.replicas_lowest = self.replicas_lowest.min(left);
                    }
                }
                Event::Starved { root, .. } => panic!("{root} is starved"),
                Event::Lost { .. } | Event::Returned { .. } => {}
            }
        }
    }

    fn tell(&mut self, holder: Address, root: Cid, is_held: bool) {
        for (address, machine) in &mut self.machines {
            if self.dead.contains(address) {
                continue;
            }
            if is_held {
                hold(machine, holder, root, FACTS);
            } else {
                machine.handle_released(&holder, &root);
            }
        }
    }

    fn replicas(&self, root: &Cid) -> usize {
        self.stored
            .iter()
            .filter(|(peer, roots)| !self.dead.contains(*peer) && roots.contains(root))
            .count()
    }

    fn holdings(&self) -> BTreeMap<Address, BTreeSet<Cid>> {
        self.stored.clone()
    }

    #[track_caller]
    fn check_replicas(&self, expected: usize) {
        for number in 0..self.roots {
            let found = self.replicas(&root(number));
            assert!(found >= expected, "{} has {found} replicas", root(number));
        }
    }
}

/// Wants the same peers for every root.
#[derive(Debug)]
struct Fixed(Vec<Address>);

impl Placing for Fixed {
    fn place(&self, _: &Cid, target: usize, lost: &BTreeSet<Address>) -> Vec<Address> {
        self.0
            .iter()
            .filter(|peer| !lost.contains(*peer))
            .take(target)
            .copied()
            .collect()
    }

    fn operator_of(&self, peer: &Address) -> Option<OperatorNumber> {
        self.0
            .contains(peer)
            .then(|| OperatorNumber(u64::from(peer.0[0])))
    }

    fn peers(&self) -> Vec<Address> {
        self.0.clone()
    }
}

/// A machine that holds a root for which two others are wanted and hold it.
fn surplus() -> (Repair, Cid) {
    let mut repair = one(&[peer(2), peer(3), ME], 2);
    for holder in [ME, peer(2), peer(3)] {
        hold(&mut repair, holder, root(1), FACTS);
    }
    step(&mut repair, start());
    (repair, root(1))
}

fn checks(repair: &mut Repair) -> Vec<Address> {
    drain(repair)
        .into_iter()
        .map(|event| match event {
            Event::CheckRead { peer, .. } => peer,
            other => panic!("expected a check, got {other:?}"),
        })
        .collect()
}

fn one(ranked: &[Address], target: usize) -> Repair {
    Repair::new(
        config(target),
        ME,
        Arc::new(Fixed(ranked.to_vec())),
        start(),
    )
}

fn config(target: usize) -> Config {
    Config {
        target,
        lost_after: Duration::from_secs(10),
        pass_interval: Duration::from_secs(60),
        step_roots_max: 16,
        fetches_max: 3,
        bytes_per_second: FACTS.size,
        burst_bytes_max: 4 * FACTS.size,
        retry_interval: Duration::from_secs(5),
        ..Config::default()
    }
}

/// The runs over a whole network are not about bandwidth.
fn fast() -> Config {
    Config {
        lost_after: Duration::from_secs(10),
        pass_interval: Duration::from_secs(30),
        retry_interval: Duration::from_secs(1),
        ..Config::default()
    }
}

/// A peer holds a root that something published names.
fn hold(repair: &mut Repair, peer: Address, root: Cid, facts: RootFacts) {
    repair.handle_required(root, None);
    repair.handle_holding(peer, root, facts);
}

fn step(repair: &mut Repair, now: Moment) {
    repair.handle_timeout(now);
}

fn fetches(repair: &mut Repair) -> Vec<Cid> {
    let fetched = drain(repair).into_iter().filter_map(|event| match event {
        Event::Fetch { root, .. } => Some(root),
        _ => None,
    });
    fetched.collect()
}

fn drain(repair: &mut Repair) -> Vec<Event> {
    std::iter::from_fn(|| repair.poll_event()).collect()
}

fn registry(peers: u8) -> Registry {
    registry_of((1..=peers).map(|number| holder(number, peer(number))))
}

/// A content peer as an operator of its own.
pub(in crate::content) fn holder(number: u8, wallet: Address) -> Enrolment<'static> {
    Enrolment {
        number,
        roles: &[Role::Content],
        wallet,
        public_key: vec![number; 64],
        stake: Dgc::whole(200_000 * u64::from(number)),
    }
}

fn peer(number: u8) -> Address {
    Address([number; 20])
}

fn root(number: usize) -> Cid {
    let mut hash = [7; 32];
    hash[..8].copy_from_slice(&(number as u64).to_be_bytes());
    Cid::new_v1(0x55, multihash::Multihash::wrap(0x12, &hash).unwrap())
}

fn start() -> Moment {
    Moment::from_unix(UnixSeconds(1_700_000_000))
}

const ME: Address = Address([1; 20]);

const FACTS: RootFacts = RootFacts {
    proof_root: Hash32([4; 32]),
    size: 1 << 20,
};
