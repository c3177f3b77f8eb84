use std::collections::BTreeMap;

use coliving_simulations::checkers::Rule;
use coliving_simulations::scenario::Scenario;

use crate::runs::first_run;

#[test]
fn every_rule_is_looked_at_in_some_preset() {
    let mut looks: BTreeMap<String, u64> = BTreeMap::new();
    for name in Scenario::presets() {
        for check in first_run(name).checks {
            *looks.entry(check.rule).or_default() += check.observed;
        }
    }
    assert_eq!(looks.len(), Rule::ALL.len());
    for rule in Rule::ALL {
        assert_ne!(looks[rule.sentence()], 0, "`{}`", rule.sentence());
    }
}

#[test]
fn a_report_says_which_rules_a_run_never_looked_at() {
    let report = first_run("vault");
    let check = report.checks.iter().find(|check| check.observed == 0);
    let check = check.expect("nothing is abandoned in `vault`");
    let line = format!("not looked at: {} (0 looks)\n", check.rule);
    assert!(report.render().contains(&line));
}
