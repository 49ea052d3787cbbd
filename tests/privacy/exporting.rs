//! What a person gets when they ask for everything.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, Verifier, VerifyingKey};
use lockstep_api::{
    Code,
    privacy::{ExportLine, manifest_message},
};
use lockstep_events::{EventId, canonical::sha256, event::AskedBy};
use lockstepd::{
    auth::signing_keys::Jwks,
    commands::{address::NameAddress, erase::RequestErasure, facts::Actor},
    erasure,
};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::{
    both,
    ground::{Life, finish, quick},
    support::{Mode, Node, assert_problem, body},
};

/// An export whose manifest is right.
pub async fn export(node: &Node, life: &Life) -> (String, Vec<ExportLine>) {
    let answer = life.person.get(node, "/v1/me/export").await;
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let text = answer.text().await.unwrap();
    let lines: Vec<ExportLine> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let Some(ExportLine::Manifest { lines: count, sha256: hash, kid, public_key, signature }) = lines.last()
    else {
        panic!("an export without a manifest");
    };
    let before = &text[..text.trim_end().rfind('\n').unwrap() + 1];
    assert_eq!((*count, hash.0), (lines.len() as u64 - 1, sha256(before.as_bytes())));
    let jwks: Jwks = body(node.get("/.well-known/jwks.json").send().await.unwrap(), StatusCode::OK).await;
    let key = jwks.keys.iter().find(|key| key.kid == *kid).unwrap();
    let key: [u8; 32] = URL_SAFE_NO_PAD.decode(&key.x).unwrap().try_into().unwrap();
    assert_eq!(
        public_key.map(|key| key.0),
        Some(key),
        "who keeps the export can verify it after the key is gone"
    );
    let message = manifest_message(life.account(), *count, hash);
    VerifyingKey::from_bytes(&key).unwrap().verify(&message, &Signature::from_bytes(&signature.0)).unwrap();
    (text, lines)
}

both! {
    async fn an_export_has_everything_about_a_person_and_nothing_about_others(mode: Mode) {
        let node = Node::start(mode).await;
        let (life, other) = (Life::lead(&node).await, Life::lead(&node).await);
        let request = RequestErasure {
            account: life.account(),
            actor: None,
            by: AskedBy::Administrator,
            reason: Some("asked by letter of 3 May".to_owned()),
            due_at: lockstep_events::Micros(i64::MAX),
            event_id: EventId(Uuid::new_v4()),
        };
        request.run(&node.running().server.desk()).await.unwrap();
        let (text, lines) = export(&node, &life).await;
        assert!(matches!(lines[0], ExportLine::Begin { format: 1, account, .. } if account == life.account()));
        for table in ["names", "passwords", "wraps", "sessions"] {
            let is_of = |line: &&ExportLine| matches!(line, ExportLine::Row { table: of, .. } if of == table);
            assert!(lines.iter().any(|line| is_of(&line)), "{table}");
        }
        let contents = lines.iter().filter(|line| matches!(line, ExportLine::Event { content: Some(_), .. }));
        assert_eq!(contents.count(), 2);
        assert_eq!(lines.iter().filter(|line| matches!(line, ExportLine::Blob { .. })).count(), 1);
        assert!(text.contains("asked by letter of 3 May"), "the reason is opened");
        for stranger in [other.account().to_string(), other.person.vault.to_string()] {
            assert!(!text.contains(&stranger));
        }
    }

    async fn an_export_shows_the_addresses_of_an_account_in_the_open(mode: Mode) {
        let node = Node::start(mode).await;
        let (life, other) = (Life::lead(&node).await, Life::lead(&node).await);
        let server = &node.running().server;
        for (of, address) in [(&life, "ada@letters.example"), (&other, "eve@letters.example")] {
            let actor = Actor { account: of.account(), device: of.person.device };
            let named = NameAddress { actor, address: address.to_owned(), initiator: [7; 32] };
            named.run(server).await.unwrap();
        }
        let (text, lines) = export(&node, &life).await;
        let rows: Vec<_> = lines
            .iter()
            .filter_map(|line| match line {
                ExportLine::Row { table, row } if table == "addresses" => Some(row),
                _ => None,
            })
            .collect();
        assert_eq!(rows.len(), 1);
        assert_eq!((&rows[0]["standing"], &rows[0]["address"]), (&"pending".into(), &"ada@letters.example".into()));
        assert!(!text.contains("eve@letters.example"));
        // And what waits to be sent to it.
        assert!(lines.iter().any(|line| matches!(line, ExportLine::Row { table, .. } if table == "mail_tasks")));
    }

    async fn an_export_needs_a_token_and_after_an_erasure_there_is_none(mode: Mode) {
        let node = Node::start_with(mode, quick()).await;
        let life = Life::lead(&node).await;
        assert_problem(node.get("/v1/me/export").send().await.unwrap(), Code::Unauthenticated).await;
        life.ask_to_be_erased(&node).await;
        node.clock.pass(10);
        erasure::run_due(&node.running().server).await.unwrap();
        assert_problem(life.person.get(&node, "/v1/me/export").await, Code::Revoked).await;
        finish(&node, life.account()).await;
    }
}
