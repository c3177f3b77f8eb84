use super::*;

const CONFIG: InclusionConfig = InclusionConfig {
    confirmations: 2,
    bump_blocks: 3,
    bumps_max: 2,
    broadcast_interval: Duration::from_secs(10),
    patience: Duration::from_secs(100),
};

/// Looks at the chain one second apart and writes down what comes of it.
struct Watch {
    machine: Inclusion,
    seconds: u64,
}

impl Watch {
    fn new() -> Self {
        Self {
            machine: Inclusion::new(CONFIG, 7, hash(1), at(0)),
            seconds: 0,
        }
    }

    fn look(&mut self, head: u64, count: u64, mined: Option<Mined>) -> Vec<Event> {
        self.seconds += 1;
        let look = Look { head, count, mined };
        self.machine.handle_look(look, at(self.seconds));
        std::iter::from_fn(|| self.machine.poll_event()).collect()
    }
}

fn at(seconds: u64) -> Moment {
    Moment::ZERO + Duration::from_secs(seconds)
}

fn hash(byte: u8) -> Hash32 {
    Hash32([byte; 32])
}

fn mined(attempt: u8, number: u64, fork: u8) -> Mined {
    Mined {
        tx_hash: hash(attempt),
        block: BlockRef {
            number,
            hash: hash(fork),
        },
        succeeded: true,
    }
}

#[test]
fn a_mined_transaction_is_done_with_its_confirmations() {
    let mut watch = Watch::new();
    assert_eq!(watch.look(10, 7, None), []);
    let seen = mined(1, 11, 100);
    assert_eq!(watch.look(11, 8, Some(seen)), [Event::Mined(seen)]);
    let one = Event::Confirmed { count: 1, of: 2 };
    assert_eq!(watch.look(12, 8, Some(seen)), [one]);
    assert_eq!(watch.look(12, 8, Some(seen)), []);
    let two = Event::Confirmed { count: 2, of: 2 };
    assert_eq!(watch.look(15, 8, Some(seen)), [two, Event::Done(seen)]);
    assert_eq!(watch.look(16, 8, None), [], "nothing follows");
}

#[test]
fn a_reorganisation_starts_the_confirmations_again() {
    let mut watch = Watch::new();
    let first = mined(1, 11, 100);
    watch.look(12, 8, Some(first));
    let undone = Event::Undone { block: first.block };
    assert_eq!(watch.look(12, 7, None), [undone]);
    let again = mined(1, 13, 101);
    assert_eq!(watch.look(13, 8, Some(again)), [Event::Mined(again)]);
    // Moved to another block between two looks.
    let moved = mined(1, 14, 102);
    let undone = Event::Undone { block: again.block };
    assert_eq!(
        watch.look(14, 8, Some(moved)),
        [undone, Event::Mined(moved)]
    );
    assert!(watch.look(16, 8, Some(moved)).contains(&Event::Done(moved)));
}

#[test]
fn the_fee_rises_with_the_blocks_that_pass_and_any_attempt_counts() {
    let mut watch = Watch::new();
    watch.look(10, 7, None);
    watch.look(12, 7, None);
    assert_eq!(watch.machine.poll_action(), None);
    watch.look(13, 7, None);
    assert_eq!(watch.machine.poll_action(), Some(Action::Bump { bumps: 1 }));
    watch.machine.handle_sent(hash(2), at(3));
    watch.look(13, 7, None);
    assert_eq!(watch.machine.poll_action(), None);
    watch.look(16, 7, None);
    assert_eq!(watch.machine.poll_action(), Some(Action::Bump { bumps: 2 }));
    watch.machine.handle_sent(hash(3), at(5));
    watch.look(17, 7, None);
    watch.look(40, 7, None);
    assert_eq!(watch.machine.poll_action(), None, "the fee has its limit");
    let attempts: Vec<Hash32> = watch.machine.attempts().collect();
    assert_eq!(attempts, [hash(3), hash(2), hash(1)]);
    let first = mined(1, 41, 100);
    assert_eq!(watch.look(41, 8, Some(first)), [Event::Mined(first)]);
}

#[test]
fn a_lost_transaction_is_broadcast_again_until_it_is_refused_for_good() {
    let mut watch = Watch::new();
    let mut broadcasts = 0;
    let mut events = Vec::new();
    while events.is_empty() {
        events = watch.look(10, 7, None);
        if watch.machine.poll_action() == Some(Action::Broadcast) {
            broadcasts += 1;
            let reason = (broadcasts > 2).then(|| "insufficient funds".to_owned());
            watch.machine.handle_broadcast(reason);
        }
    }
    assert_eq!(broadcasts, 5);
    let reason = "insufficient funds".to_owned();
    assert_eq!(events, [Event::Failed(Failure::Dropped { reason })]);
}

#[test]
fn a_nonce_taken_by_another_transaction_is_told_apart_from_a_late_receipt() {
    let mut watch = Watch::new();
    // The receipt is late.
    for _ in 0..4 {
        assert_eq!(watch.look(11, 8, None), []);
    }
    let seen = mined(1, 11, 100);
    assert_eq!(watch.look(11, 8, Some(seen)), [Event::Mined(seen)]);
    // A reorganisation puts another transaction in its place.
    let undone = Event::Undone { block: seen.block };
    assert_eq!(watch.look(12, 8, None), [undone]);
    for _ in 0..10 {
        assert_eq!(watch.look(13, 8, None), []);
    }
    let replaced = Event::Failed(Failure::Replaced { nonce: 7 });
    assert_eq!(watch.look(14, 8, None), [replaced]);
}

#[test]
fn patience_ends_on_a_halted_chain() {
    let mut watch = Watch::new();
    for _ in 1..100 {
        assert_eq!(watch.look(10, 7, None), []);
    }
    let waited = Duration::from_secs(100);
    let failed = Event::Failed(Failure::NotMined { waited });
    assert_eq!(watch.look(10, 7, None), [failed]);
}
