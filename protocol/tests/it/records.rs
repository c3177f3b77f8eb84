//! Records of strangers: every check answers, and none goes beyond its limit.

use proptest::prelude::*;
use protocol::action::ActionDomain;
use protocol::codec::{self, DecodeError};
use protocol::id::{Address, Hash32};
use protocol::memo;
use protocol::records::{Around, Head, Heard, RecordError, Statement, check_envelope, check_head};
use protocol::registry::Registry;
use protocol::signing::{Domain, Signed, SigningKey};
use protocol::time::Moment;
use protocol::wire::{Audience, Topic};

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        check_all(&bytes);
    }

    #[test]
    fn bytes_with_lying_lengths_are_answered(
        head in proptest::sample::select(LYING_HEADS),
        depth in 1usize..512,
        tail in proptest::collection::vec(any::<u8>(), 0..256),
    ) {
        let mut bytes = head.repeat(depth);
        bytes.extend(&tail);
        check_all(&bytes);
    }
}

#[test]
fn what_is_longer_than_its_limit_is_refused_by_its_length() {
    let (registry, domain, now) = surroundings();
    check_limit(Topic::Heads.message_bytes_max(), |bytes| {
        check_head(bytes, &registry, &domain).err()
    });
    for topic in Topic::of(Audience::Holders) {
        check_limit(topic.message_bytes_max(), |bytes| {
            Statement::check(topic, bytes, &around(&registry, &domain, now)).err()
        });
    }
    check_limit(Topic::Actions.message_bytes_max(), |bytes| {
        check_envelope(bytes, &registry, &domain, &ACTIONS, now).err()
    });
}

#[test]
fn a_remembered_head_has_another_signer_in_another_domain() {
    let (registry, domain, _) = surroundings();
    let other = Domain {
        chain_id: 2,
        ..domain
    };
    let key = SigningKey::from_bytes(&[7; 32]).unwrap();
    let head = Head {
        block_number: 3,
        block_hash: Hash32([3; 32]),
        previous_head: Hash32::ZERO,
        entries_root: Hash32::ZERO,
        entry_count: 0,
        state_root: Hash32::ZERO,
        registry_root: Hash32::ZERO,
    };
    let bytes = codec::to_bytes(&Signed::new(head, &domain, &key));
    memo::scope(|| {
        for (asked, is_signer) in [(domain, true), (other, false), (domain, true)] {
            let error = check_head(&bytes, &registry, &asked).unwrap_err();
            let RecordError::NotConfirmed { peer, .. } = error else {
                panic!("nobody is confirmed here: {error}")
            };
            assert_eq!(peer == key.address(), is_signer);
        }
    });
}

#[track_caller]
fn check_limit(bytes_max: usize, check: impl Fn(&[u8]) -> Option<RecordError>) {
    let too_large = |size: usize| {
        let error = check(&vec![0; size]).unwrap();
        assert!(error.is_offence(), "{error}");
        matches!(error, RecordError::Decode(DecodeError::TooLarge { limit, .. }) if limit == bytes_max)
    };
    assert!(too_large(bytes_max + 1));
    assert!(!too_large(bytes_max));
}

fn check_all(bytes: &[u8]) {
    let (registry, domain, now) = surroundings();
    let _ = check_head(bytes, &registry, &domain);
    for topic in Topic::of(Audience::Holders) {
        let checked = Statement::check(topic, bytes, &around(&registry, &domain, now));
        assert!(!matches!(checked, Ok(None)), "nobody reads {topic:?}");
    }
    let _ = check_envelope(bytes, &registry, &domain, &ACTIONS, now);
}

fn surroundings() -> (Registry, Domain, Moment) {
    let domain = Domain {
        chain_id: 1,
        verifying_contract: Address([1; 20]),
    };
    (Registry::default(), domain, Moment::default())
}

fn around<'a>(registry: &'a Registry, domain: &'a Domain, now: Moment) -> Around<'a> {
    Around {
        registry,
        domain,
        heard: &NOTHING,
        now,
    }
}

static NOTHING: Heard = Heard::new();

const ACTIONS: ActionDomain = ActionDomain {
    chain_id: 1,
    entity_manager: Address([2; 20]),
};

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
