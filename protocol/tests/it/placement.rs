use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use cid::Cid;
use multihash::Multihash;
use protocol::id::{Address, OperatorNumber, Role, ServiceId, Zone};
use protocol::placement::{Placement, Purpose, negative_log2};
use protocol::registry::{Confirmation, Registry, RegistryEvent};
use serde::Deserialize;

use crate::wanted;

#[test]
fn logarithms_are_those_of_the_second_implementation() {
    for (h, expected) in vectors().logarithms {
        let draw = u64::from_str_radix(&h, 16).unwrap();
        assert_eq!(negative_log2(draw).to_string(), expected, "L of {h}");
    }
}

#[test]
fn places_are_those_of_the_second_implementation() {
    let vectors = vectors();
    assert_eq!(vectors.placements.len() + vectors.ranks.len(), 1_000);
    let placements = arranged(&vectors);
    for (idx, case) in vectors.placements.iter().enumerate() {
        let (registry, subject, target, lost, expected) = case;
        let root = root(subject);
        let lost: BTreeSet<Address> = lost.iter().copied().collect();
        let placed = placements[*registry].place(&root, *target, &lost);
        assert_eq!(&placed, expected, "placement {idx}, registry {registry}");
    }
}

#[test]
fn other_ranks_are_those_of_the_second_implementation() {
    let vectors = vectors();
    let placements = arranged(&vectors);
    for (idx, (registry, purpose, subject, expected)) in vectors.ranks.iter().enumerate() {
        let purpose = match purpose.as_str() {
            "entries" => Purpose::Entries,
            "relayer" => Purpose::Relayer,
            "vault" => Purpose::Vault,
            other => panic!("rank {idx} has the unknown purpose {other}"),
        };
        let ranked = placements[*registry].rank(purpose, &hex::decode(subject).unwrap());
        assert_eq!(&ranked, expected, "rank {idx}, registry {registry}");
    }
}

#[test]
fn the_script_still_writes_the_committed_vectors() {
    if !wanted::has("python3", "making the placement vectors anew") {
        return;
    }
    let output = Command::new("python3")
        .arg(folder().join("placement.py"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "placement.py failed: {errors}");
    assert!(
        output.stdout == committed(),
        "placement.json differs from what placement.py writes"
    );
}

#[derive(Deserialize)]
struct Vectors {
    registries: Vec<Vec<OperatorRow>>,
    logarithms: Vec<(String, String)>,
    placements: Vec<PlacementRow>,
    ranks: Vec<RankRow>,
}

/// Registry, subject, target, lost peers, chosen peers.
type PlacementRow = (usize, String, usize, Vec<Address>, Vec<Address>);

/// Registry, purpose, subject, peers in order.
type RankRow = (usize, String, String, Vec<Address>);

/// Number, stake in DGC, peers.
type OperatorRow = (u64, String, Vec<PeerRow>);

/// Address, zone, service numbers by role.
type PeerRow = (Address, String, [Option<u64>; 3]);

const ROLES: [Role; 3] = [Role::Content, Role::Discovery, Role::Identity];

fn vectors() -> Vectors {
    serde_json::from_slice(&committed()).unwrap()
}

fn committed() -> Vec<u8> {
    std::fs::read(folder().join("placement.json")).unwrap()
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors"))
}

fn root(multihash: &str) -> Cid {
    let bytes = hex::decode(multihash).unwrap();
    Cid::new_v1(0x55, Multihash::from_bytes(&bytes).unwrap())
}

fn arranged(vectors: &Vectors) -> Vec<Placement> {
    let registries = vectors.registries.iter().map(|rows| registry(rows));
    registries
        .map(|registry| Placement::new(&registry))
        .collect()
}

/// What the contracts would have said of such operators.
fn registry(rows: &[OperatorRow]) -> Registry {
    let mut registry = Registry::default();
    for (number, stake, peers) in rows {
        let mut operator = Address([0xaa; 20]);
        operator.0[..8].copy_from_slice(&number.to_be_bytes());
        registry.apply(&RegistryEvent::StakeChanged {
            operator,
            active: stake.parse().unwrap(),
        });
        registry.apply(&RegistryEvent::OperatorNumbered {
            operator,
            number: OperatorNumber(*number),
        });
        for peer in peers {
            register(&mut registry, operator, peer);
        }
    }
    registry
}

fn register(registry: &mut Registry, operator: Address, (wallet, zone, services): &PeerRow) {
    for (role, id) in ROLES.into_iter().zip(services) {
        let Some(id) = id.map(ServiceId) else {
            continue;
        };
        registry.apply(&RegistryEvent::Registered {
            role,
            id,
            operator,
            endpoint: format!("http://127.0.0.1:4000/{}", id.0),
            wallet: *wallet,
        });
        registry.apply(&RegistryEvent::Confirmed {
            role,
            id,
            wallet: *wallet,
            confirmation: Confirmation {
                public_key: vec![4; 64],
                zone: Zone::new(zone),
                block_number: 1,
            },
        });
    }
}
