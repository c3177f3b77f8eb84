//! Wallets that pay for transactions.

use ethers_core::types::transaction::eip2718::TypedTransaction;
use ethers_core::types::{Eip1559TransactionRequest, NameOrAddress, Signature as EthersSignature};
use ethers_core::utils::keccak256;
use protocol::amount::U256;
use protocol::id::{Address, Hash32};
use protocol::signing::SigningKey;

/// A key that signs transactions; cheap to clone.
#[derive(Debug, Clone)]
pub struct Wallet {
    key: SigningKey,
    address: Address,
}

/// An EIP-1559 transaction before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Id of the chain.
    pub chain_id: u64,
    /// The wallet's nonce.
    pub nonce: u64,
    /// Whom; `None` creates a contract.
    pub to: Option<Address>,
    /// Wei that go along.
    pub value: U256,
    /// Call data or creation code.
    pub data: Vec<u8>,
    /// Most gas that it may use.
    pub gas_limit: u64,
    /// Most wei per gas.
    pub max_fee: U256,
    /// Tip in wei per gas.
    pub max_priority_fee: U256,
}

/// A signed transaction as it is broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawTransaction {
    /// Hash of the transaction.
    pub hash: Hash32,
    /// What is broadcast.
    pub bytes: Vec<u8>,
}

impl Wallet {
    /// A wallet over `key`.
    #[must_use]
    pub fn new(key: SigningKey) -> Self {
        let address = key.address();
        Self { key, address }
    }

    /// The wallet's address.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// The key itself, for records.
    #[must_use]
    pub const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Signs a transaction.
    #[must_use]
    pub fn sign(&self, transaction: &Transaction) -> RawTransaction {
        let typed = TypedTransaction::Eip1559(Eip1559TransactionRequest {
            from: None,
            to: transaction.to.map(|to| NameOrAddress::Address(to.0.into())),
            gas: Some(transaction.gas_limit.into()),
            value: Some(transaction.value),
            data: Some(transaction.data.clone().into()),
            nonce: Some(transaction.nonce.into()),
            access_list: Vec::new().into(),
            max_priority_fee_per_gas: Some(transaction.max_priority_fee),
            max_fee_per_gas: Some(transaction.max_fee),
            chain_id: Some(transaction.chain_id.into()),
        });
        let signature = self.key.sign(&Hash32(typed.sighash().0)).0;
        // Typed transactions carry the parity itself, not 27 plus the parity.
        let signature = EthersSignature {
            r: U256::from_big_endian(&signature[..32]),
            s: U256::from_big_endian(&signature[32..64]),
            v: u64::from(signature[64] - 27),
        };
        let bytes = typed.rlp_signed(&signature).to_vec();
        RawTransaction {
            hash: Hash32(keccak256(&bytes)),
            bytes,
        }
    }
}

impl From<SigningKey> for Wallet {
    fn from(key: SigningKey) -> Self {
        Self::new(key)
    }
}
