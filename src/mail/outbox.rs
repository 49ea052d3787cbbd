//! The outbox port: tasks that wait, each done once.

use async_trait::async_trait;
use lockstep_events::{AccountId, Micros, Position, public, public::Public};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{auth::credentials::CredentialError, commands::facts::derived};

/// A task that was done is remembered so long, in seconds, so that it is not made again: a week, after its occasion.
pub const REMEMBERED_S: i64 = 7 * 24 * 3600;

public! {
    /// What mail has to be sent. It holds no address and no secret.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(tag = "task", rename_all = "snake_case", deny_unknown_fields)]
    pub enum Task {
        /// Somebody asked for a sign-in link. Whether there is such an account is found out when it is sent.
        SignIn {
            /// The blind index of the name or address that was given.
            name: [u8; 32],
            /// SHA-256 of the secret that only the asking client holds.
            initiator: [u8; 32],
        },
        /// An account named its address: the address must confirm it.
        Confirm {
            /// The account.
            account: AccountId,
            /// SHA-256 of the secret that only the asking client holds.
            initiator: [u8; 32],
        },
        /// Something happened that the person should know.
        Notice {
            /// The account.
            account: AccountId,
            /// What.
            about: About,
        },
        /// Old versions will be kept for a shorter time, because a plan counts no more.
        History {
            /// The account.
            account: AccountId,
            /// From when on.
            until: Micros,
        },
        /// An account was given an address: what follows from it, if whoever pressed the button was cut off.
        Confirmed {
            /// What was given.
            what: Confirmed,
        },
    }

    /// An address that an account was given, with what still has to follow. It is written in the moment of the giving,
    /// so that every try tells the same.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Confirmed {
        /// The account.
        pub account: AccountId,
        /// SHA-256 of the link's secret.
        pub link: [u8; 32],
        /// Whether it took the place of another one.
        pub replaced: bool,
        /// Who had it for a name and never confirmed any.
        pub rivals: Vec<AccountId>,
        /// Who had it for a name, and has the address that they have confirmed for one now.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub renamed: Vec<AccountId>,
        /// When it was given.
        pub at: Micros,
    }

    /// What a notice is about.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum About {
        /// A device was added.
        DeviceAdded,
        /// The password was changed.
        PasswordChanged,
        /// The recovery code was used.
        Recovered,
        /// There is a new recovery code.
        RecoverySet,
        /// A second factor was set.
        FactorSet,
        /// A second factor was removed.
        FactorRemoved,
        /// Another address was named: to the present one.
        AddressAsked,
        /// Another address was confirmed: to the one before.
        AddressChanged,
        /// Somebody else confirmed the address that was the login name.
        NameGivenUp,
        /// A way to sign in was linked.
        IdentityLinked,
        /// A way to sign in was unlinked.
        IdentityUnlinked,
        /// Somebody asked for the erasure of the account.
        ErasureAsked,
    }
}

/// A task that a worker has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Its id.
    pub id: Uuid,
    /// What to do.
    pub task: Vec<u8>,
    /// How often it was taken, this time included.
    pub tries: u32,
}

/// What the compiler knows to be free of personal data.
fn written(task: &(impl Public + Serialize)) -> Vec<u8> {
    serde_json::to_vec(task).unwrap_or_default()
}

impl Task {
    /// As it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        written(self)
    }

    /// The account that it names.
    pub const fn account(&self) -> Option<AccountId> {
        match self {
            Self::SignIn { .. } => None,
            Self::Confirm { account, .. } | Self::Notice { account, .. } | Self::History { account, .. } => {
                Some(*account)
            }
            Self::Confirmed { what } => Some(what.account),
        }
    }

    /// Until when its occasion lasts, and may make it again; none: it is over already.
    pub const fn lasts(&self) -> Option<Micros> {
        match self {
            Self::History { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// From what was stored; none: a newer program wrote it.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// The id of the task of an address that was given by this link.
pub fn confirmed_id(link: &[u8; 32]) -> Uuid {
    derived("lockstep/v1/address-confirmed", &[link]).0
}

/// Keeps tasks. Every call is one transaction.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Adds a task, about an account where it names one: it goes with it. The same id again changes nothing, also after
    /// the task was done.
    async fn put_task(
        &self,
        id: Uuid,
        about: Option<AccountId>,
        task: &[u8],
        now: Micros,
    ) -> Result<(), CredentialError>;

    /// Takes tasks that are due, at most `limit`. Nobody else gets them before `until`.
    async fn claim_tasks(
        &self,
        now: Micros,
        until: Micros,
        limit: u32,
    ) -> Result<Vec<Claimed>, CredentialError>;

    /// A task is done: its contents are forgotten. It counts as done at this time, which may be to come.
    async fn finish_task(&self, id: Uuid, at: Micros) -> Result<(), CredentialError>;

    /// A task is tried again at a time.
    async fn postpone_task(&self, id: Uuid, until: Micros) -> Result<(), CredentialError>;

    /// Up to where events have been turned into tasks.
    async fn reacted(&self) -> Result<Option<Position>, CredentialError>;

    /// Events up to here have been turned into tasks; it never goes back.
    async fn set_reacted(&self, to: Position) -> Result<(), CredentialError>;

    /// Forgets the tasks about an account, whether they were done or not.
    async fn forget_tasks(&self, account: AccountId) -> Result<(), CredentialError>;

    /// Forgets tasks that were done before a time; how many.
    async fn sweep_tasks(&self, done_before: Micros) -> Result<u64, CredentialError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_comes_back_as_it_was_stored_and_an_unknown_one_is_not_guessed() {
        let tasks = [
            Task::SignIn { name: [1; 32], initiator: [2; 32] },
            Task::Notice { account: AccountId::NIL, about: About::DeviceAdded },
            Task::History { account: AccountId::NIL, until: Micros(4) },
            Task::Confirmed {
                what: Confirmed {
                    account: AccountId::NIL,
                    link: [3; 32],
                    replaced: true,
                    rivals: vec![AccountId::NIL],
                    renamed: vec![AccountId::NIL],
                    at: Micros(5),
                },
            },
        ];
        for task in tasks {
            assert_eq!(Task::from_bytes(&task.to_bytes()), Some(task));
        }
        assert_eq!(Task::from_bytes(b"{\"task\":\"sing\"}"), None);
    }
}
