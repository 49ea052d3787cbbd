//! The end of access: what ends every session of an account at once.

use serde::{Deserialize, Serialize};

use super::RevokeReason;
use crate::{ids::SessionId, public};

public! {
    /// Every session of the account that was opened before this event has ended, and every token made before it is
    /// refused. It stands in the unit of what caused it, so neither is there without the other.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct SessionsEnded {
        /// Why.
        pub reason: RevokeReason,
        /// The session that goes on: the one that asked, if that may stay. It is the subject of the event, too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub keep: Option<SessionId>,
    }
}
