//! The agent: a small process that keeps one profile unlocked, so that successive commands ask no password.
//!
//! It holds the profile's local key and nothing else; it never talks to the server. It listens on a Unix socket of
//! mode 0600 in the profile's directory (mode 0700; a path that is too long for a socket is replaced), answers only processes of the same user, and ends itself when
//! nobody has asked for the key for fifteen minutes, or as long as the person said.

pub mod client;
pub mod server;

use std::{
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use lockstep_client::porting::Secret;
use lockstep_events::canonical::sha256;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

/// The socket in the profile's directory.
const SOCKET: &str = "agent.sock";
/// A socket's path has to fit `sockaddr_un`.
const MAX_PATH: usize = 100;

/// What a command asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Ask {
    /// The key; the time until it locks starts anew.
    Key,
    /// Whether it is there and for how long.
    Status,
    /// Forget the key and end.
    Lock,
}

/// What the agent answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// The local key as its token.
    Key(Secret),
    /// Seconds until it locks by itself.
    Status(u64),
    /// It has forgotten the key.
    Locked,
}

/// What the agent is started with, on its standard input.
#[derive(Debug, Serialize, Deserialize)]
struct Start {
    key: Secret,
    idle_seconds: u64,
}

/// Where the agent of a profile listens: in the profile's directory, or if that path does not fit, in a folder of this
/// user's own, under a name that is made of it.
fn socket(home: &Path) -> io::Result<PathBuf> {
    let path = home.join(SOCKET);
    if path.as_os_str().len() <= MAX_PATH {
        return Ok(path);
    }
    // One profile, however it is named.
    let whole = std::fs::canonicalize(home)?;
    let name = hex::encode(&sha256(whole.as_os_str().as_bytes())[..8]);
    let path = folder()?.join(format!("{name}.sock"));
    if path.as_os_str().len() > MAX_PATH {
        let text =
            "the path of the profile is too long for the agent's socket, and so is that of a folder for it";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(path)
}

/// A folder for sockets that nobody else can write to: of the session, or else among the temporary files.
fn folder() -> io::Result<PathBuf> {
    let user = own_user()?;
    let (parent, name) = match std::env::var_os("XDG_RUNTIME_DIR").filter(|set| !set.is_empty()) {
        Some(session) => (PathBuf::from(session), "lockstep".to_owned()),
        None => (std::env::temp_dir(), format!("lockstep-{user}")),
    };
    let folder = parent.join(name);
    match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // It may have been there, made by anybody, and be a link to anywhere.
    let found = std::fs::symlink_metadata(&folder)?;
    if found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0 {
        return Ok(folder);
    }
    let text =
        format!("{} is not a folder of yours alone: the agent does not listen there", folder.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}

fn own_user() -> io::Result<u32> {
    Ok(UnixStream::pair()?.0.peer_cred()?.uid())
}

/// Whether the process at the other end belongs to a user.
fn belongs_to(stream: &UnixStream, user: u32) -> io::Result<bool> {
    Ok(stream.peer_cred()?.uid() == user)
}
