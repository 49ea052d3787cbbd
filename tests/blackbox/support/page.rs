//! What the server writes, in memory.

use std::{
    io,
    sync::{Arc, Mutex},
};

/// What servers in this process have written, as much as they ever write. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Page(pub Arc<Mutex<Vec<u8>>>);

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
