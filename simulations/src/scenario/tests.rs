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
    let error = Scenario::load("chrun").unwrap_err().to_string();
    assert!(error.contains("churn, publish, repair"), "{error}");
}
