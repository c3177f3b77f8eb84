use super::*;

const BLOCK_TIME: Duration = Duration::from_secs(10);

/// Endpoints whose every request is told to the machine, at a clock of its own.
struct Pool {
    machine: Endpoints,
    seconds: u64,
}

impl Pool {
    fn new(count: usize) -> Self {
        let config = EndpointsConfig {
            chain_id: Some(1),
            block_time: Some(BLOCK_TIME),
            seed: 7,
        };
        Self {
            machine: Endpoints::new(count, config),
            seconds: 1_000,
        }
    }

    fn now(&self) -> Moment {
        Moment::ZERO + Duration::from_secs(self.seconds)
    }

    fn answer(&mut self, idx: usize, latency: Duration) {
        let now = self.now();
        self.machine.handle_asked(idx, now);
        self.machine.handle_chain_id(idx, 1, now);
        self.machine.handle_answer(idx, latency, now);
    }

    /// A head that was mined just then.
    fn head(&mut self, idx: usize, number: u64) {
        self.answer(idx, Duration::from_millis(5));
        let now = self.now();
        let mut hash = Hash32::ZERO;
        hash.0[..8].copy_from_slice(&number.to_be_bytes());
        self.machine.handle_head(idx, number, hash, now.unix(), now);
    }

    fn fail(&mut self, idx: usize) {
        let now = self.now();
        self.machine
            .handle_failure(idx, "it is dead".to_owned(), None, now);
    }

    fn order(&self) -> Vec<usize> {
        self.machine.order(self.now())
    }

    fn state(&self, idx: usize) -> EndpointState {
        self.machine.health()[idx].state
    }
}

#[test]
fn the_configured_order_holds_while_all_answer() {
    let mut pool = Pool::new(3);
    assert_eq!(pool.order(), [0, 1, 2]);
    pool.answer(2, Duration::ZERO);
    assert_eq!(pool.order(), [2, 0, 1], "one that answered comes first");
    pool.answer(1, Duration::ZERO);
    pool.answer(0, Duration::ZERO);
    assert_eq!(pool.order(), [0, 1, 2]);
}

#[test]
fn a_failing_endpoint_is_left_alone_for_longer_each_time_and_comes_back() {
    let mut pool = Pool::new(2);
    pool.answer(0, Duration::ZERO);
    pool.answer(1, Duration::ZERO);
    let mut waits = Vec::new();
    for _ in 0..9 {
        pool.fail(0);
        let EndpointState::Failing { until } = pool.state(0) else {
            panic!("it failed");
        };
        waits.push(until.saturating_since(pool.now()).as_millis());
    }
    assert_eq!(pool.order(), [1, 0]);
    assert!(pool.machine.needs_check(0), "it may come back as another");
    let doubles = |pair: &[u128]| pair[1] > pair[0];
    assert!(waits[..7].windows(2).all(doubles), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= 80_000), "{waits:?}");

    assert_eq!(pool.machine.poll_probe(pool.now()), None);
    pool.seconds += 100;
    assert_eq!(pool.machine.poll_probe(pool.now()), Some(0));
    pool.answer(0, Duration::ZERO);
    assert_eq!(pool.order(), [0, 1]);
    assert_eq!(pool.machine.health()[0].failures, 9);
    assert_eq!(pool.machine.health()[0].error, None);
}

#[test]
fn an_endpoint_that_asks_for_patience_gets_it() {
    let mut pool = Pool::new(1);
    let now = pool.now();
    let asked = Some(Duration::from_secs(120));
    pool.machine
        .handle_failure(0, "too many requests".to_owned(), asked, now);
    let until = now + Duration::from_secs(120);
    assert_eq!(pool.state(0), EndpointState::Failing { until });
    assert_eq!(pool.order(), [0_usize; 0]);
    let asked = Some(Duration::from_secs(1 << 40));
    pool.machine
        .handle_failure(0, "too many requests".to_owned(), asked, now);
    let until = now + RETRY_AFTER_MAX;
    assert_eq!(pool.state(0), EndpointState::Failing { until });
    pool.seconds += 300;
    assert_eq!(pool.order(), [0]);
}

