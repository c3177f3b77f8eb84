//! What every command is handed.

use crate::flags::Global;
use crate::output::Output;
use crate::session::Session;

/// The flags and the voice of one run.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The flags of every command.
    pub(crate) global: Global,
    /// How the command speaks.
    pub(crate) output: Output,
}

impl Context {
    /// Finds the peer, runs `command`, and stops what was started for it.
    pub(crate) async fn with_peer<T>(
        &self,
        command: impl AsyncFnOnce(&Session) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let session = Session::open(&self.global, self.output).await?;
        let result = command(&session).await;
        session.close().await;
        result
    }
}
