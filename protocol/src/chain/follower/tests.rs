use super::*;
use crate::time::UnixSeconds;

/// A chain that forks when told to.
#[derive(Debug, Clone, Default)]
struct Model {
    blocks: Vec<BlockHeader>,
    salt: u64,
}

impl Model {
    fn with_blocks(count: u64) -> Self {
        let mut model = Self::default();
        model.mine(count);
        model
    }

    fn mine(&mut self, count: u64) {
        for _ in 0..count {
            let number = self.blocks.len() as u64;
            let mut hash = Hash32::ZERO;
            hash.0[..8].copy_from_slice(&number.to_be_bytes());
            hash.0[8..16].copy_from_slice(&self.salt.to_be_bytes());
            hash.0[31] = 1;
            self.blocks.push(BlockHeader {
                number,
                hash,
                parent: self.blocks.last().map_or(Hash32::ZERO, |block| block.hash),
                time: UnixSeconds(number * 2),
                base_fee: None,
            });
        }
    }

    /// Drops `depth` blocks and mines `count` others.
    fn fork(&mut self, depth: u64, count: u64) {
        self.salt += 1;
        let kept = (self.blocks.len() as u64).saturating_sub(depth).max(1);
        self.blocks.truncate(usize::try_from(kept).unwrap());
        self.mine(count);
    }

    fn head(&self) -> BlockRef {
        self.blocks.last().unwrap().block()
    }

    /// Every third block has two logs.
    fn logs(&self, number: u64) -> Vec<Log> {
        let header = self.blocks[usize::try_from(number).unwrap()];
        let count = if number.is_multiple_of(3) { 2 } else { 0 };
        (0..count)
            .map(|log_index| Log {
                address: crate::id::Address::ZERO,
                topics: vec![],
                data: vec![],
                block_number: number,
                block_hash: header.hash,
                tx_hash: header.hash,
                log_index,
            })
            .collect()
    }

    fn answer(&self, follower: &mut Follower, request: Request, now: Moment) {
        match request {
            Request::Blocks { id, from, to } => {
                let last = self.head().number;
                if to > last {
                    follower.handle_blocks(id, vec![], vec![], now);
                    return;
                }
                let range = usize::try_from(from).unwrap()..=usize::try_from(to).unwrap();
                let logs = (from..=to).flat_map(|number| self.logs(number)).collect();
                follower.handle_blocks(id, self.blocks[range].to_vec(), logs, now);
            }
            Request::Header { id, number } => {
                let header = self.blocks.get(usize::try_from(number).unwrap());
                follower.handle_header(id, header.copied(), now);
            }
        }
    }
}

/// What a subscriber makes of the events.
#[derive(Debug, Default)]
struct Replica {
    blocks: BTreeMap<u64, Hash32>,
    finals: Vec<u64>,
    rollbacks: usize,
    too_deep: Option<TooDeep>,
}

impl Replica {
    fn drain(&mut self, follower: &mut Follower) {
        while let Some(event) = follower.poll_event() {
            match event {
                Event::Block { header, logs } => {
                    if let Some((last, hash)) = self.blocks.last_key_value() {
                        assert_eq!(*last + 1, header.number);
                        assert_eq!(*hash, header.parent);
                    }
                    assert_eq!(
                        logs.len(),
                        if header.number.is_multiple_of(3) {
                            2
                        } else {
                            0
                        }
                    );
                    self.blocks.insert(header.number, header.hash);
                }
                Event::Rollback { to } => {
                    assert_eq!(self.blocks.get(&to.number), Some(&to.hash));
                    self.blocks.split_off(&(to.number + 1));
                    self.finals.retain(|number| *number <= to.number);
                    self.rollbacks += 1;
                }
                Event::Final { block } => {
                    assert_eq!(self.blocks.get(&block.number), Some(&block.hash));
                    self.finals.push(block.number);
                }
                Event::TooDeep(error) => self.too_deep = Some(error),
            }
        }
    }
}

fn follower(start: Cursor, confirmations: u64) -> Follower {
    Follower::new(FollowerConfig {
        start,
        confirmations,
        range_blocks_max: 128,
    })
}

