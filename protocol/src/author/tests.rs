use std::collections::BTreeMap;

use super::*;
use crate::relayer::RefusalCode;
use crate::time::UnixSeconds;

mod world;

use world::{Holder, Relayer, World, action, digest_of, new_user, published, root};

#[test]
fn roots_become_durable_then_the_action_goes_to_a_relayer_and_into_the_index() {
    let mut world = World::new(7);
    let action = published(1, 2);
    let id = world.publish(&action, 2).unwrap();
    world.run();
    assert_eq!(world.told(id), ["durable", "accepted", "confirmed"]);
    let status = world.published(id).unwrap();
    assert_eq!(status.state, PublishState::Confirmed);
    assert!(status.block_number.is_some());
    assert!(status.roots.iter().all(|root| root.leases == 5));
    assert!(world.held.len() == 2 && world.rows.len() == 1);
    world.pass(Duration::from_secs(3600));
    assert!(world.rows.is_empty(), "what landed is forgotten in time");
    let kept = world.published(id).unwrap();
    assert_eq!(kept.state, PublishState::Confirmed);
    assert_eq!(world.publish(&action, 2), Ok(id), "it is there already");
}

#[test]
fn a_crash_between_any_two_writes_loses_nothing_that_was_promised() {
    let mut crash_at = 0;
    loop {
        let mut world = World::new(7);
        world.crash_at = Some(crash_at);
        let both = [published(1, 3), action(2)];
        let is_kept = [
            world.publish(&both[0], 3).is_ok(),
            world.relay(&both[1]).is_ok(),
        ];
        world.run();
        for (action, is_kept) in both.iter().zip(is_kept) {
            let is_there = world.index.contains_key(&digest_of(action));
            assert!(is_there || !is_kept, "lost by a crash at write {crash_at}");
        }
        assert!(!world.author.is_busy());
        if world.crash_at.is_some() {
            assert!(crash_at > 5, "{crash_at} writes");
            return;
        }
        crash_at += 1;
    }
}

#[test]
fn liars_and_crashes_neither_lose_an_action_nor_send_it_before_its_roots_are_held() {
    for seed in 0..60 {
        let mut world = World::new(9);
        world.seed = seed;
        world.faults(seed);
        let actions: Vec<SignedAction> = (0..4).map(|number| published(number, 1)).collect();
        for action in &actions {
            world.publish(action, 1).unwrap();
        }
        let plain = action(9);
        let is_kept = world.relay(&plain).is_ok();
        for round in 0..6 {
            world.steps(40);
            if (seed >> round) & 1 == 1 {
                world.crash();
            }
        }
        world.run();
        for action in actions.iter().chain(is_kept.then_some(&plain)) {
            let is_there = world.index.contains_key(&digest_of(action));
            assert!(is_there, "seed {seed} lost an action");
        }
    }
}

#[test]
fn one_relayer_does_not_keep_an_action_away_and_two_do() {
    let mut world = World::new(7);
    let action = action(1);
    world.relayers_are(&action, &[Relayer::Refuses]);
    world.relay(&action).unwrap();
    world.run();
    assert_eq!(world.told(digest_of(&action)), ["accepted", "confirmed"]);

    let mut world = World::new(7);
    world.relayers_are(
        &action,
        &[Relayer::Refuses, Relayer::Silent, Relayer::Refuses],
    );
    let Err(RelayError::Refused(refusal)) = world.relay(&action) else {
        panic!("two refused it for good")
    };
    assert_eq!(refusal.code, RefusalCode::Simulation);
    world.run();
    assert!(world.rows.is_empty());
}

#[test]
fn one_relayer_says_nothing_for_those_that_are_busy_or_silent() {
    for lone in [Relayer::Refuses, Relayer::Fails] {
        let mut world = World::new(3);
        let action = published(2, 1);
        world.relayers_are(&action, &[lone, Relayer::Busy, Relayer::Silent]);
        let id = world.publish(&action, 1).unwrap();
        world.pass(Duration::from_secs(120));
        assert_eq!(world.told(id), ["durable"], "{lone:?}");
        world.relayers.clear();
        world.run();
        assert_eq!(world.told(id), ["durable", "accepted", "confirmed"]);
    }
    // Of one relayer there is no second word.
    let mut world = World::new(1);
    let action = action(1);
    world.relayers_are(&action, &[Relayer::Refuses]);
    let told = world.relay(&action);
    assert!(matches!(told, Err(RelayError::Refused(_))), "{told:?}");
}

