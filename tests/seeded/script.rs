//! What devices do, drawn from a seed. Pure.

use lockstep_events::testing::Dice;

/// Steps of one script.
const STEPS: usize = 40;

/// One kind of thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Add,
    Edit,
    Remove,
    /// Keeps one head of a divergent entry, merges all, or keeps both.
    Resolve,
    /// Brings a deleted entry back.
    Restore,
    /// Goes off line, or comes back.
    Toggle,
    Sync,
    /// Everybody who is on line syncs at once.
    SyncAtOnce,
    /// Syncs over a line that breaks after some bytes.
    CutSync,
    /// Syncs, and one of the server's answers is lost after the server has acted.
    LostAnswer,
    /// The process is killed, and started anew on what is on the disk.
    Kill,
    /// The program ends and is started anew.
    Reopen,
    /// All tokens run out.
    TokensEnd,
    /// Revokes another device.
    Revoke,
    /// A new device joins.
    Join,
}

/// How often each happens.
const WEIGHTS: [(Action, u64); 15] = [
    (Action::Add, 10),
    (Action::Edit, 26),
    (Action::Remove, 5),
    (Action::Resolve, 8),
    (Action::Restore, 3),
    (Action::Toggle, 6),
    (Action::Sync, 18),
    (Action::SyncAtOnce, 4),
    (Action::CutSync, 5),
    (Action::LostAnswer, 5),
    (Action::Kill, 5),
    (Action::Reopen, 2),
    (Action::TokensEnd, 2),
    (Action::Revoke, 2),
    (Action::Join, 1),
];

/// One step: who, what, and the dice for its details.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub device: u64,
    pub action: Action,
    pub dice: u64,
}

/// The script of a seed.
pub fn draw(seed: u64) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let total: u64 = WEIGHTS.iter().map(|(_, weight)| weight).sum();
    let mut step = || {
        let mut left = dice.below(total);
        let drawn = WEIGHTS.iter().find(|(_, weight)| {
            let hit = left < *weight;
            left = left.saturating_sub(*weight);
            hit
        });
        let action = drawn.unwrap().0;
        Step { device: dice.below(1 << 16), action, dice: dice.below(u64::MAX) }
    };
    (0..STEPS).map(|_| step()).collect()
}
