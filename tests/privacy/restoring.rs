//! The restore rule: a backup from before an erasure or a purge does not bring anything back.

use lockstep_api::{Code, sync};
use lockstepd::erasure;
use reqwest::StatusCode;
use uuid::Uuid;

use crate::{
    both,
    canary::canary,
    ground::{Life, events, finish, item, left, push, quick},
    support::{
        Mode, Node, assert_problem,
        backup::{back_up, restore},
        body,
    },
};

/// Purges the first entry of somebody.
async fn purge(node: &Node, life: &Life) {
    let server = &node.running().server;
    lockstepd::commands::account::caught_up(server).await.unwrap();
    let row = server.reads.entries_by_id(life.person.vault, &[life.entry]).await.unwrap().remove(0);
    let path = format!("/v1/vaults/{}/entries/{}/purge", life.person.vault, life.entry);
    let purge = node.post(&path, &sync::Purge { expect_heads: row.heads.ids() });
    let purge = purge.bearer_auth(&life.person.tokens.access_token);
    let purge = purge.header("idempotency-key", Uuid::new_v4().to_string());
    let _: sync::Purged = body(purge.send().await.unwrap(), StatusCode::OK).await;
}

both! {
    async fn erase_survives_restore(mode: Mode) {
        let mut node = Node::start_with(mode, quick()).await;
        let (gone, other) = (Life::lead(&node).await, Life::lead(&node).await);
        let backup = back_up(&mut node, mode).await;
        gone.ask_to_be_erased(&node).await;
        finish(&node, gone.account()).await;
        assert_eq!(left(&node, mode, &gone.words()).await, [] as [String; 0]);

        restore(&mut node, &backup).await;
        assert_eq!(left(&node, mode, &gone.words()).await, [] as [String; 0]);
        assert_problem(gone.person.login(&node, &gone.person.password, true).await, Code::LoginFailed).await;
        let server = &node.running().server;
        let again: Vec<_> = events(&*server.log).await;
        assert_eq!(again.iter().filter(|event| event.kind == "account.subject_erased").count(), 1);
        assert!(other.person.login(&node, &other.person.password, true).await.status().is_success());

        node.restart().await;
        let after = events(&*node.running().server.log).await;
        let erased = after.iter().filter(|event| event.kind == "account.subject_erased");
        assert_eq!(erased.count(), 1, "once is enough");
    }

    async fn a_purge_survives_a_restore(mode: Mode) {
        let mut node = Node::start_with(mode, quick()).await;
        let life = Life::lead(&node).await;
        let backup = back_up(&mut node, mode).await;
        purge(&node, &life).await;

        restore(&mut node, &backup).await;
        let server = &node.running().server;
        lockstepd::commands::account::caught_up(server).await.unwrap();
        let row = server.reads.entries_by_id(life.person.vault, &[life.entry]).await.unwrap().remove(0);
        assert!(row.heads.purged && row.heads.heads.is_empty());
        let words = [format!("first {}", life.secrets[1])];
        assert_eq!(left(&node, mode, &words).await, [] as [String; 0]);
    }

    async fn what_was_purged_is_at_once_in_no_file_and_in_no_journal(mode: Mode) {
        let node = Node::start(mode).await;
        let life = Life::lead(&node).await;
        let kept = canary();
        push(&node, &life.person, vec![item(&life.person, kept.as_bytes())]).await;
        let words = [format!("first {}", life.secrets[1])];
        assert!(!left(&node, mode, &words).await.is_empty(), "the search finds what is there");
        purge(&node, &life).await;
        assert_eq!(left(&node, mode, &words).await, [] as [String; 0]);
        assert!(!left(&node, mode, &[kept]).await.is_empty(), "and what was not purged is there");
    }

    async fn an_erasure_that_another_node_asked_for_is_found_in_the_log(mode: Mode) {
        let node = Node::start_with(mode, quick()).await;
        let life = Life::lead(&node).await;
        life.ask_to_be_erased(&node).await;
        let server = &node.running().server;
        // The node that asked died between the event and its queue.
        server.erasures.done(life.account()).await.unwrap();
        erasure::scan::scan(server, None).await.unwrap();
        finish(&node, life.account()).await;
        assert_eq!(left(&node, mode, &life.words()).await, [] as [String; 0]);
    }
}
