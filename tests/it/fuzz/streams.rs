//! What comes from the model's API.

use super::{damage, damaged, runtime, try_all};
use crate::support::claude_server::{ClaudeServer, Reply, Step, analysis, events, stream_head, written};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use secrecy::SecretString;
use swimcoach::analysis::View;
use swimcoach::catalog::Catalog;
use swimcoach::review::ModelAnalysis;
use swimcoach::session::Stroke;
use swimcoach::vision::claude::{ClaudeSettings, ClaudeVision};
use swimcoach::vision::{Answer, Asking, Look, VisionClient, VisionError};

const EXAMPLE: &str = include_str!("../fixtures/analysis.example.json");

/// What becomes of one look that is answered so, and asked once.
async fn looked(reply: Reply) -> Result<Answer<ModelAnalysis>, VisionError> {
    let server = ClaudeServer::start([reply]).await;
    let mut settings = ClaudeSettings::new(SecretString::from("sk-ant-of-the-test"));
    settings.base_url = server.url().clone();
    settings.retry.attempts = 1;
    let claude = ClaudeVision::new(&settings, &Catalog::embedded().unwrap()).unwrap();
    let look = Look { stroke: Stroke::Freestyle, view: Some(View::Side), frames: Vec::new() };
    claude.look(&look, &Asking::default()).await
}

fn in_one_piece(bytes: Vec<u8>) -> Reply {
    vec![stream_head(), Step::Write(bytes)]
}

fn whole() -> Vec<u8> {
    written(&events(&analysis(EXAMPLE)))
}

#[test]
fn a_damaged_stream_is_an_answer_or_an_error() {
    let (runtime, whole) = (runtime(), whole());
    let mut answered = [0, 0];

    try_all(150, &damage(), |damage| {
        let looked = runtime.block_on(looked(in_one_piece(damaged(&whole, &damage))));
        answered[usize::from(looked.is_ok())] += 1;
    });

    // A letter of a text may change and nothing else does.
    assert!(answered.iter().all(|it| 5 < *it), "{answered:?}");
}

#[test]
fn any_bytes_at_all_are_no_answer() {
    let runtime = runtime();

    try_all(60, &prop::collection::vec(any::<u8>(), 0..2000), |bytes| {
        assert!(runtime.block_on(looked(in_one_piece(bytes))).is_err());
    });
}

#[test]
fn an_answer_is_the_same_in_whatever_pieces_it_comes_and_whatever_stands_between_its_events() {
    let runtime = runtime();
    let expected = runtime.block_on(looked(in_one_piece(whole()))).unwrap();
    let between = select(
        [
            ": beat\n\n",
            "event: ping\ndata: {\"type\": \"ping\"}\n\n",
            "event: later\ndata: {\"type\": \"of_a_later_version\", \"delta\": [7]}\n\n",
            "id: 7\nretry: 1000\n\n",
            "\n\n",
        ]
        .as_slice(),
    );
    let strategy = (
        prop::collection::vec((any::<Index>(), between), 0..6),
        prop::collection::vec(any::<Index>(), 0..8),
        any::<bool>(),
    );

    try_all(60, &strategy, |(between, cuts, is_crlf)| {
        let mut blocks: Vec<Vec<u8>> =
            events(&analysis(EXAMPLE)).iter().map(|it| written(std::slice::from_ref(it))).collect();
        for (at, block) in between {
            blocks.insert(at.index(blocks.len()), block.as_bytes().to_vec());
        }
        let mut stream = blocks.concat();
        if is_crlf {
            stream = String::from_utf8(stream).unwrap().replace('\n', "\r\n").into_bytes();
        }
        let mut cuts: Vec<usize> =
            cuts.iter().map(|it| it.index(stream.len())).chain([0, stream.len()]).collect();
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|it| Step::Write(stream[it[0]..it[1]].to_vec()));

        let looked = runtime.block_on(looked([stream_head()].into_iter().chain(pieces).collect()));

        assert_eq!(looked.unwrap(), expected);
    });
}
