//! Registration for invited people only.

use lockstep_api::{
    Code,
    admin::{Bootstrap, InvitationState, InvitationView, Invitations, Invite, Invited},
};
use lockstep_events::{
    Position,
    event::Role,
    log::{Contents, Filter},
};
use lockstepd::{
    commands::admin::bootstrap,
    config::{Layer, Registration as Open},
};
use reqwest::{Response, StatusCode};
use uuid::Uuid;

use crate::{
    in_both_modes,
    office::{WHY, first_admin},
    over_three_nodes,
    support::{Mode, Node, Person, assert_problem, body},
};

in_both_modes! {
    who_has_an_invitation_registers_once_and_begins_with_its_plan;
    of_many_who_register_with_one_invitation_one_succeeds;
    a_server_that_begins_closed_has_its_first_administrator_by_the_token_of_its_start;
    invitations_are_listed_with_what_became_of_them_and_each_look_is_an_event;
}

over_three_nodes! {
    of_many_who_register_with_one_invitation_one_succeeds;
}

async fn invited(node: &Node, admin: &Person) -> Invited {
    let invite = Invite { plan: Some("paid".into()), plan_until: None, hours: 1, reason: WHY.into() };
    body(admin.post(node, "/v1/admin/invitations", &invite).await, StatusCode::CREATED).await
}

async fn register(node: &Node, token: Option<&str>) -> (Person, Response) {
    let mut start = Person::start(node, &format!("{}@example.org", Uuid::new_v4())).await;
    start.finish.invitation = token.map(str::to_owned);
    let answer = node.post("/v1/accounts/finish", &start.finish).send().await.unwrap();
    (start.person, answer)
}

async fn closed(mode: Mode) -> (Node, Person) {
    let mut node = Node::start(mode).await;
    let admin = first_admin(&node).await;
    node.restart_with(Layer { registration: Some(Open::Invited), ..Layer::default() }).await;
    let admin = admin.again(&node).await;
    (node, admin)
}

async fn who_has_an_invitation_registers_once_and_begins_with_its_plan(mode: Mode) {
    let (node, admin) = closed(mode).await;
    assert_problem(register(&node, None).await.1, Code::InvitationRequired).await;
    assert_problem(register(&node, Some("lsi_00")).await.1, Code::InvitationRequired).await;
    let made = invited(&node, &admin).await;
    let (mut ada, answer) = register(&node, Some(&made.token)).await;
    ada.tokens = body(answer, StatusCode::CREATED).await;
    assert_eq!(ada.plan(&node).await.plan, "paid");
    assert!(ada.activity(&node).await.iter().any(|item| item.kind == "account.invited"));
    assert_problem(register(&node, Some(&made.token)).await.1, Code::InvitationRequired).await;
    let path = format!("/v1/admin/invitations/{}", made.invitation);
    let withdraw = async |path: &str| admin.withdraws(&node, path).await;
    assert_problem(withdraw(&path).await, Code::PreconditionFailed).await;
    let other = invited(&node, &admin).await;
    let path = format!("/v1/admin/invitations/{}", other.invitation);
    assert_eq!(withdraw(&path).await.status(), StatusCode::NO_CONTENT);
    assert_problem(withdraw(&path).await, Code::PreconditionFailed).await;
    assert_problem(register(&node, Some(&other.token)).await.1, Code::InvitationRequired).await;
}

async fn of_many_who_register_with_one_invitation_one_succeeds(mode: Mode) {
    let (node, admin) = closed(mode).await;
    let made = invited(&node, &admin).await;
    let tries = (0..6).map(|_| register(&node, Some(&made.token)));
    let answers = futures_util::future::join_all(tries).await;
    let count = |status| answers.iter().filter(|(_, answer)| answer.status() == status).count();
    assert_eq!((count(StatusCode::CREATED), count(StatusCode::FORBIDDEN)), (1, 5));
}

