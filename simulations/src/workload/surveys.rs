//! A resident's question who holds a root: asked at the peers themselves.

use bytes::Bytes;
use cid::Cid;
use protocol::exchange::{Survey, SurveyOutput, Surveying};
use protocol::id::Address;
use protocol::machine::Machine;
use protocol::wire::Protocol;

use super::Plan;
use crate::host::Host;
use crate::world::{Ctx, Local};

/// The survey that is under way, and its number among questions.
#[derive(Debug, Default)]
pub(super) struct Surveys(Option<(u64, Survey)>);

impl Surveys {
    /// Begins to ask, unless it waits for answers of before.
    pub(super) fn begin(&mut self, root: Cid, host: &mut Host, ctx: &mut Ctx) {
        if self.0.is_some() {
            return;
        }
        let placement = host.registry.placement.inner();
        let survey = Survey::new(root, ctx.params.domain, placement, host.address, ctx.now);
        let (id, patience) = (ctx.next_id(), survey.deadline());
        if let Some((at, _)) = patience {
            let patience = at.saturating_since(ctx.now);
            let asked = (host.idx, "who holds a root");
            ctx.checkers.note_asked(id, asked, patience * 2, ctx.time);
            ctx.local(host, patience, Local::Person(Plan::Survey));
        }
        self.0 = Some((id, survey));
        self.drain(host, ctx);
    }

    pub(super) fn hear(
        &mut self,
        peer: Address,
        answer: Option<Bytes>,
        host: &mut Host,
        ctx: &mut Ctx,
    ) {
        if let Some((_, survey)) = &mut self.0 {
            survey.handle(Surveying { peer, answer }, ctx.now);
        }
        self.drain(host, ctx);
    }

    pub(super) fn wake(&mut self, host: &mut Host, ctx: &mut Ctx) {
        if let Some((_, survey)) = &mut self.0
            && survey.deadline().is_some_and(|(at, _)| at <= ctx.now)
        {
            survey.handle_timeout(ctx.now);
        }
        self.drain(host, ctx);
    }

    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    fn drain(&mut self, host: &mut Host, ctx: &mut Ctx) {
        while let Some((id, survey)) = &mut self.0
            && let Some(wish) = survey.poll()
        {
            match wish {
                SurveyOutput::Ask { peer, body } => {
                    host.inquire((peer, Protocol::Publish, body.into()), ctx);
                }
                SurveyOutput::Ended(found) => {
                    ctx.note_answered(*id);
                    ctx.metrics.surveys += 1;
                    ctx.metrics.surveyed_leases += found.leases.len() as u64;
                    ctx.metrics.surveyed_silent += found.silent.len() as u64;
                    self.0 = None;
                }
            }
        }
    }
}
