//! Lies to a device that knows the server and the account, where its password is proven: it notices, and keeps the alarm.

use lockstep_api::account::{Account, LoggedIn, RegisterStarted};
use lockstep_client::{Client, Error, model::AlarmKind};
use lockstep_events::{DeviceId, ids::PublicKey, roster::Claim};
use uuid::Uuid;

use crate::{
    account::none,
    ground::{Ground, alarmed, held},
    lies::{about, raw},
    people::{Device, password, register},
    proxy::Lie,
};

/// A new session of a device that has one, while the server lies.
async fn logs_in(device: &Device, ground: &Ground, name: &str) -> Result<Client, Error> {
    Client::login(device.home.path(), &ground.server.address, name, &password()).await
}

#[tokio::test]
async fn e29_a_server_with_another_login_key_is_an_alarm_before_anything_is_proven_to_it() {
    let (ground, _first, second) = Ground::two().await;
    // Somebody has registered the same name with the same password there.
    let other = Ground::start().await;
    let _them = register(&other.server, &ground.name).await;
    let before = held(&second).await;
    for _ in 0..2 {
        other.proxy.tell(raw("/v1/sessions/start", |_| {}));
        let tried = logs_in(&second, &other, &ground.name).await;
        let (told, after) = other.proxy.honest();
        assert!(matches!(tried.err(), Some(Error::Alarm(AlarmKind::ServerKey))));
        assert_eq!((told, after.len()), (1, 0), "the password is not proven to it");
    }
    assert_eq!(alarmed(&second).await, [AlarmKind::ServerKey]);
    assert_eq!(held(&second).await, before);
    // Its own server still knows it, and has the same key.
    logs_in(&second, &ground, &ground.name).await.unwrap().close().await;
    assert_eq!(alarmed(&second).await, [AlarmKind::ServerKey]);
}

#[tokio::test]
async fn e29_a_login_key_that_was_exchanged_gets_no_new_password() {
    let (ground, _first, second) = Ground::two().await;
    let new = lockstep_client::crypto::password::Password::new("umbrella seldom wrote eleven".to_owned());
    // Any key but the server's: the other half of the answer is one.
    ground.proxy.tell(about("/v1/account/password/start", |said: &mut RegisterStarted| {
        let (other, key) = said.response.0.split_at_mut(32);
        key.copy_from_slice(other);
        true
    }));
    let tried = second.change_password(&password(), &new, &mut none).await;
    let (told, after) = ground.proxy.honest();
    assert!(matches!(tried, Err(Error::Alarm(AlarmKind::ServerKey))), "{tried:?}");
    assert_eq!((told, after.len()), (1, 0));
    assert_eq!(alarmed(&second).await, [AlarmKind::ServerKey]);
    second.acknowledge_alarms().await.unwrap();
    second.change_password(&password(), &new, &mut none).await.unwrap();
    ground.recovers(&second, &["one", "two"]).await;
}

#[tokio::test]
async fn a_lie_about_the_account_where_a_password_is_proven_is_kept_as_an_alarm() {
    let (ground, _first, second) = Ground::two().await;
    let phantom = |said: &mut LoggedIn| {
        let last = said.account.roster.last().unwrap();
        let mut statement = last.clone();
        (statement.epoch, statement.previous) = (last.epoch + 1, last.hash());
        let device = DeviceId(Uuid::from_u128(32));
        statement.claim = Claim::DeviceAdded { device, public_key: PublicKey([32; 32]) };
        said.account.roster.push(statement);
        true
    };
    let another = |said: &mut LoggedIn| {
        said.account.roster[1].claim =
            Claim::DeviceAdded { device: DeviceId(Uuid::from_u128(7)), public_key: PublicKey([7; 32]) };
        true
    };
    let lies: [Lie; 2] = [about("/v1/sessions/finish", phantom), about("/v1/sessions/finish", another)];
    for lie in lies {
        ground.proxy.tell(lie);
        let tried = logs_in(&second, &ground, &ground.name).await;
        let (told, after) = ground.proxy.honest();
        assert!(matches!(tried.err(), Some(Error::Alarm(AlarmKind::Roster))));
        assert_eq!((told, after.len()), (1, 0));
        assert_eq!(alarmed(&second).await, [AlarmKind::Roster]);
        second.acknowledge_alarms().await.unwrap();
    }
    // The session that it got and did not take has replaced the one that it had.
    logs_in(&second, &ground, &ground.name).await.unwrap().close().await;
    let new = lockstep_client::crypto::password::Password::new("umbrella seldom wrote eleven".to_owned());
    ground.proxy.tell(about("/v1/account", |account: &mut Account| {
        account.wraps.retain(|wrap| wrap.name != "ark/password");
        true
    }));
    let tried = second.change_password(&password(), &new, &mut none).await;
    let (told, after) = ground.proxy.honest();
    assert!(matches!(tried, Err(Error::Alarm(AlarmKind::Keys))), "{tried:?}");
    assert_eq!((told, after.len()), (1, 0));
    assert_eq!(alarmed(&second).await, [AlarmKind::Keys]);
    second.acknowledge_alarms().await.unwrap();
    ground.recovers(&second, &["one", "two"]).await;
}
