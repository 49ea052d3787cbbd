//! The services that the distributed mode needs, started privately: own folder, own free ports, stopped with us.

mod garage;
mod nats;
mod postgres;
mod s3;
pub mod service;

use crate::process::{Doing, Failure, Result};
use crate::{install, tools};
use clap::{Args, ValueEnum};
use service::Service;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Which server speaks S3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum S3Kind {
    /// A small server on the crate s3s-fs, built with the tests.
    #[default]
    S3s,
    /// Garage, built from crates.io on first use (long).
    Garage,
}

#[derive(Args)]
pub struct Options {
    /// Which S3 server to start.
    #[arg(long, value_enum, default_value_t)]
    s3: S3Kind,
    /// Writes the addresses to this file as well, for `source FILE` in another terminal.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

/// Running services; dropping it stops them and removes their folder.
pub struct Services {
    running: Vec<Service>,
    folder: PathBuf,
    keep: bool,
    /// What the tests find them by.
    pub variables: Vec<(&'static str, String)>,
}

/// Starts all of them and waits until each answers.
pub fn start(s3_kind: S3Kind, keep: bool) -> Result<Services> {
    let mut services = stores(s3_kind, keep)?;
    services.variables.extend(tools::variables()?);
    Ok(services)
}

/// Installs what all of them need, if it is missing.
pub fn install() -> Result<()> {
    install::ensure(&[&install::POSTGRES, &install::NATS])?;
    tools::variables().map(drop)
}

/// Starts what a server stands on, without what only tests speak to.
pub fn stores(s3_kind: S3Kind, keep: bool) -> Result<Services> {
    install::ensure(&[&install::POSTGRES, &install::NATS])?;
    let folder = fresh_folder()?;
    let mut services = Services { running: Vec::new(), folder: folder.clone(), keep, variables: Vec::new() };
    services.add(postgres::start(&folder)?);
    services.add(nats::start(&folder)?);
    services.add(match s3_kind {
        S3Kind::S3s => s3::start(&folder)?,
        S3Kind::Garage => garage::start(&folder)?,
    });
    Ok(services)
}

/// A started service and the variables that lead to it.
type Started = (Service, Vec<(&'static str, String)>);

impl Services {
    fn add(&mut self, (service, variables): Started) {
        println!("{:<10} {}", service.name, variables[0].1);
        self.running.push(service);
        self.variables.extend(variables);
    }

    /// The value of one of the variables.
    pub fn variable(&self, name: &str) -> Result<String> {
        let found = self.variables.iter().find(|(of, _)| *of == name);
        found.map(|(_, value)| value.clone()).ok_or_else(|| Failure(format!("no service gave {name}")))
    }

    /// Makes a bucket: to s3s, that is a folder.
    pub fn make_bucket(&self, name: &str) -> Result<()> {
        folder_for(&self.folder, &format!("s3/data/{name}"), None).map(drop)
    }

    /// The names and last lines of those that died although nobody stopped them.
    pub fn dead(&mut self) -> Vec<String> {
        self.running.iter_mut().filter_map(Service::obituary).collect()
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.running.clear();
        if self.keep {
            println!("kept until the next run: {}", self.folder.display());
        } else if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            eprintln!("could not remove {}: {error}", self.folder.display());
        }
    }
}

/// `cargo xtask services`.
pub fn keep(options: &Options) -> Result<()> {
    let mut services = start(options.s3, false)?;
    let exports = services.variables.iter().map(|(name, value)| format!("export {name}='{value}'\n"));
    let lines = exports.collect::<Vec<_>>().concat();
    if let Some(file) = &options.env_file {
        std::fs::write(file, &lines).doing(format!("write {}", file.display()))?;
    }
    println!("\n{lines}\nPress Ctrl-C to stop them.");
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
        let dead = services.dead();
        if !dead.is_empty() {
            return Err(Failure(dead.join("\n")));
        }
    }
}

/// A new folder that other users (Postgres) may walk through; short, because it holds a Unix socket.
pub fn fresh_folder() -> Result<PathBuf> {
    sweep();
    let folder =
        std::env::temp_dir().join(format!("lockstep-xtask-{}-{}", std::process::id(), random_hex(4)?));
    std::fs::create_dir(&folder).doing(format!("create {}", folder.display()))?;
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o755))
        .doing("open the folder to Postgres")?;
    Ok(folder)
}

/// Removes what runs left behind that were killed, or told to keep it: the folders whose process is gone.
fn sweep() {
    if !Path::new("/proc/self").exists() {
        return;
    }
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix("lockstep-xtask-").and_then(|rest| rest.split('-').next());
        let owner = owner.and_then(|owner| owner.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner.to_string()).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A subfolder of its own for one service, owned by `owner` when that is another user.
pub fn folder_for(parent: &Path, name: &str, owner: Option<(u32, u32)>) -> Result<PathBuf> {
    let folder = parent.join(name);
    std::fs::create_dir_all(&folder).doing(format!("create {}", folder.display()))?;
    if let Some((user, group)) = owner {
        std::os::unix::fs::chown(&folder, Some(user), Some(group)).doing("give the folder to its service")?;
    }
    Ok(folder)
}

/// A port that was free a moment ago.
pub fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).doing("find a free port")?;
    Ok(listener.local_addr().doing("find a free port")?.port())
}

/// Random bytes in hex, for folder names and the keys of test servers.
pub fn random_hex(bytes: usize) -> Result<String> {
    let mut buffer = vec![0; bytes];
    let mut source = std::fs::File::open("/dev/urandom").doing("open /dev/urandom")?;
    source.read_exact(&mut buffer).doing("read /dev/urandom")?;
    Ok(buffer.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat())
}
