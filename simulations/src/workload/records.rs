//! A resident's vault record: written and read through the vault's machine.

use std::collections::BTreeMap;
use std::net::IpAddr;

use protocol::id::{Address, Hash32};
use protocol::origin::{Origin, RequestId};
use protocol::placement::Purpose;
use protocol::records::{CIPHER_TEXT_BYTES, Iv, SCHEME_HEDGEHOG, VaultRecord};
use protocol::signing::{Signed, SigningKey};
use protocol::vault::{Entry, REPLICAS_MAX, Vault, VaultInput, VaultReply};

use crate::host::Host;
use crate::world::{Ctx, Written};

/// What the resident does with the vault.
#[derive(Debug, Default)]
pub(super) struct Records {
    errands: BTreeMap<RequestId, Errand>,
    /// Of the last record that was signed.
    version: u64,
    /// True once it signed up.
    has_signed_up: bool,
}

/// What the resident waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Errand {
    /// A version to be safe.
    Write(u64),
    /// An answer with this version at least.
    Read(u64),
    /// An unsigned record to be taken.
    SignUp,
}

impl Records {
    pub(super) fn forget(&mut self) {
        self.errands.clear();
    }

    /// Writes the next version of the record, or reads it.
    pub(super) fn act(&mut self, key: &SigningKey, host: &mut Host, ctx: &mut Ctx) {
        let mut errands = self.errands.values();
        if errands.any(|errand| matches!(errand, Errand::Write(_))) {
            return;
        }
        let lookup_key = lookup_key(host);
        if self.version > 0 && ctx.rng.chance(0.6) {
            let floor = ctx.checkers.acknowledged(&lookup_key);
            let request = RequestId(ctx.next_id());
            self.errands.insert(request, Errand::Read(floor));
            let input = VaultInput::Get {
                request,
                client: None,
                lookup_key,
            };
            host.tell::<Vault>(input);
            return;
        }
        if !std::mem::replace(&mut self.has_signed_up, true) {
            let entry = sign_up(other_key(host, 3), ctx);
            self.put(Errand::SignUp, entry, host, ctx);
        }
        self.version += 1;
        let record = record(lookup_key, key.address(), self.version, ctx);
        let signed = Signed::new(record, &ctx.params.domain, key);
        let entry = Entry::signed(signed, None, ctx.now.unix());
        self.write(entry, host, ctx);
    }

    fn write(&mut self, entry: Entry, host: &mut Host, ctx: &mut Ctx) {
        self.put(Errand::Write(entry.record.version), entry, host, ctx);
    }

    fn put(&mut self, errand: Errand, entry: Entry, host: &mut Host, ctx: &mut Ctx) {
        let request = RequestId(ctx.next_id());
        self.errands.insert(request, errand);
        host.tell::<Vault>(VaultInput::Put {
            request,
            client: None,
            entry,
        });
    }

