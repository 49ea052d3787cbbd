//! Read models that are filled from nothing beside a server that serves.

use lockstep_api::account::{Devices, Sessions};
use lockstep_projections::testing::script::{Script, play};
use reqwest::StatusCode;

use crate::support::{Mode, Node, Person, body};

in_both_modes! {
    many threads:
    lists_wait_for_read_models_that_are_filled_and_show_no_half_of_them,
}

async fn lists_wait_for_read_models_that_are_filled_and_show_no_half_of_them(mode: Mode) {
    let mut node = Node::start(mode).await;
    play(&node.running().server.log, &mut Script::new(41), 2_000).await;
    // Behind all that: what a list of theirs shows is filled last.
    let person = Person::register(&node).await;
    person.enrol(&node).await;
    node.wipe_reads_and_restart().await;
    let devices: Devices = body(person.get(&node, "/v1/devices").await, StatusCode::OK).await;
    assert_eq!(devices.devices.len(), 2);
    node.wipe_reads_and_restart().await;
    let sessions: Sessions = body(person.get(&node, "/v1/sessions").await, StatusCode::OK).await;
    assert_eq!(sessions.sessions.len(), 2);
}
