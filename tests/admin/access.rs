//! Who loses access, and how fast.

use lockstep_api::{Code, live::close};
use lockstep_events::event::Role;
use reqwest::StatusCode;

use crate::{
    in_both_modes,
    office::{first_admin, why},
    socket::Socket,
    support::{Mode, Node, Person, assert_problem},
};

in_both_modes! {
    a_disabled_account_is_refused_by_token_refresh_login_and_socket_and_works_again_when_enabled;
    after_fifteen_idle_minutes_an_administrator_proves_the_password_again;
    an_administrator_who_ends_the_other_own_sessions_is_idle_all_the_same;
    an_activity_before_a_place_that_no_stream_has_is_refused;
}

async fn a_disabled_account_is_refused_by_token_refresh_login_and_socket_and_works_again_when_enabled(
    mode: Mode,
) {
    let node = Node::start(mode).await;
    let (admin, ada) = (first_admin(&node).await, Person::register(&node).await);
    let mut socket = Socket::hello(&node, &ada, &[]).await;
    admin.acts(&node, ada.account, "disable", &why()).await;
    socket.says_bye(close::REVOKED).await;
    assert_problem(ada.get(&node, "/v1/account").await, Code::Revoked).await;
    assert_problem(ada.refresh(&node, &ada.tokens.refresh_token).await, Code::Revoked).await;
    assert_problem(ada.login(&node, &ada.password, true).await, Code::AccountDisabled).await;
    assert_problem(ada.login(&node, &ada.password, false).await, Code::AccountDisabled).await;
    // Who does not know the password learns nothing.
    assert_problem(ada.login(&node, "something else", true).await, Code::LoginFailed).await;
    admin.acts(&node, ada.account, "enable", &why()).await;
    let ada = ada.again(&node).await;
    assert_eq!(ada.get(&node, "/v1/account").await.status(), StatusCode::OK);
}

async fn after_fifteen_idle_minutes_an_administrator_proves_the_password_again(mode: Mode) {
    let node = Node::start(mode).await;
    let admin = first_admin(&node).await;
    assert_eq!(admin.looks(&node, "/v1/admin/accounts").await.status(), StatusCode::OK);
    node.clock.pass(16 * 60);
    let answer = admin.refresh(&node, &admin.tokens.refresh_token).await;
    let tokens = crate::support::body(answer, StatusCode::OK).await;
    let admin = Person { tokens, ..admin };
    assert_eq!(admin.get(&node, "/v1/account").await.status(), StatusCode::OK);
    assert_problem(admin.looks(&node, "/v1/admin/accounts").await, Code::StepUpRequired).await;
    let admin = admin.again(&node).await;
    assert_eq!(admin.looks(&node, "/v1/admin/accounts").await.status(), StatusCode::OK);
}

async fn an_administrator_who_ends_the_other_own_sessions_is_idle_all_the_same(mode: Mode) {
    let node = Node::start(mode).await;
    let (admin, ada) = (first_admin(&node).await, Person::register(&node).await);
    node.clock.pass(16 * 60);
    let answer = admin.refresh(&node, &admin.tokens.refresh_token).await;
    let tokens = crate::support::body(answer, StatusCode::OK).await;
    let admin = Person { tokens, ..admin };
    let others = node.request("DELETE", "/v1/sessions").bearer_auth(&admin.tokens.access_token);
    assert_eq!(others.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_problem(admin.looks(&node, "/v1/admin/accounts").await, Code::StepUpRequired).await;
    // The end of somebody else's is an act: it counts from then on.
    let admin = admin.again(&node).await;
    node.clock.pass(10 * 60);
    let answer = admin.refresh(&node, &admin.tokens.refresh_token).await;
    let admin = Person { tokens: crate::support::body(answer, StatusCode::OK).await, ..admin };
    admin.acts(&node, ada.account, "sessions/end", &why()).await;
    node.clock.pass(10 * 60);
    let answer = admin.refresh(&node, &admin.tokens.refresh_token).await;
    let admin = Person { tokens: crate::support::body(answer, StatusCode::OK).await, ..admin };
    assert_eq!(admin.looks(&node, "/v1/admin/accounts").await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_account_is_refused_on_every_node_at_once() {
    let node = Node::start(Mode::Distributed).await;
    let (second, third) = (node.second().await, node.second().await);
    let (admin, ada) = (first_admin(&node).await, Person::register(&node).await);
    let mut sockets = Vec::new();
    for (at, device) in [(&second, ada.enrol(&second).await), (&third, ada.enrol(&third).await)] {
        sockets.push((Socket::hello(at, &device, &[]).await, device, at));
    }
    admin.acts(&node, ada.account, "disable", &why()).await;
    for (socket, device, at) in &mut sockets {
        socket.says_bye(close::REVOKED).await;
        assert_problem(device.get(at, "/v1/account").await, Code::Revoked).await;
        assert_problem(device.refresh(at, &device.tokens.refresh_token).await, Code::Revoked).await;
        assert_problem(device.login(at, &device.password, true).await, Code::AccountDisabled).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_administrator_loses_access_on_every_node() {
    let node = Node::start(Mode::Distributed).await;
    let second = node.second().await;
    let (admin, bob) = (first_admin(&node).await, Person::register(&node).await);
    admin.grants(&node, bob.account, Role::Admin).await;
    let bob = bob.again(&second).await;
    assert_eq!(bob.looks(&second, "/v1/admin/accounts").await.status(), StatusCode::OK);
    let done = admin.grants(&node, bob.account, Role::User).await;
    let mut known = second.running().server.feed.position();
    known.wait_for(|at| *at >= done.position).await.unwrap();
    for at in [&node, &second] {
        assert_problem(bob.looks(at, "/v1/admin/accounts").await, Code::Revoked).await;
        let bob = bob.again(at).await;
        assert_problem(bob.looks(at, "/v1/admin/accounts").await, Code::Forbidden).await;
        assert_problem(bob.act(at, admin.account, "disable", &why()).await, Code::Forbidden).await;
    }
}

async fn an_activity_before_a_place_that_no_stream_has_is_refused(mode: Mode) {
    let node = Node::start(mode).await;
    let ada = Person::register(&node).await;
    let before = |seq: u64| format!("/v1/me/activity?before={seq}");
    let highest = ada.get(&node, &before(i64::MAX.unsigned_abs())).await;
    assert_eq!(highest.status(), StatusCode::OK);
    let beyond = ada.get(&node, &before(i64::MAX.unsigned_abs() + 1)).await;
    assert_problem(beyond, Code::InvalidParameter).await;
}
