//! What the values of a scenario may be.

use super::Scenario;
use protocol::unixfs::BLOCK_BYTES_MAX;

use crate::net::Latency;

/// A value out of its range.
#[derive(Debug, thiserror::Error)]
#[error("`{key}` is {found}; {allowed}")]
pub(super) struct Wrong {
    /// The key, with dots between its parts.
    pub(super) key: &'static str,
    pub(super) found: String,
    pub(super) allowed: String,
}

/// The first value that is out of its range.
pub(super) fn first_wrong(scenario: &Scenario) -> Option<Wrong> {
    let counts = [counts(scenario), times(scenario)].concat();
    counts
        .into_iter()
        .find_map(|(key, found, least, most)| whole(key, found, least, most))
        .or_else(|| shares(scenario).into_iter().find_map(share))
        .or_else(|| related(scenario))
}

type Range = (&'static str, u64, u64, u64);

fn counts(scenario: &Scenario) -> Vec<Range> {
    let (population, faults) = (&scenario.population, &scenario.faults);
    let (work, against) = (&scenario.workload, &scenario.adversaries);
    let of = |key, found: usize, least, most| (key, found as u64, least, most);
    vec![
        of("population.peers", population.peers, 2, PEERS_MAX),
        of("population.staked_min", population.staked_min, 1, PEERS_MAX),
        of("population.staked_max", population.staked_max, 1, PEERS_MAX),
        ("population.zones", population.zones, 1, 1000),
        (
            "population.discovery_max",
            population.discovery_max,
            0,
            PEERS_MAX,
        ),
        (
            "population.identity_max",
            population.identity_max,
            0,
            PEERS_MAX,
        ),
        of("faults.crashes", faults.crashes, 0, TIMES_MAX),
        of("faults.kills", faults.kills, 0, TIMES_MAX),
        of("faults.joins", faults.joins, 0, PEERS_MAX),
        of("faults.leaves", faults.leaves, 0, PEERS_MAX),
        of("faults.stake_changes", faults.stake_changes, 0, TIMES_MAX),
        of("faults.zone_changes", faults.zone_changes, 0, TIMES_MAX),
        of("faults.key_changes", faults.key_changes, 0, PEERS_MAX),
        of("faults.returns", faults.returns, 0, TIMES_MAX),
        of(
            "faults.operator_crashes",
            faults.operator_crashes,
            0,
            TIMES_MAX,
        ),
        of("faults.operator_kills", faults.operator_kills, 0, PEERS_MAX),
        of("faults.zone_crashes", faults.zone_crashes, 0, TIMES_MAX),
        of("faults.power_losses", faults.power_losses, 0, TIMES_MAX),
        of("faults.partitions", faults.partitions, 0, TIMES_MAX),
        of("faults.one_way_cuts", faults.one_way_cuts, 0, TIMES_MAX),
        of("faults.slow_links", faults.slow_links, 0, TIMES_MAX),
        of("faults.rotten_blocks", faults.rotten_blocks, 0, TIMES_MAX),
        of("faults.index_failures", faults.index_failures, 0, TIMES_MAX),
        of("faults.failed_reads", faults.failed_reads, 0, TIMES_MAX),
        of(
            "faults.reorganisations",
            faults.reorganisations,
            0,
            TIMES_MAX,
        ),
        (
            "faults.reorganisation_blocks",
            faults.reorganisation_blocks,
            0,
            TIMES_MAX,
        ),
        of("faults.fee_spikes", faults.fee_spikes, 0, TIMES_MAX),
        of(
            "chain.pool_transactions",
            scenario.chain.pool_transactions,
            0,
            TIMES_MAX,
        ),
        of("faults.full_disks", faults.full_disks, 0, TIMES_MAX),
        of("faults.restores", faults.restores, 0, PEERS_MAX),
        of("faults.empty_wallets", faults.empty_wallets, 0, TIMES_MAX),
        of("faults.chain_outages", faults.chain_outages, 0, TIMES_MAX),
        of("workload.publications", work.publications, 0, TIMES_MAX),
        of("workload.file_kib", work.file_kib, 1, FILE_KIB_MAX),
        of("workload.actions", work.actions, 0, TIMES_MAX),
        of("workload.payments", work.payments, 0, TIMES_MAX),
        of("workload.mistakes", work.mistakes, 0, TIMES_MAX),
        of(
            "workload.vault_operations",
            work.vault_operations,
            0,
            TIMES_MAX,
        ),
        of("workload.vault_users", work.vault_users, 0, PEERS_MAX),
        of("adversaries.replays", against.replays, 0, PEERS_MAX),
        of("adversaries.promises", against.promises, 0, PEERS_MAX),
        of("adversaries.squats", against.squats, 0, PEERS_MAX),
        of("adversaries.drips", against.drips, 0, PEERS_MAX),
        of(
            "adversaries.buries_vault",
            against.buries_vault,
            0,
            PEERS_MAX,
        ),
        (
            "network.staked_mbit",
            scenario.network.staked_mbit,
            1,
            MBIT_MAX,
        ),
        (
            "network.light_mbit",
            scenario.network.light_mbit,
            1,
            MBIT_MAX,
        ),
    ]
}

fn times(scenario: &Scenario) -> Vec<Range> {
    let (chain, content) = (&scenario.chain, &scenario.content);
    let reorgs = protocol::chain::follower::REORG_BLOCKS_MAX;
    vec![
        ("fault_seconds", scenario.fault_seconds, 1, SECONDS_MAX),
        ("calm_seconds", scenario.calm_seconds, 1, SECONDS_MAX),
        ("chain.block_millis", chain.block_millis, 100, 3_600_000),
        (
            "chain.block_transactions",
            chain.block_transactions,
            0,
            TIMES_MAX,
        ),
        ("chain.confirmations", chain.confirmations, 0, reorgs),
        (
            "content.presence_seconds",
            content.presence_seconds,
            1,
            SECONDS_MAX,
        ),
        (
            "content.lost_after_seconds",
            content.lost_after_seconds,
            1,
            SECONDS_MAX,
        ),
        (
            "content.repair_seconds",
            content.repair_seconds,
            0,
            SECONDS_MAX,
        ),
        (
            "clocks.skew_seconds",
            scenario.clocks.skew_seconds,
            0,
            86_400,
        ),
        ("clocks.drift_ppm", scenario.clocks.drift_ppm, 0, 1000),
        (
            "content.lease_epochs",
            content.lease_epochs,
            1,
            protocol::records::LEASE_EPOCHS_MAX,
        ),
        (
            "content.renewal_epochs",
            content.renewal_epochs,
            0,
            protocol::records::LEASE_EPOCHS_MAX,
        ),
        (
            "faults.fault_seconds",
            scenario.faults.fault_seconds,
            0,
            SECONDS_MAX,
        ),
    ]
}

fn shares(scenario: &Scenario) -> [(&'static str, f64, f64); 11] {
    let population = &scenario.population;
    [
        ("population.staked_share", population.staked_share, 1.0),
        (
            "population.operators_share",
            population.operators_share,
            1.0,
        ),
        // With a third of the weight, what liars sign may count.
        ("population.liars_share", population.liars_share, 0.33),
        ("population.garbled_share", population.garbled_share, 1.0),
        ("network.duplicates", scenario.network.duplicates, 1.0),
        ("network.late_answers", scenario.network.late_answers, 1.0),
        // Nearly everything lost is a partition.
        ("network.loss", scenario.network.loss, 0.9),
        ("chain.endpoint_faults", scenario.chain.endpoint_faults, 1.0),
        ("sessions.share", scenario.sessions.share, 1.0),
        ("workload.fetch_share", scenario.workload.fetch_share, 1.0),
        (
            "workload.deleted_share",
            scenario.workload.deleted_share,
            1.0,
        ),
    ]
}

/// Values that depend on others, and texts.
fn related(scenario: &Scenario) -> Option<Wrong> {
    let (population, content) = (&scenario.population, &scenario.content);
    for (key, text) in [
        ("name", &scenario.name),
        ("description", &scenario.description),
    ] {
        if text.chars().any(is_hidden) {
            return Some(Wrong {
                key,
                found: format!("{text:?}"),
                allowed: "it is one line of visible characters".to_owned(),
            });
        }
    }
    let shape = scenario.sessions.shape;
    if !(SHAPE_MIN..=SHAPE_MAX).contains(&shape) {
        return Some(Wrong {
            key: "sessions.shape",
            found: shape.to_string(),
            allowed: format!("it is {SHAPE_MIN} to {SHAPE_MAX}"),
        });
    }
    let wrong = |key, found: u64, allowed: String| Wrong {
        key,
        found: found.to_string(),
        allowed,
    };
    if population.staked_min > population.staked_max {
        let most = population.staked_max;
        let allowed = format!("it is at most `population.staked_max`, {most}");
        return Some(wrong(
            "population.staked_min",
            population.staked_min as u64,
            allowed,
        ));
    }
    if content.presence_seconds >= content.lost_after_seconds {
        let most = content.lost_after_seconds;
        let allowed = format!("it is less than `content.lost_after_seconds`, {most}");
        return Some(wrong(
            "content.presence_seconds",
            content.presence_seconds,
            allowed,
        ));
    }
    if content.renewal_epochs > content.lease_epochs {
        let most = content.lease_epochs;
        let allowed = format!("it is at most `content.lease_epochs`, {most}");
        return Some(wrong(
            "content.renewal_epochs",
            content.renewal_epochs,
            allowed,
        ));
    }
    let (promises, staked) = (scenario.adversaries.promises, scenario.staked());
    if promises > staked {
        let allowed = format!("it is at most the staked peers, {staked}");
        return Some(wrong("adversaries.promises", promises as u64, allowed));
    }
    if let Latency::Uniform { low_ms, high_ms } = scenario.network.latency
        && low_ms > high_ms
    {
        let allowed = format!("its `low_ms` is at most its `high_ms`, {high_ms}");
        return Some(wrong("network.latency", low_ms, allowed));
    }
    None
}

fn whole(key: &'static str, found: u64, least: u64, most: u64) -> Option<Wrong> {
    (!(least..=most).contains(&found)).then(|| Wrong {
        key,
        found: found.to_string(),
        allowed: format!("it is {least} to {most}"),
    })
}

fn share((key, found, most): (&'static str, f64, f64)) -> Option<Wrong> {
    (!(0.0..=most).contains(&found)).then(|| Wrong {
        key,
        found: found.to_string(),
        allowed: format!("it is 0 to {most}"),
    })
}

/// The line of a key, counted from 1; `None` when the text leaves it out.
pub(super) fn line_of(text: &str, key: &str) -> Option<usize> {
    let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut inside = String::new();
    text.lines()
        .position(|line| {
            let line = line.trim();
            if let Some(header) = line.strip_prefix('[') {
                inside = header.trim_end_matches(']').trim().to_owned();
            }
            let key_of_line = line.split('=').next().unwrap_or_default().trim();
            // Either below its table or dotted.
            (inside == table && key_of_line == name) || (inside.is_empty() && key_of_line == key)
        })
        .map(|index| index + 1)
}

/// True for what a terminal obeys, or shows in another order.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A shape below makes nearly all sessions end at once.
const SHAPE_MIN: f64 = 0.1;

/// A shape above makes all of them as long.
const SHAPE_MAX: f64 = 10.0;

/// As many as fit into the memory of a large machine.
const PEERS_MAX: u64 = 1_000_000;

/// Events of one kind in a run.
const TIMES_MAX: u64 = 1_000_000;

/// A file is one block.
const FILE_KIB_MAX: u64 = BLOCK_BYTES_MAX as u64 >> 10;

/// Thirty years: longer than any run, and far from where sums overflow.
const SECONDS_MAX: u64 = 1_000_000_000;

/// A terabit a second.
const MBIT_MAX: u64 = 1_000_000;
