//! A directory of a store: every file in it, in the order of a data directory.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{FileKind, Inspector};

/// Every file below `dir` that is one of a store; the others are named.
pub(super) fn inspect(inspector: &mut Inspector<'_>, dir: &Path) -> anyhow::Result<()> {
    let mut files = Vec::new();
    collect(inspector, dir, &mut files)?;
    let (mut known, mut bytes) = (0u64, 0);
    for path in &files {
        if FileKind::by_name(path).is_none() {
            let name = inspector.site.name(path);
            inspector.printer.note(&name, "is no file of a store that this program knows")?;
            continue;
        }
        known += 1;
        bytes += inspector.site.io.file_len(path).unwrap_or(0);
        inspector.file(path)?;
    }
    let name = inspector.site.name(dir);
    let name = if name.is_empty() { ".".to_owned() } else { name };
    let damaged = inspector.printer.damaged;
    let fields = [("files", json!(known)), ("bytes", json!(bytes)), ("damaged", json!(damaged))];
    inspector.printer.fact(&name, "directory", None, &fields)?;
    Ok(())
}

fn collect(inspector: &Inspector<'_>, dir: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for name in inspector.site.io.list_dir(dir)? {
        let path = dir.join(name);
        if path.is_dir() {
            // A directory that vanishes meanwhile was a dropped pool's.
            let _ = collect(inspector, &path, files);
        } else {
            files.push(path);
        }
    }
    Ok(())
}
