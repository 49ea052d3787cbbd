//! What an error of a database means to whoever asked it: the same for all stores that it holds.

use std::error::Error;

use lockstep_events::LogError;
use lockstep_projections::store::ReadError;

use crate::{auth::credentials::CredentialError, blobs::IndexError, subjects::keys::KeyStoreError};

/// What becomes of an error if the same is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// It passes by itself, or once somebody has looked after the database: asking again is right.
    Passing,
    /// It passes when there is room again.
    Full,
    /// It stays: a defect, or damage.
    Other,
}

/// The error of a store that stands in a database.
pub trait Told {
    /// An error of this nature.
    fn told(nature: Nature, cause: Box<dyn Error + Send + Sync>) -> Self;
}

macro_rules! told {
    ($($error:ident)+) => {$(
        impl Told for $error {
            fn told(nature: Nature, cause: Box<dyn Error + Send + Sync>) -> Self {
                match nature {
                    Nature::Passing => Self::Unavailable(cause),
                    Nature::Full => Self::Full(cause),
                    Nature::Other => Self::Other(cause),
                }
            }
        }
    )+};
}

told!(LogError ReadError CredentialError IndexError KeyStoreError);
