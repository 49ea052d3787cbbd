//! The contract suite: every promise of [`crate::log`] as a case that any log must pass, each on an empty log.
//!
//! `log_contract!(open)` makes one test per case; `open` is an async function that answers an [`Opened`] log.

mod contents;
mod duplicates;
mod places;
mod preconditions;
mod reads;
mod requires;
mod streams;
mod units;

use std::{any::Any, sync::Arc};

pub use self::{
    contents::*, duplicates::*, places::*, preconditions::*, reads::*, requires::*, streams::*, units::*,
};
use crate::{
    Chain, EventLog, Micros, Outcome, Position, Recorded, Unit,
    log::{Contents, Filter, StreamHead},
    testing::build::stream,
};

/// An empty log, and what must live as long as it.
pub struct Opened {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// A folder, a database, a connection.
    pub keep: Box<dyn Any + Send>,
}

/// One test per case of the contract.
#[macro_export]
macro_rules! log_contract {
    ($open:path) => {
        $crate::log_contract! { @ $open;
            an_empty_log_has_nothing_and_its_tail_is_zero
            positions_and_seqs_count_from_one_without_a_gap
            refused_units_burn_no_number
            recorded_at_rises_strictly_while_the_clock_stands_still
            recorded_at_rises_strictly_when_the_clock_goes_back
            recorded_at_is_the_clock_when_the_clock_is_ahead
            the_chain_of_every_stream_recomputes_from_its_events
            an_answer_is_what_a_reader_sees
            the_tail_is_the_last_event
            every_field_is_read_back_as_it_was_appended
            a_batch_of_thousands_of_events_is_one_append
            a_unit_over_several_streams_is_appended_as_a_whole
            a_refused_unit_leaves_nothing_behind
            a_refused_unit_refuses_only_itself
            outcomes_come_in_the_order_of_the_units
            an_empty_batch_appends_nothing
            a_malformed_unit_fails_the_call_and_nothing_is_appended
            a_unit_of_512_events_is_appended_and_one_of_513_is_not
            stream_none_lets_a_stream_begin_only_once
            stream_exists_needs_the_stream
            stream_exact_needs_the_last_seq
            stream_exact_zero_is_not_a_stream_that_does_not_exist
            stream_any_takes_both
            a_stream_keeps_the_kind_it_was_created_as
            a_claim_without_events_is_a_precondition_and_creates_nothing
            subject_none_needs_a_subject_without_events
            subject_exact_needs_the_last_event_about_it
            a_subject_belongs_to_its_stream
            a_precondition_sees_the_earlier_units_of_its_batch
            a_precondition_does_not_see_refused_units_of_its_batch
            a_conflict_names_every_claim_that_failed_in_order
            the_event_about_the_subject_before_is_named
            a_required_event_that_stands_is_found
            required_events_that_do_not_stand_are_all_named
            a_required_event_may_come_in_the_same_unit
            a_required_event_may_come_earlier_in_the_batch
            a_required_event_later_in_the_batch_does_not_count
            a_required_event_of_a_refused_unit_is_missing
            a_required_event_in_another_stream_is_missing
            a_conflict_is_answered_before_missing_events
            a_retry_is_answered_with_the_original_places
            a_retry_does_not_look_at_preconditions
            a_retry_does_not_look_at_required_events
            a_partly_known_unit_appends_only_the_rest
            a_partly_known_unit_keeps_its_preconditions
            a_used_id_with_another_body_is_refused_and_changes_nothing
            a_used_id_in_another_stream_is_refused
            the_same_unit_twice_in_a_batch_is_appended_once
            a_used_id_with_another_body_in_the_same_batch_is_refused
            an_id_that_was_refused_may_be_appended_later
            a_retry_from_another_device_is_the_same_event
            a_retry_after_the_stream_went_on_finds_its_place
            a_content_is_read_with_its_event
            a_read_brings_only_contents_up_to_its_limit
            a_read_for_a_device_leaves_out_what_came_from_it
            a_content_is_kept_once_in_a_stream
            a_content_belongs_to_its_stream
            erasing_a_content_changes_no_event
            a_retry_does_not_bring_an_erased_content_back
            a_new_event_may_bring_an_erased_content_back
            a_content_that_came_again_after_what_was_seen_is_not_erased
            contents_come_in_the_order_asked
            events_that_came_with_a_content_are_known_when_it_is_erased
            a_sealed_part_is_committed_to_by_its_hash
            a_sealed_part_is_read_by_its_event_and_by_its_person
            erasing_a_persons_sealed_parts_leaves_all_others_and_every_event
            erasing_sealed_parts_by_age_leaves_later_periods_and_those_without
            the_whole_log_is_read_page_by_page
            a_filter_by_stream_kind_leaves_the_others_out
            a_filter_by_kinds_leaves_the_others_out
            a_page_of_zero_is_empty
            a_place_beyond_the_end_reads_nothing
            a_stream_is_read_alone_and_in_order
            a_subject_is_read_alone_and_in_order
            events_are_found_in_the_order_asked
            heads_come_in_the_order_asked
            the_chain_at_every_seq_is_that_of_its_event
            the_unit_that_creates_a_stream_gives_its_epoch
            a_renewed_epoch_changes_nothing_else
            a_stream_that_does_not_exist_gets_no_epoch
            the_log_keeps_its_name
        }
    };
    (@ $open:path; $($case:ident)+) => {
        /// The names of all cases.
        #[allow(dead_code)]
        pub const CASES: &[&str] = &[$(stringify!($case)),+];
        $(
            #[tokio::test]
            async fn $case() {
                let opened = $open().await;
                $crate::testing::contract::$case(&*opened.log).await;
                drop(opened);
            }
        )+
    };
}

