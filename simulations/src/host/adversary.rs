//! Peers that use what the protocols allow them to say against the others.
//!
//! An adversary has keys, a role and a place like everybody else; it is free in
//! what it says and when. Each has a file of its own and acts through the wishes
//! that a shell carries out: it publishes, asks, answers and hands actions in.

use bytes::Bytes;
use protocol::entry::Entry;
use protocol::wire;

use super::Host;
use crate::wire::Topic;
use crate::world::{Ctx, Local};

mod promises;
mod replays;
mod squats;

use promises::Promises;
use replays::Replays;
use squats::Squats;

/// What an adversary does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Publishes pages of others again; has no stake.
    Replays,
    /// Promises what it does not have; has staked.
    Promises,
    /// Publishes what others published, and deletes it, and what nobody has; a
    /// user.
    Squats,
}

/// An adversary with what it remembers.
#[derive(Debug)]
pub(super) enum Adversary {
    Replays(Replays),
    Promises(Promises),
    Squats(Squats),
}

impl Adversary {
    pub(super) fn new(kind: Kind) -> Self {
        match kind {
            Kind::Replays => Self::Replays(Replays::default()),
            Kind::Promises => Self::Promises(Promises::default()),
            Kind::Squats => Self::Squats(Squats::default()),
        }
    }
}

impl Host {
    /// True for a peer that only says that it keeps what it promises.
    #[must_use]
    pub fn is_hollow(&self) -> bool {
        matches!(self.adversary, Some(Adversary::Promises(_)))
    }

    pub(super) fn start_adversary(&self, ctx: &mut Ctx) {
        if self.adversary.is_some() {
            ctx.local(self, ctx.params.presence_interval, Local::Adversary);
        }
    }

    /// Acts, and goes on later.
    pub(super) fn act_against(&mut self, ctx: &mut Ctx) {
        let Some(mut adversary) = self.adversary.take() else {
            return;
        };
        let pause = match &mut adversary {
            Adversary::Replays(replays) => replays.act(self, ctx),
            Adversary::Promises(promises) => promises.act(self, ctx),
            Adversary::Squats(squats) => squats.act(self, ctx),
        };
        self.adversary = Some(adversary);
        ctx.local(self, pause, Local::Adversary);
    }

    /// Hears what is gossiped.
    pub(super) fn overhear(&mut self, topic: Topic, data: &Bytes) {
        if let (Some(Adversary::Replays(replays)), Topic::Pages) = (&mut self.adversary, topic) {
            replays.keep(data);
        }
    }

    /// Answers in its own way; false when it answers as everybody does.
    pub(super) fn answer_falsely(
        &self,
        from: u32,
        id: u64,
        protocol: wire::Protocol,
        ctx: &mut Ctx,
    ) -> bool {
        let Some(Adversary::Promises(promises)) = &self.adversary else {
            return false;
        };
        match protocol {
            wire::Protocol::Leases => self.respond(from, id, promises.list(), ctx),
            wire::Protocol::Blocks | wire::Protocol::Publish => self.refuse(from, id, ctx),
            _ => return false,
        }
        true
    }

    /// Learns what landed.
    pub(super) fn hear_entries(&mut self, entries: &[Entry], ctx: &mut Ctx) {
        if let Some(Adversary::Squats(mut squats)) = self.adversary.take() {
            squats.hear(entries, self, ctx);
            self.adversary = Some(Adversary::Squats(squats));
        }
    }
}
