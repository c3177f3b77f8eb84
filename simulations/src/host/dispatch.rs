//! Which machine hears what: from protocols, topics and what changes around a
//! peer to roles.

use std::sync::Arc;

use bytes::Bytes;
use gossip::catch_up::{self, CatchUp};
use gossip::discovery::{self, Discovery};
use protocol::author::{self, Author};
use protocol::content::{self, Content, Height};
use protocol::identity::{self, Identity};
use protocol::machine::{Token, Verdict};
use protocol::origin::{Origin, RequestId};
use protocol::vault::{Replica, ReplicaInput, Vault, VaultInput};

use super::role::RPC_DELAY;
use super::{Deed, Host};
use crate::wire::{Audience, Protocol, Topic};
use crate::world::{Ctx, Local};

impl Host {
    pub(super) fn handle_gossip(&mut self, token: Token, topic: Topic, body: Bytes, ctx: &mut Ctx) {
        match topic.audience() {
            Audience::Indexes if self.is_staked => {
                self.give::<Discovery>((), discovery::Input::Gossip { token, topic, body }, ctx);
            }
            Audience::Indexes => {
                self.give::<CatchUp>((), catch_up::Input::Gossip { token, topic, body }, ctx);
            }
            Audience::Holders => {
                self.give::<Content>((), content::Input::Gossip { token, topic, body }, ctx);
            }
            // Pending actions are shown nowhere here.
            Audience::Staked => {
                self.give::<Identity>((), identity::Input::Fresh, ctx);
                self.decide(token, Verdict::Ignore, ctx);
            }
        }
    }

    pub(super) fn handle_request(
        &mut self,
        from: u32,
        id: RequestId,
        protocol: Protocol,
        body: Bytes,
        ctx: &mut Ctx,
    ) {
        let peer = ctx.address(from);
        let origin = Origin { peer, ip: None };
        match protocol {
            Protocol::Publish | Protocol::Leases => {
                let request = content::Input::Request {
                    id,
                    protocol,
                    origin: ctx.origin(from),
                    body,
                };
                self.give::<Content>((), request, ctx);
            }
            Protocol::Blocks => self.serve(id, peer, &body, ctx),
            Protocol::Entries => {
                self.give::<Discovery>((), discovery::Input::Request { id, origin, body }, ctx);
            }
            Protocol::Relayer => {
                let request = identity::Input::Request {
                    request: id,
                    origin,
                    body,
                };
                self.give::<Identity>((), request, ctx);
            }
            Protocol::Vault => {
                let request = ReplicaInput::Request {
                    request: id,
                    origin: Some(ctx.origin(from)),
                    body,
                };
                self.give::<Replica>((), request, ctx);
            }
        }
    }

    /// Whoever is up is connected to everybody who is.
    pub(super) fn note_connected(&mut self, ctx: &mut Ctx) {
        let all = || ctx.up_peers();
        if self.is_staked {
            let others = all().filter(|peer| *peer != self.address).collect();
            self.tell::<Content>(content::Input::Connected(others));
        } else {
            let all = all().collect();
            self.tell::<Author>(author::Input::Connected);
            self.tell::<CatchUp>(catch_up::Input::Connected(all));
        }
    }

    /// Tells the machines which registry counts.
    pub(super) fn note_registry(&mut self) {
        let registry = Arc::clone(&self.registry.registry);
        let at = Arc::clone(&self.registry.at);
        let placement = || Arc::clone(self.registry.placement.inner());
        let (snapshot, latest) = (placement(), placement());
        if self.is_staked {
            self.tell::<Discovery>(discovery::Input::Registry(registry));
            self.tell::<Content>(content::Input::Registry(at));
            self.tell::<Identity>(identity::Input::Latest(Arc::clone(&latest)));
            self.tell::<Replica>(ReplicaInput::Snapshot(snapshot));
            self.tell::<Replica>(ReplicaInput::Latest(latest));
        } else {
            self.tell::<CatchUp>(catch_up::Input::Registry(registry));
            self.tell::<Author>(author::Input::Snapshot(Arc::clone(&snapshot)));
            self.tell::<Author>(author::Input::Latest(Arc::clone(&latest)));
            self.tell::<Vault>(VaultInput::Snapshot(snapshot));
            self.tell::<Vault>(VaultInput::Latest(latest));
        }
    }

    /// The chain has news, or is away.
    pub(super) fn handle_chain(&mut self, ctx: &mut Ctx) {
        if ctx.is_chain_up && ctx.registry().root != self.registry.root {
            self.registry = ctx.registry();
            self.note_registry();
        }
        if self.is_staked {
            self.run.chain.look(&mut ctx.rpc());
            let chain = identity::Chain {
                is_away: !self.run.chain.is_connected,
                head: self.run.chain.head,
                final_block: self.run.chain.final_block(),
            };
            self.tell::<Discovery>(discovery::Input::Tip(chain.head.unwrap_or(0)));
            self.tell::<Identity>(identity::Input::Chain(chain));
            self.tell::<Identity>(identity::Input::Index);
            self.note_height(self.run.chain.followed);
        }
    }

    pub(super) fn note_chain_away(&mut self, ctx: &Ctx) {
        let is_away = !ctx.is_chain_up;
        if std::mem::replace(&mut self.run.is_chain_away, is_away) != is_away {
            self.tell::<Author>(author::Input::Chain { is_away });
        }
    }

    pub(super) fn note_height(&mut self, followed: u64) {
        let chain = &mut self.run.chain;
        chain.followed = followed;
        let height = Height {
            applied: followed,
            head: chain.head,
            is_connected: chain.is_connected,
        };
        self.tell::<Content>(content::Input::Height(height));
    }

    /// Asks the chain for what is to follow, and hands on what it told.
    pub(super) fn drain_chain(&mut self, ctx: &mut Ctx) -> bool {
        if let Some(request) = self.run.chain.poll_request() {
            let answer = Deed::new(move |(), host: &mut Self, ctx: &mut Ctx| {
                host.run.chain.fetch(request, &mut ctx.rpc());
            });
            ctx.local(self, RPC_DELAY, Local::Deed(answer));
        }
        let discovery = self.run.roles.discovery.as_deref();
        if discovery.is_none_or(Discovery::is_indexing) {
            return false;
        }
        let events = self.run.chain.take();
        if !events.is_empty() {
            self.give::<Discovery>((), discovery::Input::Chain(events), ctx);
            return true;
        }
        false
    }

    pub(super) fn wake_chain(&mut self, ctx: &mut Ctx) {
        self.run.chain.handle_timeout(ctx.now);
    }
}
