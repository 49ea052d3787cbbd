//! A device without the client's library: its keys are in the test's hands, and so is every byte it sends.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use ed25519_dalek::SigningKey;
use lockstep_api::{
    Bytes64,
    account::{
        Account, EnrolDevice, LoggedIn, LoginFinish, LoginStart, LoginStarted, RegisterFinish, RegisterStart,
        RegisterStarted, Tokens, Wrap, wrap_len,
    },
    opaque::{CONTEXT, ServerSuite},
    sync::{Push, PushItem, PushResult, Pushed, StreamInfo, Streams},
};
use lockstep_client::crypto::{
    opaque::{Login, Registration},
    os_random,
    password::Password,
};
use lockstep_events::{
    AccountId, BatchId, BlobHash, Chain, DeviceId, EntryId, Epoch, Hash32, Seq, StreamId, VaultId, VersionId,
    canonical::sha256,
    header::{FORMAT, Header, VersionKind, public_key, sign_version},
    roster::{Claim, Roster, Statement},
};
use opaque_ke::{
    ClientLogin, ClientLoginFinishParameters, ClientRegistration, ClientRegistrationFinishParameters,
    CredentialResponse, Identifiers, RegistrationResponse,
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::wire::{Reply, Wire, request};

const PASSWORD: &str = "violet anchor mumbles seventeen";

static NAMES: AtomicU64 = AtomicU64::new(0);

/// A device of an account.
#[derive(Clone)]
pub struct Device {
    pub addr: SocketAddr,
    pub name: String,
    pub account: AccountId,
    pub vault: VaultId,
    pub device: DeviceId,
    pub key: SigningKey,
    pub account_key: SigningKey,
    pub token: String,
    pub epoch: Epoch,
}

fn new_key() -> SigningKey {
    let mut seed = [0; 32];
    rand::RngCore::fill_bytes(&mut os_random(), &mut seed);
    SigningKey::from_bytes(&seed)
}

impl Device {
    /// Registers a new account; this is its first device.
    pub async fn register(addr: SocketAddr) -> Self {
        let name = format!("person-{}-{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed));
        let password = Password::new(PASSWORD.to_owned());
        let (registration, message) = Registration::start(&password, &mut os_random()).unwrap();
        let start = RegisterStart { name: name.clone(), request: message.into() };
        let started: RegisterStarted = post(addr, "/v1/accounts/start", None, &start).await;
        let registered = registration.finish(&started.response.0, &mut os_random()).unwrap();
        Self::found(addr, name, &started, registered.upload).await
    }

    /// As [`Self::register`], with a password that is not stretched: the server cannot tell, and a thousand logins need
    /// not wait.
    pub async fn register_unstretched(addr: SocketAddr, password: &[u8]) -> Self {
        let name = format!("quick-{}-{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed));
        let begun = ClientRegistration::<ServerSuite>::start(&mut os_random(), password).unwrap();
        let start = RegisterStart { name: name.clone(), request: begun.message.serialize().to_vec().into() };
        let started: RegisterStarted = post(addr, "/v1/accounts/start", None, &start).await;
        let response = RegistrationResponse::deserialize(&started.response.0).unwrap();
        let parameters = ClientRegistrationFinishParameters::default();
        let ended = begun.state.finish(&mut os_random(), password, response, parameters).unwrap();
        Self::found(addr, name, &started, ended.message.serialize().to_vec()).await
    }

    async fn found(addr: SocketAddr, name: String, started: &RegisterStarted, upload: Vec<u8>) -> Self {
        let (key, account_key) = (new_key(), new_key());
        let (account, device) = (started.account, DeviceId(Uuid::new_v4()));
        let vault = VaultId(Uuid::new_v4());
        let finish = RegisterFinish {
            attempt: started.attempt,
            upload: upload.into(),
            suite: 1,
            statements: statements(account, &account_key, device, &key, vault),
            device,
            vault,
            wraps: ["ark/password", "ask", &format!("vault/{vault}")]
                .map(|name| {
                    let bytes = Bytes64(vec![7; wrap_len(name).unwrap()]);
                    Wrap { name: name.to_owned(), generation: 1, bytes }
                })
                .to_vec(),
            invitation: None,
        };
        let tokens: Tokens = post(addr, "/v1/accounts/finish", None, &finish).await;
        let mut this = Self {
            addr,
            name,
            account,
            vault,
            device,
            key,
            account_key,
            token: tokens.access_token,
            epoch: Epoch::ZERO,
        };
        this.epoch = this.stream(vault.into()).await.epoch;
        this
    }

    /// Proves the password anew, and no device; what is answered.
    pub async fn log_in(&self) -> Reply {
        let password = Password::new(PASSWORD.to_owned());
        let (login, ke1) = Login::start(&password, &mut os_random()).unwrap();
        let start = LoginStart { name: self.name.clone(), request: ke1.into(), device: None };
        let started: LoginStarted = post(self.addr, "/v1/sessions/start", None, &start).await;
        let done = login.finish(&started.response.0, &mut os_random()).unwrap();
        let finish =
            LoginFinish { attempt: started.attempt, finalization: done.finalization.into(), device: None };
        send(self.addr, "/v1/sessions/finish", None, &finish).await
    }

    /// The next statement of the account's roster.
    pub fn state(&self, account: &Account, claim: Claim) -> Statement {
        let mut roster = Roster::start(&account.roster[0]).unwrap();
        account.roster[1..].iter().for_each(|next| roster.apply(next).unwrap());
        Statement::sign(&self.account_key, self.account, roster.epoch + 1, roster.last, claim)
    }

    /// Enrols another device of the same account.
    pub async fn another(&self) -> Self {
        self.enrolled(self.log_in().await.json()).await
    }

    /// The same for an account whose password is not stretched.
    pub async fn another_unstretched(&self, password: &[u8]) -> Self {
        let begun = ClientLogin::<ServerSuite>::start(&mut os_random(), password).unwrap();
        let request = begun.message.serialize().to_vec().into();
        let start = LoginStart { name: self.name.clone(), request, device: None };
        let started: LoginStarted = post(self.addr, "/v1/sessions/start", None, &start).await;
        let response = CredentialResponse::deserialize(&started.response.0).unwrap();
        let parameters = ClientLoginFinishParameters::new(Some(CONTEXT), Identifiers::default(), None);
        let ended = begun.state.finish(&mut os_random(), password, response, parameters).unwrap();
        let finalization = ended.message.serialize().to_vec().into();
        let finish = LoginFinish { attempt: started.attempt, finalization, device: None };
        self.enrolled(post(self.addr, "/v1/sessions/finish", None, &finish).await).await
    }

    async fn enrolled(&self, logged_in: LoggedIn) -> Self {
        let (key, device) = (new_key(), DeviceId(Uuid::new_v4()));
        let claim = Claim::DeviceAdded { device, public_key: public_key(&key) };
        let statement = self.state(&logged_in.account, claim);
        let enrol = logged_in.enrol_token.unwrap();
        let tokens: Tokens = post(self.addr, "/v1/devices", Some(&enrol), &EnrolDevice { statement }).await;
        Self { device, key, token: tokens.access_token, ..self.clone() }
    }

    /// A request with this device's token.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let bearer = format!("Bearer {}", self.token);
        let headers = [headers, &[("authorization", bearer.as_str())]].concat();
        let mut wire = Wire::connect(self.addr).await.unwrap();
        wire.exchange(&request(method, path, &headers, body)).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"").await
    }

    pub async fn post(&self, path: &str, body: &impl Serialize) -> Reply {
        let body = serde_json::to_vec(body).unwrap();
        self.send("POST", path, &[("content-type", "application/json")], &body).await
    }

    /// The head of one of the account's streams.
    pub async fn stream(&self, stream: StreamId) -> StreamInfo {
        let streams: Streams = self.get("/v1/streams").await.json();
        streams.streams.into_iter().find(|info| info.stream == stream).unwrap()
    }

    /// The last seq of the vault.
    pub async fn seq(&self) -> u64 {
        self.stream(self.vault.into()).await.head.0
    }

    pub fn push_path(&self) -> String {
        format!("/v1/vaults/{}/versions", self.vault)
    }

    pub fn batch(&self, items: Vec<PushItem>) -> Push {
        let batch_id = BatchId(Uuid::new_v4());
        Push { epoch: self.epoch, batch_id, items, groups: Vec::new(), reoffer: false }
    }

    /// Pushes items and gives their answers.
    pub async fn push(&self, items: Vec<PushItem>) -> Vec<PushResult> {
        let reply = self.post(&self.push_path(), &self.batch(items)).await;
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        reply.json::<Pushed>().results
    }

    /// An edit by this device, signed, with its ciphertext inline.
    pub fn edit(&self, entry: EntryId, parents: &[VersionId], content: &[u8]) -> PushItem {
        let mut parents = parents.to_vec();
        parents.sort_unstable();
        let kind = if parents.len() > 1 { VersionKind::Merge } else { VersionKind::Edit };
        let header = Header {
            format: FORMAT,
            account: self.account,
            vault: self.vault,
            entry,
            kind,
            parents,
            content_of: None,
            key_id: Uuid::from_u128(5),
            content_hash: Some(BlobHash(sha256(content))),
            content_len: u32::try_from(content.len()).unwrap(),
            author_device: self.device,
            observed_seq: Seq::ZERO,
            observed_chain: Chain::ZERO,
            client_time: 0,
        };
        let mut item = self.signed(header);
        item.inline = Some(Bytes64(content.to_vec()));
        item.wrapped_key = Some(format!("00000001{}", "ab".repeat(104)));
        item
    }

    /// Keeps an existing version over these heads.
    pub fn adopt(&self, entry: EntryId, parents: &[VersionId], of: VersionId) -> PushItem {
        self.anonymous(entry, parents, VersionKind::Adopt, Some(of))
    }

    /// Deletes an entry whose heads are these.
    pub fn tombstone(&self, entry: EntryId, parents: &[VersionId]) -> PushItem {
        self.anonymous(entry, parents, VersionKind::Tombstone, None)
    }

    fn anonymous(
        &self,
        entry: EntryId,
        parents: &[VersionId],
        kind: VersionKind,
        content_of: Option<VersionId>,
    ) -> PushItem {
        let mut header = self.edit(entry, parents, b"x").header;
        header.kind = kind;
        header.content_of = content_of;
        header.key_id = Uuid::nil();
        header.content_hash = None;
        header.content_len = 0;
        header.author_device = DeviceId::NIL;
        self.signed(header)
    }

    /// An item of any header, signed by this device.
    pub fn signed(&self, header: Header) -> PushItem {
        let signature = sign_version(&self.key, &header.version_id());
        PushItem {
            header,
            signer: self.device,
            signature,
            wrapped_key: None,
            inline: None,
            expect_heads: None,
            infer_parents: false,
            attachments: Vec::new(),
        }
    }
}

fn statements(
    account: AccountId,
    account_key: &SigningKey,
    device: DeviceId,
    key: &SigningKey,
    vault: VaultId,
) -> Vec<Statement> {
    let mut statements: Vec<Statement> = Vec::new();
    for claim in [
        Claim::AccountCreated { signing_key: public_key(account_key) },
        Claim::DeviceAdded { device, public_key: public_key(key) },
        Claim::VaultKeyGen { vault, generation: 1 },
    ] {
        let previous = statements.last().map_or(Hash32::ZERO, Statement::hash);
        let epoch = u32::try_from(statements.len()).unwrap();
        statements.push(Statement::sign(account_key, account, epoch, previous, claim));
    }
    statements
}

async fn post<T: DeserializeOwned>(
    addr: SocketAddr,
    path: &str,
    token: Option<&str>,
    body: &impl Serialize,
) -> T {
    let reply = send(addr, path, token, body).await;
    assert!(reply.status < 300, "{path}: {} {}", reply.status, String::from_utf8_lossy(&reply.body));
    reply.json()
}

/// Posts with a token, or with none.
pub async fn send(addr: SocketAddr, path: &str, token: Option<&str>, body: &impl Serialize) -> Reply {
    let bearer = token.map(|token| format!("Bearer {token}")).unwrap_or_default();
    let mut headers = vec![("content-type", "application/json")];
    if token.is_some() {
        headers.push(("authorization", &bearer));
    }
    let mut wire = Wire::connect(addr).await.unwrap();
    let bytes = request("POST", path, &headers, &serde_json::to_vec(body).unwrap());
    wire.exchange(&bytes).await.unwrap()
}

/// The id of an item's version.
pub fn id(item: &PushItem) -> VersionId {
    item.header.version_id()
}

/// A new entry's id.
pub fn entry() -> EntryId {
    EntryId(Uuid::new_v4())
}
