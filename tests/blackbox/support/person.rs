//! A person with devices, who speaks the protocol by hand: what the tests need to say wrong things too.
//!
//! Their password is not stretched: the server cannot tell, and a test need not wait.

use ed25519_dalek::{Signer, SigningKey};
use lockstep_api::{
    account::{
        Account, DeviceProof, EnrolDevice, LoggedIn, LoginFinish, LoginStart, LoginStarted, Refresh,
        RegisterFinish, RegisterStart, RegisterStarted, RevokeDevice, Tokens, Wrap, proof_message, wrap_len,
    },
    opaque::{CONTEXT, ServerSuite},
};
use lockstep_events::{
    AccountId, DeviceId, Hash32, VaultId,
    header::public_key,
    ids::Signature,
    roster::{Claim, Roster, Statement},
};
use opaque_ke::{
    ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialResponse, Identifiers, RegistrationResponse,
};
use rand::{RngCore, rngs::OsRng};
use reqwest::{Response, StatusCode};
use uuid::Uuid;

use super::{Node, body};

/// A person at one device.
#[derive(Clone)]
pub struct Person {
    pub name: String,
    pub password: String,
    pub account: AccountId,
    pub vault: VaultId,
    pub device: DeviceId,
    pub device_key: SigningKey,
    pub ask: SigningKey,
    pub tokens: Tokens,
}

/// A random signing key.
pub fn random_key() -> SigningKey {
    let mut seed = [0; 32];
    OsRng.fill_bytes(&mut seed);
    SigningKey::from_bytes(&seed)
}

/// A registration that was started and not finished.
pub struct Registration {
    pub finish: RegisterFinish,
    pub person: Person,
}

impl Person {
    /// Registers somebody new.
    pub async fn register(node: &Node) -> Self {
        let registration = Self::start(node, &format!("{}@example.org", Uuid::new_v4())).await;
        registration.send(node).await
    }

    /// Begins a registration.
    pub async fn start(node: &Node, name: &str) -> Registration {
        let password = "correct horse battery staple".to_owned();
        let start = ClientRegistration::<ServerSuite>::start(&mut OsRng, password.as_bytes()).unwrap();
        let request =
            RegisterStart { name: name.to_owned(), request: start.message.serialize().to_vec().into() };
        let answer = node.post("/v1/accounts/start", &request).send().await.unwrap();
        let started: RegisterStarted = body(answer, StatusCode::OK).await;
        let response = RegistrationResponse::deserialize(&started.response.0).unwrap();
        let finished = start
            .state
            .finish(&mut OsRng, password.as_bytes(), response, ClientRegistrationFinishParameters::default())
            .unwrap();
        let (account, device, vault) = (started.account, DeviceId(Uuid::new_v4()), VaultId(Uuid::new_v4()));
        let (ask, device_key) = (random_key(), random_key());
        let statements = beginning(&ask, account, (device, &device_key), vault);
        let wrap = |name: String| {
            let bytes = vec![7; wrap_len(&name).unwrap()].into();
            Wrap { name, generation: 1, bytes }
        };
        let finish = RegisterFinish {
            attempt: started.attempt,
            upload: finished.message.serialize().to_vec().into(),
            suite: 1,
            statements,
            device,
            vault,
            wraps: ["ark/password".to_owned(), "ask".to_owned(), format!("vault/{vault}")].map(wrap).to_vec(),
            invitation: None,
        };
        let tokens = Tokens {
            account,
            device,
            session: lockstep_events::SessionId::NIL,
            access_token: String::new(),
            expires_in: 0,
            refresh_token: String::new(),
        };
        let person =
            Self { name: name.to_owned(), password, account, vault, device, device_key, ask, tokens };
        Registration { finish, person }
    }

    /// `GET` with this device's token.
    pub async fn get(&self, node: &Node, path: &str) -> Response {
        node.get(path).bearer_auth(&self.tokens.access_token).send().await.unwrap()
    }

    /// `POST` with this device's token.
    pub async fn post<T: serde::Serialize>(&self, node: &Node, path: &str, body: &T) -> Response {
        node.post(path, body).bearer_auth(&self.tokens.access_token).send().await.unwrap()
    }

    /// The account as the server shows it.
    pub async fn look(&self, node: &Node) -> Account {
        body(self.get(node, "/v1/account").await, StatusCode::OK).await
    }

    /// Logs in; with the device's proof if `proven`.
    pub async fn login(&self, node: &Node, password: &str, proven: bool) -> Response {
        let (attempt, finalization) = self.begin_login(node, password).await;
        // With a wrong password the client cannot make KE3; whoever guesses sends something.
        let finalization = finalization.unwrap_or(vec![9; 64]);
        let device = proven.then(|| self.attempt_proof(attempt));
        let finish = LoginFinish { attempt, finalization: finalization.into(), device };
        node.post("/v1/sessions/finish", &finish).send().await.unwrap()
    }

