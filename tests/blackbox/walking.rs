//! The main road: register, add, see it live on another device.

use lockstep_client::{
    Client, Error,
    model::{Change, Link},
    server::{Server as Address, Trust, certificate_fingerprint},
};

use crate::{
    mode::Mode,
    people::{PASSWORD, another, password, register, until},
    server::{Server, copy},
};

in_both_modes! {
    what_one_device_adds_the_other_sees_live,
    both_devices_follow_each_other_without_a_word_of_sync,
    the_one_encrypted_file_comes_back_on_another_device,
    a_profile_from_a_backup_gets_back_what_it_wrote_itself_since,
}

async fn what_one_device_adds_the_other_sees_live(mode: Mode) {
    let server = Server::start_in(mode).await;
    let first = register(&server, "walker@example.org").await;
    let second = another(&server, "walker@example.org").await;
    let mut watching = second.follow();
    watching.link.wait_for(|link| *link == Link::Live).await.unwrap();
    let entry = first.add(b"hello").await.unwrap();
    first.sync().await.unwrap();
    let seen = async {
        loop {
            if let Change::Version { entry: seen, .. } = watching.changes.recv().await.unwrap() {
                break seen;
            }
        }
    };
    let seen = tokio::time::timeout(std::time::Duration::from_secs(60), seen).await.unwrap();
    assert_eq!(seen, entry);
    assert_eq!(second.contents().await, ["hello"]);
    assert_eq!(*watching.link.borrow(), Link::Live, "by the socket, not by polling");
}

async fn both_devices_follow_each_other_without_a_word_of_sync(mode: Mode) {
    let server = Server::start_in(mode).await;
    let first = register(&server, "both@example.org").await;
    let second = another(&server, "both@example.org").await;
    let (_one, _two) = (first.follow(), second.follow());
    for n in 0..10 {
        first.add(format!("first {n}").as_bytes()).await.unwrap();
        second.add(format!("second {n}").as_bytes()).await.unwrap();
    }
    for device in [&first, &second] {
        until("twenty entries on both and empty outboxes", || async {
            device.contents().await.len() == 20 && device.status().await.unwrap().waiting == 0
        })
        .await;
    }
    assert_eq!(first.contents().await, second.contents().await);
    assert_eq!(first.alarms().await.unwrap(), []);
}

#[tokio::test]
async fn a_profile_opens_with_its_password_or_token_and_with_no_other() {
    let server = Server::start();
    let device = register(&server, "lock@example.org").await;
    device.add(b"kept").await.unwrap();
    let token = device.unlock_token();
    let device = device.reopened().await;
    assert_eq!(device.contents().await, ["kept"]);
    let home = device.home.path();
    let by_token = Client::open(home, &lockstep_client::Unlock::Token(token)).await.unwrap();
    assert_eq!(by_token.entries().await.unwrap().len(), 1);
    let wrong = lockstep_client::crypto::password::Password::new(format!("{PASSWORD}!"));
    let refused = Client::open(home, &lockstep_client::Unlock::Password(wrong)).await;
    assert!(matches!(refused, Err(Error::WrongPassword)));
}

#[tokio::test]
async fn a_server_with_another_certificate_is_not_spoken_to() {
    let server = Server::start();
    let shown = certificate_fingerprint(&server.address.url).await.unwrap();
    assert_eq!(server.address.trust, Trust::Pinned(shown));
    let mut other = shown;
    other.0[0] ^= 1;
    let home = tempfile::tempdir().unwrap();
    let address = Address::new(&server.address.url, Trust::Pinned(other)).unwrap();
    let refused = Client::register(home.path(), &address, "pin@example.org", &password()).await;
    assert!(matches!(refused, Err(Error::Certificate)), "{:?}", refused.err());
    // Nor is a self-made certificate trusted just because the system has authorities.
    let address = Address::new(&server.address.url, Trust::System).unwrap();
    let refused = Client::register(home.path(), &address, "pin@example.org", &password()).await;
    assert!(matches!(refused, Err(Error::Certificate)), "{:?}", refused.err());
}

async fn the_one_encrypted_file_comes_back_on_another_device(mode: Mode) {
    let server = Server::start_in(mode).await;
    let first = register(&server, "file@example.org").await;
    assert!(first.file_get().await.unwrap().is_none());
    first.file_put(&[], b"everything").await.unwrap();
    first.sync().await.unwrap();
    let second = another(&server, "file@example.org").await;
    let (file, heads) = second.file_get().await.unwrap().unwrap();
    assert_eq!(&*file, b"everything");
    assert_eq!(second.entries().await.unwrap(), [], "the file is no entry of the list");
    second.file_put(&heads, b"everything and more").await.unwrap();
    second.sync().await.unwrap();
    first.sync().await.unwrap();
    assert_eq!(&*first.file_get().await.unwrap().unwrap().0, b"everything and more");
}

async fn a_profile_from_a_backup_gets_back_what_it_wrote_itself_since(mode: Mode) {
    let server = Server::start_in(mode).await;
    let mut device = register(&server, "backed-up@example.org").await;
    device.add(b"before").await.unwrap();
    device.sync().await.unwrap();
    device.client.close().await;
    let backup = tempfile::tempdir().unwrap();
    copy(device.home.path(), backup.path());
    device = device.reopened().await;
    let long = "long".repeat(10_000);
    for content in ["after", &long] {
        device.add(content.as_bytes()).await.unwrap();
    }
    device.sync().await.unwrap();
    device.client.close().await;
    device.home = backup;
    let device = device.reopened().await;
    device.sync().await.unwrap();
    assert_eq!(
        device.contents().await,
        ["after", "before", &long],
        "no page brings a device its own contents"
    );
    assert_eq!(device.alarms().await.unwrap(), []);
}
