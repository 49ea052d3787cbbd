//! The agent: a small process that keeps one profile unlocked, so that successive commands ask no password.
//!
//! It holds the profile's local key and nothing else; it never talks to the server. It listens on a Unix socket of
//! mode 0600 in the profile's directory (mode 0700), answers only processes of the same user, and ends itself when
//! nobody has asked for the key for fifteen minutes, or as long as the person said.

pub mod client;
pub mod server;

use std::{io, path::Path};

use lockstep_client::porting::Secret;
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

fn socket(home: &Path) -> io::Result<std::path::PathBuf> {
    let path = home.join(SOCKET);
    if path.as_os_str().len() > MAX_PATH {
        let text = "the path of the profile is too long for the agent's socket (at most 90 bytes)";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(path)
}

/// Whether the other end belongs to the same user.
fn same_user(stream: &UnixStream) -> io::Result<bool> {
    let (own, _other) = UnixStream::pair()?;
    Ok(stream.peer_cred()?.uid() == own.peer_cred()?.uid())
}
