//! Offers of authors: judged, pulled, promised.

use cid::Cid;

use super::holder::{HolderEvent, IndexState, UploadState, UserFacts};
use super::repair::RootFacts;
use super::{After, AskId, Content, FetchFailure, Height, Note, Output, Purpose, Row};
use crate::admission::Source;
use crate::id::Address;
use crate::origin::{Origin, RequestId};
use crate::publish::{Offer, Refusal, RefusalCode, Request, Response};
use crate::time::Moment;
use crate::wire::Protocol;

/// An offer whose user is being looked up.
#[derive(Debug, Clone)]
pub(super) struct LookUp {
    id: RequestId,
    origin: Origin,
    offer: Offer,
    signer: Address,
}

impl Content {
    pub(super) fn handle_request(
        &mut self,
        id: RequestId,
        protocol: Protocol,
        origin: Origin,
        body: &[u8],
        now: Moment,
    ) {
        let is_taken = match protocol {
            Protocol::Publish => self.handle_publish_request(id, origin, body),
            Protocol::Leases => self.handle_lease_request(id, origin, body, now),
            _ => false,
        };
        if !is_taken {
            let is_busy = false;
            self.outputs.push_back(Output::Refuse { id, is_busy });
            self.outputs.push_back(Output::Offence {
                peer: origin.peer,
                weight: OFFENCE,
            });
        }
    }

    fn handle_publish_request(&mut self, id: RequestId, origin: Origin, body: &[u8]) -> bool {
        match Request::from_bytes(body) {
            Ok(Request::Status { root }) => {
                let lease = self.book.lease(&root);
                self.holder.handle_status(id, &origin.peer, &root, lease);
            }
            Ok(Request::Offer(offer)) => self.look_up(id, origin, *offer),
            Err(_) => return false,
        }
        true
    }

    /// Checks what needs nobody's knowledge, then asks the index for the user.
    fn look_up(&mut self, id: RequestId, origin: Origin, offer: Offer) {
        let signer = offer.check().and_then(|()| {
            let signer = offer.action.signer(&self.config.action_domain);
            signer.map_err(|error| Refusal::new(RefusalCode::Signature, error.to_string()))
        });
        let signer = match signer {
            Ok(signer) => signer,
            Err(refusal) => {
                let body = Response::Refused(refusal).to_bytes();
                self.outputs.push_back(Output::Respond { id, body });
                return;
            }
        };
        if self.look_ups.len() >= LOOK_UPS_MAX {
            self.outputs.push_back(Output::Refuse { id, is_busy: true });
            return;
        }
        let ask = AskId(self.next_id());
        self.outputs.push_back(Output::LookUp {
            id: ask,
            action: Box::new(offer.action.action.clone()),
            signer,
        });
        let look_up = LookUp {
            id,
            origin,
            offer,
            signer,
        };
        self.look_ups.insert(ask, look_up);
    }

    pub(super) fn handle_looked_up(&mut self, id: AskId, user: Option<UserFacts>, now: Moment) {
        let Some(look_up) = self.look_ups.remove(&id) else {
            return;
        };
        let LookUp {
            id,
            origin,
            offer,
            signer,
        } = look_up;
        self.note_capacity(now);
        let root = offer.root;
        let user_id = offer.action.action.user_id;
        let user = user.map(|facts| UserFacts {
            stored_bytes: self.references.stored(user_id),
            ..facts
        });
        let is_known = self.holder.upload(&root).is_some();
        let lease = self.book.lease(&root);
        let operator = self.registry.placement.operator_of(&origin.peer);
        let source = Source::new(origin, operator);
        self.holder
            .handle_offer(id, source, offer, signer, (user, lease), now);
        if is_known || self.holder.upload(&root).is_none() {
            return;
        }
        // An accepted offer is durable before its author hears so. One that says
        // something else of a root that is under way is made again after a restart.
        if let Some(reply) = self.holder.poll_reply() {
            let after = After::Reply(reply.id, reply.response.to_bytes());
            self.save_upload_then(root, after);
        }
    }

    pub(super) fn handle_holder_event(&mut self, event: HolderEvent, now: Moment) {
        match event {
            HolderEvent::Pull {
                root,
                size,
                sources,
                author,
            } => {
                let wish = Output::Fetch {
                    root,
                    purpose: Purpose::Upload,
                    bytes_max: size,
                    holders: sources,
                    last_resort: Some(author),
                };
                self.fetch(root, Purpose::Upload, wish);
            }
            HolderEvent::Grant {
                root,
                proof_root,
                size,
            } => self.promise(root, RootFacts { proof_root, size }, now),
            HolderEvent::Drop { root } => self.drop_upload(root),
        }
    }

