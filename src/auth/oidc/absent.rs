//! A build without the feature `oidc` has no provider: whoever names one in the options hears so at the start.

use std::{future::Ready, path::Path};

use lockstep_events::Micros;

use super::{Answered, FlowSecrets, IdpsError, OidcError, Somebody};
use crate::config::Provider;

/// A provider. There is none.
pub enum Idp {}

impl Idp {
    /// There is none.
    ///
    /// # Errors
    /// [`IdpsError::NotBuilt`]
    pub fn new(_: &Provider, _: Option<&Path>) -> Result<Self, IdpsError> {
        Err(IdpsError::NotBuilt)
    }

    /// As of a provider.
    pub fn redirect_uri(&self, _: &str, _: u16) -> String {
        match *self {}
    }

    /// As of a provider.
    pub fn authorize(&self, _: &FlowSecrets, _: String) -> Ready<Result<String, OidcError>> {
        match *self {}
    }

    /// As of a provider.
    pub fn verify(
        &self,
        _: &Answered<'_>,
        _: &FlowSecrets,
        _: String,
        _: Micros,
    ) -> Ready<Result<Somebody, OidcError>> {
        match *self {}
    }
}
