//! The Lockstep server. Rooms, from the wire inwards:
//!
//! `http` parses, calls and answers; `auth` proves who asks; `commands` load, decide and append; `batcher` feeds the
//! log; `feed` tells every device what is new; `operate` is for the people who run it. `bus` and `blobs` are ports,
//! like the log and the read store of the crates beside; `mail` tells people what happened; `adapters` keep what the
//! ports promise. Only `app` names an adapter.
#![deny(clippy::disallowed_types)]

pub mod adapters;
pub mod app;
pub mod auth;
pub mod batcher;
pub mod billing;
pub mod blobs;
mod bounded;
pub mod bus;
pub mod causes;
pub mod cli;
pub mod clock;
pub mod clock_watch;
pub mod commands;
pub mod config;
pub mod digests;
pub mod entries;
pub mod erasure;
pub mod export;
pub mod feed;
pub mod http;
pub mod kept_answers;
pub mod limits;
pub mod mail;
pub mod members;
pub mod metrics;
pub mod no_room;
pub mod operate;
pub mod plans;
mod private_file;
pub mod pseudonyms;
pub mod quotas;
pub mod retention;
pub mod roll;
pub mod served;
pub mod state;
pub mod subjects;
pub mod tables;
