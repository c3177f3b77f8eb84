//! The rows that follow from an entity or a relation.

use protocol::entity::{
    Comment, ContentList, DigitalContent, EntityType, NamesRoots, Relation, Target, User,
};
use protocol::id::UserId;

use super::Writer;
use crate::index::rows::{self, Counts};
use crate::index::view::Rows;
use crate::index::{IndexError, keys, references};

impl Writer<'_> {
    pub(super) fn put_user(&mut self, user: &User, sequence: u64) -> Result<(), IndexError> {
        let key = keys::entity(EntityType::User, user.user_id.0);
        let before: Option<User> = self.entity(EntityType::User, user.user_id.0)?;
        self.put_references(EntityType::User, before.as_ref(), user, sequence)?;
        if before.is_none() {
            let id = user.user_id.0.to_be_bytes().to_vec();
            let handle = keys::handle(&user.handle.to_ascii_lowercase());
            self.put(handle, Some(id))?;
            let wallet = keys::wallet_user(user.wallet, user.user_id);
            self.put(wallet, Some(Vec::new()))?;
        }
        self.touch(EntityType::User, user.user_id.0)?;
        self.put(key, Some(rows::encode(user)))
    }

    pub(super) fn put_content(
        &mut self,
        content: &DigitalContent,
        sequence: u64,
    ) -> Result<(), IndexError> {
        let id = content.track_id;
        let owner = content.owner_id;
        let before: Option<DigitalContent> = self.entity(EntityType::Track, id.0)?;
        self.put_references(EntityType::Track, before.as_ref(), content, sequence)?;
        let was_public = before.as_ref().is_some_and(DigitalContent::is_public);
        if before.is_none() {
            let key = keys::owned_one(EntityType::Track, owner, content.created_sequence, id);
            self.put(key, Some(Vec::new()))?;
        }
        let root_before = before
            .as_ref()
            .filter(|before| !before.is_delete)
            .map(|before| before.cid.as_str());
        let root_after = (!content.is_delete).then_some(content.cid.as_str());
        if root_before != root_after {
            if let Some(cid) = root_before {
                self.put(keys::root_content(cid, id), None)?;
            }
            if let Some(cid) = root_after {
                self.put(keys::root_content(cid, id), Some(Vec::new()))?;
            }
        }
        if was_public != content.is_public() {
            let key = keys::public_one(EntityType::Track, content.created_sequence, id);
            self.put(key, content.is_public().then(Vec::new))?;
            self.count(EntityType::User, owner.0, |counts| {
                step(&mut counts.contents, content.is_public());
            })?;
        }
        self.touch(EntityType::Track, id.0)?;
        self.put(
            keys::entity(EntityType::Track, id.0),
            Some(rows::encode(content)),
        )
    }

    pub(super) fn put_list(&mut self, list: &ContentList, sequence: u64) -> Result<(), IndexError> {
        let id = list.playlist_id;
        let owner = list.playlist_owner_id;
        let before: Option<ContentList> = self.entity(EntityType::Playlist, id.0)?;
        self.put_references(EntityType::Playlist, before.as_ref(), list, sequence)?;
        let was_public = before.as_ref().is_some_and(ContentList::is_public);
        if before.is_none() {
            let key = keys::owned_one(EntityType::Playlist, owner, list.created_sequence, id);
            self.put(key, Some(Vec::new()))?;
        }
        if was_public != list.is_public() {
            let key = keys::public_one(EntityType::Playlist, list.created_sequence, id);
            self.put(key, list.is_public().then(Vec::new))?;
            self.count(EntityType::User, owner.0, |counts| {
                let count = if list.is_album {
                    &mut counts.albums
                } else {
                    &mut counts.playlists
                };
                step(count, list.is_public());
            })?;
        }
        self.touch(EntityType::Playlist, id.0)?;
        self.put(
            keys::entity(EntityType::Playlist, id.0),
            Some(rows::encode(list)),
        )
    }

    pub(super) fn put_comment(&mut self, comment: &Comment) -> Result<(), IndexError> {
        let id = comment.comment_id;
        let before: Option<Comment> = self.entity(EntityType::Comment, id.0)?;
        let was_shown = before.is_some_and(|before| !before.is_delete);
        if was_shown == comment.is_delete {
            let key = keys::comments_one(comment.entity_id, comment.created_sequence, id);
            self.put(key, (!comment.is_delete).then(Vec::new))?;
            self.count(EntityType::Track, comment.entity_id.0, |counts| {
                step(&mut counts.comments, !comment.is_delete);
            })?;
        }
        self.put(
            keys::entity(EntityType::Comment, id.0),
            Some(rows::encode(comment)),
        )
    }

    fn put_references<E: NamesRoots>(
        &mut self,
        kind: EntityType,
        before: Option<&E>,
        after: &E,
        sequence: u64,
    ) -> Result<(), IndexError> {
        for (key, value) in references::changes(&*self, kind, before, after, sequence)? {
            self.put(key, value)?;
        }
        Ok(())
    }

    pub(super) fn relate(
        &mut self,
        relation: Relation,
        user: UserId,
        target: Target,
        sequence: u64,
    ) -> Result<(), IndexError> {
        let value = sequence.to_be_bytes().to_vec();
        self.put(keys::relation(relation, user, target), Some(value))?;
        self.put(
            keys::made_one(relation, user, sequence, target),
            Some(Vec::new()),
        )?;
        self.put(
            keys::received_one(relation, target, sequence, user),
            Some(Vec::new()),
        )?;
        self.count_relation(relation, user, target, true)
    }

    pub(super) fn unrelate(
        &mut self,
        relation: Relation,
        user: UserId,
        target: Target,
    ) -> Result<(), IndexError> {
        let key = keys::relation(relation, user, target);
        let Some(value) = self.row(&key)? else {
            return Ok(());
        };
        let sequence = rows::number("relation", &value)?;
        self.put(key, None)?;
        self.put(keys::made_one(relation, user, sequence, target), None)?;
        self.put(keys::received_one(relation, target, sequence, user), None)?;
        self.count_relation(relation, user, target, false)
    }

    fn count_relation(
        &mut self,
        relation: Relation,
        user: UserId,
        target: Target,
        is_new: bool,
    ) -> Result<(), IndexError> {
        if relation == Relation::Subscribe {
            return Ok(());
        }
        self.count(EntityType::User, user.0, |counts| {
            let count = match relation {
                Relation::Follow | Relation::Subscribe => &mut counts.following,
                Relation::Save => &mut counts.saves,
                Relation::Repost => &mut counts.reposts,
            };
            step(count, is_new);
        })?;
        self.count(target.kind, target.id.0, |counts| {
            let count = match relation {
                Relation::Follow | Relation::Subscribe => &mut counts.followers,
                Relation::Save => &mut counts.saves,
                Relation::Repost => &mut counts.reposts,
            };
            step(count, is_new);
        })
    }

    fn count(
        &mut self,
        kind: EntityType,
        id: u64,
        change: impl FnOnce(&mut Counts),
    ) -> Result<(), IndexError> {
        let mut counts = self.counts(kind, id)?;
        change(&mut counts);
        self.put(keys::counts(kind, id), Some(counts.to_bytes()))
    }
}

const fn step(count: &mut u64, is_up: bool) {
    *count = if is_up {
        count.saturating_add(1)
    } else {
        count.saturating_sub(1)
    };
}
