//! The in-memory read store passes the contract.

use lockstep_projections::testing::MemoryReads;

#[expect(clippy::unused_async, reason = "stores that are opened are opened asynchronously")]
async fn open() -> MemoryReads {
    MemoryReads::new()
}

lockstep_projections::read_store_contract!(open);
