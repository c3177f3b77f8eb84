//! The identity role: the relayer that pays for users' actions.

mod actor;
mod simulate;

use crate::author::AuthorHandle;
use crate::context::Context;
use crate::net::{NetError, Protocol};
use crate::relay::LocalRelayer;
use crate::store::StoreError;

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

/// Starts the relayer, with the actions of an earlier run; `author` hands it
/// what this peer's own clients send.
///
/// # Errors
///
/// [`IdentityError`] when the protocol is taken or the table cannot be read.
pub async fn spawn(context: &Context, author: &AuthorHandle) -> Result<(), IdentityError> {
    let requests = context.net.serve(Protocol::Relayer).await?;
    let (local, inbox) = LocalRelayer::new();
    actor::spawn(context, author.fresh().clone(), requests, inbox)?;
    author.set_local(local).await;
    Ok(())
}

#[cfg(test)]
#[cfg(feature = "devchain")]
pub(crate) mod testing;
#[cfg(test)]
#[cfg(feature = "devchain")]
mod tests;
