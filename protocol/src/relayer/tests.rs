mod model;

use std::time::Duration;

use super::*;
use crate::action::Action;
use crate::id::{EntityId, UserId};
use crate::signing::SigningKey;

#[test]
fn an_action_is_stored_answered_sent_and_mined_in_this_order() {
    let mut world = World::new();
    let digest = world.submit(follow(1), 0);
    assert_eq!(world.names(), ["simulate"]);
    world.simulated(&digest, 50_000);
    assert_eq!(
        world.replies(),
        [],
        "nothing is answered before it is stored"
    );
    assert_eq!(world.names(), ["persist"]);
    world.relayer.handle_persisted(&digest, 1);
    assert!(matches!(
        &world.replies()[..],
        [Response::Accepted {
            status: Status::Pending,
            ..
        }]
    ));
    assert_eq!(
        world.names(),
        ["persist"],
        "a nonce is stored before it is used"
    );
    world.relayer.handle_persisted(&digest, 2);
    assert_eq!(world.names(), ["send"]);
    world.relayer.handle_sent(&digest, slot(7), Hash32([8; 32]));
    assert_eq!(
        world.relayer.status(&digest),
        Some(Status::Sent {
            tx_hash: Hash32([8; 32])
        })
    );
    world.relayer.handle_mined(&digest, receipt());
    assert_eq!(
        world.relayer.status(&digest),
        Some(Status::Mined(receipt()))
    );
    assert_eq!(world.relayer.pending(), 1, "its block may be undone");
    world.relayer.handle_final(receipt().block_number);
    assert_eq!(world.relayer.pending(), 0);
}

#[test]
fn refusals_come_in_the_order_of_the_checks() {
    let unsigned = SignedAction {
        signature: crate::signing::Signature([0; 65]),
        ..action("Track", "Fly", 1)
    };
    check_refused(unsigned, None, RefusalCode::Signature);
    check_refused(action("Track", "Fly", 1), None, RefusalCode::NotAllowed);
    check_refused(
        action("DigitalContent", "Create", 1),
        None,
        RefusalCode::NotAllowed,
    );
    check_refused(action("User", "Create", 1), None, RefusalCode::Proof);
    let mut foreign = follow(1).action;
    foreign.user_id = UserId(666);
    check_refused(foreign.sign(&DOMAIN, &key(1)), None, RefusalCode::Signature);
}

#[test]
fn a_new_user_costs_work_or_a_token() {
    let create = action("User", "Create", 1);
    let proof = solve_proof(&create.action.digest(&DOMAIN), BITS);
    let mut world = World::new();
    world.submit_with(create.clone(), Some(proof), false, 0);
    assert_eq!(world.names(), ["simulate"]);
    let mut world = World::new();
    world.submit_with(create, None, true, 0);
    assert_eq!(world.names(), ["simulate"]);
}

#[test]
fn one_action_is_sent_once_however_often_it_comes() {
    let mut world = World::new();
    let digest = world.submit(follow(1), 0);
    world.submit(follow(1), 0);
    assert_eq!(world.names(), ["simulate"]);
    world.simulated(&digest, 1);
    world.relayer.handle_persisted(&digest, 1);
    assert_eq!(world.replies().len(), 2);
    world.submit(follow(1), 0);
    assert_eq!(world.replies().len(), 1);
    world.settle();
    world.relayer.handle_mined(&digest, receipt());
    world.submit(follow(1), 0);
    assert!(matches!(
        &world.replies()[..],
        [Response::Accepted {
            status: Status::Mined(_),
            ..
        }]
    ));
    assert_eq!(world.sent, 1);
}

#[test]
fn an_owner_has_a_quota_an_hour() {
    let mut world = World::new();
    for nonce in 0..100 {
        world.accept(action("Track", "Create", nonce));
    }
    let digest = world.submit(action("Track", "Create", 100), 0);
    world.simulated(&digest, 1);
    let [Response::Refused(refusal)] = &world.replies()[..] else {
        panic!("a refusal")
    };
    assert_eq!(refusal.code, RefusalCode::Quota);
    assert_eq!(
        refusal.retry_after_seconds,
        Some(3600 - world.now.unix().0 % 3600)
    );
    world.accept(follow(1));
    world.now = world.now + Duration::from_secs(3600);
    world.accept(action("Track", "Create", 100));
}

