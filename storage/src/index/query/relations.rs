//! Who follows, saves and reposts what, and feeds.

use std::collections::BTreeSet;

use protocol::entity::{Comment, ContentList, DigitalContent, EntityType, Relation, Target, User};
use protocol::id::{EntityId, UserId};

use super::{FeedItem, PublishedBy, RelationRow, Window};
use crate::index::view::Rows;
use crate::index::{IndexError, Snapshot, WINDOW_ROWS_MAX, keys};

/// Relations from both of their ends.
impl Snapshot {
    /// True while the relation stands.
    pub fn is_related(
        &self,
        relation: Relation,
        user: UserId,
        target: Target,
    ) -> Result<bool, IndexError> {
        Ok(self.row(&keys::relation(relation, user, target))?.is_some())
    }

    /// What a user followed, saved, …, newest first.
    pub fn made(
        &self,
        relation: Relation,
        user: UserId,
        window: Window,
    ) -> Result<Vec<RelationRow>, IndexError> {
        window.take(self.scan_made(relation, user)?)
    }

    /// Who followed, saved, … something, newest first.
    pub fn received(
        &self,
        relation: Relation,
        target: Target,
        window: Window,
    ) -> Result<Vec<RelationRow>, IndexError> {
        let prefix = keys::received(relation, target);
        let rows = self.scan(&prefix)?.rev().map(|row| {
            let (key, _) = row?;
            let (sequence, user) = keys::sequence_and_id(&key, prefix.len())
                .ok_or(IndexError::Damaged { what: "relation" })?;
            Ok(RelationRow {
                user_id: UserId(user),
                target,
                sequence,
            })
        });
        window.take(rows)
    }

    /// What the users that a user follows published and reposted, newest first,
    /// each thing once. Looks at the 1,000 newest follows.
    pub fn feed(&self, user: UserId, window: Window) -> Result<Vec<FeedItem>, IndexError> {
        let wanted = window
            .offset
            .saturating_add(window.limit.min(WINDOW_ROWS_MAX))
            .min(FEED_ITEMS_MAX);
        let mut items = Vec::new();
        let followed = self
            .scan_made(Relation::Follow, user)?
            .take(FEED_USERS_MAX)
            .collect::<Result<Vec<_>, _>>()?;
        for reference in followed {
            self.feed_of(UserId(reference.target.id.0), wanted, &mut items)?;
        }
        items.sort_unstable_by_key(|item: &FeedItem| std::cmp::Reverse(item.sequence));
        let mut seen = BTreeSet::new();
        Ok(items
            .into_iter()
            .filter(|item| seen.insert(item.target))
            .skip(window.offset)
            .take(window.limit.min(WINDOW_ROWS_MAX))
            .collect())
    }

    fn feed_of(
        &self,
        followed: UserId,
        wanted: usize,
        items: &mut Vec<FeedItem>,
    ) -> Result<(), IndexError> {
        for kind in [EntityType::Track, EntityType::Playlist] {
            let prefix = keys::owned(kind, followed);
            let rows = self.scan(&prefix)?.rev().map(|row| {
                let (key, _) = row?;
                let (sequence, id) = keys::sequence_and_id(&key, prefix.len())
                    .ok_or(IndexError::Damaged { what: "listing" })?;
                Ok(FeedItem {
                    target: Target {
                        kind,
                        id: EntityId(id),
                    },
                    by: PublishedBy::Owner,
                    sequence,
                })
            });
            self.extend_public(items, rows, wanted)?;
        }
        let reposts = self.scan_made(Relation::Repost, followed)?.map(|row| {
            row.map(|row| FeedItem {
                target: row.target,
                by: PublishedBy::Reposter(followed),
                sequence: row.sequence,
            })
        });
        self.extend_public(items, reposts, wanted)
    }

    fn extend_public(
        &self,
        items: &mut Vec<FeedItem>,
        rows: impl Iterator<Item = Result<FeedItem, IndexError>>,
        wanted: usize,
    ) -> Result<(), IndexError> {
        let mut left = wanted;
        for item in rows {
            if left == 0 {
                break;
            }
            let item = item?;
            if self.is_public(item.target)? {
                items.push(item);
                left -= 1;
            }
        }
        Ok(())
    }

    /// True when listings and search may show the entity.
    pub fn is_public(&self, target: Target) -> Result<bool, IndexError> {
        let id = target.id.0;
        Ok(match target.kind {
            EntityType::User => self
                .entity::<User>(target.kind, id)?
                .is_some_and(|user| user.is_public()),
            EntityType::Track => self
                .entity::<DigitalContent>(target.kind, id)?
                .is_some_and(|content| content.is_public()),
            EntityType::Playlist => self
                .entity::<ContentList>(target.kind, id)?
                .is_some_and(|list| list.is_public()),
            EntityType::Comment => self
                .entity::<Comment>(target.kind, id)?
                .is_some_and(|comment| !comment.is_delete),
        })
    }

    fn scan_made(
        &self,
        relation: Relation,
        user: UserId,
    ) -> Result<impl Iterator<Item = Result<RelationRow, IndexError>> + use<>, IndexError> {
        let prefix = keys::made(relation, user);
        Ok(self.scan(&prefix)?.rev().map(move |row| {
            let (key, _) = row?;
            let (sequence, target) = keys::sequence_and_target(&key, prefix.len())
                .ok_or(IndexError::Damaged { what: "relation" })?;
            Ok(RelationRow {
                user_id: user,
                target,
                sequence,
            })
        }))
    }
}

/// Most followed users that a feed looks at. Chosen: one seek each, so that a feed
/// takes milliseconds; who follows more sees the newest thousand's.
const FEED_USERS_MAX: usize = 1000;

/// Most things of one followed user that a feed looks at.
const FEED_ITEMS_MAX: usize = 1000;
