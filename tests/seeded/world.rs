//! The devices of one script and their server: every step of the script, done with the real client library.

use futures_util::future::join_all;
use lockstep_client::{Client, Error};
use lockstep_events::testing::Dice;

use crate::{
    device::Device,
    ground::{Ground, Line, NAME, Serving},
    people::password,
    proxy::Lie,
    script::{Action, Step},
};

/// An access token lives five minutes.
const BEYOND_A_TOKEN_S: i64 = 6 * 60;
/// Contents beyond this length are no part of a push.
const LONG: usize = 20_000;

pub struct World<'a> {
    pub devices: Vec<Device>,
    ground: &'a Ground,
    server: Serving,
    written: usize,
}

/// Whether a sync that broke off may have ended so.
fn is_of_the_line(error: &Error) -> bool {
    error.is_transient() || matches!(error, Error::Protocol(_))
}

/// Loses the nth answer from now on at paths that end with this, after the server has acted.
fn loses(mut nth: u64, end: &'static str) -> Lie {
    Box::new(move |asked, answer, _| {
        let fits = asked.path.split('?').next().is_some_and(|path| path.ends_with(end));
        if !fits || nth == u64::MAX {
            return false;
        }
        if nth > 0 {
            nth -= 1;
            return false;
        }
        nth = u64::MAX;
        answer.status = 502;
        answer.headers.clear();
        answer.body.clear();
        true
    })
}

impl<'a> World<'a> {
    /// A copy of the ground.
    pub async fn begin(ground: &'a Ground) -> Self {
        let server = ground.serve().await;
        let mut devices = Vec::new();
        for (home, token) in &ground.homes {
            devices.push(Device::copied(home, token).await);
        }
        Self { devices, ground, server, written: 0 }
    }

