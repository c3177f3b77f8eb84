//! Accounts elsewhere that are a user's.

use serde::{Deserialize, Serialize};

use crate::id::{Address, Hash32, UserId};
use crate::signing::{Record, StructEncoder};
use crate::time::UnixSeconds;

/// An identity peer saw that an account elsewhere belongs to a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attestation {
    /// The user whose account it is.
    pub user_id: UserId,
    /// The user's wallet.
    pub wallet: Address,
    /// Where the account is, 1 to 64 bytes.
    pub provider: String,
    /// keccak256 of the account's identifier, as the provider writes it.
    pub subject: Hash32,
    /// When the peer saw it.
    pub time: UnixSeconds,
}

impl Record for Attestation {
    const TYPE: &'static str =
        "Attestation(uint256 userId,address wallet,string provider,bytes32 subject,uint64 time)";

    fn encode(&self, encoder: &mut StructEncoder) {
        encoder
            .uint(self.user_id.0)
            .address(&self.wallet)
            .bytes(self.provider.as_bytes())
            .bytes32(&self.subject)
            .uint(self.time.0);
    }
}

#[cfg(test)]
mod tests;
