//! Registries, keys and chains for tests.

use protocol::action::{Action, ActionDomain};
use protocol::amount::Dgc;
use protocol::entry::{Entry, Position};
use protocol::id::{Address, EntityId, Hash32, OperatorNumber, Role, ServiceId, UserId, Zone};
use protocol::registry::{Confirmation, Registry, RegistryEvent};
use protocol::signing::{Domain, SigningKey};
use protocol::time::UnixSeconds;

pub(crate) const DOMAIN: Domain = Domain {
    chain_id: 1337,
    verifying_contract: Address([9; 20]),
};

pub(crate) const ACTIONS: ActionDomain = ActionDomain {
    chain_id: 1337,
    entity_manager: Address([8; 20]),
};

pub(crate) const START: UnixSeconds = UnixSeconds(1_700_000_000);

/// The key of peer number `idx`, counted from 0.
pub(crate) fn key(idx: usize) -> SigningKey {
    SigningKey::from_bytes(&[u8::try_from(idx).unwrap() + 1; 32]).unwrap()
}

/// One peer per operator, with the given stakes in thousands of DGC, confirmed
/// for all roles.
pub(crate) fn registry(stakes: &[u64]) -> Registry {
    let mut registry = Registry::default();
    for (idx, stake) in stakes.iter().enumerate() {
        let operator = Address([u8::try_from(idx).unwrap() + 100; 20]);
        let id = ServiceId(idx as u64 + 1);
        registry.apply(&RegistryEvent::OperatorNumbered {
            operator,
            number: OperatorNumber(id.0),
        });
        registry.apply(&RegistryEvent::StakeChanged {
            operator,
            active: Dgc::whole(stake * 1000),
        });
        for role in Role::ALL {
            let wallet = key(idx).address();
            registry.apply(&RegistryEvent::Registered {
                role,
                id,
                operator,
                endpoint: String::new(),
                wallet,
            });
            registry.apply(&RegistryEvent::Confirmed {
                role,
                id,
                wallet,
                confirmation: Confirmation {
                    public_key: key(idx).public_key().to_vec(),
                    zone: Zone::default(),
                    block_number: 1,
                },
            });
        }
    }
    registry
}

/// `count` entries of block `number`.
pub(crate) fn entries(number: u64, count: u64) -> Vec<Entry> {
    (0..count)
        .map(|idx| Entry {
            action: Action {
                user_id: UserId(1),
                entity_type: "Track".to_owned(),
                entity_id: EntityId(idx),
                action: "Save".to_owned(),
                metadata: String::new(),
                nonce: Hash32([u8::try_from(number).unwrap(); 32]),
            }
            .sign(&ACTIONS, &key(50)),
            position: Position {
                chain_id: 1337,
                block_number: number,
                block_hash: block_hash(number),
                block_time: UnixSeconds(START.0 + number),
                tx_hash: Hash32([6; 32]),
                log_index: idx * 2,
            },
        })
        .collect()
}

pub(crate) fn block_hash(number: u64) -> Hash32 {
    protocol::entry::sha256(&number.to_be_bytes())
}
