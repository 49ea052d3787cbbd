//! The tables of mail, addresses and links: the statements are the same in both databases, and so is what is done with
//! them. Each database's credential store takes them by [`mail_tables!`].

use lockstep_events::{AccountId, Micros};
use uuid::Uuid;

use crate::{
    auth::{
        addresses::{Address, Claims, MailedLink, Purpose, Standing},
        credentials::{CredentialError, NameIndex},
    },
    mail::outbox::{Claimed, Confirmed, Task},
};

use super::named_row::named_row;

type Result<T> = std::result::Result<T, CredentialError>;

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| CredentialError::Other("a stored value has the wrong length".into()))
}

pub fn account(bytes: &[u8]) -> Result<AccountId> {
    Ok(AccountId(Uuid::from_bytes(fixed(bytes)?)))
}

named_row! {
    pub struct TaskRow {
        id: Vec<u8>,
        task: Vec<u8>,
        tries: i64,
    }
}

impl TaskRow {
    pub fn claimed(self) -> Result<Claimed> {
        let tries = u32::try_from(self.tries).unwrap_or(u32::MAX);
        Ok(Claimed { id: Uuid::from_bytes(fixed(&self.id)?), task: self.task, tries })
    }
}

named_row! {
    pub struct AddressRow {
        address_index: Vec<u8>,
        sealed: Vec<u8>,
        since: i64,
    }
}

impl AddressRow {
    pub fn address(self, account: AccountId, standing: Standing) -> Result<Address> {
        let index = NameIndex(fixed(&self.address_index)?);
        Ok(Address { account, standing, index, sealed: self.sealed, since: Micros(self.since) })
    }
}

named_row! {
    pub struct LinkRow {
        token_hash: Vec<u8>,
        purpose: String,
        account: Vec<u8>,
        address_index: Vec<u8>,
        initiator: Vec<u8>,
        expires_at: i64,
    }
}

impl LinkRow {
    pub fn link(self) -> Result<MailedLink> {
        let unknown = || CredentialError::Other("a stored link has an unknown purpose".into());
        Ok(MailedLink {
            token_hash: fixed(&self.token_hash)?,
            purpose: Purpose::from_name(&self.purpose).ok_or_else(unknown)?,
            account: account(&self.account)?,
            index: NameIndex(fixed(&self.address_index)?),
            initiator: fixed(&self.initiator)?,
            expires_at: Micros(self.expires_at),
        })
    }
}

named_row! {
    pub struct StandingRow {
        account: Vec<u8>,
        standing: String,
        address_index: Vec<u8>,
    }
}

/// What some rows say about an address that an account wants to confirm.
pub fn folded(rows: &[StandingRow], rivals: &[Vec<u8>], by: AccountId, index: NameIndex) -> Result<Claims> {
    let own = |standing: Standing, same: bool| {
        rows.iter().any(|row| {
            row.account == by.as_bytes()
                && row.standing == standing.name()
                && (row.address_index == index.0) == same
        })
    };
    let taken = |row: &StandingRow| row.account != by.as_bytes() && row.address_index == index.0;
    Ok(Claims {
        pending: own(Standing::Pending, true) || own(Standing::Confirmed, true),
        taken: rows.iter().any(taken),
        replaces: own(Standing::Confirmed, false),
        rivals: rivals.iter().map(|rival| account(rival)).collect::<Result<_>>()?,
    })
}

/// What follows from an address that was given, as it was written then.
pub fn confirmed(task: &[u8]) -> Result<Confirmed> {
    match Task::from_bytes(task) {
        Some(Task::Confirmed { what }) => Ok(what),
        _ => Err(CredentialError::Other("a stored task is not what its id says".into())),
    }
}

pub const TASK: &str = "SELECT task FROM mail_tasks WHERE id = $1 AND done_at IS NULL";
pub const PUT_TASK: &str =
    "INSERT INTO mail_tasks (id, account, task, next_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
pub const FINISH_TASK: &str =
    "UPDATE mail_tasks SET done_at = $2, task = $3 WHERE id = $1 AND done_at IS NULL";
pub const POSTPONE_TASK: &str = "UPDATE mail_tasks SET next_at = $2 WHERE id = $1 AND done_at IS NULL";
pub const REACTED: &str = "SELECT position FROM mail_reacted WHERE one = 1";
pub const SET_REACTED: &str = "INSERT INTO mail_reacted (one, position) VALUES (1, $1) \
     ON CONFLICT (one) DO UPDATE SET position = excluded.position \
     WHERE mail_reacted.position < excluded.position";
