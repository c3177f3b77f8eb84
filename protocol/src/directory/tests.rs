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
    assert!(at <= start() + RETRY_INTERVAL * 2);
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

#[test]
fn an_endpoint_that_does_not_answer_is_asked_three_times_in_ten_minutes() {
    for seed in 0..50 {
        let local = peer(1);
        let asks_all = true;
        let mut directory = Directory::new(Config { local, asks_all }, seed);
        directory.handle(Input::Registry(Arc::new(registry(2))), start());
        let mut times = Vec::new();
        let mut now = start();
        while now < start() + Duration::from_secs(48 * 3600) {
            if asked(&mut directory) == [peer(2)] {
                times.push(now);
                tell(&mut directory, peer(2), false, now);
            }
            now = directory.deadline().unwrap().0;
            directory.handle_timeout(now);
        }
        let in_ten_minutes = times.iter().filter(|at| **at < start() + REFRESH_INTERVAL);
        assert_eq!(in_ten_minutes.count(), 3, "seed {seed}");
        assert!(times.len() < 25, "{} times in two days", times.len());
    }
}

#[test]
fn a_light_peer_asks_for_those_that_it_is_about_to_dial() {
    let mut directory = directory_of(false, 4);
    assert_eq!(asked(&mut directory), []);
    assert_eq!(directory.deadline(), None);
    let want = |directory: &mut Directory, number, now| {
        directory.handle(Input::Wanted(peer(number)), now);
        std::iter::from_fn(|| directory.poll()).collect::<Vec<_>>()
    };
    let is_asked = |outputs: &[Output]| matches!(outputs, [Output::LookUp { .. }]);
    assert!(is_asked(&want(&mut directory, 2, start())));
    assert_eq!(want(&mut directory, 2, start()), [], "it is being asked");
    tell(&mut directory, peer(2), true, start());
    // Who answered lately, never answered or is nobody is not asked.
    assert_eq!(
        want(&mut directory, 2, start()),
        [Output::NotFound(peer(2))]
    );
    assert!(is_asked(&want(&mut directory, 3, start())));
    tell(&mut directory, peer(3), false, start());
    assert_eq!(directory.poll(), Some(Output::NotFound(peer(3))));
    for number in [3, 9] {
        let outputs = want(&mut directory, number, start());
        assert_eq!(outputs, [Output::NotFound(peer(number))]);
    }
    assert_eq!(directory.deadline(), None, "nobody is asked unasked");
    let later = start() + REFRESH_INTERVAL;
    assert!(is_asked(&want(&mut directory, 2, later)));
    assert!(is_asked(&want(&mut directory, 3, later)));
}

#[test]
fn an_endpoint_is_a_plain_address() {
    for (url, expected) in [
        ("https://peer.example", true),
        ("HTTP://peer.example:4000/coliving/", true),
        ("https://[2001:db8::1]:4000", true),
        ("ftp://peer.example", false),
        ("peer.example", false),
        ("http://", false),
        ("http:///path", false),
        ("http://victim/expensive?x=", false),
        ("http://victim/#", false),
        ("http://user:word@victim", false),
        ("http://victim\\@other", false),
        ("http://vic tim", false),
        ("http://victim\r\nX: y", false),
    ] {
        assert_eq!(is_endpoint(url), expected, "{url:?}");
    }
    let mut moved = registry(2);
    moved.apply(&RegistryEvent::EndpointChanged {
        role: Role::Content,
        id: ServiceId(2),
        endpoint: "http://victim/expensive?x=".to_owned(),
    });
    let mut directory = directory(1);
    directory.handle(Input::Registry(Arc::new(moved)), start());
    assert_eq!(asked(&mut directory), []);
}

fn directory(peers: u8) -> Directory {
    directory_of(true, peers)
}

fn directory_of(asks_all: bool, peers: u8) -> Directory {
    let local = peer(1);
    let mut directory = Directory::new(Config { local, asks_all }, 7);
    directory.handle(Input::Registry(Arc::new(registry(peers))), start());
    directory
}

fn tell(directory: &mut Directory, peer: Address, is_found: bool, now: Moment) {
    directory.handle(Input::LookedUp { peer, is_found }, now);
}

fn asked(directory: &mut Directory) -> Vec<Address> {
    let asked = |output| match output {
        Output::LookUp { peer, .. } => Some(peer),
        Output::NotFound(_) => None,
    };
    std::iter::from_fn(|| directory.poll())
        .filter_map(asked)
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
