//! Makes the golden vectors (`vectors/*.jsonl`) and the worked examples in the chapters, the same every time:
//! `cargo run -p stoa-format --example make_vectors`. `tests/spec.rs` checks that what is kept is what this makes.
#![allow(clippy::disallowed_methods, reason = "a tool for developers: it reads and writes the files of this folder")]

use std::fs;
use std::path::Path;

#[path = "golden.rs"]
mod golden;

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, vectors) in golden::files() {
        fs::write(root.join("vectors").join(name), golden::lines(&vectors))?;
    }
    for entry in fs::read_dir(root.join("chapters"))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        fs::write(&path, golden::with_examples(&text))?;
    }
    Ok(())
}
