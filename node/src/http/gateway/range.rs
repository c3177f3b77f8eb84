//! One `Range` of a file (RFC 9110, section 14).

use std::ops::Range;

/// What a `Range` header asks for, given the file's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The whole file: no range, several ranges, or nothing that reads as one.
    Whole,
    /// These bytes of the file.
    Part(Range<u64>),
    /// Bytes that the file does not have.
    Unsatisfiable,
}

/// Reads `bytes=a-b`, `bytes=a-` and `bytes=-n`.
pub(super) fn parse(header: &str, size: u64) -> Wanted {
    let Some((unit, spec)) = header.split_once('=') else {
        return Wanted::Whole;
    };
    let Some((first, last)) = spec.trim().split_once('-') else {
        return Wanted::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let wanted = match (number(first), number(last)) {
        (Number::Absent, Number::Is(count)) => size.saturating_sub(count)..size,
        (Number::Is(first), Number::Absent) => first..size,
        (Number::Is(first), Number::Is(last)) if first <= last => {
            first..last.saturating_add(1).min(size)
        }
        _ => return Wanted::Whole,
    };
    if wanted.start < wanted.end {
        Wanted::Part(wanted)
    } else {
        Wanted::Unsatisfiable
    }
}

enum Number {
    Absent,
    Is(u64),
    Bad,
}

fn number(text: &str) -> Number {
    let text = text.trim();
    if text.is_empty() {
        Number::Absent
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are beyond every file.
        Number::Is(text.parse().unwrap_or(u64::MAX))
    } else {
        Number::Bad
    }
}
