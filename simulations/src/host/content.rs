//! The content role, over a virtual disk and index.

use std::time::Duration;

use cid::Cid;
use protocol::content::{Content, FetchFailure, Input, Output, Purpose};
use protocol::exchange::FetchOptions;

use super::exchange::Goal;
use super::{Host, Role, Watched};
use crate::index::Changes;
use crate::world::Ctx;

impl Role for Content {
    const NAME: &'static str = "content";

    fn carry(host: &mut Host, (): (), wish: Output, ctx: &mut Ctx) {
        match wish {
            Output::Respond { id, body } => host.respond(id, body, ctx),
            Output::Refuse { id, .. } => host.refuse(id, ctx),
            Output::Judge { token, verdict } => host.decide(token, verdict, ctx),
            Output::Publish { topic, body } => host.gossip(topic, body, ctx),
            Output::Ask {
                id,
                to,
                protocol,
                body,
            } => host.ask::<Self>((), (to, protocol, body), ctx, move |body| Input::Answer {
                id,
                body,
            }),
            Output::Persist { id, rows } => host.write::<Self>(ctx, move |host, ctx| {
                let is_done = !host.disk.is_full;
                for row in rows.into_iter().filter(|_| is_done) {
                    row.watch(host, ctx);
                    host.disk.put(row);
                }
                Some(Input::Persisted { id, is_done })
            }),
            Output::Sign(draft) => {
                let signed = draft.sign(&ctx.params.domain, &host.key);
                host.tell::<Self>(Input::Signed(signed));
            }
            Output::Fetch {
                root,
                purpose,
                bytes_max,
                holders,
                last_resort,
            } => {
                let options = FetchOptions {
                    holders,
                    last_resort: last_resort.into_iter().collect(),
                    owner: None,
                    with_proof: true,
                };
                host.fetch(root, Goal::Role(purpose), bytes_max, options);
            }
            Output::Cancel { root } => host.cancel(root, Goal::Role(Purpose::Upload)),
            Output::LookUp { id, action, signer } => {
                let user = ctx.chain.user_facts(action.user_id, signer);
                let capacity = host.disk.capacity();
                host.read(Input::LookedUp { id, user, capacity }, ctx);
            }
            Output::ReadReferences { roots } => {
                let named = host.disk.indexed.index().references(&roots);
                host.read(Input::References(named), ctx);
            }
            Output::Scan { after } => {
                let found = host.disk.scan(after);
                host.read(found, ctx);
            }
            Output::Measure => host.read(Input::Measured(host.disk.capacity()), ctx),
            Output::Remove { root } => {
                host.disk.delete(&root);
                host.read(Input::Removed { root }, ctx);
            }
            Output::Keep { roots } => {
                host.disk.keep(&roots);
                host.read(Input::Kept, ctx);
            }
            Output::Draw { id, root, points } => {
                let cids = host.disk.draw(&root, &points);
                host.read(Input::Drawn { id, cids }, ctx);
            }
            Output::FindListing { block } => {
                let roots = host.disk.roots_listing(&block);
                host.read(Input::Damaged { roots }, ctx);
            }
            Output::Inspect { mut roots } => {
                roots.retain(|root| !host.disk.has_stored(root));
                host.read(Input::Inspected { lacking: roots }, ctx);
            }
            Output::Offence { .. } | Output::Note(_) => {}
        }
    }
}

impl Host {
    /// What the disk or the index answers, a moment later.
    fn read(&self, fact: Input, ctx: &mut Ctx) {
        self.later::<Content>(READ_DELAY, ctx, move |_, _| Some(fact));
    }

    /// Tells what changed in what names roots.
    pub(super) fn note_changes(&mut self, changes: Changes) {
        match changes {
            Changes::None => {}
            Changes::Roots(roots) => self.tell::<Content>(Input::Renamed(roots)),
            Changes::Unknown => self.tell::<Content>(Input::RenamedUnknown),
        }
    }

    /// Tells what became of a fetch for the role.
    pub(super) fn note_fetched(&mut self, root: Cid, purpose: Purpose, bytes_max: u64) {
        let result = match self.disk.facts(&root) {
            Some(facts) if facts.size > bytes_max => Err(FetchFailure::TooLarge),
            Some(facts) => Ok(facts),
            None if self.disk.is_full => Err(FetchFailure::Full("no room".to_owned())),
            None => Err(FetchFailure::Failed("nobody has it".to_owned())),
        };
        self.tell::<Content>(Input::Fetched {
            root,
            purpose,
            result,
        });
    }
}

/// From the wish to read to the answer.
const READ_DELAY: Duration = Duration::from_micros(200);
