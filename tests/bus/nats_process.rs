//! A nats-server of a test's own, that it may stop and start.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{net::TcpStream, time::Instant};

use super::port::Port;

/// The server that all tests share.
pub fn shared_url() -> String {
    std::env::var("LOCKSTEP_TEST_NATS").expect("LOCKSTEP_TEST_NATS is not set: run cargo xtask test")
}

/// A server on a port of its own; killed when dropped.
pub struct NatsProcess {
    port: Port,
    child: Option<Child>,
}

impl NatsProcess {
    /// Takes a free port; nothing runs yet.
    pub fn reserve() -> Self {
        Self { port: Port::reserve(), child: None }
    }

    /// Its port.
    #[allow(dead_code, reason = "most programs that share this need the address alone")]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("nats://{}", self.port.addr())
    }

    /// Starts it and waits until it listens.
    pub async fn start(&mut self) {
        let port = self.port.number().to_string();
        let mut command = Command::new("nats-server");
        command.args(["-a", "127.0.0.1", "-p", &port]).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("nats-server is not installed: run cargo xtask test"));
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(self.port.addr()).await.is_err() {
            assert!(Instant::now() < until, "nats-server does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Kills it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for NatsProcess {
    fn drop(&mut self) {
        self.stop();
    }
}
