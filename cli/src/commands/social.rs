//! Follows, saves, reposts and comments.

use client::api::{Comment, PublicId};
use client::{Page, draw_id};
use protocol::entity::build::CommentFields;
use protocol::entity::{EntityType, Relation, Target};
use protocol::hashid;
use protocol::id::{EntityId, UserId};
use serde::Serialize;

use super::find::{handle_of, resolve_content, resolve_item, resolve_user, target_of};
use crate::acting::{Actor, Done, REFUSED, Waiting};
use crate::context::Context;
use crate::failure::{Failure, USAGE, fail};
use crate::output::{fields, table};
use crate::session::Session;

/// Whom to follow.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving follow ada
  coliving unfollow ada")]
pub(crate) struct UserTarget {
    /// Handle or id of the user
    #[arg(value_name = "HANDLE|ID")]
    user: String,
    #[command(flatten)]
    waiting: Waiting,
}

/// What to save or repost.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving save ID
  coliving repost ID
  coliving save --list ID")]
pub(crate) struct ItemTarget {
    /// Id of a digital content or a content list
    #[arg(value_name = "ID")]
    id: String,
    /// The id is one of a content list
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    waiting: Waiting,
}

/// Arguments of `coliving comment`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  coliving comment ID \"What a bass line\"
  coliving comment ID \"Here!\" --at 42
  coliving comment ID                         reads the comments")]
pub(crate) struct CommentArgs {
    /// Id of the digital content
    #[arg(value_name = "ID")]
    id: String,
    /// What to say; without it the comments are printed
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// The comment that this one answers
    #[arg(long, value_name = "COMMENT", requires = "text")]
    reply_to: Option<String>,
    /// Second of the sound or video that it is about
    #[arg(long, value_name = "SECONDS", requires = "text")]
    at: Option<u64>,
    #[command(flatten)]
    waiting: Waiting,
}

pub(crate) async fn follow(
    context: &Context,
    args: UserTarget,
    is_new: bool,
) -> anyhow::Result<()> {
    context
        .with_peer(async |session| {
            let user = resolve_user(&session.client, &args.user).await?;
            let target = Target::user(UserId(user.user_id));
            let verb = if is_new { "follow" } else { "unfollow" };
            let name = user.handle;
            relate(
                context,
                session,
                Relation::Follow,
                target,
                is_new,
                args.waiting,
                (verb, &name),
            )
            .await
        })
        .await
}

pub(crate) async fn save(context: &Context, args: ItemTarget, is_new: bool) -> anyhow::Result<()> {
    let verb = if is_new { "save" } else { "unsave" };
    item(context, args, Relation::Save, is_new, verb).await
}

pub(crate) async fn repost(
    context: &Context,
    args: ItemTarget,
    is_new: bool,
) -> anyhow::Result<()> {
    let verb = if is_new { "repost" } else { "unrepost" };
    item(context, args, Relation::Repost, is_new, verb).await
}

async fn item(
    context: &Context,
    args: ItemTarget,
    relation: Relation,
    is_new: bool,
    verb: &'static str,
) -> anyhow::Result<()> {
    context
        .with_peer(async |session| {
            let item = resolve_item(&session.client, &args.id, args.list).await?;
            let target = target_of(&item);
            relate(
                context,
                session,
                relation,
                target,
                is_new,
                args.waiting,
                (verb, item.title()),
            )
            .await
        })
        .await
}

/// What commands about relations print.
#[derive(Debug, Serialize)]
struct RelatedTo {
    action: String,
    target: PublicId,
    #[serde(rename = "type")]
    kind: &'static str,
}

async fn relate(
    context: &Context,
    session: &Session,
    relation: Relation,
    target: Target,
    is_new: bool,
    waiting: Waiting,
    (verb, name): (&str, &str),
) -> anyhow::Result<()> {
    let actor = Actor::open(session, &context.global).await?;
    let action = if is_new {
        actor.builder().relate(relation, target)
    } else {
        actor.builder().unrelate(relation, target)
    };
    let done = actor.act(action, waiting).await;
    let done = done.map_err(|error| refused(error, verb, name))?;
    let related = RelatedTo {
        action: verb.to_owned(),
        target: PublicId(target.id.0),
        kind: target.kind.name(),
    };
    let value = Done::new(related, &done);
    context.output.result(&value, || {
        fields([(verb, name.to_owned()), ("state", value.standing.state())])
    })
}

/// Says what was refused by its name, and what undoes it.
fn refused(error: anyhow::Error, verb: &str, name: &str) -> anyhow::Error {
    let failure = Failure::of(&error);
    if failure.code != REFUSED {
        return error;
    }
    let opposite = match verb.strip_prefix("un") {
        Some(verb) => verb.to_owned(),
        None => format!("un{verb}"),
    };
    Failure::new(
        REFUSED,
        format!("cannot {verb} `{name}`: {}", failure.message),
        format!("`coliving {opposite}` does the opposite"),
    )
    .into()
}

/// What `coliving comment` prints of a new comment.
#[derive(Debug, Serialize)]
struct Commented {
    id: PublicId,
    comment_id: u64,
    digital_content: PublicId,
}

/// What it prints of those that are there.
#[derive(Debug, Serialize)]
struct Comments<'a> {
    comments: &'a [Comment],
}

pub(crate) async fn comment(context: &Context, args: CommentArgs) -> anyhow::Result<()> {
    context
        .with_peer(async |session| {
            let content = resolve_content(&session.client, &args.id).await?;
            let content = EntityId(content.track_id);
            let Some(body) = args.text.clone() else {
                return comments(context, session, content).await;
            };
            if body.trim().is_empty() {
                return fail(
                    USAGE,
                    "the comment has no words",
                    "write `coliving comment ID \"WORDS\"`; without a text the comments are printed",
                );
            }
            let actor = Actor::open(session, &context.global).await?;
            let id = EntityId(draw_id(EntityType::Comment));
            let mut comment = CommentFields::new(content, body);
            comment.track_timestamp_s = args.at;
            comment.parent_comment_id = match &args.reply_to {
                None => None,
                Some(parent) => match hashid::parse(parent) {
                    Some(id) => Some(EntityId(id)),
                    None => {
                        return fail("id", format!("`{parent}` is not the id of a comment"), "");
                    }
                },
            };
            let action = actor.builder().create_comment(id, &comment);
            let done = actor.act(action, args.waiting).await?;
            let commented = Commented {
                id: PublicId(id.0),
                comment_id: id.0,
                digital_content: PublicId(content.0),
            };
            let value = Done::new(commented, &done);
            context.output.result(&value, || {
                let id = value.what.id.to_string();
                fields([("id", id), ("state", value.standing.state())])
            })
        })
        .await
}

async fn comments(context: &Context, session: &Session, content: EntityId) -> anyhow::Result<()> {
    let path = format!("/v1/tracks/{}/comments", PublicId(content.0));
    let page = Page {
        limit: 100,
        offset: 0,
    };
    let rows: Vec<Comment> = session.client.page(&path, page).await?;
    context.output.result(&Comments { comments: &rows }, || {
        let rows = rows.iter().map(|row| {
            [
                row.created_at.to_string(),
                handle_of(row.user.as_ref()),
                row.message.clone(),
                row.id.to_string(),
            ]
        });
        table(&["when", "who", "comment", "id"], rows)
    })
}
