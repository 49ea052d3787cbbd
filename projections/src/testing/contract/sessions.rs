//! Sessions that the log did not open.

use std::{ops::ControlFlow, sync::Arc};

use lockstep_events::{
    SessionId,
    event::{AccountEvent, RefreshReused, RevokeReason, SessionRefreshed, SessionRevoked},
};
use uuid::Uuid;

use super::{
    devices::{account, begun, happen},
    memory_log,
    rebuilding::rebuild,
};
use crate::{Family, ReadStore, Runner};

/// The credential store knows of a session before the log does, and may know of one that the log never opened: its
/// enrolment was overtaken, or the log is an older copy.
pub async fn what_is_said_of_a_session_that_was_not_opened_raises_the_auth_epoch_at_most(
    reads: Arc<dyn ReadStore>,
) {
    let log = memory_log();
    let mut runner = Runner::start(Arc::clone(&log), Arc::clone(&reads)).await.unwrap();
    happen(&log, account(1), begun(1)).await;
    let (session, generation, reason) = (SessionId(Uuid::from_u128(0x99)), 3, RevokeReason::Logout);
    let said = [
        (AccountEvent::SessionRefreshed(SessionRefreshed { session, generation }), 0),
        (AccountEvent::SessionRevoked(SessionRevoked { session, reason }), 5),
        (AccountEvent::RefreshReused(RefreshReused { session, generation }), 6),
    ];
    for (event, auth_epoch) in said {
        happen(&log, account(1), vec![event]).await;
        assert_eq!(runner.catch_up().await.unwrap(), log.tail().await.unwrap().position);
        assert_eq!(reads.account(account(1)).await.unwrap().unwrap().auth_epoch, auth_epoch);
        let sessions = reads.sessions(account(1)).await.unwrap();
        let seen: Vec<_> = sessions.iter().map(|row| (row.generation, row.revoked)).collect();
        assert_eq!(seen, [(0, None)], "the one that was opened, as it was");
    }
    let mut on = |_| ControlFlow::Continue(());
    let done = rebuild(&log, &reads).run(Family::Account, &mut on).await.unwrap();
    assert!(done.identical(), "{done:?}");
}
