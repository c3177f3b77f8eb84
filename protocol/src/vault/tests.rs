use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::records::CIPHER_TEXT_BYTES;
use crate::signing::{Record, Signed, SigningKey};
use crate::time::Moment;

mod machines;

#[test]
fn the_published_hedgehog_vector_is_met() {
    let key = lookup_key("Email@Address.com", "testpassword");
    assert_eq!(
        hex::encode(key.0),
        "18c6f07f7b891bc5f2c79a20bd39f7971a499f3e7ada02cb2382d40e44661b92"
    );
    let iv: Iv = "e85bf7579aafe1554c6d0e5235a4a883".parse().unwrap();
    assert_eq!(
        hex::encode(derive_key("testpassword", &iv)),
        "ef8457b244f144ba12afed55c8812da2898cea4331f9c53ed8eb791bba44aec5"
    );
    let mut entropy = [0; 16];
    hex::decode_to_slice("62f6be1cb96587d7fd09808a0c095522", &mut entropy).unwrap();
    let cipher_text = encrypt_entropy(&entropy, "testpassword", &iv);
    assert_eq!(hex::encode(&cipher_text), CIPHER_TEXT);
    assert_eq!(
        decrypt_entropy(&cipher_text, "testpassword", &iv),
        Ok(entropy)
    );
    let wrong: Iv = "072251f44fda8f9aad3cc04992372bf7".parse().unwrap();
    assert_eq!(
        decrypt_entropy(&cipher_text, "testpassword", &wrong),
        Err(CipherError::Password)
    );
    assert_eq!(
        decrypt_entropy(&cipher_text[..63], "testpassword", &iv),
        Err(CipherError::Password)
    );
    assert_eq!(
        decrypt_entropy(&[], "testpassword", &iv),
        Err(CipherError::Password)
    );
}

#[test]
fn the_struct_hash_is_the_contracts() {
    let record = VaultRecord {
        scheme: 1,
        lookup_key: "0x18c6f07f7b891bc5f2c79a20bd39f7971a499f3e7ada02cb2382d40e44661b92"
            .parse()
            .unwrap(),
        iv: "e85bf7579aafe1554c6d0e5235a4a883".parse().unwrap(),
        cipher_text: hex::decode(CIPHER_TEXT).unwrap(),
        wallet: Address([0x22; 20]),
        version: 1,
        replaces: Hash32::ZERO,
    };
    assert_eq!(
        record.struct_hash().to_string(),
        "0xbfe9f7e29eec79926f670426634c34469779d352e0f0f3ea48fc84a36946490a"
    );
}

#[test]
fn hedgehog_fields_survive_the_way_through_a_record() {
    let fields = HedgehogRecord {
        iv: "e85bf7579aafe1554c6d0e5235a4a883".to_owned(),
        cipher_text: CIPHER_TEXT.to_owned(),
        lookup_key: hex::encode([1; 32]),
    };
    let entry = fields.sign_up(NOW).unwrap();
    assert_eq!(entry.check(&DOMAIN), Ok(()));
    assert_eq!(HedgehogRecord::from(&entry.record), fields);
    let short = HedgehogRecord {
        iv: "00".to_owned(),
        ..fields
    };
    assert!(matches!(short.sign_up(NOW), Err(Refusal::Malformed { field }) if field == "iv"));
}

#[test]
fn passwords_that_are_easy_to_guess_are_refused() {
    assert_eq!(check_password("ada", "correct horse"), Ok(()));
    for weak in ["short", "aaaaaaaaaaaa", "ADA@EXAMPLE.COM"] {
        assert_eq!(
            check_password("ada@example.com", weak),
            Err(CipherError::Weak),
            "{weak}"
        );
    }
}

#[test]
fn the_higher_version_stays_in_either_order() {
    for order in [[1, 2], [2, 1]] {
        let mut replica = Ruled::new();
        for version in order {
            replica.put(record(1, version));
        }
        assert_eq!(replica.versions(), [2]);
    }
}

