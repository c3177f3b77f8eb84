//! What is asked of the relayer, before it takes it.

use super::{Identity, Output};
use crate::action::SignedAction;
use crate::admission::{self, Source};
use crate::author::{SPELLING, wrong_spelling};
use crate::id::{Address, Hash32};
use crate::origin::{Origin, RequestId};
use crate::placement::Purpose;
use crate::relayer::{
    Account, Config, Kind, Refusal, RefusalCode, Request, Response, Submission, check_proof,
};
use crate::time::Moment;

/// A submission whose user is being looked up.
#[derive(Debug)]
pub(super) struct Submitted {
    origin: Origin,
    action: SignedAction,
    signer: Address,
    proof: Option<u64>,
}

impl Identity {
    pub(super) fn handle_request(&mut self, request: RequestId, origin: Origin, body: &[u8]) {
        match Request::from_bytes(body) {
            Ok(Request::Status { digest }) => self.relayer.handle_status(request, &digest),
            Ok(Request::Submit { .. }) if self.submitted.len() >= self.config.submitted_max => {
                let refusal = Refusal::new(RefusalCode::Busy, "too many actions are looked at");
                self.refuse(request, refusal.retry_after(BUSY_RETRY_SECONDS));
            }
            Ok(Request::Submit { action, proof, .. }) => {
                let action = *action;
                let signer = match action.signer(&self.config.relayer.domain) {
                    Ok(signer) => signer,
                    Err(error) => {
                        let refusal = Refusal::new(RefusalCode::Signature, error.to_string());
                        self.refuse(request, refusal);
                        return;
                    }
                };
                let asked = Box::new(action.action.clone());
                let submitted = Submitted {
                    origin,
                    action,
                    signer,
                    proof,
                };
                self.submitted.insert(request, submitted);
                self.outputs.push_back(Output::LookUp {
                    request,
                    action: asked,
                    signer,
                });
            }
            Err(_) => self.outputs.push_back(Output::Refuse { request }),
        }
    }

    pub(super) fn handle_looked_up(
        &mut self,
        request: RequestId,
        account: Option<Account>,
        now: Moment,
    ) {
        let Some(submitted) = self.submitted.remove(&request) else {
            return;
        };
        let Submitted {
            origin,
            action,
            signer,
            proof,
        } = submitted;
        let domain = self.config.relayer.domain;
        if account.is_some_and(|account| wrong_spelling(&action, &domain, account.owner)) {
            self.refuse(request, Refusal::new(RefusalCode::Signature, SPELLING));
            return;
        }
        let digest = action.action.digest(&domain);
        let counted = match account {
            Some(account) => admission::Account::User(account.owner),
            None if is_proven(&action, proof, &self.config.relayer) => {
                admission::Account::User(signer)
            }
            None => Source::new(origin, None).account(),
        };
        let is_known = self.relayer.status(&digest).is_some() || self.trials.has(&digest);
        if !is_known && !self.trials.has_room(&counted) {
            let reason = match counted {
                admission::Account::User(_) => "too many actions of this user are looked at",
                _ => "too many actions of unknown users are looked at",
            };
            let refusal = Refusal::new(RefusalCode::Busy, reason);
            self.refuse(request, refusal.retry_after(TRIAL_RETRY_SECONDS));
            return;
        }
        self.asked = Some((digest, counted));
        let rank = self.rank(&digest);
        let submission = Submission {
            action,
            proof,
            is_paid: false,
            rank,
            account,
        };
        self.relayer.handle_submit(request, origin, submission, now);
    }

    /// How many relayers are asked before this one.
    fn rank(&self, digest: &Hash32) -> u64 {
        let ranked = self.latest.rank(Purpose::Relayer, &digest.0);
        let place = ranked.iter().position(|peer| *peer == self.config.peer);
        place.unwrap_or(ranked.len()) as u64
    }

    fn refuse(&mut self, request: RequestId, refusal: Refusal) {
        let response = Response::Refused(refusal);
        self.outputs
            .push_back(Output::Respond { request, response });
    }
}

/// True for a new user whose proof of work holds.
fn is_proven(action: &SignedAction, proof: Option<u64>, config: &Config) -> bool {
    let digest = action.action.digest(&config.domain);
    matches!(Kind::of(&action.action), Ok(Kind::CreateUser))
        && check_proof(&digest, proof, config.proof_bits).is_ok()
}

/// As long as a full queue of the relayer asks for.
const BUSY_RETRY_SECONDS: u64 = 15;

/// Longer than a trial of what may be late takes.
const TRIAL_RETRY_SECONDS: u64 = 5;
