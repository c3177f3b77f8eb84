//! The limits of the machines: those of production, or so small that runs of a
//! few minutes reach them.

use std::time::Duration;

use gossip::spread;
use protocol::chain::FollowerConfig;
use protocol::exchange::{PAYLOAD_BYTES_MAX, ServeConfig};
use protocol::unixfs::BLOCK_BYTES_MAX;
use protocol::{author, content, identity, relayer};
use serde::{Deserialize, Serialize};

/// How much machines hold at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limits {
    /// What peers use.
    #[default]
    Production,
    /// A few of everything: what is beyond has to wait, or is asked for again.
    Small,
}

impl Limits {
    /// Bounds the content role.
    #[must_use]
    pub fn content(self, config: content::Config) -> content::Config {
        if self == Self::Production {
            return config;
        }
        content::Config {
            holder: content::HolderConfig {
                uploads_max: 3,
                pulls_max: 1,
                ..config.holder
            },
            repair: content::repair::Config {
                step_roots_max: 1,
                claimed_roots_max: 4,
                queue_max: 2,
                fetches_max: 1,
                checks_max: 1,
                bytes_per_second: 8 << 10,
                burst_bytes_max: 32 << 10,
                ..config.repair
            },
            ..config
        }
    }

    /// Bounds the identity role.
    #[must_use]
    pub fn identity(self, config: identity::Config) -> identity::Config {
        if self == Self::Production {
            return config;
        }
        identity::Config {
            submitted_max: 2,
            trials_max: 1,
            relayer: relayer::Config {
                jobs_max: 4,
                waiters_max: 1,
                wallet_outstanding_max: 1,
                bumps_max: 2,
                receipts_max: 2,
                ..config.relayer
            },
            ..config
        }
    }

    /// Bounds an author.
    #[must_use]
    pub fn author(self, config: author::Config) -> author::Config {
        if self == Self::Production {
            return config;
        }
        author::Config {
            jobs_max: 2,
            offering_max: 1,
            rows_max: 2,
            passes_max: 1,
            solves_max: 1,
            settled_max: 1,
            ended_max: 1,
            inquiries_max: 1,
            ..config
        }
    }

    /// Bounds whoever serves blocks.
    #[must_use]
    pub fn serve(self) -> ServeConfig {
        match self {
            Self::Production => ServeConfig::default(),
            Self::Small => ServeConfig {
                // Each look-up sets aside what an answer may hold.
                peer_bytes_max: PAYLOAD_BYTES_MAX as u64,
                bytes_max: 2 * PAYLOAD_BYTES_MAX as u64,
                strangers_bytes_max: 2 * PAYLOAD_BYTES_MAX as u64 - BLOCK_BYTES_MAX as u64,
                newcomers_bytes_max: 2 * BLOCK_BYTES_MAX as u64,
                prefix_bytes_max: 2 * BLOCK_BYTES_MAX as u64,
                peer_requests_max: 1,
                peers_max: 3,
                wait_max: Duration::from_secs(1),
            },
        }
    }

    /// Bounds what is gossiped and followed.
    #[must_use]
    pub fn spread(self, config: spread::Config) -> spread::Config {
        if self == Self::Production {
            return config;
        }
        spread::Config {
            limits: gossip::limits::Limits {
                held_max: 3,
                scheduled_max: 1,
                chain_blocks_max: 4,
                early_heads_max: 2,
                signer_heads_max: 3,
                heads_behind_max: 16,
                follower_heads_max: 2,
                entries_unverified_max: 4,
                mark_entries_min: 3,
                candidates_max: 2,
                answer_entries_max: 3,
                reads_max: 1,
                peer_requests_max: 8,
            },
            ..config
        }
    }

    /// Bounds what is followed of the chain.
    #[must_use]
    pub fn follower(self, config: FollowerConfig) -> FollowerConfig {
        match self {
            Self::Production => config,
            Self::Small => FollowerConfig {
                range_blocks_max: 2,
                undo_blocks_max: config.confirmations + 4,
                ..config
            },
        }
    }
}
