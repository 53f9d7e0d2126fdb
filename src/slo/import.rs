//! Objectives from OpenSLO v1: the target and the rolling window, of the objectives of a gateway.
//!
//! Everything else is named, so that an operator knows that it has no effect: queries (the gateway counts by itself), other tiers (they
//! follow from the ratio and the period), objectives of other programs. A document is compared with the one that the gateway would
//! export, and each difference is named by its path.

use super::export::{ExportFormat, OBJECTIVE_LABEL, OFF_ANNOTATION, export};
use super::objective::Objective;
use super::part::SloPart;
use super::tier::tiers;
use serde_json::Value;

/// The longest text that is read, in bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
const VERSION: &str = "openslo/v1";
/// The differences that are named for one document. A document of another program has many.
const DIFFERENCES_MAX: usize = 20;
const DAYS_PER_WEEK: u32 = 7;

/// The objectives of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportedObjectives {
    /// In the order of the text.
    pub objectives: Vec<(&'static str, Objective)>,
    /// The objectives that an export says are off.
    pub off: Vec<&'static str>,
    /// Sentences about what has no effect.
    pub not_taken: Vec<String>,
}

/// A text that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportFault {
    /// It is longer than [`TEXT_BYTES_MAX`].
    TooLong,
    /// It is not YAML; with the parser's message.
    NotYaml(String),
}

/// Reads the objectives of a text with one or more documents.
///
/// # Errors
///
/// A text that is too long or is not YAML. What a gateway does not have is no error.
pub fn import(text: &str) -> Result<ImportedObjectives, ImportFault> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(ImportFault::TooLong);
    }
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| ImportFault::NotYaml(error.to_string()))?;
    let mut imported = ImportedObjectives::default();
    let readable: Vec<&Value> = documents
        .iter()
        .enumerate()
        .filter(|(index, document)| {
            let is_readable = document["apiVersion"] == VERSION;
            if !is_readable {
                imported.refuse(format!("document {}: its apiVersion is not {VERSION}", index + 1));
            }
            is_readable
        })
        .map(|(_, document)| document)
        .collect();
    // Documents without an objective of ours: they are named once, and not compared.
    let mut unknown = Vec::new();
    for document in readable.iter().filter(|document| document["kind"] == "SLO") {
        match read_objective(document) {
            Ok((name, objective)) => imported.add(name, objective, document),
            Err(reason) => {
                unknown.push(*document);
                imported.refuse(format!("{}: {reason}", title(document)));
            }
        }
    }
    for document in readable.iter().filter(|document| document["kind"] == "Service") {
        let off = document["metadata"]["annotations"][OFF_ANNOTATION].as_str().unwrap_or_default();
        imported.off.extend(off.split(' ').filter_map(known));
    }
    imported.compare(&readable, &unknown);
    Ok(imported)
}

impl ImportedObjectives {
    fn refuse(&mut self, sentence: String) {
        self.not_taken.push(sentence);
    }

    /// Adds an objective, unless another document says something else about it.
    fn add(&mut self, name: &'static str, objective: Objective, document: &Value) {
        match self.objectives.iter().find(|(known, _)| *known == name) {
            None => self.objectives.push((name, objective)),
            Some((_, first)) if *first == objective => {}
            Some((_, first)) => {
                let sentence = format!("{}: {objective}, because {name} is {first} already", title(document));
                self.refuse(sentence);
            }
        }
    }

    /// Names each difference to what a gateway with these objectives exports.
    fn compare(&mut self, documents: &[&Value], unknown: &[&Value]) {
        // All tiers exist: objectives without were not added.
        let own = export(ExportFormat::OpenSlo, &self.objectives).unwrap_or_default();
        let own: Vec<Value> = serde_saphyr::from_multiple(&own).unwrap_or_default();
        for document in documents {
            if unknown.iter().any(|other| std::ptr::eq(*other, *document)) {
                continue;
            }
            let twin = own.iter().find(|one| {
                one["kind"] == document["kind"] && one["metadata"]["name"] == document["metadata"]["name"]
            });
            let mut paths = Vec::new();
            match twin {
                Some(twin) => differences(twin, document, "", &mut paths),
                // Its target and window may have been taken.
                None if document["kind"] == "SLO" => {
                    paths.extend(["indicator", "alertPolicies"].map(str::to_owned))
                }
                None => paths.push("all of it".to_owned()),
            }
            paths.retain(|path| !path.starts_with("metadata.annotations.seawall.dev/off"));
            let more = paths.len().saturating_sub(DIFFERENCES_MAX);
            for path in paths.into_iter().take(DIFFERENCES_MAX) {
                self.refuse(format!("{}: {path}", title(document)));
            }
            if more > 0 {
                self.refuse(format!("{}: {more} more", title(document)));
            }
        }
    }
}

