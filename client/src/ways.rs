//! Ways to prove who one is besides the password: a link by mail, and identities elsewhere. On an enrolled device its
//! key makes a session of such a proof; on any other one it opens nothing.

mod loopback;
pub mod passkey;

use std::{sync::Arc, time::Duration};

use lockstep_api::{
    Bytes64, Code, Problem,
    account::{Account, DeviceProof, Tokens, proof_message},
    ways::{
        Email, Identified, Identities, LinkedIdentity, NameEmail, OidcFinish, OidcProviders, OidcStart,
        OidcStarted, OpenVault, SignInFinish, SignInStart, SignInStarted, Waiting, words_of,
    },
};
use lockstep_events::{Hash32, canonical::sha256, event::OidcRefusal};
use rand::RngCore;
use reqwest::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;
use zeroize::Zeroizing;

use self::loopback::Loopback;
use crate::{
    account::{
        password::{Asked, ShowingFactor},
        remember,
    },
    crypto::os_random,
    engine::Engine,
    error::{Error, NotProven},
    server::Server,
    transport::{Answer, Body, Transport},
};

/// What only this client holds of a proof that is under way.
struct Initiator {
    secret: Zeroizing<[u8; 32]>,
}

impl Initiator {
    fn new() -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        os_random().fill_bytes(&mut *secret);
        Self { secret }
    }

    fn hash(&self) -> Hash32 {
        Hash32(sha256(&*self.secret))
    }

    fn shown(&self) -> Bytes64 {
        Bytes64(self.secret.to_vec())
    }
}

async fn post<T: DeserializeOwned>(
    transport: &Transport,
    path: &str,
    token: Option<&str>,
    body: &impl Serialize,
) -> Result<T, Error> {
    transport.send(Method::POST, path, token, &[], Body::json(body)?).await?.json()
}

/// After so long a server that could not be reached is asked again whether a link was pressed.
const AWAY: Duration = Duration::from_secs(5);

/// A sign-in by a mailed link, under way.
pub struct LinkSignIn {
    transport: Transport,
    initiator: Initiator,
    life: Duration,
}

impl LinkSignIn {
    /// Asks for a link. The server answers the same for names that it does not know.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn start(server: &Server, name: &str) -> Result<Self, Error> {
        let (transport, initiator) = (Transport::new(server)?, Initiator::new());
        let body = SignInStart { name: name.to_owned(), initiator: initiator.hash() };
        let started: SignInStarted = post(&transport, "/v1/sign-in/start", None, &body).await?;
        Ok(Self { transport, initiator, life: Duration::from_secs(started.expires_in.into()) })
    }

    /// The two words that the letter and the opened page must show.
    pub fn words(&self) -> String {
        words_of(&self.initiator.hash())
    }

    /// Waits until the link was opened and its button pressed.
    ///
    /// # Errors
    /// [`Error::NotProven`] if it was not within the link's life.
    pub async fn wait(&self) -> Result<Identified, Error> {
        let asked = tokio::time::Instant::now();
        while asked.elapsed() < self.life {
            let body = Body::json(&SignInFinish { secret: self.initiator.shown() })?;
            let answer = match self.transport.send(Method::POST, "/v1/sign-in/finish", None, &[], body).await
            {
                // A server that is started again meanwhile still has the link.
                Err(Error::Offline(_)) => {
                    tokio::time::sleep(AWAY).await;
                    continue;
                }
                other => other?,
            };
            if answer.status != StatusCode::ACCEPTED {
                return answer.json();
            }
            let waiting: Waiting = answer.json()?;
            tokio::time::sleep(Duration::from_secs(u64::from(waiting.retry_after.clamp(1, 30)))).await;
        }
        Err(Error::NotProven(NotProven::Link))
    }
}

/// A sign-in with an identity elsewhere, under way: the browser comes back to this program.
pub struct OidcSignIn {
    transport: Transport,
    initiator: Initiator,
    loopback: Loopback,
    url: String,
    life: Duration,
    /// To link the identity: the token of a session that proved the password.
    token: Option<Zeroizing<String>>,
}

impl OidcSignIn {
    /// Begins to sign in with a provider of the server.
    ///
    /// # Errors
    /// If there is no such provider, or the server cannot be reached.
    pub async fn start(server: &Server, provider: &str) -> Result<Self, Error> {
        Self::begin(Transport::new(server)?, &format!("/v1/oidc/{}/start", segment(provider)?), None).await
    }

    async fn begin(
        transport: Transport,
        path: &str,
        token: Option<Zeroizing<String>>,
    ) -> Result<Self, Error> {
        let (initiator, loopback) = (Initiator::new(), Loopback::listen().await?);
        let body = OidcStart { initiator: initiator.hash(), port: loopback.port() };
        let started: OidcStarted = post(&transport, path, token.as_ref().map(|t| t.as_str()), &body).await?;
        if !started.url.starts_with("https://") && !started.url.starts_with("http://127.0.0.1:") {
            return Err(Error::Protocol("a sign-in without TLS"));
        }
        let life = Duration::from_secs(started.expires_in.into());
        Ok(Self { transport, initiator, loopback, url: started.url, life, token })
    }

    /// Where the browser has to go.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until the browser has come back, and asks the server who it is.
    ///
    /// # Errors
    /// [`Error::NotProven`] if the provider refused, nobody came, or no account has the identity, and what the server
    /// refuses.
    pub async fn wait(self) -> Result<Identified, Error> {
        self.finish("/v1/oidc/finish").await
    }