#[test]
fn gas_is_budgeted_and_survives_a_restart() {
    let mut world = World::new();
    let limit = world.config.gas_per_hour_max;
    let digest = world.submit(follow(1), 0);
    world.simulated(&digest, limit - 1);
    world.settle();
    world.restart();
    let digest = world.submit(follow(2), 0);
    world.simulated(&digest, 2);
    let [Response::Refused(refusal)] = &world.replies()[..] else {
        panic!("a refusal")
    };
    assert_eq!(refusal.code, RefusalCode::Budget);
}

#[test]
fn a_deactivation_passes_an_empty_budget_once_a_day() {
    let mut world = World::new();
    let digest = world.submit(follow(1), 0);
    let limit = world.config.gas_per_hour_max;
    world.simulated(&digest, limit);
    world.settle();
    let off = |nonce| {
        let mut action = action("User", "Update", nonce).action;
        action.metadata = r#"{"cid":"x","data":{"is_deactivated":true}}"#.to_owned();
        action.sign(&DOMAIN, &key(1))
    };
    world.accept(off(1));
    let digest = world.submit(off(2), 0);
    world.simulated(&digest, 1);
    assert!(matches!(&world.replies()[..], [Response::Refused(_)]));
}

#[test]
fn new_users_of_one_address_share_a_budget() {
    let mut world = World::new();
    let limit = world.config.new_user_gas_per_day_max;
    let young = |nonce| {
        let mut action = follow(nonce).action;
        action.user_id = UserId(99);
        action.sign(&DOMAIN, &key(9))
    };
    let digest = world.submit(young(1), 0);
    world.simulated(&digest, limit);
    world.settle();
    let digest = world.submit(young(2), 0);
    world.simulated(&digest, 1);
    assert!(
        matches!(&world.replies()[..], [Response::Refused(refusal)] if refusal.code == RefusalCode::Budget)
    );
    // An older user of the same address is not in it.
    world.accept(follow(3));
}

#[test]
fn while_the_chain_is_away_actions_are_kept_and_simulated_before_they_are_sent() {
    let mut world = World::new();
    world.relayer.handle_chain_away();
    let good = world.submit(follow(1), 0);
    let bad = world.submit(follow(2), 0);
    world.settle();
    assert_eq!(world.replies_seen, 2);
    assert_eq!(world.sent, 0);
    world.block += 1;
    world.relayer.handle_block(world.block);
    assert_eq!(world.names(), ["simulate", "simulate"]);
    world.relayer.handle_simulated(
        &bad,
        Simulation::Reverted {
            reason: "nonce used".to_owned(),
        },
        world.now,
    );
    world.simulated(&good, 5);
    world.settle();
    assert_eq!(world.sent, 1);
    assert!(matches!(
        world.relayer.status(&bad),
        Some(Status::Failed { .. })
    ));
}

#[test]
fn a_rank_waits_its_blocks_and_looks_before_it_sends() {
    for landed in [false, true] {
        let mut world = World::new();
        let digest = world.submit(follow(1), 2);
        world.simulated(&digest, 1);
        world.settle();
        world.advance(1);
        world.settle();
        assert_eq!(world.sent, 0);
        world.advance(1);
        assert_eq!(world.names(), ["simulate"]);
        let outcome = if landed {
            Simulation::Landed(receipt())
        } else {
            Simulation::Passed { gas: 1 }
        };
        world.relayer.handle_simulated(&digest, outcome, world.now);
        world.settle();
        assert_eq!(world.sent, usize::from(!landed));
    }
}

