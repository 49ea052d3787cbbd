//! Rate limits at the door. Every request belongs to an action, by its route; the address that asks is counted before
//! anything else is looked at, whoever asks as soon as it is known.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, Method, request::Parts},
};
use lockstep_api::Code;
use lockstep_events::{AccountId, Clock, DeviceId, SessionId, event::Role};
use uuid::Uuid;

use super::{caller::Caller, problem::Failure, serve::Peer};
use crate::{
    clock::SystemClock,
    limits::{Action, Standing, Stop, Subject, truncated},
    state::{Server, Shared},
};

/// Routes that are more than reading (GET, HEAD, OPTIONS) or writing (anything else). A new route that sends mail,
/// checks a code, pairs a device or leaves is added here and nowhere else.
const ROUTES: &[(&str, &str, Action)] = &[
    ("POST", "/v1/accounts/start", Action::Register),
    ("POST", "/v1/accounts/finish", Action::Finish),
    ("POST", "/v1/sessions/start", Action::Login),
    ("POST", "/v1/sessions/finish", Action::Finish),
    ("POST", "/v1/sessions/step-up/start", Action::Login),
    ("POST", "/v1/sessions/step-up/finish", Action::Finish),
    ("POST", "/v1/sessions/second-factor", Action::Verify),
    ("POST", "/v1/sessions/step-up/second-factor", Action::Verify),
    ("POST", "/v1/sessions/vault/second-factor", Action::Verify),
    ("POST", "/v1/account/factors/totp/confirm", Action::Verify),
    ("POST", "/v1/account/password/start", Action::Finish),
    ("POST", "/v1/account/password/finish", Action::Finish),
    ("POST", "/v1/recovery/start", Action::Verify),
    ("POST", "/v1/recovery/finish", Action::Finish),
    ("POST", "/v1/approvals", Action::Pair),
    ("POST", "/v1/approvals/{approval}/approve", Action::Pair),
    // A new device asks until it is approved: with a key of its own, and by an id that nobody guesses.
    ("POST", "/v1/approvals/{approval}/collect", Action::Read),
    ("POST", "/v1/admin/bootstrap", Action::Verify),
    ("GET", "/v1/me/export", Action::Leave),
    ("POST", "/v1/me/erasure", Action::Leave),
    ("POST", "/v1/sessions/refresh", Action::Refresh),
    ("POST", "/v1/sessions/vault", Action::Finish),
    ("POST", "/v1/sign-in/start", Action::Mail),
    // Whoever asked for a link asks again and again whether it was opened, with a secret that nobody guesses.
    ("POST", "/v1/sign-in/finish", Action::Read),
    ("PUT", "/v1/account/email", Action::Mail),
    ("POST", "/link/{secret}", Action::Verify),
    ("POST", "/v1/oidc/{provider}/start", Action::Login),
    ("POST", "/v1/oidc/finish", Action::Finish),
    // A browser that is sent on.
    ("POST", "/v1/oidc/callback", Action::Read),
    ("GET", "/v1/live", Action::Connect),
    ("POST", "/v1/vaults/{vault}/blobs/get", Action::Read),
    ("POST", "/v1/vaults/{vault}/reconcile", Action::Read),
    ("POST", "/v1/vaults/{vault}/versions/get", Action::Read),
];

/// The action of a request.
pub fn action(method: &Method, template: Option<&str>) -> Action {
    // HEAD is answered by what answers GET.
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let special = ROUTES.iter().find(|(of, route, _)| Some(*route) == template && *of == method.as_str());
    match special {
        Some((.., action)) => *action,
        None if matches!(*method, Method::GET | Method::OPTIONS) => Action::Read,
        None => Action::Write,
    }
}

/// A request on its way through the limits.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Passage>);

