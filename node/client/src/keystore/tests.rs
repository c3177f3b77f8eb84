use super::*;

#[test]
fn the_known_entropy_derives_the_known_words_and_back() {
    let entropy = Entropy(*b"\x62\xf6\xbe\x1c\xb9\x65\x87\xd7\xfd\x09\x80\x8a\x0c\x09\x55\x22");
    let phrase = entropy.phrase();
    assert_eq!(phrase.split(' ').count(), 12);
    assert_eq!(Entropy::from_phrase(&phrase).unwrap(), entropy);
    let spaced = format!("  {}\n", phrase.to_uppercase().replace(' ', "   "));
    assert_eq!(Entropy::from_phrase(&spaced).unwrap(), entropy);
}

#[test]
fn the_first_account_of_a_known_phrase_is_derived() {
    let phrase = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
    let wallet = UserWallet::from_entropy(Entropy::from_phrase(phrase).unwrap());
    let address = "0x9858effd232b4033e47d90003d41ec34ecaeda94";
    assert_eq!(wallet.address().to_string(), address);
}

#[test]
fn what_is_no_phrase_is_refused() {
    for phrase in [
        "",
        "abandon",
        "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo",
    ] {
        assert!(Entropy::from_phrase(phrase).is_err(), "{phrase}");
    }
}

#[test]
fn a_wallet_opens_with_its_password_only() {
    let folder = tempfile::tempdir().unwrap();
    let wallet = UserWallet::from_entropy(Entropy::random());
    let file = save(folder.path(), "ada", &wallet, "correct horse", Cost::Light).unwrap();
    assert_eq!(file.address, Some(wallet.address()));
    let opened = open(folder.path(), "ada", "correct horse").unwrap();
    assert_eq!(opened.key, wallet.key);
    assert_eq!(opened.entropy(), wallet.entropy());
    let error = open(folder.path(), "ada", "wrong").unwrap_err();
    assert!(matches!(error, KeystoreError::Password { .. }), "{error}");
}

#[test]
fn a_password_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let wallet = UserWallet::from_entropy(Entropy::random());
    save(folder.path(), "ada", &wallet, "one", Cost::Light).unwrap();
    replace(folder.path(), "ada", &wallet, "two").unwrap();
    let error = open(folder.path(), "ada", "one").unwrap_err();
    assert!(matches!(error, KeystoreError::Password { .. }), "{error}");
    let opened = open(folder.path(), "ada", "two").unwrap();
    assert_eq!(opened.entropy(), wallet.entropy());
}

#[test]
fn a_wallet_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let wallet = UserWallet::from_entropy(Entropy::random());
    save(folder.path(), "ada", &wallet, "one", Cost::Light).unwrap();
    let error = save(folder.path(), "ada", &wallet, "two", Cost::Light).unwrap_err();
    assert!(matches!(error, KeystoreError::Exists { .. }), "{error}");
}

#[test]
fn names_cannot_leave_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["", "..", "../ada", "a/b", ".hidden"] {
        let error = open(folder.path(), name, "").unwrap_err();
        assert!(
            matches!(error, KeystoreError::Name { .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn wallets_are_listed_without_their_password() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(list(folder.path()).unwrap(), Vec::new());
    let made = UserWallet::from_entropy(Entropy::random());
    let bare = UserWallet::from_hex(&hex::encode([7; 32])).unwrap();
    let made = save(folder.path(), "b", &made, "one", Cost::Light).unwrap();
    let bare = save(folder.path(), "a", &bare, "two", Cost::Light).unwrap();
    assert!(made.has_entropy && !bare.has_entropy);
    assert_eq!(list(folder.path()).unwrap(), [bare, made]);
}

#[test]
fn a_damaged_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ada.json"), "{}").unwrap();
    let error = open(folder.path(), "ada", "one").unwrap_err().to_string();
    assert!(error.contains("ada.json"), "{error}");
}
