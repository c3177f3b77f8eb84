//! Publishing files and getting them back.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use cid::Cid;
use client::api::{Imported, PublicId, Publication, PublicationRoot, PublishState};
use client::{Client, ClientError, Download, DownloadConfig, Progress, draw_id};
use indicatif::ProgressBar;
use protocol::action::SignedAction;
use protocol::entity::build::ContentFields;
use protocol::entity::{
    ContentKind, DESCRIPTION_CHARS_MAX, EntityType, SHORT_TEXT_CHARS_MAX, TAGS_CHARS_MAX,
    TITLE_CHARS_MAX,
};
use protocol::id::{EntityId, Hash32};
use serde::Serialize;
use tokio::io::AsyncWriteExt as _;

use super::find::{find_content, link, resolve_content};
use crate::acting::{self, Actor, Done, Waiting};
use crate::context::Context;
use crate::failure::{USAGE, fail};
use crate::media::{HEAD_BYTES, mime_of};
use crate::output::fields;
use crate::session::Session;

/// Arguments of `coliving publish`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file is cut into blocks, replicated to staked peers that promise to hold it, and
announced on the chain. Any type of file, any size.

Examples:
  coliving publish song.flac --title \"First light\" --tag ambient --tag live
  coliving publish song.flac --image cover.png --genre Electronic
  coliving publish book.pdf --kind document --unlisted")]
pub(crate) struct PublishArgs {
    /// The file to publish
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Its title [default: the file's name]
    #[arg(long)]
    title: Option<String>,
    /// A tag; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// A picture file for the cover
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Genre or category
    #[arg(long)]
    genre: Option<String>,
    /// A mood, such as Peaceful
    #[arg(long)]
    mood: Option<String>,
    /// About the content
    #[arg(long)]
    description: Option<String>,
    /// Licence that it is under
    #[arg(long)]
    license: Option<String>,
    /// Audio, video, image, document or other [default: guessed from the file]
    #[arg(long, value_name = "KIND", value_parser = parse_kind)]
    kind: Option<ContentKind>,
    /// Found by its link only: no lists, no feed, no search
    #[arg(long)]
    unlisted: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Arguments of `coliving get`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A download that breaks off is kept as FILE.part, and the same command goes on from there.

Examples:
  coliving get ID
  coliving get bafy… -o song.flac
  coliving get ID -o - | ffplay -")]
pub(crate) struct GetArgs {
    /// Id of a digital content, or the CID of any file
    #[arg(value_name = "ID|CID")]
    what: String,
    /// Where to, or `-` for stdout [default: the name that it was published with]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if there is one
    #[arg(long)]
    force: bool,
}

/// Arguments of `coliving play`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The player gets the bytes on its standard input; `{url}` in the command stands for a
link that players which seek can use instead. Without a player the bytes go to stdout.

Examples:
  coliving play ID --player \"mpv -\"
  coliving play ID --player \"mpv {url}\"
  coliving play ID | ffplay -autoexit -")]
pub(crate) struct PlayArgs {
    /// Id of a digital content, or the CID of any file
    #[arg(value_name = "ID|CID")]
    what: String,
    /// Command that plays
    #[arg(long, value_name = "COMMAND", env = "COLIVING_PLAYER")]
    player: Option<String>,
}

/// Arguments of `coliving unpublish`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving unpublish ID")]
pub(crate) struct UnpublishArgs {
    /// Id of the digital content
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    waiting: Waiting,
}

fn parse_kind(text: &str) -> Result<ContentKind, String> {
    ContentKind::from_name(text)
        .ok_or_else(|| "use audio, video, image, document or other".to_owned())
}

/// Says before a byte is sent what the index would refuse at the end.
fn check_texts(args: &PublishArgs) -> anyhow::Result<()> {
    if args
        .title
        .as_ref()
        .is_some_and(|title| title.trim().is_empty())
    {
        return fail(
            USAGE,
            "`--title` is empty",
            "leave it out to use the file's name",
        );
    }
    let tags = Some(args.tags.join(","));
    for (flag, text, limit) in [
        ("--title", &args.title, TITLE_CHARS_MAX),
        ("--tag", &tags, TAGS_CHARS_MAX),
        ("--genre", &args.genre, SHORT_TEXT_CHARS_MAX),
        ("--mood", &args.mood, SHORT_TEXT_CHARS_MAX),
        ("--license", &args.license, SHORT_TEXT_CHARS_MAX),
        ("--description", &args.description, DESCRIPTION_CHARS_MAX),
    ] {
        let size = text.as_ref().map_or(0, |text| text.chars().count());
        if size > limit {
            return fail(
                USAGE,
                format!("`{flag}` has {size} characters, at most {limit} are allowed"),
                "shorten it",
            );
        }
    }
    Ok(())
}

/// What `coliving publish` prints.
#[derive(Debug, Serialize)]
struct Published {
    id: PublicId,
    track_id: u64,
    title: String,
    cid: String,
    proof_root: Hash32,
    size: u64,
    kind: Option<ContentKind>,
    cover_art: Option<String>,
    link: String,
    roots: Vec<PublicationRoot>,
}

/// What `coliving get` prints.
#[derive(Debug, Serialize)]
struct Gotten<'a> {
    cid: &'a str,
    file: &'a Path,
    size: u64,
}

/// What `coliving play` prints.
#[derive(Debug, Serialize)]
struct Played<'a> {
    cid: &'a str,
    player: &'a str,
}

