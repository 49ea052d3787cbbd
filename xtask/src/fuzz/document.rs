//! The API's document as a run reads it: what there is on the server stands in it as examples, so that requests find
//! something; and long lists are without their bounds, because the generator fills them to the brim or never ends.

use super::people::Known;
use crate::process::{self, Doing, Result};
use serde_json::{Value, json};

/// Lists of more are never made.
const LONGEST_LIST: u64 = 16;

/// docs/openapi.json for a server on which this is known.
pub fn with_examples(known: &Known) -> Result<Value> {
    let text = std::fs::read_to_string(process::root().join("docs/openapi.json"))
        .doing("read the API's document")?;
    let mut document = serde_json::from_str(&text).doing("understand the API's document")?;
    unbound(&mut document);
    for (name, value) in [("VersionId", &known.version), ("BlobHash", &known.blob), ("EntryId", &known.entry)]
    {
        document["components"]["schemas"][name]["examples"] = json!([value]);
    }
    for (path, method, body) in bodies(known) {
        document["paths"][path][method]["requestBody"]["content"]["application/json"]["example"] = body;
    }
    for operation in document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut()) {
        let methods = operation.as_object_mut().into_iter().flat_map(|methods| methods.values_mut());
        let parameters = methods.filter_map(|method| method.get_mut("parameters")?.as_array_mut()).flatten();
        for parameter in parameters.filter(|parameter| parameter["in"] == "path") {
            let named = places(known).into_iter().find(|(name, _)| parameter["name"] == *name);
            if let Some((_, value)) = named {
                parameter["example"] = json!(value);
            }
        }
    }
    Ok(document)
}

/// What stands in paths, by the names that they have there.
pub fn places(known: &Known) -> [(&'static str, &str); 6] {
    [
        ("account", &known.account),
        ("vault", &known.vault),
        ("stream", &known.vault),
        ("entry", &known.entry),
        ("device", &known.device),
        ("hash", &known.blob),
    ]
}

/// Bodies that are right in a way that no generator finds.
fn bodies(known: &Known) -> [(&'static str, &'static str, Value); 5] {
    let why = "to be tried";
    [
        ("/v1/account/email", "put", json!({ "email": "new@example.org", "initiator": "0".repeat(64) })),
        ("/v1/devices/{device}/label", "put", json!({ "label": "AAAA" })),
        ("/v1/me/erasure", "post", json!({ "account": known.account })),
        ("/v1/admin/accounts/find", "post", json!({ "name": "user@example.org", "reason": why })),
        ("/v1/admin/accounts/{account}/plan", "post", json!({ "plan": "paid", "reason": why })),
    ]
}

/// A document that says less is satisfied by all that satisfied it before.
fn unbound(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for bound in ["minItems", "maxItems"] {
                if object.get(bound).and_then(Value::as_u64).is_some_and(|items| items > LONGEST_LIST) {
                    object.remove(bound);
                }
            }
            object.values_mut().for_each(unbound);
        }
        Value::Array(array) => array.iter_mut().for_each(unbound),
        _ => {}
    }
}

#[cfg(test)]
mod proof {
    use super::*;

    #[test]
    fn what_is_known_stands_in_the_document_and_only_long_lists_lose_their_bounds() {
        let of = |text: &str| text.to_owned();
        let known = Known {
            account: of("A"),
            vault: of("V"),
            entry: of("E"),
            device: of("D"),
            version: of("1"),
            blob: of("B"),
        };
        let document = with_examples(&known).unwrap();
        let found =
            document["paths"]["/v1/vaults/{vault}/blobs/{hash}"]["get"]["parameters"].as_array().unwrap();
        let example = |name: &str| found.iter().find(|p| p["name"] == name).map(|p| p["example"].clone());
        assert_eq!((example("vault"), example("hash")), (Some(json!("V")), Some(json!("B"))));
        for (path, method, _) in bodies(&known) {
            assert!(
                document["paths"][path][method]["operationId"].is_string(),
                "{method} {path} is no operation"
            );
        }
        for (name, _) in places(&known) {
            assert!(document.to_string().contains(&format!("{{{name}}}")), "{name}");
        }
        let mut lists =
            json!([{ "maxItems": 16, "minItems": 1 }, { "maxItems": 17, "minItems": 17, "type": "array" }]);
        unbound(&mut lists);
        assert_eq!(lists, json!([{ "maxItems": 16, "minItems": 1 }, { "type": "array" }]));
    }
}
