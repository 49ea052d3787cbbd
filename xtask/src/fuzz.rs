//! schemathesis reads docs/openapi.json and tries to make a live server break its word. `cargo xtask test --api-fuzz` does it
//! in both modes as nobody and as people of each role, for some ten minutes; every `cargo xtask test` does it once,
//! for less than a minute.

mod document;
mod outcome;
mod people;
mod tool;

use crate::process::{Failure, Result, fail};
use crate::services::service::Service;
use crate::services::{self, S3Kind, Services, fresh_folder};
use crate::steps::{Achieved, human};
use crate::{build, install, server};
use outcome::Outcome;
use people::{People, Role};
use std::path::Path;
use std::time::Instant;
use tool::{Phases, Tool};

/// Every role in both modes, and all that schemathesis can do.
pub fn run() -> Achieved {
    let tool = ready()?;
    let embedded = in_mode("embedded", &[], &tool, &Role::ALL, Phases::All);
    let services = services::stores(S3Kind::S3s, false)?;
    let distributed = in_mode("distributed", &options_for(&services)?, &tool, &Role::ALL, Phases::All);
    Ok(said(&[embedded?, distributed?].concat()))
}

/// The boundaries of every operation, as somebody with an account.
pub fn briefly() -> Achieved {
    Ok(said(&in_mode("embedded", &[], &ready()?, &[Role::User], Phases::Boundaries)?))
}

/// Installs schemathesis, if it is missing.
pub fn install() -> Result<()> {
    ready().map(drop)
}

fn ready() -> Result<Tool> {
    install::ensure(&[&install::PYTHON])?;
    Tool::installed()
}

fn said(outcomes: &[Outcome]) -> String {
    let requests: usize = outcomes.iter().map(|outcome| outcome.requests).sum();
    format!("{} runs, {requests} requests, no 5xx, no violation", outcomes.len())
}

/// A server that stands on these services alone.
fn options_for(services: &Services) -> Result<Vec<(&'static str, String)>> {
    const BUCKET: &str = "fuzz";
    services.make_bucket(BUCKET)?;
    let database = services.variable("LOCKSTEP_TEST_POSTGRES")?;
    Ok(vec![
        ("LOCKSTEP_LOG", database.clone()),
        ("LOCKSTEP_READS", database.clone()),
        ("LOCKSTEP_CREDENTIALS", database),
        ("LOCKSTEP_BUS", services.variable("LOCKSTEP_TEST_NATS")?),
        ("LOCKSTEP_BLOBS", format!("s3://{BUCKET}")),
        ("LOCKSTEP_S3_ENDPOINT", services.variable("LOCKSTEP_TEST_S3")?),
        ("LOCKSTEP_S3_ACCESS_KEY", services.variable("LOCKSTEP_TEST_S3_KEY")?),
        ("LOCKSTEP_S3_SECRET_KEY", services.variable("LOCKSTEP_TEST_S3_SECRET")?),
    ])
}

/// One server, and one run after the other against it.
fn in_mode(
    mode: &'static str,
    options: &[(&'static str, String)],
    tool: &Tool,
    roles: &[Role],
    phases: Phases,
) -> Result<Vec<Outcome>> {
    let folder = fresh_folder()?;
    let outcomes = Ground::open(mode, &folder, options).and_then(|mut ground| {
        let ran: Vec<_> = roles.iter().map(|role| ground.told(tool, *role, phases)).collect();
        ran.into_iter().collect()
    });
    let _ = std::fs::remove_dir_all(&folder);
    outcomes
}

/// A server with people.
struct Ground<'a> {
    mode: &'static str,
    folder: &'a Path,
    server: Service,
    url: String,
    people: People,
}

impl<'a> Ground<'a> {
    fn open(mode: &'static str, folder: &'a Path, options: &[(&'static str, String)]) -> Result<Self> {
        let mut all = vec![
            ("LOCKSTEP_ACCESS_TOKEN_S", "1200"),
            ("LOCKSTEP_LOG_FILTER", "warn,lockstepd::http::problem=error"),
            ("LOCKSTEP_RATE_LIMIT_FACTOR", "1000000"),
        ];
        all.extend(options.iter().map(|(name, value)| (*name, value.as_str())));
        let (server, url) = server::start(&build::program("lockstepd")?, folder, &all)?;
        let people = People::register(&url, folder)?;
        Ok(Self { mode, folder, server, url, people })
    }

    /// One run; what came of it is said at once.
    fn told(&mut self, tool: &Tool, role: Role, phases: Phases) -> Result<Outcome> {
        let Self { mode, .. } = *self;
        let started = Instant::now();
        let ran = self.ran(tool, role, phases);
        let time = human(started.elapsed());
        match ran {
            Ok(outcome) => {
                println!("{mode}, as {role}: {outcome}, in {time}");
                Ok(outcome)
            }
            Err(failure) => {
                println!("{mode}, as {role}: FAILED in {time}: {failure}\n{}", self.server.last_lines());
                fail(format!("schemathesis found something: {mode}, as {role}"))
            }
        }
    }

    fn ran(&mut self, tool: &Tool, role: Role, phases: Phases) -> Result<Outcome> {
        let ran = tool.run(self.folder, &self.url, &self.people, role, phases);
        match self.server.obituary() {
            Some(obituary) => Err(Failure(obituary)),
            None => ran?.checked(role),
        }
    }
}
