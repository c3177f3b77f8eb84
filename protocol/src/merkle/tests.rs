use super::*;

/// The definition of RFC 6962 §2.1, written as it stands there.
fn by_definition(leaves: &[Hash32]) -> Hash32 {
    match leaves {
        [] => crate::entry::sha256(&[]),
        [leaf] => hash_leaf(leaf),
        _ => {
            let split = leaves.len().next_power_of_two() / 2;
            hash_node(
                &by_definition(&leaves[..split]),
                &by_definition(&leaves[split..]),
            )
        }
    }
}

#[test]
fn appending_gives_the_root_of_the_definition() {
    let leaves: Vec<Hash32> = (0..70u8).map(|number| Hash32([number; 32])).collect();
    for count in 0..leaves.len() {
        assert_eq!(
            root(leaves[..count].iter().copied()),
            by_definition(&leaves[..count])
        );
    }
}

#[test]
fn the_empty_tree_is_the_hash_of_nothing() {
    assert_eq!(
        root([]).to_string(),
        "0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

#[test]
fn a_sparse_tree_does_not_depend_on_order() {
    let leaves: Vec<_> = (0..20u8)
        .map(|number| (crate::entry::sha256(&[number]), Hash32([number; 32])))
        .collect();
    let reversed: Vec<_> = leaves.iter().rev().copied().collect();
    assert_eq!(sparse(leaves.clone()), sparse(reversed));
    assert_ne!(sparse(leaves.clone()), sparse(leaves[1..].to_vec()));
}

#[test]
fn a_sparse_tree_of_one_leaf_is_its_path() {
    let key = Hash32([0; 32]);
    let value = Hash32([7; 32]);
    let leaf = hash(&[&[0], &key.0, &value.0]);
    let expected = (0..256).fold(leaf, |node, _| hash_node(&node, &Hash32::ZERO));
    assert_eq!(sparse(vec![(key, value)]), expected);
    assert_eq!(sparse(Vec::new()), Hash32::ZERO);
}

#[test]
fn a_tree_that_remembers_has_the_root_of_a_fresh_one_after_every_change() {
    let mut leaves: BTreeMap<Hash32, Hash32> = BTreeMap::new();
    let mut tree = SparseTree::default();
    for step in 0..200u64 {
        let drawn = crate::entry::sha256(&step.to_be_bytes());
        // Keys that share many bits part deep down, and meet again when one goes.
        let mut key = Hash32([drawn.0[0] & 3; 32]);
        key.0[31] = drawn.0[1] & 7;
        match drawn.0[2] % 3 {
            0 => leaves.remove(&key),
            _ => leaves.insert(key, drawn),
        };
        let all: Vec<_> = leaves.iter().map(|(key, value)| (*key, *value)).collect();
        assert_eq!(tree.root(all.clone()), sparse(all), "step {step}");
    }
}

fn sparse(leaves: Vec<(Hash32, Hash32)>) -> Hash32 {
    SparseTree::default().root(leaves)
}
