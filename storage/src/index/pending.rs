//! Actions that are not on chain yet, shown beside the index and never in it:
//! nothing pending enters counts, listings or roots.

use std::cell::RefCell;
use std::collections::BTreeMap;

use protocol::action::SignedAction;
use protocol::entity::{
    self, Change, Comment, ContentList, DigitalContent, EntityView, RecordedAt, Rejection,
    Relation, Target, User,
};
use protocol::id::{Address, EntityId, Hash32, UserId};
use protocol::time::UnixSeconds;

use super::view::View;
use super::{IndexError, Snapshot};

/// Actions that wait for the chain, oldest first.
#[derive(Debug, Clone)]
pub struct Pending {
    actions_max: usize,
    next: u64,
    actions: BTreeMap<u64, PendingAction>,
    orders: BTreeMap<Hash32, u64>,
}

/// An action that waits for the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingAction {
    /// The action that waits.
    pub action: SignedAction,
    /// Who signed it.
    pub signer: Address,
    /// When it was received.
    pub received: UnixSeconds,
}

/// Why an action was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PendingError {
    /// The set is full.
    #[error("{actions_max} actions wait for the chain already; try again later")]
    Full {
        /// How many fit.
        actions_max: usize,
    },
}

/// What the pending actions would do, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PendingView {
    /// New and changed users.
    pub users: BTreeMap<UserId, User>,
    /// New, changed and deleted digital contents.
    pub contents: BTreeMap<EntityId, DigitalContent>,
    /// New, changed and deleted content lists.
    pub lists: BTreeMap<EntityId, ContentList>,
    /// New, changed and deleted comments.
    pub comments: BTreeMap<EntityId, Comment>,
    /// Relations that would be made (`true`) and ended (`false`).
    pub relations: BTreeMap<(Relation, UserId, Target), bool>,
    /// Actions that would change nothing, by struct hash.
    pub rejected: BTreeMap<Hash32, Rejection>,
}

impl Pending {
    /// An empty set that holds at most `actions_max` actions.
    #[must_use]
    pub const fn new(actions_max: usize) -> Self {
        Self {
            actions_max,
            next: 0,
            actions: BTreeMap::new(),
            orders: BTreeMap::new(),
        }
    }

    /// Adds an action whose signature recovered `signer`; one that is known
    /// keeps its place.
    ///
    /// # Errors
    ///
    /// [`PendingError::Full`].
    pub fn insert(
        &mut self,
        action: SignedAction,
        signer: Address,
        now: UnixSeconds,
    ) -> Result<(), PendingError> {
        let key = action.action.struct_hash();
        if self.orders.contains_key(&key) {
            return Ok(());
        }
        if self.actions.len() >= self.actions_max {
            return Err(PendingError::Full {
                actions_max: self.actions_max,
            });
        }
        let order = self.next;
        self.next += 1;
        self.orders.insert(key, order);
        self.actions.insert(
            order,
            PendingAction {
                action,
                signer,
                received: now,
            },
        );
        Ok(())
    }

    /// Drops the actions that were received before a moment.
    pub fn expire(&mut self, before: UnixSeconds) {
        self.actions.retain(|_, pending| pending.received >= before);
        let actions = &self.actions;
        self.orders.retain(|_, order| actions.contains_key(order));
    }

    /// Drops an action by its struct hash.
    pub fn remove(&mut self, struct_hash: &Hash32) {
        if let Some(order) = self.orders.remove(struct_hash) {
            self.actions.remove(&order);
        }
    }

    /// True when the action waits.
    #[must_use]
    pub fn contains(&self, struct_hash: &Hash32) -> bool {
        self.orders.contains_key(struct_hash)
    }

    /// How many actions wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.actions.len()
    }

    /// True when no action waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// The actions, oldest first.
    pub fn actions(&self) -> impl Iterator<Item = &PendingAction> {
        self.actions.values()
    }

    /// What the actions would do on top of a snapshot.
    ///
    /// # Errors
    ///
    /// Database errors.
    pub fn view(&self, snapshot: &Snapshot) -> Result<PendingView, IndexError> {
        let overlay = Overlay {
            base: View::new(snapshot),
            view: RefCell::default(),
        };
        for pending in self.actions.values() {
            let action = &pending.action.action;
            let at = RecordedAt {
                block_number: 0,
                time: pending.received,
                sequence: u64::MAX,
            };
            let verdict = entity::judge(&overlay, action, pending.signer, &at);
            let mut view = overlay.view.borrow_mut();
            match verdict {
                Ok(changes) => changes.into_iter().for_each(|change| view.change(change)),
                Err(rejection) => {
                    view.rejected.insert(action.struct_hash(), rejection);
                }
            }
        }
        overlay.base.into_result()?;
        Ok(overlay.view.into_inner())
    }
}

impl PendingView {
    fn change(&mut self, change: Change) {
        match change {
            Change::User(user) => {
                self.users.insert(user.user_id, *user);
            }
            Change::DigitalContent(content) => {
                self.contents.insert(content.track_id, *content);
            }
            Change::ContentList(list) => {
                self.lists.insert(list.playlist_id, *list);
            }
            Change::Comment(comment) => {
                self.comments.insert(comment.comment_id, *comment);
            }
            Change::Relate {
                relation,
                user,
                target,
            } => {
                self.relations.insert((relation, user, target), true);
            }
            Change::Unrelate {
                relation,
                user,
                target,
            } => {
                self.relations.insert((relation, user, target), false);
            }
        }
    }
}

/// The index with the changes of earlier pending actions on top.
struct Overlay<'a> {
    base: View<'a, Snapshot>,
    view: RefCell<PendingView>,
}

impl EntityView for Overlay<'_> {
    fn user(&self, id: UserId) -> Option<User> {
        let found = self.view.borrow().users.get(&id).cloned();
        found.or_else(|| self.base.user(id))
    }

    fn user_by_handle(&self, handle: &str) -> Option<UserId> {
        let has_handle = |user: &&User| user.handle.eq_ignore_ascii_case(handle);
        let view = self.view.borrow();
        let found = view.users.values().find(has_handle);
        found
            .map(|user| user.user_id)
            .or_else(|| self.base.user_by_handle(handle))
    }

    fn digital_content(&self, id: EntityId) -> Option<DigitalContent> {
        let found = self.view.borrow().contents.get(&id).cloned();
        found.or_else(|| self.base.digital_content(id))
    }

    fn content_list(&self, id: EntityId) -> Option<ContentList> {
        let found = self.view.borrow().lists.get(&id).cloned();
        found.or_else(|| self.base.content_list(id))
    }

    fn comment(&self, id: EntityId) -> Option<Comment> {
        let found = self.view.borrow().comments.get(&id).cloned();
        found.or_else(|| self.base.comment(id))
    }

    fn is_related(&self, relation: Relation, user: UserId, target: Target) -> bool {
        let key = (relation, user, target);
        let found = self.view.borrow().relations.get(&key).copied();
        found.unwrap_or_else(|| self.base.is_related(relation, user, target))
    }
}
