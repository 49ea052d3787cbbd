//! What people do beside sync: ways in, a socket, an office. All that only they and the server know is planted.

use futures_util::{SinkExt, StreamExt};
use lockstep_api::{
    Problem,
    account::{Account, DeviceProof, LoggedIn, Refresh, Tokens, proof_message},
    admin::{Bootstrap, Done, SetRole},
    factor::{ConfirmTotp, Demanded, FactorIsSet, NewTotp, ShowFactor, Shown},
    live::{ClientMessage, PROTOCOL, Sub, Ticket},
    recovery::{RecoveryFinish, RecoverySet, RecoveryStart, RecoveryStarted},
    ways::{Identified, NameEmail, OidcFinish, OidcStart, OidcStarted, OpenVault, SignInFinish, SignInStart},
};
use lockstep_events::{
    Clock, DeviceId, Hash32, canonical::sha256, event::Role, header::public_key, ids::Signature,
    roster::Claim,
};
use lockstepd::{auth::totp, clock::SystemClock};
use serde::{Serialize, de::DeserializeOwned};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest},
};
use uuid::Uuid;

use super::{Talkative, planted::Planted};
use crate::{
    authenticators::App,
    outside::{
        device::{Device, send},
        wire::{Reply, Wire, request, tls},
    },
    support::{letters::awaited, person::random_key, ways::Initiator},
    ways::{NewPassword, wrap},
};

/// The body of an answer that is none of the refusals.
fn good<T: DeserializeOwned>(reply: &Reply) -> T {
    assert!(reply.status < 300, "{} {}", reply.head, String::from_utf8_lossy(&reply.body));
    reply.json()
}

async fn put(device: &Device, path: &str, body: &impl Serialize) {
    let json = [("content-type", "application/json")];
    let reply = device.send("PUT", path, &json, &serde_json::to_vec(body).unwrap()).await;
    assert!(reply.status < 300, "{path}: {}", String::from_utf8_lossy(&reply.body));
}

fn sign(device: &Device, message: &[u8]) -> Signature {
    Signature(ed25519_dalek::Signer::sign(&device.key, message).to_bytes())
}

/// Plants the signature of a token: what comes before it is the same in many.
fn plant_token(planted: &mut Planted, token: &str) {
    planted.plant("a token", token.rsplit('.').next().unwrap().to_owned());
}

/// Tokens of a user, of an administrator, of an auditor, of somebody who enrols and of somebody by who they are.
pub async fn tokens(talkative: &Talkative, user: &Device, planted: &mut Planted) -> [String; 5] {
    let addr = talkative.server.addr;
    let (admin, auditor) = (Device::register(addr).await, Device::register(addr).await);
    let token = format!("lsb_{}", talkative.told("bootstrap lsb_", "Next:").await);
    let _: Done = good(&admin.post("/v1/admin/bootstrap", &Bootstrap { token }).await);
    let reason = planted.text("a reason");
    let role = format!("/v1/admin/accounts/{}/role", auditor.account);
    let _: Done = good(&admin.post(&role, &SetRole { role: Role::Auditor, reason }).await);
    // A change of role ends all sessions.
    let auditor = auditor.another().await;
    let enrolling: LoggedIn = good(&Device::register(addr).await.log_in().await);
    let tokens = [
        user.token.clone(),
        admin.token,
        auditor.token,
        enrolling.enrol_token.unwrap(),
        by_mail(talkative, planted).await,
    ];
    tokens.iter().for_each(|token| plant_token(planted, token));
    tokens
}

/// Somebody with an address: opens the vault by a mailed link, refreshes, and proves by another one who they are.
async fn by_mail(talkative: &Talkative, planted: &mut Planted) -> String {
    let device = Device::register(talkative.server.addr).await;
    let local = Uuid::new_v4().simple().to_string();
    planted.plant("an address", local.clone());
    let email = format!("{local}@example.org");
    let name = async |email: &str, initiator: Initiator| {
        let named = NameEmail { email: email.to_owned(), initiator: initiator.hash() };
        put(&device, "/v1/account/email", &named).await;
    };
    // The mail server says of two that it has no such person, or not now, and repeats the address.
    for (nobody, line) in
        [("gone", "a letter was refused for good"), ("busy-1", "a task of the mail waits and is tried again")]
    {
        let host = format!("{}.example.org", planted.text("a host"));
        name(&format!("{nobody}@{host}"), initiator(planted)).await;
        talkative.writes(line).await;
    }
    name(&email, initiator(planted)).await;
    press(talkative, planted, &email, ("Confirm", 1)).await;
    let identified = proven(talkative, planted, &email, 1).await;
    plant_token(planted, &identified.identity_token);
    let signature = sign(&device, &proof_message(identified.session.as_bytes()));
    planted.bytes("a proof", &signature.0);
    let open = OpenVault { device: DeviceProof { device: device.device, signature } };
    let opened = send(device.addr, "/v1/sessions/vault", Some(&identified.identity_token), &open).await;
    let opened: Tokens = good(&opened);
    planted.plant("a token to refresh with", opened.refresh_token.clone());
    let signature = sign(&device, &proof_message(opened.refresh_token.as_bytes()));
    let refresh = Refresh { refresh_token: opened.refresh_token, signature };
    let refreshed: Tokens = good(&send(device.addr, "/v1/sessions/refresh", None, &refresh).await);
    planted.plant("a token to refresh with", refreshed.refresh_token);
    proven(talkative, planted, &email, 2).await.identity_token
}

