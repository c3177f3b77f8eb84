//! The client's side of relaying, on every peer: actions go to the relayers in
//! rank order, wait on disk while none is there, and are followed until the
//! index has them.
//!
//! Also the one place of a peer that listens to fresh actions on gossip.

mod explain;
mod local;
mod outbox;
mod pending;
mod routes;
mod status;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use protocol::action::{ActionError, SignedAction};
use protocol::entity::{EntityType, Verb};
use protocol::id::{Address, Hash32};
use protocol::origin::Origin;
use protocol::placement::{Placement, Purpose};
use protocol::relayer::{self, Refusal, Request, Response, solve_proof};

pub use local::{LocalRelayer, LocalRequest, Stopped};
pub use outbox::OutboxRow;
pub use pending::{FreshActions, PENDING_MAX};
pub(crate) use routes::ip_of;
pub use routes::{ActionBody, RelayAnswer, control_routes, routes};
pub use status::{RelayState, RelayStatus};

pub(crate) use explain::{SPELLING, check_signer, wrong_spelling};

use crate::context::Context;
use crate::index::IndexTaskError;
use crate::net::{NetError, Protocol};
use crate::store::StoreError;

/// Relays actions; cheap to clone.
#[derive(Debug, Clone)]
pub struct RelayHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    context: Context,
    /// The relayer of this peer, when it is one.
    local: OnceLock<LocalRelayer>,
    fresh: FreshActions,
    outbox: outbox::Outbox,
}