#[test]
fn what_others_landed_is_not_sent() {
    let mut world = World::new();
    let digest = world.submit(follow(1), 1);
    world.simulated(&digest, 1);
    world.settle();
    world.relayer.handle_mined(&digest, receipt());
    world.advance(3);
    world.settle();
    assert_eq!(world.sent, 0);
    assert_eq!(
        world.relayer.status(&digest),
        Some(Status::Mined(receipt()))
    );
}

#[test]
fn a_nonce_that_was_never_sent_with_is_used_again() {
    let mut world = World::new();
    let first = world.submit(follow(1), 0);
    world.simulated(&first, 1);
    world.relayer.handle_persisted(&first, 1);
    // Assigned, its row not stored yet; then somebody else's lands.
    world.relayer.handle_mined(&first, receipt());
    world.accept(follow(2));
    assert_eq!(world.nonces, [7]);
}

#[test]
fn a_slow_transaction_gets_a_higher_fee_a_few_times_and_is_sent_on() {
    let mut world = World::new();
    let digest = world.accept(follow(1));
    world.relayer.handle_sent(&digest, slot(7), Hash32([8; 32]));
    for _ in 0..100 {
        world.advance(1);
        world.settle();
        world.relayer.handle_sent(&digest, slot(7), Hash32([8; 32]));
    }
    let bumps_max = world.config.bumps_max;
    assert_eq!(world.bumps[..6], [0, 1, 2, 3, 4, bumps_max]);
    assert_eq!(
        world.bumps.len(),
        1 + 100 / 3,
        "what was forgotten comes back"
    );
    assert!(world.bumps[6..].iter().all(|bumps| *bumps == bumps_max));
    assert!(
        world.nonces.iter().all(|nonce| *nonce == 7),
        "a replacement keeps its nonce"
    );
}

#[test]
fn a_restart_sends_again_with_the_same_nonce() {
    let mut world = World::new();
    let digest = world.accept(follow(1));
    world.restart();
    assert_eq!(world.relayer.status(&digest), Some(Status::Pending));
    world.settle();
    assert_eq!(world.nonces, [7, 7]);
    world.accept(follow(2));
    assert_eq!(world.nonces, [7, 7, 8]);
}

#[test]
fn a_consumed_nonce_sends_the_action_back_to_be_looked_for() {
    let mut world = World::new();
    let digest = world.accept(follow(1));
    world.look(8, 7);
    assert_eq!(world.names(), [""; 0], "it may be given back");
    world.look(8, 8);
    assert_eq!(world.names(), ["persist", "simulate"]);
    world
        .relayer
        .handle_simulated(&digest, Simulation::Landed(receipt()), world.now);
    assert_eq!(
        world.relayer.status(&digest),
        Some(Status::Mined(receipt()))
    );
}

#[test]
fn a_reorganisation_that_forgets_transactions_leaves_no_hole() {
    let mut world = World::new();
    for nonce in 1..=3 {
        world.accept(follow(nonce));
    }
    assert_eq!(world.nonces, [7, 8, 9]);
    world.look(10, 7);
    world.settle();
    world.nonces.clear();
    // The chain has undone all three and knows nothing of them.
    world.look(7, 7);
    world.accept(follow(4));
    for _ in 0..10 {
        world.advance(1);
        world.look(7, 7);
        world.settle();
    }
    let last = world.nonces.iter().copied().max().unwrap_or(7);
    for nonce in 7..=last {
        assert!(
            world.nonces.contains(&nonce),
            "what was sent since then waits behind {nonce}: {:?}",
            world.nonces
        );
    }
}

#[test]
fn what_is_undone_is_sent_again_in_its_own_slot() {
    for is_restarted in [false, true] {
        let mut world = World::new();
        let digest = world.accept(follow(1));
        world.relayer.handle_mined(&digest, receipt());
        world.look(8, 7);
        world.settle();
        if is_restarted {
            world.restart();
        }
        let status = world.relayer.status(&digest);
        assert_eq!(status, Some(Status::Mined(receipt())));
        world.relayer.handle_undone(&digest);
        world.look(7, 7);
        world.settle();
        assert!(world.nonces.len() >= 2, "restarted: {is_restarted}");
        assert!(world.nonces.iter().all(|nonce| *nonce == 7));
        assert_eq!(world.relayer.status(&digest), Some(Status::Pending));
    }
}

