use std::collections::{BTreeMap, BTreeSet};

use super::census;

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
            ("inner.bytes", 4),
            ("inner.list", 6),
            ("inner.set", 0),
            ("inner.table", 4),
            ("inner.table.deep", 8),
            ("pair", 4),
            ("wrapped", 8),
        ]
    );
}
