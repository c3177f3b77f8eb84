use super::*;

/// Vector of a deployed ancestor: domain, struct hash, digest and signer.
#[test]
fn the_digest_is_the_ancestors() {
    let domain = ActionDomain {
        chain_id: 31524,
        entity_manager: "0x1Cd8a543596D499B9b6E7a6eC15ECd2B7857Fd64"
            .parse()
            .unwrap(),
    };
    let signed = SignedAction {
        action: Action {
            user_id: UserId(713_621_629),
            entity_type: "User".to_owned(),
            entity_id: EntityId(713_621_629),
            action: "Update".to_owned(),
            metadata: METADATA.to_owned(),
            nonce: "0x8172f237c0ff351c2478fbb8ac5a21c4aa179304f8550e782284828191adf142"
                .parse()
                .unwrap(),
        },
        signature: "0xd654719ec699cd00e06afb73bf7e1155c64b736bab9905f098ef11927c04afe82a90e72e8202592d6ad5ba6c2e1eac3120e34f4caea2a36d63f28434efa655551c"
            .parse()
            .unwrap(),
    };
    let hash = |text: &str| text.parse::<Hash32>().unwrap();
    assert_eq!(
        domain.separator(),
        hash("69f78a9df47f3ec95868854df32b783e4f1fbd59af3088ef43454ed1759b4b33")
    );
    assert_eq!(
        signed.action.struct_hash(),
        hash("4dc1995460030d46a7ab8d52f29f7b36e5f5fa14f5b8e93301566b529d65b5f9")
    );
    assert_eq!(
        signed.action.digest(&domain),
        hash("f72e746858f0ed1f30488fcb5c43673069dcb69d10ae56ee8b5c9e042efe9432")
    );
    assert_eq!(
        signed.signer(&domain).unwrap().to_string(),
        "0x570d5bd4d4dbcc3f896ba095f4002a2545e5e5f6"
    );
}

#[test]
fn oversized_metadata_is_refused_with_the_limit() {
    let mut action = action();
    action.metadata = "x".repeat(METADATA_BYTES_MAX + 1);
    assert_eq!(
        action.check_size(),
        Err(ActionError::TooLarge {
            size: METADATA_BYTES_MAX + 1
        })
    );
}

#[test]
fn changing_any_field_changes_the_digest() {
    let domain = ActionDomain {
        chain_id: 1,
        entity_manager: Address([1; 20]),
    };
    let original = action().digest(&domain);
    let changes: [fn(&mut Action); 6] = [
        |action| action.user_id.0 += 1,
        |action| action.entity_type.push('x'),
        |action| action.entity_id.0 += 1,
        |action| action.action.push('x'),
        |action| action.metadata.push('x'),
        |action| action.nonce.0[0] ^= 1,
    ];
    for change in changes {
        let mut changed = action();
        change(&mut changed);
        assert_ne!(changed.digest(&domain), original);
    }
}

fn action() -> Action {
    Action {
        user_id: UserId(1),
        entity_type: "Track".to_owned(),
        entity_id: EntityId(2),
        action: "Save".to_owned(),
        metadata: String::new(),
        nonce: Hash32([3; 32]),
    }
}

const METADATA: &str = r#"{"cid":"bagaaiera2c6skimqkebrc2rmb6i5sx4a7zbglckodqzve7ot6kjxxrschnlq","data":{"name":"Matcha Male","handle":"matchamale","bio":"matcha is lyfe","location":"Aurora, CO","events":{},"is_deactivated":false,"allow_ai_attribution":false,"spl_usdc_payout_wallet":null}}"#;

/// The example and the type string of `docs/formats/action.md`.
#[test]
fn the_page_about_actions_says_what_is_hashed() {
    let page = include_str!("../../../docs/formats/action.md");
    let domain = ActionDomain {
        chain_id: 31524,
        entity_manager: "0x1Cd8a543596D499B9b6E7a6eC15ECd2B7857Fd64"
            .parse()
            .unwrap(),
    };
    let action = Action {
        user_id: UserId(3_000_001),
        entity_type: "User".to_owned(),
        entity_id: EntityId(3_000_002),
        action: "Follow".to_owned(),
        metadata: String::new(),
        nonce: Hash32([1; 32]),
    };
    for text in [
        TYPE.to_owned(),
        domain.separator().to_string(),
        action.struct_hash().to_string(),
        action.digest(&domain).to_string(),
    ] {
        assert!(page.contains(&text), "{text}");
    }
}
