//! What all roles have in common: facts in, wishes out, deadlines, answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use gossip::catch_up::CatchUp;
use gossip::discovery::Discovery;
use protocol::author::{Author, Event, Reply};
use protocol::content::Content;
use protocol::entry::Entry;
use protocol::exchange::{Download, Exchange, Serve};
use protocol::id::Address;
use protocol::identity::Identity;
use protocol::machine::{Machine, Named};
use protocol::origin::RequestId;
use protocol::time::Moment;
use protocol::vault::{Replica, Vault, VaultReply};

use super::Host;
use super::exchange::{Goal, Transfers};
use crate::wire::Protocol;
use crate::world::{Ctx, Local};

impl Roles {
    /// The machines of a peer that starts, with what is on its disk.
    pub(super) fn new(host: &Host, ctx: &mut Ctx) -> Self {
        let (disk, params, peer) = (&host.disk, ctx.params.clone(), host.address);
        let mut roles = Self {
            exchange: boxed(Exchange::new(peer, host.is_staked)),
            ..Self::default()
        };
        roles.transfers.serve = Serve::new(params.limits.serve());
        if !host.is_staked {
            let (jobs, rows) = (disk.jobs.values().cloned(), disk.outbox.values().cloned());
            roles.author = boxed(Author::restore(params.author(peer), jobs, rows, ctx.now));
            let (config, seed) = (params.catch_up(peer), ctx.rng.below(u64::MAX));
            roles.catch_up = boxed(CatchUp::new(config, disk.held(), seed, ctx.now));
            roles.vault = boxed(Vault::new(params.domain));
            return roles;
        }
        let counted = disk.counted.clone();
        roles.discovery = boxed(Discovery::new(params.discovery(peer), counted, ctx.now));
        if !host.is_hollow {
            let (config, seed) = (params.content(peer), ctx.rng.below(u64::MAX));
            let at = Arc::clone(&host.registry.at);
            roles.content = boxed(Content::new(config, disk.stored(), at, seed, ctx.now));
        }
        let rows = disk.rows.values().cloned();
        roles.identity = boxed(Identity::new(params.identity(peer), rows, ctx.now));
        roles.replica = boxed(Replica::new(params.domain, peer));
        roles
    }
}

/// Most peers play few roles; what they do not play takes no room.
fn boxed<M>(machine: M) -> Option<Box<M>> {
    Some(Box::new(machine))
}

/// A machine with what its wishes mean in a simulated peer.
pub trait Role: Machine<Input: Named + Watched, Output: Named + Watched> + Slot + 'static {
    /// As the report calls it.
    const NAME: &'static str;

    /// Carries out a wish of the machine at `key`.
    fn carry(host: &mut Host, key: Self::Key, wish: Self::Output, ctx: &mut Ctx);
}

/// Where machines of a kind are.
pub trait Slot: Sized {
    /// Tells those of one kind apart.
    type Key: Copy + 'static;

    /// Those that are driven.
    fn keys(roles: &Roles) -> Vec<Self::Key>;

    /// One of them.
    fn slot(roles: &mut Roles, key: Self::Key) -> Option<&mut Self>;
}

macro_rules! roles {
    ($($field:ident: $machine:ty),+ $(,)?) => {
        /// The machines of a peer.
        #[derive(Debug, Default)]
        pub struct Roles {
            $(pub(super) $field: Option<Box<$machine>>,)+
            pub(super) transfers: Transfers,
        }

        $(impl Slot for $machine {
            type Key = ();

            fn keys(roles: &Roles) -> Vec<()> {
                roles.$field.iter().map(|_| ()).collect()
            }

            fn slot(roles: &mut Roles, (): ()) -> Option<&mut Self> {
                roles.$field.as_deref_mut()
            }
        })+
    };
}

roles! {
    discovery: Discovery,
    exchange: Exchange<Goal>,
    content: Content,
    identity: Identity,
    replica: Replica,
    author: Author,
    catch_up: CatchUp,
    vault: Vault,
}

/// What the shell does in turn after each event.
pub(super) struct Turn {
    /// Carries all wishes out; true when there was one.
    pub(super) drain: fn(&mut Host, &mut Ctx) -> bool,
    /// Does what is due.
    pub(super) wake: fn(&mut Host, &mut Ctx),
    /// When something is due.
    pub(super) deadline: fn(&mut Host) -> Option<Moment>,
}

const fn turn<R: Role>() -> Turn {
    Turn {
        drain: |host, ctx| {
            let keys = R::keys(&host.run.roles).into_iter();
            keys.fold(false, |moved, key| host.drain::<R>(key, ctx) | moved)
        },
        wake: |host, ctx| {
            for key in R::keys(&host.run.roles) {
                if let Some(machine) = R::slot(&mut host.run.roles, key)
                    && let Some((_, reason)) = machine.deadline().filter(|(at, _)| *at <= ctx.now)
                {
                    machine.handle_timeout(ctx.now);
                    ctx.note_woken((host.idx, R::NAME, reason), machine);
                }
            }
        },
        deadline: |host| {
            let keys = R::keys(&host.run.roles).into_iter();
            let due = keys.filter_map(|key| R::slot(&mut host.run.roles, key)?.deadline());
            due.map(|(at, _)| at).min()
        },
    }
}

