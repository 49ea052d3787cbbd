//! Who may ask for what: every operation of the API's document, asked by everybody who must not get through. A new
//! operation without a row here fails.

use std::collections::BTreeSet;

use lockstep_api::{
    Code,
    account::{Account, EnrolDevice, LoggedIn, OfferRoster, RevokeDevice},
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

mod doors;
pub mod office;
mod row;
mod ways;

use crate::{
    oidc_attacks::node_with,
    scope::identity_token,
    support::{
        Mode, Node, Person, body,
        idp::{Idp, Tricks},
        person::random_key,
    },
    ways::{begin_step_up, step_up_request},
};
use office::Office;
use row::{For, Row};

/// One person's things, and other people.
struct World {
    node: Node,
    owner: Person,
    other: Person,
    revoked: Person,
    enrolling: String,
    others_enrolling: String,
    office: Office,
    idp: Idp,
    identified: String,
    others_identified: String,
}

impl World {
    async fn new() -> Self {
        let idp = Idp::start(Tricks::default()).await;
        let mut node = node_with(Mode::Embedded, &[("idp", &idp)]).await;
        let office = Office::open(&mut node).await;
        let (owner, other) = (Person::register(&node).await, Person::register(&node).await);
        let revoked = owner.enrol(&node).await;
        assert!(owner.revoke(&node, revoked.device).await.status().is_success());
        let enrolling = enrol_token(&node, &owner).await;
        let others_enrolling = enrol_token(&node, &other).await;
        // Older than they could be: they run out with the other tokens.
        let (identified, others_identified) =
            [&owner, &other].map(|person| identity_token(&node, person, -600)).into();
        Self {
            node,
            owner,
            other,
            revoked,
            enrolling,
            others_enrolling,
            office,
            idp,
            identified,
            others_identified,
        }
    }

    /// The token of whom an operation is for.
    fn token<'a>(&'a self, row: &Row) -> Option<&'a str> {
        match row.answers {
            For::Everybody => None,
            For::Enrolling => Some(&self.enrolling),
            For::Identified => Some(&self.identified),
            For::Owner | For::Itself | For::Vouched | For::Prover => Some(&self.owner.tokens.access_token),
            For::Administrator => Some(&self.office.admin.tokens.access_token),
            For::Auditor => Some(&self.office.auditor.tokens.access_token),
        }
    }

    /// Where everybody's streams are.
    async fn heads(&self) -> Vec<(StreamId, Seq)> {
        let streams = [
            self.owner.account.into(),
            self.owner.vault.into(),
            self.other.account.into(),
            self.other.vault.into(),
        ];
        let heads = self.node.running().server.log.stream_heads(&streams).await.unwrap();
        heads.into_iter().map(|head| (head.stream, head.seq)).collect()
    }
}

async fn enrol_token(node: &Node, person: &Person) -> String {
    let answer = person.login(node, &person.password, false).await;
    body::<LoggedIn>(answer, StatusCode::OK).await.enrol_token.unwrap()
}

/// Frames of blobs as an upload has them.
fn frame(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&sha256(bytes)[..], &length, bytes].concat()
}

