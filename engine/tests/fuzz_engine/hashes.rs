//! Stored password hashes: within the caps or not at all, matched by no other secret, the same text when they come back.

use stoa_engine::password::convert::{
    auth0_custom, from_keycloak, keycloak, ldap, to_auth0_custom, to_keycloak, to_ldap,
};
use stoa_engine::password::{Arena, Argon2Params, Caps, SECRET_BYTES_MAX, STORED_BYTES_MAX, parse};
use stoa_format::column::{Cell, ColumnKind, ColumnPage, ColumnPageBuilder};
use stoa_fuzz::{Seen, Target};

/// Caps under which whatever parses is also cheap to run.
const CHEAP: Caps = Caps {
    argon2_memory_kib_max: 64,
    argon2_time_max: 2,
    argon2_lanes_max: 2,
    bcrypt_cost_max: 4,
    pbkdf2_iterations_max: 20,
    scrypt_memory_max_bytes: 16 * 1024,
    sha_crypt_rounds_max: 1000,
    phpass_log2_max: 7,
};
/// What a check may hold under these caps: scrypt's and Argon2's memory, and the arena's step.
const CHECK_BYTES_MAX: usize = 512 << 10;
/// A check at the default caps is to take about a second on one core: far above is a cap that does not hold.
const COST_MICROS_MAX: u64 = 60_000_000;