#[test]
fn of_equal_versions_the_smaller_hash_stays() {
    let (one, mut other) = (vault(1, 1), vault(1, 1));
    other.iv = Iv([9; 16]);
    let smaller = if one.struct_hash() < other.struct_hash() {
        &one
    } else {
        &other
    };
    for order in [[&one, &other], [&other, &one]] {
        let mut replica = Ruled::new();
        for record in order {
            replica.put(signed(record.clone(), 1));
        }
        assert_eq!(replica.entries[0].record, *smaller);
    }
}

#[test]
fn a_tombstone_stays_for_ever() {
    let mut replica = Ruled::new();
    replica.put(record(1, 5));
    let tombstone = VaultRecord::tombstone(KEY, wallet(1), 1);
    assert_eq!(replica.put(signed(tombstone, 1)), Response::Stored);
    assert_eq!(
        replica.put(record(1, 9)),
        Response::Refused(Refusal::Buried)
    );
}

#[test]
fn nobody_buries_somebody_elses_record() {
    let mut replica = Ruled::new();
    replica.put(record(1, 1));
    for other in 2..=4 {
        replica.now = UnixSeconds(replica.now.0 + 1);
        assert_eq!(replica.put(record(other, 1000)), Response::Stored);
    }
    assert_eq!(replica.put(record(5, 1)), Response::Refused(Refusal::Full));
    assert_eq!(replica.put(record(1, 2)), Response::Stored);
    assert_eq!(
        replica.entries[0].record.wallet,
        wallet(1),
        "the earliest comes first"
    );
    // A tombstone in the owner's name needs the owner's key.
    let mut forged = signed(VaultRecord::tombstone(KEY, wallet(1), 9), 2);
    forged.record.wallet = wallet(1);
    assert_eq!(replica.put(forged), Response::Refused(Refusal::Signature));
}

#[test]
fn malformed_records_are_refused_by_field() {
    let mut replica = Ruled::new();
    let mut long = vault(1, 1);
    long.cipher_text = vec![0; 65];
    assert!(matches!(
        replica.put(signed(long, 1)),
        Response::Refused(Refusal::Malformed { .. })
    ));
    let mut later = vault(1, 1);
    later.scheme = 2;
    assert_eq!(
        replica.put(signed(later, 1)),
        Response::Refused(Refusal::Scheme { scheme: 2 })
    );
}

#[test]
fn an_unsigned_sign_up_is_taken_once_and_ends_unless_it_is_signed() {
    let mut replica = Ruled::new();
    let provisional = Response::Provisional {
        ends_in_seconds: PROVISIONAL_SECONDS,
    };
    assert_eq!(replica.put(sign_up(1)), provisional);
    assert_eq!(
        replica.put(sign_up(1)),
        provisional,
        "a repetition is the same sign-up"
    );
    assert_eq!(replica.put(sign_up(2)), Response::Refused(Refusal::Taken));
    replica.now = UnixSeconds(NOW.0 + PROVISIONAL_SECONDS);
    assert_eq!(replica.get(), []);
    assert_eq!(replica.put(sign_up(2)), provisional);
    let mut owned = vault(1, 1);
    owned.iv = Iv([2; 16]);
    assert_eq!(replica.put(signed(owned, 1)), Response::Stored);
    replica.now = UnixSeconds(NOW.0 + 2 * PROVISIONAL_SECONDS);
    assert_eq!(replica.get().len(), 1, "the signed record took its place");
    assert_eq!(replica.put(sign_up(3)), Response::Refused(Refusal::Taken));
}

#[test]
fn what_was_written_is_read_whichever_minority_is_away() {
    for away_writing in pairs() {
        for away_reading in pairs() {
            let mut net = Net::new(5);
            net.away = away_writing.clone();
            assert_eq!(net.write(record(1, 1)), WriteEvent::Stored);
            net.away = away_reading;
            assert_eq!(net.read().found(), [vault(1, 1)]);
        }
    }
}

