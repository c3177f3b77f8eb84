use protocol::action::ActionDomain;
use protocol::id::{Address, Hash32, UserId};
use protocol::signing::SigningKey;
use protocol::time::UnixSeconds;
use serde_json::json;

use super::*;

#[test]
fn ids_and_moments_are_text_and_come_back() {
    let id = PublicId(3_000_001);
    let text = serde_json::to_value(id).unwrap();
    assert_eq!(serde_json::from_value::<PublicId>(text).unwrap(), id);
    assert_eq!(
        serde_json::from_value::<PublicId>(json!("3000001")).unwrap(),
        id
    );
    assert!(serde_json::from_value::<PublicId>(json!("!")).is_err());
    let moment = Timestamp(UnixSeconds(1_700_000_000));
    let text = serde_json::to_value(moment).unwrap();
    assert_eq!(text, "2023-11-14T22:13:20Z");
    assert_eq!(serde_json::from_value::<Timestamp>(text).unwrap(), moment);
}

#[test]
fn an_action_carries_its_fields_and_the_signature() {
    let key = SigningKey::from_bytes(&[1; 32]).unwrap();
    let domain = ActionDomain {
        chain_id: 1,
        entity_manager: Address::ZERO,
    };
    let builder = protocol::entity::build::Builder {
        user: UserId(3),
        nonce: Hash32::ZERO,
    };
    let signed = builder.follow(UserId(4)).sign(&domain, &key);
    let body = serde_json::to_value(ActionBody::from(&signed)).unwrap();
    assert_eq!(body["userId"], 3);
    assert_eq!(body["entityType"], "User");
    assert_eq!(body["action"], "Follow");
    assert_eq!(body["signature"].as_str().unwrap().len(), 132);
    assert!(body.get("proof").is_none());
}

#[test]
fn the_format_of_actions_is_taken_apart_for_programs() {
    let format = ActionFormat::new(ActionDomain {
        chain_id: 1,
        entity_manager: Address::ZERO,
    });
    assert_eq!(format.primary_type, "ManageEntity");
    let fields: Vec<(&str, &str)> = format
        .fields
        .iter()
        .map(|field| (field.kind.as_str(), field.name.as_str()))
        .collect();
    assert_eq!(fields[0], ("uint", "userId"));
    assert_eq!(fields[5], ("bytes32", "nonce"));
    assert_eq!(fields.len(), 6);
    let comment = &format.entities[3];
    assert_eq!(comment.entity_type, "Comment");
    assert_eq!(comment.actions, ["Create", "Update", "Delete"]);
}

#[test]
fn vault_records_have_the_names_that_hedgehog_clients_know() {
    let record = VaultFields {
        iv: "e8".to_owned(),
        cipher_text: "6b".to_owned(),
        lookup_key: "18".to_owned(),
    };
    let written = serde_json::to_string(&record).unwrap();
    assert_eq!(written, r#"{"iv":"e8","cipherText":"6b","lookupKey":"18"}"#);
}

#[test]
fn the_types_know_nothing_of_how_a_peer_works() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/api");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let is_own = path.ends_with("tests.rs");
        assert!(is_own || !text.contains("crate::"), "{}", path.display());
    }
}
