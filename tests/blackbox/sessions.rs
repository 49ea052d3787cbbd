//! Devices, sessions, log-in and log-out.

use lockstep_client::{Client, Error, crypto::password::Password, model::Link};

use crate::{
    people::{another, password, register, until},
    server::Server,
};

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_fail_alike() {
    let server = Server::start();
    register(&server, "known@example.org").await;
    let home = tempfile::tempdir().unwrap();
    let wrong = Password::new("violet anchor mumbles eighteen".to_owned());
    for (name, password) in [("known@example.org", &wrong), ("unknown@example.org", &password())] {
        let refused = Client::login(home.path(), &server.address, name, password).await;
        assert!(matches!(refused, Err(Error::LoginFailed)), "{name}: {:?}", refused.err());
    }
    assert!(matches!(Client::profile(home.path()), Err(Error::NoProfile(_))));
}

#[tokio::test]
async fn a_name_is_taken_once_and_a_weak_password_never() {
    let server = Server::start();
    register(&server, "once@example.org").await;
    let home = tempfile::tempdir().unwrap();
    let taken = Client::register(home.path(), &server.address, "once@example.org", &password()).await;
    assert!(matches!(taken, Err(Error::Refused { ref problem, .. }) if problem.status == 409));
    let weak = Password::new("password1234".to_owned());
    let refused = Client::register(home.path(), &server.address, "weak@example.org", &weak).await;
    assert!(matches!(refused, Err(Error::Password(_))));
}

#[tokio::test]
async fn a_revoked_device_stops_following_and_is_told_that_its_session_has_ended() {
    let server = Server::start();
    let first = register(&server, "revoke@example.org").await;
    let second = another(&server, "revoke@example.org").await;
    let mut watching = second.follow();
    watching.link.wait_for(|link| *link == Link::Live).await.unwrap();
    let devices = first.devices().await.unwrap();
    assert_eq!(devices.len(), 2);
    let other = devices.iter().find(|device| !device.current).unwrap();
    first.revoke_device(other.device).await.unwrap();
    watching.link.wait_for(|link| *link == Link::Stale).await.unwrap();
    second.add(b"too late").await.unwrap();
    until("the revoked device learns it", || async { matches!(second.sync().await, Err(Error::Revoked)) })
        .await;
    first.sync().await.unwrap();
    assert!(first.contents().await.is_empty());
    assert_eq!(second.contents().await, ["too late"], "what was written is still on the device");
}

#[tokio::test]
async fn sessions_are_listed_and_a_log_out_ends_one_and_leaves_no_profile() {
    let server = Server::start();
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

#[tokio::test]
async fn the_same_device_logs_in_again_and_stays_the_same_device() {
    let server = Server::start();
    let device = register(&server, "again@example.org").await;
    let own = device.status().await.unwrap().device;
    let session = device.sessions().await.unwrap().into_iter().find(|session| session.current).unwrap();
    device.end_session(session.session).await.unwrap();
    until("the session has ended", || async { matches!(device.sync().await, Err(Error::Revoked)) }).await;
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