#[test]
fn without_a_majority_nothing_is_promised() {
    let mut net = Net::new(5);
    net.away = (1..=3).map(replica).collect();
    assert!(matches!(net.write(record(1, 1)), WriteEvent::Failed { .. }));
    assert_eq!(net.read().0, [ReadEvent::Failed]);
    let mut net = Net::new(1);
    assert_eq!(net.write(record(1, 1)), WriteEvent::Stored);
    assert_eq!(net.read().found().len(), 1);
    let mut write = Write::new(DOMAIN, record(1, 1), &[Vec::new()], start());
    assert!(matches!(
        write.poll_event(),
        Some(WriteEvent::Failed { .. })
    ));
}

#[test]
fn a_reader_writes_back_what_somebody_missed() {
    let mut net = Net::new(5);
    net.write(record(1, 1));
    net.away = [replica(1), replica(2)].into();
    net.write(record(1, 2));
    net.away.clear();
    assert_eq!(net.read().found(), [vault(1, 2)]);
    for (address, replica) in &net.replicas {
        assert_eq!(replica.versions(), [2], "{address}");
    }
}

#[test]
fn a_lie_is_not_an_answer() {
    let mut net = Net::new(5);
    net.write(record(1, 1));
    net.liars = [replica(1), replica(2)].into();
    assert_eq!(net.read().found(), [vault(1, 1)]);
    net.liars.insert(replica(3));
    assert_eq!(net.read().0, [ReadEvent::Failed]);
}

#[test]
fn an_older_version_is_told_of_the_newer() {
    let mut net = Net::new(5);
    net.write(record(1, 2));
    let WriteEvent::Outdated(entry) = net.write(record(1, 1)) else {
        panic!("outdated")
    };
    assert_eq!(entry.record, vault(1, 2));
}

#[test]
fn one_replica_cannot_make_up_a_newer_version() {
    let mut net = Net::new(5);
    net.dreamers = [replica(1)].into();
    assert_eq!(net.write(record(1, 1)), WriteEvent::Stored);
    assert_eq!(net.read().found(), [vault(1, 1)]);
}

#[test]
fn one_replica_does_not_put_a_strangers_record_before_the_owners() {
    let mut net = Net::new(5);
    net.write(record(1, 1));
    net.now = net.now + Duration::from_secs(60);
    net.write(record(2, 1));
    // It has the stranger's alone, and says that it came long before.
    net.backdaters = [replica(1)].into();
    assert_eq!(net.read().found(), [vault(1, 1), vault(2, 1)]);
}

#[test]
fn neither_one_nor_two_replicas_bury_the_owners_record() {
    for liars in pairs().into_iter().chain([[replica(2)].into()]) {
        let mut net = Net::new(5);
        net.write(record(1, 1));
        net.fillers = liars.clone();
        let found = net.read().found();
        assert_eq!(found[0], vault(1, 1), "{liars:?}");
        for (address, replica) in &net.replicas {
            assert_eq!(replica.versions(), [1], "{address} has a stranger's record");
        }
    }
}

#[test]
fn what_one_honest_replica_alone_has_is_told_though_it_is_told_last() {
    let mut net = Net::new(5);
    net.fillers = [replica(1), replica(2)].into();
    net.away = [replica(4), replica(5)].into();
    assert_eq!(net.write(record(1, 1)), WriteEvent::Stored);
    let found = net.read().found();
    assert_eq!(found.len(), WALLETS_MAX + 1);
    assert_eq!(found.last(), Some(&vault(1, 1)));
    net.away.clear();
    assert!(net.read().found().contains(&vault(1, 1)));
}

#[test]
fn a_write_goes_on_to_those_that_a_majority_was_without() {
    let mut net = Net::new(5);
    net.away = [replica(4), replica(5)].into();
    let mut write = Write::new(DOMAIN, record(1, 1), &net.sets, net.now);
    let deliver = |net: &mut Net, write: &mut Write| {
        while let Some(transmit) = write.poll_transmit() {
            if let Some(response) = net.deliver(&transmit) {
                write.handle_response(transmit.to, response);
            }
        }
    };
    deliver(&mut net, &mut write);
    assert_eq!(write.poll_event(), Some(WriteEvent::Stored));
    net.away.clear();
    let (at, _) = write.poll_timeout().expect("two are without it");
    write.handle_timeout(at);
    deliver(&mut net, &mut write);
    assert!(write.is_done());
    for (address, replica) in &net.replicas {
        assert_eq!(replica.versions(), [1], "{address}");
    }
}

