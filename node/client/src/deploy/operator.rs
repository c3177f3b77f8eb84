//! An operator's way in, and money for it.

use protocol::amount::{Dgc, U256};
use protocol::chain::{Contracts, calls, registry_event_from_log};
use protocol::id::{Address, Role, ServiceId, Zone};
use protocol::records::Confirm;
use protocol::registry::RegistryEvent;
use protocol::signing::{Record, SigningKey};
use rpc::{CallRequest, Client, Receipt, Wallet};

use super::DeployError;
use super::sender::{Call, Sender, at};

/// What an operator registers for one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// The peer's URL.
    pub endpoint: String,
    /// Roles that the peer does.
    pub roles: Vec<Role>,
    /// Where it stands.
    pub zone: Zone,
    /// Stake in all; divided over the registrations.
    pub stake: Dgc,
}

/// Gives an operator the stake out of the treasury, then as [`stake_and_confirm`].
///
/// # Errors
///
/// [`DeployError`] names the step.
pub async fn enrol(
    client: &Client,
    contracts: &Contracts,
    treasury: &Wallet,
    operator: &Wallet,
    peer: &SigningKey,
    service: &ServiceConfig,
) -> Result<Vec<(Role, ServiceId)>, DeployError> {
    let to = operator.address();
    transfer(client, contracts, treasury, to, service.stake).await?;
    stake_and_confirm(client, contracts, operator, peer, service).await
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
    let approve = Call::new("approve the stake", contracts.token, approve);
    sender.transact(approve).await?;
    let shares = shares(service.stake, service.roles.len());
    let mut services = Vec::new();
    for (role, share) in service.roles.iter().zip(shares) {
        const STEP: &str = "register a service";
        let register = calls::register(*role, &service.endpoint, share, peer.address());
        let register = Call::new(STEP, contracts.service_provider_factory, register);
        let receipt = sender.transact(register).await?;
        let id = registered(contracts, &receipt).ok_or(DeployError::Transaction {
            step: STEP.into(),
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
    let data = calls::transfer(to, amount);
    sender
        .transact(Call::new(STEP, contracts.token, data))
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
    let call = Call {
        value,
        ..Call::new(STEP, to, Vec::new())
    };
    sender.transact(call).await
}

impl Sender<'_> {
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
        let nonce = calls::decode_uint(&answer).map_err(|source| DeployError::Answer {
            step: STEP.into(),
            source,
        })?;
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
        self.transact(Call::new(STEP, contracts.peer_registry, data))
            .await
    }
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
