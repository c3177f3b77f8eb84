//! Peers that use what the protocols allow them to say against the others.
//!
//! An adversary has keys, a role and a place like everybody else; it is free in
//! what it says and when. Each kind has a file of its own and acts through what a
//! peer's shell offers: it publishes, asks, answers and hands actions in. A liar's
//! machines are honest; what leaves its peer is not.

use std::time::Duration;

use protocol::signing::SigningKey;

use crate::host::{Host, News};
use crate::wire::{Message, Protocol, Topic};
use crate::workload::{Person, Plan, Resident};
use crate::world::{Ctx, Local};

mod buries;
mod drips;
mod lies;
mod promises;
mod replays;
mod squats;

use buries::Buries;
use drips::Drips;
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
    /// Keeps no vault record and hides those of others; has staked.
    BuriesVault,
    /// Publishes what others published, and deletes it, and what nobody has; a
    /// user.
    Squats,
    /// Offers what it sends in drops, and what it does not have; a user.
    Drips,
}

impl Kind {
    /// Its key among the adversaries of a scenario.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Replays => "replays",
            Self::Promises => "promises",
            Self::BuriesVault => "buries_vault",
            Self::Squats => "squats",
            Self::Drips => "drips",
        }
    }
}

/// One who works against the others.
#[derive(Debug)]
pub struct Adversary {
    key: SigningKey,
    scheme: Option<Scheme>,
    /// What it does beside, as everybody.
    resident: Option<Resident>,
}

/// A kind with what it remembers.
#[derive(Debug)]
enum Scheme {
    Replays(Replays),
    Promises(Promises),
    BuriesVault(Buries),
    Squats(Squats),
    Drips(Drips),
}

impl Adversary {
    /// One with the key of its peer; `resident` is what a user does beside.
    #[must_use]
    pub fn new(key: SigningKey, kind: Option<Kind>, resident: Option<Resident>) -> Self {
        let scheme = kind.map(|kind| match kind {
            Kind::Replays => Scheme::Replays(Replays::default()),
            Kind::Promises => Scheme::Promises(Promises::default()),
            Kind::BuriesVault => Scheme::BuriesVault(Buries::default()),
            Kind::Squats => Scheme::Squats(Squats::default()),
            Kind::Drips => Scheme::Drips(Drips::default()),
        });
        Self {
            key,
            scheme,
            resident,
        }
    }

    fn attack(&mut self, host: &mut Host, ctx: &mut Ctx) -> Option<Duration> {
        Some(match (self.scheme.as_mut()?, &mut self.resident) {
            (Scheme::Replays(replays), _) => replays.act(host, ctx),
            (Scheme::Promises(promises), _) => promises.act(&self.key, host, ctx),
            (Scheme::BuriesVault(buries), _) => buries.act(host, ctx),
            (Scheme::Squats(squats), Some(resident)) => squats.act(resident, host, ctx),
            (Scheme::Drips(drips), Some(resident)) => drips.act(resident, host, ctx),
            (Scheme::Squats(_) | Scheme::Drips(_), None) => return None,
        })
    }
}

impl Person for Adversary {
    fn start(&mut self, host: &mut Host, ctx: &mut Ctx) {
        if let Some(resident) = &mut self.resident {
            resident.start(host, ctx);
        }
        if self.scheme.is_some() {
            let pause = ctx.params.presence_interval;
            ctx.local(host, pause, Local::Person(Plan::Attack));
        }
    }

    fn forget(&mut self) {
        if let Some(resident) = &mut self.resident {
            resident.forget();
        }
    }

    /// Attacks, and goes on later.
    fn act(&mut self, plan: Plan, host: &mut Host, ctx: &mut Ctx) {
        if matches!(plan, Plan::Attack) {
            if let Some(pause) = self.attack(host, ctx) {
                ctx.local(host, pause, Local::Person(Plan::Attack));
            }
        } else if let Some(resident) = &mut self.resident {
            resident.act(plan, host, ctx);
        }
    }

    fn hear(&mut self, news: News, host: &mut Host, ctx: &mut Ctx) {
        let Some(resident) = &mut self.resident else {
            return;
        };
        if let (Some(Scheme::Squats(squats)), News::Applied(entries)) = (&mut self.scheme, &news) {
            squats.hear(entries, resident, host, ctx);
        }
        resident.hear(news, host, ctx);
    }

    fn unfinished(&self, host: &Host, has_relayers: bool) -> Option<String> {
        self.resident.as_ref()?.unfinished(host, has_relayers)
    }

    fn takes(&mut self, from: u32, message: &Message, host: &mut Host, ctx: &mut Ctx) -> bool {
        match (&mut self.scheme, message) {
            (Some(Scheme::Replays(replays)), Message::Gossip { topic, data, .. }) => {
                if *topic == Topic::Pages {
                    replays.keep(data);
                }
                false
            }
            (
                Some(Scheme::Drips(drips)),
                Message::Request {
                    id,
                    protocol: Protocol::Blocks,
                    data,
                },
            ) => drips.takes(from, *id, data),
            (Some(Scheme::Promises(promises)), Message::Request { id, protocol, data }) => {
                if *protocol == Protocol::Publish {
                    promises.offer_again(data, host, ctx);
                }
                let data = match protocol {
                    Protocol::Leases => Some(promises.list().into()),
                    Protocol::Blocks | Protocol::Publish => None,
                    Protocol::Entries | Protocol::Relayer | Protocol::Vault => return false,
                };
                ctx.send(host.idx, from, Message::Response { id: *id, data });
                true
            }
            (
                Some(Scheme::BuriesVault(buries)),
                Message::Request {
                    id,
                    protocol: Protocol::Vault,
                    data,
                },
            ) => {
                let data = buries.answer(data, ctx);
                ctx.send(host.idx, from, Message::Response { id: *id, data });
                true
            }
            _ => false,
        }
    }

    fn says(&mut self, message: Message, ctx: &mut Ctx) -> Vec<Message> {
        lies::tamper(message, &self.key, ctx)
    }
}
