//! One node: the dag-pb envelope and the UnixFS message inside it.
//!
//! dag-pb: `Data` is field 1, `Links` field 2 and written first; a link is
//! {Hash 1, Name 2, Tsize 3}. UnixFS: {Type 1, Data 2, filesize 3,
//! blocksizes 4, hashType 5, fanout 6}.

use bytes::Bytes;
use cid::Cid;

use super::{BLOCK_BYTES_MAX, DAG_PB, RAW};

/// A decoded block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What the node is.
    pub kind: NodeKind,
    /// The bytes it carries itself: of a file, or the target of a symlink.
    pub data: Bytes,
    /// What it points at, in the order written.
    pub links: Vec<Link>,
    /// Bytes of the file below each link; as many as links in a file.
    pub block_sizes: Vec<u64>,
    /// Bytes of the file in and below the node, as it claims.
    pub file_size: u64,
}

/// What a block is in UnixFS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A leaf of plain bytes.
    Raw,
    /// A file or a part of one.
    File,
    /// A directory whose links are its entries.
    Directory,
    /// A part of a hashed directory; link names start with two hex digits.
    Shard,
    /// A symbolic link.
    Symlink,
    /// A dag-pb node that is not UnixFS, or of a type that is not used here.
    Other,
}

/// A pointer from a node to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it points at.
    pub cid: Cid,
    /// The entry's name; empty in files.
    pub name: String,
    /// Bytes of the DAG below, as the writer claims; never relied on.
    pub dag_bytes: u64,
}

/// Why a block is not a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// Neither raw nor dag-pb.
    #[error("block {cid} has codec {codec:#x}; only raw and dag-pb are supported")]
    UnsupportedCodec {
        /// The block that cannot be read.
        cid: Cid,
        /// The multicodec of its CID.
        codec: u64,
    },
    /// Bytes that are not dag-pb or UnixFS.
    #[error("block {cid} is not a valid node: {reason}")]
    Invalid {
        /// The block that cannot be read.
        cid: Cid,
        /// What was wrong.
        reason: &'static str,
    },
}

impl NodeKind {
    /// The kind in words, for messages.
    #[must_use]
    pub const fn as_words(self) -> &'static str {
        match self {
            Self::Raw => "a raw block",
            Self::File => "a file",
            Self::Directory | Self::Shard => "a directory",
            Self::Symlink => "a symbolic link",
            Self::Other => "a node of another kind",
        }
    }
}

impl Node {
    /// Decodes a block that was checked against its CID.
    ///
    /// # Errors
    ///
    /// [`NodeError`] for another codec than raw and dag-pb, and for bytes that
    /// do not decode.
    pub fn decode(cid: &Cid, data: &Bytes) -> Result<Self, NodeError> {
        match cid.codec() {
            RAW => Ok(Self {
                kind: NodeKind::Raw,
                data: data.clone(),
                links: Vec::new(),
                block_sizes: Vec::new(),
                file_size: data.len() as u64,
            }),
            DAG_PB => decode_pb(data)
                .map_err(|Malformed(reason)| NodeError::Invalid { cid: *cid, reason }),
            codec => Err(NodeError::UnsupportedCodec { cid: *cid, codec }),
        }
    }
}

/// Writes a node of a file: `data` only in leaves, `children` only above them.
pub(super) fn encode_file(data: &[u8], children: &[(Link, u64)]) -> Vec<u8> {
    let size = data.len() as u64 + children.iter().map(|(_, size)| size).sum::<u64>();
    let mut message = Vec::with_capacity(data.len() + children.len() * 5 + 32);
    put_uint(&mut message, 1, TYPE_FILE);
    if !data.is_empty() {
        put_bytes(&mut message, 2, data);
    }
    put_uint(&mut message, 3, size);
    for (_, size) in children {
        put_uint(&mut message, 4, *size);
    }
    encode_pb(children.iter().map(|(link, _)| link), &message)
}

/// Writes a directory whose links are sorted by name.
pub(super) fn encode_directory<'a>(links: impl Iterator<Item = &'a Link>) -> Vec<u8> {
    let mut message = Vec::new();
    put_uint(&mut message, 1, TYPE_DIRECTORY);
    encode_pb(links, &message)
}

