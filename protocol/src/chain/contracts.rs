//! Where a deployment's contracts stand.

use serde::{Deserialize, Serialize};

use crate::action::ActionDomain;
use crate::chain::Cursor;
use crate::id::Address;
use crate::signing::Domain;

/// The proxies of one deployment; `eth` and `data` contracts share one chain.
#[derive(Debug, Clone, Default, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Contracts {
    /// Chain id of the chain that they stand on.
    pub chain_id: u64,
    /// The block in which the first of them was created.
    pub deployed_block: u64,
    /// Blocks between two registry snapshots, as `PeerRegistry` says.
    pub snapshot_blocks: u64,
    /// `ColivingToken`.
    pub token: Address,
    /// `ServiceTypeManager`.
    pub service_type_manager: Address,
    /// `Staking`.
    pub staking: Address,
    /// `ServiceProviderFactory`.
    pub service_provider_factory: Address,
    /// `PeerRegistry`.
    pub peer_registry: Address,
    /// `Records`.
    pub records: Address,
    /// `EntityManager`.
    pub entity_manager: Address,
}

impl Contracts {
    /// The domain that peers sign records under.
    #[must_use]
    pub const fn domain(&self) -> Domain {
        Domain {
            chain_id: self.chain_id,
            verifying_contract: self.peer_registry,
        }
    }

    /// The domain that users sign actions under.
    #[must_use]
    pub const fn action_domain(&self) -> ActionDomain {
        ActionDomain {
            chain_id: self.chain_id,
            entity_manager: self.entity_manager,
        }
    }

    /// Where following these contracts begins.
    #[must_use]
    pub fn start(&self) -> Cursor {
        Cursor::at(self.deployed_block)
    }

    /// The contracts whose logs peers read.
    #[must_use]
    pub const fn watched(&self) -> [Address; 4] {
        [
            self.staking,
            self.service_provider_factory,
            self.peer_registry,
            self.entity_manager,
        ]
    }
}
