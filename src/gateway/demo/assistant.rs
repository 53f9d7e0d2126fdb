//! The service that the demo's gateway depends on. It answers one request a connection, 200 while it is plugged in, else 503.

use super::plug::Plug;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A request is read for at most this time.
const PATIENCE: Duration = Duration::from_millis(500);

pub(super) struct Assistant {
    port: u16,
    out: AtomicBool,
}

impl Assistant {
    pub(super) fn start() -> io::Result<Arc<Assistant>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let assistant =
            Arc::new(Assistant { port: listener.local_addr()?.port(), out: AtomicBool::new(false) });
        let own = Arc::clone(&assistant);
        let serve = move || {
            for stream in listener.incoming().flatten() {
                // The peer may have gone.
                let _ = own.answer(stream);
            }
        };
        std::thread::Builder::new().name("demo-assistant".into()).spawn(serve)?;
        Ok(assistant)
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn is_out(&self) -> bool {
        self.out.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, plug: Plug) {
        self.out.store(plug == Plug::Out, Ordering::Relaxed);
    }

    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        // One read is enough: the answer is the same for every request.
        let _ = stream.read(&mut [0; 2_048])?;
        let status = if self.is_out() { "503 Service Unavailable" } else { "200 OK" };
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    }
}
