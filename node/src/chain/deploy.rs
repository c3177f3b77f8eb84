//! Deploying the contracts, and an operator's way in.

use std::time::Duration;

use ethers_core::abi::Token;
use protocol::amount::{Dgc, U256};
use protocol::chain::calls::{self, AnswerError};
use protocol::chain::{Confirm, ContractKind, Contracts, artifact, registry_event_from_log};
use protocol::id::{Address, Role, ServiceId, Zone};
use protocol::registry::RegistryEvent;
use protocol::signing::{Record, SigningKey};

use super::rpc::{CallRequest, Client, Receipt, RpcError};
use super::wallet::{Transaction, Wallet};

/// What is fixed at deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeployConfig {
    /// Who may upgrade and configure.
    pub governance: Address,
    /// Who gets all tokens.
    pub treasury: Address,
    /// Who may mark users as verified.
    pub verifier: Address,
    /// Blocks between two registry snapshots: 256, and 1 on a development chain.
    pub snapshot_blocks: u64,
    /// Blocks that a decrease of stake is locked: a week of blocks.
    pub lockup_blocks: u64,
}

/// What an operator registers for one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// The peer's URL.
    pub endpoint: String,
    /// Its roles.
    pub roles: Vec<Role>,
    /// Where it stands.
    pub zone: Zone,
    /// Stake in all; divided over the registrations.
    pub stake: Dgc,
}

/// Why a deployment or registration stopped half-way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeployError {
    /// The endpoint or a contract refused.
    #[error("{step}: {source}")]
    Rpc {
        /// What was attempted.
        step: &'static str,
        /// Why it failed.
        source: RpcError,
    },
    /// A transaction was mined and reverted, or never mined.
    #[error("{step}: the transaction {outcome}")]
    Transaction {
        /// What was attempted.
        step: &'static str,
        /// What became of it.
        outcome: &'static str,
    },
    /// A contract's answer makes no sense.
    #[error("{step}: {source}")]
    Answer {
        /// What was attempted.
        step: &'static str,
        /// What is wrong with it.
        source: AnswerError,
    },
    /// Setters are sent by governance.
    #[error(
        "wallet {wallet} deploys but {governance} is governance; deploy with governance's wallet"
    )]
    NotGovernance {
        /// Who deploys.
        wallet: Address,
        /// Who should.
        governance: Address,
    },
}

/// Deploys every contract behind its proxy and wires them up; the wallet is
/// governance.
///
/// # Errors
///
/// [`DeployError`] names the step; start again, nothing is reused.
pub async fn deploy(
    client: &Client,
    wallet: &Wallet,
    config: &DeployConfig,
) -> Result<Contracts, DeployError> {
    if wallet.address() != config.governance {
        return Err(DeployError::NotGovernance {
            wallet: wallet.address(),
            governance: config.governance,
        });
    }
    let mut deployer = Sender::new(client, wallet, "start deploying").await?;
    let deployed_block = deployer.head().await?;
    let governance = calls::address(config.governance);
    let token = deployer
        .contract(
            ContractKind::ColivingToken,
            "deploy ColivingToken",
            &[governance.clone(), calls::address(config.treasury)],
        )
        .await?;
    let service_type_manager = deployer
        .contract(
            ContractKind::ServiceTypeManager,
            "deploy ServiceTypeManager",
            std::slice::from_ref(&governance),
        )
        .await?;
    let staking = deployer
        .contract(
            ContractKind::Staking,
            "deploy Staking",
            &[governance.clone(), calls::address(token)],
        )
        .await?;
    let service_provider_factory = deployer
        .contract(
            ContractKind::ServiceProviderFactory,
            "deploy ServiceProviderFactory",
            &[
                governance.clone(),
                calls::address(staking),
                calls::address(service_type_manager),
                calls::number(config.lockup_blocks),
            ],
        )
        .await?;
    let peer_registry = deployer
        .contract(
            ContractKind::PeerRegistry,
            "deploy PeerRegistry",
            &[
                governance.clone(),
                calls::address(service_provider_factory),
                calls::number(config.snapshot_blocks),
            ],
        )
        .await?;
    let records = deployer
        .contract(
            ContractKind::Records,
            "deploy Records",
            &[governance.clone(), calls::address(peer_registry)],
        )
        .await?;
    let entity_manager = deployer
        .contract(
            ContractKind::EntityManager,
            "deploy EntityManager",
            &[governance, calls::address(config.verifier)],
        )
        .await?;
    let contracts = Contracts {
        chain_id: deployer.chain_id,
        deployed_block,
        snapshot_blocks: config.snapshot_blocks,
        token,
        service_type_manager,
        staking,
        service_provider_factory,
        peer_registry,
        records,
        entity_manager,
    };
    deployer.wire(&contracts).await?;
    Ok(contracts)
}

