//! The twelve ways in which sync engines really lost data, and six in which who may speak is got wrong. Each is built
//! into the model on demand, and the checks have to catch it: a check that catches nothing proves nothing.

/// A deliberately broken variant of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server takes pushes without comparing the epoch.
    PushWithoutEpoch,
    /// The server gives a seq before the commit: a reader can see 6 before 5.
    SeqBeforeCommit,
    /// The server recognises a retry only while the version is still a head (Etebase).
    IdempotencyAgainstHead,
    /// The device takes the head in a push's answer as its cursor (Standard Notes).
    CursorMovedByPushAnswer,
    /// The device stores its cursor before it applies the page (`PouchDB` #1240).
    CheckpointBeforeApply,
    /// A delete names only the winner (`CouchDB`).
    DeleteNamesOnlyWinner,
    /// A merge takes away heads that it does not name.
    MergeSwallowsUnnamedHeads,
    /// The server appends a retry again.
    NoDedupe,
    /// The device applies a live frame that does not join on to its cursor.
    FrameOverGap,
    /// A restore keeps the epoch.
    RestoreWithoutNewEpoch,
    /// A reset wipes the device.
    WipeOnReset,
    /// The device moves its unsent edits onto heads that the user has not seen.
    ReparentUnsent,
    /// The server goes on taking what a revoked device pushes.
    TakesFromRevoked,
    /// The server goes on feeding a revoked device that is connected.
    FeedsRevoked,
    /// A device that is told of its revocation throws away what it has not sent.
    RevocationEmptiesOutbox,
    /// A device that joins does not believe what a device wrote that was revoked since.
    JoinerDistrustsRevoked,
    /// The server takes a push under a token that has run out.
    TakesEndedToken,
    /// A renewal that is sent again, because its answer was lost, ends the session.
    RetriedRenewalEndsSession,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::PushWithoutEpoch,
        Self::SeqBeforeCommit,
        Self::IdempotencyAgainstHead,
        Self::CursorMovedByPushAnswer,
        Self::CheckpointBeforeApply,
        Self::DeleteNamesOnlyWinner,
        Self::MergeSwallowsUnnamedHeads,
        Self::NoDedupe,
        Self::FrameOverGap,
        Self::RestoreWithoutNewEpoch,
        Self::WipeOnReset,
        Self::ReparentUnsent,
        Self::TakesFromRevoked,
        Self::FeedsRevoked,
        Self::RevocationEmptiesOutbox,
        Self::JoinerDistrustsRevoked,
        Self::TakesEndedToken,
        Self::RetriedRenewalEndsSession,
    ];
}

/// An invariant of the protocol that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its name in sync.md §10: `S1` … `S12`, `C1` … `C6`, `L1` …, `D1`; or here: `A1` … `A4` (see `access`).
    pub invariant: &'static str,
    /// What was seen.
    pub seen: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} does not hold: {}", self.invariant, self.seen)
    }
}

/// What every step and every check answers.
pub type Held = Result<(), Violation>;

/// An invariant holds, or says what was seen instead.
///
/// # Errors
/// The violation.
pub fn hold(invariant: &'static str, holds: bool, seen: impl FnOnce() -> String) -> Held {
    if holds { Ok(()) } else { Err(Violation { invariant, seen: seen() }) }
}
