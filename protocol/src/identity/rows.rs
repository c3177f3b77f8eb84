//! The relayer's rows on their way to the disk.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Identity, Open};
use crate::id::Hash32;
use crate::relayer::{Row, Stage};

/// Changes of rows: one write is under way at a time, and what comes meanwhile
/// goes into the next.
#[derive(Debug, Default)]
pub(super) struct Rows {
    under_way: Option<Vec<Change>>,
    waiting: Vec<Change>,
    /// What the disk did not take, to be stored again; the newest of each row.
    unsaved: BTreeMap<Hash32, Change>,
}

impl Rows {
    pub(super) fn note(&mut self, digest: Hash32, row: Option<Box<Row>>) {
        self.waiting.push(Change { digest, row });
    }

    /// The next write, when it can begin.
    pub(super) fn begin_write(&mut self) -> Option<Vec<Change>> {
        if self.under_way.is_some() || self.waiting.is_empty() {
            return None;
        }
        let changes = std::mem::take(&mut self.waiting);
        self.under_way = Some(changes.clone());
        Some(changes)
    }

    /// Has what the disk did not take stored again, unless something newer of its
    /// row is on its way.
    pub(super) fn save_again(&mut self) {
        let under_way = self.under_way.iter().flatten();
        let newer: BTreeSet<Hash32> = under_way
            .chain(&self.waiting)
            .map(|change| change.digest)
            .collect();
        let (later, again): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.unsaved)
            .into_iter()
            .partition(|(digest, _)| newer.contains(digest));
        self.unsaved = later;
        self.waiting.extend(again.into_values());
    }
}

impl Identity {
    pub(super) fn handle_persisted(&mut self, is_stored: bool) {
        for change in self.rows.under_way.take().unwrap_or_default() {
            if is_stored {
                self.rows.unsaved.remove(&change.digest);
                if let Some(row) = change.row {
                    self.handle_stored(&row);
                }
                continue;
            }
            if change.row.is_some() {
                self.relayer.handle_persist_failed(&change.digest);
            }
            // An action that was not accepted is refused; a nonce that was assigned
            // waits for its row.
            if change.row.is_none() || self.relayer.status(&change.digest).is_some() {
                self.rows.unsaved.insert(change.digest, change);
            }
        }
    }

    fn handle_stored(&mut self, row: &Row) {
        let digest = row.digest;
        if row.stage.is_over() {
            self.open.remove(&digest);
        } else if !self.open.contains_key(&digest)
            && let Ok(signer) = row.action.signer(&self.config.relayer.domain)
        {
            let accepted = row.accepted;
            self.open.insert(digest, Open { signer, accepted });
            self.is_look_due = true;
        }
        if row.revision == 1 && row.stage == Stage::Pending {
            self.tell(row);
        }
        self.relayer.handle_persisted(&digest, row.revision);
    }
}
