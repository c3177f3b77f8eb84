use super::*;
use crate::codec;

struct Ping(u64);

impl Record for Ping {
    const TYPE: &'static str = "Ping(uint64 number)";

    fn encode(&self, encoder: &mut StructEncoder) {
        encoder.uint(self.0);
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32]).unwrap()
}

fn domain() -> Domain {
    Domain {
        chain_id: 1337,
        verifying_contract: Address([9; 20]),
    }
}

#[test]
fn the_signer_is_recovered() {
    let signed = Signed::new(Ping(7), &domain(), &key(1));
    assert_eq!(signed.signer(&domain()), Ok(key(1).address()));
    assert_eq!(
        signed.verify(&domain(), key(2).address()),
        Err(SignatureError::Signer {
            expected: key(2).address(),
            found: key(1).address(),
        })
    );
}

#[test]
fn another_domain_is_another_signer() {
    let signed = Signed::new(Ping(7), &domain(), &key(1));
    let other = Domain {
        chain_id: 1,
        ..domain()
    };
    assert_ne!(signed.signer(&other), Ok(key(1).address()));
}

#[test]
fn a_high_s_is_refused() {
    let digest = Hash32([5; 32]);
    let Signature(mut bytes) = key(3).sign(&digest);
    bytes[32..64].copy_from_slice(&[0xff; 32]);
    assert_eq!(
        recover(&digest, &Signature(bytes)),
        Err(SignatureError::HighS)
    );
}

#[test]
fn other_recovery_bytes_are_refused() {
    let digest = Hash32([5; 32]);
    for v in [0, 1, 26, 29, 255] {
        let Signature(mut bytes) = key(3).sign(&digest);
        bytes[64] = v;
        assert_eq!(
            recover(&digest, &Signature(bytes)),
            Err(SignatureError::Malformed)
        );
    }
}

#[test]
fn a_signature_survives_text_and_cbor() {
    let signature = key(4).sign(&Hash32([1; 32]));
    assert_eq!(signature.to_string().parse(), Ok(signature));
    let bytes = codec::to_bytes(&signature);
    assert_eq!(codec::from_bytes("signature", &bytes, 80), Ok(signature));
}

#[test]
fn a_remembered_signer_is_the_recovered_one() {
    let key = SigningKey::from_bytes(&[7; 32]).unwrap();
    let digest = Hash32([8; 32]);
    let good = key.sign(&digest);
    let mut bad = good;
    bad.0[64] = 1;
    memo::scope(|| {
        for _ in 0..2 {
            assert_eq!(recover(&digest, &good), Ok(key.address()));
            assert_eq!(recover(&digest, &bad), Err(SignatureError::Malformed));
            assert_ne!(recover(&Hash32([9; 32]), &good), Ok(key.address()));
        }
    });
}
