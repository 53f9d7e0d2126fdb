//! What is known of the dependencies, as one value that is replaced whole.
//!
//! Whatever follows from it, the bytes of `status`, the verdict on a handshake and the very frames of a
//! refusal, is made when something changed; whoever reads it only reads.

use super::definition::Criticality;
use super::dependency::{Dependency, State};
use super::template::Template;
use crate::clock::Now;
use crate::wire::json;
use std::sync::Arc;

/// How it stands as a whole, in the words of `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing is lost.
    Ok,
    /// Something optional is lost, or a part of something critical.
    Degraded,
    /// Something critical is lost.
    Down,
}

impl Level {
    /// As `status`, reports and metrics say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Degraded => "degraded",
            Level::Down => "down",
        }
    }

    /// What is not known yet is not down: at the start nobody is refused for what nobody has looked at.
    fn of<'a>(dependencies: impl Iterator<Item = &'a Dependency>) -> Level {
        let level = |dependency: &Dependency| match (dependency.state(), dependency.definition().criticality)
        {
            (State::Ok | State::Unknown, _) => Level::Ok,
            (State::Degraded, _) | (State::Down, Criticality::Optional) => Level::Degraded,
            (State::Down, Criticality::Critical) => Level::Down,
        };
        dependencies.map(level).max().unwrap_or(Level::Ok)
    }
}

/// Whether a verdict is carried out; an operator may switch it at run time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AdmissionMode {
    /// Who should be refused is refused.
    #[default]
    Enforce,
    /// Who should be refused is let in and counted: for when the verdict itself is doubted.
    Observe,
}

impl AdmissionMode {
    /// As configuration and reports say it.
    pub const fn as_str(self) -> &'static str {
        match self {
            AdmissionMode::Enforce => "enforce",
            AdmissionMode::Observe => "observe",
        }
    }
}

/// The verdict on a handshake, as far as the dependencies go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Let in.
    Admit,
    /// Complete the upgrade, say why with these bytes, and close.
    Refuse(Arc<Template>),
    /// Let in, and count it: it would be refused.
    Observe(Arc<Template>),
}

/// See the module. To read it costs nothing but the pointer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Grows with every change of what `status` says, on one instance.
    pub revision: u64,
    /// The `status` object as JSON.
    pub status: Arc<str>,
    /// How it stands as a whole.
    pub level: Level,
    /// Since when it stands so.
    pub since: Now,
    /// The verdict on a handshake.
    pub availability: Availability,
    /// Whether verdicts are carried out.
    pub mode: AdmissionMode,
    /// Everything that is down, critical or not: who is connected stays, and what needs one of these is
    /// answered `unavailable` at once, with its wait.
    pub outages: Arc<[Arc<Template>]>,
    /// When the last outage that refused people ended; `None` while one lasts, and when there was none.
    pub recovered: Option<Now>,
}

impl Snapshot {
    /// Nothing is wrong.
    pub fn ok() -> Snapshot {
        Snapshot::first(&[], AdmissionMode::Enforce, Now::default())
    }

    /// The first one of a process.
    pub fn first(dependencies: &[Dependency], mode: AdmissionMode, now: Now) -> Snapshot {
        let level = Level::of(dependencies.iter());
        let outages = outages(dependencies);
        Snapshot {
            revision: 1,
            status: status(1, level, dependencies),
            level,
            since: now,
            availability: availability(dependencies, &outages, mode),
            mode,
            outages,
            recovered: None,
        }
    }

    /// The outage of the dependency of this name, while it is down.
    pub fn outage_of(&self, dependency: &str) -> Option<&Arc<Template>> {
        self.outages.iter().find(|outage| **outage.dependency() == *dependency)
    }

