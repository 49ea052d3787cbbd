//! Who may ask for what: every operation of the API's document, asked by everybody who must not get through. A new
//! operation without a row here fails, and so does a row that somebody did not ask.

use std::collections::BTreeSet;

use lockstep_api::{
    Code,
    account::{Account, EnrolDevice, OfferRoster, RevokeDevice},
    privacy::Erase,
    sync::{BlobRef, CompleteBlob, GetBlobs, GetVersions, PrepareBlobs, Purge, Push, Reconcile},
};
use lockstep_events::{
    BatchId, BlobHash, DeviceId, EntryId, Seq, SessionId, StreamId, canonical::sha256, header::public_key,
    roster::Claim,
};
use reqwest::StatusCode;
use serde_json::Value;
use uuid::Uuid;

mod columns;
mod doors;
pub mod office;
pub mod row;
mod ways;

use crate::{
    oidc_attacks::node_with,
    support::{
        Mode, Node, Person,
        idp::{Idp, Tricks},
        person::random_key,
    },
    ways::{begin_step_up, step_up_request},
};
use columns::{Asker, COLUMNS, STRANGERS, Who};
use office::Office;
use row::{For, Row};

in_both_modes! {
    bola_matrix,
    an_id_of_another_kind_names_nothing,
}

/// One person's things, and other people.
pub struct World {
    pub node: Node,
    pub owner: Person,
    revoked: Person,
    office: Office,
    idp: Idp,
    owners: Asker,
    other: Asker,
    auditor: Asker,
    admin: Asker,
}

impl World {
    pub async fn new(mode: Mode) -> Self {
        let idp = Idp::start(Tricks::default()).await;
        let mut node = node_with(mode, &[("idp", &idp)]).await;
        let office = Office::open(&mut node).await;
        let (owner, other) = (Person::register(&node).await, Person::register(&node).await);
        let revoked = owner.enrol(&node).await;
        assert!(owner.revoke(&node, revoked.device).await.status().is_success());
        let owners = Asker::new(&node, &owner).await;
        let other = Asker::new(&node, &other).await;
        let auditor = Asker::new(&node, &office.auditor).await;
        let admin = Asker::new(&node, &office.admin).await;
        Self { node, owner, revoked, office, idp, owners, other, auditor, admin }
    }

    /// The token of whom an operation is for.
    pub fn token<'a>(&'a self, row: &Row) -> Option<&'a str> {
        let whose = match row.answers {
            For::Everybody => return None,
            For::Administrator => &self.admin,
            For::Auditor => &self.auditor,
            _ => &self.owners,
        };
        Some(whose.token(row.answers))
    }

    /// Where everybody's streams are.
    async fn heads(&self) -> Vec<(StreamId, Seq)> {
        let people = [&self.owners, &self.other, &self.auditor, &self.admin].map(|asker| &asker.person);
        let streams = people.map(|person| [person.account.into(), person.vault.into()]).concat();
        let heads = self.node.running().server.log.stream_heads(&streams).await.unwrap();
        heads.into_iter().map(|head| (head.stream, head.seq)).collect()
    }
}

/// Frames of blobs as an upload has them.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&sha256(bytes)[..], &length, bytes].concat()
}

/// Every operation, in an order in which the owner gets an answer to each.
pub async fn rows(world: &World) -> Vec<Row> {
    let (node, owner) = (&world.node, &world.owner);
    let epoch = owner.epoch(node).await;
    let item = owner.entry(b"ciphertext");
    let (entry, version) = (item.header.entry, item.header.version_id());
    let deletion = owner.deletion(entry, vec![version]);
    let deleted = deletion.header.version_id();
    let push = Push {
        epoch,
        batch_id: BatchId(Uuid::new_v4()),
        items: vec![item, deletion],
        groups: Vec::new(),
        reoffer: false,
    };
    let mut rows = sync_rows(owner, &push);
    let get = GetVersions { versions: vec![version] };
    rows.push(
        Row::new("POST", "/v1/vaults/{vault}/versions/get", For::Owner).at("{vault}", owner.vault).json(&get),
    );
    rows.push(
        Row::new("GET", "/v1/vaults/{vault}/entries/{entry}/versions", For::Owner)
            .at("{vault}", owner.vault)
            .at("{entry}", entry),
    );
    rows.push(
        Row::new("POST", "/v1/vaults/{vault}/entries/{entry}/purge", For::Owner)
            .at("{vault}", owner.vault)
            .at("{entry}", entry)
            .header("idempotency-key", "once")
            .json(&Purge { expect_heads: vec![deleted] }),
    );
    rows.push(file_row(owner, epoch));
    rows.push(Row::new("GET", "/v1/file", For::Itself));
    rows.extend(blob_rows(owner));
    let (of_account, after) = account_rows(world).await;
    rows.extend(of_account);
    rows.extend(doors::rows(node, owner, after).await);
    rows.extend(own_rows(world).await);
    rows.extend(ways::rows(world).await);
    rows.extend(world.office.rows(node).await);
    rows.extend(open_rows());
    // The last: it takes the place of the device's session.
    rows.push(ways::vault_row(world));
    // Which therefore ends no others any more; that it does is proven where sessions are.
    rows.push(Row::new("DELETE", "/v1/sessions", For::Itself).used_up(Code::Revoked));
    rows
}

