//! People who prove who they are by other ways than the password.

use lockstep_api::account::{DeviceProof, proof_message};
use lockstep_api::ways::{Email, Identified, NameEmail, SignInFinish, SignInStart, words_of};
use lockstep_events::{Hash32, canonical::sha256};
use rand::{RngCore, rngs::OsRng};
use reqwest::{Response, StatusCode};

use super::{Node, Person, body};

/// What only the asking client holds.
#[derive(Clone)]
pub struct Initiator(pub [u8; 32]);

impl Initiator {
    pub fn new() -> Self {
        let mut secret = [0; 32];
        OsRng.fill_bytes(&mut secret);
        Self(secret)
    }

    pub fn hash(&self) -> Hash32 {
        Hash32(sha256(&self.0))
    }

    pub fn words(&self) -> String {
        words_of(&self.hash())
    }

    /// Asks for a link.
    pub async fn ask(&self, node: &Node, name: &str) -> Response {
        let body = SignInStart { name: name.to_owned(), initiator: self.hash() };
        node.post("/v1/sign-in/start", &body).send().await.unwrap()
    }

    /// Asks whether it was pressed.
    pub async fn poll(&self, node: &Node) -> Response {
        let body = SignInFinish { secret: self.0.to_vec().into() };
        node.post("/v1/sign-in/finish", &body).send().await.unwrap()
    }

    /// The proof, after the link was pressed.
    pub async fn proof(&self, node: &Node) -> Identified {
        body(self.poll(node).await, StatusCode::OK).await
    }
}

/// Opens a mailed link as a browser does, and presses its button.
pub async fn press(node: &Node, link: &str) -> Response {
    node.request("POST", link).send().await.unwrap()
}

impl Person {
    /// Names an address.
    pub async fn name_email(&self, node: &Node, email: &str) -> Response {
        let body = NameEmail { email: email.to_owned(), initiator: Initiator::new().hash() };
        node.request("PUT", "/v1/account/email")
            .bearer_auth(&self.tokens.access_token)
            .json(&body)
            .send()
            .await
            .unwrap()
    }

    /// Names an address and confirms it.
    pub async fn with_email(&self, node: &Node, email: &str) {
        assert_eq!(self.name_email(node, email).await.status(), StatusCode::ACCEPTED);
        let letter = node.letter(email, "Confirm", 1).await;
        assert_eq!(press(node, &letter.link()).await.status(), StatusCode::OK);
    }

    pub async fn email(&self, node: &Node) -> Email {
        body(self.get(node, "/v1/account/email").await, StatusCode::OK).await
    }

    /// A proof by mailed link.
    pub async fn proof_by_link(&self, node: &Node, email: &str) -> Identified {
        let client = Initiator::new();
        assert_eq!(client.ask(node, email).await.status(), StatusCode::ACCEPTED);
        let letter = node.letter(email, "sign-in", 1).await;
        assert_eq!(press(node, &letter.link()).await.status(), StatusCode::OK);
        client.proof(node).await
    }

    /// Opens a session by such a proof and a device key.
    pub async fn open_vault(&self, node: &Node, proof: &Identified) -> Response {
        let signature = self.sign(&proof_message(proof.session.as_bytes()));
        let body = lockstep_api::ways::OpenVault { device: DeviceProof { device: self.device, signature } };
        let request = node.post("/v1/sessions/vault", &body).bearer_auth(&proof.identity_token);
        request.send().await.unwrap()
    }
}
