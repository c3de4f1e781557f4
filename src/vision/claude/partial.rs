//! What is certain of an answer while it is still written.
//!
//! An answer is JSON that comes in pieces cut anywhere. It is followed a character at a time, each one once, so
//! that what is whole is known as soon as it is.

use crate::review::ModelAnalysis;
use serde_json::Value;

/// Deeper than any answer is; what is deeper is not followed.
const MAX_DEPTH: usize = 16;
/// Where findings stand: under these keys of objects, in an array.
const FINDINGS: [Option<&str>; 3] = [Some("analysis"), Some("findings"), None];
/// Where the text of a reply stands.
const REPLY_TEXT: [Option<&str>; 2] = [Some("reply"), Some("text")];

/// Reads an analysis up to its last whole finding.
#[derive(Debug, Default)]
pub(super) struct Findings {
    cursor: Cursor,
    /// Bytes that were read.
    read: usize,
    /// What came has another shape, so nothing more is read.
    is_over: bool,
}

impl Findings {
    /// The analysis so far, when a finding more is whole in `text`, which is all that was written until now.
    pub(super) fn read(&mut self, text: &str) -> Option<ModelAnalysis> {
        let new = text.get(self.read..).filter(|_| !self.is_over)?;
        let mut end = None;
        for (at, character) in new.char_indices() {
            if self.cursor.step(character) == Step::Closed && self.cursor.is_at(&FINDINGS) {
                end = Some(self.read + at + 1);
            }
        }
        self.read = text.len();
        let analysis = beginning(text.get(..end?)?);
        self.is_over = analysis.is_none();
        analysis
    }
}

/// The analysis in an answer that is cut off after a finding.
fn beginning(text: &str) -> Option<ModelAnalysis> {
    let mut answer: Value = serde_json::from_str(&format!("{text}]}}}}")).ok()?;
    ModelAnalysis::read_beginning(answer.get_mut("analysis")?.take()).ok()
}

/// Reads the text of a reply, as far as it is written.
#[derive(Debug, Default)]
pub(super) struct ReplyText {
    cursor: Cursor,
    /// Bytes that were read.
    read: usize,
}

impl ReplyText {
    /// What comes to the reply's text with `text`, which is all that was written until now.
    pub(super) fn read(&mut self, text: &str) -> String {
        let mut more = String::new();
        for character in text.get(self.read..).unwrap_or_default().chars() {
            if let Step::Character(it) = self.cursor.step(character)
                && self.cursor.is_at(&REPLY_TEXT)
            {
                more.push(it);
            }
        }
        self.read = text.len();
        more
    }
}

/// What a character of JSON meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// An object or array ended.
    Closed,
    /// A string that is a value has this character.
    Character(char),
    /// Nothing that anybody asks for.
    Other,
}

/// Follows JSON while it is written, and knows at which place of it it is.
#[derive(Debug, Default)]
struct Cursor {
    /// The containers around the place from the outside: of an object its latest key, of an array nothing.
    around: Vec<Option<String>>,
    awaits_key: bool,
    string: Option<Text>,
    is_lost: bool,
}

impl Cursor {
    fn is_at(&self, place: &[Option<&str>]) -> bool {
        !self.is_lost && self.around.iter().map(Option::as_deref).eq(place.iter().copied())
    }

    fn step(&mut self, character: char) -> Step {
        if self.string.is_some() {
            return self.step_in_string(character);
        }
        match character {
            '{' | '[' => {
                self.is_lost |= self.around.len() == MAX_DEPTH;
                if !self.is_lost {
                    self.around.push((character == '{').then(String::new));
                }
                self.awaits_key = character == '{';
            }
            '}' | ']' => {
                self.around.pop();
                self.awaits_key = false;
                return Step::Closed;
            }
            ',' => self.awaits_key = matches!(self.around.last(), Some(Some(_))),
            ':' => self.awaits_key = false,
            '"' => {
                self.string = Some(Text::default());
                if let (true, Some(Some(key))) = (self.awaits_key, self.around.last_mut()) {
                    key.clear();
                }
            }
            _ => {}
        }
        Step::Other
    }

