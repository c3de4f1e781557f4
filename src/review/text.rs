//! What a model's text may hold when it is published: words, no links, no markup, no scores, no invisible
//! characters, and not without end.

/// The most characters of one published text.
const MAX_CHARS: usize = 600;
/// The most characters of an answer to notes or to a message, which may have 150 words.
const MAX_LONG_CHARS: usize = 1500;
/// Words of which the last decides whether the first is published: `8 out of 10`.
const MAX_UNPUBLISHED: usize = 4;

/// The text without links, markup, scores out of 10 or 100, and invisible characters, cut at a word where it
/// is long.
pub(super) fn clean(text: &str) -> String {
    clean_to(MAX_CHARS, text)
}

/// The same for an answer to notes or to a message.
pub(super) fn clean_long(text: &str) -> String {
    clean_to(MAX_LONG_CHARS, text)
}

/// The beginning that [`clean_long`] has of every text that begins with this one.
pub(super) fn clean_so_far(text: &str) -> String {
    // What may be the beginning of a tag is no word yet.
    let plain = without_markup(text.trim_end_matches(|it: char| it == '<' || is_invisible(it)));
    let words: Vec<&str> = plain.split_whitespace().collect();
    // The last word may go on, and those before it may become part of a score.
    let settled = words.len().saturating_sub(MAX_UNPUBLISHED);
    let mut so_far = String::new();
    let mut chars = 0;
    for word in published(&words, settled) {
        let space = usize::from(chars != 0);
        chars += space + word.chars().count();
        // One that ends at the limit may be cut off for the mark of the cut.
        if MAX_LONG_CHARS < chars + 2 {
            break;
        }
        so_far.extend([if space == 0 { "" } else { " " }, word]);
    }
    so_far
}

fn clean_to(max_chars: usize, text: &str) -> String {
    let plain = without_markup(text);
    let words: Vec<&str> = plain.split_whitespace().collect();
    cut(&published(&words, words.len()).join(" "), max_chars)
}

/// Those of the words that are published, of those that begin before the word at `end`.
fn published<'a>(words: &[&'a str], end: usize) -> Vec<&'a str> {
    let mut kept: Vec<&str> = Vec::with_capacity(words.len());
    let mut at = 0;
    while let Some(rest) = words.get(at..).filter(|it| at < end && !it.is_empty()) {
        let dropped = unpublished(rest);
        if dropped == 0 {
            kept.extend(rest.first());
        }
        at += dropped.max(1);
    }
    kept
}

/// The text without tags, the marks of Markdown, and characters that nobody sees.
fn without_markup(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().filter(|it| !is_invisible(*it)).peekable();
    while let Some(character) = characters.next() {
        match character {
            '*' | '`' => {}
            // "a < b" is no tag.
            '<' if characters
                .peek()
                .is_some_and(|it| it.is_ascii_alphabetic() || matches!(it, '/' | '!')) =>
            {
                characters.by_ref().find(|it| *it == '>');
                plain.push(' ');
            }
            it if it.is_control() => plain.push(' '),
            it => plain.push(it),
        }
    }
    plain
}

/// Characters without a shape: they turn the order of others around, or hide text from readers.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{AD}'
            | '\u{61C}'
            | '\u{180E}'
            | '\u{200B}'..='\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E007F}'
    )
}

/// How many of the first words are not published: a link, a heading's mark, or a score.
fn unpublished(words: &[&str]) -> usize {
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let bare = |at: usize| word(at).trim_matches(|it: char| !it.is_alphanumeric()).to_lowercase();
    let first = bare(0);
    if is_link(word(0)) || word(0).chars().all(|it| it == '#') {
        return 1;
    }
    let is_number = |it: &str| !it.is_empty() && it.chars().all(|it| it.is_ascii_digit() || it == '.');
    let is_scale = |it: &str| it == "10" || it == "100";
    if first.split_once('/').is_some_and(|(score, scale)| is_number(score) && is_scale(scale)) {
        return 1;
    }
    if is_number(&first) && word(1) == "/" && is_scale(&bare(2)) {
        return 3;
    }
    if is_number(&first) && bare(1) == "out" && bare(2) == "of" && is_scale(&bare(3)) {
        return 4;
    }
    0
}

/// Whether a word holds an address: a scheme, or a name such as `example.com`. A sentence that begins without a
/// space after the one before begins with a capital letter.
fn is_link(word: &str) -> bool {
    let word = word.trim_matches(|it: char| !it.is_alphanumeric());
    let ends_in_letters = |name: &str| {
        name.rsplit_once('.').is_some_and(|(before, last)| {
            let is_label = |it: &str| 2 <= it.len() && it.chars().all(|it| it.is_ascii_lowercase());
            is_label(last) && before.rsplit('.').next().is_some_and(|it| 2 <= it.chars().count())
        })
    };
    word.contains("://")
        || word.starts_with("www.")
        || word.split(['/', ':', '?', '(', ')', '[', ']']).any(ends_in_letters)
}

fn cut(text: &str, max_chars: usize) -> String {
    if text.chars().count() <= max_chars {
        return text.to_owned();
    }
    let short: String = text.chars().take(max_chars - 1).collect();
    let whole_words = short.rsplit_once(' ').map_or(short.as_str(), |(before, _)| before);
    format!("{whole_words}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_not_published() {
        assert_eq!(clean("See https://example.com/x now."), "See now.");
        assert_eq!(clean("See (www.example.com) or [this](http://example.com/a?b)."), "See or");
        assert_eq!(
            clean("Write to coach@example.com or see example.co.uk/film now."),
            "Write to or see now."
        );
        assert_eq!(
            clean("Elbow high, e.g. at t=3.480 s.Then press.Press."),
            "Elbow high, e.g. at t=3.480 s.Then press.Press."
        );
    }

    #[test]
    fn scores_are_not_published() {
        assert_eq!(clean("A good catch: 82/100, well done."), "A good catch: well done.");
        assert_eq!(clean("I give it 8 out of 10 today, or 82 / 100."), "I give it today, or");
        assert_eq!(
            clean("Do 6x25 with 3/4 effort in frames 10 / 12."),
            "Do 6x25 with 3/4 effort in frames 10 / 12."
        );
    }

    #[test]
    fn markup_is_not_published_and_what_is_no_markup_is() {
        assert_eq!(clean("## Catch\n**Elbow** `high`<br/>now <script>x"), "Catch Elbow high now x");
        assert_eq!(clean("Elbow < 90°, so a > b."), "Elbow < 90°, so a > b.");
        assert_eq!(clean("cut off <a href"), "cut off");
    }

    #[test]
    fn what_nobody_sees_is_not_published() {
        assert_eq!(clean("one\u{0}two\r\n\u{1b}[31mthree"), "one two [31mthree");
        assert_eq!(clean("el\u{200B}bow \u{202E}hgih\u{202C} \u{E0041}\u{FEFF}now"), "elbow hgih now");
    }

    #[test]
    fn a_text_without_end_is_cut_at_a_word() {
        for (cut, max_chars) in
            [(clean(&"straße ".repeat(500)), 600), (clean_long(&"straße ".repeat(500)), 1500)]
        {
            assert!(cut.ends_with("straße…"));
            assert!(cut.chars().count() <= max_chars && max_chars - 10 < cut.chars().count());
        }
        assert!(clean(&"x".repeat(5000)).chars().count() <= 600);
    }
}