/// Lets the follower do all it can on an unchanging chain; returns the requests.
fn settle(follower: &mut Follower, model: &Model, replica: &mut Replica) -> usize {
    let mut now = Moment::ZERO;
    let mut requests = 0;
    follower.handle_head(model.head());
    loop {
        replica.drain(follower);
        if let Some(request) = follower.poll_request() {
            requests += 1;
            model.answer(follower, request, now);
        } else if let Some((at, _)) = follower.poll_timeout() {
            now = at;
            follower.handle_timeout(now);
        } else if follower.is_drained() {
            return requests;
        }
    }
}

fn assert_same(replica: &Replica, model: &Model, confirmations: u64) {
    let expected: BTreeMap<u64, Hash32> = model
        .blocks
        .iter()
        .map(|block| (block.number, block.hash))
        .collect();
    assert_eq!(replica.blocks, expected);
    let finals: Vec<u64> = (0..=model.head().number.saturating_sub(confirmations)).collect();
    assert_eq!(replica.finals, finals);
}

#[test]
fn a_long_chain_is_read_in_ranges_and_its_end_block_by_block() {
    let model = Model::with_blocks(2_000);
    let (mut follower, mut replica) = (follower(Cursor::at(0), 0), Replica::default());
    let requests = settle(&mut follower, &model, &mut replica);
    assert_same(&replica, &model, 0);
    assert!(follower.is_caught_up());
    assert!((64..100).contains(&requests), "{requests} requests");
}

#[test]
fn blocks_become_final_with_their_confirmations() {
    let mut model = Model::with_blocks(10);
    let (mut follower, mut replica) = (follower(Cursor::at(0), 3), Replica::default());
    settle(&mut follower, &model, &mut replica);
    assert_same(&replica, &model, 3);
    model.mine(1);
    settle(&mut follower, &model, &mut replica);
    assert_same(&replica, &model, 3);
    assert_eq!(follower.final_block().unwrap().number, 7);
}

#[test]
fn random_reorganisations_end_at_the_chain_as_it_is() {
    let mut random = 7_u64;
    let mut draw = |limit: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    for confirmations in [0, 2, 12] {
        let mut model = Model::with_blocks(40);
        let (mut follower, mut replica) =
            (follower(Cursor::at(0), confirmations), Replica::default());
        let mut now = Moment::ZERO;
        for _ in 0..3_000 {
            match draw(16) {
                0 => model.mine(draw(5)),
                1 => model.fork(draw(9), draw(12)),
                2 => follower.handle_head(model.head()),
                _ => {
                    replica.drain(&mut follower);
                    now = follower.poll_timeout().map_or(now, |(at, _)| at);
                    follower.handle_timeout(now);
                    if let Some(request) = follower.poll_request() {
                        // The chain may move while the request is under way.
                        if draw(9) == 0 {
                            model.fork(draw(9), draw(12));
                        }
                        model.answer(&mut follower, request, now);
                    }
                }
            }
        }
        model.mine(confirmations + 1);
        settle(&mut follower, &model, &mut replica);
        // A chain that got shorter is noticed with its next block.
        while follower.tip() != Some(model.head()) {
            model.mine(1);
            settle(&mut follower, &model, &mut replica);
        }
        assert_same(&replica, &model, confirmations);
        assert!(replica.rollbacks > 0);
    }
}

#[test]
fn a_fork_of_the_same_length_is_noticed_by_the_hash_of_the_head() {
    let mut model = Model::with_blocks(100);
    let (mut follower, mut replica) = (follower(Cursor::at(0), 0), Replica::default());
    settle(&mut follower, &model, &mut replica);
    model.fork(3, 3);
    let requests = settle(&mut follower, &model, &mut replica);
    assert_same(&replica, &model, 0);
    assert_eq!(replica.rollbacks, 1);
    assert!(requests <= 3 + 8, "{requests} requests");
}

#[test]
fn an_endpoint_that_lags_undoes_nothing() {
    let model = Model::with_blocks(100);
    let (mut follower, mut replica) = (follower(Cursor::at(0), 0), Replica::default());
    settle(&mut follower, &model, &mut replica);
    let lagging = Model::with_blocks(90);
    assert_eq!(settle(&mut follower, &lagging, &mut replica), 0);
    assert_same(&replica, &model, 0);
}

