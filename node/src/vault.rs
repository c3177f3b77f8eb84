//! The vault: encrypted entropies on a majority of the identity peers that are
//! placed for their lookup key.
//!
//! Every peer reads and writes; identity peers keep records (`vault::replica`).

mod replica;
mod routes;

use std::future::Future;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use protocol::id::{Address, Hash32, Role};
use protocol::placement::{Placement, Purpose};
use protocol::registry::Registry;
use protocol::time::Moment;
use protocol::vault::{
    Entry, REPLICAS_MAX, Read, ReadEvent, Refusal, Request, Response, Transmit, Write, WriteEvent,
};

pub use routes::routes;

use crate::context::Context;
use crate::net::{NetError, Protocol};

/// Reads and writes the vault; cheap to clone.
#[derive(Debug, Clone)]
pub struct VaultHandle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    context: Context,
    /// The records of this peer, when it keeps any.
    replica: Option<replica::Replica>,
    gate: routes::Gate,
}

/// Why the vault did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// A majority refused, for this reason among others.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Somebody has a record that wins.
    #[error(
        "the lookup key has a newer record of this wallet, version {version}; read it and sign a higher version"
    )]
    Outdated {
        /// Its version.
        version: u64,
    },
    /// Too few replicas answered.
    #[error(
        "too few of the {count} identity peers that keep this record answer; try again when the network is back"
    )]
    Unavailable {
        /// How many keep it.
        count: usize,
    },
}

