//! `config.toml`: every setting of one peer, with its default and its cost.
//!
//! One table of [`Field`]s drives reading, checking, the commented file that
//! `coliving init` writes and the `COLIVING_*` environment variables, so that
//! they cannot disagree. All problems of a file are reported at once, each with
//! its line.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use libp2p::Multiaddr;
use protocol::chain::Contracts;
use protocol::content::repair;
use protocol::id::{Address, Role};
use protocol::relayer;
use toml_edit::{Item, Value};

mod fields;
mod value;

pub use fields::FIELDS;

/// Every setting of one peer.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the peer keeps everything.
    pub data: PathBuf,
    /// What the peer is called in logs and tables.
    pub name: String,
    /// Its roles; none makes a light peer.
    pub roles: BTreeSet<Role>,
    /// The registered URL that others reach the HTTP server by.
    pub url: Option<String>,
    /// `[http]`
    pub http: HttpConfig,
    /// `[net]`
    pub net: NetSection,
    /// `[chain]`
    pub chain: ChainSection,
    /// `[storage]`
    pub storage: StorageSection,
    /// `[content]`
    pub content: ContentSection,
    /// `[identity]`
    pub identity: IdentitySection,
}

/// The HTTP server.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Whether the gateway may fetch for others.
    pub gateway_fetch: GatewayFetch,
    /// The proxies that say for whom they ask.
    pub trusted_proxies: Vec<ProxyNetwork>,
}

/// A network in which every address is a proxy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyNetwork {
    /// The loopback addresses of this machine.
    Loopback,
    /// Any other one.
    Network(IpNet),
}

/// For whom the gateway fetches what is not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayFetch {
    /// For the token's holder.
    Own,
    /// For nobody: others are sent to a holder.
    Never,
}

/// Settings of the swarm.
#[derive(Debug, Clone)]
pub struct NetSection {
    /// Where to listen.
    pub listen: Vec<Multiaddr>,
    /// Addresses to tell others.
    pub external: Vec<Multiaddr>,
    /// Peers to dial at the start.
    pub bootstrap: Vec<Multiaddr>,
    /// Carry circuits for peers behind NAT.
    pub circuit_server: bool,
    /// Peers to be reached through by circuits.
    pub circuit_peers: Vec<Multiaddr>,
    /// Ask the router for a forwarded port.
    pub upnp: bool,
    /// Find peers in the local network.
    pub mdns: bool,
    /// Look peers up at private and loopback addresses too; for development.
    pub private_endpoints: bool,
}

/// Settings of the chain.
#[derive(Debug, Clone)]
pub struct ChainSection {
    /// JSON-RPC endpoints, the preferred first.
    pub rpc: Vec<String>,
    /// The chain id that they must have.
    pub chain_id: u64,
    /// Blocks after which one is final.
    pub confirmations: u64,
    /// Pause between two looks at the chain.
    pub poll_interval: Duration,
    /// A file of PEM certificates that `https://` endpoints may be signed by,
    /// beside the usual authorities.
    pub rpc_ca: Option<String>,
    /// The usual time between two blocks; zero says nothing about it.
    pub block_time: Duration,
    /// The deployment's addresses, as `coliving chain info --json` prints them.
    pub contracts: Contracts,
}

/// Settings of the disk.
#[derive(Debug, Clone)]
pub struct StorageSection {
    /// Most bytes of blocks.
    pub capacity: ByteSize,
    /// Bytes of the disk that are left free.
    pub reserve: ByteSize,
}

/// Settings of the content role.
#[derive(Debug, Clone)]
pub struct ContentSection {
    /// A peer unseen for this long counts as lost.
    pub lost_after: Duration,
    /// Pause between two presences.
    pub presence_interval: Duration,
    /// Repair traffic a second.
    pub repair_rate: ByteSize,
    /// Epochs that a lease is given for.
    pub lease_epochs: u64,
    /// No limits per user and on unpublished bytes; for development.
    pub unlimited_uploads: bool,
}

/// The relayer and the vault.
#[derive(Debug, Clone)]
pub struct IdentitySection {
    /// Gas the relayer spends an hour.
    pub gas_per_hour: u64,
    /// Gas the relayer spends a day.
    pub gas_per_day: u64,
    /// Multiplies the hourly quotas of each owner.
    pub quota_factor: u64,
    /// Wallets that are allowed beyond all quotas.
    pub allow: Vec<Address>,
}

