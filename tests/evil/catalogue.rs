//! What a server can lie about the history of a vault, each as a small function over what it would have said.

use lockstep_api::sync::{Changes, Pushed, StreamEvent, Versions};
use lockstep_events::{
    BlobHash, Chain, DeviceId, Event, StreamId, VersionKind,
    event::{EntryPurged, VaultEvent},
};
use uuid::Uuid;

use crate::{
    lies::{about, fit, last_version, page, places, say, version, versions},
    proxy::Lie,
};

/// What lies are made of that were true elsewhere, or once.
pub struct Made {
    pub vault: StreamId,
    /// Stands in the vault already.
    pub old: StreamEvent,
    /// Stands in another vault of the account.
    pub foreign: StreamEvent,
}

/// A kind of lie.
pub type Kind = (&'static str, fn(&Made) -> Lie);

fn on_vault(made: &Made, mut change: impl FnMut(&mut Changes, Chain) -> bool + Send + 'static) -> Lie {
    let vault = made.vault;
    page(move |page, before| page.stream == vault && change(page, before))
}

/// Two places of a page with versions, if there are two.
fn two(page: &Changes) -> Option<(usize, usize)> {
    match places(page)[..] {
        [one, .., other] => Some((one, other)),
        _ => None,
    }
}

fn swap_contents(page: &mut Changes) -> bool {
    let Some((one, other)) = two(page) else { return false };
    let content = page.events[one].content.take();
    page.events[one].content = page.events[other].content.take();
    page.events[other].content = content;
    page.events[one].content != page.events[other].content
}

fn swap_records(page: &mut Changes) -> bool {
    let Some((one, other)) = two(page) else { return false };
    let (left, right) = (page.events[one].clone(), page.events[other].clone());
    (page.events[one].public, page.events[one].content) = (right.public, right.content);
    (page.events[other].public, page.events[other].content) = (left.public, left.content);
    true
}

/// An event more at the end of a page, in a history that fits.
fn appended(made: &Made, event: &StreamEvent) -> Lie {
    let event = event.clone();
    on_vault(made, move |page, before| {
        page.events.push(event.clone());
        fit(page, before);
        true
    })
}

/// The first version of a page is said to be the purge of its entry.
fn purged(page: &mut Changes, before: Chain) -> bool {
    let Some(at) = places(page).first().copied() else { return false };
    let Some(added) = version(&page.events[at]) else { return false };
    let heads = added.header.parents.clone();
    let purged = EntryPurged { entry: added.header.entry, heads };
    say(&mut page.events[at], &Event::Vault(VaultEvent::Purged(purged)));
    page.events[at].content = None;
    fit(page, before);
    true
}

fn pushed(change: impl Fn(&mut Pushed) + Send + 'static) -> Lie {
    about("/versions", move |pushed: &mut Pushed| {
        change(pushed);
        !pushed.results.is_empty()
    })
}

/// All of them.
pub const LIES: [Kind; 22] = [
    ("forge a signature", |_| last_version(|added| added.signature.0[5] ^= 1)),
    ("forge an author", |_| {
        last_version(|added| {
            added.signer = DeviceId(Uuid::from_u128(13));
            added.header.author_device = added.signer;
        })
    }),
    ("forge a content", |_| last_version(|added| added.header.content_hash = Some(BlobHash([1; 32])))),
    ("forge a deletion", |_| last_version(|added| added.header.kind = VersionKind::Tombstone)),
    ("forge parents", |_| last_version(|added| added.header.parents.clear())),
    ("spoil a blob", |_| {
        versions(|page, _| match page.events.iter_mut().find_map(|event| event.content.as_mut()) {
            Some(content) => {
                content.0[60] ^= 1;
                true
            }
            None => false,
        })
    }),
    ("swap blobs", |_| versions(|page, _| swap_contents(page))),
    ("swap records", |_| {
        versions(|page, before| {
            let told = swap_records(page);
            fit(page, before);
            told
        })
    }),
    ("hide, openly", |made| {
        on_vault(made, |page, _| {
            page.events.remove(0);
            true
        })
    }),
    ("hide", |made| {
        on_vault(made, |page, before| {
            page.events.remove(0);
            fit(page, before);
            true
        })
    }),
    ("hide the end", |made| {
        on_vault(made, |page, before| {
            page.events.pop();
            fit(page, before);
            page.head = page.to;
            page.more = false;
            true
        })
    }),
    ("roll back", |made| {
        on_vault(made, |page, before| {
            page.events.clear();
            fit(page, before);
            page.head = page.to;
            page.more = false;
            true
        })
    }),
    ("fork", |made| {
        on_vault(made, |page, before| {
            let last = page.events.len() - 1;
            page.events.swap(0, last);
            fit(page, before);
            last > 0
        })
    }),
    ("reorder", |made| {
        on_vault(made, |page, _| {
            let last = page.events.len() - 1;
            page.events.swap(0, last);
            last > 0
        })
    }),
    ("replay", |made| appended(made, &made.old)),
    ("show what is of another vault", |made| appended(made, &made.foreign)),
    ("say something twice", |made| {
        on_vault(made, |page, before| {
            page.events.extend(page.events.last().cloned());
            fit(page, before);
            true
        })
    }),
    ("another time", |made| {
        on_vault(made, |page, before| {
            page.events.iter_mut().for_each(|event| event.recorded_at.0 += 3_600_000_000);
            fit(page, before);
            true
        })
    }),
    ("purge", |made| on_vault(made, purged)),
    ("answer a push with another place", |_| {
        pushed(|pushed| {
            for seq in pushed.results.iter_mut().filter_map(|result| result.seq.as_mut()) {
                seq.0 += 1;
            }
        })
    }),
    ("answer a push about others", |_| {
        pushed(|pushed| pushed.results.iter_mut().for_each(|result| result.version_id.0[0] ^= 1))
    }),
    ("withhold", |_| {
        about("/versions/get", |found: &mut Versions| {
            let told = !found.versions.is_empty();
            found.versions.clear();
            told
        })
    }),
];