/// What both machines of the quorum have in common.
trait Quorum {
    fn transmit(&mut self) -> Option<Transmit>;
    fn deadline(&self) -> Option<(Moment, &'static str)>;
    fn response(&mut self, from: Address, response: Response, now: Moment);
    fn failure(&mut self, from: Address, now: Moment);
    fn timeout(&mut self, now: Moment);
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
    Ok(VaultHandle {
        inner: Arc::new(Inner {
            context: context.clone(),
            replica,
            gate: routes::Gate::default(),
        }),
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
        let burial = entry.burial.clone();
        self.write(entry).await?;
        if let Some(burial) = burial {
            let now = self.inner.context.clock.now().unix();
            self.write(Entry::signed(*burial, None, now)).await?;
        }
        Ok(())
    }

    /// Reads the living records of a lookup key, the earliest wallet first.
    /// Whatever half of a password change is found is finished on the way.
    ///
    /// # Errors
    ///
    /// [`VaultError::Unavailable`] when too few replicas answer.
    pub async fn get(&self, lookup_key: Hash32) -> Result<Vec<Entry>, VaultError> {
        let context = &self.inner.context;
        let sets = self.placed(&lookup_key);
        let domain = context.contracts.domain();
        let mut read = Read::new(domain, lookup_key, &sets, context.clock.now());
        let found = self
            .run(&mut read, |read| {
                loop {
                    match read.poll_event()? {
                        ReadEvent::Found { entries } => return Some(Some(entries)),
                        ReadEvent::Failed => return Some(None),
                        ReadEvent::Bury(burial) => {
                            let vault = self.clone();
                            let now = vault.inner.context.clock.now().unix();
                            tokio::spawn(async move {
                                let buried = vault.write(Entry::signed(*burial, None, now)).await;
                                if let Err(error) = buried {
                                    tracing::debug!(%error, "a tombstone was not written");
                                }
                            });
                        }
                        // Only the client has the wallet's key.
                        ReadEvent::Unburied { .. } => {}
                    }
                }
            })
            .await;
        while let Some(transmit) = read.poll_transmit() {
            tokio::spawn(self.ask(transmit));
        }
        let count = sets.first().map_or(0, Vec::len);
        found.flatten().ok_or(VaultError::Unavailable { count })
    }

    async fn write(&self, entry: Entry) -> Result<(), VaultError> {
        let context = &self.inner.context;
        entry.check(&context.contracts.domain())?;
        let sets = self.placed(&entry.record.lookup_key);
        let mut write = Write::new(entry, &sets, context.clock.now());
        let event = self.run(&mut write, Write::poll_event).await;
        let count = sets.first().map_or(0, Vec::len);
        match event {
            Some(WriteEvent::Stored) => Ok(()),
            Some(WriteEvent::Outdated(entry)) => Err(VaultError::Outdated {
                version: entry.record.version,
            }),
            Some(WriteEvent::Failed { refusals }) => Err(refusals
                .into_values()
                .next()
                .map_or(VaultError::Unavailable { count }, VaultError::Refused)),
            None => Err(VaultError::Unavailable { count }),
        }
    }

    /// Drives a machine until it says something.
    async fn run<Q: Quorum, T>(
        &self,
        quorum: &mut Q,
        mut poll: impl FnMut(&mut Q) -> Option<T>,
    ) -> Option<T> {
        let clock = self.inner.context.clock;
        let mut asked = FuturesUnordered::new();
        loop {
            while let Some(transmit) = quorum.transmit() {
                asked.push(self.ask(transmit));
            }
            if let Some(said) = poll(quorum) {
                // What is under way goes on: a replica that answers late keeps
                // the record all the same.
                return Some(said);
            }
            let deadline = quorum.deadline();
            if asked.is_empty() && deadline.is_none() {
                return None;
            }
            tokio::select! {
                biased;
                () = self.inner.context.stop.cancelled() => return None,
                Some((from, response)) = asked.next(), if !asked.is_empty() => {
                    match response {
                        Some(response) => quorum.response(from, response, clock.now()),
                        None => quorum.failure(from, clock.now()),
                    }
                }
                () = clock.sleep_until(deadline) => quorum.timeout(clock.now()),
            }
        }
    }

    /// Asks in a task of its own: a request is delivered although its machine
    /// has ended by then.
    fn ask(
        &self,
        transmit: Transmit,
    ) -> impl Future<Output = (Address, Option<Response>)> + Send + 'static {
        let vault = self.clone();
        let Transmit { to, request } = transmit;
        let task = tokio::spawn(async move { vault.request(to, request).await });
        async move { (to, task.await.ok().flatten()) }
    }

    async fn request(&self, to: Address, request: Request) -> Option<Response> {
        let context = &self.inner.context;
        if to == context.peer {
            let replica = self.inner.replica.as_ref()?;
            return replica.handle(request).await;
        }
        let body = context
            .net
            .request(to, Protocol::Vault, request.to_bytes())
            .await;
        match body {
            Ok(body) => Response::from_bytes(&body).ok(),
            Err(error) => {
                tracing::debug!(%error, "a replica does not answer");
                None
            }
        }
    }

    /// The placed replicas; both sets while the registry changes them.
    fn placed(&self, lookup_key: &Hash32) -> Vec<Vec<Address>> {
        let chain = &self.inner.context.chain;
        let of = |registry: &Registry| {
            let mut ranked = Placement::new(registry).rank(Purpose::Vault, &lookup_key.0);
            ranked.truncate(REPLICAS_MAX);
            ranked
        };
        let mut sets = vec![
            of(&chain.snapshot().borrow()),
            of(&chain.registry().borrow()),
        ];
        sets.dedup();
        sets.retain(|set| !set.is_empty());
        sets
    }
}

impl Quorum for Write {
    fn transmit(&mut self) -> Option<Transmit> {
        self.poll_transmit()
    }

    fn deadline(&self) -> Option<(Moment, &'static str)> {
        self.poll_timeout()
    }

    fn response(&mut self, from: Address, response: Response, _now: Moment) {
        self.handle_response(from, response);
    }

    fn failure(&mut self, from: Address, now: Moment) {
        self.handle_failure(from, now);
    }

    fn timeout(&mut self, now: Moment) {
        self.handle_timeout(now);
    }
}

impl Quorum for Read {
    fn transmit(&mut self) -> Option<Transmit> {
        self.poll_transmit()
    }

    fn deadline(&self) -> Option<(Moment, &'static str)> {
        self.poll_timeout()
    }

    fn response(&mut self, from: Address, response: Response, now: Moment) {
        self.handle_response(from, response, now);
    }

    fn failure(&mut self, from: Address, now: Moment) {
        self.handle_failure(from, now);
    }

    fn timeout(&mut self, now: Moment) {
        self.handle_timeout(now);
    }
}

#[cfg(test)]
#[cfg(feature = "devchain")]
mod tests;
