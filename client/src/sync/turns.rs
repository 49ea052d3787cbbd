//! A server gives a device one live socket, and whoever asks for it later takes it over. The processes of a profile tell
//! each other by a lock whether one of them has it, so that they do not chase each other for it.

use std::{
    fs::{File, OpenOptions},
    io,
};

use crate::{engine::Engine, profile::SOCKET};

impl Engine {
    fn socket_file(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(self.home.join(SOCKET))
    }

    /// Has the socket for as long as the answer lives. Several may for a moment: one hears only later that it was taken
    /// over. Where it cannot be said, another takes it over once more than it had to.
    pub(super) fn has_socket(&self) -> Option<File> {
        let file = self.socket_file().ok()?;
        file.try_lock_shared().ok()?;
        Some(file)
    }

    /// Whether no process of this profile has the socket.
    pub(super) fn socket_is_free(&self) -> bool {
        self.socket_file().is_ok_and(|file| file.try_lock().is_ok())
    }
}
