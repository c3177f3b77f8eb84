//! The client library: everything that a person's machine asks of a peer, over HTTP.
//!
//! A [`Client`] speaks to one peer, usually the owner's own. Keys stay with the
//! caller: actions and vault records come here signed. What a peer on this
//! machine hands out it has verified itself; from any other peer files come
//! block by block and are checked here.
//!
//! Contract: `docs/formats/http.md`.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cid::Cid;
use protocol::action::{ActionDomain, SignedAction};
use protocol::entity::EntityType;
use protocol::entity::build::Builder;
use protocol::id::{Address, Hash32, UserId};
use protocol::records::SignedVault;
use protocol::relayer;
use protocol::time::UnixSeconds;
use protocol::vault::HedgehogRecord;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

mod download;
mod error;
mod transfer;

pub use download::{Download, DownloadConfig};
pub use error::ClientError;
pub use transfer::Progress;

use crate::api::{
    ActionBody, ChainAccess, ContentList, Data, DigitalContent, Health, Imported, NodeInfo,
    PeerRow, Publication, PublishAccepted, PublishBody, RelayAnswer, Relayed, Root, RootBody,
    RootRow, SearchResults, SignedVaultFields, Stopping, User, VaultFields,
};
use crate::link;

/// A connection to one peer's HTTP server; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// The URL without a trailing slash.
    url: String,
    token: Option<String>,
    is_local: bool,
}

/// Which part of a listing is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Most rows of an answer.
    pub limit: usize,
    /// Rows to leave out.
    pub offset: usize,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            limit: 20,
            offset: 0,
        }
    }
}

impl Client {
    /// Makes a client; nothing is sent before the first request.
    ///
    /// # Errors
    ///
    /// [`ClientError::Url`] when the text is no `http` or `https` URL.
    pub fn new(url: &str, token: Option<String>) -> Result<Self, ClientError> {
        let refused = || ClientError::Url {
            url: url.to_owned(),
        };
        let parsed = reqwest::Url::parse(url).map_err(|_| refused())?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(refused());
        }
        let host = parsed.host_str().ok_or_else(refused)?;
        let is_local = host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_PATIENCE)
            .pool_idle_timeout(IDLE_MAX);
        if is_local {
            builder = builder.no_proxy();
        }
        Ok(Self {
            http: builder.build().map_err(|_| refused())?,
            url: url.trim_end_matches('/').to_owned(),
            token: token.filter(|token| !token.is_empty()),
            is_local,
        })
    }

    /// The peer's URL without a trailing slash.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A URL of a file for programs that send no token, good for some hours; without a
    /// token it gives what a stranger gets.
    #[must_use]
    pub fn file_url(&self, root: &Cid, path: &str) -> String {
        let url = format!("{}/ipfs/{path}", self.url);
        let Some(token) = &self.token else {
            return url;
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let end = now.unwrap_or_default() + LINK_PATIENCE;
        let end = UnixSeconds(end.as_secs());
        format!("{url}?link={}", link::sign(token, root, end))
    }

    /// True when the peer runs on this machine.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        self.is_local
    }

    /// True when the owner's routes can be asked.
    #[must_use]
    pub const fn has_token(&self) -> bool {
        self.token.is_some()
    }
}

/// What a peer says of itself.
impl Client {
    /// How the peer does; a peer that is not ready answers too.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when it does not answer.
    pub async fn health(&self) -> Result<Health, ClientError> {
        let request = self.request(Method::GET, "/health");
        let response = self.send(request).await?;
        let status = response.status();
        if status != StatusCode::OK && status != StatusCode::SERVICE_UNAVAILABLE {
            return Err(self.refusal(response).await);
        }
        self.read(response, "/health").await
    }

    /// What a client needs in order to sign.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the peer does not answer.
    pub async fn node(&self) -> Result<NodeInfo, ClientError> {
        self.get("/v1/node").await
    }

    /// How the peer reaches its chain.
    ///
    /// # Errors
    ///
    /// [`ClientError`], with a token that does not fit too.
    pub async fn chain(&self) -> Result<ChainAccess, ClientError> {
        self.get("/v1/control/chain").await
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the peer does not answer.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let request = self.request(Method::GET, "/metrics");
        let response = self.checked(request).await?;
        response.text().await.map_err(|error| self.away(&error))
    }

    /// The peers that it is connected to or knows.
    ///
    /// # Errors
    ///
    /// [`ClientError`], with a token that does not fit too.
    pub async fn peers(&self) -> Result<Vec<PeerRow>, ClientError> {
        self.data("/v1/control/peers").await
    }

