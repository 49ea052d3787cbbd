//! What a run came to, by its own report: one that was turned away everywhere has proven nothing.

use super::people::Role;
use crate::process::{Doing, Result, fail};
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// A line of the report, as far as it tells of requests.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "ScenarioFinished")]
    finished: Option<Finished>,
}

#[derive(Deserialize)]
struct Finished {
    recorder: Recorder,
}

#[derive(Deserialize)]
struct Recorder {
    #[serde(default)]
    cases: HashMap<String, Case>,
    #[serde(default)]
    interactions: HashMap<String, Interaction>,
}

#[derive(Deserialize)]
struct Case {
    value: Asked,
}

#[derive(Deserialize)]
struct Asked {
    method: String,
    path: String,
}

#[derive(Deserialize)]
struct Interaction {
    response: Option<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    status_code: u16,
}

/// A run that found nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub requests: usize,
    /// Requests that were refused for want of a token that counts.
    unauthenticated: usize,
    asked: BTreeSet<String>,
    /// Operations that did what they are for.
    succeeded: BTreeSet<String>,
}

impl Outcome {
    /// Reads a report in lines of JSON.
    pub fn of(report: &Path) -> Result<Self> {
        let mut outcome = Self::default();
        for line in BufReader::new(File::open(report).doing("open the report of schemathesis")?).lines() {
            let line = line.doing("read the report of schemathesis")?;
            outcome.add(serde_json::from_str(&line).doing("understand the report of schemathesis")?);
        }
        Ok(outcome)
    }

    fn add(&mut self, line: Line) {
        let Some(Finished { recorder: Recorder { cases, interactions } }) = line.finished else { return };
        for (id, interaction) in interactions {
            let (Some(case), Some(answer)) = (cases.get(&id), interaction.response) else { continue };
            let operation = format!("{} {}", case.value.method, case.value.path);
            self.requests += 1;
            self.unauthenticated += usize::from(answer.status_code == 401);
            if (200..300).contains(&answer.status_code) {
                self.succeeded.insert(operation.clone());
            }
            self.asked.insert(operation);
        }
    }

    /// Whether somebody of this role got as far as it should.
    pub fn checked(self, role: Role) -> Result<Self> {
        let least = match role {
            Role::Nobody => 5,
            Role::User => 27,
            Role::Auditor => 32,
            Role::Admin => 39,
        };
        if self.succeeded.len() < least {
            return fail(format!("only these of {least} operations succeeded: {:?}", self.succeeded));
        }
        if role != Role::Nobody && self.unauthenticated * 10 > self.requests {
            return fail(format!(
                "{} of {} requests were without a token that counts",
                self.unauthenticated, self.requests
            ));
        }
        Ok(self)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests, {} operations succeeded, no violation", self.requests, self.succeeded.len())
    }
}