/// The kind and the name of a document, for people.
fn title(document: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    format!("{} {}", text(&document["kind"]), text(&document["metadata"]["name"]))
}

/// The objective of this name.
fn known(name: &str) -> Option<&'static str> {
    SloPart::ALL.into_iter().map(SloPart::objective).find(|known| *known == name)
}

/// The objective of a document, or the reason why it is none of ours.
fn read_objective(document: &Value) -> Result<(&'static str, Objective), String> {
    let (metadata, spec) = (&document["metadata"], &document["spec"]);
    let label = metadata["labels"][OBJECTIVE_LABEL].as_str();
    let name = metadata["name"].as_str().unwrap_or_default();
    let of_name = || known(name).or_else(|| known(name.split('-').next().unwrap_or_default()));
    let name = label.map_or_else(of_name, known).ok_or("a gateway has no objective of this name")?;
    let [one] = spec["objectives"].as_array().map(Vec::as_slice).unwrap_or_default() else {
        return Err("it must have one entry in objectives".into());
    };
    let percent = one["targetPercent"].as_f64().map(|percent| percent / 100.0);
    let target = one["target"].as_f64().or(percent).ok_or("it has no target")?;
    let good_ppm = (target * 1e6).round();
    let is_exact = (target * 1e6 - good_ppm).abs() < 1e-6;
    let fits = is_exact && (0.0..1e6).contains(&good_ppm);
    let allowed_ppm = if fits { 1_000_000 - good_ppm as u32 } else { 0 };
    if !(1..=Objective::ALLOWED_PPM_MAX).contains(&allowed_ppm) {
        return Err(format!("its target {target} is not from 0.5 to 0.999999 with at most six decimals"));
    }
    let [window] = spec["timeWindow"].as_array().map(Vec::as_slice).unwrap_or_default() else {
        return Err("it must have one timeWindow".into());
    };
    if window["isRolling"] != true {
        return Err("its timeWindow is not rolling".into());
    }
    let duration = window["duration"].as_str().unwrap_or_default();
    let period_days = days(duration).filter(|days| (1..=Objective::PERIOD_DAYS_MAX).contains(days));
    let period_days = period_days.ok_or_else(|| format!("its window {duration:?} is not from 1d to 90d"))?;
    let objective = Objective { allowed_ppm, period_days, counting: super::Counting::Events };
    match tiers(&objective) {
        Ok(_) => Ok((name, objective)),
        Err(fault) => Err(format!("no failure could reach the tier {} of {objective}", fault.name)),
    }
}

/// The days of a duration in days, weeks or hours.
fn days(duration: &str) -> Option<u32> {
    let (number, unit) = duration.split_at_checked(duration.len().checked_sub(1)?)?;
    let number: u32 = number.parse().ok()?;
    match unit {
        "d" => Some(number),
        "w" => number.checked_mul(DAYS_PER_WEEK),
        "h" if number.is_multiple_of(24) => Some(number / 24),
        _ => None,
    }
}