    fn step_in_string(&mut self, character: char) -> Step {
        match self.string.as_mut().map_or(Read::End, |it| it.read(character)) {
            Read::End => self.string = None,
            Read::Half => {}
            Read::Character(it) if self.awaits_key => {
                if let Some(Some(key)) = self.around.last_mut() {
                    key.push(it);
                }
            }
            Read::Character(it) => return Step::Character(it),
        }
        Step::Other
    }
}

/// A string that is being read.
#[derive(Debug, Default)]
struct Text {
    escape: Escape,
    /// The first half of a character that is written as two escapes.
    high: Option<u16>,
}

#[derive(Debug, Default)]
enum Escape {
    #[default]
    None,
    /// After the backslash.
    Begun,
    /// After `\u`, with so many digits and their value.
    Hex(u8, u16),
}

enum Read {
    Character(char),
    /// Only a part of a character.
    Half,
    /// The quotation mark that ends the string.
    End,
}

impl Text {
    fn read(&mut self, character: char) -> Read {
        match (std::mem::take(&mut self.escape), character) {
            (Escape::None, '"') => Read::End,
            (Escape::None, '\\') => {
                self.escape = Escape::Begun;
                Read::Half
            }
            (Escape::Begun, 'u') => {
                self.escape = Escape::Hex(0, 0);
                Read::Half
            }
            (Escape::Begun, 'n') => Read::Character('\n'),
            (Escape::Begun, 't') => Read::Character('\t'),
            (Escape::Begun, 'r') => Read::Character('\r'),
            (Escape::Begun, 'b') => Read::Character('\u{8}'),
            (Escape::Begun, 'f') => Read::Character('\u{c}'),
            (Escape::None | Escape::Begun, it) => Read::Character(it),
            (Escape::Hex(digits, value), it) => self.hex(digits, value, it),
        }
    }

