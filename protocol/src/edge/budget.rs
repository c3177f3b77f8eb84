//! Requests of a minute that cost more than an answer.

use std::collections::BTreeMap;

use super::Source;
use crate::time::Moment;

/// Counts the requests of a minute for which this peer asks others, by source.
#[derive(Debug, Default)]
pub struct Budget {
    minute: u64,
    counts: BTreeMap<Source, u32>,
}

/// The source's share of this minute is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this network has asked {REQUESTS_MAX} times in a minute; wait {retry_after_seconds} s")]
pub struct TooMany {
    /// When the next minute begins.
    pub retry_after_seconds: u64,
}

impl Budget {
    /// A request comes in; one that is refused is not counted.
    ///
    /// # Errors
    ///
    /// [`TooMany`] when it is to be refused.
    pub fn handle_request(&mut self, source: Source, now: Moment) -> Result<(), TooMany> {
        let seconds = now.unix().0;
        let minute = seconds / MINUTE_SECONDS;
        if minute != self.minute {
            self.minute = minute;
            self.counts.clear();
        }
        let is_new = !self.counts.contains_key(&source);
        let source = match is_new && self.counts.len() >= SOURCES_MAX {
            true => Source::Unknown,
            false => source,
        };
        let count = self.counts.entry(source).or_default();
        if *count >= REQUESTS_MAX {
            return Err(TooMany {
                retry_after_seconds: MINUTE_SECONDS - seconds % MINUTE_SECONDS,
            });
        }
        *count += 1;
        Ok(())
    }
}

const MINUTE_SECONDS: u64 = 60;

/// Requests of a source in a minute. Chosen: a page that looks after an action or two
/// asks once a second each; one of them makes this peer ask up to 16 others.
pub(super) const REQUESTS_MAX: u32 = 120;

/// Sources that are told apart in a minute; later ones count as unknown. Chosen: about
/// a megabyte.
pub(super) const SOURCES_MAX: usize = 16_384;
