//! Uploads as nobody means them: broken on purpose, the same ones for the same seed.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::pictures;

/// An upload: what it says to be, and its body.
#[derive(Debug)]
pub(crate) struct Hostile {
    pub(crate) content_type: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

/// Numbers that look like chance.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.roll() % bound as u64).unwrap()
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// So many hostile uploads.
pub(crate) fn uploads(seed: u64, count: usize) -> Vec<Hostile> {
    let mut dice = Dice(seed | 1);
    (0..count).map(|_| upload(&mut dice)).collect()
}

fn upload(dice: &mut Dice) -> Hostile {
    const BOUNDARY: &str = "x";
    let mut body = Vec::new();
    for _ in 0..dice.below(6) {
        part(dice, BOUNDARY, &mut body);
    }
    match dice.below(8) {
        0 => {}
        1 => body.extend(b"--x-"),
        2 => body.extend(b"--y--\r\n"),
        _ => body.extend(b"--x--\r\n"),
    }
    if dice.below(6) == 0 && !body.is_empty() {
        let end = dice.below(body.len());
        body.truncate(end);
    }
    if dice.below(6) == 0 && !body.is_empty() {
        let (at, byte) = (dice.below(body.len()), u8::try_from(dice.below(256)).unwrap());
        body[at] = byte;
    }
    let content_type = match dice.below(12) {
        0 => "multipart/form-data",
        1 => "multipart/form-data; boundary=",
        2 => "multipart/form-data; boundary=\"x",
        3 => "multipart/mixed; boundary=x",
        4 => "application/json",
        5 => "image/jpeg",
        _ => "multipart/form-data; boundary=x",
    };
    let mut headers = Vec::new();
    if dice.below(10) == 0 {
        headers.push(("content-encoding", "gzip".to_owned()));
    }
    if dice.below(8) == 0 {
        let key = "k".repeat(dice.below(300));
        headers.push(("idempotency-key", key));
    }
    Hostile { content_type: content_type.to_owned(), headers, body }
}

fn part(dice: &mut Dice, boundary: &str, body: &mut Vec<u8>) {
    let long = "n".repeat(dice.below(20_000));
    let name = match dice.below(14) {
        0 => "stroke_type",
        1 => "user_notes",
        2 => "title",
        3 => "manifest",
        4 => "consent",
        5 => "retention_days",
        6 => "view",
        7 => "../../etc/passwd",
        8 => &long,
        _ => "frames",
    };
    let file =
        dice.one(&["a.jpg", "../../../etc/passwd", "a\0.jpg", "%00", "\u{202e}gpj.exe", "C:\\con", ""]);
    let disposition = match dice.below(10) {
        0 => String::new(),
        1 => format!("Content-Disposition: attachment; name=\"{name}\"\r\n"),
        2 => format!("Content-Disposition: form-data; name={name}\r\n"),
        3 => format!("Content-Disposition: form-data; name=\"{name}\r\n"),
        _ => format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\n"),
    };
    let kind = dice.one(&[
        "",
        "Content-Type: image/jpeg\r\n",
        "Content-Type: text/html\r\n",
        "Content-Type: \u{7f}\r\n",
    ]);
    body.extend(format!("--{boundary}\r\n{disposition}{kind}\r\n").bytes());
    let content = if name == "frames" { picture(dice) } else { text(dice) };
    body.extend(content);
    if dice.below(15) != 0 {
        body.extend(b"\r\n");
    }
}

fn text(dice: &mut Dice) -> Vec<u8> {
    match dice.below(12) {
        0 => vec![0xff, 0xfe, 0x00],
        1 => "[".repeat(10_000).into_bytes(),
        2 => b"[{\"number\":0}]".to_vec(),
        3 => b"[{\"number\":1,\"timestamp_ms\":-1}]".to_vec(),
        4 => b"[{\"number\":1},{\"number\":1}]".to_vec(),
        5 => b"[{\"number\":1,\"sha256\":\"zz\"}]".to_vec(),
        6 => b"{\"subject\":\"adult\",\"basis\":\"swimmer\",\"purposes\":[]}".to_vec(),
        7 => b"99999999999999999999".to_vec(),
        8 => "x".repeat(300_000).into_bytes(),
        9 => b"freestyle".to_vec(),
        10 => "\u{0}\u{202e}\u{feff}".repeat(50).into_bytes(),
        _ => Vec::new(),
    }
}

fn picture(dice: &mut Dice) -> Vec<u8> {
    let whole = pictures::jpeg(320, 240, u32::try_from(dice.below(1000)).unwrap());
    let middle = whole.len() / 2;
    match dice.below(14) {
        0 => Vec::new(),
        1 => whole[..middle].to_vec(),
        2 => [&whole[..], &whole[..]].concat(),
        3 => [&whole[..], b"<script>alert(1)</script>"].concat(),
        4 => [b"GIF89a".as_slice(), &whole].concat(),
        5 => b"\xff\xd8\xff\xc0\x00\x11\x08\x75\x30\x75\x30\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00\xff\xd9"
            .to_vec(),
        6 => b"\xff\xd8\xff\xe0\xff\xff".to_vec(),
        7 => b"\xff\xd8".repeat(5_000),
        8 => vec![0xff; 70_000],
        9 => whole[middle..].to_vec(),
        10 => {
            let mut damaged = whole;
            for _ in 0..20 {
                let at = dice.below(damaged.len());
                damaged[at] = u8::try_from(dice.below(256)).unwrap();
            }
            damaged
        }
        11 => [&whole[..2], &b"\xff\xfe\x00\x02".repeat(30_000), &whole[2..]].concat(),
        12 => pictures::png(),
        _ => whole,
    }
}
