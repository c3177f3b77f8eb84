use std::path::Path;

use storage::blocks::BlockStoreConfig;

use super::*;

#[tokio::test]
async fn heads_of_an_abandoned_fork_are_not_taken_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let index = IndexHandle::in_memory().unwrap();
    let held = |store: &StoreHandle| held_entries(store, &index).unwrap().head_number_min;
    let store = open(folder.path());
    assert_eq!(held(&store), 0);
    keep_head_number_min(&store, 9).await.unwrap();
    store.stop().await;
    drop(store);
    assert_eq!(held(&open(folder.path())), 9);
}

fn open(folder: &Path) -> StoreHandle {
    StoreHandle::open(folder, BlockStoreConfig::with_size(1 << 30)).unwrap()
}
