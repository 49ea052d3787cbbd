//! Signing in with an identity elsewhere, at a certified provider: linked by who proved the password, found by issuer
//! and subject alone, and opening a vault only together with the key of a device.

use std::{collections::BTreeMap, net::Ipv4Addr};

use lockstep_api::{
    Code,
    account::Tokens,
    ways::{Identified, Identities, LinkedIdentity, OidcFinish, OidcStart, OidcStarted},
};
use lockstep_events::{
    Outcome, Unit,
    event::{AccountEvent, IdentityUnlinked},
};
use lockstepd::{
    commands::facts::{Actor, derived, existing_account},
    config::{Layer, Preset, Provider, Providers, Redirect},
};
use reqwest::{StatusCode, redirect::Policy};

use crate::{
    oidc_attacks::{Flow, finish, kinds},
    support::{
        Mode, Node, Person, assert_problem, body,
        certified::{Certified, End, browse},
        idp::{Idp, Tricks},
        ways::Initiator,
    },
};

in_both_modes! {
    an_unlinking_that_was_cut_off_is_finished_from_another_device,
    identities_are_linked_and_unlinked_only_by_who_proved_the_password,
    answers_that_anybody_can_bring_are_refused_every_time_and_written_down_thirty_times,
}

over_three_nodes! {
    whole_way,
    identities_are_linked_and_unlinked_only_by_who_proved_the_password,
}

fn providers(issuer: &str) -> Layer {
    let native = Provider {
        preset: None,
        issuer: Some(issuer.to_owned()),
        tenant: None,
        client_id: "native".to_owned(),
        client_secret: None,
        apple: None,
        redirect: None,
    };
    // Apple's way: by the server, and as a form.
    let web = Provider {
        preset: Some(Preset::Apple),
        client_id: "web".to_owned(),
        client_secret: Some("a secret of the web client".into()),
        redirect: Some(Redirect::Server),
        ..native.clone()
    };
    let all = BTreeMap::from([("native".to_owned(), native), ("web".to_owned(), web)]);
    Layer {
        oidc: Some(Providers(all)),
        public_url: Some("https://vault.example.org".to_owned()),
        ..Layer::default()
    }
}

/// Ends a flow wrongly, without an account, from an address of its own.
async fn refused(node: &Node, from: u32) {
    let from = Ipv4Addr::from(0x0a00_0000 + from).to_string();
    let client = Initiator::new();
    let start = OidcStart { initiator: client.hash(), port: 49_152 };
    let started = node.post("/v1/oidc/native/start", &start).header("x-forwarded-for", &from);
    let started: OidcStarted = body(started.send().await.unwrap(), StatusCode::OK).await;
    let flow = Flow { client, url: started.url };
    let answer = OidcFinish { state: "another".to_owned(), ..flow.answer("a code", None) };
    let answer = node.post("/v1/oidc/finish", &answer).header("x-forwarded-for", &from).send().await.unwrap();
    assert_problem(answer, Code::LoginFailed).await;
}

async fn answers_that_anybody_can_bring_are_refused_every_time_and_written_down_thirty_times(mode: Mode) {
    let idp = Idp::start(Tricks::default()).await;
    let proxied = Layer {
        trusted_proxies: Some("127.0.0.1".to_owned()),
        rate_limit_factor: Some(1),
        ..providers(idp.url())
    };
    let node = Node::start_with(mode, proxied).await;
    node.clock.stop();
    for from in 0..33 {
        refused(&node, from).await;
    }
    assert_eq!(kinds(&node).await, ["system.oidc_rejected"; 30]);
    let metrics = node.running().server.metrics.text(&[]);
    assert!(metrics.contains("lockstep_rate_limited_total{action=\"refusal\"} 3"), "{metrics}");
    node.clock.pass(300);
    for from in 33..35 {
        refused(&node, from).await;
    }
    assert_eq!(kinds(&node).await.len(), 31, "one more in five minutes");
}

/// What the browser brings back to the asking program.
async fn answered(flow: &Flow) -> OidcFinish {
    brought(flow, &browse(&flow.url, "http://127.0.0.1:49152/callback").await)
}

fn brought(flow: &Flow, end: &End) -> OidcFinish {
    let parameter = |name| end.parameter(name).unwrap_or_else(|| panic!("no {name}: {end:?}"));
    let answer = flow.answer(&parameter("code"), Some(&parameter("iss")));
    assert_eq!(answer.state, parameter("state"));
    answer
}

async fn linked(node: &Node, person: &Person) -> LinkedIdentity {
    let flow = Flow::link(node, person, "native").await;
    let answer = person.post(node, "/v1/account/identities", &answered(&flow).await).await;
    body(answer, StatusCode::CREATED).await
}

