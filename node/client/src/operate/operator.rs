//! Operators: their services, stakes and cuts.

use ethers_core::abi::Token;
use futures::future::try_join_all;
use protocol::amount::Dgc;
use protocol::chain::ContractKind;
use protocol::chain::calls::{self, address, hash, number, text};
use protocol::id::{Address, Role, ServiceId, Zone};
use protocol::records::Confirm;
use protocol::signing::{Record, Signature, SigningKey};
use serde::Serialize;

use super::{Call, Deployment, OperateError, Pending};

/// The stake bounds of a service type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bounds {
    /// What each service asks for.
    pub min: Dgc,
    /// What each service allows.
    pub max: Dgc,
}

/// A registered service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Service {
    /// What it does.
    pub role: Role,
    /// Its number within the role.
    pub id: ServiceId,
    /// Who staked for it.
    pub operator: Address,
    /// Where it is reached.
    pub endpoint: String,
    /// The peer's key: the delegate owner wallet.
    pub peer: Address,
    /// The block of the registration.
    pub registered_block: u64,
    /// Set while the peer's consent stands.
    pub confirmation: Option<Confirmation>,
}

/// A peer's consent to serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confirmation {
    /// Where the peer stands.
    pub zone: String,
    /// The block of the confirmation.
    pub block: u64,
}

/// An operator's stake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stake {
    /// The operator's own tokens.
    pub own: Dgc,
    /// What others delegated to it.
    pub delegated: Dgc,
    /// What is about to leave: own and delegated.
    pub locked: Dgc,
    /// What counts: everything but the locked.
    pub active: Dgc,
    /// What its services ask for.
    pub min: Dgc,
    /// What its services allow.
    pub max: Dgc,
    /// True when the active stake is within the bounds; rewards need it.
    pub within_bounds: bool,
    /// A decrease of its own stake.
    pub pending_decrease: Option<Pending>,
}

/// A registration before it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Where the peer is reached.
    pub endpoint: String,
    /// What it does.
    pub roles: Vec<Role>,
    /// The peer's address.
    pub peer: Address,
    /// Stake that is added.
    pub stake: Dgc,
}

