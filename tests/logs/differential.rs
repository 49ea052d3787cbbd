//! The same random script over all logs: the same answers, step by step, and byte-identical exports.

use lockstep_events::{
    EventLog,
    testing::{MemoryLog, Script, contract::Opened, export},
};
use uuid::Uuid;

const SEEDS: u64 = 12;
const STEPS: usize = 60;

async fn differ(open: impl AsyncFn() -> Opened) {
    let (mut appended, mut refused) = (0, 0);
    for seed in 0..SEEDS {
        let (model, opened) = (MemoryLog::new(Uuid::nil()), open().await);
        for (number, step) in Script::new(seed).take(STEPS).enumerate() {
            let expected = step.run(&model).await.unwrap();
            let answer = step.run(&*opened.log).await.unwrap();
            assert_eq!(answer, expected, "seed {seed}, step {number}: {step:?}");
            appended += expected.matches("Appended").count();
            refused += ["Conflict", "Missing", "IdReused"]
                .map(|word| expected.matches(word).count())
                .iter()
                .sum::<usize>();
        }
        let expected = export(&model).await.unwrap();
        assert!(model.tail().await.unwrap().position.0 > 100);
        assert_eq!(export(&*opened.log).await.unwrap(), expected, "seed {seed}");
    }
    // The script must try both, or it proves nothing.
    assert!(appended > 1000 && refused > 300, "{appended} appended, {refused} refused");
}

#[tokio::test]
async fn sqlite_answers_and_exports_as_the_log_in_memory_does() {
    differ(super::sqlite::open).await;
}

#[tokio::test]
async fn postgres_answers_and_exports_as_the_log_in_memory_does() {
    differ(super::postgres::open).await;
}
