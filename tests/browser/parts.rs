//! Parts of the page that do their work without anybody looking, tried by themselves.

use super::browser::{Browser, Setup};
use super::service::Service;
use super::steps::{CHOOSE, CLIP};
use serde_json::{Value, json};
use std::path::Path;

/// What a function of the page's modules comes to.
async fn run(script: &str) -> Value {
    let service = Service::without_a_model().await;
    let browser = Browser::start(Setup::default()).await;
    browser.open(&service.url("/")).await;
    browser.see(CHOOSE).await;
    browser.evaluate(&format!("return (async () => {{ {script} }})()")).await
}

#[tokio::test]
async fn a_stroke_is_found_where_pictures_repeat_and_none_in_noise() {
    let found = run("
        const { cycleLength, suggestWindow } = await import('/clip/cycle.js');
        // A spot goes round on 16 pixels once in a cycle.
        const circling = (cycleMs) => (ms) => Uint8Array.from({ length: 16 }, (_, i) =>
            128 + 100 * Math.cos(2 * Math.PI * (ms / cycleMs - i / 16)));
        let seed = 1;
        const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
        const noise = () => Uint8Array.from({ length: 16 }, () => 255 * random());
        const still = () => new Uint8Array(16);
        const probes = (picture) => Array.from({ length: 62 }, (_, i) => ({ ms: 80 * i, grey: picture(80 * i) }));
        const window = suggestWindow(probes(circling(1400)), 5000);
        return {
            slow: cycleLength(probes(circling(1800))),
            usual: cycleLength(probes(circling(1400))),
            oneArm: cycleLength(probes(circling(700))),
            still: cycleLength(probes(still)),
            noise: cycleLength(probes(noise)),
            few: cycleLength(probes(circling(1400)).slice(0, 7)),
            window,
        };
    ")
    .await;

    let near = |name: &str, ms: i64| {
        let found = found[name].as_i64().unwrap_or_else(|| panic!("{name}: {found:#}"));
        assert!((found - ms).abs() <= 80, "{name}: {found} and not {ms}");
    };
    near("slow", 1800);
    near("usual", 1400);
    near("oneArm", 1400);
    for none in ["still", "noise", "few"] {
        assert_eq!(found[none], Value::Null, "{none}");
    }
    let (start, length) = (&found["window"]["startMs"], &found["window"]["lengthMs"]);
    assert!((1400..=1800).contains(&length.as_i64().unwrap()), "{length}");
    assert!(start.as_i64().unwrap() + length.as_i64().unwrap() <= 5000, "{start} {length}");
}

#[tokio::test]
async fn frames_are_taken_evenly_within_the_stroke_and_a_few_around_it() {
    let plans = run("
        const { planFrames } = await import('/clip/cycle.js');
        const plan = (clip, window, most) => planFrames(clip, window, most).map(({ ms, kind }) => [ms, kind]);
        const window = { startMs: 2000, lengthMs: 1500 };
        return {
            known: plan({ durationMs: 6000, frameMs: 40, anchorMs: 2000 }, window, 60),
            unknown: plan({ durationMs: 6000, frameMs: null, anchorMs: 2000 }, window, 60),
            few: plan({ durationMs: 6000, frameMs: 40, anchorMs: 2000 }, window, 8),
            whole: plan({ durationMs: 1500, frameMs: 40, anchorMs: 0 }, { startMs: 0, lengthMs: 1500 }, 60),
        };
    ")
    .await;

    for (name, most) in [("known", 60), ("unknown", 60), ("few", 8), ("whole", 60)] {
        let plan: Vec<(f64, String)> = serde_json::from_value(plans[name].clone()).unwrap();
        assert!(plan.len() <= most, "{name}: {}", plan.len());
        assert!(plan.is_sorted_by(|one, next| one.0 < next.0), "{name}: {plan:?}");
        let burst: Vec<f64> = plan.iter().filter(|it| it.1 == "burst").map(|it| it.0).collect();
        let gaps: Vec<f64> = burst.windows(2).map(|it| it[1] - it[0]).collect();
        assert!(gaps.iter().all(|it| (it - gaps[0]).abs() < 0.01), "{name}: {gaps:?}");
        let wide: Vec<f64> = plan.iter().filter(|it| it.1 == "wide").map(|it| it.0).collect();
        assert!(wide.iter().all(|it| !(2000.0..3500.0).contains(it)), "{name}: {wide:?}");
        if name == "known" || name == "unknown" {
            assert!((60.0..=125.0).contains(&gaps[0]), "{name}: {gaps:?}");
            assert!((4..=6).contains(&wide.len()), "{name}: {wide:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_of_events_is_read_alike_however_it_is_cut() {
    let read = run(r#"
        const { serverSentEvents } = await import("/http.js");
        const text = "\uFEFF: a comment\r\nretry: 3000\r\n\r\nid: a:1\nevent: delta\ndata: {\"text\":\"Tür\"}\n\n"
            + "id: a:2\r\nevent: done\r\ndata: one\r\ndata: two\r\n\r\nevent: lost\ndata: without an end";
        const bytes = new TextEncoder().encode(text);
        const reads = new Set();
        for (let size = 1; size <= bytes.length; size++) {
            const pieces = [];
            for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.slice(at, at + size));
            const stream = new ReadableStream({
                pull(it) { if (pieces.length) it.enqueue(pieces.shift()); else it.close(); },
            });
            const events = [];
            for await (const { id, event, data } of serverSentEvents(new Response(stream))) {
                events.push({ id, event, data });
            }
            reads.add(JSON.stringify(events));
        }
        return [...reads];
    "#)
    .await;

    let read: Vec<String> = serde_json::from_value(read).unwrap();
    let [events] = &read[..] else { panic!("{read:#?}") };
    assert_eq!(
        serde_json::from_str::<Value>(events).unwrap(),
        json!([
            {"id": "a:1", "event": "delta", "data": "{\"text\":\"Tür\"}"},
            {"id": "a:2", "event": "done", "data": "one\ntwo"},
        ])
    );
}

#[tokio::test]
async fn a_frame_has_the_time_of_before_only_where_it_is_the_frame_of_before() {
    let service = Service::without_a_model().await;
    let browser = Browser::start(Setup::default()).await;
    browser.open(&service.url("/")).await;
    browser.see(CHOOSE).await;
    let field =
        "document.body.append(Object.assign(document.createElement('input'), {type: 'file', id: 'clip'}))";
    browser.evaluate(field).await;
    browser.choose_file("#clip", Path::new(CLIP)).await;

    let times = browser
        .evaluate(
            "return (async () => {
                const { openClip } = await import('/clip/video.js');
                const [file] = document.querySelector('#clip').files;
                const { signal } = new AbortController();
                const clip = await openClip(file, { stage: document.body, minSide: 1, signal });
                const first = await clip.seek(1000, signal);
                // No new picture is presented any more.
                clip.video.requestVideoFrameCallback = () => 0;
                const times = [await clip.seek(first + 5, signal) - first, await clip.seek(3000, signal)];
                clip.close();
                return times;
            })()",
        )
        .await;

    assert_eq!(times, json!([0, 3000]));
}