#[test]
fn what_was_final_and_is_undone_is_sent_again_in_its_own_slot() {
    for (has_ended, is_restarted) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut world = World::new();
        let digest = world.accept(follow(1));
        let block = receipt().block_number;
        world.relayer.handle_mined(&digest, receipt());
        world.look(8, 8);
        if has_ended {
            world.relayer.handle_final(block);
            assert_eq!(world.relayer.pending(), 0);
        }
        world.settle();
        if is_restarted {
            world.restart();
            world.look(8, 8);
        }
        let before = world.nonces.len();
        world.relayer.handle_final(block - 1);
        world.relayer.handle_undone(&digest);
        world.look(7, 7);
        // Another action does not get in between.
        world.accept(follow(2));
        world.simulated(&digest, 1);
        world.settle();
        let last = world.rows[&digest].last_slot;
        assert_eq!(last, Some(slot(7)), "ended {has_ended}, {is_restarted}");
        let nonces = &world.nonces[before..];
        assert!(nonces.contains(&7) && nonces.contains(&8), "{nonces:?}");
    }
}

#[test]
fn a_slot_that_was_consumed_on_another_fork_is_not_used_again() {
    let mut world = World::new();
    let digest = world.accept(follow(1));
    world.relayer.handle_mined(&digest, receipt());
    world.look(8, 8);
    world.relayer.handle_undone(&digest);
    world.look(8, 8);
    world.simulated(&digest, 1);
    world.settle();
    assert_eq!(world.nonces, [7, 8]);
}

#[test]
fn what_others_landed_and_is_undone_is_looked_for_and_sent() {
    let mut world = World::new();
    let digest = world.submit(follow(1), 1);
    world.simulated(&digest, 1);
    world.settle();
    world.relayer.handle_mined(&digest, receipt());
    world.relayer.handle_undone(&digest);
    world.settle();
    world.advance(1);
    assert_eq!(world.names(), ["simulate"]);
    world.simulated(&digest, 1);
    world.settle();
    assert_eq!(world.nonces, [7]);
}

#[test]
fn what_a_final_block_holds_is_over() {
    let mut world = World::new();
    let digest = world.accept(follow(1));
    world.relayer.handle_mined(&digest, receipt());
    world.relayer.handle_final(receipt().block_number - 1);
    assert_eq!(world.relayer.pending(), 1);
    world.relayer.handle_final(receipt().block_number);
    assert_eq!(world.relayer.pending(), 0);
    world.relayer.handle_undone(&digest);
    let status = world.relayer.status(&digest);
    assert_eq!(status, Some(Status::Mined(receipt())));
}

#[test]
fn what_a_final_block_held_that_was_undone_is_looked_for_and_sent() {
    let mut world = World::new();
    let digest = world.submit(follow(1), 1);
    world.simulated(&digest, 1);
    world.settle();
    let block = receipt().block_number;
    world.relayer.handle_mined(&digest, receipt());
    world.relayer.handle_final(block + 4);
    assert_eq!(world.relayer.pending(), 0);
    world.relayer.handle_final(block);
    assert_eq!(world.relayer.pending(), 0, "its own block stands");
    world.relayer.handle_final(block - 1);
    assert_eq!(world.relayer.pending(), 1);
    world.relayer.handle_undone(&digest);
    world.settle();
    world.advance(1);
    assert_eq!(world.names(), ["simulate"]);
    world.simulated(&digest, 1);
    world.settle();
    assert_eq!(world.nonces, [7]);
}

