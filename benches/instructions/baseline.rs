//! The accepted costs: reading, comparing and writing them.

use super::callgrind::Cost;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The file that holds them.
pub const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.json");

/// The relative increase at which a path fails, and the decrease that is worth keeping.
const MARGIN: f64 = 0.03;
/// The minimum increase, so that a path of thirty instructions does not fail by one.
const MARGIN_INSTRUCTIONS: f64 = 1.0;
/// The increase in allocations that is tolerated, because a buffer grows in only a few of many repetitions.
const MARGIN_ALLOCATIONS: f64 = 0.02;

#[derive(Debug, Deserialize)]
pub struct Baseline {
    /// The compiler whose code was counted.
    pub compiler: String,
    /// The cost of one operation, by path.
    pub paths: BTreeMap<String, Cost>,
}

/// A cost compared with the accepted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Within the margin.
    Same,
    /// Cheaper by more than the margin.
    Better,
    /// More expensive by more than the margin.
    Worse,
    Allocates,
    /// Not in the baseline.
    Unknown,
}

impl Judgement {
    /// True exactly if the gate fails.
    pub fn fails(self) -> bool {
        match self {
            Judgement::Same | Judgement::Better => false,
            Judgement::Worse | Judgement::Allocates | Judgement::Unknown => true,
        }
    }

    /// The note at the end of a line.
    pub fn note(self) -> &'static str {
        match self {
            Judgement::Same => "",
            Judgement::Better => "  cheaper",
            Judgement::Worse => "  WORSE",
            Judgement::Allocates => "  ALLOCATES MORE",
            Judgement::Unknown => "  NOT IN THE BASELINE",
        }
    }
}

/// Compares a cost with the accepted one.
pub fn judge(before: Option<&Cost>, now: Cost) -> Judgement {
    let Some(before) = before else { return Judgement::Unknown };
    let margin = (before.instructions * MARGIN).max(MARGIN_INSTRUCTIONS);
    if now.allocations > before.allocations + MARGIN_ALLOCATIONS {
        Judgement::Allocates
    } else if now.instructions > before.instructions + margin {
        Judgement::Worse
    } else if now.instructions < before.instructions - margin
        || now.allocations < before.allocations - MARGIN_ALLOCATIONS
    {
        Judgement::Better
    } else {
        Judgement::Same
    }
}

impl Baseline {
    pub fn read() -> Result<Baseline, String> {
        let text = std::fs::read_to_string(FILE)
            .map_err(|error| format!("{FILE}: {error}; create it with `tools/instructions --update`"))?;
        serde_json::from_str(&text).map_err(|error| format!("{FILE}: {error}"))
    }

    /// Writes the file with one path per line, so that a change of one path is a change of one line.
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
