//! No event, no act: while the log takes nothing, an administrator does and sees nothing.

use futures_util::future::join_all;
use lockstep_api::{
    Code,
    admin::{Bootstrap, FindAccount},
    plan::{Activity, ActorKind},
};
use lockstep_events::{
    Position, Recorded,
    event::Role,
    log::{Contents, Filter},
};
use reqwest::StatusCode;
use sqlx::{Connection, Executor};

use crate::{
    in_both_modes,
    office::{WHY, first_admin},
    operations::{Office, documented, patient},
    support::{Mode, Node, Person, assert_problem},
};

in_both_modes! {
    what_cannot_be_written_down_is_neither_done_nor_shown;
    a_name_that_nobody_has_is_looked_for_by_administrators_alone_and_that_is_an_event;
    nobody_s_data_is_written_out_without_an_event;
}

/// Holds the log's write lock as long as it lives: the log can be read and takes nothing.
enum Held {
    Sqlite(sqlx::SqliteConnection),
    Postgres(sqlx::PgConnection),
}

impl Held {
    async fn take(node: &Node, mode: Mode) -> Self {
        match mode {
            Mode::Embedded => {
                let path = node.running().server.config.data.join("log.sqlite");
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
                let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
                connection.execute("BEGIN IMMEDIATE").await.unwrap();
                Self::Sqlite(connection)
            }
            Mode::Distributed | Mode::ThreeNodes => {
                let url = node.running().server.config.log.expose().to_owned();
                let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
                connection.execute("BEGIN; LOCK TABLE events IN SHARE MODE").await.unwrap();
                Self::Postgres(connection)
            }
        }
    }

    async fn release(self) {
        match self {
            Self::Sqlite(mut connection) => drop(connection.execute("ROLLBACK").await.unwrap()),
            Self::Postgres(mut connection) => drop(connection.execute("ROLLBACK").await.unwrap()),
        }
    }
}

/// How much people have written into the log.
async fn written_by(node: &Node, people: &[&Person]) -> usize {
    let by = |event: &Recorded| people.iter().any(|person| event.actor == Some(person.account));
    everything(node).await.iter().filter(|event| by(event)).count()
}

async fn everything(node: &Node) -> Vec<Recorded> {
    let log = &node.running().server.log;
    log.read_all(Position::ZERO, 10_000, &Filter::default(), Contents::No).await.unwrap()
}

async fn what_cannot_be_written_down_is_neither_done_nor_shown(mode: Mode) {
    let mut node = Node::start_with(mode, patient()).await;
    let first = Bootstrap { token: node.running().bootstrap.as_ref().unwrap().token.clone() };
    let person = Person::register(&node).await;
    let held = Held::take(&node, mode).await;
    let named = person.post(&node, "/v1/admin/bootstrap", &first).await;
    assert_eq!(named.status(), StatusCode::SERVICE_UNAVAILABLE);
    held.release().await;
    let office = Office::open(&mut node).await;
    let operations = office.operations(&node).await;
    let asked = operations.iter().map(|one| (one.method.to_owned(), one.template.to_owned()));
    let asked = asked.chain([("POST".to_owned(), "/v1/admin/bootstrap".to_owned())]).collect();
    assert_eq!(documented(), asked, "every operation is asked for");
    let before = written_by(&node, &office.roll()).await;
    let held = Held::take(&node, mode).await;
    let answers = join_all(operations.iter().map(|one| one.ask(&node))).await;
    for (one, answer) in operations.iter().zip(answers) {
        let named = format!("{} {}", one.method, one.template);
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{named}");
        let text = answer.text().await.unwrap();
        assert!(!text.contains(&office.ada.account.to_string()) && !text.contains("lsi_"), "{named}: {text}");
    }
    held.release().await;
    assert_eq!(written_by(&node, &office.roll()).await, before, "nothing was done");
    // And with the log as before everything is done and written, and every reason is sealed.
    for one in &operations {
        let answer = one.ask(&node).await;
        let status = answer.status();
        assert!(status.is_success(), "{} {}: {}", one.method, one.template, answer.text().await.unwrap());
    }
    let nobody = FindAccount { name: "nobody@example.org".into(), reason: WHY.into() };
    let found = office.admin.post(&node, "/v1/admin/accounts/find", &nobody).await;
    assert_problem(found, Code::NotFound).await;
    assert!(written_by(&node, &office.roll()).await > before + operations.len());
    let is_own = |event: &Recorded, one: &Person| {
        event.stream == one.account.into() || event.stream == one.vault.into()
    };
    for event in everything(&node).await {
        let Some(one) = office.roll().into_iter().find(|one| event.actor == Some(one.account)) else {
            continue;
        };
        // The one that is named had nobody's leave to ask for.
        if !is_own(&event, one) && event.kind != "admin.bootstrapped" {
            assert!(event.sealed_hash.is_some(), "{event:?}");
        }
    }
}

