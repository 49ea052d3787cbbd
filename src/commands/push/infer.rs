//! Parents for a sender that names none.
//!
//! A partial client shows one state of an entry and saves over it. What it saw is what this device has shown to have,
//! and what it wrote itself since. The version that would be shown to a person from that much of the log becomes the
//! parent: a save over the newest state replaces it, a stale save becomes a branch, and nothing is overwritten
//! unseen. If it is not known what the device has, it has nothing.
//!
//! Such a push asks the database where its device is, once, and reads its entries from the log; no other push does.

use lockstep_events::{Event, Header, LogError, Seq, StreamId, VersionId, event::VaultEvent, graph::Heads};

use super::{Push, Pusher};

const PAGE: usize = 500;

impl Pusher {
    pub(super) async fn infer(
        &self,
        push: &Push,
        header: &Header,
        itself: VersionId,
        served: Seq,
    ) -> Result<Vec<VersionId>, LogError> {
        let stream = StreamId::from(push.vault);
        let mut heads = Heads::default();
        let mut after = Seq::ZERO;
        loop {
            let page = self.log.read_subject(stream, header.entry.into(), after, PAGE).await?;
            for recorded in &page {
                after = recorded.seq;
                let seen = recorded.seq <= served || recorded.device == Some(push.device);
                if let (true, Ok(Event::Vault(event))) = (seen, recorded.event()) {
                    let own =
                        matches!(&event, VaultEvent::VersionAdded(a) if a.header.version_id() == itself);
                    if !own {
                        heads.apply(&event, recorded.seq);
                    }
                }
            }
            if page.len() < PAGE {
                return Ok(heads.winner().map(|head| head.version).into_iter().collect());
            }
        }
    }
}
