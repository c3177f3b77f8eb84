//! The whole path against a development network, one command after the other.

use std::time::Duration;

use serde_json::Value;

use crate::bench::{Bench, Peer, eventually, noise, stderr, stdout, write};

fn devnet(bench: &mut Bench) -> Peer {
    let peer = bench.start(&["devnet", "--data", "net"]);
    let light = peer.ready["light"].clone();
    bench.use_node(
        light["http"].as_str().unwrap(),
        light["token"].as_str().unwrap(),
    );
    peer
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("`{field}` of {value}"))
}

#[test]
fn from_a_landlords_file_to_a_residents_ears() {
    let mut bench = Bench::new();
    let net = devnet(&mut bench);
    assert_eq!(net.ready["event"], "ready");
    assert_eq!(net.ready["peers"].as_array().unwrap().len(), 5);

    // A wallet and a user.
    bench.json(&["wallet", "new"]);
    let ada = bench.json(&["user", "create", "--handle", "ada", "--name", "Ada"]);
    assert_eq!(text(&ada, "state"), "confirmed");
    assert_eq!(bench.json(&["user", "show"])["handle"], "ada");

    // Publishing, with a cover.
    let song = noise(1, 3 << 20);
    let song_file = write(
        &bench.path("song.flac"),
        &[b"fLaC".as_slice(), &song].concat(),
    );
    let cover = write(&bench.path("cover.png"), b"\x89PNG\r\n\x1a\n and so on");
    let published = bench.json(&[
        "publish",
        &song_file,
        "--title",
        "First light",
        "--tag",
        "ambient",
        "--image",
        &cover,
    ]);
    assert_eq!(text(&published, "state"), "confirmed");
    let (id, cid) = (text(&published, "id"), text(&published, "cid"));

    // Found by the light peer from gossip alone.
    let found = eventually("the song is found", Duration::from_secs(10), || {
        let found = bench.json(&["search", "first light"]);
        found["tracks"].as_array()?.first().cloned()
    });
    assert_eq!(text(&found, "cid"), cid);
    assert_eq!(text(&bench.json(&["show", id]), "title"), "First light");

    // Back again, byte for byte.
    let got = bench.json(&["get", id, "-o", "again.flac"]);
    assert_eq!(text(&got, "cid"), cid);
    let original = std::fs::read(&song_file).unwrap();
    assert!(std::fs::read(bench.path("again.flac")).unwrap() == original);
    assert!(bench.run(&["play", cid]).stdout == original);
    assert_eq!(
        bench.error(&["get", id, "-o", "again.flac"])["code"],
        "exists"
    );

    // Who holds it, as a peer says that keeps nobody's leases.
    let roots = bench.json(&["roots"]);
    let rows = roots["roots"].as_array().unwrap();
    let row = rows.iter().find(|row| text(row, "cid") == cid).unwrap();
    assert!(!row["holders"].as_array().unwrap().is_empty(), "{row}");
    let shown = stdout(&bench.run(&["root", cid]));
    assert!(!shown.contains(['{', '[']), "{shown}");

    // What makes no sense is refused by its name.
    let error = bench.error(&["save", id]);
    assert_eq!(error["code"], "refused");
    assert!(text(&error, "message").contains("`First light`"), "{error}");
    assert_eq!(bench.error(&["comment", id, " "])["code"], "usage");

    // A second resident.
    bench.json(&["wallet", "new", "bob"]);
    let as_bob = |arguments: &[&str]| bench.json(&[arguments, &["--wallet", "bob"]].concat());
    let face = write(&bench.path("bob.png"), b"\x89PNG\r\n\x1a\n a face");
    as_bob(&["user", "create", "--handle", "bob", "--picture", &face]);
    check_picture(&bench, "bob");
    let other = write(&bench.path("other.png"), b"\x89PNG\r\n\x1a\n another");
    as_bob(&["user", "update", "--name", "Bob", "--picture", &other]);
    check_picture(&bench, "bob");
    assert_eq!(bench.json(&["user", "show", "bob"])["name"], "Bob");
    as_bob(&["follow", "ada"]);
    as_bob(&["save", id]);
    as_bob(&["repost", id]);
    as_bob(&["comment", id, "What a bass line", "--at", "1"]);
    let shown = bench.json(&["show", id]);
    assert_eq!(shown["favorite_count"], 1);
    assert_eq!(shown["repost_count"], 1);
    assert_eq!(shown["comment_count"], 1);
    assert_eq!(bench.json(&["user", "show", "ada"])["follower_count"], 1);
    let comments = bench.json(&["comment", id]);
    assert_eq!(
        text(&comments["comments"][0], "message"),
        "What a bass line"
    );
    let feed = as_bob(&["feed"]);
    assert_eq!(text(&feed["feed"][0]["item"], "id"), id);
    as_bob(&["unsave", id]);
    assert_eq!(bench.json(&["show", id])["favorite_count"], 0);

    // A list.
    let list = as_bob(&["list", "create", "Morning"]);
    let list = text(&list, "id");
    as_bob(&["list", "add", list, id]);
    let shown = bench.json(&["list", "show", list]);
    assert_eq!(text(&shown["tracks"][0], "id"), id);
    as_bob(&["list", "remove", list, id]);
    assert_eq!(bench.json(&["list", "show", list])["track_count"], 0);

    // The vault.
    bench.json(&["wallet", "backup", "--username", "ada"]);
    let recovered = bench.json(&[
        "wallet",
        "recover",
        "--username",
        "ada",
        "--wallet",
        "again",
    ]);
    assert_eq!(recovered["address"], ada["wallet"]);

    // Under another password.
    let new = write(&bench.path("new"), b"staple battery horse\n");
    let change = ["wallet", "password", "--new-password-file", &new];
    bench.json(&[&change[..], &["--username", "ada"]].concat());
    let recover = ["wallet", "recover", "--username", "ada", "--wallet"];
    let moved = [&recover[..], &["moved", "--password-file", &new]].concat();
    assert_eq!(bench.json(&moved)["address"], ada["wallet"]);
    let ended = bench.error(&[&recover[..], &["ended"]].concat());
    assert_eq!(ended["code"], "vault_missing");
    net.stop();
}