pub const FORGET_TASKS: &str = "DELETE FROM mail_tasks WHERE account = $1";
pub const SWEEP_TASKS: &str = "DELETE FROM mail_tasks WHERE done_at < $1";

pub const ADDRESS: &str =
    "SELECT address_index, sealed, since FROM addresses WHERE account = $1 AND standing = $2";
pub const CLAIM: &str = "INSERT INTO addresses (account, standing, address_index, sealed, since) \
     VALUES ($1, 'pending', $2, $3, $4) ON CONFLICT (account, standing) DO UPDATE \
     SET address_index = excluded.address_index, sealed = excluded.sealed, since = excluded.since";
/// Whoever reads the mail of an address is asked before whoever has it for a name.
pub const ACCOUNT_OF: &str = "SELECT account FROM addresses WHERE address_index = $1 AND standing = 'confirmed' \
     UNION ALL SELECT account FROM names WHERE name_index = $1 AND NOT EXISTS \
     (SELECT 1 FROM addresses WHERE address_index = $1 AND standing = 'confirmed')";
pub const FORGET: &str = "DELETE FROM addresses WHERE account = $1 AND standing = $2";
/// Whoever changes something about an account's addresses or links holds their rows.
pub const HOLD: &str = "UPDATE addresses SET since = since WHERE account = $1";
pub const STANDINGS: &str = "SELECT account, standing, address_index FROM addresses \
     WHERE account = $1 OR (address_index = $2 AND standing IN ('confirmed', 'former'))";
/// An address that comes back is no former one.
pub const NOT_FORMER: &str =
    "DELETE FROM addresses WHERE account = $1 AND standing = 'former' AND address_index = $2";
/// Of several changes within a short time the first address is held: it is the one that its owner knows.
pub const TO_FORMER: &str = "UPDATE addresses SET standing = 'former', since = $2 \
     WHERE account = $1 AND standing = 'confirmed' \
     AND NOT EXISTS (SELECT 1 FROM addresses f WHERE f.account = $1 AND f.standing = 'former')";
pub const REPLACED: &str = "DELETE FROM addresses WHERE account = $1 AND standing = 'confirmed'";
pub const FREE: &str = "DELETE FROM addresses WHERE standing = 'former' AND since <= $1";
pub const TO_CONFIRMED: &str = "UPDATE addresses SET standing = 'confirmed', since = $2 \
     WHERE account = $1 AND standing = 'pending' AND address_index = $3";
/// Letters to the former address open nothing any more. They are known still: a letter that is sent once more has the
/// same link, and a new row of it would be one to the new address.
pub const END_SIGN_INS: &str =
    "UPDATE links SET expires_at = $2 WHERE account = $1 AND purpose = 'sign_in' AND expires_at > $2";
/// Whoever else has the address for their login name gives it up. None of them has confirmed it: then it would be taken.
/// Who has confirmed another one has that for a name from now on.
pub const GIVE_UP_NAME: &str = "UPDATE names SET name_index = (SELECT address_index FROM addresses \
     WHERE addresses.account = names.account AND standing = 'confirmed') \
     WHERE name_index = $1 AND account <> $2 AND EXISTS (SELECT 1 FROM addresses a \
     WHERE a.account = names.account AND a.standing = 'confirmed' \
     AND NOT EXISTS (SELECT 1 FROM names n WHERE n.name_index = a.address_index)) RETURNING account";
/// Who has confirmed nothing has no name any more.
pub const DISPLACED: &str = "SELECT account FROM names WHERE name_index = $1 AND account <> $2";
pub const RENAME: &str = "UPDATE names SET name_index = $2 WHERE account = $1 AND name_index IN \
     (SELECT address_index FROM addresses WHERE account = $1 AND standing = 'confirmed')";
pub const END_CLAIMS: &str = "DELETE FROM addresses WHERE address_index = $1 AND standing = 'pending'";
/// What an account can be entered with.
pub const ENTRIES: [&str; 3] = [
    "DELETE FROM names WHERE account = $1",
    "DELETE FROM passwords WHERE account = $1",
    "DELETE FROM wraps WHERE account = $1",
];

pub const KEPT_LINK: &str = "SELECT count(*) FROM links WHERE token_hash = $1";
/// A link that asks another address for its confirmation does nothing any more, though it lives for a day: it does not
/// count. So each address gets its few letters, and no mailbox more than those.
pub const OUTSTANDING_LINKS: &str = "SELECT count(*) FROM links WHERE account = $1 AND purpose = $2 \
     AND pressed_at IS NULL AND expires_at > $3 AND (purpose <> 'confirm' OR address_index = $4)";
