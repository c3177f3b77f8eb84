//! The two names of a peer: its libp2p peer id and its Ethereum address.
//!
//! A peer id of a secp256k1 key inlines the public key, so the address follows
//! from the peer id alone; the way back needs the public key.

use libp2p::PeerId;
use libp2p::identity::{Keypair, PublicKey, secp256k1};
use protocol::id::Address;
use protocol::signing::SigningKey;

/// The peer id of an uncompressed public key without its `0x04` prefix; `None`
/// when the bytes are not a point of the curve.
#[must_use]
pub fn peer_id_of(public_key: &[u8]) -> Option<PeerId> {
    if public_key.len() != PUBLIC_KEY_BYTES {
        return None;
    }
    let mut uncompressed = [0x04; PUBLIC_KEY_BYTES + 1];
    uncompressed[1..].copy_from_slice(public_key);
    let key = secp256k1::PublicKey::try_from_bytes(&uncompressed).ok()?;
    Some(PublicKey::from(key).to_peer_id())
}

/// The address of a peer; `None` for a key that is not secp256k1, which no
/// Coliving peer has.
#[must_use]
pub fn address_of(peer: &PeerId) -> Option<Address> {
    let multihash = peer.as_ref();
    if multihash.code() != IDENTITY_MULTIHASH {
        return None;
    }
    let key = PublicKey::try_decode_protobuf(multihash.digest()).ok()?;
    let key = key.try_into_secp256k1().ok()?;
    let mut bytes = [0; PUBLIC_KEY_BYTES];
    bytes.copy_from_slice(&key.to_bytes_uncompressed()[1..]);
    Some(Address::from_public_key(&bytes))
}

/// The peer id of a peer's own key.
#[must_use]
pub fn peer_id(key: &SigningKey) -> PeerId {
    keypair(key).public().to_peer_id()
}

/// The libp2p identity of a chain key.
#[must_use]
pub(super) fn keypair(key: &SigningKey) -> Keypair {
    let secret = secp256k1::SecretKey::try_from_bytes(key.to_bytes())
        .expect("a signing key is a valid secp256k1 secret");
    Keypair::from(secp256k1::Keypair::from(secret))
}

/// x and y of the point.
const PUBLIC_KEY_BYTES: usize = 64;

/// The multihash code of bytes that stand for themselves.
const IDENTITY_MULTIHASH: u64 = 0;
