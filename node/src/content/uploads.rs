//! Offers of authors: judged, pulled, promised.

use std::collections::BTreeSet;
use std::time::Duration;

use cid::Cid;
use protocol::id::{Address, UserId};
use protocol::lease::LeaseBook;
use protocol::origin::Origin;
use protocol::publish::{HolderEvent, Lookup, Request, UploadState, UserFacts};
use protocol::records::SignedLease;
use protocol::time::Moment;
use storage::blocks::{Holding, Owner};
use storage::index::{PAGE_ROWS_MAX, Page, Snapshot};
use storage::tables::UPLOADS;

use super::{Actor, Outcome, Purpose, next_id};
use crate::exchange::{ExchangeHandle, FetchError, FetchOptions, Fetched};
use crate::net::{Inbound, Refusal};
use crate::store::StoreError;

impl Actor {
    pub(super) async fn handle_offer(&mut self, inbound: Inbound) {
        let Ok(request) = Request::from_bytes(&inbound.body) else {
            inbound.respond.refuse(Refusal::Rejected);
            self.context.net.report_offence(inbound.peer, OFFENCE).await;
            return;
        };
        let Ok(snapshot) = self.context.index.snapshot() else {
            inbound.respond.refuse(Refusal::Busy);
            return;
        };
        self.note_capacity();
        let id = next_id(&mut self.next_request);
        self.responders.insert(id, inbound.respond);
        let is_offer = matches!(request, Request::Offer(_));
        let root = match &request {
            Request::Offer(offer) => offer.root,
            Request::Status { root } => *root,
        };
        let facts = Facts {
            snapshot,
            book: &self.book,
            allow: self.context.config.identity.allow.clone(),
        };
        let origin = Origin {
            peer: inbound.peer,
            ip: inbound.ip,
        };
        let now = self.context.clock.now();
        self.holder.handle_request(id, origin, request, &facts, now);
        if is_offer {
            self.save_upload(root).await;
        }
    }

    pub(super) async fn handle_holder_event(&mut self, event: HolderEvent) {
        match event {
            HolderEvent::Pull {
                root,
                size,
                sources,
                author,
            } => self.pull(root, size, sources, author),
            HolderEvent::Grant {
                root,
                proof_root,
                size,
            } => {
                if let Some(lease) = self.promise(root, proof_root, size).await {
                    self.holder.handle_lease(lease);
                    self.save_upload(root).await;
                }
            }
            HolderEvent::Drop { root } => self.drop_upload(root).await,
        }
    }

    pub(super) async fn handle_pulled(&mut self, root: Cid, result: Result<Fetched, FetchError>) {
        match result {
            Ok(Fetched {
                bytes,
                proof_root: Some(proof_root),
                ..
            }) => self.holder.handle_pulled(&root, proof_root, bytes),
            Ok(_) => self.holder.handle_pull_failed(&root),
            Err(error) => {
                tracing::info!(%root, %error, "an upload was not pulled");
                if matches!(&error, FetchError::Store(error) if error.is_full()) {
                    self.full_until = Some(self.context.clock.now() + FULL_PAUSE);
                }
                self.holder.handle_pull_failed(&root);
            }
        }
        self.save_upload(root).await;
    }

    /// Uploads whose action is in the index belong to the lease book alone.
    pub(super) async fn handle_height(&mut self) {
        self.height.mark_unchanged();
        let Ok(snapshot) = self.context.index.snapshot() else {
            return;
        };
        let domain = self.context.contracts.action_domain();
        let published: Vec<Cid> = self
            .holder
            .uploads()
            .filter(|upload| matches!(upload.state, UploadState::Leased(_)))
            .filter(|upload| {
                let digest = upload.offer.action.action.digest(&domain);
                snapshot
                    .action(&digest)
                    .is_ok_and(|places| !places.is_empty())
            })
            .map(|upload| upload.offer.root)
            .collect();
        for root in published {
            self.holder.handle_published(&root);
            self.save_upload(root).await;
        }
    }

    /// When uploads that were never published end. An index that lags behind
    /// the chain does not know which those are.
    pub(super) fn uploads_end(&self) -> Option<(Moment, &'static str)> {
        let status = self.context.chain.status();
        let status = status.borrow();
        let applied = self.height.borrow().block_number;
        let lag_max = self.context.config.chain.confirmations + LAG_BLOCKS_MAX;
        let is_current = status.connected
            && status
                .head
                .is_some_and(|head| head.number <= applied.saturating_add(lag_max));
        self.holder.poll_timeout().filter(|_| is_current)
    }

    pub(super) async fn end_uploads(&mut self) {
        let now = self.context.clock.now();
        if self.uploads_end().is_some_and(|(at, _)| at <= now) {
            self.handle_height().await;
            self.holder.handle_timeout(now);
        }
    }

    /// Tells the holder what the cap and the disk leave.
    fn note_capacity(&mut self) {
        let store = &self.context.store;
        let stats = store.stats();
        let reserve = self.context.config.storage.reserve.as_u64();
        let disk = match store.disk_free() {
            Ok(free) => stats
                .disk_bytes
                .saturating_add(free.saturating_sub(reserve)),
            Err(_) => u64::MAX,
        };
        let now = self.context.clock.now();
        let is_full = self.full_until.is_some_and(|until| now < until);
        let capacity = match is_full {
            true => stats.live_bytes,
            false => stats.store_bytes_max.min(disk),
        };
        self.holder.handle_capacity(capacity, stats.live_bytes);
    }