/// What `coliving unpublish` prints.
#[derive(Debug, Serialize)]
struct Unpublished {
    id: PublicId,
    title: String,
}

pub(crate) async fn publish(context: &Context, args: PublishArgs) -> anyhow::Result<()> {
    check_texts(&args)?;
    let mime = look_at(&args.file)?;
    if let Some(image) = &args.image {
        let mime = look_at(image)?;
        if ContentKind::from_mime(mime) != ContentKind::Image {
            return fail(
                "image",
                format!("`{}` is {mime}, not a picture", image.display()),
                "give a PNG, JPEG, WebP or GIF file to `--image`",
            );
        }
    }
    context
        .with_peer(async |session| {
            let actor = Actor::open(session, &context.global).await?;
            let file = import(context, session, &args.file).await?;
            let image = match &args.image {
                Some(path) => Some(import(context, session, path).await?),
                None => None,
            };
            let fields = fields_of(&args, mime, &file, image.as_ref());
            let id = EntityId(draw_id(EntityType::Track));
            let action = actor.builder().create_digital_content(id, &fields);
            action.check_size()?;
            let domain = actor.info.contracts.action_domain();
            let signed = action.sign(&domain, &actor.wallet.key);
            let roots: Vec<Imported> = std::iter::once(file.clone()).chain(image).collect();
            let done = replicate(context, session, &signed, &roots, args.waiting).await?;
            let published = Published {
                id: PublicId(id.0),
                track_id: id.0,
                title: fields.title.unwrap_or_default(),
                cid: file.cid.clone(),
                proof_root: file.proof_root,
                size: file.size,
                kind: fields.kind,
                cover_art: fields.cover_art,
                link: link(&session.client, &file.cid),
                roots: done.roots.clone(),
            };
            let value = Done::new(published, &done);
            context.output.result(&value, || {
                let content = &value.what;
                crate::output::fields([
                    ("title", content.title.clone()),
                    ("id", content.id.to_string()),
                    ("cid", content.cid.clone()),
                    ("link", content.link.clone()),
                    ("state", value.standing.state()),
                    ("tx_hash", value.standing.tx_hash()),
                ])
            })?;
            let id = value.what.id;
            context.output.hint(&format!(
                "`coliving show {id}` shows it, `coliving root {}` says who holds it",
                file.cid
            ));
            Ok(())
        })
        .await
}

fn fields_of(
    args: &PublishArgs,
    mime: &str,
    file: &Imported,
    image: Option<&Imported>,
) -> ContentFields {
    let part =
        |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    ContentFields {
        title: args.title.clone().or_else(|| part(args.file.file_stem())),
        kind: Some(args.kind.unwrap_or_else(|| ContentKind::from_mime(mime))),
        cid: Some(file.cid.clone()),
        proof_root: Some(file.proof_root),
        size: Some(file.size),
        mime: Some(mime.to_owned()),
        file_name: part(args.file.file_name()),
        tags: Some(args.tags.join(",")).filter(|tags| !tags.is_empty()),
        genre: args.genre.clone(),
        mood: args.mood.clone(),
        description: args.description.clone(),
        license: args.license.clone(),
        cover_art: image.map(|image| image.cid.clone()),
        is_unlisted: args.unlisted.then_some(true),
        ..ContentFields::default()
    }
}

