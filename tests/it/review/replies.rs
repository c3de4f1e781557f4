//! What is published of a reply to a message.

use super::*;
use crate::support::random::cases;
use proptest::prelude::*;
use proptest::sample::select;
use swimcoach::review::{ModelReply, reply_so_far, review_reply};

fn reply(text: &str, frames: &[i64]) -> ModelReply {
    ModelReply { text: text.to_owned(), frames: frames.to_vec() }
}

#[test]
fn only_frames_that_were_sent_are_named_once_each_and_in_order() {
    let sent: Vec<FrameNumber> = [2, 5, 8, 11].map(number).to_vec();

    let published =
        review_reply(&reply("See frames 8 and 2.", &[8, 2, 8, 3, -1, 0, 4711, i64::MAX, 2]), &sent);

    assert_eq!(published.frames, [2, 8].map(number));
    assert_eq!(published.text, "See frames 8 and 2.");
}

#[test]
fn a_reply_is_held_to_the_rules_of_every_text() {
    let text =
        "**Frame 8** shows it: 8 out of 10, see https://example.com/x <b>now</b>\u{202E}.\nPress back.";

    assert_eq!(review_reply(&reply(text, &[]), &[]).text, "Frame 8 shows it: see now . Press back.");
    assert_eq!(review_reply(&reply("https://example.com", &[]), &[]).text, "");
    assert!(review_reply(&reply(&"word ".repeat(1000), &[]), &[]).text.chars().count() <= 1500);
}

/// Texts of pieces that the rules care for, which meet in every order.
fn texts() -> impl Strategy<Value = String> {
    const PIECES: [&str; 21] = [
        " ",
        "score ",
        "is ",
        "von ",
        "\n",
        "word",
        "8",
        " out",
        " of ",
        "10",
        "/",
        "100",
        ".",
        "www.",
        "example",
        ".com",
        "<b",
        ">",
        "*",
        "\u{200B}",
        "🏊 straße ",
    ];
    let long = (0_usize..400).prop_map(|it| "seven ch".repeat(it));
    (proptest::collection::vec(select(PIECES.as_slice()), 0..60), long)
        .prop_map(|(pieces, long)| pieces.concat() + &long)
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn what_is_shown_of_a_reply_while_it_is_written_is_never_taken_back(text in texts()) {
        let published = review_reply(&reply(&text, &[]), &[]).text;
        let mut shown = String::new();
        let cuts = text.char_indices().step_by(1 + text.len() / 200).map(|(cut, _)| cut);
        for cut in cuts.chain([text.len()]) {
            let so_far = reply_so_far(text.get(..cut).unwrap());

            prop_assert!(published.starts_with(&so_far), "{so_far:?} of {published:?}");
            prop_assert!(so_far.starts_with(&shown), "{shown:?} then {so_far:?}");
            shown = so_far;
        }
        // All but a few words is shown before the end, unless the text is too long.
        let held_back = published.split(' ').count() - shown.split(' ').count();
        prop_assert!(held_back <= 12, "{shown:?} of {published:?}");
    }
}
