//! The in-memory read store passes the contract.

use lockstep_projections::testing::MemoryReads;

async fn open() -> MemoryReads {
    MemoryReads::new()
}

lockstep_projections::read_store_contract!(open);