/// Appends a batch at time 1,000.
async fn append(log: &dyn EventLog, units: &[Unit]) -> Vec<Outcome> {
    log.append(units, Micros(1000)).await.unwrap()
}

/// Appends one unit at time 1,000.
async fn append_one(log: &dyn EventLog, unit: Unit) -> Outcome {
    let mut outcomes = append(log, &[unit]).await;
    assert_eq!(outcomes.len(), 1, "one outcome per unit");
    outcomes.remove(0)
}

/// Everything, contents included.
pub async fn all(log: &dyn EventLog) -> Vec<Recorded> {
    log.read_all(Position(0), 100_000, &Filter::default(), Contents::UpTo(1 << 20)).await.unwrap()
}

/// The ids of everything, as the numbers they were made of.
async fn all_ids(log: &dyn EventLog) -> Vec<u128> {
    all(log).await.iter().map(|event| event.event_id.0.as_u128() - 0xe_0000_0000).collect()
}

/// The head of the n-th stream.
async fn head(log: &dyn EventLog, n: u128) -> Option<StreamHead> {
    log.stream_heads(&[stream(n)]).await.unwrap().first().copied()
}

/// Every promise that can be checked by reading the whole log.
pub async fn assert_sound(log: &dyn EventLog) {
    let mut chains = std::collections::HashMap::new();
    let mut last_at = Micros(i64::MIN);
    for (index, event) in all(log).await.iter().enumerate() {
        assert_eq!(event.position.0, index as u64 + 1, "a hole in the positions");
        assert!(event.recorded_at > last_at, "time stands still at {}", event.position);
        last_at = event.recorded_at;
        let (seq, chain) = chains.entry(event.stream).or_insert((0, Chain::ZERO));
        assert_eq!(event.seq.0, *seq + 1, "a hole in the seqs of {}", event.stream);
        assert!(event.follows(chain), "the chain breaks at {}", event.position);
        (*seq, *chain) = (event.seq.0, event.chain);
    }
    for (stream, (seq, chain)) in chains {
        let heads = log.stream_heads(&[stream]).await.unwrap();
        assert_eq!((heads[0].seq.0, heads[0].chain), (seq, chain), "the head is not the last event");
    }
}
