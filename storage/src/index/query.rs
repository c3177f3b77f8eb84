//! Questions to a snapshot.

mod relations;

use std::ops::RangeInclusive;

use redb::ReadableTable;
use ring::digest::{Context, SHA256};

use protocol::codec;
use protocol::entity::{
    Comment, ContentList, DigitalContent, EntityType, Relation, Target, User, check_handle,
};
use protocol::entry::{Entry, Position, sha256};
use protocol::id::{Address, EntityId, Hash32, UserId};

use super::rows::{self, AppliedBlock, Rejected};
use super::view::{Rows, View};
use super::writer::{INSTANCE, TOUCHED_COUNT, TOUCHED_FLOOR};
use super::{IndexError, Snapshot, WINDOW_ROWS_MAX, keys};

/// Which part of a listing is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Most rows; cut to [`WINDOW_ROWS_MAX`].
    pub limit: usize,
    /// Rows to leave out.
    pub offset: usize,
}

/// A user with its counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserView {
    /// The user's own fields.
    pub user: User,
    /// Who follows it.
    pub follower_count: u64,
    /// Whom it follows.
    pub followee_count: u64,
    /// Its public digital contents.
    pub track_count: u64,
    /// Its public playlists.
    pub playlist_count: u64,
    /// Its public albums.
    pub album_count: u64,
    /// What it reposted.
    pub repost_count: u64,
    /// What it saved.
    pub save_count: u64,
}

/// A digital content with its counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentView {
    /// The digital content.
    pub content: DigitalContent,
    /// How often it is reposted.
    pub repost_count: u64,
    /// How often it is saved.
    pub favorite_count: u64,
    /// Comments on it that live.
    pub comment_count: u64,
}

/// A content list with its counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListView {
    /// The list's own fields.
    pub list: ContentList,
    /// How often it is reposted.
    pub repost_count: u64,
    /// How often it is saved.
    pub favorite_count: u64,
    /// How many digital contents it holds.
    pub track_count: u64,
}

/// A comment as a listing has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentView {
    /// The comment's own fields.
    pub comment: Comment,
}

/// A relation in a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelationRow {
    /// Who made it.
    pub user_id: UserId,
    /// What the relation points at.
    pub target: Target,
    /// Chain position of its making.
    pub sequence: u64,
}

/// Why something is in a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishedBy {
    /// Its owner published it.
    Owner,
    /// A followed user reposted it.
    Reposter(UserId),
}

/// One thing in a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedItem {
    /// A digital content or a content list.
    pub target: Target,
    /// Why it is here.
    pub by: PublishedBy,
    /// Chain position of publishing or reposting.
    pub sequence: u64,
}

impl Window {
    /// The first `limit` rows.
    #[must_use]
    pub const fn first(limit: usize) -> Self {
        Self { limit, offset: 0 }
    }

    fn take<T>(
        self,
        rows: impl Iterator<Item = Result<T, IndexError>>,
    ) -> Result<Vec<T>, IndexError> {
        rows.skip(self.offset)
            .take(self.limit.min(WINDOW_ROWS_MAX))
            .collect()
    }
}

/// What was applied of the chain.
impl Snapshot {
    /// The last block that was applied.
    ///
    /// # Errors
    ///
    /// Database errors, here and in every query.
    pub fn cursor(&self) -> Result<Option<AppliedBlock>, IndexError> {
        self.blocks
            .last()?
            .map(|(_, row)| rows::decode("block", row.value()))
            .transpose()
    }

    /// A block that was applied; old blocks without entries are forgotten.
    pub fn block(&self, number: u64) -> Result<Option<AppliedBlock>, IndexError> {
        self.blocks
            .get(number)?
            .map(|row| rows::decode("block", row.value()))
            .transpose()
    }

    /// The last applied block at or below a number: its peaks are the entries
    /// tree as of that number.
    pub fn block_at(&self, number: u64) -> Result<Option<AppliedBlock>, IndexError> {
        self.blocks
            .range(..=number)?
            .next_back()
            .map(|row| rows::decode("block", row?.1.value()))
            .transpose()
    }

