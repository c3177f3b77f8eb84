//! Scenarios: what is simulated, from a TOML file.
//!
//! Format: `docs/formats/scenario.md`.

use std::path::Path;

use anyhow::Context;
use protocol::records::LEASE_EPOCHS_MAX;
use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;
use crate::limits::Limits;
use crate::net::{NetworkConfig, Sessions};

mod ranges;

/// A swarm, what it does and what befalls it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What reports call it.
    pub name: String,
    /// What it is about, in a sentence.
    pub description: String,
    /// Virtual seconds with faults.
    pub fault_seconds: u64,
    /// Virtual seconds without, at most; a run ends once everything is done.
    pub calm_seconds: u64,
    /// How much machines hold at a time.
    #[serde(default)]
    pub limits: Limits,
    /// Who takes part.
    #[serde(default)]
    pub population: Population,
    /// What the links are like.
    #[serde(default)]
    pub network: NetworkConfig,
    /// What the chain is like.
    #[serde(default)]
    pub chain: ChainConfig,
    /// How far clocks are off.
    #[serde(default)]
    pub clocks: Clocks,
    /// What the content role's intervals are.
    #[serde(default)]
    pub content: ContentConfig,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Faults,
    /// How light peers come and go.
    #[serde(default)]
    pub sessions: Sessions,
    /// What residents do.
    #[serde(default)]
    pub workload: Workload,
    /// Who works against the others.
    #[serde(default)]
    pub adversaries: Adversaries,
    /// What is measured; a scenario that is changed has none.
    #[serde(default, skip_serializing)]
    pub bounds: Bounds,
}

/// Who takes part.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Population {
    /// Peers in all.
    pub peers: usize,
    /// Share of them that staked.
    pub staked_share: f64,
    /// Staked peers at least.
    pub staked_min: usize,
    /// Staked peers at most.
    pub staked_max: usize,
    /// Operators for each staked peer.
    pub operators_share: f64,
    /// Zones that operators stand in.
    pub zones: u64,
    /// The first so many staked peers serve discovery.
    pub discovery_max: u64,
    /// The first so many staked peers serve identity.
    pub identity_max: u64,
    /// Share of operators whose peers lie.
    pub liars_share: f64,
    /// Share of what liars send that is garbled: bits flipped, cut off, added to.
    pub garbled_share: f64,
}

/// What the chain is like.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChainConfig {
    /// Between two blocks.
    pub block_millis: u64,
    /// Blocks above a final one.
    pub confirmations: u64,
    /// Transactions that a block has room for, those of others among them; 0 for
    /// all. With a number the base fee moves.
    pub block_transactions: u64,
    /// Transactions that endpoints keep; 0 for all.
    pub pool_transactions: usize,
    /// Share of the time in which an RPC endpoint is silent, slow, late, on another
    /// fork or of another chain.
    pub endpoint_faults: f64,
}

/// How far the peers' clocks are off.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Clocks {
    /// At most, when a peer starts; ahead or behind.
    pub skew_seconds: u64,
    /// What one gains or loses at most, in millionths.
    pub drift_ppm: u64,
}

/// Intervals of the content role.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ContentConfig {
    /// Between two signs of life.
    pub presence_seconds: u64,
    /// Silence after which a peer counts as lost.
    pub lost_after_seconds: u64,
    /// Within how many seconds after that a root is back at its target; 0 when a
    /// scenario says nothing of it.
    pub repair_seconds: u64,
    /// How many epochs, hours, a lease promises.
    pub lease_epochs: u64,
    /// A lease that ends within so many epochs is renewed.
    pub renewal_epochs: u64,
}

/// How often what goes wrong during the fault phase.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Crashes of staked peers, which start again.
    pub crashes: usize,
    /// Staked peers that are gone for ever.
    pub kills: usize,
    /// Staked peers that register.
    pub joins: usize,
    /// Staked peers that deregister.
    pub leaves: usize,
    /// True when who joins and leaves may serve discovery and identity too.
    pub in_every_role: bool,
    /// Times that the stake behind an operator changes.
    pub stake_changes: usize,
    /// Times that a staked peer moves to another zone.
    pub zone_changes: usize,
    /// Staked peers that others follow, with keys of their own.
    pub key_changes: usize,
    /// Staked peers that deregister and register again.
    pub returns: usize,
    /// Times that all peers of an operator crash.
    pub operator_crashes: usize,
    /// Operators whose peers are gone for ever.
    pub operator_kills: usize,
    /// Times that all peers in a zone crash.
    pub zone_crashes: usize,
    /// Times that everybody crashes.
    pub power_losses: usize,
    /// Partitions of the network.
    pub partitions: usize,
    /// Staked peers that nobody hears for a while, and that hear everybody.
    pub one_way_cuts: usize,
    /// Peers whose links are slow for a while.
    pub slow_links: usize,
    /// Blocks that go bad on a disk.
    pub rotten_blocks: usize,
    /// Peers whose index cannot be written for a moment, or is damaged.
    pub index_failures: usize,
    /// Rows that staked peers cannot read for once.
    pub failed_reads: usize,
    /// Reorganisations of the chain.
    pub reorganisations: usize,
    /// Blocks that one takes back at most; 0 for as many as are not final.
    pub reorganisation_blocks: u64,
    /// Disks that have no room for a while.
    pub full_disks: usize,
    /// Staked peers that lose their disk and come back from an old backup.
    pub restores: usize,
    /// Relayers whose wallets run empty.
    pub empty_wallets: usize,
    /// Outages of the chain's endpoints.
    pub chain_outages: usize,
    /// Times that others fill the chain's blocks.
    pub fee_spikes: usize,
    /// Mean length of crashes, partitions and outages.
    pub fault_seconds: u64,
}

