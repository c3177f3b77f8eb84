//! What peers tell everybody.

use serde::{Deserialize, Serialize};

use super::RECORD_BYTES_MAX;
use crate::action::SIGNED_ACTION_BYTES_MAX;
use crate::entry::BATCH_BYTES_MAX;

/// Declares topics, each with its label, its longest message and its audience.
macro_rules! topics {
    ($($(#[$doc:meta])* $topic:ident = $label:literal, $bytes_max:expr, $audience:ident;)+) => {
        /// A gossip topic.
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(rename_all = "lowercase")]
        pub enum Topic {
            $($(#[$doc])* $topic,)+
        }

        impl Topic {
            /// Every topic, in order.
            pub const ALL: [Self; [$(Self::$topic),+].len()] = [$(Self::$topic),+];

            /// The name on the wire.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$topic => concat!("/coliving/1/", $label),)+
                }
            }

            /// A short name for logs, metrics and tables.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$topic => $label,)+
                }
            }

            /// Longest message in bytes; a longer one is refused before it is decoded.
            #[must_use]
            pub const fn message_bytes_max(self) -> usize {
                match self {
                    $(Self::$topic => $bytes_max,)+
                }
            }

            /// Whose machine judges its messages.
            #[must_use]
            pub const fn audience(self) -> Audience {
                match self {
                    $(Self::$topic => Audience::$audience,)+
                }
            }
        }
    };
}

topics! {
    /// Fresh actions in the envelope of an identity peer.
    Actions = "actions", SIGNED_ACTION_BYTES_MAX + RECORD_BYTES_MAX, Staked;

    /// Entry batches of final blocks.
    Entries = "entries", BATCH_BYTES_MAX, Indexes;

    /// Heads as discovery peers sign them.
    Heads = "heads", RECORD_BYTES_MAX, Indexes;

    /// Signs of life of staked peers.
    Presence = "presence", RECORD_BYTES_MAX, Holders;

    /// Announcements of lease pages.
    Pages = "pages", RECORD_BYTES_MAX, Holders;
}

/// Whose machine judges the messages of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The discovery role, and the index of light peers.
    Indexes,
    /// The content role.
    Holders,
    /// Every staked peer, beside its roles.
    Staked,
}

impl Topic {
    /// The topics of an audience, in order.
    pub fn of(audience: Audience) -> impl Iterator<Item = Self> {
        let is_theirs = move |topic: &Self| topic.audience() == audience;
        Self::ALL.into_iter().filter(is_theirs)
    }

    /// The place in [`Self::ALL`].
    #[must_use]
    pub const fn idx(self) -> usize {
        self as usize
    }
}
