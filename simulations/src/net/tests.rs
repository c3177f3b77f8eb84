use super::*;

fn network(latency: Latency) -> Network {
    let config = NetworkConfig {
        latency,
        loss: 0.0,
        staked_mbit: 8,
        light_mbit: 8,
        duplicates: 0.0,
        late_answers: 0.0,
    };
    Network::new(config, 4, 2, 1)
}

#[test]
fn an_uplink_sends_one_message_after_the_other() {
    let mut network = network(Latency::Const { ms: 10 });
    let bytes = 1000 - OVERHEAD_BYTES;
    let at = |ms| Some(Moment::ZERO + Duration::from_millis(ms));
    // A kilobyte takes a millisecond at 8 Mbit/s.
    assert_eq!(network.send(0, 1, bytes, Moment::ZERO), at(11));
    assert_eq!(network.send(0, 2, bytes, Moment::ZERO), at(12));
    assert_eq!(network.send(1, 2, bytes, Moment::ZERO), at(11));
}

#[test]
fn a_partition_cuts_the_sides_and_heals() {
    let mut network = network(Latency::Regions);
    network.partition(vec![0, 0, 1, 1]);
    assert!(network.send(0, 1, 10, Moment::ZERO).is_some());
    assert!(network.send(0, 2, 10, Moment::ZERO).is_none());
    network.heal();
    assert!(network.send(0, 2, 10, Moment::ZERO).is_some());
}

#[test]
fn nobody_hears_a_muted_peer_that_hears_everybody() {
    let mut network = network(Latency::Const { ms: 1 });
    network.mute(0, true);
    assert!(network.send(0, 1, 10, Moment::ZERO).is_none());
    assert!(network.send(1, 0, 10, Moment::ZERO).is_some());
    network.mute(0, false);
    assert!(network.send(0, 1, 10, Moment::ZERO).is_some());
}

#[test]
fn a_slow_peer_sends_slowly_and_is_reached_late() {
    let mut network = network(Latency::Const { ms: 10 });
    let slow = Slow {
        divisor: 100,
        delay: Duration::from_millis(500),
    };
    network.slow(0, Some(slow));
    let bytes = 1000 - OVERHEAD_BYTES;
    let at = |ms| Some(Moment::ZERO + Duration::from_millis(ms));
    // A kilobyte takes 100 ms at a hundredth of 8 Mbit/s.
    assert_eq!(network.send(0, 1, bytes, Moment::ZERO), at(610));
    assert_eq!(network.send(1, 0, bytes, Moment::ZERO), at(511));
    network.slow(0, None);
    let later = Moment::ZERO + Duration::from_secs(1);
    assert_eq!(network.send(0, 1, bytes, later), at(1011));
}

#[test]
fn a_pair_keeps_its_latency_in_both_directions() {
    let mut network = network(Latency::Uniform {
        low_ms: 10,
        high_ms: 150,
    });
    let later = Moment::ZERO + Duration::from_secs(1);
    let forth = network.send(0, 3, 10, Moment::ZERO).unwrap();
    let back = network.send(3, 0, 10, later).unwrap();
    assert_eq!(forth - Moment::ZERO, back - later);
}

#[test]
fn loss_delays_and_rarely_breaks() {
    let mut network = network(Latency::Const { ms: 1 });
    network.config.loss = 0.3;
    network.config.staked_mbit = 1000;
    let sent: Vec<_> = (0..2000)
        .map(|number| {
            let now = Moment::ZERO + Duration::from_secs(number);
            network.send(0, 1, 10, now).map(|at| at - now)
        })
        .collect();
    let late = sent
        .iter()
        .flatten()
        .filter(|delay| **delay > Duration::from_millis(100))
        .count();
    assert!((500..700).contains(&late), "{late} were late");
    assert!(sent.iter().filter(|delay| delay.is_none()).count() < 5);
}

#[test]
fn a_mesh_has_about_its_degree_and_only_members() {
    let members: Vec<u32> = (0..50).map(|idx| idx * 2).collect();
    let mesh = Mesh::new(100, &members, 8, &mut Rng::stream(1, "mesh"));
    for peer in 0..100 {
        let degree = mesh.neighbours(peer).len();
        if peer % 2 == 0 {
            assert!((4..=8).contains(&degree), "peer {peer} has {degree}");
        } else {
            assert_eq!(degree, 0);
        }
    }
}