#[test]
fn a_refusal_that_passes_is_told_and_a_publication_waits_for_its_end() {
    let mut world = World::new(7);
    let plain = action(1);
    world.relayers_are(&plain, &[Relayer::Busy; 7]);
    let told = world.relay(&plain);
    assert!(matches!(told, Err(RelayError::Refused(_))), "{told:?}");
    world.run();
    assert!(world.rows.is_empty());

    let action = published(2, 1);
    let id = world.publish(&action, 1).unwrap();
    world.pass(Duration::from_secs(120));
    assert_eq!(world.told(id), ["durable"]);
    world.relayers.clear();
    world.run();
    assert_eq!(world.told(id), ["durable", "accepted", "confirmed"]);
}

#[test]
fn a_relayer_that_keeps_an_action_without_an_end_is_not_the_only_one_for_ever() {
    for lie in [Relayer::Keeps, Relayer::Claims] {
        let mut world = World::new(7);
        let action = action(1);
        world.relayers_are(&action, &[lie]);
        world.relay(&action).unwrap();
        world.run();
        assert!(world.index.contains_key(&digest_of(&action)), "{lie:?}");
    }
}

#[test]
fn an_action_waits_while_the_chain_is_away_and_has_a_day_when_it_is_back() {
    let day = Duration::from_secs(24 * 3600);
    let mut world = World::new(7);
    let action = action(1);
    world.relayers_are(&action, &[Relayer::Silent; 7]);
    world.give(Input::Chain { is_away: true });
    world.relay(&action).unwrap();
    world.pass(day * 3);
    assert_eq!(world.rows.len(), 1);
    world.give(Input::Chain { is_away: false });
    world.pass(day / 2);
    assert_eq!(world.told(digest_of(&action)), [""; 0]);
    world.pass(day);
    assert_eq!(world.told(digest_of(&action)), ["failed"]);
    world.pass(day * 2);
    assert!(world.rows.is_empty());
}

#[test]
fn what_the_chain_takes_back_is_sent_again() {
    let mut world = World::new(7);
    let action = published(1, 1);
    let id = world.publish(&action, 1).unwrap();
    world.run();
    assert!(world.index.remove(&id).is_some());
    world.give(Input::Index);
    world.run();
    assert!(world.index.contains_key(&id));
    let expected = ["durable", "accepted", "confirmed", "accepted", "confirmed"];
    assert_eq!(world.told(id), expected);
}

#[test]
fn a_failed_publication_begins_anew_and_one_that_runs_is_joined() {
    let mut world = World::new(5);
    let action = published(1, 1);
    world.holders_are(&[Holder::Silent; 5]);
    let id = world.publish(&action, 1).unwrap();
    assert_eq!(world.publish(&action, 1), Ok(id));
    world.run();
    assert_eq!(world.told(id), ["failed"]);
    let failed = world.published(id).unwrap();
    assert_eq!(failed.state, PublishState::Failed);
    assert!(failed.error.unwrap().contains("did not answer"));
    world.holders.clear();
    assert_eq!(world.publish(&action, 1), Ok(id));
    world.run();
    assert_eq!(world.published(id).unwrap().state, PublishState::Confirmed);
}

#[test]
fn an_action_that_is_handed_in_beside_its_publication_waits_for_the_roots() {
    let mut world = World::new(7);
    let action = published(1, 1);
    world.holders_are(&[Holder::Stalls; 7]);
    let id = world.publish(&action, 1).unwrap();
    let status = world.relay(&action).unwrap();
    assert_eq!(status.state, RelayState::Pending);
    world.pass(Duration::from_secs(60));
    assert!(world.rows.is_empty(), "no relayer hears of it");
    world.holders.clear();
    world.run();
    assert_eq!(world.told(id), ["durable", "accepted", "confirmed"]);
}

#[test]
fn a_full_disk_is_told_and_a_later_one_costs_a_retry() {
    let mut world = World::new(7);
    let action = published(1, 1);
    world.is_disk_full = true;
    let told = world.publish(&action, 1);
    assert!(matches!(told, Err(PublishError::Store(_))), "{told:?}");
    let told = world.relay(&action);
    assert!(matches!(told, Err(RelayError::Store(_))), "{told:?}");
    world.is_disk_full = false;
    let id = world.publish(&action, 1).unwrap();
    world.is_disk_full = true;
    world.pass(Duration::from_secs(60));
    assert_eq!(
        world.told(id),
        [""; 0],
        "nothing is told that is not stored"
    );
    world.is_disk_full = false;
    world.run();
    assert_eq!(world.told(id), ["durable", "accepted", "confirmed"]);
}