    fn hex(&mut self, digits: u8, value: u16, character: char) -> Read {
        let digit = character.to_digit(16).and_then(|it| u16::try_from(it).ok()).unwrap_or_default();
        let value = value << 4 | digit;
        if digits < 3 {
            self.escape = Escape::Hex(digits + 1, value);
            return Read::Half;
        }
        let units = self.high.take().into_iter().chain([value]);
        if let Some(Ok(it)) = char::decode_utf16(units).next() {
            return Read::Character(it);
        }
        // The other half must come, or the answer is no JSON.
        self.high = Some(value);
        Read::Half
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::review::ModelFinding;
    use proptest::prelude::*;
    use serde_json::json;

    const EXAMPLE: &str = include_str!("../../../tests/it/fixtures/analysis.example.json");

    fn example() -> ModelAnalysis {
        ModelAnalysis::parse(EXAMPLE).unwrap()
    }

    /// An answer with a finding for each observation, as it is written: fields in the order of the schema.
    fn written(observations: &[String]) -> String {
        let finding = example().findings.remove(0);
        let findings =
            observations.iter().map(|it| ModelFinding { observation: it.clone(), ..finding.clone() });
        let analysis = ModelAnalysis { findings: findings.collect(), ..example() };
        format!(r#"{{"reply": null, "analysis": {}}}"#, serde_json::to_string(&analysis).unwrap())
    }

    /// Every place at which a text can be cut.
    fn cuts(text: &str) -> impl Iterator<Item = &str> {
        (0..=text.len()).filter_map(|it| text.get(..it))
    }

    /// Any text, with more of what JSON writes in its own way than chance would give.
    fn texts() -> impl Strategy<Value = String> {
        let pieces = prop_oneof![
            any::<String>(),
            "[\"\\\\\\[\\]{},:\n\t ]{0,9}",
            Just("🏊 \u{1f1e9}\u{1f1ea} é \u{0} \u{2028}".to_owned()),
        ];
        proptest::collection::vec(pieces, 0..4).prop_map(|it| it.concat())
    }

    /// The JSON of a string with every character as escapes, in halves where it has two.
    fn escaped(text: &str) -> String {
        let units: Vec<String> = text.encode_utf16().map(|it| format!("\\u{it:04X}")).collect();
        format!("\"{}\"", units.concat())
    }

    #[test]
    fn an_analysis_so_far_claims_nothing_that_is_not_written_yet() {
        let text = written(&["One.".to_owned(), "Two.".to_owned()]);
        let end = text.find(r#"},{"kind"#).unwrap() + 1;

        let so_far = Findings::default().read(text.get(..end).unwrap()).unwrap();

        assert_eq!(so_far.findings.len(), 1);
        assert_eq!((so_far.capture, so_far.stroke, so_far.elements), {
            let example = example();
            (example.capture, example.stroke, example.elements)
        });
        assert_eq!((so_far.summary.as_str(), so_far.primary_focus), ("", -1));
        assert!(
            so_far.cycles.is_empty() && so_far.cannot_tell.is_empty() && so_far.filming_advice.is_empty()
        );
    }

    #[test]
    fn findings_that_come_before_it_is_known_whether_they_may_stand_are_held_back() {
        let mut late: Value = serde_json::from_str(EXAMPLE).unwrap();
        let flag = late.as_object_mut().unwrap().remove("content_flag").unwrap();
        let late = late.to_string();
        let text = format!(
            r#"{{"reply":null,"analysis":{},"content_flag":{flag}}}}}"#,
            late.strip_suffix('}').unwrap()
        );
        assert!(text.contains(r#""findings":[{"#));
        let mut findings = Findings::default();

        assert!(cuts(&text).all(|it| findings.read(it).is_none()));
    }

    #[test]
    fn what_has_another_shape_is_read_without_harm() {
        let deep = format!(r#"{{"analysis":{{"findings":{}"#, "[{\"a\":".repeat(1000));
        for text in [
            "",
            "]]]}}}",
            "\"",
            r#"{"analysis":{"findings":[1,2,{}]}}"#,
            "[[{\"findings\":[{}]}]]",
            "{{{{",
            "{,}:",
            r#"{"analysis":{"findings":[{}],"findings":[{"kind":"fault"}]}}"#,
            "}{\"analysis\":",
            deep.as_str(),
            r#"{"analysis":{"findings":"[{}]"}}"#,
            "{\"reply\":{\"text\":\"\\ud83c\\u0041\"}}",
        ] {
            let (mut findings, mut reply) = (Findings::default(), ReplyText::default());
            for text in cuts(text) {
                assert_eq!(findings.read(text), None);
                reply.read(text);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 32, ..ProptestConfig::default() })]

        #[test]
        fn each_finding_is_told_once_it_is_whole_and_as_it_is_wherever_the_answer_is_cut(
            observations in proptest::collection::vec(texts(), 0..4),
        ) {
            let text = written(&observations);
            let mut findings = Findings::default();
            let mut told = 0;

            for text in cuts(&text) {
                let Some(so_far) = findings.read(text) else { continue };
                told += 1;
                prop_assert_eq!(so_far.findings.len(), told);
                prop_assert!(so_far.findings.iter().map(|it| &it.observation).eq(observations.iter().take(told)));
                // Whoever comes in here for the first time is told the same.
                prop_assert_eq!(Findings::default().read(text), Some(so_far));
            }

            prop_assert_eq!(told, observations.len());
        }

        #[test]
        fn the_text_of_a_reply_is_told_as_it_is_read_later_wherever_the_answer_is_cut(
            reply in texts(), by_escapes in any::<bool>(),
        ) {
            let text = if by_escapes { escaped(&reply) } else { json!(reply).to_string() };
            let other = json!({"text": "not this", "reply": {"text": "nor this"}});
            let text = format!(r#" {{ "reply" : {{"text":{text},"frames":[1,2]}}, "analysis": {other} }}"#);
            let mut reading = ReplyText::default();
            let mut told = String::new();

            for text in cuts(&text) {
                told.push_str(&reading.read(text));
                prop_assert!(reply.starts_with(&told));
                prop_assert_eq!(ReplyText::default().read(text), told.as_str());
            }

            prop_assert_eq!(told, reply);
        }
    }
}
