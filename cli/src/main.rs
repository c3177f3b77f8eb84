//! The `coliving` command.
fn main() {}