/// Says early that a file cannot be read, and what it is.
fn look_at(path: &Path) -> anyhow::Result<&'static str> {
    let metadata =
        std::fs::metadata(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    if !metadata.is_file() {
        return Err(ClientError::NotAFile {
            path: path.to_owned(),
        }
        .into());
    }
    let mut head = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(HEAD_BYTES as u64).read_to_end(&mut head))
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok(mime_of(path, &head))
}

pub(crate) async fn import(
    context: &Context,
    session: &Session,
    path: &Path,
) -> anyhow::Result<Imported> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let total = std::fs::metadata(path).map(|metadata| metadata.len()).ok();
    let bar = context.output.bytes(&format!("importing {name}"), total);
    let seen = bar.clone();
    let tell = move |progress: Progress| seen.set_position(progress.bytes);
    let imported = session.client.import(path, tell).await?;
    bar.finish_and_clear();
    Ok(imported)
}

/// Has the roots replicated and the action sent, and waits for both.
pub(crate) async fn replicate(
    context: &Context,
    session: &Session,
    signed: &SignedAction,
    roots: &[Imported],
    waiting: Waiting,
) -> anyhow::Result<Publication> {
    let client = &session.client;
    let id = client.publish(signed, roots).await?;
    let total = roots.iter().map(|root| root.dag_size).sum();
    let bar = context.output.bytes("replicating", Some(total));
    let mut publication = client.publication(&id).await?;
    let mut waited = Duration::ZERO;
    let mut heard = Instant::now();
    loop {
        show_progress(&bar, &publication);
        match publication.state {
            PublishState::Confirmed => break,
            PublishState::Failed => {
                let reason = publication.error.clone();
                return fail(
                    "publish_failed",
                    format!("the file was not published: {}", reason.unwrap_or_default()),
                    "what arrived at others stays there: run it again; `coliving peers` shows who is there",
                );
            }
            PublishState::Durable | PublishState::Relayed if waiting.no_wait => break,
            // Durable already: only the chain is waited for.
            PublishState::Relayed
                if waited > RELAY_WAIT_MAX
                    || waited > CHAIN_LOOK_AFTER && acting::is_chain_away(client).await =>
            {
                context
                    .output
                    .note("the chain has not taken the action yet; relayers keep it");
                context
                    .output
                    .hint(&format!("ask again with `coliving relay status {id}`"));
                break;
            }
            PublishState::Relayed => waited += POLL_INTERVAL,
            PublishState::Offering | PublishState::Durable => {}
        }
        tokio::time::sleep(POLL_INTERVAL).await;
        match client.publication(&id).await {
            Ok(next) => {
                publication = next;
                heard = Instant::now();
            }
            Err(error) if error.is_retryable() && heard.elapsed() < AWAY_MAX => {}
            Err(error) if error.is_retryable() => {
                return fail(
                    error.code(),
                    error.to_string(),
                    format!(
                        "the peer goes on with it when it runs again; then ask `coliving relay status {id}`"
                    ),
                );
            }
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(block) = publication.block_number
        && !waiting.no_wait
    {
        bar.set_message("waiting for the index");
        acting::wait_indexed(client, block).await?;
    }
    bar.finish_and_clear();
    Ok(publication)
}

fn show_progress(bar: &ProgressBar, publication: &Publication) {
    let bytes: u64 = publication.roots.iter().map(|root| root.bytes).sum();
    let total: u64 = publication.roots.iter().map(|root| root.bytes_total).sum();
    if total > 0 {
        bar.set_length(total);
    }
    bar.set_position(bytes);
    let leases = publication.roots.iter().map(|root| root.leases).min();
    let target = publication.roots.iter().map(|root| root.target).max();
    bar.set_message(match publication.state {
        PublishState::Relayed => "waiting for the chain".to_owned(),
        _ => format!(
            "replicating, {} of {} leases",
            leases.unwrap_or_default(),
            target.unwrap_or_default()
        ),
    });
}

/// What is to be downloaded.
struct Wanted {
    path: String,
    cid: String,
    /// The name that it was published with.
    name: Option<String>,
}

async fn resolve(client: &Client, what: &str) -> anyhow::Result<Wanted> {
    let path = what
        .trim_start_matches("ipfs://")
        .trim_start_matches("/ipfs/");
    let root = path.split('/').next().unwrap_or_default();
    if root.parse::<Cid>().is_ok() {
        return Ok(Wanted {
            path: path.to_owned(),
            cid: root.to_owned(),
            name: None,
        });
    }
    let Some(content) = find_content(client, what).await? else {
        return fail(
            "not_found",
            format!("`{what}` is not a CID, and there is no digital content with this id"),
            "find one with `coliving search WORDS`",
        );
    };
    Ok(Wanted {
        path: content.cid.clone(),
        cid: content.cid,
        name: content.file_name.as_deref().and_then(safe_name),
    })
}

/// A name that somebody else chose, if it can only mean a file right here.
fn safe_name(name: &str) -> Option<String> {
    let is_plain = !name.is_empty()
        && !name.starts_with(['.', '-'])
        && name.len() <= FILE_NAME_BYTES_MAX
        && !name.contains(['/', '\\', ':'])
        && !name.chars().any(char::is_control);
    is_plain.then(|| name.to_owned())
}

pub(crate) async fn get(context: &Context, args: GetArgs) -> anyhow::Result<()> {
    context
        .with_peer(async |session| {
            let wanted = resolve(&session.client, &args.what).await?;
            if args.output.as_deref() == Some(Path::new("-")) {
                return to_stdout(context, &session.client, wanted).await;
            }
            let target = args
                .output
                .clone()
                .unwrap_or_else(|| PathBuf::from(wanted.name.as_ref().unwrap_or(&wanted.cid)));
            if target.is_dir() {
                return fail(
                    "exists",
                    format!("`{}` is a directory", target.display()),
                    "give the name of a file to `--output`",
                );
            }
            if target.exists() && !args.force {
                return fail(
                    "exists",
                    format!("`{}` exists already", target.display()),
                    "replace it with `--force`, or choose another with `--output FILE`",
                );
            }
            let size = to_file(context, &session.client, &wanted, &target).await?;
            let value = Gotten {
                cid: &wanted.cid,
                file: &target,
                size,
            };
            context.output.result(&value, || {
                fields([
                    ("file", target.display().to_string()),
                    ("cid", wanted.cid.clone()),
                    ("size", crate::output::size(size)),
                ])
            })
        })
        .await
}

/// Downloads into `TARGET.part`, going on from what is there, and renames it.
async fn to_file(
    context: &Context,
    client: &Client,
    wanted: &Wanted,
    target: &Path,
) -> anyhow::Result<u64> {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    // The CID in the name keeps parts of different files apart.
    let short = wanted.cid.get(wanted.cid.len().saturating_sub(8)..);
    let part = target.with_file_name(format!("{name}.{}.part", short.unwrap_or_default()));
    let writing = || format!("cannot write `{}`", part.display());
    let mut file = tokio::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&part)
        .await
        .with_context(writing)?;
    let mut from = file.metadata().await.with_context(writing)?.len();
    let bar = context.output.bytes(&format!("getting {name}"), None);
    let mut tries = 0;
    loop {
        let before = from;
        let result = fill(client, wanted, &mut file, &mut from, &bar).await;
        file.flush().await.with_context(writing)?;
        match result {
            Ok(()) => break,
            Err(error) => {
                tries = if from > before { 0 } else { tries + 1 };
                let is_retryable = error
                    .downcast_ref::<ClientError>()
                    .is_some_and(ClientError::is_retryable);
                if !is_retryable || tries >= TRIES_MAX {
                    return Err(error);
                }
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }
    file.sync_all().await.with_context(writing)?;
    tokio::fs::rename(&part, target)
        .await
        .with_context(|| format!("cannot write `{}`", target.display()))?;
    bar.finish_and_clear();
    Ok(from)
}

async fn fill(
    client: &Client,
    wanted: &Wanted,
    file: &mut tokio::fs::File,
    from: &mut u64,
    bar: &ProgressBar,
) -> anyhow::Result<()> {
    let config = DownloadConfig {
        path: wanted.path.clone(),
        from: *from,
    };
    let mut download = client.download(config).await?;
    if download.position() != *from {
        file.set_len(download.position()).await?;
        *from = download.position();
    }
    while let Some(bytes) = advance(&mut download, bar).await? {
        file.write_all(&bytes)
            .await
            .context("cannot write the file")?;
        *from += bytes.len() as u64;
    }
    Ok(())
}

async fn advance(
    download: &mut Download,
    bar: &ProgressBar,
) -> Result<Option<impl AsRef<[u8]> + std::ops::Deref<Target = [u8]> + use<>>, ClientError> {
    let bytes = download.next().await?;
    if let Some(size) = download.size {
        bar.set_length(size);
    }
    bar.set_position(download.position());
    Ok(bytes)
}

async fn to_stdout(context: &Context, client: &Client, wanted: Wanted) -> anyhow::Result<()> {
    let bar = context.output.bytes("getting", None);
    let config = DownloadConfig {
        path: wanted.path,
        from: 0,
    };
    let mut download = client.download(config).await?;
    let mut stdout = std::io::stdout();
    while let Some(bytes) = advance(&mut download, &bar).await? {
        stdout.write_all(&bytes)?;
    }
    stdout.flush()?;
    bar.finish_and_clear();
    Ok(())
}

pub(crate) async fn play(context: &Context, args: PlayArgs) -> anyhow::Result<()> {
    let Some(player) = &args.player else {
        if std::io::stdout().is_terminal() {
            return fail(
                "player",
                "there is no player, and stdout is a terminal",
                "name one, such as `--player \"mpv -\"`, or set COLIVING_PLAYER",
            );
        }
        return context
            .with_peer(async |session| {
                let wanted = resolve(&session.client, &args.what).await?;
                to_stdout(context, &session.client, wanted).await
            })
            .await;
    };
    context
        .with_peer(async |session| {
            let wanted = resolve(&session.client, &args.what).await?;
            run_player(context, &session.client, wanted, player).await
        })
        .await
}

async fn run_player(
    context: &Context,
    client: &Client,
    wanted: Wanted,
    player: &str,
) -> anyhow::Result<()> {
    let root: Cid = wanted.cid.parse().context("the content has no CID")?;
    let url = client.file_url(&root, &wanted.path);
    let words: Vec<String> = player
        .split_whitespace()
        .map(|word| word.replace("{url}", &url))
        .collect();
    let Some((program, arguments)) = words.split_first() else {
        return fail("player", "the player's command is empty", "");
    };
    let takes_url = player.contains("{url}");
    let input = if takes_url {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(input)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start the player `{program}`"))?;
    if let Some(mut stdin) = child.stdin.take() {
        let config = DownloadConfig {
            path: wanted.path,
            from: 0,
        };
        let mut download = client.download(config).await?;
        let bar = ProgressBar::hidden();
        while let Some(bytes) = advance(&mut download, &bar).await? {
            // A player that has ended wants no more.
            if stdin.write_all(&bytes).await.is_err() {
                break;
            }
        }
    }
    let status = child.wait().await.context("cannot wait for the player")?;
    if !status.success() {
        return fail(
            "player",
            format!("the player `{program}` ended with {status}"),
            "",
        );
    }
    let value = Played {
        cid: &wanted.cid,
        player,
    };
    context.output.result(&value, String::new)
}

pub(crate) async fn unpublish(context: &Context, args: UnpublishArgs) -> anyhow::Result<()> {
    context
        .with_peer(async |session| {
            let content = resolve_content(&session.client, &args.id).await?;
            let id = EntityId(content.track_id);
            let actor = Actor::open(session, &context.global).await?;
            let action = actor.builder().delete_digital_content(id);
            let done = actor.act(action, args.waiting).await?;
            let unpublished = Unpublished {
                id: content.id,
                title: content.title,
            };
            let value = Done::new(unpublished, &done);
            context.output.result(&value, || {
                fields([
                    ("title", value.what.title.clone()),
                    ("id", value.what.id.to_string()),
                    ("state", value.standing.state()),
                ])
            })
        })
        .await
}

const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// How long a peer may be silent while it publishes.
const AWAY_MAX: Duration = Duration::from_secs(20);

/// After this wait a chain that is away is not waited for.
const CHAIN_LOOK_AFTER: Duration = Duration::from_secs(2);

/// How long the chain is waited for once the file is durable.
const RELAY_WAIT_MAX: Duration = Duration::from_secs(60);

/// Tries without a byte between them.
const TRIES_MAX: u32 = 5;
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
const FILE_NAME_BYTES_MAX: usize = 200;