    /// The root of the tree over all entry ids.
    pub fn entries_root(&self) -> Result<Hash32, IndexError> {
        Ok(self
            .cursor()?
            .map_or_else(|| sha256(&[]), |cursor| cursor.peaks.root()))
    }

    /// How many entries there are.
    pub fn entry_count(&self) -> Result<u64, IndexError> {
        Ok(self.cursor()?.map_or(0, |cursor| cursor.peaks.count))
    }

    /// Entries by [`protocol::entry::Position::sequence`], oldest first.
    pub fn entries(
        &self,
        range: RangeInclusive<u64>,
        limit: usize,
    ) -> Result<Vec<Entry>, IndexError> {
        self.entries
            .range(range)?
            .take(limit.min(ENTRIES_MAX))
            .map(|row| {
                let (_, row) = row?;
                let bytes = row.value();
                codec::from_bytes("entry", bytes, bytes.len())
                    .map_err(|_| IndexError::Damaged { what: "entry" })
            })
            .collect()
    }

    /// Where the action with a digest is, for up to 16 signers: anybody can
    /// record it with a signature that recovers somebody else.
    pub fn action(&self, digest: &Hash32) -> Result<Vec<(Address, u64)>, IndexError> {
        let prefix = keys::digest(digest);
        self.scan(&prefix)?
            .take(SIGNERS_MAX)
            .map(|row| {
                let (key, value) = row?;
                let signer = key.get(prefix.len()..).and_then(|key| key.try_into().ok());
                let signer: [u8; 20] = signer.ok_or(IndexError::Damaged { what: "digest" })?;
                Ok((Address(signer), rows::number("digest", &value)?))
            })
            .collect()
    }

    /// Where a wallet's action with a digest is.
    pub fn action_of(&self, digest: &Hash32, signer: &Address) -> Result<Option<u64>, IndexError> {
        self.row(&keys::digest_one(digest, signer))?
            .map(|value| rows::number("digest", &value))
            .transpose()
    }

    /// Where a wallet's action with a digest is, when the rules accepted it.
    pub fn accepted(
        &self,
        digest: &Hash32,
        signer: &Address,
    ) -> Result<Option<Position>, IndexError> {
        let Some(sequence) = self.action_of(digest, signer)? else {
            return Ok(None);
        };
        if self.row(&keys::rejected_one(sequence))?.is_some() {
            return Ok(None);
        }
        let entry = self.entries(sequence..=sequence, 1)?.pop();
        Ok(entry.map(|entry| entry.position))
    }

    /// Entries that changed nothing, newest first.
    pub fn rejected(&self, window: Window) -> Result<Vec<Rejected>, IndexError> {
        window.take(self.scan(&keys::rejected())?.rev().map(|row| {
            let (_, value) = row?;
            rows::decode("rejected", &value)
        }))
    }

    /// Why an entry changed nothing; `None` when it did, or is not known.
    pub fn rejection(&self, sequence: u64) -> Result<Option<Rejected>, IndexError> {
        self.row(&keys::rejected_one(sequence))?
            .map(|value| rows::decode("rejected", &value))
            .transpose()
    }
}

/// Users and their handles.
impl Snapshot {
    /// A user by number.
    pub fn user(&self, id: UserId) -> Result<Option<UserView>, IndexError> {
        let Some(user) = self.entity::<User>(EntityType::User, id.0)? else {
            return Ok(None);
        };
        let counts = self.counts(EntityType::User, id.0)?;
        Ok(Some(UserView {
            user,
            follower_count: counts.followers,
            followee_count: counts.following,
            track_count: counts.contents,
            playlist_count: counts.playlists,
            album_count: counts.albums,
            repost_count: counts.reposts,
            save_count: counts.saves,
        }))
    }

    /// A user by handle, in any case.
    pub fn user_by_handle(&self, handle: &str) -> Result<Option<UserView>, IndexError> {
        let Ok(handle) = check_handle(handle) else {
            return Ok(None);
        };
        match self.handle_user(&handle)? {
            Some(id) => self.user(id),
            None => Ok(None),
        }
    }

