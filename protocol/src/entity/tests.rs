use std::collections::{BTreeMap, BTreeSet};

use super::build::{Builder, CommentFields, ContentFields, Items, ListFields, UserFields};
use super::*;
use crate::action::Action;
use crate::id::{Address, Hash32};
use crate::time::UnixSeconds;

mod roots;

/// The smallest index: what the rules need, in maps.
#[derive(Debug, Default)]
struct Model {
    users: BTreeMap<UserId, User>,
    contents: BTreeMap<EntityId, DigitalContent>,
    lists: BTreeMap<EntityId, ContentList>,
    comments: BTreeMap<EntityId, Comment>,
    relations: BTreeSet<(Relation, UserId, Target)>,
}

impl EntityView for Model {
    fn user(&self, id: UserId) -> Option<User> {
        self.users.get(&id).cloned()
    }

    fn user_by_handle(&self, handle: &str) -> Option<UserId> {
        let mut users = self.users.values();
        users
            .find(|user| user.handle.eq_ignore_ascii_case(handle))
            .map(|user| user.user_id)
    }

    fn digital_content(&self, id: EntityId) -> Option<DigitalContent> {
        self.contents.get(&id).cloned()
    }

    fn content_list(&self, id: EntityId) -> Option<ContentList> {
        self.lists.get(&id).cloned()
    }

    fn comment(&self, id: EntityId) -> Option<Comment> {
        self.comments.get(&id).cloned()
    }

    fn is_related(&self, relation: Relation, user: UserId, target: Target) -> bool {
        self.relations.contains(&(relation, user, target))
    }
}

impl Model {
    /// Judges and applies; the rejection's code when there is one.
    fn act(&mut self, action: &Action, signer: Address) -> Result<usize, &'static str> {
        let at = RecordedAt {
            block_number: 7,
            time: UnixSeconds(1_700_000_000),
            sequence: 7 << 20,
        };
        let changes = judge(self, action, signer, &at).map_err(|rejection| rejection.code())?;
        let count = changes.len();
        for change in changes {
            match change {
                Change::User(user) => drop(self.users.insert(user.user_id, *user)),
                Change::DigitalContent(content) => {
                    self.contents.insert(content.track_id, *content);
                }
                Change::ContentList(list) => drop(self.lists.insert(list.playlist_id, *list)),
                Change::Comment(comment) => {
                    self.comments.insert(comment.comment_id, *comment);
                }
                Change::Relate {
                    relation,
                    user,
                    target,
                } => drop(self.relations.insert((relation, user, target))),
                Change::Unrelate {
                    relation,
                    user,
                    target,
                } => drop(self.relations.remove(&(relation, user, target))),
            }
        }
        Ok(count)
    }

    /// Ada with a song, a private list and a comment on it; Bob with nothing.
    fn village() -> Self {
        let mut model = Self::default();
        let fields = |handle: &str| UserFields {
            handle: Some(handle.to_owned()),
            ..UserFields::default()
        };
        for (by, signer, handle) in [(ADA, ADAS, "Ada"), (BOB, BOBS, "bob")] {
            model
                .act(&build(by).create_user(&fields(handle)), signer)
                .unwrap();
        }
        model
            .act(
                &build(ADA).create_digital_content(SONG, &song("Song")),
                ADAS,
            )
            .unwrap();
        let list = ListFields {
            playlist_name: Some("Mine".to_owned()),
            is_private: Some(true),
            ..ListFields::default()
        };
        model
            .act(&build(ADA).create_content_list(LIST, &list), ADAS)
            .unwrap();
        let comment = CommentFields::new(SONG, "first".to_owned());
        model
            .act(&build(BOB).create_comment(COMMENT, &comment), BOBS)
            .unwrap();
        model
    }
}

const ADA: UserId = UserId(3_000_001);
const BOB: UserId = UserId(3_000_002);
const EVE: UserId = UserId(3_000_003);
const ADAS: Address = Address([1; 20]);
const BOBS: Address = Address([2; 20]);
const SONG: EntityId = EntityId(2_000_001);
const LIST: EntityId = EntityId(400_001);
const COMMENT: EntityId = EntityId(1);
const CID: &str = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";

fn build(user: UserId) -> Builder {
    Builder {
        user,
        nonce: Hash32::ZERO,
    }
}

