//! Rate limits. What concerns credentials is counted exactly by all nodes together, in the credential store's database:
//! if that is gone, nothing that needs it is let through. Everything else each node counts for itself, in memory: no
//! push waits for a database on this account.

mod address;
mod alarm;
mod gcra;
mod local;
mod seats;
mod store;
mod table;
pub mod testing;

use std::{net::IpAddr, sync::Arc, time::Duration};

use lockstep_events::{AccountId, DeviceId, Micros, SessionId, canonical::Writer, event::OidcRefusal};
use uuid::Uuid;

pub use address::{Proxies, place, truncated};
pub use gcra::{LONGEST, Quota, SLACK, Standing};
pub use local::Local;
pub use seats::{Seat, Seats};
pub use store::{RateStore, Take, Taken};
pub use table::{ACTIONS, Action, OPEN, Rules, TABLE};

use self::alarm::Alarms;
use crate::auth::{
    credentials::{CredentialError, NameIndex},
    server_keys::ServerKeys,
};

/// The common store may take so long. What then became of a take is unknown: the request is not let through.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whose bucket it is, beside the address that asks.
#[derive(Clone, Copy)]
pub enum Subject {
    /// A name, known or not.
    Name(NameIndex),
    /// An account.
    Account(AccountId),
    /// A device of an account.
    Device(AccountId, DeviceId),
    /// A session, which is a family of refresh tokens.
    Session(SessionId),
    /// A request for a code or a link.
    Request(Uuid),
    /// Everybody whose answer of an identity provider is refused for this reason.
    Refused(OidcRefusal),
}

/// Why a request is not let through.
#[derive(Debug, thiserror::Error)]
pub enum Stop {
    /// Too many before it.
    #[error("too many requests")]
    TooMany {
        /// When to come back.
        retry_after: Duration,
        /// The quota that is used up.
        standing: Standing,
        /// Whether it is everybody's.
        everybody: bool,
    },
    /// What all nodes count together cannot be asked.
    #[error(transparent)]
    Unavailable(#[from] CredentialError),
}

/// What kind of bucket; part of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Address,
    Network,
    All,
    Subject,
    Daily,
    /// Guesses in one request.
    Guess,
}

/// A network of 48 bits has so many times the limit of an address.
const NETWORK_FACTOR: u32 = 8;

/// The limits of this node.
pub struct Limits {
    local: Local,
    store: Arc<dyn RateStore>,
    secret: [u8; 32],
    factor: u32,
    proxies: Proxies,
    alarms: Alarms,
}

/// A bucket that has to be asked.
#[derive(Clone, Copy)]
struct Bucket {
    kind: Kind,
    whose: u128,
    quota: Quota,
}

impl Bucket {
    const fn new(kind: Kind, whose: u128, quota: Quota) -> Self {
        Self { kind, whose, quota }
    }
}

impl Limits {
    /// Limits, each times `factor`.
    pub fn new(store: Arc<dyn RateStore>, keys: &ServerKeys, factor: u32, proxies: Proxies) -> Self {
        let secret = keys.stable("rate-limit-keys", b"");
        let (local, alarms) = (Local::default(), Alarms::default());
        Self { local, store, secret, factor, proxies, alarms }
    }

