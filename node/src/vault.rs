//! The vault: encrypted entropies on a majority of the identity peers that are
//! placed for their lookup key. The hands of [`protocol::vault::Vault`] and, on an
//! identity peer, of [`protocol::vault::Replica`].

mod hands;
mod replica;
mod routes;

use protocol::id::{Hash32, Role};
use protocol::origin::Origin;
use protocol::vault::{Entry, Vault, VaultError};
use tokio::sync::{mpsc, oneshot};

pub use routes::routes;

use crate::context::Context;
use crate::net::NetError;
use crate::shell;

use hands::{Command, Hands};

/// Reads and writes the vault; cheap to clone.
#[derive(Debug, Clone)]
pub struct VaultHandle {
    commands: mpsc::Sender<Command>,
    context: Context,
}

/// Starts the vault; on an identity peer, also its replica.
///
/// # Errors
///
/// [`NetError`] when another driver took the protocol.
pub async fn spawn(context: &Context) -> Result<VaultHandle, NetError> {
    let is_replica = context.config.roles.contains(&Role::Identity);
    let replica = match is_replica {
        true => Some(replica::spawn(context).await?),
        false => None,
    };
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let hands = Hands::new(context, replica, inbox);
    let machine = Vault::new(context.contracts.domain());
    shell::spawn(machine, hands, context.clock, &context.floor);
    Ok(VaultHandle {
        commands,
        context: context.clone(),
    })
}

impl VaultHandle {
    /// Writes a record to a majority of its replicas, and the tombstone of the
    /// password before to a majority of its own.
    ///
    /// # Errors
    ///
    /// [`VaultError`]; some replicas may have the record all the same.
    ///
    /// # Cancel safety
    ///
    /// When dropped, some replicas may have the record.
    pub async fn put(&self, entry: Entry) -> Result<(), VaultError> {
        self.put_for(None, entry).await
    }

    /// Reads the living records of a lookup key, the earliest wallet first.
    /// Whatever half of a password change is found is finished on the way.
    ///
    /// # Errors
    ///
    /// [`VaultError::Unavailable`] when too few replicas answer.
    pub async fn get(&self, lookup_key: Hash32) -> Result<Vec<Entry>, VaultError> {
        self.get_for(None, lookup_key).await
    }

    /// As [`Self::put`] for a client, who may ask too often.
    async fn put_for(&self, client: Option<Origin>, entry: Entry) -> Result<(), VaultError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Put {
            client,
            entry,
            reply,
        })
        .await;
        answer.await.unwrap_or(Err(STOPPED))
    }

    /// As [`Self::get`] for a client, who may ask too often.
    async fn get_for(
        &self,
        client: Option<Origin>,
        lookup_key: Hash32,
    ) -> Result<Vec<Entry>, VaultError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Get {
            client,
            lookup_key,
            reply,
        })
        .await;
        answer.await.unwrap_or(Err(STOPPED))
    }

    async fn tell(&self, command: Command) {
        // When the peer stops, the reply's other end goes with the command.
        let _ = self.commands.send(command).await;
    }
}

/// What a peer that stops answers.
const STOPPED: VaultError = VaultError::Unavailable { count: 0 };

/// Commands waiting for the vault; senders wait when it is full. Chosen: a burst of
/// people who sign in.
const COMMANDS_MAX: usize = 64;

#[cfg(test)]
#[cfg(feature = "devchain")]
mod tests;
