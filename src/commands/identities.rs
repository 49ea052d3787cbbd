//! Identities elsewhere: a flow ends with somebody the provider knows; who that is here is a matter of links alone, and
//! never of an e-mail address.

use lockstep_events::{
    AccountId, Epoch, Event, LogError, NewEvent, Outcome, SessionId, StreamId, StreamKind, Unit,
    canonical::Writer,
    event::{AccountEvent, IdentityLinked, IdentityUnlinked, OidcRefusal, OidcRejected, SystemEvent},
    log::StreamExpect,
};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::facts::{Actor, claim, derived, existing_account, new_event};
use crate::{
    auth::{
        credentials::CredentialError,
        identities::{Flow, Identity, IdentityKey},
        oidc::{Answered, FlowSecrets, OidcError, Somebody},
        server_keys::ServerKeys,
    },
    limits::{Action, Subject},
    state::Server,
    subjects::{Purpose, SubjectError},
};

/// A flow lives so long, in seconds.
pub const FLOW_S: i64 = 600;
/// An account has at most so many identities.
const MAX_IDENTITIES: usize = 16;

/// Why a flow was not begun or ended, or an identity not linked or unlinked.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// This server knows no such provider.
    #[error("there is no such provider")]
    NoProvider,
    /// The provider's answer proves nothing here.
    #[error("the provider's answer is refused")]
    Refused(OidcRefusal),
    /// The provider does not answer.
    #[error(transparent)]
    Provider(#[from] OidcError),
    /// There is no such identity.
    #[error("there is no such identity")]
    NoIdentity,
    /// It is the only way in.
    #[error("it is the only way into the account")]
    LastWay,
    /// There are too many.
    #[error("an account has at most 16 identities")]
    TooMany,
    /// There is no such account.
    #[error("there is no such account")]
    NoAccount,
    /// The log did not answer.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The credential store did not answer.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// Personal data could not be sealed.
    #[error(transparent)]
    Subject(#[from] SubjectError),
}

/// A flow begins.
pub struct BeginFlow {
    /// The provider's name.
    pub provider: String,
    /// SHA-256 of the secret that only the asking client holds.
    pub owner: [u8; 32],
    /// Where the asking client listens on its machine.
    pub port: u16,
    /// To link the identity to this account, from this session.
    pub link: Option<(AccountId, SessionId)>,
}

impl BeginFlow {
    /// Begins it: where the person's browser has to go.
    ///
    /// # Errors
    /// [`IdentityError`]
    pub async fn run(self, server: &Server) -> Result<String, IdentityError> {
        let idp = server.idps.get(&self.provider).ok_or(IdentityError::NoProvider)?;
        let secrets = FlowSecrets::of(&server.keys, &self.owner);
        let url = idp.authorize(&secrets, idp.redirect_uri(server.post.base(), self.port)).await?;
        let flow = Flow {
            owner: self.owner,
            state_hash: secrets.state_hash(),
            provider: self.provider,
            port: self.port,
            link: self.link,
            expires_at: server.clock.now().plus_seconds(FLOW_S),
        };
        let kept = server.ways.put_flow(&flow).await?;
        if kept { Ok(url) } else { Err(IdentityError::Refused(OidcRefusal::Flow)) }
    }
}

/// A flow ends: its owner brings the provider's answer.
pub struct EndFlow<'a> {
    /// SHA-256 of the owner's secret.
    pub owner: [u8; 32],
    /// The answer.
    pub answered: Answered<'a>,
    /// Who asks, for a link: it has to be the session that began.
    pub caller: Option<(AccountId, SessionId)>,
}

impl EndFlow<'_> {
    /// Who the provider says it is. The flow is over after this, whatever came of it; a refusal is written down, if it is
    /// not one of very many.
    ///
    /// # Errors
    /// [`IdentityError`]
    pub async fn run(self, server: &Server) -> Result<(Somebody, String), IdentityError> {
        let taken = server.ways.take_flow(self.owner, server.clock.now()).await?;
        // Nobody's flow: nothing was begun, so there is nothing to write down either.
        let flow = taken.ok_or(IdentityError::Refused(OidcRefusal::Flow))?;
        match self.check(server, &flow).await {
            Err(refusal) => {
                reject(server, &self.owner, refusal).await?;
                Err(IdentityError::Refused(refusal))
            }
            Ok(somebody) => Ok((somebody, flow.provider)),
        }
    }

    async fn check(&self, server: &Server, flow: &Flow) -> Result<Somebody, OidcRefusal> {
        let secrets = FlowSecrets::of(&server.keys, &flow.owner);
        if flow.link != self.caller {
            return Err(OidcRefusal::Flow);
        }
        if !bool::from(secrets.state.as_bytes().ct_eq(self.answered.state.as_bytes())) {
            return Err(OidcRefusal::State);
        }
        let idp = server.idps.get(&flow.provider).ok_or(OidcRefusal::Discovery)?;
        let redirect_uri = idp.redirect_uri(server.post.base(), flow.port);
        let verified = idp.verify(&self.answered, &secrets, redirect_uri, server.clock.now()).await;
        verified.map_err(|error| {
            tracing::warn!(provider = flow.provider, cause = %error, "an identity provider's answer is refused");
            match error {
                OidcError::Discovery => OidcRefusal::Discovery,
                OidcError::Issuer => OidcRefusal::Issuer,
                OidcError::Exchange | OidcError::AppleKey => OidcRefusal::Exchange,
                OidcError::Token => OidcRefusal::Token,
            }
        })
    }
}

