use std::time::Duration;

use protocol::action::ActionDomain;
use protocol::entity::build::{Builder, UserFields};
use protocol::entry::{Entry, Position};
use protocol::id::{Address, Hash32, UserId};
use protocol::signing::SigningKey;
use protocol::time::UnixSeconds;
use storage::index::BlockEntry;

use super::*;

#[tokio::test]
async fn search_on_disk_follows_without_losing_the_last_change() {
    let folder = tempfile::tempdir().unwrap();
    let index = IndexHandle::open(folder.path()).unwrap();
    for number in 1..=5 {
        index.apply(vec![block(number)]).await.unwrap();
    }
    assert_eq!(index.height().borrow().entries, 5);
    for number in 1..=5 {
        found(&index, number).await;
    }
}

#[tokio::test]
async fn a_cleared_index_is_empty_and_is_made_again() {
    let index = IndexHandle::in_memory().unwrap();
    index.apply(vec![block(1)]).await.unwrap();
    index.clear().await.unwrap();
    assert_eq!(*index.height().borrow(), Height::default());
    assert!(
        index
            .search()
            .search("user1", None, 9, 0)
            .unwrap()
            .is_empty()
    );
    index.apply(vec![block(1), block(2)]).await.unwrap();
    assert_eq!(index.height().borrow().entries, 2);
    found(&index, 1).await;
}

#[test]
fn what_is_settled_falls_when_the_chain_is_followed_anew() {
    let index = IndexHandle::in_memory().unwrap();
    let settled = index.settled();
    for number in [7, 0, 3] {
        index.set_settled(number);
        assert_eq!(*settled.borrow(), number);
    }
}

#[tokio::test]
async fn changes_of_references_are_told_at_every_step() {
    let index = IndexHandle::in_memory().unwrap();
    let mut changes = index.changes();
    index.apply(vec![block(1)]).await.unwrap();
    let root = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy";
    let pictured = block_of(2, Some(root.to_owned()));
    let root: Cid = root.parse().unwrap();
    index.apply(vec![pictured]).await.unwrap();
    index.rollback(1).await.unwrap();
    index.clear().await.unwrap();
    for (height, roots, is_complete) in [
        (2, vec![root], true),
        (1, vec![root], true),
        (0, vec![], false),
    ] {
        let told = changes.recv().await.unwrap();
        let expected = Changes {
            height,
            roots,
            is_complete,
        };
        assert_eq!(*told, expected);
    }
}

async fn found(index: &IndexHandle, number: u64) {
    let search = async {
        let query = format!("user{number}");
        while index
            .search()
            .search(&query, None, 9, 0)
            .unwrap()
            .is_empty()
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), search)
        .await
        .unwrap();
}

fn block(number: u64) -> RecoveredBlock {
    block_of(number, None)
}

fn block_of(number: u64, profile_picture: Option<String>) -> RecoveredBlock {
    let domain = ActionDomain {
        chain_id: 1,
        entity_manager: Address([8; 20]),
    };
    let fields = UserFields {
        handle: Some(format!("user{number}")),
        profile_picture,
        ..UserFields::default()
    };
    let key = SigningKey::from_bytes(&[u8::try_from(number).unwrap(); 32]).unwrap();
    let builder = Builder {
        user: UserId(3_000_000 + number),
        nonce: Hash32([1; 32]),
    };
    let entry = Entry {
        action: builder.create_user(&fields).sign(&domain, &key),
        position: Position {
            chain_id: 1,
            block_number: number,
            block_hash: Hash32([u8::try_from(number).unwrap(); 32]),
            block_time: UnixSeconds(1_700_000_000),
            tx_hash: Hash32([2; 32]),
            log_index: 0,
        },
    };
    RecoveredBlock {
        number,
        hash: entry.position.block_hash,
        parent: None,
        time: entry.position.block_time,
        entries: vec![BlockEntry::recover(entry, &domain)],
    }
}
