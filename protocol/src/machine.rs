//! The one face of a role machine, so that a shell can be generic.
//!
//! A role machine puts the machines of its protocols together and takes every
//! decision of its role. A shell carries: it gives inputs with the present
//! moment, drains the outputs after each one, and comes back at the deadline.
//! `node` has one such shell over sockets, disks and clocks, `simulations` one
//! over virtual ones.

use crate::time::Moment;

/// The name of a gossiped message that waits for its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// What is to become of a gossiped message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is passed on.
    Accept,
    /// It is not passed on, and nobody is to blame.
    Ignore,
    /// It is not passed on, and an honest peer would not have either.
    Reject,
}

/// Takes facts, gives wishes.
pub trait Machine {
    /// A fact: something arrived, was read, was stored, changed.
    type Input;
    /// A wish: send, store, sign, fetch.
    type Output;

    /// Takes one input. It never blocks, and answers hostile input with an
    /// output. Drain [`Machine::poll`] afterwards, before the next input.
    fn handle(&mut self, input: Self::Input, now: Moment);

    /// Does what is due at `now`; drain [`Machine::poll`] afterwards.
    fn handle_timeout(&mut self, now: Moment);

    /// The next wish; `None` when all were taken.
    fn poll(&mut self) -> Option<Self::Output>;

    /// When [`Machine::handle_timeout`] is due, and why.
    fn deadline(&self) -> Option<(Moment, &'static str)>;

    /// Which of its tables does not agree with the others, for whoever proves the
    /// machine: none ever. It takes as long as reading them.
    fn contradiction(&self) -> Option<&'static str> {
        None
    }
}

/// An enum that knows the names of its variants, such as inputs.
pub trait Named {
    /// The names of all variants.
    const NAMES: &'static [&'static str];

    /// The place of a variant's name among them.
    fn idx(&self) -> usize;
}

/// Implements [`Named`] for an enum. The compiler sees to it that none
/// is left out.
#[macro_export]
macro_rules! name_variants {
    ($variants:ident $(<$owner:ident>)?: $($name:ident),+ $(,)?) => {
        impl $(<$owner>)? $crate::machine::Named for $variants $(<$owner>)? {
            const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            fn idx(&self) -> usize {
                #[derive(Clone, Copy)]
                enum Idx {
                    $($name),+
                }
                match self {
                    $(Self::$name { .. } => Idx::$name as usize),+
                }
            }
        }
    };
}

pub use name_variants;