#[test]
fn a_tombstone_that_one_replica_shows_is_not_written_for_it() {
    let mut net = Net::new(5);
    let mut changed = vault(9, 2);
    changed.replaces = Hash32([3; 32]);
    let burial = VaultRecord::tombstone(changed.replaces, wallet(9), 2);
    let burial = Signed::new(burial, &DOMAIN, &key(9));
    let entry = Entry::signed(Signed::new(changed, &DOMAIN, &key(9)), Some(burial), NOW);
    net.replicas.get_mut(&replica(1)).unwrap().put(entry);
    let seen = net.read().0;
    assert!(matches!(&seen[..], [ReadEvent::Found { entries }] if entries.len() == 1));
}

#[test]
fn an_unsigned_sign_up_that_a_minority_shows_displaces_nobodys() {
    let mut net = Net::new(5);
    assert_eq!(net.write(sign_up(1)), WriteEvent::Stored);
    // Of two texts the smaller hash would win, were they of one wallet.
    let forged = (2..).map(sign_up);
    let wins = |other: &Entry| other.record.wins(&sign_up(1).record);
    let forged = forged.into_iter().find(wins).unwrap();
    net.replicas.get_mut(&replica(1)).unwrap().entries = vec![forged];
    assert_eq!(net.read().found()[0], sign_up(1).record);
}

#[test]
fn a_half_done_password_change_is_completed_by_whoever_sees_it() {
    let mut net = Net::new(5);
    net.write(record(1, 1));
    let old = KEY;
    let mut changed = vault(1, 2);
    changed.lookup_key = Hash32([0xee; 32]);
    changed.replaces = old;
    let burial = Signed::new(VaultRecord::tombstone(old, wallet(1), 2), &DOMAIN, &key(1));
    // The client stops after the new record and before the tombstone.
    let with = Entry::signed(
        Signed::new(changed.clone(), &DOMAIN, &key(1)),
        Some(burial.clone()),
        NOW,
    );
    let mut other = Net::new(5);
    assert_eq!(other.write(with), WriteEvent::Stored);
    let events = other.read_key(changed.lookup_key).0;
    assert!(events.contains(&ReadEvent::Bury(Box::new(burial.clone()))));
    assert_eq!(
        net.write(Entry::signed(burial, None, NOW)),
        WriteEvent::Stored
    );
    assert!(net.read().found().is_empty());

    let without = signed(changed.clone(), 1);
    let mut third = Net::new(5);
    third.write(without);
    let unburied = ReadEvent::Unburied {
        lookup_key: old,
        wallet: wallet(1),
    };
    assert!(third.read_key(changed.lookup_key).0.contains(&unburied));
}

#[test]
fn a_burial_must_fit_its_record() {
    let mut changed = vault(1, 2);
    changed.replaces = Hash32([3; 32]);
    for (lookup_key, owner) in [(Hash32([4; 32]), 1), (Hash32([3; 32]), 2)] {
        let burial = Signed::new(
            VaultRecord::tombstone(lookup_key, wallet(owner), 2),
            &DOMAIN,
            &key(owner),
        );
        let entry = Entry::signed(
            Signed::new(changed.clone(), &DOMAIN, &key(1)),
            Some(burial),
            NOW,
        );
        assert!(matches!(
            entry.check(&DOMAIN),
            Err(Refusal::Malformed { .. })
        ));
    }
}

#[test]
fn while_the_set_changes_a_majority_of_both_is_needed() {
    let (old, new): (Vec<Address>, Vec<Address>) = (
        (1..=3).map(replica).collect(),
        (3..=5).map(replica).collect(),
    );
    let mut net = Net::new(5);
    net.sets = vec![old, new];
    net.away = [replica(1), replica(2)].into();
    assert!(matches!(net.write(record(1, 1)), WriteEvent::Failed { .. }));
    net.away = [replica(1), replica(5)].into();
    assert_eq!(net.write(record(1, 1)), WriteEvent::Stored);
}

