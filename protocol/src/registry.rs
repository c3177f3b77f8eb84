//! The registry: what the eth contracts say about operators and their services.
//!
//! A [`Registry`] is folded from [`RegistryEvent`]s in chain order; a copy of it
//! at a final block is the snapshot that placement and counting work on. Only a
//! *confirmed* service is placed, may sign and may serve a role.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::amount::Dgc;
use crate::codec;
use crate::entry::sha256;
use crate::id::{Address, Hash32, OperatorNumber, Role, ServiceId, Zone};
use crate::merkle::SparseTree;

/// Operators and services at one block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    block: BlockRef,
    operators: BTreeMap<Address, Operator>,
    services: BTreeMap<(Role, ServiceId), Service>,
    /// The services that each confirmed wallet serves.
    peers: BTreeMap<Address, BTreeSet<(Role, ServiceId)>>,
}

/// A block that something was read at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BlockRef {
    /// The block's number.
    pub number: u64,
    /// The block's hash.
    pub hash: Hash32,
}

/// A wallet that staked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// Given at its first confirmation; `None` before.
    pub number: Option<OperatorNumber>,
    /// Active own stake plus delegations.
    pub stake: Dgc,
}

/// A registered endpoint of one service type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// The role that it registered for.
    pub role: Role,
    /// Its number within the service type.
    pub id: ServiceId,
    /// Who staked for it.
    pub operator: Address,
    /// URL of the endpoint.
    pub endpoint: String,
    /// The delegate owner wallet: the peer's key.
    pub wallet: Address,
    /// Set while the wallet's consent stands.
    pub confirmation: Option<Confirmation>,
}

/// A peer's consent to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The peer's uncompressed public key without prefix.
    #[serde(with = "serde_bytes")]
    pub public_key: Vec<u8>,
    /// Where the operator says it stands.
    pub zone: Zone,
    /// The block of the confirmation.
    pub block_number: u64,
}

/// What the eth contracts report, in chain order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegistryEvent {
    /// The active stake behind an operator has changed.
    StakeChanged {
        /// The operator whose stake it is.
        operator: Address,
        /// Own and delegated, less what was asked back.
        active: Dgc,
    },
    /// `PeerRegistry` numbered an operator.
    OperatorNumbered {
        /// The operator that is numbered.
        operator: Address,
        /// Its number for ever.
        number: OperatorNumber,
    },
    /// A service was registered.
    Registered {
        /// Role of the service.
        role: Role,
        /// The new number.
        id: ServiceId,
        /// The operator that staked.
        operator: Address,
        /// URL of the endpoint.
        endpoint: String,
        /// The peer's wallet.
        wallet: Address,
    },
    /// A service was deregistered.
    Deregistered {
        /// Role of the service.
        role: Role,
        /// The service within its role.
        id: ServiceId,
    },
    /// A service moved to another URL.
    EndpointChanged {
        /// Role of the service.
        role: Role,
        /// The service within its role.
        id: ServiceId,
        /// The new URL.
        endpoint: String,
    },
    /// A service got another delegate wallet; its confirmation lapses.
    WalletChanged {
        /// Role of the service.
        role: Role,
        /// The service within its role.
        id: ServiceId,
        /// The new wallet.
        wallet: Address,
    },
    /// A peer confirmed a service.
    Confirmed {
        /// Role of the service.
        role: Role,
        /// The service within its role.
        id: ServiceId,
        /// The peer's wallet.
        wallet: Address,
        /// Key, zone and block.
        confirmation: Confirmation,
    },
    /// A confirmation lapsed.
    Lapsed {
        /// Role of the service.
        role: Role,
        /// The service within its role.
        id: ServiceId,
    },
}

/// A confirmed peer as the rest of the system sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its wallet, which is its key.
    pub address: Address,
    /// Who staked for it.
    pub operator: Address,
    /// The operator's number.
    pub operator_number: OperatorNumber,
    /// Its uncompressed public key without prefix.
    pub public_key: Vec<u8>,
    /// The zone that was confirmed with the key.
    pub zone: Zone,
    /// URL of the endpoint.
    pub endpoint: String,
    /// Its confirmed roles with their service numbers.
    pub roles: BTreeMap<Role, ServiceId>,
}

