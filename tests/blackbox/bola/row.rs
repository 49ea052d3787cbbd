//! One operation of the API, and for whom it is.

use lockstep_api::Code;
use reqwest::Response;
use serde_json::Value;

use crate::support::Node;

/// Whom an operation answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Everybody, with a token or without.
    Everybody,
    /// Whoever owns what the path names. For others there is nothing.
    Owner,
    /// A device: about itself and its account, whoever it is.
    Itself,
    /// Somebody who is about to enrol a device.
    Enrolling,
    /// A device, or somebody who is about to enrol one, about the account's own roster.
    Vouched,
    /// Whoever proves the password in the session that asks, or brings what only it has got.
    Prover,
    /// Somebody who proved who they are, with the key of a device.
    Identified,
    /// An administrator.
    Administrator,
    /// An auditor.
    Auditor,
}

/// One operation, as its owner asks for it.
#[derive(Clone)]
pub struct Row {
    pub method: &'static str,
    pub template: &'static str,
    pub path: String,
    pub body: Body,
    pub headers: Vec<(&'static str, String)>,
    pub answers: For,
    /// What even the right one hears, if it is used up.
    pub used_up: Option<Code>,
    /// What each of the others sends, if nobody can send the same twice.
    pub others: Vec<Body>,
}

#[derive(Clone)]
pub enum Body {
    None,
    Json(Value),
    Bytes(Vec<u8>),
}

impl Row {
    pub fn new(method: &'static str, template: &'static str, answers: For) -> Self {
        let path = template.to_owned();
        Self {
            method,
            template,
            path,
            body: Body::None,
            headers: Vec::new(),
            answers,
            used_up: None,
            others: Vec::new(),
        }
    }

    pub fn at(mut self, name: &str, value: impl ToString) -> Self {
        self.path = self.path.replace(name, &value.to_string());
        self
    }

    pub fn query(mut self, query: &str) -> Self {
        self.path.push_str(query);
        self
    }

    pub fn json(mut self, body: &impl serde::Serialize) -> Self {
        self.body = Body::Json(serde_json::to_value(body).unwrap());
        self
    }

    pub fn bytes(mut self, bytes: Vec<u8>) -> Self {
        self.body = Body::Bytes(bytes);
        self
    }

    pub fn used_up(mut self, code: Code) -> Self {
        self.used_up = Some(code);
        self
    }

    pub fn others(mut self, body: &impl serde::Serialize) -> Self {
        self.others.push(Body::Json(serde_json::to_value(body).unwrap()));
        self
    }

    /// As the other with this number asks.
    pub fn of_another(&self, number: usize) -> Self {
        let body = self.others.get(number).unwrap_or(&self.body).clone();
        Self { body, ..self.clone() }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub async fn ask(&self, node: &Node, token: Option<&str>) -> Response {
        let mut request = node.request(self.method, &self.path);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request = match self.body.clone() {
            Body::None => request,
            Body::Json(body) => request.json(&body),
            Body::Bytes(bytes) => request.header("content-type", "application/octet-stream").body(bytes),
        };
        token.into_iter().fold(request, |request, token| request.bearer_auth(token)).send().await.unwrap()
    }
}
