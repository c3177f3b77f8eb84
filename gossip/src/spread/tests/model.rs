//! A peer without a chain against a model, under random interleavings.

use proptest::prelude::*;

use super::*;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// The batches of a block arrive.
    Batch { block: usize, is_forged: bool },
    /// A signature under a block's head arrives; the first two operators may lie.
    Head {
        block: usize,
        signer: usize,
        is_forged: bool,
    },
    /// A fetch is answered under the head of a block.
    Answer {
        peer: usize,
        block: usize,
        entries: usize,
        is_forged: bool,
    },
    /// Nobody answers.
    NoAnswer,
    /// Another registry is known: none of the operators, or all.
    Registry { operators: usize },
    /// Time passes.
    Wait { seconds: u64 },
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn entries_are_applied_under_majority_heads_only_and_all_in_the_end(
        sizes in prop::collection::vec(0_u64..5, BLOCKS),
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut model = Model::new(&sizes);
        for step in steps {
            model.handle(step);
        }
        model.calm();
        prop_assert_eq!(model.found.len(), model.all.len());
    }
}

fn step() -> impl Strategy<Value = Step> {
    let forged = prop::bool::weighted(0.3);
    prop_oneof![
        4 => (0..BLOCKS, forged)
            .prop_map(|(block, is_forged)| Step::Batch { block, is_forged }),
        8 => (0..BLOCKS, 0..5_usize, forged).prop_map(|(block, signer, is_forged)| {
            Step::Head { block, signer, is_forged: is_forged && signer < 2 }
        }),
        4 => (0..5_usize, 0..BLOCKS, 1..9_usize, forged).prop_map(
            |(peer, block, entries, is_forged)| Step::Answer {
                peer,
                block,
                entries,
                is_forged: is_forged && peer < 2,
            }
        ),
        1 => Just(Step::NoAnswer),
        1 => prop_oneof![Just(0_usize), Just(5)].prop_map(|operators| Step::Registry { operators }),
        2 => (0..40_u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

struct Model {
    light: Spread,
    now: Moment,
    /// Heads and entries by block.
    blocks: Vec<(Head, Vec<Entry>)>,
    all: Vec<Entry>,
    found: Vec<Entry>,
    /// Where the open fetch continues, and who has to answer it.
    open: Option<(u64, Option<Address>)>,
}

impl Model {
    fn new(sizes: &[u64]) -> Self {
        let mut builder = HeadBuilder::default();
        let mut blocks = Vec::new();
        for (number, size) in (1..).zip(sizes) {
            let block_entries = entries(number, *size);
            let block = FinalBlock {
                block: BlockRef {
                    number,
                    hash: block_hash(number),
                },
                time: START,
                entries: block_entries.iter().map(Entry::id).collect(),
                registry_changed: true,
                registry_root: Hash32::ZERO,
            };
            let head = builder.handle_final_block(&block).unwrap();
            blocks.push((head, block_entries));
        }
        let all = blocks
            .iter()
            .flat_map(|(_, entries)| entries.clone())
            .collect();
        Self {
            light: light_peer(),
            now: start(),
            blocks,
            all,
            found: Vec::new(),
            open: None,
        }
    }

    fn handle(&mut self, step: Step) {
        match step {
            Step::Batch { block, is_forged } => self.batch(block, is_forged),
            Step::Head {
                block,
                signer,
                is_forged,
            } => self.head(block, signer, is_forged),
            Step::Answer {
                peer,
                block,
                entries,
                is_forged,
            } => self.answer(peer, block, entries, is_forged),
            Step::NoAnswer => {
                if self.open.take().is_some() {
                    self.light.handle_no_answer(self.now);
                }
            }
            Step::Registry { operators } => {
                let registry = registry(&STAKES[..operators]);
                self.light.handle_registry(Arc::new(registry), self.now);
            }
            Step::Wait { seconds } => {
                self.now = self.now + Duration::from_secs(seconds);
                self.light.handle_timeout(self.now);
            }
        }
        self.drain();
    }

    fn batch(&mut self, block: usize, is_forged: bool) {
        let mut entries = self.blocks[block].1.clone();
        if is_forged {
            entries.truncate(1);
            for entry in &mut entries {
                entry.action.action.metadata = "lie".to_owned();
            }
        }
        for batch in EntryBatch::cut(entries) {
            self.light
                .handle_batch(&batch.to_bytes(), Token(0), self.now);
        }
    }

    fn head(&mut self, block: usize, signer: usize, is_forged: bool) {
        let mut head = self.blocks[block].0;
        if is_forged {
            head.entry_count += 1;
            head.entries_root = block_hash(77);
        }
        self.light
            .handle_head(&signed(head, signer), Token(0), self.now);
    }

    fn answer(&mut self, peer: usize, block: usize, entries: usize, is_forged: bool) {
        let Some((from_count, wanted)) = self.open.take() else {
            return;
        };
        let peer = wanted.unwrap_or(key(peer).address());
        let is_forged = is_forged && [key(0).address(), key(1).address()].contains(&peer);
        let head = self.blocks[block].0;
        let until = usize::try_from(head.entry_count).unwrap();
        let from = usize::try_from(from_count).unwrap().min(until);
        let mut part = self.all[from..until.min(from + entries)].to_vec();
        if is_forged {
            part.reverse();
            part.truncate(3);
        }
        // A refusal is part of the game; the invariants are checked on events.
        let _ = self.light.handle_answer(peer, answer(part, head), self.now);
    }

    fn drain(&mut self) {
        while let Some(event) = self.light.poll_event() {
            match event {
                Event::Entries {
                    entries,
                    head,
                    peaks,
                } => {
                    assert!(
                        self.blocks.iter().any(|(true_head, _)| *true_head == head),
                        "a head that no majority signed"
                    );
                    self.found.extend(entries);
                    assert_eq!(peaks.count, self.found.len() as u64);
                    assert!(self.all.starts_with(&self.found), "entries of no chain");
                }
                Event::Fetch {
                    from_count, peer, ..
                } => {
                    assert_eq!(self.open, None, "one fetch at a time");
                    self.open = Some((from_count, peer));
                }
                Event::Diverged { .. } => panic!("there is one fork only"),
                Event::Liar { peer } => {
                    let liars = [key(0).address(), key(1).address()];
                    assert!(liars.contains(&peer), "an honest peer is accused");
                }
                Event::Counted(counted) => {
                    assert!(self.blocks.iter().any(|(head, _)| *head == counted.head));
                }
                Event::Contradiction { signer, .. } => {
                    assert!([key(0).address(), key(1).address()].contains(&signer));
                }
            }
        }
        while self.light.poll_verdict().is_some() {}
    }

    /// Everything arrives, and honest peers answer.
    fn calm(&mut self) {
        self.handle(Step::Registry { operators: 5 });
        for signer in 2..5 {
            self.handle(Step::Head {
                block: BLOCKS - 1,
                signer,
                is_forged: false,
            });
        }
        for _ in 0..8 {
            self.handle(Step::Wait { seconds: 60 });
            let peer = self.open.and_then(|(_, peer)| peer);
            if peer == Some(key(0).address()) || peer == Some(key(1).address()) {
                self.handle(Step::NoAnswer);
            } else {
                self.handle(Step::Answer {
                    peer: 3,
                    block: BLOCKS - 1,
                    entries: 100,
                    is_forged: false,
                });
            }
        }
    }
}

const BLOCKS: usize = 6;
