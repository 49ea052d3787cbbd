//! What does not follow from how things stand: every state of an account, a session, an invitation and a proposal
//! against every command on it. Each cell says what comes of it; what is refused appends nothing, to no stream at all.

use lockstep_api::{
    Code,
    admin::{Done, Invite, Invited, SetRole, Settle},
    privacy::Erase,
};
use lockstep_events::{
    AccountId, Position, SessionId,
    event::Role,
    log::{Contents, Filter},
};
use lockstepd::config::{Layer, Registration as Open};
use reqwest::{Response, StatusCode};
use uuid::Uuid;

use crate::{
    ending::pass,
    in_both_modes,
    office::{WHY, first_admin, why},
    support::{Mode, Node, Person, problem},
};

in_both_modes! {
    aggregate_illegal_transitions;
    aggregate_illegal_transitions_of_sessions;
    aggregate_illegal_transitions_of_invitations;
    aggregate_illegal_transitions_of_proposals;
}

/// What comes of a command: it is done, or refused with this word.
type Cell = Option<Code>;

const DONE: Cell = None;
const AGAINST: Cell = Some(Code::PreconditionFailed);
const NOBODY: Cell = Some(Code::NotFound);

async fn end(node: &Node) -> Position {
    node.running().server.log.tail().await.unwrap().position
}

/// A command came out as its cell says; refused, it has appended nothing since `before`.
async fn assert_cell(node: &Node, what: &str, cell: Cell, before: Position, answer: Response) {
    let status = answer.status();
    let Some(code) = cell else {
        assert!(status.is_success(), "{what}: {status} {}", answer.text().await.unwrap());
        return;
    };
    assert!(!status.is_success(), "{what}: {status}");
    let refused = problem(answer).await;
    assert_eq!(refused.code, code, "{what}: {refused:?}");
    let log = &node.running().server.log;
    let since = log.read_all(before, 100, &Filter::default(), Contents::No).await.unwrap();
    // What a server does whenever it is due has nothing to do with it.
    let kinds: Vec<_> = since.iter().map(|event| event.kind.as_str()).collect();
    assert!(kinds.iter().all(|kind| *kind == "system.signing_key_rotated"), "{what} appended {kinds:?}");
}

/// A person in some state.
#[derive(Debug, Clone, Copy)]
enum State {
    User,
    Auditor,
    Admin,
    /// The administrator who acts, and the only one.
    Oneself,
    Disabled,
    /// By an administrator, and not begun.
    Deleted,
    /// Asked for by the person, and not begun.
    Leaving,
    Erased,
    /// No such account.
    Nobody,
}

const COMMANDS: [&str; 7] = ["disable", "enable", "delete", "user", "auditor", "admin", "sessions/end"];

/// Half of a role is no role: who is disabled or about to be erased gets none, and who has one loses nothing else first.
const ACCOUNTS: [(State, [Cell; 7]); 9] = [
    // First: later there is more than one administrator.
    (State::Oneself, [AGAINST, AGAINST, AGAINST, AGAINST, AGAINST, AGAINST, DONE]),
    (State::User, [DONE, AGAINST, DONE, AGAINST, DONE, DONE, DONE]),
    (State::Auditor, [AGAINST, AGAINST, AGAINST, DONE, AGAINST, DONE, DONE]),
    (State::Admin, [AGAINST, AGAINST, AGAINST, DONE, DONE, AGAINST, DONE]),
    (State::Disabled, [AGAINST, DONE, DONE, AGAINST, AGAINST, AGAINST, DONE]),
    (State::Deleted, [AGAINST, DONE, DONE, AGAINST, AGAINST, AGAINST, DONE]),
    (State::Leaving, [DONE, AGAINST, DONE, AGAINST, AGAINST, AGAINST, DONE]),
    (State::Erased, [NOBODY; 7]),
    (State::Nobody, [NOBODY; 7]),
];