fn sync_rows(owner: &Person, push: &Push) -> Vec<Row> {
    let reconcile = Reconcile::Ids { buckets: vec![0], ids: Vec::new() };
    vec![
        Row::new("GET", "/v1/streams", For::Itself),
        Row::new("POST", "/v1/vaults/{vault}/versions", For::Owner).at("{vault}", owner.vault).json(push),
        Row::new("GET", "/v1/streams/{stream}/changes", For::Owner).at("{stream}", owner.vault),
        Row::new("GET", "/v1/vaults/{vault}/snapshot", For::Owner).at("{vault}", owner.vault),
        Row::new("POST", "/v1/vaults/{vault}/reconcile", For::Owner)
            .at("{vault}", owner.vault)
            .json(&reconcile),
        Row::new("POST", "/v1/live/ticket", For::Itself),
    ]
}

/// The file is whosever asks: what the owner has signed is nobody else's file.
fn file_row(owner: &Person, epoch: lockstep_events::Epoch) -> Row {
    let mut item = owner.entry(b"file");
    item.header.entry = lockstepd::http::file::file_entry(owner.account);
    item.signature = lockstep_events::header::sign_version(&owner.device_key, &item.header.version_id());
    let batch_id = BatchId(Uuid::new_v4());
    let push = Push { epoch, batch_id, items: vec![item], groups: Vec::new(), reoffer: false };
    Row::new("PUT", "/v1/file", For::Owner).json(&push)
}

fn blob_rows(owner: &Person) -> Vec<Row> {
    let (packed, single) = ([1; 20_000], [2; 20_000]);
    let hash = BlobHash(sha256(&single));
    let at = |row: Row| row.at("{vault}", owner.vault).at("{hash}", hash);
    let complete =
        CompleteBlob { size: 20_000, upload: format!("{}.1", Uuid::nil()), tags: vec!["tag".to_owned()] };
    let prepare = PrepareBlobs { blobs: vec![BlobRef { hash, size: 20_000, attachment: false }] };
    vec![
        at(Row::new("POST", "/v1/vaults/{vault}/blobs/prepare", For::Owner).json(&prepare)),
        at(Row::new("POST", "/v1/vaults/{vault}/blobs", For::Owner).bytes(frame(&packed))),
        at(Row::new("PUT", "/v1/vaults/{vault}/blobs/{hash}", For::Owner).query("?size=20000"))
            .bytes(single.to_vec()),
        // It is stored already, which is the end of every upload.
        at(Row::new("POST", "/v1/vaults/{vault}/blobs/{hash}/complete", For::Owner).json(&complete)),
        at(Row::new("GET", "/v1/vaults/{vault}/blobs/{hash}", For::Owner)),
        at(Row::new("POST", "/v1/vaults/{vault}/blobs/get", For::Owner)
            .json(&GetBlobs { hashes: vec![hash] })),
    ]
}

/// And the account as it is after them.
async fn account_rows(world: &World) -> (Vec<Row>, Account) {
    let (node, owner) = (&world.node, &world.owner);
    let (lost, gone) = (owner.enrol(node).await, owner.enrol(node).await);
    let account = owner.look(node).await;
    let claim = Claim::DeviceRevoked { device: lost.device };
    let revoke = RevokeDevice { statement: owner.state(&account, claim) };
    // Follows the revocation, which comes before it here.
    let mut after = account;
    after.roster.push(revoke.statement.clone());
    let added =
        Claim::DeviceAdded { device: DeviceId(Uuid::new_v4()), public_key: public_key(&random_key()) };
    let enrol = EnrolDevice { statement: owner.state(&after, added) };
    after.roster.push(enrol.statement.clone());
    let rows = vec![
        Row::new("GET", "/v1/account", For::Itself),
        Row::new("GET", "/v1/devices", For::Itself),
        Row::new("GET", "/v1/sessions", For::Itself),
        Row::new("DELETE", "/v1/sessions/{session}", For::Owner).at("{session}", gone.tokens.session),
        Row::new("POST", "/v1/devices/{device}/revoke", For::Owner).at("{device}", lost.device).json(&revoke),
        Row::new("POST", "/v1/devices", For::Enrolling).json(&enrol),
    ];
    (rows, after)
}

