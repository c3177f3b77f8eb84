//! What the store says of blocks, and the fetches that fill it.

use std::collections::BTreeSet;

use cid::Cid;
use cid::multihash::Multihash;
use protocol::content::repair::RootFacts;
use protocol::content::{AskId, Capacity, FetchFailure, Input, Note, Purpose};
use protocol::id::{Address, Hash32};
use storage::blocks::{BlockReader, Holding, Owner};

use super::Hands;
use crate::context::Context;
use crate::exchange::{ExchangeHandle, FetchError, FetchOptions, Fetched};
use crate::shell::Work;
use crate::store::StoreError;

impl Hands {
    pub(super) fn fetch(
        &mut self,
        root: Cid,
        purpose: Purpose,
        bytes_max: u64,
        (holders, last_resort): (Vec<Address>, Option<Address>),
        work: &mut Work<Input>,
    ) {
        let exchange = self.exchange.clone();
        let options = FetchOptions {
            holders,
            last_resort: last_resort.into_iter().collect(),
            owner: Some(lease_owner(root)),
            with_proof: true,
        };
        let progress = self.progress.clone();
        let handle = work.beside(async move {
            let tell = |bytes| {
                let _ = progress.try_send((root, bytes));
            };
            let fetched = fetch_at_most(&exchange, root, options, bytes_max, tell).await;
            let result = match fetched {
                Ok(Fetched {
                    bytes: size,
                    proof_root: Some(proof_root),
                    ..
                }) => Ok(RootFacts { proof_root, size }),
                Ok(_) => Err(FetchFailure::TooLarge),
                Err(error) => Err(failure(&error)),
            };
            Some(Input::Fetched {
                root,
                purpose,
                result,
            })
        });
        if purpose == Purpose::Upload {
            self.pulls.retain(|_, pull| !pull.is_finished());
            self.pulls.insert(root, handle);
        }
    }

    pub(super) fn remove(&self, root: Cid, work: &mut Work<Input>) {
        let store = self.context.store.clone();
        work.in_order(async move {
            if let Err(error) = store.remove_root(root, Holding::Lease).await {
                tracing::warn!(%root, %error, "a released root stays on disk for an hour");
            }
            Some(Input::Removed { root })
        });
    }

    pub(super) fn keep(&self, kept: BTreeSet<Cid>, work: &mut Work<Input>) {
        let context = self.context.clone();
        work.in_order(async move {
            if let Err(error) = forget_others(&context, &kept).await {
                tracing::warn!(%error, "blocks that nobody promised stay on disk for an hour");
            }
            Some(Input::Kept)
        });
    }

    pub(super) fn draw(&self, id: AskId, root: Cid, points: Vec<Hash32>, work: &mut Work<Input>) {
        let reader = self.context.store.reader();
        work.beside(async move {
            let drawing = move || {
                let drawn = points
                    .iter()
                    .filter_map(|point| draw(&reader, &root, point));
                drawn.collect()
            };
            let drawn = tokio::task::spawn_blocking(drawing).await;
            let cids = drawn.unwrap_or_default();
            Some(Input::Drawn { id, cids })
        });
    }

    pub(super) fn find_listing(&self, block: Cid, work: &mut Work<Input>) {
        let reader = self.context.store.reader();
        work.beside(async move {
            let finding = move || {
                let roots = reader.roots(Some(Holding::Lease)).unwrap_or_default();
                let roots = roots.into_iter().map(|info| info.root);
                roots.filter(|root| lists(&reader, root, &block)).collect()
            };
            let roots = tokio::task::spawn_blocking(finding).await;
            Some(Input::Damaged {
                roots: roots.unwrap_or_default(),
            })
        });
    }

    pub(super) fn inspect(&self, roots: Vec<Cid>, work: &mut Work<Input>) {
        let reader = self.context.store.reader();
        work.beside(async move {
            let looking = move || {
                let lacks = |root: &Cid| lacks_block(&reader, root);
                roots.into_iter().filter(lacks).collect()
            };
            let lacking = tokio::task::spawn_blocking(looking).await;
            Some(Input::Inspected {
                lacking: lacking.unwrap_or_default(),
            })
        });
    }
}

/// What the store holds and has room for.
pub(super) fn capacity(context: &Context) -> Capacity {
    let stats = context.store.stats();
    let reserve = context.config.storage.reserve.as_u64();
    let free = context.store.disk_free().ok();
    Capacity {
        bytes_max: stats.store_bytes_max,
        live_bytes: stats.live_bytes,
        disk_bytes: stats.disk_bytes,
        disk_free: free.map(|free| free.saturating_sub(reserve)),
    }
}

