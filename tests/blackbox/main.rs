//! The product from outside: the real server as a process, the real client, HTTP and WebSocket between them.

mod conflicts;
mod people;
mod server;
mod sessions;
mod trouble;
mod volume;
mod walking;