#[test]
fn an_endpoint_of_another_chain_is_never_asked_until_it_may_be_tried_again() {
    let mut pool = Pool::new(2);
    let now = pool.now();
    assert!(!pool.machine.handle_chain_id(0, 5, now));
    assert_eq!(pool.order(), [1]);
    assert_eq!(pool.state(0), EndpointState::OtherChain { found: 5 });
    pool.seconds += 60;
    assert_eq!(pool.order(), [1, 0]);
    let now = pool.now();
    assert!(pool.machine.handle_chain_id(0, 1, now));
    pool.answer(0, Duration::ZERO);
    assert_eq!(pool.state(0), EndpointState::Healthy);
}

#[test]
fn an_endpoint_that_lags_is_put_behind_and_returns_when_it_has_caught_up() {
    let mut pool = Pool::new(3);
    for idx in 0..3 {
        pool.head(idx, 100);
    }
    pool.seconds += 20;
    pool.head(1, 110);
    pool.head(2, 110);
    pool.head(0, 100);
    assert_eq!(pool.state(0), EndpointState::Lagging { blocks: 10 });
    assert_eq!(pool.order(), [1, 2, 0]);
    // Others going on does not change what was measured.
    pool.head(1, 111);
    assert_eq!(pool.order(), [1, 2, 0]);
    pool.head(0, 110);
    assert_eq!(pool.order(), [0, 1, 2]);
}

#[test]
fn one_that_claims_more_blocks_than_all_others_makes_nobody_late() {
    let mut pool = Pool::new(3);
    pool.head(2, 1_000_000);
    pool.head(0, 100);
    pool.head(1, 101);
    pool.head(0, 101);
    assert_eq!(pool.order(), [0, 1, 2]);
}

#[test]
fn a_chain_that_stands_still_is_told_with_its_time() {
    let mut pool = Pool::new(2);
    for _ in 0..20 {
        pool.head(0, 100);
        pool.head(1, 100);
        pool.seconds += 10;
    }
    assert_eq!(pool.machine.stalled_since(), None);
    pool.seconds += 1;
    pool.head(0, 100);
    assert_eq!(pool.machine.stalled_since(), None, "one of them may go on");
    pool.head(1, 100);
    assert_eq!(pool.machine.stalled_since(), Some(UnixSeconds(1_000)));
    let since = UnixSeconds(1_000);
    assert_eq!(pool.state(0), EndpointState::Stalled { since });
    pool.head(1, 101);
    assert_eq!(pool.machine.stalled_since(), None);
    assert_eq!(pool.order(), [1, 0]);
}

#[test]
fn a_head_that_was_old_when_it_was_first_seen_is_a_stall() {
    let mut pool = Pool::new(1);
    pool.answer(0, Duration::ZERO);
    let (mined, now) = (UnixSeconds(700), pool.now());
    pool.machine.handle_head(0, 9, Hash32::ZERO, mined, now);
    assert_eq!(pool.machine.stalled_since(), Some(mined));
    // A clock that was set ahead is no stall.
    let mut pool = Pool::new(1);
    pool.answer(0, Duration::ZERO);
    let (mined, now) = (UnixSeconds(9_000_000), pool.now());
    pool.machine.handle_head(0, 9, Hash32::ZERO, mined, now);
    assert_eq!(pool.machine.stalled_since(), None);
}

#[test]
fn silence_is_no_stall_on_a_chain_that_mines_on_demand() {
    let mut pool = Pool::new(1);
    pool.machine.config.block_time = None;
    pool.head(0, 100);
    pool.seconds += 100_000;
    pool.head(0, 100);
    assert_eq!(pool.machine.stalled_since(), None);
}

#[test]
fn a_slow_endpoint_is_asked_after_the_others() {
    let mut pool = Pool::new(2);
    pool.answer(0, Duration::from_secs(8));
    pool.answer(1, Duration::from_millis(10));
    assert_eq!(pool.order(), [1, 0]);
    for _ in 0..8 {
        pool.answer(0, Duration::from_millis(10));
    }
    assert_eq!(pool.order(), [0, 1]);
}

#[test]
fn one_seed_gives_one_jitter() {
    let pauses = |seed| {
        let mut pool = Pool::new(1);
        pool.machine.random = seed;
        (0..5)
            .map(|round| pool.machine.pause(round))
            .collect::<Vec<_>>()
    };
    assert_eq!(pauses(1), pauses(1));
    assert_ne!(pauses(1), pauses(2));
}