fn song(title: &str) -> ContentFields {
    ContentFields {
        title: Some(title.to_owned()),
        cid: Some(CID.to_owned()),
        ..ContentFields::default()
    }
}

fn raw(user: UserId, kind: &str, id: u64, verb: &str, metadata: &str) -> Action {
    Action {
        user_id: user,
        entity_type: kind.to_owned(),
        entity_id: EntityId(id),
        action: verb.to_owned(),
        metadata: metadata.to_owned(),
        nonce: Hash32::ZERO,
    }
}

/// One action on a fresh village.
#[track_caller]
fn check(action: &Action, signer: Address, expected: Result<usize, &'static str>) {
    assert_eq!(
        Model::village().act(action, signer),
        expected,
        "{} {} {} {}",
        action.action,
        action.entity_type,
        action.entity_id,
        action.metadata
    );
}

#[test]
fn a_new_user_needs_a_free_and_decent_handle() {
    let create = |handle: &str| {
        let fields = UserFields {
            handle: Some(handle.to_owned()),
            ..UserFields::default()
        };
        build(EVE).create_user(&fields)
    };
    let eves = Address([3; 20]);
    for (handle, expected) in [
        ("eve", Ok(1)),
        ("E.v_3", Ok(1)),
        (&"e".repeat(30), Ok(1)),
        (&"e".repeat(31), Err("handle")),
        ("", Err("missing")),
        ("e ve", Err("handle")),
        ("ève", Err("handle")),
        ("Admin", Err("handle")),
        ("rock", Err("handle")),
        ("ADA", Err("handle_taken")),
    ] {
        check(&create(handle), eves, expected);
    }
}

#[test]
fn ids_start_at_their_floors() {
    let data = r#"{"data":{"handle":"x","title":"t","cid":"CID","playlist_name":"p"}}"#;
    let data = data.replace("CID", CID);
    for (kind, floor, user) in [
        ("User", 3_000_000, None),
        ("Track", 2_000_000, Some(ADA)),
        ("Playlist", 400_000, Some(ADA)),
    ] {
        for (id, expected) in [
            (floor, Ok(1)),
            (floor - 1, Err("id_floor")),
            (1 << 53, Err("id_ceiling")),
        ] {
            let user = user.unwrap_or(UserId(id));
            check(&raw(user, kind, id, "Create", &data), ADAS, expected);
        }
    }
    for kind in EntityType::ALL {
        for random in [0, 1, u64::MAX] {
            assert!(kind.draw_id(random) >= kind.id_floor());
            assert!(kind.draw_id(random) < 1 << 31);
        }
    }
}

#[test]
fn what_exists_is_not_made_again() {
    check(&raw(ADA, "User", ADA.0, "Create", ""), ADAS, Err("exists"));
    check(
        &build(BOB).create_digital_content(SONG, &song("x")),
        BOBS,
        Err("exists"),
    );
}

