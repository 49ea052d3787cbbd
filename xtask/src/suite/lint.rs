//! Clippy's messages, read one by one: everything is an error except the pedantic group, which is only shown.

use crate::process::{self, Doing, Result, fail};
use crate::steps::Achieved;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// The whole workspace, every target.
pub fn clippy() -> Achieved {
    check(&["clippy", "--workspace", "--all-targets", "--locked"])
}

/// Every library and program as it is without what tests add: so the server is embedded. The whole workspace, because the
/// documentation is built from the same; with what a newcomer builds, the server's own, the step `release` has to do.
pub fn embedded() -> Achieved {
    check(&["clippy", "--workspace", "--no-default-features", "--lib", "--bins", "--locked"])
}

#[derive(Deserialize)]
struct Line {
    message: Option<Message>,
}

#[derive(Deserialize)]
struct Message {
    level: String,
    rendered: String,
    code: Option<Code>,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

impl Message {
    /// `clippy::all` is denied by the manifest, so a clippy *warning* is a pedantic one.
    fn is_advice(&self) -> bool {
        self.level == "warning" && self.code.as_ref().is_some_and(|code| code.code.starts_with("clippy::"))
    }

    fn is_wrong(&self) -> bool {
        matches!(self.level.as_str(), "error" | "warning") && !self.is_advice() && self.code.is_some()
    }
}

fn check(arguments: &[&str]) -> Achieved {
    let mut command = process::cargo(arguments);
    command.arg("--message-format=json").stdout(Stdio::piped());
    println!("$ {}", process::shown(&command));
    let mut child = command.spawn().doing("start clippy")?;
    let mut advice = BTreeMap::<String, usize>::new();
    let mut wrong = 0;
    for line in BufReader::new(child.stdout.take().ok_or_else(missing)?).lines() {
        let line = line.doing("read clippy's messages")?;
        let Some(message) = serde_json::from_str::<Line>(&line).ok().and_then(|line| line.message) else {
            continue;
        };
        if message.is_advice() {
            *advice.entry(message.code.map(|code| code.code).unwrap_or_default()).or_default() += 1;
        } else {
            wrong += usize::from(message.is_wrong());
            print!("{}", message.rendered);
        }
    }
    let status = child.wait().doing("wait for clippy")?;
    for (lint, times) in &advice {
        println!("advice: {times} × {lint}");
    }
    verdict(status.success(), wrong, advice.values().sum())
}

fn missing() -> process::Failure {
    process::Failure("clippy has no output".to_owned())
}

fn verdict(success: bool, wrong: usize, advice: usize) -> Result<String> {
    if wrong > 0 || !success {
        return fail(format!("{wrong} errors and warnings"));
    }
    Ok(if advice > 0 { format!("{advice} pedantic remarks") } else { String::new() })
}
