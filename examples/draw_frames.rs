//! Draws the frames of `examples/frames`: one stroke cycle of a stick figure in a pool. For trying the
//! service without a video; no coaching can come of them.
//!
//! ```sh
//! cargo run --example draw_frames -- examples/frames
//! ```

use jpeg_encoder::{ColorType, Encoder};
use std::error::Error;
use std::f32::consts::TAU;
use std::path::Path;

const WIDTH: u16 = 640;
const HEIGHT: u16 = 360;
const N_FRAMES: u16 = 12;

type Point = (f32, f32);
type Color = [f32; 3];

/// A limb or another thing with round ends.
struct Stroke {
    from: Point,
    to: Point,
    width: f32,
    color: Color,
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("name the folder to draw into")?;
    for number in 1..=N_FRAMES {
        let phase = f32::from(number - 1) / f32::from(N_FRAMES);
        let path = Path::new(&folder).join(format!("{number:04}.jpg"));
        Encoder::new_file(path, 60)?.encode(&draw(phase), WIDTH, HEIGHT, ColorType::Rgb)?;
    }
    Ok(())
}

/// The pixels at this part of the cycle, from 0 to 1.
fn draw(phase: f32) -> Vec<u8> {
    let swimmer = swimmer(phase);
    let mut pixels = Vec::with_capacity(usize::from(WIDTH) * usize::from(HEIGHT) * 3);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let at = (f32::from(x), f32::from(y));
            let drawn = swimmer.iter().rev().find(|it| distance(at, it) < it.width / 2.0);
            let color = drawn.map_or_else(|| water(at, phase), |it| it.color);
            pixels.extend(color.map(to_byte));
        }
    }
    pixels
}

/// A body seen from the side, head to the right, its arms turning half a cycle apart.
fn swimmer(phase: f32) -> Vec<Stroke> {
    const SKIN: Color = [214.0, 160.0, 124.0];
    const SUIT: Color = [150.0, 30.0, 40.0];
    let (shoulder, hip, head) = ((385.0, 168.0), (255.0, 176.0), (425.0, 165.0));
    let arm = |turn: f32| {
        let angle = turn * TAU;
        let elbow = (shoulder.0 + 48.0 * angle.cos(), shoulder.1 + 48.0 * angle.sin());
        let hand = (elbow.0 + 46.0 * (angle + 0.5).cos(), elbow.1 + 46.0 * (angle + 0.5).sin());
        [limb(shoulder, elbow, 17.0, SKIN), limb(elbow, hand, 13.0, SKIN)]
    };
    let leg = |turn: f32| {
        let kick = 16.0 * (turn * TAU * 3.0).sin();
        let knee = (hip.0 - 62.0, hip.1 + 6.0 + kick / 2.0);
        let foot = (knee.0 - 66.0, knee.1 + kick);
        [limb(hip, knee, 22.0, SKIN), limb(knee, foot, 15.0, SKIN)]
    };
    let body = [limb(hip, shoulder, 36.0, SUIT), limb(head, head, 38.0, SKIN)];
    [leg(phase), arm(phase), leg(phase + 0.17), body, arm(phase + 0.5)].into_iter().flatten().collect()
}

/// Water with ripples and light from above, over the black line of a lane.
fn water((x, y): Point, phase: f32) -> Color {
    let ripple = ((x / 23.0 + phase * TAU).sin() + (y / 9.0 - x / 31.0).cos()) * 9.0;
    let depth = y / f32::from(HEIGHT);
    let is_line = (330.0..348.0).contains(&y);
    let light = if is_line { 0.35 } else { 1.0 - 0.45 * depth };
    [70.0, 165.0, 205.0].map(|it| (it + ripple) * light)
}

fn limb(from: Point, to: Point, width: f32, color: Color) -> Stroke {
    Stroke { from, to, width, color }
}

/// From a point to the middle line of a stroke, in pixels.
fn distance(at: Point, stroke: &Stroke) -> f32 {
    let along = (stroke.to.0 - stroke.from.0, stroke.to.1 - stroke.from.1);
    let to_point = (at.0 - stroke.from.0, at.1 - stroke.from.1);
    let length_squared = (along.0 * along.0 + along.1 * along.1).max(f32::EPSILON);
    let share = ((to_point.0 * along.0 + to_point.1 * along.1) / length_squared).clamp(0.0, 1.0);
    (to_point.0 - share * along.0).hypot(to_point.1 - share * along.1)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn to_byte(level: f32) -> u8 {
    level.round().clamp(0.0, 255.0) as u8
}