async fn a_server_that_begins_closed_has_its_first_administrator_by_the_token_of_its_start(mode: Mode) {
    let mut node =
        Node::start_with(mode, Layer { registration: Some(Open::Invited), ..Layer::default() }).await;
    let old = node.running().bootstrap.as_ref().unwrap().token.clone();
    assert_problem(register(&node, None).await.1, Code::InvitationRequired).await;
    assert_problem(register(&node, Some("lsb_00")).await.1, Code::InvitationRequired).await;
    node.clock.pass(bootstrap::LIFE_S + 1);
    assert_problem(register(&node, Some(&old)).await.1, Code::InvitationRequired).await;
    node.restart().await;
    let token = node.running().bootstrap.as_ref().unwrap().token.clone();
    assert_problem(register(&node, Some(&old)).await.1, Code::InvitationRequired).await;
    // It is looked at and not used up: who lost the answer registers under another name.
    let (_, first) = register(&node, Some(&token)).await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let (mut admin, answer) = register(&node, Some(&token)).await;
    admin.tokens = body(answer, StatusCode::CREATED).await;
    let named = admin.post(&node, "/v1/admin/bootstrap", &Bootstrap { token: token.clone() }).await;
    assert_eq!(named.status(), StatusCode::OK);
    assert_problem(register(&node, Some(&token)).await.1, Code::InvitationRequired).await;
    let made = invited(&node, &admin).await;
    assert_eq!(register(&node, Some(&made.token)).await.1.status(), StatusCode::CREATED);
}

async fn list(node: &Node, admin: &Person, query: &str) -> Invitations {
    body(admin.looks(node, &format!("/v1/admin/invitations{query}")).await, StatusCode::OK).await
}

/// How often somebody listed them, as the log has it.
async fn looks(node: &Node, by: &Person) -> usize {
    let filter = Filter { kinds: vec!["admin.listed".into()], ..Filter::default() };
    let log = &node.running().server.log;
    let events = log.read_all(Position::ZERO, 1000, &filter, Contents::No).await.unwrap();
    events.iter().filter(|event| event.actor == Some(by.account)).count()
}

async fn invitations_are_listed_with_what_became_of_them_and_each_look_is_an_event(mode: Mode) {
    let (node, admin) = closed(mode).await;
    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(invited(&node, &admin).await);
    }
    let short = Invite { plan: None, plan_until: None, hours: 720, reason: WHY.into() };
    let late: Invited =
        body(admin.post(&node, "/v1/admin/invitations", &short).await, StatusCode::CREATED).await;
    assert_eq!(register(&node, Some(&made[0].token)).await.1.status(), StatusCode::CREATED);
    let path = format!("/v1/admin/invitations/{}", made[1].invitation);
    let gone = admin.withdraws(&node, &path).await;
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    let states = |list: &Invitations| -> Vec<_> {
        list.invitations.iter().map(|view| (view.invitation, view.state)).collect()
    };
    let [used, withdrawn, third, fourth] = [0, 1, 2, 3].map(|n: usize| made[n].invitation);
    let open = list(&node, &admin, "").await;
    let still = [third, fourth, late.invitation].map(|one| (one, InvitationState::Open));
    assert_eq!(states(&open), still);
    let InvitationView { made_by, plan, until, .. } = open.invitations[0].clone();
    assert_eq!((made_by, plan.as_deref(), until), (Some(admin.account), Some("paid"), made[2].until));
    // Page by page, and with those of which nothing is left.
    let first = list(&node, &admin, "?all=true&limit=3").await;
    let expected = [
        (used, InvitationState::Used),
        (withdrawn, InvitationState::Withdrawn),
        (third, InvitationState::Open),
    ];
    assert_eq!(states(&first), expected);
    let rest = list(&node, &admin, &format!("?all=true&limit=3&after={}", first.after.unwrap())).await;
    assert_eq!((rest.invitations.len(), rest.after), (2, None));
    assert_eq!(looks(&node, &admin).await, 3);
    // Without a reason, and by who has no business here, nothing is shown.
    assert_problem(admin.get(&node, "/v1/admin/invitations").await, Code::InvalidHeader).await;
    assert_problem(admin.looks(&node, "/v1/admin/invitations?limit=101").await, Code::InvalidParameter).await;
    let (mut bob, answer) = register(&node, Some(&made[2].token)).await;
    bob.tokens = body(answer, StatusCode::CREATED).await;
    assert_problem(bob.looks(&node, "/v1/admin/invitations").await, Code::Forbidden).await;
    assert_eq!(looks(&node, &admin).await, 3);
    // An auditor may look; time makes the last one worth nothing.
    admin.grants(&node, bob.account, Role::Auditor).await;
    node.clock.pass(3601);
    let bob = bob.again(&node).await;
    let all = list(&node, &bob, "?all=true").await;
    assert_eq!(all.invitations[3].state, InvitationState::Expired);
    assert_eq!(all.invitations[4].state, InvitationState::Open);
    assert_eq!((all.invitations.len(), looks(&node, &bob).await), (5, 1));
    let said = serde_json::to_string(&all).unwrap();
    assert!(made.iter().all(|one| !said.contains(&one.token)) && !said.contains(WHY));
}
