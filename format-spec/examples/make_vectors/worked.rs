//! The worked examples of the chapters, by name.

use stoa_format::wal::FrameKind;
use stoa_format::wire::Write;

use super::{files, log, pages, runs};

/// The digest example's key, sub, attribute and value.
pub const DIGEST: ([u8; 32], &str, &str, &str) =
    (*b"0123456789abcdef0123456789abcdef", "36cdc8af-909f-48d3-909d-313a9fdfe6c1", "email", "ana@example.com");

/// The bytes of an example; `None` if there is none of this name.
pub fn example(name: &str) -> Option<Vec<u8>> {
    Some(match name {
        "conventions" => {
            let mut out = Vec::new();
            out.put_varint(300);
            out.put_signed(-3);
            out.put_bytes(b"ana");
            out
        }
        "store" => files::store(),
        "segment-header" => log::segment_header(),
        "seal-frame" => log::outer(FrameKind::Seal, b""),
        "inner-shell" => log::inner_shell(),
        "history-header" => log::history_header(),
        "operations" => log::small_frame(),
        "manifest-header" => files::manifest_header(),
        "run-header" => runs::header(),
        "run-trailer" => runs::trailer(),
        "column-integers" => pages::integers(),
        "column-strings" => pages::strings(),
        "column-dictionary" => pages::dictionary(),
        "column-rows" => pages::rows(),
        "column-passwords" => pages::passwords(),
        // What stands behind header and ordinals in the page of the same strings.
        "string-block" => pages::strings()[33..].to_vec(),
        "sorted-rows" => pages::sorted_rows(),
        "sorted-prefixes" => pages::sorted_prefixes(),
        "sorted-tails" => pages::sorted_tails(),
        "digest-message" => digest_message(),
        "request" => b"*2\r\n$4\r\nPING\r\n$2\r\nhi\r\n".to_vec(),
        _ => return None,
    })
}

fn digest_message() -> Vec<u8> {
    let (_, sub, attr, value) = DIGEST;
    let mut out = Vec::new();
    for part in [sub, attr, value] {
        out.put_u32(part.len() as u32);
        out.put_slice(part.as_bytes());
    }
    out
}
