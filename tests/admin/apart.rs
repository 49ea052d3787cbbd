//! Administrators who are served apart.

use lockstep_api::{
    Code,
    admin::{AccountList, Bootstrap, Done},
};
use lockstepd::config::Layer;
use reqwest::StatusCode;

use crate::{
    in_both_modes,
    office::WHY,
    support::{Mode, Node, Person, assert_problem, body},
};

in_both_modes! {
    administrators_are_served_where_operators_are_and_nowhere_else;
}

async fn administrators_are_served_where_operators_are_and_nowhere_else(mode: Mode) {
    let options =
        Layer { admin_listen: Some("127.0.0.1:0".to_owned()), admin_apart: Some(true), ..Layer::default() };
    let node = Node::start_with(mode, options).await;
    let ada = Person::register(&node).await;
    let bootstrap = Bootstrap { token: node.running().bootstrap.as_ref().unwrap().token.clone() };
    let office = node.running().admin_url.clone().unwrap();
    // Clients come over plain HTTP here; administrators bring their tokens over TLS all the same.
    assert!(node.running().url.starts_with("http://") && office.starts_with("https://"), "{office}");
    assert_eq!(node.running().fingerprint, None);
    let http = reqwest::Client::builder().no_proxy().danger_accept_invalid_certs(true).build().unwrap();
    assert!(http.get(office.replace("https://", "http://")).send().await.is_err());
    assert_problem(ada.post(&node, "/v1/admin/bootstrap", &bootstrap).await, Code::NotFound).await;

    let named = http.post(format!("{office}/v1/admin/bootstrap")).json(&bootstrap);
    let _: Done =
        body(named.bearer_auth(&ada.tokens.access_token).send().await.unwrap(), StatusCode::OK).await;
    let admin = ada.again(&node).await;
    assert_problem(admin.looks(&node, "/v1/admin/accounts").await, Code::NotFound).await;
    let look = http.get(format!("{office}/v1/admin/accounts"));
    let look = look.bearer_auth(&admin.tokens.access_token).header("lockstep-reason", WHY.as_bytes());
    let seen: AccountList = body(look.send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(seen.accounts.len(), 1);

    let stranger = http.get(format!("{office}/v1/admin/accounts")).send().await.unwrap();
    assert_problem(stranger, Code::Unauthenticated).await;
    let elsewhere = http.get(format!("{office}/v1/streams"));
    let elsewhere = elsewhere.bearer_auth(&admin.tokens.access_token).send().await.unwrap();
    assert_problem(elsewhere, Code::NotFound).await;
}
