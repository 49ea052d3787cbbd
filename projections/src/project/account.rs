//! Account streams → accounts, devices, sessions.

use lockstep_events::{
    AccountId, Recorded, SessionId,
    event::{
        AccountCreated, CredentialSet, RevokeReason, RosterStated, SessionOpened, SessionRefreshed,
        SessionsEnded, VaultAttached,
    },
    roster::Claim,
    standing::Standing,
};

use super::{AccountEvent, Group, Key, Needs, Unfit, Working};
use crate::{
    key::Projection,
    rows::{AccountRow, DeviceRow, Row, SessionRow},
};

const NO_ACCOUNT: Unfit = "the account was not created";
const NO_DEVICE: Unfit = "the device was not added";
const NO_SESSION: Unfit = "the session was not opened";

pub(super) fn needs(recorded: &Recorded, event: &AccountEvent) -> Needs {
    let account = AccountId::from(recorded.stream);
    let mut needs = Needs { keys: vec![Key::Account(account)], groups: Vec::new() };
    match event {
        AccountEvent::Created(_) => needs.keys.clear(),
        // Addresses, identities and factors stand beside the credentials, where they can be destroyed.
        AccountEvent::EmailSet(_)
        | AccountEvent::EmailConfirmed(_)
        | AccountEvent::NameLost(_)
        | AccountEvent::IdentityProven(_)
        | AccountEvent::IdentityLinked(_)
        | AccountEvent::IdentityUnlinked(_)
        | AccountEvent::SessionOpened(_)
        | AccountEvent::CredentialSet(_)
        | AccountEvent::FactorSet(_)
        | AccountEvent::FactorRemoved(_)
        | AccountEvent::FactorRefused(_)
        | AccountEvent::RosterStated(_)
        | AccountEvent::VaultAttached(_)
        | AccountEvent::DeviceAdded(_)
        | AccountEvent::RoleSet(_)
        | AccountEvent::PlanSet(_)
        | AccountEvent::FlagSet(_)
        | AccountEvent::Disabled(_)
        | AccountEvent::Enabled(_)
        | AccountEvent::Viewed(_)
        | AccountEvent::Invited(_)
        | AccountEvent::Exported(_)
        | AccountEvent::ErasureRequested(_)
        | AccountEvent::ErasureCancelled(_)
        | AccountEvent::ErasureBegun(_) => {}
        AccountEvent::DeviceRevoked(body) => {
            if let Claim::DeviceRevoked { device } = body.statement.claim {
                needs.keys.push(Key::Device(account, device));
            }
            needs.groups.push(Group::SessionsOf(account));
        }
        AccountEvent::SessionRefreshed(body) => needs.keys.push(Key::Session(body.session)),
        AccountEvent::RefreshReused(body) => needs.keys.push(Key::Session(body.session)),
        AccountEvent::SessionRevoked(body) => needs.keys.push(Key::Session(body.session)),
        AccountEvent::SubjectErased(_) => {
            needs.groups.extend([Group::SessionsOf(account), Group::DevicesOf(account)]);
        }
        AccountEvent::SessionsEnded(_) => needs.groups.push(Group::SessionsOf(account)),
    }
    needs
}

