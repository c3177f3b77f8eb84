//! Which peer a command speaks to, and whose wallet signs.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use client::keystore::{self, Cost, UserWallet, WalletFile};
use client::{Client, home};
use node::builder::{Node, StartError};
use node::config::Config;

use crate::failure::{Failure, fail};
use crate::flags::Global;
use crate::output::Output;
use crate::paths::{CONFIG_FILE, LIGHT_FOLDER, NETWORK_FILE};
use crate::terminal::ask_secret;

/// A peer that answers, for the time of one command.
pub(crate) struct Session {
    /// Speaks to the peer.
    pub(crate) client: Client,
    /// How the command speaks.
    pub(crate) output: Output,
    ephemeral: Option<Light>,
}

/// A light peer for one command.
struct Light {
    node: Node,
    /// Its folder, when another command uses the lasting one.
    _folder: Option<tempfile::TempDir>,
}

impl Session {
    /// Finds the peer: `--node`, else the running local one, else a light peer
    /// for this command, if a network is known: from `config.toml` or
    /// [`NETWORK_FILE`] in `COLIVING_HOME`, or from the environment.
    pub(crate) async fn open(global: &Global, output: Output) -> anyhow::Result<Self> {
        let session = |client, ephemeral| Self {
            client,
            output,
            ephemeral,
        };
        let token = global.token.clone();
        if let Some(url) = &global.node {
            // The token of the own peer is for no other machine.
            let is_local = Client::new(url, None)?.is_local();
            let token = token.or_else(|| read_home("token").filter(|_| is_local));
            return Ok(session(Client::new(url, token)?, None));
        }
        if let Some(url) = read_home("node") {
            let client = Client::new(&url, token.clone().or_else(|| read_home("token")))?;
            let Err(error) = client.node().await else {
                return Ok(session(client, None));
            };
            let is_gone = matches!(error, client::ClientError::Away { .. });
            if !is_gone || !knows_network()? {
                return Err(error.into());
            }
        }
        if !knows_network()? {
            return fail(
                "no_peer",
                format!(
                    "no peer runs on this machine, and {} names no network: there is neither `node` nor `config.toml` nor `{NETWORK_FILE}`",
                    home::folder()?.display()
                ),
                "start `coliving devnet` in another terminal, or give `--node URL`",
            );
        }
        let light = start_light(output).await?;
        let client = Client::new(&light.node.url(), Some(light.node.token().to_owned()))?;
        Ok(session(client, Some(light)))
    }

    /// Stops the light peer of this command, if there is one.
    pub(crate) async fn close(self) {
        if let Some(light) = self.ephemeral {
            light.node.stop().await;
        }
    }
}

/// The peer that commands speak to, if one is named or runs here; it is not asked
/// whether it answers.
pub(crate) fn running_peer(global: &Global) -> anyhow::Result<Option<Client>> {
    let Some(url) = global.node.clone().or_else(|| read_home("node")) else {
        return Ok(None);
    };
    let is_local = Client::new(&url, None)?.is_local();
    let token = global.token.clone();
    let token = token.or_else(|| read_home("token").filter(|_| is_local));
    Ok(Some(Client::new(&url, token)?))
}

/// The folder of wallets.
pub(crate) fn wallets() -> anyhow::Result<PathBuf> {
    Ok(home::folder()?.join("wallets"))
}

/// The name that a new wallet gets.
pub(crate) fn new_wallet_name(global: &Global) -> String {
    global
        .wallet
        .clone()
        .unwrap_or_else(|| DEFAULT_WALLET.to_owned())
}

/// The wallet that is meant: `--wallet`, else `default`, else the only one.
pub(crate) fn wallet_file(global: &Global) -> anyhow::Result<WalletFile> {
    let folder = wallets()?;
    if let Some(name) = &global.wallet {
        return Ok(keystore::describe(&folder, name)?);
    }
    let mut found = keystore::list(&folder)?;
    if let Some(idx) = found.iter().position(|file| file.name == DEFAULT_WALLET) {
        return Ok(found.swap_remove(idx));
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => fail(
            "wallet_missing",
            format!("there is no wallet in {}", folder.display()),
            "make one with `coliving wallet new`",
        ),
        _ => {
            let names: Vec<String> = found.into_iter().map(|file| file.name).collect();
            fail(
                "wallet_missing",
                format!("there are several wallets: {}", names.join(", ")),
                "choose one with `--wallet NAME`",
            )
        }
    }
}

/// Opens the wallet that is meant.
pub(crate) fn unlock(global: &Global) -> anyhow::Result<(WalletFile, UserWallet)> {
    let (file, wallet, _) = unlock_with_password(global)?;
    Ok((file, wallet))
}

/// As [`unlock`], with the password that opened it.
pub(crate) fn unlock_with_password(
    global: &Global,
) -> anyhow::Result<(WalletFile, UserWallet, String)> {
    let file = wallet_file(global)?;
    let question = format!("Password of wallet `{}`: ", file.name);
    let password = password(global, &question, false)?;
    let working = Output::new(global.json, global.quiet).spinner("opening the wallet");
    let wallet = keystore::open(&wallets()?, &file.name, &password);
    working.finish_and_clear();
    Ok((file, wallet?, password))
}

