//! Bytes of strangers: every decoder answers, and none goes beyond its limit.

use gossip::message::{EntriesAnswer, EntriesRequest};
use proptest::prelude::*;
use protocol::codec::DecodeError;
use protocol::wire::Protocol;

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        decode_all(&bytes);
    }

    #[test]
    fn bytes_with_lying_lengths_are_answered(
        head in proptest::sample::select(LYING_HEADS),
        depth in 1usize..512,
        tail in proptest::collection::vec(any::<u8>(), 0..256),
    ) {
        let mut bytes = head.repeat(depth);
        bytes.extend(&tail);
        decode_all(&bytes);
    }
}

#[test]
fn what_is_longer_than_its_limit_is_refused_by_its_length() {
    let limits = Protocol::Entries.limits();
    check_limit(limits.request_bytes_max, |bytes| {
        EntriesRequest::from_bytes(bytes).err()
    });
    check_limit(limits.response_bytes_max, |bytes| {
        EntriesAnswer::from_bytes(bytes).err()
    });
}

#[track_caller]
fn check_limit(bytes_max: usize, decode: impl Fn(&[u8]) -> Option<DecodeError>) {
    let too_large = |size: usize| {
        let error = decode(&vec![0; size]).unwrap();
        matches!(error, DecodeError::TooLarge { limit, .. } if limit == bytes_max)
    };
    assert!(too_large(bytes_max + 1));
    assert!(!too_large(bytes_max));
}

fn decode_all(bytes: &[u8]) {
    let _ = EntriesRequest::from_bytes(bytes);
    let _ = EntriesAnswer::from_bytes(bytes);
}

/// CBOR heads that promise far more than follows, and endless nesting.
const LYING_HEADS: &[&[u8]] = &[
    &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[0x81],
    &[0xa1, 0x61, b'a'],
    &[0x9f],
    &[0xd8, 0x2a],
];