/// The account that an identity is linked to.
///
/// # Errors
/// [`OidcRefusal::Identity`], if there is none.
pub async fn account_of(
    server: &Server,
    owner: &[u8; 32],
    somebody: &Somebody,
) -> Result<AccountId, IdentityError> {
    if let Some(identity) = server.ways.identity(key_of(&server.keys, somebody)).await? {
        return Ok(identity.account);
    }
    reject(server, owner, OidcRefusal::Identity).await?;
    Err(IdentityError::Refused(OidcRefusal::Identity))
}

fn key_of(keys: &ServerKeys, somebody: &Somebody) -> IdentityKey {
    let name = Writer::new("lockstep/v1/identity")
        .lp(somebody.issuer.as_bytes())
        .lp(somebody.subject.as_bytes())
        .finish();
    IdentityKey(keys.stable("identity", &name))
}

/// Writes a refusal down, unless there were many for the same reason: whoever has no account can bring them about, and
/// the log keeps them for ever. The others are counted.
async fn reject(server: &Server, owner: &[u8; 32], reason: OidcRefusal) -> Result<(), LogError> {
    let now = server.clock.now();
    if server.limits.subject(Action::Refusal, Subject::Refused(reason), now).await.is_err() {
        server.metrics.refused(Action::Refusal);
        return Ok(());
    }
    let id = derived("lockstep/v1/oidc-rejected", &[owner, &now.0.to_be_bytes()]);
    let event = Event::System(SystemEvent::OidcRejected(OidcRejected { reason }));
    let epoch = Epoch::from_slice(&server.keys.stable("epoch", b"system")[..16]).unwrap_or(Epoch::ZERO);
    let unit = Unit {
        streams: vec![claim(StreamId::SYSTEM, StreamKind::System, StreamExpect::Any, epoch)],
        events: vec![new_event(None, StreamId::SYSTEM, id, None, &event)?],
        ..Unit::default()
    };
    server.batcher.append(unit).await.map(|_| ())
}

/// An identity is linked, from a session that proved the password.
pub struct LinkIdentity {
    /// Who asks.
    pub actor: Actor,
    /// Whom the provider knows.
    pub somebody: Somebody,
    /// The provider's name.
    pub provider: String,
    /// SHA-256 of the flow's owner, for the refusal.
    pub owner: [u8; 32],
}

impl LinkIdentity {
    /// Links it; linking it again changes nothing.
    ///
    /// # Errors
    /// [`IdentityError`]
    pub async fn run(self, server: &Server) -> Result<Identity, IdentityError> {
        let (account, key) = (self.actor.account, key_of(&server.keys, &self.somebody));
        let present = server.ways.identity(key).await?;
        let others = server.ways.identities(account).await?.len();
        if let Some(known) = decide_link(present, account, others)? {
            return if known.account == account { Ok(known) } else { self.foreign(server).await };
        }
        let linked_at = server.clock.now();
        let provider = self.provider.clone();
        let identity = Identity { key, id: Uuid::new_v4(), account, provider, linked_at };
        let body = AccountEvent::IdentityLinked(IdentityLinked { identity: identity.id });
        let event = self.actor.event(identity.id.into(), Some(identity.id.into()), body)?;
        let name = serde_json::json!({ "issuer": self.somebody.issuer, "subject": self.somebody.subject });
        let name = name.to_string();
        let event = server.subjects.seal_into(event, account, Purpose::Identity, name.as_bytes()).await?;
        append(server, account, event).await?;
        let stands = server.ways.link_identity(&identity).await?;
        if stands.id != identity.id {
            // Somebody was faster, perhaps this person at another device: what was just written does not hold.
            append(server, account, unlinked(self.actor, identity.id)?).await?;
        }
        if stands.account == account { Ok(stands) } else { self.foreign(server).await }
    }

    async fn foreign(&self, server: &Server) -> Result<Identity, IdentityError> {
        reject(server, &self.owner, OidcRefusal::Identity).await?;
        Err(IdentityError::Refused(OidcRefusal::Identity))
    }
}

