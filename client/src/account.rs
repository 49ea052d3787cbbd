//! Registering, logging in, enrolling this device.

use std::{path::Path, sync::Arc};

use lockstep_api::{
    Bytes64,
    account::{Account, EnrolDevice, RegisterFinish, RegisterStart, RegisterStarted, Tokens, Wrap},
};
use lockstep_events::{
    AccountId, DeviceId, SessionId, VaultId,
    roster::{Claim, Roster, Statement, vault_key_name},
};
use reqwest::Method;

use crate::{
    crypto::{
        hierarchy::WRAP_LEN,
        identity::{AccountSigningKey, DeviceKey},
        keys::{AccountRootKey, LocalKey, PasswordKey, VaultKey},
        local::{LocalSalt, SUITE_S1, new_salt},
        opaque::{self, Registration},
        os_random,
        password::Password,
        version::new_id,
    },
    engine::{Engine, ask_id, split_generation},
    error::Error,
    model::AlarmKind,
    profile::{Held, LocalLock, Profile, claim},
    server::Server,
    store::{Store, keys},
    transport::{Body, Transport},
    vault_keys::all_wraps,
};

pub(crate) mod approval;
mod login;
pub(crate) mod password;
mod pinned;
mod suite;

pub(crate) use self::login::{login, remember};

const ARK_WRAP: &str = "ark/password";
const ASK_WRAP: &str = "ask";
const FIRST: u32 = 1;

/// Runs something that stretches a password where it does not stop other tasks.
pub(crate) async fn heavy<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, crate::crypto::Rejected> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Invalid("the password could not be stretched"))?
        .map_err(Error::from)
}

async fn stretch(password: &Password, salt: [u8; 32]) -> Result<LocalKey, Error> {
    let password = password.clone();
    heavy(move || LocalKey::stretch(&password, &salt)).await
}

async fn post<T: serde::de::DeserializeOwned>(
    transport: &Transport,
    path: &str,
    token: Option<&str>,
    body: &impl serde::Serialize,
) -> Result<T, Error> {
    transport.send(Method::POST, path, token, &[], Body::json(body)?).await?.json()
}

/// Everything that a new profile is made of.
struct NewProfile {
    account: AccountId,
    device: DeviceId,
    vault: VaultId,
    ark_gen: u32,
    ark: AccountRootKey,
    ask_wrap: Vec<u8>,
    device_key: DeviceKey,
    vault_wraps: Vec<(VaultId, u32, Vec<u8>)>,
    statements: Vec<Statement>,
    server_key: Vec<u8>,
    tokens: Tokens,
}

/// Registers an account; this device is its first.
pub(crate) async fn register(
    home: &Path,
    server: &Server,
    name: &str,
    password: &Password,
    invitation: Option<&str>,
) -> Result<Arc<Engine>, Error> {
    password.check_new(name)?;
    no_profile_yet(home)?;
    let transport = Transport::new(server)?;
    let (registration, request) = Registration::start(password, &mut os_random())?;
    let start = RegisterStart { name: name.to_owned(), request: request.into() };
    let started: RegisterStarted = post(&transport, "/v1/accounts/start", None, &start).await?;
    let response = started.response.0;
    let registered = heavy(move || registration.finish(&response, &mut os_random())).await?;
    let (mut finish, mut new) = found_account(started.account, started.attempt, &registered)?;
    finish.invitation = invitation.map(str::to_owned);
    new.tokens = post(&transport, "/v1/accounts/finish", None, &finish).await?;
    write_profile(home, server, name, password, new).await
}

/// Before an account or a device is made that only a profile here could use: there is none yet, and one can be written.
fn no_profile_yet(home: &Path) -> Result<(), Error> {
    if Profile::exists(home) {
        return Err(Error::ProfileExists(home.to_owned()));
    }
    claim(home)
}

