use protocol::entry::EntryBatch;
use protocol::id::Hash32;
use protocol::signing::Signed;

use super::*;
use crate::testing::{DOMAIN, START, block_hash, entries, key, registry};

#[test]
fn the_index_takes_one_step_at_a_time() {
    let mut chain = Chain::default();
    let mut light = Light::new();
    light.follow(&mut chain, 1, 2);
    light.follow(&mut chain, 2, 1);
    let first = indexed(&light.drain());
    assert_eq!(first, [entries(1, 2)], "the second waits for the first");
    light.tell(Input::Indexed(Ok(())));
    assert_eq!(indexed(&light.drain()), [entries(2, 1)]);
    light.tell(Input::Indexed(Ok(())));
    assert_eq!(light.machine.counted_number(), Some(2));
}

#[test]
fn after_an_error_it_goes_on_from_what_the_index_holds() {
    let mut chain = Chain::default();
    let mut light = Light::new();
    light.follow(&mut chain, 1, 1);
    light.tell(Input::Indexed(Ok(())));
    let held = HeldEntries {
        peaks: chain.peaks.clone(),
        block_number: 1,
        sequence: entries(1, 1).last().map(|entry| entry.position.sequence()),
        head_number_min: 0,
    };
    light.follow(&mut chain, 2, 1);
    light.drain();
    light.tell(Input::Indexed(Err(failure(false))));
    assert!(
        light
            .drain()
            .contains(&Output::Fault(Some(failure(false).reason)))
    );
    light.hear(Topic::Heads, Vec::new());
    let judged = light.drain();
    assert!(matches!(
        judged[..],
        [Output::Judge {
            verdict: Verdict::Ignore,
            ..
        }]
    ));
    light.pass(RECOVERY_PAUSE);
    assert_eq!(light.drain(), [Output::Open]);
    light.tell(Input::Opened(held));
    light.pass(Duration::ZERO);
    let asked = light.asked();
    assert_eq!(asked.from_count, 1, "what it holds is not asked for");
}

#[test]
fn a_lost_index_is_emptied_first_and_one_that_cannot_be_is_looked_at_again() {
    let mut chain = Chain::default();
    let mut light = Light::new();
    light.follow(&mut chain, 1, 1);
    light.drain();
    light.tell(Input::Indexed(Err(failure(true))));
    light.pass(RECOVERY_PAUSE);
    let clear = Output::Clear { head_number_min: 0 };
    assert!(light.drain().contains(&clear));
    light.tell(Input::Indexed(Err(failure(true))));
    light.pass(RECOVERY_PAUSE);
    assert!(light.drain().contains(&Output::Open));
    light.tell(Input::Opened(HeldEntries::default()));
    light.pass(Duration::ZERO);
    assert_eq!(light.asked().from_count, 0);
}

#[test]
fn another_fork_makes_the_index_again_and_its_heads_are_not_taken() {
    let mut chain = Chain::default();
    let mut light = Light::new();
    light.follow(&mut chain, 1, 3);
    light.tell(Input::Indexed(Ok(())));
    light.drain();
    let mut other = Chain::default();
    let head = other.head(5, 1);
    light.hear_majority(head);
    let wishes = light.drain();
    assert!(wishes.contains(&Output::Note(Note::Diverged { block_number: 5 })));
    let clear = Output::Clear { head_number_min: 5 };
    assert!(wishes.contains(&clear));
    light.tell(Input::Indexed(Ok(())));
    light.tell(Input::Opened(HeldEntries::default()));
    assert_eq!(light.machine.head_number_min, 5);
}

#[test]
fn connected_peers_are_asked_first_and_who_fails_last() {
    let mut light = Light::new();
    let near = key(3).address();
    light.tell(Input::Connected(BTreeSet::from([near])));
    let mut asked = Vec::new();
    for _ in 0..5 {
        light.pass(Duration::from_secs(2));
        let (id, peer) = light.ask();
        asked.push(peer);
        light.tell(Input::Answered { id, body: None });
    }
    assert_eq!(asked[0], near);
    let distinct: BTreeSet<Address> = asked.into_iter().collect();
    assert_eq!(distinct.len(), 5, "everybody was tried once");
    light.pass(Duration::from_secs(2));
    assert_eq!(light.ask().1, near, "and then anew");
}

