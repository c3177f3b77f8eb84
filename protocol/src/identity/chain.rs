//! Blocks, and what they bring.

use std::collections::BTreeMap;

use super::{Chain, Identity, Note, Output, Unsent, words};
use crate::id::Hash32;
use crate::relayer::{Receipt, SendFailure, Slot};
use crate::time::Moment;

impl Identity {
    pub(super) fn handle_chain(&mut self, chain: Chain, now: Moment) {
        self.rows.save_again();
        if chain.is_away {
            self.chain.is_away = true;
            self.relayer.handle_chain_away();
            return;
        }
        let before = std::mem::replace(&mut self.chain, chain);
        let is_back = before.is_away;
        if chain.head == before.head && !is_back {
            return;
        }
        let advance = match (before.head, chain.head) {
            (Some(before), Some(head)) if before == head => 0,
            (Some(before), Some(head)) => head.saturating_sub(before).max(1),
            (None, Some(head)) => head,
            (_, None) => 0,
        };
        self.idle_at = now + self.config.idle;
        self.count_blocks(advance, now);
    }

    pub(super) fn count_blocks(&mut self, count: u64, now: Moment) {
        self.block = self.block.saturating_add(count);
        self.relayer.handle_block(self.block);
        self.look_at_wallets(now);
        if self.is_look_due {
            self.look_at_index();
        }
    }

    /// Asks the index for the actions that are not over, whoever sent them.
    pub(super) fn look_at_index(&mut self) {
        self.is_look_due = self.looking.is_some();
        if self.is_look_due || self.open.is_empty() {
            return;
        }
        let open = self.open.iter();
        let wanted: Vec<_> = open.map(|(digest, open)| (*digest, open.signer)).collect();
        self.looking = Some(self.open.keys().copied().collect());
        self.outputs.push_back(Output::Look { wanted });
    }

    pub(super) fn handle_looked(&mut self, settled: u64, landed: Option<Vec<(Hash32, Receipt)>>) {
        let Some(wanted) = self.looking.take() else {
            return;
        };
        let Some(landed) = landed else {
            // The next block or pause looks again.
            self.is_look_due = true;
            return;
        };
        let mut landed: BTreeMap<Hash32, Receipt> = landed.into_iter().collect();
        for digest in wanted {
            match landed.remove(&digest) {
                Some(receipt) => self.relayer.handle_mined(&digest, receipt),
                None => self.relayer.handle_undone(&digest),
            }
        }
        self.relayer.handle_final(settled);
        if self.is_look_due {
            self.look_at_index();
        }
    }

    pub(super) fn handle_sent(&mut self, digest: Hash32, slot: Slot, sent: Result<Hash32, Unsent>) {
        match sent {
            Ok(hash) => self.relayer.handle_sent(&digest, slot, hash),
            Err(unsent) => {
                let failure = self.judge(unsent);
                self.relayer.handle_send_failed(&digest, slot, failure);
            }
        }
    }

    /// What was sent and has no end is sent again by the next block or pause.
    pub(super) fn give_up_sends(&mut self, now: Moment) {
        let due = self.sends.iter().filter(|(_, until)| **until <= now);
        for (digest, slot) in due.map(|(send, _)| *send).collect::<Vec<_>>() {
            self.sends.remove(&(digest, slot));
            self.relayer
                .handle_send_failed(&digest, slot, SendFailure::Retry);
        }
    }

    /// What it means that a transaction was not taken.
    fn judge(&mut self, unsent: Unsent) -> SendFailure {
        let message = match unsent {
            Unsent::Unanswered => return SendFailure::Retry,
            Unsent::Impossible { reason } => return SendFailure::Refused { reason },
            Unsent::Rejected { message } => message,
        };
        let failure = words::judge(message.clone());
        if failure == SendFailure::Retry {
            let note = Note::SentLater { reason: message };
            self.outputs.push_back(Output::Note(note));
        }
        failure
    }
}
