//! Second factors at the door: codes by time, passkeys made by an authenticator in software, codes on paper.

use lockstep_api::{
    Bytes64, Code,
    account::{LoggedIn, SteppedUp, Tokens},
    factor::{ConfirmTotp, Demanded, FactorIsSet, Factors, Kind, MadePasskey, NewPasskey, ShowFactor, Shown},
};
use reqwest::{Response, StatusCode};
use uuid::Uuid;

use crate::{
    authenticators::{App, Authenticator},
    support::{Mode, Node, Person, assert_problem, body, problem},
    ways::{fresh, step_up},
};

in_both_modes! {
    many threads:
    twenty_wrong_guesses_in_a_day_are_the_last_whatever_attempts_they_are_made_in,
    a_copy_of_the_credential_store_holds_no_secret_of_a_factor,
    a_factor_is_shown_for_its_own_attempt_session_and_account_only,
    a_passkey_belongs_to_one_account_and_to_it_once,
    a_code_on_paper_works_once,
    a_passkey_registration_that_is_not_for_this_challenge_origin_and_party_is_refused,
    a_step_up_needs_the_second_factor_and_removing_the_last_one_ends_the_demand,
    a_proof_from_before_a_factor_was_set_does_not_remove_it,
    a_factor_that_was_begun_and_not_confirmed_is_not_demanded,
}

over_three_nodes! {
    twenty_wrong_guesses_in_a_day_are_the_last_whatever_attempts_they_are_made_in,
    a_factor_is_shown_for_its_own_attempt_session_and_account_only,
    a_code_on_paper_works_once,
}

const MODES: [Mode; 3] = [Mode::Embedded, Mode::Distributed, Mode::ThreeNodes];

/// Begins a TOTP factor.
pub async fn begin_app(node: &Node, person: &Person) -> App {
    let answer = person.post(node, "/v1/account/factors/totp", &()).await;
    App::new(&body(answer, StatusCode::CREATED).await)
}

/// Sets a TOTP factor. The clock moves on, so that its next code is a fresh one.
async fn with_totp(node: &Node, person: &Person) -> App {
    let person = fresh(node, person).await;
    let app = begin_app(node, &person).await;
    let confirm = ConfirmTotp { factor: app.factor, code: app.digits(node) };
    let answer = person.post(node, "/v1/account/factors/totp/confirm", &confirm).await;
    let set: FactorIsSet = body(answer, StatusCode::OK).await;
    node.clock.pass(60);
    App { codes: set.codes, ..app }
}

/// The same person with a token that counts as freshly proven, by password and app.
async fn fresh_by(node: &Node, person: &Person, app: &App) -> Person {
    proven(node, person, |_| app.shown(node)).await
}

/// The same person with a token that counts as freshly proven, by password and what is shown then: a minute after all
/// that was before.
pub async fn proven(node: &Node, person: &Person, shown: impl FnOnce(&Demanded) -> Shown) -> Person {
    node.clock.pass(60);
    let asked = demanded(step_up(node, person, &person.password, person).await).await;
    let shown = ShowFactor { attempt: asked.attempt, factor: shown(&asked) };
    let answer = person.post(node, "/v1/sessions/step-up/second-factor", &shown).await;
    let stepped: SteppedUp = body(answer, StatusCode::OK).await;
    let mut person = person.clone();
    person.tokens.access_token = stepped.access_token;
    person
}

/// Begins a passkey; what ends it.
pub async fn begin_passkey(node: &Node, person: &Person, authenticator: &Authenticator) -> MadePasskey {
    let asked: NewPasskey =
        body(person.post(node, "/v1/account/factors/passkey/start", &()).await, StatusCode::OK).await;
    assert_eq!(asked.user.0, person.account.as_bytes());
    MadePasskey {
        attempt: asked.attempt,
        client_data: Bytes64(authenticator.client_data("webauthn.create", &asked.challenge.0)),
        attestation: Bytes64(authenticator.attestation()),
    }
}

/// Ends a passkey that was begun.
pub async fn finish_passkey(node: &Node, person: &Person, made: &MadePasskey) -> Response {
    person.post(node, "/v1/account/factors/passkey/finish", made).await
}

async fn make_passkey(node: &Node, person: &Person, authenticator: &Authenticator) -> Response {
    finish_passkey(node, person, &begin_passkey(node, person, authenticator).await).await
}

