//! The rules' view of rows, whoever keeps the rows.

use std::cell::RefCell;

use serde::de::DeserializeOwned;

use protocol::entity::{
    Comment, ContentList, DigitalContent, EntityType, EntityView, Relation, Target, User,
};
use protocol::id::{EntityId, UserId};

use super::{IndexError, keys, rows};

/// Rows by key.
pub(super) trait Rows {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError>;

    fn entity<T: DeserializeOwned>(
        &self,
        kind: EntityType,
        id: u64,
    ) -> Result<Option<T>, IndexError> {
        self.row(&keys::entity(kind, id))?
            .map(|bytes| rows::decode("entity", &bytes))
            .transpose()
    }

    fn counts(&self, kind: EntityType, id: u64) -> Result<rows::Counts, IndexError> {
        self.row(&keys::counts(kind, id))?
            .map_or(Ok(rows::Counts::default()), |bytes| {
                rows::Counts::from_bytes(&bytes)
            })
    }

    fn handle_user(&self, handle: &str) -> Result<Option<UserId>, IndexError> {
        self.row(&keys::handle(handle))?
            .map(|bytes| rows::number("handle", &bytes).map(UserId))
            .transpose()
    }
}

/// Lets the rules read rows; the first failure is kept and asked for after.
pub(super) struct View<'a, R> {
    rows: &'a R,
    error: RefCell<Option<IndexError>>,
}

impl<'a, R: Rows> View<'a, R> {
    pub(super) const fn new(rows: &'a R) -> Self {
        Self {
            rows,
            error: RefCell::new(None),
        }
    }

    /// The first failure, which makes every judgement void.
    pub(super) fn into_result(self) -> Result<(), IndexError> {
        self.error.into_inner().map_or(Ok(()), Err)
    }

    fn keep<T>(&self, result: Result<Option<T>, IndexError>) -> Option<T> {
        match result {
            Ok(value) => value,
            Err(error) => {
                self.error.borrow_mut().get_or_insert(error);
                None
            }
        }
    }
}

impl<R: Rows> EntityView for View<'_, R> {
    fn user(&self, id: UserId) -> Option<User> {
        self.keep(self.rows.entity(EntityType::User, id.0))
    }

    fn user_by_handle(&self, handle: &str) -> Option<UserId> {
        self.keep(self.rows.handle_user(handle))
    }

    fn digital_content(&self, id: EntityId) -> Option<DigitalContent> {
        self.keep(self.rows.entity(EntityType::Track, id.0))
    }

    fn content_list(&self, id: EntityId) -> Option<ContentList> {
        self.keep(self.rows.entity(EntityType::Playlist, id.0))
    }

    fn comment(&self, id: EntityId) -> Option<Comment> {
        self.keep(self.rows.entity(EntityType::Comment, id.0))
    }

    fn is_related(&self, relation: Relation, user: UserId, target: Target) -> bool {
        self.keep(self.rows.row(&keys::relation(relation, user, target)))
            .is_some()
    }

    fn has_user(&self, id: UserId) -> bool {
        self.keep(self.rows.row(&keys::entity(EntityType::User, id.0)))
            .is_some()
    }
}
