//! Rows of the credential tables, the same in both databases.

use lockstep_events::{AccountId, DeviceId, Micros, SessionId, event::Method, ids::PublicKey};
use uuid::Uuid;

use crate::auth::credentials::{
    CredentialError, Held, KeyState, KnownPassword, PasswordRecord, Reserved, SigningKeyRow, StoredSession,
    Wrapped,
};

use super::named_row::named_row;

type Result<T> = std::result::Result<T, CredentialError>;

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| CredentialError::Other("a stored value has the wrong length".into()))
}

fn number<T: TryFrom<i64>>(stored: i64) -> Result<T> {
    T::try_from(stored).map_err(|_| CredentialError::Other("a stored number is out of range".into()))
}

fn uuid(bytes: &[u8]) -> Result<Uuid> {
    Ok(Uuid::from_bytes(fixed(bytes)?))
}

/// Times as eight bytes each, big-endian.
pub fn micros_to_bytes(times: &[Micros]) -> Vec<u8> {
    times.iter().flat_map(|time| time.0.to_be_bytes()).collect()
}

fn micros_from_bytes(bytes: &[u8]) -> Vec<Micros> {
    bytes.chunks_exact(8).filter_map(|c| Some(Micros(i64::from_be_bytes(c.try_into().ok()?)))).collect()
}

/// The stored name of a method: the one that events and tokens have.
pub fn method_name(method: Method) -> Result<String> {
    match serde_json::to_value(method) {
        Ok(serde_json::Value::String(name)) => Ok(name),
        _ => Err(CredentialError::Other("a method has no name".into())),
    }
}

named_row! {
    pub struct KeyRow {
        kid: String,
        public_key: Vec<u8>,
        state: String,
        created_at: i64,
        changed_at: i64,
    }
}

impl KeyRow {
    pub fn key(self) -> Result<SigningKeyRow> {
        Ok(SigningKeyRow {
            public_key: PublicKey(fixed(&self.public_key)?),
            state: KeyState::from_name(&self.state),
            created_at: Micros(self.created_at),
            changed_at: Micros(self.changed_at),
            kid: self.kid,
        })
    }
}

named_row! {
    pub struct PasswordRow {
        account: Vec<u8>,
        setup: i64,
        suite: i64,
        record: Vec<u8>,
        staged: bool,
        factors: bool,
    }
}

/// A [`PasswordRow`] of what follows, which has the columns of `p`.
macro_rules! password {
    ($rest:literal) => {
        concat!(
            "SELECT p.account, p.setup, p.suite, p.record, \
             EXISTS (SELECT 1 FROM staged s WHERE s.account = p.account) AS staged, \
             EXISTS (SELECT 1 FROM factors f WHERE f.account = p.account \
             AND f.kind NOT IN ('recovery', 'approval')) AS factors FROM ",
            $rest
        )
    };
}

/// The password behind a name, or behind an address that is still held for the account that had it; what else is bound,
/// if it is nobody's. To find a row takes longer than not to find one. So the next name is looked up, which is this one
/// or the one that follows it in the index, and the password behind that: both are there for every name but the few
/// behind the last one.
pub const PASSWORD_BY_NAME: &str = password!(
    "(SELECT coalesce(CASE WHEN n.own OR a.account IS NOT NULL THEN r.account END, $2) AS account, \
     coalesce(CASE WHEN n.own OR a.account IS NOT NULL THEN r.setup END, $3) AS setup, \
     coalesce(CASE WHEN n.own OR a.account IS NOT NULL THEN r.suite END, $4) AS suite, \
     coalesce(CASE WHEN n.own OR a.account IS NOT NULL THEN r.record END, $5) AS record \
     FROM (SELECT 1 AS one) o \
     LEFT JOIN (SELECT account, name_index = $1 AS own FROM names WHERE name_index >= $1 \
     ORDER BY name_index LIMIT 1) n ON true \
     LEFT JOIN addresses a ON a.address_index = $1 AND a.standing = 'former' \
     LEFT JOIN passwords r ON r.account = CASE WHEN n.own THEN n.account \
     ELSE coalesce(a.account, n.account) END) p"
);
/// For whom an address is held, as the confirmed one or for a while as the former one, and since when: nobody else gets
/// it for a name.
pub const HELD_FOR: &str = "SELECT account, since FROM addresses WHERE address_index = $1 AND standing = 'former' \
     UNION ALL SELECT account, since FROM addresses WHERE address_index = $1 AND standing = 'confirmed'";
