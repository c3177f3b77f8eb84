//! What the index says of users and roots.

use cid::Cid;
use protocol::action::Action;
use protocol::content::{AskId, Input, Owner, Reference, UserFacts};
use protocol::id::{Address, UserId};
use storage::index::{IndexError, ReferencedRoot, Snapshot};

use super::{Hands, blocks};
use crate::context::Context;
use crate::shell::Work;

impl Hands {
    pub(super) fn look_up(
        &self,
        id: AskId,
        action: Box<Action>,
        signer: Address,
        work: &mut Work<Input>,
    ) {
        let context = self.context.clone();
        work.beside(async move {
            let looking = move || {
                let capacity = blocks::capacity(&context);
                let user = facts_of(&context, &action, signer);
                Input::LookedUp { id, user, capacity }
            };
            tokio::task::spawn_blocking(looking).await.ok()
        });
    }

    /// In order, as the next one: an older answer never comes after a newer one.
    pub(super) fn read_references(&self, roots: Vec<Cid>, work: &mut Work<Input>) {
        let context = self.context.clone();
        work.in_order(async move {
            let reading = move || {
                let snapshot = context.index.snapshot().ok()?;
                let read = |root: &Cid| snapshot.referenced_root(root);
                let found: Result<Vec<ReferencedRoot>, IndexError> =
                    roots.iter().map(read).collect();
                let found = found.ok()?.into_iter();
                let references = found.map(|root| reference(&context, &snapshot, root));
                Some(Input::References(references.collect()))
            };
            // An index that cannot be read is read as a whole later.
            let read = tokio::task::spawn_blocking(reading).await;
            Some(read.ok().flatten().unwrap_or(Input::RenamedUnknown))
        });
    }

    pub(super) fn scan(&self, after: Option<Cid>, work: &mut Work<Input>) {
        let context = self.context.clone();
        work.in_order(async move {
            let reading = move || {
                let snapshot = context.index.snapshot().ok()?;
                let found = snapshot.roots_after(after.as_ref(), SCANNED_MAX).ok()?;
                let is_over = found.len() < SCANNED_MAX;
                let found = found.into_iter();
                let roots = found.map(|root| reference(&context, &snapshot, root));
                Some(Input::Scanned {
                    roots: roots.collect(),
                    is_over,
                })
            };
            let read = tokio::task::spawn_blocking(reading).await;
            Some(read.ok().flatten().unwrap_or(Input::ScanBroken))
        });
    }
}

/// What is known of an action's user, if it exists and `signer` may act for it.
fn facts_of(context: &Context, action: &Action, signer: Address) -> Option<UserFacts> {
    let snapshot = context.index.snapshot().ok()?;
    let height = context.index.height().borrow().block_number;
    let found = snapshot.may_act(action.user_id, signer, action, height);
    let user = found.ok()?.ok()?;
    Some(UserFacts {
        created: user.created_at,
        stored_bytes: 0,
        extra_bytes: extra_bytes(context, &signer),
    })
}

fn reference(context: &Context, snapshot: &Snapshot, found: ReferencedRoot) -> Reference {
    let owner = |user: UserId| {
        let found = snapshot.user(user).ok()??;
        Some(Owner {
            user,
            created: found.user.created_at,
            extra_bytes: extra_bytes(context, &found.user.wallet),
        })
    };
    Reference {
        root: found.root,
        owners: found.owners.into_iter().filter_map(owner).collect(),
    }
}

fn extra_bytes(context: &Context, wallet: &Address) -> u64 {
    match context.config.identity.allow.contains(wallet) {
        true => u64::MAX,
        false => 0,
    }
}

/// Roots of one step of a whole reading. Chosen: a step takes milliseconds.
const SCANNED_MAX: usize = 1024;
