//! The reference page: written from the declarations, compared with the file by a test.

use std::fmt::Write as _;

use super::declared::{Category, Flags};
use super::entry::{Entry, table};

/// The page that is kept beside the crate.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/COMMANDS.md");

/// What the configuration documents say that Stoa reads itself.
const DOCUMENTS: &str = r#"
## Configuration documents

`POOL.CONFIG pool SET name json`; those that Stoa reads itself:

| document | keys |
| --- | --- |
| `login` | an array of attributes, or `{"aliases": […]}`: what `login=text` tries, in order |
| `lockout` | `max_attempts` (5; 0 never locks), `base_delay_ms` (1000, doubled by each further failure), `max_delay_ms` (900000) |
| `password` | `min_length`, `max_length` in characters; `require_lowercase`, `require_uppercase`, `require_numbers`, `require_symbols`; `deny`: an array of words that no password may contain; `deny_attributes`: the same with the user's own names, addresses and numbers; `history`: so many passwords, the present one among them, may not come again (24 at most); `max_age_days`: an older password is `expired` until it is changed; `temporary_days`: the same for a temporary one, which an operator replaces. Refusals are `WEAK`, `REUSED` and, for a text that is too long, `LIMIT`. Hashes are taken as they are; a temporary password is not compared with the history |
| `protection` | `drop`: where it is false, POOL.DROP is refused |
"#;

fn page() -> String {
    let mut page = String::from(
        "# Commands\n\nWritten from the declarations in `src/command/declared`; do not edit. In the syntax, `[ ]` may be left out,\n\
         `( a | b )` is one of them, `...` means once or more. What holds for all of them (values, lists, retries, errors)\n\
         stands in the protocol page.\n",
    );
    for category in Category::ALL {
        let of_category = |entry: &&Entry| entry.command.category == category && entry.subcommands.is_empty();
        let entries: Vec<_> = table().entries().iter().filter(of_category).collect();
        if entries.is_empty() {
            continue;
        }
        let _ = writeln!(page, "\n## @{}\n", category.name());
        entries.into_iter().for_each(|entry| section(entry, &mut page));
    }
    page.push_str(DOCUMENTS);
    page
}

fn section(entry: &Entry, page: &mut String) {
    let command = entry.command;
    let _ = writeln!(page, "### `{}`\n", format!("{} {}", entry.spoken, command.syntax).trim_end());
    let _ = write!(page, "{}. Answers {}.", command.summary, command.answers);
    if command.flags.has(Flags::NO_MULTI) {
        page.push_str(" Not in a transaction.");
    }
    let _ = writeln!(page, " Since {}.\n", command.since);
}

#[test]
fn the_reference_page_says_what_is_declared() {
    let page = page();
    if std::env::var_os("STOA_WRITE_REFERENCE").is_some() {
        std::fs::write(PAGE, &page).unwrap();
    }
    assert!(
        std::fs::read_to_string(PAGE).unwrap_or_default() == page,
        "COMMANDS.md is out of date: run STOA_WRITE_REFERENCE=1 cargo test -p stoa-server reference_page"
    );
}
