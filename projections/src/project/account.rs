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
    let account = Key::Account(recorded.stream.into());
    match event {
        // Addresses, identities and factors stand beside the credentials, where they can be destroyed.
        AccountEvent::EmailSet(_)
        | AccountEvent::EmailConfirmed(_)
        | AccountEvent::NameLost(_)
        | AccountEvent::IdentityProven(_)
        | AccountEvent::IdentityLinked(_)
        | AccountEvent::IdentityUnlinked(_)
        | AccountEvent::FactorSet(_)
        | AccountEvent::FactorRemoved(_)
        | AccountEvent::FactorRefused(_)
        | AccountEvent::Created(_)
        | AccountEvent::SessionOpened(_)
        | AccountEvent::Viewed(_)
        | AccountEvent::Invited(_) => Needs::default(),
        AccountEvent::CredentialSet(_)
        | AccountEvent::RosterStated(_)
        | AccountEvent::VaultAttached(_)
        | AccountEvent::DeviceAdded(_)
        | AccountEvent::RoleSet(_)
        | AccountEvent::PlanSet(_)
        | AccountEvent::FlagSet(_)
        | AccountEvent::Disabled(_)
        | AccountEvent::Enabled(_) => Needs { keys: vec![account], group: None },
        AccountEvent::DeviceRevoked(body) => {
            let mut keys = vec![account];
            if let Claim::DeviceRevoked { device } = body.statement.claim {
                keys.push(Key::Device(device));
            }
            Needs { keys, group: Some(Group::SessionsOf(recorded.stream.into())) }
        }
        AccountEvent::SessionRefreshed(body) => Needs { keys: vec![Key::Session(body.session)], group: None },
        AccountEvent::RefreshReused(body) => {
            Needs { keys: vec![account, Key::Session(body.session)], group: None }
        }
        AccountEvent::SessionRevoked(body) => {
            Needs { keys: vec![account, Key::Session(body.session)], group: None }
        }
        AccountEvent::SessionsEnded(_) => {
            Needs { keys: vec![account], group: Some(Group::SessionsOf(recorded.stream.into())) }
        }
    }
}

pub(super) fn project(working: &mut Working, recorded: &Recorded, event: &AccountEvent) -> Result<(), Unfit> {
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
        AccountEvent::SessionRefreshed(body) => session_refreshed(working, recorded, body),
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
        AccountEvent::Viewed(_) | AccountEvent::Invited(_) => Ok(()),
        AccountEvent::EmailSet(_)
        | AccountEvent::EmailConfirmed(_)
        | AccountEvent::NameLost(_)
        | AccountEvent::IdentityProven(_)
        | AccountEvent::IdentityLinked(_)
        | AccountEvent::IdentityUnlinked(_) => Ok(()),
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
    }));
    Ok(())
}

fn account<'w>(working: &'w mut Working, recorded: &Recorded) -> Result<&'w mut AccountRow, Unfit> {
    working.account(Key::Account(recorded.stream.into())).ok_or(NO_ACCOUNT)
}

fn credential_set(working: &mut Working, recorded: &Recorded, body: &CredentialSet) -> Result<(), Unfit> {
    account(working, recorded)?.credentials.insert(body.credential.clone(), body.generation);
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
    stated(working, recorded, body)?.auth_epoch = recorded.seq.0;
    let row = working.device(Key::Device(device)).ok_or(NO_DEVICE)?;
    row.revoked.get_or_insert((recorded.recorded_at, recorded.position));
    end_where(working, recorded, RevokeReason::DeviceRevoked, |session| session.device == device)
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

fn session_refreshed(
    working: &mut Working,
    recorded: &Recorded,
    body: &SessionRefreshed,
) -> Result<(), Unfit> {
    let row = working.session(Key::Session(body.session)).ok_or(NO_SESSION)?;
    row.refreshed_at = recorded.recorded_at;
    row.generation = body.generation;
    Ok(())
}

fn end_session(
    working: &mut Working,
    recorded: &Recorded,
    session: SessionId,
    reason: RevokeReason,
) -> Result<(), Unfit> {
    let row = working.session(Key::Session(session)).ok_or(NO_SESSION)?;
    row.revoked.get_or_insert((recorded.recorded_at, reason));
    account(working, recorded)?.auth_epoch = recorded.seq.0;
    Ok(())
}
