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

/// One transaction of the deployment.
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
        planner.name_all();
        planner.hand_over();
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
            registry: self.proxy(ContractKind::Registry),
            token: self.proxy(ContractKind::ColivingToken),
            service_type_manager: self.proxy(ContractKind::ServiceTypeManager),
            staking: self.proxy(ContractKind::Staking),
            governance: self.proxy(ContractKind::Governance),
            service_provider_factory: self.proxy(ContractKind::ServiceProviderFactory),
            delegate_manager: self.proxy(ContractKind::DelegateManager),
            claims_manager: self.proxy(ContractKind::ClaimsManager),
            peer_registry: self.proxy(ContractKind::PeerRegistry),
            trusted_notifier_manager: self.proxy(ContractKind::TrustedNotifierManager),
            evidence: self.proxy(ContractKind::Evidence),
            records: self.proxy(ContractKind::Records),
            entity_manager: self.proxy(ContractKind::EntityManager),
            social_verifier: self.proxy(ContractKind::SocialVerifier),
            payment_router: self.proxy(ContractKind::PaymentRouter),
        }
    }
}

/// What a contract is told of another after both stand.
pub(super) struct Wire {
    pub(super) kind: ContractKind,
    pub(super) setter: &'static str,
    pub(super) getter: &'static str,
    pub(super) address: Address,
}

pub(super) fn wires(contracts: &Contracts) -> [Wire; 8] {
    const FACTORY: (&str, &str) = ("setServiceProviderFactory", "serviceProviderFactory");
    const DELEGATES: (&str, &str) = ("setDelegateManager", "delegateManager");
    const CLAIMS: (&str, &str) = ("setClaimsManager", "claimsManager");
    const REGISTRY: (&str, &str) = ("setPeerRegistry", "peerRegistry");
    let claims = contracts.claims_manager;
    let delegates = contracts.delegate_manager;
    [
        (
            ContractKind::Staking,
            FACTORY,
            contracts.service_provider_factory,
        ),
        (ContractKind::Staking, DELEGATES, delegates),
        (ContractKind::Staking, CLAIMS, claims),
        (
            ContractKind::ServiceProviderFactory,
            REGISTRY,
            contracts.peer_registry,
        ),
        (ContractKind::ServiceProviderFactory, DELEGATES, delegates),
        (ContractKind::ServiceProviderFactory, CLAIMS, claims),
        (ContractKind::DelegateManager, CLAIMS, claims),
        (ContractKind::ColivingToken, CLAIMS, claims),
    ]
    .map(|(kind, (setter, getter), address)| Wire {
        kind,
        setter,
        getter,
        address,
    })
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

    /// Arguments of `initialize`: the deployer governs until the end, where it
    /// is a contract's first argument.
    fn initialize(&self, kind: ContractKind, config: &DeployConfig) -> Vec<Token> {
        let (address, number) = (calls::address, calls::number);
        let (contracts, periods) = (&self.contracts, &config.periods);
        let governed = |rest: Vec<Token>| [vec![address(self.origin.deployer)], rest].concat();
        match kind {
            ContractKind::Governance => vec![
                address(contracts.registry),
                address(contracts.staking),
                number(periods.voting),
                number(periods.execution_delay),
                number(VOTING_QUORUM_PERCENT),
                number(IN_PROGRESS_PROPOSALS_MAX),
                address(config.guardian),
                number(self.origin.block + periods.guardianship),
            ],
            ContractKind::ColivingToken => governed(vec![address(config.treasury)]),
            ContractKind::Staking => governed(vec![address(contracts.token)]),
            ContractKind::ServiceProviderFactory => governed(vec![
                address(contracts.staking),
                address(contracts.service_type_manager),
                address(contracts.governance),
                number(periods.decrease_lockup),
                number(periods.deployer_cut_lockup),
            ]),
            ContractKind::DelegateManager => governed(vec![
                address(contracts.staking),
                address(contracts.service_provider_factory),
                address(contracts.governance),
                number(periods.undelegate_lockup),
                number(periods.remove_delegator_lockup),
                number(periods.remove_delegator_evaluation),
            ]),
            ContractKind::ClaimsManager => governed(vec![
                address(contracts.token),
                address(contracts.staking),
                address(contracts.service_provider_factory),
                address(contracts.delegate_manager),
                number(periods.funding_round),
                Token::Uint(config.funding.round.0),
                address(config.funding.community_pool),
                Token::Uint(config.funding.community.0),
            ]),
            ContractKind::PeerRegistry => governed(vec![
                address(contracts.service_provider_factory),
                number(config.snapshot_blocks),
            ]),
            ContractKind::Evidence | ContractKind::Records => {
                governed(vec![address(contracts.peer_registry)])
            }
            ContractKind::EntityManager => governed(vec![address(contracts.social_verifier)]),
            ContractKind::SocialVerifier => governed(vec![
                address(contracts.entity_manager),
                address(contracts.peer_registry),
                number(config.attestations_min),
            ]),
            ContractKind::Registry
            | ContractKind::ServiceTypeManager
            | ContractKind::TrustedNotifierManager
            | ContractKind::PaymentRouter
            | ContractKind::Erc1967Proxy => governed(Vec::new()),
        }
    }

    /// Tells the contracts of each other.
    fn wire(&mut self) {
        for wire in wires(&self.contracts) {
            let name = format!("tell {} where its {} is", wire.kind.name(), wire.getter);
            let address = [calls::address(wire.address)];
            self.call(name, wire.kind, wire.setter, &address);
        }
    }

    /// Lets `Registry` know every contract under its name.
    fn name_all(&mut self) {
        for (kind, proxy) in self.contracts.proxies() {
            self.call(
                format!("name {}", kind.name()),
                ContractKind::Registry,
                "addContract",
                &[calls::registry_key(kind), calls::address(proxy)],
            );
        }
    }

    /// From here on proposals alone change anything.
    fn hand_over(&mut self) {
        let governance = [calls::address(self.contracts.governance)];
        for kind in DEPLOYED {
            // It governs itself from the start.
            if kind != ContractKind::Governance {
                let name = format!("hand {} to governance", kind.name());
                self.call(name, kind, "setGovernance", &governance);
            }
        }
    }
}

fn position(kind: ContractKind) -> usize {
    DEPLOYED
        .iter()
        .position(|deployed| *deployed == kind)
        .expect("every contract but the proxy is deployed")
}

/// What is deployed, each after those that its `initialize` asks.
const DEPLOYED: [ContractKind; 15] = [
    ContractKind::Registry,
    ContractKind::ColivingToken,
    ContractKind::ServiceTypeManager,
    ContractKind::Staking,
    ContractKind::Governance,
    ContractKind::ServiceProviderFactory,
    ContractKind::DelegateManager,
    ContractKind::ClaimsManager,
    ContractKind::PeerRegistry,
    ContractKind::TrustedNotifierManager,
    ContractKind::Evidence,
    ContractKind::Records,
    ContractKind::EntityManager,
    ContractKind::SocialVerifier,
    ContractKind::PaymentRouter,
];

/// Share of the stake that must vote.
const VOTING_QUORUM_PERCENT: u64 = 5;

const IN_PROGRESS_PROPOSALS_MAX: u64 = 100;