pub(super) fn project(working: &mut Working, recorded: &Recorded, event: &AccountEvent) -> Result<(), Unfit> {
    let key = Key::Account(recorded.stream.into());
    if matches!(working.get(&key), Some(Row::Account(row)) if row.erased_at.is_some()) {
        // Somebody was still at work when the account was erased.
        return Ok(());
    }
    match event {
        AccountEvent::Created(body) => created(working, recorded, body),
        AccountEvent::CredentialSet(body) => credential_set(working, recorded, body),
        AccountEvent::RosterStated(body) => stated(working, recorded, body).map(|_| ()),
        AccountEvent::VaultAttached(body) => vault_attached(working, recorded, body),
        AccountEvent::DeviceAdded(body) => device_added(working, recorded, body),
        AccountEvent::DeviceRevoked(body) => device_revoked(working, recorded, body),
        AccountEvent::SessionOpened(body) => {
            session_opened(working, recorded, body);
            Ok(())
        }
        AccountEvent::SessionRefreshed(body) => {
            session_refreshed(working, recorded, body);
            Ok(())
        }
        AccountEvent::RefreshReused(body) => {
            end_session(working, recorded, body.session, RevokeReason::RefreshReuse)
        }
        AccountEvent::SessionRevoked(body) => end_session(working, recorded, body.session, body.reason),
        // Who needs them asks the credential store, and whoever wants to know what happened reads the stream.
        AccountEvent::FactorSet(_) | AccountEvent::FactorRemoved(_) | AccountEvent::FactorRefused(_) => {
            Ok(())
        }
        AccountEvent::SessionsEnded(body) => sessions_ended(working, recorded, body),
        AccountEvent::RoleSet(_)
        | AccountEvent::PlanSet(_)
        | AccountEvent::FlagSet(_)
        | AccountEvent::Disabled(_)
        | AccountEvent::Enabled(_) => {
            account(working, recorded)?.standing.apply(event);
            Ok(())
        }
        AccountEvent::Viewed(_) | AccountEvent::Invited(_) | AccountEvent::Exported(_) => Ok(()),
        AccountEvent::EmailSet(_)
        | AccountEvent::EmailConfirmed(_)
        | AccountEvent::NameLost(_)
        | AccountEvent::IdentityProven(_)
        | AccountEvent::IdentityLinked(_)
        | AccountEvent::IdentityUnlinked(_)
        | AccountEvent::ErasureBegun(_) => Ok(()),
        AccountEvent::ErasureRequested(body) => {
            account(working, recorded)?.erasure_due = Some(body.due_at);
            Ok(())
        }
        AccountEvent::ErasureCancelled(_) => {
            account(working, recorded)?.erasure_due = None;
            Ok(())
        }
        AccountEvent::SubjectErased(_) => erased(working, recorded),
    }
}

fn created(working: &mut Working, recorded: &Recorded, body: &AccountCreated) -> Result<(), Unfit> {
    if body.account != AccountId::from(recorded.stream) {
        return Err("it names another account than its stream");
    }
    working.put(Row::Account(AccountRow {
        account: body.account,
        roster: vec![body.statement.clone()],
        vaults: Vec::new(),
        credentials: std::collections::BTreeMap::new(),
        auth_epoch: 0,
        created_at: recorded.recorded_at,
        standing: Standing::default(),
        erasure_due: None,
        erased_at: None,
    }));
    Ok(())
}

/// Of the account a stone is left, so that its stream is known to be closed; of devices and sessions nothing.
fn erased(working: &mut Working, recorded: &Recorded) -> Result<(), Unfit> {
    let row = account(working, recorded)?;
    let id = row.account;
    *row = AccountRow {
        account: id,
        roster: Vec::new(),
        vaults: Vec::new(),
        credentials: std::collections::BTreeMap::new(),
        auth_epoch: row.auth_epoch + 1,
        created_at: row.created_at,
        standing: Standing { disabled: true, ..Standing::default() },
        erasure_due: None,
        erased_at: Some(recorded.recorded_at),
    };
    let mut gone = working.keys_where(
        Projection::Sessions,
        |row| matches!(row, Row::Session(session) if session.account == id),
    );
    gone.extend(
        working.keys_where(
            Projection::Devices,
            |row| matches!(row, Row::Device(device) if device.account == id),
        ),
    );
    gone.into_iter().for_each(|key| working.delete(key));
    Ok(())
}

fn account<'w>(working: &'w mut Working, recorded: &Recorded) -> Result<&'w mut AccountRow, Unfit> {
    working.account(Key::Account(recorded.stream.into())).ok_or(NO_ACCOUNT)
}

fn credential_set(working: &mut Working, recorded: &Recorded, body: &CredentialSet) -> Result<(), Unfit> {
    account(working, recorded)?.credentials.insert(body.credential.clone().into(), body.generation);
    Ok(())
}

