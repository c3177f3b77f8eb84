//! Values as this peer writes them for itself: CBOR, lenient about what older
//! versions wrote. Never for bytes from the network, never under a hash or a
//! signature.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A row that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "stored value is not readable: {0}; it was written by another version, or the disk is damaged"
)]
pub struct ValueError(serde_cbor::Error);

/// Writes a value.
///
/// # Panics
///
/// When `T` has a field without a CBOR form, which is a mistake in the type.
#[must_use]
pub fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    serde_cbor::to_vec(value).expect("local values have a CBOR form")
}

/// Reads a value.
///
/// # Errors
///
/// [`ValueError`] when the bytes are no `T`.
pub fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ValueError> {
    serde_cbor::from_slice(bytes).map_err(ValueError)
}
