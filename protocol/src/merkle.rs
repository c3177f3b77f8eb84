//! Trees over SHA-256: RFC 6962 for sequences, sparse Merkle trees for maps.

use std::collections::BTreeMap;

use ring::digest::{Context, SHA256};

use crate::id::Hash32;

/// The RFC 6962 root over 32-byte leaf inputs; SHA-256 of nothing for none.
#[must_use]
pub fn root(leaves: impl IntoIterator<Item = Hash32>) -> Hash32 {
    let mut peaks = Peaks::default();
    leaves.into_iter().for_each(|leaf| peaks.push(&leaf));
    peaks.root()
}

/// The right edge of an RFC 6962 tree: all that is needed to append to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Peaks {
    /// How many leaves the tree has.
    pub count: u64,
    /// Roots of its perfect subtrees, the largest first.
    pub hashes: Vec<Hash32>,
}

impl Peaks {
    /// Appends a leaf.
    pub fn push(&mut self, leaf: &Hash32) {
        let mut node = hash_leaf(leaf);
        let mut level = self.count;
        while level & 1 == 1 {
            let left = self
                .hashes
                .pop()
                .expect("a set bit of the count has a peak");
            node = hash_node(&left, &node);
            level >>= 1;
        }
        self.hashes.push(node);
        self.count += 1;
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash32 {
        let mut peaks = self.hashes.iter().rev().copied();
        match peaks.next() {
            None => crate::entry::sha256(&[]),
            Some(last) => peaks.fold(last, |right, left| hash_node(&left, &right)),
        }
    }
}

/// A sparse Merkle tree of depth 256 over (key, value hash) pairs, as a whole.
///
/// Leaf SHA-256(0x00 ‖ key ‖ value hash), node SHA-256(0x01 ‖ left ‖ right), an
/// empty subtree is 32 zero bytes.
///
/// It remembers the hash of each leaf's lone way up, which are nearly all hashes
/// of a tree: after a change of one leaf of n, n + 256 are computed instead of
/// 256 · n.
#[derive(Debug, Clone, Default)]
pub struct SparseTree {
    lone: BTreeMap<Hash32, Lone>,
}

/// A leaf that is alone below a depth.
#[derive(Debug, Clone, Copy)]
struct Lone {
    value: Hash32,
    depth: usize,
    hash: Hash32,
}

impl SparseTree {
    /// The root over these leaves. Of a repeated key the last value counts.
    pub fn root(&mut self, leaves: impl IntoIterator<Item = (Hash32, Hash32)>) -> Hash32 {
        let leaves: BTreeMap<Hash32, Hash32> = leaves.into_iter().collect();
        self.lone.retain(|key, _| leaves.contains_key(key));
        let sorted: Vec<(Hash32, Hash32)> = leaves.into_iter().collect();
        self.node(&sorted, 0)
    }

    fn node(&mut self, leaves: &[(Hash32, Hash32)], depth: usize) -> Hash32 {
        match leaves {
            [] => Hash32::ZERO,
            [(key, value)] => self.lone(*key, *value, depth),
            _ => {
                let split = leaves.partition_point(|(key, _)| !is_right(key, depth));
                let left = self.node(&leaves[..split], depth + 1);
                let right = self.node(&leaves[split..], depth + 1);
                hash_node(&left, &right)
            }
        }
    }

    fn lone(&mut self, key: Hash32, value: Hash32, depth: usize) -> Hash32 {
        if let Some(known) = self.lone.get(&key)
            && (known.value, known.depth) == (value, depth)
        {
            return known.hash;
        }
        let leaf = hash(&[&[0], &key.0, &value.0]);
        let up = |below: Hash32, depth: usize| match is_right(&key, depth) {
            true => hash_node(&Hash32::ZERO, &below),
            false => hash_node(&below, &Hash32::ZERO),
        };
        let hash = (depth..SPARSE_DEPTH).rev().fold(leaf, up);
        let known = Lone { value, depth, hash };
        self.lone.insert(key, known);
        hash
    }
}

/// The side of a key at a depth.
fn is_right(key: &Hash32, depth: usize) -> bool {
    key.0[depth / 8] >> (7 - depth % 8) & 1 == 1
}

/// Bits of a sparse tree's key.
const SPARSE_DEPTH: usize = 256;

fn hash_leaf(leaf: &Hash32) -> Hash32 {
    hash(&[&[0], &leaf.0])
}

fn hash_node(left: &Hash32, right: &Hash32) -> Hash32 {
    hash(&[&[1], &left.0, &right.0])
}

fn hash(parts: &[&[u8]]) -> Hash32 {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = Hash32::ZERO;
    hash.0.copy_from_slice(context.finish().as_ref());
    hash
}

#[cfg(test)]
mod tests;