#[test]
fn a_second_network_leaves_the_first_to_its_commands() {
    let bench = Bench::new();
    let first = bench.start(&["devnet", "--peers", "1"]);
    let kept = |name| std::fs::read_to_string(bench.path("home").join(name)).unwrap();
    let before = [kept("node"), kept("token")];
    let second = bench.start(&["devnet", "--peers", "1"]);
    assert_eq!([kept("node"), kept("token")], before);
    second.stop();
    assert_eq!([kept("node"), kept("token")], before);
    bench.json(&["peers"]);
    first.stop();
    assert!(!bench.path("home/node").exists());
}

/// A user's picture is kept by enough peers of others.
#[track_caller]
fn check_picture(bench: &Bench, handle: &str) {
    let shown = bench.json(&["user", "show", handle]);
    let cid = text(&shown, "profile_picture_cid");
    let root = bench.json(&["root", cid]);
    assert!(root["holders"].as_array().unwrap().len() >= 3, "{root}");
}

#[test]
fn everything_is_still_there_after_a_restart() {
    let mut bench = Bench::new();
    let net = devnet(&mut bench);
    bench.json(&["wallet", "new"]);
    bench.json(&["user", "create", "--handle", "ada"]);
    let file = write(&bench.path("notes.txt"), b"a few words");
    let published = bench.json(&["publish", &file]);
    net.stop();
    let net = devnet(&mut bench);
    let found = bench.run(&["get", text(&published, "id"), "-o", "-"]);
    assert_eq!(stdout(&found), "a few words");
    net.stop();
}

#[test]
fn without_a_running_peer_a_command_starts_a_light_one() {
    let mut bench = Bench::new();
    let net = devnet(&mut bench);
    bench.json(&["wallet", "new"]);
    bench.json(&["user", "create", "--handle", "ada"]);
    let file = write(&bench.path("notes.txt"), b"a few words");
    let published = bench.json(&["publish", &file]);
    let id = text(&published, "id");

    let mut alone = Bench::new();
    let chain = &net.ready["chain"];
    alone.set(
        "COLIVING_CHAIN_RPC",
        &serde_json::json!([chain["rpc"]]).to_string(),
    );
    alone.set(
        "COLIVING_CHAIN_CONTRACTS",
        &inline_table(&chain["contracts"]),
    );
    alone.set("COLIVING_CHAIN_CONFIRMATIONS", "0");
    alone.set("COLIVING_NET_PRIVATE_ENDPOINTS", "true");
    let found = alone.json(&["search", "notes"]);
    assert_eq!(text(&found["tracks"][0], "id"), id);
    let got = alone.run(&["get", id, "-o", "-"]);
    assert_eq!(stdout(&got), "a few words", "{}", stderr(&got));
    net.stop();
}

/// A flat JSON object as a value of TOML.
fn inline_table(object: &Value) -> String {
    let fields = object.as_object().unwrap().iter();
    let fields: Vec<String> = fields
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    format!("{{ {} }}", fields.join(", "))
}

#[test]
fn what_cannot_be_published_is_named() {
    let mut bench = Bench::new();
    let net = devnet(&mut bench);
    let message = |arguments: &[&str]| text(&bench.error(arguments), "message").to_owned();
    assert!(message(&["publish", "nowhere.flac"]).contains("nowhere.flac"));
    assert!(message(&["publish", "home"]).contains("home"));
    assert!(message(&["get", "badcid"]).contains("`badcid` is not a CID"));
    bench.json(&["wallet", "new"]);
    let file = write(&bench.path("notes.txt"), b"a few words");
    assert_eq!(bench.error(&["publish", &file])["code"], "user_missing");
    let long = "x".repeat(300);
    let error = bench.error(&["publish", &file, "--title", &long]);
    assert!(
        text(&error, "message").contains("300 characters"),
        "{error}"
    );
    net.stop();
}
