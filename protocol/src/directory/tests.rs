use super::*;
use crate::amount::Dgc;
use crate::id::{Role, ServiceId};
use crate::registry::RegistryEvent;
use crate::registry::testing::{Enrolment, registry_of};
use crate::time::UnixSeconds;

#[test]
fn everybody_else_is_asked_a_few_at_a_time() {
    let mut directory = directory(12);
    let first = asked(&mut directory);
    assert_eq!(first.len(), LOOKUPS_MAX);
    assert!(!first.contains(&peer(1)), "never itself");
    assert_eq!(directory.deadline(), None, "there is no room");
    tell(&mut directory, first[0], true, start());
    assert_eq!(asked(&mut directory).len(), 1);
}

#[test]
fn who_answers_is_asked_again_later_and_who_does_not_sooner() {
    let mut directory = directory(3);
    assert_eq!(asked(&mut directory), [peer(2), peer(3)]);
    tell(&mut directory, peer(2), true, start());
    tell(&mut directory, peer(3), false, start());
    let (at, _) = directory.deadline().unwrap();
    assert_eq!(at, start() + RETRY_INTERVAL);
    directory.handle_timeout(at);
    assert_eq!(asked(&mut directory), [peer(3)]);
    directory.handle_timeout(start() + REFRESH_INTERVAL);
    assert_eq!(asked(&mut directory), [peer(2)]);
}

#[test]
fn endpoints_that_never_answer_do_not_keep_others_from_being_asked() {
    let places = u8::try_from(LOOKUPS_MAX).unwrap();
    let others = 3 * places;
    let silent = |peer: &Address| peer.0[0] <= 2 * places;
    let mut directory = directory(1 + others);
    // Whoever is asked and does not answer is given up after five seconds.
    let mut open: VecDeque<(Moment, Address)> = VecDeque::new();
    let mut answered: BTreeMap<Address, usize> = BTreeMap::new();
    let (mut now, end) = (start(), start() + REFRESH_INTERVAL * 10);
    while now < end {
        for peer in asked(&mut directory) {
            match silent(&peer) {
                true => open.push_back((now + Duration::from_secs(5), peer)),
                false => {
                    *answered.entry(peer).or_default() += 1;
                    tell(&mut directory, peer, true, now);
                }
            }
        }
        now = now + Duration::from_secs(1);
        while let Some((at, peer)) = open.front().copied()
            && at <= now
        {
            open.pop_front();
            tell(&mut directory, peer, false, now);
        }
        directory.handle_timeout(now);
    }
    let honest = (1..=1 + others).map(peer).filter(|peer| !silent(peer));
    for peer in honest {
        let times = answered.get(&peer).copied().unwrap_or(0);
        assert!(
            times >= 9,
            "{peer} was asked {times} times in ten intervals"
        );
    }
}

#[test]
fn a_changed_endpoint_is_asked_at_once() {
    let mut directory = directory(2);
    assert_eq!(asked(&mut directory), [peer(2)]);
    for _ in 0..5 {
        tell(&mut directory, peer(2), false, start());
        let (at, _) = directory.deadline().unwrap();
        directory.handle_timeout(at);
        assert_eq!(asked(&mut directory), [peer(2)]);
    }
    tell(&mut directory, peer(2), false, start());
    let mut moved = registry(2);
    moved.apply(&RegistryEvent::EndpointChanged {
        role: Role::Content,
        id: ServiceId(2),
        endpoint: "https://moved.example".to_owned(),
    });
    directory.handle(Input::Registry(Arc::new(moved)), start());
    assert_eq!(asked(&mut directory), [peer(2)]);
}

#[test]
fn who_left_is_not_asked_again() {
    let mut directory = directory(3);
    assert_eq!(asked(&mut directory).len(), 2);
    directory.handle(Input::Registry(Arc::new(registry(2))), start());
    tell(&mut directory, peer(3), false, start());
    tell(&mut directory, peer(2), false, start());
    directory.handle_timeout(start() + REFRESH_INTERVAL);
    assert_eq!(asked(&mut directory), [peer(2)]);
}

fn directory(peers: u8) -> Directory {
    let mut directory = Directory::new(peer(1));
    directory.handle(Input::Registry(Arc::new(registry(peers))), start());
    directory
}

fn tell(directory: &mut Directory, peer: Address, is_found: bool, now: Moment) {
    directory.handle(Input::LookedUp { peer, is_found }, now);
}

fn asked(directory: &mut Directory) -> Vec<Address> {
    std::iter::from_fn(|| directory.poll())
        .map(|look| look.peer)
        .collect()
}

fn registry(peers: u8) -> Registry {
    registry_of((1..=peers).map(|number| Enrolment {
        number,
        roles: &[Role::Content],
        wallet: peer(number),
        public_key: vec![number; 64],
        stake: Dgc::whole(200_000),
    }))
}

fn peer(number: u8) -> Address {
    Address([number; 20])
}

fn start() -> Moment {
    Moment::from_unix(UnixSeconds(1_700_000_000))
}
