//! `lockstepd` as a process of its own: it can be killed, and what it costs can be read from the system.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

/// A running `lockstepd`. Killed when dropped.
pub struct Lockstepd {
    child: Child,
    pub addr: SocketAddr,
    said: Arc<Mutex<String>>,
}

impl Lockstepd {
    /// Starts the program on a data folder; `options` are environment variables.
    pub fn start(program: &str, data: &Path, listen: &str, options: &[(String, String)]) -> Self {
        Self::start_writing(program, data, listen, options, Stdio::inherit())
    }

    /// As [`Self::start`]; what it logs goes to `errors`.
    pub fn start_writing(
        program: &str,
        data: &Path,
        listen: &str,
        options: &[(String, String)],
        errors: Stdio,
    ) -> Self {
        let mut child = Command::new(program)
            .args(["serve", "--listen", listen, "--data"])
            .arg(data)
            // Tests and measurements are faster than people; `options` may say otherwise.
            .env("LOCKSTEP_RATE_LIMIT_FACTOR", "1000000")
            .env("LOCKSTEP_LOG_FILTER", "warn")
            .envs(options.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split_once("https://").map(|p| p.1.to_owned()));
        let addr = url.expect("lockstepd did not start").trim().parse().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.lock().unwrap().push_str(&line);
            }
        });
        Self { child, addr, said }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// What it has said on its standard output after its address.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Processor time so far, in seconds.
    pub fn cpu(&self) -> f64 {
        cpu(self.child.id())
    }

    /// Resident memory now and at most, in bytes.
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
        };
        (field("VmRSS:"), field("VmHWM:"))
    }
}

/// Processor time that a process has taken so far, in seconds.
pub fn cpu(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

impl Drop for Lockstepd {
    fn drop(&mut self) {
        self.kill();
    }
}
