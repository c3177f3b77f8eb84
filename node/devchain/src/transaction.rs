//! Signed transactions of types 0, 1 and 2, decoded strictly.
//!
//! Integers are canonical, nothing trails, `s` is the lower one, the chain is
//! named: a transaction is accepted only when encoding it again gives the same
//! bytes (EIP-155, EIP-2930, EIP-1559, EIP-2).

use ethers_core::utils::rlp::{DecoderError, Rlp, RlpStream};
use protocol::id::Hash32;
use protocol::signing::{Signature, SignatureError};
use revm::context::TxEnv;
use revm::context_interface::transaction::{AccessList, AccessListItem};
use revm::primitives::{Address, B256, Bytes, TxKind, U256, keccak256};

/// A transaction whose signature was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// keccak256 of [`Self::raw`].
    pub hash: B256,
    /// The wallet that signed.
    pub from: Address,
    /// 0 legacy, 1 access list, 2 dynamic fee.
    pub type_id: u8,
    /// Chain it was signed for.
    pub chain_id: u64,
    /// Position among the sender's transactions.
    pub nonce: u64,
    /// Gas that it may use.
    pub gas_limit: u64,
    /// Price per gas of types 0 and 1, the fee cap of type 2, in wei.
    pub max_fee: u128,
    /// Tip cap of type 2, in wei per gas.
    pub max_priority_fee: Option<u128>,
    /// Whom it calls, or that it creates a contract.
    pub to: TxKind,
    /// Wei to hand over.
    pub value: U256,
    /// Call data or init code.
    pub input: Bytes,
    /// Addresses and words warmed beforehand.
    pub access_list: AccessList,
    /// The signature's v as encoded: the parity for types 1 and 2.
    pub v: u64,
    /// The signature's r.
    pub r: U256,
    /// The signature's s.
    pub s: U256,
    /// As it was sent.
    pub raw: Bytes,
}

/// Why a transaction was refused before it met the state.
#[derive(Debug, thiserror::Error)]
pub enum TransactionError {
    /// No bytes at all.
    #[error("the raw transaction is empty")]
    Empty,
    /// More than [`TRANSACTION_BYTES_MAX`].
    #[error(
        "oversized data: the transaction has {size} bytes, at most {TRANSACTION_BYTES_MAX} are allowed"
    )]
    TooLarge {
        /// Bytes of the transaction.
        size: usize,
    },
    /// A type beyond 2.
    #[error(
        "transaction type not valid: type {type_id} ({name}) is not supported; send type 0 (legacy), 1 (access list) or 2 (dynamic fee)"
    )]
    Type {
        /// Its first byte, which names its type.
        type_id: u8,
        /// What that type is called.
        name: &'static str,
    },
    /// Not the RLP of its type.
    #[error("the raw transaction does not decode: {0}")]
    Decode(String),
    /// Decodes, but encodes to other bytes.
    #[error("the raw transaction is not in canonical encoding")]
    NotCanonical,
    /// A legacy transaction without EIP-155.
    #[error(
        "only replay-protected (EIP-155) transactions are accepted; sign with chain id {chain_id}"
    )]
    NotProtected {
        /// Id of this chain.
        chain_id: u64,
    },
    /// Signed for another chain.
    #[error("invalid chain id for signer: the transaction names {found}, this chain is {chain_id}")]
    ChainId {
        /// The one it names.
        found: u64,
        /// Id of this chain.
        chain_id: u64,
    },
    /// A parity beyond 1.
    #[error("invalid signature: v is {v}")]
    Recovery {
        /// What it is.
        v: u64,
    },
    /// High s, or not a signature.
    #[error("invalid signature: {0}")]
    Signature(SignatureError),
}

impl TransactionError {
    /// True when the bytes are no transaction of a known type.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        match self {
            Self::Empty | Self::Type { .. } | Self::Decode(_) | Self::NotCanonical => true,
            Self::TooLarge { .. }
            | Self::NotProtected { .. }
            | Self::ChainId { .. }
            | Self::Recovery { .. }
            | Self::Signature(_) => false,
        }
    }
}

