//! A device's id is chosen by its client, so another account may have the same one: it counts in its own account alone.

use std::{ops::ControlFlow, sync::Arc};

use lockstep_api::{
    Code,
    account::{Devices, EnrolDevice, LoggedIn, OfferRoster},
    approval::AskApproval,
    live::close,
    privacy::Erase,
};
use lockstep_events::{Clock, DeviceId, Seq, header::public_key, roster::Claim, roster::Statement};
use lockstep_projections::Family;
use lockstepd::{
    commands::account::caught_up,
    config::Layer,
    erasure,
    operate::projections::{Place, rebuild},
};
use reqwest::{Response, StatusCode};
use uuid::Uuid;

use crate::{
    socket::{Socket, all},
    support::{
        Mode, Node, Person, assert_problem, body,
        person::{Registration, random_key},
    },
};

in_both_modes! {
    many threads:
    a_device_without_an_id_is_taken_nowhere_and_others_enrol_on,
    somebody_else_s_device_of_the_same_id_gives_no_access_and_ends_none,
    offered_devices_of_one_id_log_in_in_both_accounts,
    an_id_of_two_accounts_folds_on_when_one_of_them_is_erased,
}

/// A registration whose first device has this id.
async fn start_with(node: &Node, device: DeviceId) -> Registration {
    let name = format!("{}@example.org", Uuid::new_v4());
    let mut registration = Person::start(node, &name).await;
    let Registration { finish, person } = &mut registration;
    (person.device, finish.device) = (device, device);
    let added = Claim::DeviceAdded { device, public_key: public_key(&person.device_key) };
    let claims = [added, finish.statements[2].claim.clone()];
    finish.statements.truncate(1);
    for claim in claims {
        let last = finish.statements.last().unwrap();
        finish.statements.push(after(person, last, claim));
    }
    registration
}

/// The statement after another one.
fn after(person: &Person, last: &Statement, claim: Claim) -> Statement {
    Statement::sign(&person.ask, person.account, last.epoch + 1, last.hash(), claim)
}

/// The next statement of somebody's roster: a device with this id and a new key; and the person at it.
async fn added(node: &Node, person: &Person, device: DeviceId) -> (Person, Statement) {
    let new = Person { device, device_key: random_key(), ..person.clone() };
    let claim = Claim::DeviceAdded { device, public_key: public_key(&new.device_key) };
    let statement = person.state(&person.look(node).await, claim);
    (new, statement)
}

async fn offer(node: &Node, person: &Person, statements: Vec<Statement>) -> Response {
    person.post(node, "/v1/roster", &OfferRoster { statements, wraps: Vec::new() }).await
}

async fn a_device_without_an_id_is_taken_nowhere_and_others_enrol_on(mode: Mode) {
    let node = Node::start(mode).await;
    let (mallory, bob) = (Person::register(&node).await, Person::register(&node).await);
    let (new, added) = added(&node, &mallory, DeviceId::NIL).await;
    let revoked = after(&mallory, &added, Claim::DeviceRevoked { device: DeviceId::NIL });
    assert_problem(offer(&node, &mallory, vec![added.clone(), revoked]).await, Code::InvalidField).await;

    let register = start_with(&node, DeviceId::NIL).await.finish;
    let registered = node.post("/v1/accounts/finish", &register).send().await.unwrap();
    assert_problem(registered, Code::InvalidField).await;

    let login: LoggedIn = body(mallory.login(&node, &mallory.password, false).await, StatusCode::OK).await;
    let enrol = node.post("/v1/devices", &EnrolDevice { statement: added });
    let enrolled = enrol.bearer_auth(login.enrol_token.unwrap()).send().await.unwrap();
    assert_problem(enrolled, Code::InvalidField).await;

    let (name, public_key) = (mallory.name.clone(), public_key(&new.device_key));
    let ask = AskApproval { name, device: DeviceId::NIL, public_key, kem_key: vec![5; 32].into() };
    let asked = node.post("/v1/approvals", &ask).send().await.unwrap();
    assert_problem(asked, Code::InvalidField).await;

    assert_eq!(bob.try_enrol(&node).await.status(), StatusCode::CREATED);
    assert_eq!(mallory.try_enrol(&node).await.status(), StatusCode::CREATED);
}

