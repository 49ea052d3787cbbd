//! Server, devices and the network between them.

use super::{
    access::{Door, Session},
    bits::Bits,
    check,
    device::{Applied, Device},
    fault::{Fault, Held, Violation, hold},
    random::Random,
    server::{Page, Server, Verdict},
    universe::{Choice, Universe, V},
};
use crate::header::VersionKind;

/// A push on its way to the server.
#[derive(Debug, Clone)]
pub struct Push {
    /// Who sends it.
    pub device: usize,
    /// The token that it carries.
    pub token: u64,
    /// The epoch that it names.
    pub epoch: u64,
    /// The versions in the order of the batch.
    pub items: Vec<V>,
}

/// Everything of one run.
#[derive(Debug, Clone)]
pub struct World {
    /// All versions.
    pub universe: Universe,
    /// The server.
    pub server: Server,
    /// The devices.
    pub devices: Vec<Device>,
    /// Pushes that have not arrived yet.
    pub in_flight: Vec<Push>,
    /// Whether live frames are lost altogether.
    pub bus_down: bool,
    /// Chances in a hundred that a message is lost.
    pub loss: usize,
    /// What is broken on purpose.
    pub fault: Option<Fault>,
    /// Deletes with the heads that their users were shown.
    pub deletes: Vec<(V, Vec<V>)>,
    /// What must be there in the end: backups that were restored, and what devices held then.
    pub must_hold: Bits,
    /// A restore never goes back behind the last purge: an operator purges again after it.
    pub purge_floor: usize,
    /// Frames that were put into inboxes.
    pub frames_sent: usize,
}

impl World {
    /// A server and some devices that know nothing yet.
    pub fn new(devices: usize, entries: usize, fault: Option<Fault>) -> Self {
        let mut server = Server::new(entries, fault);
        server.sessions = vec![Session::default(); devices];
        Self {
            universe: Universe::default(),
            server,
            devices: (0..devices).map(|number| Device::new(number, entries, fault)).collect(),
            in_flight: Vec::new(),
            bus_down: false,
            loss: 0,
            fault,
            deletes: Vec::new(),
            must_hold: Bits::default(),
            purge_floor: 0,
            frames_sent: 0,
        }
    }

    /// A user's edit of a head, or the first version of an entry.
    ///
    /// # Errors
    /// If C3 does not hold.
    pub fn edit(&mut self, device: usize, entry: usize, parent: Option<V>) -> Result<V, Violation> {
        let parents = parent.into_iter().collect();
        self.choose(
            device,
            Choice { entry, kind: VersionKind::Edit, parents, content_of: None, content_len: 40 },
        )
    }

    /// Any decision of a user.
    ///
    /// # Errors
    /// If C3 does not hold.
    pub fn choose(&mut self, device: usize, choice: Choice) -> Result<V, Violation> {
        self.devices[device].make(&mut self.universe, choice, 1_700_000_000_000)
    }

    /// A user deletes an entry that is shown.
    ///
    /// # Errors
    /// If C3 does not hold.
    pub fn delete(&mut self, device: usize, entry: usize) -> Held {
        let shown: Vec<V> = self.devices[device].shown[entry].iter().copied().collect();
        let parents = self.devices[device].named_by_a_delete(&self.universe, entry);
        if parents.is_empty() {
            return Ok(());
        }
        let choice =
            Choice { entry, kind: VersionKind::Tombstone, parents, content_of: None, content_len: 0 };
        let tombstone = self.choose(device, choice)?;
        self.deletes.push((tombstone, shown));
        Ok(())
    }

    /// The page after a device's cursor, as the server serves it.
    ///
    /// # Errors
    /// If S2 does not hold.
    pub fn serve(&self, device: usize, limit: u64) -> Result<Page, Violation> {
        let (epoch, seq) = self.devices[device].cursor;
        let page = self.server.page(if epoch == self.server.epoch { seq } else { 0 }, limit);
        check::page(page.from, page.to, page.facts.iter().map(|(seq, _)| *seq))?;
        Ok(page)
    }

