use super::*;

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
            total: stake.parse().unwrap(),
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

const OPERATOR: Address = Address([1; 20]);
const WALLET: Address = Address([2; 20]);
