//! The sections of the configuration, in the order of the listing.

/// The sections in the order of the listing, with a description of each.
pub const SECTIONS: [(&str, &str); 19] = [
    ("server", "The client listener, the reactors and trusted peers."),
    ("tls", "Encryption of the client listener. It is on exactly when both files are set."),
    ("store", "The store of publications."),
    ("bus", "The connection between instances."),
    (
        "limits",
        "Bounds on the cost of clients. Sizes are in bytes, durations in milliseconds, rates per second.",
    ),
    (
        "retention",
        "How long publications are kept. A publication is deleted as soon as it exceeds either bound.",
    ),
    (
        "auth",
        "The tokens that are accepted. Auth is on exactly when there is a key or an auth service (`introspection_url` or `jwks_url`).",
    ),
    ("health", "The effects of the state of the dependencies."),
    (
        "admin",
        "The listener for operators, with details and actions that the client listener does not offer.",
    ),
    ("api", "The server API, for application backends. See docs/api.md."),
    ("presence", "Rosters: the users that are present in a channel. See docs/presence.md."),
    ("streams", "Streams: publications that grow piece by piece. See docs/protocol.md."),
    ("clients", "Reports of clients about themselves. See docs/protocol.md."),
    ("registry", "The users that are connected, and where. See docs/cluster.md."),
    ("cluster", "The instances that share the store and the bus. See docs/cluster.md."),
    ("drain", "How the process ends: its clients move to another instance first. See docs/operations.md."),
    ("slo", "Objectives: how well the gateway serves its users. See docs/slo.md."),
    ("alert", "Incidents: which channels are notified when something is wrong. See docs/alerts.md."),
    ("log", "The log, on stderr."),
];
