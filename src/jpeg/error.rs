//! Why a file is refused, in words for whoever sent it.

use super::JpegLimits;

/// Why a file is not let in. The text says what to do and reads on after "frame 3: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JpegError {
    /// It is something else; what it looks like, with an article, such as `a PNG picture`.
    #[error("this is not a JPEG, it looks like {0}; save the picture as JPEG and send that")]
    NotJpeg(&'static str),
    /// It ends before the picture does.
    #[error("the JPEG ends too early; send the whole file again")]
    Truncated,
    /// It contradicts itself; the reason is for the log.
    #[error("the JPEG is damaged; save or export the picture again and send that")]
    Damaged(String),
    /// A kind of JPEG that is not decoded here; which kind, such as `is arithmetic coded`.
    #[error("the JPEG {0}, which is not supported; save the picture as an ordinary JPEG and send that")]
    Unsupported(&'static str),
    /// More pixels than allowed.
    #[error(
        "the picture is {width}×{height} pixels, and at most {} on a side and {} in all are allowed; scale it down",
        .limits.max_side, .limits.max_pixels
    )]
    TooLarge {
        /// Its declared width in pixels.
        width: u32,
        /// Its declared height in pixels.
        height: u32,
        /// What is allowed.
        limits: JpegLimits,
    },
    /// Fewer pixels than can be judged.
    #[error(
        "the picture is {width}×{height} pixels, and at least {} on the shorter side are needed; send a larger one",
        .limits.min_short_side
    )]
    TooSmall {
        /// Its declared width in pixels.
        width: u32,
        /// Its declared height in pixels.
        height: u32,
        /// What is needed.
        limits: JpegLimits,
    },
}

impl JpegError {
    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotJpeg(_) => "frame_not_jpeg",
            Self::Truncated => "frame_truncated",
            Self::Damaged(_) => "frame_damaged",
            Self::Unsupported(_) => "frame_unsupported",
            Self::TooLarge { .. } => "frame_too_large",
            Self::TooSmall { .. } => "frame_too_small",
        }
    }
}
