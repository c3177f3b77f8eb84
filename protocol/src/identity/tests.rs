use std::time::Duration;

use super::*;
use crate::action::SignedAction;
use crate::entity::Rejection;
use crate::id::{EntityId, UserId};
use crate::relayer::{Account, Refusal, RefusalCode, Response, Stage};
use crate::signing::{SigningKey, StructEncoder, typed_data_digest};

mod world;

use world::{DOMAIN, STRANGER, WALLET, World, digest_of, follow, follow_by, key};

#[test]
fn an_action_is_stored_shown_signed_for_and_answered_in_this_order() {
    let mut world = World::new(1);
    world.submit(&follow(1));
    assert_eq!(world.take_names(), ["look up"]);
    world.carry_all();
    assert_eq!(world.take_names(), ["try"]);
    world.carry_all();
    world.hear_all();
    assert_eq!(world.take_names(), ["persist"]);
    assert_eq!(world.replies(), [], "nothing is told before it is stored");
    world.carry_all();
    let told = ["show", "sign", "respond", "persist"];
    assert_eq!(
        world.take_names(),
        told,
        "a nonce is stored before it is used"
    );
    world.carry_all();
    assert_eq!(world.take_names(), ["publish", "send"]);
}

#[test]
fn every_accepted_action_lands_by_pauses_alone_where_blocks_come_with_transactions_only() {
    let mut world = World::new(1);
    let actions: Vec<_> = (0..60).map(follow).collect();
    for some in actions.chunks(16) {
        for action in some {
            world.submit(action);
        }
        world.pass(Duration::from_secs(1));
    }
    world.pass(Duration::from_secs(10));
    world.check_landed(60);
}

#[test]
fn transactions_that_are_on_their_way_are_not_sent_again_by_the_blocks_of_others() {
    let mut world = World::new(1);
    world.send_takes = Duration::from_millis(250);
    let actions: Vec<_> = (0..60).map(follow).collect();
    for some in actions.chunks(16) {
        for action in some {
            world.submit(action);
        }
        world.pass(Duration::from_secs(1));
    }
    world.pass(Duration::from_secs(20));
    world.check_landed(60);
    assert!(world.sends < 120, "sent {} times", world.sends);
}

#[test]
fn actions_for_users_that_nobody_knows_keep_no_others_waiting() {
    let mut world = World::new(1);
    world.rejection = Some(Rejection::UnknownUser { user: UserId(66) });
    for nonce in 0..200 {
        world.submit(&follow_by(STRANGER, nonce));
    }
    world.take_names();
    // Each of their users is looked up.
    for _ in 0..200 {
        world.step();
    }
    let refused = world.replies();
    let is_busy = |response: &Response| match response {
        Response::Refused(refusal) => {
            refusal.code == RefusalCode::Busy && refusal.retry_after_seconds.is_some()
        }
        Response::Accepted { .. } | Response::Unknown => false,
    };
    assert!(refused.len() > 160 && refused.iter().all(is_busy));
    let under_way = world.take_names();
    let tries = under_way.iter().filter(|name| **name == "try").count();
    assert_eq!(tries, 4, "a quarter of what is tried at a time");

    world.submit(&follow(1));
    world.step();
    let told = ["look up", "try"];
    assert_eq!(
        world.take_names(),
        told,
        "a user's action has its turn at once"
    );
}

#[test]
fn troubles_that_pass_strand_no_action() {
    let actions: Vec<_> = (0..20).map(follow).collect();
    for seed in 0..40 {
        let mut world = World::new(seed);
        world.troubles = 0.3;
        for some in actions.chunks(5) {
            for action in some {
                world.submit(action);
            }
            world.pass(Duration::from_secs(5));
        }
        world.crash();
        world.pass(Duration::from_secs(60));
        world.troubles = 0.0;
        world.pass(Duration::from_secs(180));
        let accepted = world.rows.len();
        world.check_landed(accepted);
    }
}

#[test]
fn a_chain_that_comes_back_without_a_new_block_is_used_at_once() {
    let mut world = World::new(1);
    world.set_away(true);
    world.submit(&follow(1));
    world.pass(Duration::from_secs(30));
    assert_eq!(world.landed.len(), 0);
    assert_eq!(world.rows.len(), 1, "it is accepted unsimulated");
    world.set_away(false);
    world.pass(Duration::from_millis(900));
    world.check_landed(1);
}

#[test]
fn what_the_disk_did_not_take_is_stored_again_unless_something_newer_is() {
    let mut world = World::new(1);
    world.submit(&follow(1));
    world.pass(Duration::from_millis(1));
    world.is_disk_full = true;
    world.pass(Duration::from_secs(3));
    let digest = digest_of(&follow(1));
    assert!(!world.rows.contains_key(&digest));
    assert!(matches!(
        &world.replies()[..],
        [Response::Refused(Refusal {
            code: RefusalCode::Busy,
            ..
        })]
    ));
    world.is_disk_full = false;
    world.submit(&follow(2));
    while world.rows.is_empty() {
        world.step();
    }
    world.is_disk_full = true;
    world.pass(Duration::from_secs(5));
    assert_eq!(world.landed.len(), 0, "its nonce is not on disk");
    world.is_disk_full = false;
    world.pass(Duration::from_secs(5));
    world.check_landed(1);
    let row = &world.rows[&digest_of(&follow(2))];
    assert!(matches!(row.stage, Stage::Mined(_)), "{:?}", row.stage);
}

