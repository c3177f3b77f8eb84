//! A peer's consent to serve, as it signs it for `PeerRegistry`.

use serde::{Deserialize, Serialize};

use crate::id::{Address, Role, ServiceId, Zone};
use crate::signing::{Record, StructEncoder};

/// "This service is mine": signed by the delegate owner wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Confirm {
    /// The role that the service registered for.
    pub role: Role,
    /// The service's number.
    pub service_id: ServiceId,
    /// Who staked for it.
    pub operator: Address,
    /// The peer's uncompressed public key without prefix, 64 bytes.
    #[serde(with = "serde_bytes")]
    pub public_key: Vec<u8>,
    /// Where the peer stands.
    pub zone: Zone,
    /// `PeerRegistry.nonces(wallet)`.
    pub nonce: u64,
}

impl Record for Confirm {
    const TYPE: &'static str = "Confirm(bytes32 serviceType,uint256 serviceId,address operator,bytes publicKey,bytes32 zone,uint256 nonce)";

    fn encode(&self, encoder: &mut StructEncoder) {
        encoder
            .bytes32(&self.role.service_type_bytes())
            .uint(self.service_id.0)
            .address(&self.operator)
            .bytes(&self.public_key)
            .bytes32(&self.zone.0)
            .uint(self.nonce);
    }
}
