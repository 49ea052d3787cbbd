//! The in-memory log behind the contract.

use std::sync::Arc;

use lockstep_events::testing::{MemoryLog, contract::Opened};
use uuid::Uuid;

async fn open() -> Opened {
    Opened { log: Arc::new(MemoryLog::new(Uuid::new_v4())), keep: Box::new(()) }
}

lockstep_events::log_contract!(open);

#[test]
fn every_case_of_the_contract_is_in_the_list() {
    let sources = [
        include_str!("../src/testing/contract/contents.rs"),
        include_str!("../src/testing/contract/duplicates.rs"),
        include_str!("../src/testing/contract/places.rs"),
        include_str!("../src/testing/contract/preconditions.rs"),
        include_str!("../src/testing/contract/reads.rs"),
        include_str!("../src/testing/contract/requires.rs"),
        include_str!("../src/testing/contract/streams.rs"),
        include_str!("../src/testing/contract/units.rs"),
    ];
    let written: usize = sources.iter().map(|source| source.matches("\npub async fn ").count()).sum();
    assert_eq!(written, CASES.len());
}
