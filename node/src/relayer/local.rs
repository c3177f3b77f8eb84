//! The way to the relayer of this peer, without the network.

use protocol::origin::Origin;
use protocol::relayer::{Request, Response};
use tokio::sync::{mpsc, oneshot};

/// Asks this peer's relayer; cheap to clone.
#[derive(Debug, Clone)]
pub struct LocalRelayer {
    commands: mpsc::Sender<LocalRequest>,
}

/// A request of this machine's own clients.
#[derive(Debug)]
pub struct LocalRequest {
    pub(crate) request: Request,
    pub(crate) origin: Origin,
    pub(crate) reply: oneshot::Sender<Response>,
}

/// The relayer has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping")]
pub struct Stopped;

impl LocalRelayer {
    /// A handle, and what the relayer takes from it.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<LocalRequest>) {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        (Self { commands }, inbox)
    }

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
        let command = LocalRequest {
            request,
            origin,
            reply,
        };
        self.commands.send(command).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}

/// Requests of own clients that wait for the relayer. Chosen: more than people send.
const COMMANDS_MAX: usize = 256;