/// The identity that stands already, if one does.
fn decide_link(
    present: Option<Identity>,
    account: AccountId,
    others: usize,
) -> Result<Option<Identity>, IdentityError> {
    match present {
        None if others >= MAX_IDENTITIES => Err(IdentityError::TooMany),
        Some(known) if known.account == account => Ok(Some(known)),
        other => Ok(other),
    }
}

/// An identity is unlinked, from a session that proved the password. The event stands before the row goes: whoever is cut
/// off in between is done with it by asking again, from any device.
pub struct UnlinkIdentity {
    /// Who asks.
    pub actor: Actor,
    /// The link.
    pub identity: Uuid,
}

impl UnlinkIdentity {
    /// Unlinks it.
    ///
    /// # Errors
    /// [`IdentityError`]
    pub async fn run(self, server: &Server) -> Result<(), IdentityError> {
        let account = self.actor.account;
        let linked = server.ways.identities(account).await?;
        let has_password = server.credentials.password_of(account).await?.is_some();
        let ids: Vec<Uuid> = linked.iter().map(|identity| identity.id).collect();
        decide_unlink(&ids, has_password, self.identity)?;
        let unit = unit(account, unlinked(self.actor, self.identity)?);
        match server.batcher.append(unit).await? {
            // Reused: another device said it before, and did not get as far as the row.
            Outcome::Appended(_) | Outcome::IdReused(_) => {}
            Outcome::Conflict(_) | Outcome::Missing(_) => return Err(IdentityError::NoAccount),
        }
        server.ways.unlink_identity(account, self.identity).await?;
        Ok(())
    }
}

fn unlinked(actor: Actor, identity: Uuid) -> Result<NewEvent, LogError> {
    let id = derived("lockstep/v1/identity-unlinked", &[identity.as_bytes()]);
    actor.event(id, Some(identity.into()), AccountEvent::IdentityUnlinked(IdentityUnlinked { identity }))
}

/// At least one way into the account is left.
fn decide_unlink(linked: &[Uuid], has_password: bool, identity: Uuid) -> Result<(), IdentityError> {
    if !linked.contains(&identity) {
        return Err(IdentityError::NoIdentity);
    }
    if has_password || linked.len() > 1 { Ok(()) } else { Err(IdentityError::LastWay) }
}

fn unit(account: AccountId, event: NewEvent) -> Unit {
    Unit { streams: vec![existing_account(account)], events: vec![event], ..Unit::default() }
}

async fn append(server: &Server, account: AccountId, event: NewEvent) -> Result<(), IdentityError> {
    match server.batcher.append(unit(account, event)).await? {
        Outcome::Appended(_) => Ok(()),
        _ => Err(IdentityError::NoAccount),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_events::Micros;
    use rand::rngs::OsRng;

    fn id<T: From<Uuid>>(n: u128) -> T {
        T::from(Uuid::from_u128(n))
    }

    fn identity(account: u128) -> Identity {
        let (key, provider) = (IdentityKey([1; 32]), "p".to_owned());
        Identity { key, id: id(9), account: id(account), provider, linked_at: Micros(0) }
    }

    #[test]
    fn an_identity_is_linked_once_and_an_account_has_not_too_many() {
        assert!(decide_link(None, id(1), 0).unwrap().is_none());
        assert!(decide_link(Some(identity(1)), id(1), 16).unwrap().is_some());
        assert!(
            decide_link(Some(identity(2)), id(1), 0).unwrap().is_some_and(|known| known.account == id(2))
        );
        assert!(matches!(decide_link(None, id(1), MAX_IDENTITIES), Err(IdentityError::TooMany)));
    }

    #[test]
    fn at_least_one_way_into_an_account_is_left() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        assert!(decide_unlink(&[one], true, one).is_ok());
        assert!(decide_unlink(&[one, two], false, one).is_ok());
        assert!(matches!(decide_unlink(&[one], false, one), Err(IdentityError::LastWay)));
        assert!(matches!(decide_unlink(&[one], true, two), Err(IdentityError::NoIdentity)));
    }

    #[test]
    fn somebody_is_issuer_and_subject_together_and_only_with_the_key() {
        let keys = ServerKeys::generate(&mut OsRng);
        let somebody =
            |issuer: &str, subject: &str| Somebody { issuer: issuer.into(), subject: subject.into() };
        let key = |keys, issuer, subject| key_of(keys, &somebody(issuer, subject)).0;
        assert_eq!(key(&keys, "https://a", "1"), key(&keys, "https://a", "1"));
        assert_ne!(key(&keys, "https://a", "1"), key(&keys, "https://a1", ""));
        assert_ne!(key(&keys, "https://a", "1"), key(&keys, "https://b", "1"));
        assert_ne!(key(&keys, "https://a", "1"), key(&ServerKeys::generate(&mut OsRng), "https://a", "1"));
    }
}
