//! Personal data: subject keys and what they seal, export, erasure, and what stays where afterwards, in both modes.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod key_stores;
mod sealing;
