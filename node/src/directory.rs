//! Where registered peers can be reached: their signed `/.well-known/coliving`,
//! fetched from the endpoints in the registry and handed to the network.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::id::Address;
use protocol::records::Endpoint;
use protocol::registry::Registry;
use protocol::signing::{Domain, Signed};
use protocol::time::Moment;
use tokio::sync::{mpsc, watch};

use crate::client::api::WellKnown;
use crate::context::Context;
use crate::net::Multiaddr;

/// Why a `/.well-known/coliving` was not taken.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Nobody answers, or not with JSON.
    #[error("`{url}` does not answer: {reason}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What the client said.
        reason: String,
    },
    /// Somebody else answers there.
    #[error("`{url}` is not signed by {peer}")]
    Signature {
        /// What was asked.
        url: String,
        /// Who registered it.
        peer: Address,
    },
}

/// Starts to look registered peers up.
pub fn spawn(context: &Context) {
    let (found, results) = mpsc::channel(LOOKUPS_MAX);
    let client = reqwest::Client::builder()
        .timeout(LOOKUP_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap_or_default();
    let actor = Actor {
        registry: context.chain.registry(),
        context: context.clone(),
        client,
        due: BTreeMap::new(),
        under_way: 0,
        found,
        results,
    };
    tokio::spawn(actor.run());
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

/// Asks an endpoint who it is and checks the signature.
///
/// # Errors
///
/// [`DirectoryError`] names the URL and what is wrong.
pub async fn look_up(
    client: &reqwest::Client,
    url: &str,
    peer: Address,
    domain: &Domain,
) -> Result<Vec<Multiaddr>, DirectoryError> {
    let target = format!("{}/.well-known/coliving", url.trim_end_matches('/'));
    let unreachable = |reason: String| DirectoryError::Unreachable {
        url: target.clone(),
        reason,
    };
    let response = client
        .get(&target)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(|error| unreachable(error.to_string()))?;
    let body = read_limited(response).await.map_err(unreachable)?;
    let found: WellKnown =
        serde_json::from_slice(&body).map_err(|error| unreachable(error.to_string()))?;
    let signed = Signed::<Endpoint>::from(found);
    if signed.verify(domain, peer).is_err() || signed.record.peer != peer {
        return Err(DirectoryError::Signature { url: target, peer });
    }
    Ok(signed
        .record
        .addresses
        .iter()
        .take(ADDRESSES_MAX)
        .filter_map(|address| address.parse().ok())
        .collect())
}

/// Reads a body of at most [`BODY_BYTES_MAX`].
pub(crate) async fn read_limited(mut response: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= BODY_BYTES_MAX => body.extend(chunk),
            Ok(Some(_)) => return Err(format!("the answer is over {BODY_BYTES_MAX} bytes")),
            Ok(None) => return Ok(body),
            Err(error) => return Err(error.to_string()),
        }
    }
}

struct Actor {
    context: Context,
    client: reqwest::Client,
    registry: watch::Receiver<Arc<Registry>>,
    /// When each registered peer is looked up next.
    due: BTreeMap<Address, Moment>,
    under_way: usize,
    found: mpsc::Sender<Found>,
    results: mpsc::Receiver<Found>,
}

struct Found {
    peer: Address,
    result: Result<Vec<Multiaddr>, DirectoryError>,
}

impl Actor {
    async fn run(mut self) {
        let stop = self.context.stop.clone();
        self.handle_registry().await;
        loop {
            self.start_lookups();
            let deadline = self.next_due();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Ok(()) = self.registry.changed() => self.handle_registry().await,
                Some(found) = self.results.recv() => self.handle_found(found).await,
                () = self.context.clock.sleep_until(deadline) => {}
            }
        }
    }

    async fn handle_registry(&mut self) {
        let registry = self.registry.borrow_and_update().clone();
        self.context.net.set_registry(&registry).await;
        let now = self.context.clock.now();
        self.due.retain(|peer, _| registry.peer(peer).is_some());
        for peer in registry.peer_addresses() {
            if *peer != self.context.peer {
                self.due.entry(*peer).or_insert(now);
            }
        }
    }

    async fn handle_found(&mut self, Found { peer, result }: Found) {
        self.under_way -= 1;
        let now = self.context.clock.now();
        let next = match result {
            Ok(addresses) => {
                self.context.net.set_addresses(peer, addresses).await;
                REFRESH_INTERVAL
            }
            Err(error) => {
                tracing::debug!(%peer, %error, "peer not looked up");
                RETRY_INTERVAL
            }
        };
        if let Some(due) = self.due.get_mut(&peer) {
            *due = now + next;
        }
    }

    fn start_lookups(&mut self) {
        let now = self.context.clock.now();
        let registry = self.registry.borrow();
        for (peer, due) in &mut self.due {
            if self.under_way == LOOKUPS_MAX {
                return;
            }
            if *due > now {
                continue;
            }
            let Some(found) = registry.peer(peer) else {
                continue;
            };
            *due = now + REFRESH_INTERVAL;
            self.under_way += 1;
            let (peer, client, results) = (*peer, self.client.clone(), self.found.clone());
            let domain = self.context.contracts.domain();
            tokio::spawn(async move {
                let result = look_up(&client, &found.endpoint, peer, &domain).await;
                // The actor has gone away only when the peer stops.
                let _ = results.send(Found { peer, result }).await;
            });
        }
    }

    fn next_due(&self) -> Option<(Moment, &'static str)> {
        if self.under_way == LOOKUPS_MAX {
            return None;
        }
        let first = self.due.values().min()?;
        Some((*first, "look a peer up"))
    }
}

/// Lookups under way at a time.
const LOOKUPS_MAX: usize = 8;

/// Time for one lookup.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// An endpoint that answered is asked again after this time.
const REFRESH_INTERVAL: Duration = Duration::from_secs(600);

/// An endpoint that did not answer is asked again after this time.
const RETRY_INTERVAL: Duration = Duration::from_secs(3);

/// Addresses of one peer.
const ADDRESSES_MAX: usize = 16;

/// Longest answer in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;
