//! Room for uploads: what a user, an account and all of them may have.

use super::{Holder, Owner, Upload, UploadState, UserFacts, day};
use crate::admission::{Account, Network};
use crate::publish::{Offer, Offered, Refusal, RefusalCode};
use crate::time::Moment;

impl Holder {
    /// Whether one more upload of a user and an account has a place. When all places
    /// are taken, it has one if some account has more of them.
    pub(super) fn check_place(&self, offer: &Offer, account: Account) -> Result<(), Refusal> {
        let most = self.config.uploads_max;
        let share = (most / SHARES).max(1);
        let user = offer.action.action.user_id;
        let of_user = self.count(|upload| upload.user() == user);
        let of_account = self.count(|upload| upload.account == account);
        let busy = |whose: &str, count: usize| {
            let reason = format!("{count} uploads {whose} are under way, which is the most");
            Err(Refusal::new(RefusalCode::Busy, reason).retry_after(BUSY_RETRY_SECONDS))
        };
        if of_user >= share {
            return busy("of this user", of_user);
        }
        if of_account >= share {
            return busy("of this network or operator", of_account);
        }
        let has_more = |(of, _): (usize, Offered)| of > of_account + 1;
        if self.uploads.len() >= most && !self.last_of_most().is_some_and(has_more) {
            return busy("of others", most);
        }
        Ok(())
    }

    /// Drops what came last of the account that has the most places, when all are
    /// taken.
    pub(super) fn make_place(&mut self) {
        if self.uploads.len() >= self.config.uploads_max
            && let Some((_, last)) = self.last_of_most()
        {
            self.discard(&last);
        }
    }

    /// Of those that wait: how many places its account has, and which it is.
    fn last_of_most(&self) -> Option<(usize, Offered)> {
        let waiting = self.uploads.iter();
        let waiting = waiting.filter(|(_, upload)| upload.state == UploadState::Queued);
        waiting
            .map(|(offered, upload)| {
                let of = self.count(|other| other.account == upload.account);
                (of, upload.accepted, *offered)
            })
            .max()
            .map(|(of, _, offered)| (of, offered))
    }

    /// Whether the bytes of an offer fit beside what nobody gives way with: promised
    /// uploads, whose authors were told so.
    pub(super) fn check_room(&self, offer: &Offer, account: Account) -> Result<(), Refusal> {
        let size = offer.size;
        let free = self.capacity.saturating_sub(self.used);
        check(RefusalCode::Full, "this peer's disk", 0, size, Some(free))?;
        let share = self.unpublished_max();
        let half = share.map(|share| share / 2);
        check(RefusalCode::Full, "unpublished uploads", 0, size, half)?;
        let stored = self.sum(|upload| upload.is_stored());
        let own = self.sum(|upload| upload.is_stored() && upload.account == account);
        let busy = RefusalCode::Busy;
        let checked = check(busy, "unpublished uploads", stored, size, share)
            .and_then(|()| check(busy, "those of this network or operator", own, size, half));
        checked.map_err(|refusal| refusal.retry_after(BUSY_RETRY_SECONDS))
    }

    /// Whether an offer fits into what its user and its network may store here.
    pub(super) fn check_quotas(
        &mut self,
        offer: &Offer,
        network: Network,
        facts: &UserFacts,
        now: Moment,
    ) -> Result<(), Refusal> {
        let (size, user) = (offer.size, offer.action.action.user_id);
        let owner = Owner {
            user,
            created: facts.created,
            extra_bytes: facts.extra_bytes,
        };
        let limit = self.config.user_limit(&owner, now);
        let under_way = self.uploads.values().filter(|one| one.user() == user);
        let stored = under_way.fold(facts.stored_bytes, |sum, upload| {
            sum.saturating_add(upload.offer.size)
        });
        check(RefusalCode::Quota, "the user's quota", stored, size, limit)?;
        if network == Network::Local {
            return Ok(());
        }
        if self.day != day(now) {
            self.day = day(now);
            self.networks.clear();
        }
        let known = self.networks.get(&network).copied();
        if known.is_none() && self.networks.len() >= NETWORKS_MAX {
            return Err(Refusal::new(
                RefusalCode::Busy,
                "too many network prefixes uploaded here today",
            )
            .retry_after(BUSY_RETRY_SECONDS));
        }
        check(
            RefusalCode::Prefix,
            "the network prefix's quota of the day",
            known.unwrap_or(0),
            size,
            self.config.prefix_bytes_per_day_max,
        )
    }

    /// Ends pulls until what is here unpublished fits: first those of the user that
    /// has the most of it.
    pub(super) fn make_room(&mut self) {
        let Some(limit) = self.unpublished_max() else {
            return;
        };
        while self.sum(|_| true) > limit {
            let of_user = |upload: &Upload| self.sum(|other| other.user() == upload.user());
            let pulls = self.pulls.keys().filter_map(|pull| {
                let upload = self.uploads.get(pull)?;
                Some((of_user(upload), upload.arrived(), *pull))
            });
            let Some((_, _, biggest)) = pulls.max() else {
                return;
            };
            self.discard(&biggest);
        }
    }

    fn unpublished_max(&self) -> Option<u64> {
        let share = u128::from(self.config.unpublished_share_max?);
        let limit = u128::from(self.capacity) * share / 10_000;
        Some(u64::try_from(limit).unwrap_or(u64::MAX))
    }

    fn count(&self, accept: impl Fn(&Upload) -> bool) -> usize {
        self.uploads.values().filter(|one| accept(one)).count()
    }

    /// Bytes that are here.
    fn sum(&self, accept: impl Fn(&Upload) -> bool) -> u64 {
        self.uploads
            .values()
            .filter(|upload| accept(upload))
            .fold(0, |sum, upload| sum.saturating_add(upload.arrived()))
    }
}

fn check(
    code: RefusalCode,
    what: &str,
    taken: u64,
    size: u64,
    limit: Option<u64>,
) -> Result<(), Refusal> {
    match limit {
        Some(limit) if taken.saturating_add(size) > limit => Err(Refusal::new(
            code,
            format!("{size} bytes do not fit into {what}: {taken} of {limit} bytes are taken"),
        )),
        Some(_) | None => Ok(()),
    }
}

/// The part of the places that a user, and an account, may have: one in so many.
/// Chosen: an album with its pictures, and eight of both leave nobody out.
const SHARES: usize = 8;

/// Chosen: long enough for a pull to end, short beside the hours that an author has.
const BUSY_RETRY_SECONDS: u64 = 30;

/// Networks that are counted in a day. Chosen: some MB; who owns more than that is
/// no matter of counting.
const NETWORKS_MAX: usize = 100_000;
