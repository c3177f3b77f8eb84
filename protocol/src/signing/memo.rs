//! Recovered signers, remembered for the span of a call on one thread.
//!
//! Recovery is a pure function, so that remembering changes no answer. Many
//! simulated peers on one thread check the same signatures; a running peer sees
//! each once and remembers none.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{Signature, SignatureError};
use crate::id::{Address, Hash32};

type Answers = BTreeMap<(Hash32, [u8; 65]), Result<Address, SignatureError>>;

thread_local! {
    static MEMO: RefCell<Option<Answers>> = const { RefCell::new(None) };
}

/// Runs `work` with a memory of at most [`ANSWERS_MAX`] recovered signers on
/// this thread; it is forgotten at the end.
pub fn scope<T>(work: impl FnOnce() -> T) -> T {
    struct Forget;
    impl Drop for Forget {
        fn drop(&mut self) {
            MEMO.set(None);
        }
    }
    MEMO.set(Some(Answers::new()));
    let _forget = Forget;
    work()
}

pub(super) fn recover(
    digest: &Hash32,
    signature: &Signature,
    anew: impl FnOnce(&Hash32, &Signature) -> Result<Address, SignatureError>,
) -> Result<Address, SignatureError> {
    MEMO.with_borrow_mut(|memo| {
        let Some(answers) = memo else {
            return anew(digest, signature);
        };
        let key = (*digest, signature.0);
        if let Some(known) = answers.get(&key) {
            return *known;
        }
        let answer = anew(digest, signature);
        if answers.len() == ANSWERS_MAX {
            answers.clear();
        }
        answers.insert(key, answer);
        answer
    })
}

/// Signers that are remembered; about 20 MiB.
pub const ANSWERS_MAX: usize = 100_000;
