//! Requests of one person at the same moment: of those that exclude each other one counts, and none is an error of the
//! server.

use std::collections::HashSet;

use futures_util::future::join_all;
use lockstep_api::{
    Code,
    account::{LoggedIn, Sessions},
    factor::{FactorIsSet, Factors, Kind, Shown},
    privacy::{Erase, ErasureDue},
};
use lockstep_events::Clock;
use lockstepd::auth::minting::Bearer;
use reqwest::{Response, StatusCode};
use sqlx::{Connection, Executor, PgConnection};

use crate::{
    authenticators::Authenticator,
    factors::{begin_passkey, finish_passkey, login, proven, show, with_passkey},
    support::{Mode, Node, Person, assert_problem, body},
    ways::begin_login,
};

in_both_modes! {
    new_codes_that_are_asked_for_at_once_leave_one_set_that_works,
    as_many_factors_as_an_account_may_have_are_set_at_once_and_no_more,
    of_first_factors_that_are_set_at_once_by_the_password_alone_one_stands,
    factors_that_are_removed_at_once_leave_no_codes_behind,
    logins_of_a_device_that_end_at_once_leave_one_session,
    an_erasure_that_is_asked_for_at_once_with_one_key_is_answered_alike,
    erasures_that_are_asked_for_and_called_off_at_once_are_all_answered,
}

over_three_nodes! {
    new_codes_that_are_asked_for_at_once_leave_one_set_that_works,
    as_many_factors_as_an_account_may_have_are_set_at_once_and_no_more,
    of_first_factors_that_are_set_at_once_by_the_password_alone_one_stands,
    factors_that_are_removed_at_once_leave_no_codes_behind,
}

async fn codes(node: &Node, person: &Person) -> FactorIsSet {
    let answer = person.post(node, "/v1/account/factors/codes", &()).await;
    body(answer, StatusCode::CREATED).await
}

async fn listed(node: &Node, person: &Person) -> Factors {
    body(person.get(node, "/v1/account/factors").await, StatusCode::OK).await
}

async fn new_codes_that_are_asked_for_at_once_leave_one_set_that_works(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let mut key = with_passkey(&node, &person).await;
    let person = proven(&node, &person, |asked| key.assert(&asked.challenge.0)).await;
    let made = join_all((0..16).map(|_| codes(&node, &person))).await;
    assert_eq!(made.iter().map(|set| set.factor).collect::<HashSet<_>>().len(), 16);
    let stored = node.running().server.credentials.factors(person.account).await.unwrap();
    assert_eq!(stored.len(), 2, "the passkey and one set of codes");
    let left = listed(&node, &person).await.factors;
    let live = left.iter().find(|factor| factor.kind == Kind::Codes).unwrap();
    assert_eq!(live.left, Some(10));
    for set in &made {
        let asked = login(&node, &person).await;
        let shown = show(&node, asked.attempt, Shown::Codes { code: set.codes[0].clone() }).await;
        let expected = if set.factor == live.factor { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        assert_eq!(shown.status(), expected);
    }
}

async fn as_many_factors_as_an_account_may_have_are_set_at_once_and_no_more(mode: Mode) {
    twenty_at_once(&Node::start(mode).await).await;
}

/// The row of one of them is held up: while it is, the others do not see it, and it counts all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_factor_that_is_stored_late_makes_no_room_for_one_more() {
    let node = Node::start(Mode::ThreeNodes).await;
    let late = "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
        IF NEW.kind = 'passkey' AND pg_try_advisory_xact_lock(1) THEN PERFORM pg_sleep(1.5); END IF; RETURN NEW; END $$; \
        CREATE TRIGGER late BEFORE INSERT ON factors FOR EACH ROW EXECUTE FUNCTION late()";
    let mut database = PgConnection::connect(&node.database()).await.unwrap();
    database.execute(sqlx::raw_sql(late)).await.unwrap();
    twenty_at_once(&node).await;
}

/// The same person with a proof that came after everything that happens within a minute: as if each factor had been part
/// of it.
fn proven_last(node: &Node, person: &Person) -> Person {
    let (server, mut person) = (&node.running().server, person.clone());
    let claims = server.tokens.verify(&person.tokens.access_token, node.clock.now()).unwrap();
    let bearer = Bearer {
        account: claims.sub,
        device: claims.did,
        session: claims.sid,
        scope: claims.scope,
        method: claims.acr,
        proven_at: node.clock.now().plus_seconds(60),
        auth_epoch: claims.aep,
    };
    person.tokens.access_token = server.tokens.mint(bearer, node.clock.now()).unwrap();
    person
}

/// Each of them was proven before the others were set: whoever sets the first one decides who else is let near.
async fn of_first_factors_that_are_set_at_once_by_the_password_alone_one_stands(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let mut made = Vec::new();
    for _ in 0..8 {
        made.push(begin_passkey(&node, &person, &Authenticator::new()).await);
    }
    let answers = join_all(made.iter().map(|made| finish_passkey(&node, &person, made))).await;
    let (set, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status() == StatusCode::CREATED);
    assert_eq!(set.len(), 1);
    for answer in refused {
        assert_problem(answer, Code::StepUpRequired).await;
    }
    let left = listed(&node, &person).await.factors;
    let kinds: Vec<Kind> = left.iter().map(|factor| factor.kind).collect();
    assert!(kinds == [Kind::Passkey, Kind::Codes], "{kinds:?}");
}

