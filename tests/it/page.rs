//! The page holds together: what its files name is there, and every text is in every language.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/web");
const INDEX: &str = include_str!("../../web/index.html");
const SERVICE_WORKER: &str = include_str!("../../web/sw.js");
const ENGLISH: &str = include_str!("../../web/lang/en.json");
const GERMAN: &str = include_str!("../../web/lang/de.json");

/// The paths of all files of the page under which they are served, and what is in them.
fn files() -> BTreeMap<String, String> {
    let mut folders = vec![Path::new(ROOT).to_owned()];
    let mut files = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let served = path.strip_prefix(ROOT).unwrap().to_str().unwrap();
            let served = if served == "index.html" { "" } else { served };
            files.insert(format!("/{served}"), std::fs::read_to_string(path).unwrap());
        }
    }
    files
}

/// What stands between this and the next quotation mark, wherever this stands.
fn quoted_after<'a>(text: &'a str, before: &str) -> BTreeSet<&'a str> {
    text.split(before).skip(1).map(|it| it.split('"').next().unwrap()).collect()
}

fn words(language: &str) -> BTreeMap<String, String> {
    serde_json::from_str(language).unwrap()
}

/// The names in braces that a text puts values in for.
fn placeholders(text: &str) -> BTreeSet<&str> {
    text.split('{').skip(1).map(|it| it.split_once('}').unwrap().0).collect()
}

#[test]
fn what_is_kept_for_a_visit_without_a_connection_is_every_file_of_the_page() {
    let list = SERVICE_WORKER.split("const SHELL = [").nth(1).unwrap().split(']').next().unwrap();

    let kept: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();

    let files = files();
    // A browser keeps the service worker by itself.
    let expected: BTreeSet<&str> = files.keys().map(String::as_str).filter(|it| *it != "/sw.js").collect();
    assert_eq!(kept, expected);
}

#[test]
fn the_first_page_names_files_that_are_there_and_no_other_host() {
    let files = files();
    let named = &quoted_after(INDEX, "href=\"") | &quoted_after(INDEX, "src=\"");
    let (views, paths): (Vec<_>, Vec<_>) = named.iter().partition(|it| it.starts_with('#'));

    assert!(views.contains(&&"#main"), "{views:?}");
    assert!(paths.contains(&&"/app.js"), "{paths:?}");
    for path in paths {
        assert!(files.contains_key(*path) || *path == "/docs", "{path}");
    }
}

#[test]
fn every_text_is_there_in_every_language_with_the_same_values() {
    let (english, german) = (words(ENGLISH), words(GERMAN));

    assert!(english.keys().eq(german.keys()), "only in one: {:?}", {
        let (one, other): (BTreeSet<_>, BTreeSet<_>) = (english.keys().collect(), german.keys().collect());
        one.symmetric_difference(&other).map(ToString::to_string).collect::<Vec<_>>()
    });
    for (key, text) in &english {
        assert_eq!(placeholders(text), placeholders(&german[key]), "{key}");
        assert!(!text.trim().is_empty() && !german[key].trim().is_empty(), "{key} is empty");
    }
}

#[test]
fn every_text_that_the_page_asks_for_by_its_whole_key_is_there() {
    let english = words(ENGLISH);
    let is_there = |key: &str| english.contains_key(key) || english.contains_key(&format!("{key}.other"));
    let files = files();
    let is_script = |path: &str| Path::new(path).extension().is_some_and(|it| it == "js");
    let scripts: String = files.iter().filter(|it| is_script(it.0)).map(|it| it.1.as_str()).collect();

    let asked = &quoted_after(&scripts, "t(\"") | &quoted_after(INDEX, "data-t=\"");
    let asked = &asked | &quoted_after(INDEX, "data-t-label=\"");
    let keys: Vec<_> = asked.iter().filter(|it| it.contains('.') && !it.contains(['/', ' '])).collect();

    assert!(keys.len() > 50, "{keys:?}");
    let missing: Vec<_> = keys.iter().filter(|it| !is_there(it)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_first_words_are_the_same_with_and_without_scripts() {
    let english = words(ENGLISH);

    let mut n_texts = 0;
    for element in INDEX.split(" data-t=\"").skip(1) {
        let (key, rest) = element.split_once('"').unwrap();
        let text = rest.split_once('>').unwrap().1.split('<').next().unwrap();
        assert_eq!(english[key], text, "{key}");
        n_texts += 1;
    }
    assert!(4 < n_texts);
}