/// Stakes, registers a peer for its roles and confirms them with the peer's
/// signature; returns the service numbers in the order of the roles.
///
/// # Errors
///
/// [`DeployError`] names the step. What was registered before stays registered.
pub async fn stake_and_confirm(
    client: &Client,
    contracts: &Contracts,
    operator: &Wallet,
    peer: &SigningKey,
    service: &ServiceConfig,
) -> Result<Vec<(Role, ServiceId)>, DeployError> {
    let mut sender = Sender::new(client, operator, "start staking").await?;
    let approve = calls::approve(contracts.staking, service.stake);
    sender
        .transact("approve the stake", Some(contracts.token), approve)
        .await?;
    let shares = shares(service.stake, service.roles.len());
    let mut services = Vec::new();
    for (role, share) in service.roles.iter().zip(shares) {
        let register = calls::register(*role, &service.endpoint, share, peer.address());
        let receipt = sender
            .transact(
                "register a service",
                Some(contracts.service_provider_factory),
                register,
            )
            .await?;
        let id = registered(contracts, &receipt).ok_or(DeployError::Transaction {
            step: "register a service",
            outcome: "logged no registration; check the contract addresses",
        })?;
        services.push((*role, id));
    }
    for (role, id) in &services {
        sender
            .confirm(contracts, peer, *role, *id, service.zone)
            .await?;
    }
    Ok(services)
}

/// Sends tokens from a wallet and waits until they have arrived.
///
/// # Errors
///
/// [`DeployError`] when the wallet does not own as many.
pub async fn transfer(
    client: &Client,
    contracts: &Contracts,
    wallet: &Wallet,
    to: Address,
    amount: Dgc,
) -> Result<Receipt, DeployError> {
    const STEP: &str = "transfer tokens";
    let mut sender = Sender::new(client, wallet, STEP).await?;
    sender
        .transact(STEP, Some(contracts.token), calls::transfer(to, amount))
        .await
}

/// Sends ether from a wallet and waits until it has arrived.
///
/// # Errors
///
/// [`DeployError`] when the wallet does not own as much.
pub async fn transfer_ether(
    client: &Client,
    wallet: &Wallet,
    to: Address,
    value: U256,
) -> Result<Receipt, DeployError> {
    const STEP: &str = "transfer ether";
    let mut sender = Sender::new(client, wallet, STEP).await?;
    sender.value = value;
    sender.transact(STEP, Some(to), Vec::new()).await
}

/// Sends one transaction after the other and waits for each.
struct Sender<'a> {
    client: &'a Client,
    wallet: &'a Wallet,
    chain_id: u64,
    value: U256,
}

impl<'a> Sender<'a> {
    async fn new(
        client: &'a Client,
        wallet: &'a Wallet,
        step: &'static str,
    ) -> Result<Self, DeployError> {
        let chain_id = client.chain_id().await.map_err(at(step))?;
        Ok(Self {
            client,
            wallet,
            chain_id,
            value: U256::zero(),
        })
    }

    async fn head(&self) -> Result<u64, DeployError> {
        let head = self.client.latest().await.map_err(at("read the head"))?;
        Ok(head.number + 1)
    }

    /// Deploys an implementation and the proxy in front of it.
    async fn contract(
        &mut self,
        kind: ContractKind,
        step: &'static str,
        arguments: &[Token],
    ) -> Result<Address, DeployError> {
        let code = artifact(kind).bytecode.clone();
        let implementation = created(step, &self.transact(step, None, code).await?)?;
        let initialize = calls::encode(kind, "initialize", arguments);
        let code = calls::proxy_creation(implementation, initialize);
        created(step, &self.transact(step, None, code).await?)
    }

