//! Metadata texts: `{"cid":…,"data":{…}}`, read field by field so that an
//! update changes only what it names.

use multihash::Multihash;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Rejection, SHORT_TEXT_CHARS_MAX};
use crate::entry::sha256;
use crate::hashid;
use crate::id::{EntityId, Hash32};

/// The CID of a compact JSON text: CIDv1, codec json, SHA-256.
#[must_use]
pub fn metadata_cid(data: &str) -> String {
    let hash = Multihash::<64>::wrap(SHA2_256, &sha256(data.as_bytes()).0)
        .expect("a SHA-256 digest fits a 64-byte multihash");
    cid::Cid::new_v1(CODEC_JSON, hash).to_string()
}

/// The metadata text of `data` with its CID.
#[must_use]
pub fn metadata_text(data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).expect("metadata structs have string keys only");
    format!(r#"{{"cid":"{}","data":{data}}}"#, metadata_cid(&data))
}

/// Metadata as it came: the fields of `data`, and the `cid` when there is one.
#[derive(Debug)]
pub(super) struct Metadata {
    /// The CID, checked against the data.
    pub(super) cid: Option<String>,
    fields: Map<String, Value>,
}

impl Metadata {
    /// Reads a metadata text.
    pub(super) fn parse(text: &str) -> Result<Self, Rejection> {
        #[derive(Deserialize)]
        struct Outer<'a> {
            cid: Option<String>,
            #[serde(borrow)]
            data: &'a RawValue,
        }
        let outer: Outer<'_> = serde_json::from_str(text).map_err(|_| Rejection::Metadata)?;
        let data: Value =
            serde_json::from_str(outer.data.get()).map_err(|_| Rejection::Metadata)?;
        let cid = outer.cid.filter(|cid| !cid.is_empty());
        if let Some(cid) = &cid
            && *cid != metadata_cid(outer.data.get())
            && *cid != metadata_cid(&data.to_string())
        {
            return Err(Rejection::MetadataCid);
        }
        match data {
            Value::Object(fields) => Ok(Self { cid, fields }),
            _ => Err(Rejection::Metadata),
        }
    }

    /// The first of the names that the data has; null counts as absent for
    /// [`Self::required`] and as *clear it* for the optional setters.
    fn find(&self, names: &[&'static str]) -> Option<(&'static str, &Value)> {
        names
            .iter()
            .find_map(|name| self.fields.get(*name).map(|value| (*name, value)))
    }

    /// True when the data names the field with something other than null.
    pub(super) fn has(&self, name: &'static str) -> bool {
        self.fields.get(name).is_some_and(|value| !value.is_null())
    }

    /// True when the field asks for something: not null, false, or empty.
    pub(super) fn is_set(&self, name: &str) -> bool {
        match self.fields.get(name) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Object(map)) => !map.is_empty(),
            Some(Value::String(text)) => !text.is_empty(),
            Some(_) => true,
        }
    }

    /// Sets a text that is never null.
    pub(super) fn text(
        &self,
        target: &mut String,
        names: &[&'static str],
        limit: usize,
    ) -> Result<(), Rejection> {
        match self.find(names) {
            None | Some((_, Value::Null)) => Ok(()),
            Some((name, value)) => {
                *target = read_text(name, value, limit)?;
                Ok(())
            }
        }
    }

    /// Sets a text; null and the empty text clear it.
    pub(super) fn optional_text(
        &self,
        target: &mut Option<String>,
        names: &[&'static str],
        limit: usize,
    ) -> Result<(), Rejection> {
        match self.find(names) {
            None => {}
            Some((_, Value::Null)) => *target = None,
            Some((name, value)) => {
                *target = Some(read_text(name, value, limit)?).filter(|text| !text.is_empty());
            }
        }
        Ok(())
    }

    /// Sets the CID of an image or file; null and the empty text clear it.
    pub(super) fn optional_cid(
        &self,
        target: &mut Option<String>,
        names: &[&'static str],
    ) -> Result<(), Rejection> {
        let mut text = target.clone();
        self.optional_text(&mut text, names, SHORT_TEXT_CHARS_MAX)?;
        if text != *target
            && let Some(text) = &mut text
        {
            *text = read_cid(names[0], text)?;
        }
        *target = text;
        Ok(())
    }

    /// Sets the root CID, which cannot be cleared.
    pub(super) fn cid_text(
        &self,
        target: &mut String,
        names: &[&'static str],
    ) -> Result<(), Rejection> {
        let mut text = String::new();
        self.text(&mut text, names, SHORT_TEXT_CHARS_MAX)?;
        if !text.is_empty() {
            *target = read_cid(names[0], &text)?;
        }
        Ok(())
    }

    /// Sets a flag; null counts as false.
    pub(super) fn flag(&self, target: &mut bool, name: &'static str) -> Result<(), Rejection> {
        match self.fields.get(name) {
            None => {}
            Some(Value::Null) => *target = false,
            Some(Value::Bool(value)) => *target = *value,
            Some(_) => return Err(field(name, "true or false")),
        }
        Ok(())
    }

    /// Sets a number; null counts as zero, a fraction is cut.
    pub(super) fn number(&self, target: &mut u64, name: &'static str) -> Result<(), Rejection> {
        let mut value = Some(*target);
        self.optional_number(&mut value, name)?;
        *target = value.unwrap_or(0);
        Ok(())
    }

    /// Sets a number; null clears it, a fraction is cut.
    pub(super) fn optional_number(
        &self,
        target: &mut Option<u64>,
        name: &'static str,
    ) -> Result<(), Rejection> {
        match self.fields.get(name) {
            None => {}
            Some(Value::Null) => *target = None,
            Some(value) => {
                *target = Some(read_number(value).ok_or(field(name, "a whole number"))?);
            }
        }
        Ok(())
    }

    /// Sets an id, a number or a public text; null clears it.
    pub(super) fn optional_id(
        &self,
        target: &mut Option<EntityId>,
        name: &'static str,
    ) -> Result<(), Rejection> {
        match self.fields.get(name) {
            None => {}
            Some(Value::Null) => *target = None,
            Some(value) => *target = Some(read_id(value).ok_or(field(name, "an id"))?),
        }
        Ok(())
    }

    /// Sets a hash of 32 bytes; null clears it.
    pub(super) fn optional_hash(
        &self,
        target: &mut Option<Hash32>,
        name: &'static str,
    ) -> Result<(), Rejection> {
        match self.fields.get(name) {
            None => {}
            Some(Value::Null) => *target = None,
            Some(value) => {
                let hash = value.as_str().and_then(|text| text.parse().ok());
                *target = Some(hash.ok_or(field(name, "a hash of 64 hexadecimal digits"))?);
            }
        }
        Ok(())
    }

    /// The raw value of a field.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }
}

/// An id as a number or a public text.
pub(super) fn read_id(value: &Value) -> Option<EntityId> {
    match value {
        Value::Number(_) => value.as_u64(),
        Value::String(text) => hashid::decode(text),
        _ => None,
    }
    .map(EntityId)
}

/// A whole number; JavaScript clients write seconds with a fraction.
pub(super) fn read_number(value: &Value) -> Option<u64> {
    if let Some(number) = value.as_u64() {
        return Some(number);
    }
    let Value::Number(number) = value else {
        return None;
    };
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.')?;
    let is_plain = fraction.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| whole.parse().ok()).flatten()
}

fn read_text(name: &'static str, value: &Value, limit: usize) -> Result<String, Rejection> {
    let text = value.as_str().ok_or(field(name, "a text"))?;
    let size = text.chars().count();
    if size > limit {
        return Err(Rejection::TooLong {
            field: name,
            size,
            limit,
            unit: "characters",
        });
    }
    Ok(text.to_owned())
}

fn read_cid(name: &'static str, text: &str) -> Result<String, Rejection> {
    cid::Cid::try_from(text)
        .map(|cid| cid.to_string())
        .map_err(|_| field(name, "a CID"))
}

pub(super) const fn field(name: &'static str, expected: &'static str) -> Rejection {
    Rejection::Field {
        field: name,
        expected,
    }
}

const CODEC_JSON: u64 = 0x0200;
const SHA2_256: u64 = 0x12;
