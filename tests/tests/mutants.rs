//! The deliberate bugs of `tests/mutants` still apply, so that `make mutants` still tries them all.
#![allow(clippy::disallowed_methods, reason = "tests and examples look at files and wait as a stranger would")]

use std::collections::BTreeSet;

use stoa_tests::root;

/// The promise: at least so many.
const MUTANTS_MIN: usize = 30;

#[test]
fn every_mutant_still_applies_to_one_place() {
    let text = std::fs::read_to_string(root().join("tests/mutants/mutants.toml")).unwrap();
    let list: toml::Table = text.parse().unwrap();
    let mutants = list["mutant"].as_array().unwrap();
    let mut names = BTreeSet::new();
    for mutant in mutants {
        let field =
            |name: &str| mutant.get(name).and_then(|text| text.as_str()).unwrap_or_else(|| panic!("{mutant}: {name}"));
        let name = field("name");
        assert!(names.insert(name), "two mutants are called {name}");
        let source = std::fs::read_to_string(root().join(field("file"))).unwrap();
        assert_eq!(source.matches(field("find")).count(), 1, "{name}: what it changes in {}", field("file"));
        assert_ne!(field("find"), field("replace"), "{name} changes nothing");
        assert!(["engine", "server", "loom"].contains(&field("on")), "{name}");
        // The test that is named is there, by its last word at least.
        let test = field("test").rsplit("::").next().unwrap_or_default();
        assert!(!test.is_empty() && field("target").starts_with("--"), "{name}");
    }
    assert!(names.len() >= MUTANTS_MIN, "{} mutants", names.len());
}
