//! A seeded script of what accounts, devices, sessions and vaults may do: valid events in random order.

use std::sync::Arc;

use lockstep_events::{
    AccountId, BatchId, BlobHash, Chain, DeviceId, EntryId, Epoch, Event, EventId, EventLog, Hash32, Header,
    Hex, Micros, NewEvent, Outcome, Seq, SessionId, StreamId, StreamKind, SubjectId, Unit, VaultId,
    VersionId, VersionKind,
    event::{
        AccountCreated, AccountDisabled, AccountEnabled, AccountEvent, AccountViewed, ContentPruned,
        EntryPurged, FlagSet, Method, PlanSet, PlanSource, RevokeReason, Role, RoleSet, RosterStated,
        SessionOpened, SessionRefreshed, SessionRevoked, SessionsEnded, VaultAttached, VaultCreated,
        VaultEvent, VersionAdded, Viewed,
    },
    graph::Graph,
    ids::{PublicKey, Signature},
    log::{StreamClaim, StreamExpect},
    roster::{Claim, Statement},
    standing::Standing,
    word,
};
use uuid::Uuid;

use super::random::Random;

/// An entry as the script made it, with its whole graph.
#[derive(Debug, Clone)]
pub struct MadeEntry {
    /// The entry.
    pub entry: EntryId,
    /// Its versions; empty again after a purge.
    pub graph: Graph,
    /// Whether it was purged.
    pub purged: bool,
    versions: Vec<(VersionId, Option<BlobHash>)>,
}

/// A vault as the script made it.
#[derive(Debug, Clone)]
pub struct MadeVault {
    /// The vault.
    pub vault: VaultId,
    /// Its owner.
    pub account: AccountId,
    /// Its entries.
    pub entries: Vec<MadeEntry>,
}

#[derive(Debug, Clone)]
struct MadeAccount {
    account: AccountId,
    statements: u32,
    devices: Vec<DeviceId>,
    sessions: Vec<SessionId>,
}

/// Makes one unit after the other.
#[derive(Debug, Clone)]
pub struct Script {
    random: Random,
    accounts: Vec<MadeAccount>,
    /// The vaults so far, for checks.
    pub vaults: Vec<MadeVault>,
}

pub(super) fn new_event(
    id: EventId,
    stream: StreamId,
    subject: Option<SubjectId>,
    event: &Event,
) -> NewEvent {
    let encoded = event.encode().unwrap_or_else(|error| unreachable!("our own types are JSON: {error}"));
    let body_hash = NewEvent::hash_body(stream, subject, encoded.kind, encoded.schema, &encoded.public, None);
    NewEvent {
        event_id: id,
        stream,
        subject,
        kind: encoded.kind.into(),
        schema: encoded.schema,
        actor: None,
        device: None,
        correlation: None,
        causation: None,
        public: encoded.public,
        sealed: None,
        content: None,
        body_hash,
    }
}

/// A unit of one event.
pub fn unit_of(kind: StreamKind, event: NewEvent) -> Unit {
    unit_of_all(kind, vec![event])
}

/// A unit of events of one stream.
pub fn unit_of_all(kind: StreamKind, events: Vec<NewEvent>) -> Unit {
    let stream = events[0].stream;
    let epoch_if_new = Epoch(*stream.as_bytes());
    let claim = StreamClaim { stream, kind, expect: StreamExpect::Any, epoch_if_new };
    Unit { streams: vec![claim], events, ..Unit::default() }
}

