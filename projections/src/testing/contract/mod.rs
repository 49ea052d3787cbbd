//! The contract suite of the read store: every adapter passes all of it.
//!
//! Each check gets stores that nobody else uses. [`crate::read_store_contract`] makes a test of every check.

mod devices;
mod folding;
mod keeping;
mod rebuilding;
mod sessions;

pub use devices::*;
pub use folding::*;
pub use keeping::*;
pub use rebuilding::*;
pub use sessions::*;

use std::sync::Arc;

use lockstep_events::{EventLog, Position, testing::MemoryLog};
use uuid::Uuid;

use crate::{
    Projection, ReadStore,
    store::{Checksum, Generation},
};

/// A new log.
pub fn memory_log() -> Arc<dyn EventLog> {
    Arc::new(MemoryLog::new(Uuid::from_u128(1)))
}

/// The checksums of all live read models.
///
/// # Panics
/// If the store does not answer.
pub async fn live_checksums(reads: &dyn ReadStore) -> Vec<Checksum> {
    let mut all = Vec::new();
    for projection in Projection::ALL {
        let live = reads.checkpoint(projection).await.unwrap().live;
        all.push(reads.checksum(projection, live).await.unwrap());
    }
    all
}

async fn live(reads: &dyn ReadStore, projection: Projection) -> (Generation, Position) {
    let at = reads.checkpoint(projection).await.unwrap();
    (at.live, at.position)
}

/// Makes a test of every check of the suite. `$open` is an async function that opens a new, empty store.
#[macro_export]
macro_rules! read_store_contract {
    ($open:expr) => {
        $crate::read_store_contract!(@ $open;
            a_new_store_is_empty_at_position_zero
            rows_of_every_kind_come_back_as_they_were_written
            rows_and_checkpoint_move_together
            a_commit_from_another_position_is_refused_and_writes_nothing
            a_commit_may_advance_one_family_alone
            a_put_replaces_and_a_delete_removes
            rows_that_are_called_new_replace_what_stands
            clearing_a_vault_removes_its_entries_and_versions_in_this_generation_alone
            thousands_of_rows_fit_into_one_commit_and_one_load
            lists_are_in_order_and_pages_join_without_gap_or_repetition
            accounts_are_paged_in_order_of_id
            nothing_of_another_vault_is_ever_listed
            checksums_depend_on_rows_and_not_on_the_order_of_writing
            a_generation_is_invisible_until_it_is_switched
            a_switch_to_a_generation_that_is_behind_is_refused
            a_follower_meets_moved_after_a_switch
            the_live_generation_cannot_be_dropped
            starting_a_generation_deletes_what_a_killed_rebuild_left
            a_script_folds_to_the_same_rows_in_batches_of_any_size
            two_runners_on_one_store_apply_every_event_once
            a_device_id_that_two_accounts_have_names_two_devices
            what_is_said_of_a_session_that_was_not_opened_raises_the_auth_epoch_at_most
            a_batch_that_does_not_join_on_makes_the_runner_read_the_log
            an_unknown_kind_stops_its_family_and_no_other
            waiting_ends_when_the_position_is_visible
            a_rebuild_gives_the_rows_that_following_gave
            a_rebuild_of_an_empty_log_ends
            a_killed_rebuild_leaves_the_live_rows_and_can_start_again
            a_rebuild_ends_exact_while_the_log_grows_and_a_runner_follows
            a_runner_that_holds_no_rows_goes_on_in_the_generation_of_a_rebuild
            a_family_that_stopped_goes_on_where_a_rebuild_has_come_since
            one_at_a_time_has_the_right_to_rebuild
        );
    };
    (@ $open:expr; $($check:ident)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $check() {
            let store: std::sync::Arc<dyn $crate::ReadStore> = std::sync::Arc::new($open().await);
            $crate::testing::contract::$check(store).await;
        }
    )+};
}
