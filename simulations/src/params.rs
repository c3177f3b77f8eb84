//! How the machines of simulated peers are configured.

use std::time::Duration;

use gossip::{discovery, spread};
use protocol::author;
use protocol::chain::endpoints::EndpointsConfig;
use protocol::content::{BookConfig, Config, HolderConfig, repair};
use protocol::id::Address;
use protocol::{identity, relayer};

use crate::world::Params;

impl Params {
    /// Of the content role.
    #[must_use]
    pub fn content(&self, peer: Address) -> Config {
        let config = Config {
            peer,
            domain: self.domain,
            action_domain: self.actions,
            holder: HolderConfig::for_devnet(),
            book: BookConfig {
                lease_epochs: self.lease_epochs,
                renewal_epochs: self.renewal_epochs,
                ..BookConfig::default()
            },
            repair: repair::Config {
                lost_after: self.lost_after,
                pass_interval: Duration::from_secs(120),
                step_interval: Duration::from_millis(200),
                ..repair::Config::default()
            },
            presence_interval: self.presence_interval,
            confirmations: self.confirmations,
            offer_grace: OFFER_GRACE,
        };
        self.limits.content(config)
    }

    /// Of the discovery role.
    #[must_use]
    pub fn discovery(&self, peer: Address) -> discovery::Config {
        let spread = spread::Config {
            final_is_firm: self.confirmations > 0,
            ..spread::Config::new(peer, self.domain)
        };
        discovery::Config {
            spread: self.limits.spread(spread),
            signs_heads: true,
            confirmations: self.confirmations,
        }
    }

    /// Of a light peer's index.
    #[must_use]
    pub fn catch_up(&self, peer: Address) -> spread::Config {
        self.limits.spread(spread::Config {
            follows_chain: false,
            ..spread::Config::new(peer, self.domain)
        })
    }

    /// Of a light peer's author.
    #[must_use]
    pub fn author(&self, peer: Address) -> author::Config {
        let mut config = author::Config::new(peer, self.domain, self.actions);
        config.proof_bits = PROOF_BITS;
        let lease_epochs_min = &mut config.publication.lease_epochs_min;
        *lease_epochs_min = self.lease_epochs.min(*lease_epochs_min);
        self.limits.author(config)
    }

    /// Of an access to the chain's endpoints.
    #[must_use]
    pub fn endpoints(&self, seed: u64) -> EndpointsConfig {
        EndpointsConfig {
            chain_id: Some(self.domain.chain_id),
            block_time: Some(self.block_time),
            seed,
        }
    }

    /// A relayer's wallets, apart from its peer's key.
    pub fn wallets(peer: Address) -> impl Iterator<Item = Address> {
        (1..=WALLETS).map(move |number| {
            let mut address = peer;
            address.0[0] ^= number;
            address
        })
    }

    /// Of the identity role.
    #[must_use]
    pub fn identity(&self, peer: Address) -> identity::Config {
        let mut relayer = relayer::Config::new(self.actions);
        relayer.proof_bits = PROOF_BITS;
        let wallets = Self::wallets(peer).collect();
        self.limits.identity(identity::Config::new(
            peer,
            relayer,
            wallets,
            self.confirmations,
        ))
    }
}

/// Wallets of one relayer.
const WALLETS: u8 = 2;

/// Leading zero bits of the proof that a new user costs: enough that some
/// proofs take several attempts, and little to compute.
const PROOF_BITS: u32 = 6;

/// The author's offers come before repair for this long.
const OFFER_GRACE: Duration = Duration::from_secs(20);
