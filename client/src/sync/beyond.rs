//! More vaults than one socket follows: what is new in the others is looked for beside it.

use std::{convert::Infallible, time::Duration};

use lockstep_api::{live::MAX_SUBS, sync::Streams};
use lockstep_events::{StreamId, StreamKind};
use tokio::time::sleep;

use crate::{
    engine::Engine,
    error::Error,
    store::{streams, streams::Place},
};

/// Between two looks at the vaults that the socket does not follow.
const LOOK: Duration = Duration::from_secs(20);

/// What a socket follows: the account first, then the vault that is open here, then others while there is room. And the
/// vaults beyond.
pub(super) fn one_socket(mut places: Vec<Place>, open: StreamId) -> (Vec<Place>, Vec<StreamId>) {
    places.sort_by_key(|place| (place.kind == StreamKind::Vault, place.stream != open));
    let beyond = places.split_off(places.len().min(MAX_SUBS));
    (places, beyond.into_iter().map(|place| place.stream).collect())
}

impl Engine {
    /// Makes the pull loop go whenever one of these vaults has news.
    pub(super) async fn look_beyond(&self, vaults: &[StreamId]) -> Infallible {
        if vaults.is_empty() {
            return std::future::pending().await;
        }
        loop {
            sleep(LOOK).await;
            // A server that does not answer is asked again; that it is away the socket notices.
            if self.any_is_ahead(vaults).await.unwrap_or(false) {
                self.behind.notify_one();
            }
        }
    }

    /// Whether one of these is further than this device, or has begun another life.
    async fn any_is_ahead(&self, vaults: &[StreamId]) -> Result<bool, Error> {
        let all: Streams = self.fetch("/v1/streams").await?;
        let mut db = self.store.pool().acquire().await?;
        for info in all.streams.iter().filter(|info| vaults.contains(&info.stream)) {
            let place = streams::get(&mut db, info.stream).await?;
            if place.is_none_or(|place| place.epoch != info.epoch || place.seq < info.head) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use lockstep_events::Epoch;
    use uuid::Uuid;

    use super::*;

    fn place(n: usize, kind: StreamKind) -> Place {
        Place::start(StreamId(Uuid::from_u128(n as u128)), kind, Epoch([1; 16]))
    }

    #[test]
    fn the_account_and_the_open_vault_are_followed_whatever_their_ids_and_each_vault_is_here_or_beyond() {
        for vaults in [1, MAX_SUBS - 1, MAX_SUBS, 256] {
            let mut places: Vec<_> = (1..=vaults).map(|n| place(n, StreamKind::Vault)).collect();
            places.push(place(999, StreamKind::Account));
            let open = places[vaults - 1].stream;
            let (followed, beyond) = one_socket(places.clone(), open);
            let followed: Vec<_> = followed.iter().map(|place| place.stream).collect();
            assert_eq!(followed[..2], [places[vaults].stream, open]);
            assert_eq!(followed.len(), MAX_SUBS.min(vaults + 1));
            let mut all = [followed, beyond].concat();
            all.sort_unstable();
            assert_eq!(all, places.iter().map(|place| place.stream).collect::<Vec<_>>());
        }
    }
}
