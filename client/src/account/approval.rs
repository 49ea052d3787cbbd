//! Approval of a new device by an enrolled one.

use std::time::{Duration, Instant};

use lockstep_api::{
    account::proof_message,
    approval::{
        Approval, ApprovalAsked, Approvals, Approve, AskApproval, CollectApproval, Collected,
        WithdrawApproval, withdrawal_message,
    },
};
use lockstep_events::roster::Claim;

use super::{
    Arc, DeviceId, DeviceKey, Engine, Error, NewProfile, Password, Path, Server, Transport, find, fold,
    new_id, no_profile_yet, os_random, password::ShowingFactor, post, split_generation, write_profile,
};
use crate::{
    crypto::approval::{ApprovalKey, Given, Request, seal},
    engine::ask_id,
    model::AlarmKind,
    porting::generate::word_list,
    store::keys,
    transport::Body,
    vault_keys::all_wraps,
};

/// Between two questions whether somebody has approved.
const PAUSE: Duration = Duration::from_secs(2);

/// So long a request may be approved.
const LIFE: Duration = Duration::from_mins(10);

/// A new device that has asked to be approved.
pub struct Asking {
    transport: Transport,
    server: Server,
    name: String,
    approval: uuid::Uuid,
    asked: Instant,
    device: DeviceId,
    device_key: DeviceKey,
    key: ApprovalKey,
}

impl Asking {
    /// Asks.
    pub(crate) async fn start(home: &Path, server: &Server, name: &str) -> Result<Self, Error> {
        no_profile_yet(home)?;
        let transport = Transport::new(server)?;
        let rng = &mut os_random();
        let (device, device_key, key): (DeviceId, _, _) =
            (new_id(rng), DeviceKey::random(rng), ApprovalKey::random(rng));
        let ask = AskApproval {
            name: name.to_owned(),
            device,
            public_key: device_key.public(),
            kem_key: key.public().to_vec().into(),
        };
        let ApprovalAsked { approval, .. } = post(&transport, "/v1/approvals", None, &ask).await?;
        let (server, name, asked) = (server.clone(), name.to_owned(), Instant::now());
        Ok(Self { transport, server, name, approval, asked, device, device_key, key })
    }

    /// The words that must stand on the approving device's screen, too.
    pub fn words(&self) -> Vec<&'static str> {
        let public_key = self.device_key.public();
        self.request(&public_key).words(&word_list())
    }

    fn request<'a>(&'a self, public_key: &'a lockstep_events::ids::PublicKey) -> Request<'a> {
        Request { approval: self.approval, device: self.device, public_key, kem_key: self.key.public() }
    }

    /// What withdraws this request.
    pub fn withdrawal(&self) -> Withdrawal {
        let signature = self.device_key.sign(&withdrawal_message(self.approval));
        let (transport, approval, asked) = (self.transport.clone(), self.approval, self.asked);
        Withdrawal { transport, approval, asked, device: self.device, body: WithdrawApproval { signature } }
    }

    /// Waits until an enrolled device has approved this one, and makes the profile. `password` opens it on this
    /// device; the account's password is not needed here.
    pub(crate) async fn finish(self, home: &Path, password: &Password) -> Result<Arc<Engine>, Error> {
        let path = format!("/v1/approvals/{}/collect", self.approval);
        let signature = self.device_key.sign(&proof_message(self.approval.as_bytes()));
        let approved = loop {
            let collect = CollectApproval { signature };
            match post::<Collected>(&self.transport, &path, None, &collect).await {
                Ok(Collected { approved: Some(approved) }) => break approved,
                Ok(_) => {}
                // It comes back, and has the request still.
                Err(error) if error.is_transient() && self.asked.elapsed() < LIFE => {}
                Err(other) => return Err(other),
            }
            tokio::time::sleep(PAUSE).await;
        };
        let public_key = self.device_key.public();
        let given = self
            .key
            .open(&self.request(&public_key), &approved.sealed.0)
            .map_err(|_| Error::Alarm(AlarmKind::Keys))?;
        let new = self.checked(given, approved.account, approved.tokens)?;
        let (server, name) = (self.server, self.name);
        write_profile(home, &server, &name, password, new).await
    }

    /// The account as the approving device vouched for it: another one, or another roster, is an alarm.
    fn checked(
        &self,
        given: Given,
        account: lockstep_api::account::Account,
        tokens: lockstep_api::account::Tokens,
    ) -> Result<NewProfile, Error> {
        let roster = fold(&account)?;
        let known =
            roster.devices.get(&self.device).is_some_and(|d| d.public_key == self.device_key.public());
        if given.account != account.account || given.fingerprint != roster.fingerprint || !known {
            return Err(Error::Alarm(AlarmKind::Roster));
        }
        let not_ours = |_| Error::Alarm(AlarmKind::Keys);
        let ask_wrap = find(&account, super::ASK_WRAP)?.bytes.0.clone();
        let ask = given
            .ark
            .unwrap_ask(account.account, ask_id(&roster.signing_key), &ask_wrap)
            .map_err(not_ours)?;
        if ask.public() != roster.signing_key {
            return Err(Error::Alarm(AlarmKind::Keys));
        }
        let vault_wraps = all_wraps(&account, &roster, &given.ark)?;
        Ok(NewProfile {
            account: account.account,
            device: self.device,
            vault: *account.vaults.first().ok_or(Error::Protocol("an account without a vault"))?,
            ark_gen: given.ark_gen,
            ark: given.ark,
            ask_wrap,
            device_key: self.device_key.clone(),
            vault_wraps,
            statements: account.roster,
            // No password was proven here: the first login pins the server's key.
            server_key: Vec::new(),
            tokens,
        })
    }
}

