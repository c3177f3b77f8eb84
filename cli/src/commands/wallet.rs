//! `coliving wallet`: keys of users, on this machine.

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use client::api::SignedVaultFields;
use client::home;
use client::keystore::{self, Cost, Entropy, KeystoreError, UserWallet, WalletFile};
use protocol::id::Hash32;
use protocol::records::{Iv, SCHEME_HEDGEHOG, SignedVault, VaultRecord};
use protocol::signing::Signed;
use protocol::vault;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::fail;
use crate::output::{fields, table};
use crate::session::{self, Session, new_wallet_name, wallets};
use crate::terminal::ask_secret;

/// What can be done with wallets.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Wallets are web3 secret storage files in COLIVING_HOME/wallets, one a wallet.
Keys never leave this machine; peers see signatures only.

Examples:
  coliving wallet new
  coliving wallet backup --username ada       an encrypted copy in the vault
  coliving wallet recover --username ada      on another machine")]
pub(crate) enum WalletCommand {
    /// Make a wallet
    New(NewArgs),
    /// List the wallets on this machine
    #[command(after_help = "Examples:\n  coliving wallet list")]
    List,
    /// Show one wallet
    Show(ShowArgs),
    /// Take a wallet in: a recovery phrase, a secret key or a keystore file
    Import(ImportArgs),
    /// Write a wallet's keystore to a file
    Export(ExportArgs),
    /// Keep an encrypted copy in the vault, found by user name and password
    Backup(VaultArgs),
    /// Get a wallet back from the vault by user name and password
    Recover(VaultArgs),
    /// Change a wallet's password, and that of its copy in the vault
    Password(PasswordArgs),
}

/// Arguments of `coliving wallet new`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving wallet new
  coliving wallet new --wallet band --password-file secret.txt --json")]
pub(crate) struct NewArgs {
    /// Name of the wallet [default: `default`]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Encrypt the file lightly and take any password: for wallets with nothing in them
    #[arg(long, env = "COLIVING_WALLET_LIGHT")]
    light: bool,
}

/// Arguments of `coliving wallet show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving wallet show
  coliving wallet show --phrase        the twelve words: whoever reads them owns the wallet")]
pub(crate) struct ShowArgs {
    /// Name of the wallet [default: `default`, or the only one]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print the recovery phrase too
    #[arg(long)]
    phrase: bool,
}

/// Arguments of `coliving wallet import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without FILE the recovery phrase or secret key is asked for, or read from stdin.
FILE is a phrase, a key, or a keystore under the same password.

Examples:
  coliving wallet import
  coliving wallet import keystore.json --wallet old")]
