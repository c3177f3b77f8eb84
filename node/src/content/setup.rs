//! From what is on disk to an actor that can run.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use cid::Cid;
use protocol::lease::{BookConfig, Counters, LeaseBook, PageView};
use protocol::placement::Placement;
use protocol::publish::{Holder, HolderConfig, Upload};
use protocol::records::{SignedLease, SignedPage};
use protocol::repair::{self, Repair, RootFacts};
use storage::blocks::Holding;
use storage::tables::{
    LEASE_COUNTERS, LEASES as OWN_LEASES, LEASES_BY_HOLDER, OWN_PAGE, UPLOADS, newest,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Actor, Command, ContentError, LEASES, OFFERS, PAGES, PRESENCES};
use crate::context::Context;
use crate::exchange::ExchangeHandle;
use crate::store::StoreError;

struct Stored {
    uploads: Vec<Upload>,
    leases: Vec<SignedLease>,
    others: Vec<SignedLease>,
    counters: Counters,
    page: Option<SignedPage>,
}

pub(super) async fn open(
    context: &Context,
    exchange: &ExchangeHandle,
    inbox: mpsc::Receiver<Command>,
) -> Result<Actor, ContentError> {
    let stored = read(context)?;
    let leases = stored.leases.iter().map(|lease| lease.record.root);
    let uploads = stored.uploads.iter().map(|upload| upload.offer.root);
    forget_orphans(context, &leases.chain(uploads).collect()).await?;
    let now = context.clock.now();
    let domain = context.contracts.domain();
    let snapshot = context.chain.snapshot();
    let placement = Arc::new(Placement::new(&snapshot.borrow()));
    let book_config = BookConfig {
        lease_epochs: context.config.content.lease_epochs,
        renewal_epochs: context.config.content.lease_epochs / 4,
        ..BookConfig::default()
    };
    let book = LeaseBook::new(
        book_config,
        context.peer,
        stored.counters,
        stored.leases,
        stored.page,
    );
    let mut repair = Repair::new(
        repair_config(context),
        context.peer,
        Arc::clone(&placement) as _,
        now,
    );
    for lease in book.leases() {
        repair.handle_holding(context.peer, lease.record.root, facts(lease));
    }
    let mut view = PageView::new(domain, HOLDERS_MAX);
    for lease in &stored.others {
        if let Ok(change) = view.handle_lease(lease, now.epoch()) {
            for lease in change.added {
                let facts = RootFacts {
                    proof_root: lease.proof_root,
                    size: lease.size,
                };
                repair.handle_holding(lease.holder, lease.root, facts);
            }
        }
    }
    let (progress, progressed) = mpsc::channel(PROGRESS_MAX);
    let mut height = context.index.height();
    height.mark_changed();
    let mut actor = Actor {
        exchange: exchange.clone(),
        inbox,
        offers: context.net.serve(OFFERS).await?,
        lease_requests: context.net.serve(LEASES).await?,
        presences: context.net.subscribe(PRESENCES).await?,
        pages: context.net.subscribe(PAGES).await?,
        snapshot,
        connected: context.net.connected(),
        height,
        damaged: context.store.damaged(),
        placement,
        holder: Holder::new(holder_config(context), stored.uploads, now),
        book,
        view,
        repair,
        responders: BTreeMap::new(),
        next_request: 0,
        pulls: BTreeMap::new(),
        repairing: BTreeSet::new(),
        full_until: None,
        tasks: JoinSet::new(),
        progress,
        progressed,
        pages_heard: BTreeMap::new(),
        listing: BTreeMap::new(),
        listed: BTreeMap::new(),
        context: context.clone(),
    };
    actor.look_for_lost_blocks();
    Ok(actor)
}

/// What a lease says about its root.
pub(super) fn facts(lease: &SignedLease) -> RootFacts {
    RootFacts {
        proof_root: lease.record.proof_root,
        size: lease.record.size,
    }
}

fn read(context: &Context) -> Result<Stored, StoreError> {
    context.store.read(|tables| {
        let uploads = tables.range(UPLOADS, Bound::Unbounded, ROWS_MAX)?;
        let leases = tables.range(OWN_LEASES, Bound::Unbounded, ROWS_MAX)?;
        let others = tables.range(LEASES_BY_HOLDER, Bound::Unbounded, ROWS_MAX)?;
        Ok(Stored {
            uploads: uploads.into_iter().map(|(_, upload)| upload).collect(),
            leases: leases.into_iter().map(|(_, lease)| lease).collect(),
            others: others.into_iter().map(|(_, lease)| lease).collect(),
            counters: tables.get(LEASE_COUNTERS, &newest())?.unwrap_or_default(),
            page: tables.get(OWN_PAGE, &newest())?,
        })
    })
}

/// Gives up what a pull or a repair began and did not end: whatever is held for
/// a lease and is not in `kept`.
pub(super) async fn forget_orphans(
    context: &Context,
    kept: &BTreeSet<Cid>,
) -> Result<(), StoreError> {
    for info in context.store.roots(Some(Holding::Lease)).await? {
        if !kept.contains(&info.root) {
            context.store.remove_root(info.root, Holding::Lease).await?;
        }
    }
    Ok(())
}

fn repair_config(context: &Context) -> repair::Config {
    let content = &context.config.content;
    let rate = content.repair_rate.as_u64();
    repair::Config {
        lost_after: content.lost_after,
        bytes_per_second: rate,
        burst_bytes_max: rate.saturating_mul(16),
        fetches_max: REPAIRS_MAX,
        ..repair::Config::default()
    }
}

fn holder_config(context: &Context) -> HolderConfig {
    let domain = context.contracts.action_domain();
    let base = if context.config.content.unlimited_uploads {
        HolderConfig::for_devnet(domain)
    } else {
        HolderConfig::new(domain)
    };
    HolderConfig {
        pulls_max: PULLS_MAX,
        ..base
    }
}

/// Numbers about pulls that may wait.
const PROGRESS_MAX: usize = 64;

/// Rows of one table that are read at the start.
const ROWS_MAX: usize = 4_000_000;

/// Holders whose leases are known.
const HOLDERS_MAX: usize = 10_000;

/// Roots that are repaired at a time; each may hold tens of MiB in memory.
const REPAIRS_MAX: usize = 4;

/// Uploads that are pulled at a time; each may hold tens of MiB in memory.
const PULLS_MAX: usize = 2;
