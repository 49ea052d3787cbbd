//! The same random script over all logs: the same answers, step by step, and byte-identical exports.

use lockstep_events::{
    EventLog, Micros,
    testing::{MemoryLog, Script, contract::Opened, export},
};
use lockstepd::operate::log::{self, Known, verify_file};
use uuid::Uuid;

const SEEDS: u64 = 12;
const STEPS: usize = 60;

/// What `lockstepd log export` writes of a log, but for its first and its last line, where the log's own name is. Who has
/// nothing but the file finds in it what was found in the log.
async fn file(log: &dyn EventLog) -> Vec<String> {
    let known = Known { now: Some(Micros(1_000)), ..Known::default() };
    let mut file = Vec::new();
    let found = log::export(log, &known, true, &mut file, &mut |_, _| {}).await.unwrap();
    let read = verify_file(&mut file.as_slice(), None, &mut |_, _| {}).unwrap();
    assert_eq!((&read.audit, &read.faults), (&found.audit, &found.faults));
    assert_eq!((read.events, read.streams, read.followed), (found.events, found.streams, found.followed));
    assert_eq!((read.contents, read.sealed), (found.contents, found.sealed));
    assert!(found.contents > 0 && found.sealed > 0, "{found:?}");
    let text = String::from_utf8(file).unwrap();
    let mut lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
    assert!(lines.pop().unwrap().contains(&found.audit.hash.to_string()));
    lines
}

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
        assert_eq!(file(&*opened.log).await, file(&model).await, "seed {seed}");
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