/// Every machine, and those of blocks served and of the chain.
pub(super) const TURNS: [Turn; 11] = [
    turn::<Discovery>(),
    turn::<CatchUp>(),
    Turn {
        drain: Host::drain_chain,
        wake: Host::wake_chain,
        deadline: |host| host.run.chain.deadline(),
    },
    Turn {
        drain: Host::drain_serve,
        wake: Host::wake_serve,
        deadline: |host| Some(host.run.roles.transfers.serve.poll_timeout()?.0),
    },
    turn::<Exchange<Goal>>(),
    turn::<Download>(),
    turn::<Content>(),
    turn::<Identity>(),
    turn::<Replica>(),
    turn::<Author>(),
    turn::<Vault>(),
];

/// A fact or wish that whoever judges the run wants to see.
pub trait Watched: fmt::Debug {
    /// Sees it, before it is handed in or carried out.
    fn watch(&self, _host: &mut Host, _ctx: &mut Ctx) {}
}

/// What comes of what the user of a peer did, or what the peer learnt.
#[derive(Debug)]
pub enum News {
    /// The author replies.
    Reply(Reply),
    /// Something of the author's is on disk.
    Event(Event),
    /// The vault replies.
    Vault(RequestId, VaultReply),
    /// A fetch of a root is over; true when all of it is here.
    Fetched(Cid, bool),
    /// Entries are in the index.
    Applied(Vec<Entry>),
    /// A peer answers what its user asked, or does not.
    Answer(Address, Option<Bytes>),
}

/// Something that happens in a peer once it is its turn, with what is given then.
pub struct Deed<T = ()>(Box<Work<T>>);

type Work<T> = dyn FnOnce(T, &mut Host, &mut Ctx);

impl<T> Deed<T> {
    pub(super) fn new(deed: impl FnOnce(T, &mut Host, &mut Ctx) + 'static) -> Self {
        Self(Box::new(deed))
    }

    pub(super) fn run(self, given: T, host: &mut Host, ctx: &mut Ctx) {
        (self.0)(given, host, ctx);
    }
}

impl Deed {
    /// Hands a machine a fact, as far as it is still there.
    fn fact<R: Role>(key: R::Key, fact: R::Input) -> Self {
        Self::new(move |(), host, ctx| {
            host.give::<R>(key, fact, ctx);
            host.drain::<R>(key, ctx);
        })
    }

    /// Works, and hands a machine what came of it.
    fn work<R: Role<Key = ()>>(
        work: impl FnOnce(&mut Host, &mut Ctx) -> Option<R::Input> + 'static,
    ) -> Self {
        Self::new(move |(), host, ctx| {
            if let Some(fact) = work(host, ctx) {
                host.tell::<R>(fact);
            }
        })
    }
}

impl<T> fmt::Debug for Deed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Deed")
    }
}

impl Host {
    /// Gives a machine a fact once the present wishes are carried out.
    pub fn tell<R: Role<Key = ()>>(&mut self, fact: R::Input) {
        self.tell_at::<R>((), fact);
    }

    pub(super) fn tell_at<R: Role>(&mut self, key: R::Key, fact: R::Input) {
        self.run.facts.push_back(Deed::fact::<R>(key, fact));
    }

    /// Gives a machine a fact now.
    pub(super) fn give<R: Role>(&mut self, key: R::Key, fact: R::Input, ctx: &mut Ctx) {
        if R::slot(&mut self.run.roles, key).is_none() {
            return;
        }
        ctx.metrics.note_input(R::NAME, &fact);
        fact.watch(self, ctx);
        if let Some(machine) = R::slot(&mut self.run.roles, key) {
            machine.handle(fact, ctx.now);
        }
    }

    pub(super) fn drain<R: Role>(&mut self, key: R::Key, ctx: &mut Ctx) -> bool {
        let mut moved = false;
        while let Some(wish) = R::slot(&mut self.run.roles, key).and_then(Machine::poll) {
            moved = true;
            ctx.metrics.note_output(R::NAME, &wish);
            wish.watch(self, ctx);
            R::carry(self, key, wish, ctx);
        }
        moved
    }

    /// Does something after some time, whose end may be a fact.
    pub(super) fn later<R: Role<Key = ()>>(
        &self,
        after: Duration,
        ctx: &mut Ctx,
        work: impl FnOnce(&mut Self, &mut Ctx) -> Option<R::Input> + 'static,
    ) {
        ctx.local(self, after, Local::Deed(Deed::work::<R>(work)));
    }

    /// Writes to the disk; writes are durable in the order of the wishes.
    pub(super) fn write<R: Role<Key = ()>>(
        &self,
        ctx: &mut Ctx,
        work: impl FnOnce(&mut Self, &mut Ctx) -> Option<R::Input> + 'static,
    ) {
        ctx.local(self, DISK_DELAY, Local::Write(Deed::work::<R>(work)));
    }

    /// Asks a peer; its answer, or that there is none, is a fact.
    pub(super) fn ask<R: Role>(
        &mut self,
        key: R::Key,
        (to, protocol, body): (Address, Protocol, impl Into<Bytes>),
        ctx: &mut Ctx,
        fact: impl FnOnce(Option<Bytes>) -> R::Input + 'static,
    ) {
        let answer = Deed::new(move |body, host, _| host.tell_at::<R>(key, fact(body)));
        self.request((to, protocol, body.into()), answer, ctx);
    }

    /// Asks a peer in its user's name, who hears the answer.
    pub fn inquire(&mut self, question: (Address, Protocol, Bytes), ctx: &mut Ctx) {
        let peer = question.0;
        let hear = Deed::new(move |body, host, _| host.run.news.push(News::Answer(peer, body)));
        self.request(question, hear, ctx);
    }
}

/// Until a row is durable: a fast disk's flush.
const DISK_DELAY: Duration = Duration::from_millis(4);

/// To the chain's endpoint and back.
pub(super) const RPC_DELAY: Duration = Duration::from_millis(30);