/// One setting: its name, its text and how it is read and written.
pub struct Field {
    /// The table it stands in, empty for the top of the file.
    pub section: &'static str,
    /// Its key there.
    pub key: &'static str,
    /// What it means, what it costs, what its default does.
    pub text: &'static str,
    read: fn(&mut Config, &Value) -> Result<(), String>,
    write: fn(&Config) -> Value,
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line of the file, counted from 1; `None` for the environment.
    pub line: Option<usize>,
    /// The setting with its dots.
    pub setting: String,
    /// What is wrong and what helps.
    pub message: String,
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Config {
    /// True for a peer without roles: it serves its owner, and nobody relies on it.
    #[must_use]
    pub fn is_light(&self) -> bool {
        self.roles.is_empty()
    }

    /// Reads the text of a `config.toml`, then the environment, then checks
    /// what belongs together.
    ///
    /// # Errors
    ///
    /// [`Problems`] lists everything that is wrong, not only the first.
    pub fn read(
        text: &str,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Problems> {
        let mut config = Self::default();
        let mut problems = Vec::new();
        match toml_edit::Document::parse(text) {
            Ok(document) => config.take_file(text, &document, &mut problems),
            Err(error) => problems.push(Problem {
                line: error.span().map(|span| line_of(text, span.start)),
                setting: "config.toml".to_owned(),
                message: error.message().to_owned(),
            }),
        }
        config.take_environment(environment, &mut problems);
        if problems.is_empty() {
            config.check(&mut problems);
        }
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(Problems(problems))
        }
    }

    /// The file with every setting, its meaning and its present value.
    #[must_use]
    pub fn to_commented_toml(&self) -> String {
        let mut text = String::from(HEADER);
        let mut section = "";
        for field in FIELDS {
            if field.section != section {
                section = field.section;
                text.push_str(&format!("\n[{section}]\n"));
            }
            text.push('\n');
            for line in field.text.lines() {
                text.push_str(&format!("# {line}\n"));
            }
            text.push_str(&format!("# Environment: {}\n", field.variable()));
            let value = (field.write)(self);
            text.push_str(&format!("{} = {}\n", field.key, value.to_string().trim()));
        }
        text
    }

    fn take_file(
        &mut self,
        text: &str,
        document: &toml_edit::Document<&str>,
        problems: &mut Vec<Problem>,
    ) {
        for (name, item) in document.iter() {
            let span = document
                .key(name)
                .and_then(|key| key.span())
                .or(item.span());
            let line = span.map(|span| line_of(text, span.start));
            match item {
                Item::Table(table) => {
                    let is_section = FIELDS.iter().any(|field| field.section == name);
                    if !is_section {
                        problems.push(unknown(line, &format!("[{name}]"), sections()));
                        continue;
                    }
                    for (key, item) in table.iter() {
                        let span = table.key(key).and_then(|key| key.span()).or(item.span());
                        let line = span.map(|span| line_of(text, span.start));
                        self.take_item(name, key, item, line, problems);
                    }
                }
                item => self.take_item("", name, item, line, problems),
            }
        }
    }

    fn take_item(
        &mut self,
        section: &str,
        key: &str,
        item: &Item,
        line: Option<usize>,
        problems: &mut Vec<Problem>,
    ) {
        let found = FIELDS
            .iter()
            .find(|field| field.section == section && field.key == key);
        let Some(field) = found else {
            let known = FIELDS
                .iter()
                .filter(|field| field.section == section)
                .map(|field| field.key);
            problems.push(unknown(line, &dotted(section, key), known.collect()));
            return;
        };
        let result = match item.clone().into_value() {
            Ok(value) => (field.read)(self, &value),
            Err(_) => Err("is not a value".to_owned()),
        };
        if let Err(message) = result {
            problems.push(Problem {
                line,
                setting: dotted(section, key),
                message,
            });
        }
    }

    fn take_environment(
        &mut self,
        environment: impl Fn(&str) -> Option<String>,
        problems: &mut Vec<Problem>,
    ) {
        for field in FIELDS {
            let Some(text) = environment(&field.variable()) else {
                continue;
            };
            // Text that is no TOML value is a string without its quotes.
            let value = text.parse().unwrap_or_else(|_| Value::from(text.as_str()));
            if let Err(message) = (field.read)(self, &value) {
                problems.push(Problem {
                    line: None,
                    setting: field.variable(),
                    message,
                });
            }
        }
    }

    fn check(&self, problems: &mut Vec<Problem>) {
        let mut require = |holds: bool, setting: &str, message: &str| {
            if !holds {
                problems.push(Problem {
                    line: None,
                    setting: setting.to_owned(),
                    message: message.to_owned(),
                });
            }
        };
        require(
            !self.chain.rpc.is_empty(),
            "chain.rpc",
            "names no endpoint; give at least one URL, such as \"http://127.0.0.1:8545\"",
        );
        require(
            self.chain.contracts != Contracts::default(),
            "chain.contracts",
            "is empty; copy it from `coliving chain info --json` of the deployment",
        );
        require(
            self.is_light() || self.url.is_some(),
            "url",
            "is missing; a peer with roles needs the URL that it registered",
        );
        require(
            self.storage.capacity.as_u64() >= CAPACITY_BYTES_MIN,
            "storage.capacity",
            "is below 64 MiB; a peer needs room for at least a few files",
        );
        require(
            self.content.lost_after > self.content.presence_interval * 2,
            "content.lost_after",
            "must be more than twice content.presence_interval, or peers that live are given up",
        );
        require(
            (1..=protocol::records::LEASE_EPOCHS_MAX).contains(&self.content.lease_epochs),
            "content.lease_epochs",
            "must be between 1 and 2160 (90 days)",
        );
    }
}

impl Default for Config {
    fn default() -> Self {
        // What the machines decide with has its defaults, and their reasons, there.
        let repair = repair::Config::default();
        let relayer = relayer::Config::new(Contracts::default().action_domain());
        Self {
            data: PathBuf::from("coliving-data"),
            name: String::from("peer"),
            roles: BTreeSet::new(),
            url: None,
            http: HttpConfig {
                listen: SocketAddr::from(([127, 0, 0, 1], 4000)),
                gateway_fetch: GatewayFetch::Own,
                trusted_proxies: Vec::new(),
            },
            net: NetSection {
                listen: ["/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1"]
                    .into_iter()
                    .map(|text| text.parse().expect("a literal multiaddress"))
                    .collect(),
                external: Vec::new(),
                bootstrap: Vec::new(),
                circuit_server: false,
                circuit_peers: Vec::new(),
                upnp: false,
                mdns: false,
                private_endpoints: false,
            },
            chain: ChainSection {
                rpc: Vec::new(),
                chain_id: 0,
                confirmations: 12,
                poll_interval: Duration::from_secs(2),
                rpc_ca: None,
                block_time: Duration::from_secs(12),
                contracts: Contracts::default(),
            },
            storage: StorageSection {
                capacity: ByteSize::gib(10),
                reserve: ByteSize::gib(1),
            },
            content: ContentSection {
                lost_after: repair.lost_after,
                presence_interval: Duration::from_secs(60),
                repair_rate: ByteSize::b(repair.bytes_per_second),
                lease_epochs: 30 * 24,
                unlimited_uploads: false,
            },
            identity: IdentitySection {
                gas_per_hour: relayer.gas_per_hour_max,
                gas_per_day: relayer.gas_per_day_max,
                quota_factor: relayer.quota_factor.into(),
                allow: Vec::new(),
            },
        }
    }
}

impl ProxyNetwork {
    /// The networks that its addresses lie in.
    pub(crate) fn networks(&self) -> Vec<IpNet> {
        match self {
            Self::Loopback => vec![
                Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8).into(),
                Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128).into(),
            ],
            Self::Network(network) => vec![*network],
        }
    }
}