    /// The one after this; `None` when it would say the same.
    pub fn next(&self, dependencies: &[Dependency], mode: AdmissionMode, now: Now) -> Option<Snapshot> {
        let level = Level::of(dependencies.iter());
        let outages = outages(dependencies);
        let availability = availability(dependencies, &outages, mode);
        let same_status = *self.status == *status(self.revision, level, dependencies);
        let same_verdict = self.availability == availability && self.mode == mode;
        if same_status && same_verdict && self.outages == outages {
            return None;
        }
        let revision = if same_status { self.revision } else { self.revision + 1 };
        Some(Snapshot {
            revision,
            status: if same_status {
                Arc::clone(&self.status)
            } else {
                status(revision, level, dependencies)
            },
            level,
            since: if level == self.level { self.since } else { now },
            availability,
            mode,
            outages,
            recovered: match (self.level, level) {
                (_, Level::Down) => None,
                (Level::Down, Level::Ok | Level::Degraded) => Some(now),
                (Level::Ok | Level::Degraded, Level::Ok | Level::Degraded) => self.recovered,
            },
        })
    }
}

/// Of everything that is down, in the order of the configuration.
fn outages(dependencies: &[Dependency]) -> Arc<[Arc<Template>]> {
    let template = |dependency: &Dependency| {
        Some(Arc::new(Template::new(&dependency.definition().name, dependency.outage()?)))
    };
    dependencies.iter().filter_map(template).collect()
}

/// Who is down and stops handshakes; of several, who is down for longest, so that the reason stays the same.
fn availability(dependencies: &[Dependency], outages: &[Arc<Template>], mode: AdmissionMode) -> Availability {
    let stops = |outage: &&Arc<Template>| {
        dependencies.iter().any(|dependency| {
            let definition = dependency.definition();
            definition.gate.stops_handshakes(definition.criticality)
                && definition.name == *outage.dependency()
        })
    };
    let Some(template) = outages.iter().filter(stops).min_by_key(|outage| outage.began()) else {
        return Availability::Admit;
    };
    match mode {
        AdmissionMode::Enforce => Availability::Refuse(Arc::clone(template)),
        AdmissionMode::Observe => Availability::Observe(Arc::clone(template)),
    }
}

fn status(revision: u64, level: Level, dependencies: &[Dependency]) -> Arc<str> {
    let told = || dependencies.iter().filter(|dependency| dependency.state() != State::Ok);
    let down = || dependencies.iter().filter(|dependency| dependency.state() == State::Down);
    let mut out = Vec::with_capacity(128);
    json::object(&mut out, |out| {
        json::integer(out, "revision", revision);
        json::text(out, "level", level.as_str());
        json::key(out, "dependencies");
        list(out, told(), |out, dependency| json::object(out, |out| entry(out, dependency)));
        json::key(out, "lost");
        let mut lost: Vec<&str> = Vec::new();
        for capability in down().flat_map(|dependency| &dependency.definition().lost) {
            if !lost.contains(&&**capability) {
                lost.push(capability);
            }
        }
        list(out, lost.into_iter(), json::string);
        let message = message(down());
        if !message.is_empty() {
            json::text(out, "message", &message);
        }
    });
    Arc::from(String::from_utf8_lossy(&out))
}

/// The sentences for people: what is critical first.
fn message<'a>(down: impl Iterator<Item = &'a Dependency> + Clone) -> String {
    let of = |criticality| {
        down.clone().filter(move |dependency| dependency.definition().criticality == criticality)
    };
    let mut sentences: Vec<&str> = Vec::new();
    for dependency in of(Criticality::Critical).chain(of(Criticality::Optional)) {
        let sentence: &str = &dependency.definition().sentence;
        if !sentence.is_empty() && !sentences.contains(&sentence) {
            sentences.push(sentence);
        }
    }
    sentences.join(" ")
}

fn entry(out: &mut Vec<u8>, dependency: &Dependency) {
    let definition = dependency.definition();
    json::text(out, "name", &definition.name);
    json::text(out, "state", dependency.state().as_str());
    json::truth(out, "critical", definition.criticality == Criticality::Critical);
    json::integer(out, "since", dependency.since().unix_ms);
}

/// Appends `[…]`.
pub(super) fn list<T>(
    out: &mut Vec<u8>,
    items: impl Iterator<Item = T>,
    mut item: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (place, each) in items.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        item(out, each);
    }
    out.push(b']');
}
