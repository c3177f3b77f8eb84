//! Peers with whoever sits at them: what arrives, happens and is done.

use std::time::Duration;

use cid::Cid;
use protocol::content::{Content, Input};

use super::{Ctx, Event, Local, World};
use crate::host::Host;
use crate::wire::{Message, Protocol, question_name};
use crate::workload::{Person, Plan};

impl World {
    /// A message arrives, as its sender wants it to be.
    pub(super) fn deliver(&mut self, from: u32, to: u32, message: Message) {
        // A cut takes along what is on its way.
        if !self.ctx.net.is_connected(from, to) {
            return;
        }
        if !self.hosts[from as usize].is_liar {
            return self.arrive(from, to, message);
        }
        let said = match &mut self.people[from as usize] {
            Some(person) => person.says(message, &mut self.ctx),
            None => vec![message],
        };
        for message in said {
            self.arrive(from, to, message);
        }
    }

    /// Some questions to relayers are delivered twice.
    fn repeat(&mut self, from: u32, to: u32, message: &Message) {
        if let Message::Request { protocol, data, .. } = message
            && *protocol == Protocol::Relayer
            && self.ctx.rng.chance(REPEATED_SHARE)
        {
            let message = Message::Request {
                // Nobody waits for its answer.
                id: self.ctx.next_id(),
                protocol: *protocol,
                data: data.clone(),
            };
            let again = Event::Deliver { from, to, message };
            self.ctx.queue.push(self.ctx.time + REPEATED_AFTER, again);
        }
    }

    fn arrive(&mut self, from: u32, to: u32, message: Message) {
        self.repeat(from, to, &message);
        let (is_up, ctx) = (self.ctx.up[to as usize], &mut self.ctx);
        match message {
            // Most of what arrives are copies, so that the peer is not looked at for
            // them.
            Message::Gossip { id, .. } if is_up && ctx.seen.has(to, id, ctx.time) => {
                ctx.metrics.duplicates += 1;
            }
            // The address answers that nobody listens.
            Message::Request { id, .. } if !is_up => {
                ctx.send(to, from, Message::Response { id, data: None });
            }
            _ if !is_up => {}
            message => self.drive(to, |host, person, ctx| {
                let takes = |person: &mut Box<dyn Person>| person.takes(from, &message, host, ctx);
                if !person.is_some_and(takes) {
                    note_question(from, to, &message, ctx);
                    host.handle_message(from, message, ctx);
                }
            }),
        }
    }

    /// Has a peer do something, by its own clock; whoever sits there hears what
    /// came of it.
    pub(super) fn drive(
        &mut self,
        peer: u32,
        act: impl FnOnce(&mut Host, Option<&mut Box<dyn Person>>, &mut Ctx),
    ) {
        self.ctx.now = self.clocks.read(peer, self.ctx.time);
        let (host, ctx) = (&mut self.hosts[peer as usize], &mut self.ctx);
        let mut person = self.people[peer as usize].take();
        act(host, person.as_mut(), ctx);
        loop {
            let news = std::mem::take(&mut host.run.news);
            let (false, Some(person)) = (news.is_empty(), &mut person) else {
                break;
            };
            for one in news {
                person.hear(one, host, ctx);
            }
            host.finish(ctx);
        }
        self.people[peer as usize] = person;
        self.ctx.now = self.ctx.time;
    }

    /// Something happens inside a peer.
    pub(super) fn happen(&mut self, peer: u32, local: Local) {
        self.drive(peer, |host, _, ctx| host.handle_local(local, ctx));
    }

    /// Somebody does what was planned.
    pub(super) fn act(&mut self, peer: u32, plan: Plan) {
        self.drive(peer, |host, person, ctx| {
            if let Some(person) = person {
                person.act(plan, host, ctx);
                host.finish(ctx);
            }
        });
    }

    /// Finds bad blocks of a root on a disk, drops them and tells of it.
    pub(super) fn scrub(&mut self, peer: u32, root: &Cid) {
        self.drive(peer, |host, _, ctx| {
            for cid in host.disk.drop_rotten(root) {
                // The store's news overflow now and then, and names are lost.
                let is_known = cid.hash().digest().last().is_some_and(|byte| byte & 1 == 0);
                host.tell::<Content>(match is_known {
                    true => Input::BlockLost(cid),
                    false => Input::BlocksLost,
                });
            }
            host.finish(ctx);
        });
    }

    /// Starts a peer that is down.
    pub(super) fn start_peer(&mut self, peer: u32) {
        self.drive(peer, |host, person, ctx| {
            ctx.checkers.note_up(peer, ctx.time);
            host.start(ctx);
            if let Some(person) = person {
                person.start(host, ctx);
                host.finish(ctx);
            }
        });
    }

    /// Crashes a peer.
    pub(super) fn crash_peer(&mut self, peer: u32) {
        self.hosts[peer as usize].crash(&mut self.ctx);
        self.ctx.checkers.note_down(peer);
        self.ctx.metrics.note_down(peer);
        if let Some(person) = &mut self.people[peer as usize] {
            person.forget();
        }
    }
}

/// Notes that a peer is asked something; what liars ask may make no sense.
fn note_question(from: u32, to: u32, message: &Message, ctx: &mut Ctx) {
    if let Message::Request { id, protocol, .. } = message
        && !ctx.checkers.is_liar(from)
    {
        let (what, patience) = (question_name(*protocol), protocol.limits().timeout);
        ctx.checkers.note_asked(*id, (to, what), patience, ctx.time);
    }
}

/// How many questions to relayers are delivered twice.
const REPEATED_SHARE: f64 = 0.25;

/// When that is.
const REPEATED_AFTER: Duration = Duration::from_secs(2);