/// Makes all keys and the first statements of an account.
fn found_account(
    account: AccountId,
    attempt: uuid::Uuid,
    registered: &opaque::Registered,
) -> Result<(RegisterFinish, NewProfile), Error> {
    let rng = &mut os_random();
    let (device, vault) = (new_id(rng), new_id(rng));
    let (ark, vault_key) = (AccountRootKey::random(rng), VaultKey::random(rng));
    let (ask, device_key) = (AccountSigningKey::random(rng), DeviceKey::random(rng));
    let mk = PasswordKey::derive(&registered.export_key, account, FIRST)?;
    let ark_wrap =
        [&FIRST.to_be_bytes()[..], &ark.wrap_by_password(&mk, (account, FIRST, FIRST), rng)?].concat();
    let signing_wrap = ark.wrap_ask(&ask, account, ask_id(&ask.public()), rng)?;
    let key_wrap = ark.wrap_vault_key(&vault_key, (account, vault, FIRST), rng)?;
    let mut statements = vec![ask.found(account)];
    let mut roster = Roster::start(&statements[0]).map_err(|_| crate::crypto::Rejected)?;
    for claim in [
        Claim::DeviceAdded { device, public_key: device_key.public() },
        Claim::VaultKeyGen { vault, generation: FIRST },
    ] {
        let statement = ask.state(&roster, claim)?;
        roster.apply(&statement).map_err(|_| crate::crypto::Rejected)?;
        statements.push(statement);
    }
    let wrap = |name: String, bytes: &[u8]| Wrap { name, generation: FIRST, bytes: Bytes64(bytes.to_vec()) };
    let finish = RegisterFinish {
        attempt,
        upload: registered.upload.clone().into(),
        suite: SUITE_S1,
        statements: statements.clone(),
        device,
        vault,
        wraps: vec![
            wrap(ARK_WRAP.to_owned(), &ark_wrap),
            wrap(ASK_WRAP.to_owned(), &signing_wrap),
            wrap(vault_key_name(vault, FIRST), &key_wrap),
        ],
        invitation: None,
    };
    let new = NewProfile {
        account,
        device,
        vault,
        ark_gen: FIRST,
        ark,
        ask_wrap: signing_wrap,
        device_key,
        vault_wraps: vec![(vault, FIRST, key_wrap)],
        statements,
        server_key: registered.server_key.clone(),
        tokens: no_tokens(account, device),
    };
    Ok((finish, new))
}

/// Stands where the tokens will stand once the server has given them.
fn no_tokens(account: AccountId, device: DeviceId) -> Tokens {
    Tokens {
        account,
        device,
        session: SessionId::NIL,
        access_token: String::new(),
        expires_in: 0,
        refresh_token: String::new(),
    }
}

async fn write_profile(
    home: &Path,
    server: &Server,
    name: &str,
    password: &Password,
    new: NewProfile,
) -> Result<Arc<Engine>, Error> {
    let salt = new_salt(&mut os_random());
    let local = stretch(password, salt).await?;
    store_profile(home, server, name, (salt, local), new).await
}

async fn store_profile(
    home: &Path,
    server: &Server,
    name: &str,
    (salt, local): (LocalSalt, LocalKey),
    new: NewProfile,
) -> Result<Arc<Engine>, Error> {
    claim(home)?;
    let held = Held::wait(home).await?;
    if Profile::exists(home) {
        // It came to be since that was asked first, and may hold what no server has.
        return Err(Error::ProfileExists(home.to_owned()));
    }
    // Files without a profile beside them are the rest of an attempt that was cut off.
    held.clear()?;
    let store = Store::open(&Profile::database(home), &local, true).await?;
    let rng = &mut os_random();
    let place = (new.account, new.ark_gen, new.device);
    let ark = [&new.ark_gen.to_be_bytes()[..], &new.ark.wrap_on_device(&local, place, rng)?].concat();
    let device_key = new.device_key.wrap(&local, (new.account, new.device), rng)?;
    let mut tx = store.begin().await?;
    keys::set(&mut tx, keys::name::ARK, &ark).await?;
    keys::set(&mut tx, keys::name::DEVICE_KEY, &device_key).await?;
    keys::set(&mut tx, keys::name::ASK, &new.ask_wrap).await?;
    keys::set(&mut tx, keys::name::SERVER_KEY, &new.server_key).await?;
    for (vault, generation, wrap) in &new.vault_wraps {
        keys::keep_vault_key(&mut tx, *vault, *generation, wrap).await?;
    }
    for statement in &new.statements {
        keys::add_statement(&mut tx, statement).await?;
    }
    tx.commit().await?;
    let profile = Profile {
        format: 1,
        server: server.clone(),
        name: name.to_owned(),
        account: new.account,
        device: new.device,
        vault: new.vault,
        suite: SUITE_S1,
        salt: hex::encode(salt),
        lock: None,
    };
    profile.write(home)?;
    drop(held);
    let engine = Engine::unlock(home.to_owned(), profile, store, local).await?;
    engine.keep_tokens(new.tokens).await?;
    Ok(engine)
}

/// Unlocks the profile of a directory.
pub(crate) async fn open(home: &Path, unlock: &crate::client::Unlock) -> Result<Arc<Engine>, Error> {
    let profile = Profile::read(home)?;
    let local = match unlock {
        crate::client::Unlock::Password(password) => {
            let mut salt = [0; 32];
            hex::decode_to_slice(&profile.salt, &mut salt).map_err(|_| Error::Damaged("profile.json"))?;
            match &profile.lock {
                None => stretch(password, salt).await?,
                Some(lock) => lock.open(&profile, password).await?,
            }
        }
        crate::client::Unlock::Token(token) => {
            LocalKey::from_token(token).map_err(|_| Error::WrongPassword)?
        }
        crate::client::Unlock::Kept => crate::keystore::open(home, &profile).await?.ok_or(Error::NotKept)?,
    };
    let store = Store::open(&Profile::database(home), &local, false).await?;
    Engine::unlock(home.to_owned(), profile, store, local).await
}