impl Transaction {
    /// Decodes and checks a raw transaction.
    ///
    /// # Errors
    ///
    /// [`TransactionError`] with what is wrong with it.
    pub fn decode(raw: &[u8], chain_id: u64) -> Result<Self, TransactionError> {
        if raw.len() > TRANSACTION_BYTES_MAX {
            return Err(TransactionError::TooLarge { size: raw.len() });
        }
        let (type_id, body) = match *raw {
            [] => return Err(TransactionError::Empty),
            [first, ..] if first >= RLP_LIST_FIRST => (0, raw),
            [type_id @ (1 | 2), ref body @ ..] => (type_id, body),
            [type_id, ..] => {
                let name = match type_id {
                    3 => "blob, EIP-4844",
                    4 => "set code, EIP-7702",
                    _ => "unknown",
                };
                return Err(TransactionError::Type { type_id, name });
            }
        };
        let mut transaction = read(type_id, &Rlp::new(body))
            .map_err(|error| TransactionError::Decode(error.to_string()))?;
        let parity = transaction.check_chain(chain_id)?;
        if transaction.encode(true) != raw {
            return Err(TransactionError::NotCanonical);
        }
        transaction.from = transaction.recover(parity)?;
        transaction.hash = keccak256(raw);
        transaction.raw = Bytes::copy_from_slice(raw);
        Ok(transaction)
    }

    /// Price per gas when the block's base fee is `base_fee`.
    #[must_use]
    pub fn effective_gas_price(&self, base_fee: u64) -> u128 {
        match self.max_priority_fee {
            Some(tip) => self.max_fee.min(tip.saturating_add(u128::from(base_fee))),
            None => self.max_fee,
        }
    }

    /// The most wei that it may cost.
    #[must_use]
    pub fn cost_max(&self) -> U256 {
        U256::from(self.max_fee)
            .saturating_mul(U256::from(self.gas_limit))
            .saturating_add(self.value)
    }

    /// What the EVM is given.
    #[must_use]
    pub fn env(&self) -> TxEnv {
        TxEnv {
            tx_type: self.type_id,
            caller: self.from,
            gas_limit: self.gas_limit,
            gas_price: self.max_fee,
            gas_priority_fee: self.max_priority_fee,
            kind: self.to,
            value: self.value,
            data: self.input.clone(),
            nonce: self.nonce,
            chain_id: Some(self.chain_id),
            access_list: self.access_list.clone(),
            ..TxEnv::default()
        }
    }

    /// Checks the chain id and gives the parity of the signature.
    fn check_chain(&mut self, chain_id: u64) -> Result<u8, TransactionError> {
        let parity = if self.type_id == 0 {
            if self.v < EIP155_V_MIN {
                return Err(TransactionError::NotProtected { chain_id });
            }
            self.chain_id = (self.v - EIP155_V_MIN) / 2;
            (self.v - EIP155_V_MIN) % 2
        } else {
            self.v
        };
        if self.chain_id != chain_id {
            let found = self.chain_id;
            return Err(TransactionError::ChainId { found, chain_id });
        }
        match parity {
            0 => Ok(0),
            1 => Ok(1),
            v => Err(TransactionError::Recovery { v }),
        }
    }

    fn recover(&self, parity: u8) -> Result<Address, TransactionError> {
        let digest = Hash32(keccak256(self.encode(false)).0);
        let mut signature = [0; 65];
        signature[..32].copy_from_slice(&self.r.to_be_bytes::<32>());
        signature[32..64].copy_from_slice(&self.s.to_be_bytes::<32>());
        signature[64] = 27 + parity;
        protocol::signing::recover(&digest, &Signature(signature))
            .map(|address| Address::from(address.0))
            .map_err(TransactionError::Signature)
    }

