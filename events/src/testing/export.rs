//! A log as text: the same events in the same places give the same bytes, whatever log they stand in.

use std::{collections::BTreeSet, fmt::Write};

use crate::{
    EventLog, LogError, Position,
    log::{Contents, Filter},
};

const PAGE: usize = 500;

/// Every event with its content, then the head of every stream; one line each. The log's own name is left out.
///
/// # Errors
/// What the log answers.
pub async fn export(log: &dyn EventLog) -> Result<String, LogError> {
    let mut text = String::new();
    let mut streams = BTreeSet::new();
    let mut after = Position::ZERO;
    loop {
        let page = log.read_all(after, PAGE, &Filter::default(), Contents::UpTo(usize::MAX)).await?;
        let Some(last) = page.last() else { break };
        after = last.position;
        for event in page {
            streams.insert(event.stream);
            // Debug of every field, in the order of the type: nothing can be forgotten here.
            let _ = writeln!(text, "{event:?}");
        }
    }
    let streams: Vec<_> = streams.into_iter().collect();
    for head in log.stream_heads(&streams).await? {
        let _ = writeln!(text, "{head:?}");
    }
    let _ = writeln!(text, "{:?}", log.tail().await?);
    Ok(text)
}
