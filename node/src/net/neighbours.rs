//! Which staked peers to stay connected to.
