//! A port at which nobody listens, and nobody will.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::SocketAddr;
use tokio::net::TcpSocket;

/// Holds the port for as long as it lives: one that was only free a moment ago may be somebody else's by now.
#[derive(Debug)]
pub(crate) struct DeadPort(TcpSocket);

impl DeadPort {
    /// A port of the loopback that refuses every connection.
    pub(crate) fn take() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Self(socket)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }
}
