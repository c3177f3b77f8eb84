//! The vault's machine against five replicas' machines, each with its disk.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::amount::Dgc;
use crate::id::Role;
use crate::machine::Machine as _;
use crate::origin::{Origin, RequestId};
use crate::placement::Placement;
use crate::registry::testing::{Enrolment, registry_of};
use crate::vault::Replica as Machine;

#[test]
fn what_is_written_is_read_and_late_replicas_are_written_to() {
    let mut world = World::new(1..=5);
    world.away = (4..=5).map(replica).collect();
    assert_eq!(world.put(record(1, 1)), Ok(()));
    world.away.clear();
    world.slow = (4..=5).map(replica).collect();
    let found = world.get(KEY).unwrap();
    assert_eq!(found.len(), 1);
    world.run();
    for (address, replica) in &world.replicas {
        let kept = replica.disk.get(&KEY).map_or(0, Vec::len);
        assert_eq!(kept, 1, "{address} was written to by the reader");
    }
    assert_eq!(world.vault.deadline(), None, "nothing is left to do");
}

#[test]
fn a_password_change_is_written_at_both_keys() {
    let mut world = World::new(1..=5);
    assert_eq!(world.put(record(1, 1)), Ok(()));
    let (changed, burial) = change();
    let entry = Entry::signed(Signed::new(changed, &DOMAIN, &key(1)), Some(burial), NOW);
    assert_eq!(world.put(entry.clone()), Ok(()));
    assert_eq!(world.get(KEY), Ok(Vec::new()), "the old password is buried");
    assert_eq!(world.get(OTHER_KEY).unwrap().len(), 1);

    // Whoever reads the half of a change finishes it.
    let mut world = World::new(1..=5);
    assert_eq!(world.put(record(1, 1)), Ok(()));
    for replica in world.replicas.values_mut() {
        replica.disk.insert(OTHER_KEY, vec![entry.clone()]);
    }
    assert_eq!(world.get(OTHER_KEY).unwrap().len(), 1);
    world.run();
    assert_eq!(world.get(KEY), Ok(Vec::new()));
}

#[test]
fn both_placed_sets_are_asked_while_the_registry_changes() {
    let mut world = World::new(1..=3);
    assert_eq!(world.put(record(1, 1)), Ok(()));
    let latest = placement(3..=5);
    world.vault.handle(VaultInput::Latest(latest), world.now);
    world.away = [replica(4), replica(5)].into();
    let unavailable = Err(VaultError::Unavailable { count: 3 });
    assert_eq!(world.put(record(1, 2)), unavailable);
    world.away = [replica(5)].into();
    assert_eq!(world.put(record(1, 3)), Ok(()));
}

#[test]
fn refusals_and_newer_records_are_told() {
    let mut world = World::new(1..=5);
    assert_eq!(world.put(record(1, 2)), Ok(()));
    let outdated = Err(VaultError::Outdated { version: 2 });
    assert_eq!(world.put(record(1, 1)), outdated);
    let mut forged = record(1, 3);
    forged.record.version = 4;
    assert_eq!(world.put(forged), Err(Refusal::Signature.into()));
    assert_eq!(world.put(sign_up(9)), Err(Refusal::Taken.into()));
    world.away = (1..=5).map(replica).collect();
    assert_eq!(world.get(KEY), Err(VaultError::Unavailable { count: 5 }));
}

#[test]
fn clients_are_counted_and_own_errands_are_not() {
    let mut world = World::new(1..=5);
    for _ in 0..30 {
        world.get(KEY).unwrap();
    }
    world.client = Some(Origin {
        peer: Address::ZERO,
        ip: Some("10.0.0.1".parse().unwrap()),
    });
    for _ in 0..30 {
        assert!(!matches!(
            world.get(KEY),
            Err(VaultError::Refused(Refusal::Busy { .. }))
        ));
    }
    assert!(matches!(
        world.get(KEY),
        Err(VaultError::Refused(Refusal::Busy { .. }))
    ));
}