/// The end of a request that nobody waits for any more: no device can approve it after that.
pub struct Withdrawal {
    transport: Transport,
    approval: uuid::Uuid,
    asked: Instant,
    device: DeviceId,
    body: WithdrawApproval,
}

impl Withdrawal {
    /// The device that asked.
    pub const fn device(&self) -> DeviceId {
        self.device
    }

    /// Whether it may be approved still, unless it was withdrawn.
    pub fn is_young(&self) -> bool {
        self.asked.elapsed() < LIFE
    }

    /// Withdraws it. *Online.*
    ///
    /// # Errors
    /// [`Error::Refused`] with `precondition_failed` if it was approved already, `not_found` if it is too old.
    pub async fn send(&self) -> Result<(), Error> {
        let path = format!("/v1/approvals/{}/withdraw", self.approval);
        let body = Body::json(&self.body)?;
        self.transport.send(reqwest::Method::POST, &path, None, &[], body).await?.ok().map(drop)
    }
}

/// A device that asks, as an enrolled one sees it.
pub struct Waiting {
    /// The request.
    pub approval: Approval,
    /// The words that must stand on the new device's screen, too.
    pub words: Vec<&'static str>,
}

fn request(approval: &Approval) -> Request<'_> {
    Request {
        approval: approval.approval,
        device: approval.device,
        public_key: &approval.public_key,
        kem_key: &approval.kem_key.0,
    }
}

impl Engine {
    /// The devices that ask to be approved.
    pub(crate) async fn approvals(&self) -> Result<Vec<Waiting>, Error> {
        let all = self.fetch::<Approvals>("/v1/approvals").await?.approvals;
        let list = word_list();
        Ok(all
            .into_iter()
            .map(|approval| Waiting { words: request(&approval).words(&list), approval })
            .collect())
    }

    /// Approves a device whose words a person has compared.
    pub(crate) async fn approve(
        &self,
        waiting: &Waiting,
        password: &Password,
        factor: ShowingFactor<'_>,
    ) -> Result<(), Error> {
        self.may_ask().await?;
        self.step_up(password, factor).await?;
        self.pull_account().await?;
        let trusted = keys::trusted(&mut *self.store.pool().acquire().await?).await?;
        let kept = keys::get(&mut *self.store.pool().acquire().await?, keys::name::ARK).await?;
        let ark_gen = split_generation(&kept.ok_or_else(crate::store::damaged)?)?.0;
        let asked = &waiting.approval;
        let claim = Claim::DeviceAdded { device: asked.device, public_key: asked.public_key };
        let statement = self.keys.ask.state(&trusted.roster, claim)?;
        let secret = (self.account(), ark_gen, &self.keys.ark);
        let sealed = seal(&request(asked), secret, &trusted.roster.fingerprint, &mut os_random())?;
        let body = Body::json(&Approve { statement, sealed: sealed.into() })?;
        let path = format!("/v1/approvals/{}/approve", asked.approval);
        self.request(reqwest::Method::POST, &path, body).await?.ok()?;
        self.pull_account().await.map(drop)
    }
}