const SEEDS: [&str; 44] = [
    "$argon2id$v=19$m=64,t=2,p=2,data=AAEC$UGZlZmZlcktvcm4xNmNocg$/XXd8ILOrJJeLbay94pWnL/iX4Jfe5oH",
    "{ARGON2}$argon2i$v=19$m=16,t=1,p=1$UGZlZmZlcktvcm4xNmNocg$/XXd8ILOrJJeLbay94pWnL/iX4Jfe5oH",
    "argon2$argon2d$v=19$m=16,t=1,p=1$UGZlZmZlcktvcm4xNmNocg$/XXd8ILOrJJeLbay94pWnL/iX4Jfe5oH",
    "$2b$04$abcdefghijklmnopqrstuueqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi",
    "$2y$04$abcdefghijklmnopqrstuueqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi",
    "$2x$04$abcdefghijklmnopqrstuueqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi",
    "bcrypt$$2b$04$abcdefghijklmnopqrstuueqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi",
    "{CRYPT}$2a$04$abcdefghijklmnopqrstuueqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi",
    "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$2jlmHlCiVwhmFk2sVuI0VeoeW.Wd25m",
    "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuuxFMdb7xDE3uuRiDnTOr4EMVe7MUZzYm",
    "$pbkdf2-sha1$i=13,l=20$8PHy8/T19vf4+fr7/P3+/w$o32RZ+pA7zYU/CjoXxYD+6ODPV0",
    "$pbkdf2-sha256$6$8PHy8/T19vf4.fr7/P3./w$6jGMv2Q0ERUmi01u72BytwSZWtvGE/DcTShEo914dRU",
    "pbkdf2_sha256$8$Pfeffer$0dIuICde+QdLmKQ6WBix44OVmlLG5ywMNTlMOn86qNc=",
    "pbkdf2:sha256:8$Pfeffer$d1d22e20275ef9074b98a43a5818b1e383959a52c6e72c0c35394c3a7f3aa8d7",
    "grub.pbkdf2.sha512.10.F0F1F2F3F4F5F6F7.00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF",
    "{PBKDF2}6$8PHy8/T19vf4.fr7/P3./w$q/2n2oMl3S0nkU2notfO50917ik",
    "{PBKDF2-SHA512}6$8PHy8/T19vf4.fr7/P3./w$q/2n2oMl3S0nkU2notfO50917ik",
    "$p5k2$e$H0NX9mT/$wk/sE8vv6OMKuMaqazCJYDSUhWY9YB2J",
    "$scrypt$ln=2,r=4,p=2$8PHy8/T19vf4+fr7/P3+/w$EeEjf4+ho6pwaYMO9UUqTsYA2+Uq6JKkcAWREzPXSlA",
    "scrypt:4:4:2$Pfeffer$d1d22e20275ef9074b98a43a5818b1e383959a52c6e72c0c35394c3a7f3aa8d7",
    "scrypt$Pfeffer$4$4$2$0dIuICde+QdLmKQ6WBix44OVmlLG5ywMNTlMOn86qNc=",
    "$7$0..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D",
    "4$4$1$f0f1f2f3f4f5f6f7$b0ee6ebab410af97aa0ad8cca76c2264",
    "$firescrypt$ln=2,r=4,p=1$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9A==$Bw==$jxspr8Ki0RYycVU8zykbdA==",
    "{SSHA}o+TOLFreK7AzsvXC+ReiHtAa0mgAc2Fsev8=",
    "{SHA}HQ63CK5ph+zpEx7P0T1janbO5c8=",
    "{MD5}HfBBg4/kffsF4STM0B+EOQ==",
    "{SSHA256}o+TOLFreK7AzsvXC+ReiHtAa0mgAc2Fsev+j5M4sWt4rsDOy9cL5F6Ie",
    "{FSHP1|8|10}MTIzNDU2NzhU3TQ7TKxlx15gpmtEaDt2sOrM/HweMzntC/AdssIfiA==",
    "$1$Pfeffer$duC68EaBDYMRAcZ7Zs8ss.",
    "$apr1$Pfeffer$duC68EaBDYMRAcZ7Zs8ss.",
    "$5$rounds=1000$PfefferKorn$VZNNGymIulhdbWoPo4BhXF5CsF5VOSw4CDEZpRUAvmC",
    "$6$rounds=1000$PfefferKorn$0B/8JFQOjISGuFa9Z2NXz677mBwEnEjorezGS4XnyfhYMf4q2I8m3hebGcxzmS2oEJ91lnwp3uH1uZbS9VYS31",
    "$sha1$10$Pfeffer$59IuiOauNbnKTB3ib2cDEU85dnw9",
    "$P$5Pfeffer1Htx07V7MH9yQu4QI/shWk1",
    "$H$5Pfeffer1Htx07V7MH9yQu4QI/shWk1",
    "$S$5Pfeffer1Htx07V7MH9yQu4QI/shWk1oooooooooooooooooooooo",
    "$sha256$pf=e1NBTFR9e1BBU1NXT1JEfQ==,i=3,enc=utf16le$NW9wbWtnejAzcg==$0gfRVLCvtBCk20udLDEY5vNhujWx7RGjwRIS1ebMsLY=",
    "$md5$HfBBg4/kffsF4STM0B+EOQ==",
    "$hmac-md5$ZmU4Njk3Zjc0MmQwODA0MDVkMTI3MGU2MTYzMzE2Zjk=$MTIzNDU=",
    "md5$salt$1df041838fe47dfb05e124ccd01f8439",
    "sha1$salt$1df041838fe47dfb05e124ccd01f84391df04183",
    r#"{"algorithm":"pbkdf2","hash":{"value":"$pbkdf2-sha256$i=10,l=8$AAAA$AAAAAAAAAAA","encoding":"utf8"}}"#,
    "{\"hashIterations\":10,\"algorithm\":\"pbkdf2-sha256\"}\0{\"value\":\"AAAAAAAAAAAAAAAA\",\"salt\":\"AAAA\"}",
];