impl Registry {
    /// The block that was last applied.
    #[must_use]
    pub fn block(&self) -> BlockRef {
        self.block
    }

    /// Notes that everything up to `block` has been applied.
    pub fn set_block(&mut self, block: BlockRef) {
        self.block = block;
    }

    /// Applies one event. Events about services that are not registered are
    /// ignored: the contracts do not emit them, a lying endpoint might.
    pub fn apply(&mut self, event: &RegistryEvent) {
        match event {
            RegistryEvent::StakeChanged { operator, active } => {
                self.operators.entry(*operator).or_default().stake = *active;
            }
            RegistryEvent::OperatorNumbered { operator, number } => {
                self.operators.entry(*operator).or_default().number = Some(*number);
            }
            RegistryEvent::Registered {
                role,
                id,
                operator,
                endpoint,
                wallet,
            } => {
                self.operators.entry(*operator).or_default();
                let service = Service {
                    role: *role,
                    id: *id,
                    operator: *operator,
                    endpoint: endpoint.clone(),
                    wallet: *wallet,
                    confirmation: None,
                };
                self.services.insert((*role, *id), service);
            }
            RegistryEvent::Deregistered { role, id } => {
                self.lapse(*role, *id);
                self.services.remove(&(*role, *id));
            }
            RegistryEvent::EndpointChanged { role, id, endpoint } => {
                if let Some(service) = self.services.get_mut(&(*role, *id)) {
                    service.endpoint.clone_from(endpoint);
                }
            }
            RegistryEvent::WalletChanged { role, id, wallet } => {
                self.lapse(*role, *id);
                if let Some(service) = self.services.get_mut(&(*role, *id)) {
                    service.wallet = *wallet;
                }
            }
            RegistryEvent::Confirmed {
                role,
                id,
                wallet,
                confirmation,
            } => self.confirm(*role, *id, *wallet, confirmation),
            RegistryEvent::Lapsed { role, id } => self.lapse(*role, *id),
        }
    }

    fn confirm(&mut self, role: Role, id: ServiceId, wallet: Address, confirmation: &Confirmation) {
        if let Some(service) = self.services.get_mut(&(role, id))
            && service.wallet == wallet
        {
            service.confirmation = Some(confirmation.clone());
            self.peers.entry(wallet).or_default().insert((role, id));
        }
    }

    fn lapse(&mut self, role: Role, id: ServiceId) {
        let Some(service) = self.services.get_mut(&(role, id)) else {
            return;
        };
        service.confirmation = None;
        if let Some(services) = self.peers.get_mut(&service.wallet) {
            services.remove(&(role, id));
            if services.is_empty() {
                self.peers.remove(&service.wallet);
            }
        }
    }

