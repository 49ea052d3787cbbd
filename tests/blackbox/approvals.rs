//! Approval of a new device by an enrolled one, without the password on the new one; devices' names.

use lockstep_api::{
    Code,
    account::{Devices, LabelDevice, proof_message},
    approval::{
        ApprovalAsked, Approvals, Approve, AskApproval, CollectApproval, Collected, WithdrawApproval,
        withdrawal_message,
    },
};
use lockstep_events::{DeviceId, SessionId, event::Method, header::public_key, roster::Claim};
use lockstepd::{
    commands::{approve::Asked, facts::Actor, session},
    config::Layer,
};
use reqwest::{Response, StatusCode};
use uuid::Uuid;

use crate::{
    support::{Mode, Node, Person, assert_problem, body, person::random_key, problem},
    ways::fresh,
};

in_both_modes! {
    many threads:
    only_the_keys_that_were_asked_for_are_approved_and_only_they_collect,
    an_unknown_name_is_answered_like_a_known_one_and_nobody_is_flooded,
    an_approval_that_was_cut_off_half_way_is_open_still_and_is_completed,
    a_request_that_its_device_withdrew_is_offered_to_nobody_and_can_be_approved_no_more,
    a_request_whose_approval_was_refused_is_withdrawn,
    of_an_approval_and_a_withdrawal_at_the_same_moment_not_both_are_told_yes,
    whose_device_joined_all_the_same_both_sides_are_told_to_revoke_it,
}

over_three_nodes! {
    only_the_keys_that_were_asked_for_are_approved_and_only_they_collect,
    of_an_approval_and_a_withdrawal_at_the_same_moment_not_both_are_told_yes,
}

const MODES: [Mode; 3] = [Mode::Embedded, Mode::Distributed, Mode::ThreeNodes];

/// The same person at a device that is not enrolled.
pub fn new_device(person: &Person) -> Person {
    Person { device: DeviceId(Uuid::new_v4()), device_key: random_key(), ..person.clone() }
}

fn asking(node: &Node, name: &str, new: &Person) -> reqwest::RequestBuilder {
    let ask = AskApproval {
        name: name.to_owned(),
        device: new.device,
        public_key: public_key(&new.device_key),
        kem_key: vec![5; 32].into(),
    };
    node.post("/v1/approvals", &ask)
}

/// Asks for an approval; its id.
pub async fn asked(node: &Node, new: &Person) -> Uuid {
    let answer = asking(node, &new.name, new).send().await.unwrap();
    body::<ApprovalAsked>(answer, StatusCode::CREATED).await.approval
}

async fn approve(node: &Node, person: &Person, approval: Uuid, new: &Person) -> Response {
    approve_with(node, person, approval, new, vec![7; 80]).await
}

/// Approves with this sealed for the new device.
pub async fn approve_with(
    node: &Node,
    person: &Person,
    approval: Uuid,
    new: &Person,
    sealed: Vec<u8>,
) -> Response {
    let claim = Claim::DeviceAdded { device: new.device, public_key: public_key(&new.device_key) };
    let statement = person.state(&person.look(node).await, claim);
    let body = Approve { statement, sealed: sealed.into() };
    person.post(node, &format!("/v1/approvals/{approval}/approve"), &body).await
}