/// Keeps a new wallet under a name.
pub(crate) fn save_wallet(
    global: &Global,
    name: &str,
    wallet: &UserWallet,
    password: &str,
    cost: Cost,
) -> anyhow::Result<WalletFile> {
    let working = Output::new(global.json, global.quiet).spinner("encrypting the wallet");
    let file = keystore::save(&wallets()?, name, wallet, password, cost);
    working.finish_and_clear();
    Ok(file?)
}

/// A password from a file or from the terminal, where a new one is asked twice.
pub(crate) fn password(global: &Global, question: &str, is_new: bool) -> anyhow::Result<String> {
    let hint = "give `--password-file FILE` or set COLIVING_PASSWORD_FILE";
    read_password(global.password_file.as_deref(), question, is_new, hint)
}

/// As [`password`], from another file.
pub(crate) fn read_password(
    file: Option<&Path>,
    question: &str,
    is_new: bool,
    hint: &'static str,
) -> anyhow::Result<String> {
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the password file `{}`", path.display()))?;
        let password = text.strip_suffix('\n').unwrap_or(&text);
        let password = password.strip_suffix('\r').unwrap_or(password);
        if password.is_empty() {
            return fail(
                "password",
                format!("the password file `{}` is empty", path.display()),
                "write the password on its first line",
            );
        }
        return Ok(password.to_owned());
    }
    if !std::io::stdin().is_terminal() {
        return fail(
            "password",
            "a password is needed, and there is no terminal to ask for it",
            hint,
        );
    }
    let password = ask_secret(question)?;
    if password.is_empty() {
        return fail("password", "the password is empty", "");
    }
    if is_new {
        let again = ask_secret("The same again: ")?;
        if again != password {
            return fail("password", "the two passwords differ", "try again");
        }
    }
    Ok(password)
}

/// Reads a `config.toml`; relative paths in it start at its folder.
pub(crate) fn read_config(path: &Path) -> anyhow::Result<Config> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(
            "config",
            format!("cannot read `{}`: {error}", path.display()),
            "write one with `coliving init --data DIR`, or give `--config FILE`",
        )
    })?;
    let mut config = Config::read(&text, |name| std::env::var(name).ok())
        .with_context(|| format!("`{}` cannot be used:", path.display()))?;
    if config.data.is_relative()
        && let Some(folder) = path.parent()
    {
        config.data = folder.join(&config.data);
    }
    Ok(config)
}

/// The file that says which network is meant.
pub(crate) fn network_file() -> anyhow::Result<Option<PathBuf>> {
    let folder = home::folder()?;
    let files = [CONFIG_FILE, NETWORK_FILE].map(|name| folder.join(name));
    Ok(files.into_iter().find(|path| path.exists()))
}

fn knows_network() -> anyhow::Result<bool> {
    let is_in_environment = std::env::var_os("COLIVING_CHAIN_RPC").is_some();
    Ok(is_in_environment || network_file()?.is_some())
}

async fn start_light(output: Output) -> anyhow::Result<Light> {
    let waiting = output.spinner("starting a light peer");
    let mut config = match network_file()? {
        Some(path) => read_config(&path)?,
        None => Config {
            data: home::folder()?.join(LIGHT_FOLDER),
            ..Config::read("", |name| std::env::var(name).ok())
                .context("the environment names no network:")?
        },
    };
    if !config.is_light() {
        // The folder of a peer with roles is not for a light one.
        config.roles.clear();
        config.url = None;
        config.data = home::folder()?.join(LIGHT_FOLDER);
    }
    config.http.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    // Nobody has to find it.
    config.net.listen = ["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"]
        .map(|text| text.parse().expect("a literal multiaddress"))
        .to_vec();
    let (node, folder) = match Node::start(config.clone()).await {
        Err(StartError::Store(error)) if error.is_busy() => {
            let folder = tempfile::Builder::new()
                .prefix("coliving-light-")
                .tempdir()?;
            config.data = folder.path().to_owned();
            (Node::start(config).await?, Some(folder))
        }
        started => (started?, None),
    };
    waiting.set_message("reading what the network has");
    if !node.caught_up(CATCH_UP_MAX).await {
        output.note(BEHIND);
    }
    waiting.finish_and_clear();
    Ok(Light {
        node,
        _folder: folder,
    })
}

fn read_home(name: &str) -> Option<String> {
    let path = home::folder().ok()?.join(name);
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

const DEFAULT_WALLET: &str = "default";

/// How long a new light peer may take to learn what the network has.
pub(crate) const CATCH_UP_MAX: Duration = Duration::from_secs(20);

/// Said when it took longer.
pub(crate) const BEHIND: &str = "the index is behind the network; answers may lack what is new";