    fn pull(&mut self, root: Cid, size: u64, sources: Vec<Address>, author: Address) {
        let exchange = self.exchange.clone();
        let options = FetchOptions {
            holders: sources,
            last_resort: vec![author],
            owner: Some(lease_owner(root)),
            with_proof: true,
        };
        let progress = self.progress.clone();
        let handle = self.tasks.spawn(async move {
            let tell = |bytes| {
                // A full queue is no loss: the next number follows.
                let _ = progress.try_send((root, bytes));
            };
            let result = fetch_at_most(&exchange, root, options, size, tell).await;
            Outcome::Fetched {
                root,
                purpose: Purpose::Upload,
                result,
            }
        });
        self.pulls.insert(root, handle);
    }

    async fn drop_upload(&mut self, root: Cid) {
        if let Some(fetch) = self.pulls.remove(&root) {
            fetch.abort();
        }
        if self.book.lease(&root).is_some() {
            self.strike(root).await;
        } else if let Err(error) = self.context.store.remove_root(root, Holding::Lease).await {
            tracing::warn!(%root, %error, "a dropped upload stays on disk until the next start");
        }
        self.save_upload(root).await;
    }

    /// Brings the stored row of an upload in line with the machine.
    async fn save_upload(&self, root: Cid) {
        let upload = self.holder.upload(&root).cloned();
        let saved: Result<(), StoreError> = self
            .context
            .store
            .write(move |tables| {
                match &upload {
                    Some(upload) => tables.put(UPLOADS, &root, upload)?,
                    None => {
                        tables.remove(UPLOADS, &root)?;
                    }
                }
                Ok(())
            })
            .await;
        if let Err(error) = saved {
            tracing::warn!(%root, %error, "an upload was not saved");
        }
    }
}

/// Fetches a root until more than `size` bytes of it are here: then it is not
/// what was promised, and the outcome says so by its bytes.
pub(super) async fn fetch_at_most(
    exchange: &ExchangeHandle,
    root: Cid,
    options: FetchOptions,
    size: u64,
    tell: impl Fn(u64),
) -> Result<Fetched, FetchError> {
    let mut fetching = exchange.fetch(root, options).await?;
    let mut seen = fetching.progress();
    loop {
        tokio::select! {
            result = fetching.done() => return result,
            Ok(()) = seen.changed() => {
                let progress = *seen.borrow_and_update();
                if progress.bytes > size {
                    return Ok(Fetched {
                        blocks: progress.blocks,
                        bytes: progress.bytes,
                        proof_root: None,
                    });
                }
                tell(progress.bytes);
            }
        }
    }
}

/// The reason that a promised root is held for.
pub(super) fn lease_owner(root: Cid) -> Owner {
    Owner {
        root,
        holding: Holding::Lease,
        expiry: None,
    }
}

/// What the index and the book say about one offer.
struct Facts<'a> {
    snapshot: Snapshot,
    book: &'a LeaseBook,
    allow: Vec<Address>,
}

impl Lookup for Facts<'_> {
    fn user(&self, user: UserId, signer: Address) -> Option<UserFacts> {
        let found = self.snapshot.user(user).ok()??;
        if found.user.wallet != signer {
            return None;
        }
        let extra_bytes = if self.allow.contains(&signer) {
            u64::MAX
        } else {
            0
        };
        Some(UserFacts {
            created: found.user.created_at,
            stored_bytes: stored_bytes(&self.snapshot, self.book, user),
            extra_bytes,
        })
    }

    fn lease(&self, root: &Cid) -> Option<SignedLease> {
        self.book.lease(root).cloned()
    }
}

/// Bytes of the promised roots that a user's digital contents have: as they were
/// counted here, not as the user says.
pub(super) fn stored_bytes(index: &Snapshot, book: &LeaseBook, user: UserId) -> u64 {
    let mut counted = BTreeSet::new();
    let mut bytes: u64 = 0;
    for offset in (0..CONTENTS_COUNTED_MAX).step_by(PAGE_ROWS_MAX) {
        let limit = PAGE_ROWS_MAX;
        // What cannot be read is not held against the user.
        let contents = index
            .contents_by_owner(user, true, Page { limit, offset })
            .unwrap_or_default();
        let roots = contents
            .iter()
            .filter_map(|view| view.content.cid.parse().ok());
        for root in roots.filter(|root: &Cid| counted.insert(*root)) {
            let lease = book.lease(&root);
            bytes = bytes.saturating_add(lease.map_or(0, |lease| lease.record.size));
        }
        if contents.len() < PAGE_ROWS_MAX {
            break;
        }
    }
    bytes
}

/// What an offer that does not decode weighs.
const OFFENCE: u32 = 10;

/// Digital contents of one user that are counted against its quota.
const CONTENTS_COUNTED_MAX: usize = 20_000;

/// After an upload did not fit, offers hear so for this long.
const FULL_PAUSE: Duration = Duration::from_secs(60);

/// Blocks beyond the confirmations that a current index may be behind.
const LAG_BLOCKS_MAX: u64 = 64;
