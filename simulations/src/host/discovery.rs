//! The discovery role and the catch-up of light peers, over a virtual index.

use gossip::catch_up::{self, CatchUp};
use gossip::discovery::{self, Discovery};
use protocol::author::{self, Author};
use protocol::records::Head;
use protocol::signing::Signed;
use protocol::wire::Protocol;

use super::{Host, News, Role, Watched};
use crate::index::{Part, Step};
use crate::world::Ctx;

impl Role for Discovery {
    const NAME: &'static str = "discovery";

    fn carry(host: &mut Host, (): (), wish: discovery::Output, ctx: &mut Ctx) {
        use discovery::{Input, Output};
        match wish {
            Output::Index(blocks) => host.index_step(Step::Apply(blocks), ctx),
            Output::Unindex { to } => host.index_step(Step::Unindex(to), ctx),
            Output::Clear => host.index_step(Step::Clear, ctx),
            Output::Subscribe => host
                .run
                .chain
                .subscribe(ctx.params.confirmations, ctx.params.limits),
            Output::Settled(number) => host.note_height(number),
            Output::Sign(head) => {
                host.write::<Self>(ctx, move |host, ctx| Some(host.claim(head, ctx)));
            }
            Output::Keep(counted) => host.disk.counted = counted.map(|counted| *counted),
            Output::Publish { topic, body } => host.gossip(topic, body, ctx),
            Output::Judge { token, verdict } => host.decide(token, verdict, ctx),
            Output::Read {
                id,
                sequences,
                limit,
            } => {
                let entries = host.disk.read_entries(&sequences, limit);
                host.tell::<Self>(Input::Read { id, entries });
            }
            Output::Respond { id, body } => host.respond(id, body, ctx),
            Output::Refuse { id } => host.refuse(id, ctx),
            Output::Fault(_) | Output::Note(_) => {}
        }
    }
}

impl Role for CatchUp {
    const NAME: &'static str = "catch-up";

    fn carry(host: &mut Host, (): (), wish: catch_up::Output, ctx: &mut Ctx) {
        use catch_up::{Input, Output};
        match wish {
            Output::Index {
                entries,
                head,
                peaks,
            } => {
                let part = Part {
                    entries,
                    head,
                    peaks,
                };
                host.write::<Self>(ctx, move |host, ctx| Some(host.apply(part, ctx)));
            }
            Output::Clear { head_number_min } => {
                host.disk.clear_entries(head_number_min);
                host.tell::<Self>(Input::Indexed(Ok(())));
            }
            Output::Open => host.tell::<Self>(Input::Opened(host.disk.held())),
            Output::Ask { id, peer, body } => {
                let question = (peer, Protocol::Entries, body);
                host.ask::<Self>((), question, ctx, move |body| Input::Answered { id, body });
            }
            Output::Judge { token, verdict } => host.decide(token, verdict, ctx),
            Output::Counted(_)
            | Output::Offence { .. }
            | Output::Goal(_)
            | Output::Fault(_)
            | Output::Note(_) => {}
        }
    }
}

impl Host {
    fn index_step(&self, step: Step, ctx: &mut Ctx) {
        self.write::<Discovery>(ctx, move |host, _| {
            let done = host.disk.index(step);
            let done = done.map(|changes| host.note_changes(changes));
            Some(discovery::Input::Indexed(done))
        });
    }

    /// Signs a head that nothing contradicts, once that is on disk.
    fn claim(&mut self, head: Head, ctx: &Ctx) -> discovery::Input {
        let number = head.block_number;
        if !self.disk.claim_head(&head) {
            return discovery::Input::Unsigned { number };
        }
        let signed = Signed::new(head, &ctx.params.domain, &self.key);
        discovery::Input::Signed(Box::new(signed))
    }

    /// A light peer's index takes entries in.
    fn apply(&mut self, part: Part, ctx: &mut Ctx) -> catch_up::Input {
        if let Some(failure) = self.disk.index_failure() {
            return catch_up::Input::Indexed(Err(failure));
        }
        part.watch(self, ctx);
        self.disk.apply_part(&part);
        self.run.news.push(News::Applied(part.entries));
        self.tell::<Author>(author::Input::Index);
        catch_up::Input::Indexed(Ok(()))
    }
}