#[derive(Debug)]
struct Passage {
    action: Action,
    client: IpAddr,
    /// Who turned out to ask.
    caller: OnceLock<(AccountId, SessionId)>,
    /// What the answer tells about the limits. Never about those of a name: it belongs to somebody else, perhaps.
    told: Mutex<Option<Standing>>,
}

impl Gate {
    /// The gate of a request.
    pub fn new(
        server: &Server,
        method: &Method,
        template: Option<&str>,
        parts: (&HeaderMap, Option<Peer>),
    ) -> Self {
        let (headers, peer) = parts;
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        let said = headers.get_all("x-forwarded-for").iter().rev().map(HeaderValue::as_bytes);
        let client = server.limits.client(peer, said);
        Self(Arc::new(Passage {
            action: action(method, template),
            client,
            caller: OnceLock::new(),
            told: Mutex::default(),
        }))
    }

    /// The address of the client.
    pub fn client(&self) -> IpAddr {
        self.0.client
    }

    /// Who asks, if that turned out.
    pub fn known(&self) -> Option<(AccountId, SessionId)> {
        self.0.caller.get().copied()
    }

    /// Counts the address.
    ///
    /// # Errors
    /// `too_many_requests`; `credentials_unavailable` if what all nodes count together cannot be asked.
    pub async fn enter(&self, server: &Server) -> Result<(), Failure> {
        let passed = server.limits.enter(self.0.action, self.0.client, server.clock.now()).await;
        self.tell(passed.map_err(|stop| self.refused(server, self.0.action, stop))?);
        Ok(())
    }

    /// Counts the caller, now that it is known: its session where it reads, its device where it writes.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub async fn caller(&self, server: &Server, caller: &Caller) -> Result<(), Failure> {
        let _ = self.0.caller.set((caller.account, caller.session));
        if self.0.action == Action::Write {
            self.changes(server, caller.account, 1)?;
        }
        let subject = match self.0.action {
            Action::Read => Subject::Session(caller.session),
            // Somebody who is about to enrol has no device yet.
            Action::Write if caller.device == DeviceId::NIL => Subject::Session(caller.session),
            Action::Write => Subject::Device(caller.account, caller.device),
            Action::Pair | Action::Leave => Subject::Account(caller.account),
            // These are counted by what they are about, which only their handlers know.
            _ => return Ok(()),
        };
        self.subject(server, self.0.action, subject).await
    }

    /// Counts somebody.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub async fn subject(&self, server: &Server, action: Action, subject: Subject) -> Result<(), Failure> {
        let passed = server.limits.subject(action, subject, server.clock.now()).await;
        let standing = passed.map_err(|stop| self.refused(server, action, stop))?;
        if !matches!(subject, Subject::Name(_)) {
            self.tell(standing);
        }
        Ok(())
    }

    /// Counts what somebody changes. A write is counted as one as soon as its caller is known.
    ///
    /// # Errors
    /// `too_many_requests`
    pub fn changes(&self, server: &Server, account: AccountId, number: usize) -> Result<(), Failure> {
        let passed = server.limits.changes(account, number, server.clock.now());
        passed.map_err(|stop| self.refused(server, Action::Change, stop))
    }

    /// Counts a guess at a code, before it is looked at: in its request, and in the day of whom it concerns.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub async fn guess(&self, server: &Server, request: Option<Uuid>, whose: Subject) -> Result<(), Failure> {
        let passed = server.limits.guess(request, whose, server.clock.now()).await;
        passed.map_err(|stop| self.refused(server, Action::Verify, stop))
    }

    /// Counts the login of somebody on the roll of administrators: the address, and the account. Asked when the password
    /// is proven and not before, as the answer tells who is on the roll.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub async fn administrator(&self, server: &Server, account: AccountId) -> Result<(), Failure> {
        if server.feed.administrators.role(account) == Role::User {
            return Ok(());
        }
        let (action, now) = (Action::AdminLogin, server.clock.now());
        let counted = async {
            self.tell(server.limits.enter(action, self.0.client, now).await?);
            self.tell(server.limits.subject(action, Subject::Account(account), now).await?);
            Ok::<_, Stop>(())
        };
        counted.await.map_err(|stop| {
            if matches!(stop, Stop::TooMany { .. }) {
                let account = server.pseudonyms.account(account, SystemClock.now());
                let from = truncated(self.0.client);
                tracing::warn!(account, %from, "an administrator's login is refused: too many in a short time");
            }
            self.refused(server, action, stop)
        })
    }

    fn refused(&self, server: &Server, action: Action, stop: Stop) -> Failure {
        if let Stop::TooMany { standing, .. } = &stop {
            self.tell(Some(*standing));
        }
        refused(server, action, stop)
    }

    fn tell(&self, standing: Option<Standing>) {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        *told = match (*told, standing) {
            (Some(one), Some(other)) => Some(one.tighter(other)),
            (one, other) => one.or(other),
        };
    }

    /// Writes what is left into the headers of the answer.
    pub fn write(&self, headers: &mut HeaderMap) {
        let told = *self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(standing) = told else { return };
        let values = [(LIMIT, standing.limit), (REMAINING, standing.remaining), (RESET, standing.reset_s)];
        for (name, value) in values {
            headers.insert(name, HeaderValue::from(value));
        }
    }
}