/// Twenty passkeys of one account: fifteen are set.
async fn twenty_at_once(node: &Node) {
    let person = proven_last(node, &Person::register(node).await);
    let mut made = Vec::new();
    for _ in 0..20 {
        made.push(begin_passkey(node, &person, &Authenticator::new()).await);
    }
    let answers = join_all(made.iter().map(|made| finish_passkey(node, &person, made))).await;
    let (set, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status() == StatusCode::CREATED);
    assert_eq!((set.len(), refused.len()), (15, 5));
    for answer in refused {
        assert_problem(answer, Code::QuotaExceeded).await;
    }
    let left = listed(node, &person).await.factors;
    let of = |kind| left.iter().filter(|factor| factor.kind == kind).count();
    assert_eq!((of(Kind::Passkey), of(Kind::Codes)), (15, 1));
    let shown: Vec<FactorIsSet> = join_all(set.into_iter().map(|set| body(set, StatusCode::CREATED))).await;
    assert!(shown.iter().any(|set| set.codes.len() == 10), "the codes were shown to somebody");
}

async fn factors_that_are_removed_at_once_leave_no_codes_behind(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let (last, mut keys) = (proven_last(&node, &person), Vec::new());
    for _ in 0..6 {
        keys.push(with_passkey(&node, &last).await);
    }
    let all = listed(&node, &person).await.factors;
    assert_eq!(all.len(), 7);
    let person = proven(&node, &person, |asked| keys[0].assert(&asked.challenge.0)).await;
    let remove = async |factor| {
        let request = node.request("DELETE", &format!("/v1/account/factors/{factor}"));
        request.bearer_auth(&person.tokens.access_token).send().await.unwrap().status()
    };
    let passkeys = all.iter().filter(|factor| factor.kind == Kind::Passkey);
    let answers = join_all(passkeys.map(|passkey| remove(passkey.factor))).await;
    assert!(answers.iter().all(|status| *status == StatusCode::NO_CONTENT), "{answers:?}");
    assert_eq!(listed(&node, &person).await.factors.len(), 0);
    let free = person.login(&node, &person.password, true).await;
    assert_eq!(free.status(), StatusCode::OK, "nothing is demanded that nobody could show");
}

async fn logins_of_a_device_that_end_at_once_leave_one_session(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let other = person.enrol(&node).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(begin_login(&node, &person, &person.password).await);
    }
    let end = async |finish| node.post("/v1/sessions/finish", finish).send().await.unwrap();
    let answers = join_all(held.iter().map(end)).await;
    let opened: Vec<LoggedIn> = join_all(answers.into_iter().map(|one| body(one, StatusCode::OK))).await;
    let sessions: Sessions = body(other.get(&node, "/v1/sessions").await, StatusCode::OK).await;
    assert_eq!(sessions.sessions.len(), 10);
    let live = sessions.sessions.iter().filter(|session| !session.ended && session.device == person.device);
    let live: Vec<_> = live.map(|session| session.session).collect();
    assert_eq!(live.len(), 1);
    for tokens in opened.into_iter().map(|opened| opened.tokens.unwrap()) {
        let answer = node.get("/v1/account").bearer_auth(tokens.access_token).send().await.unwrap();
        assert_eq!(answer.status() == StatusCode::OK, tokens.session == live[0]);
    }
}

async fn erase(node: &Node, person: &Person, key: &str) -> Response {
    let request = node.post("/v1/me/erasure", &Erase { account: person.account });
    let request = request.bearer_auth(&person.tokens.access_token).header("idempotency-key", key);
    request.send().await.unwrap()
}

async fn keep(node: &Node, person: &Person, key: &str) -> Response {
    let request = node.request("DELETE", "/v1/me/erasure").header("idempotency-key", key);
    request.bearer_auth(&person.tokens.access_token).send().await.unwrap()
}

async fn an_erasure_that_is_asked_for_at_once_with_one_key_is_answered_alike(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let answers = join_all((0..32).map(|_| erase(&node, &person, "one"))).await;
    let due: Vec<ErasureDue> = join_all(answers.into_iter().map(|one| body(one, StatusCode::ACCEPTED))).await;
    assert!(due.iter().all(|one| one.due_at == due[0].due_at));
    let called_off = join_all((0..32).map(|_| keep(&node, &person, "two"))).await;
    assert!(called_off.iter().all(|answer| answer.status() == StatusCode::NO_CONTENT));
    // A retry that comes late is answered as before, and asks for nothing.
    let late: ErasureDue = body(erase(&node, &person, "one").await, StatusCode::ACCEPTED).await;
    assert_eq!(late.due_at, due[0].due_at);
    assert_problem(person.get(&node, "/v1/me/erasure").await, Code::NotFound).await;
}

async fn erasures_that_are_asked_for_and_called_off_at_once_are_all_answered(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    for round in 0..3 {
        let asked = (0..24).map(async |n| erase(&node, &person, &format!("ask-{round}-{n}")).await.status());
        let kept = (0..24).map(async |n| keep(&node, &person, &format!("keep-{round}-{n}")).await.status());
        let (asked, kept) = tokio::join!(join_all(asked), join_all(kept));
        assert!(asked.iter().all(|status| *status == StatusCode::ACCEPTED), "{asked:?}");
        let expected = [StatusCode::NO_CONTENT, StatusCode::NOT_FOUND];
        assert!(kept.iter().all(|status| expected.contains(status)), "{kept:?}");
    }
}
