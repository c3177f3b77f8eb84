//! Fresh actions, before the chain has them.

use serde::{Deserialize, Serialize};

use super::{RecordError, require_role, require_time};
use crate::action::{ActionDomain, SignedAction};
use crate::codec;
use crate::id::{Address, Hash32, Role};
use crate::registry::Registry;
use crate::signing::{Domain, Record, Signature, Signed, StructEncoder};
use crate::time::{Moment, UnixSeconds};
use crate::wire::Topic;

/// An identity peer's envelope around a fresh action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingAction {
    /// The action's digest.
    pub digest: Hash32,
    /// The user's signature.
    pub signature: Signature,
    /// The identity peer that vouches for it.
    pub peer: Address,
    /// When it was accepted.
    pub time: UnixSeconds,
}

/// A fresh action in the envelope of the identity peer that accepted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The user's action.
    pub action: SignedAction,
    /// The identity peer's word for it.
    pub accepted: Signed<PendingAction>,
}

impl Record for PendingAction {
    const TYPE: &'static str =
        "PendingAction(bytes32 digest,bytes signature,address peer,uint64 time)";

    fn encode(&self, encoder: &mut StructEncoder) {
        encoder
            .bytes32(&self.digest)
            .bytes(&self.signature.0)
            .address(&self.peer)
            .uint(self.time.0);
    }
}

/// Decodes and checks a fresh action in its envelope; returns it with the
/// wallet that signed the action.
///
/// # Errors
///
/// [`RecordError`]; see [`RecordError::is_offence`].
pub fn check_envelope(
    data: &[u8],
    registry: &Registry,
    domain: &Domain,
    actions: &ActionDomain,
    now: Moment,
) -> Result<(Envelope, Address), RecordError> {
    let envelope: Envelope = codec::from_bytes("action", data, Topic::Actions.message_bytes_max())?;
    let record = &envelope.accepted.record;
    let is_this_action = record.digest == envelope.action.action.digest(actions)
        && record.signature == envelope.action.signature;
    if !is_this_action {
        return Err(RecordError::Envelope);
    }
    envelope.accepted.verify(domain, record.peer)?;
    require_role(registry, record.peer, Role::Identity)?;
    require_time(record.time.0, now, ENVELOPE_SKEW_SECONDS_MAX)?;
    let wallet = envelope.action.signer(actions)?;
    Ok((envelope, wallet))
}

/// A pending action was accepted this far from the present at most. Chosen: longer
/// than clocks differ and an action waits for its block; replayed later it says nothing.
pub const ENVELOPE_SKEW_SECONDS_MAX: u64 = 600;