/// Adds the paths of `theirs` that differ from `ours`.
fn differences(ours: &Value, theirs: &Value, path: &str, found: &mut Vec<String>) {
    let join = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (ours, theirs) {
        (Value::Object(own), Value::Object(other)) => {
            let missing = own.keys().filter(|name| !other.contains_key(*name));
            for name in other.keys().chain(missing) {
                differences(&ours[name], &theirs[name], &join(name), found);
            }
        }
        (Value::Array(own), Value::Array(other)) => {
            for index in 0..own.len().max(other.len()) {
                let of = |list: &[Value]| list.get(index).cloned().unwrap_or_default();
                differences(&of(own), &of(other), &join(&index.to_string()), found);
            }
        }
        (own, other) if own == other => {}
        (_, Value::Null) => found.push(format!("{path} is missing")),
        _ => found.push(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::objective::{EXPLAINED, USUAL};
    use super::*;
    use proptest::prelude::*;

    const OTHER: &str = "\
apiVersion: openslo/v1
kind: SLO
metadata: {name: main-page, displayName: Main page}
spec: {service: web, timeWindow: [{duration: 2w, isRolling: true}], objectives: [{target: 0.99}]}
---
apiVersion: openslo/v1alpha
kind: Service
metadata: {name: web}
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: cpu}
";

    fn exported(objectives: &[(&'static str, Objective)]) -> String {
        export(ExportFormat::OpenSlo, objectives).expect("tiers")
    }

    fn delivery(target: &str, window: &str) -> String {
        exported(&USUAL[1..2]).replace("target: 0.999", target).replace("duration: 7d", window)
    }

    #[test]
    fn export_that_is_imported_is_exported_again_as_the_same_bytes() {
        let wide =
            Objective { allowed_ppm: 20_000, period_days: 14, counting: super::super::Counting::Events };
        let usual: Vec<_> = USUAL.into_iter().chain([EXPLAINED]).collect();
        for objectives in [usual, vec![USUAL[1], ("latency", wide)], vec![]] {
            let text = exported(&objectives);
            let imported = import(&text).expect("YAML");
            assert_eq!(imported.not_taken, Vec::<String>::new());
            assert_eq!(exported(&imported.objectives), text);
            let listed =
                imported.objectives.iter().map(|(name, _)| *name).chain(imported.off.iter().copied());
            let mut listed: Vec<&str> = listed.collect();
            listed.sort_unstable();
            assert!(listed.is_sorted_by(|one, next| one < next) && listed.len() >= 5, "{listed:?}");
        }
    }

    #[test]
    fn target_and_window_are_taken_and_everything_else_is_named() {
        let text = delivery("targetPercent: 99.95", "duration: 2w")
            .replace("op: gte, threshold: 16.800", "op: gt, threshold: 2");
        let imported = import(&text).expect("YAML");
        let [(name, objective)] = imported.objectives[..] else { panic!("{imported:?}") };
        assert_eq!((name, objective.to_string()), ("delivery", "99.95 % over 14 d".to_owned()));
        let named = |part: &str| imported.not_taken.iter().any(|sentence| sentence.contains(part));
        assert!(
            named("AlertPolicy delivery-fast: spec.conditions.0.spec.condition.threshold"),
            "{imported:?}"
        );

        let query = delivery("target: 0.999", "duration: 7d").replacen("good\"", "fine\"", 1);
        let expected = "SLO delivery-publish: spec.indicator.spec.ratioMetric.good.metricSource.spec.query";
        assert_eq!(import(&query).expect("YAML").not_taken, [expected]);
    }

    #[test]
    fn what_a_gateway_does_not_have_is_named() {
        let imported = import(OTHER).expect("YAML");
        assert_eq!(imported.objectives, []);
        let expected = [
            "document 2: its apiVersion is not openslo/v1",
            "SLO main-page: a gateway has no objective of this name",
            "AlertPolicy cpu: all of it",
        ];
        assert_eq!(imported.not_taken, expected);
        for (target, window, reason) in [
            ("target: 1.0", "duration: 7d", "its target 1 is not"),
            ("target: 0.9999999", "duration: 7d", "its target 0.9999999 is not"),
            ("target: 0.999", "duration: 1M", "its window \"1M\" is not"),
            ("target: 0.9", "duration: 30d", "no failure could reach the tier fast"),
        ] {
            let imported = import(&delivery(target, window)).expect("YAML");
            assert!(imported.not_taken.iter().any(|sentence| sentence.contains(reason)), "{imported:?}");
        }
        assert_eq!(import(&"a".repeat(TEXT_BYTES_MAX + 1)), Err(ImportFault::TooLong));
        assert!(matches!(import("a: ["), Err(ImportFault::NotYaml(_))));
    }

    proptest! {
        #[test]
        fn text_that_is_damaged_is_read_or_refused(at in 0_usize..4_000, byte in any::<u8>()) {
            let mut bytes = exported(&USUAL[1..2]).into_bytes();
            if let Some(damaged) = bytes.get_mut(at) {
                *damaged = byte;
            }
            let _read_or_refused = import(&String::from_utf8_lossy(&bytes));
        }
    }
}