#[test]
fn only_the_wallet_acts_for_its_user() {
    let bob_follows = build(BOB).follow(ADA);
    check(&bob_follows, BOBS, Ok(2));
    check(&bob_follows, ADAS, Err("signer"));
    check(&build(EVE).follow(ADA), BOBS, Err("unknown_user"));
    let rename = UserFields {
        name: Some("Countess".to_owned()),
        ..UserFields::default()
    };
    check(&build(ADA).update_user(&rename), BOBS, Err("signer"));
    check(&build(ADA).update_user(&rename), ADAS, Ok(1));
    check(
        &raw(ADA, "User", BOB.0, "Update", r#"{"data":{}}"#),
        ADAS,
        Err("other_user"),
    );
}

#[test]
fn only_owners_change_and_delete() {
    for (by, signer, expected) in [(ADA, ADAS, Ok(1)), (BOB, BOBS, Err("owner"))] {
        check(
            &build(by).update_digital_content(SONG, &ContentFields::default()),
            signer,
            expected,
        );
        check(&build(by).delete_digital_content(SONG), signer, expected);
        check(
            &build(by).update_content_list(LIST, &ListFields::default()),
            signer,
            expected,
        );
        check(&build(by).delete_content_list(LIST), signer, expected);
    }
    // A comment goes with its author's word or with its host's.
    check(&build(ADA).delete_comment(COMMENT), ADAS, Ok(1));
    check(&build(BOB).delete_comment(COMMENT), BOBS, Ok(1));
    let edit = CommentFields::new(SONG, "edited".to_owned());
    check(
        &build(ADA).update_comment(COMMENT, &edit),
        ADAS,
        Err("owner"),
    );
}

#[test]
fn relations_are_made_once_and_ended_once() {
    let mut model = Model::village();
    let ada = Target::user(ADA);
    for (action, expected) in [
        (build(BOB).follow(ADA), Ok(2)),
        (build(BOB).follow(ADA), Err("duplicate")),
        (
            build(BOB).relate(Relation::Subscribe, ada),
            Err("duplicate"),
        ),
        (build(BOB).unrelate(Relation::Subscribe, ada), Ok(1)),
        (build(BOB).unfollow(ADA), Ok(1)),
        (build(BOB).unfollow(ADA), Err("not_related")),
        (
            build(BOB).relate(Relation::Save, Target::content(SONG)),
            Ok(1),
        ),
        (
            build(BOB).relate(Relation::Save, Target::content(SONG)),
            Err("duplicate"),
        ),
        (
            build(BOB).relate(Relation::Repost, Target::list(LIST)),
            Err("unknown"),
        ),
        (
            build(BOB).relate(Relation::Repost, Target::content(EntityId(2_000_009))),
            Err("unknown"),
        ),
        (build(BOB).follow(BOB), Err("oneself")),
        (build(BOB).follow(EVE), Err("unknown_user")),
    ] {
        assert_eq!(model.act(&action, BOBS), expected, "{action:?}");
    }
    for relation in [Relation::Save, Relation::Repost] {
        let own = build(ADA).relate(relation, Target::content(SONG));
        check(&own, ADAS, Err("oneself"));
    }
}

#[test]
fn what_was_deleted_stays_away() {
    let mut model = Model::village();
    assert_eq!(
        model.act(&build(ADA).delete_digital_content(SONG), ADAS),
        Ok(1)
    );
    for action in [
        build(ADA).delete_digital_content(SONG),
        build(ADA).update_digital_content(SONG, &song("again")),
    ] {
        assert_eq!(model.act(&action, ADAS), Err("unknown"));
    }
    assert_eq!(
        model.act(&build(ADA).create_digital_content(SONG, &song("x")), ADAS),
        Err("exists")
    );
}

#[test]
fn an_update_changes_what_it_names_and_null_clears() {
    let mut model = Model::village();
    let text = r#"{"data":{"description":"d","genre":"Jazz","title":null}}"#;
    assert_eq!(
        model.act(&raw(ADA, "Track", SONG.0, "Update", text), ADAS),
        Ok(1)
    );
    let text = r#"{"data":{"genre":null,"unknown":[1]}}"#;
    assert_eq!(
        model.act(&raw(ADA, "Track", SONG.0, "Update", text), ADAS),
        Ok(1)
    );
    let content = &model.contents[&SONG];
    assert_eq!(content.title, "Song");
    assert_eq!(content.description.as_deref(), Some("d"));
    assert_eq!(content.genre, None);
    assert_eq!(content.cid, CID);
    // The handle is for ever.
    let text = r#"{"data":{"handle":"countess"}}"#;
    assert_eq!(
        model.act(&raw(ADA, "User", ADA.0, "Update", text), ADAS),
        Ok(1)
    );
    assert_eq!(model.users[&ADA].handle, "Ada");
}

#[test]
fn metadata_is_judged_field_by_field() {
    let long =
        |field: &str, size: usize| format!(r#"{{"data":{{"{field}":"{}"}}}}"#, "é".repeat(size));
    for (text, expected) in [
        (String::new(), Err("metadata")),
        ("[]".to_owned(), Err("metadata")),
        (r#"{"data":[]}"#.to_owned(), Err("metadata")),
        (r#"{"cid":"x","data":{}}"#.to_owned(), Err("metadata_cid")),
        (r#"{"cid":"","data":{}}"#.to_owned(), Ok(1)),
        (r#"{"data":{"title":1}}"#.to_owned(), Err("field")),
        (r#"{"data":{"cid":"nonsense"}}"#.to_owned(), Err("field")),
        (r#"{"data":{"kind":"smell"}}"#.to_owned(), Err("field")),
        (r#"{"data":{"kind":"track"}}"#.to_owned(), Ok(1)),
        (r#"{"data":{"duration":1.5}}"#.to_owned(), Ok(1)),
        (r#"{"data":{"duration":-1}}"#.to_owned(), Err("field")),
        (r#"{"data":{"is_unlisted":1}}"#.to_owned(), Err("field")),
        (r#"{"data":{"proof_root":"0x1"}}"#.to_owned(), Err("field")),
        (r#"{"data":{"title":" "}}"#.to_owned(), Err("missing")),
        (long("description", 1000), Ok(1)),
        (long("description", 1001), Err("too_long")),
    ] {
        check(&raw(ADA, "Track", SONG.0, "Update", &text), ADAS, expected);
    }
    check(
        &raw(ADA, "User", ADA.0, "Update", &long("bio", 250)),
        ADAS,
        Ok(1),
    );
    check(
        &raw(ADA, "User", ADA.0, "Update", &long("bio", 251)),
        ADAS,
        Err("too_long"),
    );
}

/// What an update with metadata makes of the village's entity of a kind: its
/// fields as JSON, and the CIDs that it names.
fn updated(kind: EntityType, metadata: &str) -> Result<(serde_json::Value, Named), Rejection> {
    fn of<E: NamesRoots + Serialize>(entity: &E) -> (serde_json::Value, Named) {
        let cids = entity.cids();
        let named = cids.map(|(field, text)| (field, text.to_owned())).collect();
        (serde_json::to_value(entity).unwrap(), named)
    }
    let mut model = Model::village();
    let id = match kind {
        EntityType::User => ADA.0,
        EntityType::Track => SONG.0,
        EntityType::Playlist => LIST.0,
        EntityType::Comment => COMMENT.0,
    };
    let (user, signer) = match kind {
        EntityType::Comment => (BOB, BOBS),
        _ => (ADA, ADAS),
    };
    let at = RecordedAt::default();
    let action = raw(user, kind.name(), id, "Update", metadata);
    judge(&model, &action, signer, &at)?;
    model.act(&action, signer).unwrap();
    Ok(match kind {
        EntityType::User => of(&model.users[&ADA]),
        EntityType::Track => of(&model.contents[&SONG]),
        EntityType::Playlist => of(&model.lists[&LIST]),
        EntityType::Comment => {
            let comment = serde_json::to_value(&model.comments[&COMMENT]).unwrap();
            (comment, Named::new())
        }
    })
}

type Named = BTreeMap<CidField, String>;

const OTHER_CID: &str = "bafkreieq5jui4j25lacwomsqgjeswwl3y5zcdrresptwgmfylxo2depppq";

#[test]
fn details_of_existing_clients_are_kept_by_type() {
    let data = r#"{"is_downloadable":true,"isrc":"US-S1Z-99-00001","bpm":120.5,"musical_key":"C major",
        "remix_of":{"tracks":[{"parent_track_id":2000007,"has_remix_author_saved":false}]},
        "stem_of":{"category":"BASS","parent_track_id":2000008},
        "field_visibility":{"mood":true,"tags":false},"ai_attribution_user_id":3000009}"#;
    let metadata = format!(r#"{{"data":{data}}}"#);
    let (content, _) = updated(EntityType::Track, &metadata).unwrap();
    for (field, expected) in [
        ("is_downloadable", serde_json::json!(true)),
        ("isrc", serde_json::json!("US-S1Z-99-00001")),
        ("bpm", serde_json::json!(120.5)),
        ("musical_key", serde_json::json!("C major")),
        ("remix_of", serde_json::json!([2_000_007])),
        (
            "stem_of",
            serde_json::json!({"parent_track_id": 2_000_008, "category": "BASS"}),
        ),
        (
            "field_visibility",
            serde_json::json!({"mood": true, "tags": false}),
        ),
        ("ai_attribution_user_id", serde_json::json!(3_000_009)),
        ("extra", serde_json::Value::Null),
    ] {
        assert_eq!(
            content.get(field).cloned().unwrap_or_default(),
            expected,
            "{field}"
        );
    }
}

#[test]
fn fields_without_a_place_are_kept_as_sorted_json() {
    let mut model = Model::village();
    let mut extra = |data: &str| {
        let text = format!(r#"{{"data":{data}}}"#);
        model
            .act(&raw(ADA, "Track", SONG.0, "Update", &text), ADAS)
            .unwrap();
        model.contents[&SONG].extra.clone()
    };
    let long = "x".repeat(EXTRA_BYTES_MAX);
    let nearly = "x".repeat(EXTRA_BYTES_MAX - 60);
    for (data, expected) in [
        (
            r#"{"z":{"b":1,"a":[true]},"genre":"Jazz"}"#,
            r#"{"z":{"a":[true],"b":1}}"#,
        ),
        (
            r#"{"artists":["Ada"],"z":2}"#,
            r#"{"artists":["Ada"],"z":2}"#,
        ),
        // Of an unexpected shape: kept as it came, until it comes as expected.
        (r#"{"z":null,"isrc":5}"#, r#"{"artists":["Ada"],"isrc":5}"#),
        (r#"{"isrc":"US"}"#, r#"{"artists":["Ada"]}"#),
        (
            &format!(r#"{{"long":"{long}","short":1}}"#),
            r#"{"artists":["Ada"],"short":1}"#,
        ),
        (r#"{"genre":"Blues"}"#, r#"{"artists":["Ada"],"short":1}"#),
        (r#"{"artists":null,"short":null}"#, ""),
        (
            &format!(r#"{{"k":"{nearly}"}}"#),
            &format!(r#"{{"k":"{nearly}"}}"#),
        ),
    ] {
        assert_eq!(extra(data), expected);
    }
    assert!(extra(&format!(r#"{{"m":"{}"}}"#, "y".repeat(60))).len() <= EXTRA_BYTES_MAX);
    for kind in EntityType::ALL {
        let metadata = r#"{"data":{"body":"b","handle":"h","events":{"is":1}}}"#;
        let (entity, _) = updated(kind, metadata).unwrap();
        let kept: serde_json::Value =
            serde_json::from_str(entity["extra"].as_str().unwrap()).unwrap();
        assert_eq!(kept["events"], serde_json::json!({"is": 1}), "{kind}");
    }
}

#[test]
fn gated_content_is_refused_by_name() {
    for (field, expected) in [
        (r#""is_stream_gated":true"#, Err("gated")),
        (r#""stream_conditions":{"follow_user_id":1}"#, Err("gated")),
        (r#""encryption":{"scheme":1}"#, Err("gated")),
        (r#""encryption":null"#, Ok(1)),
        (r#""is_stream_gated":false"#, Ok(1)),
        (r#""stream_conditions":{}"#, Ok(1)),
    ] {
        let text = format!(r#"{{"data":{{{field}}}}}"#);
        check(&raw(ADA, "Track", SONG.0, "Update", &text), ADAS, expected);
    }
}

#[test]
fn lists_hold_what_exists_in_order() {
    for (contents, expected) in [
        (r#"{"track_ids":[{"track":2000001,"time":5}]}"#, Ok(1)),
        (r#"[2000001,2000001]"#, Ok(1)),
        (r#"[2000002]"#, Err("unknown")),
        (r#"["nonsense"]"#, Err("field")),
        (r#"{"track_ids":7}"#, Err("field")),
    ] {
        let text = format!(r#"{{"data":{{"playlist_contents":{contents}}}}}"#);
        check(
            &raw(ADA, "Playlist", LIST.0, "Update", &text),
            ADAS,
            expected,
        );
    }
    let many = vec!["2000001"; LIST_ITEMS_MAX + 1].join(",");
    let text = format!(r#"{{"data":{{"playlist_contents":[{many}]}}}}"#);
    check(
        &raw(ADA, "Playlist", LIST.0, "Update", &text),
        ADAS,
        Err("too_long"),
    );
}

#[test]
fn a_long_list_is_written_without_times() {
    let items = (0..1500)
        .map(|idx| ListItem {
            track: EntityId(2_000_000 + idx),
            time: UnixSeconds(1_700_000_000),
        })
        .collect();
    let fields = ListFields {
        playlist_contents: Some(Items::Timed { track_ids: items }),
        ..ListFields::default()
    };
    let action = build(ADA).update_content_list(LIST, &fields);
    assert_eq!(action.check_size(), Ok(()));
}

#[test]
fn comments_have_a_place_and_words() {
    let comment = |text: &str| raw(BOB, "Comment", 2, "Create", text);
    for (text, expected) in [
        (r#"{"data":{"entity_id":2000001,"body":"hi"}}"#, Ok(1)),
        (r#"{"data":{"body":"hi"}}"#, Err("missing")),
        (r#"{"data":{"entity_id":2000001}}"#, Err("missing")),
        (
            r#"{"data":{"entity_id":2000002,"body":"hi"}}"#,
            Err("unknown"),
        ),
        (
            r#"{"data":{"entity_id":2000001,"body":"hi","parent_comment_id":1}}"#,
            Ok(1),
        ),
        (
            r#"{"data":{"entity_id":2000001,"body":"hi","parent_comment_id":9}}"#,
            Err("unknown"),
        ),
        (
            r#"{"data":{"entity_id":2000001,"entity_type":"Playlist","body":"hi"}}"#,
            Err("field"),
        ),
    ] {
        check(&comment(text), BOBS, expected);
    }
}

#[test]
fn a_deactivated_user_only_comes_back() {
    let mut model = Model::village();
    let set = |is_deactivated| {
        build(BOB).update_user(&UserFields {
            is_deactivated: Some(is_deactivated),
            ..UserFields::default()
        })
    };
    assert_eq!(model.act(&set(true), BOBS), Ok(1));
    assert_eq!(model.act(&build(BOB).follow(ADA), BOBS), Err("deactivated"));
    assert_eq!(model.act(&set(false), BOBS), Ok(1));
    assert_eq!(model.act(&build(BOB).follow(ADA), BOBS), Ok(2));
}

#[test]
fn unknown_words_are_unsupported() {
    for (kind, verb) in [
        ("track", "Create"),
        ("DigitalContent", "Create"),
        ("Track", "Follow"),
        ("User", "Save"),
        ("User", "Delete"),
        ("Comment", "Save"),
        ("", ""),
    ] {
        check(&raw(ADA, kind, 1, verb, ""), ADAS, Err("unsupported"));
    }
}

/// Vector of a deployed ancestor.
#[test]
fn the_metadata_cid_is_that_of_existing_clients() {
    let data = r#"{"name":"Matcha Male","handle":"matchamale","bio":"matcha is lyfe","location":"Aurora, CO","events":{},"is_deactivated":false,"allow_ai_attribution":false,"spl_usdc_payout_wallet":null}"#;
    let cid = "bagaaiera2c6skimqkebrc2rmb6i5sx4a7zbglckodqzve7ot6kjxxrschnlq";
    assert_eq!(metadata_cid(data), cid);
    let text = format!(r#"{{"cid":"{cid}","data":{data}}}"#);
    check(&raw(ADA, "User", ADA.0, "Update", &text), ADAS, Ok(1));
    let spaced = text.replace("\"name\":", "\"name\": ");
    check(&raw(ADA, "User", ADA.0, "Update", &spaced), ADAS, Ok(1));
    let forged = text.replace("Aurora", "Dakota");
    check(
        &raw(ADA, "User", ADA.0, "Update", &forged),
        ADAS,
        Err("metadata_cid"),
    );
}

proptest::proptest! {
    #[test]
    fn any_metadata_is_judged_without_panic(text in "\\PC{0,64}", json in "[\\[\\]{}\":,a-z0-9]{0,64}") {
        for text in [&text, &json, &format!(r#"{{"data":{{"tags":{json}}}}}"#)] {
            for (kind, id) in [("User", ADA.0), ("Track", SONG.0), ("Playlist", LIST.0)] {
                let _ = Model::village().act(&raw(ADA, kind, id, "Update", text), ADAS);
            }
        }
    }
}

#[test]
fn every_listed_action_is_judged_and_relayed_and_no_other() {
    let model = Model::default();
    let at = RecordedAt {
        block_number: 7,
        time: UnixSeconds(1_700_000_000),
        sequence: 7 << 20,
    };
    for kind in EntityType::ALL {
        for verb in Verb::ALL {
            let action = Action {
                user_id: UserId(USER_ID_MIN),
                entity_type: kind.name().to_owned(),
                entity_id: EntityId(USER_ID_MIN),
                action: verb.name().to_owned(),
                metadata: String::new(),
                nonce: Hash32::ZERO,
            };
            let is_listed = kind.verbs().contains(&verb);
            let judged = judge(&model, &action, Address::ZERO, &at);
            let is_known = !matches!(judged, Err(Rejection::Unsupported { .. }));
            assert_eq!(is_known, is_listed, "{kind:?} {verb:?}");
            let is_relayed = crate::relayer::Kind::of(&action).is_ok();
            assert_eq!(is_relayed, is_listed, "{kind:?} {verb:?}");
        }
    }
}
