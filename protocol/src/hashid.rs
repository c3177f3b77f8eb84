//! Public ids: short texts that stand for numbers on HTTP routes (hashids).
//!
//! Salt, minimum length and alphabet are those of the existing clients, so that
//! their links keep working.

/// Writes `id` as public text.
#[must_use]
pub fn encode(id: u64) -> String {
    let alphabets = Alphabets::new();
    let mut alphabet = alphabets.alphabet.clone();
    // One number hashes to itself modulo 100.
    let hash = small(id % 100);
    let lottery = alphabet[hash % alphabet.len()];
    let mut text = vec![lottery];
    shuffle_for(&mut alphabet, lottery);
    let digits = to_digits(id, &alphabet);
    text.extend(&digits);
    pad(&mut text, hash, &mut alphabet, &alphabets.guards);
    String::from_utf8(text).expect("the alphabet is ASCII")
}

/// Reads public text back; `None` for everything that [`encode`] never writes.
#[must_use]
pub fn decode(text: &str) -> Option<u64> {
    if text.len() < LENGTH_MIN || text.len() > LENGTH_MAX {
        return None;
    }
    let alphabets = Alphabets::new();
    let parts: Vec<&[u8]> = text
        .as_bytes()
        .split(|byte| alphabets.guards.contains(byte))
        .collect();
    let core = match parts.len() {
        2 | 3 => parts[1],
        _ => parts[0],
    };
    let (&lottery, digits) = core.split_first()?;
    let mut alphabet = alphabets.alphabet;
    shuffle_for(&mut alphabet, lottery);
    let id = from_digits(digits, &alphabet)?;
    (encode(id) == text).then_some(id)
}

/// Reads a route's id: decimal digits, or public text.
///
/// Digits are a number, as existing clients have it: one in 41 numbers of five
/// digits and more is also a public text of another number, while one in about ten
/// thousand public texts consists of digits.
#[must_use]
pub fn parse(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| decode(text))
}

/// The letters after salting: digits and the marks around padded texts.
struct Alphabets {
    alphabet: Vec<u8>,
    guards: Vec<u8>,
}

impl Alphabets {
    fn new() -> Self {
        let mut separators = SEPARATORS.to_vec();
        let mut alphabet: Vec<u8> = LETTERS
            .iter()
            .copied()
            .filter(|letter| !SEPARATORS.contains(letter))
            .collect();
        shuffle(&mut separators, SALT);
        // At most 3.5 letters per separator, as the scheme has it.
        let wanted = (alphabet.len() * 2).div_ceil(7).max(2);
        if wanted > separators.len() {
            let moved = wanted - separators.len();
            separators.extend(alphabet.drain(..moved));
        }
        shuffle(&mut alphabet, SALT);
        let guard_count = alphabet.len().div_ceil(12);
        let guards = alphabet.drain(..guard_count).collect();
        Self { alphabet, guards }
    }
}

fn shuffle_for(alphabet: &mut [u8], lottery: u8) {
    let mut salt = vec![lottery];
    salt.extend_from_slice(SALT);
    salt.extend_from_slice(alphabet);
    salt.truncate(alphabet.len());
    shuffle(alphabet, &salt);
}

/// The scheme's shuffle: deterministic, driven by the bytes of `salt`.
fn shuffle(letters: &mut [u8], salt: &[u8]) {
    if salt.is_empty() {
        return;
    }
    let (mut position, mut sum) = (0, 0);
    for idx in (1..letters.len()).rev() {
        position %= salt.len();
        let byte = usize::from(salt[position]);
        sum += byte;
        let other = (byte + position + sum) % idx;
        letters.swap(idx, other);
        position += 1;
    }
}

fn to_digits(mut id: u64, alphabet: &[u8]) -> Vec<u8> {
    let base = alphabet.len() as u64;
    let mut digits = Vec::new();
    loop {
        digits.push(alphabet[small(id % base)]);
        id /= base;
        if id == 0 {
            break;
        }
    }
    digits.reverse();
    digits
}

fn from_digits(digits: &[u8], alphabet: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |id, digit| {
        let value = alphabet.iter().position(|letter| letter == digit)?;
        id.checked_mul(alphabet.len() as u64)?
            .checked_add(value as u64)
    })
}

/// Lengthens a short text with guards and then with the alphabet's halves.
fn pad(text: &mut Vec<u8>, hash: usize, alphabet: &mut [u8], guards: &[u8]) {
    if text.len() < LENGTH_MIN {
        let idx = (hash + usize::from(text[0])) % guards.len();
        text.insert(0, guards[idx]);
    }
    if text.len() < LENGTH_MIN {
        let idx = (hash + usize::from(text[2])) % guards.len();
        text.push(guards[idx]);
    }
    let half = alphabet.len() / 2;
    while text.len() < LENGTH_MIN {
        let salt = alphabet.to_vec();
        shuffle(alphabet, &salt);
        let mut padded = alphabet[half..].to_vec();
        padded.append(text);
        padded.extend_from_slice(&alphabet[..half]);
        let excess = padded.len().saturating_sub(LENGTH_MIN);
        *text = if excess > 0 {
            padded[excess / 2..excess / 2 + LENGTH_MIN].to_vec()
        } else {
            padded
        };
    }
}

#[allow(clippy::cast_possible_truncation, reason = "remainders below 256")]
const fn small(remainder: u64) -> usize {
    remainder as usize
}

const SALT: &[u8] = b"azowernasdfoia";
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ1234567890";
const SEPARATORS: &[u8] = b"cfhistuCFHISTU";

/// Shortest public id in characters.
const LENGTH_MIN: usize = 5;

/// Longer texts are no public id of 64 bits.
const LENGTH_MAX: usize = 16;

#[cfg(test)]
mod tests;