#[test]
fn requests_of_one_key_wait_for_each_other_and_a_failing_disk_answers_nothing() {
    let mut replica = Kept::new(1, placement(1..=5)).machine;
    let mut ask = |number: u64, entry: Entry| {
        let request = ReplicaInput::Request {
            request: RequestId(number),
            origin: None,
            body: Request::Put(Box::new(entry)).to_bytes().into(),
        };
        replica.handle(request, start());
        replica.poll()
    };
    let read = ReplicaOutput::Read { lookup_key: KEY };
    assert_eq!(ask(1, record(1, 1)), Some(read.clone()));
    assert_eq!(ask(2, record(1, 2)), None, "the first is not written yet");
    let mut entries = ReplicaInput::Read {
        lookup_key: KEY,
        entries: Some(Vec::new()),
        rows: 0,
    };
    replica.handle(entries, start());
    let Some(ReplicaOutput::Persist { after, .. }) = replica.poll() else {
        panic!("a write")
    };
    let persisted = |is_stored| ReplicaInput::Persisted {
        lookup_key: KEY,
        is_stored,
    };
    replica.handle(persisted(true), start());
    assert_eq!(replica.poll(), Some(read));
    let stored = ReplicaOutput::Respond {
        request: RequestId(1),
        response: Response::Stored,
    };
    assert_eq!(replica.poll(), Some(stored));
    entries = ReplicaInput::Read {
        lookup_key: KEY,
        entries: Some(after),
        rows: 1,
    };
    replica.handle(entries, start());
    assert!(matches!(
        replica.poll(),
        Some(ReplicaOutput::Persist { .. })
    ));
    replica.handle(persisted(false), start());
    let request = RequestId(2);
    assert_eq!(replica.poll(), Some(ReplicaOutput::Refuse { request }));
    assert_eq!(replica.poll(), None);
}

#[test]
fn nobody_guesses_faster_than_a_replica_lets_it_or_locks_others_out() {
    let mut kept = Kept::new(1, placement(1..=5));
    let mallory = Some(stranger("10.0.0.1"));
    let ada = Some(stranger("10.0.0.2"));
    let get = |key: u8| Request::Get {
        lookup_key: Hash32([key; 32]),
    };
    for key in 0..10 {
        assert!(!is_busy(&kept.ask(mallory, get(key))));
    }
    assert!(is_busy(&kept.ask(mallory, get(10))), "an eleventh key");
    assert!(
        !is_busy(&kept.ask(mallory, get(9))),
        "a known one is no guess"
    );
    for _ in 0..40 {
        kept.ask(mallory, get(9));
    }
    assert!(is_busy(&kept.ask(mallory, get(9))));
    assert!(!is_busy(&kept.ask(ada, get(9))), "the key is not locked");
    // Those whose address nobody knows have one share together.
    for key in 0..10 {
        assert!(!is_busy(&kept.ask(Some(unknown(100 + key)), get(key))));
    }
    assert!(is_busy(&kept.ask(Some(unknown(110)), get(10))));
    // A confirmed peer asks for many.
    let gateway = Some(Origin {
        peer: replica(2),
        ..stranger("10.0.0.1")
    });
    for key in 0..100 {
        assert!(!is_busy(&kept.ask(gateway, get(key))));
    }
    kept.now = kept.now + Duration::from_secs(60);
    assert!(!is_busy(&kept.ask(mallory, get(10))));
}

#[test]
fn only_placed_keys_are_taken_and_those_of_a_registry_that_changes() {
    let mut kept = Kept::new(1, placement(1..=9));
    let mut seen = BTreeSet::new();
    for number in 0..120 {
        let mut entry = record(1, 1);
        entry.record.lookup_key = Hash32([number; 32]);
        let entry = signed(entry.record, 1);
        let key = entry.record.lookup_key;
        let ranked = placement(1..=9).rank(crate::placement::Purpose::Vault, &key.0);
        let rank = ranked.iter().position(|peer| *peer == replica(1)).unwrap();
        let expected = match rank < REPLICAS_MAX + 2 {
            true => Response::Stored,
            false => Response::Refused(Refusal::Elsewhere),
        };
        let put = Request::Put(Box::new(entry));
        assert_eq!(kept.ask(None, put), expected, "rank {rank}");
        seen.insert(rank);
    }
    assert_eq!(seen.len(), 9);
    // Nothing belongs to whoever knows no registry.
    let put = Request::Put(Box::new(record(1, 1)));
    let elsewhere = Response::Refused(Refusal::Elsewhere);
    assert_eq!(
        Kept::new(1, Arc::default()).ask(None, put.clone()),
        elsewhere
    );
    // The change is not final, and is counted with.
    let mut kept = Kept::new(1, Arc::default());
    let latest = ReplicaInput::Latest(placement(1..=5));
    kept.machine.handle(latest, start());
    assert_eq!(kept.ask(None, put), Response::Stored);
}