/// That somebody looked.
async fn looks(node: &Node) -> Vec<Recorded> {
    let is_look = |event: &Recorded| ["admin.listed", "account.viewed"].contains(&event.kind.as_str());
    everything(node).await.into_iter().filter(is_look).collect()
}

async fn a_name_that_nobody_has_is_looked_for_by_administrators_alone_and_that_is_an_event(mode: Mode) {
    let node = Node::start(mode).await;
    let (admin, bob) = (first_admin(&node).await, Person::register(&node).await);
    let find = |name: &str| FindAccount { name: name.into(), reason: WHY.into() };
    let ask = async |by: &Person, name: &str| by.post(&node, "/v1/admin/accounts/find", &find(name)).await;
    assert_problem(ask(&admin, "nobody@example.org").await, Code::NotFound).await;
    let looked = looks(&node).await;
    let [event] = &looked[..] else { panic!("not one event: {looked:?}") };
    assert_eq!((event.kind.as_str(), event.public.as_str()), ("admin.listed", r#"{"what":"found_nobody"}"#));
    assert_eq!(event.actor, Some(admin.account));
    let server = &node.running().server;
    let (_, sealed) = server.log.sealed_parts(&[event.event_id]).await.unwrap().pop().unwrap();
    let reason = server.subjects.open_of(event.event_id, &sealed).await.unwrap().unwrap();
    assert_eq!((sealed.subject, reason.as_slice()), (admin.account, WHY.as_bytes()));
    // Whoever began to register and has not ended is nobody.
    let begun = Person::start(&node, "begun@example.org").await;
    assert_problem(ask(&admin, &begun.person.name).await, Code::NotFound).await;
    assert_eq!(looks(&node).await.len(), 2);
    // To an auditor there are no names.
    admin.grants(&node, bob.account, Role::Auditor).await;
    let bob = bob.again(&node).await;
    for name in ["nobody@example.org", admin.name.as_str()] {
        assert_problem(ask(&bob, name).await, Code::Forbidden).await;
    }
    assert_eq!(looks(&node).await.len(), 2);
}

async fn nobody_s_data_is_written_out_without_an_event(mode: Mode) {
    let node = Node::start_with(mode, patient()).await;
    let ada = Person::register(&node).await;
    let held = Held::take(&node, mode).await;
    let refused = ada.get(&node, "/v1/me/export").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!refused.text().await.unwrap().contains("begin"));
    held.release().await;
    let exported = |activity: &[Activity]| {
        activity.iter().filter(|item| item.kind == "account.exported").cloned().collect::<Vec<_>>()
    };
    assert!(exported(&ada.activity(&node).await).is_empty());
    let export = ada.get(&node, "/v1/me/export").await.text().await.unwrap();
    assert!(export.contains("account.exported"), "it has itself in it");
    let [told] = &exported(&ada.activity(&node).await)[..] else { panic!("one event") };
    assert_eq!(
        (told.by, told.device, &told.what["by"]),
        (ActorKind::You, Some(ada.device), &"person".into())
    );
}