pub(crate) struct ImportArgs {
    /// A file with a phrase, a key or a keystore
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Arguments of `coliving wallet export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving wallet export ada.json
  coliving wallet export -              to stdout")]
pub(crate) struct ExportArgs {
    /// Where to, or `-` for stdout
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Arguments of `coliving wallet backup` and `coliving wallet recover`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The vault knows neither user name nor password: both make the key under which the
encrypted copy is found. The password is the wallet's.

Examples:
  coliving wallet backup --username ada
  coliving wallet recover --username ada --wallet ada")]
pub(crate) struct VaultArgs {
    /// User name, as an e-mail address or a handle; not published anywhere
    #[arg(long, value_name = "NAME", visible_alias = "user-name")]
    username: String,
}

/// Arguments of `coliving wallet password`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The password before opens the wallet as ever (`--password-file`). A copy in the vault is
found by its password, so that it is written anew and the one before is ended.

Examples:
  coliving wallet password
  coliving wallet password --username ada                 its copy in the vault too
  coliving wallet password --new-password-file new.txt")]
pub(crate) struct PasswordArgs {
    /// User name under which the vault keeps a copy
    #[arg(long, value_name = "NAME", visible_alias = "user-name")]
    username: Option<String>,
    /// File whose first line is the new password [default: ask on the terminal]
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
}

pub(crate) async fn run(context: &Context, command: WalletCommand) -> anyhow::Result<()> {
    match command {
        WalletCommand::New(args) => new(context, args),
        WalletCommand::List => list(context),
        WalletCommand::Show(args) => show(context, args),
        WalletCommand::Import(args) => import(context, args),
        WalletCommand::Export(args) => export(context, &args),
        WalletCommand::Backup(args) => backup(context, &args).await,
        WalletCommand::Recover(args) => recover(context, &args).await,
        WalletCommand::Password(args) => change_password(context, &args).await,
    }
}

fn new(context: &Context, args: NewArgs) -> anyhow::Result<()> {
    let name = args
        .name
        .unwrap_or_else(|| new_wallet_name(&context.global));
    refuse_taken(&name)?;
    let question = format!("New password for wallet `{name}`: ");
    let password = session::password(&context.global, &question, true)?;
    let cost = match args.light {
        true => Cost::Light,
        false => {
            vault::check_password("", &password)?;
            Cost::Standard
        }
    };
    let wallet = UserWallet::from_entropy(Entropy::random());
    let file = session::save_wallet(&context.global, &name, &wallet, &password, cost)?;
    print(context, &file)?;
    let output = context.output;
    output.hint("write the twelve words down that `coliving wallet show --phrase` prints:");
    output.hint("nobody can give a wallet back whose password and words are lost");
    output.hint("create your user with `coliving user create --handle HANDLE`");
    Ok(())
}

fn list(context: &Context) -> anyhow::Result<()> {
    let found = keystore::list(&wallets()?)?;
    let rows: Vec<Value> = found.iter().map(row).collect();
    context.output.result(&json!({ "wallets": rows }), || {
        let rows = found.iter().map(|file| {
            let path = file.path.display().to_string();
            [file.name.clone(), address(file), path]
        });
        table(&["wallet", "address", "file"], rows)
    })?;
    if found.is_empty() {
        context.output.hint("make one with `coliving wallet new`");
    }
    Ok(())
}

fn show(context: &Context, args: ShowArgs) -> anyhow::Result<()> {
    let mut global = context.global.clone();
    global.wallet = args.name.or(global.wallet);
    if !args.phrase {
        return print(context, &session::wallet_file(&global)?);
    }
    let (file, wallet) = session::unlock(&global)?;
    let Some(entropy) = wallet.entropy() else {
        return no_entropy(&file.name);
    };
    let mut value = row(&file);
    value["phrase"] = json!(entropy.phrase());
    context.output.result(&value, || entropy.phrase())
}

fn import(context: &Context, args: ImportArgs) -> anyhow::Result<()> {
    let name = new_wallet_name(&context.global);
    refuse_taken(&name)?;
    let text = match &args.file {
        Some(path) => std::fs::File::open(path)
            .and_then(read_import)
            .with_context(|| format!("cannot read `{}`", path.display()))?,
        None if std::io::stdin().is_terminal() => ask_secret("Recovery phrase or secret key: ")?,
        None => read_import(std::io::stdin()).context("cannot read a phrase or key from stdin")?,
    };
    let is_keystore = text.trim_start().starts_with('{');
    let question = if is_keystore {
        "Password of the keystore: ".to_owned()
    } else {
        format!("New password for wallet `{name}`: ")
    };
    let password = session::password(&context.global, &question, !is_keystore)?;
    let wallet = if is_keystore {
        let path = args.file.unwrap_or_else(|| PathBuf::from("stdin"));
        UserWallet::from_json(&name, &path, &text, &password)?
    } else if text.split_whitespace().count() > 1 {
        UserWallet::from_entropy(Entropy::from_phrase(&text)?)
    } else {
        UserWallet::from_hex(&text)?
    };
    vault::check_password("", &password)?;
    let cost = Cost::Standard;
    let file = session::save_wallet(&context.global, &name, &wallet, &password, cost)?;
    print(context, &file)
}

fn read_import(from: impl std::io::Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(IMPORT_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

fn export(context: &Context, args: &ExportArgs) -> anyhow::Result<()> {
    let file = session::wallet_file(&context.global)?;
    let text = std::fs::read_to_string(&file.path)
        .with_context(|| format!("cannot read `{}`", file.path.display()))?;
    if args.file.as_os_str() == "-" {
        return crate::output::line(text.trim_end());
    }
    if args.file.exists() {
        return fail(
            "exists",
            format!("`{}` exists already", args.file.display()),
            "choose another file; nothing is overwritten",
        );
    }
    home::write_secret(&args.file, text.as_bytes())?;
    let mut value = row(&file);
    value["exported"] = json!(args.file);
    context.output.result(&value, || {
        format!("wallet `{}` is in {}", file.name, args.file.display())
    })?;
    context
        .output
        .hint("the file opens with the wallet's password only; keep both");
    Ok(())
}

async fn backup(context: &Context, args: &VaultArgs) -> anyhow::Result<()> {
    let (file, wallet, password) = session::unlock_with_password(&context.global)?;
    vault::check_password(&args.username, &password)?;
    let Some(entropy) = wallet.entropy() else {
        return no_entropy(&file.name);
    };
    let iv = Iv(entropy_iv());
    let (username, secret) = (args.username.clone(), password.clone());
    let working = context.output.spinner("deriving the keys");
    let bytes = entropy.0;
    let (lookup_key, cipher_text) = tokio::task::spawn_blocking(move || {
        let lookup_key = vault::lookup_key(&username, &secret);
        (lookup_key, vault::encrypt_entropy(&bytes, &secret, &iv))
    })
    .await?;
    working.set_message("asking the identity peers");
    let known = context
        .with_peer(async |session| {
            let found = session.client.vault(&lookup_key).await?;
            let mut found = found.iter().filter_map(|found| decrypt(found, &password));
            let known = found.find_map(|(found, record)| record.filter(|_| found == *entropy));
            if let Some(record) = known {
                // Fewer than a majority may have it.
                session.client.put_vault(&record).await?;
                return Ok(true);
            }
            let domain = session.client.node().await?.contracts.domain();
            let record = VaultRecord {
                scheme: SCHEME_HEDGEHOG,
                lookup_key,
                iv,
                cipher_text: cipher_text.clone(),
                wallet: wallet.address(),
                version: 1,
                replaces: Hash32::ZERO,
            };
            let signed = Signed::new(record, &domain, &wallet.key);
            session.client.put_vault(&signed).await?;
            Ok(false)
        })
        .await?;
    working.finish_and_clear();
    let value = json!({
        "wallet": file.name,
        "address": wallet.address(),
        "username": args.username,
        "was_kept": known,
    });
    context.output.result(&value, || {
        format!(
            "wallet `{}` is kept in the vault for user name `{}`",
            file.name, args.username
        )
    })?;
    context.output.hint(&format!(
        "`coliving wallet recover --username {}` gets it back with the same password",
        args.username
    ));
    Ok(())
}

async fn recover(context: &Context, args: &VaultArgs) -> anyhow::Result<()> {
    let name = new_wallet_name(&context.global);
    refuse_taken(&name)?;
    let password = session::password(&context.global, "Password: ", false)?;
    let (username, secret) = (args.username.clone(), password.clone());
    let working = context.output.spinner("deriving the keys");
    let lookup_key =
        tokio::task::spawn_blocking(move || vault::lookup_key(&username, &secret)).await?;
    working.set_message("asking the identity peers");
    let (found, count) = context
        .with_peer(async |session| {
            let found = session.client.vault(&lookup_key).await?;
            let mut own = found.iter().filter_map(|found| decrypt(found, &password));
            let own = own.next();
            if let Some((_, Some(record))) = &own {
                // Replicas that lack it get it back; the wallet is recovered without.
                let _ = session.client.put_vault(record).await;
            }
            Ok((own, found.len()))
        })
        .await?;
    working.finish_and_clear();
    if count == 0 {
        return fail(
            "vault_missing",
            format!(
                "the vault keeps nothing for user name `{}` and this password",
                args.username
            ),
            "check both; the vault cannot tell which of them is wrong",
        );
    }
    let Some((entropy, _)) = found else {
        return Err(vault::CipherError::Password.into());
    };
    let wallet = UserWallet::from_entropy(entropy);
    let cost = Cost::Standard;
    let file = session::save_wallet(&context.global, &name, &wallet, &password, cost)?;
    print(context, &file)
}

/// The vault first: whatever stops it, the password before still opens the file, and
/// the same command goes on.
async fn change_password(context: &Context, args: &PasswordArgs) -> anyhow::Result<()> {
    let (file, wallet, before) = session::unlock_with_password(&context.global)?;
    let question = format!("New password for wallet `{}`: ", file.name);
    let new_file = args.new_password_file.as_deref();
    let hint = "give `--new-password-file FILE`";
    let after = session::read_password(new_file, &question, true, hint)?;
    let username = args.username.as_deref();
    vault::check_password(username.unwrap_or_default(), &after)?;
    if after == before {
        return fail(
            "password",
            "the new password is the one before",
            "choose another",
        );
    }
    if let Some(username) = username {
        move_record(context, &file, &wallet, username, [&before, &after]).await?;
    }
    let working = context.output.spinner("encrypting the wallet");
    keystore::replace(&wallets()?, &file.name, &wallet, &after)?;
    working.finish_and_clear();
    let value = json!({
        "wallet": file.name,
        "address": wallet.address(),
        "username": username,
    });
    context.output.result(&value, || match username {
        Some(_) => format!("wallet `{}` and its copy have a new password", file.name),
        None => format!("wallet `{}` has a new password", file.name),
    })?;
    if username.is_none() && wallet.entropy().is_some() {
        let hint = "a copy in the vault keeps the password before, unless `--username` names it";
        context.output.hint(hint);
    }
    Ok(())
}

/// Writes a wallet's copy under the password after, then ends the one before.
async fn move_record(
    context: &Context,
    file: &WalletFile,
    wallet: &UserWallet,
    username: &str,
    [before, after]: [&str; 2],
) -> anyhow::Result<()> {
    let Some(entropy) = wallet.entropy().cloned() else {
        return no_entropy(&file.name);
    };
    let iv = Iv(entropy_iv());
    let (name, [old, new]) = (username.to_owned(), [before.to_owned(), after.to_owned()]);
    let working = context.output.spinner("deriving the keys");
    let (old_key, new_key, cipher_text) = tokio::task::spawn_blocking(move || {
        let [old_key, new_key] = [&old, &new].map(|password| vault::lookup_key(&name, password));
        let cipher_text = vault::encrypt_entropy(&entropy.0, &new, &iv);
        (old_key, new_key, cipher_text)
    })
    .await?;
    working.set_message("asking the identity peers");
    let own = async |session: &Session, key: &Hash32, password: &str| {
        let found = session.client.vault(key).await?;
        let mut records = found.iter().filter_map(|found| decrypt(found, password)?.1);
        anyhow::Ok(records.find(|found| found.record.wallet == wallet.address()))
    };
    let is_there = context
        .with_peer(async |session| {
            let old = own(session, &old_key, before).await?;
            let moved = own(session, &new_key, after).await?;
            if old.is_none() && moved.is_none() {
                return Ok(false);
            }
            let domain = session.client.node().await?.contracts.domain();
            let record = moved.unwrap_or_else(|| {
                let record = VaultRecord {
                    scheme: SCHEME_HEDGEHOG,
                    lookup_key: new_key,
                    iv,
                    cipher_text: cipher_text.clone(),
                    wallet: wallet.address(),
                    version: 1,
                    replaces: old_key,
                };
                Signed::new(record, &domain, &wallet.key)
            });
            session.client.put_vault(&record).await?;
            let version = old.map_or(0, |old| old.record.version) + 1;
            let end = VaultRecord::tombstone(old_key, wallet.address(), version);
            let end = Signed::new(end, &domain, &wallet.key);
            session.client.put_vault(&end).await?;
            Ok(true)
        })
        .await?;
    working.finish_and_clear();
    if is_there {
        return Ok(());
    }
    fail(
        "vault_missing",
        format!(
            "the vault keeps nothing of wallet `{}` for user name `{username}`",
            file.name
        ),
        "leave `--username` away, or keep a copy first with `coliving wallet backup`",
    )
}

/// The entropy of a record and the record itself, when the password is of its owner:
/// others may keep theirs under the same lookup key, with any wallet's name.
fn decrypt(found: &SignedVaultFields, password: &str) -> Option<(Entropy, Option<SignedVault>)> {
    let iv: Iv = found.record.iv.parse().ok()?;
    let cipher_text = hex::decode(&found.record.cipher_text).ok()?;
    let entropy = Entropy(vault::decrypt_entropy(&cipher_text, password, &iv).ok()?);
    let Some(signature) = found.signature else {
        return Some((entropy, None));
    };
    let record = VaultRecord {
        scheme: SCHEME_HEDGEHOG,
        lookup_key: found.record.lookup_key.parse().ok()?,
        iv,
        cipher_text,
        wallet: found.wallet,
        version: found.version,
        replaces: found.replaces,
    };
    let is_own = UserWallet::from_entropy(entropy.clone()).address() == found.wallet;
    is_own.then_some((entropy, Some(Signed { record, signature })))
}

/// 16 fresh random bytes.
fn entropy_iv() -> [u8; 16] {
    Entropy::random().0
}

/// A taken name is said before a password is asked for.
fn refuse_taken(name: &str) -> anyhow::Result<()> {
    match keystore::describe(&wallets()?, name) {
        Ok(_) => Err(KeystoreError::Exists {
            name: name.to_owned(),
        }
        .into()),
        Err(KeystoreError::Missing { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn no_entropy<T>(name: &str) -> anyhow::Result<T> {
    fail(
        "wallet_without_entropy",
        format!("wallet `{name}` was imported as a bare key: it has no recovery phrase"),
        "keep its file with `coliving wallet export FILE`",
    )
}

fn print(context: &Context, file: &WalletFile) -> anyhow::Result<()> {
    context.output.result(&row(file), || {
        fields([
            ("wallet", file.name.clone()),
            ("address", address(file)),
            ("file", file.path.display().to_string()),
        ])
    })
}

fn row(file: &WalletFile) -> Value {
    json!({
        "wallet": file.name,
        "address": file.address,
        "file": file.path,
        "has_phrase": file.has_entropy,
    })
}

fn address(file: &WalletFile) -> String {
    file.address
        .map(|address| address.to_string())
        .unwrap_or_default()
}

/// A keystore is smaller than this.
const IMPORT_BYTES_MAX: u64 = 64 << 10;