async fn somebody_else_s_device_of_the_same_id_gives_no_access_and_ends_none(mode: Mode) {
    let node = Node::start(mode).await;
    let mut bob = Person::register(&node).await;
    let stream = bob.account.into();
    let mut socket = Socket::hello(&node, &bob, &[all(bob.account)]).await;
    let mallory = start_with(&node, bob.device).await.send(&node).await;
    let stolen = &bob.tokens.refresh_token;
    let thief = Person { device_key: mallory.device_key.clone(), ..bob.clone() };
    assert_problem(thief.refresh(&node, stolen).await, Code::RefreshFailed).await;
    bob.tokens = body(bob.refresh(&node, stolen).await, StatusCode::OK).await;

    let mut hers = Socket::hello(&node, &mallory, &[]).await;
    assert_eq!(mallory.revoke(&node, mallory.device).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(hers.close_code().await, close::REVOKED);
    assert_problem(mallory.get(&node, "/v1/account").await, Code::Revoked).await;

    // What happens now comes after whatever would have closed the socket.
    let token = bob.tokens.refresh_token.clone();
    bob.tokens = body(bob.refresh(&node, &token).await, StatusCode::OK).await;
    let head = node.running().server.log.stream_heads(&[stream]).await.unwrap()[0].seq;
    socket.events(stream, Seq::ZERO, head).await;
    assert_eq!(bob.get(&node, "/v1/account").await.status(), StatusCode::OK);
    assert_eq!(bob.try_enrol(&node).await.status(), StatusCode::CREATED);
}

async fn offered_devices_of_one_id_log_in_in_both_accounts(mode: Mode) {
    let node = Node::start(mode).await;
    let device = DeviceId(Uuid::new_v4());
    for person in [Person::register(&node).await, Person::register(&node).await] {
        let (mut new, added) = added(&node, &person, device).await;
        assert_eq!(offer(&node, &person, vec![added]).await.status(), StatusCode::NO_CONTENT);
        let login: LoggedIn = body(new.login(&node, &new.password, true).await, StatusCode::OK).await;
        new.tokens = login.tokens.unwrap();
        let refreshed = new.refresh(&node, &new.tokens.refresh_token).await;
        assert_eq!(refreshed.status(), StatusCode::OK);
    }
}

/// Asks for the end of an account, and lets time pass until it is erased.
async fn erase(node: &Node, person: &Person) {
    let request = node.post("/v1/me/erasure", &Erase { account: person.account });
    let request = request.bearer_auth(&person.tokens.access_token);
    let asked = request.header("idempotency-key", Uuid::new_v4().to_string()).send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::ACCEPTED);
    let server = &node.running().server;
    for _ in 0..600 {
        node.clock.pass(200);
        // Another round may have it in its hands.
        let _ = erasure::run_due(server).await;
        if server.erasures.find(person.account).await.unwrap().is_none() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("not erased: {:?}", server.erasures.find(person.account).await.unwrap());
}

/// The devices of somebody, and whether each is revoked.
async fn devices(node: &Node, person: &Person) -> Vec<(DeviceId, bool)> {
    let listed: Devices = body(person.get(node, "/v1/devices").await, StatusCode::OK).await;
    listed.devices.iter().map(|device| (device.device, device.revoked)).collect()
}

async fn an_id_of_two_accounts_folds_on_when_one_of_them_is_erased(mode: Mode) {
    let node = Node::start_with(mode, Layer { erasure_wait_hours: Some(0), ..Layer::default() }).await;
    let bob = Person::register(&node).await;
    let mut other = bob.enrol(&node).await;
    let mallory = start_with(&node, bob.device).await.send(&node).await;
    assert_eq!(devices(&node, &bob).await, [(bob.device, false), (other.device, false)]);
    assert_eq!(devices(&node, &mallory).await, [(bob.device, false)]);
    erase(&node, &mallory).await;

    let token = other.tokens.refresh_token.clone();
    other.tokens = body(other.refresh(&node, &token).await, StatusCode::OK).await;
    assert_eq!(other.revoke(&node, bob.device).await.status(), StatusCode::NO_CONTENT);
    let server = &node.running().server;
    caught_up(server).await.unwrap();
    let revoked = [(bob.device, true), (other.device, false)];
    assert_eq!(devices(&node, &other).await, revoked);

    let clock = Arc::clone(&node.clock) as Arc<dyn Clock>;
    let place = Place { log: Arc::clone(&server.log), reads: Arc::clone(&server.reads), clock };
    let run = Uuid::new_v4();
    let reports = rebuild(&place, &[Family::Account], run, &mut |_| ControlFlow::Continue(())).await.unwrap();
    assert_eq!((reports.len(), reports[0].identical), (1, Some(true)), "{reports:?}");
    assert_eq!(devices(&node, &other).await, revoked);
    assert_problem(bob.refresh(&node, &bob.tokens.refresh_token).await, Code::Revoked).await;
}
