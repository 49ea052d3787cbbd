//! Real devices that do anything in any order, against a real server, in both modes: a script is drawn from a seed,
//! several devices of one account play it with the real client library on databases of their own, and in the end all of
//! them hold the same, and nothing is gone that was ever written or acknowledged.
//!
//! `LOCKSTEP_TEST_SEEDS=n` plays another number of scripts, `LOCKSTEP_TEST_SEED=n` the one of this seed alone. What a
//! script does is the same every time; how two devices that sync at once meet is not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/database.rs"]
mod database;
mod device;
mod ground;
mod invariants;
#[path = "../support/mode.rs"]
#[expect(dead_code, reason = "each program that shares this uses a part of it")]
mod mode;
#[path = "../blackbox/people.rs"]
#[expect(dead_code, reason = "the black-box suite uses more of it")]
mod people;
#[path = "../support/port.rs"]
mod port;
#[path = "../evil/proxy.rs"]
#[expect(dead_code, reason = "the suite of a server that cheats uses more of it")]
mod proxy;
#[path = "../support/proxy.rs"]
mod relay;
mod script;
mod world;

use std::time::Instant;

use ground::Ground;
use mode::Mode;
use world::World;

/// Scripts of one run in each mode.
const SEEDS: u64 = 20;

/// Where people register.
mod server {
    pub struct Server {
        pub address: lockstep_client::server::Server,
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Says which script it was, if it fails.
struct Played {
    seed: u64,
    done: Vec<script::Step>,
}

impl Drop for Played {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, alone with LOCKSTEP_TEST_SEED={}:", self.seed, self.seed);
            self.done.iter().for_each(|step| eprintln!("    {step:?}"));
        }
    }
}

async fn play(ground: &Ground, seed: u64) {
    let mut played = Played { seed, done: Vec::new() };
    let mut world = World::begin(ground).await;
    for step in script::draw(seed) {
        played.done.push(step);
        world.step(step).await;
    }
    world.come_to_rest().await;
    invariants::hold(&world).await;
    world.end().await;
}

async fn whatever_devices_do_they_end_with_the_same_and_nothing_is_gone(mode: Mode) {
    let ground = Ground::make(mode).await;
    let seeds = match number("LOCKSTEP_TEST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LOCKSTEP_TEST_SEEDS").unwrap_or(SEEDS),
    };
    let (started, count) = (Instant::now(), seeds.end - seeds.start);
    for seed in seeds {
        play(&ground, seed).await;
    }
    eprintln!("{count} scripts in {:.1} s", started.elapsed().as_secs_f64());
}

mod embedded {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whatever_devices_do_they_end_with_the_same_and_nothing_is_gone() {
        super::whatever_devices_do_they_end_with_the_same_and_nothing_is_gone(super::Mode::Embedded).await;
    }
}

mod distributed {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whatever_devices_do_they_end_with_the_same_and_nothing_is_gone() {
        super::whatever_devices_do_they_end_with_the_same_and_nothing_is_gone(super::Mode::Distributed).await;
    }
}
