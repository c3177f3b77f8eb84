//! What to call bytes: by the name, by what the index says, by the first bytes.

/// The media type for a file name's extension.
pub(super) fn by_name(name: &str) -> Option<&'static str> {
    let extension = name.rsplit_once('.')?.1.to_ascii_lowercase();
    let found = EXTENSIONS.iter().find(|(known, _)| *known == extension)?;
    Some(found.1)
}

/// The media type that the first bytes of a file show.
pub(super) fn by_bytes(bytes: &[u8]) -> &'static str {
    let is = |at: usize, magic: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(magic));
    let magic = MAGIC.iter().find(|(at, magic, _)| is(*at, magic));
    if let Some((_, _, media)) = magic {
        return media;
    }
    if is(0, b"RIFF") {
        if is(8, b"WAVE") {
            return "audio/wav";
        }
        if is(8, b"WEBP") {
            return "image/webp";
        }
    }
    if is(0, &[0xff]) && bytes.get(1).is_some_and(|byte| byte & 0xe6 == 0xe2) {
        return "audio/mpeg";
    }
    let head = bytes.get(..SNIFF_BYTES).unwrap_or(bytes);
    match std::str::from_utf8(head) {
        Ok(text) if is_text(text) => "text/plain; charset=utf-8",
        // A character may be cut at the end of what is looked at.
        Err(error) if error.error_len().is_none() && head.len() == SNIFF_BYTES => {
            "text/plain; charset=utf-8"
        }
        _ => "application/octet-stream",
    }
}

/// True for types that browsers show or play and run nothing of.
pub(super) fn is_passive(media: &str) -> bool {
    let essence = essence(media);
    match essence.split_once('/') {
        Some(("audio" | "video", _)) => true,
        Some(("image", sort)) => !sort.contains("xml"),
        _ => PASSIVE.contains(&essence.as_str()),
    }
}

/// True for pages, which may run what belongs to them in the sandbox.
pub(super) fn is_page(media: &str) -> bool {
    essence(media) == "text/html"
}

fn essence(media: &str) -> String {
    let essence = media.split(';').next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// True for a text that can stand in `Content-Type`; not for `multipart`, whose parts
/// name types of their own.
pub(super) fn is_media_type(text: &str) -> bool {
    let is_token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
    };
    text.split_once('/').is_some_and(|(kind, sort)| {
        is_token(kind) && is_token(sort) && !kind.eq_ignore_ascii_case("multipart")
    })
}

fn is_text(text: &str) -> bool {
    !text
        .chars()
        .any(|letter| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t' | '\u{c}'))
}

/// Bytes that are looked at: the start that the gateway reads to know a file.
const SNIFF_BYTES: usize = 512;

/// Passive types beside sounds, films and pictures.
const PASSIVE: &[&str] = &[
    "application/epub+zip",
    "application/gzip",
    "application/json",
    "application/octet-stream",
    "application/pdf",
    "application/x-tar",
    "application/zip",
    "text/csv",
    "text/markdown",
    "text/plain",
];

/// Offset, bytes, media type.
const MAGIC: &[(usize, &[u8], &str)] = &[
    (0, b"ID3", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF8", "image/gif"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"<!DOCTYPE html", "text/html; charset=utf-8"),
    (0, b"<!doctype html", "text/html; charset=utf-8"),
    (0, b"<html", "text/html; charset=utf-8"),
    (0, b"<svg", "image/svg+xml"),
];

const EXTENSIONS: &[(&str, &str)] = &[
    ("aac", "audio/aac"),
    ("avif", "image/avif"),
    ("bin", "application/octet-stream"),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("htm", "text/html; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("m4a", "audio/mp4"),
    ("md", "text/markdown; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mkv", "video/x-matroska"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("txt", "text/plain; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];
