//! What a model's text may hold when it is published: words, no links, no ids, no markup, no scores, no invisible
//! characters, and not without end.

use uuid::Uuid;

/// The most characters of one published text.
const MAX_CHARS: usize = 600;
/// The most characters of an answer to notes or to a message, which may have 150 words.
const MAX_LONG_CHARS: usize = 1500;
/// Words of which the last decides whether the first is published: `8 out of 10`.
const MAX_UNPUBLISHED: usize = 4;
/// What a number is called that judges a whole swim. Elements are rated up to five, so a number above that is one.
const SCORES: [&str; 5] = ["score", "scored", "scores", "rating", "grade"];
/// What may stand between such a word and its number, beside signs.
const OF_A_SCORE: [&str; 6] = ["", "is", "was", "of", "a", "about"];
/// "Of" a hundred, in the languages that answers are most often in.
const OUT_OF: [&str; 5] = ["of", "von", "sur", "de", "su"];

/// The text without links, ids, markup, scores, and invisible characters, cut at a word where it is long.
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
            | '\u{34F}'
            | '\u{61C}'
            | '\u{180E}'
            | '\u{200B}'..='\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            // Those that choose between text and a picture of it may stay.
            | '\u{FE00}'..='\u{FE0D}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E01EF}'
    )
}

/// How many of the first words are not published: a link, an id, a heading's mark, or a score.
fn unpublished(words: &[&str]) -> usize {
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let bare = |at: usize| word(at).trim_matches(|it: char| !it.is_alphanumeric()).to_lowercase();
    let first = bare(0);
    if is_link(word(0)) || has_id(word(0)) || word(0).chars().all(|it| it == '#') {
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
    if is_number(&first) && OUT_OF.contains(&bare(1).as_str()) && bare(2) == "100" {
        return 3;
    }
    let is_score = |it: &str| is_number(it) && it.parse().is_ok_and(|it: f64| 5.0 < it);
    // A name in quotes is spoken of.
    if word(0).contains('"') {
        return 0;
    }
    if first.split_once([':', '=']).is_some_and(|(name, number)| SCORES.contains(&name) && is_score(number)) {
        return 1;
    }
    if !SCORES.contains(&first.as_str()) {
        return 0;
    }
    let number = (1..MAX_UNPUBLISHED).find(|it| !OF_A_SCORE.contains(&bare(*it).as_str()));
    number.filter(|it| is_score(&bare(*it))).map_or(0, |it| it + 1)
}

/// Whether a word holds the id of a session or of anything else that the service made: no reader has a use for one.
fn has_id(word: &str) -> bool {
    word.split(|it: char| !it.is_ascii_hexdigit() && it != '-')
        .any(|it| it.len() == 36 && Uuid::try_parse(it).is_ok())
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
    fn a_number_that_is_called_a_score_is_not_published() {
        for score in [
            "score: 87",
            "Score=87",
            "a score of about 87.5%",
            "scored 9",
            "grade is 6",
            "87 of 100",
            "87 von 100",
        ] {
            let published = clean(&format!("Well done, {score}, now press."));
            assert!(!published.contains(|it: char| it.is_ascii_digit()), "{published}");
            assert!(published.ends_with("now press."), "{published}");
        }
        for words in
            ["A rating of 3 for the catch.", "Score it in frames 8 and 9.", "Frame 8 of 10, 80% effort."]
        {
            assert_eq!(clean(words), words);
        }
    }

    #[test]
    fn ids_are_not_published() {
        assert_eq!(
            clean(
                "In 0193e0a2-7c1b-7000-8000-00000000000f (/sessions/0193E0A2-7C1B-7000-8000-00000000000F/frames) too."
            ),
            "In too."
        );
        assert_eq!(clean("A 6-beat-kick, deadbeef."), "A 6-beat-kick, deadbeef.");
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
        assert_eq!(clean("a\u{FE00}b\u{E0100}c\u{E01EF} \u{1F3CA}\u{FE0F}"), "abc \u{1F3CA}\u{FE0F}");
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
