//! What a server could say about the place of a version in its entry's history without forging anything, and what is
//! not believed: each version stands once, after its parents (S3, S4), which are those that its author named, and its
//! author saw what this device saw.

use std::collections::BTreeSet;

use lockstep_api::sync::SnapshotVersion;
use lockstep_events::{
    Chain, DeviceId, Header, Seq, SetDigest, VersionId, VersionKind, event::VersionAdded, graph::Heads,
};
use sqlx::SqliteConnection;

use super::{
    check::{Refusal, refuse},
    judge::finding,
    lives,
};
use crate::{
    error::Error,
    model::AlarmKind,
    store::{streams, streams::Place, versions},
};

/// Whether a server may say what a version builds on: only for an author who named no parents and has seen nothing of
/// the vault, as clients do that know no parents.
pub(crate) fn inferred(header: &Header, flag: bool, parents: &[VersionId]) -> Result<(), Refusal> {
    let left_open =
        header.kind == VersionKind::Edit && header.parents.is_empty() && header.observed_seq == Seq::ZERO;
    if (flag && !left_open) || (!flag && !parents.is_empty()) {
        let id = header.version_id();
        return refuse(AlarmKind::Header, format!("{id}: parents that its author did not name"));
    }
    Ok(())
}

/// How a version fits into what this device knows.
pub(crate) enum Fits {
    /// Nothing speaks against it.
    Yes,
    /// Its author saw another history. The version is authentic, and so it looks if the server was restored before this
    /// device joined and another device gave back what was lost; else the server lies. A person has to know.
    UnlessReset(Refusal),
    /// Its author saw another history: the server lies to one of the two, or the author's app says what is not so. The
    /// version is authentic; a person has to say how it goes on.
    Another(Refusal),
}

/// Checks the place of a version that comes with an event.
pub(crate) async fn check(
    db: &mut SqliteConnection,
    place: &Place,
    (id, added): (VersionId, &VersionAdded),
    (seq, me): (Seq, DeviceId),
) -> Result<Result<Fits, Refusal>, Error> {
    let header = &added.header;
    if let Err(refusal) = inferred(header, added.parent_inferred, &added.inferred_parents) {
        return Ok(Err(refusal));
    }
    let known = versions::get(db, id).await?;
    if let Some(stands) = known.as_ref().and_then(|known| known.seq)
        && stands != seq
    {
        return Ok(refuse(AlarmKind::Header, format!("{id} at {seq}: it stands at {stands} already")));
    }
    let parents = versions::get_many(db, added.parents()).await?;
    if parents.iter().any(|parent| parent.header.entry != header.entry) {
        return Ok(refuse(AlarmKind::Header, format!("{id} at {seq}: a parent of another entry")));
    }
    // A device that holds everything up to here holds the parents. One that began with a snapshot cannot tell, but
    // notices when the parent comes. A snapshot may be younger than its place: it may have brought a child whose own
    // place is still to come, behind this one.
    let whole = place.digest.is_some() && place.absent == SetDigest::ZERO;
    let orphan = whole && parents.len() < added.parents().len();
    if orphan
        || (!whole && known.is_none() && versions::has_child_before(db, (header.entry, id), seq).await?)
    {
        return Ok(refuse(AlarmKind::Header, format!("{id} at {seq}: a child before its parent")));
    }
    if let Some(own) = known.filter(|_| header.author_device == me) {
        // What this device saw it knows.
        lives::own(db, place, (own.n, seq)).await?;
        return Ok(Ok(Fits::Yes));
    }
    observed(db, place, (id, header, added.signer), seq).await
}

/// What was said to stand where a page stands, in an answer that was ahead of it, stands in the page.
pub(crate) async fn all_shown(
    db: &mut SqliteConnection,
    place: &Place,
    last: Seq,
    shown: &BTreeSet<VersionId>,
) -> Result<Result<(), Refusal>, Error> {
    let placed = versions::ids_between(db, place.stream.into(), (place.seq, last)).await?;
    match placed.iter().find(|id| !shown.contains(id)) {
        Some(id) => Ok(refuse(AlarmKind::Page, format!("{id} was said to stand up to {last}"))),
        None => Ok(Ok(())),
    }
}

/// What the author had seen is what this device saw.
async fn observed(
    db: &mut SqliteConnection,
    place: &Place,
    (id, header, signer): (VersionId, &Header, DeviceId),
    seq: Seq,
) -> Result<Result<Fits, Refusal>, Error> {
    if !header.kind.has_content() || header.observed_seq == Seq::ZERO {
        return Ok(Ok(Fits::Yes));
    }
    let seen = streams::chains_at(db, place.stream, header.observed_seq).await?;
    let now = seen.iter().find(|(life, _)| *life == place.epoch).map(|(_, chain)| *chain);
    if now == Some(header.observed_chain) && header.observed_seq < seq {
        lives::met(db, place, header).await?;
        return Ok(Ok(Fits::Yes));
    }
    if header.observed_seq < seq && now.is_none() {
        return Ok(Ok(Fits::Yes));
    }
    let what = differs(db, place, header, (seq, now)).await?;
    let finding = finding(AlarmKind::ObservedChain, (id, header, signer), &what);
    if !lives::may_be_another(db, place).await? || lives::is_in(db, place, header).await? {
        return Ok(Ok(Fits::Another(finding)));
    }
    // A device that was told of a reset expects what earlier lives left.
    Ok(Ok(if place.lives == 1 { Fits::UnlessReset(finding) } else { Fits::Yes }))
}

/// What an author says of what it saw, and what this device saw there: exactly this is what a person may set aside.
async fn differs(
    db: &mut SqliteConnection,
    place: &Place,
    header: &Header,
    (seq, now): (Seq, Option<Chain>),
) -> Result<String, Error> {
    let (said, chain) = (header.observed_seq, header.observed_chain);
    let here = match now {
        Some(now) => format!("this device saw {now} there"),
        None => format!("it stands at {seq} itself"),
    };
    let stands = streams::place_of(db, (place.stream, place.epoch), &chain).await?;
    let elsewhere = stands.map(|at| format!("; what it names stood at {at}")).unwrap_or_default();
    Ok(format!("its device says that it saw {chain} at {said} of the vault, and {here}{elsewhere}"))
}

/// The heads that follow from a whole history: what a server says they are is not asked.
pub(crate) fn heads_of(history: &[SnapshotVersion]) -> Heads {
    let mut ordered: Vec<&SnapshotVersion> = history.iter().collect();
    ordered.sort_by_key(|version| version.seq);
    let mut heads = Heads::default();
    for version in ordered {
        let parents =
            if version.parent_inferred { &version.inferred_parents } else { &version.header.parents };
        heads.accept(version.header.version_id(), version.header.kind, parents, version.seq);
    }
    heads
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
