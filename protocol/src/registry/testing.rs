//! Registries with staked operators, for tests.

use super::{BlockRef, Confirmation, Registry, RegistryEvent};
use crate::amount::Dgc;
use crate::id::{Address, Hash32, OperatorNumber, Role, ServiceId, Zone};

/// An operator of its own with a confirmed service of each role.
#[derive(Clone)]
pub(crate) struct Enrolment<'a> {
    pub(crate) number: u8,
    pub(crate) roles: &'a [Role],
    pub(crate) wallet: Address,
    pub(crate) public_key: Vec<u8>,
    pub(crate) stake: Dgc,
}

/// A registry of block 1 in which all of these are confirmed, each in a zone of
/// its own.
pub(crate) fn registry_of<'a>(enrolments: impl IntoIterator<Item = Enrolment<'a>>) -> Registry {
    let mut registry = Registry::default();
    for enrolment in enrolments {
        enrol(&mut registry, enrolment);
    }
    registry.set_block(BlockRef {
        number: 1,
        hash: Hash32::ZERO,
    });
    registry
}

pub(crate) fn enrol(registry: &mut Registry, enrolment: Enrolment<'_>) {
    let Enrolment { number, wallet, .. } = enrolment;
    let (operator, id) = (Address([100 + number; 20]), ServiceId(u64::from(number)));
    registry.apply(&RegistryEvent::StakeChanged {
        operator,
        active: enrolment.stake,
    });
    registry.apply(&RegistryEvent::OperatorNumbered {
        operator,
        number: OperatorNumber(u64::from(number)),
    });
    for role in enrolment.roles {
        registry.apply(&RegistryEvent::Registered {
            role: *role,
            id,
            operator,
            endpoint: format!("https://peer-{number}"),
            wallet,
        });
        registry.apply(&RegistryEvent::Confirmed {
            role: *role,
            id,
            wallet,
            confirmation: Confirmation {
                public_key: enrolment.public_key.clone(),
                zone: Zone::new(&format!("zone-{number}")),
                block_number: 1,
            },
        });
    }
}