    /// The users of a wallet, by number.
    pub fn users_by_wallet(&self, wallet: Address) -> Result<Vec<UserView>, IndexError> {
        let prefix = keys::wallet(wallet);
        let ids = self.scan(&prefix)?.map(|row| {
            let (key, _) = row?;
            keys::number_at(&key, prefix.len()).ok_or(IndexError::Damaged { what: "wallet" })
        });
        let ids = Window::first(WINDOW_ROWS_MAX).take(ids)?;
        self.users(ids.into_iter().map(UserId))
    }

    /// Who follows a user, newest first.
    pub fn followers(&self, id: UserId, window: Window) -> Result<Vec<UserView>, IndexError> {
        let rows = self.received(Relation::Follow, Target::user(id), window)?;
        self.users(rows.into_iter().map(|row| row.user_id))
    }

    /// Whom a user follows, newest first.
    pub fn following(&self, id: UserId, window: Window) -> Result<Vec<UserView>, IndexError> {
        let rows = self.made(Relation::Follow, id, window)?;
        self.users(rows.into_iter().map(|row| UserId(row.target.id.0)))
    }

    fn users(&self, ids: impl Iterator<Item = UserId>) -> Result<Vec<UserView>, IndexError> {
        ids.filter_map(|id| self.user(id).transpose()).collect()
    }
}

/// Digital contents, lists, comments.
impl Snapshot {
    /// A digital content by number, unlisted and deleted ones too.
    pub fn content(&self, id: EntityId) -> Result<Option<ContentView>, IndexError> {
        let Some(content) = self.entity::<DigitalContent>(EntityType::Track, id.0)? else {
            return Ok(None);
        };
        let counts = self.counts(EntityType::Track, id.0)?;
        Ok(Some(ContentView {
            content,
            repost_count: counts.reposts,
            favorite_count: counts.saves,
            comment_count: counts.comments,
        }))
    }

    /// A content list by number, private and deleted ones too.
    pub fn list(&self, id: EntityId) -> Result<Option<ListView>, IndexError> {
        let Some(list) = self.entity::<ContentList>(EntityType::Playlist, id.0)? else {
            return Ok(None);
        };
        let counts = self.counts(EntityType::Playlist, id.0)?;
        Ok(Some(ListView {
            repost_count: counts.reposts,
            favorite_count: counts.saves,
            track_count: list.playlist_contents.track_ids.len() as u64,
            list,
        }))
    }

    /// A comment by number, deleted ones too.
    pub fn comment(&self, id: EntityId) -> Result<Option<CommentView>, IndexError> {
        let comment = self.entity(EntityType::Comment, id.0)?;
        Ok(comment.map(|comment| CommentView { comment }))
    }

    /// A user's digital contents, newest first; unlisted ones for the owner.
    pub fn contents_by_owner(
        &self,
        owner: UserId,
        with_unlisted: bool,
        window: Window,
    ) -> Result<Vec<ContentView>, IndexError> {
        let rows = self.newest(keys::owned(EntityType::Track, owner), |id| {
            let content = self.content(EntityId(id))?;
            Ok(content.filter(|view| {
                view.content.is_public() || (with_unlisted && !view.content.is_delete)
            }))
        })?;
        window.take(rows)
    }

    /// A user's lists, newest first; private ones for the owner. `is_album`
    /// chooses albums or playlists.
    pub fn lists_by_owner(
        &self,
        owner: UserId,
        is_album: Option<bool>,
        with_private: bool,
        window: Window,
    ) -> Result<Vec<ListView>, IndexError> {
        let rows = self.newest(keys::owned(EntityType::Playlist, owner), |id| {
            let list = self.list(EntityId(id))?;
            Ok(list.filter(|view| {
                is_album.is_none_or(|is_album| is_album == view.list.is_album)
                    && (view.list.is_public() || (with_private && !view.list.is_delete))
            }))
        })?;
        window.take(rows)
    }

