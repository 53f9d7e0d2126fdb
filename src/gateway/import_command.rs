//! `seawall slo import`: objectives of an OpenSLO file as lines of the configuration.

use super::output;
use crate::slo::import::{ImportFault, ImportedObjectives, TEXT_BYTES_MAX, import};
use clap::Args;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args, Debug)]
pub(super) struct ImportArguments {
    /// The file, in OpenSLO v1
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// Exit with 0 although something of the file is not taken
    #[arg(long)]
    lenient: bool,
}

impl ImportArguments {
    /// Prints the objectives, and what is not taken.
    pub(super) fn run(&self) -> ExitCode {
        let file = self.file.display();
        let imported = match read(&self.file).map(|text| import(&text)) {
            Ok(Ok(imported)) => imported,
            Ok(Err(fault)) => return fail(&format!("{file}: {}", message(&fault))),
            Err(error) => return fail(&format!("cannot read {file}: {error}")),
        };
        for sentence in &imported.not_taken {
            output::fail(&format!("not taken: {sentence}"));
        }
        match output::print(&section(&imported)) {
            code if code == ExitCode::SUCCESS && !imported.not_taken.is_empty() && !self.lenient => {
                ExitCode::from(output::WRONG_CONFIGURATION)
            }
            code => code,
        }
    }
}

fn fail(message: &str) -> ExitCode {
    output::fail(message);
    ExitCode::from(output::WRONG_CONFIGURATION)
}

fn message(fault: &ImportFault) -> String {
    match fault {
        ImportFault::TooLong => format!("it is longer than {TEXT_BYTES_MAX} bytes: split it"),
        ImportFault::NotYaml(message) => format!("it is not YAML: {message}"),
    }
}

/// Reads one byte more than is accepted at most, so that a longer file is refused.
fn read(path: &PathBuf) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(TEXT_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// The section of the configuration.
fn section(imported: &ImportedObjectives) -> String {
    let mut text = "[slo]\n".to_owned();
    // Writing to a string cannot fail.
    for (name, objective) in &imported.objectives {
        let _infallible = writeln!(text, "{name} = \"{objective}\"");
    }
    for name in &imported.off {
        let _infallible = writeln!(text, "{name} = \"off\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::objective::USUAL;

    #[test]
    fn section_is_what_the_configuration_reads() {
        let [_, delivery, ..] = USUAL;
        let imported = ImportedObjectives {
            objectives: vec![delivery],
            off: vec!["health"],
            ..ImportedObjectives::default()
        };
        assert_eq!(section(&imported), "[slo]\ndelivery = \"99.9 % over 7 d\"\nhealth = \"off\"\n");
    }
}
