//! Who lives in a world, and what is planned for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use protocol::action::ActionDomain;
use protocol::amount::Dgc;
use protocol::entry::sha256;
use protocol::id::{Address, Hash32, OperatorNumber, Role, ServiceId, UserId, Zone};
use protocol::registry::{Confirmation, RegistryEvent};
use protocol::signing::{Domain, SigningKey};
use protocol::time::{EPOCH_SECONDS, Moment, UnixSeconds};

use super::clocks::Clocks;
use super::{Ctx, Params, World, WorldEvent};
use crate::adversary::{Adversary, Kind};
use crate::chain::endpoints::Endpoints;
use crate::chain::{Chain, FeeLimits};
use crate::checkers::Checkers;
use crate::engine::{Queue, Rng, Seen, TraceHash};
use crate::host::Host;
use crate::metrics::Metrics;
use crate::net::{Mesh, Network};
use crate::scenario::Scenario;
use crate::workload::{Person, Resident};

/// A staked peer as the registry knows it.
#[derive(Debug, Clone)]
struct Staked {
    key: SigningKey,
    operator: Address,
    operator_number: u64,
    zone: Zone,
    roles: Vec<Role>,
    stake: u64,
}

impl World {
    /// Builds the world of a scenario and a seed.
    #[must_use]
    pub fn new(scenario: &Scenario, seed: u64, is_measured: bool) -> Self {
        let population = &scenario.population;
        let peers = population.peers.max(2);
        let staked = scenario.staked();
        let mut rng = Rng::stream(seed, "population");
        // An epoch begins in every run, while there are faults.
        let before = 1 + rng.below(scenario.fault_seconds.clamp(1, EPOCH_SECONDS));
        let start = UnixSeconds(START_SECONDS - before);
        let now = Moment::from_unix(start);
        let members = draw_staked(scenario, staked, &mut rng);
        let keys: Vec<SigningKey> = members
            .iter()
            .map(|member| member.key.clone())
            .chain((staked..peers).map(|_| draw_key(&mut rng)))
            .collect();
        let founders = staked
            - (scenario.faults.joins + scenario.faults.key_changes)
                .min(staked.saturating_sub(REGISTERED_MIN));
        let registry = members[..founders]
            .iter()
            .enumerate()
            .flat_map(|(idx, member)| registration(member, idx, 0))
            .collect();
        let liars = draw_liars(scenario, &members[..founders], peers, &mut rng);
        let adversaries = draw_adversaries(scenario, founders, staked, peers);
        let params = params(scenario);
        let users = keys
            .iter()
            .enumerate()
            .map(|(idx, key)| (UserId(idx as u64 + 1), key.address()))
            .collect();
        let chain = Chain::new(
            params.actions,
            registry,
            users,
            scenario.chain.confirmations,
            fee_limits(scenario),
            now,
            Rng::stream(seed, "chain"),
        );
        let addresses: Vec<Address> = keys.iter().map(SigningKey::address).collect();
        let all: Vec<u32> = (0..count(peers)).collect();
        // Whoever asks to hears what staked peers gossip.
        let mut listeners = all[..staked].to_vec();
        let replays = adversaries
            .iter()
            .filter(|(_, kind)| **kind == Kind::Replays);
        listeners.extend(replays.map(|(idx, _)| count(*idx)));
        let mut mesh_rng = Rng::stream(seed, "mesh");
        let dishonest = (0..peers)
            .map(|idx| liars[idx] || adversaries.contains_key(&idx))
            .collect();
        let mut ctx = Ctx {
            now,
            time: now,
            chain,
            endpoints: Endpoints::new(seed, scenario.chain.endpoint_faults),
            is_chain_up: true,
            is_calm: false,
            checkers: Checkers::new(dishonest, now),
            metrics: Metrics::new(is_measured),
            rng: Rng::stream(seed, "peers"),
            up: vec![false; peers],
            params,
            seen: Seen::new(peers),
            queue: Queue::new(),
            net: Network::new(scenario.network.clone(), peers, staked, seed),
            trace: TraceHash::default(),
            index: addresses.iter().copied().zip(0..).collect(),
            staked: by_address(&addresses[..members.len()]),
            addresses,
            everybody: Arc::new(Mesh::new(peers, &all, MESH_DEGREE, &mut mesh_rng)),
            staked_only: Arc::new(Mesh::new(peers, &listeners, MESH_DEGREE, &mut mesh_rng)),
            ids: 0,
            wakes: 0,
            durable: Vec::new(),
            written: Vec::new(),
        };
        let people = keys.iter().enumerate().map(|(idx, key)| {
            let kind = adversaries.get(&idx).copied();
            person(idx, key, idx < staked, liars[idx], kind)
        });
        let people = people.collect();
        let hosts = keys
            .into_iter()
            .enumerate()
            .map(|(idx, key)| {
                let kind = adversaries.get(&idx).copied();
                let mut host = Host::new(count(idx), key, idx < staked, &ctx);
                host.is_liar = liars[idx];
                host.is_hollow = kind == Some(Kind::Promises);
                host
            })
            .collect();
        let calm_at = now + Duration::from_secs(scenario.fault_seconds);
        let mut happened: BTreeMap<&'static str, u64> = BTreeMap::new();
        for kind in adversaries.values() {
            *happened.entry(kind.key()).or_default() += 1;
        }
        ctx.schedule(now, WorldEvent::Begin);
        let mut world = Self {
            registry_told: ctx.registry().root,
            returning: BTreeSet::new(),
            clocks: Clocks::new(
                peers,
                Duration::from_secs(scenario.clocks.skew_seconds),
                scenario.clocks.drift_ppm,
                Rng::stream(seed, "clocks"),
            ),
            ctx,
            hosts,
            people,
            operators: members
                .iter()
                .enumerate()
                .map(|(idx, member)| {
                    if idx < founders {
                        member.operator
                    } else {
                        operator_address(idx as u64 + JOINER_NUMBER_FIRST)
                    }
                })
                .collect(),
            scenario: scenario.clone(),
            staked,
            faults: Rng::stream(seed, "faults"),
            roots: BTreeSet::new(),
            short_since: BTreeMap::new(),
            killed: BTreeSet::new(),
            rotted: BTreeSet::new(),
            fuses: BTreeMap::new(),
            backups: BTreeMap::new(),
            left: BTreeSet::new(),
            down: BTreeMap::new(),
            adversaries: adversaries.into_keys().map(count).collect(),
            joined: founders,
            happened,
            behind: BTreeMap::new(),
            started: now,
            calm_at,
            end_at: calm_at + Duration::from_secs(scenario.calm_seconds),
            is_over: false,
            counted_at: now,
        };
        world.plan(seed);
        world
    }

