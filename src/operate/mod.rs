//! What operators run: each command is a function over the ports that returns what it found and prints nothing.

pub mod blobs;
pub mod lives;
pub mod log;
pub mod moving;
pub mod projections;
