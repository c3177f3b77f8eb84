use super::*;

#[test]
fn a_kept_registry_is_the_same_when_it_is_read() {
    let registry = kept_example();
    let read = Registry::from_bytes(&registry.to_bytes()).unwrap();
    assert_eq!(read, registry);
    assert_eq!(read.root(), registry.root());
    assert!(Registry::from_bytes(b"something else").is_err());
}

fn kept_example() -> Registry {
    let (operator, wallet) = (Address([1; 20]), Address([2; 20]));
    let mut registry = Registry::default();
    for role in [Role::Content, Role::Discovery] {
        registry.apply(&RegistryEvent::Registered {
            role,
            id: ServiceId(1),
            operator,
            endpoint: "http://one.example".to_owned(),
            wallet,
        });
    }
    registry.apply(&RegistryEvent::OperatorNumbered {
        operator,
        number: OperatorNumber(1),
    });
    registry.apply(&RegistryEvent::Confirmed {
        role: Role::Discovery,
        id: ServiceId(1),
        wallet,
        confirmation: Confirmation {
            public_key: vec![7; 64],
            zone: Zone::default(),
            block_number: 3,
        },
    });
    registry.set_block(BlockRef {
        number: 9,
        hash: Hash32([3; 32]),
    });
    registry
}

#[test]
fn only_confirmed_services_make_peers() {
    let mut registry = registered();
    assert!(registry.peer(&WALLET).is_none());
    registry.apply(&confirmed());
    let peer = registry.peer(&WALLET).unwrap();
    assert_eq!(peer.operator, OPERATOR);
    assert_eq!(peer.roles, BTreeMap::from([(Role::Content, ServiceId(1))]));
    assert!(registry.has_role(&WALLET, Role::Content));
    assert!(!registry.has_role(&WALLET, Role::Identity));
}

#[test]
fn a_confirmation_lapses_with_its_service_and_its_wallet() {
    check_lapse(RegistryEvent::Deregistered {
        role: Role::Content,
        id: ServiceId(1),
    });
    check_lapse(RegistryEvent::WalletChanged {
        role: Role::Content,
        id: ServiceId(1),
        wallet: Address([5; 20]),
    });
    check_lapse(RegistryEvent::Lapsed {
        role: Role::Content,
        id: ServiceId(1),
    });
}

#[test]
fn a_confirmation_by_another_wallet_is_ignored() {
    let mut registry = registered();
    let RegistryEvent::Confirmed {
        role,
        id,
        confirmation,
        ..
    } = confirmed()
    else {
        unreachable!("built as a confirmation")
    };
    registry.apply(&RegistryEvent::Confirmed {
        role,
        id,
        wallet: Address([6; 20]),
        confirmation,
    });
    assert_eq!(registry.confirmed(Role::Content).count(), 0);
}

#[test]
fn weight_counts_thousands_up_to_the_cap() {
    for (stake, weight) in [
        ("999.9", 0),
        ("1000", 1),
        ("200000", 200),
        ("9000000", 3000),
    ] {
        let mut registry = Registry::default();
        registry.apply(&RegistryEvent::StakeChanged {
            operator: OPERATOR,
            active: stake.parse().unwrap(),
        });
        assert_eq!(registry.weight(&OPERATOR), weight, "{stake}");
    }
}

#[track_caller]
fn check_lapse(event: RegistryEvent) {
    let mut registry = registered();
    registry.apply(&confirmed());
    registry.apply(&event);
    assert!(registry.peer(&WALLET).is_none());
    assert_eq!(registry.confirmed(Role::Content).count(), 0);
}

fn registered() -> Registry {
    let mut registry = Registry::default();
    registry.apply(&RegistryEvent::OperatorNumbered {
        operator: OPERATOR,
        number: OperatorNumber(1),
    });
    registry.apply(&RegistryEvent::Registered {
        role: Role::Content,
        id: ServiceId(1),
        operator: OPERATOR,
        endpoint: "http://127.0.0.1:4000".to_owned(),
        wallet: WALLET,
    });
    registry
}

fn confirmed() -> RegistryEvent {
    RegistryEvent::Confirmed {
        role: Role::Content,
        id: ServiceId(1),
        wallet: WALLET,
        confirmation: Confirmation {
            public_key: vec![4; 64],
            zone: Zone::new("eu"),
            block_number: 9,
        },
    }
}

#[test]
fn the_root_follows_every_change() {
    let mut registry = Registry::default();
    let mut roots = BTreeSet::from([registry.root()]);
    assert_eq!(registry.root(), Hash32::ZERO);
    for event in [
        RegistryEvent::OperatorNumbered {
            operator: OPERATOR,
            number: OperatorNumber(1),
        },
        RegistryEvent::StakeChanged {
            operator: OPERATOR,
            active: Dgc::whole(1000),
        },
    ] {
        registry.apply(&event);
        assert!(roots.insert(registry.root()), "{event:?} changed no root");
    }
    let mut registry = registered();
    let unconfirmed = registry.root();
    registry.apply(&confirmed());
    assert_ne!(registry.root(), unconfirmed);
}

/// A registry of peers (operator, operator's stake in DGC, zone), each
/// confirmed for all three roles.
pub(crate) fn registry_of(peers: &[(u64, u64, &str)]) -> Registry {
    let mut registry = Registry::default();
    for (idx, (operator_number, stake, zone)) in peers.iter().enumerate() {
        let id = ServiceId(idx as u64 + 1);
        let operator = Address([u8::try_from(*operator_number).unwrap(); 20]);
        let mut wallet = Address([0xee; 20]);
        wallet.0[..8].copy_from_slice(&id.0.to_be_bytes());
        registry.apply(&RegistryEvent::OperatorNumbered {
            operator,
            number: OperatorNumber(*operator_number),
        });
        registry.apply(&RegistryEvent::StakeChanged {
            operator,
            active: Dgc::whole(*stake),
        });
        for role in Role::ALL {
            registry.apply(&RegistryEvent::Registered {
                role,
                id,
                operator,
                endpoint: format!("http://127.0.0.1:{}", 4000 + idx),
                wallet,
            });
            registry.apply(&RegistryEvent::Confirmed {
                role,
                id,
                wallet,
                confirmation: Confirmation {
                    public_key: vec![4; 64],
                    zone: Zone::new(zone),
                    block_number: 1,
                },
            });
        }
    }
    registry
}

const OPERATOR: Address = Address([1; 20]);
const WALLET: Address = Address([2; 20]);
