//! The identity role: the hands of [`protocol::identity::Identity`], which pays
//! for users' actions.

use std::ops::Bound;

use protocol::id::Hash32;
use protocol::identity::{self, Identity};
use protocol::relayer::{self, Row};
use storage::tables::RELAYS;

use crate::author::AuthorHandle;
use crate::context::Context;
use crate::net::{NetError, Protocol};
use crate::relayer::LocalRelayer;
use crate::shell;
use crate::store::StoreError;

mod hands;
mod trial;

use hands::Hands;

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
    let rows: Vec<(Hash32, Row)> = context.store.read::<_, StoreError>(|tables| {
        Ok(tables.range(RELAYS, Bound::Unbounded, usize::MAX)?)
    })?;
    let rows = rows.into_iter().map(|(_, row)| row);
    let machine = Identity::new(config(context), rows, context.clock.now());
    let (local, inbox) = LocalRelayer::new();
    let hands = Hands::new(context, author.fresh().clone(), requests, inbox);
    shell::spawn(machine, hands, context.clock, &context.floor);
    author.set_local(local).await;
    Ok(())
}

fn config(context: &Context) -> identity::Config {
    let settings = &context.config.identity;
    let relayer = relayer::Config {
        gas_per_hour_max: settings.gas_per_hour,
        gas_per_day_max: settings.gas_per_day,
        quota_factor: u32::try_from(settings.quota_factor).unwrap_or(u32::MAX),
        unlimited: settings.allow.iter().copied().collect(),
        ..relayer::Config::new(context.contracts.action_domain())
    };
    let wallets = vec![context.key.address()];
    let confirmations = context.config.chain.confirmations;
    identity::Config::new(context.peer, relayer, wallets, confirmations)
}

#[cfg(test)]
#[cfg(feature = "devchain")]
pub(crate) mod testing;
#[cfg(test)]
#[cfg(feature = "devchain")]
mod tests;
