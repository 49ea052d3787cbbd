//! One service process: started in its own process group, watched, and stopped however we end.

use crate::process::{Doing, Failure, Result};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a service may take to answer, and to stop.
const READY_WITHIN: Duration = Duration::from_mins(1);
const STOPPED_WITHIN: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);

/// Runs the service and stops it when the pipe on its own stdin closes: when we drop it, and when we die, be it by
/// Ctrl-C or kill -9. The service's own end is this shell's end.
const KEEPER: &str = r#"
signal=$1; shift
exec 3<&0
"$@" </dev/null 3<&- &
service=$!
{ read -r _ <&3; kill -"$signal" "$service" 2>/dev/null; } &
reader=$!
wait "$service"; status=$?
kill "$reader" 2>/dev/null
exit "$status"
"#;

/// How to run a service.
pub struct Recipe<'a> {
    pub name: &'static str,
    pub program: &'a Path,
    pub arguments: Vec<String>,
    pub environment: Vec<(&'static str, String)>,
    pub folder: &'a Path,
    /// Another user to run as.
    pub owner: Option<(u32, u32)>,
    /// The signal that stops it at once and cleanly.
    pub signal: &'static str,
}

/// A running service; dropping it stops it.
pub struct Service {
    pub name: &'static str,
    keeper: Child,
    log: PathBuf,
}

impl Service {
    /// Starts it and waits until `ready` says yes.
    pub fn start(recipe: &Recipe<'_>, ready: impl Fn() -> bool) -> Result<Self> {
        let log = recipe.folder.join("log");
        let output = File::create(&log).doing(format!("create {}", log.display()))?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", KEEPER, recipe.name, recipe.signal]).arg(recipe.program).args(&recipe.arguments);
        command.envs(recipe.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(recipe.folder).process_group(0).stdin(Stdio::piped());
        command.stdout(output.try_clone().doing("share the log")?).stderr(output);
        if let Some((user, group)) = recipe.owner {
            command.uid(user).gid(group);
        }
        let keeper = command.spawn().doing(format!("start {}", recipe.name))?;
        let mut service = Self { name: recipe.name, keeper, log };
        service.wait_until(ready)?;
        Ok(service)
    }

    fn wait_until(&mut self, ready: impl Fn() -> bool) -> Result<()> {
        let started = Instant::now();
        while !ready() {
            if let Some(obituary) = self.obituary() {
                return Err(Failure(obituary));
            }
            if started.elapsed() > READY_WITHIN {
                return Err(Failure(format!("{} does not answer\n{}", self.name, self.last_lines())));
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Its last words, if it has ended.
    pub fn obituary(&mut self) -> Option<String> {
        let status = self.keeper.try_wait().ok().flatten()?;
        Some(format!("{} died ({status})\n{}", self.name, self.last_lines()))
    }

    /// The end of its log.
    pub fn last_lines(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(40)..];
        tail.iter().map(|line| format!("  {} | {line}\n", self.name)).collect::<Vec<_>>().concat()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let asked = Instant::now();
        while asked.elapsed() < STOPPED_WITHIN {
            if !matches!(self.keeper.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(POLL);
        }
        eprintln!("{} does not stop; killing its process group", self.name);
        let kill = format!("kill -s KILL -- -{}", self.keeper.id());
        let _ = Command::new("/bin/sh").args(["-c", &kill]).status();
        let _ = self.keeper.wait();
    }
}

/// Whether something accepts connections there.
pub fn accepts(port: u16) -> bool {
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}