/// Every operation, in an order in which the owner gets an answer to each.
async fn rows(world: &World) -> Vec<Row> {
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
    // An attempt is used up by whoever takes it, so others get one of their own to try.
    let tried = begin_step_up(node, owner, &owner.password).await;
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
        Row::new("POST", "/v1/sessions/step-up/finish", For::Prover).json(&begun).others(&tried),
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

/// Asserts that an answer is a refusal with one of these codes, and that nothing was written by it.
async fn refused(world: &World, row: &Row, token: Option<&str>, who: &str, codes: &[Code]) {
    let before = world.heads().await;
    let answer = row.ask(&world.node, token).await;
    let status = answer.status();
    let text = answer.text().await.unwrap();
    let place = format!("{} {} as {who}: {status} {text}", row.method, row.template);
    let problem: Value = serde_json::from_str(&text).unwrap_or_default();
    assert!(codes.iter().any(|code| problem["code"] == code.as_str()), "{place}");
    assert_eq!(world.heads().await, before, "{place}");
    says_nothing_of_the_owner(world, &text, &place);
}

fn says_nothing_of_the_owner(world: &World, text: &str, place: &str) {
    let owner = &world.owner;
    for id in
        [owner.account.to_string(), owner.vault.to_string(), owner.device.to_string(), owner.name.clone()]
    {
        assert!(!text.contains(&id), "{place}");
    }
}

/// What somebody else hears whose token is right.
async fn as_another(world: &World, row: &Row) {
    let token = Some(world.other.tokens.access_token.as_str());
    match row.answers {
        For::Owner => {
            let codes = [Code::NotFound, Code::RosterConflict, Code::InvalidField];
            let only =
                if row.path.contains(&world.owner.vault.to_string()) { &codes[..1] } else { &codes[..] };
            refused(world, row, token, "another user", only).await;
        }
        For::Enrolling => {
            let others = Some(world.others_enrolling.as_str());
            refused(world, row, others, "another user", &[Code::InvalidField, Code::RosterConflict]).await;
        }
        For::Vouched => {
            let codes = [Code::RosterConflict, Code::InvalidField, Code::Forbidden];
            refused(world, row, token, "another user", &codes).await;
            let others = Some(world.others_enrolling.as_str());
            refused(world, row, others, "another user who enrols", &codes).await;
        }
        For::Prover => {
            let tried = Row { body: row.others.clone().unwrap(), ..row.clone() };
            refused(world, &tried, token, "another user", &[Code::LoginFailed, Code::AttemptExpired]).await;
        }
        For::Identified => {
            let others = Some(world.others_identified.as_str());
            refused(world, row, others, "another user", &[Code::LoginFailed, Code::AttemptExpired]).await;
            refused(world, row, token, "another user's device", &[Code::Forbidden]).await;
        }
        For::Administrator | For::Auditor => {
            refused(world, row, token, "another user", &[Code::Forbidden]).await;
            let owner = Some(world.owner.tokens.access_token.as_str());
            refused(world, row, owner, "a user", &[Code::Forbidden]).await;
            let office = &world.office;
            let wrong = if row.answers == For::Auditor { &office.admin } else { &office.auditor };
            // Auditors may look at what administrators look at.
            if row.answers == For::Auditor || row.method != "GET" && !row.template.ends_with("/find") {
                let wrong = Some(wrong.tokens.access_token.as_str());
                refused(world, row, wrong, "another office", &[Code::Forbidden]).await;
            }
        }
        For::Itself => {
            let body = row.others.clone().unwrap_or_else(|| row.body.clone());
            let text = Row { body, ..row.clone() }.ask(&world.node, token).await.text().await.unwrap();
            says_nothing_of_the_owner(world, &text, &format!("{} {}", row.method, row.template));
        }
        For::Everybody => {}
    }
}

/// Whatever the token, the answer of an operation for everybody is the same.
async fn the_same_for_everybody(world: &World, row: &Row) {
    let without = row.ask(&world.node, None).await.status();
    assert_ne!(without, StatusCode::UNAUTHORIZED, "{}", row.template);
    for token in [&world.owner.tokens.access_token, &world.revoked.tokens.access_token, &world.enrolling] {
        assert_eq!(row.ask(&world.node, Some(token)).await.status(), without, "{}", row.template);
    }
}

async fn no_stranger_gets_through(world: &World, row: &Row) {
    if row.answers == For::Everybody {
        return the_same_for_everybody(world, row).await;
    }
    refused(world, row, None, "anonymous", &[Code::Unauthenticated]).await;
    let revoked = Some(world.revoked.tokens.access_token.as_str());
    refused(world, row, revoked, "a revoked device", &[Code::Revoked]).await;
    if row.answers == For::Enrolling {
        let device = Some(world.owner.tokens.access_token.as_str());
        refused(world, row, device, "a device that is enrolled", &[Code::Forbidden]).await;
    } else if row.answers != For::Vouched {
        let enrolling = Some(world.enrolling.as_str());
        refused(world, row, enrolling, "a password without a device", &[Code::VaultProofRequired]).await;
    }
    as_another(world, row).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bola_matrix() {
    let world = World::new().await;
    let rows = rows(&world).await;
    let named: BTreeSet<_> =
        rows.iter().map(|row| (row.method.to_owned(), row.template.to_owned())).collect();
    assert_eq!(named, documented(), "every operation has a row, and every row is an operation");
    for row in &rows {
        no_stranger_gets_through(&world, row).await;
        if row.answers == For::Everybody {
            continue;
        }
        let answer = row.ask(&world.node, world.token(row)).await;
        let status = answer.status();
        let text = answer.text().await.unwrap();
        let fits = row.used_up.map_or(status.is_success(), |code| status.as_u16() == code.status());
        assert!(fits, "the owner's own: {} {}: {status} {text}", row.method, row.template);
    }
    world.node.clock.pass(400);
    for row in rows.iter().filter(|row| row.answers != For::Everybody) {
        refused(&world, row, world.token(row), "one whose token has expired", &[Code::TokenExpired]).await;
    }
    println!("{} operations, every one refused to everybody it is not for", rows.len());
}

/// Ids of the wrong kind name nothing either.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_another_kind_names_nothing() {
    let node = Node::start(Mode::Embedded).await;
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
