//! What the tests of this binary share: servers, people, requests.

pub mod backup;
pub mod certified;
pub mod codes;
pub mod idp;
pub mod letters;
pub mod node;
pub mod page;
pub mod person;
pub mod ways;

pub use node::{Mode, Node};
pub use person::Person;

use lockstep_api::{Code, Problem};
use reqwest::{Response, StatusCode};

/// Times every rate limit, where a test is not about limits.
pub const UNLIMITED: u32 = 1_000_000;

/// The problem of an answer; every one has its own shape, type and headers.
pub async fn problem(response: Response) -> Problem {
    let (status, path) = (response.status().as_u16(), response.url().path().to_owned());
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let problem: Problem = response.json().await.unwrap();
    assert_eq!(problem.status, status);
    codes::are_listed(&path, status, problem.code);
    assert_eq!(problem.request, Some(id));
    problem
}

/// Asserts that an answer is this problem.
pub async fn assert_problem(response: Response, code: Code) {
    let status = response.status();
    let problem = problem(response).await;
    assert_eq!(problem.code, code, "{problem:?}");
    assert_eq!(status.as_u16(), code.status());
}

/// The body of an answer with this status.
pub async fn body<T: serde::de::DeserializeOwned>(response: Response, status: StatusCode) -> T {
    let got = response.status();
    let text = response.text().await.unwrap();
    assert_eq!(got, status, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