async fn commands(node: &Node, admin: &Person, on: AccountId, command: &str) -> Response {
    let role = match command {
        "user" => Role::User,
        "auditor" => Role::Auditor,
        "admin" => Role::Admin,
        verb => return admin.act(node, on, verb, &why()).await,
    };
    admin.act(node, on, "role", &SetRole { role, reason: WHY.into() }).await
}

async fn asks_to_leave(node: &Node, person: &Person) -> Response {
    let request = node.post("/v1/me/erasure", &Erase { account: person.account });
    let request = request.header("idempotency-key", Uuid::new_v4().to_string());
    request.bearer_auth(&person.tokens.access_token).send().await.unwrap()
}

/// Somebody new in this state.
async fn somebody(node: &Node, admin: &Person, state: State) -> AccountId {
    match state {
        State::Oneself => return admin.account,
        State::Nobody => return AccountId(Uuid::new_v4()),
        _ => {}
    }
    let person = Person::register(node).await;
    let of = person.account;
    match state {
        State::Auditor => {
            admin.grants(node, of, Role::Auditor).await;
        }
        State::Admin => {
            admin.grants(node, of, Role::Admin).await;
        }
        State::Disabled => {
            admin.acts(node, of, "disable", &why()).await;
        }
        State::Deleted | State::Erased => {
            admin.acts(node, of, "delete", &why()).await;
        }
        State::Leaving => assert_eq!(asks_to_leave(node, &person).await.status(), StatusCode::ACCEPTED),
        State::User | State::Oneself | State::Nobody => {}
    }
    of
}

async fn aggregate_illegal_transitions(mode: Mode) {
    let node = Node::start_with(mode, Layer { erasure_wait_hours: Some(1), ..Layer::default() }).await;
    let admin = first_admin(&node).await;
    let erased = somebody(&node, &admin, State::Erased).await;
    pass(&node, erased).await;
    let mut admin = admin.again(&node).await;
    for (state, cells) in ACCOUNTS {
        for (command, cell) in COMMANDS.into_iter().zip(cells) {
            let on = match state {
                State::Erased => erased,
                _ => somebody(&node, &admin, state).await,
            };
            let before = end(&node).await;
            let answer = commands(&node, &admin, on, command).await;
            assert_cell(&node, &format!("{command} of {state:?}"), cell, before, answer).await;
            if cell == DONE && on == admin.account {
                admin = admin.again(&node).await;
            }
        }
    }
}

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Open,
    LoggedOut,
    /// By another session of the person.
    SentAway,
    /// All sessions, by an administrator.
    EndedByOffice,
    /// By another role.
    OfAnotherRole,
    OfARevokedDevice,
    OfADisabledAccount,
}

const SESSIONS: [Stands; 7] = [
    Stands::Open,
    Stands::LoggedOut,
    Stands::SentAway,
    Stands::EndedByOffice,
    Stands::OfAnotherRole,
    Stands::OfARevokedDevice,
    Stands::OfADisabledAccount,
];

/// The session, and the person at another device, whose session is open unless the account's ended.
async fn session(node: &Node, admin: &Person, stands: Stands) -> (Person, Person) {
    let other = Person::register(node).await;
    let person = other.enrol(node).await;
    let (of, own) = (person.account, format!("/v1/sessions/{}", person.tokens.session));
    let ended = |by: &Person| node.request("DELETE", &own).bearer_auth(&by.tokens.access_token).send();
    match stands {
        Stands::Open => {}
        Stands::LoggedOut => assert!(ended(&person).await.unwrap().status().is_success()),
        Stands::SentAway => assert!(ended(&other).await.unwrap().status().is_success()),
        Stands::EndedByOffice => {
            admin.acts(node, of, "sessions/end", &why()).await;
        }
        Stands::OfAnotherRole => {
            admin.grants(node, of, Role::Auditor).await;
        }
        Stands::OfARevokedDevice => {
            assert!(other.revoke(node, person.device).await.status().is_success());
        }
        Stands::OfADisabledAccount => {
            admin.acts(node, of, "disable", &why()).await;
        }
    }
    (person, other)
}

