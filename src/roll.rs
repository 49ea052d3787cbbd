//! The roll: who is administrator or auditor, as the system stream says it.
//!
//! Every change of such a role stands twice, in one unit: in the account's own stream, where its owner sees it, and
//! here, under one subject. So "is there an administrator" is answered by the log and by nothing that could be wiped,
//! and two nodes that decide about the last one at the same time meet at the same seq.

use std::collections::BTreeMap;

use lockstep_events::{
    AccountId, Event, EventLog, Hash32, LogError, Micros, Recorded, Seq, StreamId, SubjectId,
    event::{Role, SystemEvent},
};
use uuid::Uuid;

const PAGE: usize = 500;

/// The subject of the roll's events in the system stream.
pub const SUBJECT: SubjectId = SubjectId(Uuid::from_u128(0x0061_646d_696e_4000_8000_0000_0000_0001));

/// The fold of the roll's events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roll {
    /// Everybody who is more than a user.
    pub members: BTreeMap<AccountId, Role>,
    /// The one-time token that was made last, and until when it is valid; none once one was used.
    pub token: Option<(Hash32, Micros)>,
    /// Whether a token was ever used.
    pub bootstrapped: bool,
    /// Seq of the last event.
    pub seq: Seq,
}

impl Roll {
    /// The roll as the log has it.
    ///
    /// # Errors
    /// If the log does not answer.
    pub async fn load(log: &dyn EventLog) -> Result<Self, LogError> {
        let mut roll = Self::default();
        loop {
            let page = log.read_subject(StreamId::SYSTEM, SUBJECT, roll.seq, PAGE).await?;
            page.iter().try_for_each(|recorded| roll.apply(recorded))?;
            if page.len() < PAGE {
                return Ok(roll);
            }
        }
    }

    /// Takes in the next event of the roll.
    ///
    /// # Errors
    /// If this program does not know it.
    pub fn apply(&mut self, recorded: &Recorded) -> Result<(), LogError> {
        let event = recorded.event().map_err(|error| LogError::Other(error.into()))?;
        self.seq = recorded.seq;
        match event {
            Event::System(SystemEvent::BootstrapOpened(opened)) => {
                self.token = Some((opened.token, opened.until));
            }
            Event::System(SystemEvent::Bootstrapped(named)) => {
                (self.token, self.bootstrapped) = (None, true);
                self.members.insert(named.account, Role::Admin);
            }
            Event::System(SystemEvent::RollChanged(changed)) => {
                if changed.role == Role::User {
                    self.members.remove(&changed.account);
                } else {
                    self.members.insert(changed.account, changed.role);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Somebody's role.
    pub fn role(&self, account: AccountId) -> Role {
        self.members.get(&account).copied().unwrap_or_default()
    }

    /// How many administrators there are.
    pub fn admins(&self) -> usize {
        self.members.values().filter(|role| **role == Role::Admin).count()
    }
}