/// What residents do during the fault phase.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workload {
    /// Publications in all.
    pub publications: usize,
    /// KiB of the largest files.
    pub file_kib: usize,
    /// Share of light peers that fetch a new publication.
    pub fetch_share: f64,
    /// Share of publications that are deleted, within four hours.
    pub deleted_share: f64,
    /// Other actions in all.
    pub actions: usize,
    /// Transactions of residents' own in all.
    pub payments: usize,
    /// Mistakes of residents in all.
    pub mistakes: usize,
    /// Vault operations in all.
    pub vault_operations: usize,
    /// Users that do them.
    pub vault_users: usize,
}

/// How many peers of each kind work against the others.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Adversaries {
    /// Light peers that publish others' lease pages again.
    pub replays: usize,
    /// Staked peers that promise what they do not have.
    pub promises: usize,
    /// Users that publish what others published, and delete it.
    pub squats: usize,
    /// Users that offer what they send in drops.
    pub drips: usize,
    /// Staked peers that keep no vault record and hide those of others.
    pub buries_vault: usize,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            publications: 0,
            file_kib: 4,
            fetch_share: 0.0,
            deleted_share: 0.0,
            actions: 0,
            payments: 0,
            mistakes: 0,
            vault_operations: 0,
            vault_users: 0,
        }
    }
}

impl Default for Population {
    fn default() -> Self {
        Self {
            peers: 200,
            staked_share: 0.08,
            staked_min: 12,
            staked_max: 64,
            operators_share: 0.8,
            zones: 4,
            discovery_max: 7,
            identity_max: 9,
            liars_share: 0.1,
            garbled_share: 0.0,
        }
    }
}

impl Default for ChainConfig {
    fn default() -> Self {
        Self {
            block_millis: 4000,
            confirmations: 2,
            block_transactions: 0,
            pool_transactions: 0,
            endpoint_faults: 0.0,
        }
    }
}

impl Default for ContentConfig {
    fn default() -> Self {
        Self {
            presence_seconds: 20,
            lost_after_seconds: 90,
            repair_seconds: 0,
            lease_epochs: LEASE_EPOCHS_MAX,
            renewal_epochs: 7 * 24,
        }
    }
}