    /// The roots that it holds.
    ///
    /// # Errors
    ///
    /// [`ClientError`], with a token that does not fit too.
    pub async fn roots(&self) -> Result<Vec<RootRow>, ClientError> {
        self.data("/v1/control/roots").await
    }

    /// One root: who is placed, who holds a lease, how many are missing.
    ///
    /// # Errors
    ///
    /// [`ClientError`], with a token that does not fit too.
    pub async fn root(&self, cid: &str) -> Result<Root, ClientError> {
        self.data(&format!("/v1/control/root/{cid}")).await
    }

    /// Stops the peer in order.
    ///
    /// # Errors
    ///
    /// [`ClientError`], with a token that does not fit too.
    pub async fn stop(&self) -> Result<Stopping, ClientError> {
        let path = "/v1/control/stop";
        let response = self.checked(self.request(Method::POST, path)).await?;
        self.read(response, path).await
    }
}

/// What its index knows.
impl Client {
    /// The `data` of any read route, such as `/v1/tracks/{id}`.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; [`ClientError::is_not_found`] when there is no such thing.
    pub async fn data<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let answer: Data<T> = self.get(path).await?;
        Ok(answer.data)
    }

    /// As [`Client::data`], `None` when there is no such thing.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the peer does not answer.
    pub async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ClientError> {
        match self.data(path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A user by its public id or number.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the peer does not answer.
    pub async fn user(&self, id: &str) -> Result<Option<User>, ClientError> {
        self.find(&format!("/v1/users/{}", escape(id))).await
    }

    /// A user by its handle.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the peer does not answer.
    pub async fn user_by_handle(&self, handle: &str) -> Result<Option<User>, ClientError> {
        let handle = escape(handle.trim_start_matches('@'));
        self.find(&format!("/v1/users/handle/{handle}")).await
    }

    /// The users of a wallet, the oldest first.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the peer does not answer.
    pub async fn users_by_wallet(&self, wallet: Address) -> Result<Vec<User>, ClientError> {
        self.data(&format!("/v1/users?wallet={wallet}")).await
    }

    /// A digital content by its public id or number.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the peer does not answer.
    pub async fn digital_content(&self, id: &str) -> Result<Option<DigitalContent>, ClientError> {
        self.find(&format!("/v1/tracks/{}", escape(id))).await
    }

    /// A content list by its public id or number.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the peer does not answer.
    pub async fn content_list(&self, id: &str) -> Result<Option<ContentList>, ClientError> {
        self.find(&format!("/v1/playlists/{}", escape(id))).await
    }

    /// A page of a listing route, such as `/v1/users/{id}/tracks`.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the peer does not answer.
    pub async fn page<T: DeserializeOwned>(
        &self,
        path: &str,
        page: Page,
    ) -> Result<Vec<T>, ClientError> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let Page { limit, offset } = page;
        self.data(&format!("{path}{separator}limit={limit}&offset={offset}"))
            .await
    }

    /// Users, digital contents and content lists that match.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when the peer does not answer.
    pub async fn search(&self, query: &str, page: Page) -> Result<SearchResults, ClientError> {
        let Page { limit, offset } = page;
        let query = escape(query);
        self.data(&format!(
            "/v1/search?query={query}&limit={limit}&offset={offset}"
        ))
        .await
    }
}

/// Actions that users sign.
impl Client {
    /// Sends an action to the relayers: by the owner's route with a token, else
    /// by the peer's own relayer. A relayer that asks for a proof of work gets it.
    ///
    /// # Errors
    ///
    /// [`ClientError`] with the relayer's reason.
    pub async fn relay(&self, action: &SignedAction) -> Result<Relayed, ClientError> {
        let path = self.relay_path();
        let mut body = ActionBody::from(action);
        let answer: RelayAnswer = match self.post(path, &body).await {
            Err(error) if error.code() == "proof" => {
                let format = self.node().await?.action_format;
                let domain = ActionDomain {
                    chain_id: format.domain.chain_id,
                    entity_manager: format.domain.verifying_contract,
                };
                let digest = action.action.digest(&domain);
                body.proof = Some(relayer::solve_proof(&digest, format.limits.proof_bits));
                self.post(path, &body).await?
            }
            other => other?,
        };
        Ok(answer.into())
    }

    /// Where an action stands.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; [`ClientError::is_not_found`] when nobody heard of it.
    pub async fn relay_status(&self, digest: &Hash32) -> Result<Relayed, ClientError> {
        let path = self.relay_path();
        self.get(&format!("{path}/{digest}")).await
    }

