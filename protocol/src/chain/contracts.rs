//! Where a deployment's contracts stand.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::action::ActionDomain;
use crate::chain::{ContractKind, Cursor};
use crate::id::Address;
use crate::signing::Domain;

/// The proxies of one deployment; `eth` and `data` contracts share one chain.
#[derive(Debug, Clone, Default, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, remote = "Self")]
pub struct Contracts {
    /// Chain id of the chain that they stand on.
    pub chain_id: u64,
    /// The block in which the first of them was created.
    pub deployed_block: u64,
    /// Blocks between two registry snapshots, as `PeerRegistry` says.
    pub snapshot_blocks: u64,
    /// `Registry`.
    pub registry: Address,
    /// `ColivingToken`.
    pub token: Address,
    /// `ServiceTypeManager`.
    pub service_type_manager: Address,
    /// `Staking`.
    pub staking: Address,
    /// `Governance`.
    pub governance: Address,
    /// `ServiceProviderFactory`.
    pub service_provider_factory: Address,
    /// `DelegateManager`.
    pub delegate_manager: Address,
    /// `ClaimsManager`.
    pub claims_manager: Address,
    /// `PeerRegistry`.
    pub peer_registry: Address,
    /// `TrustedNotifierManager`.
    pub trusted_notifier_manager: Address,
    /// `Evidence`.
    pub evidence: Address,
    /// `Records`.
    pub records: Address,
    /// `EntityManager`.
    pub entity_manager: Address,
    /// `SocialVerifier`.
    pub social_verifier: Address,
    /// `PaymentRouter`.
    pub payment_router: Address,
}

/// Reads what the derived code reads, and names the remedy when it cannot.
impl<'de> Deserialize<'de> for Contracts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer).map_err(|error| {
            D::Error::custom(format_args!(
                "{}; give all addresses of one deployment, as `coliving chain info --json` \
                 prints them; a deployment that lacks some is of an older form and cannot be used",
                error.to_string().trim_end(),
            ))
        })
    }
}

impl Serialize for Contracts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
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

    /// Every proxy with the contract behind it.
    #[must_use]
    pub const fn proxies(&self) -> [(ContractKind, Address); 15] {
        [
            (ContractKind::Registry, self.registry),
            (ContractKind::ColivingToken, self.token),
            (ContractKind::ServiceTypeManager, self.service_type_manager),
            (ContractKind::Staking, self.staking),
            (ContractKind::Governance, self.governance),
            (
                ContractKind::ServiceProviderFactory,
                self.service_provider_factory,
            ),
            (ContractKind::DelegateManager, self.delegate_manager),
            (ContractKind::ClaimsManager, self.claims_manager),
            (ContractKind::PeerRegistry, self.peer_registry),
            (
                ContractKind::TrustedNotifierManager,
                self.trusted_notifier_manager,
            ),
            (ContractKind::Evidence, self.evidence),
            (ContractKind::Records, self.records),
            (ContractKind::EntityManager, self.entity_manager),
            (ContractKind::SocialVerifier, self.social_verifier),
            (ContractKind::PaymentRouter, self.payment_router),
        ]
    }

    /// The proxy in front of a contract; none in front of the proxy itself.
    #[must_use]
    pub fn address_of(&self, kind: ContractKind) -> Option<Address> {
        let mut proxies = self.proxies().into_iter();
        proxies.find_map(|(found, address)| (found == kind).then_some(address))
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
