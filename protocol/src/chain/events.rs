//! Logs into entries and registry events.
//!
//! An entry is built from the `ManageEntity` log and the `Signed` log directly
//! after it, alone: which contract called and with what data does not matter.
//! A log that cannot be used is skipped with its reason; following goes on.

use ethers_core::abi::{LogParam, RawLog, Token};
use ethers_core::types::H256;

use crate::action::{Action, ActionDomain, ActionError, SignedAction};
use crate::amount::Dgc;
use crate::chain::artifacts::{ContractKind, artifact};
use crate::chain::contracts::Contracts;
use crate::chain::json::{BlockHeader, Log};
use crate::entry::{Entry, LOG_INDEX_MAX, Position};
use crate::id::{Address, EntityId, Hash32, OperatorNumber, Role, ServiceId, UserId, Zone};
use crate::registry::{Confirmation, RegistryEvent};
use crate::signing::Signature;

/// Why a log became neither an entry nor a registry event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Topics or data do not fit the ABI.
    #[error("the {event} log does not fit the contract's ABI")]
    Malformed {
        /// The event that the first topic names.
        event: &'static str,
    },
    /// A number beyond 64 bits.
    #[error("the {event} log carries a number beyond 64 bits")]
    Number {
        /// The event that the first topic names.
        event: &'static str,
    },
    /// No `Signed` log of the same transaction directly after it.
    #[error("the ManageEntity log is not followed by its Signed log")]
    Unpaired,
    /// A position that entries cannot carry.
    #[error("log index {log_index} is too large, entries carry at most 20 bits")]
    Index {
        /// The log's index in its block.
        log_index: u64,
    },
    /// The logged fields are not what was signed.
    #[error("the logged action has digest {computed}, the log claims {claimed}")]
    Digest {
        /// In the `Signed` log.
        claimed: Hash32,
        /// Over the fields of the `ManageEntity` log.
        computed: Hash32,
    },
    /// Somebody else signed.
    #[error("the logged action was signed by {recovered}, the log claims {claimed}")]
    Signer {
        /// In the `ManageEntity` log.
        claimed: Address,
        /// From the signature.
        recovered: Address,
    },
    /// Fields too long, or a malformed signature.
    #[error(transparent)]
    Action(#[from] ActionError),
}

/// A `ManageEntity` log that did not become an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The transaction with the log.
    pub tx_hash: Hash32,
    /// The log's index in its block.
    pub log_index: u64,
    /// Why it is no entry.
    pub error: LogError,
}

/// All entries of a block, in log order, from its logs in log order; logs of
/// other contracts and other events are passed over.
#[must_use]
pub fn entries_from_logs(
    domain: &ActionDomain,
    header: &BlockHeader,
    logs: &[Log],
) -> (Vec<Entry>, Vec<Skipped>) {
    let (mut entries, mut skipped) = (Vec::new(), Vec::new());
    for (idx, log) in logs.iter().enumerate() {
        if !is_manage_entity(domain, log) {
            continue;
        }
        match entry_from_logs(domain, header, log, logs.get(idx + 1)) {
            Ok(entry) => entries.push(entry),
            Err(error) => skipped.push(Skipped {
                tx_hash: log.tx_hash,
                log_index: log.log_index,
                error,
            }),
        }
    }
    (entries, skipped)
}

