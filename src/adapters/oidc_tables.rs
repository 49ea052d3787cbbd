//! The tables of identities and flows: the same statements in both databases.

use lockstep_events::{AccountId, Micros, SessionId};
use uuid::Uuid;

use crate::auth::{
    credentials::CredentialError,
    identities::{Flow, Identity, IdentityKey},
};

use super::named_row::named_row;

type Result<T> = std::result::Result<T, CredentialError>;

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| CredentialError::Other("a stored value has the wrong length".into()))
}

fn uuid(bytes: &[u8]) -> Result<Uuid> {
    Ok(Uuid::from_bytes(fixed(bytes)?))
}

pub fn port(stored: i64) -> Result<u16> {
    u16::try_from(stored).map_err(|_| CredentialError::Other("a stored port is out of range".into()))
}

named_row! {
    pub struct IdentityRow {
        identity: Vec<u8>,
        id: Vec<u8>,
        account: Vec<u8>,
        provider: String,
        linked_at: i64,
    }
}

impl IdentityRow {
    pub fn identity(self) -> Result<Identity> {
        Ok(Identity {
            key: IdentityKey(fixed(&self.identity)?),
            id: uuid(&self.id)?,
            account: AccountId(uuid(&self.account)?),
            provider: self.provider,
            linked_at: Micros(self.linked_at),
        })
    }
}

named_row! {
    pub struct FlowRow {
        owner: Vec<u8>,
        state_hash: Vec<u8>,
        provider: String,
        port: i64,
        account: Option<Vec<u8>>,
        session: Option<Vec<u8>>,
        expires_at: i64,
    }
}

impl FlowRow {
    pub fn flow(self) -> Result<Flow> {
        let link = match (self.account, self.session) {
            (Some(account), Some(session)) => Some((AccountId(uuid(&account)?), SessionId(uuid(&session)?))),
            _ => None,
        };
        Ok(Flow {
            owner: fixed(&self.owner)?,
            state_hash: fixed(&self.state_hash)?,
            provider: self.provider,
            port: port(self.port)?,
            link,
            expires_at: Micros(self.expires_at),
        })
    }
}

pub const PUT_FLOW: &str = "INSERT INTO oidc_flows (owner, state_hash, provider, port, account, session, expires_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
pub const FLOW_PORT: &str = "SELECT port FROM oidc_flows WHERE state_hash = $1 AND expires_at > $2";
pub const TAKE_FLOW: &str = "DELETE FROM oidc_flows WHERE owner = $1 AND expires_at > $2 \
     RETURNING owner, state_hash, provider, port, account, session, expires_at";
pub const LINK_IDENTITY: &str = "INSERT INTO identities (identity, id, account, provider, linked_at) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
pub const IDENTITY: &str =
    "SELECT identity, id, account, provider, linked_at FROM identities WHERE identity = $1";
pub const IDENTITIES: &str = "SELECT identity, id, account, provider, linked_at FROM identities WHERE account = $1 ORDER BY linked_at, id";
pub const UNLINK: &str = "DELETE FROM identities WHERE account = $1 AND id = $2";
pub const SWEEP_FLOWS: &str = "DELETE FROM oidc_flows WHERE expires_at <= $1";

/// Implements the port for a store with a `pool`.
macro_rules! oidc_tables {
    ($store:ty, $failed:path) => {
        #[async_trait::async_trait]
        impl $crate::auth::identities::Identities for $store {
            async fn put_flow(&self, flow: &Flow) -> Result<bool> {
                let (account, session) = flow.link.unzip();
                let put = sqlx::query(tables::PUT_FLOW)
                    .bind(flow.owner.to_vec())
                    .bind(flow.state_hash.to_vec())
                    .bind(&flow.provider)
                    .bind(i64::from(flow.port))
                    .bind(account.map(|account| account.as_bytes().to_vec()))
                    .bind(session.map(|session| session.as_bytes().to_vec()))
                    .bind(flow.expires_at.0);
                Ok(put.execute(&self.pool).await.map_err($failed)?.rows_affected() > 0)
            }

            async fn flow_port(&self, state_hash: [u8; 32], now: Micros) -> Result<Option<u16>> {
                let port = sqlx::query_scalar(tables::FLOW_PORT).bind(state_hash.to_vec()).bind(now.0);
                let port: Option<i64> = port.fetch_optional(&self.pool).await.map_err($failed)?;
                port.map(tables::port).transpose()
            }

            async fn take_flow(&self, owner: [u8; 32], now: Micros) -> Result<Option<Flow>> {
                let row = sqlx::query_as(tables::TAKE_FLOW).bind(owner.to_vec()).bind(now.0);
                let row: Option<tables::FlowRow> = row.fetch_optional(&self.pool).await.map_err($failed)?;
                row.map(tables::FlowRow::flow).transpose()
            }

            async fn link_identity(&self, identity: &Identity) -> Result<Identity> {
                let link = sqlx::query(tables::LINK_IDENTITY)
                    .bind(identity.key.0.to_vec())
                    .bind(identity.id.as_bytes().to_vec())
                    .bind(identity.account.as_bytes().to_vec())
                    .bind(&identity.provider)
                    .bind(identity.linked_at.0);
                link.execute(&self.pool).await.map_err($failed)?;
                let row = sqlx::query_as(tables::IDENTITY).bind(identity.key.0.to_vec());
                let row: tables::IdentityRow = row.fetch_one(&self.pool).await.map_err($failed)?;
                row.identity()
            }

            async fn identity(&self, key: IdentityKey) -> Result<Option<Identity>> {
                let row = sqlx::query_as(tables::IDENTITY).bind(key.0.to_vec());
                let row: Option<tables::IdentityRow> =
                    row.fetch_optional(&self.pool).await.map_err($failed)?;
                row.map(tables::IdentityRow::identity).transpose()
            }

            async fn identities(&self, account: AccountId) -> Result<Vec<Identity>> {
                let rows = sqlx::query_as(tables::IDENTITIES).bind(account.as_bytes().to_vec());
                let rows: Vec<tables::IdentityRow> = rows.fetch_all(&self.pool).await.map_err($failed)?;
                rows.into_iter().map(tables::IdentityRow::identity).collect()
            }

            async fn unlink_identity(&self, account: AccountId, id: uuid::Uuid) -> Result<bool> {
                let unlink = sqlx::query(tables::UNLINK).bind(account.as_bytes().to_vec());
                let unlink = unlink.bind(id.as_bytes().to_vec());
                Ok(unlink.execute(&self.pool).await.map_err($failed)?.rows_affected() > 0)
            }

            async fn sweep_flows(&self, now: Micros) -> Result<u64> {
                let swept = sqlx::query(tables::SWEEP_FLOWS).bind(now.0).execute(&self.pool);
                Ok(swept.await.map_err($failed)?.rows_affected())
            }
        }
    };
}
pub(super) use oidc_tables;
