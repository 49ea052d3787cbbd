//! What is known of a log from before, and whether it is that log still. No chain shows that a log was cut, exchanged or
//! written anew as a whole: only somebody who has seen it before does.

use std::collections::HashSet;

use lockstep_events::{
    Hash32, Micros, Position, Recorded,
    chains::{Chains, End, digest},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::erasure::scan::Mark;

/// Where a log and all its streams ended, for whoever reads it again later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Which log.
    pub log_id: Uuid,
    /// Where it ended.
    pub position: Position,
    /// One hash over all of this (docs/formats.md).
    pub hash: Hash32,
    /// Where its streams ended, in ascending order.
    pub ends: Vec<End>,
}

impl Audit {
    /// Of what was read.
    pub fn of(log_id: Uuid, position: Position, chains: &Chains) -> Self {
        let ends = chains.ends();
        Self { log_id, position, hash: digest(log_id, position, &ends), ends }
    }

    /// Whether it is as it was made: whoever keeps the hash need not guard the rest.
    pub fn is_whole(&self) -> bool {
        digest(self.log_id, self.position, &self.ends) == self.hash
    }

    /// The streams that end elsewhere in what was read up to the same position. Erasures change none: they take away
    /// what no chain has, and append.
    pub fn rewritten(&self, chains: &Chains) -> Vec<End> {
        let mut differ: Vec<End> = self.ends.clone();
        differ.retain(|end| chains.end(end.stream) != Some((end.seq, end.chain)));
        if differ.is_empty() && chains.streams().len() == self.ends.len() {
            return differ;
        }
        let known: HashSet<_> = self.ends.iter().map(|end| end.stream).collect();
        differ.extend(chains.ends().into_iter().filter(|end| !known.contains(&end.stream)));
        differ
    }
}

/// What is known of a log. All of it was read before the end of the log is asked for: a server may go on.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Up to where this server has read it, unless the operator says that it was restored since.
    pub mark: Option<Mark>,
    /// How far the read models have it.
    pub reads: Position,
    /// An earlier audit.
    pub since: Option<Audit>,
    /// The time, by which some things are over. Without it nobody asks why something is gone.
    pub now: Option<Micros>,
}

impl Known {
    /// What a log with this id that ends here does not have.
    pub fn missing(&self, log_id: Uuid, end: Position) -> Vec<String> {
        let mut missing = Vec::new();
        let mut served = self.reads;
        match &self.mark {
            Some(mark) if mark.log_id == log_id => served = served.max(mark.position),
            Some(mark) => missing.push(format!("this server has served another log ({})", mark.log_id)),
            None => {}
        }
        if served > end {
            missing.push(format!(
                "the log ends at {end}, and this server has served up to {served} of it (an older backup that was put \
                 back? `lockstepd log restored` says so)"
            ));
        }
        match &self.since {
            Some(since) if since.log_id != log_id => {
                missing.push(format!("that audit was of another log ({})", since.log_id));
            }
            Some(since) if since.position > end => {
                missing
                    .push(format!("the log ends at {end}, and that audit read it up to {}", since.position));
            }
            Some(_) | None => {}
        }
        missing
    }

    /// Whether another event stands where this server has read one.
    pub fn is_exchanged(&self, recorded: &Recorded) -> bool {
        self.mark.is_some_and(|mark| mark.position == recorded.position && mark.event != recorded.event_id)
    }
}
