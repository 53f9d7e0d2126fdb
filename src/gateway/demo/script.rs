//! The robots' lines.

/// A robot and a line of it. The whole begins again at its end.
pub(super) const TALK: &[(&str, &str)] = &[
    ("Ada", "Morning! Did the deploy go through?"),
    ("Grace", "It did, at 08:12. No client noticed: they **moved before** the old gateway closed."),
    ("Ada", "And what was written in between?"),
    ("Grace", "All of it is there. A message has a `key`, so sending it twice stores it once."),
    ("Ada", "@Assistant how many of us are here?"),
    (
        "Grace",
        "Try to unplug the assistant's service on the left. You keep writing, and the page says what is missing.",
    ),
    ("Ada", "Or unplug your network, write something, and wait. It is sent when the network is back."),
    ("Grace", "مرحبا! Text in other directions works, too."),
    ("Ada", "@Assistant is everything well?"),
    (
        "Grace",
        "If you write a program of your own: `docs/protocol.md` explains the frames, `docs/sdk.md` the library.",
    ),
];

/// The assistant's answers, in turn.
pub(super) const ANSWERS: &[&str] = &[
    "Three robots, and you. The number at the left counts every open page.",
    "Everything is well. If my service were unplugged, you would not read this.",
    "I am a robot with four answers, so the third one is about itself.",
    "Ask me again while my service is unplugged, and wait for an answer.",
];
