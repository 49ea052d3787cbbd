//! A port of a test's own for as long as the test needs it, whether anybody listens there or not.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// Bound, and not listened at: the system gives it to nobody who asks for any port, nor to a connection, and whoever is
/// told it may listen there, again and again. A port that is let go of would soon be another test's.
///
/// That holds for listeners with `SO_REUSEADDR`, which all have that are started here: of the standard library and
/// tokio, of Go, Python's asyncio, and Postgres.
pub struct Port(TcpSocket);

impl Port {
    pub fn reserve() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self(socket)
    }

    pub fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    #[allow(dead_code, reason = "some programs that share this need the address alone")]
    pub fn number(&self) -> u16 {
        self.addr().port()
    }
}
