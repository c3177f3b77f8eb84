use super::*;
use crate::amount::Dgc;
use crate::id::Role;
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
