//! What may happen next, drawn from a seed.

use super::{
    access::Door,
    check,
    device::Applied,
    fault::{Fault, Held, hold},
    random::Random,
    server::Page,
    universe::{Choice, V},
    world::{Push, World},
};
use crate::{header::VersionKind, ids::Chain};

/// One kind of thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A user makes the first version of an entry.
    Create,
    /// A user edits a live head.
    Edit,
    /// A user deletes an entry.
    Delete,
    /// A user merges some heads by hand.
    Merge,
    /// A user keeps one head, or restores an old version.
    Adopt,
    /// A device makes something that the server refuses for good.
    Unfit,
    /// A device pushes some of its outbox in any order.
    Push,
    /// A push that was on its way arrives.
    LatePush,
    /// An answer that was on its way arrives.
    LateAnswer,
    /// A device pulls a page.
    Pull,
    /// A device pulls and is killed before or after its local commit.
    PullAndCrash,
    /// A live frame arrives, in any order.
    Frame,
    /// Somebody between changes a page.
    Tamper,
    /// A device goes off or comes back.
    Toggle,
    /// The server drops old contents.
    Prune,
    /// A user erases an entry.
    Purge,
    /// The server's process starts again.
    Restart,
    /// A backup is taken.
    Backup,
    /// A backup is restored.
    Restore,
    /// The bus fails or is back.
    Bus,
    /// A device's token runs out.
    RunOut,
    /// A device renews its token.
    Renew,
    /// A device revokes another one.
    Revoke,
    /// A new device joins.
    Join,
}

/// How often each happens.
const WEIGHTS: [(Action, usize); 24] = [
    (Action::Create, 5),
    (Action::Edit, 24),
    (Action::Delete, 4),
    (Action::Merge, 4),
    (Action::Adopt, 4),
    (Action::Unfit, 1),
    (Action::Push, 20),
    (Action::LatePush, 4),
    (Action::LateAnswer, 4),
    (Action::Pull, 16),
    (Action::PullAndCrash, 4),
    (Action::Frame, 12),
    (Action::Tamper, 1),
    (Action::Toggle, 4),
    (Action::Prune, 2),
    (Action::Purge, 1),
    (Action::Restart, 1),
    (Action::Backup, 2),
    (Action::Restore, 1),
    (Action::Bus, 1),
    (Action::RunOut, 3),
    (Action::Renew, 3),
    (Action::Revoke, 1),
    (Action::Join, 1),
];

/// One step of a run: who, what, and the dice for its details. Any step can be left out of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Which device.
    pub device: usize,
    /// What.
    pub action: Action,
    /// Decides the details.
    pub dice: u64,
}

/// Draws the steps of a run.
pub fn draw(random: &mut Random, count: usize) -> Vec<Step> {
    let total: usize = WEIGHTS.iter().map(|(_, weight)| weight).sum();
    (0..count)
        .map(|_| {
            let mut left = random.below(total);
            let drawn = WEIGHTS.iter().find(|(_, weight)| {
                let hit = left < *weight;
                left = left.saturating_sub(*weight);
                hit
            });
            let action = drawn.map_or(Action::Edit, |(action, _)| *action);
            Step { device: random.below(1 << 16), action, dice: random.next() }
        })
        .collect()
}

