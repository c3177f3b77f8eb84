//! Payments through the router, in one transaction each.

use ethers_core::abi::Token;
use protocol::amount::{Dgc, U256};
use protocol::chain::ContractKind;
use protocol::chain::calls::{address, number, text};
use protocol::id::{Address, Hash32};
use protocol::payment::{MEMO_BYTES_MAX, PAYEES_MAX};
use protocol::signing::{
    Signature, SigningKey, StructEncoder, domain_separator, typed_data_digest,
};

use super::{Call, Deployment, OperateError};

/// A payment before it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Who gets how much; every payee once.
    pub payees: Vec<(Address, Dgc)>,
    /// What it is for.
    pub memo: String,
}

/// A payment that lets the router take its amount until a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    owner: Address,
    amount: Dgc,
    nonce: U256,
    deadline: u64,
    digest: Hash32,
}

/// Why a payment cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaymentError {
    /// The router takes no such payment.
    #[error("{count} payees were given, a payment has 1 to {PAYEES_MAX}")]
    Payees {
        /// How many there are.
        count: usize,
    },
    /// A payee would get nothing.
    #[error("{payee} would get nothing")]
    Nothing {
        /// The payee without a share.
        payee: Address,
    },
    /// The memo is too long.
    #[error("the memo has {size} bytes, at most {MEMO_BYTES_MAX} are possible")]
    Memo {
        /// Bytes of the memo.
        size: usize,
    },
    /// The amounts do not fit into 256 bits.
    #[error("the amounts add up to more than any token has")]
    TooLarge,
}

impl Payment {
    /// The sum of the amounts.
    ///
    /// # Errors
    ///
    /// [`PaymentError`] when the router would refuse the payment.
    pub fn total(&self) -> Result<Dgc, PaymentError> {
        let count = self.payees.len();
        if count == 0 || count > PAYEES_MAX {
            return Err(PaymentError::Payees { count });
        }
        if self.memo.len() > MEMO_BYTES_MAX {
            let size = self.memo.len();
            return Err(PaymentError::Memo { size });
        }
        let mut total = Dgc::ZERO;
        for (payee, amount) in &self.payees {
            if *amount == Dgc::ZERO {
                return Err(PaymentError::Nothing { payee: *payee });
            }
            total = total.checked_add(*amount).ok_or(PaymentError::TooLarge)?;
        }
        Ok(total)
    }
}

impl Permit {
    /// What is signed.
    #[must_use]
    pub const fn digest(&self) -> Hash32 {
        self.digest
    }
}

impl Deployment {
    /// What the payer signs to let the router take `amount` until `deadline`
    /// (Unix seconds): EIP-2612 with the token's own nonce.
    ///
    /// # Errors
    ///
    /// [`OperateError`] when the chain does not answer.
    pub async fn permit(
        &self,
        owner: Address,
        amount: Dgc,
        deadline: u64,
    ) -> Result<Permit, OperateError> {
        let contracts = self.contracts();
        let mut nonce = self
            .view(ContractKind::ColivingToken, "nonces", &[address(owner)])
            .await?;
        let nonce = nonce.uint()?;
        let mut encoder = StructEncoder::new(PERMIT_TYPE);
        encoder
            .address(&owner)
            .address(&self.address_of(ContractKind::PaymentRouter)?)
            .bytes32(&word(amount.0))
            .bytes32(&word(nonce))
            .uint(deadline);
        let separator = domain_separator("Coliving", "1", contracts.chain_id, contracts.token);
        Ok(Permit {
            owner,
            amount,
            nonce,
            deadline,
            digest: typed_data_digest(&separator, &encoder.finish()),
        })
    }

    /// Pays with a permit that the payer signs here.
    ///
    /// # Errors
    ///
    /// [`OperateError::Missing`] when the deployment has no router.
    pub fn pay_with_permit(
        &self,
        payment: &Payment,
        permit: &Permit,
        key: &SigningKey,
    ) -> Result<Call, OperateError> {
        let Signature(signature) = key.sign(&permit.digest);
        let mut arguments = self.arguments(payment, permit.amount);
        arguments.extend([number(permit.deadline), Token::Bytes(signature.to_vec())]);
        let what = format!("pay {} DGC", permit.amount);
        self.call(ROUTER, "payWithPermit", &arguments, what)
    }

    fn arguments(&self, payment: &Payment, total: Dgc) -> Vec<Token> {
        let payees = payment.payees.iter();
        let addresses = payees.clone().map(|(payee, _)| address(*payee));
        let amounts = payees.map(|(_, amount)| Token::Uint(amount.0));
        vec![
            address(self.contracts().token),
            Token::Uint(total.0),
            Token::Array(addresses.collect()),
            Token::Array(amounts.collect()),
            text(&payment.memo),
        ]
    }
}

fn word(number: U256) -> Hash32 {
    let mut bytes = [0; 32];
    number.to_big_endian(&mut bytes);
    Hash32(bytes)
}

const ROUTER: ContractKind = ContractKind::PaymentRouter;

const PERMIT_TYPE: &str =
    "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)";