/// The entry of a `ManageEntity` log and the log after it.
///
/// # Errors
///
/// [`LogError`]; all of them mean that the log is to be skipped.
pub fn entry_from_logs(
    domain: &ActionDomain,
    header: &BlockHeader,
    manage: &Log,
    signed: Option<&Log>,
) -> Result<Entry, LogError> {
    let signed = signed
        .filter(|log| {
            log.address == domain.entity_manager
                && log.tx_hash == manage.tx_hash
                && log.block_hash == manage.block_hash
                && manage.log_index.checked_add(1) == Some(log.log_index)
                && names(ContractKind::EntityManager, "Signed", log)
        })
        .ok_or(LogError::Unpaired)?;
    if manage.log_index > LOG_INDEX_MAX {
        return Err(LogError::Index {
            log_index: manage.log_index,
        });
    }
    let mut fields = Fields::read(ContractKind::EntityManager, "ManageEntity", manage)?;
    let user_id = UserId(fields.uint()?);
    let claimed_signer = fields.address()?;
    let entity_type = fields.text()?;
    let entity_id = EntityId(fields.uint()?);
    let metadata = fields.text()?;
    let action = fields.text()?;
    let mut fields = Fields::read(ContractKind::EntityManager, "Signed", signed)?;
    let claimed_digest = fields.hash()?;
    let nonce = fields.hash()?;
    let signature = fields.signature()?;

    let action = SignedAction {
        action: Action {
            user_id,
            entity_type,
            entity_id,
            action,
            metadata,
            nonce,
        },
        signature,
    };
    let computed = action.action.digest(domain);
    if computed != claimed_digest {
        return Err(LogError::Digest {
            claimed: claimed_digest,
            computed,
        });
    }
    let recovered = action.signer(domain)?;
    if recovered != claimed_signer {
        return Err(LogError::Signer {
            claimed: claimed_signer,
            recovered,
        });
    }
    Ok(Entry {
        action,
        position: Position {
            chain_id: domain.chain_id,
            block_number: header.number,
            block_hash: header.hash,
            block_time: header.time,
            tx_hash: manage.tx_hash,
            log_index: manage.log_index,
        },
    })
}

/// The registry event of a log; `None` for other contracts, other events and
/// service types that are no role.
///
/// # Errors
///
/// [`LogError`] when the log does not fit the contract's ABI.
pub fn registry_event_from_log(
    contracts: &Contracts,
    log: &Log,
) -> Result<Option<RegistryEvent>, LogError> {
    if log.address == contracts.staking {
        return staking_event(log);
    }
    if log.address == contracts.service_provider_factory {
        return factory_event(log);
    }
    if log.address == contracts.peer_registry {
        return peer_registry_event(log);
    }
    Ok(None)
}

fn staking_event(log: &Log) -> Result<Option<RegistryEvent>, LogError> {
    const KIND: ContractKind = ContractKind::Staking;
    if !names(KIND, "StakeChanged", log) {
        return Ok(None);
    }
    let mut fields = Fields::read(KIND, "StakeChanged", log)?;
    let operator = fields.address()?;
    let (total, locked) = (fields.amount()?, fields.amount()?);
    Ok(Some(RegistryEvent::StakeChanged {
        operator,
        active: total.saturating_sub(locked),
    }))
}

fn factory_event(log: &Log) -> Result<Option<RegistryEvent>, LogError> {
    const KIND: ContractKind = ContractKind::ServiceProviderFactory;
    let Some(event) = [
        "ServiceRegistered",
        "ServiceDeregistered",
        "EndpointUpdated",
        "DelegateOwnerWalletUpdated",
    ]
    .into_iter()
    .find(|event| names(KIND, event, log)) else {
        return Ok(None);
    };
    let mut fields = Fields::read(KIND, event, log)?;
    let Some(role) = fields.role()? else {
        return Ok(None);
    };
    let id = ServiceId(fields.uint()?);
    let operator = fields.address()?;
    Ok(Some(match event {
        "ServiceRegistered" => RegistryEvent::Registered {
            role,
            id,
            operator,
            endpoint: fields.text()?,
            wallet: fields.address()?,
        },
        "ServiceDeregistered" => RegistryEvent::Deregistered { role, id },
        "EndpointUpdated" => RegistryEvent::EndpointChanged {
            role,
            id,
            endpoint: fields.text()?,
        },
        _ => RegistryEvent::WalletChanged {
            role,
            id,
            wallet: fields.address()?,
        },
    }))
}