#[test]
fn unsigned_sign_ups_are_few_and_end_and_never_reach_the_disk() {
    let mut kept = Kept::new(1, placement(1..=5));
    let put = |key: u16| {
        let mut entry = sign_up(1);
        entry.record.lookup_key.0[..2].copy_from_slice(&key.to_be_bytes());
        Request::Put(Box::new(entry))
    };
    let provisional = |seconds| Response::Provisional {
        ends_in_seconds: seconds,
    };
    for number in 0..u16::try_from(PROVISIONAL_MAX).unwrap() {
        let from = Some(stranger(&format!("10.0.0.{}", number / 10)));
        assert_eq!(kept.ask(from, put(number)), provisional(600));
    }
    assert!(
        is_busy(&kept.ask(Some(stranger("10.0.1.0")), put(2000))),
        "full"
    );
    assert!(kept.disk.is_empty());
    kept.now = kept.now + Duration::from_secs(100);
    let repeated = kept.ask(Some(stranger("10.0.0.0")), put(0));
    assert_eq!(repeated, provisional(500));
    let (end, _) = kept.machine.deadline().expect("they end");
    assert_eq!(end, Moment::from_unix(UnixSeconds(NOW.0 + 600)));
    kept.now = end;
    kept.machine.handle_timeout(end);
    assert_eq!(kept.machine.deadline(), None);
    let again = kept.ask(Some(stranger("10.0.0.0")), put(2000));
    assert!(is_busy(&again), "that address had its ten of this hour");
    assert_eq!(
        kept.ask(Some(stranger("10.0.1.0")), put(2000)),
        provisional(600)
    );
}

#[test]
fn a_sign_up_keeps_the_place_of_its_owner() {
    let mut kept = Kept::new(1, placement(1..=5));
    kept.ask(None, Request::Put(Box::new(sign_up(7))));
    for owner in 2..=4 {
        let mut other = vault(owner, 1);
        other.iv = Iv([owner; 16]);
        let put = Request::Put(Box::new(signed(other, owner)));
        assert_eq!(kept.ask(None, put), Response::Stored);
    }
    let mut other = vault(5, 1);
    other.iv = Iv([5; 16]);
    let full = kept.ask(None, Request::Put(Box::new(signed(other, 5))));
    assert_eq!(full, Response::Refused(Refusal::Full));
    kept.now = kept.now + Duration::from_secs(60);
    let own = Request::Put(Box::new(record(1, 1)));
    assert_eq!(kept.ask(None, own), Response::Stored);
    let told = kept.ask(None, Request::Get { lookup_key: KEY });
    let Response::Entries(entries) = told else {
        panic!("{told:?}")
    };
    assert_eq!(
        entries.len(),
        WALLETS_MAX,
        "what is signed is not shown twice"
    );
    let own = entries
        .iter()
        .find(|entry| entry.record.wallet == wallet(1));
    assert_eq!(own.unwrap().received, NOW, "it came with its sign-up");
}

#[test]
fn one_address_does_not_fill_a_key_and_nobody_fills_the_disk() {
    let mut kept = Kept::new(1, placement(1..=5));
    let put = |owner, version| Request::Put(Box::new(record(owner, version)));
    let mallory = Some(stranger("10.0.0.1"));
    assert_eq!(kept.ask(mallory, put(1, 1)), Response::Stored);
    assert!(is_busy(&kept.ask(mallory, put(2, 1))), "one an hour");
    assert_eq!(
        kept.ask(mallory, put(1, 2)),
        Response::Stored,
        "it is no other"
    );
    assert_eq!(
        kept.ask(Some(stranger("10.0.0.2")), put(3, 1)),
        Response::Stored
    );
    kept.rows = ROWS_MAX;
    let full = kept.ask(Some(stranger("10.0.0.3")), put(4, 1));
    assert_eq!(full, Response::Refused(Refusal::NoRoom));
    assert_eq!(
        kept.ask(Some(stranger("10.0.0.3")), put(3, 2)),
        Response::Stored
    );
}

fn is_busy(response: &Response) -> bool {
    matches!(response, Response::Refused(Refusal::Busy { .. }))
}

/// Somebody at an address, with some key.
fn stranger(ip: &str) -> Origin {
    Origin {
        peer: Address([0xee; 20]),
        ip: Some(ip.parse().unwrap()),
    }
}

/// Somebody behind a circuit.
fn unknown(number: u8) -> Origin {
    Origin {
        peer: Address([number; 20]),
        ip: None,
    }
}

struct Kept {
    machine: Machine,
    disk: BTreeMap<Hash32, Vec<Entry>>,
    rows: u64,
    now: Moment,
}

impl Kept {
    fn new(number: u8, placement: Arc<Placement>) -> Self {
        let mut machine = Machine::new(DOMAIN, replica(number));
        machine.handle(ReplicaInput::Snapshot(placement), start());
        Self {
            machine,
            disk: BTreeMap::new(),
            rows: 0,
            now: start(),
        }
    }

    fn ask(&mut self, origin: Option<Origin>, request: Request) -> Response {
        let body = request.to_bytes().into();
        self.answer(origin, body).expect("the disk works")
    }

