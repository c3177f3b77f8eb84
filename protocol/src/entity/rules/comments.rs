//! The rules of comments.

use super::{Case, EntityView, content_of};
use crate::entity::metadata::{Metadata, field};
use crate::entity::{
    COMMENT_CHARS_MAX, Change, Comment, EntityType, Rejection, SHORT_TEXT_CHARS_MAX,
};
use crate::id::EntityId;

impl<V: EntityView + ?Sized> Case<'_, V> {
    pub(super) fn create_comment(&self) -> Result<Vec<Change>, Rejection> {
        let user = self.acting_user()?;
        let id = self.action.entity_id;
        self.check_new_id(EntityType::Comment, self.view.comment(id).is_some())?;
        let mut data = Metadata::parse(&self.action.metadata)?;
        let mut kind = String::new();
        data.text(&mut kind, &["entity_type"], SHORT_TEXT_CHARS_MAX)?;
        if !kind.is_empty() && kind != EntityType::Track.name() {
            return Err(field("entity_type", "`Track`"));
        }
        let mut entity_id = None;
        data.optional_id(&mut entity_id, "entity_id")?;
        let entity_id = entity_id.ok_or(Rejection::Missing { field: "entity_id" })?;
        content_of(self.view, entity_id)?;
        let mut comment = Comment {
            comment_id: id,
            user_id: user.user_id,
            entity_id,
            created_at: self.at.time,
            created_sequence: self.at.sequence,
            ..Comment::default()
        };
        data.optional_id(&mut comment.parent_comment_id, "parent_comment_id")?;
        if let Some(parent) = comment.parent_comment_id
            && self.comment_of(parent)?.entity_id != entity_id
        {
            return Err(Rejection::Unknown {
                kind: EntityType::Comment,
                id: parent,
            });
        }
        data.optional_number(&mut comment.track_timestamp_s, "track_timestamp_s")?;
        self.fill_comment(&mut comment, data)?;
        Ok(vec![Change::Comment(Box::new(comment))])
    }

    pub(super) fn update_comment(&self) -> Result<Vec<Change>, Rejection> {
        let user = self.acting_user()?;
        let mut comment = self.comment_of(self.action.entity_id)?;
        if comment.user_id != user.user_id {
            return Err(self.not_owner(EntityType::Comment));
        }
        let data = Metadata::parse(&self.action.metadata)?;
        comment.is_edited = true;
        self.fill_comment(&mut comment, data)?;
        Ok(vec![Change::Comment(Box::new(comment))])
    }

    /// Its author may take a comment away, and the owner of what it is about.
    pub(super) fn delete_comment(&self) -> Result<Vec<Change>, Rejection> {
        let user = self.acting_user()?;
        let mut comment = self.comment_of(self.action.entity_id)?;
        let is_host = || {
            self.view
                .digital_content(comment.entity_id)
                .is_some_and(|content| content.owner_id == user.user_id)
        };
        if comment.user_id != user.user_id && !is_host() {
            return Err(self.not_owner(EntityType::Comment));
        }
        comment.is_delete = true;
        comment.updated_at = self.at.time;
        comment.blocknumber = self.at.block_number;
        Ok(vec![Change::Comment(Box::new(comment))])
    }

    fn fill_comment(&self, comment: &mut Comment, mut data: Metadata) -> Result<(), Rejection> {
        data.text(&mut comment.body, &["body"], COMMENT_CHARS_MAX)?;
        // Where a comment stands is for ever.
        data.ignore(&[
            "entity_type",
            "entity_id",
            "parent_comment_id",
            "track_timestamp_s",
        ]);
        data.keep_rest(&mut comment.extra);
        if comment.body.trim().is_empty() {
            return Err(Rejection::Missing { field: "body" });
        }
        comment.updated_at = self.at.time;
        comment.blocknumber = self.at.block_number;
        Ok(())
    }

    fn comment_of(&self, id: EntityId) -> Result<Comment, Rejection> {
        self.view
            .comment(id)
            .filter(|comment| !comment.is_delete)
            .ok_or(Rejection::Unknown {
                kind: EntityType::Comment,
                id,
            })
    }
}