    async fn wire(&mut self, contracts: &Contracts) -> Result<(), DeployError> {
        let factory = [calls::address(contracts.service_provider_factory)];
        self.transact(
            "let the factory move stake",
            Some(contracts.staking),
            calls::encode(ContractKind::Staking, "setServiceProviderFactory", &factory),
        )
        .await?;
        let registry = [calls::address(contracts.peer_registry)];
        self.transact(
            "let the factory end confirmations",
            Some(contracts.service_provider_factory),
            calls::encode(
                ContractKind::ServiceProviderFactory,
                "setPeerRegistry",
                &registry,
            ),
        )
        .await?;
        Ok(())
    }

    async fn confirm(
        &mut self,
        contracts: &Contracts,
        peer: &SigningKey,
        role: Role,
        service_id: ServiceId,
        zone: Zone,
    ) -> Result<Receipt, DeployError> {
        const STEP: &str = "confirm a service";
        let nonce = CallRequest::view(
            contracts.peer_registry,
            calls::confirm_nonce(peer.address()),
        );
        let answer = self.client.call(&nonce).await.map_err(at(STEP))?;
        let nonce = calls::decode_uint(&answer)
            .map_err(|source| DeployError::Answer { step: STEP, source })?;
        let record = Confirm {
            role,
            service_id,
            operator: self.wallet.address(),
            public_key: peer.public_key().to_vec(),
            zone,
            nonce: nonce.low_u64(),
        };
        let signature = peer.sign(&record.digest(&contracts.domain()));
        let data = calls::confirm_with_signature(&record, &signature);
        self.transact(STEP, Some(contracts.peer_registry), data)
            .await
    }

    async fn transact(
        &mut self,
        step: &'static str,
        to: Option<Address>,
        data: Vec<u8>,
    ) -> Result<Receipt, DeployError> {
        let request = CallRequest {
            from: Some(self.wallet.address()),
            to,
            data,
            value: self.value,
        };
        let gas = self.client.estimate_gas(&request).await.map_err(at(step))?;
        let head = self.client.latest().await.map_err(at(step))?;
        let tip = self.client.max_priority_fee().await.map_err(at(step))?;
        let nonce = self
            .client
            .transaction_count(self.wallet.address())
            .await
            .map_err(at(step))?;
        let raw = self.wallet.sign(&Transaction {
            chain_id: self.chain_id,
            nonce,
            to,
            value: self.value,
            data: request.data,
            gas_limit: gas + gas / 4,
            max_fee: U256::from(head.base_fee.unwrap_or_default()) * 2 + tip,
            max_priority_fee: tip.into(),
        });
        self.client.send_raw(&raw.bytes).await.map_err(at(step))?;
        for _ in 0..RECEIPT_POLLS_MAX {
            match self.client.receipt(raw.hash).await.map_err(at(step))? {
                Some(receipt) if receipt.succeeded => return Ok(receipt),
                Some(_) => {
                    return Err(DeployError::Transaction {
                        step,
                        outcome: "was mined and reverted",
                    });
                }
                None => tokio::time::sleep(RECEIPT_INTERVAL).await,
            }
        }
        Err(DeployError::Transaction {
            step,
            outcome: "was not mined within two minutes; is the chain halted?",
        })
    }
}

fn at(step: &'static str) -> impl FnOnce(RpcError) -> DeployError {
    move |source| DeployError::Rpc { step, source }
}

fn created(step: &'static str, receipt: &Receipt) -> Result<Address, DeployError> {
    receipt.contract_address.ok_or(DeployError::Transaction {
        step,
        outcome: "created no contract",
    })
}

fn registered(contracts: &Contracts, receipt: &Receipt) -> Option<ServiceId> {
    receipt
        .logs
        .iter()
        .find_map(|log| match registry_event_from_log(contracts, log) {
            Ok(Some(RegistryEvent::Registered { id, .. })) => Some(id),
            _ => None,
        })
}

/// Divides a stake evenly; the first share takes the remainder.
fn shares(stake: Dgc, count: usize) -> Vec<Dgc> {
    let count_u256 = U256::from(count.max(1));
    let share = stake.0 / count_u256;
    (0..count)
        .map(|idx| {
            if idx == 0 {
                share + stake.0 % count_u256
            } else {
                share
            }
        })
        .map(Dgc)
        .collect()
}

const RECEIPT_INTERVAL: Duration = Duration::from_millis(250);

/// Two minutes of polling.
const RECEIPT_POLLS_MAX: usize = 480;
