//! Every input of every operation, as the API's document names them.

use serde_json::{Map, Value, json};

use super::resolved;

/// An operation.
pub struct Operation {
    document: &'static Value,
    pub method: String,
    pub path: String,
    pub kind: Option<String>,
    schema: Option<&'static Value>,
    queries: Vec<String>,
    /// Names in lower case, and whether it does without.
    pub headers: Vec<(String, bool)>,
}

/// All operations.
pub fn operations() -> Vec<Operation> {
    // Kept for the life of the test.
    let document: &'static Value =
        Box::leak(Box::new(serde_json::to_value(lockstepd::http::document()).unwrap()));
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let content = operation["requestBody"]["content"].as_object().and_then(|c| c.iter().next());
            let parameters = || operation["parameters"].as_array().into_iter().flatten();
            let named = |place: &'static str| parameters().filter(move |one| one["in"] == place);
            let name = |one: &Value| one["name"].as_str().unwrap().to_owned();
            let header = |one: &Value| (name(one).to_lowercase(), one["required"] != true);
            all.push(Operation {
                document,
                method: method.to_uppercase(),
                path: path.clone(),
                kind: content.map(|(kind, _)| kind.clone()),
                schema: content.map(|(_, content)| &content["schema"]),
                queries: named("query").map(name).collect(),
                headers: named("header").map(header).collect(),
            });
        }
    }
    assert!(all.len() > 20);
    all
}

/// What stands in the place of a leaf.
type Leaf<'a> = dyn FnMut(&str, &Value) -> Value + 'a;

impl Operation {
    /// Its name.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The path with something in the place of every parameter: ids where it is to be of the right form, a vault of the
    /// asker's among them, texts otherwise, and then in the query as well.
    pub fn filled(&self, vault: Option<&str>, text: &mut dyn FnMut(&str) -> String) -> String {
        let mut part = |part: &str| match (part.strip_prefix('{'), vault) {
            (None, _) => part.to_owned(),
            (Some(name), None) => text(name).replace('/', "%2F"),
            (Some("vault}" | "stream}"), Some(vault)) => vault.to_owned(),
            (Some("hash}"), Some(_)) => "ab".repeat(32),
            (Some(_), Some(_)) => uuid::Uuid::new_v4().to_string(),
        };
        let parts: Vec<String> = self.path.split('/').map(&mut part).collect();
        let mut path = parts.join("/");
        if vault.is_none() {
            let queries: Vec<String> =
                self.queries.iter().map(|name| format!("{name}={}", text(name))).collect();
            path.push_str(&format!("?unknown={}&{}", text("unknown"), queries.join("&")));
        }
        path
    }

    /// Bodies with something in the place of every leaf: so many that each variant of everything is in one of them.
    pub fn bodies(&self, leaf: &mut Leaf<'_>) -> Vec<Vec<u8>> {
        match (self.schema, self.kind.as_deref()) {
            (None, _) => vec![Vec::new()],
            (Some(schema), Some("application/json")) => {
                let values = self.values("body", schema, leaf);
                values.iter().map(|value| value.to_string().into_bytes()).collect()
            }
            (Some(_), _) => vec![leaf("bytes", &Value::Null).to_string().into_bytes()],
        }
    }

    fn values(&self, what: &str, schema: &Value, leaf: &mut Leaf<'_>) -> Vec<Value> {
        let schema = resolved(self.document, schema);
        if let Some(several) = ["oneOf", "anyOf"].iter().find_map(|of| schema[*of].as_array()) {
            return several.iter().flat_map(|one| self.values(what, one, leaf)).collect();
        }
        if let Some(words) = schema["enum"].as_array() {
            return words.iter().map(|word| leaf(what, &json!({ "enum": [word] }))).collect();
        }
        if let Some(all) = schema["allOf"].as_array() {
            let parts: Vec<_> = all.iter().map(|part| self.values(what, part, leaf)).collect();
            let whole = |parts: Vec<&Value>| {
                let fields = parts.into_iter().filter_map(Value::as_object).flatten();
                Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
            };
            return side_by_side(&parts).map(whole).collect();
        }
        if let Some(fields) = schema["properties"].as_object() {
            let of = |(name, schema)| self.values(&format!("{what}.{name}"), schema, leaf);
            let values: Vec<_> = fields.iter().map(of).collect();
            let whole = |values: Vec<&Value>| -> Map<String, Value> {
                fields.keys().cloned().zip(values.into_iter().cloned()).collect()
            };
            return side_by_side(&values).map(|values| Value::Object(whole(values))).collect();
        }
        if schema["items"].is_object() {
            let items = self.values(what, &schema["items"], leaf);
            return items.into_iter().map(|item| Value::Array(vec![item])).collect();
        }
        vec![leaf(what, schema)]
    }
}

/// The first of each, the second of each, and so on until the longest ends; a shorter one begins again.
fn side_by_side(all: &[Vec<Value>]) -> impl Iterator<Item = Vec<&Value>> {
    // An object without fields is one.
    let longest = all.iter().map(Vec::len).max().unwrap_or(1);
    (0..longest).map(|at| all.iter().map(|one| &one[at % one.len()]).collect())
}

#[test]
fn every_variant_of_everything_is_in_a_body() {
    let all = operations();
    let texts = |name: &str| -> Vec<String> {
        let operation = all.iter().find(|operation| operation.name() == name).unwrap();
        let bodies = operation.bodies(&mut |_, schema| match &schema["enum"][0] {
            Value::Null => "leaf".into(),
            word => word.clone(),
        });
        bodies.into_iter().map(|body| String::from_utf8(body).unwrap()).collect()
    };
    let said = texts("POST /v1/devices");
    for word in ["account_created", "device_added", "device_revoked", "recovery_slot_set", "vault_key_gen"] {
        assert_eq!(said.iter().filter(|body| body.contains(word)).count(), 1, "{word}");
    }
    let shown = texts("POST /v1/sessions/second-factor");
    assert_eq!(shown.len(), 3);
    assert!(["totp", "codes", "client_data"].iter().zip(&shown).all(|(word, body)| body.contains(word)));
    let pushed = texts("POST /v1/vaults/{vault}/versions");
    for word in ["\"edit\"", "\"merge\"", "\"adopt\"", "\"tombstone\"", "\"content_of\":\"leaf\""] {
        assert!(pushed.iter().any(|body| body.contains(word)), "{word}");
    }
}
