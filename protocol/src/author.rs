//! The author's role: publishing and relaying for the owner of a peer.

mod publication;

pub use publication::{
    Candidate, FailureReason, Publication, PublicationConfig, PublicationEvent, State, Transmit,
};
