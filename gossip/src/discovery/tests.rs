use bytes::Bytes;
use protocol::chain::follower::TooDeep;
use protocol::entry::EntryBatch;
use protocol::id::Address;
use protocol::origin::{Origin, RequestId};
use protocol::signing::Signed;

use super::*;
use crate::message::{EntriesAnswer, EntriesRequest};
use crate::testing::{DOMAIN, START, block_hash, entries, key, registry};

#[test]
fn the_index_takes_one_step_at_a_time_and_heads_come_after_it() {
    let mut peer = Peer::new();
    peer.tell(Input::Chain(vec![block(1, 2), finalized(1)]));
    peer.tell(Input::Chain(vec![block(2, 1), finalized(2)]));
    assert_eq!(steps(&peer.drain()), ["index 1"]);
    assert!(peer.machine.is_indexing());
    peer.tell(Input::Indexed(Ok(())));
    let wishes = peer.drain();
    assert_eq!(steps(&wishes), ["settled 1", "sign 1", "index 2"]);
    peer.tell(Input::Indexed(Ok(())));
    assert_eq!(steps(&peer.drain()), ["settled 2", "sign 2"]);
    assert!(!peer.machine.is_indexing());
}

#[test]
fn a_head_is_told_after_it_is_stored_and_again_while_it_lacks_a_majority() {
    let mut peer = Peer::new();
    let head = peer.follow(1, 2);
    assert_eq!(
        published(&peer.drain(), Topic::Heads),
        0,
        "it is not stored"
    );
    peer.tell(Input::Signed(Box::new(signed(head, 0))));
    assert_eq!(published(&peer.drain(), Topic::Heads), 1);
    peer.tell(Input::Signed(Box::new(signed(head, 0))));
    assert_eq!(
        published(&peer.drain(), Topic::Heads),
        0,
        "it was signed once"
    );
    peer.pass(RETELL_INTERVAL);
    assert_eq!(published(&peer.drain(), Topic::Heads), 1);
    for idx in 1..3 {
        peer.hear_head(&signed(head, idx));
    }
    let kept = peer
        .drain()
        .into_iter()
        .any(|wish| matches!(wish, Output::Keep(Some(counted)) if counted.head == head));
    assert!(kept, "three of five operators signed it");
    peer.pass(RETELL_INTERVAL);
    assert_eq!(
        published(&peer.drain(), Topic::Heads),
        0,
        "it has a majority"
    );
}

#[test]
fn a_long_history_is_computed_and_only_its_end_signed() {
    let mut peer = Peer::new();
    peer.tell(Input::Tip(1000));
    peer.follow(1, 1);
    peer.follow(2, 1);
    assert_eq!(steps(&peer.drain()), [""; 0], "far behind the tip");
    peer.tell(Input::Tip(66));
    let head = peer.follow(3, 1);
    let unsigned = Input::Unsigned {
        number: head.block_number,
    };
    peer.tell(unsigned);
    peer.tell(Input::Signed(Box::new(signed(head, 0))));
    assert_eq!(
        published(&peer.drain(), Topic::Heads),
        0,
        "it may not be signed"
    );
}

#[test]
fn what_a_majority_says_is_kept_only_when_it_is_computed_here_too() {
    let mut peer = Peer::new();
    let head = peer.follow(1, 1);
    let forged = Head {
        entry_count: 7,
        ..head
    };
    for idx in 1..4 {
        peer.hear_head(&signed(forged, idx));
    }
    let wishes = peer.drain();
    assert!(wishes.contains(&Output::Note(Note::MajorityDiffers { block_number: 1 })));
    assert_eq!(peer.machine.counted(), None);
}

#[test]
fn a_counted_head_waits_for_the_own_chain() {
    let mut chain = Peer::new();
    let head = chain.follow(1, 1);
    let mut peer = Peer::new();
    for idx in 1..4 {
        peer.hear_head(&signed(head, idx));
    }
    assert_eq!(peer.machine.counted(), None);
    peer.follow(1, 1);
    assert_eq!(
        peer.machine.counted().map(|counted| counted.head),
        Some(head)
    );
}

