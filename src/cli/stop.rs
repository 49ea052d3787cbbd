//! A polite stop: SIGTERM or Ctrl-C.

use std::io;

/// What the system is asked to tell instead of ending the process. It is told from [`Asked::listen`] on, also before
/// somebody waits for it.
#[cfg(unix)]
pub struct Asked {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Asked {
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns when the process was asked to stop.
    pub async fn came(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
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
