//! Devices of one account without a server, and streams made by hand: for the tests of what is received.

use std::sync::Arc;

use lockstep_api::sync::StreamEvent;
use lockstep_events::{
    AccountId, Chain, DeviceId, Epoch, Event, Hex, Micros, NewEvent, Position, Recorded, Seq, SetDigest,
    StreamId, StreamKind, VersionId,
    envelope::{Content, Place},
    event::{AccountEvent, RosterStated, VaultEvent, VersionAdded},
    roster::{Claim, Roster, Statement},
};
use uuid::Uuid;

use super::{Engine, NewProfile, found_account, no_tokens, store_profile};
use crate::{
    crypto::{
        hierarchy::WRAP_LEN,
        identity::DeviceKey,
        keys::{ExportKey, LocalKey},
        opaque::Registered,
        os_random,
        version::new_id,
    },
    engine::ask_id,
    server::{Server, Trust},
    store::{outbox, streams, versions},
    sync::apply::Page,
};

pub(crate) const EPOCH: Epoch = Epoch([7; 16]);

/// A device with its own directory.
pub(crate) struct TestDevice {
    pub(crate) engine: Arc<Engine>,
    _home: tempfile::TempDir,
}

impl std::ops::Deref for TestDevice {
    type Target = Engine;
    fn deref(&self) -> &Engine {
        &self.engine
    }
}

async fn device(new: NewProfile) -> TestDevice {
    let home = tempfile::tempdir().unwrap();
    let server = Server::new("https://127.0.0.1:9", Trust::System).unwrap();
    let local = LocalKey::from_token(&"5".repeat(64)).unwrap();
    let dir = home.path().join("profile");
    let engine = store_profile(&dir, &server, "someone", ([0; 32], local), new).await.unwrap();
    let mut tx = engine.store.begin().await.unwrap();
    for (stream, kind) in [
        (StreamId::from(engine.account()), StreamKind::Account),
        (StreamId::from(engine.vault()), StreamKind::Vault),
    ] {
        streams::put(&mut tx, &streams::Place::start(stream, kind, EPOCH)).await.unwrap();
    }
    tx.commit().await.unwrap();
    TestDevice { engine, _home: home }
}

/// Two devices of one account, with its streams.
pub(crate) async fn two_devices() -> (TestDevice, TestDevice, Stream, Stream) {
    let account = AccountId(Uuid::from_u128(0xacc));
    let registered =
        Registered { upload: vec![0; 192], export_key: ExportKey::for_test(), server_key: vec![0; 32] };
    let (_, first) = found_account(account, Uuid::nil(), &registered).unwrap();
    assert_eq!(first.vault_wraps[0].2.len(), WRAP_LEN);
    let mut roster = Roster::start(&first.statements[0]).unwrap();
    for statement in &first.statements[1..] {
        roster.apply(statement).unwrap();
    }
    let ask = first.ark.unwrap_ask(account, ask_id(&roster.signing_key), &first.ask_wrap).unwrap();
    let (device_id, device_key): (DeviceId, _) =
        (new_id(&mut os_random()), DeviceKey::random(&mut os_random()));
    let claim = Claim::DeviceAdded { device: device_id, public_key: device_key.public() };
    let mut statements = first.statements.clone();
    statements.push(ask.state(&roster, claim).unwrap());
    let second = NewProfile {
        account,
        device: device_id,
        vault: first.vault,
        ark_gen: first.ark_gen,
        ark: first.ark.clone(),
        ask_wrap: first.ask_wrap.clone(),
        device_key,
        vault_wraps: first.vault_wraps.clone(),
        statements: statements.clone(),
        server_key: vec![0; 32],
        tokens: no_tokens(account, device_id),
    };
    let mut events = Stream::new(account.into(), StreamKind::Account);
    for statement in &statements {
        events.state(statement);
    }
    let vault = Stream::new(first.vault.into(), StreamKind::Vault);
    let (a, b) = (device(first).await, device(second).await);
    a.apply(&events.page(0)).await.unwrap();
    b.apply(&events.page(0)).await.unwrap();
    (a, b, events, vault)
}

