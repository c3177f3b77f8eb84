use protocol::id::Hash32;
use storage::tables::VAULT;

use super::*;

fn peer(folder: &Path) -> Address {
    let key = home::peer_key(folder).unwrap();
    home::token(folder).unwrap();
    let tables = open(folder).unwrap();
    tables
        .write::<_, TablesError>(|rows| {
            let kept = bytes::Bytes::from_static(b"kept");
            rows.put(VAULT, &(Hash32([1; 32]), key.address()), &kept)
        })
        .unwrap();
    key.address()
}

#[test]
fn a_peer_comes_back_from_its_backup() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    fs::create_dir(&old).unwrap();
    let address = peer(&old);
    let file = folder.path().join("backup");
    assert_eq!(write(&old, &file).unwrap().peer, address);
    let restored = restore(&file, &new).unwrap();
    assert_eq!(restored.peer, address);
    assert_eq!(restored.rows, 1);
    assert_eq!(home::peer_key(&new).unwrap().address(), address);
    assert_eq!(home::token(&new).unwrap(), home::token(&old).unwrap());
}

#[test]
fn a_folder_with_a_peer_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    peer(folder.path());
    let file = folder.path().join("backup");
    write(folder.path(), &file).unwrap();
    let error = restore(&file, folder.path()).unwrap_err();
    assert!(matches!(error, BackupError::Taken { .. }), "{error}");
}

#[test]
fn a_running_peer_is_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    peer(folder.path());
    let _running = open(folder.path()).unwrap();
    let file = folder.path().join("backup");
    assert!(write(folder.path(), &file).is_err());
    assert!(!file.exists());
}

#[test]
fn a_changed_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    peer(folder.path());
    let file = folder.path().join("backup");
    write(folder.path(), &file).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let check = |text: String, expected: &str| {
        fs::write(&file, text).unwrap();
        let error = restore(&file, &folder.path().join("new")).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(text.replacen("key", "kez", 1), "checksum");
    check(text[..text.len() / 2].to_owned(), "checksum");
    check(text.replacen(" 1 ", " 9 ", 1), "format 9");
    check(String::from("hello"), "first line");
    assert!(!folder.path().join("new").exists());
}