impl Script {
    /// A script that this seed alone decides. It starts with one account that has a device and a vault.
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), accounts: Vec::new(), vaults: Vec::new() }
    }

    /// The next unit.
    pub fn next_unit(&mut self) -> Unit {
        if self.accounts.is_empty() || self.random.percent(2) {
            return self.register();
        }
        if self.vaults.is_empty() {
            return self.make_vault();
        }
        match self.random.below(100) {
            0..2 => self.make_vault(),
            2..5 => self.add_device(),
            5..7 => self.revoke_device(),
            7..13 => self.session_step(),
            13..15 => self.standing(),
            15..18 => self.prune(),
            18..20 => self.purge(),
            _ => self.version(),
        }
    }

    fn id(&mut self) -> EventId {
        EventId(self.random.uuid())
    }

    fn account_event(
        &mut self,
        account: AccountId,
        subject: Option<SubjectId>,
        event: AccountEvent,
    ) -> NewEvent {
        new_event(self.id(), account.into(), subject, &Event::Account(event))
    }

    fn register(&mut self) -> Unit {
        let account = AccountId(self.random.uuid());
        let claim = Claim::AccountCreated { signing_key: PublicKey(self.random.bytes()) };
        let statement = statement(account, 0, claim);
        self.accounts.push(MadeAccount { account, statements: 1, devices: Vec::new(), sessions: Vec::new() });
        let created = AccountEvent::Created(AccountCreated { account, statement });
        unit_of(StreamKind::Account, self.account_event(account, None, created))
    }

    fn any_account(&mut self) -> usize {
        self.random.below(self.accounts.len())
    }

    fn make_vault(&mut self) -> Unit {
        let at = self.any_account();
        let account = self.accounts[at].account;
        let vault = VaultId(self.random.uuid());
        self.vaults.push(MadeVault { vault, account, entries: Vec::new() });
        let attached = AccountEvent::VaultAttached(VaultAttached { vault });
        let attached = self.account_event(account, Some(vault.into()), attached);
        let created = Event::Vault(VaultEvent::Created(VaultCreated { vault, account }));
        let created = new_event(self.id(), vault.into(), None, &created);
        let mut unit = unit_of(StreamKind::Account, attached);
        let second = unit_of(StreamKind::Vault, created);
        unit.streams.extend(second.streams);
        unit.events.extend(second.events);
        unit
    }

    fn add_device(&mut self) -> Unit {
        let at = self.any_account();
        let device = DeviceId(self.random.uuid());
        let public_key = PublicKey(self.random.bytes());
        self.accounts[at].devices.push(device);
        let added = self.stated(at, Claim::DeviceAdded { device, public_key });
        let account = self.accounts[at].account;
        let event = self.account_event(account, Some(device.into()), AccountEvent::DeviceAdded(added));
        unit_of(StreamKind::Account, event)
    }

    fn stated(&mut self, at: usize, claim: Claim) -> RosterStated {
        let made = &mut self.accounts[at];
        made.statements += 1;
        RosterStated { statement: statement(made.account, made.statements - 1, claim) }
    }

    fn revoke_device(&mut self) -> Unit {
        let at = self.any_account();
        if self.accounts[at].devices.is_empty() {
            return self.add_device();
        }
        let which = self.random.below(self.accounts[at].devices.len());
        let device = self.accounts[at].devices.remove(which);
        let revoked = self.stated(at, Claim::DeviceRevoked { device });
        let account = self.accounts[at].account;
        let event = self.account_event(account, Some(device.into()), AccountEvent::DeviceRevoked(revoked));
        unit_of(StreamKind::Account, event)
    }

    fn session_step(&mut self) -> Unit {
        let at = self.any_account();
        if self.accounts[at].devices.is_empty() {
            return self.add_device();
        }
        let account = self.accounts[at].account;
        let open = self.accounts[at].sessions.len();
        if open == 0 || self.random.percent(40) {
            let which = self.random.below(self.accounts[at].devices.len());
            let device = self.accounts[at].devices[which];
            let session = SessionId(self.random.uuid());
            self.accounts[at].sessions.push(session);
            let opened = SessionOpened { session, device, method: Method::Password };
            let event =
                self.account_event(account, Some(session.into()), AccountEvent::SessionOpened(opened));
            return unit_of(StreamKind::Account, event);
        }
        let which = self.random.below(open);
        let session = self.accounts[at].sessions[which];
        let event = if self.random.percent(60) {
            let generation = u32::try_from(self.random.below(50)).unwrap_or_default();
            AccountEvent::SessionRefreshed(SessionRefreshed { session, generation })
        } else if self.random.percent(20) {
            let keep = self.random.percent(50).then_some(session);
            AccountEvent::SessionsEnded(SessionsEnded { reason: RevokeReason::PasswordChanged, keep })
        } else {
            AccountEvent::SessionRevoked(SessionRevoked { session, reason: RevokeReason::Logout })
        };
        unit_of(StreamKind::Account, self.account_event(account, Some(session.into()), event))
    }

    fn standing(&mut self) -> Unit {
        let at = self.any_account();
        let account = self.accounts[at].account;
        let event = match self.random.below(6) {
            0 => AccountEvent::RoleSet(RoleSet { role: Role::Auditor }),
            1 => AccountEvent::Disabled(AccountDisabled {}),
            2 => AccountEvent::Enabled(AccountEnabled {}),
            3 => AccountEvent::FlagSet(FlagSet {
                flag: word!("a"),
                on: self.random.percent(50).then_some(true),
            }),
            4 => AccountEvent::Viewed(AccountViewed { what: Viewed::Account }),
            _ => {
                let until = self.random.percent(50).then_some(Micros(7));
                let (plan, source, as_of) = (word!("paid"), PlanSource::Billing, until);
                AccountEvent::PlanSet(PlanSet { plan, until, source, as_of })
            }
        };
        unit_of(StreamKind::Account, self.account_event(account, Some(Standing::subject(account)), event))
    }

    fn any_vault(&mut self) -> usize {
        self.random.below(self.vaults.len())
    }

    /// An entry with versions that is not purged, if the vault that was drawn has one.
    fn any_entry(&mut self) -> Option<(usize, usize)> {
        let vault = self.any_vault();
        let count = self.vaults[vault].entries.len();
        let entry = (count > 0).then(|| self.random.below(count))?;
        (!self.vaults[vault].entries[entry].purged).then_some((vault, entry))
    }

    fn version(&mut self) -> Unit {
        let drawn = if self.random.percent(75) { self.any_entry() } else { None };
        let (vault, entry) = drawn.unwrap_or_else(|| self.new_entry());
        let stream = self.vaults[vault].vault;
        let mut header = self.header(vault, entry);
        let parents = header.parents.clone();
        let parent_inferred = header.kind == VersionKind::Edit && self.random.percent(5);
        if parent_inferred {
            header.parents.clear();
        }
        let id = header.version_id();
        let made = &mut self.vaults[vault].entries[entry];
        made.graph.insert(id, &parents);
        made.versions.push((id, header.content_hash));
        let content = header.kind.has_content();
        let subject = header.entry.into();
        let files = if content { self.random.below(4) } else { 0 };
        // Few, so that versions of one entry often name the same.
        let attachments: Vec<_> =
            (0..files).map(|_| BlobHash([u8::try_from(self.random.below(3)).unwrap_or(0) + 1; 32])).collect();
        let added = VersionAdded {
            header,
            signer: DeviceId(self.random.uuid()),
            signature: Signature([7; 64]),
            batch: BatchId(self.random.uuid()),
            parent_inferred,
            inferred_parents: if parent_inferred { parents } else { Vec::new() },
            content_missing: self.random.percent(5),
            wrapped_key: self
                .random
                .percent(50)
                .then(|| Hex::new("00ff".repeat(20)))
                .transpose()
                .unwrap_or(None),
            attachment_sizes: attachments.iter().map(|hash| u64::from(hash.0[0])).collect(),
            attachments,
        };
        let event = Event::Vault(VaultEvent::VersionAdded(Box::new(added)));
        unit_of(StreamKind::Vault, new_event(id.event_id(), stream.into(), Some(subject), &event))
    }

    fn new_entry(&mut self) -> (usize, usize) {
        let vault = self.any_vault();
        let entry = EntryId(self.random.uuid());
        self.vaults[vault].entries.push(MadeEntry {
            entry,
            graph: Graph::default(),
            purged: false,
            versions: Vec::new(),
        });
        (vault, self.vaults[vault].entries.len() - 1)
    }

    fn header(&mut self, vault: usize, entry: usize) -> Header {
        let (kind, parents) = self.kind_and_parents(vault, entry);
        let content = kind.has_content();
        let made = &self.vaults[vault];
        let (account, vault_id, entry_id) = (made.account, made.vault, made.entries[entry].entry);
        let content_of = (kind == VersionKind::Adopt).then(|| parents[0]);
        Header {
            format: lockstep_events::header::FORMAT,
            account,
            vault: vault_id,
            entry: entry_id,
            kind,
            parents,
            content_of,
            key_id: if content { self.random.uuid() } else { Uuid::nil() },
            content_hash: content.then(|| BlobHash(self.random.bytes())),
            content_len: if content { 1 + u32::try_from(self.random.below(4_000)).unwrap_or(0) } else { 0 },
            author_device: if content { DeviceId(self.random.uuid()) } else { DeviceId::NIL },
            observed_seq: Seq::ZERO,
            observed_chain: Chain::ZERO,
            client_time: if content { 1_700_000_000_000 } else { 0 },
        }
    }

    /// A child of a head mostly, of any older version sometimes, of several heads where there are several. An
    /// adopt or tombstone that would be the same version again becomes an edit.
    fn kind_and_parents(&mut self, vault: usize, entry: usize) -> (VersionKind, Vec<VersionId>) {
        let made = self.vaults[vault].entries[entry].clone();
        if made.versions.is_empty() {
            return (VersionKind::Edit, Vec::new());
        }
        let heads: Vec<_> = made.graph.heads().into_iter().collect();
        let any = made.versions[self.random.below(made.versions.len())].0;
        let one = if self.random.percent(75) { heads[self.random.below(heads.len())] } else { any };
        let roll = self.random.below(100);
        if heads.len() > 1 && roll < 40 {
            return (VersionKind::Merge, heads);
        }
        let silent = if roll < 50 { VersionKind::Tombstone } else { VersionKind::Adopt };
        let again = made.graph.parents.values().any(|parents| *parents == heads);
        if roll < 60 && !again { (silent, heads) } else { (VersionKind::Edit, vec![one]) }
    }

    fn prune(&mut self) -> Unit {
        let Some((vault, entry)) = self.any_entry() else { return self.version() };
        let made = &self.vaults[vault].entries[entry];
        let (stream, entry) = (self.vaults[vault].vault, made.entry);
        let heads = made.graph.heads();
        let old: Vec<_> =
            made.versions.iter().filter(|(id, _)| !heads.contains(id)).take(3).copied().collect();
        let (versions, contents): (Vec<_>, Vec<_>) = old.into_iter().unzip();
        if versions.is_empty() {
            return self.version();
        }
        let contents = contents.into_iter().flatten().collect();
        let event = Event::Vault(VaultEvent::ContentPruned(ContentPruned { entry, versions, contents }));
        unit_of(StreamKind::Vault, new_event(self.id(), stream.into(), Some(entry.into()), &event))
    }

    fn purge(&mut self) -> Unit {
        let Some((vault, entry)) = self.any_entry() else { return self.version() };
        let stream = self.vaults[vault].vault;
        let made = &mut self.vaults[vault].entries[entry];
        let heads = made.graph.heads().into_iter().collect();
        made.purged = true;
        made.graph = Graph::default();
        let entry = made.entry;
        let event = Event::Vault(VaultEvent::Purged(EntryPurged { entry, heads }));
        unit_of(StreamKind::Vault, new_event(self.id(), stream.into(), Some(entry.into()), &event))
    }
}

pub(super) fn statement(account: AccountId, epoch: u32, claim: Claim) -> Statement {
    Statement { account, epoch, previous: Hash32::ZERO, claim, signature: Signature([0; 64]) }
}

/// Appends units one batch each.
///
/// # Panics
/// If a unit is refused.
pub async fn append(log: &Arc<dyn EventLog>, units: Vec<Unit>) {
    for unit in units {
        let outcomes = log.append(&[unit], Micros(1)).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(matches!(outcomes[..], [Outcome::Appended(_)]), "refused: {outcomes:?}");
    }
}

/// Appends the next `count` units of a script.
pub async fn play(log: &Arc<dyn EventLog>, script: &mut Script, count: usize) {
    append(log, (0..count).map(|_| script.next_unit()).collect()).await;
}