fn initiator(planted: &mut Planted) -> Initiator {
    let initiator = Initiator::new();
    planted.bytes("what only the asking client holds", &initiator.0);
    initiator
}

/// Waits for a letter with this subject, the newest of so many, and presses what is in it.
async fn press(talkative: &Talkative, planted: &mut Planted, email: &str, (subject, count): (&str, usize)) {
    let folder = talkative.mail.mailbox();
    let fits =
        |letter: &crate::support::letters::Letter| letter.to() == email && letter.subject().contains(subject);
    let link = awaited(&folder, count, fits).await.pop().unwrap().link();
    planted.plant("what is in a mailed link", link.trim_start_matches("/link/").to_owned());
    let mut wire = Wire::connect(talkative.server.addr).await.unwrap();
    assert_eq!(wire.exchange(&request("GET", &link, &[], b"")).await.unwrap().status, 200);
    assert_eq!(wire.exchange(&request("POST", &link, &[], b"")).await.unwrap().status, 200);
}

/// Who somebody is, by their mail.
async fn proven(talkative: &Talkative, planted: &mut Planted, email: &str, count: usize) -> Identified {
    let addr = talkative.server.addr;
    let client = initiator(planted);
    let start = SignInStart { name: email.to_owned(), initiator: client.hash() };
    assert_eq!(send(addr, "/v1/sign-in/start", None, &start).await.status, 202);
    press(talkative, planted, email, ("sign-in", count)).await;
    let finish = SignInFinish { secret: client.0.to_vec().into() };
    good(&send(addr, "/v1/sign-in/finish", None, &finish).await)
}

/// Links an identity elsewhere, and signs in with it.
pub async fn elsewhere(talkative: &Talkative, planted: &mut Planted) {
    let device = Device::register(talkative.server.addr).await;
    let subject = planted.text("who somebody is elsewhere");
    let (client, start) = begin(planted);
    let begun = device.post("/v1/account/identities/idp/start", &start).await;
    let answer = answered(talkative, planted, (&client, &begun), &subject);
    assert_eq!(device.post("/v1/account/identities", &answer).await.status, 201);
    let (client, start) = begin(planted);
    let begun = send(device.addr, "/v1/oidc/idp/start", None, &start).await;
    let answer = answered(talkative, planted, (&client, &begun), &subject);
    let identified: Identified = good(&send(device.addr, "/v1/oidc/finish", None, &answer).await);
    plant_token(planted, &identified.identity_token);
    let (client, start) = begin(planted);
    let begun = send(device.addr, "/v1/oidc/idp/start", None, &start).await;
    let code = planted.text("a code that the provider does not know");
    let wrong = OidcFinish { code, ..answered(talkative, planted, (&client, &begun), &subject) };
    assert!(send(device.addr, "/v1/oidc/finish", None, &wrong).await.status >= 400);
    talkative.writes("an identity provider's answer is refused").await;
}

fn begin(planted: &mut Planted) -> (Initiator, OidcStart) {
    let client = initiator(planted);
    let start = OidcStart { initiator: client.hash(), port: 49_152 };
    (client, start)
}

/// What comes back from the provider.
fn answered(
    talkative: &Talkative,
    planted: &mut Planted,
    (client, begun): (&Initiator, &Reply),
    subject: &str,
) -> OidcFinish {
    let begun: OidcStarted = good(begun);
    let url = url::Url::parse(&begun.url).unwrap();
    for (name, value) in url.query_pairs() {
        if ["state", "nonce", "code_challenge"].contains(&&*name) {
            planted.plant(&name, value.into_owned());
        }
    }
    let code = talkative.idp.code(&begun.url, subject);
    planted.plant("a code of the provider", code.clone());
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    OidcFinish { secret: client.0.to_vec().into(), code, state, iss: Some(talkative.idp.url().to_owned()) }
}

