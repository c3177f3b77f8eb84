use std::cell::Cell;

use super::*;

#[derive(Debug, PartialEq)]
struct Length(usize);

#[derive(Debug, PartialEq)]
struct First(u8);

/// Asks for the length of each text; returns how often it was worked out.
fn worked_out(texts: &[&str]) -> usize {
    let times = Cell::new(0);
    for text in texts {
        let length = of_bytes(text.as_bytes(), || {
            times.set(times.get() + 1);
            Length(text.len())
        });
        assert_eq!(*length, Length(text.len()));
    }
    times.get()
}

#[test]
fn inside_of_a_scope_an_answer_is_worked_out_once() {
    assert_eq!(scope(|| worked_out(&["one", "three", "one", "three"])), 2);
}

#[test]
fn outside_of_a_scope_nothing_is_remembered() {
    scope(|| worked_out(&["one"]));
    assert_eq!(worked_out(&["one", "one"]), 2);
}

#[test]
fn two_functions_of_the_same_bytes_do_not_mix() {
    scope(|| {
        worked_out(&["one"]);
        assert_eq!(*of_bytes(b"one", || First(b'o')), First(b'o'));
        assert_eq!(worked_out(&["one"]), 0);
    });
}

#[test]
fn the_memory_is_bounded() {
    scope(|| {
        let long = "a".repeat(MEMORY_BYTES_MAX / 2);
        worked_out(&["one", &long, &long[1..]]);
        let held = MEMORY.with_borrow(|memory| memory.as_ref().map(|memory| memory.bytes));
        assert!(held.is_some_and(|bytes| bytes <= MEMORY_BYTES_MAX));
        assert_eq!(worked_out(&["one"]), 1);
    });
}
