//! What everybody is told of an accepted action.

use std::collections::BTreeMap;

use super::{Identity, Output};
use crate::action::SignedAction;
use crate::codec;
use crate::id::Hash32;
use crate::records::{Envelope, PendingAction};
use crate::relayer::Row;
use crate::signing::Signed;

/// Actions whose word is being signed.
#[derive(Debug, Default)]
pub(super) struct Telling {
    actions: BTreeMap<Hash32, SignedAction>,
}

impl Identity {
    /// Shows a fresh action here, and has the word for it signed: its row is on disk.
    pub(super) fn tell(&mut self, row: &Row) {
        let Some(open) = self.open.get(&row.digest) else {
            return;
        };
        self.outputs.push_back(Output::Show {
            action: row.action.clone(),
            signer: open.signer,
        });
        self.telling.actions.insert(row.digest, row.action.clone());
        self.outputs.push_back(Output::Sign(PendingAction {
            digest: row.digest,
            signature: row.action.signature,
            peer: self.config.peer,
            time: row.accepted,
        }));
    }

    pub(super) fn handle_signed(&mut self, accepted: Signed<PendingAction>) {
        if let Some(action) = self.telling.actions.remove(&accepted.record.digest) {
            let envelope = Envelope { action, accepted };
            let body = codec::to_bytes(&envelope).into();
            self.outputs.push_back(Output::Publish(body));
        }
    }
}
