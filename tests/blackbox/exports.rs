//! Everything about a person, written out by whoever runs the server: an event first.

use sqlx::{Connection, Executor};

use crate::{
    process::{complaint, operator},
    support::{Mode, Node, Person},
};

in_both_modes! {
    many threads:
    an_operator_s_export_is_written_down_with_its_reason_or_is_not_begun,
}

/// From now on the log of a stopped server takes nothing.
async fn close(node: &Node, mode: Mode) {
    if mode == Mode::Embedded {
        let file = node.data().join("log.sqlite");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
        let mut log = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
        let refuse = "CREATE TRIGGER closed BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'closed'); END";
        log.execute(sqlx::raw_sql(refuse)).await.unwrap();
        log.close().await.unwrap();
        return;
    }
    let mut log = sqlx::PgConnection::connect(&node.database()).await.unwrap();
    let refuse = "CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS \
                  $$ BEGIN RAISE EXCEPTION 'closed'; END $$; \
                  CREATE TRIGGER closed BEFORE INSERT ON events EXECUTE FUNCTION closed()";
    log.execute(sqlx::raw_sql(refuse)).await.unwrap();
}

async fn an_operator_s_export_is_written_down_with_its_reason_or_is_not_begun(mode: Mode) {
    let mut node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let (account, operator) = (person.account.to_string(), operator(&node));
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("ada.jsonl");
    let named = file.to_str().unwrap().to_owned();
    let without = operator(&["subject", "export", &account, "--out", &named]);
    assert!(complaint(&without).contains("--reason") && !file.exists());
    assert!(complaint(&operator(&["subject", "export", &account, "--reason= "])).contains("reason"));
    let export = || operator(&["subject", "export", &account, "--reason=letter of 3 May", "--out", &named]);
    let done = export();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("account.exported") && written.contains("letter of 3 May"));
    let activity = person.get(&node, "/v1/me/activity").await.text().await.unwrap();
    let activity: serde_json::Value = serde_json::from_str(&activity).unwrap();
    let exports: Vec<_> = activity["activity"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["kind"] == "account.exported")
        .collect();
    let [told] = exports[..] else { panic!("one event: {activity}") };
    let is_told = told["reason"] == "letter of 3 May" && told["what"]["by"] == "operator";
    assert!(is_told && told["actor"].is_null(), "{told}");

    std::fs::remove_file(&file).unwrap();
    node.stop().await;
    close(&node, mode).await;
    let refused = complaint(&export());
    assert!(refused.contains("nothing is exported") && refused.contains("written into the log"), "{refused}");
    assert!(!file.exists() && std::fs::read_dir(out.path()).unwrap().next().is_none());
}
