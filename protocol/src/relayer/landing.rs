//! What lands, is undone, and is on chain for good.
//!
//! A driver tells what the newest blocks hold of every action that is not over
//! ([`Stage::is_over`]), and which block is final. Telling the same again changes
//! nothing.

use super::wallets::{Content, Slot};
use super::{Receipt, Relayer, Stage};
use crate::id::Hash32;

impl Relayer {
    /// Notes that an action is in a block, sent by whomever. A reorganisation may
    /// undo it until the block is final.
    pub fn handle_mined(&mut self, digest: &Hash32, receipt: Receipt) {
        let Some(job) = self.jobs.get_mut(digest).filter(|job| job.is_accepted) else {
            return;
        };
        let (sent, unsent) = match &job.row.stage {
            Stage::Pending => (None, None),
            // Its row is being stored, so that it was not sent yet.
            Stage::Assigned { .. } if job.awaited.is_some() => (None, job.slot()),
            Stage::Assigned { .. } => (job.slot(), None),
            Stage::Included { receipt: known, .. } if *known == receipt => {
                self.included.insert((receipt.block_number, *digest));
                return;
            }
            Stage::Included { .. } => (job.slot(), None),
            // It was given up before; that stands, whatever comes of it.
            Stage::Mined(_) | Stage::Failed { .. } => return,
        };
        self.forget_receipt(digest);
        self.included.insert((receipt.block_number, *digest));
        self.set_stage(digest, Stage::Included { receipt, sent });
        if let Some(slot) = unsent {
            self.free(slot);
        }
        self.dispatch();
    }

    /// Notes that the newest blocks do not hold an action. Was it seen in one, it
    /// goes on where it was: with the same slot if it has one still, so that it is
    /// not paid for twice.
    pub fn handle_undone(&mut self, digest: &Hash32) {
        let Some(job) = self.jobs.get(digest).filter(|job| job.is_accepted) else {
            return;
        };
        if !matches!(job.row.stage, Stage::Included { .. }) {
            return;
        }
        let slot = job.slot();
        self.forget_receipt(digest);
        match slot.and_then(|slot| Some((slot, self.wallets.content(&slot)?))) {
            Some((slot, Content::Action(own))) if own == *digest => self.go_on(digest, slot, 0),
            Some((slot, Content::Filler { bumps, displaced })) if displaced == Some(*digest) => {
                self.go_on(digest, slot, bumps + 1);
            }
            Some(_) | None => {
                self.reserve(digest);
                self.wait_anew(digest);
            }
        }
        self.dispatch();
    }

    /// Notes the last final block. What is in it or below stays on chain, unless a
    /// later call names a lower one: then what ended above is looked for again.
    pub fn handle_final(&mut self, number: u64) {
        if self
            .settled
            .replace(number)
            .is_none_or(|known| number < known)
        {
            self.reopen_above(number);
        }
        while let Some(&(block, digest)) = self.included.first()
            && block <= number
        {
            self.included.pop_first();
            if let Some(job) = self.jobs.get(&digest)
                && let Stage::Included { receipt, .. } = &job.row.stage
            {
                let stage = Stage::Mined(receipt.clone());
                self.set_stage(&digest, stage);
                self.retire(&digest);
            }
        }
    }

    /// Blocks that were final are not: what is in them may be undone as well.
    fn reopen_above(&mut self, number: u64) {
        let is_above = |digest: &&Hash32| match self.jobs.get(digest).map(|job| &job.row.stage) {
            Some(Stage::Mined(receipt)) => receipt.block_number > number,
            Some(_) | None => false,
        };
        let above: Vec<Hash32> = self.ended.iter().filter(is_above).copied().collect();
        for digest in above {
            self.reopen(&digest);
        }
    }

    /// Has an action that ended on chain looked for again. Whoever asks for it does
    /// not see it there: it may have been undone while nothing was looked for, and
    /// the last final block is as high as before by now.
    pub(super) fn reopen(&mut self, digest: &Hash32) {
        let Some(Stage::Mined(receipt)) = self.jobs.get(digest).map(|job| &job.row.stage) else {
            return;
        };
        let receipt = receipt.clone();
        let sent = self.reserve(digest);
        self.ended.retain(|ended| ended != digest);
        // It ends again once it was seen again.
        self.set_stage(digest, Stage::Included { receipt, sent });
    }

    /// Keeps the last slot of an action for it, although that was consumed for good:
    /// what was final is undone, and so is that.
    fn reserve(&mut self, digest: &Hash32) -> Option<Slot> {
        let slot = self.jobs.get(digest)?.row.last_slot?;
        if self.wallets.is_empty(&slot) {
            let content = Content::Action(*digest);
            self.wallets.set(slot, content, self.block);
        }
        Some(slot)
    }

    /// Gives an accepted action up.
    pub(super) fn fail(&mut self, digest: &Hash32, reason: String) {
        self.set_stage(digest, Stage::Failed { reason });
        self.retire(digest);
    }

    /// Sends an action once more in the slot that its stored row names.
    fn go_on(&mut self, digest: &Hash32, slot: Slot, bumps_min: u32) {
        self.wallets.set(slot, Content::Action(*digest), self.block);
        let bumps_max = self.config.bumps_max;
        if let Some(job) = self.jobs.get_mut(digest) {
            job.bumps = job.bumps.max(bumps_min).min(bumps_max);
            job.row.stage = Stage::Assigned {
                wallet: slot.wallet,
                nonce: slot.nonce,
                tx_hash: None,
            };
        }
        self.persist(digest, false);
        self.send(digest);
    }

    fn set_stage(&mut self, digest: &Hash32, stage: Stage) {
        let Some(job) = self.jobs.get_mut(digest) else {
            return;
        };
        job.row.stage = stage;
        job.awaited = None;
        self.ready.retain(|(_, _, ready)| ready != digest);
        self.persist(digest, false);
    }

    fn forget_receipt(&mut self, digest: &Hash32) {
        if let Some(job) = self.jobs.get(digest)
            && let Stage::Included { receipt, .. } = &job.row.stage
        {
            self.included.remove(&(receipt.block_number, *digest));
        }
    }
}
