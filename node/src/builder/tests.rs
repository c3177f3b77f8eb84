use super::*;

#[track_caller]
fn check(roles: &[Role], expected: &NetConfig) {
    let config = Config {
        roles: roles.iter().copied().collect(),
        ..Config::default()
    };
    let key = SigningKey::from_bytes(&[7; 32]).unwrap();
    let limits = |net: &NetConfig| {
        (
            net.neighbours_min,
            net.connections_max,
            net.connections_inbound_max,
            net.connections_pending_max,
            net.kad_server,
            net.autonat_server,
        )
    };
    assert_eq!(limits(&net_config(&config, &key)), limits(expected));
}

#[test]
fn a_light_peer_has_the_limits_of_a_light_peer() {
    check(&[], &NetConfig::light());
    for role in Role::ALL {
        check(&[role], &NetConfig::default());
    }
}