async fn whole_way(mode: Mode) {
    let idp = Certified::start();
    let node = Node::start_with(mode, providers(&idp.issuer)).await;
    let person = Person::register(&node).await;
    // Nobody has linked the identity: it is nobody, whatever the provider says about it.
    let flow = Flow::begin(&node, "native").await;
    assert_problem(finish(&node, &answered(&flow).await).await, Code::LoginFailed).await;
    let link = linked(&node, &person).await;
    let all: Identities = body(person.get(&node, "/v1/account/identities").await, StatusCode::OK).await;
    assert_eq!((all.identities.len(), all.identities[0].identity), (1, link.identity));
    assert_eq!(all.providers, ["native", "web"]);
    // From another device of the same person: who it is, and then the device's key.
    let other = person.enrol(&node).await;
    let flow = Flow::begin(&node, "native").await;
    let proof: Identified = body(finish(&node, &answered(&flow).await).await, StatusCode::OK).await;
    assert_eq!(proof.account, person.account);
    let tokens: Tokens = body(other.open_vault(&node, &proof).await, StatusCode::OK).await;
    let entered = Person { tokens, ..other };
    entered.look(&node).await;
    // Linked once more it is the same; unlinked it is nobody again.
    assert_eq!(linked(&node, &person).await.identity, link.identity);
    let path = format!("/v1/account/identities/{}", link.identity);
    let unlink = || node.request("DELETE", &path).bearer_auth(&person.tokens.access_token).send();
    assert_eq!(unlink().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_problem(unlink().await.unwrap(), Code::NotFound).await;
    let flow = Flow::begin(&node, "native").await;
    assert_problem(finish(&node, &answered(&flow).await).await, Code::LoginFailed).await;
}

#[tokio::test]
async fn a_linked_identity_of_a_certified_provider_and_a_device_key_open_a_vault_embedded() {
    whole_way(Mode::Embedded).await;
}

#[tokio::test]
async fn a_linked_identity_of_a_certified_provider_and_a_device_key_open_a_vault_distributed() {
    whole_way(Mode::Distributed).await;
}

/// The event stands, and the server was stopped before the row went: the identity still opens the account. Another device
/// says it again.
async fn an_unlinking_that_was_cut_off_is_finished_from_another_device(mode: Mode) {
    let idp = Certified::start();
    let node = Node::start_with(mode, providers(&idp.issuer)).await;
    let person = Person::register(&node).await;
    let link = linked(&node, &person).await;
    let server = &node.running().server;
    let actor = Actor { account: person.account, device: person.device };
    let id = derived("lockstep/v1/identity-unlinked", &[link.identity.as_bytes()]);
    let unlinked = AccountEvent::IdentityUnlinked(IdentityUnlinked { identity: link.identity });
    let event = actor.event(id, Some(link.identity.into()), unlinked).unwrap();
    let unit =
        Unit { streams: vec![existing_account(person.account)], events: vec![event], ..Unit::default() };
    assert!(matches!(server.batcher.append(unit).await.unwrap(), Outcome::Appended(_)));
    let other = crate::ways::fresh(&node, &person.enrol(&node).await).await;
    let path = format!("/v1/account/identities/{}", link.identity);
    let unlink = node.request("DELETE", &path).bearer_auth(&other.tokens.access_token).send();
    assert_eq!(unlink.await.unwrap().status(), StatusCode::NO_CONTENT);
    let flow = Flow::begin(&node, "native").await;
    assert_problem(finish(&node, &answered(&flow).await).await, Code::LoginFailed).await;
}

/// A provider that knows no native applications and answers with a form, as Apple does: by the server to the asking
/// program, on the machine where the browser runs. Begun at one node, sent on by the next, ended at the third.
#[tokio::test]
async fn an_answer_that_comes_as_a_form_is_sent_on_to_the_asking_program() {
    let idp = Certified::start();
    let node = Node::start_with(Mode::ThreeNodes, providers(&idp.issuer)).await;
    let person = Person::register(&node).await;
    let flow = Flow::link(&node, &person, "web").await;
    let end = browse(&flow.url, "https://vault.example.org").await;
    assert!(end.page.contains("action=\"https://vault.example.org/v1/oidc/callback\""), "{end:?}");
    let browser = reqwest::Client::builder().redirect(Policy::none()).no_proxy().build().unwrap();
    let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(end.fields()).finish();
    let sent_on = browser
        .post(format!("{}/v1/oidc/callback", node.url()))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .unwrap();
    assert_eq!(sent_on.status(), StatusCode::SEE_OTHER);
    let address = sent_on.headers()["location"].to_str().unwrap().to_owned();
    assert!(address.starts_with("http://127.0.0.1:49152/callback?"), "{address}");
    let answer = brought(&flow, &End { address, page: String::new() });
    let answer = person.post(&node, "/v1/account/identities", &answer).await;
    assert_eq!(answer.status(), StatusCode::CREATED, "{}", answer.text().await.unwrap());
}

async fn identities_are_linked_and_unlinked_only_by_who_proved_the_password(mode: Mode) {
    let idp = Certified::start();
    let node = Node::start_with(mode, providers(&idp.issuer)).await;
    let person = Person::register(&node).await;
    let link = linked(&node, &person).await;
    let flow = Flow::link(&node, &person, "native").await;
    let answer = answered(&flow).await;
    node.clock.pass(301);
    let token = person.tokens.refresh_token.clone();
    let tokens = body(person.refresh(&node, &token).await, StatusCode::OK).await;
    let later = Person { tokens, ..person };
    assert_problem(later.post(&node, "/v1/account/identities", &answer).await, Code::StepUpRequired).await;
    let start = serde_json::json!({ "initiator": flow.client.hash(), "port": 49152 });
    let begun = later.post(&node, "/v1/account/identities/native/start", &start).await;
    assert_problem(begun, Code::StepUpRequired).await;
    let path = format!("/v1/account/identities/{}", link.identity);
    let unlink = node.request("DELETE", &path).bearer_auth(&later.tokens.access_token).send().await.unwrap();
    assert_problem(unlink, Code::StepUpRequired).await;
    let all: Identities = body(later.get(&node, "/v1/account/identities").await, StatusCode::OK).await;
    assert_eq!(all.identities.len(), 1);
}