impl World {
    /// Does one step and checks everything that it may have broken.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn step(&mut self, step: Step) -> Held {
        let mut dice = Random::new(step.dice);
        let device = step.device % self.devices.len();
        let entry = dice.below(self.server.entries.len());
        if dice.percent(20) {
            self.server.hidden.clear();
        }
        let before = self.devices[device].mark();
        self.act(step.action, device, entry, &mut dice)?;
        check::promises(&self.server)?;
        check::device(&self.server, &self.universe, &before, &self.devices[device])?;
        check::deletes(&self.deletes, &self.server, &self.universe, &self.devices[device])
    }

    fn act(&mut self, action: Action, device: usize, entry: usize, dice: &mut Random) -> Held {
        match action {
            Action::Create | Action::Edit | Action::Unfit => self.write(action, device, entry, dice),
            Action::Delete => self.delete(device, entry),
            Action::Merge => self.merge(device, entry, dice),
            Action::Adopt => self.adopt(device, entry, dice),
            Action::Push => self.push(device, dice),
            Action::LatePush => self.late_push(dice),
            Action::LateAnswer => {
                self.late_answer(device, dice);
                Ok(())
            }
            Action::Pull => self.pull_some(device, dice),
            Action::PullAndCrash => self.pull_and_crash(device, dice),
            Action::Frame => self.frame(device, dice),
            Action::Tamper => self.tamper(device, dice),
            Action::Toggle => {
                self.devices[device].online ^= true;
                self.devices[device].inbox.clear();
                Ok(())
            }
            Action::Prune => self.server.prune(&self.universe, entry),
            Action::Purge if self.devices[device].online && self.enters(device, dice)? => {
                self.purge(device, entry)
            }
            Action::Purge => Ok(()),
            Action::Restart => check::log(&self.server, &self.universe),
            Action::Backup => {
                self.server.backups.push(self.server.log.len());
                Ok(())
            }
            Action::Restore => self.restore_some(dice),
            Action::Bus => {
                self.bus_down ^= true;
                Ok(())
            }
            Action::RunOut => {
                let session = &mut self.server.sessions[device];
                session.ran_out = session.newest;
                Ok(())
            }
            Action::Renew if self.devices[device].online && !self.devices[device].revoked => {
                self.renew(device, dice)
            }
            Action::Renew => Ok(()),
            Action::Revoke => self.revoke_some(device, dice),
            Action::Join => self.join(),
        }
    }

    fn pull_some(&mut self, device: usize, dice: &mut Random) -> Held {
        if self.devices[device].online && !dice.percent(self.loss) && self.enters(device, dice)? {
            return self.pull(device, 1 + dice.below(12) as u64);
        }
        Ok(())
    }

    fn live(&self, device: usize, entry: usize) -> Vec<V> {
        let live = |v: &V| self.universe.made[*v].header.kind.is_live();
        self.devices[device].shown[entry].iter().copied().filter(live).collect()
    }

    fn write(&mut self, action: Action, device: usize, entry: usize, dice: &mut Random) -> Held {
        let heads = self.live(device, entry);
        let parent = (!heads.is_empty()).then(|| heads[dice.below(heads.len())]);
        let first = self.devices[device].shown[entry].is_empty() && !self.devices[device].purged(entry);
        if parent.is_none() && !first {
            return Ok(());
        }
        let unfit = action == Action::Unfit;
        let choice = Choice {
            entry,
            kind: VersionKind::Edit,
            parents: parent.into_iter().collect(),
            content_of: None,
            content_len: if unfit { crate::header::MAX_CONTENT + 1 } else { 40 },
        };
        // A clock that is a day off, either way, changes nothing.
        let clock = 1_700_000_000_000 + i64::try_from(dice.below(172_800_000)).unwrap_or(0) - 86_400_000;
        self.devices[device].make(&mut self.universe, choice, clock)?;
        Ok(())
    }

    fn merge(&mut self, device: usize, entry: usize, dice: &mut Random) -> Held {
        let mut parents: Vec<V> = self.devices[device].shown[entry].iter().copied().collect();
        if parents.len() < 2 {
            return Ok(());
        }
        dice.shuffle(&mut parents);
        parents.truncate(2 + dice.below(parents.len() - 1));
        let choice = Choice { entry, kind: VersionKind::Merge, parents, content_of: None, content_len: 40 };
        self.choose(device, choice).map(|_| ())
    }

    fn adopt(&mut self, device: usize, entry: usize, dice: &mut Random) -> Held {
        let parents: Vec<V> = self.devices[device].shown[entry].iter().copied().collect();
        let with_content =
            |v: &V| self.universe.made[*v].entry == entry && self.universe.made[*v].header.kind.has_content();
        let known: Vec<V> = self.devices[device].known.iter().filter(with_content).collect();
        if parents.is_empty() || known.is_empty() {
            return Ok(());
        }
        let content_of = Some(known[dice.below(known.len())]);
        let choice = Choice { entry, kind: VersionKind::Adopt, parents, content_of, content_len: 0 };
        self.choose(device, choice).map(|_| ())
    }

    fn push(&mut self, device: usize, dice: &mut Random) -> Held {
        let sender = &self.devices[device];
        if !sender.online || sender.outbox.is_empty() || sender.cursor.0 == 0 || !self.enters(device, dice)? {
            return Ok(());
        }
        let sender = &self.devices[device];
        let mut items = sender.outbox.clone();
        dice.shuffle(&mut items);
        items.truncate(1 + dice.below(items.len()));
        let push = Push { device, token: sender.token, epoch: sender.cursor.0, items };
        if dice.percent(self.loss) {
            return Ok(());
        }
        if dice.percent(15) {
            self.in_flight.push(push);
            return Ok(());
        }
        if dice.percent(10) {
            self.in_flight.push(push.clone());
        }
        self.send(&push, dice)
    }

    fn send(&mut self, push: &Push, dice: &mut Random) -> Held {
        let Some(answer) = self.arrive(push, dice)? else {
            let open = self.server.door(push.device, push.token) == Door::Open;
            if open && !dice.percent(self.loss) && self.devices[push.device].cursor.0 != self.server.epoch {
                self.devices[push.device].reset(self.server.epoch);
            }
            return Ok(());
        };
        self.acknowledge(&answer);
        if dice.percent(self.loss) {
            return Ok(());
        }
        if dice.percent(10) {
            self.devices[push.device].answers.push(answer);
        } else {
            self.devices[push.device].answered(&self.universe, &answer);
        }
        Ok(())
    }

    fn late_push(&mut self, dice: &mut Random) -> Held {
        if self.in_flight.is_empty() {
            return Ok(());
        }
        let push = self.in_flight.swap_remove(dice.below(self.in_flight.len()));
        // Its sender has long given up waiting for the answer.
        if let Some(answer) = self.arrive(&push, dice)? {
            self.acknowledge(&answer);
        }
        Ok(())
    }

    fn late_answer(&mut self, device: usize, dice: &mut Random) {
        let waiting = &mut self.devices[device].answers;
        if !waiting.is_empty() {
            let answer = waiting.swap_remove(dice.below(waiting.len()));
            self.devices[device].answered(&self.universe, &answer);
        }
    }

    fn pull_and_crash(&mut self, device: usize, dice: &mut Random) -> Held {
        if !self.devices[device].online || !self.enters(device, dice)? {
            return Ok(());
        }
        let before_commit = dice.percent(50);
        if before_commit {
            let page = self.serve(device, 1 + dice.below(12) as u64)?;
            let same = page.epoch == self.devices[device].cursor.0;
            if self.fault == Some(Fault::CheckpointBeforeApply) && same {
                self.devices[device].cursor.1 = page.to;
                self.devices[device].chain = page.chain;
            }
        } else {
            self.pull(device, 1 + dice.below(12) as u64)?;
        }
        self.devices[device].inbox.clear();
        self.devices[device].answers.clear();
        Ok(())
    }

    fn frame(&mut self, device: usize, dice: &mut Random) -> Held {
        let inbox = &mut self.devices[device].inbox;
        if inbox.is_empty() {
            return Ok(());
        }
        let frame = inbox.swap_remove(dice.below(inbox.len()));
        self.deliver(device, &frame).map(|_| ())
    }

    /// C6: what does not verify is not applied.
    fn tamper(&mut self, device: usize, dice: &mut Random) -> Held {
        if !self.enters(device, dice)? {
            return Ok(());
        }
        let mut page = self.serve(device, 12)?;
        if page.facts.is_empty() || page.epoch != self.devices[device].cursor.0 {
            return Ok(());
        }
        change(&mut page, dice);
        let before = self.devices[device].cursor;
        let applied = self.devices[device].apply(&mut self.universe, &page, false)?;
        hold("C6", applied == Applied::Alarm && self.devices[device].cursor == before, || {
            format!("device {device} applied a page that does not verify: {page:?}")
        })
    }

    fn purge(&mut self, device: usize, entry: usize) -> Held {
        let asks = &self.devices[device];
        if asks.cursor.0 != self.server.epoch {
            return Ok(());
        }
        let shown = asks.folded[entry].clone();
        self.server.purge(&self.universe, entry, &shown)?;
        if self.server.entries[entry].heads.purged {
            self.purge_floor = self.purge_floor.max(self.server.log.len());
        }
        Ok(())
    }

    fn restore_some(&mut self, dice: &mut Random) -> Held {
        if self.server.backups.is_empty() {
            return Ok(());
        }
        let length = self.server.backups[dice.below(self.server.backups.len())];
        self.restore(length.min(self.server.log.len()))
    }
}

fn change(page: &mut Page, dice: &mut Random) {
    match dice.below(3) {
        0 => page.chain = Chain([7; 32]),
        1 => {
            let gone = dice.below(page.facts.len());
            page.facts.remove(gone);
        }
        _ => {
            page.facts.remove(0);
            page.facts.iter_mut().for_each(|(seq, _)| *seq -= 1);
            page.to -= 1;
        }
    }
}
