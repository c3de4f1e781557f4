//! What a model's text may hold when it is published: words, no links, no scores, no control characters,
//! and not without end.

/// The most characters of one published text.
const MAX_CHARS: usize = 600;

/// The text without links, scores out of 10 or 100, and control characters, cut at a word where it is long.
pub(super) fn clean(text: &str) -> String {
    let plain: String = text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let mut kept: Vec<&str> = Vec::with_capacity(words.len());
    let mut at = 0;
    while let Some(rest) = words.get(at..).filter(|it| !it.is_empty()) {
        let dropped = unpublished(rest);
        if dropped == 0 {
            kept.extend(rest.first());
        }
        at += dropped.max(1);
    }
    cut(&kept.join(" "))
}

/// How many of the first words are not published: a link, or a score.
fn unpublished(words: &[&str]) -> usize {
    let bare = |word: &str| word.trim_matches(|it: char| !it.is_alphanumeric()).to_lowercase();
    let first = words.first().map(|it| bare(it)).unwrap_or_default();
    if first.contains("://") || first.starts_with("www.") {
        return 1;
    }
    let is_number = |it: &str| !it.is_empty() && it.chars().all(|it| it.is_ascii_digit() || it == '.');
    let is_scale = |it: &str| it == "10" || it == "100";
    if first.split_once('/').is_some_and(|(score, scale)| is_number(score) && is_scale(scale)) {
        return 1;
    }
    let [out, of, scale] = [1, 2, 3].map(|it| words.get(it).map(|it| bare(it)).unwrap_or_default());
    if is_number(&first) && out == "out" && of == "of" && is_scale(&scale) {
        return 4;
    }
    0
}

fn cut(text: &str) -> String {
    if text.chars().count() <= MAX_CHARS {
        return text.to_owned();
    }
    let short: String = text.chars().take(MAX_CHARS - 1).collect();
    let whole_words = short.rsplit_once(' ').map_or(short.as_str(), |(before, _)| before);
    format!("{whole_words}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_scores_are_not_published() {
        assert_eq!(clean("See https://example.com/x now."), "See now.");
        assert_eq!(clean("A good catch: 82/100, well done."), "A good catch: well done.");
        assert_eq!(clean("I give it 8 out of 10 today."), "I give it today.");
        assert_eq!(clean("Do 6x25 with 3/4 effort."), "Do 6x25 with 3/4 effort.");
    }

    #[test]
    fn a_text_without_end_is_cut_at_a_word() {
        let cut = clean(&"straße ".repeat(500));

        assert!(cut.ends_with("straße…"));
        assert!(cut.chars().count() <= MAX_CHARS);
    }

    #[test]
    fn control_characters_become_spaces() {
        assert_eq!(clean("one\u{0}two\r\n\u{1b}[31mthree"), "one two [31mthree");
    }
}
