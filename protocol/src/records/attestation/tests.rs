use super::*;
use crate::signing::Domain;

/// The example of `docs/formats/signed.md`.
#[test]
fn an_attestation_hashes_as_the_page_says() {
    let attestation = Attestation {
        user_id: UserId(3_000_001),
        wallet: Address([0x22; 20]),
        provider: "x".to_owned(),
        subject: hash("0x2db7e29715e71ac8b68744506df049204ab5ecd31aeade915a921b5ecdddeef4"),
        time: UnixSeconds(1_778_400_000),
    };
    let domain = Domain {
        chain_id: 1337,
        verifying_contract: "0x5fbdb2315678afecb367f032d93f642f64180aa3"
            .parse()
            .unwrap(),
    };
    assert_eq!(
        attestation.struct_hash(),
        hash("0xaded0e1895e4d26c1d054fffb028115e8377e29877b707609768602400ac8606")
    );
    assert_eq!(
        attestation.digest(&domain),
        hash("0x4b468cb249f551703e6b3ae5e1ded2a577ca49b7e8d5b0addab272fa3b58dbc4")
    );
}

fn hash(text: &str) -> Hash32 {
    text.parse().unwrap()
}
