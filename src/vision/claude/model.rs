//! What a model takes, by its id: which thinking, how fine a picture, and how many.
//!
//! An id that is not known here is taken for one of the newest.

/// What a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Model {
    /// Whether it takes `thinking: adaptive` and `effort`. The models 4.5 refuse both, and do without.
    pub(super) is_adaptive: bool,
    /// The most pictures in one request.
    pub(super) max_images: usize,
    /// The most pixels of a picture's longer side that it sees, padded to whole patches.
    longest_side: u32,
    /// The most tokens of a picture that it sees.
    max_image_tokens: u64,
}

/// Pixels a side of what one token stands for.
const PATCH: u32 = 28;
/// Above this many pictures each may have only [`MANY_IMAGES_SIDE`] pixels a side.
pub(super) const MANY_IMAGES: usize = 20;
/// See [`MANY_IMAGES`].
pub(super) const MANY_IMAGES_SIDE: u32 = 2000;
/// Pixels of all pictures together for which a request has room once they are scaled: 23 MB before base64, at three
/// bytes for eight pixels, which a picture with texture all over takes at quality 85.
const REQUEST_PIXELS: u64 = (23 << 20) * 8 / 3;

impl Model {
    /// The model of this id.
    pub(super) fn by_id(id: &str) -> Self {
        let is_4_5 = id.contains("-4-5");
        let is_coarse = is_4_5 || id.contains("-4-6");
        Self {
            is_adaptive: !is_4_5,
            max_images: if is_4_5 { 100 } else { 600 },
            longest_side: if is_coarse { 1568 } else { 2576 },
            max_image_tokens: if is_coarse { 1568 } else { 4784 },
        }
    }

    /// The tokens of a picture, once the model has scaled it down to what it sees.
    pub(super) fn image_tokens(&self, width: u32, height: u32) -> u64 {
        let (width, height) = largest(width, height, |long, short| self.sees(long, short));
        patches(width, height)
    }

    /// The largest size of the same shape, in pixels, of which the model sees everything, which it takes among so
    /// many pictures, and with which they fit into one request. The size at which it is sent already is its own.
    pub(super) fn sent_size(&self, width: u32, height: u32, n_images: usize) -> (u32, u32) {
        let longest = if MANY_IMAGES < n_images { MANY_IMAGES_SIDE } else { u32::MAX };
        let most_pixels = REQUEST_PIXELS / n_images.max(1) as u64;
        largest(width, height, |long, short| {
            long <= longest && u64::from(long) * u64::from(short) <= most_pixels && self.sees(long, short)
        })
    }

    fn sees(&self, long: u32, short: u32) -> bool {
        long.next_multiple_of(PATCH) <= self.longest_side && patches(long, short) <= self.max_image_tokens
    }
}

/// The largest size of the same shape whose long and short side fit; the size itself where it does.
fn largest(width: u32, height: u32, fit: impl Fn(u32, u32) -> bool) -> (u32, u32) {
    let (long, short) = (width.max(height), width.min(height));
    if fit(long, short) {
        return (width, height);
    }
    let (mut fits, mut too_long) = (1, long);
    while 1 < too_long - fits {
        let middle = fits.midpoint(too_long);
        (fits, too_long) =
            if fit(middle, scaled(short, middle, long)) { (middle, too_long) } else { (fits, middle) };
    }
    let short = scaled(short, fits, long);
    if width < height { (short, fits) } else { (fits, short) }
}

fn patches(width: u32, height: u32) -> u64 {
    u64::from(width.div_ceil(PATCH)) * u64::from(height.div_ceil(PATCH))
}

/// `side * to / from`, rounded up, so that a picture is never taken for smaller than it is seen; at least 1.
fn scaled(side: u32, to: u32, from: u32) -> u32 {
    let scaled = (u64::from(side) * u64::from(to)).div_ceil(u64::from(from));
    u32::try_from(scaled).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: &str = "claude-sonnet-5-5";
    const COARSE: &str = "claude-opus-4-6";

    #[test]
    fn a_picture_has_as_many_tokens_as_the_documentation_says() {
        for (id, width, height, tokens) in [
            (FINE, 1280, 720, 1196),
            (FINE, 720, 1280, 1196),
            (FINE, 1568, 882, 1792),
            (FINE, 1920, 1080, 2691),
            (FINE, 1092, 1092, 1521),
            (FINE, 960, 540, 700),
            (COARSE, 960, 540, 700),
            (COARSE, 1920, 1080, 1560),
        ] {
            assert_eq!(Model::by_id(id).image_tokens(width, height), tokens, "{id} {width}×{height}");
        }
    }

    #[test]
    fn no_picture_has_more_tokens_than_the_model_sees() {
        for (id, most) in [(FINE, 4784), (COARSE, 1568)] {
            for (width, height) in [(8000, 8000), (8000, 200), (3840, 2160), (2577, 2577), (200, 7999)] {
                let tokens = Model::by_id(id).image_tokens(width, height);

                assert!((1..=most).contains(&tokens), "{id} {width}×{height}: {tokens}");
            }
        }
    }

    #[test]
    fn a_picture_is_sent_at_the_size_at_which_the_model_sees_it() {
        for (id, size, n_images, sent) in [
            (FINE, (1280, 720), 15, (1280, 720)),
            (FINE, (720, 1280), 60, (720, 1280)),
            (FINE, (1920, 1080), 15, (1920, 1080)),
            (FINE, (3840, 2160), 15, (2576, 1449)),
            (FINE, (2160, 3840), 15, (1449, 2576)),
            (COARSE, (1920, 1080), 15, (1456, 819)),
            // Among more than twenty only so much a side is taken.
            (FINE, (2400, 1000), 20, (2400, 1000)),
            (FINE, (2400, 1000), 21, (2000, 834)),
            // So many of this size would be more bytes than a request may have.
            (FINE, (1920, 1080), 60, (1379, 776)),
        ] {
            let model = Model::by_id(id);

            assert_eq!(model.sent_size(size.0, size.1, n_images), sent, "{id} {size:?} among {n_images}");
        }
    }

    #[test]
    fn what_is_sent_is_of_the_same_shape_is_seen_whole_and_is_not_scaled_again() {
        for id in [FINE, COARSE] {
            let model = Model::by_id(id);
            for (width, height) in
                [(8000, 8000), (200, 7999), (7999, 200), (1921, 1079), (2577, 300), (640, 360)]
            {
                for n_images in [1, 15, 20, 21, 60, 600] {
                    let (w, h) = model.sent_size(width, height, n_images);

                    assert_eq!(model.sent_size(w, h, n_images), (w, h), "{width}×{height}");
                    assert_eq!(model.image_tokens(w, h), patches(w, h));
                    assert!(
                        w <= width
                            && h <= height
                            && model.image_tokens(w, h) <= model.image_tokens(width, height)
                    );
                    // Within a pixel of the same shape.
                    let (long, short) = (f64::from(w.max(h)), f64::from(w.min(h)));
                    let shape = f64::from(width.min(height)) / f64::from(width.max(height));
                    assert!((short - long * shape).abs() <= 1.0, "{width}×{height} to {w}×{h}");
                }
            }
        }
    }

    #[test]
    fn models_4_5_think_in_no_way_that_we_ask_for_and_an_unknown_one_is_new() {
        assert!(!Model::by_id("claude-haiku-4-5-20251001").is_adaptive);
        assert!(Model::by_id("claude-sonnet-4-6").is_adaptive);
        assert_eq!(Model::by_id("of-tomorrow"), Model::by_id(FINE));
    }
}
