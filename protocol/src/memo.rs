//! Pure functions of bytes, remembered for the span of a call on one thread.
//!
//! Remembering changes no answer. Many simulated peers on one thread decode the
//! same messages and check the same signatures; a running peer sees each once and
//! remembers none: outside of [`scope`] everything is worked out anew.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

thread_local! {
    static MEMORY: RefCell<Option<Memory>> = const { RefCell::new(None) };
}

/// What is known, by kind of answer and by what was asked.
#[derive(Default)]
struct Memory {
    kinds: Vec<(TypeId, Answers)>,
    bytes: usize,
}

type Answers = HashMap<Box<[u8]>, Rc<dyn Any>, BuildHasherDefault<Fold>>;

/// Runs `work` with a memory of about [`MEMORY_BYTES_MAX`] on this thread; it is
/// forgotten at the end.
pub fn scope<T>(work: impl FnOnce() -> T) -> T {
    struct Forget;
    impl Drop for Forget {
        fn drop(&mut self) {
            MEMORY.set(None);
        }
    }
    MEMORY.set(Some(Memory::default()));
    let _forget = Forget;
    work()
}

/// What `work` makes of `bytes` alone. Each pure function has a type of its own
/// for its answers.
pub(crate) fn of_bytes<T: 'static>(bytes: &[u8], work: impl FnOnce() -> T) -> Rc<T> {
    let known = MEMORY.with_borrow(|memory| memory.as_ref()?.recall(bytes));
    known.unwrap_or_else(|| {
        let answer = Rc::new(work());
        MEMORY.with_borrow_mut(|memory| {
            if let Some(memory) = memory {
                memory.note(bytes, Rc::clone(&answer) as Rc<dyn Any>, TypeId::of::<T>());
            }
        });
        answer
    })
}

impl Memory {
    fn recall<T: 'static>(&self, bytes: &[u8]) -> Option<Rc<T>> {
        let kind = TypeId::of::<T>();
        let (_, answers) = self.kinds.iter().find(|(known, _)| *known == kind)?;
        Rc::clone(answers.get(bytes)?).downcast().ok()
    }

    fn note(&mut self, bytes: &[u8], answer: Rc<dyn Any>, kind: TypeId) {
        self.bytes += bytes.len() + ANSWER_BYTES;
        if self.bytes > MEMORY_BYTES_MAX {
            *self = Self::default();
        }
        let place = self.kinds.iter().position(|(known, _)| *known == kind);
        let place = place.unwrap_or_else(|| {
            self.kinds.push((kind, Answers::default()));
            self.kinds.len() - 1
        });
        self.kinds[place].1.insert(bytes.into(), answer);
    }
}

/// A quick hash; who floods a simulation's memory slows that simulation.
#[derive(Default)]
struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.write_u64(u64::from_le_bytes(last));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(FACTOR);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// Chosen: more than all that is under way in a large simulation at a time.
pub const MEMORY_BYTES_MAX: usize = 32 << 20;

/// About what an answer takes beside what was asked.
const ANSWER_BYTES: usize = 512;

/// An odd number without pattern, 2^64 over the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests;
