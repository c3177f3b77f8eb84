//! Bounds on what a run measures: how much of everything is usual in a scenario.
//!
//! Format: `docs/formats/scenario.md`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::metrics::Metrics;

/// Bounds that hold for runs with a number of peers.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Bounds {
    /// For so many peers they hold.
    #[serde(default)]
    peers: usize,
    /// The least and the most by name.
    #[serde(flatten)]
    all: BTreeMap<String, [f64; 2]>,
}

impl Bounds {
    /// Reads bounds.
    ///
    /// # Errors
    ///
    /// Names the line that is wrong.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let bounds: Self = toml::from_str(text)?;
        bounds.check(text)?;
        Ok(bounds)
    }

    /// Looks at names and bounds.
    ///
    /// # Errors
    ///
    /// Names the line of `text` that is wrong.
    pub fn check(&self, text: &str) -> anyhow::Result<()> {
        for (name, [low, high]) in &self.all {
            let wrong = match name.split(PER).find(|part| !is_known(part)) {
                Some(part) => format!("nothing is called `{part}`"),
                None if low <= high => continue,
                None => {
                    format!("the bounds of `{name}` are {low} and {high}; the least comes first")
                }
            };
            let is_here = |line: &str| {
                let key = line.split('=').next().unwrap_or_default();
                key.trim().trim_matches('"') == name
            };
            let line = text.lines().position(is_here).unwrap_or_default() + 1;
            anyhow::bail!("line {line}: {wrong}");
        }
        Ok(())
    }

    /// These bounds, if they hold for so many peers.
    #[must_use]
    pub fn of(&self, peers: usize) -> Option<&Self> {
        (self.peers == peers && !self.all.is_empty()).then_some(self)
    }

    /// Each bound with what was measured. What never happened counts 0; shares of
    /// nothing are left out.
    pub fn measured<'a>(
        &'a self,
        measures: &'a BTreeMap<String, u64>,
    ) -> impl Iterator<Item = (&'a str, f64, [f64; 2])> {
        #[expect(clippy::cast_precision_loss, reason = "bounds are as coarse")]
        let value = |name: &str| measures.get(name).copied().unwrap_or(0) as f64;
        self.all.iter().filter_map(move |(name, bounds)| {
            let value = match name.split_once(PER) {
                Some((_, of)) if value(of) == 0.0 => return None,
                Some((what, of)) => value(what) / value(of),
                None => value(name),
            };
            Some((name.as_str(), value, *bounds))
        })
    }
}

/// True for the name of something that is measured; of tables and times its kind
/// is looked at.
fn is_known(name: &str) -> bool {
    let words: Vec<&str> = name.split(' ').collect();
    match words[..] {
        [machine, what, _, ..] if MACHINES.contains(&machine) && OF_MACHINES.contains(&what) => {
            true
        }
        ["sent" | "bytes" | "held" | "peak" | "mean", _, ..] => true,
        [_, .., "min" | "p50" | "p95" | "max", "ms"] | [_, .., "times"] => true,
        _ => OF_RUNS.contains(&name) || Metrics::new(true).counters().contains_key(name),
    }
}

/// Between two names: a share of one in the other.
const PER: &str = " per ";

const MACHINES: [&str; 10] = [
    "author",
    "catch-up",
    "content",
    "discovery",
    "download",
    "exchange",
    "identity",
    "replica",
    "serve",
    "vault",
];

const OF_MACHINES: [&str; 7] = ["in", "out", "answered", "refused", "told", "due", "pause"];

/// What is measured of a run as a whole.
pub const OF_RUNS: [&str; 5] = [
    "seconds",
    "blocks",
    "entries",
    "transactions in vain",
    "transactions evicted",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_refused(text: &str, expected: &str) {
        let error = Bounds::parse(text).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn unknown_names_and_swapped_bounds_are_refused_with_their_line() {
        check_refused(
            "peers = 40\nblock = [1, 2]\n",
            "line 2: nothing is called `block`",
        );
        check_refused(
            "blocks = [1, 2]\n\n\"content out Ask per contents in Answer\" = [1, 2]\n",
            "line 3: nothing is called `contents in Answer`",
        );
        check_refused(
            "peers = 40\nblocks = [2, 1.5]\n",
            "line 2: the bounds of `blocks` are 2 and 1.5; the least comes first",
        );
    }

    #[test]
    fn bounds_hold_for_the_peers_that_they_name() {
        let bounds = Bounds::parse("peers = 40\nblocks = [1, 2]\n").unwrap();
        assert!(bounds.of(40).is_some());
        assert!(bounds.of(41).is_none());
        assert!(Bounds::default().of(0).is_none());
    }

    #[test]
    fn what_never_happened_counts_0_and_shares_of_nothing_are_left_out() {
        let text = "blocks = [1, 2]\n\"blocks per entries\" = [0, 1]\n\"sent offers\" = [1, 2]\n";
        let bounds = Bounds::parse(text).unwrap();
        let measured = |entries: u64| -> Vec<(String, f64)> {
            let measures =
                BTreeMap::from([("blocks".to_owned(), 3), ("entries".to_owned(), entries)]);
            let all = bounds.measured(&measures);
            all.map(|(name, value, _)| (name.to_owned(), value))
                .collect()
        };
        let one = |name: &str, value| (name.to_owned(), value);
        assert_eq!(measured(0), [one("blocks", 3.0), one("sent offers", 0.0)]);
        assert_eq!(measured(2)[1], one("blocks per entries", 1.5));
    }
}
