use super::*;

#[test]
fn nobody_is_sent_into_its_own_network() {
    for (url, expected) in [
        ("https://peer.example", true),
        ("http://93.184.216.34:4000/", true),
        ("http://[2606:2800:220:1::1]/", true),
        ("http://127.0.0.1:4000", false),
        // Other spellings of the same.
        ("http://2130706433/", false),
        ("http://0x7f.1/", false),
        ("http://[::1]/", false),
        ("http://[::ffff:10.0.0.1]/", false),
        ("http://[64:ff9b::a00:1]/", false),
        ("http://[2002:a00:1::]/", false),
        ("http://[fd00::1]/", false),
        ("http://[fe80::1]/", false),
        ("http://169.254.169.254/latest", false),
        ("http://10.1.2.3", false),
        ("http://172.16.0.1", false),
        ("http://192.168.1.1", false),
        ("http://100.64.0.1", false),
        ("http://0.0.0.0", false),
        ("http://224.0.0.1", false),
        ("http://255.255.255.255", false),
        ("http://", false),
    ] {
        assert_eq!(may_ask(url), expected, "{url}");
    }
}

#[tokio::test]
async fn a_name_of_this_machine_is_not_resolved() {
    let name = "localhost".parse().unwrap();
    assert!(Public.resolve(name).await.is_err());
}
