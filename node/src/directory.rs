//! Where registered peers can be reached: their signed `/.well-known/coliving`,
//! fetched from the endpoints in the registry and handed to the network. When, is
//! decided by [`protocol::directory`].

use std::sync::Arc;
use std::time::Duration;

use client::api::WellKnown;
use client::well_known;
use protocol::directory::{Directory, Input, LookUp};
use protocol::records::Endpoint;
use protocol::registry::Registry;
use protocol::signing::Signed;
use tokio::sync::watch;

use crate::context::Context;
use crate::shell::{self, Driver, Work};

/// Starts to look registered peers up.
pub fn spawn(context: &Context) {
    let client = reqwest::Client::builder()
        .timeout(LOOKUP_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap_or_default();
    let mut registry = context.chain.registry();
    registry.mark_changed();
    let hands = Hands {
        context: context.clone(),
        client,
        registry,
        fresh: None,
    };
    let machine = Directory::new(context.peer);
    shell::spawn(machine, hands, context.clock, &context.floor);
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
}

impl Driver<Directory> for Hands {
    async fn next(&mut self) -> Option<Input> {
        if self.fresh.is_none() {
            self.registry.changed().await.ok()?;
            self.fresh = Some(self.registry.borrow_and_update().clone());
        }
        let registry = self.fresh.clone()?;
        // Dropped here, it is told again.
        self.context.net.set_registry(&registry).await;
        self.fresh = None;
        Some(Input::Registry(registry))
    }

    fn carry(&mut self, LookUp { peer, endpoint }: LookUp, work: &mut Work<Input>) {
        let (client, context) = (self.client.clone(), self.context.clone());
        work.beside(async move {
            let domain = context.contracts.domain();
            let found = well_known::fetch(&client, &endpoint, peer, &domain).await;
            let is_found = found.is_ok();
            match found {
                Ok(record) => {
                    let addresses = record.addresses.iter().take(ADDRESSES_MAX);
                    let addresses = addresses.filter_map(|address| address.parse().ok());
                    context.net.set_addresses(peer, addresses.collect()).await;
                }
                Err(error) => tracing::debug!(%peer, %error, "peer not looked up"),
            }
            Some(Input::LookedUp { peer, is_found })
        });
    }
}

/// Time for one lookup. Chosen: names, a handshake and an answer; it is asked again soon.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Addresses of one peer: as many as the address book keeps.
const ADDRESSES_MAX: usize = 16;
