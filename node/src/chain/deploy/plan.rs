//! Every transaction of a deployment, known before the first is sent.
//!
//! A contract's address follows from its creator and the creator's nonce. So
//! all proxies are known from the beginning, a deployment is the same list of
//! transactions each time it is planned, and one that stopped half-way goes on
//! where it stopped.

use ethers_core::abi::Token;
use ethers_core::types::H160;
use ethers_core::utils::get_contract_address;
use protocol::chain::{ContractKind, Contracts, artifact, calls};
use protocol::id::Address;

use super::DeployConfig;

/// The transactions of one deployment, in the order of their nonces.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) contracts: Contracts,
    pub(super) steps: Vec<Step>,
}

/// One transaction.
#[derive(Debug)]
pub(super) struct Step {
    /// What it does.
    pub(super) name: String,
    /// Whom it calls; `None` creates a contract.
    pub(super) to: Option<Address>,
    pub(super) data: Vec<u8>,
    /// What it creates.
    pub(super) creates: Option<Address>,
}

/// Where a deployment begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) chain_id: u64,
    pub(super) deployer: Address,
    /// The deployer's nonce before the first transaction.
    pub(super) nonce: u64,
    /// The chain's height before the first transaction.
    pub(super) block: u64,
}

impl Plan {
    pub(super) fn new(config: &DeployConfig, origin: &Origin) -> Self {
        let mut planner = Planner {
            origin: *origin,
            contracts: origin.contracts(config.snapshot_blocks),
            steps: Vec::new(),
        };
        for kind in DEPLOYED {
            planner.implementation(kind);
        }
        for kind in DEPLOYED {
            let arguments = planner.initialize(kind, config);
            planner.proxy(kind, &arguments);
        }
        planner.wire();
        Self {
            contracts: planner.contracts,
            steps: planner.steps,
        }
    }
}

impl Origin {
    fn created(&self, step: usize) -> Address {
        let nonce = self.nonce + u64::try_from(step).expect("a plan is short");
        Address(get_contract_address(H160(self.deployer.0), nonce).0)
    }

    fn implementation(&self, kind: ContractKind) -> Address {
        self.created(position(kind))
    }

    fn proxy(&self, kind: ContractKind) -> Address {
        self.created(DEPLOYED.len() + position(kind))
    }

    fn contracts(&self, snapshot_blocks: u64) -> Contracts {
        Contracts {
            chain_id: self.chain_id,
            deployed_block: self.block + 1,
            snapshot_blocks,
            token: self.proxy(ContractKind::ColivingToken),
            service_type_manager: self.proxy(ContractKind::ServiceTypeManager),
            staking: self.proxy(ContractKind::Staking),
            service_provider_factory: self.proxy(ContractKind::ServiceProviderFactory),
            peer_registry: self.proxy(ContractKind::PeerRegistry),
            records: self.proxy(ContractKind::Records),
            entity_manager: self.proxy(ContractKind::EntityManager),
        }
    }
}

struct Planner {
    origin: Origin,
    contracts: Contracts,
    steps: Vec<Step>,
}

impl Planner {
    fn implementation(&mut self, kind: ContractKind) {
        self.steps.push(Step {
            name: format!("create the code of {}", kind.name()),
            to: None,
            data: artifact(kind).bytecode.clone(),
            creates: Some(self.origin.implementation(kind)),
        });
    }

    fn proxy(&mut self, kind: ContractKind, arguments: &[Token]) {
        let initialize = calls::encode(kind, "initialize", arguments);
        let implementation = self.origin.implementation(kind);
        self.steps.push(Step {
            name: format!("create {}", kind.name()),
            to: None,
            data: calls::proxy_creation(implementation, initialize),
            creates: Some(self.origin.proxy(kind)),
        });
    }

    fn call(
        &mut self,
        name: impl Into<String>,
        kind: ContractKind,
        function: &str,
        arguments: &[Token],
    ) {
        self.steps.push(Step {
            name: name.into(),
            to: Some(self.origin.proxy(kind)),
            data: calls::encode(kind, function, arguments),
            creates: None,
        });
    }

    fn initialize(&self, kind: ContractKind, config: &DeployConfig) -> Vec<Token> {
        let (address, number) = (calls::address, calls::number);
        let contracts = &self.contracts;
        let mut arguments = vec![address(self.origin.deployer)];
        arguments.extend(match kind {
            ContractKind::ColivingToken => vec![address(config.treasury)],
            ContractKind::Staking => vec![address(contracts.token)],
            ContractKind::ServiceProviderFactory => vec![
                address(contracts.staking),
                address(contracts.service_type_manager),
                number(config.periods.decrease_lockup),
            ],
            ContractKind::PeerRegistry => vec![
                address(contracts.service_provider_factory),
                number(config.snapshot_blocks),
            ],
            ContractKind::Records => vec![address(contracts.peer_registry)],
            ContractKind::EntityManager => vec![address(config.treasury)],
            _ => Vec::new(),
        });
        arguments
    }

    fn wire(&mut self) {
        let contracts = self.contracts;
        let address = calls::address;
        self.call(
            "let the factory move stake",
            ContractKind::Staking,
            "setServiceProviderFactory",
            &[address(contracts.service_provider_factory)],
        );
        self.call(
            "let the factory end confirmations",
            ContractKind::ServiceProviderFactory,
            "setPeerRegistry",
            &[address(contracts.peer_registry)],
        );
    }
}

fn position(kind: ContractKind) -> usize {
    DEPLOYED
        .iter()
        .position(|deployed| *deployed == kind)
        .expect("every contract but the proxy is deployed")
}

/// What is deployed, each after those that its `initialize` asks.
const DEPLOYED: [ContractKind; 7] = [
    ContractKind::ColivingToken,
    ContractKind::ServiceTypeManager,
    ContractKind::Staking,
    ContractKind::ServiceProviderFactory,
    ContractKind::PeerRegistry,
    ContractKind::Records,
    ContractKind::EntityManager,
];
