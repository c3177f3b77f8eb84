//! Metadata texts: `{"cid":…,"data":{…}}`, read field by field so that an
//! update changes only what it names.

use std::collections::BTreeMap;

use cid::Cid;
use multihash::Multihash;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::roots::CidField;
use super::{EXTRA_BYTES_MAX, Rejection, SHORT_TEXT_CHARS_MAX};
use crate::entry::sha256;
use crate::hashid;
use crate::id::{EntityId, Hash32};

/// The CID of a compact JSON text: CIDv1, codec json, SHA-256.
#[must_use]
pub fn metadata_cid(data: &str) -> String {
    let hash = Multihash::<64>::wrap(SHA2_256, &sha256(data.as_bytes()).0)
        .expect("a SHA-256 digest fits a 64-byte multihash");
    Cid::new_v1(CODEC_JSON, hash).to_string()
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

    /// Takes the first of the names that the data has, and drops the others; null
    /// counts as absent for texts that must be there and as *clear it* for the
    /// optional setters.
    fn take(&mut self, names: &[&'static str]) -> Option<(&'static str, Value)> {
        let mut found = None;
        for name in names {
            if let Some(value) = self.fields.remove(*name) {
                found.get_or_insert((*name, value));
            }
        }
        found
    }

    /// Drops fields that mean nothing here.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        for name in names {
            self.fields.remove(*name);
        }
    }

    /// True when the data names the field with something other than null.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|value| !value.is_null())
    }

    /// Takes a field; true when it asks for something: not null, false, or
    /// empty.
    pub(super) fn take_is_set(&mut self, name: &str) -> bool {
        match self.fields.remove(name) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Object(map)) => !map.is_empty(),
            Some(Value::String(text)) => !text.is_empty(),
            Some(_) => true,
        }
    }

    /// Sets a text that is never null.
    pub(super) fn text(
        &mut self,
        target: &mut String,
        names: &[&'static str],
        limit: usize,
    ) -> Result<(), Rejection> {
        match self.take(names) {
            None | Some((_, Value::Null)) => Ok(()),
            Some((name, value)) => {
                *target = read_text(name, value, limit)?;
                Ok(())
            }
        }
    }

    /// Sets a text; null and the empty text clear it.
    pub(super) fn optional_text(
        &mut self,
        target: &mut Option<String>,
        names: &[&'static str],
        limit: usize,
    ) -> Result<(), Rejection> {
        if let Some(text) = self.take_text(names, limit)? {
            *target = text;
        }
        Ok(())
    }

    /// What a CID field says: nothing, that it is to be cleared, or a text that
    /// should be a CID.
    pub(super) fn take_cid(
        &mut self,
        field: CidField,
    ) -> Result<Option<Option<String>>, Rejection> {
        self.take_text(field.names(), SHORT_TEXT_CHARS_MAX)
    }

    /// Sets a CID field; null and the empty text clear it.
    pub(super) fn optional_cid(
        &mut self,
        target: &mut Option<String>,
        field: CidField,
    ) -> Result<(), Rejection> {
        match self.take_cid(field)? {
            Some(Some(text)) => *target = Some(read_root(field, &text)?.to_string()),
            Some(None) => *target = None,
            None => {}
        }
        Ok(())
    }

    /// Sets a CID field that cannot be cleared.
    pub(super) fn cid(&mut self, target: &mut String, field: CidField) -> Result<(), Rejection> {
        if let Some(Some(text)) = self.take_cid(field)? {
            *target = read_root(field, &text)?.to_string();
        }
        Ok(())
    }

    fn take_text(
        &mut self,
        names: &[&'static str],
        limit: usize,
    ) -> Result<Option<Option<String>>, Rejection> {
        Ok(match self.take(names) {
            None => None,
            Some((_, Value::Null)) => Some(None),
            Some((name, value)) => {
                Some(Some(read_text(name, value, limit)?).filter(|text| !text.is_empty()))
            }
        })
    }

    /// Sets a flag; null counts as false.
    pub(super) fn flag(&mut self, target: &mut bool, name: &'static str) -> Result<(), Rejection> {
        match self.fields.remove(name) {
            None => {}
            Some(Value::Null) => *target = false,
            Some(Value::Bool(value)) => *target = value,
            Some(_) => return Err(field(name, "true or false")),
        }
        Ok(())
    }

    /// Sets a number; null counts as zero, a fraction is cut.
    pub(super) fn number(&mut self, target: &mut u64, name: &'static str) -> Result<(), Rejection> {
        let mut value = Some(*target);
        self.optional_number(&mut value, name)?;
        *target = value.unwrap_or(0);
        Ok(())
    }

    /// Sets a number; null clears it, a fraction is cut.
    pub(super) fn optional_number(
        &mut self,
        target: &mut Option<u64>,
        name: &'static str,
    ) -> Result<(), Rejection> {
        match self.fields.remove(name) {
            None => {}
            Some(Value::Null) => *target = None,
            Some(value) => {
                *target = Some(read_number(&value).ok_or(field(name, "a whole number"))?);
            }
        }
        Ok(())
    }

    /// Sets an id, a number or a public text; null clears it.
    pub(super) fn optional_id(
        &mut self,
        target: &mut Option<EntityId>,
        name: &'static str,
    ) -> Result<(), Rejection> {
        match self.fields.remove(name) {
            None => {}
            Some(Value::Null) => *target = None,
            Some(value) => *target = Some(read_id(&value).ok_or(field(name, "an id"))?),
        }
        Ok(())
    }

    /// Sets a hash of 32 bytes; null clears it.
    pub(super) fn optional_hash(
        &mut self,
        target: &mut Option<Hash32>,
        name: &'static str,
    ) -> Result<(), Rejection> {
        match self.fields.remove(name) {
            None => {}
            Some(Value::Null) => *target = None,
            Some(value) => {
                let hash = value.as_str().and_then(|text| text.parse().ok());
                *target = Some(hash.ok_or(field(name, "a hash of 64 hexadecimal digits"))?);
            }
        }
        Ok(())
    }

    /// Sets what no rule asks for: a value that `read` cannot read clears it and
    /// is kept with the rest.
    pub(super) fn known<T: Default>(
        &mut self,
        target: &mut T,
        name: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) {
        if let Some(value) = self.fields.get_mut(name) {
            let known = read(value);
            if known.is_some() {
                // What was kept with the rest under this name goes.
                *value = Value::Null;
            }
            *target = known.unwrap_or_default();
        }
    }

    /// The value of a field.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// Takes the value of a field.
    pub(super) fn take_value(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name)
    }

    /// Keeps the fields that nobody read beside those that were kept before;
    /// null drops one. What does not fit [`EXTRA_BYTES_MAX`] is left out.
    pub(super) fn keep_rest(self, extra: &mut String) {
        if self.fields.is_empty() {
            return;
        }
        let mut kept: BTreeMap<String, Value> = serde_json::from_str(extra).unwrap_or_default();
        let mut rest: BTreeMap<String, Value> = self.fields.into_iter().collect();
        kept.retain(|name, _| !rest.contains_key(name));
        rest.retain(|_, value| !value.is_null());
        rest.values_mut().for_each(Value::sort_all_objects);
        let mut bytes = json(&kept).len();
        for (name, value) in rest {
            // A colon and a comma join them to the others.
            let more = json(&name).len() + json(&value).len() + 2;
            if bytes + more <= EXTRA_BYTES_MAX {
                bytes += more;
                kept.insert(name, value);
            }
        }
        *extra = if kept.is_empty() {
            String::new()
        } else {
            json(&kept)
        };
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

fn read_text(name: &'static str, value: Value, limit: usize) -> Result<String, Rejection> {
    let Value::String(text) = value else {
        return Err(field(name, "a text"));
    };
    let size = text.chars().count();
    if size > limit {
        return Err(Rejection::TooLong {
            field: name,
            size,
            limit,
            unit: "characters",
        });
    }
    Ok(text)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("JSON values have string keys only")
}

/// The root that the text of a CID field names.
pub(super) fn read_root(of: CidField, text: &str) -> Result<Cid, Rejection> {
    Cid::try_from(text).map_err(|_| field(of.names()[0], "a CID"))
}

pub(super) const fn field(name: &'static str, expected: &'static str) -> Rejection {
    Rejection::Field {
        field: name,
        expected,
    }
}

const CODEC_JSON: u64 = 0x0200;
const SHA2_256: u64 = 0x12;
