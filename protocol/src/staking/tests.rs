use super::*;

#[test]
fn thirteen_second_blocks_give_the_reference_deployment() {
    let periods = Periods::from_block_time(Duration::from_secs(13)).unwrap();
    let expected = Periods {
        funding_round: 46_523,
        decrease_lockup: 46_523,
        undelegate_lockup: 46_523,
        remove_delegator_lockup: 46_523,
        remove_delegator_evaluation: 6_646,
        deployer_cut_lockup: 53_169,
        voting: 13_292,
        execution_delay: 6_646,
        guardianship: 2_425_846,
    };
    assert_eq!(periods, expected);
}

#[test]
fn the_periods_keep_their_relations_at_every_block_time() {
    for millis in [1, 250, 2_000, 12_000, 13_000, 59_999, 3_599_999, 3_600_000] {
        let periods = Periods::from_block_time(Duration::from_millis(millis)).unwrap();
        let vote = periods.voting + periods.execution_delay;
        assert!(periods.decrease_lockup > vote, "{millis}");
        assert!(periods.undelegate_lockup > vote, "{millis}");
        assert!(periods.deployer_cut_lockup > periods.funding_round);
        assert!(periods.remove_delegator_evaluation > 0);
    }
    let second = Periods::from_block_time(Duration::from_secs(1)).unwrap();
    assert_eq!(second.decrease_lockup, 604_800);
}

#[test]
fn a_block_time_out_of_range_is_refused() {
    for time in [Duration::ZERO, Duration::from_secs(3_601), Duration::MAX] {
        let error = Periods::from_block_time(time).unwrap_err();
        assert!(error.to_string().contains("3600000 ms"), "{error}");
    }
}

#[test]
fn a_slash_is_recommended_in_proportion_to_what_was_missed() {
    for (days, endpoints, missed, total, tokens) in [
        (365, 1, 100, 100, 200_000),
        (30, 1, 10, 10, 16_438),
        (30, 2, 30, 60, 16_438),
        (7, 3, 1, 21, 547),
        (1, 1, 1, 42, 13),
        (30, 1, 20, 10, 16_438),
        (30, 1, 1, 0, 0),
        (30, 1, 0, 10, 0),
    ] {
        let amount = slash_recommendation(endpoints, days, missed, total);
        assert_eq!(amount, Dgc::whole(tokens), "{days} days");
    }
    let most = slash_recommendation(u32::MAX, u32::MAX, u32::MAX, u32::MAX);
    assert!(most > Dgc::ZERO);
}