impl Scenario {
    /// The built-in scenarios by name.
    #[must_use]
    pub fn presets() -> Vec<&'static str> {
        PRESETS.iter().map(|(name, ..)| *name).collect()
    }

    /// A built-in scenario.
    ///
    /// # Errors
    ///
    /// Names the built-in scenarios when there is none of that name.
    pub fn preset(name: &str) -> anyhow::Result<Self> {
        let (_, text, bounds) = PRESETS
            .iter()
            .find(|(known, ..)| *known == name)
            .with_context(|| {
                format!(
                    "there is no scenario `{name}`; choose one of {}, or name a TOML file",
                    Self::presets().join(", ")
                )
            })?;
        let read = || {
            let bounds = Bounds::parse(bounds).context("reading its bounds")?;
            anyhow::Ok(Self {
                bounds,
                ..Self::parse(text)?
            })
        };
        read().with_context(|| format!("reading the built-in scenario `{name}`"))
    }

    /// A built-in scenario, or one from a file, with some of its values replaced:
    /// `changes` are pairs of a dotted key and a TOML value.
    ///
    /// # Errors
    ///
    /// As [`Scenario::preset`]; or names the file and the line, or the change, that
    /// is wrong.
    pub fn load(name: &str, changes: &[(String, String)]) -> anyhow::Result<Self> {
        let path = Path::new(name);
        let is_file = path
            .extension()
            .is_some_and(|extension| extension == "toml");
        let scenario = match is_file {
            true => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("reading the scenario {name}"))?;
                Self::parse(&text).with_context(|| format!("reading the scenario {name}"))?
            }
            false => Self::preset(name)?,
        };
        scenario.with(changes)
    }

    /// Reads a scenario.
    ///
    /// # Errors
    ///
    /// Names the line that is wrong.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let scenario: Self = toml::from_str(text)?;
        scenario.bounds.check(text)?;
        match ranges::first_wrong(&scenario) {
            None => Ok(scenario),
            Some(wrong) => match ranges::line_of(text, wrong.key) {
                Some(line) => anyhow::bail!("line {line}: {wrong}"),
                None => anyhow::bail!("{wrong}"),
            },
        }
    }

    /// The scenario with values replaced, which are looked at together.
    fn with(self, changes: &[(String, String)]) -> anyhow::Result<Self> {
        if changes.is_empty() {
            return Ok(self);
        }
        let mut all = toml::Table::try_from(&self)?;
        let mut changed = self;
        for (key, value) in changes {
            let mut read = || {
                set(&mut all, key, value)?;
                anyhow::Ok(all.clone().try_into()?)
            };
            changed = read().with_context(|| format!("setting `{key}` to `{value}`"))?;
        }
        match ranges::first_wrong(&changed) {
            Some(wrong) => anyhow::bail!("{wrong}"),
            None => Ok(changed),
        }
    }

    /// The scenario as a file, with every value.
    ///
    /// # Errors
    ///
    /// When it cannot be written as TOML.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        Ok(toml::to_string(self)?)
    }

    /// True when residents do not err, and nobody works against the others or garbles
    /// what it sends.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        let against = &self.adversaries;
        let kinds = [
            against.replays,
            against.promises,
            against.squats,
            against.drips,
            against.buries_vault,
            self.workload.mistakes,
        ];
        kinds == [0; 6] && self.population.garbled_share == 0.0
    }

    /// How many of each fault and adversary are asked for, by their keys.
    #[must_use]
    pub fn asked(&self) -> Vec<(String, u64)> {
        let tables = [
            toml::Table::try_from(&self.faults),
            toml::Table::try_from(&self.adversaries),
        ];
        let values = tables.into_iter().flatten().flatten();
        let counts = values.filter(|(key, _)| !OF_FAULTS.contains(&key.as_str()));
        counts
            .filter_map(|(key, value)| Some((key, u64::try_from(value.as_integer()?).ok()?)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// How many peers stake.
    #[must_use]
    pub fn staked(&self) -> usize {
        let population = &self.population;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a number of peers"
        )]
        let share = (population.peers as f64 * population.staked_share) as usize;
        let staked = share
            .max(population.staked_min)
            .min(population.staked_max.max(1));
        staked.min(population.peers.saturating_sub(1)).max(1)
    }
}

/// Replaces a value, as it is written in TOML or, for words, without quotes.
fn set(all: &mut toml::Table, key: &str, value: &str) -> anyhow::Result<()> {
    anyhow::ensure!(!value.contains(['\n', '\r']), "a value is one line");
    let mut line: toml::Table = toml::from_str(&format!("value = {value}"))
        .or_else(|_| toml::from_str(&format!("value = {}", toml::Value::from(value))))?;
    let value = line.remove("value").context("a value is missing")?;
    let (tables, last) = match key.rsplit_once('.') {
        Some((tables, last)) => (Some(tables), last),
        None => (None, key),
    };
    let mut table = all;
    for name in tables.into_iter().flat_map(|tables| tables.split('.')) {
        let inner = table.get_mut(name).and_then(toml::Value::as_table_mut);
        table = inner.with_context(|| format!("there is no table `{name}`"))?;
    }
    let known = table.get_mut(last).context("there is no such key")?;
    let is_alike = known.same_type(&value) || (known.is_float() && value.is_integer());
    anyhow::ensure!(is_alike, "a {} is needed", known.type_str());
    *known = value;
    Ok(())
}

/// What is said of faults beside how many.
const OF_FAULTS: [&str; 2] = ["fault_seconds", "reorganisation_blocks"];

/// Names of built-in scenarios, with their files and those of their bounds.
macro_rules! presets {
    ($($name:literal),+ $(,)?) => {
        &[$((
            $name,
            include_str!(concat!("../presets/", $name, ".toml")),
            include_str!(concat!("../bounds/", $name, ".toml")),
        )),+]
    };
}

const PRESETS: &[(&str, &str, &str)] = presets![
    "churn", "publish", "repair", "gossip", "vault", "relayer", "orphan", "halt", "hostile",
    "reorg", "deep", "registry", "zones", "links", "fees", "clocks", "steady", "disks", "limits",
    "epochs", "large",
];

#[cfg(test)]
mod tests;
