//! Devices, sessions, log-in and log-out.

use std::time::Duration;

use lockstep_client::{
    Client, Error, Follow, Unlock,
    crypto::password::Password,
    model::{Change, Link},
};
use lockstep_events::EntryId;

use crate::{
    mode::Mode,
    people::{another, password, register, until},
    server::Server,
};

in_both_modes! {
    a_wrong_password_and_an_unknown_name_fail_alike,
    a_name_is_taken_once_and_a_weak_password_never,
    a_revoked_device_stops_following_and_is_told_that_its_session_has_ended,
    two_that_follow_with_one_device_both_hear_what_changes_and_the_newer_has_the_socket,
    who_follows_goes_on_after_another_command_logged_in_anew,
    sessions_are_listed_and_a_log_out_ends_one_and_leaves_no_profile,
    the_same_device_logs_in_again_and_stays_the_same_device,
}

const PATIENCE: Duration = Duration::from_secs(40);

async fn a_wrong_password_and_an_unknown_name_fail_alike(mode: Mode) {
    let server = Server::start_in(mode).await;
    register(&server, "known@example.org").await;
    let home = tempfile::tempdir().unwrap();
    let wrong = Password::new("violet anchor mumbles eighteen".to_owned());
    for (name, password) in [("known@example.org", &wrong), ("unknown@example.org", &password())] {
        let refused = Client::login(home.path(), &server.address, name, password).await;
        assert!(matches!(refused, Err(Error::LoginFailed)), "{name}: {:?}", refused.err());
    }
    assert!(matches!(Client::profile(home.path()), Err(Error::NoProfile(_))));
}

async fn a_name_is_taken_once_and_a_weak_password_never(mode: Mode) {
    let server = Server::start_in(mode).await;
    register(&server, "once@example.org").await;
    let home = tempfile::tempdir().unwrap();
    let taken = Client::register(home.path(), &server.address, "once@example.org", &password()).await;
    assert!(matches!(taken, Err(Error::Refused { ref problem, .. }) if problem.status == 409));
    let weak = Password::new("password1234".to_owned());
    let refused = Client::register(home.path(), &server.address, "weak@example.org", &weak).await;
    assert!(matches!(refused, Err(Error::Password(_))));
}

async fn a_revoked_device_stops_following_and_is_told_that_its_session_has_ended(mode: Mode) {
    let server = Server::start_in(mode).await;
    let first = register(&server, "revoke@example.org").await;
    let second = another(&server, "revoke@example.org").await;
    let mut watching = second.follow();
    watching.link.wait_for(|link| *link == Link::Live).await.unwrap();
    let devices = first.devices().await.unwrap();
    assert_eq!(devices.len(), 2);
    let other = devices.iter().find(|device| !device.current).unwrap();
    first.revoke_device(other.device).await.unwrap();
    let why = tokio::time::timeout(PATIENCE, watching.loops.ended()).await.unwrap();
    assert!(matches!(why, Error::Revoked(_)), "{why:?}");
    assert_eq!(*watching.link.borrow(), Link::Stale);
    second.add(b"too late").await.unwrap();
    until("the revoked device learns it", || async { matches!(second.sync().await, Err(Error::Revoked(_))) })
        .await;
    first.sync().await.unwrap();
    assert!(first.contents().await.is_empty());
    assert_eq!(second.contents().await, ["too late"], "what was written is still on the device");
}

async fn two_that_follow_with_one_device_both_hear_what_changes_and_the_newer_has_the_socket(mode: Mode) {
    let server = Server::start_in(mode).await;
    let first = register(&server, "twice@example.org").await;
    let second = another(&server, "twice@example.org").await;
    let beside = Client::open(second.home.path(), &Unlock::Password(password())).await.unwrap();
    let mut older = second.follow();
    older.link.wait_for(|link| *link == Link::Live).await.unwrap();
    let mut newer = beside.follow();
    newer.link.wait_for(|link| *link == Link::Live).await.unwrap();
    older.link.wait_for(|link| *link == Link::Polling).await.unwrap();
    for content in ["one", "two", "three"] {
        let entry = first.add(content.as_bytes()).await.unwrap();
        first.sync().await.unwrap();
        // Whichever of them reads it first: the cursor is the profile's.
        for following in [&mut older, &mut newer] {
            assert_eq!(next_entry(following).await, entry, "once each, in order");
        }
    }
    assert_eq!((*older.link.borrow(), *newer.link.borrow()), (Link::Polling, Link::Live));
    drop((older, newer));
    beside.close().await;
}