/// The password of an account.
pub const PASSWORD_OF: &str = password!("passwords p WHERE p.account = $1");

impl PasswordRow {
    pub fn known(self) -> Result<KnownPassword> {
        let record = PasswordRecord {
            account: AccountId(uuid(&self.account)?),
            setup: number(self.setup)?,
            suite: number(self.suite)?,
            record: self.record,
        };
        Ok(KnownPassword { record, staged: self.staged, factors: self.factors })
    }
}

named_row! {
    pub struct NameRow {
        account: Vec<u8>,
        attempt: Vec<u8>,
        reserved_at: i64,
        confirmed: bool,
    }
}

/// A name that is held for an account cannot be reserved.
pub fn held((by, since): &(Vec<u8>, i64)) -> Result<Reserved> {
    Ok(Reserved::Taken { by: AccountId(uuid(by)?), since: Micros(*since), confirmed: true })
}

impl NameRow {
    /// Whether the name belongs to this attempt already, or to whom else.
    pub fn reserved(self, attempt: Uuid) -> Result<Reserved> {
        if uuid(&self.attempt)? == attempt {
            return Ok(Reserved::Yes);
        }
        let (by, since) = (AccountId(uuid(&self.account)?), Micros(self.reserved_at));
        Ok(Reserved::Taken { by, since, confirmed: self.confirmed })
    }
}

/// Everything that an account's password opens: its wraps in order; without a name, the suite of the password; and,
/// without a number either, that a change is staged.
pub const HELD: &str = "SELECT name, generation, bytes FROM wraps WHERE account = $1 \
     UNION ALL SELECT NULL, suite, NULL FROM passwords WHERE account = $1 \
     UNION ALL SELECT NULL, NULL, NULL FROM staged WHERE account = $1 ORDER BY name";

named_row! {
    /// A row of [`HELD`].
    pub struct HeldRow {
        name: Option<String>,
        generation: Option<i64>,
        bytes: Option<Vec<u8>>,
    }
}

impl HeldRow {
    /// All rows of an account.
    pub fn all(rows: Vec<Self>) -> Held {
        let mut held = Held::default();
        for row in rows {
            match (row.name, row.generation, row.bytes) {
                (Some(name), Some(generation), Some(bytes)) => {
                    let generation = u32::try_from(generation).unwrap_or(0);
                    held.wraps.push(Wrapped { name, generation, bytes });
                }
                (_, Some(suite), _) => held.suite = u16::try_from(suite).ok(),
                (_, None, _) => held.staged = true,
            }
        }
        held
    }
}

named_row! {
    pub struct SessionRow {
        session: Vec<u8>,
        account: Vec<u8>,
        device: Vec<u8>,
        method: String,
        seed: Vec<u8>,
        generation: i64,
        token_hash: Vec<u8>,
        rotations: Vec<u8>,
        opened_at: i64,
        ended_at: Option<i64>,
    }
}

impl SessionRow {
    pub fn session(self) -> Result<StoredSession> {
        Ok(StoredSession {
            session: SessionId(uuid(&self.session)?),
            account: AccountId(uuid(&self.account)?),
            device: DeviceId(uuid(&self.device)?),
            method: serde_json::from_value(self.method.into())
                .map_err(|e| CredentialError::Other(e.into()))?,
            seed: fixed(&self.seed)?,
            generation: number(self.generation)?,
            token_hash: fixed(&self.token_hash)?,
            rotations: micros_from_bytes(&self.rotations),
            opened_at: Micros(self.opened_at),
            ended_at: self.ended_at.map(Micros),
        })
    }
}
