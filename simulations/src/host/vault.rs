//! A resident's vault record: written and read through the vault's machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use protocol::id::Hash32;
use protocol::machine::Machine as _;
use protocol::origin::RequestId;
use protocol::records::{CIPHER_TEXT_BYTES, Iv, SCHEME_HEDGEHOG, VaultRecord};
use protocol::signing::Signed;
use protocol::time::Moment;
use protocol::vault::{AskId, Entry, Vault, VaultInput, VaultOutput, VaultReply};
use protocol::wire::Protocol;

use super::{Host, Pending, is_due};
use crate::world::Ctx;

/// The vault's machine, and what the resident does with it.
#[derive(Debug)]
pub(super) struct Resident {
    vault: Vault,
    errands: BTreeMap<RequestId, Errand>,
    /// The registry that the vault was told of.
    registry_root: Option<Hash32>,
}

/// What the resident waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Errand {
    /// A version to be safe.
    Write(u64),
    /// An answer with this version at least.
    Read(u64),
}

impl Resident {
    pub(super) fn new(ctx: &Ctx) -> Self {
        Self {
            vault: Vault::new(ctx.params.domain),
            errands: BTreeMap::new(),
            registry_root: None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        self.vault.deadline().map(|(at, _)| at)
    }

    fn is_writing(&self) -> bool {
        let mut errands = self.errands.values();
        errands.any(|errand| matches!(errand, Errand::Write(_)))
    }
}

impl Host {
    pub(super) fn wake_vault(&mut self, ctx: &Ctx) {
        if let Some(resident) = &mut self.resident
            && is_due(resident.vault.deadline(), ctx.now)
        {
            resident.vault.handle_timeout(ctx.now);
        }
    }

    pub(super) fn drain_vault(&mut self, ctx: &mut Ctx) -> bool {
        let root = Some(self.registry.root);
        if let Some(resident) = &mut self.resident
            && std::mem::replace(&mut resident.registry_root, root) != root
        {
            let placement = Arc::clone(self.registry.placement.inner());
            self.tell_vault(VaultInput::Snapshot(Arc::clone(&placement)), ctx);
            self.tell_vault(VaultInput::Latest(placement), ctx);
        }
        let mut moved = false;
        while let Some(wish) = self.resident.as_mut().and_then(|role| role.vault.poll()) {
            moved = true;
            match wish {
                VaultOutput::Ask { id, peer, body } => {
                    self.request(peer, Protocol::Vault, body, Pending::Vault(id), ctx);
                }
                VaultOutput::Reply { request, reply } => self.end_errand(request, reply, ctx),
            }
        }
        moved
    }

    fn tell_vault(&mut self, input: VaultInput, ctx: &mut Ctx) {
        if let Some(resident) = &mut self.resident {
            ctx.metrics.note_input("vault", &input);
            resident.vault.handle(input, ctx.now);
        }
    }

    pub(super) fn handle_vault_answer(&mut self, id: AskId, body: Option<Bytes>, ctx: &mut Ctx) {
        self.tell_vault(VaultInput::Answered { id, body }, ctx);
    }

    /// Writes the next version of the vault record, or reads it.
    pub(super) fn use_vault(&mut self, ctx: &mut Ctx) {
        if self.resident.as_ref().is_none_or(Resident::is_writing) {
            return;
        }
        let lookup_key = protocol::entry::sha256(&self.address.0);
        let request = RequestId(ctx.next_id());
        if self.disk.vault_version > 0 && ctx.rng.chance(0.6) {
            let floor = ctx.checkers.acknowledged(&lookup_key);
            self.note_errand(request, Errand::Read(floor));
            let input = VaultInput::Get {
                request,
                client: None,
                lookup_key,
            };
            self.tell_vault(input, ctx);
            return;
        }
        self.disk.vault_version += 1;
        self.note_errand(request, Errand::Write(self.disk.vault_version));
        let entry = self.next_record(lookup_key, ctx);
        let input = VaultInput::Put {
            request,
            client: None,
            entry,
        };
        self.tell_vault(input, ctx);
    }

    fn note_errand(&mut self, request: RequestId, errand: Errand) {
        if let Some(resident) = &mut self.resident {
            resident.errands.insert(request, errand);
        }
    }

    fn next_record(&self, lookup_key: Hash32, ctx: &mut Ctx) -> Entry {
        let mut iv = Iv::default();
        iv.0.copy_from_slice(&ctx.rng.array()[..16]);
        let record = VaultRecord {
            scheme: SCHEME_HEDGEHOG,
            lookup_key,
            iv,
            cipher_text: ctx.rng.bytes(CIPHER_TEXT_BYTES),
            wallet: self.address,
            version: self.disk.vault_version,
            replaces: Hash32::ZERO,
        };
        let signed = Signed::new(record, &ctx.params.domain, &self.key);
        Entry::signed(signed, None, ctx.now.unix())
    }

    fn end_errand(&mut self, request: RequestId, reply: VaultReply, ctx: &mut Ctx) {
        let resident = self.resident.as_mut();
        let Some(errand) = resident.and_then(|resident| resident.errands.remove(&request)) else {
            return;
        };
        let lookup_key = protocol::entry::sha256(&self.address.0);
        match (errand, reply) {
            (Errand::Write(version), VaultReply::Put(Ok(()))) => {
                ctx.metrics.vault_writes += 1;
                ctx.checkers.note_written(lookup_key, version);
            }
            (Errand::Read(floor), VaultReply::Get(Ok(entries))) => {
                ctx.metrics.vault_reads += 1;
                let own = entries
                    .iter()
                    .filter(|entry| entry.record.wallet == self.address);
                let found = own.map(|entry| entry.record.version).max().unwrap_or(0);
                ctx.checkers.note_read(lookup_key, floor, found, ctx.now);
            }
            _ => ctx.metrics.vault_failures += 1,
        }
    }
}
