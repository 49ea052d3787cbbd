//! Addresses: named after the password was proven, confirmed by whoever reads the mail, and nowhere in the open.

use std::time::Duration;

use lockstep_api::{Code, privacy::Erase};
use lockstep_events::AccountId;
use lockstepd::{
    config::Layer,
    erasure,
    mail::outbox::{About, Task},
};
use reqwest::StatusCode;
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::support::{
    Mode, Node, Person, assert_problem,
    letters::letters,
    ways::{Initiator, press},
};

in_both_modes! {
    who_confirmed_another_address_keeps_the_account_when_the_name_is_confirmed_by_its_reader,
    the_present_address_named_again_calls_off_the_one_that_waits,
    a_confirmed_address_is_taken_from_nobody,
    a_confirmed_address_is_registered_by_nobody_else,
    a_look_alike_of_an_address_is_refused_and_takes_nobodys_name,
    a_letter_comes_to_the_right_address_after_many_mistyped_ones_and_none_gets_more_than_three,
    an_address_is_named_only_by_who_proved_the_password_within_five_minutes,
    what_is_not_an_address_is_refused_and_changes_nothing,
}

fn address() -> String {
    format!("{}@example.org", Uuid::new_v4())
}

async fn confirmed(mode: Mode) {
    let node = Node::start(mode).await;
    let (person, email) = (Person::register(&node).await, address());
    assert_eq!(person.name_email(&node, &email).await.status(), StatusCode::ACCEPTED);
    let waiting = person.email(&node).await;
    assert_eq!((waiting.confirmed, waiting.pending.as_deref()), (None, Some(email.as_str())));
    let letter = node.letter(&email, "Confirm", 1).await;
    let page = node.get(&letter.link()).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("Confirm"), "{page}");
    assert_eq!(person.email(&node).await.confirmed, None, "opening the link changed something");
    assert_eq!(press(&node, &letter.link()).await.status(), StatusCode::OK);
    assert_eq!(press(&node, &letter.link()).await.status(), StatusCode::GONE);
    let done = person.email(&node).await;
    assert_eq!((done.confirmed.as_deref(), done.pending), (Some(email.as_str()), None));
}

#[tokio::test]
async fn an_address_counts_once_its_reader_confirmed_it_embedded() {
    confirmed(Mode::Embedded).await;
}

#[tokio::test]
async fn an_address_counts_once_its_reader_confirmed_it_distributed() {
    confirmed(Mode::Distributed).await;
}

