//! Files beside an entry, sent and fetched by the real client.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use lockstep_api::sync::Snapshot;
use lockstep_client::{
    Attachment, Client, Error, Unlock,
    crypto::password::Password,
    model::Entry,
    server::{Server, Trust, certificate_fingerprint},
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, split},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::{Ground, in_both_modes, support::mode::Mode};

in_both_modes! {
    a_file_of_many_megabytes_reaches_another_device;
    a_file_that_was_cut_off_by_the_death_of_the_server_arrives;
}

const MIB: usize = 1024 * 1024;

fn file(length: usize) -> Vec<u8> {
    (0..u32::try_from(length).unwrap()).map(|n| n.to_le_bytes()[n as usize % 3]).collect()
}

struct Device {
    client: Client,
    home: TempDir,
}

impl Device {
    async fn new(ground: &Ground, name: &str, first: bool) -> Self {
        let home = tempfile::tempdir().unwrap();
        let url = format!("https://{}", ground.server.addr);
        let trust = Trust::Pinned(certificate_fingerprint(&url).await.unwrap());
        let server = Server::new(&url, trust).unwrap();
        let password = Password::new("violet anchor mumbles seventeen".to_owned());
        let client = if first {
            Client::register(home.path(), &server, name, &password).await
        } else {
            Client::login(home.path(), &server, name, &password).await
        };
        let client = client.unwrap();
        client.sync().await.unwrap();
        Self { client, home }
    }

    /// The one entry, if there is one.
    async fn entry(&self) -> Entry {
        self.client.entries().await.unwrap().remove(0)
    }

    /// How many attachments the heads name, by the server.
    async fn named_by_heads(&self) -> usize {
        let vault = Client::profile(self.home.path()).unwrap().vault;
        let path = format!("/v1/vaults/{vault}/snapshot");
        let (status, page) = self.client.api("GET", &path, None).await.unwrap();
        assert_eq!(status, 200, "{page}");
        let page: Snapshot = serde_json::from_str(&page).unwrap();
        page.entries.iter().flat_map(|entry| &entry.versions).map(|version| version.attachments.len()).sum()
    }
}

fn kept(entry: &Entry) -> Attachment {
    serde_json::from_slice(entry.heads[0].content.bytes().unwrap()).unwrap()
}

/// What a front of the S3 server was sent, and how much more it takes before it is dead.
struct Front {
    received: AtomicU64,
    left: AtomicU64,
}

/// A TLS front of the S3 server with the certificate that the clients trust.
async fn front(listener: TcpListener, data: &Path) -> Arc<Front> {
    let chain = CertificateDer::pem_file_iter(data.join("tls/cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(data.join("tls/key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let s3 = std::env::var("LOCKSTEP_TEST_S3").expect("LOCKSTEP_TEST_S3 is not set: run cargo xtask test");
    let s3: SocketAddr = s3.trim_start_matches("http://").parse().unwrap();
    let front = Arc::new(Front { received: AtomicU64::new(0), left: AtomicU64::new(u64::MAX) });
    let counter = Arc::clone(&front);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, counter) = (acceptor.clone(), Arc::clone(&counter));
            tokio::spawn(async move {
                let Ok(socket) = acceptor.accept(socket).await else { return };
                let s3 = TcpStream::connect(s3).await.unwrap();
                let ((from_client, mut to_client), (mut from_s3, to_s3)) = (split(socket), split(s3));
                tokio::select! {
                    _ = count(from_client, to_s3, &counter) => {}
                    _ = copy(&mut from_s3, &mut to_client) => {}
                }
            });
        }
    });
    front
}

/// Counts bytes while they pass: a kept connection ends when its client does, and not always with a farewell.
async fn count(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    front: &Front,
) -> std::io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut piece).await?;
        let take = |left: u64| left.checked_sub(length as u64);
        if length == 0 || front.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
            return Ok(());
        }
        to.write_all(&piece[..length]).await?;
        to.flush().await?;
        front.received.fetch_add(length as u64, Ordering::SeqCst);
    }
}

async fn a_file_of_many_megabytes_reaches_another_device(mode: Mode) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = mode.options().await;
    if let Some((_, public)) = options.iter_mut().find(|(name, _)| name == "LOCKSTEP_S3_PUBLIC_ENDPOINT") {
        *public = format!("https://{}", listener.local_addr().unwrap());
    }
    let ground = Ground::with_options(options).await;
    let straight = front(listener, ground.folder.path()).await;
    let name = format!("files-{}@example.org", uuid::Uuid::new_v4());
    let first = Device::new(&ground, &name, true).await;
    let bytes = file(20 * MIB);
    let entry = first.client.add(b"to be replaced").await.unwrap();
    let attachment = first.client.attach(entry, &bytes).await.unwrap();
    let content = serde_json::to_vec(&attachment).unwrap();
    let base = first.entry().await.head_ids();
    first.client.edit_with(entry, &base, &content, &[&attachment]).await.unwrap();
    first.client.sync().await.unwrap();

    let second = Device::new(&ground, &name, false).await;
    let entry = second.entry().await;
    // Two commands of one profile fetch it at the same time: neither is in the way of the other.
    let beside =
        Client::open(second.home.path(), &Unlock::Token(second.client.unlock_token())).await.unwrap();
    let attachment = kept(&entry);
    let (arrived, too) = tokio::join!(
        second.client.attachment(entry.entry, &attachment),
        beside.attachment(entry.entry, &attachment)
    );
    assert!(*arrived.unwrap() == bytes[..] && *too.unwrap() == bytes[..]);
    assert_eq!(beside.alarms().await.unwrap(), []);
    beside.close().await;
    let elsewhere = second.client.add(b"another entry").await.unwrap();
    let moved = second.client.attachment(elsewhere, &kept(&entry)).await;
    assert!(matches!(moved, Err(Error::Rejected(_))), "it opens in its entry only");

    // An edit on the other device, which knows nothing of attachments, keeps it.
    second.client.edit(entry.entry, &entry.head_ids(), &content).await.unwrap();
    second.client.sync().await.unwrap();
    assert_eq!(second.named_by_heads().await, 1);
    first.client.sync().await.unwrap();
    let again = first.client.get(entry.entry).await.unwrap();
    assert!(*first.client.attachment(again.entry, &kept(&again)).await.unwrap() == bytes[..]);
    first.client.close().await;
    second.client.close().await;
    drop(ground);
    if mode == Mode::Distributed {
        let through_the_front = straight.received.load(Ordering::SeqCst);
        assert!(through_the_front > 20 * MIB as u64, "only {through_the_front} bytes went straight to S3");
    }
}

