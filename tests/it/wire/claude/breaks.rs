//! Connections that break, stall, drip or never end.

use super::*;
use crate::support::dead_port::DeadPort;

/// A message that stops after some text.
fn half() -> Vec<u8> {
    written(&[message_start(500), text_delta("{\"capture\":")])
}

/// What [`half`] is billed, its eleven bytes of text included.
const HALF: Usage = Usage {
    requests: 1,
    input_tokens: 500,
    cache_creation_input_tokens: 30,
    cache_creation_5m_input_tokens: 10,
    cache_creation_1h_input_tokens: 19,
    cache_read_input_tokens: 4,
    output_tokens: 5,
    cost: Some(MicroUsd(1156)),
};

fn broken_streams() -> Vec<Reply> {
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    vec![
        // reset in the middle
        vec![stream_head(), Step::Write(half()), Step::Wait(Duration::from_millis(50)), Step::Reset],
        // closed in order, without `message_stop`
        vec![stream_head(), Step::Write(half())],
        // all but `message_stop`
        vec![stream_head(), Step::Write(half()), Step::Write(written(&[message_delta("end_turn", 5)]))],
        // an error within the 200
        vec![stream_head(), Step::Write(half()), Step::Write(written(&[overloaded]))],
        // an event that is cut off
        vec![stream_head(), Step::Write(half()), Step::Write(b"data: {\"type\": \"content_blo\n\n".to_vec())],
    ]
}

#[tokio::test]
async fn a_stream_that_breaks_is_asked_for_again_from_the_start_and_what_it_cost_is_counted() {
    for broken in broken_streams() {
        let (looked, requests) = looked([broken.clone(), whole()]).await;

        let answer = looked.unwrap();
        assert_eq!(answer.value, ModelAnalysis::parse(EXAMPLE).unwrap());
        let mut both = HALF;
        both += WHOLE;
        assert_eq!(answer.usage, both, "{broken:?}");
        assert_eq!(requests[0].body, requests[1].body);
    }
}

#[tokio::test]
async fn a_stream_that_breaks_every_time_fails_and_what_every_try_cost_is_counted() {
    for broken in broken_streams() {
        let (looked, _) = looked(vec![broken; 3]).await;

        let error = looked.unwrap_err();
        assert_eq!((error.usage.requests, error.usage.input_tokens), (3, 1500));
        assert!(
            matches!(&error.kind, VisionErrorKind::Upstream(it) if it.kind == UpstreamErrorKind::Unavailable)
        );
    }
}

#[tokio::test]
async fn a_connection_that_is_reset_before_an_answer_is_tried_again() {
    let (looked, requests) = looked([vec![Step::Reset], vec![], whole()]).await;

    assert_eq!(looked.unwrap().usage, WHOLE);
    assert_eq!(requests.len(), 3);
}

#[tokio::test]
async fn nobody_listening_is_told_as_unavailable() {
    let dead = DeadPort::take();
    let url = format!("http://{}", dead.address()).parse().unwrap();

    let looked = vision(&settings(&url)).look(&look_at(1), &Asking::default()).await;

    assert_eq!(kind_of(looked), UpstreamErrorKind::Unavailable);
}

#[tokio::test]
async fn an_error_within_a_stream_means_what_its_type_says() {
    use UpstreamErrorKind as K;
    for (word, kind, tries) in [
        ("overloaded_error", K::Unavailable, 3),
        ("api_error", K::Unavailable, 3),
        ("an_error_yet_to_be_invented", K::Unavailable, 3),
        ("rate_limit_error", K::RateLimited { retry_after: None }, 3),
        ("billing_error", K::Exhausted, 1),
        ("authentication_error", K::Unauthorized, 1),
        ("permission_error", K::Unauthorized, 1),
        ("not_found_error", K::NotFound, 1),
        ("invalid_request_error", K::Rejected, 1),
    ] {
        let error = json!({"type": "error", "error": {"type": word, "message": "for people"}});

        assert_eq!(given_up(stream(&[message_start(1), error]), tries).await, kind, "{word}");
    }
}

#[tokio::test]
async fn silence_longer_than_the_limit_ends_a_try_before_and_within_the_answer() {
    for steps in [
        vec![Step::WaitUntilGone],
        vec![stream_head(), Step::WaitUntilGone],
        vec![stream_head(), Step::Write(half()), Step::WaitUntilGone],
    ] {
        let mut server = ClaudeServer::start([steps]).await;
        let mut settings = settings(server.url());
        settings.idle_timeout = Duration::from_millis(150);
        settings.retry.attempts = 1;

        let looked = vision(&settings).look(&look_at(1), &Asking::default()).await;

        assert_eq!(kind_of(looked), UpstreamErrorKind::Timeout);
        server.client_gone().await;
    }
}

#[tokio::test]
async fn an_answer_may_take_longer_than_the_limit_on_silence() {
    let mut reply = vec![stream_head()];
    for event in events(&analysis(EXAMPLE)) {
        reply.push(Step::Wait(Duration::from_millis(10)));
        reply.push(Step::Write(written(&[event])));
    }
    let server = ClaudeServer::start([reply]).await;
    let mut settings = settings(server.url());
    settings.idle_timeout = Duration::from_millis(400);
    let start = Instant::now();

    vision(&settings).look(&look_at(1), &Asking::default()).await.unwrap();

    assert!(settings.idle_timeout < start.elapsed(), "too fast to show anything: {:?}", start.elapsed());
}

#[tokio::test]
async fn a_stream_without_end_is_cut_and_not_asked_for_again() {
    let long_ping =
        format!("event: ping\ndata: {{\"type\": \"ping\", \"x\": {:?}}}\n\n", "x".repeat(1 << 20));
    for endless in [
        long_ping.into_bytes(),                       // events that say nothing
        vec![b'x'; 1 << 16],                          // a line
        b"data: 1\n".repeat(1 << 13),                 // an event
        written(&[text_delta(&"x".repeat(1 << 16))]), // a text
    ] {
        let mut server = ClaudeServer::start([vec![stream_head(), Step::WriteForEver(endless)]]).await;

        let looked = vision(&settings(server.url())).look(&look_at(1), &Asking::default()).await;

        assert_eq!(kind_of(looked), UpstreamErrorKind::InvalidResponse);
        server.client_gone().await;
    }
}

#[tokio::test]
async fn whoever_stops_waiting_stops_the_spending() {
    let mut server =
        ClaudeServer::start([vec![stream_head(), Step::Write(half()), Step::WaitUntilGone]]).await;
    let vision = vision(&settings(server.url()));

    let look = look_at(1);
    let asking = Asking::default();
    tokio::select! {
        _ = vision.look(&look, &asking) => panic!("there is no answer"),
        () = server.asked() => {}
    }

    server.client_gone().await;
}
