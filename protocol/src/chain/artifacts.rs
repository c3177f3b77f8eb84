//! The compiled contracts, embedded from `protocol/contracts/artifacts`.

use std::sync::LazyLock;

use ethers_core::abi::Abi;
use serde::Deserialize;

/// A contract of this project, or the proxy that each of them stands behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContractKind {
    /// The staking token.
    ColivingToken,
    /// Service types and their stake bounds.
    ServiceTypeManager,
    /// Stakes by block.
    Staking,
    /// Registered services.
    ServiceProviderFactory,
    /// Confirmed peers.
    PeerRegistry,
    /// The hash of every signed record.
    Records,
    /// Users' actions.
    EntityManager,
    /// The proxy.
    Erc1967Proxy,
}

/// What a contract compiled to.
#[derive(Debug)]
pub struct Artifact {
    /// Functions, events and errors.
    pub abi: Abi,
    /// Creation code without constructor arguments.
    pub bytecode: Vec<u8>,
}

impl ContractKind {
    /// Every contract, in the order of the variants.
    pub const ALL: [Self; 8] = [
        Self::ColivingToken,
        Self::ServiceTypeManager,
        Self::Staking,
        Self::ServiceProviderFactory,
        Self::PeerRegistry,
        Self::Records,
        Self::EntityManager,
        Self::Erc1967Proxy,
    ];

    const fn source(self) -> &'static str {
        match self {
            Self::ColivingToken => include_str!("../../contracts/artifacts/ColivingToken.json"),
            Self::ServiceTypeManager => {
                include_str!("../../contracts/artifacts/ServiceTypeManager.json")
            }
            Self::Staking => include_str!("../../contracts/artifacts/Staking.json"),
            Self::ServiceProviderFactory => {
                include_str!("../../contracts/artifacts/ServiceProviderFactory.json")
            }
            Self::PeerRegistry => include_str!("../../contracts/artifacts/PeerRegistry.json"),
            Self::Records => include_str!("../../contracts/artifacts/Records.json"),
            Self::EntityManager => include_str!("../../contracts/artifacts/EntityManager.json"),
            Self::Erc1967Proxy => include_str!("../../contracts/artifacts/ERC1967Proxy.json"),
        }
    }
}

/// The artifact of a contract; parsed at its first use.
#[must_use]
pub fn artifact(kind: ContractKind) -> &'static Artifact {
    static ARTIFACTS: [LazyLock<Artifact>; 8] = [
        LazyLock::new(|| parse(ContractKind::ColivingToken)),
        LazyLock::new(|| parse(ContractKind::ServiceTypeManager)),
        LazyLock::new(|| parse(ContractKind::Staking)),
        LazyLock::new(|| parse(ContractKind::ServiceProviderFactory)),
        LazyLock::new(|| parse(ContractKind::PeerRegistry)),
        LazyLock::new(|| parse(ContractKind::Records)),
        LazyLock::new(|| parse(ContractKind::EntityManager)),
        LazyLock::new(|| parse(ContractKind::Erc1967Proxy)),
    ];
    &ARTIFACTS[kind as usize]
}

fn parse(kind: ContractKind) -> Artifact {
    #[derive(Deserialize)]
    struct Source {
        abi: Abi,
        bytecode: String,
    }

    let source: Source =
        serde_json::from_str(kind.source()).expect("committed artifacts are valid JSON");
    let digits = source.bytecode.trim_start_matches("0x");
    Artifact {
        abi: source.abi,
        bytecode: hex::decode(digits).expect("committed bytecode is hexadecimal"),
    }
}
