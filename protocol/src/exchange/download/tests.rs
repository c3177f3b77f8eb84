use std::time::Duration;

use super::super::message::Answer;
use super::*;
use crate::unixfs::raw_cid;

const DATA: &[u8] = b"a file of one block";

/// How long a search for providers takes.
const SEARCH: Duration = Duration::from_secs(10);

fn peer(number: u8) -> Address {
    Address([number; 20])
}

fn root() -> Cid {
    raw_cid(DATA)
}

fn wanted(holders: &[u8], last_resort: &[u8]) -> Wanted {
    let peers = |numbers: &[u8]| numbers.iter().copied().map(peer).collect();
    Wanted {
        root: root(),
        target: Target::Dag(root()),
        holders: peers(holders),
        last_resort: peers(last_resort),
        is_kept: true,
        with_proof: true,
    }
}

/// A driver with an empty disk, in whose network some peers hold the root.
struct Shell {
    download: Download,
    now: Moment,
    around: Around,
    providers: Vec<Address>,
    /// Each search names another peer that never answers.
    has_dead_providers: bool,
    searches: u8,
    found_at: Option<Moment>,
    holders: BTreeSet<Address>,
    liars: BTreeSet<Address>,
    missing: u64,
    asked: Vec<Address>,
    offences: Vec<(Address, u32)>,
    ended: Option<Result<Fetched, FailReason>>,
}

impl Shell {
    fn new(wanted: Wanted) -> Self {
        let now = Moment::ZERO + Duration::from_secs(1);
        Self {
            download: Download::new(FetchConfig::staked(), peer(0), wanted, now),
            now,
            around: Around::default(),
            providers: Vec::new(),
            has_dead_providers: false,
            searches: 0,
            found_at: None,
            holders: BTreeSet::new(),
            liars: BTreeSet::new(),
            missing: 0,
            asked: Vec::new(),
            offences: Vec::new(),
            ended: None,
        }
    }

    /// Runs until the end, which has to come within an hour.
    fn run(&mut self) -> Result<Fetched, FailReason> {
        let end = self.now + Duration::from_secs(3600);
        loop {
            self.drain();
            if let Some(ended) = self.ended.take() {
                assert_eq!(self.download.poll(), None, "the end is the last output");
                return ended;
            }
            let deadline = self.download.deadline().map(|(at, _)| at);
            let next = deadline.into_iter().chain(self.found_at).min();
            self.now = next.expect("it waits for something");
            assert!(self.now < end, "the fetch never ends");
            if self.found_at == next {
                self.found_at = None;
                let found = DownloadInput::Providers(self.providers.clone());
                self.download.handle(found, self.now);
            } else {
                self.download.handle_timeout(self.now);
            }
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.download.poll() {
            if let Some(input) = self.carry_out(output) {
                self.download.handle(input, self.now);
            }
        }
    }

    fn carry_out(&mut self, output: DownloadOutput) -> Option<DownloadInput> {
        Some(match output {
            DownloadOutput::FindHolders => DownloadInput::Around(self.around.clone()),
            DownloadOutput::FindProviders => {
                self.searches = self.searches.checked_add(1).expect("searches end");
                if self.has_dead_providers {
                    self.providers = vec![peer(self.searches)];
                }
                self.found_at = Some(self.now + SEARCH);
                return None;
            }
            DownloadOutput::Look(query) => DownloadInput::Looked {
                cid: query.cid,
                local: Local::Absent,
            },
            DownloadOutput::Ask { to, id, .. } => {
                self.asked.push(to);
                let data = if self.liars.contains(&to) {
                    Some(&b"something else"[..])
                } else {
                    self.holders.contains(&to).then_some(DATA)
                };
                let answer = data.map(|data| {
                    let answers = vec![Answer::Data(Bytes::copy_from_slice(data))];
                    Response { answers }.encode()
                });
                let answer = answer.ok_or(Unanswered::Failed);
                DownloadInput::Answered { id, answer }
            }
            DownloadOutput::Store(blocks) => {
                assert!(blocks.iter().all(|block| *block.cid() == root()));
                DownloadInput::Stored
            }
            DownloadOutput::List(cids) => {
                assert_eq!(cids, [root()]);
                let missing = self.missing;
                DownloadInput::Listed { missing }
            }
            DownloadOutput::Prove => DownloadInput::Proved(Ok(Hash32::ZERO)),
            DownloadOutput::Offence { holder, weight, .. } => {
                self.offences.push((holder, weight));
                return None;
            }
            DownloadOutput::Ended(result) => {
                self.ended = Some(result);
                return None;
            }
        })
    }
}

#[test]
fn what_a_placed_peer_holds_is_stored_listed_and_proved() {
    let mut shell = Shell::new(wanted(&[], &[]));
    shell.around.placed = vec![peer(1)];
    shell.holders.insert(peer(1));
    let fetched = Fetched {
        blocks: 1,
        bytes: DATA.len() as u64,
        proof_root: Some(Hash32::ZERO),
    };
    assert_eq!(shell.run(), Ok(fetched));
    assert_eq!(shell.asked, [peer(1)]);
}

#[test]
fn a_known_holder_is_asked_before_placed_peers_and_the_last_resort_after_all() {
    let mut shell = Shell::new(wanted(&[5], &[1]));
    shell.around.placed = vec![peer(1), peer(2)];
    shell.holders.insert(peer(1));
    assert!(shell.run().is_ok());
    assert_eq!(shell.asked.first(), Some(&peer(5)));
    assert_eq!(shell.asked.last(), Some(&peer(1)));
    assert!(shell.asked.contains(&peer(2)));
}

#[test]
fn a_fetch_never_asks_its_own_peer() {
    let mut shell = Shell::new(wanted(&[0], &[0]));
    shell.around.placed = vec![peer(0)];
    shell.providers = vec![peer(0)];
    assert!(shell.run().is_err());
    assert_eq!(shell.asked, []);
}

#[test]
fn providers_are_searched_for_when_nobody_else_has_it() {
    let mut shell = Shell::new(wanted(&[], &[]));
    shell.providers = vec![peer(7)];
    shell.holders.insert(peer(7));
    assert!(shell.run().is_ok());
}

#[test]
fn ever_new_providers_that_never_answer_do_not_keep_a_fetch_alive() {
    let mut shell = Shell::new(wanted(&[], &[]));
    shell.has_dead_providers = true;
    let failed = Err(FailReason::NoHolder { cid: root() });
    assert_eq!(shell.run(), failed);
}

#[test]
fn wrong_blocks_are_an_offence_and_the_next_holder_is_asked() {
    let mut shell = Shell::new(wanted(&[1], &[]));
    shell.around.placed = vec![peer(2)];
    shell.liars.insert(peer(1));
    shell.holders.insert(peer(2));
    assert!(shell.run().is_ok());
    assert_eq!(shell.offences, [(peer(1), WRONG_BLOCKS_WEIGHT)]);
}

#[test]
fn blocks_that_went_while_the_rest_came_end_the_fetch() {
    let mut shell = Shell::new(wanted(&[1], &[]));
    shell.holders.insert(peer(1));
    shell.missing = 1;
    assert_eq!(shell.run(), Err(FailReason::NoHolder { cid: root() }));
}
