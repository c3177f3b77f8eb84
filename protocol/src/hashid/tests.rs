use proptest::prelude::*;

use super::*;

#[test]
fn ids_are_those_of_existing_clients() {
    for (id, text) in [
        (1, "7eP5n"),
        (33, "8Lj1n"),
        (372_060, "VQb0N"),
        (44, "eYorL"),
        (100, "eYZmn"),
    ] {
        assert_eq!(encode(id), text, "{id}");
        assert_eq!(decode(text), Some(id), "{text}");
    }
}

#[test]
fn other_texts_are_no_ids() {
    for text in [
        "",
        "abcdefg",
        "asdjkfalksdjfaklsdjf",
        "7eP5",
        "7eP5nn",
        "eYorl",
        "ééé",
        "0",
    ] {
        assert_eq!(decode(text), None, "{text}");
    }
}

#[test]
fn digits_are_a_number_although_they_may_be_a_public_text() {
    let (number, other) = (222_531_151, 3_268_738_579_234);
    assert_eq!(encode(other), number.to_string());
    assert_eq!(parse("222531151"), Some(number));
    assert_eq!(parse("eYorL"), Some(44));
}

proptest! {
    #[test]
    fn every_number_comes_back(id: u64) {
        prop_assert_eq!(decode(&encode(id)), Some(id));
    }

    #[test]
    fn any_text_is_read_without_panic(text in "\\PC{0,24}") {
        let _ = decode(&text);
    }
}
