use std::collections::BTreeMap;

use proptest::prelude::*;

use protocol::action::Action;
use protocol::entity::build::{ContentFields, ListFields, UserFields};
use protocol::entity::{ContentList, DigitalContent, User};

use super::*;
use crate::index::Index;
use crate::index::tests::{Chain, by, content, content_id, create_content, create_user};
use crate::index::tests::{list_id, user_id};

/// A few roots, of both versions and of several lengths.
fn root(idx: usize) -> Cid {
    [
        crate::index::tests::CID,
        "bafkreieq5jui4j25lacwomsqgjeswwl3y5zcdrresptwgmfylxo2depppq",
        "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n",
        "bafkqaaa",
    ][idx % ROOTS]
        .parse()
        .unwrap()
}

const ROOTS: usize = 4;

/// What live entities name, asked of every entity.
type Named = BTreeMap<Cid, BTreeSet<(UserId, EntityType, EntityId, CidField)>>;

fn recomputed(snapshot: &Snapshot) -> Named {
    fn add<E: NamesRoots>(named: &mut Named, kind: EntityType, entity: &E) {
        for (field, text) in entity.cids() {
            let reference = (entity.owner(), kind, entity.number(), field);
            let root = named.entry(text.parse().unwrap()).or_default();
            root.insert(reference);
        }
    }
    let mut named = Named::new();
    for kind in EntityType::ALL {
        for id in snapshot.ids(kind).unwrap() {
            let id = id.unwrap();
            match kind {
                EntityType::User => {
                    let user: User = snapshot.stored(kind, id).unwrap().unwrap();
                    add(&mut named, kind, &user);
                }
                EntityType::Track => {
                    let content: DigitalContent = snapshot.stored(kind, id).unwrap().unwrap();
                    add(&mut named, kind, &content);
                }
                EntityType::Playlist => {
                    let list: ContentList = snapshot.stored(kind, id).unwrap().unwrap();
                    add(&mut named, kind, &list);
                }
                EntityType::Comment => {}
            }
        }
    }
    named
}

/// What the rows say, asked in each of the ways.
fn indexed(snapshot: &Snapshot) -> Named {
    let mut named = Named::new();
    let mut after = None;
    loop {
        let page = snapshot.roots_after(after.as_ref(), 2).unwrap();
        for found in &page {
            let references = snapshot.references(&found.root).unwrap();
            assert!(references.is_sorted_by_key(|reference| reference.sequence));
            let owners: BTreeSet<UserId> = found.owners.iter().copied().collect();
            assert_eq!(found.owners.len(), owners.len());
            assert_eq!(
                found.facts,
                snapshot.referenced_root(&found.root).unwrap().facts
            );
            let references: BTreeSet<_> = references
                .iter()
                .map(|reference| {
                    (
                        reference.owner,
                        reference.kind,
                        reference.id,
                        reference.field,
                    )
                })
                .collect();
            assert_eq!(
                owners,
                references.iter().map(|reference| reference.0).collect()
            );
            named.insert(found.root, references);
        }
        match page.last() {
            Some(last) => after = Some(last.root),
            None => break,
        }
    }
    for idx in 0..USERS {
        let user = user_id(idx);
        let mut roots = BTreeSet::new();
        let mut after = None;
        while let Some(found) = snapshot
            .roots_of_user(user, after.as_ref(), 1)
            .unwrap()
            .pop()
        {
            assert!(roots.insert(found.root));
            after = Some(found.root);
        }
        let expected = named
            .iter()
            .filter(|(_, references)| references.iter().any(|reference| reference.0 == user))
            .map(|(root, _)| *root)
            .collect();
        assert_eq!(roots, expected);
    }
    named
}

const USERS: u64 = 3;

/// Actions that name roots in every CID field, change and clear them, and delete.
fn any_action() -> impl Strategy<Value = Action> {
    (0..USERS, 0u64..4, 0..ROOTS, 0..ROOTS + 1, 0u8..8).prop_map(|(user, idx, one, other, what)| {
        let text = |idx: usize| match idx {
            ROOTS => String::new(),
            idx => root(idx).to_string(),
        };
        let contents = ContentFields {
            cid: Some(text(one)),
            preview_cid: Some(text(other)),
            orig_file_cid: Some(text(other)),
            cover_art: Some(text(one)),
            size: Some(other as u64),
            ..content("Dawn")
        };
        let lists = ListFields {
            playlist_name: Some("Evening".to_owned()),
            cover_art: Some(text(other)),
            ..ListFields::default()
        };
        match what {
            0 => create_user(user),
            1 => by(user).update_user(&UserFields {
                profile_picture: Some(text(other)),
                cover_photo: Some(text(one)),
                is_deactivated: Some(false),
                ..UserFields::default()
            }),
            2 => by(user).create_digital_content(content_id(idx), &contents),
            3 => by(user).update_digital_content(content_id(idx), &contents),
            4 => by(user).delete_digital_content(content_id(idx)),
            5 => by(user).create_content_list(list_id(idx), &lists),
            6 => by(user).update_content_list(list_id(idx), &lists),
            _ => by(user).delete_content_list(list_id(idx)),
        }
    })
}