    /// One pull: a page, or the reset that a new epoch asks for.
    ///
    /// # Errors
    /// If an invariant does not hold.
    pub fn pull(&mut self, device: usize, limit: u64) -> Held {
        if self.devices[device].cursor.0 != self.server.epoch {
            self.devices[device].reset(self.server.epoch);
            return Ok(());
        }
        let page = self.serve(device, limit)?;
        self.devices[device].apply(&mut self.universe, &page, false)?;
        self.devices[device].offer_again(&self.universe, page.head);
        Ok(())
    }

    /// A push arrives; none if it was not let in, or named another epoch.
    ///
    /// # Errors
    /// If an invariant does not hold.
    pub fn arrive(
        &mut self,
        push: &Push,
        dice: &mut Random,
    ) -> Result<Option<super::server::Answer>, Violation> {
        let from = self.server.head();
        if self.server.door(push.device, push.token) != Door::Open {
            return Ok(None);
        }
        let answer = self.server.push(&self.universe, push.epoch, &push.items)?;
        check::let_in(&self.server, push, from)?;
        if self.fault == Some(Fault::SeqBeforeCommit) && dice.percent(50) {
            self.server.hidden = (super::server::index(from + 1)..self.server.log.len()).collect();
        }
        if let Some(answer) = &answer {
            self.others_go_on(answer)?;
        }
        self.broadcast(from, dice);
        Ok(answer)
    }

    /// L3: whatever became of other items, a version whose parents stand and that is well-formed is decided.
    fn others_go_on(&self, answer: &super::server::Answer) -> Held {
        for (v, verdict) in &answer.verdicts {
            let made = &self.universe.made[*v];
            let ready = made.parents.iter().all(|p| self.server.accepted.has(*p));
            hold("L3", *verdict != Verdict::MissingParents || !ready, || {
                format!("version {v} waits although its parents stand")
            })?;
        }
        Ok(())
    }

    /// A live frame to everybody who listens.
    fn broadcast(&mut self, from: u64, dice: &mut Random) {
        if self.server.head() == from || self.bus_down {
            return;
        }
        let frame = self.server.page(from, u64::MAX / 2);
        let fed = |device: &&mut Device| {
            let gone = self.server.sessions[device.number].revoked.is_some();
            device.online && (!gone || self.fault == Some(Fault::FeedsRevoked))
        };
        for device in self.devices.iter_mut().filter(fed) {
            let copies = usize::from(!dice.percent(self.loss)) + usize::from(dice.percent(self.loss / 2));
            for _ in 0..copies {
                device.inbox.push(frame.clone());
                self.frames_sent += 1;
            }
        }
    }

    /// An answer leaves the server and arrives.
    pub fn answer(&mut self, device: usize, answer: &super::server::Answer) {
        self.acknowledge(answer);
        self.devices[device].answered(&self.universe, answer);
    }

    /// An answer leaves the server.
    pub fn acknowledge(&mut self, answer: &super::server::Answer) {
        if answer.epoch == self.server.epoch {
            for (v, verdict) in &answer.verdicts {
                if matches!(verdict, Verdict::Accepted(_) | Verdict::Duplicate(_)) {
                    self.server.acknowledged.add(*v);
                }
            }
        }
    }

    /// Sends a whole outbox and waits for the answer, over a network without faults.
    ///
    /// # Errors
    /// If an invariant does not hold.
    pub fn push_all(&mut self, device: usize) -> Held {
        if !self.enters(device, &mut Random::new(1))? {
            return Ok(());
        }
        let sender = &self.devices[device];
        let (token, epoch) = (sender.token, sender.cursor.0);
        let push = Push { device, token, epoch, items: sender.outbox.clone() };
        if push.items.is_empty() {
            return Ok(());
        }
        match self.arrive(&push, &mut Random::new(1))? {
            Some(answer) => self.answer(device, &answer),
            None => self.devices[device].reset(self.server.epoch),
        }
        Ok(())
    }

    /// Applies whatever frame was delivered.
    ///
    /// # Errors
    /// If an invariant does not hold.
    pub fn deliver(&mut self, device: usize, frame: &Page) -> Result<Applied, Violation> {
        let applied = self.devices[device].apply(&mut self.universe, frame, true)?;
        if applied == Applied::Yes {
            self.devices[device].offer_again(&self.universe, frame.head);
        }
        Ok(applied)
    }