impl Deployment {
    /// The stake bounds of a role; `None` when the contracts take no registrations.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn bounds(&self, role: Role) -> Result<Option<Bounds>, OperateError> {
        let arguments = [hash(role.service_type_bytes())];
        let mut answer = self
            .view(
                ContractKind::ServiceTypeManager,
                "getServiceTypeInfo",
                &arguments,
            )
            .await?;
        let is_valid = answer.truth()?;
        let bounds = Bounds {
            min: answer.amount()?,
            max: answer.amount()?,
        };
        Ok(is_valid.then_some(bounds))
    }

    /// An operator's services, by role and number.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn services(&self, operator: Address) -> Result<Vec<Service>, OperateError> {
        let of_role = async |role: Role| {
            let arguments = [address(operator), hash(role.service_type_bytes())];
            let mut answer = self
                .view(
                    ContractKind::ServiceProviderFactory,
                    "getServiceProviderIdsFromAddress",
                    &arguments,
                )
                .await?;
            let mut ids = answer.numbers()?;
            ids.sort_unstable();
            let services = ids.into_iter().take(SERVICES_MAX);
            try_join_all(services.map(|id| self.service(role, ServiceId(id)))).await
        };
        let found = try_join_all(Role::ALL.map(of_role)).await?;
        Ok(found.into_iter().flatten().flatten().collect())
    }

    /// One service; `None` when there is none of this number.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn service(
        &self,
        role: Role,
        id: ServiceId,
    ) -> Result<Option<Service>, OperateError> {
        let arguments = [hash(role.service_type_bytes()), number(id.0)];
        let (mut service, mut confirmation) = futures::try_join!(
            self.view(
                ContractKind::ServiceProviderFactory,
                "getServiceEndpointInfo",
                &arguments
            ),
            self.view(ContractKind::PeerRegistry, "confirmation", &arguments),
        )?;
        let operator = service.address()?;
        if operator == Address::ZERO {
            return Ok(None);
        }
        let (_operator, wallet) = (confirmation.address()?, confirmation.address()?);
        let _key = confirmation.bytes()?;
        let confirmed = Confirmation {
            zone: Zone(confirmation.hash()?).to_string(),
            block: confirmation.number()?,
        };
        Ok(Some(Service {
            role,
            id,
            operator,
            endpoint: service.text()?,
            registered_block: service.number()?,
            peer: service.address()?,
            confirmation: (wallet != Address::ZERO).then_some(confirmed),
        }))
    }

    /// An operator's number; `None` before its first confirmation.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn operator_number(&self, operator: Address) -> Result<Option<u64>, OperateError> {
        let mut answer = self
            .view(
                ContractKind::PeerRegistry,
                "operatorNumber",
                &[address(operator)],
            )
            .await?;
        Ok(Some(answer.number()?).filter(|number| *number != 0))
    }

    /// The calls that register a peer for its roles, each with its share of the
    /// stake: see [`shares`].
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn register(
        &self,
        operator: Address,
        registration: &Registration,
        shares: &[Dgc],
    ) -> Result<Vec<Call>, OperateError> {
        let approve = self.approve_stake(operator, registration.stake).await?;
        let mut calls: Vec<Call> = approve.into_iter().collect();
        for (role, share) in registration.roles.iter().zip(shares) {
            let arguments = [
                hash(role.service_type_bytes()),
                text(&registration.endpoint),
                Token::Uint(share.0),
                address(registration.peer),
            ];
            let what = format!("register as {role} and stake {share} DGC");
            calls.push(self.call(FACTORY, "register", &arguments, what)?);
        }
        Ok(calls)
    }

    /// Gives up a service.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment has no factory.
    pub fn deregister(&self, service: &Service) -> Result<Call, OperateError> {
        let arguments = [
            hash(service.role.service_type_bytes()),
            text(&service.endpoint),
        ];
        let what = format!("deregister {} {}", service.role, service.endpoint);
        self.call(FACTORY, "deregister", &arguments, what)
    }

    /// Moves a service to another URL.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment has no factory.
    pub fn move_service(&self, service: &Service, endpoint: &str) -> Result<Call, OperateError> {
        let arguments = [
            hash(service.role.service_type_bytes()),
            text(&service.endpoint),
            text(endpoint),
        ];
        let what = format!("move {} to {endpoint}", service.role);
        self.call(FACTORY, "updateEndpoint", &arguments, what)
    }

    /// Gives a service to another peer's key; its confirmation lapses.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment has no factory.
    pub fn change_peer(&self, service: &Service, peer: Address) -> Result<Call, OperateError> {
        let arguments = [
            hash(service.role.service_type_bytes()),
            text(&service.endpoint),
            address(peer),
        ];
        let what = format!("give {} to the peer {peer}", service.role);
        self.call(FACTORY, "updateDelegateOwnerWallet", &arguments, what)
    }

    /// A peer's signed consent to each of these services, in the order of the
    /// nonces that it uses up.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn sign_confirmations(
        &self,
        key: &SigningKey,
        services: &[Service],
        zone: Zone,
    ) -> Result<Vec<(Confirm, Signature)>, OperateError> {
        let mut answer = self
            .view(
                ContractKind::PeerRegistry,
                "nonces",
                &[address(key.address())],
            )
            .await?;
        let first = answer.number()?;
        let records = services.iter().zip(first..).map(|(service, nonce)| {
            let record = Confirm {
                role: service.role,
                service_id: service.id,
                operator: service.operator,
                public_key: key.public_key().to_vec(),
                zone,
                nonce,
            };
            let signature = key.sign(&record.digest(&self.contracts().domain()));
            (record, signature)
        });
        Ok(records.collect())
    }

    /// Hands in a peer's signed consent, by anybody.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment has no peer registry.
    pub fn confirm(&self, record: &Confirm, signature: &Signature) -> Result<Call, OperateError> {
        let to = self.address_of(ContractKind::PeerRegistry)?;
        Ok(Call {
            what: format!("confirm {} {}", record.role, record.service_id),
            function: "PeerRegistry.confirmWithSignature".to_owned(),
            to,
            data: calls::confirm_with_signature(record, signature),
            gas_typical: super::gas_typical("confirmWithSignature"),
        })
    }

    /// Consents to a service, sent by the peer itself.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment has no peer registry.
    pub fn confirm_as_peer(
        &self,
        service: &Service,
        key: &SigningKey,
        zone: Zone,
    ) -> Result<Call, OperateError> {
        let arguments = [
            hash(service.role.service_type_bytes()),
            number(service.id.0),
            Token::Bytes(key.public_key().to_vec()),
            hash(zone.0),
        ];
        let what = format!("confirm {} {}", service.role, service.id);
        self.call(ContractKind::PeerRegistry, "confirm", &arguments, what)
    }

    /// The calls that stake more.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn increase_stake(
        &self,
        operator: Address,
        amount: Dgc,
    ) -> Result<Vec<Call>, OperateError> {
        let approve = self.approve_stake(operator, amount).await?;
        let what = format!("stake {amount} DGC");
        let stake = self.call(FACTORY, "increaseStake", &[Token::Uint(amount.0)], what)?;
        Ok(approve.into_iter().chain([stake]).collect())
    }

    /// Asks for stake back.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment has no factory.
    pub fn request_decrease(&self, amount: Dgc) -> Result<Call, OperateError> {
        let what = format!("ask {amount} DGC of stake back");
        let arguments = [Token::Uint(amount.0)];
        self.call(FACTORY, "requestDecreaseStake", &arguments, what)
    }

    /// Takes the stake out that was asked back.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment has no factory.
    pub fn finish_decrease(&self, amount: Dgc) -> Result<Call, OperateError> {
        let what = format!("take {amount} DGC of stake out");
        self.call(FACTORY, "decreaseStake", &[], what)
    }

    /// Keeps the stake that was asked back.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment has no factory.
    pub fn cancel_decrease(&self, amount: Dgc) -> Result<Call, OperateError> {
        let what = format!("keep the {amount} DGC of stake that were asked back");
        self.call(FACTORY, "cancelDecreaseStakeRequest", &[], what)
    }

    /// A pending decrease of an operator's stake.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn pending_decrease(
        &self,
        operator: Address,
    ) -> Result<Option<Pending>, OperateError> {
        let mut answer = self
            .view(
                FACTORY,
                "getPendingDecreaseStakeRequest",
                &[address(operator)],
            )
            .await?;
        answer.pending()
    }

    /// Blocks from a request to decrease stake to the decrease.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn decrease_lockup(&self) -> Result<u64, OperateError> {
        let mut answer = self
            .view(FACTORY, "getDecreaseStakeLockupDuration", &[])
            .await?;
        answer.number()
    }
}