#[test]
fn what_may_only_be_late_is_tried_again_when_there_is_news() {
    for is_there in [true, false] {
        let mut world = World::new(1);
        let user = UserId(7);
        world.rejection = Some(Rejection::UnknownUser { user });
        world.submit(&follow(1));
        world.pass(Duration::from_secs(1));
        assert_eq!(world.replies(), []);
        if is_there {
            world.rejection = None;
        }
        world.tell(Input::Fresh);
        world.pass(Duration::from_secs(1));
        assert_eq!(world.replies().len(), usize::from(is_there));
        world.pass(Duration::from_secs(2));
        let is_refused = matches!(&world.replies()[..], [Response::Refused(_)]);
        assert_eq!(is_refused, !is_there);
    }
}

#[test]
fn what_is_rejected_for_good_is_refused_at_once() {
    let mut world = World::new(1);
    let user = UserId(1);
    world.rejection = Some(Rejection::Deactivated { user });
    world.submit(&follow(1));
    world.pass(Duration::from_secs(1));
    assert!(matches!(
        &world.replies()[..],
        [Response::Refused(Refusal {
            code: RefusalCode::Simulation,
            ..
        })]
    ));
}

#[test]
fn a_trial_without_an_end_counts_as_a_chain_that_does_not_answer() {
    let mut world = World::new(1);
    world.loses_trials = true;
    world.submit(&follow(1));
    world.pass(Duration::from_secs(60));
    assert_eq!(world.replies(), []);
    world.loses_trials = false;
    world.pass(Duration::from_secs(70));
    world.check_landed(1);
}

#[test]
fn what_an_endpoint_says_of_itself_fails_no_action() {
    let of_itself = [
        "nonce too high: next nonce 7, tx nonce 8",
        "request timed out",
        "Too many requests, slow down",
        "Server is busy. Try again later",
        "the service is temporarily unavailable",
        "txpool is full: 4096 transactions wait for a block",
    ];
    for words in of_itself {
        check_lands_in_spite_of(words, false);
        check_lands_in_spite_of(words, true);
    }
}

#[track_caller]
fn check_lands_in_spite_of(words: &'static str, is_simulated: bool) {
    let mut world = World::new(1);
    world.submit(&follow(1));
    if is_simulated {
        while world.rows.is_empty() {
            world.step();
        }
    }
    world.words = Some(words);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.landed.len(), 0);
    let status = world.identity.status(&digest_of(&follow(1)));
    assert_eq!(status, Some(Status::Pending), "{words}");
    world.words = None;
    world.pass(Duration::from_secs(5));
    world.check_landed(1);
}

#[test]
fn a_transaction_without_an_end_is_sent_again() {
    let mut world = World::new(1);
    world.loses_sends = true;
    world.submit(&follow(1));
    world.pass(Duration::from_secs(60));
    assert_eq!((world.rows.len(), world.landed.len()), (1, 0));
    world.loses_sends = false;
    world.pass(Duration::from_secs(70));
    world.check_landed(1);
}

#[test]
fn an_empty_wallet_is_told_of_once() {
    let mut world = World::new(1);
    world.is_poor = true;
    world.pass(Duration::from_secs(3));
    world.submit(&follow(1));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.notes, [Note::WalletEmpty(WALLET)]);
    assert_eq!(world.landed.len(), 0);
    world.is_poor = false;
    world.pass(Duration::from_secs(3));
    world.check_landed(1);
    world.is_poor = true;
    world.pass(Duration::from_secs(3));
    assert_eq!(world.notes.len(), 2);
}

#[test]
fn what_no_request_is_is_refused_without_an_answer() {
    let mut world = World::new(1);
    world.ask(b"nonsense".to_vec());
    assert_eq!(world.take_names(), ["refuse"]);
}

#[test]
fn a_rewritten_type_string_is_named() {
    let mut world = World::new(1);
    let action = follow(1).action;
    let mut encoder = StructEncoder::new(
        "ManageEntity(uint256 userId,string entityType,uint256 entityId,string action,string metadata,bytes32 nonce)",
    );
    encoder
        .uint(action.user_id.0)
        .bytes(action.entity_type.as_bytes())
        .uint(action.entity_id.0)
        .bytes(action.action.as_bytes())
        .bytes(action.metadata.as_bytes())
        .bytes32(&action.nonce);
    let rewritten = typed_data_digest(&DOMAIN.separator(), &encoder.finish());
    let signature = key(1).sign(&rewritten);
    let action = SignedAction { action, signature };
    world.submit(&action);
    world.pass(Duration::from_secs(1));
    let [Response::Refused(refusal)] = &world.replies()[..] else {
        panic!("a refusal")
    };
    assert_eq!(refusal.code, RefusalCode::Signature);
    assert!(refusal.reason.contains("uint256"), "{}", refusal.reason);
}

#[test]
fn a_peer_that_starts_shows_what_it_had_accepted() {
    let mut world = World::new(1);
    world.set_away(true);
    world.submit(&follow(1));
    world.pass(Duration::from_secs(1));
    world.crash();
    assert_eq!(world.take_names(), ["show"]);
}

fn account(owner: Address, signer: Address) -> Account {
    Account {
        owner,
        created: UnixSeconds(0),
        may_act: owner == signer,
    }
}
