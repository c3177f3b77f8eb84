//! Actions: signed here, sent to the relayers, waited for until they are indexed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use client::api::{NodeInfo, Publication, RelayState, Relayed};
use client::keystore::UserWallet;
use client::{Client, home};
use protocol::action::Action;
use protocol::hashid;
use protocol::id::{Hash32, UserId};
use serde::Serialize;

use crate::failure::{Failure, fail};
use crate::flags::Global;
use crate::output::Output;
use crate::session::{self, Session};

/// Whether a command waits for its action.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Waiting {
    /// Do not wait until the action is on the chain and in the index
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// A user at the keyboard: the wallet is open, the user is known.
pub(crate) struct Actor<'a> {
    pub(crate) client: &'a Client,
    pub(crate) wallet: UserWallet,
    pub(crate) info: NodeInfo,
    pub(crate) user: UserId,
    output: Output,
}

impl<'a> Actor<'a> {
    /// Opens the wallet and looks its user up.
    pub(crate) async fn open(session: &'a Session, global: &Global) -> anyhow::Result<Self> {
        let (_, wallet) = session::unlock(global)?;
        let info = session.client.node().await?;
        let Some(user) = find_user(&session.client, &info, &wallet).await? else {
            return fail(
                "user_missing",
                format!("wallet {} has no user yet", wallet.address()),
                "create one with `coliving user create --handle HANDLE`",
            );
        };
        Ok(Self {
            client: &session.client,
            wallet,
            info,
            user,
            output: session.output,
        })
    }

    /// As [`Actor::open`] for a user that does not exist yet.
    pub(crate) async fn new_user(
        session: &'a Session,
        global: &Global,
        user: UserId,
    ) -> anyhow::Result<Self> {
        let info = session.client.node().await?;
        let (_, wallet) = session::unlock(global)?;
        if let Some(user) = find_user(&session.client, &info, &wallet).await?
            && session
                .client
                .user(&hashid::encode(user.0))
                .await?
                .is_some()
        {
            return fail(
                "user_exists",
                format!("wallet {} has user {user} already", wallet.address()),
                "change it with `coliving user update`, or choose another wallet with `--wallet`",
            );
        }
        Ok(Self {
            client: &session.client,
            wallet,
            info,
            user,
            output: session.output,
        })
    }

    /// Makes an action of the user.
    pub(crate) fn builder(&self) -> protocol::entity::build::Builder {
        client::builder(self.user)
    }

    /// Signs and sends an action, and waits for it.
    pub(crate) async fn act(&self, action: Action, waiting: Waiting) -> anyhow::Result<Relayed> {
        action.check_size()?;
        let progress = self.output.spinner("sending");
        let signed = action.sign(&self.info.contracts.action_domain(), &self.wallet.key);
        let sent = self.client.relay(&signed).await;
        let sent = sent.map_err(|error| match error.code() {
            REFUSED_BY_RULES => Failure::new(REFUSED, error.to_string(), "").into(),
            _ => anyhow::Error::new(error),
        })?;
        if waiting.no_wait {
            progress.finish_and_clear();
            return Ok(sent);
        }
        progress.set_message("waiting for the chain");
        let done = wait(self.client, sent).await?;
        progress.finish_and_clear();
        if !is_confirmed(&done) {
            self.output
                .note("the chain has not taken the action yet; relayers keep it");
            self.output.hint(&format!(
                "ask again with `coliving relay status {}`",
                done.digest
            ));
        }
        Ok(done)
    }

    /// True as soon as the index knows the user; false when it does not for long.
    pub(crate) async fn appears(&self) -> anyhow::Result<bool> {
        let id = hashid::encode(self.user.0);
        let begun = Instant::now();
        while begun.elapsed() < APPEAR_MAX {
            if self.client.user(&id).await?.is_some() {
                return Ok(true);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(false)
    }

    /// Remembers the user of a wallet until the index knows it.
    pub(crate) fn remember_user(&self, created: &Relayed) -> anyhow::Result<()> {
        let path = home::folder()?.join(USERS_FILE);
        let mut users = remembered(&path);
        let user = RememberedUser {
            user: self.user.0,
            digest: created.digest.to_string(),
        };
        users.insert(user_key(&self.info, &self.wallet), user);
        home::write_secret(&path, serde_json::to_string_pretty(&users)?.as_bytes())?;
        Ok(())
    }
}

/// True when an action is on the chain.
pub(crate) fn is_confirmed(relayed: &Relayed) -> bool {
    relayed.state == RelayState::Confirmed
}

/// Where an action stands: a part of what a command prints.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Standing {
    digest: Hash32,
    state: &'static str,
    tx_hash: Option<Hash32>,
    block_number: Option<u64>,
}

/// What a command did, and where its action stands.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Done<T> {
    #[serde(flatten)]
    pub(crate) what: T,
    #[serde(flatten)]
    pub(crate) standing: Standing,
}