/// Fetches a root until more than `size` bytes of it are here: then it is not
/// what was promised, and the outcome says so by its missing proof root.
async fn fetch_at_most(
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

fn failure(error: &FetchError) -> FetchFailure {
    match error {
        FetchError::Store(store) if store.is_full() => FetchFailure::Full(error.to_string()),
        FetchError::Store(_)
        | FetchError::Failed(_)
        | FetchError::Busy { .. }
        | FetchError::Stopped => FetchFailure::Failed(error.to_string()),
    }
}

/// The reason that a promised root is held for.
fn lease_owner(root: Cid) -> Owner {
    Owner {
        root,
        holding: Holding::Lease,
        expiry: None,
    }
}

async fn forget_others(context: &Context, kept: &BTreeSet<Cid>) -> Result<(), StoreError> {
    for info in context.store.roots(Some(Holding::Lease)).await? {
        if !kept.contains(&info.root) {
            context.store.remove_root(info.root, Holding::Lease).await?;
        }
    }
    Ok(())
}

/// The first block at or after a point that the root lists, else its first.
fn draw(reader: &BlockReader, root: &Cid, point: &Hash32) -> Option<Cid> {
    let place = Multihash::wrap(SHA2_256, &point.0).ok()?;
    let place = Cid::new_v1(root.codec(), place);
    let next = |after| reader.listed_after(root, after, 1).ok()?.pop();
    next(Some(&place)).or_else(|| next(None))
}

/// True when a root lists a block, whatever the codec of its CID.
fn lists(reader: &BlockReader, root: &Cid, cid: &Cid) -> bool {
    let before = predecessor(cid);
    let next = reader.listed_after(root, before.as_ref(), 1);
    next.is_ok_and(|found| found.iter().any(|found| found.hash() == cid.hash()))
}

/// True when a block that a root lists is not on disk, or nothing is known of
/// the root at all.
fn lacks_block(reader: &BlockReader, root: &Cid) -> bool {
    let mut after = None;
    loop {
        // What the index cannot tell shows when the blocks are read.
        let listed = reader
            .listed_after(root, after.as_ref(), LISTED_MAX)
            .unwrap_or_default();
        let lacks = |cid: &Cid| reader.has(cid).is_ok_and(|is_there| !is_there);
        if listed.iter().any(lacks) || (listed.is_empty() && after.is_none()) {
            return true;
        }
        if listed.len() < LISTED_MAX {
            return false;
        }
        after = listed.last().copied();
    }
}

/// The CID whose hash is smaller by one; `None` for the smallest.
fn predecessor(cid: &Cid) -> Option<Cid> {
    let mut digest = cid.hash().digest().to_vec();
    let place = digest.iter().rposition(|byte| *byte != 0)?;
    digest[place] -= 1;
    digest[place + 1..].fill(0xff);
    let hash = Multihash::wrap(cid.hash().code(), &digest).ok()?;
    Some(Cid::new_v1(cid.codec(), hash))
}

/// Tells people what the machine notes.
pub(super) fn log(note: &Note) {
    match note {
        Note::NotPulled(root, error) => tracing::info!(%root, %error, "an upload was not pulled"),
        Note::Repairing(root) => tracing::info!(%root, "a root is repaired to here"),
        Note::NotRepaired(root, error) => {
            tracing::info!(%root, %error, "a root was not repaired; it is tried again");
        }
        Note::Damaged(root) => {
            tracing::warn!(%root, "a promised root lost a block and fetches it again");
        }
        Note::Released(root) => tracing::info!(%root, "a root that others hold is released"),
        Note::Ended(root) => {
            tracing::info!(%root, "nothing names a root any more; its promise ends");
        }
        Note::OverQuota(root) => {
            tracing::info!(%root, "a root's owners have no room left; it is not kept here");
        }
        Note::Starved(root) => tracing::warn!(%root, "no live peer is known to hold a root"),
        Note::Lost(peer) => tracing::info!(%peer, "a peer counts as lost"),
        Note::Back(peer) => tracing::info!(%peer, "a lost peer is back"),
        Note::BookFull(root) => tracing::warn!(%root, "no room for another lease"),
        Note::NotPersisted => {
            tracing::error!("what has to be stored before it is signed was not stored");
        }
        Note::Equivocation(peer, epoch) => {
            tracing::warn!(%peer, %epoch, "a peer signed two pages for one epoch");
        }
    }
}

/// The multihash code of the hash that blocks are listed by.
const SHA2_256: u64 = 0x12;

/// Blocks of a root that are looked up at a time. Chosen: a read of milliseconds.
const LISTED_MAX: usize = 1024;