fn vault_attached(working: &mut Working, recorded: &Recorded, body: &VaultAttached) -> Result<(), Unfit> {
    let row = account(working, recorded)?;
    if !row.vaults.contains(&body.vault) {
        row.vaults.push(body.vault);
    }
    Ok(())
}

fn stated<'w>(
    working: &'w mut Working,
    recorded: &Recorded,
    body: &RosterStated,
) -> Result<&'w mut AccountRow, Unfit> {
    let row = account(working, recorded)?;
    row.roster.push(body.statement.clone());
    Ok(row)
}

fn device_added(working: &mut Working, recorded: &Recorded, body: &RosterStated) -> Result<(), Unfit> {
    let Claim::DeviceAdded { device, public_key } = body.statement.claim else {
        return Err("its statement does not add a device");
    };
    let account = stated(working, recorded, body)?.account;
    working.put(Row::Device(DeviceRow {
        device,
        account,
        public_key,
        added_at: recorded.recorded_at,
        added_seq: recorded.seq,
        revoked: None,
    }));
    Ok(())
}

fn device_revoked(working: &mut Working, recorded: &Recorded, body: &RosterStated) -> Result<(), Unfit> {
    let Claim::DeviceRevoked { device } = body.statement.claim else {
        return Err("its statement does not revoke a device");
    };
    let row = stated(working, recorded, body)?;
    row.auth_epoch = recorded.seq.0;
    let of = row.account;
    let row = working.device(Key::Device(of, device)).ok_or(NO_DEVICE)?;
    row.revoked.get_or_insert((recorded.recorded_at, recorded.position));
    let hit = |session: &SessionRow| session.account == of && session.device == device;
    end_where(working, recorded, RevokeReason::DeviceRevoked, hit)
}

fn sessions_ended(working: &mut Working, recorded: &Recorded, body: &SessionsEnded) -> Result<(), Unfit> {
    let row = account(working, recorded)?;
    row.auth_epoch = recorded.seq.0;
    let ended = row.account;
    let hit = |session: &SessionRow| session.account == ended && Some(session.session) != body.keep;
    end_where(working, recorded, body.reason, hit)
}

/// Ends every open session that passes a test.
fn end_where(
    working: &mut Working,
    recorded: &Recorded,
    reason: RevokeReason,
    hit: impl Fn(&SessionRow) -> bool,
) -> Result<(), Unfit> {
    let open = working.keys_where(
        Projection::Sessions,
        |row| matches!(row, Row::Session(s) if s.revoked.is_none() && hit(s)),
    );
    for key in open {
        let row = working.session(key).ok_or(NO_SESSION)?;
        row.revoked = Some((recorded.recorded_at, reason));
    }
    Ok(())
}

fn session_opened(working: &mut Working, recorded: &Recorded, body: &SessionOpened) {
    working.put(Row::Session(SessionRow {
        session: body.session,
        account: recorded.stream.into(),
        device: body.device,
        method: body.method,
        opened_at: recorded.recorded_at,
        refreshed_at: recorded.recorded_at,
        generation: 0,
        revoked: None,
    }));
}

/// Nothing of a session that was not opened. The credential store has its rows before the log has their events, and its
/// log may be an older copy: what comes of such a row concerns nobody else, and must stop nobody.
fn session_refreshed(working: &mut Working, recorded: &Recorded, body: &SessionRefreshed) {
    if let Some(row) = working.session(Key::Session(body.session)) {
        row.refreshed_at = recorded.recorded_at;
        row.generation = body.generation;
    }
}

/// Of a session that was not opened, as [`session_refreshed`]: access has ended all the same.
fn end_session(
    working: &mut Working,
    recorded: &Recorded,
    session: SessionId,
    reason: RevokeReason,
) -> Result<(), Unfit> {
    if let Some(row) = working.session(Key::Session(session)) {
        row.revoked.get_or_insert((recorded.recorded_at, reason));
    }
    account(working, recorded)?.auth_epoch = recorded.seq.0;
    Ok(())
}
