//! The HTTP server of a peer: gateway, reads over the index, the owner's routes.
//!
//! Contract: `docs/formats/http.md`.

pub mod error;
