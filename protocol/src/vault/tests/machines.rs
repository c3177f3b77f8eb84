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
    let mut replica = Machine::new(DOMAIN);
    let mut ask = |number: u64, entry: Entry| {
        let request = ReplicaInput::Request {
            request: RequestId(number),
            is_own: true,
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
fn other_peers_guess_no_faster_than_a_replica_lets_them() {
    let mut replica = Machine::new(DOMAIN);
    let mut busy = 0;
    for number in 0..40 {
        let request = ReplicaInput::Request {
            request: RequestId(number),
            is_own: false,
            body: Request::Get { lookup_key: KEY }.to_bytes().into(),
        };
        replica.handle(request, start());
        while let Some(wish) = replica.poll() {
            busy += usize::from(matches!(
                wish,
                ReplicaOutput::Respond {
                    response: Response::Refused(Refusal::Busy { .. }),
                    ..
                }
            ));
        }
    }
    assert_eq!(busy, 10);
}

struct Kept {
    machine: Machine,
    disk: BTreeMap<Hash32, Vec<Entry>>,
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
        let kept = |number| {
            let machine = Machine::new(DOMAIN);
            let disk = BTreeMap::new();
            (replica(number), Kept { machine, disk })
        };
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
        let Kept { machine, disk } = self.replicas.get_mut(&peer)?;
        let request = ReplicaInput::Request {
            request: RequestId(0),
            is_own: true,
            body,
        };
        machine.handle(request, self.now);
        while let Some(wish) = machine.poll() {
            match wish {
                ReplicaOutput::Respond { response, .. } => {
                    return Some(response.to_bytes().into());
                }
                ReplicaOutput::Refuse { .. } => return None,
                ReplicaOutput::Read { lookup_key } => {
                    let entries = Some(disk.get(&lookup_key).cloned().unwrap_or_default());
                    let read = ReplicaInput::Read {
                        lookup_key,
                        entries,
                    };
                    machine.handle(read, self.now);
                }
                ReplicaOutput::Persist {
                    lookup_key, after, ..
                } => {
                    disk.insert(lookup_key, after);
                    let persisted = ReplicaInput::Persisted {
                        lookup_key,
                        is_stored: true,
                    };
                    machine.handle(persisted, self.now);
                }
            }
        }
        None
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
