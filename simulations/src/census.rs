//! A census of machines: how much each of their tables holds, and of what kinds
//! what they are told and wish is.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Write};

/// Counts the entries of tables and the options that hold something, as the debug
/// format of `of` shows them, by the names of the fields that lead to them; behind
/// these names variants, flags that are set, and sums of numbers.
pub fn census(of: &impl Debug, into: &mut BTreeMap<String, u64>) {
    let mut reader = Reader::new(into);
    // What does not print is not counted.
    let _ = write!(reader, "{of:?}");
}

/// As [`census`] of a fact or wish, by its name; of large ones the first part.
pub fn kinds(of: &impl Debug, name: &str, into: &mut BTreeMap<String, u64>) {
    let mut reader = Reader {
        name: Some(name.to_owned()),
        is_fresh: true,
        chars_left: KINDS_CHARS_MAX,
        ..Reader::new(into)
    };
    let _ = write!(reader, "{of:?}");
}

/// Reads the debug format as it is written.
struct Reader<'a> {
    into: &'a mut BTreeMap<String, u64>,
    frames: Vec<Frame>,
    /// Names of the fields that are open.
    path: Vec<String>,
    /// The last word.
    word: String,
    /// True when something stands between the last word and here.
    is_apart: bool,
    /// True from a field's name to what it holds.
    is_fresh: bool,
    quote: Option<char>,
    is_escaped: bool,
    /// Of the fact whose variants are counted.
    name: Option<String>,
    chars_left: usize,
}

/// An open bracket.
struct Frame {
    is_struct: bool,
    is_counted: bool,
    /// Names that were open before.
    names: usize,
    commas: u64,
    is_empty: bool,
}

impl Write for Reader<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().for_each(|char| self.read(char));
        self.chars_left = self.chars_left.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}

impl<'a> Reader<'a> {
    fn new(into: &'a mut BTreeMap<String, u64>) -> Self {
        Self {
            into,
            frames: Vec::new(),
            path: Vec::new(),
            word: String::new(),
            is_apart: false,
            is_fresh: false,
            quote: None,
            is_escaped: false,
            name: None,
            chars_left: usize::MAX,
        }
    }

    /// Counts the last word: a variant, a flag that is set, or a number.
    fn note_word(&mut self) {
        let word = self.word.as_str();
        let is_inside = !self.frames.is_empty() && self.path.len() <= NAMES_MAX;
        if !is_inside || ["", "None", "Some", "false"].contains(&word) {
            return;
        }
        let is_number = word.len() <= DIGITS_MAX && word.bytes().all(|byte| byte.is_ascii_digit());
        let is_variant = word.bytes().all(|byte| byte.is_ascii_alphabetic())
            && (word == "true" || word.starts_with(|char: char| char.is_ascii_uppercase()));
        if is_number {
            let number = word.parse().unwrap_or(0);
            let name = format!("{} sum", self.place());
            *self.into.entry(name).or_default() += number;
        } else if is_variant {
            let name = format!("{} {word}", self.place());
            *self.into.entry(name).or_default() += 1;
        }
    }

    /// The names that lead here.
    fn place(&self) -> String {
        let path = self.path.join(".");
        match &self.name {
            Some(name) if path.is_empty() => name.clone(),
            Some(name) => format!("{name}.{path}"),
            None => path,
        }
    }

    fn read(&mut self, char: char) {
        if let Some(quote) = self.quote {
            if self.is_escaped {
                self.is_escaped = false;
            } else if char == '\\' {
                self.is_escaped = true;
            } else if char == quote {
                self.quote = None;
            }
            return;
        }
        match char {
            '{' | '[' | '(' => self.open(char),
            '}' | ']' | ')' => self.close(),
            ',' => {
                self.note_word();
                if let Some(frame) = self.frames.last_mut() {
                    frame.commas += 1;
                    if frame.is_struct {
                        self.path.truncate(frame.names);
                    }
                }
                self.word.clear();
            }
            ':' => {
                let is_name = |frame: &Frame| frame.is_struct && frame.names == self.path.len();
                if self.frames.last().is_some_and(is_name) {
                    self.path.push(std::mem::take(&mut self.word));
                    self.is_fresh = true;
                }
                self.word.clear();
            }
            ' ' => self.is_apart = true,
            _ => {
                self.quote = (char == '"').then_some(char);
                if let Some(frame) = self.frames.last_mut() {
                    frame.is_empty = false;
                }
                if std::mem::take(&mut self.is_apart) {
                    self.word.clear();
                }
                self.word.push(char);
            }
        }
    }

    fn open(&mut self, bracket: char) {
        self.note_word();
        let is_struct = bracket == '{' && !self.word.is_empty();
        let is_option = bracket == '(' && self.word == "Some";
        let is_value = std::mem::take(&mut self.is_fresh);
        let is_named = bracket == '(' && !self.word.is_empty() && !is_option;
        if let Some(frame) = self.frames.last_mut() {
            frame.is_empty = false;
        }
        self.frames.push(Frame {
            is_struct,
            is_counted: is_value && !is_struct && !is_named,
            names: self.path.len(),
            commas: 0,
            is_empty: true,
        });
        // A named value is looked through.
        self.is_fresh = is_value && is_named;
        self.word.clear();
    }

    fn close(&mut self) {
        self.note_word();
        let Some(frame) = self.frames.pop() else {
            return;
        };
        self.path.truncate(frame.names);
        if frame.is_counted && frame.names <= NAMES_MAX {
            let count = match frame.is_empty {
                true => 0,
                false => frame.commas + 1,
            };
            let mut name = self.place();
            if self.path.is_empty() {
                name += " entries";
            }
            *self.into.entry(name).or_default() += count;
        }
        self.word.clear();
    }
}

/// Names of fields down to which tables are told apart.
const NAMES_MAX: usize = 5;

/// Longer numbers are moments and hashes, whose sums say nothing.
const DIGITS_MAX: usize = 6;

/// Of a fact so much is looked at: more than most have beside the bytes of blocks.
const KINDS_CHARS_MAX: usize = 600;

#[cfg(test)]
mod tests;
