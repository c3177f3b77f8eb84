//! Where registered peers can be reached: their signed `/.well-known/coliving`,
//! fetched from the endpoints in the registry and handed to the network. When, is
//! decided by [`protocol::directory`].

use std::sync::Arc;
use std::time::Duration;

use client::api::WellKnown;
use client::well_known;
use protocol::directory::{Config, Directory, Input, Output};
use protocol::id::Address;
use protocol::records::Endpoint;
use protocol::registry::Registry;
use protocol::signing::Signed;
use tokio::sync::{mpsc, watch};

use crate::context::Context;
use crate::net::Multiaddr;
use crate::shell::{self, Driver, Work};

mod public;

/// Starts to look registered peers up.
///
/// # Panics
///
/// When the system has no random source, which TLS needs as well.
pub async fn spawn(context: &Context) {
    let mut registry = context.chain.registry();
    registry.mark_changed();
    let hands = Hands {
        context: context.clone(),
        client: client(context.config.net.private_endpoints),
        registry,
        fresh: None,
        wanted: context.net.wanted().await,
    };
    let config = Config {
        local: context.peer,
        asks_all: !context.config.is_light(),
    };
    let machine = Directory::new(config, rand::random());
    shell::spawn(machine, hands, context.clock, &context.floor);
}

/// Goes where it is sent and nowhere else: no proxy resolves a name another time.
fn client(with_private: bool) -> reqwest::Client {
    let mut client = reqwest::Client::builder()
        .timeout(LOOKUP_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    if !with_private {
        client = client.dns_resolver(Arc::new(public::Public));
    }
    client.build().expect("TLS with the usual authorities")
}

/// Signs what this peer tells about itself.
#[must_use]
pub fn well_known(context: &Context, url: &str) -> WellKnown {
    let record = Endpoint {
        peer: context.peer,
        url: url.to_owned(),
        addresses: addresses(context),
        time: context.clock.now().unix(),
    };
    Signed::new(record, &context.contracts.domain(), &context.key).into()
}

/// Where this peer's swarm is reached, with `/p2p/…` at the end.
#[must_use]
pub fn addresses(context: &Context) -> Vec<String> {
    let mut addresses: Vec<String> = Vec::new();
    let local = context.net.local().peer_id;
    let listening = context.net.listen_addresses();
    let external = context.net.external_addresses();
    for address in external.borrow().iter().chain(listening.borrow().iter()) {
        let text = match address.to_string() {
            text if text.contains("/p2p/") => text,
            text => format!("{text}/p2p/{local}"),
        };
        if !addresses.contains(&text) && addresses.len() < ADDRESSES_MAX {
            addresses.push(text);
        }
    }
    addresses
}

struct Hands {
    context: Context,
    client: reqwest::Client,
    registry: watch::Receiver<Arc<Registry>>,
    /// One that the swarm was not told of yet.
    fresh: Option<Arc<Registry>>,
    /// Whom the swarm would dial if it knew where.
    wanted: mpsc::Receiver<Address>,
}

impl Driver<Directory> for Hands {
    async fn next(&mut self) -> Option<Input> {
        if self.fresh.is_none() {
            tokio::select! {
                biased;
                changed = self.registry.changed() => changed.ok()?,
                Some(peer) = self.wanted.recv() => return Some(Input::Wanted(peer)),
            }
            self.fresh = Some(self.registry.borrow_and_update().clone());
        }
        let registry = self.fresh.clone()?;
        // Dropped here, it is told again.
        self.context.net.set_registry(&registry).await;
        self.fresh = None;
        Some(Input::Registry(registry))
    }

    fn carry(&mut self, wish: Output, work: &mut Work<Input>) {
        let context = self.context.clone();
        match wish {
            Output::LookUp { peer, endpoint } => {
                let client = self.client.clone();
                work.beside(async move {
                    let is_found = ask_endpoint(&context, &client, peer, &endpoint).await;
                    Some(Input::LookedUp { peer, is_found })
                });
            }
            Output::NotFound(peer) => {
                work.beside(async move {
                    context.net.not_found(peer).await;
                    None
                });
            }
        }
    }
}

/// Asks an endpoint, and tells the swarm where the peer is; true when it answered.
async fn ask_endpoint(
    context: &Context,
    client: &reqwest::Client,
    peer: Address,
    endpoint: &str,
) -> bool {
    let with_private = context.config.net.private_endpoints;
    if !with_private && !public::may_ask(endpoint) {
        tracing::debug!(%peer, endpoint, "an endpoint that is not public is not asked");
        return false;
    }
    let domain = context.contracts.domain();
    match well_known::fetch(client, endpoint, peer, &domain).await {
        Ok(record) => {
            let addresses = record.addresses.iter().take(ADDRESSES_MAX);
            let addresses: Vec<Multiaddr> = addresses
                .filter_map(|address| address.parse().ok())
                .collect();
            context.net.set_addresses(peer, addresses).await;
            true
        }
        Err(error) => {
            tracing::debug!(%peer, %error, "peer not looked up");
            false
        }
    }
}

/// Time for one lookup. Chosen: names, a handshake and an answer; it is asked again soon.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Addresses of one peer: as many as the address book keeps.
const ADDRESSES_MAX: usize = 16;

#[cfg(test)]
#[cfg(feature = "devchain")]
mod tests;
