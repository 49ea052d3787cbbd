//! Registration for invited people only.

use lockstep_api::{
    Code,
    admin::{Invite, Invited},
};
use lockstepd::config::{Layer, Registration as Open};
use reqwest::{Response, StatusCode};
use uuid::Uuid;

use crate::{
    in_both_modes,
    office::first_admin,
    support::{Mode, Node, Person, assert_problem, body},
};

in_both_modes! {
    who_has_an_invitation_registers_once_and_begins_with_its_plan;
    of_many_who_register_with_one_invitation_one_succeeds;
}

async fn invited(node: &Node, admin: &Person) -> Invited {
    let invite = Invite { plan: Some("paid".into()), plan_until: None, hours: 1 };
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
    let withdraw = async |path: &str| {
        node.request("DELETE", path).bearer_auth(&admin.tokens.access_token).send().await.unwrap()
    };
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
