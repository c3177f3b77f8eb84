//! Roots whose digital content was deleted: promised for another day, then
//! released.

use std::ops::ControlFlow;

use cid::Cid;
use protocol::time::Epoch;
use serde::{Deserialize, Serialize};
use storage::index::Page;
use storage::tables::{self, Table};

use super::{Actor, Outcome};
use crate::context::Context;
use crate::store::StoreError;

/// What was seen of a promised root in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sighting {
    /// Since when no digital content has the root any more.
    pub(super) gone: Option<Epoch>,
}

pub(super) const SIGHTINGS: Table<Cid, Sighting> = tables::ROOT_SIGHTINGS.of();

impl Actor {
    /// Compares the promised roots with the index, on a thread of its own.
    pub(super) fn look_for_deletions(&mut self, epoch: Epoch) {
        let roots: Vec<Cid> = self.book.leases().map(|lease| lease.record.root).collect();
        let context = self.context.clone();
        self.tasks.spawn(async move {
            let (changed, over) =
                tokio::task::spawn_blocking(move || look(&context, &roots, epoch))
                    .await
                    .unwrap_or_default();
            Outcome::Deletions { changed, over }
        });
    }

    pub(super) async fn handle_deletions(&mut self, changed: Vec<(Cid, Sighting)>, over: Vec<Cid>) {
        if !changed.is_empty() {
            let kept: Result<(), StoreError> = self
                .context
                .store
                .write(move |tables| {
                    for (root, sighting) in &changed {
                        tables.put(SIGHTINGS, root, sighting)?;
                    }
                    Ok(())
                })
                .await;
            if let Err(error) = kept {
                tracing::warn!(%error, "deletions are noted in the next epoch");
            }
        }
        for root in over {
            tracing::info!(%root, "the promise of deleted content ends");
            self.strike(root).await;
            self.repair.handle_unwanted(&root);
        }
    }

    /// True when the root's time after its deletion is over.
    pub(super) fn is_deleted(&self, root: &Cid) -> bool {
        let epoch = self.context.clock.now().epoch();
        sighting(&self.context, root)
            .and_then(|sighting| sighting.gone)
            .is_some_and(|gone| is_over(gone, epoch))
    }
}

/// Sightings to store, and roots to release.
fn look(context: &Context, roots: &[Cid], epoch: Epoch) -> (Vec<(Cid, Sighting)>, Vec<Cid>) {
    let (mut changed, mut over) = (Vec::new(), Vec::new());
    let Ok(snapshot) = context.index.snapshot() else {
        return (changed, over);
    };
    for root in roots {
        let Ok(contents) = snapshot.contents_by_root(&root.to_string(), Page::first(1)) else {
            break;
        };
        match judge(sighting(context, root), !contents.is_empty(), epoch) {
            ControlFlow::Continue(Some(sighting)) => changed.push((*root, sighting)),
            ControlFlow::Continue(None) => {}
            ControlFlow::Break(()) => over.push(*root),
        }
    }
    (changed, over)
}

/// What becomes of a sighting; `Break` when the root is to be released. A root
/// that never was a digital content's file says nothing.
pub(super) fn judge(
    known: Option<Sighting>,
    is_listed: bool,
    epoch: Epoch,
) -> ControlFlow<(), Option<Sighting>> {
    match (known, is_listed) {
        (Some(Sighting { gone: None }), true) | (None, false) => ControlFlow::Continue(None),
        (_, true) => ControlFlow::Continue(Some(Sighting { gone: None })),
        (Some(Sighting { gone: None }), false) => {
            ControlFlow::Continue(Some(Sighting { gone: Some(epoch) }))
        }
        (Some(Sighting { gone: Some(gone) }), false) if is_over(gone, epoch) => {
            ControlFlow::Break(())
        }
        (Some(Sighting { gone: Some(_) }), false) => ControlFlow::Continue(None),
    }
}

fn is_over(gone: Epoch, epoch: Epoch) -> bool {
    epoch >= gone.plus(DELETED_EPOCHS)
}

fn sighting(context: &Context, root: &Cid) -> Option<Sighting> {
    let stored: Result<_, StoreError> = context
        .store
        .read(|tables| Ok(tables.get(SIGHTINGS, root)?));
    stored.ok().flatten()
}

/// Epochs that a promise outlasts the deletion, which may be undone by a
/// reorganisation or by publishing the root again.
pub(super) const DELETED_EPOCHS: u64 = 24;
