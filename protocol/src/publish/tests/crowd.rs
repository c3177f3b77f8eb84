//! A holder with many who offer, some of whom mean no good.

use super::*;

#[test]
fn who_sends_too_slowly_gives_its_slot_on() {
    let mut crowd = Crowd::new(HolderConfig {
        pulls_max: 2,
        ..HolderConfig::default()
    });
    // Two that drip, and more of theirs behind.
    for number in 1..=4 {
        crowd.offer(number, number, SIZE);
    }
    crowd.offer(9, 9, SIZE);
    assert_eq!(crowd.pulls(), [nth_root(1), nth_root(2)]);
    crowd.progress(1, 4096);
    crowd.progress(2, 2 << 20);
    crowd.wait(30);
    // Half a Mbit/s is enough; the next one's turn has come.
    assert_eq!(crowd.pulls(), [nth_root(3)]);
    assert_eq!(crowd.status(1), Response::Unknown);
    assert_eq!(crowd.status(2), Response::Progress { bytes: 2 << 20 });
    // Who drips again comes after all others, whatever came before.
    crowd.offer(1, 1, SIZE);
    crowd.wait(30);
    assert_eq!(crowd.pulls(), [nth_root(4), nth_root(9)]);
    // What is whole is only checked, and has its time as well.
    crowd.progress(9, SIZE);
    crowd.wait(60);
    assert_eq!(crowd.status(9), Response::Progress { bytes: SIZE });
    crowd.wait(SIZE / (64 << 10) + 30);
    assert_eq!(crowd.status(9), Response::Unknown);
}

#[test]
fn one_network_does_not_have_all_slots() {
    let mut crowd = Crowd::new(HolderConfig {
        pulls_max: 3,
        ..HolderConfig::default()
    });
    for number in 1..=5 {
        crowd.offer_from(number, "10.0.0.1", number, SIZE);
    }
    assert_eq!(crowd.pulls(), [nth_root(1), nth_root(2)]);
    crowd.offer_from(9, "10.0.0.9", 9, SIZE);
    assert_eq!(crowd.pulls(), [nth_root(9)]);
}

#[test]
fn a_thousand_offers_leave_places_for_others() {
    // Of one user, of one network, and of as many of both as there are.
    for (users, networks, taken) in [(1, 200, 4), (200, 1, 4), (200, 200, 32)] {
        let mut crowd = Crowd::new(HolderConfig {
            uploads_max: 32,
            ..HolderConfig::default()
        });
        let mut accepted = 0;
        for number in 0..120 {
            let ip = format!("10.1.0.{}", number % networks);
            let answer = crowd.offer_from(number % users, &ip, number, 1);
            accepted += u8::from(answer == Response::Accepted);
        }
        assert_eq!(accepted, taken, "{users} users, {networks} networks");
        let answer = crowd.offer_from(250, "10.2.0.1", 250, SIZE);
        let is_accepted = answer == Response::Accepted;
        assert_eq!(
            is_accepted,
            taken < 32,
            "{users} users, {networks} networks"
        );
    }
}

#[test]
fn whoever_has_the_most_places_makes_one_for_others() {
    let mut crowd = Crowd::new(HolderConfig {
        uploads_max: 32,
        pulls_max: 1,
        ..HolderConfig::default()
    });
    for number in 0..32 {
        let ip = format!("10.1.0.{}", number / 4);
        crowd.offer_from(number, &ip, number, 1);
    }
    assert_eq!(crowd.holder.uploads().count(), 32);
    for number in 40..43 {
        let answer = crowd.offer_from(number, "10.2.0.1", number, SIZE);
        assert_eq!(answer, Response::Accepted);
    }
    assert_eq!(crowd.holder.uploads().count(), 32);
    let answer = crowd.offer_from(43, "10.2.0.1", 43, SIZE);
    assert!(matches!(answer, Response::Refused(_)), "nobody has more");
}

#[test]
fn room_is_taken_by_what_arrives_and_the_biggest_gives_way() {
    let mut crowd = Crowd::new(HolderConfig::default());
    // 4 % of the capacity are four uploads.
    crowd.holder.handle_capacity(SIZE * 100, 0);
    crowd.offer(1, 1, SIZE);
    crowd.hold(1);
    // Promises take no room.
    for number in 2..=9 {
        assert_eq!(crowd.offer(number, number, SIZE), Response::Accepted);
    }
    crowd.pulls();
    crowd.progress(2, SIZE / 2);
    crowd.offer(2, 12, SIZE);
    crowd.pulls();
    crowd.progress(12, SIZE / 2 + 1);
    for number in 3..=6 {
        crowd.progress(number, SIZE / 2);
    }
    // The user of two has the most, and the larger of them goes.
    assert_eq!(crowd.dropped(), [nth_root(12)]);
    for number in 3..=6 {
        crowd.progress(number, SIZE - 1);
    }
    assert!(!crowd.dropped().contains(&nth_root(1)), "it is promised");
    assert!(matches!(crowd.status(1), Response::Lease(_)));
}

