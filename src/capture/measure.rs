//! What is measured of one picture.

use crate::jpeg::Pixels;

/// The long side of the picture that is measured. A fixed size makes the figures of differently large
/// pictures comparable, and averaging down to it takes sensor noise and JPEG blocks out of the sharpness.
const MEASURED_SIDE: u32 = 512;

/// The long side of the picture by which frames are compared. A cell is an average over some tens of
/// measured pixels, in which compression noise vanishes, and yet no wider than a swimmer's hand in a
/// picture that is filled by the swimmer.
const THUMBNAIL_SIDE: u32 = 64;

/// By how many grey levels (of 255) some cell must differ for a picture to show something new. Encoding
/// the same picture twice moves a cell by about one level.
const NEW_CELL_DIFFERENCE: u8 = 4;

/// The brightest grey level that is as good as black. Video keeps black at 16.
const DARK_LEVEL: u8 = 16;

/// The darkest grey level that is as good as white: beyond it, detail is lost.
const BRIGHT_LEVEL: u8 = 250;

/// A grey picture.
#[derive(Debug)]
pub(super) struct Grey {
    width: usize,
    height: usize,
    levels: Vec<u8>,
}

/// How bright a picture is, each from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exposure {
    pub(super) brightness: f64,
    pub(super) dark_share: f64,
    pub(super) bright_share: f64,
}

/// A picture small enough to keep while others are looked at.
#[derive(Debug)]
pub(super) struct Thumbnail(Grey);

impl Grey {
    /// A decoded picture in the size in which it is measured.
    pub(super) fn from_pixels(pixels: &Pixels) -> Self {
        let (width, height) = (pixels.width as usize, pixels.height as usize);
        shrink(&pixels.samples, width, height, MEASURED_SIDE)
    }

    pub(super) fn thumbnail(&self) -> Thumbnail {
        Thumbnail(shrink(&self.levels, self.width, self.height, THUMBNAIL_SIDE))
    }

    /// The variance of the Laplacian, 0 for a picture without an inside.
    pub(super) fn sharpness(&self) -> f64 {
        let rows: Vec<&[u8]> = self.levels.chunks_exact(self.width).collect();
        let (mut sum, mut sum_of_squares, mut count) = (0_i64, 0_i64, 0_u32);
        for window in rows.windows(3) {
            let [above, row, below] = window else {
                continue;
            };
            // A row of 512 squares of at most 1020 fits into 32 bits, which is what makes this fast.
            let (mut row_sum, mut row_squares) = (0_i32, 0_i32);
            let vertical = above.iter().zip(*below).skip(1);
            for (horizontal, (up, down)) in row.windows(3).zip(vertical) {
                let &[left, center, right] = horizontal else {
                    continue;
                };
                let around = i32::from(left) + i32::from(right) + i32::from(*up) + i32::from(*down);
                let laplacian = 4 * i32::from(center) - around;
                row_sum += laplacian;
                row_squares += laplacian * laplacian;
                count += 1;
            }
            sum += i64::from(row_sum);
            sum_of_squares += i64::from(row_squares);
        }
        if count == 0 {
            return 0.0;
        }
        let mean = float(sum) / f64::from(count);
        float(sum_of_squares) / f64::from(count) - mean * mean
    }

    pub(super) fn exposure(&self) -> Exposure {
        let (mut sum, mut dark, mut bright, mut count) = (0_i64, 0_u32, 0_u32, 0_u32);
        for &level in &self.levels {
            sum += i64::from(level);
            dark += u32::from(level <= DARK_LEVEL);
            bright += u32::from(BRIGHT_LEVEL <= level);
            count += 1;
        }
        let count = f64::from(count.max(1));
        Exposure {
            brightness: float(sum) / count / 255.0,
            dark_share: f64::from(dark) / count,
            bright_share: f64::from(bright) / count,
        }
    }
}

impl Thumbnail {
    /// Whether no part of the picture changed. The greatest difference decides and not the mean one, since
    /// a swimmer may be a small part of a picture whose rest stands still.
    pub(super) fn shows_the_same_as(&self, other: &Self) -> bool {
        let (Self(one), Self(other)) = (self, other);
        let changed = |(a, b): (&u8, &u8)| NEW_CELL_DIFFERENCE <= a.abs_diff(*b);
        (one.width, one.height) == (other.width, other.height)
            && !one.levels.iter().zip(&other.levels).any(changed)
    }
}