/// Writes a shard whose links are in the order of their slots.
pub(super) fn encode_shard<'a>(bitfield: &[u8], links: impl Iterator<Item = &'a Link>) -> Vec<u8> {
    let mut message = Vec::new();
    put_uint(&mut message, 1, TYPE_SHARD);
    put_bytes(&mut message, 2, bitfield);
    put_uint(&mut message, 5, HASH_MURMUR3);
    put_uint(&mut message, 6, SHARD_FANOUT);
    encode_pb(links, &message)
}

/// How many bytes [`encode_directory`] spends on one link.
pub(super) fn link_bytes(link: &Link) -> usize {
    let length = encode_link(link).len();
    1 + varint_bytes(length as u64) + length
}

fn encode_pb<'a>(links: impl Iterator<Item = &'a Link>, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 16);
    for link in links {
        put_bytes(&mut out, 2, &encode_link(link));
    }
    put_bytes(&mut out, 1, message);
    out
}

fn encode_link(link: &Link) -> Vec<u8> {
    let mut out = Vec::with_capacity(link.name.len() + 56);
    put_bytes(&mut out, 1, &link.cid.to_bytes());
    put_bytes(&mut out, 2, link.name.as_bytes());
    put_uint(&mut out, 3, link.dag_bytes);
    out
}

fn put_uint(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(field << 3);
    put_varint(out, value);
}

fn put_bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    out.push(field << 3 | 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "seven or eight bits are meant"
)]
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