    /// The chain's news of a peer that registers.
    pub(super) fn registration_of(&mut self, idx: usize, roles: Vec<Role>) -> Vec<RegistryEvent> {
        let host = &self.hosts[idx];
        let number = idx as u64 + JOINER_NUMBER_FIRST;
        let member = Staked {
            key: host.key.clone(),
            operator: operator_address(number),
            operator_number: number,
            zone: zone(number % self.scenario.population.zones.max(1)),
            roles,
            stake: 400_000,
        };
        registration(&member, idx, self.ctx.chain.tip().number)
    }
}

/// Who sits at a peer: nobody at an honest staked one.
fn person(
    idx: usize,
    key: &SigningKey,
    is_staked: bool,
    is_liar: bool,
    kind: Option<Kind>,
) -> Option<Box<dyn Person>> {
    let user = UserId(idx as u64 + 1);
    let resident = (!is_staked).then(|| Resident::new(key.clone(), user));
    if is_liar || kind.is_some() {
        return Some(Box::new(Adversary::new(key.clone(), kind, resident)));
    }
    Some(Box::new(resident?))
}

fn params(scenario: &Scenario) -> Params {
    let contract = |name: &str| {
        let mut address = Address::ZERO;
        address.0.copy_from_slice(&sha256(name.as_bytes()).0[..20]);
        address
    };
    Params {
        domain: Domain {
            chain_id: CHAIN_ID,
            verifying_contract: contract("PeerRegistry"),
        },
        actions: ActionDomain {
            chain_id: CHAIN_ID,
            entity_manager: contract("EntityManager"),
        },
        confirmations: scenario.chain.confirmations,
        block_time: Duration::from_millis(scenario.chain.block_millis.max(100)),
        presence_interval: Duration::from_secs(scenario.content.presence_seconds.max(1)),
        lost_after: Duration::from_secs(scenario.content.lost_after_seconds.max(1)),
        fetch_share: scenario.workload.fetch_share,
        file_kib: scenario.workload.file_kib,
        deleted_share: scenario.workload.deleted_share,
        lease_epochs: scenario.content.lease_epochs,
        renewal_epochs: scenario.content.renewal_epochs,
        limits: scenario.limits,
        is_honest: scenario.is_honest(),
        drift_ppm: scenario.clocks.drift_ppm,
        garbled_share: scenario.population.garbled_share,
    }
}

