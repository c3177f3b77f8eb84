//! What a peer tells everybody: records of which one travels on each topic.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{RecordError, Statement};
use crate::id::Address;
use crate::registry::Registry;
use crate::signing::{Domain, Record, Signed};
use crate::time::Moment;
use crate::wire::{Audience, Topic};

/// A record that peers tell everybody on a topic of its own.
pub trait Told: Record + Serialize + Sized {
    /// Where it is told.
    const TOPIC: Topic;

    /// Who says so.
    fn teller(&self) -> Address;

    /// Rises with each record of a teller.
    fn number(&self) -> u64;

    /// Decodes and checks what came on the topic.
    ///
    /// # Errors
    ///
    /// [`RecordError`]; see [`RecordError::is_offence`].
    fn check(data: &[u8], around: &Around<'_>) -> Result<Signed<Self>, RecordError>;
}

/// What a record is held against.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// The registry that is known here.
    pub registry: &'a Registry,
    /// Under which peers sign their records.
    pub domain: &'a Domain,
    /// The newest of each teller that was heard.
    pub heard: &'a Heard,
    /// The moment at which it came.
    pub now: Moment,
}

/// The newest record of each topic that each peer told, as it was checked.
pub type Heard = BTreeMap<(Address, Topic), Statement>;

/// Lists the records that are [`Told`] (`crate::records`).
macro_rules! told {
    ($($(#[$doc:meta])* $record:ident,)+) => {
        /// A record for everybody, before it is signed or after it was checked.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "type", content = "record")]
        pub enum Statement {
            $($(#[$doc])* $record($record),)+
        }

        /// A [`Statement`] with its signature.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum SignedStatement {
            $($(#[$doc])* $record(Signed<$record>),)+
        }

        impl Statement {
            /// Where it is told.
            #[must_use]
            pub const fn topic(&self) -> Topic {
                match self {
                    $(Self::$record(_) => $record::TOPIC,)+
                }
            }

            /// Who says so.
            #[must_use]
            pub fn teller(&self) -> Address {
                match self {
                    $(Self::$record(record) => record.teller(),)+
                }
            }

            /// Rises with each statement of a teller on a topic.
            #[must_use]
            pub fn number(&self) -> u64 {
                match self {
                    $(Self::$record(record) => record.number(),)+
                }
            }

            /// Signs it with the key of its teller.
            #[must_use]
            pub fn sign(self, domain: &Domain, key: &SigningKey) -> SignedStatement {
                match self {
                    $(Self::$record(record) => {
                        SignedStatement::$record(Signed::new(record, domain, key))
                    })+
                }
            }

            /// Decodes and checks what came on a topic; `None` for a topic of others.
            ///
            /// # Errors
            ///
            /// [`RecordError`]; see [`RecordError::is_offence`].
            pub fn check(
                topic: Topic,
                data: &[u8],
                around: &Around<'_>,
            ) -> Result<Option<Self>, RecordError> {
                match topic {
                    $($record::TOPIC => {
                        let signed = <$record as Told>::check(data, around)?;
                        Ok(Some(Self::$record(signed.record)))
                    })+
                    _ => Ok(None),
                }
            }
        }

        impl SignedStatement {
            /// Where it is told.
            #[must_use]
            pub const fn topic(&self) -> Topic {
                match self {
                    $(Self::$record(_) => $record::TOPIC,)+
                }
            }

            /// As it travels.
            #[must_use]
            pub fn to_bytes(&self) -> Vec<u8> {
                match self {
                    $(Self::$record(signed) => codec::to_bytes(signed),)+
                }
            }
        }
    };
}

/// What one peer told, by topic.
pub fn told_by(heard: &Heard, teller: Address) -> impl Iterator<Item = &Statement> {
    let topics = Topic::of(Audience::Holders);
    topics.filter_map(move |topic| heard.get(&(teller, topic)))
}

impl Around<'_> {
    /// The number of the newest record of a topic that a peer told.
    pub(super) fn newest(&self, teller: Address, topic: Topic) -> Option<u64> {
        let heard = self.heard.get(&(teller, topic));
        heard.map(Statement::number)
    }
}

pub(super) use told;