/// A stream as an honest log would make it.
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) kind: StreamKind,
    pub(crate) epoch: Epoch,
    pub(crate) events: Vec<Recorded>,
}

impl Stream {
    pub(crate) const fn new(id: StreamId, kind: StreamKind) -> Self {
        Self { id, kind, epoch: EPOCH, events: Vec::new() }
    }

    pub(crate) fn state(&mut self, statement: &Statement) {
        let stated = RosterStated { statement: statement.clone() };
        self.append(
            &Event::Account(AccountEvent::RosterStated(stated)),
            Uuid::from_u128(1).into(),
            None,
            None,
        );
    }

    fn append(
        &mut self,
        event: &Event,
        event_id: lockstep_events::EventId,
        subject: Option<lockstep_events::SubjectId>,
        content: Option<Content>,
    ) {
        let encoded = event.encode().unwrap();
        let seq = Seq(self.events.len() as u64 + 1);
        let body_hash =
            NewEvent::hash_body(self.id, subject, encoded.kind, encoded.schema, &encoded.public, None);
        let new = NewEvent {
            event_id,
            stream: self.id,
            subject,
            kind: encoded.kind.to_owned(),
            schema: encoded.schema,
            actor: None,
            device: None,
            correlation: None,
            causation: None,
            public: encoded.public,
            sealed: None,
            content,
            body_hash,
        };
        let recorded_at = Micros(1_000_000 * i64::try_from(seq.0).unwrap());
        let at = Place { position: Position(seq.0), seq, recorded_at };
        let before = self.events.last().map_or(Chain::ZERO, |event| event.chain);
        self.events.push(new.record(self.kind, at, &before));
    }

    /// Accepts what waits on a device, as a server would.
    pub(crate) async fn accept_all(&mut self, from: &Engine) -> Vec<VersionId> {
        let mut db = from.store.begin().await.unwrap();
        let mut accepted = Vec::new();
        for waiting in outbox::first(&mut db, from.vault(), 1000).await.unwrap() {
            let version = versions::get(&mut db, waiting.version).await.unwrap().unwrap();
            let added = VersionAdded {
                header: version.header.clone(),
                signer: version.signer,
                signature: version.signature,
                batch: Uuid::from_u128(9).into(),
                parent_inferred: false,
                inferred_parents: Vec::new(),
                content_missing: false,
                wrapped_key: version.wrapped_key.as_ref().map(|key| Hex::of(key).unwrap()),
                attachments: Vec::new(),
                attachment_sizes: Vec::new(),
            };
            self.accept(&added, version.ciphertext);
            accepted.push(version.id);
        }
        accepted
    }

    /// Accepts one version, whatever it is.
    pub(crate) fn accept(&mut self, added: &VersionAdded, ciphertext: Option<Vec<u8>>) {
        let content = ciphertext.zip(added.header.content_hash).map(|(bytes, hash)| Content { hash, bytes });
        let id = added.header.version_id();
        let event = Event::Vault(VaultEvent::VersionAdded(Box::new(added.clone())));
        self.append(&event, id.event_id(), Some(added.header.entry.into()), content);
    }

    /// Appends any event of a vault.
    pub(crate) fn happen(&mut self, event: VaultEvent) {
        self.append(&Event::Vault(event), Uuid::from_u128(5).into(), None, None);
    }

    /// The digest of all versions.
    pub(crate) fn digest(&self) -> SetDigest {
        let version = |event: &Recorded| match event.event().unwrap() {
            Event::Vault(VaultEvent::VersionAdded(added)) => Some(added.header.version_id()),
            _ => None,
        };
        self.events.iter().filter_map(version).collect()
    }

    /// Everything after a seq.
    pub(crate) fn page(&self, from: u64) -> Page {
        let events: Vec<StreamEvent> =
            self.events[usize::try_from(from).unwrap()..].iter().map(StreamEvent::from).collect();
        Page {
            stream: self.id,
            epoch: self.epoch,
            from: Seq(from),
            to: Seq(self.events.len() as u64),
            chain: self.events.last().map_or(Chain::ZERO, |event| event.chain),
            set_digest: Some(self.digest()),
            events,
        }
    }
}