/// Another address: the old one is told twice, the sessions end, and a name that was the old address follows. For a time
/// the old one is held: its owner logs in with it, and nobody else registers or confirms it.
async fn changed(mode: Mode) {
    let node = Node::start(mode).await;
    let (old, new) = (address(), address());
    let person = Person::start(&node, &old).await.send(&node).await;
    person.with_email(&node, &old).await;
    assert_eq!(person.name_email(&node, &new).await.status(), StatusCode::ACCEPTED);
    node.letter(&old, "Another address was named", 1).await;
    assert_eq!(person.email(&node).await.confirmed.as_deref(), Some(old.as_str()));
    let link = node.letter(&new, "Confirm", 1).await.link();
    assert_eq!(press(&node, &link).await.status(), StatusCode::OK);
    node.letter(&old, "was changed", 1).await;
    assert_problem(person.get(&node, "/v1/account").await, Code::Revoked).await;
    let renamed = Person { name: new.clone(), ..person.clone() };
    assert_eq!(renamed.login(&node, &person.password, true).await.status(), StatusCode::OK);
    assert_eq!(person.login(&node, &person.password, true).await.status(), StatusCode::OK);
    let squatter = Person::start(&node, &old).await;
    let answer = node.post("/v1/accounts/finish", &squatter.finish).send().await.unwrap();
    assert_problem(answer, Code::NameTaken).await;
    let other = Person::register(&node).await;
    assert_eq!(other.name_email(&node, &old).await.status(), StatusCode::ACCEPTED);
    let link = node.letter(&old, "Confirm", 2).await.link();
    assert_eq!(press(&node, &link).await.status(), StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_changed_address_ends_sessions_and_the_old_one_is_told_embedded() {
    changed(Mode::Embedded).await;
}

#[tokio::test]
async fn a_changed_address_ends_sessions_and_the_old_one_is_told_distributed() {
    changed(Mode::Distributed).await;
}

/// Somebody registered with an address that is not theirs, and waits for its owner. The owner comes, confirms it for an
/// account of their own, and whoever squatted on it is out, with nothing of the owner's.
async fn squatted(mode: Mode) {
    let node = Node::start(mode).await;
    let email = address();
    let squatter = Person::start(&node, &email).await.send(&node).await;
    assert_eq!(squatter.name_email(&node, &email).await.status(), StatusCode::ACCEPTED);
    node.letter(&email, "Confirm", 1).await;
    let owner = Person::register(&node).await;
    assert_eq!(owner.name_email(&node, &email).await.status(), StatusCode::ACCEPTED);
    let link = node.letter(&email, "Confirm", 2).await.link();
    assert_eq!(press(&node, &link).await.status(), StatusCode::OK);
    assert_eq!(owner.email(&node).await.confirmed, Some(email.clone()));
    assert_problem(squatter.get(&node, "/v1/account").await, Code::Revoked).await;
    assert_problem(squatter.login(&node, &squatter.password, true).await, Code::LoginFailed).await;
    let token = squatter.tokens.refresh_token.clone();
    assert_eq!(squatter.refresh(&node, &token).await.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn who_confirms_an_address_displaces_who_only_claimed_it_embedded() {
    squatted(Mode::Embedded).await;
}

#[tokio::test]
async fn who_confirms_an_address_displaces_who_only_claimed_it_distributed() {
    squatted(Mode::Distributed).await;
}

/// Somebody registered with a mistyped address and confirmed the right one. Whoever reads the mistyped one confirms it: the
/// account, its password and its sessions stay, and it is entered with the right one, as a letter to it says.
async fn who_confirmed_another_address_keeps_the_account_when_the_name_is_confirmed_by_its_reader(
    mode: Mode,
) {
    let node = Node::start(mode).await;
    let (mistyped, right) = (address(), address());
    let person = Person::start(&node, &mistyped).await.send(&node).await;
    person.with_email(&node, &right).await;
    let reader = Person::register(&node).await;
    reader.with_email(&node, &mistyped).await;
    assert_eq!(person.get(&node, "/v1/account").await.status(), StatusCode::OK);
    let by_right = Person { name: right.clone(), ..person.clone() };
    assert_eq!(by_right.login(&node, &person.password, true).await.status(), StatusCode::OK);
    let answer = person.login(&node, &person.password, true).await;
    assert_problem(answer, Code::LoginFailed).await;
    let letter = node.letter(&right, "Log in with this address", 1).await;
    assert!(!letter.text.contains(&mistyped), "the letter names an address of somebody else");
}

/// Who has the address for a name all the same, from before it was held for whoever confirmed it, gets none of the letters
/// that are asked for by it.
#[tokio::test]
async fn a_link_goes_to_who_confirmed_the_address_and_not_to_who_has_it_for_a_name() {
    let node = Node::start(Mode::Distributed).await;
    let (person, stranger, email) = (Person::register(&node).await, Person::register(&node).await, address());
    person.with_email(&node, &email).await;
    let squatting = "UPDATE names SET name_index = (SELECT address_index FROM addresses WHERE account = $1) \
        WHERE account = $2";
    let squatting = sqlx::query(squatting).bind(person.account.as_bytes()).bind(stranger.account.as_bytes());
    let mut database = PgConnection::connect(&node.database()).await.unwrap();
    assert_eq!(squatting.execute(&mut database).await.unwrap().rows_affected(), 1);
    let proof = person.proof_by_link(&node, &email).await;
    assert_eq!(proof.account, person.account);
}

/// A confirmed address is nobody else's name, and that is told where it is told of every name: at the end.
async fn a_confirmed_address_is_registered_by_nobody_else(mode: Mode) {
    let node = Node::start(mode).await;
    let (person, email) = (Person::register(&node).await, address());
    person.with_email(&node, &email).await;
    let squatter = Person::start(&node, &email).await;
    let answer = node.post("/v1/accounts/finish", &squatter.finish).send().await.unwrap();
    assert_problem(answer, Code::NameTaken).await;
    assert_eq!(person.proof_by_link(&node, &email).await.account, person.account);
}

/// The mailbox that was given up lets nobody in: not by a link that was asked for before, pressed or not.
async fn given_up(mode: Mode) {
    let node = Node::start(mode).await;
    let (person, old, new) = (Person::register(&node).await, address(), address());
    person.with_email(&node, &old).await;
    let (pressed, waiting) = (Initiator::new(), Initiator::new());
    pressed.ask(&node, &old).await;
    let first = node.letter(&old, "sign-in", 1).await.link();
    assert_eq!(press(&node, &first).await.status(), StatusCode::OK);
    waiting.ask(&node, &old).await;
    node.letter(&old, "sign-in", 2).await;
    assert_eq!(person.name_email(&node, &new).await.status(), StatusCode::ACCEPTED);
    let links = letters(&node.mail_folder());
    let links = links.iter().filter(|letter| letter.to() == old && letter.subject().contains("sign-in"));
    let links: Vec<String> = links.map(|letter| letter.link()).collect();
    let confirm = node.letter(&new, "Confirm", 1).await.link();
    assert_eq!(press(&node, &confirm).await.status(), StatusCode::OK);
    assert_eq!(links.len(), 2);
    for link in links {
        assert_eq!(press(&node, &link).await.status(), StatusCode::GONE);
    }
    for client in [pressed, waiting] {
        assert_eq!(client.poll(&node).await.status(), StatusCode::ACCEPTED);
    }
}

#[tokio::test]
async fn a_link_in_a_mailbox_that_was_given_up_opens_nothing_embedded() {
    given_up(Mode::Embedded).await;
}

#[tokio::test]
async fn a_link_in_a_mailbox_that_was_given_up_opens_nothing_distributed() {
    given_up(Mode::Distributed).await;
}

async fn the_present_address_named_again_calls_off_the_one_that_waits(mode: Mode) {
    let node = Node::start(mode).await;
    let (person, present, mistyped) = (Person::register(&node).await, address(), address());
    person.with_email(&node, &present).await;
    assert_eq!(person.name_email(&node, &mistyped).await.status(), StatusCode::ACCEPTED);
    let link = node.letter(&mistyped, "Confirm", 1).await.link();
    assert_eq!(person.name_email(&node, &present).await.status(), StatusCode::ACCEPTED);
    assert_eq!(person.email(&node).await.pending, None);
    assert_eq!(press(&node, &link).await.status(), StatusCode::GONE);
    assert_eq!(person.email(&node).await.confirmed, Some(present));
}

async fn a_confirmed_address_is_taken_from_nobody(mode: Mode) {
    let node = Node::start(mode).await;
    let (first, second, email) = (Person::register(&node).await, Person::register(&node).await, address());
    assert_eq!(second.name_email(&node, &email).await.status(), StatusCode::ACCEPTED);
    let late = node.letter(&email, "Confirm", 1).await.link();
    assert_eq!(first.name_email(&node, &email).await.status(), StatusCode::ACCEPTED);
    let link = node.letter(&email, "Confirm", 2).await.link();
    assert_eq!(press(&node, &link).await.status(), StatusCode::OK);
    // The claim of the second ended with the confirmation of the first.
    assert_eq!(press(&node, &late).await.status(), StatusCode::GONE);
    assert_eq!(second.name_email(&node, &email).await.status(), StatusCode::ACCEPTED);
    let link = node.letter(&email, "Confirm", 3).await.link();
    assert_eq!(press(&node, &link).await.status(), StatusCode::CONFLICT);
    assert_eq!(first.email(&node).await.confirmed, Some(email));
    assert_eq!(second.email(&node).await.confirmed, None);
}

/// Somebody else's mailbox, written so that it would pass for an address that another account waits for.
async fn a_look_alike_of_an_address_is_refused_and_takes_nobodys_name(mode: Mode) {
    let node = Node::start(mode).await;
    let (id, person) = (Uuid::new_v4(), Person::register(&node).await);
    let victim = Person::start(&node, &format!("v{id}@example.org")).await.send(&node).await;
    for unclear in ["\u{ff56}", "v\u{200b}", "\u{202e}v", "v\u{ad}", "\u{1d42f}"] {
        let answer = person.name_email(&node, &format!("{unclear}{id}@example.org")).await;
        let problem = crate::support::problem(answer).await;
        assert_eq!(problem.code, Code::InvalidField);
        assert!(problem.detail.unwrap().contains("cannot be seen"), "{unclear:?}");
    }
    assert_eq!(person.email(&node).await.pending, None);
    assert_eq!(victim.login(&node, &victim.password, true).await.status(), StatusCode::OK);
}

/// Each address gets its letter, whatever was mistyped before; and none gets letters without end.
async fn a_letter_comes_to_the_right_address_after_many_mistyped_ones_and_none_gets_more_than_three(
    mode: Mode,
) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    for _ in 0..5 {
        let email = address();
        assert_eq!(person.name_email(&node, &email).await.status(), StatusCode::ACCEPTED);
        node.letter(&email, "Confirm", 1).await;
    }
    let (right, other) = (address(), address());
    for n in 1..=4 {
        assert_eq!(person.name_email(&node, &other).await.status(), StatusCode::ACCEPTED);
        node.letter(&other, "Confirm", n.min(3)).await;
        assert_eq!(person.name_email(&node, &right).await.status(), StatusCode::ACCEPTED);
        let link = node.letter(&right, "Confirm", n.min(3)).await.link();
        if n == 4 {
            assert_eq!(press(&node, &link).await.status(), StatusCode::OK);
        }
    }
    assert_eq!(person.email(&node).await.confirmed.as_ref(), Some(&right));
    let of = |to: &str| letters(&node.mail_folder()).iter().filter(|letter| letter.to() == to).count();
    assert_eq!((of(&right), of(&other)), (3, 3));
}

async fn an_address_is_named_only_by_who_proved_the_password_within_five_minutes(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    node.clock.pass(290);
    assert_eq!(person.name_email(&node, &address()).await.status(), StatusCode::ACCEPTED);
    node.clock.pass(11);
    let token = person.tokens.refresh_token.clone();
    let tokens = crate::support::body(person.refresh(&node, &token).await, StatusCode::OK).await;
    let later = Person { tokens, ..person };
    assert_problem(later.name_email(&node, &address()).await, Code::StepUpRequired).await;
}

async fn what_is_not_an_address_is_refused_and_changes_nothing(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    for text in ["", "ada", "a@b@example.org", "a@example.org\r\nBcc: x@example.org", "a b@example.org"] {
        assert_problem(person.name_email(&node, text).await, Code::InvalidField).await;
    }
    assert_eq!(person.email(&node).await.pending, None);
}

/// A new device is told of once, however many nodes react to the event.
#[tokio::test]
async fn a_new_device_is_told_of_once_by_two_nodes() {
    let node = Node::start(Mode::Distributed).await;
    let other = node.second().await;
    let (person, email) = (Person::register(&node).await, address());
    person.name_email(&node, &email).await;
    // Either node may have sent it.
    let both = [node.mail_folder(), other.mail_folder()];
    let all = || both.iter().flat_map(|folder| letters(folder)).collect::<Vec<_>>();
    let wait = async |subject: &str| loop {
        let found: Vec<_> = all().into_iter().filter(|letter| letter.subject().contains(subject)).collect();
        if !found.is_empty() {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(press(&node, &wait("Confirm").await[0].link()).await.status(), StatusCode::OK);
    person.enrol(&other).await;
    wait("device was added").await;
    // A second one shows that both nodes had time to react to the first.
    person.enrol(&node).await;
    loop {
        let told = all().into_iter().filter(|letter| letter.subject().contains("device was added")).count();
        assert!(told <= 2, "{told} letters about two devices");
        if told == 2 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Neither log nor tables nor anything else in the data folder has the address in the open.
#[tokio::test]
async fn no_file_of_the_server_but_the_mail_itself_has_the_address_in_the_open() {
    let mut node = Node::start(Mode::Embedded).await;
    let (person, email) = (Person::register(&node).await, address());
    person.with_email(&node, &email).await;
    person.proof_by_link(&node, &email).await;
    node.restart().await;
    let mut folders = vec![node.data()];
    let mut looked_at = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.extend((entry != node.mail_folder()).then_some(entry));
                continue;
            }
            let bytes = std::fs::read(&entry).unwrap();
            let found =
                bytes.windows(email.len()).any(|window| window.eq_ignore_ascii_case(email.as_bytes()));
            assert!(!found, "{}", entry.display());
            looked_at += 1;
        }
    }
    assert!(looked_at > 3);
}

/// The person is told when an erasure is asked for and in the last moment before the address is gone; what else waits to be
/// sent goes with them.
async fn told_before_the_end(mode: Mode) {
    let at_once = Layer { erasure_wait_hours: Some(0), ..Layer::default() };
    let node = Node::start_with(mode, at_once).await;
    let (person, email) = (Person::register(&node).await, address());
    person.with_email(&node, &email).await;
    let server = &node.running().server;
    let tomorrow = server.clock.now().plus_seconds(24 * 3600);
    let waits = Task::Notice { account: person.account, about: About::PasswordChanged };
    let (waiting, others) = (Uuid::new_v4(), Uuid::new_v4());
    for (id, account) in [(waiting, person.account), (others, AccountId(Uuid::new_v4()))] {
        server.ways.put_task(id, Some(account), &waits.to_bytes(), tomorrow).await.unwrap();
    }
    let erase = node.post("/v1/me/erasure", &Erase { account: person.account });
    let erase = erase.bearer_auth(&person.tokens.access_token).header("idempotency-key", "the-end");
    assert_eq!(erase.send().await.unwrap().status(), StatusCode::ACCEPTED);
    let asked = node.letter(&email, "will be deleted", 1).await;
    assert!(asked.text.contains("It begins at 20"), "{}", asked.text);
    let to_them = || letters(&node.mail_folder()).into_iter().filter(|letter| letter.to() == email);
    let mut last = None;
    for round in 0.. {
        assert!(round < 200, "not erased: {:?}", server.erasures.find(person.account).await.unwrap());
        node.clock.pass(60);
        // The node itself may have it in its hands.
        let _ = erasure::run_due(server).await;
        if server.erasures.find(person.account).await.unwrap().is_none() {
            break;
        }
        last = to_them().find(|letter| letter.subject().contains("is being deleted")).or(last);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let last = last.expect("the person was told");
    assert!(last.text.contains("the last letter"), "{}", last.text);
    let later = tomorrow.plus_seconds(3600);
    let left = server.ways.claim_tasks(later, later.plus_seconds(60), 99).await.unwrap();
    let left: Vec<Uuid> = left.into_iter().map(|task| task.id).collect();
    assert!(left.contains(&others) && !left.contains(&waiting), "{left:?}");
    assert_eq!(to_them().count(), 0, "letters in a folder go with the account");
}

#[tokio::test]
async fn a_person_is_told_before_the_account_is_erased_and_no_mail_is_left_embedded() {
    told_before_the_end(Mode::Embedded).await;
}

#[tokio::test]
async fn a_person_is_told_before_the_account_is_erased_and_no_mail_is_left_distributed() {
    told_before_the_end(Mode::Distributed).await;
}
