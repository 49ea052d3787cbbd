//! Changing the password, and the recovery code.

use lockstep_api::{
    account::{
        Account, LoginStarted, PasswordFinish, PasswordStart, RegisterStarted, StepUpFinish, StepUpStart,
        SteppedUp, Tokens, Wrap,
    },
    factor::{Demanded, ShowFactor, Shown},
    recovery::{RecoveryFinish, RecoverySet, RecoveryStart, RecoveryStarted},
};
use lockstep_events::{Hash32, canonical::sha256, roster::Claim};
use reqwest::Method;

use super::{
    ARK_WRAP, Arc, Engine, Error, NewProfile, Password, PasswordKey, Path, Profile, Registration, SUITE_S1,
    Server, Transport, add_device, find, heavy, no_profile_yet, os_random, post, split_generation, stretch,
    suite, write_profile,
};
use crate::{
    crypto::{local::new_salt, opaque::Login, recovery::RecoveryCode},
    model::AlarmKind,
    profile::LocalLock,
    store::keys,
    transport::Body,
};

const ARK_RECOVERY: &str = "ark/recovery";
const SLOT: u16 = 0;

/// Shows a second factor when the server demands one.
pub type ShowingFactor<'a> = &'a mut (dyn FnMut(&Demanded) -> Result<Shown, Error> + Send);

/// What the server demands, if its refusal is a demand for a second factor.
fn demanded(error: &Error) -> Option<Demanded> {
    let Error::Refused { problem, .. } = error else { return None };
    let wanted = problem.code == lockstep_api::Code::SecondFactorRequired;
    serde_json::from_value(problem.facts.clone().filter(|_| wanted)?).ok()
}

/// What came of asking: the answer, or what is to be shown where a second factor is demanded for it.
pub(crate) enum Asked<T> {
    Answered(T),
    Show(ShowFactor),
}

impl<T> Asked<T> {
    /// Looks at an answer, and asks for the factor if one is demanded.
    pub(crate) fn of(answer: Result<T, Error>, factor: ShowingFactor<'_>) -> Result<Self, Error> {
        let error = match answer {
            Ok(answer) => return Ok(Self::Answered(answer)),
            Err(error) => error,
        };
        let Some(demanded) = demanded(&error) else { return Err(error) };
        Ok(Self::Show(ShowFactor { attempt: demanded.attempt, factor: factor(&demanded)? }))
    }
}

impl Engine {
    /// Proves the password again: for five minutes the session may do what needs a fresh proof.
    pub(crate) async fn step_up(&self, password: &Password, factor: ShowingFactor<'_>) -> Result<(), Error> {
        password.check_len().map_err(|_| Error::LoginFailed)?;
        let (login, request) = Login::start(password, &mut os_random())?;
        let started: LoginStarted =
            self.post("/v1/sessions/step-up/start", &StepUpStart { request: request.into() }).await?;
        let response = started.response.0;
        let done =
            heavy(move || login.finish(&response, &mut os_random())).await.map_err(|_| Error::LoginFailed)?;
        self.same_server(&done.server_key).await?;
        let finish = StepUpFinish { attempt: started.attempt, finalization: done.finalization.into() };
        let stepped: Result<SteppedUp, Error> = self.post("/v1/sessions/step-up/finish", &finish).await;
        let stepped = match Asked::of(stepped, factor)? {
            Asked::Answered(stepped) => stepped,
            Asked::Show(show) => self.post("/v1/sessions/step-up/second-factor", &show).await?,
        };
        self.keep_access_token(stepped.access_token, stepped.expires_in).await
    }

    /// Changes the password, on the server and on this device. Every other session ends. Once `sent` was called it may
    /// have been changed on the server, whatever keeps this from ending.
    pub(crate) async fn change_password(
        &self,
        old: &Password,
        new: &Password,
        factor: ShowingFactor<'_>,
        sent: impl FnOnce() + Send,
    ) -> Result<(), Error> {
        new.check_new(&self.profile.name)?;
        self.step_up(old, factor).await?;
        let account: Account = self.fetch("/v1/account").await?;
        suite::known(account.suite)?;
        suite::known(keys::trusted(&mut *self.store.pool().acquire().await?).await?.roster.suite)?;
        let held = find(&account, ARK_WRAP).map(|wrap| wrap.generation);
        let generation = self.keep_alarm(held, "the root key under the password").await? + 1;
        let (registration, request) = Registration::start(new, &mut os_random())?;
        let start = PasswordStart { request: request.into() };
        let started: RegisterStarted = self.post("/v1/account/password/start", &start).await?;
        if started.account != self.account() {
            return Err(Error::Protocol("a registration of another account"));
        }
        let response = started.response.0;
        let registered = heavy(move || registration.finish(&response, &mut os_random())).await?;
        self.same_server(&registered.server_key).await?;
        let key = PasswordKey::derive(&registered.export_key, self.account(), generation)?;
        let ark_gen = self.ark_generation().await?;
        let place = (self.account(), ark_gen, generation);
        let wrapped = self.keys.ark.wrap_by_password(&key, place, &mut os_random())?;
        let finish = PasswordFinish {
            attempt: started.attempt,
            upload: registered.upload.into(),
            suite: SUITE_S1,
            wrap: ark_wrap(ARK_WRAP, generation, ark_gen, &wrapped),
        };
        let body = Body::json(&finish)?;
        // Before it is sent: between the server's change and this device's lies as little as can be.
        let lock = self.locked_under(new).await?;
        sent();
        self.request(Method::POST, "/v1/account/password/finish", body).await?.ok()?;
        Profile::change(&self.home, |profile| profile.lock = Some(lock))
    }

