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

    /// The tokens of a picture, once the model has scaled it down to what it sees: the largest size of the same
    /// shape that keeps within both limits.
    pub(super) fn image_tokens(&self, width: u32, height: u32) -> u64 {
        let (long, short) = (width.max(height), width.min(height));
        if self.sees(long, short) {
            return patches(long, short);
        }
        let (mut fits, mut too_long) = (1, long);
        while 1 < too_long - fits {
            let middle = fits.midpoint(too_long);
            let is_seen = self.sees(middle, scaled(short, middle, long));
            (fits, too_long) = if is_seen { (middle, too_long) } else { (fits, middle) };
        }
        patches(fits, scaled(short, fits, long))
    }

    fn sees(&self, long: u32, short: u32) -> bool {
        long.next_multiple_of(PATCH) <= self.longest_side && patches(long, short) <= self.max_image_tokens
    }
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
    fn models_4_5_think_in_no_way_that_we_ask_for_and_an_unknown_one_is_new() {
        assert!(!Model::by_id("claude-haiku-4-5-20251001").is_adaptive);
        assert!(Model::by_id("claude-sonnet-4-6").is_adaptive);
        assert_eq!(Model::by_id("of-tomorrow"), Model::by_id(FINE));
    }
}
