//! A certified identity provider as a process of its own, and a person with a browser.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde::Deserialize;

/// Where the web client of the provider is sent back to.
pub const REDIRECT: &str = "https://vault.example.org/v1/oidc/callback";

pub struct Certified {
    child: Child,
    pub issuer: String,
}

/// Where a browser came to its end.
#[derive(Debug, Deserialize)]
pub struct End {
    pub address: String,
    pub page: String,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/services").join(name)
}

impl Certified {
    pub fn start() -> Self {
        let modules = std::env::var("LOCKSTEP_TEST_OIDC_MODULES");
        let modules =
            modules.unwrap_or_else(|_| panic!("LOCKSTEP_TEST_OIDC_MODULES is not set: run cargo xtask test"));
        let mut child = Command::new("node")
            .arg(script("oidc_provider.mjs"))
            .arg(modules)
            .arg(REDIRECT)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { child, issuer: format!("http://127.0.0.1:{}", line.trim()) }
    }
}

impl Drop for Certified {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A person opens the address, signs in as "ada", and agrees; stops before an address that begins like this.
pub async fn browse(address: &str, stop_at: &str) -> End {
    let mut command = Command::new("node");
    command.arg(script("browser.mjs")).arg(address).env("STOP_AT", stop_at).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

impl End {
    /// A parameter of the address.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let url = url::Url::parse(&self.address).unwrap();
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// The hidden fields of the form on the page.
    pub fn fields(&self) -> Vec<(String, String)> {
        let attribute = |input: &str, name: &str| {
            let (_, rest) = input.split_once(&format!("{name}=\"")).unwrap();
            rest.split('"').next().unwrap().to_owned()
        };
        let inputs = self.page.split("<input ").skip(1);
        inputs.map(|input| (attribute(input, "name"), attribute(input, "value"))).collect()
    }
}
