//! Relations between users and what they follow, save and repost.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::rules::{EntityView, acting_user, content_of, list_of};
use super::{Change, EntityType, Rejection, Verb};
use crate::action::Action;
use crate::id::{Address, EntityId, UserId};

/// A relation from a user to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// User to user.
    Follow,
    /// User to user.
    Subscribe,
    /// User to digital content or list.
    Save,
    /// User to digital content or list.
    Repost,
}

/// What a relation points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Target {
    /// What it is.
    pub kind: EntityType,
    /// The number of what is pointed at.
    pub id: EntityId,
}

impl Target {
    /// A user as a target.
    #[must_use]
    pub const fn user(id: UserId) -> Self {
        Self {
            kind: EntityType::User,
            id: EntityId(id.0),
        }
    }

    /// A digital content as a target.
    #[must_use]
    pub const fn content(id: EntityId) -> Self {
        Self {
            kind: EntityType::Track,
            id,
        }
    }

    /// A content list as a target.
    #[must_use]
    pub const fn list(id: EntityId) -> Self {
        Self {
            kind: EntityType::Playlist,
            id,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.id)
    }
}

/// The relation that a verb makes or ends, and whether it makes it.
pub(super) const fn relation_of(verb: Verb) -> Option<(Relation, bool)> {
    match verb {
        Verb::Follow => Some((Relation::Follow, true)),
        Verb::Unfollow => Some((Relation::Follow, false)),
        Verb::Subscribe => Some((Relation::Subscribe, true)),
        Verb::Unsubscribe => Some((Relation::Subscribe, false)),
        Verb::Save => Some((Relation::Save, true)),
        Verb::Unsave => Some((Relation::Save, false)),
        Verb::Repost => Some((Relation::Repost, true)),
        Verb::Unrepost => Some((Relation::Repost, false)),
        Verb::Create | Verb::Update | Verb::Delete => None,
    }
}

/// Judges a social action. A follow brings its subscription and takes it along.
pub(super) fn judge_relation<V: EntityView + ?Sized>(
    view: &V,
    action: &Action,
    (signer, height): (Address, u64),
    target: Target,
    (relation, is_new): (Relation, bool),
) -> Result<Vec<Change>, Rejection> {
    let user = action.user_id;
    acting_user(view, signer, action, height)?;
    check_target(view, user, target, is_new)?;
    if view.is_related(relation, user, target) == is_new {
        return Err(if is_new {
            Rejection::Duplicate { user, target }
        } else {
            Rejection::NotRelated { user, target }
        });
    }
    let mut changes = vec![change(relation, user, target, is_new)];
    if relation == Relation::Follow && view.is_related(Relation::Subscribe, user, target) != is_new
    {
        changes.push(change(Relation::Subscribe, user, target, is_new));
    }
    Ok(changes)
}

fn change(relation: Relation, user: UserId, target: Target, is_new: bool) -> Change {
    if is_new {
        Change::Relate {
            relation,
            user,
            target,
        }
    } else {
        Change::Unrelate {
            relation,
            user,
            target,
        }
    }
}

/// A relation is made with what exists and is somebody else's; it is ended with
/// whatever it was made with, deleted or not.
fn check_target<V: EntityView + ?Sized>(
    view: &V,
    user: UserId,
    target: Target,
    is_new: bool,
) -> Result<(), Rejection> {
    if !is_new {
        return Ok(());
    }
    let owner = match target.kind {
        EntityType::User => {
            let id = UserId(target.id.0);
            if !view.has_user(id) {
                return Err(Rejection::UnknownUser { user: id });
            }
            id
        }
        EntityType::Track => content_of(view, target.id)?.owner_id,
        EntityType::Playlist => {
            let list = list_of(view, target.id)?;
            if list.is_private && list.playlist_owner_id != user {
                return Err(Rejection::Unknown {
                    kind: target.kind,
                    id: target.id,
                });
            }
            list.playlist_owner_id
        }
        EntityType::Comment => {
            return Err(Rejection::Unknown {
                kind: target.kind,
                id: target.id,
            });
        }
    };
    if owner == user {
        return Err(Rejection::Oneself { user });
    }
    Ok(())
}
