use super::*;

#[test]
fn every_preset_parses_and_bears_its_name() {
    for name in Scenario::presets() {
        let scenario = Scenario::preset(name).unwrap();
        assert_eq!(scenario.name, name);
        assert!(scenario.staked() >= 12);
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    let text = "name = \"x\"\ndescription = \"y\"\nfault_seconds = 1\ncalm_seconds = 1\n[faults]\ncrash = 3\n";
    let error = format!("{:#}", Scenario::parse(text).unwrap_err());
    assert!(error.contains("line 6"), "{error}");
    assert!(error.contains("crash"), "{error}");
}

#[test]
fn an_unknown_name_lists_the_scenarios() {
    let error = Scenario::load("chrun", &[]).unwrap_err().to_string();
    assert!(error.contains("churn, publish, repair"), "{error}");
}

#[test]
fn a_value_out_of_its_range_is_refused_with_its_line_and_what_is_allowed() {
    let head = "name = \"x\"\ndescription = \"y\"\nfault_seconds = 1\ncalm_seconds = 1\n";
    for (text, expected) in [
        (
            "[faults]\ncrashes = 9999999\n",
            "line 6: `faults.crashes` is 9999999; it is 0 to 1000000",
        ),
        (
            "[network]\nloss = 1.5\n",
            "line 6: `network.loss` is 1.5; it is 0 to 0.9",
        ),
        (
            "population.peers = 1\n",
            "line 5: `population.peers` is 1; it is 2 to 1000000",
        ),
        (
            "[content]\npresence_seconds = 90\n",
            "line 6: `content.presence_seconds` is 90; it is less than `content.lost_after_seconds`, 90",
        ),
        (
            "[content]\nlease_epochs = 6\nrenewal_epochs = 7\n",
            "line 7: `content.renewal_epochs` is 7; it is at most `content.lease_epochs`, 6",
        ),
        (
            "[adversaries]\npromises = 17\n",
            "line 6: `adversaries.promises` is 17; it is at most the staked peers, 16",
        ),
        (
            "[sessions]\nshape = 0.0\n",
            "line 6: `sessions.shape` is 0; it is 0.1 to 10",
        ),
        (
            "[sessions]\nshape = nan\n",
            "line 6: `sessions.shape` is NaN; it is 0.1 to 10",
        ),
    ] {
        let error = Scenario::parse(&format!("{head}{text}")).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn texts_that_a_terminal_obeys_are_refused_with_their_line() {
    let rest = "fault_seconds = 1\ncalm_seconds = 1\n";
    for (text, told) in [
        (
            "name = \"x\\ny\"\ndescription = \"z\"\n",
            r#"line 1: `name` is "x\ny"; it is one line of visible characters"#,
        ),
        (
            "name = \"x\"\ndescription = \"\u{202e}z\"\n",
            r#"line 2: `description` is "\u{202e}z"; it is one line of visible characters"#,
        ),
    ] {
        let error = Scenario::parse(&format!("{text}{rest}")).unwrap_err();
        assert_eq!(error.to_string(), told);
    }
}

#[test]
fn replaced_values_are_looked_at_together() {
    let change = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let lost = change("content.lost_after_seconds", "15");
    let presence = change("content.presence_seconds", "5");
    for changes in [[lost.clone(), presence.clone()], [presence, lost.clone()]] {
        let scenario = Scenario::load("churn", &changes).unwrap();
        assert_eq!(scenario.content.lost_after_seconds, 15);
    }
    let error = Scenario::load("churn", &[lost]).unwrap_err().to_string();
    assert!(error.contains("it is less than"), "{error}");
}

#[test]
fn what_is_asked_for_is_known_by_its_keys() {
    let asked = Scenario::preset("hostile").unwrap().asked();
    let of = |key: &str, count| (key.to_owned(), count);
    let expected = [
        of("crashes", 8),
        of("kills", 2),
        of("buries_vault", 1),
        of("drips", 1),
        of("promises", 1),
        of("replays", 1),
        of("squats", 1),
    ];
    assert_eq!(asked, expected);
}

#[test]
fn a_scenario_with_values_replaced_reads_again_as_it_was_written() {
    let change = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let changes = [
        change("faults.crashes", "3"),
        change("network.latency", "{ model = \"const\", ms = 5 }"),
        change("name", "mine"),
    ];
    let scenario = Scenario::load("churn", &changes).unwrap();
    assert_eq!(
        (scenario.faults.crashes, scenario.name.as_str()),
        (3, "mine")
    );
    let text = scenario.to_toml().unwrap();
    let again = Scenario::parse(&text).unwrap();
    assert_eq!(again.to_toml().unwrap(), text);
    for (key, value, told) in [
        ("faults.crash", "3", "no such key"),
        ("fault.crashes", "3", "no table `fault`"),
        ("faults.crashes", "-3", "setting `faults.crashes` to `-3`"),
        ("faults.crashes", "9999999", "it is 0 to 1000000"),
        (
            "faults.crashes",
            "3\nfaults.kills = 1",
            "a value is one line",
        ),
        (
            "faults.crashes",
            "many",
            "setting `faults.crashes` to `many`",
        ),
    ] {
        let error = Scenario::load("churn", &[change(key, value)]).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn a_scenario_that_is_changed_or_shown_has_no_bounds() {
    let head = "name = \"x\"\ndescription = \"y\"\nfault_seconds = 1\ncalm_seconds = 1\n";
    let bounds = "[bounds]\npeers = 40\nblocks = [1, 2]\n";
    let scenario = Scenario::parse(&format!("{head}{bounds}")).unwrap();
    assert!(scenario.bounds.of(40).is_some());
    let changes = [("calm_seconds".to_owned(), "2".to_owned())];
    let changed = scenario.clone().with(&changes).unwrap();
    assert!(changed.bounds.of(40).is_none());
    let shown = Scenario::parse(&scenario.to_toml().unwrap()).unwrap();
    assert!(shown.bounds.of(40).is_none());
    let wrong = "[bounds]\nblock = [1, 2]\n";
    let error = Scenario::parse(&format!("{head}{wrong}")).unwrap_err();
    assert_eq!(error.to_string(), "line 6: nothing is called `block`");
}
