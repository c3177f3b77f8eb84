use super::*;
use crate::index::Index;
use crate::index::tests::{Chain, by, content, content_id, create_content, create_user};

use protocol::entity::build::ContentFields;

fn chain() -> Chain {
    let mut chain = Chain::default();
    chain.push(vec![create_user(0), create_user(1)]);
    chain.push(vec![
        create_content(0, 0, "Dawn Chorus"),
        create_content(0, 1, "Café del mar"),
        create_content(1, 2, "The long dark night of a very slow train"),
    ]);
    chain
}

fn indexed(chain: &Chain) -> Index {
    let mut index = Index::in_memory().unwrap();
    index.apply_all(&chain.blocks).unwrap();
    index
}

fn ids(hits: &[Hit]) -> Vec<u64> {
    hits.iter().map(|hit| hit.id.0).collect()
}

#[track_caller]
fn check(searcher: &Searcher, query: &str, expected: &[u64]) {
    let mut found = ids(&searcher.search(query, None, 10, 0).unwrap());
    found.sort_unstable();
    assert_eq!(found, expected, "{query}");
}

#[test]
fn words_match_whole_by_beginning_and_with_one_error() {
    let index = indexed(&chain());
    let mut search = Search::in_memory().unwrap();
    search.sync(&index.snapshot().unwrap()).unwrap();
    let searcher = search.searcher();
    for (query, expected) in [
        ("dawn", &[2_000_000][..]),
        ("DAWN chor", &[2_000_000]),
        ("chrous", &[2_000_000]),
        ("cafe", &[2_000_001]),
        ("dawn cafe", &[]),
        ("calm", &[2_000_000, 2_000_001, 2_000_002]),
        (
            "user1",
            &[2_000_000, 2_000_001, 2_000_002, 3_000_000, 3_000_001],
        ),
        ("user1 train", &[2_000_002]),
        ("", &[]),
        ("?!", &[]),
    ] {
        check(&searcher, query, expected);
    }
    let users = searcher
        .search("user0", Some(EntityType::User), 1, 0)
        .unwrap();
    assert_eq!(ids(&users), [3_000_000], "the whole word comes first");
    let rest = searcher
        .search("user0", Some(EntityType::User), 9, 1)
        .unwrap();
    assert_eq!(ids(&rest), [3_000_001]);
    assert_eq!(
        ids(&searcher.autocomplete("caf", None, 5).unwrap()),
        [2_000_001]
    );
    assert!(searcher.autocomplete("cafx", None, 5).unwrap().is_empty());
    assert!(searcher.search("dawn", None, 0, 0).unwrap().is_empty());
}

#[test]
fn what_is_unlisted_deleted_or_taken_back_is_not_found() {
    let mut chain = chain();
    let mut index = indexed(&chain);
    let mut search = Search::in_memory().unwrap();
    search.sync(&index.snapshot().unwrap()).unwrap();
    let hide = ContentFields {
        is_unlisted: Some(true),
        ..content("Dawn Chorus")
    };
    let block = chain.push(vec![
        by(0).update_digital_content(content_id(0), &hide),
        by(0).delete_digital_content(content_id(1)),
        create_content(0, 3, "Dawn again"),
    ]);
    index.apply(block).unwrap();
    search.sync(&index.snapshot().unwrap()).unwrap();
    check(&search.searcher(), "dawn", &[2_000_003]);
    check(&search.searcher(), "cafe", &[]);
    index.rollback(11).unwrap();
    search.sync(&index.snapshot().unwrap()).unwrap();
    check(&search.searcher(), "dawn", &[2_000_000]);
    check(&search.searcher(), "cafe", &[2_000_001]);
}

#[test]
fn a_folder_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut chain = chain();
    let mut index = indexed(&chain);
    let mut search = Search::open(folder.path()).unwrap();
    let at = search.sync(&index.snapshot().unwrap()).unwrap();
    index.trim_touched(at).unwrap();
    drop(search);
    index
        .apply(chain.push(vec![create_content(0, 3, "Dawn again")]))
        .unwrap();
    let mut search = Search::open(folder.path()).unwrap();
    check(&search.searcher(), "dawn", &[2_000_000]);
    search.sync(&index.snapshot().unwrap()).unwrap();
    check(&search.searcher(), "dawn", &[2_000_000, 2_000_003]);
}

#[test]
fn a_folder_of_another_index_or_a_damaged_one_is_filled_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut search = Search::open(folder.path()).unwrap();
    search.sync(&indexed(&chain()).snapshot().unwrap()).unwrap();
    let mut other = Chain::default();
    other.push(vec![create_user(0), create_content(0, 9, "Elsewhere")]);
    search.sync(&indexed(&other).snapshot().unwrap()).unwrap();
    check(&search.searcher(), "dawn", &[]);
    check(&search.searcher(), "elsewhere", &[2_000_009]);
    drop(search);
    std::fs::write(folder.path().join("meta.json"), "{").unwrap();
    let mut search = Search::open(folder.path()).unwrap();
    search.sync(&indexed(&other).snapshot().unwrap()).unwrap();
    check(&search.searcher(), "elsewhere", &[2_000_009]);
}
