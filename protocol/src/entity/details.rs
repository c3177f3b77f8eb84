//! What metadata says beyond the fields that the rules judge. No value of these
//! fields makes an action invalid: one of an unexpected shape is kept as it came.

use std::collections::BTreeMap;

use serde_json::Value;

use super::SHORT_TEXT_CHARS_MAX;
use super::fields::{DigitalContent, StemOf};
use super::metadata::{Metadata, read_id};
use crate::id::{EntityId, UserId};

impl DigitalContent {
    /// Takes the details that the metadata names.
    pub(super) fn fill_details(&mut self, data: &mut Metadata) {
        for (target, name) in [
            (&mut self.is_downloadable, "is_downloadable"),
            (&mut self.is_original_available, "is_original_available"),
            (&mut self.is_scheduled_release, "is_scheduled_release"),
            (&mut self.comments_disabled, "comments_disabled"),
        ] {
            data.known(target, name, Value::as_bool);
        }
        for (target, name) in [
            (&mut self.isrc, "isrc"),
            (&mut self.iswc, "iswc"),
            (&mut self.musical_key, "musical_key"),
            (&mut self.parental_warning_type, "parental_warning_type"),
            (
                &mut self.cover_original_song_title,
                "cover_original_song_title",
            ),
            (&mut self.cover_original_artist, "cover_original_artist"),
            (&mut self.ddex_app, "ddex_app"),
        ] {
            data.known(target, name, |value| short_text(value).map(Some));
        }
        data.known(&mut self.bpm, "bpm", |value| {
            value.as_number().cloned().map(Some)
        });
        data.known(&mut self.remix_of, "remix_of", parents);
        data.known(&mut self.stem_of, "stem_of", |value| stem(value).map(Some));
        data.known(&mut self.field_visibility, "field_visibility", visibility);
        data.known(
            &mut self.ai_attribution_user_id,
            "ai_attribution_user_id",
            |value| read_id(value).map(|id| Some(UserId(id.0))),
        );
    }
}

fn short_text(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    let is_short = !text.is_empty() && text.chars().count() <= SHORT_TEXT_CHARS_MAX;
    is_short.then(|| text.to_owned())
}

/// The parents in a remix's `{"tracks":[{"parent_track_id":id}]}`.
fn parents(value: &Value) -> Option<Vec<EntityId>> {
    let tracks = value.get("tracks")?.as_array()?;
    if tracks.len() > PARENTS_MAX {
        return None;
    }
    let parent = |track: &Value| read_id(track.get("parent_track_id")?);
    tracks.iter().map(parent).collect()
}

/// The whole and the part in a stem's `{"category":text,"parent_track_id":id}`.
fn stem(value: &Value) -> Option<StemOf> {
    Some(StemOf {
        parent_track_id: read_id(value.get("parent_track_id")?)?,
        category: short_text(value.get("category")?)?,
    })
}

/// Reads `{name:true or false}`.
fn visibility(value: &Value) -> Option<BTreeMap<String, bool>> {
    let fields = value.as_object()?;
    if fields.len() > VISIBLE_FIELDS_MAX {
        return None;
    }
    let field = |(name, value): (&String, &Value)| {
        let is_short = name.chars().count() <= SHORT_TEXT_CHARS_MAX;
        is_short.then(|| Some((name.clone(), value.as_bool()?)))?
    };
    fields.iter().map(field).collect()
}

/// Most digital contents that one is a remix of; existing clients name one.
const PARENTS_MAX: usize = 16;

/// Most fields that are shown or hidden; existing clients name eight.
const VISIBLE_FIELDS_MAX: usize = 32;