const TOKENS: [&str; 56] = [
    "$",
    "{",
    "}",
    "=",
    ",",
    "m=",
    "t=",
    "p=",
    "ln=",
    "r=",
    "i=",
    "l=",
    "v=19",
    "v=16",
    "rounds=",
    "data=",
    "keyid=",
    "pf=",
    "enc=utf16le",
    "$argon2id$",
    "$2b$",
    "$pbkdf2-sha512$",
    "$scrypt$",
    "$7$",
    "$firescrypt$",
    "$5$",
    "$6$",
    "$sha1$",
    "$P$",
    "$S$",
    "{SSHA512}",
    "{PBKDF2_SHA256}",
    "{PKCS5S2}",
    "{FSHP",
    "{CRYPT}",
    "{BLF-CRYPT}",
    "{SHA512-CRYPT}",
    "$sha512$",
    "$hmac-sha512$",
    "$md4$",
    "AAAA",
    "==",
    "....",
    "zzzz",
    "\"algorithm\"",
    "\"hash\"",
    "\"value\"",
    "\"encoding\"",
    "\"base64\"",
    "\"salt\"",
    "\"position\"",
    "\"digest\"",
    "\"key\"",
    "\"memory\"",
    "\"type\"",
    "\"additionalParameters\"",
];

fn run(bytes: &[u8], seen: &mut Seen) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // What comes in parts: Auth0's object, Keycloak's two.
    if let Ok(object) = serde_json::from_str(text) {
        match auth0_custom(&object) {
            Ok(stored) => stored_text(&stored, seen),
            Err(error) => seen.message(&error.to_string()),
        }
    }
    if let Some((credential, secret)) = text.split_once('\0') {
        match from_keycloak(credential, secret) {
            Ok(stored) => stored_text(&stored, seen),
            Err(error) => seen.message(&error.to_string()),
        }
    }
    stored_text(text, seen);
    assert_eq!(ldap(ldap(text)), ldap(text), "a mark is left");
}

fn stored_text(text: &str, seen: &mut Seen) {
    if let Ok(dear) = parse(text, &Caps::default()) {
        assert!(text.len() <= STORED_BYTES_MAX);
        assert!(dear.relative_cost() <= COST_MICROS_MAX, "{} µs pass the caps", dear.relative_cost());
        let _ = dear.needs_upgrade(&Argon2Params { m_kib: 64, t: 1, p: 1 });
        assert!(!format!("{dear:?}").contains('$'));
        // Exports give back the very text, each in its own form.
        assert_eq!(ldap(&to_ldap(text)), text, "another text through LDIF");
        assert_eq!(auth0_custom(&to_auth0_custom(text)).as_deref(), Ok(text), "another text through Auth0");
        assert_eq!(
            keycloak(&to_keycloak(text, &Caps::default())).as_deref(),
            Ok(text),
            "another text through Keycloak"
        );
    }
    let hash = match parse(text, &CHEAP) {
        Ok(hash) => hash,
        Err(error) => return seen.message(&error.to_string()),
    };
    seen.note(hash.scheme());
    let mut arena = Arena::new();
    for secret in [&b""[..], b"a secret that nobody has", &[0xff; 73]] {
        match hash.verify(secret, &mut arena) {
            Ok(matched) => assert!(!matched, "another secret matches"),
            Err(error) => seen.message(&error.to_string()),
        }
    }
    assert!(hash.verify(&[b'x'; SECRET_BYTES_MAX + 1], &mut arena).is_err());
    assert_eq!(hash.decoy().relative_cost(), hash.relative_cost(), "a decoy costs something else");
    hash.decoy().spend(b"secret", &mut arena);
    let mut page = ColumnPageBuilder::new(ColumnKind::Password);
    page.push(7, &Cell::Bytes(text.as_bytes().into())).expect("a stored text fits in a page");
    let mut plain = Vec::new();
    page.finish(&mut plain);
    let kept = ColumnPage::open(&plain[..]).and_then(|page| page.get(7).map(Cell::into_owned));
    assert_eq!(kept, Ok(Cell::Bytes(text.as_bytes().into())), "another text in a column");
}

#[test]
fn fuzz_hash() {
    Target::new("hash", run).seeds(SEEDS).tokens(&TOKENS).longest(2500).memory(400, CHECK_BYTES_MAX).explore();
}
