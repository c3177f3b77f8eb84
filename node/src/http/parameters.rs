//! What routes take in their path, their query and their headers.

use serde_json::{Value, json};

use super::reads::{LIMIT_DEFAULT, LIMIT_MAX, OFFSET_MAX};

/// A parameter of a route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: Place,
    pub(super) is_required: bool,
    pub(super) description: &'static str,
    pub(super) schema: fn() -> Value,
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Header,
}

impl Place {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
        }
    }
}

const fn query(name: &'static str, description: &'static str, schema: fn() -> Value) -> Parameter {
    Parameter {
        name,
        place: Place::Query,
        is_required: false,
        description,
        schema,
    }
}

const fn required(parameter: Parameter) -> Parameter {
    Parameter {
        is_required: true,
        ..parameter
    }
}

const fn header(name: &'static str, description: &'static str, schema: fn() -> Value) -> Parameter {
    Parameter {
        place: Place::Header,
        ..query(name, description, schema)
    }
}

/// The parameter of a path by its name in braces.
pub(super) fn of_path(name: &str) -> Parameter {
    let (name, description, schema): (_, _, fn() -> Value) = match name {
        "id" => ("id", "A public id, or its number", id),
        "cid" => ("cid", "A CID of version 0 or 1", cid),
        "digest" => ("digest", "The action's digest", hash),
        "handle" => ("handle", "A handle, without regard to case", text),
        _ => ("path", "Names below the root", text),
    };
    Parameter {
        place: Place::Path,
        is_required: true,
        ..query(name, description, schema)
    }
}

pub(super) const LIMIT: Parameter = query(
    "limit",
    "Most rows; a larger number is cut to 100",
    || json!({"type": "integer", "minimum": 0, "default": LIMIT_DEFAULT}),
);

pub(super) const ROOTS_LIMIT: Parameter = query(
    "limit",
    "Most rows; a larger number is cut to 1000",
    || json!({"type": "integer", "minimum": 0, "default": 1000}),
);

pub(super) const OFFSET: Parameter = query(
    "offset",
    "Rows to leave out",
    || json!({"type": "integer", "minimum": 0, "maximum": OFFSET_MAX, "default": 0}),
);

pub(super) const QUERY: Parameter = required(query(
    "query",
    "Words to search for",
    || json!({"type": "string", "pattern": "\\S"}),
));

pub(super) const IDS: Parameter = required(IDS_OR_NONE);

pub(super) const IDS_OR_NONE: Parameter = query(
    "id",
    "Public ids or numbers; those that nothing has are left out",
    || json!({"type": "array", "items": id(), "minItems": 1, "maxItems": LIMIT_MAX}),
);

pub(super) const WALLET: Parameter = query(
    "wallet",
    "A wallet, instead of ids",
    || json!({"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"}),
);

pub(super) const FILE_NAME: Parameter = query("filename", "What the file is to be called", text);

pub(super) const CONTENT: Parameter = query(
    "content",
    "The digital content whose file it is, which says of what type",
    id,
);

pub(super) const LINK: Parameter = query(
    "link",
    "What the token's holder signed, so that a program without the token gets the file as it would",
    text,
);

pub(super) const DOWNLOAD: Parameter = query(
    "download",
    "`true` asks browsers to keep the file; everything else shows it",
    || json!({"type": "string", "examples": ["true"]}),
);

pub(super) const FORMAT: Parameter = query(
    "format",
    "`raw` asks for the block itself",
    || json!({"type": "string", "enum": ["raw"]}),
);

pub(super) const RANGE: Parameter = header(
    "Range",
    "One range of bytes; anything else is answered with the whole file",
    || json!({"type": "string", "examples": ["bytes=0-1023"]}),
);

pub(super) const IF_NONE_MATCH: Parameter =
    header("If-None-Match", "Tags of what the client has", text);

pub(super) const LOOKUP_KEY: Parameter =
    required(query("lookupKey", "What the record is found by", digits));

pub(super) const ALL: Parameter = query(
    "all",
    "Every wallet's record with its signature",
    || json!({"type": "boolean", "default": false}),
);

pub(super) const VAULT_WALLET: Parameter = header(
    "X-Coliving-Wallet",
    "Whose record it is; needed beside a signature",
    || json!({"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"}),
);

pub(super) const VAULT_VERSION: Parameter = header(
    "X-Coliving-Version",
    "The record's version; needed beside a signature",
    || json!({"type": "integer", "minimum": 0}),
);

pub(super) const VAULT_REPLACES: Parameter = header(
    "X-Coliving-Replaces",
    "The lookup key of the record that it replaces",
    hash,
);

pub(super) const VAULT_SIGNATURE: Parameter = header(
    "X-Coliving-Signature",
    "The wallet's signature; a record without one is a provisional sign-up",
    || json!({"type": "string", "pattern": "^0x[0-9a-f]{130}$"}),
);

pub(super) const NAME: Parameter = query("name", "The file's name, for people", text);

pub(super) const SIZE: Parameter = query(
    "size",
    "Bytes to come; refused at once when there is no room",
    || json!({"type": "integer", "format": "uint64", "minimum": 0}),
);

fn text() -> Value {
    json!({"type": "string"})
}

fn id() -> Value {
    json!({"type": "string", "pattern": "^[0-9A-Za-z]+$"})
}

fn cid() -> Value {
    json!({"type": "string", "pattern": "^[0-9A-Za-z]+$"})
}

fn hash() -> Value {
    json!({"type": "string", "pattern": "^0x[0-9a-f]{64}$"})
}

fn digits() -> Value {
    json!({"type": "string", "pattern": "^[0-9a-f]{64}$"})
}