    /// The proxies whose word is believed.
    pub const fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// The client of a connection; `forwarded` are the values of `x-forwarded-for`, the last first.
    pub fn client<'a>(&self, peer: IpAddr, forwarded: impl Iterator<Item = &'a [u8]>) -> IpAddr {
        self.proxies.client(peer, forwarded)
    }

    /// Lets an address begin an action, before anything else about the request is looked at.
    ///
    /// # Errors
    /// [`Stop`]
    pub async fn enter(&self, action: Action, client: IpAddr, now: Micros) -> Result<Option<Standing>, Stop> {
        let rules = action.rules();
        let (one, around) = address::places(client);
        let network = rules.address.map(|quota| quota.times(NETWORK_FACTOR)).zip(around);
        let buckets = [
            rules.address.map(|quota| Bucket::new(Kind::Address, one, quota)),
            network.map(|(quota, around)| Bucket::new(Kind::Network, around, quota)),
            rules.all.map(|quota| Bucket::new(Kind::All, 0, quota)),
        ];
        self.take(rules, buckets, now).await
    }

    /// Lets somebody do an action, or something be done about somebody.
    ///
    /// # Errors
    /// [`Stop`]
    pub async fn subject(
        &self,
        action: Action,
        subject: Subject,
        now: Micros,
    ) -> Result<Option<Standing>, Stop> {
        let rules = action.rules();
        let whose = subject.number();
        let buckets = [
            rules.subject.map(|quota| Bucket::new(Kind::Subject, whose, quota)),
            rules.daily.map(|quota| Bucket::new(Kind::Daily, whose, quota)),
        ];
        self.take(rules, buckets, now).await
    }

    /// Lets an account make so many changes, all or none.
    ///
    /// # Errors
    /// [`Stop`]
    pub fn changes(&self, account: AccountId, number: usize, now: Micros) -> Result<(), Stop> {
        let rules = Action::Change.rules();
        let Some(quota) = rules.subject.map(|quota| quota.times(self.factor)) else { return Ok(()) };
        let bucket = Bucket::new(Kind::Subject, Subject::Account(account).number(), quota);
        let key = (rules.action as u8, bucket.kind as u8, bucket.whose);
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let taken = self.local.take_some(number, key, quota, now);
        taken.map(drop).map_err(|wait| self.too_many(rules, bucket, wait, now))
    }

    /// The attempt was a success: it does not count among the failures of the day.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn succeeded(&self, action: Action, subject: Subject) -> Result<(), CredentialError> {
        let rules = action.rules();
        let Some(quota) = rules.daily else { return Ok(()) };
        let bucket = Bucket::new(Kind::Daily, subject.number(), quota.times(self.factor));
        self.store.give_back(&self.stored(rules, bucket)).await
    }

    /// Lets somebody guess at something that is as short as a person can type it: so often in one request, and so
    /// often in a day about whom it concerns. Durable, and counted before the guess is looked at. What is guessed at
    /// does not get longer with the number of people: the factor does not multiply these.
    ///
    /// # Errors
    /// [`Stop`]
    pub async fn guess(&self, request: Option<Uuid>, whose: Subject, now: Micros) -> Result<(), Stop> {
        let rules = Action::Verify.rules();
        let in_request = request.zip(rules.subject);
        let buckets = [
            in_request.map(|(request, quota)| Bucket::new(Kind::Guess, request.as_u128(), quota)),
            rules.daily.map(|quota| Bucket::new(Kind::Daily, whose.number(), quota)),
        ];
        self.take_exact(rules, &buckets, now).await.map(drop)
    }

    /// The guess was right: it does not count among those of the day.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn guessed(&self, whose: Subject) -> Result<(), CredentialError> {
        let rules = Action::Verify.rules();
        let Some(quota) = rules.daily else { return Ok(()) };
        self.store.give_back(&self.stored(rules, Bucket::new(Kind::Daily, whose.number(), quota))).await
    }

    async fn take<const N: usize>(
        &self,
        rules: &Rules,
        buckets: [Option<Bucket>; N],
        now: Micros,
    ) -> Result<Option<Standing>, Stop> {
        let times = |bucket: Bucket| Bucket { quota: bucket.quota.times(self.factor), ..bucket };
        let buckets = buckets.map(|bucket| bucket.map(times));
        if rules.exact {
            self.take_exact(rules, &buckets, now).await
        } else {
            self.take_local(rules, &buckets, now)
        }
    }

    fn take_local(
        &self,
        rules: &Rules,
        buckets: &[Option<Bucket>],
        now: Micros,
    ) -> Result<Option<Standing>, Stop> {
        let mut tightest: Option<Standing> = None;
        for bucket in buckets.iter().flatten() {
            let key = (rules.action as u8, bucket.kind as u8, bucket.whose);
            let quota = bucket.quota;
            let taken = self.local.take(key, quota, now);
            let full_at = taken.map_err(|wait| self.too_many(rules, *bucket, wait, now))?;
            let standing = quota.standing(full_at, now);
            tightest = Some(tightest.map_or(standing, |known| known.tighter(standing)));
        }
        Ok(tightest)
    }

    async fn take_exact(
        &self,
        rules: &Rules,
        buckets: &[Option<Bucket>],
        now: Micros,
    ) -> Result<Option<Standing>, Stop> {
        let asked: Vec<Bucket> = buckets.iter().flatten().copied().collect();
        let takes: Vec<Take> = asked.iter().map(|bucket| self.stored(rules, *bucket)).collect();
        if takes.is_empty() {
            return Ok(None);
        }
        let taken = tokio::time::timeout(PATIENCE, self.store.take(&takes, now)).await;
        match taken.map_err(|late| CredentialError::Unavailable(Box::new(late)))?? {
            Taken::All(full_at) => {
                let standings = takes.iter().zip(full_at).map(|(take, at)| take.quota.standing(at, now));
                Ok(standings.reduce(Standing::tighter))
            }
            Taken::Refused { at, full_at } => {
                let empty = asked.get(at).copied().unwrap_or(asked[0]);
                // A moment may have passed in which it would have fitted after all: it still waits a little.
                let wait = empty.quota.take(Some(full_at), now).err().unwrap_or(1);
                Err(self.too_many(rules, empty, wait, now))
            }
        }
    }

    fn stored(&self, rules: &Rules, bucket: Bucket) -> Take {
        let hash = Writer::new("lockstep/v1/rate")
            .fixed(&self.secret)
            .lp(rules.name.as_bytes())
            .fixed(&[bucket.kind as u8])
            .fixed(&bucket.whose.to_be_bytes())
            .sha256();
        let mut key = [0; 16];
        key.copy_from_slice(&hash[..16]);
        Take { key, kept: matches!(bucket.kind, Kind::Daily | Kind::Guess), quota: bucket.quota }
    }

    /// The refusal by an empty bucket, of which one is there again after `wait`.
    fn too_many(&self, rules: &Rules, Bucket { kind, quota, .. }: Bucket, wait: i64, now: Micros) -> Stop {
        let retry_after = Duration::from_micros(u64::try_from(wait).unwrap_or(0));
        // All of them are there when the rest of the window has passed, too.
        let all = wait.saturating_add(quota.window()).saturating_sub(quota.step);
        let everybody = kind == Kind::All;
        if everybody {
            self.alarms.ring(rules, now, Micros(now.0.saturating_add(all)));
        }
        let standing =
            Standing { limit: quota.burst, remaining: 0, reset_s: all.saturating_add(999_999) / 1_000_000 };
        Stop::TooMany { retry_after, standing, everybody }
    }

    /// Forgets what is full again.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn sweep(&self, now: Micros) -> Result<u64, CredentialError> {
        self.store.sweep(now).await
    }
}

impl Subject {
    fn number(self) -> u128 {
        match self {
            // A keyed hash: half of it is as good as all of it.
            Self::Name(NameIndex(hash)) => hash.first_chunk().copied().map_or(0, u128::from_be_bytes),
            // Its client chose the id: no choice may lead to somebody else's bucket.
            Self::Device(account, device) => {
                let both = Writer::new("lockstep/v1/rate-device").fixed(account.as_bytes());
                let hash = both.fixed(device.as_bytes()).sha256();
                hash.first_chunk().copied().map_or(0, u128::from_be_bytes)
            }
            Self::Account(AccountId(id)) | Self::Session(SessionId(id)) | Self::Request(id) => id.as_u128(),
            Self::Refused(reason) => reason as u128,
        }
    }
}
