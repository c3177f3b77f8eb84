//! The driver of [`Survey`]: who holds a root at this moment.

use cid::Cid;
use protocol::exchange::{Survey, SurveyOutput, Surveyed, Surveying};
use protocol::machine::Machine;
use protocol::placement::Placement;
use tokio::task::JoinSet;

use crate::context::Context;
use crate::net::Protocol;

/// Asks those who may hold `root` for their leases. This peer itself is left out.
pub async fn ask_holders(context: &Context, root: Cid) -> Surveyed {
    let registry = context.chain.snapshot().borrow().clone();
    let placement = Placement::new(&registry);
    let (domain, now) = (context.contracts.domain(), context.clock.now());
    let mut survey = Survey::new(root, domain, &placement, context.peer, now);
    let mut asked = JoinSet::new();
    loop {
        while let Some(output) = survey.poll() {
            match output {
                SurveyOutput::Ask { peer, body } => {
                    let net = context.net.clone();
                    asked.spawn(async move {
                        let answer = net.request(peer, Protocol::Publish, body).await.ok();
                        Surveying { peer, answer }
                    });
                }
                SurveyOutput::Ended(found) => return found,
            }
        }
        tokio::select! {
            Some(Ok(answer)) = asked.join_next() => survey.handle(answer, context.clock.now()),
            () = context.clock.sleep_until(survey.deadline()) => {
                survey.handle_timeout(context.clock.now());
            }
        }
    }
}
