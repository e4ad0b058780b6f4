//! What was probably meant: the nearest of a few words.

/// Longest word worth comparing, in characters: every key is shorter, and the work is quadratic.
const LENGTH_MAX: usize = 40;

/// The known word nearest to `text` with its distance, when near enough for a slip of the keyboard: one edit
/// for every three characters, at least one. Case and `-` for `_` cost nothing.
pub(super) fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<(&'a str, usize)> {
    if text.chars().count() > LENGTH_MAX {
        return None;
    }
    let plain = |word: &str| -> Vec<char> { word.to_lowercase().replace('-', "_").chars().collect() };
    let text = plain(text);
    let allowed = (text.len() / 3).max(1);
    known
        .into_iter()
        .map(|word| (word, distance(&text, &plain(word))))
        .filter(|(word, distance)| *distance <= allowed && *distance < word.len())
        .min_by_key(|(_, distance)| *distance)
}

/// Insertions, deletions, replacements, and swaps of neighbours (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut best = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["hosts", "aliases", "alias", "session_cookies", "ssl", "is_ssl", "upstream"];
        let cases = [
            ("host", Some("hosts")),
            ("Hosts", Some("hosts")),
            ("alais", Some("alias")),
            ("session-cookies", Some("session_cookies")),
            ("upstreams", Some("upstream")),
            ("sll", Some("ssl")),
            ("x", None),
            ("", None),
            ("redirect", None),
        ];
        for (text, expected) in cases {
            assert_eq!(nearest(text, known).map(|(word, _)| word), expected, "{text}");
        }
        assert_eq!(nearest(&"a".repeat(10_000), known), None);
    }
}