    /// A form to keep on disk; [`Registry::from_bytes`] reads it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::to_bytes(&Kept {
            block: self.block,
            operators: self.operators.iter().map(|(a, o)| (*a, *o)).collect(),
            services: self.services.values().cloned().collect(),
        })
    }

    /// Reads what [`Registry::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// [`codec::DecodeError`] when it is something else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, codec::DecodeError> {
        let kept: Kept = codec::from_bytes("registry", bytes, REGISTRY_BYTES_MAX)?;
        let mut registry = Self {
            block: kept.block,
            operators: kept.operators.into_iter().collect(),
            ..Self::default()
        };
        for service in kept.services {
            let key = (service.role, service.id);
            if service.confirmation.is_some() {
                registry
                    .peers
                    .entry(service.wallet)
                    .or_default()
                    .insert(key);
            }
            registry.services.insert(key, service);
        }
        Ok(registry)
    }

    /// All operators, by address.
    pub fn operators(&self) -> impl Iterator<Item = (&Address, &Operator)> {
        self.operators.iter()
    }

    /// The operator of an address, if it is registered.
    #[must_use]
    pub fn operator(&self, address: &Address) -> Option<&Operator> {
        self.operators.get(address)
    }

    /// All registered services, confirmed or not, by role and number.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.values()
    }

    /// The confirmed services of a role, by number.
    pub fn confirmed(&self, role: Role) -> impl Iterator<Item = &Service> {
        self.services
            .range((role, ServiceId(0))..=(role, ServiceId(u64::MAX)))
            .map(|(_, service)| service)
            .filter(|service| service.confirmation.is_some())
    }

    /// The addresses of all confirmed peers.
    pub fn peer_addresses(&self) -> impl Iterator<Item = &Address> {
        self.peers.keys()
    }

    /// A confirmed peer by its address.
    #[must_use]
    pub fn peer(&self, address: &Address) -> Option<Peer> {
        let keys = self.peers.get(address)?;
        let first = self.services.get(keys.first()?)?;
        let confirmation = first.confirmation.as_ref()?;
        Some(Peer {
            address: *address,
            operator: first.operator,
            operator_number: self.operators.get(&first.operator)?.number?,
            public_key: confirmation.public_key.clone(),
            zone: confirmation.zone,
            endpoint: first.endpoint.clone(),
            roles: keys.iter().copied().collect(),
        })
    }

    /// True when the peer is confirmed for the role.
    #[must_use]
    pub fn has_role(&self, address: &Address, role: Role) -> bool {
        self.peers
            .get(address)
            .is_some_and(|keys| keys.iter().any(|(found, _)| *found == role))
    }

    /// The sparse Merkle root over operators and confirmed peers.
    ///
    /// Keys are SHA-256(kind byte ‖ address), kind 0x01 for an operator and 0x02
    /// for a peer; values are the DAG-CBOR forms in `docs/formats/head.md`.
    #[must_use]
    pub fn root(&self) -> Hash32 {
        self.root_in(&mut SparseTree::default())
    }

    /// The same, by a tree that remembers what did not change since the last time.
    pub fn root_in(&self, tree: &mut SparseTree) -> Hash32 {
        let operators = self.operators.iter().map(|(address, operator)| {
            (
                leaf_key(KIND_OPERATOR, address),
                sha256(&codec::to_bytes(operator)),
            )
        });
        let peers = self.peers.iter().map(|(address, keys)| {
            let services: Vec<&Service> = keys
                .iter()
                .filter_map(|key| self.services.get(key))
                .collect();
            (
                leaf_key(KIND_PEER, address),
                sha256(&codec::to_bytes(&services)),
            )
        });
        tree.root(operators.chain(peers))
    }

    /// The weight of an operator: whole thousands of DGC up to the cap.
    #[must_use]
    pub fn weight(&self, operator: &Address) -> u64 {
        let found = self.operators.get(operator);
        found.map_or(0, |operator| weight_of(operator.stake))
    }
}

/// The weight of an active stake: whole thousands of DGC up to the cap.
#[must_use]
pub fn weight_of(stake: Dgc) -> u64 {
    stake.whole_floor().min(WEIGHT_STAKE_MAX_DGC) / WEIGHT_UNIT_DGC
}

/// [`Registry`] as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    block: BlockRef,
    operators: Vec<(Address, Operator)>,
    services: Vec<Service>,
}

fn leaf_key(kind: u8, address: &Address) -> Hash32 {
    let mut bytes = [kind; 21];
    bytes[1..].copy_from_slice(&address.0);
    sha256(&bytes)
}

const KIND_OPERATOR: u8 = 0x01;
const KIND_PEER: u8 = 0x02;

/// Longest kept registry in bytes: about 100,000 services.
pub const REGISTRY_BYTES_MAX: usize = 64 << 20;

/// Stake beyond this many DGC adds no weight: the most that a service type takes.
pub const WEIGHT_STAKE_MAX_DGC: u64 = 3_000_000;

/// DGC per unit of weight. Chosen: weights are whole numbers up to 3,000, and a unit
/// is half a percent of the smallest stake.
pub const WEIGHT_UNIT_DGC: u64 = 1_000;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod tests;
