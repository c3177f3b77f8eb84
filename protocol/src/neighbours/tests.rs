use rand::Rng;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// A machine with a world around it in which some peers answer.
struct World {
    machine: Neighbours,
    now: Moment,
    dead: BTreeSet<Address>,
    held: BTreeSet<Address>,
    dials: Vec<Address>,
}

impl World {
    fn new(neighbours_min: usize, seed: u8) -> Self {
        let now = Moment::ZERO;
        let config = Config {
            local: peer(0),
            neighbours_min,
            rotation: HOUR,
            rest_min: Duration::from_secs(5),
            rest_max: Duration::from_secs(600),
        };
        Self {
            machine: Neighbours::new(config, [seed; 32], now),
            now,
            dead: BTreeSet::new(),
            held: BTreeSet::new(),
            dials: Vec::new(),
        }
    }

    fn registry(&mut self, pairs: impl IntoIterator<Item = (u8, u8)>) {
        let pairs = pairs
            .into_iter()
            .map(|(number, operator)| (peer(number), peer(operator)));
        self.machine.handle_registry(pairs, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.machine.poll_transmit() {
            match transmit {
                Transmit::Dial(peer) => {
                    self.dials.push(peer);
                    if self.dead.contains(&peer) {
                        self.machine.handle_dial_failed(peer, self.now);
                    } else {
                        self.machine.handle_connected(peer, self.now);
                    }
                }
                Transmit::Hold(peer) => assert!(self.held.insert(peer), "{peer} held twice"),
                Transmit::Release(peer) => assert!(self.held.remove(&peer), "{peer} not held"),
            }
        }
    }

    fn kill(&mut self, peer: Address) {
        self.dead.insert(peer);
        self.machine.handle_disconnected(peer, self.now);
        self.drain();
    }

    fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some((at, _)) = self.machine.poll_timeout()
            && at <= end
        {
            assert!(at >= self.now, "a deadline lies in the past");
            self.now = at;
            self.machine.handle_timeout(at);
            self.drain();
        }
        self.now = end;
    }
}

fn peer(number: u8) -> Address {
    Address([number; 20])
}

#[test]
fn neighbours_belong_to_distinct_operators() {
    let mut world = World::new(8, 1);
    // Twelve operators with four peers each.
    world.registry((1..=48).map(|number| (number, 100 + number % 12)));
    assert_eq!(world.held.len(), 8);
    let operators: BTreeSet<u8> = world.held.iter().map(|peer| peer.0[0] % 12).collect();
    assert_eq!(operators.len(), 8);
}