    /// With its signature as sent, without it as signed.
    fn encode(&self, signed: bool) -> Vec<u8> {
        let mut rlp = RlpStream::new();
        rlp.begin_unbounded_list();
        if self.type_id != 0 {
            rlp.append(&self.chain_id);
        }
        rlp.append(&self.nonce);
        if let Some(tip) = self.max_priority_fee {
            rlp.append(&tip);
        }
        rlp.append(&self.max_fee).append(&self.gas_limit);
        match self.to {
            TxKind::Call(address) => rlp.append(&address.as_slice()),
            TxKind::Create => rlp.append_empty_data(),
        };
        append_number(&mut rlp, self.value);
        rlp.append(&self.input.as_ref());
        if self.type_id != 0 {
            rlp.begin_list(self.access_list.0.len());
            for item in &self.access_list.0 {
                rlp.begin_list(2).append(&item.address.as_slice());
                rlp.begin_list(item.storage_keys.len());
                for key in &item.storage_keys {
                    rlp.append(&key.as_slice());
                }
            }
        }
        if signed {
            rlp.append(&self.v);
            append_number(&mut rlp, self.r);
            append_number(&mut rlp, self.s);
        } else if self.type_id == 0 {
            rlp.append(&self.chain_id).append(&0u8).append(&0u8);
        }
        rlp.finalize_unbounded_list();
        let body = rlp.out();
        let mut bytes = Vec::with_capacity(body.len() + 1);
        if self.type_id != 0 {
            bytes.push(self.type_id);
        }
        bytes.extend_from_slice(&body);
        bytes
    }
}

/// Appends a number without leading zeros.
pub(super) fn append_number(rlp: &mut RlpStream, number: U256) {
    rlp.append(&number.to_be_bytes_trimmed_vec());
}

/// Reads a number of at most 32 bytes.
pub(super) fn read_number(rlp: &Rlp<'_>) -> Result<U256, DecoderError> {
    U256::try_from_be_slice(rlp.data()?).ok_or(DecoderError::RlpIsTooBig)
}

/// Reads an address.
pub(super) fn read_address(rlp: &Rlp<'_>) -> Result<Address, DecoderError> {
    Address::try_from(rlp.data()?).map_err(|_| DecoderError::RlpInvalidLength)
}

fn read(type_id: u8, rlp: &Rlp<'_>) -> Result<Transaction, DecoderError> {
    let fields_count = match type_id {
        0 => 9,
        1 => 11,
        _ => 12,
    };
    if rlp.item_count()? != fields_count {
        return Err(DecoderError::RlpIncorrectListLen);
    }
    let mut idx = 0;
    let mut next = || {
        idx += 1;
        rlp.at(idx - 1)
    };
    let chain_id = if type_id == 0 { 0 } else { next()?.as_val()? };
    let nonce = next()?.as_val()?;
    let max_priority_fee = match type_id {
        2 => Some(next()?.as_val()?),
        _ => None,
    };
    let max_fee = next()?.as_val()?;
    let gas_limit = next()?.as_val()?;
    let to = next()?;
    let to = if to.is_empty() {
        TxKind::Create
    } else {
        TxKind::Call(read_address(&to)?)
    };
    let value = read_number(&next()?)?;
    let input = Bytes::copy_from_slice(next()?.data()?);
    let access_list = match type_id {
        0 => AccessList::default(),
        _ => read_access_list(&next()?)?,
    };
    Ok(Transaction {
        hash: B256::ZERO,
        from: Address::ZERO,
        type_id,
        chain_id,
        nonce,
        gas_limit,
        max_fee,
        max_priority_fee,
        to,
        value,
        input,
        access_list,
        v: next()?.as_val()?,
        r: read_number(&next()?)?,
        s: read_number(&next()?)?,
        raw: Bytes::new(),
    })
}

fn read_access_list(rlp: &Rlp<'_>) -> Result<AccessList, DecoderError> {
    let mut items = Vec::new();
    if !rlp.is_list() {
        return Err(DecoderError::RlpExpectedToBeList);
    }
    for item in rlp {
        if item.item_count()? != 2 {
            return Err(DecoderError::RlpIncorrectListLen);
        }
        let keys = item.at(1)?;
        if !keys.is_list() {
            return Err(DecoderError::RlpExpectedToBeList);
        }
        let storage_keys = keys
            .iter()
            .map(|key| B256::try_from(key.data()?).map_err(|_| DecoderError::RlpInvalidLength))
            .collect::<Result<_, _>>()?;
        items.push(AccessListItem {
            address: read_address(&item.at(0)?)?,
            storage_keys,
        });
    }
    Ok(AccessList(items))
}

/// The largest raw transaction, as large as other nodes accept.
pub const TRANSACTION_BYTES_MAX: usize = 128 * 1024;

/// The smallest first byte of an RLP list.
const RLP_LIST_FIRST: u8 = 0xc0;

/// v is 35 or 36 plus twice the chain id (EIP-155).
const EIP155_V_MIN: u64 = 35;