struct Malformed(&'static str);

/// A field of a protobuf message.
enum Field {
    Uint(u64, u64),
    Bytes(u64, Bytes),
}

fn decode_pb(block: &Bytes) -> Result<Node, Malformed> {
    if block.len() > BLOCK_BYTES_MAX {
        return Err(Malformed("it is larger than a block may be"));
    }
    let mut rest = block.clone();
    let mut message = None;
    let mut links = Vec::new();
    while let Some(field) = take_field(&mut rest)? {
        match field {
            Field::Bytes(1, bytes) if message.is_none() => message = Some(bytes),
            Field::Bytes(2, _) if links.len() == LINKS_MAX => {
                return Err(Malformed("it has too many links"));
            }
            Field::Bytes(2, bytes) => links.push(decode_link(bytes)?),
            _ => return Err(Malformed("it has a field that dag-pb does not know")),
        }
    }
    let mut node = Node {
        kind: NodeKind::Other,
        data: Bytes::new(),
        links,
        block_sizes: Vec::new(),
        file_size: 0,
    };
    if let Some(message) = message {
        decode_message(&mut node, message)?;
    }
    Ok(node)
}

fn decode_message(node: &mut Node, mut message: Bytes) -> Result<(), Malformed> {
    let (mut kind, mut size, mut fanout, mut hash_type) = (None, None, None, None);
    while let Some(field) = take_field(&mut message)? {
        match field {
            Field::Uint(1, value) => kind = Some(value),
            Field::Bytes(2, bytes) => node.data = bytes,
            Field::Uint(3, value) => size = Some(value),
            Field::Uint(4, value) => push_size(node, value)?,
            Field::Bytes(4, mut packed) => {
                while !packed.is_empty() {
                    push_size(node, take_varint(&mut packed)?)?;
                }
            }
            Field::Uint(5, value) => hash_type = Some(value),
            Field::Uint(6, value) => fanout = Some(value),
            // Mode and mtime do not concern the bytes.
            Field::Uint(..) | Field::Bytes(..) => {}
        }
    }
    node.kind = match kind.ok_or(Malformed("its UnixFS message has no type"))? {
        TYPE_RAW | TYPE_FILE => NodeKind::File,
        TYPE_DIRECTORY => NodeKind::Directory,
        TYPE_SYMLINK => NodeKind::Symlink,
        TYPE_SHARD => NodeKind::Shard,
        _ => NodeKind::Other,
    };
    match node.kind {
        NodeKind::File => check_file(node, size),
        NodeKind::Shard if hash_type != Some(HASH_MURMUR3) || fanout != Some(SHARD_FANOUT) => Err(
            Malformed("its shard does not use murmur3-x64-64 with a fan-out of 256"),
        ),
        NodeKind::Shard
            if node
                .links
                .iter()
                .any(|link| shard_slot(&link.name).is_none()) =>
        {
            Err(Malformed("its shard has a link without a slot in its name"))
        }
        _ => Ok(()),
    }
}

fn push_size(node: &mut Node, size: u64) -> Result<(), Malformed> {
    if node.block_sizes.len() == node.links.len() && !node.links.is_empty() {
        return Err(Malformed("it has more block sizes than links"));
    }
    if node.block_sizes.len() == LINKS_MAX {
        return Err(Malformed("it has too many block sizes"));
    }
    node.block_sizes.push(size);
    Ok(())
}

fn check_file(node: &mut Node, claimed: Option<u64>) -> Result<(), Malformed> {
    if node.block_sizes.len() != node.links.len() {
        return Err(Malformed("it has not one block size per link"));
    }
    let sum = node
        .block_sizes
        .iter()
        .try_fold(node.data.len() as u64, |sum, size| sum.checked_add(*size))
        .ok_or(Malformed("its block sizes overflow"))?;
    if claimed.is_some_and(|claimed| claimed != sum) {
        return Err(Malformed("its file size is not the sum of its parts"));
    }
    node.file_size = sum;
    Ok(())
}

/// The slot that a shard's link name starts with.
pub(super) fn shard_slot(name: &str) -> Option<u8> {
    let digits = name.get(..2)?;
    digits
        .bytes()
        .all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F'))
        .then(|| u8::from_str_radix(digits, 16).ok())?
}

fn decode_link(mut bytes: Bytes) -> Result<Link, Malformed> {
    let (mut cid, mut name, mut dag_bytes) = (None, String::new(), 0);
    while let Some(field) = take_field(&mut bytes)? {
        match field {
            Field::Bytes(1, bytes) => cid = Some(decode_cid(&bytes)?),
            Field::Bytes(2, bytes) => {
                name = std::str::from_utf8(&bytes)
                    .map_err(|_| Malformed("a link's name is not UTF-8"))?
                    .to_owned();
            }
            Field::Uint(3, value) => dag_bytes = value,
            _ => return Err(Malformed("a link has a field that dag-pb does not know")),
        }
    }
    Ok(Link {
        cid: cid.ok_or(Malformed("a link has no CID"))?,
        name,
        dag_bytes,
    })
}

fn decode_cid(bytes: &[u8]) -> Result<Cid, Malformed> {
    let cid = Cid::try_from(bytes).map_err(|_| Malformed("a link's CID does not decode"))?;
    if cid.to_bytes() == bytes {
        Ok(cid)
    } else {
        Err(Malformed("a link's CID is followed by other bytes"))
    }
}

fn take_field(rest: &mut Bytes) -> Result<Option<Field>, Malformed> {
    if rest.is_empty() {
        return Ok(None);
    }
    let key = take_varint(rest)?;
    match key & 7 {
        0 => Ok(Some(Field::Uint(key >> 3, take_varint(rest)?))),
        2 => {
            let length = usize::try_from(take_varint(rest)?)
                .ok()
                .filter(|length| *length <= rest.len())
                .ok_or(Malformed("a field is longer than its message"))?;
            Ok(Some(Field::Bytes(key >> 3, rest.split_to(length))))
        }
        5 if rest.len() >= 4 => Ok(Some(Field::Bytes(key >> 3 | FIXED, rest.split_to(4)))),
        1 if rest.len() >= 8 => Ok(Some(Field::Bytes(key >> 3 | FIXED, rest.split_to(8)))),
        _ => Err(Malformed("a field has an unknown wire type")),
    }
}

fn take_varint(rest: &mut Bytes) -> Result<u64, Malformed> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        if rest.is_empty() {
            return Err(Malformed("a number is cut off"));
        }
        let byte = rest.split_to(1)[0];
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed("a number is longer than 64 bits"))
}

/// Links in one node; what fits into a block of 2 MiB with plain CIDs.
pub(super) const LINKS_MAX: usize = 1 << 16;

/// Slots of a shard.
pub(super) const SHARD_FANOUT: u64 = 256;

/// Marks fixed-width fields, which no field that is read here has.
const FIXED: u64 = 1 << 62;

/// Multihash code of murmur3-x64-64.
const HASH_MURMUR3: u64 = 0x22;

const TYPE_RAW: u64 = 0;
const TYPE_DIRECTORY: u64 = 1;
const TYPE_FILE: u64 = 2;
const TYPE_SYMLINK: u64 = 4;
const TYPE_SHARD: u64 = 5;