/// Sets an authenticator app, and logs in with a code on paper.
pub async fn authenticator(talkative: &Talkative, planted: &mut Planted) {
    let device = Device::register(talkative.server.addr).await;
    let made: NewTotp = good(&device.post("/v1/account/factors/totp", &()).await);
    planted.plant("the secret of an authenticator app", made.secret.clone());
    let app = App::new(&made);
    planted.bytes("the bytes of that secret", &app.secret);
    let code = totp::code(&app.secret, SystemClock.now().seconds() / 30);
    let confirm = ConfirmTotp { factor: app.factor, code };
    let set: FactorIsSet = good(&device.post("/v1/account/factors/totp/confirm", &confirm).await);
    set.codes.iter().for_each(|code| planted.plant("a code on paper", code.clone()));
    let asked: Problem = device.log_in().await.json();
    let asked: Demanded = serde_json::from_value(asked.facts.unwrap()).unwrap();
    planted.bytes("what a passkey has to sign", &asked.challenge.0);
    for (shown, status) in [(planted.text("a wrong code"), 401), (set.codes[0].clone(), 200)] {
        let shown = ShowFactor { attempt: asked.attempt, factor: Shown::Codes { code: shown } };
        let reply = send(device.addr, "/v1/sessions/second-factor", None, &shown).await;
        assert_eq!(reply.status, status, "{}", String::from_utf8_lossy(&reply.body));
    }
}

/// Sets a recovery code, and a new password by it.
pub async fn recovery(talkative: &Talkative, planted: &mut Planted) {
    let device = Device::register(talkative.server.addr).await;
    let secret = *random_key().as_bytes();
    let verifier = Hash32(sha256(&secret));
    planted.bytes("what a recovery code gives", &secret);
    planted.bytes("the hash of that", verifier.as_bytes());
    let account: Account = good(&device.get("/v1/account").await);
    let claim = Claim::RecoverySlotSet { slot: 0, commitment: Hash32(sha256(verifier.as_bytes())) };
    let statement = device.state(&account, claim);
    planted.bytes("a statement's signature", &statement.signature.0);
    let set = RecoverySet { statement, verifier, wrap: wrap("ark/recovery", 1) };
    put(&device, "/v1/account/recovery", &set).await;
    let new = NewPassword::start("seventeen violet anchors");
    let request = new.request();
    planted.bytes("the first message of a new password", &request);
    let start =
        RecoveryStart { name: device.name.clone(), secret: secret.to_vec().into(), request: request.into() };
    let started: RecoveryStarted = good(&send(device.addr, "/v1/recovery/start", None, &start).await);
    let claim =
        Claim::DeviceAdded { device: DeviceId(Uuid::new_v4()), public_key: public_key(&random_key()) };
    let upload = new.upload(&started.response.0);
    planted.bytes("the last message of a new password", &upload);
    let finish = RecoveryFinish {
        attempt: started.attempt,
        upload: upload.into(),
        suite: 1,
        wrap: wrap("ark/password", 2),
        statement: device.state(&started.account, claim),
    };
    let tokens: Tokens = good(&send(device.addr, "/v1/recovery/finish", None, &finish).await);
    planted.plant("a token to refresh with", tokens.refresh_token);
}

/// Follows two streams, goes on with another token, and ends with what is no message.
pub async fn socket(device: &Device, planted: &mut Planted) {
    let ticket: Ticket = good(&device.post("/v1/live/ticket", &()).await);
    planted.plant("a ticket", ticket.ticket.to_string());
    let mut request =
        format!("wss://localhost:{}/v1/live", device.addr.port()).into_client_request().unwrap();
    let protocols = format!("{PROTOCOL}, {}", planted.text("a further protocol"));
    request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
    let (mut socket, _) = client_async(request, tls(device.addr).await.unwrap()).await.unwrap();
    let sub = |stream| Sub { stream, after: None };
    let hello = ClientMessage::Hello {
        token: None,
        ticket: Some(ticket.ticket.to_string()),
        client: planted.text("a client's name"),
        caps: vec![planted.text("what a client can do")],
        subs: vec![sub(device.vault.into())],
    };
    let renewed = ClientMessage::Token { token: device.token.clone() };
    for message in [hello, ClientMessage::Sub(sub(device.account.into())), renewed] {
        socket.send(Message::text(serde_json::to_string(&message).unwrap())).await.unwrap();
    }
    socket.send(Message::text(planted.text("what is no message"))).await.unwrap();
    let mut heard = String::new();
    while let Some(Ok(message)) = socket.next().await {
        heard.push_str(&message.to_string());
    }
    for word in ["welcome", "subbed", "bye"] {
        assert!(heard.contains(&format!("\"{word}\"")), "{word}: {heard}");
    }
}