/// Everything that a session appends to the log.
async fn by_session(node: &Node, session: &Person, other: &Person, command: &str) -> Response {
    let delete =
        |path: String| node.request("DELETE", &path).bearer_auth(&session.tokens.access_token).send();
    match command {
        "refresh" => session.refresh(node, &session.tokens.refresh_token).await,
        "push" => {
            // The life of the stream as the log has it: a session that ended is told nothing.
            let server = &node.running().server;
            let head = server.log.stream_heads(&[session.vault.into()]).await.unwrap().remove(0);
            let push = lockstep_api::sync::Push {
                epoch: head.epoch,
                batch_id: lockstep_events::BatchId(Uuid::new_v4()),
                items: vec![session.entry(b"of a session")],
                groups: Vec::new(),
                reoffer: false,
            };
            session.post(node, &format!("/v1/vaults/{}/versions", session.vault), &push).await
        }
        "end itself" => delete(format!("/v1/sessions/{}", session.tokens.session)).await.unwrap(),
        "end another" => delete(format!("/v1/sessions/{}", other.tokens.session)).await.unwrap(),
        "end all others" => delete("/v1/sessions".to_owned()).await.unwrap(),
        _ => asks_to_leave(node, session).await,
    }
}

async fn aggregate_illegal_transitions_of_sessions(mode: Mode) {
    let node = Node::start(mode).await;
    let admin = first_admin(&node).await;
    for stands in SESSIONS {
        for command in ["refresh", "push", "end all others", "end another", "end itself", "leave"] {
            let (person, other) = session(&node, &admin, stands).await;
            let before = end(&node).await;
            let answer = by_session(&node, &person, &other, command).await;
            let cell = (stands != Stands::Open).then_some(Code::Revoked);
            assert_cell(&node, &format!("{command} by {stands:?}"), cell, before, answer).await;
        }
    }
    // Nor does one end what is somebody else's, or nobody's.
    let (person, stranger) = (Person::register(&node).await, Person::register(&node).await);
    for session in [stranger.tokens.session, SessionId(Uuid::new_v4())] {
        let before = end(&node).await;
        let path = format!("/v1/sessions/{session}");
        let answer = node.request("DELETE", &path).bearer_auth(&person.tokens.access_token).send();
        assert_cell(&node, "end a stranger's", NOBODY, before, answer.await.unwrap()).await;
    }
}

#[derive(Debug, Clone, Copy)]
enum Invitation {
    Open,
    Used,
    Withdrawn,
    Expired,
    Unknown,
}

const UNINVITED: Cell = Some(Code::InvitationRequired);

/// Registering with it, and withdrawing it.
const INVITATIONS: [(Invitation, [Cell; 2]); 5] = [
    (Invitation::Open, [DONE, DONE]),
    (Invitation::Used, [UNINVITED, AGAINST]),
    (Invitation::Withdrawn, [UNINVITED, AGAINST]),
    (Invitation::Unknown, [UNINVITED, NOBODY]),
    // Last: time passes. What is worth nothing any more may be withdrawn all the same.
    (Invitation::Expired, [UNINVITED, DONE]),
];

async fn registers(node: &Node, token: &str) -> Response {
    let mut start = Person::start(node, &format!("{}@example.org", Uuid::new_v4())).await;
    start.finish.invitation = Some(token.to_owned());
    node.post("/v1/accounts/finish", &start.finish).send().await.unwrap()
}

async fn withdraws(node: &Node, admin: &Person, made: &Invited) -> Response {
    let path = format!("/v1/admin/invitations/{}", made.invitation);
    admin.withdraws(node, &path).await
}

async fn invitation(node: &Node, admin: &mut Person, state: Invitation) -> Invited {
    let invite = Invite { plan: None, plan_until: None, hours: 1, reason: WHY.into() };
    let answer = admin.post(node, "/v1/admin/invitations", &invite).await;
    let mut made: Invited = crate::support::body(answer, StatusCode::CREATED).await;
    match state {
        Invitation::Open => {}
        Invitation::Used => assert!(registers(node, &made.token).await.status().is_success()),
        Invitation::Withdrawn => assert!(withdraws(node, admin, &made).await.status().is_success()),
        Invitation::Expired => {
            node.clock.pass(3601);
            *admin = admin.again(node).await;
        }
        Invitation::Unknown => {
            made.invitation = Uuid::new_v4();
            made.token = format!("lsi_{}", "0".repeat(40));
        }
    }
    made
}

