//! The protocols of the listener, as the canary speaks them.

/// The protocols below HTTP on the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerWires {
    pub tls: TlsWire,
    pub proxy: ProxyWire,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsWire {
    Plain,
    Tls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyWire {
    None,
    /// Each connection begins with a header.
    Header,
}
