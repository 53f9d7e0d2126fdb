//! What an unknown name was probably meant to be.

/// The candidate closest to `name`, when it is close enough to be worth saying: a third of its letters may
/// be wrong, two always.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.len() / 3).max(2);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_word_and_a_stranger_none() {
        let words = ["listen", "reactors", "echo"];
        assert_eq!(nearest("lisen", words.into_iter()), Some("listen"));
        assert_eq!(nearest("reactor", words.into_iter()), Some("reactors"));
        assert_eq!(nearest("telemetry", words.into_iter()), None);
    }
}