pub const PUT_LINK: &str = "INSERT INTO links (token_hash, purpose, account, address_index, initiator, expires_at) \
     VALUES ($1, $2, $3, $4, $5, $6)";
pub const LINK: &str = "SELECT token_hash, purpose, account, address_index, initiator, expires_at FROM links \
     WHERE token_hash = $1 AND pressed_at IS NULL AND expires_at > $2";
pub const PRESS: &str = "UPDATE links SET pressed_at = $2 \
     WHERE token_hash = $1 AND pressed_at IS NULL AND expires_at > $2 \
     RETURNING token_hash, purpose, account, address_index, initiator, expires_at";
/// Only whoever reads the mail of the present address comes in, also if the letter left as it was replaced.
pub const TAKE: &str = "UPDATE links SET taken_at = $2 WHERE token_hash = (SELECT token_hash FROM links \
     WHERE initiator = $1 AND purpose = 'sign_in' AND pressed_at IS NOT NULL AND taken_at IS NULL \
     AND expires_at > $2 AND EXISTS (SELECT 1 FROM addresses WHERE addresses.account = links.account \
     AND addresses.address_index = links.address_index AND standing = 'confirmed') LIMIT 1) \
     AND taken_at IS NULL RETURNING account";
pub const SWEEP_LINKS: &str = "DELETE FROM links WHERE expires_at <= $1";

/// What stands about an address, read in a transaction.
macro_rules! claims {
    ($tx:ident, $account:ident, $index:ident, $failed:path) => {{
        let rows =
            sqlx::query_as(tables::STANDINGS).bind($account.as_bytes().to_vec()).bind($index.0.to_vec());
        let rows: Vec<tables::StandingRow> = rows.fetch_all(&mut *$tx).await.map_err($failed)?;
        let rivals = sqlx::query_scalar(tables::DISPLACED).bind($index.0.to_vec());
        let rivals = rivals.bind($account.as_bytes().to_vec());
        let rivals: Vec<Vec<u8>> = rivals.fetch_all(&mut *$tx).await.map_err($failed)?;
        tables::folded(&rows, &rivals, $account, $index)?
    }};
}
pub(super) use claims;

