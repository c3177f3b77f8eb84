//! What a file is, by its name and its first bytes.

use std::path::Path;

/// The MIME type of a file: by its first bytes, else by its extension.
pub(crate) fn mime_of(path: &Path, head: &[u8]) -> &'static str {
    by_magic(head)
        .or_else(|| by_extension(path))
        .unwrap_or("application/octet-stream")
}

fn by_extension(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?.to_lowercase();
    let found = TYPES.iter().find(|(known, _)| *known == extension);
    found.map(|(_, mime)| *mime)
}

fn by_magic(head: &[u8]) -> Option<&'static str> {
    if head.len() >= 12 && head.starts_with(b"RIFF") {
        return match &head[8..12] {
            b"WAVE" => Some("audio/wav"),
            b"WEBP" => Some("image/webp"),
            _ => None,
        };
    }
    let found = MAGIC.iter().find(|(magic, _)| head.starts_with(magic));
    found.map(|(_, mime)| *mime)
}

const MAGIC: &[(&[u8], &str)] = &[
    (b"fLaC", "audio/flac"),
    (b"ID3", "audio/mpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
];

const TYPES: &[(&str, &str)] = &[
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("aif", "audio/aiff"),
    ("aiff", "audio/aiff"),
    ("avi", "video/x-msvideo"),
    ("avif", "image/avif"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("gif", "image/gif"),
    ("gz", "application/gzip"),
    ("html", "text/html"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("m4a", "audio/mp4"),
    ("m4v", "video/mp4"),
    ("md", "text/markdown"),
    ("mid", "audio/midi"),
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
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("txt", "text/plain"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webp", "image/webp"),
    ("zip", "application/zip"),
];

/// Bytes of a file that [`mime_of`] looks at.
pub(crate) const HEAD_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, head: &[u8], expected: &str) {
        assert_eq!(mime_of(Path::new(name), head), expected, "{name}");
    }

    #[test]
    fn first_bytes_win_over_names() {
        check("a.mp3", b"fLaC", "audio/flac");
        check("a", b"RIFF....WAVEfmt ", "audio/wav");
        check("a.txt", b"%PDF-1.7", "application/pdf");
    }

    #[test]
    fn names_tell_what_bytes_do_not() {
        check("Song.MP3", b"\xff\xfb", "audio/mpeg");
        check("a.md", b"", "text/markdown");
        check("a", b"", "application/octet-stream");
        check("a.RIFF", b"RIFF", "application/octet-stream");
    }
}
