//! What peers tell everybody.

use super::RECORD_BYTES_MAX;
use crate::action::SIGNED_ACTION_BYTES_MAX;
use crate::entry::BATCH_BYTES_MAX;

/// A gossip topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// Fresh actions in the envelope of an identity peer.
    Actions,
    /// Entry batches of final blocks.
    Entries,
    /// Heads as discovery peers sign them.
    Heads,
    /// Signs of life of staked peers.
    Presence,
    /// Announcements of lease pages.
    Pages,
}

impl Topic {
    /// Every topic, in order.
    pub const ALL: [Self; 5] = [
        Self::Actions,
        Self::Entries,
        Self::Heads,
        Self::Presence,
        Self::Pages,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Actions => "/coliving/1/actions",
            Self::Entries => "/coliving/1/entries",
            Self::Heads => "/coliving/1/heads",
            Self::Presence => "/coliving/1/presence",
            Self::Pages => "/coliving/1/pages",
        }
    }

    /// A short name for logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Actions => "actions",
            Self::Entries => "entries",
            Self::Heads => "heads",
            Self::Presence => "presence",
            Self::Pages => "pages",
        }
    }

    /// Longest message in bytes; a longer one is refused before it is decoded.
    #[must_use]
    pub const fn message_bytes_max(self) -> usize {
        match self {
            // An action in the signed envelope of an identity peer.
            Self::Actions => SIGNED_ACTION_BYTES_MAX + RECORD_BYTES_MAX,
            Self::Entries => BATCH_BYTES_MAX,
            Self::Heads | Self::Presence | Self::Pages => RECORD_BYTES_MAX,
        }
    }

    /// The place in [`Self::ALL`].
    #[must_use]
    pub const fn idx(self) -> usize {
        self as usize
    }
}
