//! How the rest of the node reaches one socket: wake it up, or have it closed. Never waits, holds no data.

use std::sync::atomic::{AtomicU64, Ordering};

use lockstep_api::live::close;
use tokio::sync::Notify;

/// Why a socket must end, and when its client may come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Close {
    /// The close code.
    pub code: u16,
    /// Come back after so many to so many milliseconds; at most 2^24.
    pub wait_ms: (u32, u32),
}

impl Close {
    /// A close code whose clients use their own back-off.
    pub const fn now(code: u16) -> Self {
        Self { code, wait_ms: (0, 0) }
    }

    /// The server stops; this client's own slot.
    pub const fn draining(wait_ms: (u32, u32)) -> Self {
        Self { code: close::DRAINING, wait_ms }
    }

    const fn packed(self) -> u64 {
        let (from, to) = self.wait_ms;
        (self.code as u64) << 48 | ((from & 0xff_ffff) as u64) << 24 | (to & 0xff_ffff) as u64
    }

    const fn unpacked(packed: u64) -> Self {
        let (from, to) = ((packed >> 24 & 0xff_ffff) as u32, (packed & 0xff_ffff) as u32);
        Self { code: (packed >> 48) as u16, wait_ms: (from, to) }
    }
}

/// One socket, long-poll or event stream, seen from the rest of the node.
#[derive(Debug)]
pub struct Signal {
    /// Its name in this process.
    pub id: u64,
    news: Notify,
    close: AtomicU64,
}

impl Default for Signal {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), news: Notify::const_new(), close: AtomicU64::new(0) }
    }
}

impl Signal {
    /// There may be news. Many calls before the socket looks are one.
    pub fn wake(&self) {
        self.news.notify_one();
    }

    /// The socket must end. The first reason stays.
    pub fn close(&self, why: Close) {
        let _ = self.close.compare_exchange(0, why.packed(), Ordering::AcqRel, Ordering::Acquire);
        self.news.notify_one();
    }

    /// Why the socket must end, if it must.
    pub fn closed(&self) -> Option<Close> {
        match self.close.load(Ordering::Acquire) {
            0 => None,
            packed => Some(Close::unpacked(packed)),
        }
    }

    /// Waits for the next call of [`Self::wake`] or [`Self::close`], or for one that was not yet seen.
    pub async fn woken(&self) {
        self.news.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_to_close_stays_and_is_told_whole() {
        let signal = Signal::default();
        assert_eq!(signal.closed(), None);
        signal.close(Close::draining((1_500, 29_999)));
        signal.close(Close::now(close::REVOKED));
        assert_eq!(signal.closed(), Some(Close { code: 4503, wait_ms: (1_500, 29_999) }));
    }
}