    /// Waits until the browser has come back, and links the identity.
    ///
    /// # Errors
    /// As [`OidcSignIn::wait`]; [`NotProven::Taken`] if another account has it.
    pub async fn wait_and_link(self) -> Result<LinkedIdentity, Error> {
        match self.finish("/v1/account/identities").await {
            Err(Error::NotProven(NotProven::Unlinked)) => Err(Error::NotProven(NotProven::Taken)),
            other => other,
        }
    }

    async fn finish<T: DeserializeOwned>(self, path: &str) -> Result<T, Error> {
        let answer = tokio::time::timeout(self.life, self.loopback.answer(&self.url)).await;
        let answer = answer.map_err(|_| Error::NotProven(NotProven::Browser))??;
        let body = OidcFinish {
            secret: self.initiator.shown(),
            code: answer.code,
            state: answer.state,
            iss: answer.iss,
        };
        let token = self.token.as_ref().map(|t| t.as_str());
        let body = Body::json(&body)?;
        let answer = self.transport.send(Method::POST, path, token, &[], body).await?;
        refusal(&answer).map_or_else(|| answer.json(), |why| Err(Error::NotProven(why)))
    }
}

/// Why the server did not take the answer of a provider, if it says so.
fn refusal(answer: &Answer) -> Option<NotProven> {
    let problem: Problem = serde_json::from_slice(&answer.body).ok()?;
    let reason: OidcRefusal = serde_json::from_value(problem.facts?).ok()?;
    let refused = problem.code == Code::LoginFailed;
    refused.then_some(if reason == OidcRefusal::Identity { NotProven::Unlinked } else { NotProven::Provider })
}

/// A name as a segment of a path.
fn segment(name: &str) -> Result<&str, Error> {
    let fits = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if fits { Ok(name) } else { Err(Error::Invalid("a provider's name has letters, digits, - and _ only")) }
}

/// The identity providers of a server.
///
/// # Errors
/// If the server cannot be reached.
pub async fn providers(server: &Server) -> Result<Vec<String>, Error> {
    let answer = Transport::new(server)?.send(Method::GET, "/v1/oidc", None, &[], Body::None).await?;
    Ok(answer.json::<OidcProviders>()?.providers)
}

/// A new session for the device that is here, by a proof of who one is and the device's key. Where the server is, and why
/// it is trusted, is kept as it was for the proof.
pub(crate) async fn enter(
    engine: Arc<Engine>,
    server: &Server,
    proof: &Identified,
    factor: ShowingFactor<'_>,
) -> Result<Arc<Engine>, Error> {
    let transport = Transport::new(server)?;
    let tokens = engine.open_vault(&transport, proof, factor).await?;
    if *server != engine.profile.server {
        // Unlike with a password it has shown no key that this device knows it by: let it show the account.
        let token = Some(tokens.access_token.as_str());
        let shown = transport.send(Method::GET, "/v1/account", token, &[], Body::None).await?;
        engine.same_roster(&shown.json::<Account>()?).await?;
    }
    engine.keep_tokens(tokens).await?;
    let name = engine.profile.name.clone();
    remember(engine, (server, &name), None).await
}

impl Engine {
    async fn open_vault(
        &self,
        transport: &Transport,
        proof: &Identified,
        factor: ShowingFactor<'_>,
    ) -> Result<Tokens, Error> {
        if proof.account != self.account() {
            return Err(Error::NotProven(NotProven::Another));
        }
        let signature = self.keys.device_key.sign(&proof_message(proof.session.as_bytes()));
        let body = OpenVault { device: DeviceProof { device: self.device(), signature } };
        let token = Some(proof.identity_token.as_str());
        let opened: Result<Tokens, Error> = post(transport, "/v1/sessions/vault", token, &body).await;
        let tokens = match Asked::of(opened, factor)? {
            Asked::Answered(tokens) => tokens,
            Asked::Show(show) => post(transport, "/v1/sessions/vault/second-factor", token, &show).await?,
        };
        if tokens.account != self.account() || tokens.device != self.device() {
            return Err(Error::Protocol("tokens of another device"));
        }
        Ok(tokens)
    }

    /// The addresses of the account.
    pub(crate) async fn email(&self) -> Result<Email, Error> {
        self.fetch("/v1/account/email").await
    }

    /// Names an address; the two words that the letter to it shows. The session's proof has to be fresh, as it is after
    /// registering.
    pub(crate) async fn name_email(&self, email: &str) -> Result<String, Error> {
        let token = self.access_token().await?;
        let initiator = Initiator::new();
        let body = Body::json(&NameEmail { email: email.to_owned(), initiator: initiator.hash() })?;
        self.transport.send(Method::PUT, "/v1/account/email", Some(&token), &[], body).await?.ok()?;
        Ok(words_of(&initiator.hash()))
    }

    /// The identities that are linked, and the providers that there are.
    pub(crate) async fn identities(&self) -> Result<Identities, Error> {
        self.fetch("/v1/account/identities").await
    }

    /// Begins to link an identity. The session's proof has to be fresh.
    pub(crate) async fn link_identity(&self, provider: &str) -> Result<OidcSignIn, Error> {
        let path = format!("/v1/account/identities/{}/start", segment(provider)?);
        let token = Zeroizing::new(self.access_token().await?);
        OidcSignIn::begin(Transport::new(&self.profile.server)?, &path, Some(token)).await
    }

    /// Unlinks an identity. The session's proof has to be fresh.
    pub(crate) async fn unlink_identity(&self, identity: Uuid) -> Result<(), Error> {
        self.take_away(&format!("/v1/account/identities/{identity}")).await
    }
}
