//! TLS for the driver.

use crate::health::finding::Fault;
use crate::net::binding::end_point;
use crate::net::tls::TlsTrust;
use crate::net::trouble::Trouble;
use rustls::pki_types::ServerName;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_rustls::{Connect, TlsConnector, client};

/// The connection that the driver uses.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A socket of either kind.
pub(super) type Socket = Box<dyn Stream>;

/// The trusted authorities, and the name that the certificate must have. The driver decides by `sslmode` whether TLS is used.
#[derive(Clone, Debug)]
pub(super) struct Security {
    pub(super) trust: Arc<TlsTrust>,
    pub(super) name: String,
}

impl Security {
    fn begin(self, socket: Socket) -> io::Result<Connect<Socket>> {
        let config = self.trust.config().map_err(Trouble::into_io)?;
        let name = self.name.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(name).map_err(|_| {
            let text = format!("{} is not a name that a certificate can have", self.name);
            Trouble::new(Fault::Tls, text).into_io()
        })?;
        Ok(TlsConnector::from(config).connect(name, socket))
    }
}

impl TlsConnect<Socket> for Security {
    type Stream = Secured;
    type Error = io::Error;
    type Future = TlsHandshake;

    fn connect(self, socket: Socket) -> TlsHandshake {
        match self.begin(socket) {
            Ok(connect) => TlsHandshake::Going(Box::new(connect)),
            Err(error) => TlsHandshake::Failed(Some(error)),
        }
    }
}

/// A handshake in progress, or the reason why there is none.
pub(super) enum TlsHandshake {
    Going(Box<Connect<Socket>>),
    Failed(Option<io::Error>),
}

impl Future for TlsHandshake {
    type Output = io::Result<Secured>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<Secured>> {
        match self.get_mut() {
            TlsHandshake::Going(connect) => Pin::new(connect).poll(context).map_ok(Secured),
            TlsHandshake::Failed(error) => {
                Poll::Ready(Err(error.take().unwrap_or_else(|| io::ErrorKind::NotConnected.into())))
            }
        }
    }
}

pub(super) struct Secured(client::TlsStream<Socket>);

impl TlsStream for Secured {
    fn channel_binding(&self) -> ChannelBinding {
        let (_, session) = self.0.get_ref();
        let shown = session.peer_certificates().and_then(|chain| chain.first());
        match shown.and_then(|certificate| end_point(certificate)) {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::none(),
        }
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(context)
    }
}
