//! Programs of other ecosystems that tests speak to, installed below `target/` at versions that stand here.

use crate::install;
use crate::process::{self, Doing, Result};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Written here, so that a new release cannot change what a run proves.
const AIOSMTPD: &str = "1.4.6";
const OIDC_PROVIDER: &str = "8.8.1";

/// Installs what is missing; how the tests find it.
pub fn variables() -> Result<Vec<(&'static str, String)>> {
    install::ensure(&[&install::PYTHON, &install::NODE, &install::BROWSER])?;
    if cfg!(target_os = "linux") {
        install::ensure(&[&install::KEYRING])?;
    }
    let browser = install::browser().unwrap_or_default();
    Ok(vec![
        ("LOCKSTEP_TEST_BROWSER", browser.display().to_string()),
        ("LOCKSTEP_TEST_SMTP_PYTHON", aiosmtpd()?.display().to_string()),
        ("LOCKSTEP_TEST_OIDC_MODULES", oidc_provider()?.display().to_string()),
    ])
}

/// An SMTP server for Python, in an environment of its own; its interpreter.
fn aiosmtpd() -> Result<PathBuf> {
    let _alone = install::alone();
    let place = process::cache().join(format!("aiosmtpd-{AIOSMTPD}"));
    let python = place.join("bin/python");
    if process::answer(Command::new(&python).args(["-c", "import aiosmtpd"])).is_ok() {
        return Ok(python);
    }
    std::fs::create_dir_all(&place).doing("create a folder for aiosmtpd")?;
    process::run(Command::new("python3").args(["-m", "venv"]).arg(&place))?;
    let package = format!("aiosmtpd=={AIOSMTPD}");
    process::run(Command::new(place.join("bin/pip")).args(["install", "--quiet", &package]))?;
    Ok(python)
}

/// A certified OpenID provider for Node.js; the folder that holds its modules.
fn oidc_provider() -> Result<PathBuf> {
    let _alone = install::alone();
    let place = process::cache().join(format!("oidc-provider-{OIDC_PROVIDER}"));
    if place.join("node_modules/oidc-provider/package.json").is_file() {
        return Ok(place);
    }
    std::fs::create_dir_all(&place).doing("create a folder for oidc-provider")?;
    let package = format!("oidc-provider@{OIDC_PROVIDER}");
    let mut npm = Command::new("npm");
    npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--prefix"]);
    process::run(npm.arg(&place).arg(&package).stdin(Stdio::null()))?;
    Ok(place)
}
