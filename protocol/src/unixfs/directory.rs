//! Names in, blocks out: plain directories, and shards for large ones.

use std::collections::BTreeMap;

use cid::Cid;

use super::node::{self, LINKS_MAX};
use super::{Link, Profile, Root, VerifiedBlock, murmur3};

/// Builds a directory of files and other directories.
#[derive(Debug)]
pub struct Directory {
    profile: Profile,
    entries: BTreeMap<String, Link>,
}

/// Why an entry was not added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// A name that no path can hold.
    #[error(
        "`{name}` cannot be an entry of a directory: a name is 1 to {NAME_BYTES_MAX} bytes without `/`, and not `.` or `..`"
    )]
    Name {
        /// The name, cut to 80 characters.
        name: String,
    },
    /// The name is taken.
    #[error("the directory has two entries named `{name}`")]
    Duplicate {
        /// The name that is taken.
        name: String,
    },
    /// Too many entries.
    #[error("a directory holds at most {ENTRIES_MAX} entries; split it into several")]
    Full,
}

impl Directory {
    /// Starts an empty directory.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self {
            profile,
            entries: BTreeMap::new(),
        }
    }

    /// Adds an entry. `dag_bytes` are those of [`Root::dag_bytes`].
    ///
    /// # Errors
    ///
    /// [`DirectoryError`] for a bad or taken name and a full directory.
    pub fn insert(&mut self, name: &str, cid: Cid, dag_bytes: u64) -> Result<(), DirectoryError> {
        let is_valid = (1..=NAME_BYTES_MAX).contains(&name.len())
            && !name.contains(['/', '\0'])
            && name != "."
            && name != "..";
        if !is_valid {
            return Err(DirectoryError::Name {
                name: name.chars().take(80).collect(),
            });
        }
        if self.entries.len() == ENTRIES_MAX {
            return Err(DirectoryError::Full);
        }
        if self.entries.contains_key(name) {
            return Err(DirectoryError::Duplicate {
                name: name.to_owned(),
            });
        }
        let link = Link {
            cid,
            name: name.to_owned(),
            dag_bytes,
        };
        self.entries.insert(name.to_owned(), link);
        Ok(())
    }

    /// Ends the directory and returns its blocks, the root last. Its
    /// [`Root::size`] is 0: a directory has no bytes of a file.
    #[must_use]
    pub fn finish(self) -> (Root, Vec<VerifiedBlock>) {
        let below = dag_bytes(self.entries.values());
        if self.is_large() {
            let slots: Vec<(u64, Link)> = self
                .entries
                .into_values()
                .map(|link| (murmur3::hash(link.name.as_bytes()), link))
                .collect();
            let mut blocks = Vec::new();
            let link = write_shard(self.profile, slots, 0, &mut blocks);
            return (root_of(link.cid, link.dag_bytes), blocks);
        }
        let block = self
            .profile
            .node_block(node::encode_directory(self.entries.values()));
        let root = root_of(block.cid, below.saturating_add(block.data.len() as u64));
        (root, vec![block])
    }

    fn is_large(&self) -> bool {
        let bytes: usize = match self.profile {
            // Four bytes are the message {Type: Directory} with its field.
            Profile::V1_2025 => 4 + self.entries.values().map(node::link_bytes).sum::<usize>(),
            Profile::V0_2015 => self
                .entries
                .values()
                .map(|link| link.name.len() + link.cid.encoded_len())
                .sum(),
        };
        bytes > SHARD_THRESHOLD_BYTES
    }
}

/// What the entries' writers claim, so it may be anything.
fn dag_bytes<'a>(links: impl Iterator<Item = &'a Link>) -> u64 {
    links.fold(0, |sum, link| sum.saturating_add(link.dag_bytes))
}

fn root_of(cid: Cid, dag_bytes: u64) -> Root {
    Root {
        cid,
        size: 0,
        dag_bytes,
    }
}

/// Writes the shard of all entries that share the first `depth` bytes of their
/// hash and returns the nameless link to it.
fn write_shard(
    profile: Profile,
    entries: Vec<(u64, Link)>,
    depth: usize,
    blocks: &mut Vec<VerifiedBlock>,
) -> Link {
    let mut slots: BTreeMap<u8, Vec<(u64, Link)>> = BTreeMap::new();
    for (hash, link) in entries {
        let slot = hash.to_be_bytes()[depth];
        slots.entry(slot).or_default().push((hash, link));
    }
    let mut bitfield = [0u8; 32];
    let mut links = Vec::with_capacity(slots.len());
    for (slot, mut entries) in slots {
        bitfield[31 - usize::from(slot / 8)] |= 1 << (slot % 8);
        // Names with equal 64-bit hashes share the last shard's slot; readers
        // compare the whole name.
        if entries.len() == 1 || depth + 1 == HASH_BYTES {
            for (_, link) in &mut entries {
                link.name.insert_str(0, &format!("{slot:02X}"));
            }
            links.extend(entries.into_iter().map(|(_, link)| link));
        } else {
            let mut link = write_shard(profile, entries, depth + 1, blocks);
            link.name = format!("{slot:02X}");
            links.push(link);
        }
    }
    let leading = bitfield.iter().take_while(|byte| **byte == 0).count();
    let block = profile.node_block(node::encode_shard(&bitfield[leading..], links.iter()));
    let below = dag_bytes(links.iter());
    let link = Link {
        cid: block.cid,
        name: String::new(),
        dag_bytes: below.saturating_add(block.data.len() as u64),
    };
    blocks.push(block);
    link
}

/// A directory that is larger than this becomes shards, as IPIP-499 has it.
pub const SHARD_THRESHOLD_BYTES: usize = 256 << 10;

/// Entries of one directory while it is being built. Chosen: some hundred MB of
/// memory, which who builds one has.
pub const ENTRIES_MAX: usize = 1 << 20;

/// Bytes of an entry's name, as file systems have it.
pub const NAME_BYTES_MAX: usize = 255;

/// A shard's path is the eight bytes of a 64-bit hash.
const HASH_BYTES: usize = 8;

const _: () = assert!(
    SHARD_THRESHOLD_BYTES < LINKS_MAX * 8,
    "an unsharded directory's links are within what a reader accepts"
);
