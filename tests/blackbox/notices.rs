//! Letters about what opens an account: whoever has the address hears of it, and what helps.

use reqwest::StatusCode;

use crate::{
    factors::with_passkey,
    support::{Mode, Node, Person, letters::letters},
    ways::{recover, set_recovery},
};

in_both_modes! {
    what_opens_an_account_and_what_is_asked_beside_the_password_is_told_by_letter,
}

async fn what_opens_an_account_and_what_is_asked_beside_the_password_is_told_by_letter(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let address = format!("{}@example.org", uuid::Uuid::new_v4());
    person.with_email(&node, &address).await;
    assert_eq!(set_recovery(&node, &person, [7; 32], 1).await.status(), StatusCode::NO_CONTENT);
    node.letter(&address, "has a new recovery code", 1).await;
    with_passkey(&node, &person).await;
    node.letter(&address, "A second factor was added", 1).await;
    recover(&node, &person, [7; 32], "another horse entirely", 2).await;
    node.letter(&address, "A second factor was removed", 1).await;
    node.letter(&address, "recovery code of your account was used", 1).await;
    let folders = node.all().map(Node::mail_folder);
    let subjects: Vec<String> =
        folders.flat_map(|folder| letters(&folder)).map(|one| one.subject().to_owned()).collect();
    assert!(!subjects.iter().any(|subject| subject.contains("password was changed")), "{subjects:?}");
}
