use std::collections::BTreeMap;
use std::time::Duration;

use cid::Cid;
use protocol::id::Hash32;
use protocol::time::{Moment, UnixSeconds};
use protocol::unixfs::raw_cid;

use super::{Checkers, Rule};

const LIAR: u32 = 9;

fn at(seconds: u64) -> Moment {
    Moment::from_unix(UnixSeconds(1_780_000_000 + seconds))
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn root(number: u8) -> Cid {
    raw_cid(&[number])
}

/// Whether the rule is broken after what is noted; it has to be looked at.
#[track_caller]
fn check(rule: Rule, is_broken: bool, notes: impl FnOnce(&mut Checkers)) {
    let liars = (0..=LIAR).map(|peer| peer == LIAR).collect();
    let mut checkers = Checkers::new(liars, at(0));
    notes(&mut checkers);
    let checks = checkers.checks();
    let check = &checks[rule as usize];
    assert!(check.observed > 0, "`{}`", check.rule);
    assert_eq!(check.violations > 0, is_broken, "{check:?}");
    assert_eq!(checkers.is_broken(), is_broken);
}

#[test]
fn a_question_is_answered_before_whoever_asked_gives_up() {
    let ask = |checkers: &mut Checkers| {
        checkers.note_asked(1, (2, "offers"), seconds(10), at(5));
    };
    check(Rule::Answered, true, |checkers| {
        ask(checkers);
        checkers.judge_questions(at(15));
    });
    check(Rule::Answered, true, |checkers| {
        ask(checkers);
        checkers.note_asked(2, (2, "offers"), seconds(10), at(15));
    });
    check(Rule::Answered, false, |checkers| {
        ask(checkers);
        assert_eq!(
            checkers.note_answered(1, at(14)),
            Some(("offers", seconds(9)))
        );
        checkers.judge_questions(at(15));
    });
    // Who crashes forgets what it was asked.
    check(Rule::Answered, false, |checkers| {
        ask(checkers);
        checkers.note_down(2);
        checkers.judge_questions(at(15));
    });
}

#[test]
fn a_question_is_answered_once() {
    for (times, is_broken) in [(1, false), (2, true)] {
        check(Rule::AnsweredOnce, is_broken, |checkers| {
            checkers.note_asked(1, (2, "offers"), seconds(10), at(5));
            for _ in 0..times {
                checkers.note_answered(1, at(6));
            }
        });
    }
}

#[test]
fn a_question_that_arrives_twice_may_be_answered_twice() {
    check(Rule::AnsweredOnce, false, |checkers| {
        for moment in [5, 6] {
            checkers.note_asked(1, (2, "offers"), seconds(10), at(moment));
            checkers.note_answered(1, at(moment));
        }
    });
}

#[test]
fn who_is_up_and_in_reach_does_not_count_as_lost() {
    let lost = |observer, peer, up, cut, is_broken| {
        check(Rule::SpuriousLoss, is_broken, |checkers| {
            checkers.note_up(observer, at(0));
            checkers.note_up(peer, at(up));
            checkers.note_cut(at(cut));
            checkers.note_lost(observer, peer, seconds(90), at(300));
        });
    };
    lost(1, 2, 180, 180, true);
    lost(1, 2, 181, 180, false);
    lost(1, 2, 180, 181, false);
    lost(1, LIAR, 180, 180, false);
    lost(LIAR, 2, 180, 180, false);
    check(Rule::SpuriousLoss, false, |checkers| {
        checkers.note_up(1, at(0));
        checkers.note_up(2, at(0));
        checkers.note_down(2);
        checkers.note_lost(1, 2, seconds(90), at(300));
    });
}

#[test]
fn the_longest_times_with_one_replica_and_too_many_are_kept() {
    let mut checkers = Checkers::new(Vec::new(), at(0));
    let counts = |of_first, of_second| BTreeMap::from([(root(1), of_first), (root(2), of_second)]);
    checkers.note_replicas(&counts(1, 6), at(10));
    checkers.note_replicas(&counts(1, 6), at(30));
    checkers.note_replicas(&counts(2, 6), at(40));
    checkers.note_replicas(&counts(1, 5), at(90));
    assert_eq!(checkers.longest(), (seconds(20), seconds(30)));
}

#[test]
fn half_is_no_majority() {
    for (count, is_broken) in [(2, true), (3, false)] {
        check(Rule::VaultDisks, is_broken, |checkers| {
            checkers.note_vault_disks(&Hash32::ZERO, count, 4, at(1));
        });
        check(Rule::HeadMajority, is_broken, |checkers| {
            checkers.note_behind(1, count as u64, 4, at(1));
        });
    }
}

#[test]
fn what_is_due_is_done_at_once() {
    for (next, is_broken) in [
        (Some((at(5), "a pass")), true),
        (Some((at(5), "a scan")), false),
        (Some((at(6), "a pass")), false),
        (None, false),
    ] {
        check(Rule::DueOnce, is_broken, |checkers| {
            checkers.note_woken((1, "content", "a pass"), next, at(5));
        });
    }
}

#[test]
fn what_is_answered_is_kept() {
    for is_kept in [false, true] {
        check(Rule::AcceptedKept, !is_kept, |checkers| {
            checkers.note_relayed(1, &Hash32::ZERO, is_kept, at(1));
        });
        check(Rule::LeaseKept, !is_kept, |checkers| {
            checkers.note_handed_out(1, is_kept, at(1));
        });
        check(Rule::ConfirmedLanded, !is_kept, |checkers| {
            checkers.note_confirmed(&Hash32::ZERO, is_kept, at(1));
        });
    }
}

#[test]
fn what_is_promised_is_not_offered_again() {
    for is_promised in [false, true] {
        check(Rule::OfferedOnce, is_promised, |checkers| {
            checkers.note_offer(1, &root(1), is_promised, at(1));
        });
    }
}

#[test]
fn what_honest_peers_send_is_not_refused_as_false() {
    for false_as in [None, Some("Signature".to_owned())] {
        let is_broken = false_as.is_some();
        check(Rule::RefusedFalse, is_broken, |checkers| {
            checkers.note_refusal(1, false_as, at(1));
        });
    }
}
