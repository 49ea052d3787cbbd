//! The agent's own process.

use std::{
    fs,
    io::{self, BufRead, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::Duration,
};

use lockstep_client::porting::Secret;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    time::Instant,
};

use super::{Answer, Ask, Start, belongs_to, own_user, socket};

/// A client that does not say what it wants for so long is dropped.
const PATIENCE: Duration = Duration::from_secs(2);

/// Reads the key from standard input, says `ready` on standard output, and serves until it locks.
///
/// # Errors
/// If the socket cannot be made, for example because another agent serves this profile.
pub async fn run(home: &Path) -> io::Result<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let start: Start = serde_json::from_str(&line).map_err(io::Error::other)?;
    zeroize::Zeroize::zeroize(&mut line);
    let path = socket(home)?;
    let listener = bind(&path).await?;
    let mut out = io::stdout().lock();
    out.write_all(b"ready\n")?;
    out.flush()?;
    drop(out);
    let agent = Agent { key: start.key, idle: Duration::from_secs(start.idle_seconds), user: own_user()? };
    let served = agent.serve(&listener).await;
    fs::remove_file(&path)
        .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    served
}

async fn bind(path: &Path) -> io::Result<UnixListener> {
    if path.exists() {
        if UnixStream::connect(path).await.is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another agent serves this profile"));
        }
        // Left behind by an agent that was killed.
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// What it holds, for whom and how long.
struct Agent {
    key: Secret,
    /// It locks when nobody asked for the key for so long.
    idle: Duration,
    /// Whose processes are answered.
    user: u32,
}

impl Agent {
    async fn serve(&self, listener: &UnixListener) -> io::Result<()> {
        let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let mut deadline = Instant::now() + self.idle;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                // Closing the terminal must not lock the vault in the others.
                _ = hangup.recv() => {}
                accepted = listener.accept() => {
                    let (stream, _) = accepted?;
                    // One after the other: an answer takes microseconds, and a slow client is cut off.
                    match tokio::time::timeout(PATIENCE, self.answer(stream, deadline)).await {
                        Ok(Ok(Some(Ask::Key))) => deadline = Instant::now() + self.idle,
                        Ok(Ok(Some(Ask::Lock))) => return Ok(()),
                        _ => {}
                    }
                }
            }
        }
    }

    async fn answer(&self, stream: UnixStream, deadline: Instant) -> io::Result<Option<Ask>> {
        if !belongs_to(&stream, self.user)? {
            return Ok(None);
        }
        let (reader, mut writer) = stream.into_split();
        let mut line = String::new();
        BufReader::new(tokio::io::AsyncReadExt::take(reader, 64)).read_line(&mut line).await?;
        let ask: Ask = serde_json::from_str(&line).map_err(io::Error::other)?;
        let answer = match ask {
            Ask::Key => Answer::Key(self.key.clone()),
            Ask::Status => Answer::Status(deadline.saturating_duration_since(Instant::now()).as_secs()),
            Ask::Lock => Answer::Locked,
        };
        let mut text = zeroize::Zeroizing::new(serde_json::to_vec(&answer).map_err(io::Error::other)?);
        text.push(b'\n');
        writer.write_all(&text).await?;
        Ok(Some(ask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::agent::client;

    /// An agent of some user that serves a profile until it locks.
    async fn serving(home: &Path, idle: Duration, user: u32) -> tokio::task::JoinHandle<io::Result<()>> {
        let listener = bind(&socket(home).unwrap()).await.unwrap();
        let agent = Agent { key: "the key".into(), idle, user };
        tokio::spawn(async move { agent.serve(&listener).await })
    }

    #[tokio::test]
    async fn an_agent_locks_by_itself_when_nobody_has_asked_for_the_key_for_so_long() {
        let home = tempfile::tempdir().unwrap();
        let idle = Duration::from_secs(6);
        let mut agent = serving(home.path(), idle, own_user().unwrap()).await;
        tokio::time::sleep(idle / 2).await;
        // Whoever asks for the key puts it off.
        let asked = Instant::now();
        assert_eq!(client::key(home.path()).await.unwrap().as_str(), "the key");
        // Asking how long it goes on puts nothing off.
        while client::locks_in(home.path()).await.is_some() {
            assert!(asked.elapsed() < Duration::from_secs(60), "it does not lock");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        (&mut agent).await.unwrap().unwrap();
        assert!(asked.elapsed() >= idle, "{:?}", asked.elapsed());
        assert!(client::key(home.path()).await.is_none());
    }

    #[tokio::test]
    async fn an_agent_gives_a_process_of_another_user_no_word() {
        let home = tempfile::tempdir().unwrap();
        let agent = serving(home.path(), Duration::from_secs(60), own_user().unwrap() + 1).await;
        assert!(client::key(home.path()).await.is_none());
        assert!(client::locks_in(home.path()).await.is_none());
        assert!(!client::lock(home.path()).await);
        assert!(!agent.is_finished(), "nor does it obey one");
        agent.abort();
    }

    #[tokio::test]
    async fn what_another_user_listens_with_is_not_asked() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let own = own_user().unwrap();
        assert!(belongs_to(&ours, own).unwrap());
        assert!(!belongs_to(&ours, own + 1).unwrap());
    }
}
