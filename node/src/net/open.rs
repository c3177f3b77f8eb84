//! What a role still owes the swarm: verdicts and answers, by the names that its
//! machine knows them by.

use std::collections::BTreeMap;

use protocol::machine::{self, Token};
use protocol::origin::{Origin, RequestId};

use super::{Inbound, Refusal, Responder, Verdict};

/// The open verdicts of one role. Those that are dropped say that the message is
/// of no use.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    next: u64,
    open: BTreeMap<Token, Verdict>,
}

/// The open requests of one role. Those that are dropped are refused.
#[derive(Debug, Default)]
pub(crate) struct Responders {
    next: u64,
    open: BTreeMap<RequestId, Responder>,
}

impl Verdicts {
    /// Keeps a verdict open; the machine bounds how many it keeps.
    pub(crate) fn hold(&mut self, verdict: Verdict) -> Token {
        let token = Token(self.next);
        self.next += 1;
        self.open.insert(token, verdict);
        token
    }

    /// Hands a verdict to the network.
    pub(crate) fn settle(&mut self, token: Token, verdict: machine::Verdict) {
        let Some(open) = self.open.remove(&token) else {
            return;
        };
        match verdict {
            machine::Verdict::Accept => open.accept(),
            machine::Verdict::Ignore => open.ignore(),
            machine::Verdict::Reject => open.reject(),
        }
    }
}

impl Responders {
    /// Keeps a request open; the swarm bounds how many there are.
    pub(crate) fn hold(&mut self, inbound: Inbound) -> (RequestId, Origin, bytes::Bytes) {
        let id = RequestId(self.next);
        self.next += 1;
        let origin = inbound.origin();
        self.open.insert(id, inbound.respond);
        (id, origin, inbound.body)
    }

    /// Answers one of them.
    pub(crate) fn respond(&mut self, id: RequestId, body: Vec<u8>) {
        if let Some(responder) = self.open.remove(&id) {
            responder.send(body);
        }
    }

    /// Refuses one of them.
    pub(crate) fn refuse(&mut self, id: RequestId, refusal: Refusal) {
        if let Some(responder) = self.open.remove(&id) {
            responder.refuse(refusal);
        }
    }
}