#[test]
fn one_network_has_half_of_the_room_at_most() {
    let mut crowd = Crowd::new(HolderConfig::default());
    crowd.holder.handle_capacity(SIZE * 100, 0);
    for number in 1..=2 {
        crowd.offer_from(number, "10.0.0.1", number, SIZE);
        crowd.hold(number);
    }
    let answer = crowd.offer_from(3, "10.0.0.1", 3, SIZE);
    assert!(
        matches!(&answer, Response::Refused(refusal) if refusal.code == RefusalCode::Busy),
        "{answer:?}"
    );
    assert_eq!(crowd.offer_from(4, "10.0.0.2", 4, SIZE), Response::Accepted);
}

#[test]
fn an_offer_of_another_size_does_not_stop_the_right_one() {
    for is_slow in [false, true] {
        let mut crowd = Crowd::new(HolderConfig::default());
        crowd.offer(1, 7, SIZE - 1);
        assert_eq!(crowd.pulls(), [nth_root(7)]);
        assert_eq!(crowd.offer(2, 7, SIZE), Response::Accepted);
        assert_eq!(crowd.pulls(), [], "a root is pulled once at a time");
        if is_slow {
            crowd.wait(30);
            assert_eq!(crowd.pulls(), [nth_root(7)]);
        }
        // Whoever it came from, it is what the second one said.
        crowd.hold(7);
        assert!(matches!(crowd.status_of(2, 7), Response::Lease(_)));
        let answer = crowd.offer(3, 7, SIZE - 1);
        assert!(
            matches!(&answer, Response::Refused(refusal) if refusal.code == RefusalCode::Invalid)
        );
    }
}

#[test]
fn who_offered_a_root_hears_of_its_own_offer() {
    let mut crowd = Crowd::new(HolderConfig::default());
    crowd.offer(1, 7, SIZE - 1);
    crowd.offer(2, 7, SIZE);
    crowd.progress(7, 5);
    assert_eq!(crowd.status_of(1, 7), Response::Progress { bytes: 5 });
    assert_eq!(crowd.status_of(2, 7), Response::Progress { bytes: 0 });
    crowd.holder.handle_pull_failed(&nth_root(7), crowd.now);
    assert_eq!(crowd.status_of(1, 7), Response::Progress { bytes: 0 });
    crowd.hold(7);
    assert!(matches!(crowd.status_of(2, 7), Response::Lease(_)));
}

/// A holder, and users with a peer each.
struct Crowd {
    holder: Holder,
    now: Moment,
    events: Vec<HolderEvent>,
}

impl Crowd {
    fn new(config: HolderConfig) -> Self {
        let mut holder = Holder::new(config, [], start());
        holder.handle_capacity(1 << 40, 0);
        Self {
            holder,
            now: start(),
            events: Vec::new(),
        }
    }

    /// An offer of a user from a network of its own.
    fn offer(&mut self, user: u8, root: u8, size: u64) -> Response {
        self.offer_from(user, &format!("10.0.0.{user}"), root, size)
    }

    fn offer_from(&mut self, user: u8, ip: &str, root: u8, size: u64) -> Response {
        let mut offer = offer_of(nth_root(root));
        offer.size = size;
        offer.action.action.user_id = UserId(u64::from(user));
        let facts = UserFacts {
            created: start().unix(),
            stored_bytes: 0,
            extra_bytes: 0,
        };
        let from = source(user.max(1), ip);
        let known = (Some(facts), None);
        let signer = key(200).address();
        self.holder
            .handle_offer(RequestId(1), from, offer, signer, known, self.now);
        self.holder.poll_reply().unwrap().response
    }

    fn status(&mut self, number: u8) -> Response {
        self.status_of(number, number)
    }

    fn status_of(&mut self, user: u8, root: u8) -> Response {
        let (id, user) = (RequestId(1), peer(user));
        self.holder.handle_status(id, &user, &nth_root(root), None);
        self.holder.poll_reply().unwrap().response
    }

    fn progress(&mut self, root: u8, bytes: u64) {
        self.holder
            .handle_progress(&nth_root(root), bytes, self.now);
    }

    /// A root arrives and is promised.
    fn hold(&mut self, root: u8) {
        let root = nth_root(root);
        self.holder.handle_pulled(&root, PROOF, SIZE, self.now);
        self.holder.handle_lease(lease(&key(1), root));
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.holder.handle_timeout(self.now);
    }

    /// The roots that were to be pulled since the last time.
    fn pulls(&mut self) -> Vec<Cid> {
        self.take(|event| match event {
            HolderEvent::Pull { root, .. } => Some(*root),
            HolderEvent::Grant { .. } | HolderEvent::Drop { .. } => None,
        })
    }

    fn dropped(&mut self) -> Vec<Cid> {
        self.take(|event| match event {
            HolderEvent::Drop { root } => Some(*root),
            HolderEvent::Grant { .. } | HolderEvent::Pull { .. } => None,
        })
    }

    fn take(&mut self, root_of: impl Fn(&HolderEvent) -> Option<Cid>) -> Vec<Cid> {
        self.events
            .extend(std::iter::from_fn(|| self.holder.poll_event()));
        let taken = self
            .events
            .extract_if(.., |event| root_of(event).is_some())
            .collect::<Vec<_>>();
        taken.iter().filter_map(root_of).collect()
    }
}
