//! Talking to the agent.

use std::{
    ffi::OsString,
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use lockstep_client::porting::Secret;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
};

use super::{Answer, Ask, Start, belongs_to, own_user, socket};

const PATIENCE: Duration = Duration::from_secs(2);

/// What the agent is told of the environment: where things are, and nothing that may be secret.
const KEPT: &[&str] = &["HOME", "PATH", "TMPDIR", "XDG_RUNTIME_DIR", "LD_LIBRARY_PATH", "LOCKSTEP_HOME"];

/// The key, if an agent holds it.
pub async fn key(home: &Path) -> Option<Secret> {
    match ask(home, &Ask::Key).await {
        Some(Answer::Key(key)) => Some(key),
        _ => None,
    }
}

/// Seconds until the agent locks; none if there is no agent.
pub async fn locks_in(home: &Path) -> Option<u64> {
    match ask(home, &Ask::Status).await {
        Some(Answer::Status(seconds)) => Some(seconds),
        _ => None,
    }
}

/// Ends the agent; false if there was none.
pub async fn lock(home: &Path) -> bool {
    ask(home, &Ask::Lock).await.is_some()
}

async fn ask(home: &Path, ask: &Ask) -> Option<Answer> {
    let talk = async {
        let stream = UnixStream::connect(socket(home)?).await?;
        if !belongs_to(&stream, own_user()?)? {
            return Err(io::Error::other("the agent belongs to another user"));
        }
        let (reader, mut writer) = stream.into_split();
        let mut text = serde_json::to_vec(ask).map_err(io::Error::other)?;
        text.push(b'\n');
        writer.write_all(&text).await?;
        let mut line = zeroize::Zeroizing::new(String::new());
        BufReader::new(reader).read_line(&mut line).await?;
        serde_json::from_str(&line).map_err(io::Error::other)
    };
    tokio::time::timeout(PATIENCE, talk).await.ok()?.ok()
}

/// Starts an agent that outlives this command, and waits until it serves. One that runs already is ended first.
///
/// # Errors
/// If it cannot be started or does not come up.
pub async fn start(home: &Path, key: Secret, idle: Duration) -> io::Result<()> {
    socket(home)?;
    if lock(home).await {
        wait_until_gone(home).await?;
    }
    let start = Start { key, idle_seconds: idle.as_secs() };
    let mut text = zeroize::Zeroizing::new(serde_json::to_vec(&start).map_err(io::Error::other)?);
    text.push(b'\n');
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--home").arg(home).arg("agent").process_group(0);
    keep_little(&mut command, |name| std::env::var_os(name));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = tokio::process::Command::from(command).kill_on_drop(false).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&text).await?;
    }
    let mut ready = String::new();
    if let Some(stdout) = child.stdout.take() {
        let read = async { BufReader::new(stdout).read_line(&mut ready).await };
        tokio::time::timeout(Duration::from_secs(10), read).await??;
    }
    if ready == "ready\n" { Ok(()) } else { Err(io::Error::other("the agent did not start")) }
}

/// The agent must neither keep the terminal nor what is in the environment here, for as long as it runs.
fn keep_little(command: &mut Command, variable: impl Fn(&str) -> Option<OsString>) {
    command.env_clear().envs(KEPT.iter().filter_map(|name| Some((name, variable(name)?)))).current_dir("/");
}

async fn wait_until_gone(home: &Path) -> io::Result<()> {
    for _ in 0..100 {
        if UnixStream::connect(socket(home)?).await.is_err() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(io::Error::other("the agent that runs already does not end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_gets_nothing_of_the_environment_but_where_things_are() {
        let mut command = Command::new("/usr/bin/env");
        command.env("LOCKSTEP_PASSWORD", "violet");
        keep_little(&mut command, |name| Some(name.to_lowercase().into()));
        let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let mut kept: Vec<String> =
            KEPT.iter().map(|name| format!("{name}={}", name.to_lowercase())).collect();
        let mut said: Vec<&str> = said.lines().collect();
        kept.sort_unstable();
        said.sort_unstable();
        assert_eq!(said, kept);
    }
}