/// Take back so many blocks, then append these.
fn any_step() -> impl Strategy<Value = (usize, Vec<Vec<Action>>)> {
    let blocks = prop::collection::vec(prop::collection::vec(any_action(), 0..8), 1..4);
    (prop_oneof![2 => Just(0usize), 1 => 1usize..6], blocks)
}

fn check_told(before: &Named, after: &Named, told: &BTreeSet<Cid>) {
    for root in before.keys().chain(after.keys()) {
        let is_news = before.get(root) != after.get(root);
        assert!(!is_news || told.contains(root), "{root} changed in silence");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn references_are_what_live_entities_name(steps in prop::collection::vec(any_step(), 1..8)) {
        let mut chain = Chain::default();
        chain.push((0..USERS).map(create_user).collect());
        let mut index = Index::in_memory().unwrap();
        index.apply(&chain.blocks[0]).unwrap();
        let mut before = Named::new();
        for (depth, blocks) in steps {
            let depth = depth.min(chain.blocks.len() - 1);
            if depth > 0 {
                let told = index.rollback(chain.fork(depth)).unwrap();
                let after = indexed(&index.snapshot().unwrap());
                check_told(&before, &after, &told);
                before = after;
            }
            for actions in blocks {
                let told = index.apply(chain.push(actions)).unwrap().roots;
                let snapshot = index.snapshot().unwrap();
                let after = indexed(&snapshot);
                prop_assert_eq!(&after, &recomputed(&snapshot));
                check_told(&before, &after, &told);
                before = after;
            }
        }
        let mut fresh = Index::in_memory().unwrap();
        let told = fresh.apply_final(&chain.blocks).unwrap().roots;
        let snapshot = fresh.snapshot().unwrap();
        prop_assert_eq!(&before, &indexed(&snapshot));
        check_told(&Named::new(), &before, &told);
    }
}

#[test]
fn nobody_pushes_the_first_reference_out_of_an_answer() {
    let mut chain = Chain::default();
    chain.push(vec![create_user(0), create_user(1)]);
    let first = ContentFields {
        size: Some(7),
        proof_root: Some(Hash32([7; 32])),
        ..content("Dawn")
    };
    let song = root(0);
    chain.push(vec![by(0).create_digital_content(content_id(9), &first)]);
    let lists = ListFields {
        playlist_name: Some("Copies".to_owned()),
        cover_art: Some(song.to_string()),
        ..ListFields::default()
    };
    let lists = (0..REFERENCES_MAX as u64 + 9)
        .map(|idx| by(1).create_content_list(list_id(idx), &lists))
        .collect();
    chain.push(lists);
    let liar = ContentFields {
        size: Some(8),
        ..content("Dusk")
    };
    let other = root(1);
    chain.push(vec![
        by(1).create_digital_content(content_id(0), &liar),
        by(1).update_user(&UserFields {
            cover_photo: Some(other.to_string()),
            ..UserFields::default()
        }),
    ]);
    let mut index = Index::in_memory().unwrap();
    index.apply_all(&chain.blocks).unwrap();
    let snapshot = index.snapshot().unwrap();
    let references = snapshot.references(&song).unwrap();
    assert_eq!(references.len(), REFERENCES_MAX);
    assert_eq!(
        (references[0].owner, references[0].id),
        (user_id(0), content_id(9))
    );
    let facts = ClaimedFacts {
        proof_root: Some(Hash32([7; 32])),
        size: Some(7),
    };
    let roots = snapshot.roots_after(None, 10).unwrap();
    let mut names: Vec<Cid> = roots.iter().map(|found| found.root).collect();
    names.sort_by_key(|name| *name != song);
    assert_eq!(names, [song, other]);
    let found = roots.iter().find(|found| found.root == song).unwrap();
    assert_eq!(
        (found.owners.as_slice(), found.facts),
        (&[user_id(0), user_id(1)][..], facts)
    );
    let own = snapshot.roots_of_user(user_id(1), None, 10).unwrap();
    let own = own.iter().find(|found| found.root == song).unwrap();
    assert_eq!(own.facts.size, Some(8));
}

#[test]
fn an_update_of_facts_keeps_the_age_of_a_reference() {
    let mut chain = Chain::default();
    chain.push(vec![
        create_user(0),
        create_user(1),
        create_content(0, 0, "Dawn"),
    ]);
    chain.push(vec![create_content(1, 1, "Copy")]);
    let sized = ContentFields {
        size: Some(5),
        ..ContentFields::default()
    };
    chain.push(vec![by(0).update_digital_content(content_id(0), &sized)]);
    let mut index = Index::in_memory().unwrap();
    let told = index.apply_all(&chain.blocks).unwrap().roots;
    assert_eq!(told.len(), 1);
    let root = told.first().unwrap();
    let snapshot = index.snapshot().unwrap();
    let owners = |reference: &Reference| reference.owner;
    let references = snapshot.references(root).unwrap();
    assert_eq!(
        references.iter().map(owners).collect::<Vec<_>>(),
        [user_id(0), user_id(1)]
    );
    assert_eq!(snapshot.referenced_root(root).unwrap().facts.size, Some(5));
    // What changes no reference tells no root.
    let renamed = ContentFields {
        title: Some("Noon".to_owned()),
        ..ContentFields::default()
    };
    let block = chain.push(vec![by(0).update_digital_content(content_id(0), &renamed)]);
    assert!(index.apply(block).unwrap().roots.is_empty());
}