/// Uploads in parts that the server still waits for.
async fn uploads_begun(database: &str) -> i64 {
    let mut connection = PgConnection::connect(database).await.unwrap();
    sqlx::query_scalar("SELECT count(*) FROM uploads").fetch_one(&mut connection).await.unwrap()
}

#[tokio::test]
async fn an_upload_straight_to_the_store_that_was_cut_off_goes_on_with_the_parts_that_are_missing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = Mode::Distributed.options().await;
    for (_, public) in options.iter_mut().filter(|(name, _)| name == "LOCKSTEP_S3_PUBLIC_ENDPOINT") {
        *public = format!("https://{}", listener.local_addr().unwrap());
    }
    let database = options.iter().find(|(name, _)| name == "LOCKSTEP_LOG").unwrap().1.clone();
    let ground = Ground::with_options(options).await;
    let straight = front(listener, ground.folder.path()).await;
    let name = format!("parts-{}@example.org", uuid::Uuid::new_v4());
    let mut first = Device::new(&ground, &name, true).await;
    let entry = first.client.add(b"to be replaced").await.unwrap();
    let bytes = file(30 * MIB);
    let attachment = first.client.attach(entry, &bytes).await.unwrap();
    let base = first.entry().await.head_ids();
    let content = serde_json::to_vec(&attachment).unwrap();
    first.client.edit_with(entry, &base, &content, &[&attachment]).await.unwrap();
    straight.left.store(20 * MIB as u64, Ordering::SeqCst);
    assert!(matches!(first.client.sync().await, Err(Error::Offline(_))));
    let sent = straight.received.swap(0, Ordering::SeqCst);
    assert!(sent > 19 * MIB as u64, "two parts and a piece of the third: {sent}");
    assert_eq!(first.client.status().await.unwrap().waiting, 2, "the entry, and the version with the file");

    // Another process, when the store is within reach again.
    first.client.close().await;
    let password = Password::new("violet anchor mumbles seventeen".to_owned());
    first.client = Client::open(first.home.path(), &Unlock::Password(password)).await.unwrap();
    straight.left.store(u64::MAX, Ordering::SeqCst);
    first.client.sync().await.unwrap();
    let rest = straight.received.load(Ordering::SeqCst);
    assert!((14 * MIB as u64..18 * MIB as u64).contains(&rest), "{rest} of 30 MiB, after {sent}");
    let files = std::fs::read_dir(first.home.path().join("attachments")).unwrap().count();
    assert_eq!(files, 1, "nothing is left of the upload");
    assert_eq!(uploads_begun(&database).await, 0, "and no other one was begun");
    let second = Device::new(&ground, &name, false).await;
    let entry = second.entry().await;
    assert!(*second.client.attachment(entry.entry, &kept(&entry)).await.unwrap() == bytes[..]);
    first.client.close().await;
    second.client.close().await;
}

async fn a_file_that_was_cut_off_by_the_death_of_the_server_arrives(mode: Mode) {
    let mut options = mode.options().await;
    for (_, public) in options.iter_mut().filter(|(name, _)| name == "LOCKSTEP_S3_PUBLIC_ENDPOINT") {
        public.clear();
    }
    let mut ground = Ground::with_options(options).await;
    let name = format!("cut-{}@example.org", uuid::Uuid::new_v4());
    let first = Device::new(&ground, &name, true).await;
    let entry = first.client.add(b"to be replaced").await.unwrap();
    let bytes = file(30 * MIB);
    let attachment = first.client.attach(entry, &bytes).await.unwrap();
    let base = first.entry().await.head_ids();
    let content = serde_json::to_vec(&attachment).unwrap();
    first.client.edit_with(entry, &base, &content, &[&attachment]).await.unwrap();
    let sending = {
        let client = first.client.clone();
        tokio::spawn(async move { client.sync().await })
    };
    let uploads = ground.folder.path().join("uploads");
    while !sending.is_finished() && !std::fs::read_dir(&uploads).is_ok_and(|mut parts| parts.next().is_some())
    {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    ground.kill_and_start();
    let _ = sending.await.unwrap();
    first.client.sync().await.unwrap();
    assert_eq!(first.client.status().await.unwrap().waiting, 0);
    let second = Device::new(&ground, &name, false).await;
    let entry = second.entry().await;
    assert!(*second.client.attachment(entry.entry, &kept(&entry)).await.unwrap() == bytes[..]);
    first.client.close().await;
    second.client.close().await;
}