    fn line(&self, device: usize) -> &'a Line {
        &self.ground.lines[device]
    }

    /// What somebody writes: nearly always something else, now and then the same, and now and then long.
    fn text(&mut self, dice: &mut Dice) -> String {
        self.written += 1;
        match dice.below(20) {
            0..3 => format!("the same {}", dice.below(2)),
            3 => format!("{} and long {}", self.written, "x".repeat(LONG)),
            _ => format!("text {}", self.written),
        }
    }

    /// Does one step.
    pub async fn step(&mut self, step: Step) {
        let mut dice = Dice::new(step.dice);
        let at = usize::try_from(step.device).unwrap() % self.devices.len();
        let text = self.text(&mut dice);
        let device = &mut self.devices[at];
        match step.action {
            Action::Add => device.add(text).await,
            Action::Edit => device.edit(&mut dice, text).await,
            Action::Remove => device.remove(&mut dice).await,
            Action::Resolve => device.resolve(&mut dice, text).await,
            Action::Restore => device.restore(&mut dice).await,
            Action::Toggle => self.toggle(at),
            Action::Sync => self.sync(at).await,
            Action::SyncAtOnce => self.sync_at_once().await,
            Action::CutSync => self.cut_sync(at, &mut dice).await,
            Action::LostAnswer => self.lost_answer(at, &mut dice).await,
            Action::Kill => device.starts_anew(true).await,
            Action::Reopen => device.starts_anew(false).await,
            Action::TokensEnd => self.tokens_end(&mut dice).await,
            Action::Revoke => self.revoke(at, &mut dice).await,
            Action::Join => self.join().await,
        }
    }

    fn toggle(&mut self, at: usize) {
        let line = self.line(at);
        let device = &mut self.devices[at];
        device.online = !device.online;
        if device.online { line.mend() } else { line.relay.cut_after(0) }
    }

    /// One sync ends as it must: whoever is on line and was not revoked is up to date after it.
    async fn sync(&mut self, at: usize) {
        let device = &mut self.devices[at];
        let synced = device.sync().await;
        match (device.online, device.revoked) {
            (true, false) => {
                let report = synced.unwrap_or_else(|error| panic!("device {at}: {error:?}"));
                assert_eq!(report.quarantined, 0, "device {at}: {report:?}");
            }
            (true, true) => assert!(matches!(synced, Err(Error::Revoked(_))), "device {at}: {synced:?}"),
            // One that knows that it was revoked does not even try.
            (false, revoked) => {
                let fits =
                    |error: &Error| error.is_transient() || revoked && matches!(error, Error::Revoked(_));
                assert!(synced.as_ref().is_err_and(fits), "device {at}: {synced:?}");
            }
        }
    }

    async fn sync_at_once(&mut self) {
        let insiders = self.devices.iter_mut().filter(|device| device.online && !device.revoked);
        for synced in join_all(insiders.map(Device::sync)).await {
            synced.unwrap();
        }
    }

    /// A sync that may break off, whatever the server made of it.
    async fn broken_sync(&mut self, at: usize) {
        let device = &mut self.devices[at];
        if let Err(error) = device.sync().await {
            let fits = is_of_the_line(&error) || device.revoked && matches!(error, Error::Revoked(_));
            assert!(fits, "device {at}: {error:?}");
        }
        let line = self.line(at);
        line.mend();
        if !self.devices[at].online {
            line.relay.cut_after(0);
        }
    }

    async fn cut_sync(&mut self, at: usize, dice: &mut Dice) {
        if self.devices[at].online {
            self.line(at).relay.cut_after(dice.below(12_000));
        }
        self.broken_sync(at).await;
    }

    async fn lost_answer(&mut self, at: usize, dice: &mut Dice) {
        let (end, nth) = if dice.chance(60) { ("/versions", 0) } else { ("", dice.below(8)) };
        self.line(at).proxy.tell(loses(nth, end));
        self.broken_sync(at).await;
    }

    /// All access tokens run out. Each is renewed with the next request; of one renewal the answer is lost, and it is
    /// sent again.
    async fn tokens_end(&mut self, dice: &mut Dice) {
        // An answer that was lost long ago is not given again: whoever does not know asks before time passes.
        for at in 0..self.devices.len() {
            let device = &self.devices[at];
            if device.unsure && !device.revoked {
                self.line(at).mend();
                self.devices[at].online = true;
                self.sync(at).await;
            }
        }
        self.server.time.pass(BEYOND_A_TOKEN_S);
        let at = usize::try_from(dice.below(self.devices.len() as u64)).unwrap();
        if self.devices[at].online && !self.devices[at].revoked {
            self.line(at).proxy.tell(loses(0, "/v1/sessions/refresh"));
            self.broken_sync(at).await;
            self.sync(at).await;
        }
    }

    /// At most one device of a script is revoked.
    async fn revoke(&mut self, at: usize, dice: &mut Dice) {
        let someone_was = self.devices.iter().any(|device| device.revoked);
        if someone_was || !self.devices[at].online {
            return;
        }
        let others: Vec<usize> = (0..self.devices.len()).filter(|other| *other != at).collect();
        let other = dice.pick(&others).copied().unwrap();
        let gone = self.devices[other].id;
        self.devices[at].client.revoke_device(gone).await.unwrap();
        self.devices[other].revoked = true;
    }

    /// A device that is new shows what everybody does who has read everything.
    async fn join(&mut self) {
        if self.devices.len() == self.ground.lines.len() {
            return;
        }
        let reader =
            (0..self.devices.len()).find(|at| self.devices[*at].online && !self.devices[*at].revoked);
        let Some(reader) = reader else { return };
        let (home, line) = (tempfile::tempdir().unwrap(), self.line(self.devices.len()));
        let client = Client::login(home.path(), &line.address, NAME, &password()).await.unwrap();
        let new = self.devices.len();
        self.devices.push(Device::new(home, client).await);
        // Whoever reads two heads that say the same makes one of them, and the other one reads that.
        for at in [new, reader, new, reader, new] {
            self.sync(at).await;
        }
        let (shown, expected) = (self.devices[new].held().await, self.devices[reader].held().await);
        assert_eq!(shown, expected, "a device that joins shows something else");
    }

    /// Everybody comes on line and syncs until nobody has news.
    pub async fn come_to_rest(&mut self) {
        for at in 0..self.devices.len() {
            self.line(at).mend();
            self.devices[at].online = true;
        }
        for _ in 0..8 {
            let mut moved = 0;
            for at in 0..self.devices.len() {
                if self.devices[at].revoked {
                    self.sync(at).await;
                    continue;
                }
                let report =
                    self.devices[at].sync().await.unwrap_or_else(|error| panic!("device {at}: {error:?}"));
                moved += report.pulled + report.pushed;
            }
            if moved == 0 {
                return;
            }
        }
        panic!("there is always something new");
    }

    pub async fn end(self) {
        for device in &self.devices {
            device.client.close().await;
        }
        drop(self.devices);
        self.server.end().await;
    }
}