#[test]
fn a_fork_below_everything_remembered_ends_in_an_error() {
    let mut model = Model::with_blocks(1_000);
    let (mut follower, mut replica) = (follower(Cursor::at(0), 0), Replica::default());
    settle(&mut follower, &model, &mut replica);
    model.fork(600, 700);
    settle(&mut follower, &model, &mut replica);
    assert_eq!(replica.too_deep, Some(TooDeep { oldest: 487 }));
    assert_eq!(follower.poll_request(), None);
}

#[test]
fn the_deepest_fork_that_is_remembered_is_undone() {
    let mut model = Model::with_blocks(1_000);
    let (mut follower, mut replica) = (follower(Cursor::at(0), 0), Replica::default());
    settle(&mut follower, &model, &mut replica);
    model.fork(REORG_BLOCKS_MAX, REORG_BLOCKS_MAX + 10);
    settle(&mut follower, &model, &mut replica);
    assert_same(&replica, &model, 0);
}

#[test]
fn a_cursor_of_another_fork_rolls_back_or_says_that_it_cannot() {
    let mut model = Model::with_blocks(50);
    let recent: Vec<BlockRef> = model.blocks.iter().map(BlockHeader::block).collect();
    model.fork(5, 9);

    let mut replica = Replica {
        blocks: recent
            .iter()
            .map(|block| (block.number, block.hash))
            .collect(),
        ..Replica::default()
    };
    let mut resumed = follower(Cursor::after_recent(recent.iter().copied()), 0);
    settle(&mut resumed, &model, &mut replica);
    assert_eq!(replica.rollbacks, 1);
    assert_eq!(replica.blocks.len(), model.blocks.len());

    let mut replica = Replica::default();
    let mut resumed = follower(Cursor::after(*recent.last().unwrap()), 0);
    settle(&mut resumed, &model, &mut replica);
    assert_eq!(replica.too_deep, Some(TooDeep { oldest: 49 }));
}

#[test]
fn failures_wait_longer_each_time_and_make_ranges_smaller() {
    let model = Model::with_blocks(2_000);
    let mut follower = follower(Cursor::at(0), 0);
    follower.handle_head(model.head());
    let mut now = Moment::ZERO;
    let mut last_wait = Duration::ZERO;
    let mut sizes = Vec::new();
    for _ in 0..6 {
        let Some(Request::Blocks { id, from, to }) = follower.poll_request() else {
            panic!("blocks are asked for");
        };
        sizes.push(to - from + 1);
        follower.handle_failure(id, now);
        assert_eq!(follower.poll_request(), None);
        let (at, _) = follower.poll_timeout().unwrap();
        assert!(at - now > last_wait);
        last_wait = at - now;
        now = at;
        follower.handle_timeout(now);
    }
    assert_eq!(sizes, [16, 8, 4, 2, 1, 1]);
}

#[test]
fn answers_that_do_not_hold_together_change_nothing() {
    let model = Model::with_blocks(500);
    let other = {
        let mut other = model.clone();
        other.fork(495, 495);
        other
    };
    let cases: Vec<(Vec<BlockHeader>, Vec<Log>)> = vec![
        (vec![], vec![]),
        (model.blocks[..15].to_vec(), vec![]),
        (model.blocks[1..17].to_vec(), vec![]),
        (
            [&model.blocks[..8], &other.blocks[8..16]].concat(),
            model.logs(3),
        ),
        (model.blocks[..16].to_vec(), other.logs(6)),
        (model.blocks[..16].to_vec(), model.logs(18)),
        (
            model.blocks[..16].to_vec(),
            [model.logs(3), model.logs(3)].concat(),
        ),
    ];
    for (idx, (headers, logs)) in cases.into_iter().enumerate() {
        let mut follower = follower(Cursor::at(0), 0);
        follower.handle_head(model.head());
        let request = follower.poll_request().unwrap();
        follower.handle_blocks(request.id(), headers, logs, Moment::ZERO);
        assert_eq!(follower.poll_event(), None, "case {idx}");
        assert!(follower.poll_timeout().is_some(), "case {idx}");
    }
}
