//! Values that JSON carries as text, and what their schemas say.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::chain::Contracts;
use protocol::entity::ContentKind;
use protocol::hashid;
use protocol::id::Role;
use protocol::time::UnixSeconds;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The public text of an id; a number is read too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicId(pub u64);

/// A moment, as RFC 3339 text in whole seconds of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub UnixSeconds);

impl fmt::Display for PublicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hashid::encode(self.0))
    }
}

impl Serialize for PublicId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        let id = hashid::parse(&text);
        id.map(Self)
            .ok_or_else(|| D::Error::custom(format_args!("`{text}` is not an id")))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = Duration::from_secs(self.0.0.min(TIME_MAX));
        let at = UNIX_EPOCH.checked_add(seconds).unwrap_or(UNIX_EPOCH);
        humantime::format_rfc3339_seconds(at).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        let at: SystemTime = humantime::parse_rfc3339(&text).map_err(D::Error::custom)?;
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self(UnixSeconds(since.as_secs())))
    }
}

/// Gives a type a schema of its own under the type's name.
macro_rules! named_schema {
    ($name:ident, $schema:tt) => {
        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

named_schema!(PublicId, {
    "type": "string",
    "description": "The public text of an id; routes take its number as well.",
    "minLength": 1,
});

named_schema!(Timestamp, {
    "type": "string",
    "format": "date-time",
    "description": "A moment in whole seconds of UTC.",
});

/// Stands for [`protocol::id::Address`] in schemas.
#[derive(Debug)]
pub(super) struct Address;

named_schema!(Address, {
    "type": "string",
    "description": "An address of the chain.",
    "pattern": "^0x[0-9a-f]{40}$",
});

/// Stands for [`protocol::id::Hash32`] in schemas.
#[derive(Debug)]
pub(super) struct Hash;

named_schema!(Hash, {
    "type": "string",
    "description": "32 bytes.",
    "pattern": "^0x[0-9a-f]{64}$",
});

/// Stands for [`protocol::signing::Signature`] in schemas.
#[derive(Debug)]
pub(super) struct Signature;

named_schema!(Signature, {
    "type": "string",
    "description": "A recoverable signature over an EIP-712 digest: r, s and v (27 or 28).",
    "pattern": "^0x[0-9a-f]{130}$",
});

/// Stands for [`protocol::records::Statement`] in schemas.
#[derive(Debug)]
pub(super) struct Statement;

named_schema!(Statement, {
    "type": "object",
    "description": "What a peer tells everybody: the name of a signed record, and its fields.",
    "required": ["type", "record"],
    "properties": {"type": {"type": "string"}, "record": {"type": "object"}},
});

/// Stands for [`Role`] in schemas.
#[derive(Debug)]
pub(super) struct RoleName;

impl JsonSchema for RoleName {
    fn schema_name() -> Cow<'static, str> {
        "Role".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names = Role::ALL.map(|role| role.to_string());
        json_schema!({
            "type": "string",
            "description": "A job that a staked peer does.",
            "enum": names,
        })
    }
}

/// Stands for [`ContentKind`] in schemas.
#[derive(Debug)]
pub(super) struct KindName;

impl JsonSchema for KindName {
    fn schema_name() -> Cow<'static, str> {
        "ContentKind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names = KINDS.map(ContentKind::name);
        json_schema!({
            "type": "string",
            "description": "What a digital content is.",
            "enum": names,
        })
    }
}

/// Stands for [`Contracts`] in schemas.
#[derive(Debug)]
pub(super) struct Deployment;

impl JsonSchema for Deployment {
    fn schema_name() -> Cow<'static, str> {
        "Contracts".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let address = generator.subschema_for::<Address>();
        let number = generator.subschema_for::<u64>();
        let fields = serde_json::to_value(Contracts::default());
        let fields = fields.expect("a deployment has a JSON form");
        let fields = fields.as_object().expect("a deployment is an object");
        let of = |value: &serde_json::Value| match value.is_number() {
            true => number.clone(),
            false => address.clone(),
        };
        let names: Vec<&String> = fields.keys().collect();
        let properties: serde_json::Map<String, serde_json::Value> = fields
            .iter()
            .map(|(name, value)| (name.clone(), of(value).to_value()))
            .collect();
        json_schema!({
            "type": "object",
            "description": "The contracts of one deployment and the chain that they stand on.",
            "required": names,
            "properties": properties,
        })
    }
}

const KINDS: [ContentKind; 5] = [
    ContentKind::Audio,
    ContentKind::Video,
    ContentKind::Image,
    ContentKind::Document,
    ContentKind::Other,
];

/// The last second that can be written with four digits of a year.
const TIME_MAX: u64 = 253_402_300_799;
