//! A polite stop: SIGTERM, Ctrl-C, or the end of the terminal that the server was started in.

use std::io;
#[cfg(unix)]
use std::io::IsTerminal;

/// What the system is asked to tell instead of ending the process. It is told from [`Asked::listen`] on, also before
/// somebody waits for it. Where there is no terminal a SIGHUP says that a certificate was renewed, and ends nothing.
#[cfg(unix)]
pub struct Asked {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    has_terminal: bool,
}

#[cfg(unix)]
impl Asked {
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            has_terminal: io::stdin().is_terminal(),
        })
    }

    /// Returns when the process was asked to stop.
    pub async fn came(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv(), if self.has_terminal => {}
        }
    }
}

#[cfg(windows)]
pub struct Asked(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Asked {
    pub fn listen() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    pub async fn came(&mut self) {
        self.0.recv().await;
    }
}