#[test]
fn blocks_that_are_not_final_are_taken_back_and_final_ones_bring_a_replay() {
    let mut peer = Peer::new();
    let head = peer.follow(1, 1);
    for idx in 1..4 {
        peer.hear_head(&signed(head, idx));
    }
    peer.tell(Input::Chain(vec![block(2, 1)]));
    peer.tell(Input::Indexed(Ok(())));
    peer.drain();
    peer.tell(Input::Chain(vec![rollback(1), block(2, 2), finalized(2)]));
    assert_eq!(steps(&peer.drain()), ["unindex 1"]);
    peer.tell(Input::Indexed(Ok(())));
    assert_eq!(steps(&peer.drain()), ["index 2"]);
    peer.tell(Input::Indexed(Ok(())));
    assert!(peer.machine.counted().is_some(), "its block stands");
    peer.drain();

    peer.tell(Input::Chain(vec![rollback(0)]));
    peer.tell(Input::Indexed(Ok(())));
    let wishes = peer.drain();
    assert!(wishes.contains(&Output::Keep(None)));
    assert!(wishes.contains(&Output::Note(Note::FinalUndone { to: 0, from: 2 })));
    assert_eq!(steps(&wishes), ["unindex 0", "settled 0", "subscribe"]);
    assert_eq!(peer.follow(1, 1), head, "a replay computes the same");
}

#[test]
fn an_index_that_fails_rests_and_a_lost_one_is_made_again() {
    for is_lost in [false, true] {
        let mut peer = Peer::new();
        peer.tell(Input::Chain(vec![block(1, 1), finalized(1)]));
        let reason = "the disk is full".to_owned();
        let failure = IndexFailure { reason, is_lost };
        peer.tell(Input::Indexed(Err(failure)));
        assert_eq!(steps(&peer.drain()), ["index 1", "fault"]);
        peer.tell(Input::Chain(vec![block(2, 1)]));
        peer.tell(Input::Indexed(Ok(())));
        assert_eq!(
            steps(&peer.drain()),
            [""; 0],
            "an old subscription says nothing"
        );
        peer.pass(RECOVERY_PAUSE);
        if is_lost {
            assert_eq!(steps(&peer.drain()), ["settled 0", "clear"]);
            peer.tell(Input::Indexed(Ok(())));
        }
        assert_eq!(steps(&peer.drain()), ["settled 0", "subscribe"]);
        peer.follow(1, 1);
    }
}

#[test]
fn a_fork_too_deep_makes_the_index_again() {
    let mut peer = Peer::new();
    let deep = ChainEvent::TooDeep(TooDeep {
        undo_blocks_max: 0,
        oldest: 4,
    });
    peer.tell(Input::Chain(vec![deep]));
    peer.pass(RECOVERY_PAUSE);
    assert_eq!(steps(&peer.drain()), ["fault", "settled 0", "clear"]);
}

#[test]
fn every_message_gets_its_verdict_when_the_replay_begins() {
    let mut peer = Peer::new();
    peer.follow(1, 1);
    peer.drain();
    let batch = EntryBatch::cut(entries(9, 1)).remove(0).to_bytes();
    peer.hear(Topic::Entries, batch);
    assert_eq!(verdicts(&peer.drain()), [], "its block is not final here");
    peer.tell(Input::Chain(vec![rollback(0)]));
    peer.tell(Input::Indexed(Ok(())));
    assert_eq!(verdicts(&peer.drain()), [Verdict::Ignore]);
}

#[test]
fn entries_are_answered_under_a_counted_head_a_few_at_a_time() {
    let mut peer = Peer::new();
    peer.ask(0);
    assert_eq!(refused(&peer.drain()), 1, "there is no counted head");
    let head = peer.follow(1, 3);
    for idx in 1..4 {
        peer.hear_head(&signed(head, idx));
    }
    peer.drain();
    for _ in 0..6 {
        peer.ask(1);
    }
    let mut open = reads(&peer.drain());
    assert_eq!(open.len(), 4, "four at a time");
    let found = Some(entries(1, 3).split_off(1));
    peer.tell(Input::Read {
        id: open.remove(0),
        entries: found.clone(),
    });
    let wishes = peer.drain();
    let answer = answered(&wishes).unwrap();
    assert_eq!((Some(answer.entries), answer.head), (found, head));
    open.extend(reads(&wishes));
    assert_eq!(open.len(), 4, "the next one begins");
    while let Some(id) = open.pop() {
        peer.tell(Input::Read { id, entries: None });
        let wishes = peer.drain();
        assert_eq!(refused(&wishes), 1, "the index cannot be read");
        open.extend(reads(&wishes));
    }
    peer.ask(3);
    let answer = answered(&peer.drain()).expect("who has all is told the head");
    assert_eq!((answer.entries, answer.head), (Vec::new(), head));
}

/// Peer 0 of five, in front of its chain.
struct Peer {
    machine: Discovery,
    now: Moment,
    named: u64,
}