    /// Signs up without a signature, comes back from an old device, changes the
    /// password, asks too often, or forgets to sign what it changed. All but the old device's
    /// record is under lookup keys of its own.
    pub(super) fn err(&self, key: &SigningKey, host: &mut Host, ctx: &mut Ctx) {
        let (main_key, first, second) = (lookup_key(host), other_key(host, 1), other_key(host, 2));
        let (mut version, mut replaces, mut burial) = (1, Hash32::ZERO, None);
        let (mut lookup_key, mut times) = (first, 1);
        let kind = ctx.rng.below(5);
        match kind {
            0 => lookup_key = other_key(host, 3),
            1 => {
                lookup_key = main_key;
                version = self.version.saturating_sub(1);
            }
            2 => {
                (lookup_key, replaces) = (second, first);
                let tombstone = VaultRecord::tombstone(first, key.address(), version);
                burial = Some(Signed::new(tombstone, &ctx.params.domain, key));
                // Some crash between the record and the tombstone.
                burial = burial.filter(|_| ctx.rng.chance(0.7));
            }
            3 => (lookup_key, times) = (other_key(host, 4), TOO_OFTEN),
            _ => {}
        }
        let mut record = record(lookup_key, key.address(), version, ctx);
        record.replaces = replaces;
        if kind == 0 {
            (record.wallet, record.version) = (Address::ZERO, 0);
        }
        let signed = Signed::new(record, &ctx.params.domain, key);
        let mut entry = Entry::signed(signed, burial, ctx.now.unix());
        if kind == 0 || ctx.rng.chance(0.2) {
            entry.signature = None;
        }
        let ip = Some(IpAddr::from([203, 0, 113, 1]));
        let client = Some(Origin {
            peer: host.address,
            ip,
        });
        host.tell::<Vault>(VaultInput::Put {
            request: RequestId(ctx.next_id()),
            client,
            entry,
        });
        for _ in 0..times {
            host.tell::<Vault>(VaultInput::Get {
                request: RequestId(ctx.next_id()),
                client: client.filter(|_| kind != 3 || ctx.rng.chance(0.9)),
                lookup_key,
            });
        }
    }

    pub(super) fn hear(
        &mut self,
        request: RequestId,
        reply: VaultReply,
        host: &mut Host,
        ctx: &mut Ctx,
    ) {
        let Some(errand) = self.errands.remove(&request) else {
            return;
        };
        let lookup_key = lookup_key(host);
        match (errand, reply) {
            (Errand::Write(version), VaultReply::Put(Ok(()))) => {
                ctx.metrics.vault_writes += 1;
                let placement = host.registry.placement.inner();
                let mut replicas = placement.rank(Purpose::Vault, &lookup_key.0);
                replicas.truncate(REPLICAS_MAX);
                ctx.written(Written {
                    replicas,
                    lookup_key,
                    wallet: host.address,
                    version,
                });
                ctx.checkers.note_written(lookup_key, version);
            }
            (Errand::SignUp, VaultReply::Put(Ok(()))) => ctx.metrics.vault_sign_ups += 1,
            (Errand::Read(floor), VaultReply::Get(Ok(entries))) => {
                ctx.metrics.vault_reads += 1;
                let own = entries
                    .into_iter()
                    .filter(|entry| entry.record.wallet == host.address);
                let own = own.max_by_key(|entry| entry.record.version);
                let found = own.as_ref().map_or(0, |entry| entry.record.version);
                ctx.checkers.note_read(lookup_key, floor, found, ctx.now);
                // It may be on too few disks, from a write that was not finished.
                if let Some(entry) = own.filter(|own| own.signature.is_some() && found > floor) {
                    self.write(entry, host, ctx);
                }
            }
            _ => ctx.metrics.vault_failures += 1,
        }
    }
}

/// The record of a user that has no wallet yet.
fn sign_up(lookup_key: Hash32, ctx: &mut Ctx) -> Entry {
    Entry {
        record: record(lookup_key, Address::ZERO, 0, ctx),
        signature: None,
        burial: None,
        received: ctx.now.unix(),
    }
}

fn record(lookup_key: Hash32, wallet: Address, version: u64, ctx: &mut Ctx) -> VaultRecord {
    let mut iv = Iv::default();
    iv.0.copy_from_slice(&ctx.rng.array()[..16]);
    VaultRecord {
        scheme: SCHEME_HEDGEHOG,
        lookup_key,
        iv,
        cipher_text: ctx.rng.bytes(CIPHER_TEXT_BYTES),
        wallet,
        version,
        replaces: Hash32::ZERO,
    }
}

fn lookup_key(host: &Host) -> Hash32 {
    protocol::entry::sha256(&host.address.0)
}

/// Under another password.
fn other_key(host: &Host, password: u8) -> Hash32 {
    protocol::entry::sha256(&[&host.address.0[..], &[password]].concat())
}

/// More often than a lookup key may be asked for in a minute.
const TOO_OFTEN: usize = 45;
