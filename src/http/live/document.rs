//! The `AsyncAPI` document of the live feed, made from the message types themselves.

use std::collections::BTreeMap;

use lockstep_api::live::{ClientMessage, MAX_SUBS, PROTOCOL, ServerMessage, close};
use serde_json::{Value, json};
use utoipa::{PartialSchema, ToSchema};

use super::timing::HELLO;

/// Every close code with what it means for a client.
const CLOSE_CODES: [(u16, &str); 10] = [
    (close::BAD_REQUEST, "what the client sent is not of the protocol, and `reason` says why; final"),
    (close::TOKEN_EXPIRED, "the token expired or is not valid: renew it and come back"),
    (close::REVOKED, "the session or device was revoked; final, the client locks"),
    (
        close::STREAM_GONE,
        "the last stream that the socket followed is gone, or none of those in `hello` is there; final",
    ),
    (
        close::TOO_SLOW,
        "the client was too slow in reading, in greeting, or in answering a ping: come back and catch up",
    ),
    (close::SUPERSEDED, "a newer socket of the same device on the same node took over; final"),
    (
        close::RESET,
        "the last stream that the socket followed began another life, or every cursor in `hello` is void: pull and come back",
    ),
    (close::RATE, "too many messages: come back later"),
    (close::INTERNAL, "a defect of the server: come back later"),
    (
        close::DRAINING,
        "the server is stopping, has lost touch with its log, or the socket is old: come back inside `wait_ms` of `bye`",
    ),
];

/// What a close code means, in one sentence.
pub fn meaning(code: u16) -> &'static str {
    CLOSE_CODES.iter().find(|(known, _)| *known == code).map_or("", |(_, meaning)| meaning)
}

/// The `AsyncAPI` 3.0 document.
pub fn document() -> Value {
    let mut schemas = BTreeMap::new();
    let mut used = Vec::new();
    <ClientMessage as ToSchema>::schemas(&mut used);
    <ServerMessage as ToSchema>::schemas(&mut used);
    for (name, used) in used {
        schemas.entry(name).or_insert_with(|| serde_json::to_value(used).unwrap_or_default());
    }
    for (name, messages) in
        [("ClientMessage", schema::<ClientMessage>()), ("ServerMessage", schema::<ServerMessage>())]
    {
        let messages = closed(messages, &schemas);
        schemas.insert(name.to_owned(), messages);
    }
    let message = |name: &str, title: &str| {
        json!({
            "name": name, "title": title, "contentType": "application/json",
            "payload": { "$ref": format!("#/components/schemas/{name}") },
        })
    };
    json!({
        "asyncapi": "3.0.0",
        "info": { "title": "Lockstep live feed", "version": env!("CARGO_PKG_VERSION"), "description": description() },
        "channels": { "live": {
            "address": "/v1/live",
            "description": "A WebSocket. One JSON message in each text frame; binary frames are refused.",
            "messages": {
                "client": { "$ref": "#/components/messages/client" },
                "server": { "$ref": "#/components/messages/server" },
            },
            "bindings": { "ws": { "method": "GET", "headers": {
                "type": "object", "required": ["Sec-WebSocket-Protocol"],
                "properties": { "Sec-WebSocket-Protocol": { "type": "string", "const": PROTOCOL } },
            } } },
        } },
        "operations": {
            "fromClient": operation("receive", "client"),
            "fromServer": operation("send", "server"),
        },
        "components": {
            "messages": {
                "client": message("ClientMessage", "What a client sends"),
                "server": message("ServerMessage", "What the server sends"),
            },
            "schemas": schemas,
        },
        "x-close-codes": CLOSE_CODES.iter().map(|(code, meaning)| {
            json!({ "code": code, "meaning": meaning, "reconnect": close::reconnects(*code) })
        }).collect::<Vec<_>>(),
    })
}

/// Messages of which each is one object that knows its fields. As they are derived, `sub` is two objects at once, of
/// which one forbids what the other demands, and the others forbid nothing.
fn closed(mut messages: Value, schemas: &BTreeMap<String, Value>) -> Value {
    for message in messages["oneOf"].as_array_mut().into_iter().flatten() {
        let parts = message.as_object_mut().and_then(|message| message.remove("allOf"));
        for part in parts.as_ref().and_then(Value::as_array).into_iter().flatten() {
            let name = part["$ref"].as_str().and_then(|path| path.rsplit('/').next());
            let part = name.and_then(|name| schemas.get(name)).unwrap_or(part);
            join(message, part);
        }
        message["type"] = "object".into();
        message["additionalProperties"] = false.into();
    }
    messages
}

/// Adds the fields of one object to another one.
fn join(message: &mut Value, part: &Value) {
    for (name, field) in part["properties"].as_object().into_iter().flatten() {
        message["properties"][name] = field.clone();
    }
    let more = part["required"].as_array().into_iter().flatten().cloned();
    let both = message["required"].as_array().into_iter().flatten().cloned().chain(more).collect();
    message["required"] = Value::Array(both);
}

fn schema<T: PartialSchema>() -> Value {
    serde_json::to_value(T::schema()).unwrap_or_default()
}

fn operation(action: &str, message: &str) -> Value {
    json!({
        "action": action,
        "channel": { "$ref": "#/channels/live" },
        "messages": [{ "$ref": format!("#/channels/live/messages/{message}") }],
    })
}

fn description() -> String {
    format!(
        "The first frame is `hello`, within {} s, with an access token or a ticket of `POST /v1/live/ticket`; no \
         credential ever stands in the URL. A frame has at most 64 KiB, and at most {MAX_SUBS} streams are followed; \
         a `sub` of a stream that is followed already replaces that subscription. `unsub`, `token` and `pong` are \
         not answered. What is not of the protocol, an unknown field among it, ends the socket with 4400. A client \
         may send 100 frames a minute. `ev` is applied only where `from` is the client's own place in the \
         stream; otherwise it pulls by `GET /v1/streams/{{stream}}/changes`. A stream that does not exist and one of \
         somebody else are told the same: `reset` with `stream_gone`. `reset` ends one subscription and leaves the \
         socket open for the others. If it ends the last one that the socket followed, or if every subscription of \
         `hello` is answered by it, `bye` follows and the socket is closed: with 4404 if all those streams are gone, \
         else with 4410. A `sub` that is answered by `reset` does not close the socket.",
        HELLO.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|field| references(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_of_the_document_leads_somewhere() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
    }

    #[test]
    fn every_meaning_of_a_close_code_fits_in_a_close_frame() {
        assert!(CLOSE_CODES.iter().all(|(_, meaning)| !meaning.is_empty() && meaning.len() <= 123));
    }

    #[test]
    fn every_message_is_one_object_that_knows_its_fields() {
        let document = document();
        for (side, count) in [("ClientMessage", 5), ("ServerMessage", 9)] {
            let messages = document["components"]["schemas"][side]["oneOf"].as_array().unwrap();
            assert_eq!(messages.len(), count);
            for message in messages {
                assert_eq!(message["additionalProperties"], false, "{message}");
                assert!(
                    message.get("allOf").is_none() && message["properties"]["m"].is_object(),
                    "{message}"
                );
            }
        }
    }

    #[test]
    fn every_message_stands_in_the_document_by_its_word() {
        let text = document().to_string();
        let words = [
            "hello",
            "sub",
            "unsub",
            "pong",
            "token",
            "welcome",
            "subbed",
            "ev",
            "lag",
            "reset",
            "ping",
            "token_due",
            "error",
            "bye",
        ];
        for word in words {
            assert!(text.contains(&format!("\"{word}\"")), "{word}");
        }
    }
}
