//! The refresh protocol, model-checked: every interleaving of two honest clients of one device and a thief, each a
//! sequence of the steps that `commands::refresh` makes, with crashes before and after each commit and lost answers.
//!
//! The rules are the real ones ([`super::refresh::decide`]); the stores are a compare-and-set row and a log, and time
//! passes only between requests, in steps of less and of more than the grace.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};

use lockstep_events::{AccountId, DeviceId, Micros, SessionId, event::Method};
use rand::rngs::OsRng;
use uuid::Uuid;

use super::{
    credentials::StoredSession,
    refresh::{self, Lives, Presented, Verdict},
    server_keys::ServerKeys,
};

const LIVES: Lives = Lives { idle: 100_000, absolute: 1_000_000, grace: 60 };
const CLIENTS: usize = 3;
/// Tokens that each client may use up at most: the model is finite.
const REQUESTS: u8 = 2;

/// Where a client's request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    /// Nothing is under way.
    Idle,
    /// The server has read the row: its generation; none: it had ended.
    Read { presented: u32, seen: u32, ended: bool },
    /// The event stands; the row is not moved yet.
    Appended { presented: u32, seen: u32 },
}

/// One state of the world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    /// The row: its generation, when each of the last tokens was replaced (newest first), whether it has ended.
    generation: u32,
    rotations: Vec<i64>,
    ended: bool,
    /// The generation of the highest `session.refreshed` event.
    event: u32,
    /// Seconds.
    now: i64,
    /// The newest token that each client holds, and where its request is. The last client is the thief: it holds a
    /// token that it stole at the beginning, and the device's key with it.
    holds: [u32; CLIENTS],
    at: [At; CLIENTS],
    left: [u8; CLIENTS],
    /// Time may still pass so often.
    passes: u8,
    /// Whether a token that was replaced longer ago than the grace was presented.
    reused: bool,
}

/// What a client may do next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Ask(usize),
    Append(usize),
    /// With or without the answer reaching the client.
    Commit(usize, bool),
    /// The node dies under the request.
    Crash(usize),
    Pass(i64),
}

/// A verdict without what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    No,
    Rotate,
    Again,
    Reused,
}

/// What a verdict depends on: generation, rotations, whether the session has ended, the time, the token.
type Asked = (u32, Vec<i64>, bool, i64, u32);

struct Model {
    said: RefCell<HashMap<Asked, Says>>,
    keys: ServerKeys,
    begun: StoredSession,
    /// The tokens of the session, taken apart, by generation.
    tokens: Vec<Presented>,
}

impl Model {
    fn new() -> Self {
        let keys = ServerKeys::generate(&mut OsRng);
        let names = (AccountId::NIL, DeviceId::NIL, SessionId(Uuid::from_u128(7)));
        let begun = refresh::begin(&keys, names, Method::Password, [9; 32], Micros(0));
        let token = |generation| refresh::token(&keys, begun.session, &begun.seed, generation);
        let tokens = (0..16).filter_map(|generation| Presented::parse(&token(generation))).collect();
        Self { said: RefCell::default(), keys, begun, tokens }
    }

    fn stored(&self, world: &World) -> StoredSession {
        let rotations = world.rotations.iter().map(|at| Micros(at * 1_000_000)).collect();
        let ended_at = world.ended.then_some(Micros(1));
        StoredSession { generation: world.generation, rotations, ended_at, ..self.begun.clone() }
    }

    /// What the real rules say; remembered, because most states ask the same.
    fn verdict(&self, world: &World, presented: u32) -> Says {
        let asked = (world.generation, world.rotations.clone(), world.ended, world.now, presented);
        if let Some(known) = self.said.borrow().get(&asked) {
            return *known;
        }
        let token = self.tokens[usize::try_from(presented).unwrap_or_default()];
        let now = Micros(world.now * 1_000_000);
        let says = match refresh::decide(&self.keys, &self.stored(world), token, LIVES, now) {
            Verdict::Invalid | Verdict::Over => Says::No,
            Verdict::Rotate(_) => Says::Rotate,
            Verdict::Again => Says::Again,
            Verdict::Reused(_) => Says::Reused,
        };
        self.said.borrow_mut().insert(asked, says);
        says
    }

    /// The steps that are possible.
    fn steps(world: &World) -> Vec<Step> {
        let mut steps = Vec::new();
        for client in 0..CLIENTS {
            match world.at[client] {
                At::Idle if world.left[client] > 0 => steps.push(Step::Ask(client)),
                At::Idle => {}
                At::Read { .. } => steps.extend([Step::Append(client), Step::Crash(client)]),
                At::Appended { .. } => {
                    steps.extend([
                        Step::Commit(client, true),
                        Step::Commit(client, false),
                        Step::Crash(client),
                    ]);
                }
            }
        }
        // A request lives shorter than any grace: time passes between requests only.
        if world.passes > 0 && world.at.iter().all(|at| *at == At::Idle) {
            steps.extend([Step::Pass(30), Step::Pass(61)]);
        }
        steps
    }