/// The entry of the next version that somebody who follows is told of.
async fn next_entry(following: &mut Follow) -> EntryId {
    let next = async {
        loop {
            if let Change::Version { entry, .. } = following.changes.recv().await.unwrap() {
                break entry;
            }
        }
    };
    tokio::time::timeout(PATIENCE, next).await.unwrap()
}

async fn who_follows_goes_on_after_another_command_logged_in_anew(mode: Mode) {
    let server = Server::start_in(mode).await;
    let first = register(&server, "anew@example.org").await;
    let second = another(&server, "anew@example.org").await;
    let mut watching = second.follow();
    watching.link.wait_for(|link| *link == Link::Live).await.unwrap();
    let home = second.home.path();
    let beside = Client::login(home, &server.address, "anew@example.org", &password()).await.unwrap();
    // The session that the socket was opened with ends, by the login or by hand; the profile has another.
    let device = second.status().await.unwrap().device;
    let mut own = first.sessions().await.unwrap();
    own.retain(|session| session.device == device);
    assert_eq!(own.len(), 2, "oldest first");
    if !own[0].ended {
        first.end_session(own[0].session).await.unwrap();
    }
    let entry = first.add(b"later").await.unwrap();
    first.sync().await.unwrap();
    assert_eq!(next_entry(&mut watching).await, entry);
    beside.close().await;
}

async fn sessions_are_listed_and_a_log_out_ends_one_and_leaves_no_profile(mode: Mode) {
    let server = Server::start_in(mode).await;
    let first = register(&server, "out@example.org").await;
    let second = another(&server, "out@example.org").await;
    second.add(b"unsent").await.unwrap();
    assert!(matches!(second.client.clone().logout(false).await, Err(Error::Invalid(_))));
    second.client.clone().logout(true).await.unwrap();
    assert!(matches!(Client::profile(second.home.path()), Err(Error::NoProfile(_))));
    assert!(!second.home.path().join("vault.db").exists());
    until("one open session", || async {
        first.sessions().await.unwrap().iter().filter(|session| !session.ended).count() == 1
    })
    .await;
}

async fn the_same_device_logs_in_again_and_stays_the_same_device(mode: Mode) {
    let server = Server::start_in(mode).await;
    let device = register(&server, "again@example.org").await;
    let own = device.status().await.unwrap().device;
    let session = device.sessions().await.unwrap().into_iter().find(|session| session.current).unwrap();
    device.end_session(session.session).await.unwrap();
    until("the session has ended", || async { matches!(device.sync().await, Err(Error::Revoked(_))) }).await;
    device.add(b"offline").await.unwrap();
    let home = device.home.path();
    let back = Client::login(home, &server.address, "again@example.org", &password()).await.unwrap();
    back.sync().await.unwrap();
    let status = back.status().await.unwrap();
    assert_eq!((status.device, status.waiting), (own, 0));
    assert_eq!(back.devices().await.unwrap().len(), 1);
}

#[tokio::test]
async fn raw_requests_carry_the_token_and_give_any_status() {
    let server = Server::start();
    let device = register(&server, "raw@example.org").await;
    let (status, body) = device.api("get", "/v1/streams", None).await.unwrap();
    assert_eq!(status, 200);
    assert!(body.contains(&device.status().await.unwrap().vault.to_string()));
    assert_eq!(device.api("GET", "/v1/nothing-here", None).await.unwrap().0, 404);
    assert!(device.api("GET", "https://example.org", None).await.is_err());
}
