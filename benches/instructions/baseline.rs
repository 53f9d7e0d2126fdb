//! The costs that were accepted: read, compared, written.

use super::callgrind::Cost;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Where they are kept.
pub const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.json");

/// How much dearer a path may be before it fails, and how much cheaper before that is worth keeping.
const MARGIN: f64 = 0.03;
/// A path of thirty instructions is not judged by one.
const MARGIN_INSTRUCTIONS: f64 = 1.0;
/// A buffer's growth falls on few of many repetitions.
const MARGIN_ALLOCATIONS: f64 = 0.02;

/// What is in the file.
#[derive(Debug, Deserialize)]
pub struct Baseline {
    /// Whose code was counted.
    pub compiler: String,
    /// Cost of one operation, by path.
    pub paths: BTreeMap<String, Cost>,
}

/// What a cost is, against the one accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// As before.
    Same,
    /// Cheaper by more than the margin.
    Better,
    /// Dearer by more than the margin.
    Dearer,
    /// More allocations.
    Allocates,
    /// Nothing was accepted yet.
    Unknown,
}

impl Judgement {
    /// True exactly when the gate closes.
    pub fn fails(self) -> bool {
        match self {
            Judgement::Same | Judgement::Better => false,
            Judgement::Dearer | Judgement::Allocates | Judgement::Unknown => true,
        }
    }

    /// For the end of a line.
    pub fn note(self) -> &'static str {
        match self {
            Judgement::Same => "",
            Judgement::Better => "  cheaper",
            Judgement::Dearer => "  DEARER",
            Judgement::Allocates => "  ALLOCATES MORE",
            Judgement::Unknown => "  NOT IN THE BASELINE",
        }
    }
}

/// Compares.
pub fn judge(before: Option<&Cost>, now: Cost) -> Judgement {
    let Some(before) = before else { return Judgement::Unknown };
    let margin = (before.instructions * MARGIN).max(MARGIN_INSTRUCTIONS);
    if now.allocations > before.allocations + MARGIN_ALLOCATIONS {
        Judgement::Allocates
    } else if now.instructions > before.instructions + margin {
        Judgement::Dearer
    } else if now.instructions < before.instructions - margin
        || now.allocations < before.allocations - MARGIN_ALLOCATIONS
    {
        Judgement::Better
    } else {
        Judgement::Same
    }
}

impl Baseline {
    /// Reads the file.
    pub fn read() -> Result<Baseline, String> {
        let text = std::fs::read_to_string(FILE)
            .map_err(|error| format!("{FILE}: {error}; make it by `tools/instructions --update`"))?;
        serde_json::from_str(&text).map_err(|error| format!("{FILE}: {error}"))
    }

    /// Writes the file: a path a line, so that a change of one shows as one line.
    pub fn write(&self) -> Result<(), String> {
        let mut text = String::from("{\n");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  \"compiler\": {:?},\n  \"paths\": {{", self.compiler);
        for (place, (name, cost)) in self.paths.iter().enumerate() {
            let comma = if place + 1 < self.paths.len() { "," } else { "" };
            let (instructions, allocations) = (cost.instructions, cost.allocations);
            let _ = writeln!(
                text,
                "    \"{name}\": {{ \"instructions\": {instructions}, \"allocations\": {allocations} }}{comma}"
            );
        }
        text.push_str("  }\n}\n");
        std::fs::write(FILE, text).map_err(|error| format!("{FILE}: {error}"))
    }
}