impl FromStr for ProxyNetwork {
    type Err = ipnet::AddrParseError;

    /// `loopback`, a network such as `10.0.0.0/8`, or an address.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "loopback" {
            return Ok(Self::Loopback);
        }
        match text.parse::<IpAddr>() {
            Ok(ip) => Ok(Self::Network(ip.into())),
            Err(_) => text.parse().map(Self::Network),
        }
    }
}

impl fmt::Display for ProxyNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("loopback"),
            Self::Network(network) => network.fmt(f),
        }
    }
}

impl Field {
    /// The environment variable that overrides the file.
    #[must_use]
    pub fn variable(&self) -> String {
        let name = match self.section {
            "" => self.key.to_owned(),
            section => format!("{section}_{}", self.key),
        };
        format!("COLIVING_{}", name.to_uppercase())
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({})", dotted(self.section, self.key))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "`{}` {}", self.setting, self.message)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, problem) in self.0.iter().enumerate() {
            if idx > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

fn unknown(line: Option<usize>, setting: &str, known: Vec<&'static str>) -> Problem {
    Problem {
        line,
        setting: setting.to_owned(),
        message: format!("is unknown; known here: {}", known.join(", ")),
    }
}

fn sections() -> Vec<&'static str> {
    let mut names: Vec<&str> = FIELDS.iter().map(|field| field.section).collect();
    names.dedup();
    names.retain(|name| !name.is_empty());
    names
}

fn dotted(section: &str, key: &str) -> String {
    match section {
        "" => key.to_owned(),
        section => format!("{section}.{key}"),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
        + 1
}

const HEADER: &str = "\
# Settings of one Coliving peer. Every setting stands here with its value;
# a line that is taken out falls back to its default. Durations are written
# \"30s\" or \"4h\", sizes \"10 GiB\".
";

/// The smallest store that makes sense: the least that the block store takes.
const CAPACITY_BYTES_MIN: u64 = 64 << 20;

#[cfg(test)]
mod tests;
