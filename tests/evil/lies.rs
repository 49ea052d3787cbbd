//! How a server lies: small functions over what it would have said. A lie that has nothing to fasten on is not told.

use lockstep_api::{
    live::ServerMessage,
    sync::{Changes, StreamEvent},
};
use lockstep_events::{
    Chain, Event, Micros, StreamId, StreamKind,
    event::{VaultEvent, VersionAdded},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::proxy::{Answer, Lie};

/// About answers of one shape, at paths that contain some text.
pub fn about<T: DeserializeOwned + Serialize>(
    part: &'static str,
    mut change: impl FnMut(&mut T) -> bool + Send + 'static,
) -> Lie {
    Box::new(move |asked, answer, _| {
        if asked.method == "LIVE" || !asked.path.contains(part) {
            return false;
        }
        let Ok(mut said) = serde_json::from_slice(&answer.body) else { return false };
        let told = change(&mut said);
        if told {
            answer.body = serde_json::to_vec(&said).unwrap();
        }
        told
    })
}

/// About the raw answer at paths that contain some text.
pub fn raw(part: &'static str, mut change: impl FnMut(&mut Answer) + Send + 'static) -> Lie {
    Box::new(move |asked, answer, _| {
        let fits = asked.method != "LIVE" && asked.path.contains(part) && answer.status < 300;
        if fits {
            change(answer);
        }
        fits
    })
}

/// About pages with something in them, by HTTP or as news of the live feed. The lie is told the chain before the page.
pub fn page(mut change: impl FnMut(&mut Changes, Chain) -> bool + Send + 'static) -> Lie {
    Box::new(move |asked, answer, known| {
        let mut told = |page: &mut Changes| {
            let before = known.get(&(page.stream, page.from)).copied().unwrap_or(Chain::ZERO);
            !page.events.is_empty() && change(page, before)
        };
        if asked.method == "LIVE" {
            return in_frame(answer, &mut told);
        }
        let Ok(mut page) = serde_json::from_slice(&answer.body) else { return false };
        let told = told(&mut page);
        if told {
            answer.body = serde_json::to_vec(&page).unwrap();
        }
        told
    })
}

fn in_frame(answer: &mut Answer, told: &mut impl FnMut(&mut Changes) -> bool) -> bool {
    let Ok(ServerMessage::Ev { stream, epoch, from, to, chain, events }) =
        serde_json::from_slice(&answer.body)
    else {
        return false;
    };
    let head = to;
    let mut page = Changes { stream, epoch, from, to, head, more: false, chain, set_digest: None, events };
    if !told(&mut page) {
        return false;
    }
    let Changes { stream, epoch, from, to, chain, events, .. } = page;
    let lied = ServerMessage::Ev { stream, epoch, from, to, chain, events };
    answer.body = serde_json::to_vec(&lied).unwrap();
    true
}

/// About pages with versions in them.
pub fn versions(mut change: impl FnMut(&mut Changes, Chain) -> bool + Send + 'static) -> Lie {
    page(move |page, before| places(page).first().is_some_and(|_| change(page, before)))
}

/// About the last version of a page, told so that everything else fits: chain, numbers, ids and digest.
pub fn last_version(mut forge: impl FnMut(&mut VersionAdded) + Send + 'static) -> Lie {
    versions(move |page, before| {
        let at = *places(page).last().unwrap();
        let mut added = version(&page.events[at]).unwrap();
        forge(&mut added);
        state(&mut page.events[at], added);
        fit(page, before);
        true
    })
}

/// Where the versions of a page are.
pub fn places(page: &Changes) -> Vec<usize> {
    let all = page.events.iter().enumerate();
    all.filter(|(_, event)| version(event).is_some()).map(|(at, _)| at).collect()
}

/// What an event says of a version.
pub fn version(event: &StreamEvent) -> Option<VersionAdded> {
    match said(event) {
        Some(Event::Vault(VaultEvent::VersionAdded(added))) => Some(*added),
        _ => None,
    }
}

/// What an event says.
pub fn said(event: &StreamEvent) -> Option<Event> {
    event.recorded((StreamId::SYSTEM, StreamKind::System), &Chain::ZERO).event().ok()
}

/// Makes an event say another version.
pub fn state(event: &mut StreamEvent, added: VersionAdded) {
    let id = added.header.version_id();
    event.event_id = id.event_id();
    event.subject = Some(added.header.entry.into());
    say(event, &Event::Vault(VaultEvent::VersionAdded(Box::new(added))));
}

/// Makes an event say something else.
pub fn say(event: &mut StreamEvent, what: &Event) {
    let encoded = what.encode().unwrap();
    (event.kind, event.schema, event.public) = (encoded.kind.to_owned(), encoded.schema, encoded.public);
}

/// Makes a page one that a real server could have sent, whatever its events are: numbers, times, chain; no digest.
pub fn fit(page: &mut Changes, before: Chain) {
    let mut last = Micros(0);
    for event in &mut page.events {
        event.recorded_at = event.recorded_at.max(Micros(last.0 + 1));
        last = event.recorded_at;
    }
    chained(page, before);
}

/// Numbers and chains the events of a page.
pub fn chained(page: &mut Changes, before: Chain) {
    page.to = page.from;
    page.chain = before;
    for event in &mut page.events {
        page.to = page.to.next();
        event.seq = page.to;
        // The kind is no part of the leaf.
        page.chain = event.recorded((page.stream, StreamKind::Vault), &page.chain).chain;
    }
    page.head = page.head.max(page.to);
    page.set_digest = None;
}

/// Tells several lies, each where it fits.
pub fn all_of(mut lies: Vec<Lie>) -> Lie {
    Box::new(move |asked, answer, known| {
        let mut told = false;
        for lie in &mut lies {
            told |= lie(asked, answer, known);
        }
        told
    })
}