/// The picture with a long side of at most `long_side`, each pixel the mean of those that it stands for.
fn shrink(levels: &[u8], width: usize, height: usize, long_side: u32) -> Grey {
    let long_side = long_side as usize;
    let longer = width.max(height);
    if longer <= long_side {
        return Grey { width, height, levels: levels.to_vec() };
    }
    let small_width = (width * long_side / longer).max(1);
    let small_height = (height * long_side / longer).max(1);
    let edge = |index: usize| index * width / small_width;
    let columns: Vec<_> = (0..small_width).map(|it| edge(it)..edge(it + 1)).collect();

    let mut small = Vec::with_capacity(small_width * small_height);
    let mut sums = vec![0_u32; width];
    let mut rows = levels.chunks_exact(width);
    for y in 0..small_height {
        let n_rows = (y + 1) * height / small_height - y * height / small_height;
        sums.fill(0);
        for row in rows.by_ref().take(n_rows) {
            for (sum, level) in sums.iter_mut().zip(row) {
                *sum += u32::from(*level);
            }
        }
        for column in &columns {
            let cells = u32::try_from(column.len() * n_rows).unwrap_or(u32::MAX);
            let sum: u32 = sums.get(column.clone()).unwrap_or_default().iter().sum();
            // Half of the divisor is added so that the mean is rounded and not cut.
            let mean = (sum + cells / 2) / cells.max(1);
            small.push(u8::try_from(mean).unwrap_or(u8::MAX));
        }
    }
    Grey { width: small_width, height: small_height, levels: small }
}

#[expect(clippy::cast_precision_loss, reason = "a picture of 512 by 512 pixels gives sums far below 2^53")]
fn float(sum: i64) -> f64 {
    sum as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: usize, height: usize, level: impl Fn(usize, usize) -> u8) -> Grey {
        let levels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        Grey { width, height, levels: levels.map(|(x, y)| level(x, y)).collect() }
    }

    #[test]
    fn a_checkerboard_is_sharp_and_a_ramp_is_not() {
        let checkerboard = grey(64, 64, |x, y| if (x + y) % 2 == 0 { 0 } else { 255 });
        let ramp = grey(64, 64, |x, _| u8::try_from(x * 4).unwrap());

        assert!((checkerboard.sharpness() - 1_040_400.0).abs() < 1e-6);
        assert!(ramp.sharpness().abs() < f64::EPSILON);
        assert!(grey(2, 2, |_, _| 9).sharpness().abs() < f64::EPSILON);
    }

    #[test]
    fn shrinking_averages_every_pixel_once() {
        let picture = grey(1001, 601, |x, y| u8::try_from((x * 7 + y * 13) % 256).unwrap());

        let small = shrink(&picture.levels, 1001, 601, 512);

        assert_eq!((small.width, small.height), (512, 307));
        assert_eq!(small.levels.len(), 512 * 307);
        let means = [picture.exposure().brightness, small.exposure().brightness];
        assert!((means[0] - means[1]).abs() < 0.01, "{means:?}");
    }

    #[test]
    fn a_strip_one_pixel_high_has_no_empty_side() {
        let small = shrink(&[7; 4000], 4000, 1, 512);

        assert_eq!((small.width, small.height), (512, 1));
        assert!(small.levels.iter().all(|it| *it == 7));
    }

    #[test]
    fn a_small_moving_part_makes_a_new_picture_and_noise_does_not() {
        let still = grey(512, 288, |x, y| u8::try_from((x + y) % 200).unwrap());
        let noisy = grey(512, 288, |x, y| u8::try_from((x + y) % 200 + (x * 31 + y * 17) % 3).unwrap());
        let moved = grey(512, 288, |x, y| {
            let is_hand = (100..116).contains(&x) && (100..116).contains(&y);
            u8::try_from((x + y) % 200 + if is_hand { 50 } else { 0 }).unwrap()
        });

        assert!(still.thumbnail().shows_the_same_as(&noisy.thumbnail()));
        assert!(!still.thumbnail().shows_the_same_as(&moved.thumbnail()));
    }
}
