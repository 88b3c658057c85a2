//! "Did you mean": the known name that is most like what was written.

/// The candidate most like `written`, when one is like it at all.
pub(super) fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_ascii_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&written, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 5 && *distance < candidate.len())
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_forgives_case_and_typing_but_does_not_guess() {
        let fields = ["endpointRef", "path", "identityProvider", "suspended"];
        assert_eq!(nearest("endpointref", fields), Some("endpointRef"));
        assert_eq!(nearest("identiyProvidr", fields), Some("identityProvider"));
        assert_eq!(nearest("replicas", fields), None);
        assert_eq!(nearest("", fields), None);
    }
}