    /// The digital contents that have a root, given as its CID's text; deleted
    /// ones are not among them.
    pub fn contents_by_root(
        &self,
        cid: &str,
        window: Window,
    ) -> Result<Vec<ContentView>, IndexError> {
        let prefix = keys::root(cid);
        let start = prefix.len();
        let rows = self.scan(&prefix)?.filter_map(move |row| {
            let id = row.and_then(|(key, _)| {
                keys::number_at(&key, start).ok_or(IndexError::Damaged { what: "root" })
            });
            match id {
                Ok(id) => self.content(EntityId(id)).transpose(),
                Err(error) => Some(Err(error)),
            }
        });
        window.take(rows)
    }

    /// Public digital contents, newest first.
    pub fn latest_contents(&self, window: Window) -> Result<Vec<ContentView>, IndexError> {
        let rows = self.newest(keys::public(EntityType::Track), |id| {
            self.content(EntityId(id))
        })?;
        window.take(rows)
    }

    /// What a list holds, in order, without what was deleted since.
    pub fn list_contents(
        &self,
        id: EntityId,
        window: Window,
    ) -> Result<Vec<ContentView>, IndexError> {
        let Some(view) = self.list(id)? else {
            return Ok(Vec::new());
        };
        let rows = view.list.ids().filter_map(|id| {
            self.content(id)
                .map(|content| content.filter(|view| !view.content.is_delete))
                .transpose()
        });
        window.take(rows)
    }

    /// The comments on a digital content, newest first.
    pub fn comments(
        &self,
        content: EntityId,
        window: Window,
    ) -> Result<Vec<CommentView>, IndexError> {
        let rows = self.newest(keys::comments(content), |id| self.comment(EntityId(id)))?;
        window.take(rows)
    }
}

/// What derives from the index.
impl Snapshot {
    /// Judges an action as if it came next; nothing changes.
    pub fn judge(
        &self,
        action: &protocol::action::Action,
        signer: Address,
        at: &protocol::entity::RecordedAt,
    ) -> Result<Result<Vec<protocol::entity::Change>, protocol::entity::Rejection>, IndexError>
    {
        let view = View::new(self);
        let verdict = protocol::entity::judge(&view, action, signer, at);
        view.into_result()?;
        Ok(verdict)
    }

    /// The user, if `signer` may do `action` for it in the block `height`.
    ///
    /// # Errors
    ///
    /// Database errors; within the answer what [`protocol::entity::may_act`] says.
    pub fn may_act(
        &self,
        user: UserId,
        signer: Address,
        action: &protocol::action::Action,
        height: u64,
    ) -> Result<Result<User, protocol::entity::Rejection>, IndexError> {
        let view = View::new(self);
        let verdict = protocol::entity::may_act(&view, user, signer, action, height);
        view.into_result()?;
        Ok(verdict)
    }

    /// A number that tells this index file from every other.
    pub(crate) fn instance(&self) -> Result<u64, IndexError> {
        self.number(INSTANCE)
    }

    /// How many changes of users, digital contents and lists there were.
    ///
    /// # Errors
    ///
    /// Database errors.
    pub fn touched_count(&self) -> Result<u64, IndexError> {
        self.number(TOUCHED_COUNT)
    }

    /// The number of the last change, and up to where changes were trimmed.
    pub(crate) fn touched_bounds(&self) -> Result<(u64, u64), IndexError> {
        Ok((self.number(TOUCHED_COUNT)?, self.number(TOUCHED_FLOOR)?))
    }

    /// Users, digital contents and lists that changed after `cursor`, in order
    /// of the changes, with the number of each change.
    pub fn touched(
        &self,
        cursor: u64,
    ) -> Result<impl Iterator<Item = Result<(u64, Target), IndexError>>, IndexError> {
        let rows = self.touched.range(cursor.saturating_add(1)..)?;
        Ok(rows.map(|row| {
            let damaged = || IndexError::Damaged { what: "touched" };
            let (number, row) = row?;
            let (&kind, id) = row.value().split_first().ok_or_else(damaged)?;
            let kind = keys::kind_of(kind).ok_or_else(damaged)?;
            let id = EntityId(rows::number("touched", id)?);
            Ok((number.value(), Target { kind, id }))
        }))
    }

