//! Whoever was let in may have lost the right to it when the last byte of the request is there, or when what they asked
//! for is written: then nothing of it is done.

use lockstep_api::{
    Code, Problem,
    account::{LabelDevice, LoggedIn, Tokens},
    ways::Identified,
};
use lockstep_events::{Clock, event::Method};
use lockstepd::commands::prove_identity::ProveIdentity;
use reqwest::StatusCode;
use serde::Serialize;
use sqlx::{Connection, Executor, PgConnection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    people::until,
    support::{Mode, Node, Person, assert_problem, body},
    ways::{begin_login, change_password, fresh, new_password},
};

in_both_modes! {
    many threads:
    an_enrolment_whose_body_ends_after_a_change_of_the_password_enrols_nothing,
    a_request_whose_body_ends_after_its_device_was_revoked_is_not_done,
    a_login_that_races_a_change_of_the_password_keeps_no_session,
    a_vault_that_is_opened_while_all_others_end_opens_before_or_not_at_all,
}

/// A request whose body is held back. The server asks for the body (RFC 9110, 10.1.1), and does so after it has let the
/// caller in: whatever happens from here on happens while it reads.
pub struct Held {
    stream: TcpStream,
    body: Vec<u8>,
}

impl Held {
    /// Sends the head, and waits until the caller was let in.
    pub async fn send(node: &Node, (method, path): (&str, &str), token: &str, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).unwrap();
        let mut stream = TcpStream::connect(node.running().addr).await.unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut asked = [0; 25];
        stream.read_exact(&mut asked).await.unwrap();
        assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n", "{}", String::from_utf8_lossy(&asked));
        Self { stream, body }
    }

    /// Sends the body; what is answered.
    pub async fn finish(mut self) -> Problem {
        self.stream.write_all(&self.body).await.unwrap();
        let mut answer = Vec::new();
        self.stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_else(|_| panic!("no problem: {answer}"))
    }
}

async fn an_enrolment_whose_body_ends_after_a_change_of_the_password_enrols_nothing(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let (_, token, request) = person.enrolling(&node).await;
    let held = Held::send(&node, ("POST", "/v1/devices"), &token, &request).await;
    let person = change_password(&node, &person, "another password", 2).await;
    assert_eq!(held.finish().await.code, Code::Revoked);
    assert_eq!(person.look(&node).await.roster.len(), 3, "account, device, vault");
}

async fn a_request_whose_body_ends_after_its_device_was_revoked_is_not_done(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let other = person.enrol(&node).await;
    let path = format!("/v1/devices/{}/label", person.device);
    let label = LabelDevice { label: vec![7; 64].into() };
    let held = Held::send(&node, ("PUT", &path), &other.tokens.access_token, &label).await;
    assert!(person.revoke(&node, other.device).await.status().is_success());
    assert_eq!(held.finish().await.code, Code::Revoked);
}

/// Whichever is first: a session that was opened by the old password is over after the change.
async fn a_login_that_races_a_change_of_the_password_keeps_no_session(mode: Mode) {
    let node = Node::start(mode).await;
    let mut person = Person::register(&node).await;
    let other = person.enrol(&node).await;
    for round in 2..7 {
        let asking = Person { password: person.password.clone(), ..other.clone() };
        let login = begin_login(&node, &asking, &person.password).await;
        let stepped = fresh(&node, &person).await;
        let password = format!("password {round}");
        let change = new_password(&node, &stepped, &password, round).await;
        let (logged_in, changed) = tokio::join!(
            node.post("/v1/sessions/finish", &login).send(),
            stepped.post(&node, "/v1/account/password/finish", &change)
        );
        assert!(changed.status().is_success(), "{}", changed.text().await.unwrap());
        person = Person { password, ..stepped };
        let logged_in = logged_in.unwrap();
        if !logged_in.status().is_success() {
            assert_problem(logged_in, Code::LoginFailed).await;
            continue;
        }
        let opened: Option<Tokens> = body::<LoggedIn>(logged_in, StatusCode::OK).await.tokens;
        let late = Person { tokens: opened.unwrap(), ..other.clone() };
        assert_problem(late.get(&node, "/v1/account").await, Code::Revoked).await;
        assert_problem(late.refresh(&node, &late.tokens.refresh_token).await, Code::Revoked).await;
    }
}

/// Somebody who proved who they are.
async fn proof(node: &Node, person: &Person) -> Identified {
    let server = &node.running().server;
    let proven = ProveIdentity { account: person.account, method: Method::MagicLink };
    let (bearer, _) = proven.run(server).await.unwrap();
    let identity_token = server.tokens.mint(bearer, node.clock.now()).unwrap();
    Identified { account: person.account, session: bearer.session, identity_token, expires_in: 900 }
}

async fn end_others(node: &Node, person: &Person) {
    let request = node.request("DELETE", "/v1/sessions").bearer_auth(&person.tokens.access_token);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::NO_CONTENT);
}

/// Whichever is first: what an identity opens by a token from before the end is over after it.
async fn a_vault_that_is_opened_while_all_others_end_opens_before_or_not_at_all(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let other = person.enrol(&node).await;
    for _ in 0..32 {
        let proof = proof(&node, &person).await;
        let (opened, ()) = tokio::join!(person.open_vault(&node, &proof), end_others(&node, &other));
        if opened.status().is_success() {
            let late = Person { tokens: body(opened, StatusCode::OK).await, ..person.clone() };
            assert_problem(late.get(&node, "/v1/account").await, Code::Revoked).await;
            assert_problem(late.refresh(&node, &late.tokens.refresh_token).await, Code::Revoked).await;
        } else {
            assert_problem(opened, Code::Revoked).await;
        }
    }
}

/// What a request is answered that opens a session, if the row of that is held up until something else was done: all that
/// the request looks at it has looked at before.
pub async fn with_its_session_held_up<T>(
    node: &Node,
    opening: impl Future<Output = T>,
    done_meanwhile: impl Future<Output = ()>,
) -> T {
    let mut database = PgConnection::connect(&node.database()).await.unwrap();
    let mut watching = PgConnection::connect(&node.database()).await.unwrap();
    let mut holding = database.begin().await.unwrap();
    holding.execute("LOCK TABLE sessions IN EXCLUSIVE MODE").await.unwrap();
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'sessions'::regclass";
    let waiting = tokio::sync::Mutex::new(&mut watching);
    let wait_for = async |wanted: i64| {
        let many = async || {
            let count: i64 = sqlx::query_scalar(waits).fetch_one(&mut **waiting.lock().await).await.unwrap();
            count >= wanted
        };
        until("a session waits to be stored", many).await;
    };
    let meanwhile = async {
        wait_for(1).await;
        // Its event stands before its rows are looked for.
        let release = async {
            wait_for(2).await;
            holding.rollback().await.unwrap();
        };
        tokio::join!(done_meanwhile, release);
    };
    tokio::join!(opening, meanwhile).0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_whose_session_is_stored_late_is_not_opened_when_all_others_ended_meanwhile() {
    let node = Node::start(Mode::Distributed).await;
    let person = Person::register(&node).await;
    let other = person.enrol(&node).await;
    let proof = proof(&node, &person).await;
    let opened =
        with_its_session_held_up(&node, person.open_vault(&node, &proof), end_others(&node, &other)).await;
    assert_problem(opened, Code::Revoked).await;
}
