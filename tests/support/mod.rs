//! What black-box tests and benches share: the server as a process, and devices whose every byte is in our hands.

#![allow(dead_code, reason = "each program that shares this uses a part of it")]

pub mod child;
pub mod database;
pub mod device;
pub mod mode;
pub mod port;
pub mod s3_process;
pub mod told;
pub mod wire;
