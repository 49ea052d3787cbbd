//! What other programs are written from is what the code does.

use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;
use lockstep_api::{Code, account::proof_message};
use lockstep_events::{
    AccountId, BlobHash, Chain, DeviceId, EntryId, Event, EventId, Hash32, Header, Micros, NewEvent,
    Position, Seq, SetDigest, StreamKind, VaultId, VersionId, VersionKind,
    canonical::Writer,
    chains::{End, digest},
    envelope::Place,
    event::{VaultCreated, VaultEvent},
    header::sign_version,
    ids::PublicKey,
    roster::{Claim, Statement},
};
use serde_json::Value;
use uuid::Uuid;

use crate::sources::{expect_none, root, rust};

const LABEL: &str = "lockstep/v1/";

fn document(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// Every label in a text, of those before which `quote` stands.
fn labels(text: &str, quote: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '/' | '-');
    let begins = format!("{quote}{LABEL}");
    let ends = text.split(&begins).skip(1);
    ends.map(|rest| rest.split(|letter| !is_part(letter)).next().unwrap().to_owned()).collect()
}

#[test]
fn every_label_of_a_format_is_on_the_page_and_the_page_names_no_other() {
    let rooms = ["client/src", "events/src", "api/src"];
    let sources = rust().into_iter().filter(|source| rooms.iter().any(|room| source.is_in(room)));
    let used: BTreeSet<String> = sources.flat_map(|source| labels(&source.shipped(), "\"")).collect();
    let named = labels(&document("formats.md"), "");
    assert!(used.len() > 30, "{used:?}");
    let odd: Vec<String> = used.symmetric_difference(&named).map(|end| format!("{LABEL}{end}")).collect();
    expect_none("a label stands in the code of client, events or api and in docs/formats.md", &odd);
}

/// The words of an enumeration, whether they stand in one list or each with its description.
fn words(schema: &Value) -> Vec<&str> {
    let each = schema["oneOf"].as_array().into_iter().flatten().chain([schema]);
    each.flat_map(|one| one["enum"].as_array().into_iter().flatten()).filter_map(Value::as_str).collect()
}

#[test]
fn every_outcome_of_a_push_and_every_code_with_facts_is_explained() {
    let page = document("writing-an-app.md");
    let api: Value = serde_json::from_str(&document("openapi.json")).unwrap();
    let outcomes = words(&api["components"]["schemas"]["PushOutcome"]);
    assert!(outcomes.len() > 10, "{outcomes:?}");
    for word in outcomes {
        let told = page.contains(&format!("`{word}`"));
        assert!(told, "docs/writing-an-app.md does not say what to do about {word}");
    }
    let (_, facts) = page.split_once("| code | `facts` |").unwrap();
    let rows = facts.lines().skip(2).take_while(|line| line.starts_with('|'));
    let codes: Vec<&str> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
    assert!(codes.len() > 5, "{codes:?}");
    for code in codes {
        assert!(Code::ALL.iter().any(|known| known.as_str() == code), "{code} is no code");
    }
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x4000_8000_0000_0000_0000 | n)
}

const ACCOUNT: u128 = 1;
const DEVICE: u128 = 2;
const VAULT: u128 = 3;

fn tombstone() -> Header {
    Header {
        format: 1,
        account: AccountId(id(ACCOUNT)),
        vault: VaultId(id(VAULT)),
        entry: EntryId(id(4)),
        kind: VersionKind::Tombstone,
        parents: vec![VersionId([0x21; 32])],
        content_of: None,
        key_id: Uuid::nil(),
        content_hash: None,
        content_len: 0,
        author_device: DeviceId::NIL,
        observed_seq: Seq::ZERO,
        observed_chain: Chain::ZERO,
        client_time: 0,
    }
}

fn edit() -> Header {
    Header {
        kind: VersionKind::Edit,
        key_id: id(7),
        content_hash: Some(BlobHash([0x31; 32])),
        content_len: 328,
        author_device: DeviceId(id(DEVICE)),
        observed_seq: Seq(17),
        observed_chain: Chain([0x41; 32]),
        client_time: 1_763_800_000_123,
        ..tombstone()
    }
}

fn statement() -> Statement {
    let claim = Claim::DeviceAdded { device: DeviceId(id(DEVICE)), public_key: PublicKey([0x52; 32]) };
    Statement::sign(&SigningKey::from_bytes(&[1; 32]), AccountId(id(ACCOUNT)), 1, Hash32([0x11; 32]), claim)
}

/// Leaf and chain of a stream's first event.
fn first_event() -> (Hash32, Chain) {
    let (account, vault) = (AccountId(id(ACCOUNT)), VaultId(id(VAULT)));
    let body = Event::Vault(VaultEvent::Created(VaultCreated { vault, account })).encode().unwrap();
    let event = NewEvent {
        event_id: EventId(id(9)),
        stream: vault.into(),
        subject: Some(vault.into()),
        kind: body.kind.into(),
        schema: body.schema,
        actor: Some(account),
        device: Some(DeviceId(id(DEVICE))),
        correlation: None,
        causation: None,
        public: body.public,
        sealed: None,
        content: None,
        body_hash: Hash32::ZERO,
    };
    let place = Place { position: Position(1), seq: Seq(1), recorded_at: Micros(1_700_000_000_000_000) };
    let event = event.record(StreamKind::Vault, place, &Chain::ZERO);
    (event.leaf_hash(), event.chain)
}

/// UUID v8 of the hash of a label and an id: an entry that every device finds.
fn known_entry(label: &str, of: u128) -> EventId {
    VersionId(Writer::new(label).fixed(id(of).as_bytes()).sha256()).event_id()
}

#[test]
fn the_vectors_of_the_page_are_what_the_code_makes() {
    let version = edit().version_id();
    let (leaf, chain) = first_event();
    let end = End { stream: VaultId(id(VAULT)).into(), seq: Seq(1), chain };
    let proof = proof_message(id(DEVICE).as_bytes());
    let made = [
        ("version", version.to_string()),
        ("event id", version.event_id().to_string()),
        ("signature", sign_version(&SigningKey::from_bytes(&[1; 32]), &version).to_string()),
        ("set digest", SetDigest::from_iter([version]).to_string()),
        ("tombstone", tombstone().version_id().to_string()),
        ("statement", statement().hash().to_string()),
        ("leaf", leaf.to_string()),
        ("chain", chain.to_string()),
        ("ends of a log", digest(id(9), Position(1), &[end]).to_string()),
        ("device proof", hex::encode(proof)),
        ("file", known_entry("lockstep/v1/file", ACCOUNT).to_string()),
        ("name of a vault", known_entry("lockstep/v1/vault-name", VAULT).to_string()),
    ];
    let page = document("formats.md");
    let missing = made.iter().filter(|(_, bytes)| !page.contains(&format!("| `{bytes}` |")));
    let missing: Vec<String> = missing.map(|(what, bytes)| format!("{what}: {bytes}")).collect();
    expect_none("docs/formats.md has the vectors that the code makes", &missing);
}
