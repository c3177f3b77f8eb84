//! Canonical bytes: DAG-CBOR in, DAG-CBOR out, nothing else accepted.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes were not decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than the caller allows.
    #[error("{what} is {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// What was being read.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// Not DAG-CBOR, or not of this shape.
    #[error("{what} is not valid: {reason}")]
    Invalid {
        /// What was being read.
        what: &'static str,
        /// What the decoder objected to.
        reason: String,
    },
    /// Decodes, but is not how the value is written.
    #[error("{what} is not in canonical form")]
    NotCanonical {
        /// What was being read.
        what: &'static str,
    },
}

/// Encodes a value as canonical DAG-CBOR.
///
/// # Panics
///
/// Never for the types of this crate: all their fields have a DAG-CBOR form.
#[must_use]
pub fn to_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value).expect("records hold only values that DAG-CBOR can write")
}

/// Decodes a value of at most `limit` bytes and refuses anything that is not
/// exactly what [`to_bytes`] would have written.
///
/// # Errors
///
/// [`DecodeError`] names `what`, so that the text can be shown as it is.
pub fn from_bytes<T: Serialize + DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
    limit: usize,
) -> Result<T, DecodeError> {
    if bytes.len() > limit {
        return Err(DecodeError::TooLarge {
            what,
            size: bytes.len(),
            limit,
        });
    }
    let value: T = serde_ipld_dagcbor::from_slice(bytes).map_err(|error| DecodeError::Invalid {
        what,
        reason: error.to_string(),
    })?;
    if to_bytes(&value) != bytes {
        return Err(DecodeError::NotCanonical { what });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_is_accepted() {
        let bytes = to_bytes(&(1u64, "a"));
        assert_eq!(
            from_bytes::<(u64, String)>("pair", &bytes, 16),
            Ok((1, "a".to_owned()))
        );
        // 0x18 0x01 is a longer way to write 1.
        let long = [0x82, 0x18, 0x01, 0x61, b'a'];
        assert!(from_bytes::<(u64, String)>("pair", &long, 16).is_err());
        let mut trailing = bytes;
        trailing.push(0);
        assert!(from_bytes::<(u64, String)>("pair", &trailing, 16).is_err());
    }

    #[test]
    fn the_limit_is_named() {
        let error = from_bytes::<u64>("number", &[0; 9], 8).unwrap_err();
        assert_eq!(
            error.to_string(),
            "number is 9 bytes, at most 8 are allowed"
        );
    }
}
