//! The compiled contracts, embedded from `protocol/contracts/artifacts`.

use std::sync::OnceLock;

use ethers_core::abi::Abi;
use serde::Deserialize;

/// Makes [`ContractKind`] from one table: variant, then name in the sources.
macro_rules! contract_kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)+) => {
        /// A contract of this project, or the proxy that each of them stands behind.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ContractKind {
            $($(#[$doc])* $kind,)+
        }

        impl ContractKind {
            /// Every contract, in the order of the variants.
            pub const ALL: [Self; [$(Self::$kind),+].len()] = [$(Self::$kind),+];

            /// Its name in the sources, in the artifacts and in `Registry`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)+
                }
            }

            const fn source(self) -> &'static str {
                match self {
                    $(Self::$kind => {
                        include_str!(concat!("../../contracts/artifacts/", $name, ".json"))
                    })+
                }
            }
        }
    };
}

contract_kinds! {
    /// Where the other contracts stand.
    Registry = "Registry",
    /// The staking token.
    ColivingToken = "ColivingToken",
    /// Service types and their stake bounds.
    ServiceTypeManager = "ServiceTypeManager",
    /// Stakes by block.
    Staking = "Staking",
    /// Proposals and votes; it governs every contract.
    Governance = "Governance",
    /// Registers operators' services and their stakes.
    ServiceProviderFactory = "ServiceProviderFactory",
    /// Delegations, claims and slashes.
    DelegateManager = "DelegateManager",
    /// Rounds of rewards.
    ClaimsManager = "ClaimsManager",
    /// Confirms which key serves a registered service.
    PeerRegistry = "PeerRegistry",
    /// Lists who may notify of claims to content.
    TrustedNotifierManager = "TrustedNotifierManager",
    /// Contradictions of peers.
    Evidence = "Evidence",
    /// The hash of every signed record.
    Records = "Records",
    /// Takes users' signed actions and logs them.
    EntityManager = "EntityManager",
    /// Users' accounts elsewhere, attested by identity peers.
    SocialVerifier = "SocialVerifier",
    /// Payments to several payees.
    PaymentRouter = "PaymentRouter",
    /// The proxy that upgradable contracts stand behind.
    Erc1967Proxy = "ERC1967Proxy",
}

/// What a contract compiled to.
#[derive(Debug)]
pub struct Artifact {
    /// Functions, events and errors.
    pub abi: Abi,
    /// Creation code without constructor arguments.
    pub bytecode: Vec<u8>,
    /// The code that stands on the chain then, with zeros where the contract
    /// keeps its own address.
    pub deployed_bytecode: Vec<u8>,
}

/// The artifact of a contract; parsed at its first use.
#[must_use]
pub fn artifact(kind: ContractKind) -> &'static Artifact {
    static ARTIFACTS: [OnceLock<Artifact>; ContractKind::ALL.len()] =
        [const { OnceLock::new() }; ContractKind::ALL.len()];
    ARTIFACTS[kind as usize].get_or_init(|| parse(kind))
}

fn parse(kind: ContractKind) -> Artifact {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Source {
        abi: Abi,
        bytecode: String,
        deployed_bytecode: String,
    }

    let source: Source =
        serde_json::from_str(kind.source()).expect("committed artifacts are valid JSON");
    let decode = |code: &str| {
        let digits = code.trim_start_matches("0x");
        hex::decode(digits).expect("committed bytecode is hexadecimal")
    };
    Artifact {
        abi: source.abi,
        bytecode: decode(&source.bytecode),
        deployed_bytecode: decode(&source.deployed_bytecode),
    }
}
