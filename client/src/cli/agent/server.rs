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

use super::{Answer, Ask, Start, same_user, socket};

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
    let served = serve(&listener, start.key, Duration::from_secs(start.idle_seconds)).await;
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

async fn serve(listener: &UnixListener, key: Secret, idle: Duration) -> io::Result<()> {
    let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup())?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut deadline = Instant::now() + idle;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(deadline) => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            // Closing the terminal must not lock the vault in the others.
            _ = hangup.recv() => {}
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                // One after the other: an answer takes microseconds, and a slow client is cut off.
                match tokio::time::timeout(PATIENCE, answer(stream, &key, deadline)).await {
                    Ok(Ok(Some(Ask::Key))) => deadline = Instant::now() + idle,
                    Ok(Ok(Some(Ask::Lock))) => return Ok(()),
                    _ => {}
                }
            }
        }
    }
}

async fn answer(stream: UnixStream, key: &Secret, deadline: Instant) -> io::Result<Option<Ask>> {
    if !same_user(&stream)? {
        return Ok(None);
    }
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(tokio::io::AsyncReadExt::take(reader, 64)).read_line(&mut line).await?;
    let ask: Ask = serde_json::from_str(&line).map_err(io::Error::other)?;
    let answer = match ask {
        Ask::Key => Answer::Key(key.clone()),
        Ask::Status => Answer::Status(deadline.saturating_duration_since(Instant::now()).as_secs()),
        Ask::Lock => Answer::Locked,
    };
    let mut text = zeroize::Zeroizing::new(serde_json::to_vec(&answer).map_err(io::Error::other)?);
    text.push(b'\n');
    writer.write_all(&text).await?;
    Ok(Some(ask))
}
