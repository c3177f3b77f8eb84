//! Gossiped messages that wait for a peer's verdict.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::machine::Token;

use crate::wire::Topic;

/// Those of one peer.
#[derive(Debug, Default)]
pub struct Inbox {
    waiting: BTreeMap<Token, Gossiped>,
    next_token: u64,
}

/// A message whose verdict is open.
#[derive(Debug)]
pub struct Gossiped {
    /// Where it was published.
    pub topic: Topic,
    /// The first bytes of its hash.
    pub id: u64,
    /// Who brought it.
    pub from: u32,
    /// What was published.
    pub data: Bytes,
}

impl Inbox {
    /// Keeps a message till its verdict.
    pub fn keep(&mut self, from: u32, topic: Topic, id: u64, data: Bytes) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        let message = Gossiped {
            topic,
            id,
            from,
            data,
        };
        self.waiting.insert(token, message);
        token
    }

    /// Ends a message's wait.
    pub fn settle(&mut self, token: Token) -> Option<Gossiped> {
        self.waiting.remove(&token)
    }
}