fn fee_limits(scenario: &Scenario) -> FeeLimits {
    let chain = &scenario.chain;
    let room = (chain.block_transactions > 0).then_some(chain.block_transactions);
    let waiting = (chain.pool_transactions > 0).then_some(chain.pool_transactions);
    FeeLimits {
        block_transactions: room,
        pool_transactions: waiting,
    }
}

fn draw_key(rng: &mut Rng) -> SigningKey {
    loop {
        if let Ok(key) = SigningKey::from_bytes(&rng.array()) {
            return key;
        }
    }
}

/// Staked peers of operators of different size, spread over zones and roles.
fn draw_staked(scenario: &Scenario, staked: usize, rng: &mut Rng) -> Vec<Staked> {
    let population = &scenario.population;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a small number of peers"
    )]
    let operators = (staked as f64 * population.operators_share).ceil() as u64;
    let operators = operators.clamp(1, staked as u64);
    let stakes: Vec<u64> = (0..operators)
        .map(|_| 200_000 + 1000 * rng.below(2000))
        .collect();
    (0..staked as u64)
        .map(|idx| {
            let number = idx % operators;
            let mut roles = vec![Role::Content];
            if idx < population.discovery_max {
                roles.push(Role::Discovery);
            }
            if idx < population.identity_max {
                roles.push(Role::Identity);
            }
            Staked {
                key: draw_key(rng),
                operator: operator_address(number + 1),
                operator_number: number + 1,
                zone: zone(number % population.zones.max(1)),
                roles,
                stake: stakes[usize::try_from(number).unwrap_or(0)],
            }
        })
        .collect()
}

fn operator_address(number: u64) -> Address {
    let mut address = Address::ZERO;
    let hash = sha256(&[b"operator", &number.to_le_bytes()[..]].concat());
    address.0.copy_from_slice(&hash.0[..20]);
    address
}

/// A zone by its number.
pub(super) fn zone(number: u64) -> Zone {
    let mut name = [0; 32];
    name[0] = b'z';
    name[1..9].copy_from_slice(&number.to_be_bytes());
    Zone(Hash32(name))
}

fn registration(member: &Staked, idx: usize, block_number: u64) -> Vec<RegistryEvent> {
    let wallet = member.key.address();
    let operator = member.operator;
    let mut events = vec![
        RegistryEvent::StakeChanged {
            operator,
            active: Dgc::whole(member.stake),
        },
        RegistryEvent::OperatorNumbered {
            operator,
            number: OperatorNumber(member.operator_number),
        },
    ];
    for role in &member.roles {
        let (role, id) = (*role, ServiceId(idx as u64 + 1));
        events.push(RegistryEvent::Registered {
            role,
            id,
            operator,
            endpoint: format!("https://peer{idx}.example"),
            wallet,
        });
        events.push(RegistryEvent::Confirmed {
            role,
            id,
            wallet,
            confirmation: confirmation(&member.key, member.zone, block_number),
        });
    }
    events
}

