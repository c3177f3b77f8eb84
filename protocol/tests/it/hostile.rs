//! Bytes of strangers: every decoder answers, and none goes beyond its limit.

use bytes::Bytes;
use cid::Cid;
use multihash::Multihash;
use proptest::prelude::*;
use protocol::chain::{BlockHeader, Contracts, Log, explain_revert, registry_event_from_log};
use protocol::codec::DecodeError;
use protocol::entry::{BATCH_BYTES_MAX, EntryBatch};
use protocol::unixfs::{Node, Reader, Resolver, raw_cid, verify_block};
use protocol::wire::Protocol;
use protocol::{chain, exchange, hashid, publish, relayer, unixfs, vault};

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        decode_all(&bytes);
    }

    #[test]
    fn bytes_with_lying_lengths_are_answered(
        head in proptest::sample::select(LYING_HEADS),
        depth in 1usize..64,
        tail in proptest::collection::vec(any::<u8>(), 0..256),
    ) {
        let mut bytes = head.repeat(depth);
        bytes.extend(&tail);
        decode_all(&bytes);
    }

    #[test]
    fn damaged_messages_are_answered(
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        kept in any::<prop::sample::Index>(),
    ) {
        let cid = raw_cid(b"block");
        let request = exchange::Request { cids: vec![cid] }.encode();
        let directory = hex::decode(DIRECTORY).unwrap();
        for whole in [request.to_vec(), directory] {
            let mut bytes = whole;
            *at.get_mut(&mut bytes) = value;
            decode_all(&bytes);
            decode_all(&bytes[..kept.index(bytes.len())]);
        }
    }

    #[test]
    fn any_text_is_answered(text in ".{0,200}") {
        let _ = text.parse::<protocol::amount::Dgc>();
        let _ = text.parse::<protocol::id::Address>();
        let _ = text.parse::<protocol::id::Hash32>();
        let _ = text.parse::<protocol::id::Role>();
        let _ = text.parse::<protocol::entity::EntityType>();
        let _ = text.parse::<protocol::entity::Verb>();
        let _ = hashid::decode(&text);
        let _ = hashid::parse(&text);
        let _ = protocol::entity::check_handle(&text);
        let _ = Resolver::new(dag_pb_cid(b""), &text).poll();
    }

    #[test]
    fn any_log_is_answered(
        topics in proptest::collection::vec("(0x)?[0-9a-f]{0,66}", 0..6),
        data in "(0x)?[0-9a-fg]{0,400}",
        number in "(0x)?[0-9a-f]{0,20}",
    ) {
        let value = serde_json::json!({
            "address": "0x0000000000000000000000000000000000000000",
            "topics": topics, "data": data, "blockNumber": number, "number": number,
            "transactionIndex": number, "logIndex": number, "removed": false,
        });
        let _ = BlockHeader::from_json(&value);
        if let Ok(log) = Log::from_json(&value) {
            let _ = registry_event_from_log(&Contracts::default(), &log);
        }
    }
}

#[test]
fn what_is_longer_than_its_limit_is_refused_by_its_length() {
    check_limit(Protocol::Blocks.limits().request_bytes_max, |bytes| {
        exchange::Request::decode(bytes).err()
    });
    check_limit(Protocol::Blocks.limits().response_bytes_max, |bytes| {
        exchange::Response::decode(&Bytes::copy_from_slice(bytes)).err()
    });
    check_limit(Protocol::Publish.limits().request_bytes_max, |bytes| {
        publish::Request::from_bytes(bytes).err()
    });
    check_limit(Protocol::Publish.limits().response_bytes_max, |bytes| {
        publish::Response::from_bytes(bytes).err()
    });
    check_limit(Protocol::Relayer.limits().request_bytes_max, |bytes| {
        relayer::Request::from_bytes(bytes).err()
    });
    check_limit(Protocol::Relayer.limits().response_bytes_max, |bytes| {
        relayer::Response::from_bytes(bytes).err()
    });
    check_limit(Protocol::Vault.limits().request_bytes_max, |bytes| {
        vault::Request::from_bytes(bytes).err()
    });
    check_limit(Protocol::Vault.limits().response_bytes_max, |bytes| {
        vault::Response::from_bytes(bytes).err()
    });
    let batch = EntryBatch::from_bytes(&vec![0; BATCH_BYTES_MAX + 1]).unwrap_err();
    assert!(batch.to_string().contains("at most"), "{batch}");
}

#[track_caller]
fn check_limit(bytes_max: usize, decode: impl Fn(&[u8]) -> Option<DecodeError>) {
    let too_large = |size: usize| matches!(decode(&vec![0; size]), Some(DecodeError::TooLarge { limit, .. }) if limit == bytes_max);
    assert!(too_large(bytes_max + 1));
    assert!(!too_large(bytes_max));
}

fn decode_all(bytes: &[u8]) {
    let shared = Bytes::copy_from_slice(bytes);
    let _ = EntryBatch::from_bytes(bytes);
    let _ = vault::Request::from_bytes(bytes);
    let _ = vault::Response::from_bytes(bytes);
    let _ = publish::Request::from_bytes(bytes);
    let _ = publish::Response::from_bytes(bytes);
    let _ = relayer::Request::from_bytes(bytes);
    let _ = relayer::Response::from_bytes(bytes);
    let _ = exchange::Request::decode(bytes);
    let _ = exchange::Response::decode(&shared);
    let _ = explain_revert(bytes);
    let _ = chain::calls::decode_uint(bytes);
    let cid = dag_pb_cid(bytes);
    let _ = verify_block(&raw_cid(b"another"), bytes);
    let _ = Node::decode(&cid, &shared);
    let mut reader = Reader::new(cid, 0..u64::MAX);
    if reader.poll().is_ok() {
        let _ = reader.handle_block(&cid, &shared);
        let _ = reader.poll();
    }
    let mut listing = unixfs::Listing::new(cid);
    if listing.poll().is_ok() {
        let _ = listing.handle_block(&cid, &shared);
        let _ = listing.poll();
    }
}

/// The CID under which these bytes are a dag-pb block that checks out.
fn dag_pb_cid(bytes: &[u8]) -> Cid {
    let hash = protocol::entry::sha256(bytes).0;
    Cid::new_v1(0x70, Multihash::wrap(0x12, &hash).unwrap())
}

/// CBOR heads that promise far more than follows, and endless nesting.
const LYING_HEADS: &[&[u8]] = &[
    &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x7b, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[
        0xa1, 0x64, b'c', b'i', b'd', b's', 0x9a, 0xff, 0xff, 0xff, 0xff,
    ],
    &[0x81],
    &[0xa1, 0x61, b'a'],
    &[0x9f],
    &[0xd8, 0x2a],
    b"blocks",
    // dag-pb: a link and a data field of nearly 2^63 bytes.
    &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0x0a, 0x02, 0x08, 0x01],
];

/// An empty UnixFS directory.
const DIRECTORY: &str = "0a020801";
