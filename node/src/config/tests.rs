use super::*;

#[test]
fn the_commented_file_reads_back_as_it_was() {
    let mut config = Config {
        roles: BTreeSet::from([Role::Content, Role::Identity]),
        url: Some("http://127.0.0.1:4000".to_owned()),
        ..Config::default()
    };
    config.chain.rpc = vec!["http://127.0.0.1:8545".to_owned()];
    config.chain.contracts.peer_registry = Address([7; 20]);
    config.content.lost_after = Duration::from_secs(90 * 60);
    config.content.presence_interval = Duration::from_millis(1500);
    let text = config.to_commented_toml();
    let read =
        Config::read(&text, |_| None).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    assert_eq!(read.to_commented_toml(), text);
}

#[test]
fn all_problems_are_told_at_once_with_their_lines() {
    let text = "name = 7\nnmae = \"x\"\n\n[storage]\ncapacity = \"ten\"\n\n[stroage]\nreserve = \"1 GiB\"\n";
    let Problems(problems) = Config::read(text, |_| None).unwrap_err();
    let found: Vec<_> = problems
        .iter()
        .map(|problem| (problem.line, problem.setting.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (Some(1), "name"),
            (Some(2), "nmae"),
            (Some(5), "storage.capacity"),
            (Some(7), "[stroage]"),
        ]
    );
}

#[test]
fn broken_toml_names_its_line() {
    let Problems(problems) = Config::read("name = \"a\"\nroles = [\n", |_| None).unwrap_err();
    assert!(
        problems[0].line.is_some_and(|line| line >= 2),
        "{problems:?}"
    );
}

#[test]
fn the_environment_overrides_the_file() {
    let text = complete();
    let config = Config::read(&text, |name| match name {
        "COLIVING_NAME" => Some("from-environment".to_owned()),
        "COLIVING_STORAGE_CAPACITY" => Some("3 GiB".to_owned()),
        "COLIVING_NET_UPNP" => Some("true".to_owned()),
        _ => None,
    })
    .unwrap();
    assert_eq!(config.name, "from-environment");
    assert_eq!(config.storage.capacity, ByteSize::gib(3));
    assert!(config.net.upnp);
}

#[test]
fn a_deployment_in_the_environment_may_be_json() {
    let contracts = Contracts {
        chain_id: 7,
        ..Contracts::default()
    };
    let json = serde_json::to_string(&contracts).unwrap();
    let read = |text: &str| {
        let text = text.to_owned();
        Config::read(&complete(), move |name| {
            (name == "COLIVING_CHAIN_CONTRACTS").then(|| text.clone())
        })
    };
    assert_eq!(read(&json).unwrap().chain.contracts, contracts);
    let Problems(problems) = read("{\"chainId\": 7}").unwrap_err();
    assert_eq!(problems[0].setting, "COLIVING_CHAIN_CONTRACTS");
}

#[test]
fn a_wrong_variable_is_named() {
    let Problems(problems) = Config::read(&complete(), |name| {
        (name == "COLIVING_STORAGE_CAPACITY").then(|| "lots".to_owned())
    })
    .unwrap_err();
    assert_eq!(problems[0].setting, "COLIVING_STORAGE_CAPACITY");
}

#[test]
fn what_belongs_together_is_checked() {
    let text = complete().replace("lost_after = \"4h\"", "lost_after = \"1m\"");
    let Problems(problems) = Config::read(&text, |_| None).unwrap_err();
    assert_eq!(problems[0].setting, "content.lost_after");
}

fn complete() -> String {
    let mut config = Config::default();
    config.chain.rpc = vec!["http://127.0.0.1:8545".to_owned()];
    config.chain.contracts.peer_registry = Address([7; 20]);
    config.to_commented_toml()
}
