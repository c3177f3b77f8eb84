//! What is relayed at all, what it counts as, and the price of a new user.

use serde::{Deserialize, Serialize};

use super::{Refusal, RefusalCode};
use crate::action::Action;
use crate::entity::{EntityType, Verb};
use crate::entry::sha256;
use crate::id::Hash32;

/// What an action counts as in the quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// `User Create`.
    CreateUser,
    /// `User Update`.
    UpdateUser,
    /// `User Update` that switches the account off.
    Deactivate,
    /// `Track Create`.
    CreateTrack,
    /// `Track Update` and `Track Delete`.
    ChangeTrack,
    /// Everything about content lists.
    ContentList,
    /// Everything about comments.
    Comment,
    /// Follow, save, repost, subscribe and their opposites.
    Social,
}

impl Kind {
    /// The kind of an action, if it is on the allow-list.
    ///
    /// # Errors
    ///
    /// [`RefusalCode::NotAllowed`] for everything else.
    pub fn of(action: &Action) -> Result<Self, Refusal> {
        let kind = action.entity_type.parse::<EntityType>();
        let verb = action.action.parse::<Verb>();
        let (Ok(kind), Ok(verb)) = (kind, verb) else {
            return Err(not_allowed(action));
        };
        let found = match (kind, verb) {
            (EntityType::User, Verb::Create) => Self::CreateUser,
            (EntityType::User, Verb::Update) if is_deactivation(&action.metadata) => {
                Self::Deactivate
            }
            (EntityType::User, Verb::Update) => Self::UpdateUser,
            (EntityType::Track, Verb::Create) => Self::CreateTrack,
            (EntityType::Track, Verb::Update | Verb::Delete) => Self::ChangeTrack,
            (EntityType::Playlist, Verb::Create | Verb::Update | Verb::Delete) => Self::ContentList,
            (EntityType::Comment, Verb::Create | Verb::Update | Verb::Delete) => Self::Comment,
            (
                EntityType::User,
                Verb::Follow | Verb::Unfollow | Verb::Subscribe | Verb::Unsubscribe,
            )
            | (
                EntityType::Track | EntityType::Playlist,
                Verb::Save | Verb::Unsave | Verb::Repost | Verb::Unrepost,
            ) => Self::Social,
            _ => return Err(not_allowed(action)),
        };
        Ok(found)
    }

    /// How many of its kind one owner may send in an hour.
    #[must_use]
    pub const fn per_hour_max(self) -> u32 {
        match self {
            Self::CreateUser => 10,
            Self::UpdateUser | Self::CreateTrack => 100,
            Self::Deactivate => 1,
            Self::ChangeTrack | Self::ContentList | Self::Comment => 500,
            Self::Social => 2000,
        }
    }
}

fn not_allowed(action: &Action) -> Refusal {
    Refusal::new(
        RefusalCode::NotAllowed,
        format!(
            "`{:.64}` of `{:.64}` is not relayed",
            action.action, action.entity_type
        ),
    )
}

fn is_deactivation(metadata: &str) -> bool {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(metadata) else {
        return false;
    };
    let data = value.get("data").unwrap_or(&value);
    data.get("is_deactivated") == Some(&serde_json::Value::Bool(true))
}

/// Checks that SHA-256(digest ‖ proof as 8 bytes, big-endian) begins with `bits`
/// zero bits.
///
/// # Errors
///
/// [`RefusalCode::Proof`] names the number of bits.
pub fn check_proof(digest: &Hash32, proof: Option<u64>, bits: u32) -> Result<(), Refusal> {
    let found = proof.map_or(0, |proof| zero_bits(digest, proof));
    if found >= bits {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalCode::Proof,
        format!(
            "a new user costs a proof of work: find `proof` so that SHA-256(digest ‖ proof as 8 bytes, big-endian) begins with {bits} zero bits; this one has {found}"
        ),
    ))
}

/// Finds the smallest proof of work; about 2^`bits` hashes.
#[must_use]
pub fn solve_proof(digest: &Hash32, bits: u32) -> u64 {
    (0..u64::MAX)
        .find(|proof| zero_bits(digest, *proof) >= bits)
        .unwrap_or(u64::MAX)
}

fn zero_bits(digest: &Hash32, proof: u64) -> u32 {
    let mut bytes = [0; 40];
    bytes[..32].copy_from_slice(&digest.0);
    bytes[32..].copy_from_slice(&proof.to_be_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&sha256(&bytes).0[..8]);
    u64::from_be_bytes(first).leading_zeros()
}