    async fn ark_generation(&self) -> Result<u32, Error> {
        let mut db = self.store.pool().acquire().await?;
        let kept = keys::get(&mut db, keys::name::ARK).await?.ok_or_else(crate::store::damaged)?;
        Ok(split_generation(&kept)?.0)
    }

    /// The key of this profile under a password.
    pub(crate) async fn locked_under(&self, password: &Password) -> Result<LocalLock, Error> {
        let salt = new_salt(&mut os_random());
        let outer = stretch(password, salt).await?;
        let place = (self.account(), self.device());
        let wrapped = self.keys.local.lock_under(&outer, place, &mut os_random())?;
        Ok(LocalLock { salt: hex::encode(salt), wrapped: hex::encode(wrapped) })
    }

    /// Makes a recovery code, in the place of the one before. Once `sent` was called the one before may be worthless,
    /// whatever keeps this from ending.
    pub(crate) async fn new_recovery_code(
        &self,
        password: &Password,
        factor: ShowingFactor<'_>,
        sent: impl FnOnce() + Send,
    ) -> Result<RecoveryCode, Error> {
        self.may_ask().await?;
        self.step_up(password, factor).await?;
        // The statement must follow the newest: read what others stated first.
        self.pull_account().await?;
        let trusted = keys::trusted(&mut *self.store.pool().acquire().await?).await?;
        let account: Account = self.fetch("/v1/account").await?;
        let generation = next_recovery(&account);
        let code = RecoveryCode::random(&mut os_random());
        let ark_gen = self.ark_generation().await?;
        let wrapped = code.wrap_ark(&self.keys.ark, (self.account(), ark_gen, SLOT), &mut os_random())?;
        let verifier = Hash32(sha256(&*code.secret()?));
        let claim = Claim::RecoverySlotSet { slot: SLOT, commitment: Hash32(sha256(verifier.as_bytes())) };
        let statement = self.keys.ask.state(&trusted.roster, claim)?;
        let wrap = ark_wrap(ARK_RECOVERY, generation, ark_gen, &wrapped);
        let body = Body::json(&RecoverySet { statement, verifier, wrap })?;
        sent();
        self.request(Method::PUT, "/v1/account/recovery", body).await?.ok()?;
        // It is the one that counts by now: nothing may keep it from whom it is for. The next sync pulls again.
        let _ = self.pull_account().await;
        Ok(code)
    }
}

/// The generation of the next recovery wrap: a used code has left no wrap, but the roster says how many there were.
fn next_recovery(account: &Account) -> u32 {
    let set = account.roster.iter().filter(|stated| matches!(stated.claim, Claim::RecoverySlotSet { .. }));
    u32::try_from(set.count()).map_or(u32::MAX, |before| before + 1)
}

fn ark_wrap(name: &str, generation: u32, ark_gen: u32, wrapped: &[u8]) -> Wrap {
    let bytes = [&ark_gen.to_be_bytes()[..], wrapped].concat().into();
    Wrap { name: name.to_owned(), generation, bytes }
}

/// A new password by the recovery code: this directory becomes a new device of the account, every session ends, and
/// the code is used up. Once `sent` was called all of it may be so on the server, whatever keeps this from ending.
pub(crate) async fn recover(
    home: &Path,
    server: &Server,
    name: &str,
    code: &RecoveryCode,
    password: &Password,
    sent: impl FnOnce() + Send,
) -> Result<Arc<Engine>, Error> {
    password.check_new(name)?;
    no_profile_yet(home)?;
    let transport = Transport::new(server)?;
    let (registration, request) = Registration::start(password, &mut os_random())?;
    let start = RecoveryStart {
        name: name.to_owned(),
        secret: code.secret()?.to_vec().into(),
        request: request.into(),
    };
    let started: RecoveryStarted = post(&transport, "/v1/recovery/start", None, &start).await?;
    let account = &started.account;
    let response = started.response.0;
    let registered = heavy(move || registration.finish(&response, &mut os_random())).await?;
    let wrap = find(account, ARK_RECOVERY)?;
    let (ark_gen, bytes) = split_generation(&wrap.bytes.0)?;
    let ark = code
        .unwrap_ark((account.account, ark_gen, SLOT), bytes)
        .map_err(|_| Error::Alarm(AlarmKind::Keys))?;
    // Only a slot that the account signing key has stated is one (E21).
    let commitment = Hash32(sha256(&sha256(&*code.secret()?)));
    let claim = Claim::RecoverySlotSet { slot: SLOT, commitment };
    if !account.roster.iter().any(|statement| statement.claim == claim) {
        return Err(Error::Alarm(AlarmKind::Roster));
    }
    let generation = find(account, ARK_WRAP)?.generation + 1;
    let key = PasswordKey::derive(&registered.export_key, account.account, generation)?;
    let wrapped = ark.wrap_by_password(&key, (account.account, ark_gen, generation), &mut os_random())?;
    let prepared = add_device(account, ark)?;
    let finish = RecoveryFinish {
        attempt: started.attempt,
        upload: registered.upload.clone().into(),
        suite: SUITE_S1,
        wrap: ark_wrap(ARK_WRAP, generation, ark_gen, &wrapped),
        statement: prepared.statement.clone(),
    };
    sent();
    let tokens: Tokens = post(&transport, "/v1/recovery/finish", None, &finish).await?;
    let new: NewProfile = prepared.into_profile(account, ark_gen, registered.server_key.clone(), tokens);
    write_profile(home, server, name, password, new).await
}