#[test]
fn messages_survive_their_encoding() {
    let burial = Signed::new(VaultRecord::tombstone(KEY, wallet(1), 2), &DOMAIN, &key(1));
    let entry = Entry::signed(
        Signed::new(vault(1, 1), &DOMAIN, &key(1)),
        Some(burial),
        NOW,
    );
    for request in [
        Request::Put(Box::new(entry.clone())),
        Request::Get { lookup_key: KEY },
    ] {
        assert_eq!(Request::from_bytes(&request.to_bytes()), Ok(request));
    }
    for response in [
        Response::Stored,
        Response::Provisional {
            ends_in_seconds: 600,
        },
        Response::Outdated(Box::new(entry.clone())),
        Response::Entries(vec![entry; WALLETS_MAX + 1]),
        Response::Refused(Refusal::Busy {
            retry_after_seconds: 3,
        }),
    ] {
        assert_eq!(Response::from_bytes(&response.to_bytes()), Ok(response));
    }
}

struct Ruled {
    entries: Vec<Entry>,
    now: UnixSeconds,
}

impl Ruled {
    fn new() -> Self {
        Self {
            entries: Vec::new(),
            now: NOW,
        }
    }

    fn put(&mut self, entry: Entry) -> Response {
        self.ask(Request::Put(Box::new(entry)))
    }

    fn get(&mut self) -> Vec<Entry> {
        match self.ask(Request::Get { lookup_key: KEY }) {
            Response::Entries(entries) => entries,
            other => panic!("expected entries, got {other:?}"),
        }
    }

    fn ask(&mut self, request: Request) -> Response {
        let outcome = Store::new(DOMAIN).handle_request(request, self.entries.clone(), self.now);
        if let Some(entries) = outcome.store {
            self.entries = entries;
        }
        outcome.response
    }

    fn versions(&self) -> Vec<u64> {
        self.entries
            .iter()
            .map(|entry| entry.record.version)
            .collect()
    }
}

struct Net {
    replicas: BTreeMap<Address, Ruled>,
    sets: Vec<Vec<Address>>,
    away: BTreeSet<Address>,
    liars: BTreeSet<Address>,
    /// They say that they have something newer.
    dreamers: BTreeSet<Address>,
    /// They hide the first owner's record and date back all others.
    backdaters: BTreeSet<Address>,
    /// They hide what is there, show wallets that they agreed on, received before
    /// all others, and say that they store.
    fillers: BTreeSet<Address>,
    now: Moment,
}

struct Seen(Vec<ReadEvent>);

impl Seen {
    fn found(&self) -> Vec<VaultRecord> {
        let Some(ReadEvent::Found { entries }) = self.0.last() else {
            panic!("expected a find, got {:?}", self.0)
        };
        entries.iter().map(|entry| entry.record.clone()).collect()
    }
}

impl Net {
    fn new(replicas: u8) -> Self {
        let all: Vec<Address> = (1..=replicas).map(replica).collect();
        Self {
            replicas: all.iter().map(|address| (*address, Ruled::new())).collect(),
            sets: vec![all],
            away: BTreeSet::new(),
            liars: BTreeSet::new(),
            dreamers: BTreeSet::new(),
            backdaters: BTreeSet::new(),
            fillers: BTreeSet::new(),
            now: start(),
        }
    }

    fn write(&mut self, entry: Entry) -> WriteEvent {
        let mut write = Write::new(DOMAIN, entry, &self.sets, self.now);
        let mut event = None;
        loop {
            while let Some(transmit) = write.poll_transmit() {
                match self.deliver(&transmit) {
                    Some(response) => write.handle_response(transmit.to, response),
                    None => write.handle_failure(transmit.to, self.now),
                }
            }
            event = event.or(write.poll_event());
            match write.poll_timeout() {
                Some((at, _)) => write.handle_timeout(at),
                None => return event.unwrap(),
            }
        }
    }