/// What a refusal by a limit is to the caller.
pub fn refused(server: &Server, action: Action, stop: Stop) -> Failure {
    match stop {
        Stop::TooMany { retry_after, everybody, .. } => {
            server.metrics.refused(action);
            if everybody {
                server.metrics.refused_everybody(action);
            }
            Failure::from(Code::TooManyRequests).after(seconds(retry_after))
        }
        Stop::Unavailable(error) => error.into(),
    }
}

/// So many at once.
pub const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
/// So many are left.
pub const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
/// Seconds until all are there again.
pub const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// Whole seconds, rounded up: who waits so long is not refused again.
fn seconds(duration: Duration) -> u32 {
    let up = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    u32::try_from(up.max(1)).unwrap_or(u32::MAX)
}

impl FromRequestParts<Shared> for Gate {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, Failure> {
        Ok(Self::of(parts, server))
    }
}

impl Gate {
    /// The gate that a request has come through.
    pub fn of(parts: &Parts, server: &Server) -> Self {
        // `around` puts one into every request; this is for a router that stands without it.
        let new =
            || Self::new(server, &parts.method, None, (&parts.headers, parts.extensions.get().copied()));
        parts.extensions.get().cloned().unwrap_or_else(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_read_or_written_by_its_method_unless_it_is_listed() {
        assert_eq!(action(&Method::GET, Some("/v1/account")), Action::Read);
        assert_eq!(action(&Method::GET, None), Action::Read);
        assert_eq!(action(&Method::POST, Some("/v1/vaults/{vault}/versions")), Action::Write);
        assert_eq!(action(&Method::POST, Some("/v1/sessions/start")), Action::Login);
        assert_eq!(action(&Method::GET, Some("/v1/sessions/start")), Action::Read);
        assert_eq!(action(&Method::HEAD, Some("/v1/me/export")), Action::Leave);
        assert_eq!(action(&Method::HEAD, Some("/v1/live")), Action::Connect);
        assert_eq!(action(&Method::HEAD, Some("/v1/account")), Action::Read);
    }

    #[test]
    fn every_listed_route_exists() {
        let document = serde_json::to_value(crate::http::document()).unwrap();
        for (method, route, _) in ROUTES {
            let known = &document["paths"][route][method.to_lowercase()];
            assert!(known.is_object(), "{method} {route}");
        }
    }

    #[test]
    fn waiting_is_told_in_whole_seconds_rounded_up() {
        let told = [0, 1, 1_000, 1_001, 61_000].map(|ms| seconds(Duration::from_millis(ms)));
        assert_eq!(told, [1, 1, 1, 2, 61]);
    }
}