impl Peer {
    fn new() -> Self {
        let config = Config {
            spread: spread::Config::new(key(0).address(), DOMAIN),
            signs_heads: true,
            confirmations: 0,
        };
        let now = Moment::from_unix(START);
        let mut peer = Self {
            machine: Discovery::new(config, None, now),
            now,
            named: 0,
        };
        peer.tell(Input::Registry(Arc::new(registry(&[200; 5]))));
        assert_eq!(steps(&peer.drain()), ["subscribe"]);
        peer
    }

    fn tell(&mut self, input: Input) {
        self.machine.handle(input, self.now);
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.machine.poll()).collect()
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.machine.handle_timeout(self.now);
    }

    /// Takes a final block; returns its head.
    fn follow(&mut self, number: u64, count: u64) -> Head {
        self.tell(Input::Chain(vec![block(number, count), finalized(number)]));
        self.tell(Input::Indexed(Ok(())));
        let mut rest = VecDeque::new();
        let mut head = None;
        while let Some(wish) = self.machine.poll() {
            match wish {
                Output::Sign(found) => head = Some(found),
                Output::Index(_) | Output::Settled(_) | Output::Fault(None) => {}
                wish => rest.push_back(wish),
            }
        }
        self.machine.outputs = rest;
        head.unwrap_or_else(|| self.machine.history.skipped.expect("a head").0)
    }

    fn hear(&mut self, topic: Topic, body: Vec<u8>) {
        self.named += 1;
        let (token, body) = (Token(self.named), Bytes::from(body));
        self.tell(Input::Gossip { token, topic, body });
    }

    fn hear_head(&mut self, head: &SignedHead) {
        self.hear(Topic::Heads, codec::to_bytes(head));
    }

    fn ask(&mut self, from_count: u64) {
        self.named += 1;
        let request = EntriesRequest {
            from_count,
            after: None,
        };
        self.tell(Input::Request {
            id: RequestId(self.named),
            origin: Origin {
                peer: Address([7; 20]),
                ip: None,
            },
            body: Bytes::from(codec::to_bytes(&request)),
        });
    }
}

fn block(number: u64, count: u64) -> ChainEvent {
    ChainEvent::Block(Arc::new(ChainBlock {
        block: block_ref(number),
        parent: block_hash(number - 1),
        time: UnixSeconds(START.0 + number),
        entries: entries(number, count),
        registry: Vec::new(),
    }))
}

fn finalized(number: u64) -> ChainEvent {
    let block = block_ref(number);
    ChainEvent::Final { block }
}

fn rollback(number: u64) -> ChainEvent {
    let to = block_ref(number);
    ChainEvent::Rollback { to }
}

fn block_ref(number: u64) -> BlockRef {
    BlockRef {
        number,
        hash: block_hash(number),
    }
}

fn signed(head: Head, idx: usize) -> SignedHead {
    Signed::new(head, &DOMAIN, &key(idx))
}

/// What is done with index and chain.
fn steps(wishes: &[Output]) -> Vec<String> {
    let step = |wish: &Output| match wish {
        Output::Index(blocks) => Some(format!("index {}", blocks[0].block.number)),
        Output::Unindex { to } => Some(format!("unindex {to}")),
        Output::Settled(number) => Some(format!("settled {number}")),
        Output::Sign(head) => Some(format!("sign {}", head.block_number)),
        Output::Clear => Some("clear".to_owned()),
        Output::Subscribe => Some("subscribe".to_owned()),
        Output::Fault(Some(_)) => Some("fault".to_owned()),
        _ => None,
    };
    wishes.iter().filter_map(step).collect()
}

fn published(wishes: &[Output], on: Topic) -> usize {
    let is_told = |wish: &&Output| matches!(wish, Output::Publish { topic, .. } if *topic == on);
    wishes.iter().filter(is_told).count()
}

fn verdicts(wishes: &[Output]) -> Vec<Verdict> {
    let verdict = |wish: &Output| match wish {
        Output::Judge { verdict, .. } => Some(*verdict),
        _ => None,
    };
    wishes.iter().filter_map(verdict).collect()
}

fn answered(wishes: &[Output]) -> Option<EntriesAnswer> {
    wishes.iter().find_map(|wish| match wish {
        Output::Respond { body, .. } => EntriesAnswer::from_bytes(body).ok(),
        _ => None,
    })
}

fn refused(wishes: &[Output]) -> usize {
    let is_refused = |wish: &&Output| matches!(wish, Output::Refuse { .. });
    wishes.iter().filter(is_refused).count()
}

fn reads(wishes: &[Output]) -> Vec<RequestId> {
    let read = |wish: &Output| match wish {
        Output::Read { id, .. } => Some(*id),
        _ => None,
    };
    wishes.iter().filter_map(read).collect()
}
