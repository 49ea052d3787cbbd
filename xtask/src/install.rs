//! What the tasks need on the machine, installed with apt where that is possible.

use crate::process::{self, Failure, Result, fail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One program, and the Debian packages that bring it.
pub struct Need {
    pub what: &'static str,
    pub packages: &'static [&'static str],
    present: fn() -> bool,
}

/// Builds `OpenSSL` from source, which the client's `SQLCipher` is linked with.
pub const BUILD: Need = Need {
    what: "a C compiler, make and perl",
    packages: &["gcc", "libc6-dev", "make", "perl"],
    present: || ["cc", "make", "perl"].iter().all(|name| process::find(name).is_some()) && perl_is_whole(),
};

pub const POSTGRES: Need = Need {
    what: "PostgreSQL 15 or later (server programs)",
    packages: &["postgresql"],
    present: || postgres_programs().is_some(),
};

pub const NATS: Need = Need {
    what: "nats-server 2.9 or later",
    packages: &["nats-server"],
    present: || process::find("nats-server").is_some(),
};

pub const PYTHON: Need = Need {
    what: "Python 3 with venv",
    packages: &["python3", "python3-venv"],
    present: || succeeds("python3", &["-c", "import venv, ensurepip"]),
};

pub const NODE: Need = Need {
    what: "Node.js 18 or later with npm",
    packages: &["nodejs", "npm"],
    present: || ["node", "npm"].iter().all(|name| process::find(name).is_some()),
};

pub const BROWSER: Need = Need { what: "Chromium", packages: &["chromium"], present: || browser().is_some() };

/// A browser of the Chromium family.
pub fn browser() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome"].iter().find_map(|name| process::find(name))
}

/// The key store of a desktop, on a bus of its own.
pub const KEYRING: Need = Need {
    what: "GNOME Keyring with a D-Bus daemon",
    packages: &["gnome-keyring", "dbus-daemon", "dbus-bin"],
    present: || {
        let programs = ["gnome-keyring-daemon", "dbus-daemon", "dbus-send"];
        programs.iter().all(|name| process::find(name).is_some())
    },
};

/// One at a time installs: what comes ahead of its step, or the step itself, which then finds that it is there.
pub fn alone() -> MutexGuard<'static, ()> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    INSTALLING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Installs what is missing, or says what to install.
pub fn ensure(needs: &[&Need]) -> Result<()> {
    let _alone = alone();
    let missing: Vec<_> = needs.iter().filter(|need| !(need.present)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().flat_map(|need| need.packages).copied().collect();
    let list = missing.iter().map(|need| need.what).collect::<Vec<_>>().join("; ");
    if process::find("apt-get").is_none() || user() != Some((0, 0)) {
        return fail(format!("please install: {list} (on Debian: apt-get install {})", packages.join(" ")));
    }
    println!("installing {list}");
    process::run(apt().args(["update", "-q"]))?;
    process::run(apt().args(["install", "-q", "-y", "--no-install-recommends"]).args(&packages))?;
    match missing.iter().find(|need| !(need.present)()) {
        None => Ok(()),
        Some(need) => fail(format!("apt installed {}, yet there is no {}", packages.join(" "), need.what)),
    }
}

/// rustfmt and clippy come with the default toolchain; a minimal one lacks them.
pub fn ensure_components() -> Result<()> {
    for (component, program) in [("rustfmt", "fmt"), ("clippy", "clippy")] {
        if process::answer(&mut process::cargo(&[program, "--version"])).is_err() {
            process::run(Command::new("rustup").args(["component", "add", component]))?;
        }
    }
    Ok(())
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    // Run level 1 keeps the packages from starting their own servers.
    command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1").stdin(std::process::Stdio::null());
    command
}

/// Debian's smallest perl lacks the modules that `OpenSSL`'s configure script uses.
fn perl_is_whole() -> bool {
    succeeds("perl", &["-MFindBin", "-MIPC::Cmd", "-e", "1"])
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// The folder that holds `initdb` and `postgres`: on the PATH, or the newest of Debian's versions.
pub fn postgres_programs() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = debian
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(version, folder)| *version >= 15 && folder.join("initdb").is_file())
        .collect();
    versions.sort();
    let on_path = process::find("initdb").and_then(|file| file.parent().map(Path::to_path_buf));
    versions.pop().map(|(_, folder)| folder).or(on_path)
}

/// Our user and group number.
pub fn user() -> Option<(u32, u32)> {
    numbers(None)
}

/// The user and group that Postgres runs as when we are root, because it refuses to run as root.
pub fn postgres_user() -> Result<Option<(u32, u32)>> {
    if user() != Some((0, 0)) {
        return Ok(None);
    }
    let found = numbers(Some("postgres")).or_else(|| numbers(Some("nobody")));
    found.map(Some).ok_or_else(|| Failure("no user postgres or nobody to run the database as".to_owned()))
}

fn numbers(name: Option<&str>) -> Option<(u32, u32)> {
    let ask = |flag: &str| {
        let text = process::answer(Command::new("id").arg(flag).args(name)).ok()?;
        text.trim().parse().ok()
    };
    Some((ask("-u")?, ask("-g")?))
}
