//! What happens to the ways into an account that are not its password: its address, and identities elsewhere.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Method;
use crate::{ids::SessionId, public};

public! {
    /// An e-mail address was named. The address stands in the sealed part.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct EmailSet {
        /// Names this change.
        pub change: Uuid,
    }

    /// The address that was named last was confirmed by whoever reads its mail.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct EmailConfirmed {
        /// Whether another address was the account's before.
        pub replaced: bool,
    }

    /// Another account confirmed the address that this account has for its name and never confirmed: it can no longer be
    /// entered.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct NameLost {}

    /// Somebody proved who they are, without the knowledge of a key.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct IdentityProven {
        /// The session of scope `identity`.
        pub session: SessionId,
        /// How.
        pub method: Method,
    }

    /// An identity elsewhere was linked. Issuer and subject stand in the sealed part.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct IdentityLinked {
        /// Names the link.
        pub identity: Uuid,
    }

    /// An identity elsewhere was unlinked.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct IdentityUnlinked {
        /// Names the link.
        pub identity: Uuid,
    }

    /// Why an identity provider's answer was refused.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum OidcRefusal {
        /// The flow is unknown, over, or somebody else's.
        Flow,
        /// The state is another flow's.
        State,
        /// The answer names another issuer.
        Issuer,
        /// The provider cannot be found, or describes itself wrongly.
        Discovery,
        /// The provider did not give a token for the code.
        Exchange,
        /// The identity token does not verify.
        Token,
        /// The identity belongs to no account, or to another one.
        Identity,
    }

    /// An identity provider's answer was refused.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct OidcRejected {
        /// Why.
        pub reason: OidcRefusal,
    }
}
