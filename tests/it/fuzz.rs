//! Input that nobody meant: whatever comes in, the answer is one that is described, and no part of it is kept half.

mod frames;
mod places;
mod streams;
mod uploads;

use crate::support::random::cases;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use std::fmt::Debug;
use tokio::runtime::{Builder, Runtime};

/// Something that goes wrong in bytes on their way.
#[derive(Debug, Clone)]
enum Damage {
    Replaced(Index, u8),
    Inserted(Index, u8),
    Removed(Index, Index),
    Repeated(Index, Index),
    Cut(Index),
}

fn damage() -> impl Strategy<Value = Vec<Damage>> {
    // Signs that mean something to a parser are met more often than by chance.
    let byte = || prop_oneof![any::<u8>(), prop::sample::select(b"\r\n\0:;,-=\"{}[]".as_slice())];
    let at = any::<Index>;
    let one = prop_oneof![
        4 => (at(), byte()).prop_map(|(at, byte)| Damage::Replaced(at, byte)),
        2 => (at(), byte()).prop_map(|(at, byte)| Damage::Inserted(at, byte)),
        1 => (at(), at()).prop_map(|(from, to)| Damage::Removed(from, to)),
        1 => (at(), at()).prop_map(|(from, to)| Damage::Repeated(from, to)),
        1 => at().prop_map(Damage::Cut),
    ];
    prop::collection::vec(one, 1..5)
}

fn damaged(bytes: &[u8], damage: &[Damage]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for one in damage {
        // There is always a place, also in what was cut to nothing.
        let length = bytes.len() + 1;
        let span = |a: &Index, b: &Index| {
            let (a, b) = (a.index(length), b.index(length));
            a.min(b)..a.max(b)
        };
        match one {
            Damage::Replaced(at, byte) => {
                if let Some(place) = bytes.get_mut(at.index(length)) {
                    *place = *byte;
                }
            }
            Damage::Inserted(at, byte) => bytes.insert(at.index(length), *byte),
            Damage::Removed(from, to) => drop(bytes.drain(span(from, to))),
            Damage::Repeated(from, to) => {
                let piece = bytes[span(from, to)].to_vec();
                bytes.extend(piece);
            }
            Damage::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
    bytes
}

/// Where cases run one after the other.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Tries so many cases of a fixed seed.
fn try_all<T: Debug>(number: u32, strategy: &impl Strategy<Value = T>, mut one: impl FnMut(T)) {
    // The runner asks for a function that changes nothing.
    let one = std::cell::RefCell::new(&mut one);
    let tried = TestRunner::new(cases(number)).run(strategy, |it| {
        (one.borrow_mut())(it);
        Ok(())
    });
    tried.unwrap_or_else(|error| panic!("{error}"));
}