#[test]
fn what_ended_is_looked_for_again_when_somebody_asks_for_it() {
    let mut world = World::new();
    let digest = world.accept(follow(1));
    let block = receipt().block_number;
    world.relayer.handle_mined(&digest, receipt());
    world.relayer.handle_final(block);
    assert_eq!(world.relayer.pending(), 0);
    // Its block was undone while nothing was looked for; another is final.
    world.submit(follow(1), 1);
    assert_eq!(world.relayer.pending(), 1);
    world.relayer.handle_final(block + 1);
    assert_eq!(world.relayer.pending(), 1, "it was not looked for yet");
    world.relayer.handle_mined(&digest, receipt());
    world.relayer.handle_final(block + 1);
    assert_eq!(world.relayer.pending(), 0, "it is there");
    world.submit(follow(1), 1);
    world.relayer.handle_undone(&digest);
    world.settle();
    assert_eq!(world.relayer.status(&digest), Some(Status::Pending));
}

#[test]
fn a_hole_is_used_before_a_new_nonce_and_else_filled_again_and_again() {
    let refused = || SendFailure::Refused {
        reason: "revert".to_owned(),
    };
    let mut world = World::new();
    let first = world.accept(follow(1));
    let second = world.accept(follow(2));
    world
        .relayer
        .handle_send_failed(&second, slot(8), refused());
    world.settle();
    world.accept(follow(3));
    assert_eq!(world.nonces, [7, 8, 8], "nothing waited behind it");
    world.relayer.handle_send_failed(&first, slot(7), refused());
    assert_eq!(world.names(), ["persist", "cancel"]);
    world.advance(world.config.bump_after_blocks);
    assert!(world.names().contains(&"cancel"));
    world.look(8, 7);
    world.advance(world.config.bump_after_blocks);
    assert!(!world.names().contains(&"cancel"), "it is consumed");
}

#[test]
fn a_wrong_count_of_an_endpoint_costs_nothing_once_it_is_over() {
    for is_restarted in [false, true] {
        let mut world = World::new();
        world.look(1_000_000_000, 7);
        let first = world.accept(follow(1));
        assert_eq!(world.nonces, [1_000_000_000]);
        world.look(7, 7);
        if is_restarted {
            world.restart();
        }
        world.simulated(&first, 1);
        world.settle();
        let second = world.accept(follow(2));
        for _ in 0..10 {
            world.advance(world.config.bump_after_blocks);
            world.look(7, 7);
            world.settle();
        }
        let sent: BTreeSet<u64> = world.nonces[1..].iter().copied().collect();
        assert_eq!(sent, [7, 8].into(), "neither fillers nor far nonces");
        for digest in [first, second] {
            assert_eq!(world.relayer.status(&digest), Some(Status::Pending));
        }
    }
    // Counted wrongly while nothing is on its way, the wallet stays of use.
    let mut world = World::new();
    world.look(1_000, 7);
    world.look(7, 7);
    world.accept(follow(1));
    assert_eq!(world.nonces, [7]);
}

#[test]
fn a_late_answer_about_another_slot_changes_nothing() {
    let mut world = World::new();
    let digest = world.accept(follow(1));
    world.look(8, 8);
    world.simulated(&digest, 1);
    world.settle();
    assert_eq!(world.nonces, [7, 8]);
    world
        .relayer
        .handle_send_failed(&digest, slot(7), SendFailure::NonceUsed);
    world.relayer.handle_sent(&digest, slot(7), Hash32([8; 32]));
    assert_eq!(world.names(), [""; 0]);
    assert_eq!(world.relayer.status(&digest), Some(Status::Pending));
    world.accept(follow(2));
    assert_eq!(world.nonces, [7, 8, 9]);
}

#[test]
fn a_refused_transaction_leaves_no_gap() {
    let mut world = World::new();
    let first = world.accept(follow(1));
    world.accept(follow(2));
    let refused = SendFailure::Refused {
        reason: "revert".to_owned(),
    };
    world.relayer.handle_send_failed(&first, slot(7), refused);
    assert_eq!(world.names(), ["persist", "cancel"]);
}

