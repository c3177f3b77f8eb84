//! Keys of tables: bytes in the order of the values.

use cid::Cid;
use protocol::id::{Address, EntityId, Hash32, UserId};

/// A key whose bytes sort as the key does.
pub trait TableKey: Sized {
    /// The key as bytes.
    fn to_key(&self) -> Vec<u8>;

    /// Reads what [`TableKey::to_key`] wrote.
    fn from_key(bytes: &[u8]) -> Option<Self>;
}

/// A key of a fixed length, which may come first in a pair.
pub trait FixedKey: TableKey {
    /// The length in bytes.
    const KEY_BYTES: usize;
}

impl TableKey for u64 {
    fn to_key(&self) -> Vec<u8> {
        self.to_be_bytes().to_vec()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        Some(Self::from_be_bytes(bytes.try_into().ok()?))
    }
}

impl FixedKey for u64 {
    const KEY_BYTES: usize = 8;
}

impl TableKey for String {
    fn to_key(&self) -> Vec<u8> {
        self.as_bytes().to_vec()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        Self::from_utf8(bytes.to_vec()).ok()
    }
}

impl TableKey for Cid {
    fn to_key(&self) -> Vec<u8> {
        self.to_bytes()
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        Self::try_from(bytes).ok()
    }
}

impl<A: FixedKey, B: TableKey> TableKey for (A, B) {
    fn to_key(&self) -> Vec<u8> {
        let mut bytes = self.0.to_key();
        bytes.extend(self.1.to_key());
        bytes
    }

    fn from_key(bytes: &[u8]) -> Option<Self> {
        let (first, second) = bytes.split_at_checked(A::KEY_BYTES)?;
        Some((A::from_key(first)?, B::from_key(second)?))
    }
}

macro_rules! array_key {
    ($name:ident, $length:literal) => {
        impl TableKey for $name {
            fn to_key(&self) -> Vec<u8> {
                self.0.to_vec()
            }

            fn from_key(bytes: &[u8]) -> Option<Self> {
                Some(Self(bytes.try_into().ok()?))
            }
        }

        impl FixedKey for $name {
            const KEY_BYTES: usize = $length;
        }
    };
}

macro_rules! number_key {
    ($name:ident) => {
        impl TableKey for $name {
            fn to_key(&self) -> Vec<u8> {
                self.0.to_key()
            }

            fn from_key(bytes: &[u8]) -> Option<Self> {
                u64::from_key(bytes).map(Self)
            }
        }

        impl FixedKey for $name {
            const KEY_BYTES: usize = 8;
        }
    };
}

array_key!(Address, 20);
array_key!(Hash32, 32);
number_key!(UserId);
number_key!(EntityId);
