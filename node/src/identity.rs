//! The identity role: the relayer that pays for users' actions.

mod actor;
mod simulate;

use protocol::publish::Origin;
use protocol::relayer::{Request, Response};
use tokio::sync::{mpsc, oneshot};

use crate::context::Context;
use crate::net::{NetError, Protocol};
use crate::relay::RelayHandle;
use crate::store::StoreError;

/// Asks this peer's relayer; cheap to clone.
#[derive(Debug, Clone)]
pub struct IdentityHandle {
    commands: mpsc::Sender<Command>,
}

/// A request of this machine's own clients.
#[derive(Debug)]
struct Command {
    request: Request,
    origin: Origin,
    reply: oneshot::Sender<Response>,
}

/// Why the relayer did not start.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Another driver took the protocol.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The accepted actions cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The relayer has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping")]
pub struct Stopped;

/// Starts the relayer, with the actions of an earlier run; `relay` hands it
/// what this peer's own clients send.
///
/// # Errors
///
/// [`IdentityError`] when the protocol is taken or the table cannot be read.
pub async fn spawn(
    context: &Context,
    relay: &RelayHandle,
) -> Result<IdentityHandle, IdentityError> {
    let requests = context.net.serve(Protocol::Relayer).await?;
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let handle = IdentityHandle { commands };
    actor::spawn(context, relay.fresh().clone(), requests, inbox)?;
    relay.set_local(handle.clone());
    Ok(handle)
}

impl IdentityHandle {
    /// Asks the relayer.
    ///
    /// # Errors
    ///
    /// [`Stopped`] when the node is stopping.
    ///
    /// # Cancel safety
    ///
    /// When dropped, a submitted action may be accepted or not.
    pub async fn ask(&self, request: Request, origin: Origin) -> Result<Response, Stopped> {
        let (reply, answer) = oneshot::channel();
        let command = Command {
            request,
            origin,
            reply,
        };
        self.commands.send(command).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}

/// Requests of own clients that wait for the relayer.
const COMMANDS_MAX: usize = 256;

#[cfg(test)]
#[cfg(feature = "devchain")]
pub(crate) mod testing;
#[cfg(test)]
#[cfg(feature = "devchain")]
mod tests;