#[test]
fn wallets_share_the_work_and_have_a_bound() {
    let mut world = World::new();
    let other = Address([78; 20]);
    let fresh = Nonces {
        latest: 0,
        settled: 0,
    };
    world.relayer.handle_wallet(other, fresh, true);
    for nonce in 0..50 {
        world.accept(follow(nonce));
    }
    assert_eq!(world.sent, 2 * world.config.wallet_outstanding_max);
    assert_eq!(world.relayer.pending(), 50);
    world.relayer.handle_wallet(Address([79; 20]), fresh, false);
    world.settle();
    assert_eq!(
        world.sent,
        2 * world.config.wallet_outstanding_max,
        "an empty wallet pays nothing"
    );
}

#[test]
fn the_queue_and_the_receipts_are_bounded() {
    let mut world = World::with(|config| {
        config.jobs_max = 2;
        config.receipts_max = 1;
    });
    let first = world.accept(follow(1));
    let second = world.accept(follow(2));
    world.submit(follow(3), 0);
    assert!(
        matches!(&world.replies()[..], [Response::Refused(refusal)] if refusal.code == RefusalCode::Busy)
    );
    let later = Receipt {
        block_number: receipt().block_number + 1,
        ..receipt()
    };
    world.relayer.handle_mined(&first, receipt());
    world.relayer.handle_mined(&second, later.clone());
    world.relayer.handle_final(later.block_number);
    assert_eq!(
        world.relayer.status(&first),
        None,
        "the oldest receipt is forgotten"
    );
}

#[test]
fn messages_survive_their_encoding() {
    let request = Request::Submit {
        action: Box::new(follow(1)),
        proof: Some(7),
        token: None,
    };
    assert_eq!(Request::from_bytes(&request.to_bytes()), Ok(request));
    let digest = Hash32([1; 32]);
    for status in [
        Status::Pending,
        Status::Sent { tx_hash: digest },
        Status::Mined(receipt()),
        Status::Failed {
            reason: "no".to_owned(),
        },
    ] {
        let response = Response::Accepted { digest, status };
        assert_eq!(Response::from_bytes(&response.to_bytes()), Ok(response));
    }
}

