//! A page that lists a directory.

use std::fmt::Write;

use protocol::unixfs::Entry;

/// The page of a directory at `path`, which ends with `/`.
pub(super) fn page(path: &str, entries: &[Entry], has_more: bool) -> String {
    let title = escape(path);
    let mut text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title></head>\n<body><h1>{title}</h1>\n<ul>\n<li><a href=\"..\">..</a></li>\n"
    );
    for entry in entries {
        let link = percent_encode(&entry.name);
        let name = escape(&entry.name);
        let bytes = entry.dag_bytes;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "<li><a href=\"./{link}\">{name}</a> <small>{bytes} bytes, <code>{}</code></small></li>",
            entry.cid
        );
    }
    text.push_str("</ul>\n");
    if has_more {
        let _ = writeln!(
            text,
            "<p>Only the first {ENTRIES_MAX} entries are shown.</p>"
        );
    }
    text.push_str("</body></html>\n");
    text
}

/// Encodes everything but unreserved characters (RFC 3986).
pub(super) fn percent_encode(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

fn escape(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&#39;"),
            letter => text.push(letter),
        }
    }
    text
}

/// Entries of one page. Chosen: what a browser still shows at once.
pub(super) const ENTRIES_MAX: usize = 5000;
