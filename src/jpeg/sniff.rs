//! What a file that is not a JPEG looks like, so that the refusal helps.

/// First bytes and what begins with them.
const SIGNATURES: [(&[u8], &str); 13] = [
    (b"\x89PNG", "a PNG picture"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"II*\0", "a TIFF or raw picture"),
    (b"MM\0*", "a TIFF or raw picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x1a\x45\xdf\xa3", "a WebM or Matroska video"),
    (b"data:image/", "a data URL; decode its base64 first"),
];

/// How much of a file is looked at to call it text.
const TEXT_PREFIX: usize = 512;

/// A description with its article.
pub(super) fn describe(bytes: &[u8]) -> &'static str {
    if bytes.is_empty() {
        return "an empty file";
    }
    if let Some((_, name)) = SIGNATURES.iter().find(|(it, _)| bytes.starts_with(it)) {
        return name;
    }
    match (bytes.get(..4), bytes.get(4..8), bytes.get(8..12)) {
        (Some(b"RIFF"), _, Some(b"WEBP")) => "a WebP picture",
        (Some(b"RIFF"), _, Some(b"AVI ")) => "an AVI video",
        (_, Some(b"ftyp"), Some(b"heic" | b"heix" | b"mif1" | b"msf1")) => "a HEIC picture",
        (_, Some(b"ftyp"), Some(b"avif" | b"avis")) => "an AVIF picture",
        (_, Some(b"ftyp"), _) => "an MP4 or QuickTime video",
        _ if is_text(bytes) => "a text file",
        _ => "something else",
    }
}

fn is_text(bytes: &[u8]) -> bool {
    let prefix = bytes.get(..TEXT_PREFIX).unwrap_or(bytes);
    let text = match std::str::from_utf8(prefix) {
        Ok(text) => text,
        // The prefix may have cut a character in two, which `error_len` tells from a wrong byte.
        Err(error) if error.error_len().is_none() => {
            let whole = prefix.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(whole).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty() && !text.chars().any(|it| it.is_control() && !it.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_its_first_bytes() {
        for (bytes, name) in [
            (&b""[..], "an empty file"),
            (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
            (b"RIFF\x10\0\0\0WEBPVP8 ", "a WebP picture"),
            (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC picture"),
            (b"\0\0\0\x18ftypqt  \0\0\0\0", "an MP4 or QuickTime video"),
            ("Kraul, Brust, Rücken".as_bytes(), "a text file"),
            (b"\0\0\0\0", "something else"),
        ] {
            assert_eq!(describe(bytes), name, "{bytes:?}");
        }
    }

    #[test]
    fn text_is_text_even_when_the_prefix_ends_within_a_character() {
        let text = format!("{}ü and more", "a".repeat(TEXT_PREFIX - 1));
        assert_eq!(describe(text.as_bytes()), "a text file");
    }
}
