//! schemathesis: installed at a version that stands here, told what to do, and run.

use super::document::{places, with_examples};
use super::outcome::Outcome;
use super::people::{People, Role};
use crate::install;
use crate::process::{self, Doing, Result, fail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Written here, so that a new release cannot change what a run proves.
const SCHEMATHESIS: &str = "4.32.5";

/// Not asked for: a version that satisfies the schema is refused unless its id, signature and parents are right, and no
/// generator can make those.
const LEFT_OUT: &str = "positive_data_acceptance";

/// What every run is told. The seed makes the same cases in every run. Any refusal is one, be it for a body that is too
/// large; and an operation for which little can be made is tried with that.
const SETTINGS: &str = r#"
seed = 20240611
continue-on-failure = true
tls-verify = false
request-timeout = 60
suppress-health-check = ["all"]

[generation]
max-examples = 12
database = "none"

[phases.stateful.generation]
max-examples = 60

[checks.negative_data_rejection]
expected-statuses = ["4xx"]
"#;

/// How much is tried.
#[derive(Clone, Copy)]
pub enum Phases {
    /// Each boundary of each operation, once.
    Boundaries,
    /// Those, cases by the dice, and chains of requests where one answers what another needs.
    All,
}

impl Phases {
    fn list(self) -> &'static str {
        match self {
            Self::Boundaries => "examples,coverage",
            Self::All => "examples,coverage,fuzzing,stateful",
        }
    }
}

/// schemathesis in a Python environment of its own.
pub struct Tool(PathBuf);

impl Tool {
    pub fn installed() -> Result<Self> {
        let _alone = install::alone();
        let place = process::cache().join(format!("schemathesis-{SCHEMATHESIS}"));
        let tool = place.join("bin/st");
        if process::answer(Command::new(&tool).arg("--version")).is_ok() {
            return Ok(Self(tool));
        }
        std::fs::create_dir_all(&place).doing("create a folder for schemathesis")?;
        process::run(Command::new("python3").args(["-m", "venv"]).arg(&place))?;
        let package = format!("schemathesis=={SCHEMATHESIS}");
        process::run(Command::new(place.join("bin/pip")).args(["install", "--quiet", &package]))?;
        Ok(Self(tool))
    }

    /// One run as somebody of this role. What it says is shown if it found something.
    pub fn run(
        &self,
        parent: &Path,
        url: &str,
        people: &People,
        role: Role,
        phases: Phases,
    ) -> Result<Outcome> {
        // It keeps notes where it runs, and finds its settings there.
        let folder = parent.join(format!("as-{role}"));
        std::fs::create_dir_all(&folder).doing("create a folder for a run")?;
        let known = people.known(role)?;
        let document = with_examples(&known)?.to_string();
        std::fs::write(folder.join("openapi.json"), document).doing("write the API's document")?;
        let token = if role == Role::Nobody { None } else { Some(people.token(role)?) };
        let settings = settings(&places(&known), token.as_deref());
        std::fs::write(folder.join("schemathesis.toml"), settings)
            .doing("write the settings of schemathesis")?;
        let said = File::create(folder.join("said")).doing("create a file for what schemathesis says")?;
        let mut command = Command::new(&self.0);
        command.args([
            "run",
            "openapi.json",
            "--url",
            url,
            "--phases",
            phases.list(),
            "--checks",
            "all",
            "--exclude-checks",
            LEFT_OUT,
        ]);
        command.args([
            "--warnings",
            "off",
            "--no-color",
            "--report",
            "ndjson",
            "--report-ndjson-path",
            "report",
        ]);
        command.current_dir(&folder).stdin(Stdio::null());
        println!("$ {}", process::shown(&command));
        command.stdout(said.try_clone().doing("share a file")?).stderr(said);
        let status = command.status().doing("start schemathesis")?;
        if !status.success() {
            let said = std::fs::read_to_string(folder.join("said")).doing("read what schemathesis said")?;
            return fail(format!("schemathesis ended with {status}\n{said}"));
        }
        Outcome::of(&folder.join("report"))
    }
}

/// The settings, with who asks, and what stands in most paths.
fn settings(places: &[(&str, &str)], token: Option<&str>) -> String {
    let header = token.map(|token| format!("[headers]\nAuthorization = \"Bearer {token}\"\n"));
    let values =
        places.iter().map(|(name, value)| format!("[dictionaries.{name}]\nvalues = [\"{value}\"]\n"));
    let bound = places
        .iter()
        .map(|(name, _)| format!("\"path.{name}\" = {{ dictionary = \"{name}\", probability = 0.8 }}\n"));
    let parts = [SETTINGS.to_owned(), header.unwrap_or_default()];
    parts.into_iter().chain(values).chain(["[parameters]\n".to_owned()]).chain(bound).collect()
}