    /// Asks the peer to replicate imported roots and to send the action when
    /// they are durable; answers with the publication's id.
    ///
    /// # Errors
    ///
    /// [`ClientError`], with a token that does not fit too.
    pub async fn publish(
        &self,
        action: &SignedAction,
        roots: &[Imported],
    ) -> Result<Hash32, ClientError> {
        let body = PublishBody {
            action: action.into(),
            roots: roots.iter().map(RootBody::from).collect(),
        };
        let accepted: PublishAccepted = self.post("/v1/control/publish", &body).await?;
        Ok(accepted.id)
    }

    /// Where a publication stands.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; [`ClientError::is_not_found`] for an unknown id.
    pub async fn publication(&self, id: &Hash32) -> Result<Publication, ClientError> {
        self.get(&format!("/v1/control/publish/{id}")).await
    }

    fn relay_path(&self) -> &'static str {
        if self.has_token() {
            "/v1/control/relay"
        } else {
            "/relay"
        }
    }
}

/// Records of the vault.
impl Client {
    /// Keeps a signed vault record at a majority of its identity peers.
    ///
    /// # Errors
    ///
    /// [`ClientError`] with the vault's reason.
    pub async fn put_vault(&self, vault: &SignedVault) -> Result<(), ClientError> {
        let record = &vault.record;
        let request = self
            .request(Method::POST, "/authentication")
            .header("X-Coliving-Wallet", record.wallet.to_string())
            .header("X-Coliving-Version", record.version.to_string())
            .header("X-Coliving-Replaces", record.replaces.to_string())
            .header("X-Coliving-Signature", vault.signature.to_string())
            .json(&VaultFields::from(HedgehogRecord::from(record)));
        self.checked(request).await.map(drop)
    }

    /// The living records under a lookup key, those that a majority shows first. Whose
    /// entropy derives the record's wallet has found its own.
    ///
    /// # Errors
    ///
    /// [`ClientError`] when no majority answers.
    pub async fn vault(&self, lookup_key: &Hash32) -> Result<Vec<SignedVaultFields>, ClientError> {
        let key = hex::encode(lookup_key.0);
        let path = format!("/authentication?lookupKey={key}&all=true");
        let found: Data<Vec<SignedVaultFields>> = self.get(&path).await?;
        Ok(found.data)
    }
}

/// Requests and their answers.
impl Client {
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut headers = HeaderMap::new();
        if let Some(token) = &self.token
            && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {token}"))
        {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        self.http
            .request(method, format!("{}{path}", self.url))
            .headers(headers)
    }

    /// Sends and hands back whatever is answered.
    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        request.send().await.map_err(|error| self.away(&error))
    }

    /// Sends and turns a refusal into an error.
    pub(super) async fn checked(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = self.send(request).await?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refusal(response).await)
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let request = self.request(Method::GET, path).timeout(ANSWER_PATIENCE);
        let response = self.checked(request).await?;
        self.read(response, path).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let request = self.request(Method::POST, path).timeout(ANSWER_PATIENCE);
        let response = self.checked(request.json(body)).await?;
        self.read(response, path).await
    }

    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        response: Response,
        path: &str,
    ) -> Result<T, ClientError> {
        let body = response.bytes().await.map_err(|error| self.away(&error))?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Unexpected {
            url: format!("{}{path}", self.url),
            reason: error.to_string(),
        })
    }

    async fn refusal(&self, response: Response) -> ClientError {
        let status = response.status();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let url = response.url().clone();
        let body = response.bytes().await.unwrap_or_default();
        ClientError::from_body(status, &body, retry_after, url.path())
    }

    pub(super) fn away(&self, error: &reqwest::Error) -> ClientError {
        let mut reason = error.to_string();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            reason = cause.to_string();
            source = cause.source();
        }
        if error.is_timeout() {
            "it does not answer in time".clone_into(&mut reason);
        }
        ClientError::Away {
            url: self.url.clone(),
            reason,
        }
    }
}

/// Makes one action of a user, with a fresh nonce.
#[must_use]
pub fn builder(user: UserId) -> Builder {
    Builder {
        user,
        nonce: Hash32(rand::random()),
    }
}

/// A fresh id for a new entity.
#[must_use]
pub fn draw_id(kind: EntityType) -> u64 {
    kind.draw_id(rand::random())
}

/// Percent-encodes a text for one segment of a path or one value of a query.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// Chosen: a peer that is there answers within; commands try others.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Less than the ten seconds after which a peer closes a connection without requests.
const IDLE_MAX: Duration = Duration::from_secs(8);

/// A route that asks the network may take as long as its slowest peer.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// How long a file's URL is good for. Chosen: a player that was started plays on.
const LINK_PATIENCE: Duration = Duration::from_secs(12 * 3600);

#[cfg(test)]
mod tests;