/// A peer's consent to serve.
pub(super) fn confirmation(key: &SigningKey, zone: Zone, block_number: u64) -> Confirmation {
    Confirmation {
        public_key: key.public_key().to_vec(),
        zone,
        block_number,
    }
}

/// Liars among the staked peers; their operators hold less than a third of the
/// weight that decides about heads, so that no honest majority needs them.
fn draw_liars(scenario: &Scenario, members: &[Staked], peers: usize, rng: &mut Rng) -> Vec<bool> {
    let mut liars = vec![false; peers];
    let stakes: BTreeMap<Address, u64> = members
        .iter()
        .map(|member| (member.operator, member.stake))
        .collect();
    let weights: BTreeMap<Address, u64> = members
        .iter()
        .filter(|member| member.roles.contains(&Role::Discovery))
        .map(|member| (member.operator, member.stake))
        .collect();
    let total: u64 = weights.values().sum();
    let operators: Vec<Address> = stakes.keys().copied().collect();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a small number of operators"
    )]
    let wanted = (operators.len() as f64 * scenario.population.liars_share).ceil() as usize;
    let mut weight = 0;
    for operator in rng.sample(&operators, wanted) {
        let more = weights.get(&operator).copied().unwrap_or(0);
        if (weight + more) * 3 < total {
            weight += more;
            for (idx, member) in members.iter().enumerate() {
                liars[idx] |= member.operator == operator;
            }
        }
    }
    liars
}

/// Adversaries are the last of those that may be: staked ones of the founders,
/// whose first serve the other roles, or of those with the identity role, and users
/// of the light peers.
fn draw_adversaries(
    scenario: &Scenario,
    founders: usize,
    staked: usize,
    peers: usize,
) -> BTreeMap<usize, Kind> {
    let wanted = &scenario.adversaries;
    let promises = (0..founders).rev().take(wanted.promises);
    let identity = founders.min(usize::try_from(scenario.population.identity_max).unwrap_or(0));
    let buries = (0..identity).rev().take(wanted.buries_vault);
    let mut light = (staked..peers).rev();
    let replays: Vec<usize> = light.by_ref().take(wanted.replays).collect();
    let squats: Vec<usize> = light.by_ref().take(wanted.squats).collect();
    let drips = light.take(wanted.drips);
    promises
        .map(|idx| (idx, Kind::Promises))
        .chain(buries.map(|idx| (idx, Kind::BuriesVault)))
        .chain(replays.into_iter().map(|idx| (idx, Kind::Replays)))
        .chain(squats.into_iter().map(|idx| (idx, Kind::Squats)))
        .chain(drips.map(|idx| (idx, Kind::Drips)))
        .collect()
}

fn by_address(peers: &[Address]) -> Vec<(Address, u32)> {
    let mut staked: Vec<(Address, u32)> = peers.iter().copied().zip(0..).collect();
    staked.sort_unstable();
    staked
}

fn count(len: usize) -> u32 {
    u32::try_from(len).expect("fewer than 2^32 peers")
}

/// The beginning of an epoch in 2026.
const START_SECONDS: u64 = 494_445 * EPOCH_SECONDS;

/// The development chain's id.
const CHAIN_ID: u64 = 1337;

/// Neighbours in a mesh.
const MESH_DEGREE: usize = 8;

/// Staked peers that are there from the beginning at least.
const REGISTERED_MIN: usize = 6;

/// Peers that join are of operators of their own, numbered from here.
const JOINER_NUMBER_FIRST: u64 = 10_000;
