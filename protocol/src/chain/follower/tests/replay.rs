//! Followers with the registry behind them, against a fresh replay.

use super::*;
use crate::amount::Dgc;
use crate::chain::history::RegistryHistory;
use crate::id::{Address, OperatorNumber};
use crate::registry::{Registry, RegistryEvent};

/// A follower and what it has made of the registry.
struct Node {
    follower: Follower,
    history: RegistryHistory,
    now: Moment,
}

impl Node {
    fn new(confirmations: u64, is_sparse: bool) -> Self {
        let follower = match is_sparse {
            true => sparse(confirmations),
            false => follower(Cursor::at(0), confirmations),
        };
        Self {
            follower,
            history: RegistryHistory::new(SNAPSHOT_BLOCKS),
            now: Moment::ZERO,
        }
    }

    fn drain(&mut self) {
        while let Some(event) = self.follower.poll_event() {
            match event {
                Event::Block { header, logs } => {
                    let events = logs.iter().flat_map(registry_events).collect();
                    self.history.handle_block(header.block(), events);
                }
                Event::Rollback { to } => self.history.handle_rollback(to),
                Event::Final { block } => {
                    self.history.handle_final(block);
                }
                Event::TooDeep(error) => panic!("{error}"),
            }
        }
    }

    /// One request at most, answered from the chain as it is by then.
    fn step(&mut self, model: &Model) {
        self.drain();
        self.now = self.follower.poll_timeout().map_or(self.now, |(at, _)| at);
        self.follower.handle_timeout(self.now);
        if let Some(request) = self.follower.poll_request() {
            model.answer(&mut self.follower, request, self.now);
        }
    }

    fn settle(&mut self, model: &Model) {
        self.follower.handle_head(model.head());
        while self.follower.tip() != Some(model.head()) || !self.follower.is_drained() {
            self.step(model);
        }
    }

    fn known(&self) -> (Registry, Registry) {
        // Blocks that are passed over leave no trace but in the block's number.
        let mut snapshot = self.history.snapshot().clone();
        snapshot.set_block(BlockRef::default());
        (self.history.latest().clone(), snapshot)
    }
}

/// A log changes a stake by what is in its block's hash.
fn registry_events(log: &Log) -> [RegistryEvent; 2] {
    let word = u64::from_be_bytes(log.block_hash.0[..8].try_into().unwrap());
    let salt = u64::from_be_bytes(log.block_hash.0[8..16].try_into().unwrap());
    let number = (word * 2 + log.log_index + salt) % 9;
    let mut operator = Address::ZERO;
    operator.0[0] = u8::try_from(number + 1).unwrap();
    let active = Dgc::whole(word * 1_000 + salt * 7 + log.log_index);
    [
        RegistryEvent::OperatorNumbered {
            operator,
            number: OperatorNumber(number + 1),
        },
        RegistryEvent::StakeChanged { operator, active },
    ]
}

#[test]
fn whatever_was_undone_the_registry_is_that_of_a_fresh_replay() {
    for seed in 0..12_u64 {
        let mut random = seed;
        let mut draw = |limit: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % limit
        };
        let mut model = Model {
            logs_every: 1 + draw(20),
            ..Model::default()
        };
        model.mine(300 + draw(1_500));
        let settings = [(0, false), (0, true), (12, true), (250, true)];
        let mut nodes =
            settings.map(|(confirmations, is_sparse)| Node::new(confirmations, is_sparse));
        for depth in [1, 10, 200, 1, 200, 10] {
            // The chain moves while requests are under way.
            for _ in 0..60 {
                if draw(6) == 0 {
                    model.mine(draw(4));
                }
                let node = &mut nodes[usize::try_from(draw(4)).unwrap()];
                node.follower.handle_head(model.head());
                node.step(&model);
            }
            model.fork(depth, depth + draw(5));
            if draw(2) == 0 {
                let node = &mut nodes[usize::try_from(draw(4)).unwrap()];
                node.step(&model);
                model.fork(draw(depth) + 1, depth + draw(5));
            }
            model.mine(1);
            for (node, (confirmations, is_sparse)) in nodes.iter_mut().zip(settings) {
                node.settle(&model);
                let mut fresh = Node::new(confirmations, false);
                fresh.settle(&model);
                fresh.drain();
                node.drain();
                assert!(
                    node.known() == fresh.known(),
                    "seed {seed}, depth {depth}, {confirmations} confirmations, sparse: {is_sparse}"
                );
            }
        }
    }
}

const SNAPSHOT_BLOCKS: u64 = 16;
