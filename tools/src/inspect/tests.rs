use std::path::Path;

use serde_json::Value;

use super::testing::{Fixture, SECRETS, bytes_of, flip};
use super::*;

/// What the command prints, and whether all was sound.
fn inspected(path: &Path, options: &[&str]) -> (String, bool) {
    let has = |option: &str| options.contains(&option);
    let args = InspectArgs {
        path: path.to_owned(),
        page: None,
        hex: has("hex"),
        json: has("json"),
        keys: has("keys"),
        reveal: has("reveal"),
        key: KeyArgs::default(),
    };
    let mut out = Vec::new();
    let sound = inspect(&args, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), sound)
}

/// Every file of the fixture, and its directories.
fn places(fixture: &Fixture) -> Vec<PathBuf> {
    let data = fixture.data();
    let mut places = vec![data.clone(), data.join("STORE"), data.join("CATALOGUE"), data.with_extension("key")];
    places.extend([fixture.pool_dir(), fixture.pool_dir().join("MANIFEST"), fixture.run_file()]);
    places.extend(fixture.segments());
    places
}

#[test]
fn nothing_is_revealed_unless_asked_for() {
    let fixture = Fixture::closed();
    for path in places(&fixture) {
        for options in [&[][..], &["keys"], &["json"], &["keys", "json"], &["keys", "hex"], &["keys", "hex", "json"]] {
            let (text, sound) = inspected(&path, options);
            assert!(sound && !text.is_empty(), "{} {options:?}: {text}", path.display());
            for secret in SECRETS {
                assert!(!text.contains(secret), "{} {options:?} shows {secret}", path.display());
                assert!(!text.contains(&printer::hex(secret.as_bytes())), "{} {options:?}", path.display());
            }
            assert!(!text.contains("\"value\""));
        }
    }
}

#[test]
fn everything_is_revealed_when_asked_for() {
    let fixture = Fixture::closed();
    let (text, sound) = inspected(&fixture.data(), &["reveal", "json"]);
    assert!(sound, "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let values = || lines.iter().filter(|line| line.get("value").is_some());
    for secret in SECRETS {
        let holds = |line: &&Value| line["value"] == *secret || line["key"] == *secret;
        let in_key = printer::hex(secret.as_bytes());
        let in_sorted = |line: &&Value| line["key"].as_str().is_some_and(|key| key.contains(&in_key));
        assert!(values().any(|line| holds(&line) || in_sorted(&line)), "{secret} is not shown");
    }
    let from = |file: &str, attr: u64| {
        values().filter(|line| line["file"].as_str().unwrap().ends_with(file) && line["attr"] == attr).count()
    };
    assert!(from(".run", 0) == 2, "two users were flushed");
    assert!(from(".wal", 0) >= 1, "one came after");
    let file = lines.iter().find(|line| line["section"] == "file").unwrap();
    assert_eq!(file["value"], bytes_of(&fixture.run_file()).len());
    // No key of any kind is printed.
    let key = bytes_of(&fixture.data().with_extension("key"));
    assert!(!text.contains(&printer::hex(&key[32..64])));
}

#[test]
fn a_page_is_shown_alone_and_opened() {
    let fixture = Fixture::closed();
    let args = |page, hex, reveal| InspectArgs {
        path: fixture.run_file(),
        page: Some(page),
        hex,
        json: false,
        keys: false,
        reveal,
        key: KeyArgs::default(),
    };
    let mut sealed = Vec::new();
    assert!(inspect(&args(0, true, false), &mut sealed).unwrap());
    let sealed = String::from_utf8(sealed).unwrap();
    assert_eq!(sealed.lines().filter(|line| line.contains("page at")).count(), 1, "{sealed}");
    let mut none = Vec::new();
    inspect(&args(100_000, true, true), &mut none).unwrap();
    assert!(String::from_utf8(none).unwrap().contains("the file has"));
}

#[test]
fn damage_is_told_with_its_place_and_the_rest_goes_on() {
    let fixture = Fixture::closed();
    let run = fixture.run_file();
    let sound = bytes_of(&run);
    for (offset, structure) in [(20, "run header"), (140, "page"), (160, "page"), (sound.len() - 50, "run trailer")] {
        flip(&run, offset);
        let (text, is_sound) = inspected(&run, &["keys"]);
        assert!(!is_sound, "{offset}");
        assert!(text.contains(&format!("DAMAGED {structure}")), "{offset}: {text}");
        assert!(text.matches("page at").count() > 3, "{offset}: the other pages are shown: {text}");
        flip(&run, offset);
    }
    for name in ["STORE", "CATALOGUE"] {
        let path = fixture.data().join(name);
        flip(&path, 30);
        let (text, is_sound) = inspected(&path, &[]);
        assert!(!is_sound && text.contains("checksum does not match"), "{text}");
        flip(&path, 30);
    }
    let manifest = fixture.pool_dir().join("MANIFEST");
    flip(&manifest, 40);
    let (text, is_sound) = inspected(&manifest, &["keys"]);
    assert!(!is_sound && text.contains("DAMAGED manifest copy 1") && text.contains("manifest body"), "{text}");
    let segment = &fixture.segments()[0];
    flip(segment, 4096 + 60);
    let (text, is_sound) = inspected(segment, &[]);
    assert!(!is_sound && text.contains("DAMAGED frame at 4096") && text.contains("frame behind the end"), "{text}");
}

#[test]
fn a_retired_segment_is_told_of_and_its_old_frames_are_not_shown() {
    let fixture = Fixture::closed();
    let segment = &fixture.segments()[0];
    let disk = stoa_engine::io::Disk::new();
    for name in ["0000000000000099.spare", "spare.wal", "next.wal"] {
        let spare = segment.with_file_name(name);
        stoa_engine::io::replace(&disk, &spare, &bytes_of(segment)).unwrap();
        let (text, is_sound) = inspected(&spare, &["keys"]);
        assert!(is_sound && text.contains("a spare segment") && !text.contains("frame"), "{name}: {text}");
    }
    let (text, is_sound) = inspected(&fixture.data(), &[]);
    assert!(is_sound && !text.contains("no file of a store"), "{text}");
}

#[test]
fn any_bytes_are_told_of_without_a_panic() {
    let fixture = Fixture::closed();
    let run = fixture.run_file();
    let sound = bytes_of(&run);
    for cut in [0, 1, 100, 128, 140, 200, sound.len() / 2, sound.len() - 1] {
        stoa_engine::io::replace(&stoa_engine::io::Disk::new(), &run, &sound[..cut]).unwrap();
        assert!(!inspected(&run, &["reveal"]).1, "cut at {cut}");
    }
    let mut offset = 0;
    while offset < sound.len() {
        let mut bad = sound.clone();
        bad[offset] ^= 0x81;
        stoa_engine::io::replace(&stoa_engine::io::Disk::new(), &run, &bad).unwrap();
        assert!(!inspected(&run, &["keys"]).1, "byte {offset}");
        offset += 1 + sound.len() / 60;
    }
}