    pub(super) fn handle_fetched(
        &mut self,
        root: Cid,
        purpose: Purpose,
        result: Result<RootFacts, FetchFailure>,
        now: Moment,
    ) {
        if !self.fetches.remove(&(root, purpose)) {
            return;
        }
        if let Err(FetchFailure::Full(_)) = &result {
            self.full_until = Some(now + FULL_PAUSE);
        }
        match purpose {
            Purpose::Upload => self.handle_pulled(root, result, now),
            Purpose::Repair => self.handle_repaired(root, result, now),
        }
    }

    fn handle_pulled(&mut self, root: Cid, result: Result<RootFacts, FetchFailure>, now: Moment) {
        match result {
            Ok(facts) => self
                .holder
                .handle_pulled(&root, facts.proof_root, facts.size, now),
            Err(failure) => {
                self.note(Note::NotPulled(root, failure));
                self.holder.handle_pull_failed(&root, now);
            }
        }
        self.save_upload(root);
    }

    /// Whether the index knows what was published: then uploads that were not
    /// may end, once it was read.
    pub(super) fn handle_height(&mut self, height: Height, now: Moment) {
        let lag_max = self.config.confirmations.saturating_add(LAG_BLOCKS_MAX);
        let state = match height.head {
            Some(head) if height.is_connected => {
                match head <= height.applied.saturating_add(lag_max) {
                    true => IndexState::Current,
                    false => IndexState::Behind,
                }
            }
            Some(_) | None => IndexState::Away,
        };
        let was_current = std::mem::replace(&mut self.is_current, state == IndexState::Current);
        self.is_index_read &= self.is_current;
        let known = match state {
            IndexState::Current if !self.is_index_read => IndexState::Behind,
            IndexState::Current | IndexState::Behind | IndexState::Away => state,
        };
        self.holder.handle_index(known, now);
        if self.is_current && !was_current {
            // What was read before may lack what was published since.
            self.begin_scan();
        }
    }

    /// An upload whose action landed belongs to the lease book alone.
    pub(super) fn note_published(&mut self, root: Cid) {
        let is_leased = self
            .holder
            .upload(&root)
            .is_some_and(|upload| matches!(upload.state, UploadState::Leased(_)));
        if is_leased && self.references.contains(&root) {
            self.holder.handle_published(&root);
            self.save_upload(root);
        }
    }

    pub(super) fn save_upload(&mut self, root: Cid) {
        self.save_upload_then(root, After::Nothing);
    }

    fn save_upload_then(&mut self, root: Cid, after: After) {
        let upload = self.holder.upload(&root).cloned().map(Box::new);
        self.persist(vec![Row::Upload(root, upload)], after);
    }

    fn drop_upload(&mut self, root: Cid) {
        let is_waiting = self.waiting.remove(&(root, Purpose::Upload)).is_some();
        if self.fetches.remove(&(root, Purpose::Upload)) && !is_waiting {
            self.outputs.push_back(Output::Cancel { root });
        }
        self.save_upload(root);
        // Another action may have published it meanwhile.
        if !self.references.contains(&root) {
            self.strike(root);
        }
    }

    /// Tells the holder what the cap and the disk leave.
    fn note_capacity(&mut self, now: Moment) {
        let Capacity {
            bytes_max,
            live_bytes,
            disk_bytes,
            disk_free,
        } = self.capacity;
        let disk = disk_free.map_or(u64::MAX, |free| disk_bytes.saturating_add(free));
        let is_full = self.full_until.is_some_and(|until| now < until);
        let capacity = match is_full {
            true => live_bytes,
            false => bytes_max.min(disk),
        };
        self.holder.handle_capacity(capacity, live_bytes);
    }
}

use super::Capacity;

/// What a request that does not decode, or a notice of somebody else's lease,
/// weighs: ten of them are a ban.
pub(super) const OFFENCE: u32 = 10;

/// Offers whose user is being looked up. Derived: more than the protocol lets in
/// at a time.
const LOOK_UPS_MAX: usize = 128;

/// After a fetch did not fit, offers hear so for this long. Chosen: a few are
/// lost when room is made at once, and none is accepted in vain for hours.
const FULL_PAUSE: std::time::Duration = std::time::Duration::from_secs(60);

/// Blocks beyond the confirmations that a current index may be behind. Chosen:
/// an index that replays is thousands behind, one that follows a few.
const LAG_BLOCKS_MAX: u64 = 64;
