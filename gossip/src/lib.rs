//! How Coliving peers tell each other what they know.
//!
//! Machines only: no socket, no clock, no task, no database.

pub mod catch_up;
pub mod discovery;
pub mod heads;
pub mod limits;
pub mod message;
pub mod spread;

#[cfg(test)]
mod testing;
