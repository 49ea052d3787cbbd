//! Every input of every operation, as the API's document names them.

use serde_json::{Map, Value};

use super::resolved;

/// An operation.
pub struct Operation {
    document: &'static Value,
    pub method: String,
    pub path: String,
    pub kind: Option<String>,
    schema: Option<&'static Value>,
    queries: Vec<String>,
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
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let queries = parameters.filter(|one| one["in"] == "query");
            all.push(Operation {
                document,
                method: method.to_uppercase(),
                path: path.clone(),
                kind: content.map(|(kind, _)| kind.clone()),
                schema: content.map(|(_, content)| &content["schema"]),
                queries: queries.map(|one| one["name"].as_str().unwrap().to_owned()).collect(),
            });
        }
    }
    assert!(all.len() > 20);
    all
}

/// What stands in the place of a leaf.
type Leaf<'a> = dyn FnMut(&str, &Value) -> Value + 'a;

impl Operation {
    /// The path with something in the place of every parameter: ids where they are of the `right` form, texts
    /// otherwise, and then in the query as well.
    pub fn filled(
        &self,
        right: bool,
        text: &mut dyn FnMut(&str) -> String,
        id: &mut dyn FnMut() -> String,
    ) -> String {
        let part =
            |part: &str, text: &mut dyn FnMut(&str) -> String, id: &mut dyn FnMut() -> String| match part
                .strip_prefix('{')
            {
                Some(name) if !right => text(name).replace('/', "%2F"),
                Some("hash}") => "ab".repeat(32),
                Some(_) => id(),
                None => part.to_owned(),
            };
        let parts: Vec<String> = self.path.split('/').map(|one| part(one, text, id)).collect();
        let mut path = parts.join("/");
        if !right {
            let queries: Vec<String> =
                self.queries.iter().map(|name| format!("{name}={}", text(name))).collect();
            path.push_str(&format!("?unknown={}&{}", text("unknown"), queries.join("&")));
        }
        path
    }

    /// A body with something in the place of every leaf.
    pub fn body(&self, leaf: &mut Leaf<'_>) -> Vec<u8> {
        match (self.schema, self.kind.as_deref()) {
            (None, _) => Vec::new(),
            (Some(schema), Some("application/json")) => {
                self.value("body", schema, leaf).to_string().into_bytes()
            }
            (Some(_), _) => leaf("bytes", &Value::Null).to_string().into_bytes(),
        }
    }

    fn value(&self, what: &str, schema: &Value, leaf: &mut Leaf<'_>) -> Value {
        let schema = resolved(self.document, schema);
        let several = ["oneOf", "anyOf"].iter().find_map(|of| schema[*of].as_array());
        if let Some(several) = several {
            let some = several.iter().find(|one| one["type"] != "null").unwrap_or(&several[0]);
            return self.value(what, some, leaf);
        }
        if let Some(all) = schema["allOf"].as_array() {
            let parts = all.iter().map(|part| self.value(what, part, leaf));
            let parts = parts.filter_map(|part| part.as_object().cloned()).flatten();
            return Value::Object(parts.collect());
        }
        if let Some(fields) = schema["properties"].as_object() {
            let mut object = Map::new();
            for (name, schema) in fields {
                object.insert(name.clone(), self.value(&format!("{what}.{name}"), schema, leaf));
            }
            return Value::Object(object);
        }
        if schema["items"].is_object() {
            return Value::Array(vec![self.value(what, &schema["items"], leaf)]);
        }
        leaf(what, schema)
    }
}
