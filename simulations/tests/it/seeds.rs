use std::sync::atomic::{AtomicU64, Ordering};

use crate::runs::{PEERS, SEED, first_run, simulate};

/// Seeds and peers of a scenario, by how much is asked for. Days of virtual time
/// are long with many peers, and nothing in them depends on how many there are.
fn extent(name: &str) -> (u64, usize) {
    let is_of_days = ["halt", "orphan", "epochs"].contains(&name);
    let peers = |most: usize| if is_of_days { PEERS } else { most };
    match std::env::var("COLIVING_TESTS").as_deref() {
        Ok("long") => (100, peers(200)),
        Ok("all") => (3, peers(120)),
        Ok(_) | Err(_) => (SEED, PEERS),
    }
}

/// Runs every seed on two threads; names the seeds that break a rule.
#[track_caller]
fn check(name: &'static str) {
    let (seeds, peers) = extent(name);
    let next = AtomicU64::new(1);
    let work = || {
        let mut failures = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > seeds {
                return failures;
            }
            let report = match (seed, peers) == (SEED, PEERS) {
                true => first_run(name),
                false => simulate(name, seed, peers),
            };
            for failure in report.failures() {
                failures.push(format!("{name} with {peers} peers, seed {seed}: {failure}"));
            }
        }
    };
    let failures = std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let mut failures = work();
        failures.extend(other.join().expect("the thread does not panic"));
        failures
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn churn_leaves_every_root_held_and_every_peer_informed() {
    check("churn");
}

#[test]
fn uploads_under_faults_become_durable_and_stay() {
    check("publish");
}

#[test]
fn roots_come_back_to_their_target_after_kills_and_rot() {
    check("repair");
}

#[test]
fn light_peers_learn_the_chain_from_gossip_alone() {
    check("gossip");
}

#[test]
fn the_vault_returns_the_last_acknowledged_write() {
    check("vault");
}

#[test]
fn accepted_actions_land_once() {
    check("relayer");
}

#[test]
fn what_deep_reorganisations_undo_lands_again() {
    check("reorg");
}

#[test]
fn everybody_ends_on_the_fork_that_stands() {
    check("deep");
}

#[test]
fn heads_and_roots_outlive_changes_of_the_registry() {
    check("registry");
}

#[test]
fn what_is_durable_outlives_operators_zones_and_power() {
    check("zones");
}

#[test]
fn bad_links_and_garbled_messages_do_no_harm() {
    check("links");
}

#[test]
fn accepted_actions_land_once_whatever_they_cost() {
    check("fees");
}

#[test]
fn clocks_that_are_off_do_no_harm() {
    check("clocks");
}

#[test]
fn full_disks_backups_and_empty_wallets_lose_nothing() {
    check("disks");
}

#[test]
fn machines_that_hold_a_few_of_everything_end_well() {
    check("limits");
}

#[test]
fn what_is_never_published_is_gone_from_every_disk() {
    check("orphan");
}

#[test]
fn uploads_outlive_a_halt_of_the_chain() {
    check("halt");
}

#[test]
fn adversaries_act_in_vain() {
    check("hostile");
}

#[test]
fn promises_are_renewed_and_end_over_epochs() {
    check("epochs");
}

#[test]
fn files_as_large_as_blocks_may_be_do_as_small_ones() {
    check("large");
}

#[test]
fn where_nothing_goes_wrong_all_takes_what_it_has_to() {
    check("steady");
}