    fn read(&mut self) -> Seen {
        self.read_key(KEY)
    }

    fn read_key(&mut self, lookup_key: Hash32) -> Seen {
        let mut read = Read::new(DOMAIN, lookup_key, &self.sets, self.now);
        let mut events = Vec::new();
        loop {
            while let Some(transmit) = read.poll_transmit() {
                // Nobody hears that it failed; the timeout does.
                if let Some(response) = self.deliver(&transmit) {
                    read.handle_response(transmit.to, response, self.now);
                }
            }
            events.extend(std::iter::from_fn(|| read.poll_event()));
            match read.poll_timeout() {
                Some((at, _)) => read.handle_timeout(at),
                None => return Seen(events),
            }
        }
    }

    fn deliver(&mut self, transmit: &Transmit) -> Option<Response> {
        if self.away.contains(&transmit.to) {
            return None;
        }
        if self.fillers.contains(&transmit.to) {
            let Request::Get { .. } = transmit.request else {
                return Some(Response::Stored);
            };
            let mut entries: Vec<Entry> = (10..14).map(|owner| record(owner, 1)).collect();
            for entry in &mut entries {
                entry.received = UnixSeconds(0);
            }
            return Some(Response::Entries(entries));
        }
        let answer = self
            .replicas
            .get_mut(&transmit.to)?
            .ask(transmit.request.clone());
        if self.liars.contains(&transmit.to) {
            let mut forged = record(1, 99);
            forged.record.version += 1;
            return Some(Response::Entries(vec![forged]));
        }
        if self.dreamers.contains(&transmit.to) {
            let mut dreamt = record(1, u64::MAX);
            dreamt.signature = record(1, 1).signature;
            return Some(Response::Outdated(Box::new(dreamt)));
        }
        if self.backdaters.contains(&transmit.to)
            && let Response::Entries(mut entries) = answer
        {
            entries.retain(|entry| entry.record.wallet != wallet(1));
            for entry in &mut entries {
                entry.received = UnixSeconds(0);
            }
            return Some(Response::Entries(entries));
        }
        Some(answer)
    }
}

fn pairs() -> Vec<BTreeSet<Address>> {
    (1..=5)
        .flat_map(|one| (1..one).map(move |other| [replica(one), replica(other)].into()))
        .collect()
}

fn sign_up(iv: u8) -> Entry {
    let mut record = vault(1, 0);
    record.wallet = Address::ZERO;
    record.iv = Iv([iv; 16]);
    Entry {
        record,
        signature: None,
        burial: None,
        received: NOW,
    }
}

fn record(owner: u8, version: u64) -> Entry {
    signed(vault(owner, version), owner)
}

fn signed(record: VaultRecord, owner: u8) -> Entry {
    Entry::signed(Signed::new(record, &DOMAIN, &key(owner)), None, NOW)
}

fn vault(owner: u8, version: u64) -> VaultRecord {
    VaultRecord {
        scheme: SCHEME_HEDGEHOG,
        lookup_key: KEY,
        iv: Iv([7; 16]),
        cipher_text: vec![5; CIPHER_TEXT_BYTES],
        wallet: wallet(owner),
        version,
        replaces: Hash32::ZERO,
    }
}

fn wallet(owner: u8) -> Address {
    key(owner).address()
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32]).unwrap()
}

fn replica(number: u8) -> Address {
    Address([number; 20])
}

fn start() -> Moment {
    Moment::from_unix(NOW) + Duration::from_millis(1)
}

const NOW: UnixSeconds = UnixSeconds(1_700_000_000);

const KEY: Hash32 = Hash32([0xaa; 32]);

const DOMAIN: Domain = Domain {
    chain_id: 1337,
    verifying_contract: Address([1; 20]),
};

const CIPHER_TEXT: &str = "6b6cd020f0e50105fa4d7ba074c60f4b3f56a85739b734164fba6d30954d45f925ab5cd68a7c3d0270d58f8ee318d69b088998a4190c69b4692e45298a2fdb77";