    /// Begins to log in: the attempt, and KE3 if the password is right.
    pub async fn begin_login(&self, node: &Node, password: &str) -> (Uuid, Option<Vec<u8>>) {
        let start = ClientLogin::<ServerSuite>::start(&mut OsRng, password.as_bytes()).unwrap();
        let request = LoginStart {
            name: self.name.clone(),
            request: start.message.serialize().to_vec().into(),
            device: None,
        };
        let answer = node.post("/v1/sessions/start", &request).send().await.unwrap();
        let started: LoginStarted = body(answer, StatusCode::OK).await;
        let response = CredentialResponse::deserialize(&started.response.0).unwrap();
        let parameters = ClientLoginFinishParameters::new(Some(CONTEXT), Identifiers::default(), None);
        let finished = start.state.finish(&mut OsRng, password.as_bytes(), response, parameters).ok();
        (started.attempt, finished.map(|finished| finished.message.serialize().to_vec()))
    }

    /// The device's proof for an attempt.
    pub fn attempt_proof(&self, attempt: Uuid) -> DeviceProof {
        DeviceProof { device: self.device, signature: self.sign(&proof_message(attempt.as_bytes())) }
    }

    /// The same person at another device.
    pub async fn enrol(&self, node: &Node) -> Self {
        let (mut other, answer) = self.enrolment(node).await;
        other.tokens = body(answer, StatusCode::CREATED).await;
        other
    }

    #[allow(dead_code, reason = "some suites that share this enrol without limits")]
    /// Tries to enrol another device.
    pub async fn try_enrol(&self, node: &Node) -> Response {
        self.enrolment(node).await.1
    }

    async fn enrolment(&self, node: &Node) -> (Self, Response) {
        let (other, token, request) = self.enrolling(node).await;
        let answer = node.post("/v1/devices", &request).bearer_auth(token).send().await.unwrap();
        (other, answer)
    }

    /// Another device that is about to be enrolled: with which token, and what it sends.
    pub async fn enrolling(&self, node: &Node) -> (Self, String, EnrolDevice) {
        let answer: LoggedIn = body(self.login(node, &self.password, false).await, StatusCode::OK).await;
        let other = Self { device: DeviceId(Uuid::new_v4()), device_key: random_key(), ..self.clone() };
        let claim = Claim::DeviceAdded { device: other.device, public_key: public_key(&other.device_key) };
        let statement = self.state(&answer.account, claim);
        (other, answer.enrol_token.unwrap(), EnrolDevice { statement })
    }

    /// The next statement of the roster.
    pub fn state(&self, account: &Account, claim: Claim) -> Statement {
        let mut roster = Roster::start(&account.roster[0]).unwrap();
        account.roster[1..].iter().for_each(|statement| roster.apply(statement).unwrap());
        Statement::sign(&self.ask, self.account, roster.epoch + 1, roster.last, claim)
    }

    /// Revokes a device.
    pub async fn revoke(&self, node: &Node, device: DeviceId) -> Response {
        let statement = self.state(&self.look(node).await, Claim::DeviceRevoked { device });
        self.post(node, &format!("/v1/devices/{device}/revoke"), &RevokeDevice { statement }).await
    }

    /// Refreshes with a token.
    pub async fn refresh(&self, node: &Node, token: &str) -> Response {
        let signature = self.sign(&proof_message(token.as_bytes()));
        let body = Refresh { refresh_token: token.to_owned(), signature };
        node.post("/v1/sessions/refresh", &body).send().await.unwrap()
    }

    /// A signature of this device.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.device_key.sign(message).to_bytes())
    }
}

impl Registration {
    /// Finishes it.
    pub async fn send(mut self, node: &Node) -> Person {
        let answer = node.post("/v1/accounts/finish", &self.finish).send().await.unwrap();
        self.person.tokens = body(answer, StatusCode::CREATED).await;
        self.person
    }
}

/// The first three statements of an account.
fn beginning(
    ask: &SigningKey,
    account: AccountId,
    (device, device_key): (DeviceId, &SigningKey),
    vault: VaultId,
) -> Vec<Statement> {
    let claims = [
        Claim::AccountCreated { signing_key: public_key(ask) },
        Claim::DeviceAdded { device, public_key: public_key(device_key) },
        Claim::VaultKeyGen { vault, generation: 1 },
    ];
    let mut previous = Hash32::ZERO;
    let state = |(epoch, claim): (usize, Claim)| {
        let statement = Statement::sign(ask, account, u32::try_from(epoch).unwrap(), previous, claim);
        previous = statement.hash();
        statement
    };
    claims.into_iter().enumerate().map(state).collect()
}