/// Collects what was approved.
pub async fn collect(node: &Node, approval: Uuid, new: &Person) -> Response {
    let signature = new.sign(&proof_message(approval.as_bytes()));
    node.post(&format!("/v1/approvals/{approval}/collect"), &CollectApproval { signature })
        .send()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_device_gets_what_was_sealed_for_it_and_a_session_once_an_enrolled_one_approved_it() {
    for mode in MODES {
        let node = Node::start(mode).await;
        let person = fresh(&node, &Person::register(&node).await).await;
        let new = new_device(&person);
        let approval = asked(&node, &new).await;
        let waiting: Collected = body(collect(&node, approval, &new).await, StatusCode::OK).await;
        assert!(waiting.approved.is_none());
        let listed: Approvals = body(person.get(&node, "/v1/approvals").await, StatusCode::OK).await;
        assert_eq!(listed.approvals[0].approval, approval);
        assert_eq!(listed.approvals[0].public_key, public_key(&new.device_key));
        assert_eq!(approve(&node, &person, approval, &new).await.status(), StatusCode::NO_CONTENT);
        let got =
            body::<Collected>(collect(&node, approval, &new).await, StatusCode::OK).await.approved.unwrap();
        assert_eq!(got.sealed.0, [7; 80]);
        let new = Person { tokens: got.tokens, ..new };
        assert_eq!(new.get(&node, "/v1/account").await.status(), StatusCode::OK);
        assert_eq!(new.refresh(&node, &new.tokens.refresh_token).await.status(), StatusCode::OK);
        // The password was not proven on it.
        assert_problem(new.post(&node, "/v1/account/factors/totp", &()).await, Code::StepUpRequired).await;
        let listed: Approvals = body(person.get(&node, "/v1/approvals").await, StatusCode::OK).await;
        assert!(listed.approvals.is_empty());
    }
}

async fn only_the_keys_that_were_asked_for_are_approved_and_only_they_collect(mode: Mode) {
    let node = Node::start(mode).await;
    let person = fresh(&node, &Person::register(&node).await).await;
    let (new, thief) = (new_device(&person), new_device(&person));
    let approval = asked(&node, &new).await;
    assert_problem(approve(&node, &person, approval, &thief).await, Code::InvalidField).await;
    assert_problem(collect(&node, approval, &thief).await, Code::NotFound).await;
    let stranger = fresh(&node, &Person::register(&node).await).await;
    assert_problem(approve(&node, &stranger, approval, &new).await, Code::NotFound).await;
    node.clock.pass(601);
    let person = fresh(
        &node,
        &Person {
            tokens: body(person.refresh(&node, &person.tokens.refresh_token).await, StatusCode::OK).await,
            ..person
        },
    )
    .await;
    assert_problem(approve(&node, &person, approval, &new).await, Code::NotFound).await;
    assert_problem(collect(&node, approval, &new).await, Code::NotFound).await;
}

async fn an_unknown_name_is_answered_like_a_known_one_and_nobody_is_flooded(mode: Mode) {
    let limits = Layer {
        rate_limit_factor: Some(1),
        trusted_proxies: Some("127.0.0.1".to_owned()),
        ..Layer::default()
    };
    let node = Node::start_with(mode, limits).await;
    let person = Person::register(&node).await;
    for name in [person.name.as_str(), "nobody@example.org"] {
        for n in 0..6 {
            let new = new_device(&person);
            let asking = asking(&node, name, &new).header("x-forwarded-for", format!("203.0.113.{n}"));
            let answer = asking.send().await.unwrap();
            if n < 5 {
                assert_eq!(answer.status(), StatusCode::CREATED);
            } else {
                assert_problem(answer, Code::TooManyRequests).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_has_a_name_that_only_clients_can_read() {
    for mode in MODES {
        let node = Node::start(mode).await;
        let person = Person::register(&node).await;
        for label in [vec![1; 40], vec![2; 40]] {
            let path = format!("/v1/devices/{}/label", person.device);
            let request = node.request("PUT", &path).json(&LabelDevice { label: label.clone().into() });
            let answer = request.bearer_auth(&person.tokens.access_token).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::NO_CONTENT);
            let listed: Devices = body(person.get(&node, "/v1/devices").await, StatusCode::OK).await;
            assert_eq!(listed.devices[0].label.as_ref().unwrap().0, label);
        }
    }
}

/// The server is stopped after what was sealed is stored, or after the session has a row: nothing was enrolled.
async fn an_approval_that_was_cut_off_half_way_is_open_still_and_is_completed(mode: Mode) {
    let node = Node::start(mode).await;
    let person = fresh(&node, &Person::register(&node).await).await;
    let new = new_device(&person);
    let approval = asked(&node, &new).await;
    let server = &node.running().server;
    let factor = server.credentials.factor(approval).await.unwrap().unwrap();
    let half = Asked { sealed: Some(vec![7; 80]), ..serde_json::from_slice(&factor.body).unwrap() };
    let half = serde_json::to_vec(&half).unwrap();
    assert!(server.credentials.replace_factor(&factor, &half).await.unwrap());
    let still_open = async || {
        let waiting: Collected = body(collect(&node, approval, &new).await, StatusCode::OK).await;
        assert!(waiting.approved.is_none());
        let listed: Approvals = body(person.get(&node, "/v1/approvals").await, StatusCode::OK).await;
        assert_eq!(listed.approvals.iter().map(|one| one.approval).collect::<Vec<_>>(), [approval]);
    };
    still_open().await;
    let actor = Actor { account: person.account, device: new.device };
    let now = server.clock.now();
    let row = session::with_id(server, actor, SessionId(approval), Method::Approval, now);
    server.credentials.open_session(&row).await.unwrap();
    still_open().await;
    assert_eq!(approve(&node, &person, approval, &new).await.status(), StatusCode::NO_CONTENT);
    let got = body::<Collected>(collect(&node, approval, &new).await, StatusCode::OK).await.approved.unwrap();
    assert_eq!(got.sealed.0, [7; 80]);
    let new = Person { tokens: got.tokens, ..new };
    assert_eq!(new.get(&node, "/v1/account").await.status(), StatusCode::OK);
}

async fn withdraw(node: &Node, approval: Uuid, new: &Person) -> Response {
    let signature = new.sign(&withdrawal_message(approval));
    node.post(&format!("/v1/approvals/{approval}/withdraw"), &WithdrawApproval { signature })
        .send()
        .await
        .unwrap()
}

async fn a_request_that_its_device_withdrew_is_offered_to_nobody_and_can_be_approved_no_more(mode: Mode) {
    let node = Node::start(mode).await;
    let person = fresh(&node, &Person::register(&node).await).await;
    let listed = async || {
        let listed: Approvals = body(person.get(&node, "/v1/approvals").await, StatusCode::OK).await;
        listed.approvals.iter().map(|one| one.approval).collect::<Vec<_>>()
    };
    let (new, thief) = (new_device(&person), new_device(&person));
    let approval = asked(&node, &new).await;
    assert_problem(withdraw(&node, approval, &thief).await, Code::NotFound).await;
    assert_problem(withdraw(&node, Uuid::new_v4(), &new).await, Code::NotFound).await;
    assert_eq!(listed().await, [approval]);
    for again in [false, true] {
        assert_eq!(withdraw(&node, approval, &new).await.status(), StatusCode::NO_CONTENT, "{again}");
        assert_eq!(listed().await, [] as [Uuid; 0]);
    }
    let refused = problem(approve(&node, &person, approval, &new).await).await;
    assert_eq!(refused.code, Code::NotFound);
    assert!(refused.detail.unwrap().contains("withdrawn"));
    assert_problem(collect(&node, approval, &new).await, Code::NotFound).await;
    let devices: Devices = body(person.get(&node, "/v1/devices").await, StatusCode::OK).await;
    assert_eq!(devices.devices.len(), 1);

    let approval = asked(&node, &new).await;
    assert_eq!(approve(&node, &person, approval, &new).await.status(), StatusCode::NO_CONTENT);
    assert_problem(withdraw(&node, approval, &new).await, Code::PreconditionFailed).await;
    let got: Collected = body(collect(&node, approval, &new).await, StatusCode::OK).await;
    assert!(got.approved.is_some(), "what is approved stays");
}

/// What was sealed is stored before the device is enrolled, and there is no place for it.
async fn a_request_whose_approval_was_refused_is_withdrawn(mode: Mode) {
    let alone = Layer {
        plans: Some("alone = { devices = 1 }".parse().unwrap()),
        default_plan: Some("alone".into()),
        ..Layer::default()
    };
    let node = Node::start_with(mode, alone).await;
    let person = fresh(&node, &Person::register(&node).await).await;
    let new = new_device(&person);
    let approval = asked(&node, &new).await;
    assert_problem(approve(&node, &person, approval, &new).await, Code::QuotaExceeded).await;
    assert_eq!(withdraw(&node, approval, &new).await.status(), StatusCode::NO_CONTENT);
    assert_problem(approve(&node, &person, approval, &new).await, Code::NotFound).await;
    let listed: Approvals = body(person.get(&node, "/v1/approvals").await, StatusCode::OK).await;
    assert!(listed.approvals.is_empty());
}

async fn of_an_approval_and_a_withdrawal_at_the_same_moment_not_both_are_told_yes(mode: Mode) {
    let node = Node::start(mode).await;
    let person = fresh(&node, &Person::register(&node).await).await;
    for _ in 0..10 {
        let new = new_device(&person);
        let approval = asked(&node, &new).await;
        let claim = Claim::DeviceAdded { device: new.device, public_key: public_key(&new.device_key) };
        let statement = person.state(&person.look(&node).await, claim);
        let (path, sealed) = (format!("/v1/approvals/{approval}/approve"), vec![7; 80].into());
        let approve = Approve { statement, sealed };
        let (approved, withdrawn) =
            tokio::join!(person.post(&node, &path, &approve), withdraw(&node, approval, &new));
        let told = (approved.status(), withdrawn.status());
        let actor = Actor { account: person.account, device: new.device };
        let opened = actor.session_opened(SessionId(approval), Method::Approval).unwrap();
        let joined = session::stands(&node.running().server, &opened).await.unwrap();
        // Of a device that joined, and that nobody has, one of the two knows.
        let knows = |status| status == StatusCode::PRECONDITION_FAILED;
        match told {
            (StatusCode::NO_CONTENT, withdrawn) => assert!(joined && knows(withdrawn), "{told:?}"),
            (approved, StatusCode::NO_CONTENT) => assert_eq!(joined, knows(approved), "{told:?}"),
            (approved, withdrawn) => assert!(joined && knows(approved) && knows(withdrawn), "{told:?}"),
        }
    }
}

/// An approval was on its way when its request was withdrawn.
async fn whose_device_joined_all_the_same_both_sides_are_told_to_revoke_it(mode: Mode) {
    let node = Node::start(mode).await;
    let person = fresh(&node, &Person::register(&node).await).await;
    let new = new_device(&person);
    let approval = asked(&node, &new).await;
    assert_eq!(approve(&node, &person, approval, &new).await.status(), StatusCode::NO_CONTENT);
    let server = &node.running().server;
    let factor = server.credentials.factor(approval).await.unwrap().unwrap();
    let withdrawn = Asked { withdrawn: true, ..serde_json::from_slice(&factor.body).unwrap() };
    let withdrawn = serde_json::to_vec(&withdrawn).unwrap();
    assert!(server.credentials.replace_factor(&factor, &withdrawn).await.unwrap());
    let told = problem(approve(&node, &person, approval, &new).await).await;
    assert_eq!(told.code, Code::PreconditionFailed);
    assert!(told.detail.unwrap().contains("revoke it"));
    assert_problem(withdraw(&node, approval, &new).await, Code::PreconditionFailed).await;
    assert_problem(collect(&node, approval, &new).await, Code::NotFound).await;
}
