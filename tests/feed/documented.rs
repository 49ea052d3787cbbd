//! Frames as `asyncapi.json` describes them. Every frame that a socket of these tests sends or hears is held against it.

use std::sync::LazyLock;

use lockstep_api::{
    Cursor,
    live::{ClientMessage, HeadAt, ServerMessage, Sub, SubState},
    sync::ResetReason,
};
use lockstep_events::{Chain, Epoch, Micros, Seq, SessionId, SetDigest, StreamId, VaultId};
use serde_json::{Value, json};
use uuid::Uuid;

/// The schema of what a client sends.
pub const FROM_CLIENT: &str = "#/components/schemas/ClientMessage";
/// The schema of what the server sends.
pub const FROM_SERVER: &str = "#/components/schemas/ServerMessage";

static DOCUMENT: LazyLock<Value> = LazyLock::new(lockstepd::http::live::document);

/// What says nothing about which values fit, or is held by the types already.
const ASIDE: [&str; 5] = ["description", "title", "format", "minimum", "maxItems"];

/// Panics where a frame is not as the document says.
pub fn as_documented(schema: &str, frame: &str) {
    let frame: Value = serde_json::from_str(frame).unwrap();
    assert!(fits(&json!({ "$ref": schema }), &frame), "not as {schema} says: {frame}");
}

/// Whether a value is one of a JSON schema, of the words that the document uses.
fn fits(schema: &Value, value: &Value) -> bool {
    let Some(schema) = schema.as_object() else { return schema != &Value::Bool(false) };
    schema.iter().all(|(word, said)| match word.as_str() {
        "$ref" => fits(DOCUMENT.pointer(said.as_str().unwrap().trim_start_matches('#')).unwrap(), value),
        "oneOf" => said.as_array().unwrap().iter().filter(|one| fits(one, value)).count() == 1,
        "type" if said.is_array() => said.as_array().unwrap().iter().any(|one| is(one, value)),
        "type" => is(said, value),
        "enum" => said.as_array().unwrap().contains(value),
        "required" => said.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some()),
        "properties" => {
            fields(value).all(|(name, field)| said.get(name).is_none_or(|said| fits(said, field)))
        }
        "additionalProperties" => {
            fields(value).all(|(name, field)| schema["properties"].get(name).is_some() || fits(said, field))
        }
        "prefixItems" => items(value).zip(said.as_array().unwrap()).all(|(item, said)| fits(said, item)),
        "items" => {
            let before = schema.get("prefixItems").and_then(Value::as_array).map_or(0, Vec::len);
            items(value).skip(before).all(|item| fits(said, item))
        }
        "pattern" => value.as_str().is_none_or(|text| matches(said.as_str().unwrap(), text)),
        "maxLength" => value.as_str().is_none_or(|text| text.len() as u64 <= said.as_u64().unwrap()),
        word if ASIDE.contains(&word) => true,
        word => panic!("nobody looks at `{word}`"),
    })
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("nobody knows the type {other}"),
    }
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Patterns are those of hexadecimal digits of one length, and the cursor's.
fn matches(pattern: &str, text: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    match pattern.strip_prefix("^[0-9a-f]{").and_then(|rest| rest.strip_suffix("}$")?.parse::<usize>().ok()) {
        Some(length) => text.len() == length && is_hex(text),
        None => text.parse::<Cursor>().is_ok(),
    }
}

fn from_client() -> Vec<Value> {
    let stream = StreamId::from(VaultId(Uuid::from_u128(3)));
    let after = Some(Cursor { epoch: Epoch([1; 16]), seq: Seq(7) });
    let sub = Sub { stream, after };
    let hello = |token: Option<&str>, ticket: Option<&str>| ClientMessage::Hello {
        token: token.map(str::to_owned),
        ticket: ticket.map(str::to_owned),
        client: "test/1".to_owned(),
        caps: vec!["more".to_owned()],
        subs: vec![sub.clone(), Sub { stream, after: None }],
    };
    let messages = [
        hello(Some("a.b.c"), None),
        hello(None, Some("x")),
        ClientMessage::Sub(sub.clone()),
        ClientMessage::Sub(Sub { stream, after: None }),
        ClientMessage::Unsub { stream },
        ClientMessage::Pong { t: Micros(1) },
        ClientMessage::Token { token: "a.b.c".to_owned() },
    ];
    messages.iter().map(|message| serde_json::to_value(message).unwrap()).collect()
}

fn from_server() -> Vec<Value> {
    let (stream, epoch) = (StreamId::from(VaultId(Uuid::from_u128(3))), Epoch([1; 16]));
    let (from, to, head) = (Seq(1), Seq(2), Seq(2));
    let set_digest = Some(SetDigest([4; 32]));
    let messages = [
        ServerMessage::Welcome {
            session: SessionId(Uuid::from_u128(5)),
            time: Micros(1),
            ping_s: 25,
            pong_s: 10,
            token_expires_in: 300,
            max_subs: 64,
        },
        ServerMessage::Subbed { stream, epoch, from, head, state: SubState::Live },
        ServerMessage::Ev { stream, epoch, from, to, chain: Chain([2; 32]), events: Vec::new() },
        ServerMessage::Lag { stream, head },
        ServerMessage::Reset { stream, reason: ResetReason::StreamGone, epoch: None, head: None },
        ServerMessage::Reset {
            stream,
            reason: ResetReason::EpochChanged,
            epoch: Some(epoch),
            head: Some(head),
        },
        ServerMessage::Ping { t: Micros(1), pos: vec![HeadAt { stream, epoch, head, set_digest }] },
        ServerMessage::TokenDue { in_s: 60 },
        ServerMessage::Error { code: "too_many_subs".to_owned(), msg: "too many".to_owned(), retry: false },
        ServerMessage::Bye { code: 4503, reconnect: true, wait_ms: (0, 1), reason: "stopping".to_owned() },
    ];
    messages.iter().map(|message| serde_json::to_value(message).unwrap()).collect()
}

#[test]
fn every_message_is_one_of_the_document_and_none_with_a_field_too_many_or_too_few() {
    for (schema, messages) in [(FROM_CLIENT, from_client()), (FROM_SERVER, from_server())] {
        let schema = json!({ "$ref": schema });
        for message in messages {
            assert!(fits(&schema, &message), "{message}");
            let mut more = message.clone();
            more["surprise"] = json!(1);
            assert!(!fits(&schema, &more), "{more}");
            let mut less = message.clone();
            less.as_object_mut().unwrap().remove("m");
            assert!(!fits(&schema, &less), "{less}");
        }
    }
}

#[test]
fn a_subscription_with_a_field_too_many_is_none_of_the_document_in_a_greeting_either() {
    let mut hello = from_client().remove(0);
    hello["subs"][0]["surprise"] = json!(1);
    assert!(!fits(&json!({ "$ref": FROM_CLIENT }), &hello), "{hello}");
}
