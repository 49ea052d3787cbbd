//! What happens to second factors. Secrets and codes never enter the log.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{public, word::Word};

public! {
    /// A second factor is demanded from now on.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct FactorSet {
        /// The factor.
        pub factor: Uuid,
        /// What it is: `totp`, `passkey` or `codes`.
        pub factor_kind: Word,
    }

    /// A second factor is gone.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct FactorRemoved {
        /// The factor.
        pub factor: Uuid,
    }

    /// A second factor was shown and was not right. What was shown is not kept.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct FactorRefused {
        /// The attempt.
        pub attempt: Uuid,
    }
}