/// Divides a stake over registrations so that after each of them the active
/// stake covers the minima up to there; the last takes what is beyond, when all
/// maxima count.
#[must_use]
pub fn shares(stake: Dgc, active: Dgc, min: Dgc, minima: &[Dgc]) -> Vec<Dgc> {
    let (mut left, mut active, mut min) = (stake, active, min);
    let plus = |one: Dgc, other: Dgc| one.checked_add(other).unwrap_or(one);
    let mut shares: Vec<Dgc> = minima
        .iter()
        .map(|minimum| {
            min = plus(min, *minimum);
            let share = left.min(min.saturating_sub(active));
            left = left.saturating_sub(share);
            active = plus(active, share);
            share
        })
        .collect();
    if let Some(last) = shares.last_mut() {
        *last = plus(*last, left);
    }
    shares
}

const FACTORY: ContractKind = ContractKind::ServiceProviderFactory;

/// Most services of one role that are listed. Chosen: more than an operator has.
const SERVICES_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_shares(stake: u64, active: u64, min: u64, minima: &[u64], expected: &[u64]) {
        let minima: Vec<Dgc> = minima.iter().map(|amount| Dgc((*amount).into())).collect();
        let found = shares(
            Dgc(stake.into()),
            Dgc(active.into()),
            Dgc(min.into()),
            &minima,
        );
        let found: Vec<u64> = found.iter().map(|share| share.0.as_u64()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_registration_brings_its_minimum_and_the_last_the_rest() {
        check_shares(700, 0, 0, &[200, 200, 200], &[200, 200, 300]);
        check_shares(600, 0, 0, &[200, 200, 200], &[200, 200, 200]);
        check_shares(5, 0, 0, &[], &[]);
    }

    #[test]
    fn stake_that_is_there_already_counts() {
        check_shares(0, 900, 200, &[200, 200], &[0, 0]);
        check_shares(100, 300, 200, &[200], &[100]);
        check_shares(300, 250, 200, &[200, 200], &[150, 150]);
    }

    #[test]
    fn too_little_is_spread_as_far_as_it_goes() {
        check_shares(300, 0, 0, &[200, 200], &[200, 100]);
    }
}
