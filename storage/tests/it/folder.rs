//! A real folder on disk.

use std::sync::Arc;

use storage::backend::{Backend as _, FileBackend};
use storage::blocks::BlockStore;

use crate::support::{NOW, SMALL, blocks, check_there, put_many};

#[test]
fn a_folder_serves_one_process_and_keeps_what_was_put() {
    let folder = tempfile::tempdir().unwrap();
    let put = blocks(0..30, 5000);
    let backend = Arc::new(FileBackend::open(folder.path()).unwrap());
    let mut store = BlockStore::open(backend.clone(), SMALL).unwrap();
    put_many(&mut store, put.clone(), None, NOW).unwrap();
    let second = FileBackend::open(folder.path()).unwrap_err();
    assert!(
        second
            .to_string()
            .contains("is in use by another coliving process")
    );
    assert!(backend.free_bytes().unwrap() > 0);
    drop((store, backend));
    let backend = Arc::new(FileBackend::open(folder.path()).unwrap());
    let store = BlockStore::open(backend, SMALL).unwrap();
    check_there(&store, &put);
    assert_eq!(store.reader().verify(|_| true).unwrap().blocks, 30);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = FileBackend::open(file.join("store")).unwrap_err();
    assert!(error.to_string().contains(&*file.display().to_string()));
}
