use std::collections::{BTreeMap, BTreeSet};

use super::{census, kinds};

#[derive(Debug)]
#[expect(dead_code, reason = "they are shown")]
struct Outer {
    inner: Option<Inner>,
    text: &'static str,
    pair: (u8, u8),
    wrapped: Wrapped,
    nothing: Option<u8>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "they are shown")]
struct Inner {
    table: BTreeMap<(u8, u8), Leaf>,
    set: BTreeSet<u8>,
    list: Vec<Option<u8>>,
    bytes: [u8; 2],
}

#[derive(Debug)]
#[expect(dead_code, reason = "they are shown")]
struct Leaf {
    deep: Vec<u8>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "they are shown")]
struct Wrapped(Vec<u8>);

#[test]
fn tables_are_counted_by_the_fields_that_lead_to_them() {
    let leaf = |deep: &[u8]| Leaf {
        deep: deep.to_vec(),
    };
    let outer = Outer {
        inner: Some(Inner {
            table: BTreeMap::from([((1, 2), leaf(&[1, 2, 3])), ((3, 4), leaf(&[4]))]),
            set: BTreeSet::new(),
            list: vec![None, Some(1), Some(2)],
            bytes: [0; 2],
        }),
        text: "a \"quoted\", text: { [",
        pair: (1, 2),
        wrapped: Wrapped(vec![1, 2, 3, 4]),
        nothing: None,
    };
    let mut counts = BTreeMap::new();
    census(&outer, &mut counts);
    census(&outer, &mut counts);
    let counts: Vec<(&str, u64)> = counts.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    assert_eq!(
        counts,
        [
            ("inner", 2),
            ("inner Inner", 2),
            ("inner.bytes", 4),
            ("inner.bytes sum", 0),
            ("inner.list", 6),
            ("inner.list sum", 6),
            ("inner.set", 0),
            ("inner.table", 4),
            ("inner.table Leaf", 4),
            ("inner.table sum", 20),
            ("inner.table.deep", 8),
            ("inner.table.deep sum", 20),
            ("pair", 4),
            ("pair sum", 6),
            ("wrapped", 8),
            ("wrapped Wrapped", 2),
            ("wrapped sum", 20),
        ]
    );
}

#[derive(Debug)]
#[expect(dead_code, reason = "they are shown")]
enum Wish {
    Ask { to: Option<u8>, is_urgent: bool },
    Keep(Vec<Wrapped>),
}

#[test]
fn what_is_inside_of_a_wish_is_counted_by_its_name() {
    let ask = |to, is_urgent| Wish::Ask { to, is_urgent };
    let keep = Wish::Keep(vec![Wrapped(vec![1]), Wrapped(vec![2; 1000])]);
    let mut counts = BTreeMap::new();
    for (wish, name) in [
        (ask(Some(7), true), "out Ask"),
        (ask(None, false), "out Ask"),
        (keep, "out Keep"),
    ] {
        kinds(&wish, name, &mut counts);
    }
    assert_eq!(counts["out Ask.to"], 1);
    assert_eq!(counts["out Ask.to sum"], 7);
    assert_eq!(counts["out Ask.is_urgent true"], 1);
    assert_eq!(counts["out Keep Wrapped"], 2);
    assert!(!counts.contains_key("out Keep"));
    // The end of a long list is not looked at.
    assert!(counts["out Keep sum"] < 1000);
}