impl LocalLock {
    /// The key of the profile, if the password is right.
    async fn open(&self, profile: &Profile, password: &Password) -> Result<LocalKey, Error> {
        let damaged = |_| Error::Damaged("profile.json");
        let mut salt = [0; 32];
        hex::decode_to_slice(&self.salt, &mut salt).map_err(damaged)?;
        let wrapped = hex::decode(&self.wrapped).map_err(damaged)?;
        let outer = stretch(password, salt).await?;
        LocalKey::unlock_from(&outer, (profile.account, profile.device), &wrapped)
            .map_err(|_| Error::WrongPassword)
    }
}

/// Checks the account's roster and keys, and makes this device one of its devices.
async fn enrol_device(
    transport: &Transport,
    account: &Account,
    done: &opaque::LoggedIn,
    token: &str,
) -> Result<NewProfile, Error> {
    let (ark_gen, ark) = open_ark(account, done)?;
    let prepared = add_device(account, ark)?;
    let body = EnrolDevice { statement: prepared.statement.clone() };
    let tokens: Tokens = post(transport, "/v1/devices", Some(token), &body).await?;
    Ok(prepared.into_profile(account, ark_gen, done.server_key.clone(), tokens))
}

/// A device that is about to become one of the account's.
struct Prepared {
    ark: AccountRootKey,
    ask_wrap: Vec<u8>,
    device: DeviceId,
    device_key: DeviceKey,
    vault: VaultId,
    vault_wraps: Vec<(VaultId, u32, Vec<u8>)>,
    /// `device_added`.
    statement: Statement,
}

impl Prepared {
    fn into_profile(
        self,
        account: &Account,
        ark_gen: u32,
        server_key: Vec<u8>,
        tokens: Tokens,
    ) -> NewProfile {
        let mut statements = account.roster.clone();
        statements.push(self.statement);
        NewProfile {
            account: account.account,
            device: self.device,
            vault: self.vault,
            ark_gen,
            ark: self.ark,
            ask_wrap: self.ask_wrap,
            device_key: self.device_key,
            vault_wraps: self.vault_wraps,
            statements,
            server_key,
            tokens,
        }
    }
}

/// Checks the account's roster and keys, and states a new device.
fn add_device(account: &Account, ark: AccountRootKey) -> Result<Prepared, Error> {
    let roster = fold(account)?;
    let not_ours = |_| Error::Alarm(AlarmKind::Keys);
    let ask_wrap = find(account, ASK_WRAP)?.bytes.0.clone();
    let ask = ark.unwrap_ask(account.account, ask_id(&roster.signing_key), &ask_wrap).map_err(not_ours)?;
    if ask.public() != roster.signing_key {
        return Err(Error::Alarm(AlarmKind::Keys));
    }
    let vault_wraps = all_wraps(account, &roster, &ark)?;
    let vault = *account.vaults.first().ok_or(Error::Protocol("an account without a vault"))?;
    let (device, device_key): (DeviceId, _) = (new_id(&mut os_random()), DeviceKey::random(&mut os_random()));
    let claim = Claim::DeviceAdded { device, public_key: device_key.public() };
    let statement = ask.state(&roster, claim)?;
    Ok(Prepared { ark, ask_wrap, device, device_key, vault, vault_wraps, statement })
}

fn fold(account: &Account) -> Result<Roster, Error> {
    let refused = |_| Error::Alarm(AlarmKind::Roster);
    let (first, rest) = account.roster.split_first().ok_or(Error::Alarm(AlarmKind::Roster))?;
    let mut roster = Roster::start(first).map_err(refused)?;
    for statement in rest {
        roster.apply(statement).map_err(refused)?;
    }
    if roster.account != account.account {
        return Err(Error::Alarm(AlarmKind::Roster));
    }
    suite::known(account.suite)?;
    suite::known(roster.suite)?;
    Ok(roster)
}

fn find<'a>(account: &'a Account, name: &str) -> Result<&'a Wrap, Error> {
    account.wraps.iter().find(|wrap| wrap.name == name).ok_or(Error::Alarm(AlarmKind::Keys))
}

fn open_ark(account: &Account, done: &opaque::LoggedIn) -> Result<(u32, AccountRootKey), Error> {
    let wrap = find(account, ARK_WRAP)?;
    if wrap.bytes.0.len() != WRAP_LEN + 4 {
        return Err(Error::Alarm(AlarmKind::Keys));
    }
    let (ark_gen, bytes) = split_generation(&wrap.bytes.0)?;
    let mk = PasswordKey::derive(&done.export_key, account.account, wrap.generation)?;
    let place = (account.account, ark_gen, wrap.generation);
    let ark =
        AccountRootKey::unwrap_by_password(&mk, place, bytes).map_err(|_| Error::Alarm(AlarmKind::Keys))?;
    Ok((ark_gen, ark))
}

#[cfg(test)]
pub(crate) mod testing;
