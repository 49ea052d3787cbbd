//! Entries of which nothing is shown, because the server refused for good what is here of them. `status` names them by the
//! beginning of their ids, and by that they are found.

use std::collections::BTreeSet;

use lockstep_client::{Client, Error};
use lockstep_events::EntryId;

use super::item_of;
use crate::cli::{
    failure::{Done, Exit},
    find::Found,
};

/// What was found; if nothing was, the one entry of which something was refused and whose id begins so.
///
/// # Errors
/// As it was not found.
pub async fn or_refused(client: &Client, wanted: &str, found: Done<Found>) -> Done<Found> {
    match found {
        Err(failure) if matches!(failure.exit, Exit::NotFound | Exit::Offline) => {
            refused(client, wanted).await?.ok_or(failure)
        }
        found => found,
    }
}

async fn refused(client: &Client, wanted: &str) -> Done<Option<Found>> {
    const SHORTEST: usize = 4;
    let wanted = wanted.to_lowercase();
    if wanted.len() < SHORTEST {
        return Ok(None);
    }
    let all = client.quarantine().await?.into_iter().map(|one| one.entry);
    let mut fits: BTreeSet<EntryId> = all.filter(|entry| entry.to_string().starts_with(&wanted)).collect();
    let (Some(entry), None) = (fits.pop_first(), fits.pop_first()) else { return Ok(None) };
    match client.get(entry).await {
        // It is in another vault.
        Err(Error::NotFound) => Ok(None),
        found => {
            let item = client.history(entry).await?.iter().rev().find_map(item_of);
            Ok(Some(Found { entry: found?, item }))
        }
    }
}
