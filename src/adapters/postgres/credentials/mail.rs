//! Mail, addresses and links, beside the credentials.

use lockstep_events::{AccountId, Micros, Position};

use super::{ALONE, PostgresCredentials, Result, failed};
use crate::{
    adapters::mail_tables::{self as tables, mail_tables},
    auth::{
        addresses::{Address, Claims, FINISH_S, MailedLink, OUTSTANDING, Standing},
        credentials::NameIndex,
    },
    mail::outbox::{Claimed, Confirmed, Task, confirmed_id},
};

mail_tables!(
    PostgresCredentials,
    failed,
    "UPDATE mail_tasks SET next_at = $2, tries = tries + 1 WHERE id IN (SELECT id FROM mail_tasks \
     WHERE done_at IS NULL AND next_at <= $1 ORDER BY next_at LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING id, task, tries",
    ALONE
);