    /// The server goes back to a backup while devices may know more.
    ///
    /// # Errors
    /// If an invariant does not hold.
    pub fn restore(&mut self, length: usize) -> Held {
        let length = length.max(self.purge_floor);
        self.server.restore(&self.universe, length)?;
        self.must_hold.extend(&self.server.accepted);
        let insiders = self.devices.iter().filter(|d| self.server.sessions[d.number].revoked.is_none());
        for device in insiders {
            self.must_hold.extend(&device.known);
        }
        check::promises(&self.server)
    }

    /// Nobody writes any more and every message arrives: everybody ends with the same.
    ///
    /// # Errors
    /// If L1, L4, D1 or any other invariant does not hold.
    pub fn come_to_rest(&mut self) -> Held {
        self.server.hidden.clear();
        self.loss = 0;
        for push in std::mem::take(&mut self.in_flight) {
            self.arrive(&push, &mut Random::new(1))?;
        }
        for device in &mut self.devices {
            device.inbox.clear();
            device.answers.clear();
            device.online = true;
        }
        self.rounds()?;
        self.all_converged()?;
        self.resolve_alike()?;
        check::log(&self.server, &self.universe)
    }

    fn rounds(&mut self) -> Held {
        for _ in 0..12 {
            for device in 0..self.devices.len() {
                let before = self.devices[device].mark();
                if self.enters(device, &mut Random::new(1))? {
                    self.catch_up(device)?;
                    self.push_all(device)?;
                }
                check::device(&self.server, &self.universe, &before, &self.devices[device])?;
            }
            let head = (self.server.epoch, self.server.head());
            if self.devices.iter().all(|d| d.revoked || (d.outbox.is_empty() && d.cursor == head)) {
                break;
            }
        }
        Ok(())
    }

    /// Page by page: a catch-up that stands still would never end.
    pub(super) fn catch_up(&mut self, device: usize) -> Held {
        for _ in 0..self.server.head() + 3 {
            self.pull(device, 7)?;
            if self.devices[device].cursor == (self.server.epoch, self.server.head()) {
                break;
            }
        }
        Ok(())
    }

    fn all_converged(&self) -> Held {
        check::promises(&self.server)?;
        let insiders: Vec<&Device> = self.devices.iter().filter(|device| !device.revoked).collect();
        for device in &insiders {
            check::converged(&self.server, &self.universe, device)?;
            check::deletes(&self.deletes, &self.server, &self.universe, device)?;
            hold("L1", device.digest == insiders[0].digest, || {
                format!("device {} has another set digest", device.number)
            })?;
        }
        let mut aside = Bits::default();
        self.devices.iter().for_each(|device| aside.extend(&device.quarantine));
        // What only a revoked device held is still there, and nobody else's.
        self.devices.iter().filter(|device| device.revoked).for_each(|device| aside.extend(&device.known));
        let lost = self.must_hold.first_outside(&[&self.server.accepted, &aside]);
        hold("D1", lost.is_none(), || format!("version {lost:?} did not survive a restore"))
    }

    /// L4: all devices resolve every conflict by the same choice at the same time; one round leaves one head.
    fn resolve_alike(&mut self) -> Held {
        let divergent: Vec<usize> = (0..self.server.entries.len())
            .filter(|entry| self.server.entries[*entry].heads.is_divergent())
            .collect();
        let mut chosen = Vec::new();
        let insiders = (0..self.devices.len()).filter(|device| !self.devices[*device].revoked);
        for device in insiders.collect::<Vec<_>>() {
            for entry in &divergent {
                let heads = &self.devices[device].folded[*entry];
                let winner = heads.winner().and_then(|head| self.universe.number(&head.version));
                let parents: Vec<V> = self.devices[device].shown[*entry].iter().copied().collect();
                let choice = Choice {
                    entry: *entry,
                    kind: VersionKind::Adopt,
                    parents,
                    content_of: winner,
                    content_len: 0,
                };
                chosen.push(self.choose(device, choice)?);
            }
        }
        for device in 0..self.devices.len() {
            self.push_all(device)?;
        }
        for entry in &divergent {
            let left = self.server.entries[*entry].heads.heads.len();
            hold("L4", left == 1, || {
                format!("{left} heads of entry {entry} are left after the same choice")
            })?;
        }
        chosen.sort_unstable();
        chosen.dedup();
        hold("L4", chosen.len() == divergent.len(), || "the same choice got different ids".into())?;
        self.rounds()?;
        self.all_converged()
    }
}
