//! Confirmations of addresses that meet each other, or are cut off: one account has the address, and nobody is told
//! otherwise.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use lockstep_api::Code;
use lockstep_events::canonical::sha256;
use reqwest::StatusCode;
use uuid::Uuid;

use crate::support::{Mode, Node, Person, assert_problem, letters::letters, ways::press};

const MODES: [Mode; 2] = [Mode::Embedded, Mode::Distributed];

fn address() -> String {
    format!("{}@example.org", Uuid::new_v4())
}

/// Somebody with a confirmed address, and that.
async fn settled(node: &Node) -> (Person, String) {
    let (person, email) = (Person::register(node).await, address());
    person.with_email(node, &email).await;
    (person, email)
}

/// Somebody whose button does not bring it about has what it had: its address, its sessions, and no letter.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_confirm_an_address_at_once_one_is_told_so_and_the_other_keeps_what_it_had() {
    for mode in MODES {
        let node = Node::start(mode).await;
        for _ in 0..4 {
            let (both, email) = ([settled(&node).await, settled(&node).await], address());
            let mut links = Vec::new();
            for (n, (person, _)) in both.iter().enumerate() {
                assert_eq!(person.name_email(&node, &email).await.status(), StatusCode::ACCEPTED);
                links.push(node.letter(&email, "Confirm", n + 1).await.link());
            }
            let (one, other) = tokio::join!(press(&node, &links[0]), press(&node, &links[1]));
            let told = [one.status(), other.status()];
            let won = told.iter().position(|status| *status == StatusCode::OK).unwrap();
            assert!([409, 410].contains(&told[1 - won].as_u16()), "{told:?}");
            node.letter(&both[won].1, "was changed", 1).await;
            assert_problem(both[won].0.get(&node, "/v1/account").await, Code::Revoked).await;
            let (loser, kept) = &both[1 - won];
            assert_eq!(loser.email(&node).await.confirmed.as_ref(), Some(kept));
            let letters = letters(&node.mail_folder());
            let told = letters.iter().any(|one| one.to() == kept && one.subject().contains("was changed"));
            assert!(!told, "who lost was told that it has another address");
        }
    }
}

/// A confirmation up to where a kill may cut it off: the address is given, and nothing has followed yet.
async fn cut_off(node: &Node) -> (Person, String, Person, String) {
    let (person, old) = settled(node).await;
    let new = address();
    let squatter = Person::start(node, &new).await.send(node).await;
    assert_eq!(person.name_email(node, &new).await.status(), StatusCode::ACCEPTED);
    let path = node.letter(&new, "Confirm", 1).await.link();
    let secret = URL_SAFE_NO_PAD.decode(path.rsplit('/').next().unwrap()).unwrap();
    let server = &node.running().server;
    let link = server.ways.link(sha256(&secret), server.clock.now()).await.unwrap().unwrap();
    assert!(server.ways.confirm_address(&link, server.clock.now()).await.unwrap().is_some());
    assert_eq!(person.email(node).await.confirmed, Some(new));
    (person, old, squatter, path)
}

/// All that follows has followed: sessions have ended, and the old address was told once.
async fn followed(node: &Node, person: &Person, old: &str, squatter: &Person) {
    node.letter(old, "was changed", 1).await;
    for out in [person, squatter] {
        assert_problem(out.get(node, "/v1/account").await, Code::Revoked).await;
    }
    assert_problem(squatter.login(node, &squatter.password, true).await, Code::LoginFailed).await;
    assert_eq!(person.login(node, &person.password, true).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_that_was_cut_off_is_finished_by_the_same_link() {
    for mode in MODES {
        let node = Node::start(mode).await;
        let (person, old, squatter, link) = cut_off(&node).await;
        assert_eq!(press(&node, &link).await.status(), StatusCode::OK);
        followed(&node, &person, &old, &squatter).await;
        assert_eq!(press(&node, &link).await.status(), StatusCode::GONE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_that_was_cut_off_is_finished_by_a_worker_if_nobody_comes_again() {
    for mode in MODES {
        let mut node = Node::start(mode).await;
        let (person, old, squatter, link) = cut_off(&node).await;
        node.restart().await;
        node.clock.pass(121);
        followed(&node, &person, &old, &squatter).await;
        assert_eq!(press(&node, &link).await.status(), StatusCode::GONE);
    }
}
