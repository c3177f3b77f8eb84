//! Which roots an action names.

use super::*;

#[test]
fn every_row_of_the_table_of_cid_fields_is_read_under_each_of_its_names() {
    for field in CidField::ALL {
        for name in field.names() {
            let metadata = format!(r#"{{"data":{{"{name}":"{OTHER_CID}"}}}}"#);
            let (_, named) = updated(field.kind(), &metadata).unwrap();
            assert_eq!(
                named.get(&field).map(String::as_str),
                Some(OTHER_CID),
                "{name}"
            );
            let action = raw(ADA, field.kind().name(), SONG.0, "Update", &metadata);
            let root = OTHER_CID.parse().unwrap();
            assert_eq!(
                roots_of(&action),
                Ok(vec![NamedRoot { root, field }]),
                "{name}"
            );
            let nonsense = metadata.replace(OTHER_CID, "nonsense");
            let rejection = updated(field.kind(), &nonsense).unwrap_err();
            assert_eq!(
                rejection,
                Rejection::Field {
                    field: field.names()[0],
                    expected: "a CID"
                }
            );
            let action = raw(ADA, field.kind().name(), SONG.0, "Update", &nonsense);
            assert_eq!(roots_of(&action), Err(rejection));
            let cleared = metadata.replace(OTHER_CID, "");
            let action = raw(ADA, field.kind().name(), SONG.0, "Update", &cleared);
            assert_eq!(roots_of(&action), Ok(Vec::new()));
            if field != CidField::File {
                assert_eq!(updated(field.kind(), &cleared).unwrap().1.get(&field), None);
            }
        }
    }
}

#[test]
fn every_field_that_is_read_as_a_cid_is_in_the_table() {
    let table = |kind: EntityType| -> BTreeSet<&str> {
        CidField::ALL
            .into_iter()
            .filter(|field| field.kind() == kind)
            .flat_map(|field| field.names().iter().copied())
            .collect()
    };
    for kind in EntityType::ALL {
        let keys = |entity: serde_json::Value| -> Vec<String> {
            entity.as_object().unwrap().keys().cloned().collect()
        };
        let mut names = match kind {
            EntityType::User => keys(serde_json::to_value(all_user_fields()).unwrap()),
            EntityType::Track => keys(serde_json::to_value(all_content_fields()).unwrap()),
            EntityType::Playlist => keys(serde_json::to_value(all_list_fields()).unwrap()),
            EntityType::Comment => Vec::new(),
        };
        let own = updated(kind, r#"{"data":{"body":"b"}}"#).unwrap().0;
        names.extend(keys(own));
        names.extend(CLIENT_FIELDS.iter().map(|name| (*name).to_owned()));
        for name in &names {
            let metadata = format!(r#"{{"data":{{"body":"b","{name}":"{OTHER_CID}"}}}}"#);
            let nonsense = metadata.replace(OTHER_CID, "nonsense");
            let wants_a_cid = matches!(
                updated(kind, &nonsense),
                Err(Rejection::Field {
                    expected: "a CID",
                    ..
                })
            );
            assert_eq!(
                wants_a_cid,
                table(kind).contains(name.as_str()),
                "{kind} {name}"
            );
            // A field that holds a CID as any text is a CID field or none at all.
            if !wants_a_cid && name.contains("cid") {
                let (entity, _) = updated(kind, &metadata).unwrap();
                let is_typed = entity.get(name).is_some_and(|value| value == OTHER_CID);
                assert!(
                    !is_typed,
                    "{kind} {name} holds a CID and is not in the table"
                );
            }
        }
    }
}

/// Fields that existing clients write and that look as if they named a root.
const CLIENT_FIELDS: [&str; 12] = [
    "track_cid",
    "preview_cid",
    "orig_file_cid",
    "cover_art",
    "cover_art_sizes",
    "profile_picture",
    "profile_picture_sizes",
    "cover_photo",
    "cover_photo_sizes",
    "playlist_image_multihash",
    "playlist_image_sizes_multihash",
    "metadata_multihash",
];

fn all_user_fields() -> UserFields {
    UserFields {
        name: Some(String::new()),
        bio: Some(String::new()),
        location: Some(String::new()),
        website: Some(String::new()),
        profile_picture: Some(String::new()),
        cover_photo: Some(String::new()),
        ..UserFields::default()
    }
}

fn all_content_fields() -> ContentFields {
    let text = || Some(String::new());
    ContentFields {
        title: text(),
        cid: text(),
        preview_cid: text(),
        orig_file_cid: text(),
        mime: text(),
        file_name: text(),
        tags: text(),
        genre: text(),
        mood: text(),
        description: text(),
        cover_art: text(),
        release_date: text(),
        license: text(),
        ..ContentFields::default()
    }
}

fn all_list_fields() -> ListFields {
    ListFields {
        playlist_name: Some(String::new()),
        description: Some(String::new()),
        cover_art: Some(String::new()),
        ..ListFields::default()
    }
}

#[test]
fn roots_are_what_the_fields_name_and_nothing_else() {
    for (kind, verb, data, expected) in [
        ("Track", "Create", "FIELD", vec![CidField::File]),
        (
            "Track",
            "Update",
            r#"FIELD,"preview_cid":"CID""#,
            vec![CidField::File, CidField::Preview],
        ),
        (
            "Track",
            "Create",
            r#""description":"CID","tags":"CID""#,
            vec![],
        ),
        ("Track", "Create", r#""profile_picture":"CID""#, vec![]),
        ("Track", "Create", r#""cover_art":null"#, vec![]),
        (
            "User",
            "Create",
            r#""profile_picture":"CID""#,
            vec![CidField::ProfilePicture],
        ),
        (
            "Playlist",
            "Create",
            r#""cover_art":"CID""#,
            vec![CidField::ListImage],
        ),
        ("Comment", "Create", r#""body":"CID","cid":"CID""#, vec![]),
        ("Track", "Delete", "FIELD", vec![]),
        ("Track", "Save", "FIELD", vec![]),
        ("track", "Create", "FIELD", vec![]),
    ] {
        let data = data
            .replace("FIELD", r#""cid":"CID""#)
            .replace("CID", OTHER_CID);
        let action = raw(
            ADA,
            kind,
            SONG.0,
            verb,
            &format!(r#"{{"data":{{{data}}}}}"#),
        );
        let roots = roots_of(&action).unwrap();
        assert!(
            roots
                .iter()
                .all(|named| named.root.to_string() == OTHER_CID)
        );
        let fields: Vec<CidField> = roots.iter().map(|named| named.field).collect();
        assert_eq!(fields, expected, "{kind} {verb} {data}");
    }
    for (metadata, code) in [(OTHER_CID, "metadata"), (r#"{"data":{"cid":1}}"#, "field")] {
        let action = raw(ADA, "Track", SONG.0, "Create", metadata);
        assert_eq!(roots_of(&action).unwrap_err().code(), code);
    }
}

#[test]
fn what_is_deleted_names_no_root() {
    let mut model = Model::village();
    assert_eq!(model.contents[&SONG].cids().count(), 1);
    model
        .act(&build(ADA).delete_digital_content(SONG), ADAS)
        .unwrap();
    assert_eq!(model.contents[&SONG].cids().count(), 0);
}