/// A relayer with a store that always works.
struct World {
    config: Config,
    relayer: Relayer,
    now: Moment,
    block: u64,
    rows: BTreeMap<Hash32, Row>,
    replies_seen: usize,
    sent: usize,
    nonces: Vec<u64>,
    bumps: Vec<u32>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl Fn(&mut Config)) -> Self {
        let now = Moment::from_unix(UnixSeconds(1_700_000_000));
        let mut config = Config {
            proof_bits: BITS,
            ..Config::new(DOMAIN)
        };
        change(&mut config);
        let mut world = Self {
            relayer: Relayer::new(config.clone(), [], now),
            config,
            now,
            block: 10,
            rows: BTreeMap::new(),
            replies_seen: 0,
            sent: 0,
            nonces: Vec::new(),
            bumps: Vec::new(),
        };
        world.connect();
        world
    }

    fn connect(&mut self) {
        self.relayer.handle_block(self.block);
        self.look(7, 7);
    }

    fn restart(&mut self) {
        let rows: Vec<Row> = self.rows.values().cloned().collect();
        let bytes = crate::codec::to_bytes(&rows);
        let rows: Vec<Row> = crate::codec::from_bytes("rows", &bytes, 1 << 20).unwrap();
        self.relayer = Relayer::new(self.config.clone(), rows, self.now);
        self.connect();
    }

    /// Shows the wallet's next nonce at the newest and at the last final block.
    fn look(&mut self, latest: u64, settled: u64) {
        let nonces = Nonces { latest, settled };
        self.relayer.handle_wallet(WALLET, nonces, true);
    }

    fn advance(&mut self, blocks: u64) {
        self.block += blocks;
        self.relayer.handle_block(self.block);
    }

    fn submit(&mut self, action: SignedAction, rank: u64) -> Hash32 {
        self.submit_with(action, None, false, rank)
    }

    fn submit_with(
        &mut self,
        action: SignedAction,
        proof: Option<u64>,
        is_paid: bool,
        rank: u64,
    ) -> Hash32 {
        let digest = action.action.digest(&DOMAIN);
        let user = action.action.user_id;
        let origin = Origin {
            peer: Address::ZERO,
            ip: Some("10.0.0.1".parse().unwrap()),
        };
        let account = account(user, &action);
        let submission = Submission {
            action,
            proof,
            is_paid,
            rank,
            account,
        };
        self.relayer
            .handle_submit(RequestId(1), origin, submission, self.now);
        digest
    }

    fn simulated(&mut self, digest: &Hash32, gas: u64) {
        self.relayer
            .handle_simulated(digest, Simulation::Passed { gas }, self.now);
    }

    /// Submits, and does all that the driver does up to the sending.
    #[track_caller]
    fn accept(&mut self, action: SignedAction) -> Hash32 {
        let digest = self.submit(action, 0);
        self.simulated(&digest, 1);
        self.settle();
        assert!(self.relayer.status(&digest).is_some(), "refused");
        digest
    }

    fn settle(&mut self) {
        while let Some(event) = self.relayer.poll_event() {
            self.replies_seen += self.replies().len();
            match event {
                Event::Persist(row) => {
                    let (digest, revision) = (row.digest, row.revision);
                    self.rows.insert(digest, *row);
                    self.relayer.handle_persisted(&digest, revision);
                }
                Event::Send { slot, bumps, .. } => {
                    self.sent += 1;
                    self.bumps.push(bumps);
                    self.nonces.push(slot.nonce);
                }
                Event::Cancel { slot, .. } => self.nonces.push(slot.nonce),
                Event::Simulate { .. } | Event::Forget { .. } => {}
            }
        }
        self.replies_seen += self.replies().len();
    }

    fn replies(&mut self) -> Vec<Response> {
        std::iter::from_fn(|| self.relayer.poll_reply())
            .map(|reply| reply.response)
            .collect()
    }

    fn names(&mut self) -> Vec<&'static str> {
        std::iter::from_fn(|| self.relayer.poll_event())
            .map(|event| match event {
                Event::Simulate { .. } => "simulate",
                Event::Persist(_) => "persist",
                Event::Forget { .. } => "forget",
                Event::Send { .. } => "send",
                Event::Cancel { .. } => "cancel",
            })
            .collect()
    }
}

/// User n belongs to key n; 99 is young.
fn account(user: UserId, action: &SignedAction) -> Option<Account> {
    let owner = match user.0 {
        1 => key(1).address(),
        99 => return None,
        _ => Address([66; 20]),
    };
    Some(Account {
        owner,
        created: UnixSeconds(0),
        may_act: action.signer(&DOMAIN).ok() == Some(owner),
    })
}

#[track_caller]
fn check_refused(action: SignedAction, proof: Option<u64>, expected: RefusalCode) {
    let mut world = World::new();
    world.submit_with(action, proof, false, 0);
    let [Response::Refused(refusal)] = &world.replies()[..] else {
        panic!("expected a refusal")
    };
    assert_eq!(refusal.code, expected, "{}", refusal.reason);
    assert_eq!(world.names(), [""; 0]);
}

fn follow(nonce: u8) -> SignedAction {
    action("User", "Follow", nonce)
}

fn action(entity_type: &str, name: &str, nonce: u8) -> SignedAction {
    let action = Action {
        user_id: UserId(1),
        entity_type: entity_type.to_owned(),
        entity_id: EntityId(2),
        action: name.to_owned(),
        metadata: String::new(),
        nonce: Hash32([nonce; 32]),
    };
    action.sign(&DOMAIN, &key(1))
}

fn receipt() -> Receipt {
    Receipt {
        tx_hash: Hash32([5; 32]),
        block_number: 11,
        block_hash: Hash32([6; 32]),
    }
}

fn slot(nonce: u64) -> Slot {
    Slot {
        wallet: WALLET,
        nonce,
    }
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32]).unwrap()
}

const BITS: u32 = 8;

const WALLET: Address = Address([77; 20]);

const DOMAIN: ActionDomain = ActionDomain {
    chain_id: 1338,
    entity_manager: Address([2; 20]),
};