fn peer_registry_event(log: &Log) -> Result<Option<RegistryEvent>, LogError> {
    const KIND: ContractKind = ContractKind::PeerRegistry;
    let Some(event) = ["OperatorNumbered", "Confirmed", "Lapsed"]
        .into_iter()
        .find(|event| names(KIND, event, log))
    else {
        return Ok(None);
    };
    let mut fields = Fields::read(KIND, event, log)?;
    if event == "OperatorNumbered" {
        return Ok(Some(RegistryEvent::OperatorNumbered {
            operator: fields.address()?,
            number: OperatorNumber(fields.uint()?),
        }));
    }
    let Some(role) = fields.role()? else {
        return Ok(None);
    };
    let id = ServiceId(fields.uint()?);
    let _operator = fields.address()?;
    let wallet = fields.address()?;
    if event == "Lapsed" {
        return Ok(Some(RegistryEvent::Lapsed { role, id }));
    }
    let public_key = fields.bytes()?;
    let is_wallets = <&[u8; 64]>::try_from(public_key.as_slice())
        .is_ok_and(|key| Address::from_public_key(key) == wallet);
    if !is_wallets {
        return Err(LogError::Malformed { event });
    }
    Ok(Some(RegistryEvent::Confirmed {
        role,
        id,
        wallet,
        confirmation: Confirmation {
            public_key,
            zone: Zone(fields.hash()?),
            block_number: log.block_number,
        },
    }))
}

fn is_manage_entity(domain: &ActionDomain, log: &Log) -> bool {
    log.address == domain.entity_manager && names(ContractKind::EntityManager, "ManageEntity", log)
}

fn names(kind: ContractKind, event: &str, log: &Log) -> bool {
    let signature = artifact(kind)
        .abi
        .event(event)
        .expect("the artifact has the event")
        .signature();
    log.topics
        .first()
        .is_some_and(|topic| topic.0 == signature.0)
}

/// The parameters of an event, taken in the order of its ABI.
struct Fields {
    event: &'static str,
    parameters: std::vec::IntoIter<LogParam>,
}

impl Fields {
    fn read(kind: ContractKind, event: &'static str, log: &Log) -> Result<Self, LogError> {
        let raw = RawLog {
            topics: log.topics.iter().map(|topic| H256(topic.0)).collect(),
            data: log.data.clone(),
        };
        let parsed = artifact(kind)
            .abi
            .event(event)
            .expect("the artifact has the event")
            .parse_log(raw)
            .map_err(|_| LogError::Malformed { event })?;
        Ok(Self {
            event,
            parameters: parsed.params.into_iter(),
        })
    }

    fn take<T>(&mut self, convert: impl FnOnce(Token) -> Option<T>) -> Result<T, LogError> {
        self.parameters
            .next()
            .and_then(|parameter| convert(parameter.value))
            .ok_or(LogError::Malformed { event: self.event })
    }

    fn uint(&mut self) -> Result<u64, LogError> {
        let number = self.take(Token::into_uint)?;
        u64::try_from(number).map_err(|_| LogError::Number { event: self.event })
    }

    fn amount(&mut self) -> Result<Dgc, LogError> {
        self.take(Token::into_uint).map(Dgc)
    }

    fn address(&mut self) -> Result<Address, LogError> {
        self.take(Token::into_address)
            .map(|address| Address(address.0))
    }

    fn text(&mut self) -> Result<String, LogError> {
        self.take(Token::into_string)
    }

    fn bytes(&mut self) -> Result<Vec<u8>, LogError> {
        self.take(Token::into_bytes)
    }

    fn hash(&mut self) -> Result<Hash32, LogError> {
        self.take(|token| token.into_fixed_bytes()?.try_into().ok().map(Hash32))
    }

    fn signature(&mut self) -> Result<Signature, LogError> {
        self.take(|token| token.into_bytes()?.try_into().ok().map(Signature))
    }

    fn role(&mut self) -> Result<Option<Role>, LogError> {
        let service_type = self.hash()?;
        Ok(Role::from_service_type(&service_type))
    }
}