/// Why an action was not relayed.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// It is too long, or its signature is not one.
    #[error(transparent)]
    Action(#[from] ActionError),
    /// The signature is somebody else's.
    #[error("{message}")]
    Signer {
        /// Who signed and who should have.
        message: String,
        /// What probably went wrong.
        hint: &'static str,
    },
    /// Every relayer that answered refused.
    #[error("the relayer refused: {}", .0.reason)]
    Refused(Refusal),
    /// Nobody knows the action.
    #[error("no relayer that answers knows an action with the digest {digest}")]
    Unknown {
        /// Which.
        digest: Hash32,
    },
    /// Too many actions wait for a relayer.
    #[error("{limit} actions wait for a relayer already; check the connection to the network")]
    Full {
        /// How many may wait.
        limit: usize,
    },
    /// The action could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index could not be read.
    #[error(transparent)]
    Index(#[from] IndexTaskError),
}

/// What one pass over the relayers led to.
#[derive(Debug)]
enum Attempt {
    /// One keeps it.
    Accepted(relayer::Status),
    /// All that answered refused; the first final reason, else the shortest wait.
    Refused(Refusal),
    /// Nobody answered.
    Unreachable,
}

/// Starts to relay and to listen to fresh actions.
///
/// # Errors
///
/// [`SpawnError`] when the topic is taken or the table cannot be read.
pub async fn spawn(context: &Context) -> Result<RelayHandle, SpawnError> {
    let fresh = pending::spawn(context).await?;
    let outbox = outbox::Outbox::open(context)?;
    let handle = RelayHandle {
        inner: Arc::new(Inner {
            context: context.clone(),
            local: OnceLock::new(),
            fresh,
            outbox,
        }),
    };
    tokio::spawn(outbox::run(handle.clone()));
    Ok(handle)
}

/// Why relaying did not start.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Another driver took the topic.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The actions that wait cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RelayHandle {
    /// Hands an action to the network: stored first, then offered to the
    /// relayers in rank order. While none answers the status is pending, and the
    /// action is offered again until one does.
    ///
    /// A `User Create` costs a proof of work, which is found here.
    ///
    /// # Errors
    ///
    /// [`RelayError`]; the action is not kept then.
    ///
    /// # Cancel safety
    ///
    /// When dropped, the action may be kept and offered on.
    pub async fn send(&self, action: SignedAction) -> Result<RelayStatus, RelayError> {
        self.send_with_proof(action, None).await
    }

    /// As [`Self::send`], with a proof of work that the client found.
    ///
    /// # Errors
    ///
    /// As [`Self::send`].
    pub async fn send_with_proof(
        &self,
        action: SignedAction,
        proof: Option<u64>,
    ) -> Result<RelayStatus, RelayError> {
        let domain = self.inner.context.contracts.action_domain();
        let signer = action.signer(&domain)?;
        let digest = action.action.digest(&domain);
        if let Some(status) = self.indexed(&digest, Some(&signer))? {
            return Ok(status);
        }
        check_signer(self.context(), &action, signer)?;
        let proof = match proof {
            None if needs_proof(&action) => Some(self.solve(digest).await),
            proof => proof,
        };
        let row = OutboxRow::new(action, proof, digest, self.inner.context.clock.now().unix());
        self.inner.outbox.insert(&row).await?;
        match self.attempt(&row).await {
            Attempt::Accepted(status) => {
                let status = RelayStatus::of(digest, &status);
                self.inner.outbox.accepted(&row, status.clone()).await?;
                Ok(self.indexed(&digest, Some(&signer))?.unwrap_or(status))
            }
            Attempt::Refused(refusal) => {
                self.inner.outbox.remove(digest).await?;
                Err(RelayError::Refused(refusal))
            }
            Attempt::Unreachable => Ok(row.status),
        }
    }

    /// Where an action stands: in the index, else at a relayer, else here.
    ///
    /// # Errors
    ///
    /// [`RelayError::Unknown`] when nobody who answers knows it.
    pub async fn status(&self, digest: Hash32) -> Result<RelayStatus, RelayError> {
        let row = self.inner.outbox.row(&digest)?;
        let signer = row.as_ref().and_then(|row| {
            let domain = self.inner.context.contracts.action_domain();
            row.action.signer(&domain).ok()
        });
        if let Some(status) = self.indexed(&digest, signer.as_ref())? {
            return Ok(status);
        }
        if let Some(row) = &row
            && (!row.is_accepted || row.status.state == RelayState::Failed)
        {
            return Ok(row.status.clone());
        }
        for peer in self.relayers(&digest) {
            let request = Request::Status { digest };
            if let Some(Response::Accepted { status, .. }) = self.ask(peer, request).await {
                return Ok(RelayStatus::of(digest, &status));
            }
        }
        row.map(|row| row.status)
            .ok_or(RelayError::Unknown { digest })
    }

    /// Actions that identity peers vouch for and that the chain does not have.
    #[must_use]
    pub fn fresh(&self) -> &FreshActions {
        &self.inner.fresh
    }

    /// Makes this peer's own relayer known, so that it is asked without the
    /// network. Only the first call counts.
    pub(crate) fn set_local(&self, relayer: LocalRelayer) {
        // A second relayer in one peer is not possible: its protocol is taken.
        let _ = self.inner.local.set(relayer);
    }

    pub(crate) fn local(&self) -> Option<&LocalRelayer> {
        self.inner.local.get()
    }

    pub(crate) fn context(&self) -> &Context {
        &self.inner.context
    }

    /// What the index says about an action.
    pub(crate) fn indexed(
        &self,
        digest: &Hash32,
        signer: Option<&Address>,
    ) -> Result<Option<RelayStatus>, IndexTaskError> {
        let snapshot = self.inner.context.index.snapshot()?;
        status::indexed(&snapshot, digest, signer)
    }

    async fn attempt(&self, row: &OutboxRow) -> Attempt {
        let mut refused: Option<Refusal> = None;
        for peer in self.relayers(&row.status.digest) {
            let request = Request::Submit {
                action: Box::new(row.action.clone()),
                proof: row.proof,
                token: None,
            };
            match self.ask(peer, request).await {
                Some(Response::Accepted { status, .. }) => return Attempt::Accepted(status),
                Some(Response::Refused(refusal)) if !refusal.code.is_local() => {
                    return Attempt::Refused(refusal);
                }
                Some(Response::Refused(refusal)) => {
                    tracing::debug!(%peer, reason = refusal.reason, "the relayer refused");
                    let is_sooner = refused.as_ref().is_none_or(|known| {
                        refusal.retry_after_seconds < known.retry_after_seconds
                    });
                    if is_sooner {
                        refused = Some(refusal);
                    }
                }
                Some(Response::Unknown) | None => {}
            }
        }
        refused.map_or(Attempt::Unreachable, Attempt::Refused)
    }

    /// The relayers of a digest, first in line first.
    fn relayers(&self, digest: &Hash32) -> Vec<Address> {
        let registry = self.inner.context.chain.registry().borrow().clone();
        let mut ranked = Placement::new(&registry).rank(Purpose::Relayer, &digest.0);
        if self.local().is_some() && !ranked.contains(&self.inner.context.peer) {
            ranked.push(self.inner.context.peer);
        }
        ranked.truncate(RELAYERS_MAX);
        ranked
    }

    async fn ask(&self, peer: Address, request: Request) -> Option<Response> {
        if let Some(local) = self.local().filter(|_| peer == self.inner.context.peer) {
            return local.ask(request, Origin { peer, ip: None }).await.ok();
        }
        let net = &self.inner.context.net;
        let asked = net.request(peer, Protocol::Relayer, request.to_bytes());
        match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
            Ok(Ok(body)) => Response::from_bytes(&body).ok(),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the next relayer is asked");
                None
            }
            Err(_) => None,
        }
    }

    async fn solve(&self, digest: Hash32) -> u64 {
        let bits = relayer::Config::new(self.inner.context.contracts.action_domain()).proof_bits;
        let solved = tokio::task::spawn_blocking(move || solve_proof(&digest, bits));
        // The task neither panics nor is cancelled while the runtime lives.
        solved.await.unwrap_or_default()
    }
}

fn needs_proof(action: &SignedAction) -> bool {
    let kind = action.action.entity_type.parse();
    let verb = action.action.action.parse();
    (kind, verb) == (Ok(EntityType::User), Ok(Verb::Create))
}

/// How long one relayer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Relayers that are asked about one action.
const RELAYERS_MAX: usize = 16;
