use std::time::Duration;

use proptest::prelude::*;

use super::budget::{REQUESTS_MAX, SOURCES_MAX};
use super::*;
use crate::time::Moment;

const CONFIG: Config = Config {
    connections_max: 8,
    network_max: 3,
    loopback_max: 4,
};

fn network(last: u8) -> Source {
    Source::of(Some([192, 0, 2, last].into()))
}

fn at(seconds: u64) -> Moment {
    Moment::ZERO + Duration::from_secs(seconds)
}

/// Opens one connection a second and says which ones were closed for them.
fn open_all(connections: &mut Connections, sources: &[Source]) -> Vec<Result<Opened, Full>> {
    let opened = sources.iter().enumerate();
    let opened = opened.map(|(second, source)| connections.handle_open(*source, at(second as u64)));
    opened.collect()
}

#[test]
fn a_source_with_its_share_replaces_its_own_longest_waiting() {
    let mut connections = Connections::new(CONFIG);
    let opened = open_all(&mut connections, &[network(1); 4]);
    let ids: Vec<_> = opened.iter().map(|one| one.unwrap().id).collect();
    assert_eq!(opened[3].unwrap().closed, Some(ids[0]));
    // What is at work stays.
    connections.handle_working(ids[1]);
    let next = connections.handle_open(network(1), at(9)).unwrap();
    assert_eq!(next.closed, Some(ids[2]));
    assert_eq!(connections.count(), 3);
}

#[test]
fn a_network_whose_requests_are_all_under_way_gets_no_more() {
    let mut connections = Connections::new(CONFIG);
    for opened in open_all(&mut connections, &[network(1); 3]) {
        connections.handle_working(opened.unwrap().id);
    }
    assert_eq!(connections.handle_open(network(1), at(9)), Err(Full));
    assert!(connections.handle_open(network(2), at(9)).is_ok());
    assert!(connections.handle_open(Source::Unknown, at(9)).is_ok());
}

#[test]
fn when_all_places_are_taken_the_source_with_the_most_gives_one_up() {
    let mut connections = Connections::new(CONFIG);
    let sources = [1, 2, 2, 2, 3, 3, 4, 4].map(network);
    let opened = open_all(&mut connections, &sources);
    let newcomer = connections.handle_open(network(5), at(9)).unwrap();
    assert_eq!(newcomer.closed, Some(opened[1].unwrap().id));
    assert_eq!(connections.count(), 8);
}

#[test]
fn a_proxy_may_have_all_places_and_gives_them_up_last() {
    let mut connections = Connections::new(CONFIG);
    let opened = open_all(&mut connections, &[Source::Proxy; 8]);
    let closed = |opened: Opened| opened.closed;
    assert!(
        opened
            .iter()
            .all(|one| one.is_ok_and(|one| closed(one).is_none()))
    );
    let first = connections.handle_open(network(1), at(8)).unwrap();
    assert_eq!(first.closed, Some(opened[0].unwrap().id));
    let second = connections.handle_open(network(2), at(9)).unwrap();
    assert_eq!(second.closed, Some(first.id));
}

#[test]
fn each_loopback_address_is_a_source_with_a_larger_share() {
    let mut connections = Connections::new(CONFIG);
    let loopback = |last: u8| Source::of(Some([127, 0, 0, last].into()));
    let opened = open_all(&mut connections, &[loopback(1); 5]);
    assert_eq!(opened[3].unwrap().closed, None);
    assert_eq!(opened[4].unwrap().closed, Some(opened[0].unwrap().id));
    assert_eq!(
        connections.handle_open(loopback(2), at(9)).unwrap().closed,
        None
    );
}

#[test]
fn an_ipv6_network_is_one_source() {
    let source = |text: &str| Source::of(Some(text.parse().unwrap()));
    assert_eq!(source("2001:db8:1:2::3"), source("2001:db8:1:ffff::1"));
    assert_ne!(source("2001:db8:1:2::3"), source("2001:db8:2:2::3"));
    assert_eq!(source("::ffff:192.0.2.1"), network(1));
}

#[test]
fn a_minute_has_so_many_requests_for_each_source() {
    let mut budget = Budget::default();
    for _ in 0..REQUESTS_MAX {
        budget.handle_request(network(1), at(90)).unwrap();
    }
    let refused = budget.handle_request(network(1), at(100)).unwrap_err();
    assert_eq!(refused.retry_after_seconds, 20);
    budget.handle_request(network(2), at(100)).unwrap();
    budget.handle_request(network(1), at(120)).unwrap();
}

#[test]
fn sources_beyond_those_that_are_told_apart_share_one_budget() {
    let mut budget = Budget::default();
    let source = |number: u32| Source::of(Some((0x0102_0304 + number).to_be_bytes().into()));
    let many = u32::try_from(SOURCES_MAX).unwrap();
    for number in 0..many + REQUESTS_MAX {
        budget.handle_request(source(number), at(0)).unwrap();
    }
    assert!(
        budget
            .handle_request(source(many + REQUESTS_MAX), at(0))
            .is_err()
    );
    assert!(budget.handle_request(Source::Unknown, at(0)).is_err());
    assert!(budget.handle_request(source(0), at(0)).is_ok());
}

#[derive(Debug, Clone)]
enum Step {
    Open(u8),
    Wait(usize),
    Work(usize),
    Close(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6u8).prop_map(Step::Open),
        1 => (0..40usize).prop_map(Step::Wait),
        1 => (0..40usize).prop_map(Step::Work),
        1 => (0..40usize).prop_map(Step::Close),
    ]
}

proptest! {
    #[test]
    fn shares_hold_whatever_happens_and_who_has_least_gets_in(steps in prop::collection::vec(step(), 0..120)) {
        let mut connections = Connections::new(CONFIG);
        let mut open: Vec<(ConnectionId, u8, bool)> = Vec::new();
        for (second, step) in steps.into_iter().enumerate() {
            let now = at(second as u64);
            match step {
                Step::Open(last) => {
                    let own = open.iter().filter(|one| one.1 == last).count();
                    let is_full = own >= CONFIG.network_max || open.len() >= CONFIG.connections_max;
                    let may_give = |one: &&(ConnectionId, u8, bool)| one.2 && (own < CONFIG.network_max || one.1 == last);
                    let can_give = open.iter().any(|one| may_give(&one));
                    let opened = connections.handle_open(network(last), now);
                    prop_assert_eq!(opened.is_err(), is_full && !can_give);
                    if let Ok(Opened { id, closed }) = opened {
                        prop_assert_eq!(closed.is_some(), is_full);
                        open.retain(|one| Some(one.0) != closed);
                        open.push((id, last, true));
                    }
                }
                Step::Wait(idx) => if let Some(one) = open.get_mut(idx) {
                    connections.handle_waiting(one.0, now);
                    one.2 = true;
                },
                Step::Work(idx) => if let Some(one) = open.get_mut(idx) {
                    connections.handle_working(one.0);
                    one.2 = false;
                },
                Step::Close(idx) => if idx < open.len() {
                    connections.handle_close(open.remove(idx).0);
                },
            }
            prop_assert_eq!(connections.count(), open.len());
            prop_assert!(open.len() <= CONFIG.connections_max);
            for last in 0..6 {
                prop_assert!(open.iter().filter(|one| one.1 == last).count() <= CONFIG.network_max);
            }
        }
    }
}
