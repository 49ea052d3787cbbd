//! Ways in, spoken by hand: proving the password again, changing it, recovering without it.

use lockstep_api::{
    account::{
        LoginFinish, LoginStarted, PasswordFinish, PasswordStart, RegisterStarted, StepUpFinish, StepUpStart,
        SteppedUp, Wrap, wrap_len,
    },
    opaque::{CONTEXT, ServerSuite},
    recovery::{RecoveryFinish, RecoverySet, RecoveryStart, RecoveryStarted},
};
use lockstep_events::{DeviceId, Hash32, canonical::sha256, header::public_key, roster::Claim};
use opaque_ke::{
    ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialResponse, Identifiers, RegistrationResponse,
};
use rand::rngs::OsRng;
use reqwest::{Response, StatusCode};
use uuid::Uuid;

use crate::support::{Node, Person, body, person::random_key};

/// The first message of a proof that is not gone on with.
pub fn step_up_request(password: &str) -> StepUpStart {
    let start = ClientLogin::<ServerSuite>::start(&mut OsRng, password.as_bytes()).unwrap();
    StepUpStart { request: start.message.serialize().to_vec().into() }
}

/// Begins to prove a password again; what ends it.
pub async fn begin_step_up(node: &Node, person: &Person, password: &str) -> StepUpFinish {
    let start = ClientLogin::<ServerSuite>::start(&mut OsRng, password.as_bytes()).unwrap();
    let request = StepUpStart { request: start.message.serialize().to_vec().into() };
    let answer = person.post(node, "/v1/sessions/step-up/start", &request).await;
    let started: LoginStarted = body(answer, StatusCode::OK).await;
    let response = CredentialResponse::deserialize(&started.response.0).unwrap();
    let parameters = ClientLoginFinishParameters::new(Some(CONTEXT), Identifiers::default(), None);
    let finished = start.state.finish(&mut OsRng, password.as_bytes(), response, parameters);
    let finalization = finished.map_or(vec![9; 64], |finished| finished.message.serialize().to_vec());
    StepUpFinish { attempt: started.attempt, finalization: finalization.into() }
}

/// Proves a password again in one session and ends that in another one, or in the same.
pub async fn step_up(node: &Node, person: &Person, password: &str, end: &Person) -> Response {
    let finish = begin_step_up(node, person, password).await;
    end.post(node, "/v1/sessions/step-up/finish", &finish).await
}

/// The same person with a token that counts as freshly proven.
pub async fn fresh(node: &Node, person: &Person) -> Person {
    let stepped: SteppedUp =
        body(step_up(node, person, &person.password, person).await, StatusCode::OK).await;
    let mut person = person.clone();
    person.tokens.access_token = stepped.access_token;
    person
}

/// A new password that waits for the server's answer.
pub struct NewPassword {
    start: opaque_ke::ClientRegistrationStartResult<ServerSuite>,
    password: String,
}

impl NewPassword {
    /// Begins.
    pub fn start(password: &str) -> Self {
        let start = ClientRegistration::<ServerSuite>::start(&mut OsRng, password.as_bytes()).unwrap();
        Self { start, password: password.to_owned() }
    }

    /// The first message.
    pub fn request(&self) -> Vec<u8> {
        self.start.message.serialize().to_vec()
    }

    /// The last message.
    pub fn upload(self, response: &[u8]) -> Vec<u8> {
        let response = RegistrationResponse::deserialize(response).unwrap();
        let parameters = ClientRegistrationFinishParameters::default();
        let finished =
            self.start.state.finish(&mut OsRng, self.password.as_bytes(), response, parameters).unwrap();
        finished.message.serialize().to_vec()
    }
}

/// A wrapped key.
pub fn wrap(name: &str, generation: u32) -> Wrap {
    let bytes = vec![u8::try_from(generation).unwrap(); wrap_len(name).unwrap()];
    Wrap { name: name.to_owned(), generation, bytes: bytes.into() }
}

/// A change of the password, prepared up to its last message.
pub async fn new_password(node: &Node, person: &Person, password: &str, generation: u32) -> PasswordFinish {
    let new = NewPassword::start(password);
    let start = PasswordStart { request: new.request().into() };
    let answer = person.post(node, "/v1/account/password/start", &start).await;
    let started: RegisterStarted = body(answer, StatusCode::OK).await;
    let upload = new.upload(&started.response.0).into();
    PasswordFinish { attempt: started.attempt, upload, suite: 1, wrap: wrap("ark/password", generation) }
}

/// Changes the password; the person with it.
pub async fn change_password(node: &Node, person: &Person, password: &str, generation: u32) -> Person {
    let person = fresh(node, person).await;
    let finish = new_password(node, &person, password, generation).await;
    let answer = person.post(node, "/v1/account/password/finish", &finish).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{}", answer.text().await.unwrap());
    Person { password: password.to_owned(), ..person }
}

/// A recovery code's secret, set for a person.
pub async fn set_recovery(node: &Node, person: &Person, secret: [u8; 32], generation: u32) -> Response {
    let person = fresh(node, person).await;
    let verifier = Hash32(sha256(&secret));
    let claim = Claim::RecoverySlotSet { slot: 0, commitment: Hash32(sha256(verifier.as_bytes())) };
    let statement = person.state(&person.look(node).await, claim);
    let set = RecoverySet { statement, verifier, wrap: wrap("ark/recovery", generation) };
    let request = node.request("PUT", "/v1/account/recovery").json(&set);
    request.bearer_auth(&person.tokens.access_token).send().await.unwrap()
}

/// Shows a secret of a recovery code.
pub async fn start_recovery(node: &Node, name: &str, secret: [u8; 32], new: &NewPassword) -> Response {
    let start = RecoveryStart {
        name: name.to_owned(),
        secret: secret.to_vec().into(),
        request: new.request().into(),
    };
    node.post("/v1/recovery/start", &start).send().await.unwrap()
}

/// A recovery up to its last message, and the person at the new device.
pub async fn begin_recovery(
    node: &Node,
    person: &Person,
    secret: [u8; 32],
    password: &str,
    generation: u32,
) -> (Person, RecoveryFinish) {
    let new = NewPassword::start(password);
    let started: RecoveryStarted =
        body(start_recovery(node, &person.name, secret, &new).await, StatusCode::OK).await;
    let other = Person {
        device: DeviceId(Uuid::new_v4()),
        device_key: random_key(),
        password: password.to_owned(),
        ..person.clone()
    };
    let claim = Claim::DeviceAdded { device: other.device, public_key: public_key(&other.device_key) };
    let finish = RecoveryFinish {
        attempt: started.attempt,
        upload: new.upload(&started.response.0).into(),
        suite: 1,
        wrap: wrap("ark/password", generation),
        statement: other.state(&started.account, claim),
    };
    (other, finish)
}

/// Sets a new password by a recovery code; the person at a new device.
pub async fn recover(
    node: &Node,
    person: &Person,
    secret: [u8; 32],
    password: &str,
    generation: u32,
) -> Person {
    let (other, finish) = begin_recovery(node, person, secret, password, generation).await;
    let answer = node.post("/v1/recovery/finish", &finish).send().await.unwrap();
    Person { tokens: body(answer, StatusCode::CREATED).await, ..other }
}

/// A login up to its last message, with the device's proof.
pub async fn begin_login(node: &Node, person: &Person, password: &str) -> LoginFinish {
    let (attempt, finalization) = person.begin_login(node, password).await;
    let device = Some(person.attempt_proof(attempt));
    LoginFinish { attempt, finalization: finalization.unwrap().into(), device }
}
