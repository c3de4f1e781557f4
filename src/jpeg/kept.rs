//! Which bytes of a file are kept, as ranges until somebody wants the file.

use bytes::Bytes;
use std::ops::Range;

/// The payload of a JFIF header without its thumbnail: signature, version, units, two densities, and two
/// zeros for the thumbnail's size.
pub(super) const JFIF_PAYLOAD: usize = 14;

/// The parts that make up the file without its metadata.
#[derive(Debug, Default)]
pub(super) struct Kept(Vec<Part>);

#[derive(Debug)]
enum Part {
    Source(Range<usize>),
    /// A JFIF header whose thumbnail was taken out, marker and length included.
    Jfif([u8; JFIF_PAYLOAD + 4]),
}

impl Kept {
    /// The kept bytes in one piece: the same ones when everything is kept, a copy otherwise.
    pub(super) fn assemble(&self, source: Bytes) -> Bytes {
        if matches!(self.0.as_slice(), [Part::Source(all)] if *all == (0..source.len())) {
            return source;
        }
        let parts = self.0.iter().map(|part| match part {
            Part::Source(range) => source.get(range.clone()).unwrap_or_default(),
            Part::Jfif(header) => header,
        });
        parts.collect::<Vec<_>>().concat().into()
    }

    /// Keeps a range of the source, which lies after all that were kept before.
    pub(super) fn keep(&mut self, range: Range<usize>) {
        match self.0.last_mut() {
            Some(Part::Source(last)) if last.end == range.start => last.end = range.end,
            _ => self.0.push(Part::Source(range)),
        }
    }

    /// Keeps a JFIF header, but not its thumbnail, whose size the last two bytes of `header` are.
    pub(super) fn keep_jfif(&mut self, header: &[u8; JFIF_PAYLOAD]) {
        let mut segment = [0; JFIF_PAYLOAD + 4];
        let [head @ .., _, _] = header;
        let without_size = [0xff, 0xe0, 0, 16].iter().chain(head);
        for (to, from) in segment.iter_mut().zip(without_size) {
            *to = *from;
        }
        self.0.push(Part::Jfif(segment));
    }
}