#[test]
fn the_draw_depends_on_the_seed_alone() {
    let draw = |seed| {
        let mut world = World::new(4, seed);
        world.registry((1..=48).map(|number| (number, 100 + number)));
        world.held
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn peers_that_came_by_themselves_are_not_preferred() {
    let draw = |strangers: bool| {
        let mut world = World::new(4, 3);
        if strangers {
            for number in 1..=20 {
                world.machine.handle_connected(peer(number), world.now);
            }
        }
        world.registry((1..=48).map(|number| (number, 100 + number)));
        world.held
    };
    assert_eq!(draw(true), draw(false));
}

#[test]
fn a_small_network_is_held_whole() {
    let mut world = World::new(8, 1);
    world.registry([(0, 100), (1, 100), (2, 101), (3, 102), (4, 103)]);
    assert_eq!(world.held, (1..=4).map(peer).collect());
}

#[test]
fn a_second_peer_of_an_operator_gives_way_to_a_new_operator() {
    let mut world = World::new(2, 1);
    world.registry([(1, 100), (2, 100)]);
    assert_eq!(world.held.len(), 2);
    world.registry([(1, 100), (2, 100), (3, 101)]);
    assert!(world.held.contains(&peer(3)));
    assert_eq!(world.held.len(), 2);
}

#[test]
fn one_neighbour_is_replaced_at_each_rotation() {
    let mut world = World::new(4, 5);
    world.registry((1..=40).map(|number| (number, 100 + number)));
    let mut before = world.held.clone();
    for _ in 0..10 {
        world.advance(HOUR);
        assert_eq!(world.held.len(), 4);
        assert_eq!(world.held.intersection(&before).count(), 3);
        before = world.held.clone();
    }
}

#[test]
fn a_rotation_onto_a_dead_peer_keeps_the_old_one() {
    let mut world = World::new(1, 1);
    world.registry([(1, 100)]);
    world.dead.insert(peer(2));
    world.registry([(1, 100), (2, 101)]);
    world.advance(HOUR * 3);
    assert_eq!(world.held, BTreeSet::from([peer(1)]));
    assert!(world.dials.contains(&peer(2)));
}

#[test]
fn a_lost_neighbour_is_replaced_at_once() {
    let mut world = World::new(4, 7);
    world.registry((1..=20).map(|number| (number, 100 + number)));
    let lost = *world.held.first().unwrap();
    world.kill(lost);
    assert_eq!(world.held.len(), 4);
    assert!(!world.held.contains(&lost));
}

#[test]
fn an_unreachable_peer_is_dialled_less_and_less_often() {
    let mut world = World::new(1, 1);
    world.dead.insert(peer(1));
    world.registry([(1, 100)]);
    world.advance(HOUR);
    let dials = world.dials.len();
    assert!((8..=20).contains(&dials), "{dials} dials in an hour");
}

#[test]
fn a_new_address_ends_the_rest() {
    let mut world = World::new(1, 1);
    world.dead.insert(peer(1));
    world.registry([(1, 100)]);
    assert_eq!(world.dials.len(), 1);
    world.dead.clear();
    world.machine.handle_address(peer(1), world.now);
    world.drain();
    assert_eq!(world.held, BTreeSet::from([peer(1)]));
}

#[test]
fn a_peer_that_left_the_registry_is_let_go() {
    let mut world = World::new(2, 1);
    world.registry([(1, 100), (2, 101)]);
    world.registry([(2, 101)]);
    assert_eq!(world.held, BTreeSet::from([peer(2)]));
}

/// A registry of 40 operators; the first of them is the attacker's and has as
/// many peers as all others together.
fn registry() -> Vec<(Address, Address)> {
    let honest = (1..40u8).flat_map(|operator| [(operator, 1), (operator, 2)]);
    let attacker = (0..78u8).map(|number| (0, number + 1));
    attacker
        .chain(honest)
        .map(|(operator, number)| (member(operator, number), member(operator, 0)))
        .collect()
}

fn member(operator: u8, number: u8) -> Address {
    let mut address = [1; 20];
    address[..2].copy_from_slice(&[operator, number]);
    Address(address)
}

/// Somebody whom the registry does not know.
fn stranger(rng: &mut StdRng) -> Address {
    let mut address: [u8; 20] = rng.random();
    address[19] = 2;
    Address(address)
}

/// Everything that somebody far away can make happen, in any order.
fn harass(world: &mut World, rng: &mut StdRng) {
    for _ in 0..500 {
        let (peer, now) = (stranger(rng), world.now);
        match rng.random_range(0..4) {
            0 => world.machine.handle_connected(peer, now),
            1 => world.machine.handle_disconnected(peer, now),
            2 => world.machine.handle_address(peer, now),
            _ => world.machine.handle_dial_failed(peer, now),
        }
        world.drain();
    }
}

#[test]
fn a_crowd_of_strangers_cannot_change_whom_a_peer_draws() {
    let history = |seed: u8, is_harassed: bool| {
        let mut world = World::new(8, seed);
        let mut rng = StdRng::seed_from_u64(seed.into());
        let mut held = Vec::new();
        for _ in 0..6 {
            world.machine.handle_registry(registry(), world.now);
            world.drain();
            if is_harassed {
                harass(&mut world, &mut rng);
            }
            world.advance(HOUR);
            held.push(world.held.clone());
        }
        held
    };
    for seed in 0..32 {
        assert_eq!(history(seed, true), history(seed, false), "seed {seed}");
    }
}

#[test]
fn many_peers_of_one_operator_that_all_connect_are_one_neighbour_at_most() {
    for seed in 0..64 {
        let mut world = World::new(8, seed);
        let attackers = (1..79).map(|number| member(0, number));
        attackers.for_each(|peer| world.machine.handle_connected(peer, world.now));
        world.machine.handle_registry(registry(), world.now);
        world.drain();
        for _ in 0..24 {
            world.advance(HOUR);
            let of_attacker = world.held.iter().filter(|peer| peer.0[0] == 0).count();
            assert!(of_attacker <= 1, "{of_attacker} of 8 with seed {seed}");
        }
    }
}
