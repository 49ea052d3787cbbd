//! Kept answers: done once, answered the same again.

use std::sync::Arc;

use lockstep_events::{AccountId, DeviceId, Micros};
use lockstepd::kept_answers::{AnswerKey, KeptAnswer, KeptAnswers};
use uuid::Uuid;

use crate::over_every_adapter;

over_every_adapter! { sqlite = crate::open::sqlite_answers, postgres = crate::open::postgres_answers; {
    nothing_is_kept_under_a_key_that_was_not_used;
    an_answer_comes_back_as_it_was;
    an_answer_without_a_body_comes_back_too;
    the_first_answer_under_a_key_stays;
    of_many_answers_at_the_same_time_one_is_kept_whole;
    the_same_key_of_another_device_or_account_is_another_key;
    an_answer_is_gone_when_its_time_is_over;
    a_sweep_deletes_what_is_over_and_nothing_else;
    a_key_may_be_used_again_when_its_answer_was_swept;
}}

const NOW: Micros = Micros(1_000_000);
const LATER: Micros = Micros(2_000_000);

fn key(account: u128, device: u128, key: &str) -> AnswerKey {
    AnswerKey {
        account: AccountId(Uuid::from_u128(account)),
        device: DeviceId(Uuid::from_u128(device)),
        key: key.to_owned(),
    }
}

fn answer(n: u8) -> KeptAnswer {
    KeptAnswer { request_hash: [n; 32], status: 200 + u16::from(n), body: vec![n; 300] }
}

async fn nothing_is_kept_under_a_key_that_was_not_used(answers: Arc<dyn KeptAnswers>) {
    assert_eq!(answers.kept(&key(1, 1, "a"), NOW).await.unwrap(), None);
    answers.keep(&key(1, 1, "a"), &answer(1), LATER).await.unwrap();
    assert_eq!(answers.kept(&key(1, 1, "b"), NOW).await.unwrap(), None);
}

async fn an_answer_comes_back_as_it_was(answers: Arc<dyn KeptAnswers>) {
    let every_byte = KeptAnswer { request_hash: [9; 32], status: 422, body: (0..=255).collect() };
    answers.keep(&key(1, 1, "~ key with spaces"), &every_byte, LATER).await.unwrap();
    assert_eq!(answers.kept(&key(1, 1, "~ key with spaces"), NOW).await.unwrap(), Some(every_byte));
}

async fn an_answer_without_a_body_comes_back_too(answers: Arc<dyn KeptAnswers>) {
    let empty = KeptAnswer { request_hash: [0; 32], status: 204, body: Vec::new() };
    answers.keep(&key(1, 1, "a"), &empty, LATER).await.unwrap();
    assert_eq!(answers.kept(&key(1, 1, "a"), NOW).await.unwrap(), Some(empty));
}

async fn the_first_answer_under_a_key_stays(answers: Arc<dyn KeptAnswers>) {
    answers.keep(&key(1, 1, "a"), &answer(1), LATER).await.unwrap();
    answers.keep(&key(1, 1, "a"), &answer(2), LATER).await.unwrap();
    assert_eq!(answers.kept(&key(1, 1, "a"), NOW).await.unwrap(), Some(answer(1)));
}

async fn of_many_answers_at_the_same_time_one_is_kept_whole(answers: Arc<dyn KeptAnswers>) {
    let keeping = (1..=8).map(|n| {
        let answers = Arc::clone(&answers);
        tokio::spawn(async move { answers.keep(&key(1, 1, "a"), &answer(n), LATER).await })
    });
    for kept in keeping.collect::<Vec<_>>() {
        kept.await.unwrap().unwrap();
    }
    let kept = answers.kept(&key(1, 1, "a"), NOW).await.unwrap().unwrap();
    assert_eq!(kept, answer(kept.request_hash[0]));
}

async fn the_same_key_of_another_device_or_account_is_another_key(answers: Arc<dyn KeptAnswers>) {
    answers.keep(&key(1, 1, "a"), &answer(1), LATER).await.unwrap();
    answers.keep(&key(1, 2, "a"), &answer(2), LATER).await.unwrap();
    answers.keep(&key(2, 1, "a"), &answer(3), LATER).await.unwrap();
    assert_eq!(answers.kept(&key(1, 1, "a"), NOW).await.unwrap(), Some(answer(1)));
    assert_eq!(answers.kept(&key(1, 2, "a"), NOW).await.unwrap(), Some(answer(2)));
    assert_eq!(answers.kept(&key(2, 1, "a"), NOW).await.unwrap(), Some(answer(3)));
    assert_eq!(answers.kept(&key(2, 2, "a"), NOW).await.unwrap(), None);
}

async fn an_answer_is_gone_when_its_time_is_over(answers: Arc<dyn KeptAnswers>) {
    answers.keep(&key(1, 1, "a"), &answer(1), LATER).await.unwrap();
    let before = Micros(LATER.0 - 1);
    assert_eq!(answers.kept(&key(1, 1, "a"), before).await.unwrap(), Some(answer(1)));
    assert_eq!(answers.kept(&key(1, 1, "a"), LATER).await.unwrap(), None);
}

async fn a_sweep_deletes_what_is_over_and_nothing_else(answers: Arc<dyn KeptAnswers>) {
    for (name, until) in [("a", 10), ("b", 20), ("c", 21), ("d", 30)] {
        answers.keep(&key(1, 1, name), &answer(1), Micros(until)).await.unwrap();
    }
    assert_eq!(answers.sweep(Micros(20)).await.unwrap(), 2);
    assert_eq!(answers.sweep(Micros(20)).await.unwrap(), 0);
    assert_eq!(answers.kept(&key(1, 1, "b"), Micros(0)).await.unwrap(), None);
    assert_eq!(answers.kept(&key(1, 1, "c"), Micros(0)).await.unwrap(), Some(answer(1)));
    assert_eq!(answers.kept(&key(1, 1, "d"), Micros(0)).await.unwrap(), Some(answer(1)));
}

async fn a_key_may_be_used_again_when_its_answer_was_swept(answers: Arc<dyn KeptAnswers>) {
    answers.keep(&key(1, 1, "a"), &answer(1), Micros(10)).await.unwrap();
    answers.sweep(Micros(10)).await.unwrap();
    answers.keep(&key(1, 1, "a"), &answer(2), LATER).await.unwrap();
    assert_eq!(answers.kept(&key(1, 1, "a"), NOW).await.unwrap(), Some(answer(2)));
}