    fn after(&self, world: &World, step: Step) -> World {
        let mut next = world.clone();
        match step {
            Step::Pass(seconds) => {
                next.now += seconds;
                next.passes -= 1;
            }
            Step::Ask(client) => {
                next.left[client] -= 1;
                let presented = world.holds[client];
                next.at[client] = At::Read { presented, seen: world.generation, ended: world.ended };
            }
            Step::Append(client) => self.append(&mut next, client),
            Step::Commit(client, answered) => self.commit(&mut next, client, answered),
            // The client knows nothing of it and will present the same token again.
            Step::Crash(client) => next.at[client] = At::Idle,
        }
        next
    }

    /// What the server decides with the row that it read, and the first of its two writes.
    fn append(&self, next: &mut World, client: usize) {
        let At::Read { presented, seen, ended } = next.at[client] else { return };
        // A row that has moved on since then is found out by the compare-and-set only.
        let newer = usize::try_from(next.generation - seen).unwrap_or_default();
        let rotations = next.rotations.iter().skip(newer).copied().collect();
        let as_read = World { generation: seen, rotations, ended, ..next.clone() };
        match self.verdict(&as_read, presented) {
            Says::Rotate => {
                next.event = next.event.max(presented + 1);
                next.at[client] = At::Appended { presented, seen: presented };
            }
            Says::Again => {
                next.holds[client] = seen;
                next.at[client] = At::Idle;
            }
            Says::Reused => {
                next.reused = true;
                next.ended = true;
                next.at[client] = At::Idle;
            }
            Says::No => next.at[client] = At::Idle,
        }
    }

    /// The compare-and-set; who loses it looks again, as the command does.
    fn commit(&self, next: &mut World, client: usize, answered: bool) {
        let At::Appended { presented, seen } = next.at[client] else { return };
        next.at[client] = At::Idle;
        let won = next.generation == seen && !next.ended;
        if won {
            next.generation += 1;
            next.rotations.insert(0, next.now);
            next.rotations.truncate(8);
        }
        let again = won || matches!(self.verdict(next, presented), Says::Again);
        if again && answered {
            next.holds[client] = next.generation;
        }
    }

    fn check(&self, world: &World) {
        // One token is valid at most: whoever holds another one has it replaced.
        let newest = self.verdict(world, world.generation);
        assert_eq!(matches!(newest, Says::Rotate), !world.ended, "{world:?}");
        for old in 0..world.generation {
            assert!(!matches!(self.verdict(world, old), Says::Rotate), "two valid tokens: {world:?}");
        }
        // No token has been given that the log knows nothing of, and nobody holds one from the future.
        assert!(world.event >= world.generation, "a rotation without its event: {world:?}");
        assert!(world.holds.iter().all(|held| *held <= world.generation), "{world:?}");
        // The family ends by reuse only.
        assert_eq!(world.ended, world.reused, "{world:?}");
        // A client whose answer was lost can go on within the grace: its old token gives the successor.
        if !world.ended {
            for held in world.holds {
                let fresh = held == world.generation;
                let age = usize::try_from(world.generation - held).unwrap_or(usize::MAX);
                let replaced = age.checked_sub(1).and_then(|at| world.rotations.get(at));
                let graced = replaced.is_some_and(|at| world.now < at + LIVES.grace);
                let served = matches!(self.verdict(world, held), Says::Rotate | Says::Again);
                assert_eq!(served, fresh || graced, "{world:?}");
            }
        }
    }

    /// Visits every state that can be reached; how many there are, and how many of them have ended.
    fn explore(&self, start: World) -> (usize, usize) {
        let mut seen = HashSet::from([start.clone()]);
        let mut open = vec![start];
        while let Some(world) = open.pop() {
            self.check(&world);
            for step in Self::steps(&world) {
                let next = self.after(&world, step);
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        let ended = seen.iter().filter(|world| world.ended).count();
        (seen.len(), ended)
    }
}

fn start(holds: [u32; CLIENTS]) -> World {
    World {
        generation: 0,
        rotations: Vec::new(),
        ended: false,
        event: 0,
        now: 10,
        holds,
        at: [At::Idle; CLIENTS],
        left: [REQUESTS; CLIENTS],
        passes: 2,
        reused: false,
    }
}

#[test]
fn in_every_interleaving_of_three_clients_crashes_and_lost_answers_one_token_is_valid_and_none_is_lost() {
    let model = Model::new();
    let (states, ended) = model.explore(start([0; CLIENTS]));
    assert!(states > 10_000, "{states} states");
    assert!(ended > 0, "the model never meets a thief");
}

#[test]
fn a_thief_and_the_owner_who_both_go_on_after_the_grace_cost_the_family_its_life() {
    let model = Model::new();
    let mut world = start([0; CLIENTS]);
    // The thief rotates first, then the owner comes back with the token that it always had.
    for step in
        [Step::Ask(2), Step::Append(2), Step::Commit(2, true), Step::Pass(61), Step::Ask(0), Step::Append(0)]
    {
        world = model.after(&world, step);
        model.check(&world);
    }
    assert!(world.ended && world.reused);
    // Neither has anything left.
    for token in 0..=world.generation {
        assert!(!matches!(model.verdict(&world, token), Says::Rotate | Says::Again));
    }
}