    fn answer(&mut self, origin: Option<Origin>, body: Bytes) -> Option<Response> {
        let request = ReplicaInput::Request {
            request: RequestId(0),
            origin,
            body,
        };
        self.machine.handle(request, self.now);
        while let Some(wish) = self.machine.poll() {
            match wish {
                ReplicaOutput::Respond { response, .. } => return Some(response),
                ReplicaOutput::Refuse { .. } => return None,
                ReplicaOutput::Read { lookup_key } => {
                    let read = ReplicaInput::Read {
                        lookup_key,
                        entries: Some(self.disk.get(&lookup_key).cloned().unwrap_or_default()),
                        rows: self.rows,
                    };
                    self.machine.handle(read, self.now);
                }
                ReplicaOutput::Persist {
                    lookup_key, after, ..
                } => {
                    self.disk.insert(lookup_key, after);
                    let persisted = ReplicaInput::Persisted {
                        lookup_key,
                        is_stored: true,
                    };
                    self.machine.handle(persisted, self.now);
                }
            }
        }
        None
    }
}

struct World {
    vault: Vault,
    replicas: BTreeMap<Address, Kept>,
    away: BTreeSet<Address>,
    /// Their answers come after all others'.
    slow: BTreeSet<Address>,
    client: Option<Origin>,
    asks: Vec<(AskId, Address, Bytes)>,
    reply: Option<VaultReply>,
    now: Moment,
}

impl World {
    fn new(numbers: std::ops::RangeInclusive<u8>) -> Self {
        let mut vault = Vault::new(DOMAIN);
        let placed = placement(numbers);
        vault.handle(VaultInput::Snapshot(Arc::clone(&placed)), start());
        vault.handle(VaultInput::Latest(placed), start());
        let kept = |number| (replica(number), Kept::new(number, placement(1..=5)));
        Self {
            vault,
            replicas: (1..=5).map(kept).collect(),
            away: BTreeSet::new(),
            slow: BTreeSet::new(),
            client: None,
            asks: Vec::new(),
            reply: None,
            now: start(),
        }
    }

    fn put(&mut self, entry: Entry) -> Result<(), VaultError> {
        let (request, client) = (RequestId(1), self.client);
        let input = VaultInput::Put {
            request,
            client,
            entry,
        };
        self.vault.handle(input, self.now);
        match self.answer() {
            VaultReply::Put(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn get(&mut self, lookup_key: Hash32) -> Result<Vec<Entry>, VaultError> {
        let (request, client) = (RequestId(1), self.client);
        let input = VaultInput::Get {
            request,
            client,
            lookup_key,
        };
        self.vault.handle(input, self.now);
        match self.answer() {
            VaultReply::Get(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    fn answer(&mut self) -> VaultReply {
        self.reply = None;
        while self.step() && self.reply.is_none() {}
        self.reply.take().expect("each request is answered")
    }

    /// Does all that is left.
    fn run(&mut self) {
        while self.step() {}
    }

    /// Delivers one question, or lets time pass; false when nothing is left.
    fn step(&mut self) -> bool {
        self.drain();
        let quick = |(_, peer, _): &(AskId, Address, Bytes)| !self.slow.contains(peer);
        let place = self.asks.iter().position(quick);
        if !self.asks.is_empty() {
            let (id, peer, body) = self.asks.remove(place.unwrap_or(0));
            let body = self.deliver(peer, body);
            self.vault
                .handle(VaultInput::Answered { id, body }, self.now);
            self.drain();
            return true;
        }
        let Some((at, _)) = self.vault.deadline() else {
            return false;
        };
        self.now = at;
        self.vault.handle_timeout(at);
        true
    }

    fn drain(&mut self) {
        while let Some(wish) = self.vault.poll() {
            match wish {
                VaultOutput::Ask { id, peer, body } => self.asks.push((id, peer, body)),
                VaultOutput::Reply { reply, .. } => self.reply = Some(reply),
            }
        }
    }

    fn deliver(&mut self, peer: Address, body: Bytes) -> Option<Bytes> {
        if self.away.contains(&peer) {
            return None;
        }
        let kept = self.replicas.get_mut(&peer)?;
        kept.now = self.now;
        Some(kept.answer(None, body)?.to_bytes().into())
    }
}

/// A record under another password, and the tombstone of the one before.
fn change() -> (VaultRecord, SignedVault) {
    let mut changed = vault(1, 2);
    changed.lookup_key = OTHER_KEY;
    changed.replaces = KEY;
    let burial = VaultRecord::tombstone(KEY, wallet(1), 2);
    (changed, Signed::new(burial, &DOMAIN, &key(1)))
}

fn placement(numbers: std::ops::RangeInclusive<u8>) -> Arc<Placement> {
    let registry = registry_of(numbers.map(|number| Enrolment {
        number,
        roles: &[Role::Identity],
        wallet: replica(number),
        public_key: vec![number],
        stake: Dgc::whole(1_000_000),
    }));
    Arc::new(Placement::new(&registry))
}

const OTHER_KEY: Hash32 = Hash32([0xee; 32]);