#[test]
fn what_is_too_much_is_refused_by_name() {
    let mut world = World::new(7);
    world.author.config.jobs_max = 1;
    world.author.config.rows_max = 1;
    let check = |found: Result<Hash32, PublishError>, expected: &str| {
        let text = found.unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
    };
    check(world.publish(&published(1, 1), 0), "names 0 roots");
    check(world.publish(&published(1, 1), 17), "names 17 roots");
    world.missing = Some(root(0));
    check(world.publish(&published(1, 1), 1), "import the file first");
    world.missing = None;
    let mut unsigned = published(1, 1);
    unsigned.signature.0 = [0; 65];
    assert!(matches!(
        world.publish(&unsigned, 1),
        Err(PublishError::Action(_))
    ));
    world.holders_are(&[Holder::Stalls; 7]);
    world.publish(&published(1, 1), 1).unwrap();
    check(world.publish(&published(2, 1), 1), "1 publications");
    world.relayers_are(&action(1), &[Relayer::Silent; 7]);
    world.relay(&action(1)).unwrap();
    assert_eq!(world.relay(&action(2)), Err(RelayError::Full { limit: 1 }));
    world.give(Input::Snapshot(Arc::default()));
    world.author.config.jobs_max = 9;
    check(world.publish(&published(3, 1), 1), "no content peer");
}

#[test]
fn publications_beyond_the_bound_wait_for_their_turn() {
    let mut world = World::new(7);
    world.author.config.offering_max = 1;
    world.holders_are(&[Holder::Stalls; 7]);
    let first = world.publish(&published(1, 1), 1).unwrap();
    let second = world.publish(&published(2, 1), 1).unwrap();
    world.pass(Duration::from_secs(20));
    assert_eq!(
        world
            .author
            .count(|errand| errand.job.as_ref().is_some_and(Job::is_offering)),
        1
    );
    world.holders.clear();
    world.run();
    for id in [first, second] {
        assert_eq!(world.published(id).unwrap().state, PublishState::Confirmed);
    }
}

#[test]
fn a_new_user_costs_a_proof_of_work_that_a_crash_only_repeats() {
    let mut world = World::new(7);
    let action = new_user();
    world.relay(&action).unwrap();
    world.run();
    assert_eq!((world.solved, world.index.len()), (1, 1));
}

#[test]
fn whoever_keeps_an_action_is_asked_where_it_stands() {
    let mut world = World::new(7);
    let action = action(1);
    let digest = digest_of(&action);
    assert_eq!(world.relayed(digest), Err(RelayError::Unknown { digest }));
    world.relayers_are(&action, &[Relayer::Keeps; 7]);
    world.relay(&action).unwrap();
    let status = world.relayed(digest).unwrap();
    assert_eq!(status.state, RelayState::Pending);
    world.relayers.clear();
    world.run();
    let status = world.relayed(digest).unwrap();
    assert_eq!(status.state, RelayState::Confirmed);
    assert_eq!(world.relay(&action).unwrap(), status);
}

#[test]
fn rows_that_disagree_are_brought_together() {
    let mut world = World::new(7);
    let action = published(1, 1);
    let id = world.publish(&action, 1).unwrap();
    world.relayers_are(&action, &[Relayer::Silent; 7]);
    world.pass(Duration::from_secs(30));
    assert!(world.rows.remove(&id).is_some());
    world.relayers.clear();
    world.crash();
    world.run();
    assert!(world.index.contains_key(&id));

    // A publication that was broken off for longer than holders keep an upload.
    let mut world = World::new(7);
    world.holders_are(&[Holder::Stalls; 7]);
    let id = world.publish(&action, 1).unwrap();
    world.now = world.now + Duration::from_secs(24 * 3600);
    world.holders.clear();
    world.crash();
    world.run();
    assert_eq!(world.told(id), ["durable", "accepted", "confirmed"]);
}

#[test]
fn rows_survive_their_encoding() {
    let mut world = World::new(7);
    world.publish(&published(1, 2), 2).unwrap();
    world.run();
    for row in world.jobs.values() {
        let bytes = crate::codec::to_bytes(row);
        let read: JobRow = crate::codec::from_bytes("row", &bytes, 1 << 20).unwrap();
        assert_eq!(read, *row);
    }
    let rows: BTreeMap<Hash32, OutboxRow> = world.rows;
    for row in rows.values() {
        let bytes = crate::codec::to_bytes(row);
        let read: OutboxRow = crate::codec::from_bytes("row", &bytes, 1 << 20).unwrap();
        assert_eq!(read, *row);
        assert!(row.created > UnixSeconds(0));
    }
}