#[test]
fn an_answer_to_an_earlier_question_changes_nothing() {
    let mut light = Light::new();
    light.pass(Duration::ZERO);
    let (id, peer) = light.ask();
    light.tell(Input::Answered { id, body: None });
    light.pass(Duration::from_secs(2));
    let (next, _) = light.ask();
    assert_ne!(next, id);
    light.tell(Input::Answered { id, body: None });
    assert!(light.machine.asking.is_some(), "{peer} has answered once");
}

struct Light {
    machine: CatchUp,
    now: Moment,
    named: u64,
    asked: Vec<(AskId, Address, Vec<u8>)>,
}

impl Light {
    fn new() -> Self {
        let config = spread::Config {
            follows_chain: false,
            ..spread::Config::new(key(40).address(), DOMAIN)
        };
        let now = Moment::from_unix(START);
        let mut light = Self {
            machine: CatchUp::new(config, HeldEntries::default(), 7, now),
            now,
            named: 0,
            asked: Vec::new(),
        };
        light.tell(Input::Registry(Arc::new(registry(&[200; 5]))));
        light
    }

    fn tell(&mut self, input: Input) {
        self.machine.handle(input, self.now);
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.machine.handle_timeout(self.now);
    }

    /// The wishes but questions, which are kept.
    fn drain(&mut self) -> Vec<Output> {
        let mut wishes = Vec::new();
        while let Some(wish) = self.machine.poll() {
            match wish {
                Output::Ask { id, peer, body } => self.asked.push((id, peer, body)),
                wish => wishes.push(wish),
            }
        }
        wishes
    }

    #[track_caller]
    fn ask(&mut self) -> (AskId, Address) {
        self.drain();
        let (id, peer, _) = self.asked.last().expect("somebody is asked");
        (*id, *peer)
    }

    #[track_caller]
    fn asked(&mut self) -> EntriesRequest {
        self.drain();
        let (_, _, body) = self.asked.last().expect("somebody is asked");
        EntriesRequest::from_bytes(body).unwrap()
    }

    fn hear(&mut self, topic: Topic, body: Vec<u8>) {
        self.named += 1;
        let (token, body) = (Token(self.named), Bytes::from(body));
        self.tell(Input::Gossip { token, topic, body });
    }

    fn hear_majority(&mut self, head: Head) {
        for idx in 0..3 {
            let signed = Signed::new(head, &DOMAIN, &key(idx));
            self.hear(Topic::Heads, codec::to_bytes(&signed));
        }
    }

    /// Hears of a block's entries and of its head.
    fn follow(&mut self, chain: &mut Chain, number: u64, count: u64) {
        for batch in EntryBatch::cut(entries(number, count)) {
            self.hear(Topic::Entries, batch.to_bytes());
        }
        self.hear_majority(chain.head(number, count));
    }
}

#[derive(Default)]
struct Chain {
    peaks: Peaks,
}

impl Chain {
    fn head(&mut self, number: u64, count: u64) -> Head {
        let entries = entries(number, count);
        entries
            .iter()
            .for_each(|entry| self.peaks.push(&entry.id().0));
        Head {
            block_number: number,
            block_hash: block_hash(number),
            previous_head: Hash32::ZERO,
            entries_root: self.peaks.root(),
            entry_count: self.peaks.count,
            state_root: Hash32::ZERO,
            registry_root: Hash32::ZERO,
        }
    }
}

fn failure(is_lost: bool) -> IndexFailure {
    let reason = "the disk is full".to_owned();
    IndexFailure { reason, is_lost }
}

fn indexed(wishes: &[Output]) -> Vec<Vec<Entry>> {
    let taken = |wish: &Output| match wish {
        Output::Index { entries, .. } => Some(entries.clone()),
        _ => None,
    };
    wishes.iter().filter_map(taken).collect()
}
