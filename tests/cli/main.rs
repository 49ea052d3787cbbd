//! The `lockstep` command against a real `lockstepd`: two programs, as a person has them.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "helpers of tests")]

/// Runs tests, written for a mode, embedded and over Postgres, NATS and S3.
macro_rules! in_both_modes {
    ($($test:ident),+ $(,)?) => {
        mod embedded {
            $(#[test] fn $test() { super::$test(crate::mode::Mode::Embedded); })+
        }
        mod distributed {
            $(#[test] fn $test() { super::$test(crate::mode::Mode::Distributed); })+
        }
    };
}

mod about_me;
mod access;
mod admin;
mod agent;
mod archives;
mod at_once;
mod attachments;
mod auditing;
#[path = "../support/browser.rs"]
mod browser;
mod certificates;
mod conflicts;
#[path = "../support/database.rs"]
mod database;
mod device;
mod early;
mod ended;
mod erased_files;
mod fields;
mod files;
mod files_away;
mod first_steps;
mod following;
mod keepass;
#[cfg(target_os = "linux")]
mod keystore;
mod meant;
#[allow(dead_code, reason = "each program that shares this uses a part of it")]
#[path = "../support/mode.rs"]
mod mode;
mod moving;
mod notices;
mod offline;
mod outputs;
mod passkeys;
mod passwords;
mod places;
#[path = "../support/port.rs"]
mod port;
#[cfg(target_os = "linux")]
mod private;
#[path = "../support/proxy.rs"]
mod proxy;
mod quotas;
mod recovered;
mod restored;
#[allow(dead_code, reason = "each program that shares this uses a part of it")]
#[path = "../support/s3_process.rs"]
mod s3_process;
mod said;
mod server;
mod shapes;
mod slept;
mod staying;
mod story;
#[cfg(target_os = "linux")]
mod terminal;
mod tour;
mod usage;
mod vaults;
mod verify;
mod watch;
mod ways;
