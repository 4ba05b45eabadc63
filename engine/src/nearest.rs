//! Names that a mistyped name may have meant.

/// Most suggestions given.
const SUGGESTIONS_MAX: usize = 3;

/// Least similarity (Jaro-Winkler, 0 to 1) of a suggestion: `lineitme` and `lineitem` have 0.98, `a` and `b` have 0.
const SIMILARITY_MIN: f64 = 0.8;

/// Indexes of the candidates most like `wanted`, best first.
pub(crate) fn nearest<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let mut scored: Vec<(usize, f64)> = candidates
        .enumerate()
        .map(|(index, candidate)| (index, similarity(wanted, candidate)))
        .filter(|(_, score)| *score >= SIMILARITY_MIN)
        .collect();
    scored.sort_by(|a, b| b.1.total_cmp(&a.1));
    scored.truncate(SUGGESTIONS_MAX);
    scored.into_iter().map(|(index, _)| index).collect()
}

/// Whether one may have been typed for the other.
pub(crate) fn is_near(wanted: &str, candidate: &str) -> bool {
    similarity(wanted, candidate) >= SIMILARITY_MIN
}

/// `; did you mean a or b?`, or nothing.
pub(crate) fn suggestion<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> String {
    let names: Vec<&str> = candidates.clone().collect();
    let near: Vec<&str> = nearest(wanted, candidates).into_iter().filter_map(|i| names.get(i).copied()).collect();
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) }
}

fn similarity(a: &str, b: &str) -> f64 {
    strsim::jaro_winkler(&a.to_lowercase(), &b.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_match_comes_first_and_strangers_never() {
        let names = ["orders", "lineitem", "line_items"];
        assert_eq!(nearest("lineitme", names.iter().copied()), [1, 2]);
        assert_eq!(suggestion("zzz", names.iter().copied()), "");
    }
}