/// What somebody asks about their own account, or proves.
async fn own_rows(world: &World) -> Vec<Row> {
    let (node, owner) = (&world.node, &world.owner);
    let offer = OfferRoster { statements: owner.look(node).await.roster, wraps: Vec::new() };
    let begun = begin_step_up(node, owner, &owner.password).await;
    // An attempt is used up by whoever takes it, so each of the others gets one of their own to try.
    let mut finish = Row::new("POST", "/v1/sessions/step-up/finish", For::Prover).json(&begun);
    for _ in STRANGERS {
        finish = finish.others(&begin_step_up(node, owner, &owner.password).await);
    }
    vec![
        Row::new("GET", "/v1/me/plan", For::Itself),
        Row::new("GET", "/v1/me/activity", For::Itself),
        Row::new("GET", "/v1/me/export", For::Itself),
        Row::new("POST", "/v1/me/erasure", For::Owner)
            .header("idempotency-key", "the-end")
            .json(&Erase { account: owner.account }),
        Row::new("GET", "/v1/me/erasure", For::Itself),
        Row::new("DELETE", "/v1/me/erasure", For::Itself).header("idempotency-key", "or-not"),
        Row::new("POST", "/v1/roster", For::Vouched).json(&offer),
        Row::new("POST", "/v1/sessions/step-up/start", For::Itself).json(&step_up_request(&owner.password)),
        finish,
    ]
}

fn open_rows() -> Vec<Row> {
    let open = [
        ("GET", "/.well-known/jwks.json"),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("GET", "/v1/live"),
        ("POST", "/v1/accounts/start"),
        ("POST", "/v1/accounts/finish"),
        ("POST", "/v1/sessions/start"),
        ("POST", "/v1/sessions/finish"),
        ("POST", "/v1/sessions/refresh"),
        ("POST", "/v1/sign-in/start"),
        ("POST", "/v1/sign-in/finish"),
        ("GET", "/passkey"),
        ("GET", "/link/{secret}"),
        ("POST", "/link/{secret}"),
        ("GET", "/v1/oidc"),
        ("POST", "/v1/oidc/{provider}/start"),
        ("POST", "/v1/oidc/finish"),
        ("GET", "/v1/oidc/callback"),
        ("POST", "/v1/oidc/callback"),
    ];
    let mut rows: Vec<Row> = open.map(|(method, path)| Row::new(method, path, For::Everybody)).into();
    // It asks for the biller's signature, not for a token; here is no biller.
    rows.push(Row::new("POST", "/v1/billing/events", For::Everybody).json(&serde_json::json!({})));
    rows
}

/// Every operation of the document.
fn documented() -> BTreeSet<(String, String)> {
    let text = include_str!("../../docs/openapi.json");
    let document: Value = serde_json::from_str(text).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            item.as_object().unwrap().keys().map(move |method| (method.to_uppercase(), path.clone()))
        })
        .collect()
}

async fn bola_matrix(mode: Mode) {
    let world = World::new(mode).await;
    let rows = rows(&world).await;
    let named: BTreeSet<_> =
        rows.iter().map(|row| (row.method.to_owned(), row.template.to_owned())).collect();
    assert_eq!(named, documented(), "every operation has a row, and every row is an operation");
    let mut cells = BTreeSet::new();
    for row in &rows {
        for who in COLUMNS.into_iter().filter(|who| *who != Who::Expired) {
            columns::ask(&world, row, who).await;
            cells.insert((row.method, row.template, who));
        }
        if row.answers == For::Everybody {
            continue;
        }
        let answer = row.ask(&world.node, world.token(row)).await;
        let status = answer.status();
        let text = answer.text().await.unwrap();
        let fits = row.used_up.map_or(status.is_success(), |code| status.as_u16() == code.status());
        assert!(fits, "the owner's own: {} {}: {status} {text}", row.method, row.template);
    }
    // Longer than any token lives.
    world.node.clock.pass(1000);
    for row in &rows {
        columns::ask(&world, row, Who::Expired).await;
        cells.insert((row.method, row.template, Who::Expired));
    }
    assert_eq!(cells.len(), documented().len() * COLUMNS.len(), "somebody did not ask for something");
    eprintln!("{} operations by {} who ask: none gets through", rows.len(), COLUMNS.len());
}

/// Ids of the wrong kind name nothing either.
async fn an_id_of_another_kind_names_nothing(mode: Mode) {
    let node = Node::start(mode).await;
    let person = Person::register(&node).await;
    let ids = [person.account.0, person.device.0, person.tokens.session.0, Uuid::nil(), Uuid::max()];
    for id in ids {
        for path in [
            format!("/v1/vaults/{id}/snapshot"),
            format!("/v1/vaults/{id}/entries/{}/versions", EntryId(Uuid::nil())),
            format!("/v1/vaults/{}/entries/{id}/versions", person.vault),
        ] {
            assert_eq!(person.get(&node, &path).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
        if SessionId(id) != person.tokens.session {
            let end = node.request("DELETE", &format!("/v1/sessions/{id}"));
            let answer = end.bearer_auth(&person.tokens.access_token).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        }
    }
}