async fn aggregate_illegal_transitions_of_invitations(mode: Mode) {
    let mut node = Node::start(mode).await;
    let admin = first_admin(&node).await;
    node.restart_with(Layer { registration: Some(Open::Invited), ..Layer::default() }).await;
    let mut admin = admin.again(&node).await;
    for (state, [register, withdraw]) in INVITATIONS {
        let invited = invitation(&node, &mut admin, state).await;
        let before = end(&node).await;
        assert_cell(
            &node,
            &format!("register with {state:?}"),
            register,
            before,
            registers(&node, &invited.token).await,
        )
        .await;
        let invited = invitation(&node, &mut admin, state).await;
        let before = end(&node).await;
        let answer = withdraws(&node, &admin, &invited).await;
        assert_cell(&node, &format!("withdraw {state:?}"), withdraw, before, answer).await;
    }
}

#[derive(Debug, Clone, Copy)]
enum Proposal {
    Open,
    Approved,
    Withdrawn,
    Expired,
    Unknown,
}

const ALONE: Cell = Some(Code::Forbidden);

/// Approved by who proposed it, by another, by whom it concerns; withdrawn by who proposed it. Who is only proposed for
/// an office has no part of it.
const PROPOSALS: [(Proposal, [Cell; 4]); 5] = [
    (Proposal::Open, [ALONE, DONE, ALONE, DONE]),
    (Proposal::Approved, [AGAINST, AGAINST, AGAINST, AGAINST]),
    (Proposal::Withdrawn, [AGAINST, AGAINST, ALONE, AGAINST]),
    (Proposal::Unknown, [NOBODY, NOBODY, ALONE, NOBODY]),
    // Last: time passes.
    (Proposal::Expired, [AGAINST, AGAINST, ALONE, AGAINST]),
];

async fn settles(node: &Node, by: &Person, proposal: Uuid, approve: bool) -> Response {
    by.post(node, &format!("/v1/admin/proposals/{proposal}"), &Settle { approve, reason: WHY.into() }).await
}

async fn aggregate_illegal_transitions_of_proposals(mode: Mode) {
    let mut node = Node::start(mode).await;
    let (admin, bob) = (first_admin(&node).await, Person::register(&node).await);
    admin.grants(&node, bob.account, Role::Admin).await;
    node.restart_with(Layer { two_admins: Some(true), ..Layer::default() }).await;
    for (state, cells) in PROPOSALS {
        for (n, cell) in cells.into_iter().enumerate() {
            let (admin, bob) = (admin.again(&node).await, bob.again(&node).await);
            let ada = Person::register(&node).await;
            let done: Done = admin.grants(&node, ada.account, Role::Admin).await;
            let proposal = done.proposal.unwrap();
            let (admin, bob, ada, proposal) = match state {
                Proposal::Open => (admin, bob, ada, proposal),
                Proposal::Approved => {
                    assert!(settles(&node, &bob, proposal, true).await.status().is_success());
                    (admin, bob, ada.again(&node).await, proposal)
                }
                Proposal::Withdrawn => {
                    assert!(settles(&node, &admin, proposal, false).await.status().is_success());
                    (admin, bob, ada, proposal)
                }
                Proposal::Unknown => (admin, bob, ada, Uuid::new_v4()),
                Proposal::Expired => {
                    node.clock.pass(7 * 24 * 3600);
                    (admin.again(&node).await, bob.again(&node).await, ada.again(&node).await, proposal)
                }
            };
            let (by, approve) = [(&admin, true), (&bob, true), (&ada, true), (&admin, false)][n];
            let before = end(&node).await;
            let answer = settles(&node, by, proposal, approve).await;
            assert_cell(&node, &format!("{n} of {state:?}"), cell, before, answer).await;
        }
    }
}