/// Implements the ports of mail for a store with `begin`, a `pool`, and this module's `failed`; `$claim` takes tasks, and
/// `$alone` makes a transaction wait for others about the same address.
macro_rules! mail_tables {
    ($store:ty, $failed:path, $claim:literal, $alone:expr) => {
        #[async_trait::async_trait]
        impl $crate::mail::outbox::Outbox for $store {
            async fn put_task(
                &self,
                id: uuid::Uuid,
                about: Option<AccountId>,
                task: &[u8],
                now: Micros,
            ) -> Result<()> {
                let about = about.map(|account| account.as_bytes().to_vec());
                let put = sqlx::query(tables::PUT_TASK).bind(id.as_bytes().to_vec()).bind(about);
                let put = put.bind(task).bind(now.0);
                put.execute(&self.pool).await.map(|_| ()).map_err($failed)
            }

            async fn claim_tasks(&self, now: Micros, until: Micros, limit: u32) -> Result<Vec<Claimed>> {
                let rows: Vec<tables::TaskRow> = sqlx::query_as($claim)
                    .bind(now.0)
                    .bind(until.0)
                    .bind(i64::from(limit))
                    .fetch_all(&self.pool)
                    .await
                    .map_err($failed)?;
                rows.into_iter().map(tables::TaskRow::claimed).collect()
            }

            async fn finish_task(&self, id: uuid::Uuid, now: Micros) -> Result<()> {
                let done = sqlx::query(tables::FINISH_TASK).bind(id.as_bytes().to_vec());
                let done = done.bind(now.0).bind(Vec::<u8>::new());
                done.execute(&self.pool).await.map(|_| ()).map_err($failed)
            }

            async fn postpone_task(&self, id: uuid::Uuid, until: Micros) -> Result<()> {
                let later = sqlx::query(tables::POSTPONE_TASK).bind(id.as_bytes().to_vec()).bind(until.0);
                later.execute(&self.pool).await.map(|_| ()).map_err($failed)
            }

            async fn reacted(&self) -> Result<Option<Position>> {
                let at: Option<i64> =
                    sqlx::query_scalar(tables::REACTED).fetch_optional(&self.pool).await.map_err($failed)?;
                Ok(at.and_then(|at| u64::try_from(at).ok()).map(Position))
            }

            async fn set_reacted(&self, to: Position) -> Result<()> {
                let at = i64::try_from(to.0).unwrap_or(i64::MAX);
                let set = sqlx::query(tables::SET_REACTED).bind(at);
                set.execute(&self.pool).await.map(|_| ()).map_err($failed)
            }

            async fn forget_tasks(&self, account: AccountId) -> Result<()> {
                let forget = sqlx::query(tables::FORGET_TASKS).bind(account.as_bytes().to_vec());
                forget.execute(&self.pool).await.map(|_| ()).map_err($failed)
            }

            async fn sweep_tasks(&self, done_before: Micros) -> Result<u64> {
                let swept = sqlx::query(tables::SWEEP_TASKS).bind(done_before.0).execute(&self.pool);
                Ok(swept.await.map_err($failed)?.rows_affected())
            }
        }

        #[async_trait::async_trait]
        impl $crate::auth::addresses::Addresses for $store {
            async fn address(&self, account: AccountId, standing: Standing) -> Result<Option<Address>> {
                let row: Option<tables::AddressRow> = sqlx::query_as(tables::ADDRESS)
                    .bind(account.as_bytes().to_vec())
                    .bind(standing.name())
                    .fetch_optional(&self.pool)
                    .await
                    .map_err($failed)?;
                row.map(|row| row.address(account, standing)).transpose()
            }

            async fn claim_address(&self, pending: &Address) -> Result<()> {
                let claim = sqlx::query(tables::CLAIM)
                    .bind(pending.account.as_bytes().to_vec())
                    .bind(pending.index.0.to_vec())
                    .bind(&pending.sealed)
                    .bind(pending.since.0);
                claim.execute(&self.pool).await.map(|_| ()).map_err($failed)
            }

            async fn account_of(&self, index: NameIndex) -> Result<Option<AccountId>> {
                let found: Option<Vec<u8>> = sqlx::query_scalar(tables::ACCOUNT_OF)
                    .bind(index.0.to_vec())
                    .fetch_optional(&self.pool)
                    .await
                    .map_err($failed)?;
                found.map(|bytes| tables::account(&bytes)).transpose()
            }

            async fn claims(&self, account: AccountId, index: NameIndex) -> Result<Claims> {
                let mut tx = self.begin().await?;
                let claims = tables::claims!(tx, account, index, $failed);
                tx.commit().await.map_err($failed)?;
                Ok(claims)
            }

            async fn confirm_address(&self, link: &MailedLink, now: Micros) -> Result<Option<Confirmed>> {
                let (of, index, task) = (link.account, link.index, confirmed_id(&link.token_hash));
                let mut tx = self.begin().await?;
                let alone = sqlx::query($alone).bind(index.0.to_vec());
                alone.execute(&mut *tx).await.map_err($failed)?;
                let hold = sqlx::query(tables::HOLD).bind(of.as_bytes().to_vec());
                hold.execute(&mut *tx).await.map_err($failed)?;
                let begun = sqlx::query_scalar(tables::TASK).bind(task.as_bytes().to_vec());
                let begun: Option<Vec<u8>> = begun.fetch_optional(&mut *tx).await.map_err($failed)?;
                if let Some(begun) = begun {
                    return tables::confirmed(&begun).map(Some);
                }
                let give_up = sqlx::query_scalar(tables::GIVE_UP_NAME).bind(index.0.to_vec());
                let give_up = give_up.bind(of.as_bytes().to_vec());
                let renamed: Vec<Vec<u8>> = give_up.fetch_all(&mut *tx).await.map_err($failed)?;
                let renamed = renamed.iter().map(|bytes| tables::account(bytes)).collect::<Result<_>>()?;
                let claims = tables::claims!(tx, of, index, $failed);
                if !claims.pending || claims.taken {
                    return Ok(None);
                }
                let (account, index) = (of.as_bytes().to_vec(), index.0.to_vec());
                for (rival, sql) in claims.rivals.iter().flat_map(|r| tables::ENTRIES.map(|sql| (r, sql))) {
                    let delete = sqlx::query(sql).bind(rival.as_bytes().to_vec());
                    delete.execute(&mut *tx).await.map_err($failed)?;
                }
                let rename = sqlx::query(tables::RENAME).bind(&account).bind(&index);
                rename.execute(&mut *tx).await.map_err($failed)?;
                if claims.replaces {
                    let back = sqlx::query(tables::NOT_FORMER).bind(&account).bind(&index);
                    back.execute(&mut *tx).await.map_err($failed)?;
                    let former = sqlx::query(tables::TO_FORMER).bind(&account).bind(now.0);
                    former.execute(&mut *tx).await.map_err($failed)?;
                    let replaced = sqlx::query(tables::REPLACED).bind(&account);
                    replaced.execute(&mut *tx).await.map_err($failed)?;
                    let end = sqlx::query(tables::END_SIGN_INS).bind(&account).bind(now.0);
                    end.execute(&mut *tx).await.map_err($failed)?;
                }
                let confirm = sqlx::query(tables::TO_CONFIRMED).bind(&account).bind(now.0).bind(&index);
                confirm.execute(&mut *tx).await.map_err($failed)?;
                sqlx::query(tables::END_CLAIMS).bind(&index).execute(&mut *tx).await.map_err($failed)?;
                let (link, replaced, rivals) = (link.token_hash, claims.replaces, claims.rivals);
                let what = Confirmed { account: of, link, replaced, rivals, renamed, at: now };
                let put = sqlx::query(tables::PUT_TASK).bind(task.as_bytes().to_vec()).bind(&account);
                let put = put.bind(Task::Confirmed { what: what.clone() }.to_bytes());
                put.bind(now.plus_seconds(FINISH_S).0).execute(&mut *tx).await.map_err($failed)?;
                tx.commit().await.map_err($failed)?;
                Ok(Some(what))
            }

            async fn forget_address(&self, account: AccountId, standing: Standing) -> Result<()> {
                let forget = sqlx::query(tables::FORGET).bind(account.as_bytes().to_vec());
                let forget = forget.bind(standing.name());
                forget.execute(&self.pool).await.map(|_| ()).map_err($failed)
            }

            async fn free_addresses(&self, before: Micros) -> Result<u64> {
                let freed = sqlx::query(tables::FREE).bind(before.0).execute(&self.pool);
                Ok(freed.await.map_err($failed)?.rows_affected())
            }

            async fn put_link(&self, link: &MailedLink, now: Micros) -> Result<bool> {
                let account = link.account.as_bytes().to_vec();
                let mut tx = self.begin().await?;
                let hold = sqlx::query(tables::HOLD).bind(&account);
                hold.execute(&mut *tx).await.map_err($failed)?;
                let kept = sqlx::query_scalar(tables::KEPT_LINK).bind(link.token_hash.to_vec());
                let kept: i64 = kept.fetch_one(&mut *tx).await.map_err($failed)?;
                if kept > 0 {
                    return Ok(true);
                }
                let outstanding = sqlx::query_scalar(tables::OUTSTANDING_LINKS).bind(&account);
                let outstanding =
                    outstanding.bind(link.purpose.name()).bind(now.0).bind(link.index.0.to_vec());
                let outstanding: i64 = outstanding.fetch_one(&mut *tx).await.map_err($failed)?;
                if usize::try_from(outstanding).is_ok_and(|n| n >= OUTSTANDING) {
                    return Ok(false);
                }
                let put = sqlx::query(tables::PUT_LINK)
                    .bind(link.token_hash.to_vec())
                    .bind(link.purpose.name())
                    .bind(&account)
                    .bind(link.index.0.to_vec())
                    .bind(link.initiator.to_vec())
                    .bind(link.expires_at.0);
                put.execute(&mut *tx).await.map_err($failed)?;
                tx.commit().await.map_err($failed)?;
                Ok(true)
            }

            async fn link(&self, token_hash: [u8; 32], now: Micros) -> Result<Option<MailedLink>> {
                let row = sqlx::query_as(tables::LINK).bind(token_hash.to_vec()).bind(now.0);
                let row: Option<tables::LinkRow> = row.fetch_optional(&self.pool).await.map_err($failed)?;
                row.map(tables::LinkRow::link).transpose()
            }

            async fn press_link(&self, token_hash: [u8; 32], now: Micros) -> Result<Option<MailedLink>> {
                let row = sqlx::query_as(tables::PRESS).bind(token_hash.to_vec()).bind(now.0);
                let row: Option<tables::LinkRow> = row.fetch_optional(&self.pool).await.map_err($failed)?;
                row.map(tables::LinkRow::link).transpose()
            }

            async fn take_pressed(&self, initiator: [u8; 32], now: Micros) -> Result<Option<AccountId>> {
                let row = sqlx::query_scalar(tables::TAKE).bind(initiator.to_vec()).bind(now.0);
                let row: Option<Vec<u8>> = row.fetch_optional(&self.pool).await.map_err($failed)?;
                row.map(|bytes| tables::account(&bytes)).transpose()
            }

            async fn sweep_links(&self, now: Micros) -> Result<u64> {
                let swept = sqlx::query(tables::SWEEP_LINKS).bind(now.0).execute(&self.pool);
                Ok(swept.await.map_err($failed)?.rows_affected())
            }
        }
    };
}
pub(super) use mail_tables;
