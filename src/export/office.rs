//! What stands in nobody's own streams: in the server's, where people are invited and appointed; and what somebody who
//! looks after others did in theirs.

use lockstep_api::privacy::ExportLine;
use lockstep_events::{
    AccountId, Event, LogError, Position, Recorded, Seq, StreamId, StreamKind,
    event::SystemEvent,
    log::{Contents, Filter},
};

use super::{ExportError, Exporter, Lines, PAGE};

/// Events of other accounts that are looked through at once.
const MANY: usize = 2000;

/// What an event of the server's stream is to a person.
#[derive(Debug, PartialEq, Eq)]
enum Share {
    /// It says something about them, or they did it and it is about nobody.
    Theirs,
    /// They did it, and it is about somebody else.
    Done,
    /// Nothing.
    None,
}

/// The account that an event of the server's stream names.
fn named(event: &Recorded) -> Result<Option<AccountId>, LogError> {
    if !event.kind.starts_with("admin.") {
        return Ok(None);
    }
    Ok(match event.event().map_err(|error| LogError::Other(error.into()))? {
        Event::System(SystemEvent::Bootstrapped(named)) => Some(named.account),
        Event::System(SystemEvent::RollChanged(changed)) => Some(changed.account),
        Event::System(SystemEvent::InvitationUsed(used)) => Some(used.account),
        Event::System(SystemEvent::Proposed(made)) => Some(made.account),
        _ => None,
    })
}

fn share(event: &Recorded, account: AccountId, is_about: bool) -> Result<Share, LogError> {
    let named = named(event)?;
    Ok(match (event.actor == Some(account), named) {
        _ if is_about || named == Some(account) => Share::Theirs,
        (true, None) => Share::Theirs,
        (true, Some(_)) => Share::Done,
        (false, _) => Share::None,
    })
}

fn act(event: Recorded) -> ExportLine {
    ExportLine::Act {
        stream: event.stream,
        seq: event.seq,
        position: event.position,
        event_id: event.event_id,
        at: event.recorded_at,
        kind: event.kind,
        chain: event.chain,
    }
}

impl Exporter {
    /// The server's own stream, as far as the person is in it.
    pub(super) async fn office(&self, account: AccountId, lines: &mut Lines) -> Result<(), ExportError> {
        let mut after = Seq::ZERO;
        loop {
            let page = self.log.read_stream(StreamId::SYSTEM, after, PAGE, Contents::No).await?;
            after = page.last().map_or(after, |last| last.seq);
            let full = page.len() == PAGE;
            let mut parts = self.parts(&page, account).await?;
            for event in page {
                let part = parts.remove(&event.event_id);
                match share(&event, account, part.is_some())? {
                    Share::Theirs => self.event(event, part, lines).await?,
                    Share::Done => lines.write(&act(event)).await?,
                    Share::None => {}
                }
            }
            if !full {
                return Ok(());
            }
        }
    }

    /// What the person did in the streams of other accounts. No index leads to it: it is for the few who ever had a role.
    pub(super) async fn acts(
        &self,
        account: AccountId,
        own: &[StreamId],
        lines: &mut Lines,
    ) -> Result<(), ExportError> {
        let filter = Filter { stream_kind: Some(StreamKind::Account), ..Filter::default() };
        let mut after = Position::ZERO;
        loop {
            let page = self.log.read_all(after, MANY, &filter, Contents::No).await?;
            after = page.last().map_or(after, |last| last.position);
            let full = page.len() == MANY;
            let is_act = |event: &Recorded| event.actor == Some(account) && !own.contains(&event.stream);
            for event in page.into_iter().filter(is_act) {
                lines.write(&act(event)).await?;
            }
            if !full {
                return Ok(());
            }
        }
    }
}