impl<T> Done<T> {
    pub(crate) fn new(what: T, standing: impl Into<Standing>) -> Self {
        Self {
            what,
            standing: standing.into(),
        }
    }
}

impl Standing {
    /// How far the action is, for people.
    pub(crate) fn state(&self) -> String {
        self.state.to_owned()
    }

    /// Its transaction, for people.
    pub(crate) fn tx_hash(&self) -> String {
        self.tx_hash
            .map(|hash| hash.to_string())
            .unwrap_or_default()
    }
}

impl From<&Relayed> for Standing {
    fn from(relayed: &Relayed) -> Self {
        Self {
            digest: relayed.digest,
            state: relayed.state.name(),
            tx_hash: relayed.tx_hash,
            block_number: relayed.block_number,
        }
    }
}

impl From<&Publication> for Standing {
    fn from(publication: &Publication) -> Self {
        Self {
            digest: publication.id,
            state: publication.state.name(),
            tx_hash: publication.tx_hash,
            block_number: publication.block_number,
        }
    }
}

/// Waits until an action is on the chain and this peer has indexed its block;
/// gives up waiting, not the action, when the chain is away.
async fn wait(client: &Client, mut relayed: Relayed) -> anyhow::Result<Relayed> {
    let digest = relayed.digest;
    let begun = Instant::now();
    let mut checks: u32 = 0;
    while !is_confirmed(&relayed) {
        if relayed.state == RelayState::Failed {
            return failed(&relayed);
        }
        let is_away = checks % CHAIN_CHECKS == CHAIN_CHECKS - 1 && is_chain_away(client).await;
        if is_away || begun.elapsed() > WAIT_MAX {
            return Ok(relayed);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
        checks += 1;
        match client.relay_status(&digest).await {
            Ok(status) => relayed = status,
            Err(error) if error.is_not_found() || error.is_retryable() => {}
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(block) = relayed.block_number {
        wait_indexed(client, block).await?;
    }
    Ok(relayed)
}

/// Waits until the peer's index has reached a block.
pub(crate) async fn wait_indexed(client: &Client, block: u64) -> anyhow::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < WAIT_MAX {
        let health = client.health().await?;
        if health.index.height >= block {
            return Ok(());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    fail(
        "not_indexed",
        format!("the action is in block {block}, which the peer has not indexed yet"),
        "see `coliving status`",
    )
}

pub(crate) fn failed<T>(relayed: &Relayed) -> anyhow::Result<T> {
    let reason = relayed.error.as_deref().unwrap_or_default();
    fail(
        "action_failed",
        format!("the action was refused: {reason}"),
        "",
    )
}

/// True when the peer reaches no endpoint of the chain.
pub(crate) async fn is_chain_away(client: &Client) -> bool {
    let health = client.health().await;
    health.is_ok_and(|health| !health.chain.connected)
}

/// The user of a wallet: as the index says, else as this machine remembers.
async fn find_user(
    client: &Client,
    info: &NodeInfo,
    wallet: &UserWallet,
) -> anyhow::Result<Option<UserId>> {
    let rows = match client.users_by_wallet(wallet.address()).await {
        Ok(rows) => rows,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    if let Some(user) = rows.first() {
        return Ok(Some(UserId(user.user_id)));
    }
    let path = home::folder()?.join(USERS_FILE);
    let Some(remembered) = remembered(&path).remove(&user_key(info, wallet)) else {
        return Ok(None);
    };
    // Another network may stand at the same addresses: only a creation that this
    // one knows counts.
    let Ok(digest) = remembered.digest.parse() else {
        return Ok(None);
    };
    let is_known = client.relay_status(&digest).await.is_ok();
    Ok(is_known.then_some(UserId(remembered.user)))
}

/// A user whose creation is on its way into the index.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct RememberedUser {
    user: u64,
    /// Of the action that creates it.
    digest: String,
}

fn user_key(info: &NodeInfo, wallet: &UserWallet) -> String {
    let contracts = &info.contracts;
    let address = wallet.address();
    format!(
        "{}/{}/{address}",
        contracts.chain_id, contracts.entity_manager
    )
}

fn remembered(path: &std::path::Path) -> BTreeMap<String, RememberedUser> {
    // A damaged file only means that the index is asked.
    std::fs::read_to_string(path)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default()
}

/// The code of actions that contradict what is on the chain.
pub(crate) const REFUSED: &str = "refused";

/// What relayers call them.
const REFUSED_BY_RULES: &str = "simulation";

const USERS_FILE: &str = "users.json";
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A relayer may see an action on the chain before gossip brings it here.
const APPEAR_MAX: Duration = Duration::from_secs(20);
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Looks at an action between two looks at the chain.
const CHAIN_CHECKS: u32 = 20;
