//! Verdicts that a machine still owes, by the token it knows them by.

use std::collections::BTreeMap;

use gossip::spread::{self, Token};

use crate::net::Verdict;

/// The open verdicts of one actor.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    next: u64,
    open: BTreeMap<Token, Verdict>,
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
    pub(crate) fn settle(&mut self, token: Token, verdict: spread::Verdict) {
        let Some(open) = self.open.remove(&token) else {
            return;
        };
        match verdict {
            spread::Verdict::Accept => open.accept(),
            spread::Verdict::Ignore => open.ignore(),
            spread::Verdict::Reject => open.reject(),
        }
    }
}