    /// The ids of all entities of a kind, rising.
    pub(crate) fn ids(
        &self,
        kind: EntityType,
    ) -> Result<impl Iterator<Item = Result<u64, IndexError>> + use<>, IndexError> {
        let prefix = keys::entities(kind);
        let start = prefix.len();
        Ok(self.scan(&prefix)?.map(move |row| {
            let (key, _) = row?;
            keys::number_at(&key, start).ok_or(IndexError::Damaged { what: "entity" })
        }))
    }

    /// An entity as it is stored.
    pub(crate) fn stored<T: serde::de::DeserializeOwned>(
        &self,
        kind: EntityType,
        id: u64,
    ) -> Result<Option<T>, IndexError> {
        self.entity(kind, id)
    }

    /// A hash over every state row and the tree of entries: two indexes of the
    /// same chain have the same, whatever they applied and took back before.
    /// Reads the whole index.
    pub fn fingerprint(&self) -> Result<Hash32, IndexError> {
        let mut hash = Context::new(&SHA256);
        for row in self.state.iter()? {
            let (key, value) = row?;
            for part in [key.value(), value.value()] {
                hash.update(&(part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        hash.update(&self.entries_root()?.0);
        let mut fingerprint = Hash32::ZERO;
        fingerprint.0.copy_from_slice(hash.finish().as_ref());
        Ok(fingerprint)
    }

    /// Every state row; two indexes of the same blocks have the same.
    #[cfg(test)]
    pub(super) fn all_rows(&self) -> Result<Vec<KeyAndValue>, IndexError> {
        let rows = self.state.iter()?;
        rows.map(|row| {
            let (key, value) = row?;
            Ok((key.value().to_vec(), value.value().to_vec()))
        })
        .collect()
    }

    fn number(&self, name: &'static str) -> Result<u64, IndexError> {
        Ok(self.meta.get(name)?.map_or(0, |value| value.value()))
    }

    /// Rows whose key begins with `prefix`, in key order.
    pub(super) fn scan(
        &self,
        prefix: &[u8],
    ) -> Result<impl DoubleEndedIterator<Item = Result<KeyAndValue, IndexError>> + use<>, IndexError>
    {
        self.scan_between(prefix, &keys::end_of(prefix))
    }

    /// Rows from one key up to another, in key order.
    pub(super) fn scan_between(
        &self,
        start: &[u8],
        end: &[u8],
    ) -> Result<impl DoubleEndedIterator<Item = Result<KeyAndValue, IndexError>> + use<>, IndexError>
    {
        let rows = self.state.range::<&[u8]>(start..end)?;
        Ok(rows.map(|row| {
            let (key, value) = row?;
            Ok((key.value().to_vec(), value.value().to_vec()))
        }))
    }

    /// A listing backwards, each id turned into what `find` finds.
    fn newest<'a, T: 'a>(
        &'a self,
        prefix: Vec<u8>,
        find: impl Fn(u64) -> Result<Option<T>, IndexError> + 'a,
    ) -> Result<impl Iterator<Item = Result<T, IndexError>> + 'a, IndexError> {
        let start = prefix.len();
        Ok(self.scan(&prefix)?.rev().filter_map(move |row| {
            let id = row.and_then(|(key, _)| {
                keys::sequence_and_id(&key, start).ok_or(IndexError::Damaged { what: "listing" })
            });
            match id {
                Ok((_, id)) => find(id).transpose(),
                Err(error) => Some(Err(error)),
            }
        }))
    }
}

pub(super) type KeyAndValue = (Vec<u8>, Vec<u8>);

impl Rows for Snapshot {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        Ok(self.state.get(key)?.map(|row| row.value().to_vec()))
    }
}

/// Signers of one digest that are told. Chosen: one is the rule, and whoever adds
/// others pays for a transaction each.
const SIGNERS_MAX: usize = 16;

/// Most entries that one call returns. Derived: twice what one answer to a peer holds.
const ENTRIES_MAX: usize = 4096;