/// Sets a passkey for a person whose token is fresh.
pub async fn with_passkey(node: &Node, person: &Person) -> Authenticator {
    let authenticator = Authenticator::new();
    // Its token is as fresh as its registration, unless a factor is demanded already.
    let made = make_passkey(node, person, &authenticator).await;
    let _: FactorIsSet = body(made, StatusCode::CREATED).await;
    authenticator
}

/// What a login demands.
async fn demanded(answer: Response) -> Demanded {
    let problem = problem(answer).await;
    assert_eq!(problem.code, Code::SecondFactorRequired);
    serde_json::from_value(problem.facts.unwrap()).unwrap()
}

/// What a login demands that is right but for the second factor.
pub async fn login(node: &Node, person: &Person) -> Demanded {
    demanded(person.login(node, &person.password, true).await).await
}

/// Shows a factor.
pub async fn show(node: &Node, attempt: Uuid, factor: Shown) -> Response {
    node.post("/v1/sessions/second-factor", &ShowFactor { attempt, factor }).send().await.unwrap()
}

fn digits(code: &str) -> Shown {
    Shown::Totp { code: code.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_with_the_right_password_gives_nothing_before_the_second_factor_and_everything_after_it() {
    for mode in MODES {
        let node = Node::start(mode).await;
        let person = Person::register(&node).await;
        let app = with_totp(&node, &person).await;
        assert_eq!(app.codes.len(), 10);
        let asked = login(&node, &person).await;
        assert_eq!(asked.kinds, [Kind::Totp, Kind::Codes]);
        let done: LoggedIn = body(show(&node, asked.attempt, app.shown(&node)).await, StatusCode::OK).await;
        let token = done.tokens.unwrap().access_token;
        assert_eq!(node.get("/v1/account").bearer_auth(token).send().await.unwrap().status(), StatusCode::OK);
        let again = show(&node, asked.attempt, app.shown(&node)).await;
        assert_problem(again, Code::AttemptExpired).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_taken_once_also_by_two_who_show_it_at_once() {
    for mode in MODES {
        let node = Node::start(mode).await;
        let person = Person::register(&node).await;
        let app = with_totp(&node, &person).await;
        let (one, two) = (login(&node, &person).await, login(&node, &person).await);
        let code = app.digits(&node);
        let (first, second) =
            tokio::join!(show(&node, one.attempt, digits(&code)), show(&node, two.attempt, digits(&code)));
        let right = [&first, &second].iter().filter(|answer| answer.status() == StatusCode::OK).count();
        assert_eq!(right, 1);
        let replay = login(&node, &person).await;
        assert_problem(show(&node, replay.attempt, digits(&code)).await, Code::SecondFactorFailed).await;
    }
}

async fn wrong_guesses(node: &Node, app: &App, attempt: Uuid, guesses: usize) {
    for _ in 0..guesses {
        let wrong = show(node, attempt, digits(&app.wrong(node))).await;
        assert_problem(wrong, Code::SecondFactorFailed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn otp_counter_persists() {
    let mut node = Node::start(Mode::Distributed).await;
    let person = Person::register(&node).await;
    let app = with_totp(&node, &person).await;
    let asked = login(&node, &person).await;
    wrong_guesses(&node, &app, asked.attempt, 2).await;
    node.restart().await;
    wrong_guesses(&node, &app, asked.attempt, 3).await;
    // The sixth guess is not looked at, though it is right.
    let right = show(&node, asked.attempt, app.shown(&node)).await;
    assert_problem(right, Code::TooManyRequests).await;
    let fresh = login(&node, &person).await;
    assert_eq!(show(&node, fresh.attempt, app.shown(&node)).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn otp_counter_persists_though_the_attempt_went_with_its_only_process() {
    let mut node = Node::start(Mode::Embedded).await;
    let person = Person::register(&node).await;
    let app = with_totp(&node, &person).await;
    for _ in 0..4 {
        let asked = login(&node, &person).await;
        wrong_guesses(&node, &app, asked.attempt, 5).await;
        node.restart().await;
        let gone = show(&node, asked.attempt, app.shown(&node)).await;
        assert_problem(gone, Code::AttemptExpired).await;
    }
    // The guess after twenty of a day is not looked at, though it is right.
    let asked = login(&node, &person).await;
    let right = show(&node, asked.attempt, app.shown(&node)).await;
    assert_problem(right, Code::TooManyRequests).await;
}

async fn twenty_wrong_guesses_in_a_day_are_the_last_whatever_attempts_they_are_made_in(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let app = with_totp(&node, &person).await;
    for _ in 0..4 {
        let asked = login(&node, &person).await;
        wrong_guesses(&node, &app, asked.attempt, 5).await;
    }
    let asked = login(&node, &person).await;
    let right = show(&node, asked.attempt, app.shown(&node)).await;
    assert_problem(right, Code::TooManyRequests).await;
    node.clock.pass(24 * 3600 + 1);
    let asked = login(&node, &person).await;
    assert_eq!(show(&node, asked.attempt, app.shown(&node)).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_counted_by_all_nodes_together_whichever_is_asked() {
    let first = Node::start(Mode::Distributed).await;
    let (second, third) = (first.second().await, first.second().await);
    let person = Person::register(&first).await;
    let app = with_totp(&first, &person).await;
    let asked = login(&first, &person).await;
    let nodes = [&first, &second, &third];
    let guesses = (0..30).map(|n| show(nodes[n % 3], asked.attempt, digits(&app.wrong(&first))));
    let answers = futures_util::future::join_all(guesses).await;
    let looked_at = answers.iter().filter(|answer| answer.status() == StatusCode::UNAUTHORIZED).count();
    assert_eq!(looked_at, 5, "thirty at once, of which five are looked at");
    let right = show(&second, asked.attempt, app.shown(&first)).await;
    assert_problem(right, Code::TooManyRequests).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_codes_take_the_place_of_the_old_ones_and_need_a_factor_that_they_stand_in_for() {
    for mode in MODES {
        let node = Node::start(mode).await;
        let person = fresh(&node, &Person::register(&node).await).await;
        let path = "/v1/account/factors/codes";
        assert_problem(person.post(&node, path, &()).await, Code::NotFound).await;
        let app = with_totp(&node, &person).await;
        let proven = fresh_by(&node, &person, &app).await;
        let made: FactorIsSet = body(proven.post(&node, path, &()).await, StatusCode::CREATED).await;
        assert_eq!(made.codes.len(), 10);
        let show_code = async |code: &str| {
            let asked = login(&node, &person).await;
            show(&node, asked.attempt, Shown::Codes { code: code.to_owned() }).await
        };
        assert_problem(show_code(&app.codes[0]).await, Code::SecondFactorFailed).await;
        assert_eq!(show_code(&made.codes[0]).await.status(), StatusCode::OK);
    }
}

async fn a_copy_of_the_credential_store_holds_no_secret_of_a_factor(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let app = with_totp(&node, &person).await;
    let passkey = with_passkey(&node, &fresh_by(&node, &person, &app).await).await;
    let server = &node.running().server;
    let stored = server.credentials.factors(person.account).await.unwrap();
    assert_eq!(stored.len(), 3);
    let is_in = |needle: &[u8]| {
        stored.iter().any(|factor| factor.body.windows(needle.len()).any(|window| window == needle))
    };
    let numbers = app.secret[..4].iter().map(u8::to_string).collect::<Vec<_>>().join(",");
    assert!(!is_in(&app.secret) && !is_in(numbers.as_bytes()) && !is_in(b"Totp") && !is_in(&passkey.id));
    // Without the person's key nothing is left out: nobody gets in without the factor.
    server.subjects.destroy(person.account, &[lockstepd::subjects::Purpose::Credential]).await.unwrap();
    let refused = person.login(&node, &person.password, true).await;
    assert!(!refused.status().is_success(), "{}", refused.status());
}

async fn a_factor_is_shown_for_its_own_attempt_session_and_account_only(mode: Mode) {
    let node = Node::start(mode).await;
    let (person, stranger) = (Person::register(&node).await, Person::register(&node).await);
    let other = person.enrol(&node).await;
    let app = with_totp(&node, &person).await;
    let foreign = with_totp(&node, &stranger).await;
    let asked = login(&node, &person).await;
    let wrong = show(&node, asked.attempt, foreign.shown(&node)).await;
    assert_problem(wrong, Code::SecondFactorFailed).await;
    // What is demanded for a step-up opens no login, and is shown in the session that asked.
    let asked = demanded(step_up(&node, &person, &person.password, &person).await).await;
    assert_problem(show(&node, asked.attempt, app.shown(&node)).await, Code::AttemptExpired).await;
    let shown = ShowFactor { attempt: asked.attempt, factor: app.shown(&node) };
    let path = "/v1/sessions/step-up/second-factor";
    assert_problem(other.post(&node, path, &shown).await, Code::AttemptExpired).await;
    assert_problem(stranger.post(&node, path, &shown).await, Code::AttemptExpired).await;
    assert_eq!(person.post(&node, path, &shown).await.status(), StatusCode::OK);
    let path = format!("/v1/account/factors/{}", app.factor);
    let theirs = fresh_by(&node, &stranger, &foreign).await;
    let gone = node.request("DELETE", &path).bearer_auth(&theirs.tokens.access_token).send().await.unwrap();
    assert_problem(gone, Code::NotFound).await;
}

async fn a_passkey_belongs_to_one_account_and_to_it_once(mode: Mode) {
    let node = Node::start(mode).await;
    let (person, stranger) = (Person::register(&node).await, Person::register(&node).await);
    let key = with_passkey(&node, &person).await;
    let again = make_passkey(&node, &fresh(&node, &stranger).await, &key).await;
    assert_problem(again, Code::SecondFactorFailed).await;
    assert_eq!(stranger.login(&node, &stranger.password, true).await.status(), StatusCode::OK);
}

async fn a_code_on_paper_works_once(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let app = with_totp(&node, &person).await;
    let code = || Shown::Codes { code: app.codes[4].to_lowercase() };
    let asked = login(&node, &person).await;
    assert_eq!(show(&node, asked.attempt, code()).await.status(), StatusCode::OK);
    let asked = login(&node, &person).await;
    assert_problem(show(&node, asked.attempt, code()).await, Code::SecondFactorFailed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passkey_opens_a_login_and_a_copied_forged_or_foreign_one_does_not() {
    for mode in MODES {
        let node = Node::start(mode).await;
        let person = Person::register(&node).await;
        let mut key = with_passkey(&node, &person).await;
        let asked = login(&node, &person).await;
        assert_eq!(asked.passkeys.len(), 1);
        assert_eq!(show(&node, asked.attempt, key.assert(&asked.challenge.0)).await.status(), StatusCode::OK);
        let asked = login(&node, &person).await;
        let challenge = &asked.challenge.0;
        let stranger = Authenticator { id: key.id.clone(), ..Authenticator::new() }.assert(challenge);
        key.counter = 0;
        let copied = key.assert(challenge);
        key.counter = 9;
        let old = key.assert(&[0; 32]);
        key.origin = "https://evil.example";
        let phished = key.assert(challenge);
        for wrong in [stranger, copied, old, phished] {
            assert_problem(show(&node, asked.attempt, wrong).await, Code::SecondFactorFailed).await;
        }
        key.origin = "https://localhost:8443";
        assert_eq!(show(&node, asked.attempt, key.assert(challenge)).await.status(), StatusCode::OK);
    }
}

async fn a_passkey_registration_that_is_not_for_this_challenge_origin_and_party_is_refused(mode: Mode) {
    let node = Node::start(mode).await;
    let person = fresh(&node, &Person::register(&node).await).await;
    let good = Authenticator::new;
    let wrong = [
        (Authenticator { origin: "https://evil.example", ..good() }, "webauthn.create", true),
        (Authenticator { party: "evil.example", ..good() }, "webauthn.create", true),
        (good(), "webauthn.get", true),
        (good(), "webauthn.create", false),
    ];
    for (authenticator, kind, right) in wrong {
        let answer = person.post(&node, "/v1/account/factors/passkey/start", &()).await;
        let asked: NewPasskey = body(answer, StatusCode::OK).await;
        let challenge = if right { asked.challenge.0.clone() } else { vec![0; 32] };
        let made = MadePasskey {
            attempt: asked.attempt,
            client_data: Bytes64(authenticator.client_data(kind, &challenge)),
            attestation: Bytes64(authenticator.attestation()),
        };
        let answer = person.post(&node, "/v1/account/factors/passkey/finish", &made).await;
        assert_problem(answer, Code::SecondFactorFailed).await;
    }
    let listed: Factors = body(person.get(&node, "/v1/account/factors").await, StatusCode::OK).await;
    assert!(listed.factors.is_empty());
}

async fn a_step_up_needs_the_second_factor_and_removing_the_last_one_ends_the_demand(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let app = with_totp(&node, &person).await;
    let proven = fresh_by(&node, &person, &app).await;
    let path = format!("/v1/account/factors/{}", app.factor);
    let gone = node.request("DELETE", &path).bearer_auth(&proven.tokens.access_token).send().await.unwrap();
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    assert_eq!(person.login(&node, &person.password, true).await.status(), StatusCode::OK);
}

async fn a_proof_from_before_a_factor_was_set_does_not_remove_it(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let app = with_totp(&node, &person).await;
    let path = format!("/v1/account/factors/{}", app.factor);
    let gone = node.request("DELETE", &path).bearer_auth(&person.tokens.access_token).send().await.unwrap();
    assert_problem(gone, Code::StepUpRequired).await;
    let listed: Factors = body(person.get(&node, "/v1/account/factors").await, StatusCode::OK).await;
    assert!(listed.factors.iter().any(|factor| factor.factor == app.factor));
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_ends_the_demand_for_factors_that_may_be_lost_like_the_password() {
    for mode in MODES {
        let node = Node::start(mode).await;
        let person = Person::register(&node).await;
        let set = crate::ways::set_recovery(&node, &person, [7; 32], 1).await;
        assert_eq!(set.status(), StatusCode::NO_CONTENT);
        with_totp(&node, &person).await;
        let back = crate::ways::recover(&node, &person, [7; 32], "another horse entirely", 2).await;
        assert_eq!(back.login(&node, &back.password, true).await.status(), StatusCode::OK);
        let stored = node.running().server.credentials.factors(person.account).await.unwrap();
        assert!(stored.is_empty());
    }
}

async fn a_factor_that_was_begun_and_not_confirmed_is_not_demanded(mode: Mode) {
    let node = Node::start(mode).await;
    let person = fresh(&node, &Person::register(&node).await).await;
    let app = begin_app(&node, &person).await;
    let wrong = ConfirmTotp { factor: app.factor, code: app.wrong(&node) };
    let answer = person.post(&node, "/v1/account/factors/totp/confirm", &wrong).await;
    assert_problem(answer, Code::SecondFactorFailed).await;
    assert_eq!(person.login(&node, &person.password, true).await.status(), StatusCode::OK);
}

/// A proof by mail and the key of a device are one factor, not two.
#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_a_mailed_link_and_a_device_key_would_open_stays_shut_until_the_second_factor_is_shown()
{
    for mode in MODES {
        let node = Node::start(mode).await;
        let person = Person::register(&node).await;
        let email = format!("{}@example.org", Uuid::new_v4());
        person.with_email(&node, &email).await;
        let app = with_totp(&node, &person).await;
        let proof = person.proof_by_link(&node, &email).await;
        let (stranger, elsewhere) =
            (Person::register(&node).await, format!("{}@example.org", Uuid::new_v4()));
        stranger.with_email(&node, &elsewhere).await;
        assert_problem(stranger.open_vault(&node, &proof).await, Code::LoginFailed).await;
        let asked = demanded(person.open_vault(&node, &proof).await).await;
        let shown = |factor| ShowFactor { attempt: asked.attempt, factor };
        let send = async |token: &str, shown: ShowFactor| {
            node.post("/v1/sessions/vault/second-factor", &shown).bearer_auth(token).send().await.unwrap()
        };
        let other = stranger.proof_by_link(&node, &elsewhere).await;
        let by_another = send(&other.identity_token, shown(app.shown(&node))).await;
        assert_problem(by_another, Code::AttemptExpired).await;
        let wrong = send(&proof.identity_token, shown(digits(&app.wrong(&node)))).await;
        assert_problem(wrong, Code::SecondFactorFailed).await;
        let right = send(&proof.identity_token, shown(app.shown(&node))).await;
        let tokens: Tokens = body(right, StatusCode::OK).await;
        let streams = node.get("/v1/streams").bearer_auth(&tokens.access_token).send().await.unwrap();
        assert_eq!(streams.status(), StatusCode::OK);
    }
}
