//! Texts that no honest system wrote: nothing panics, nothing is taken that means nothing, nothing costly is begun.

use proptest::prelude::*;

use super::super::*;

/// One honest text of each form, to be broken.
const HONEST: &[&str] = &[
    "$argon2id$v=19$m=64,t=2,p=2,data=AAEC$UGZlZmZlcktvcm4xNmNocg$/XXd8ILOrJJeLbay94pWnL/iX4Jfe5oH",
    "$2b$04$abcdefghijklmnopqrstuueqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi",
    "$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$2jlmHlCiVwhmFk2sVuI0VeoeW.Wd25m",
    "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuuxFMdb7xDE3uuRiDnTOr4EMVe7MUZzYm",
    "$pbkdf2-sha1$i=1300,l=20$8PHy8/T19vf4+fr7/P3+/w$o32RZ+pA7zYU/CjoXxYD+6ODPV0",
    "pbkdf2_sha256$800$Pfeffer$0dIuICde+QdLmKQ6WBix44OVmlLG5ywMNTlMOn86qNc=",
    "{PBKDF2}600$8PHy8/T19vf4.fr7/P3./w$q/2n2oMl3S0nkU2notfO50917ik",
    "$p5k2$3e8$H0NX9mT/$wk/sE8vv6OMKuMaqazCJYDSUhWY9YB2J",
    "$scrypt$ln=6,r=4,p=2$8PHy8/T19vf4+fr7/P3+/w$EeEjf4+ho6pwaYMO9UUqTsYA2+Uq6JKkcAWREzPXSlA",
    "$7$C6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D",
    "64$8$1$f0f1f2f3f4f5f6f7$b0ee6ebab410af97aa0ad8cca76c2264",
    "$firescrypt$ln=14,r=8,p=1$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9A==$Bw==$jxspr8Ki0RYycVU8zykbdA==",
    "{SSHA}o+TOLFreK7AzsvXC+ReiHtAa0mgAc2Fsev8=",
    "{FSHP1|8|100}MTIzNDU2NzhU3TQ7TKxlx15gpmtEaDt2sOrM/HweMzntC/AdssIfiA==",
    "$1$Pfeffer$duC68EaBDYMRAcZ7Zs8ss.",
    "$5$rounds=1234$PfefferKorn$VZNNGymIulhdbWoPo4BhXF5CsF5VOSw4CDEZpRUAvmC",
    "$sha1$300$Pfeffer$59IuiOauNbnKTB3ib2cDEU85dnw9",
    "$P$6Pfeffer1Htx07V7MH9yQu4QI/shWk1",
    "$sha256$pf=e1NBTFR9e1BBU1NXT1JEfQ==,i=3,enc=utf16le$NW9wbWtnejAzcg==$0gfRVLCvtBCk20udLDEY5vNhujWx7RGjwRIS1ebMsLY=",
    "$hmac-md5$ZmU4Njk3Zjc0MmQwODA0MDVkMTI3MGU2MTYzMzE2Zjk=$MTIzNDU=",
];

/// Caps under which whatever parses is also cheap to run.
const CHEAP: Caps = Caps {
    argon2_memory_kib_max: 256,
    argon2_time_max: 3,
    argon2_lanes_max: 4,
    bcrypt_cost_max: 4,
    pbkdf2_iterations_max: 2000,
    scrypt_memory_max_bytes: 64 * 1024,
    sha_crypt_rounds_max: 2000,
    phpass_log2_max: 9,
};

#[test]
fn the_honest_ones_are_honest() {
    for stored in HONEST {
        parse(stored, &Caps::default()).unwrap_or_else(|error| panic!("{stored}: {error}"));
    }
}

#[test]
fn costs_are_refused_before_any_work() {
    let huge = [
        "$argon2id$v=19$m=4194304,t=2,p=1$UGZlZmZlcktvcm4xNmNocg$/XXd8ILOrJJeLbay94pWnL/iX4Jfe5oH",
        "$argon2id$v=19$m=64,t=4000000000,p=1$UGZlZmZlcktvcm4xNmNocg$/XXd8ILOrJJeLbay94pWnL/iX4Jfe5oH",
        "$argon2id$v=19$m=64,t=99999999999,p=1$UGZlZmZlcktvcm4xNmNocg$/XXd8ILOrJJeLbay94pWnL/iX4Jfe5oH",
        "$argon2id$v=19$m=64,t=1,p=17$UGZlZmZlcktvcm4xNmNocg$/XXd8ILOrJJeLbay94pWnL/iX4Jfe5oH",
        "$2b$31$abcdefghijklmnopqrstuueqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi",
        "$2b$15$abcdefghijklmnopqrstuueqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi",
        "$bcrypt-sha256$v=2,t=2b,r=30$abcdefghijklmnopqrstuu$2jlmHlCiVwhmFk2sVuI0VeoeW.Wd25m",
        "$pbkdf2-sha1$i=4294967295,l=20$8PHy8/T19vf4+fr7/P3+/w$o32RZ+pA7zYU/CjoXxYD+6ODPV0",
        "$p5k2$ffffffffff$H0NX9mT/$wk/sE8vv6OMKuMaqazCJYDSUhWY9YB2J",
        "$scrypt$ln=30,r=8,p=1$8PHy8/T19vf4+fr7/P3+/w$EeEjf4+ho6pwaYMO9UUqTsYA2+Uq6JKkcAWREzPXSlA",
        "$scrypt$ln=63,r=4294967295,p=1$8PHy8/T19vf4+fr7/P3+/w$EeEjf4+ho6pwaYMO9UUqTsYA2+Uq6JKkcAWREzPXSlA",
        "$scrypt$ln=14,r=8,p=1000$8PHy8/T19vf4+fr7/P3+/w$EeEjf4+ho6pwaYMO9UUqTsYA2+Uq6JKkcAWREzPXSlA",
        "1073741824$8$1$f0f1f2f3f4f5f6f7$b0ee6ebab410af97aa0ad8cca76c2264",
        "$6$rounds=999999999$PfefferKorn$0B/8JFQOjISGuFa9Z2NXz677mBwEnEjorezGS4XnyfhYMf4q2I8m3hebGcxzmS2oEJ91lnwp3uH1uZbS9VYS31",
        "$P$SPfeffer1Htx07V7MH9yQu4QI/shWk1",
        "$sha1$4000000000$Pfeffer$59IuiOauNbnKTB3ib2cDEU85dnw9",
        "{FSHP1|8|4000000000}MTIzNDU2NzhU3TQ7TKxlx15gpmtEaDt2sOrM/HweMzntC/AdssIfiA==",
        "$sha256$pf=e1NBTFR9e1BBU1NXT1JEfQ==,i=4000000000$NW9wbWtnejAzcg==$0gfRVLCvtBCk20udLDEY5vNhujWx7RGjwRIS1ebMsLY=",
    ];
    for stored in huge {
        assert!(matches!(parse(stored, &Caps::default()), Err(HashError::TooCostly(_))), "{stored}");
    }
    let long_key = format!("$pbkdf2-sha256$i=1999999,l=512$AAAA${}", encoding::to_base64(&[1; 512]));
    assert!(matches!(parse(&long_key, &Caps::default()), Err(HashError::TooCostly(_))));
}

#[test]
fn cognitos_own_caps_fit_within_the_defaults() {
    for stored in [
        "$2b$12$abcdefghijklmnopqrstuueqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi",
        "65536$8$1$f0f1f2f3f4f5f6f7$b0ee6ebab410af97aa0ad8cca76c2264",
        "$argon2id$v=19$m=19456,t=2,p=1$UGZlZmZlcktvcm4xNmNocg$/XXd8ILOrJJeLbay94pWnL/iX4Jfe5oH",
        "$pbkdf2-sha256$600000$8PHy8/T19vf4.fr7/P3./w$6jGMv2Q0ERUmi01u72BytwSZWtvGE/DcTShEo914dRU",
    ] {
        parse(stored, &Caps::default()).unwrap_or_else(|error| panic!("{stored}: {error}"));
    }
}

#[test]
fn what_means_nothing_is_refused() {
    let unknown = [
        "",
        "password",
        "päss",
        "{",
        "{}",
        "{SASL}user@realm",
        "{CLEARTEXT}x",
        "{CRYPT}",
        "{CRYPT}rqXexS6ZhobKA",
        "$",
        "$$",
        "$y$j9T$x$y",
        "*",
        "!",
        "$3$$abc",
        "$2$05$x",
        "plain$text",
        "{CRYPT}{SSHA}x",
        "$sha3$x",
        "$pbkdf2-sha3$x",
    ];
    for stored in unknown {
        assert_eq!(parse(stored, &Caps::default()), Err(HashError::UnknownScheme), "{stored}");
    }
    let malformed = [
        // An empty hash would match every secret.
        "$pbkdf2-sha256$i=1000$AAAA$",
        "$scrypt$ln=4,r=1,p=1$AAAA$",
        "$sha256$",
        "{SHA}",
        "{SSHA}",
        "$1$Pfeffer$",
        "$argon2id$v=19$m=64,t=1,p=1$UGZlZmZlcktvcm4xNmNocg$",
        "$5$salt$",
        "$hmac-md5$$",
        "md5$salt$",
        "64$8$1$00$",
        "$firescrypt$ln=4,r=1,p=1$AAAA$$AA$",
        // A template without the secret would, too.
        "$md5$pf=e1NBTFR9$MTIz$q+RdKCgc+ipCAcm5ChQwlQ==",
        "$md5$pf=$MTIz$q+RdKCgc+ipCAcm5ChQwlQ==",
        // Salt length, unsalted schemes with a salt and the other way round.
        "{SHA}o+TOLFreK7AzsvXC+ReiHtAa0mgAc2Fsev8=",
        "{SSHA}HQ63CK5ph+zpEx7P0T1janbO5c8=",
        "$1$PfefferKorn$duC68EaBDYMRAcZ7Zs8ss.",
        "$scrypt$ln=16385,r=8,p=1$8PHy8/T19vf4+fr7/P3+/w$EeEjf4+ho6pwaYMO9UUqTsYA2+Uq6JKkcAWREzPXSlA",
        "$argon2id$v=18$m=64,t=1,p=1$UGZlZmZlcktvcm4xNmNocg$/XXd8ILOrJJeLbay94pWnL/iX4Jfe5oH",
        "$argon2id$v=19$m=64,t=1,p=1,keyid=AA$UGZlZmZlcktvcm4xNmNocg$/XXd8ILOrJJeLbay94pWnL/iX4Jfe5oH",
        "$2b$03$abcdefghijklmnopqrstuueqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi",
        "$2b$10$nFguVi9LsCAcvTZFKQlRKe",
        "$2b$5$abcdefghijklmnopqrstuueqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi",
        "{PBKDF2_SHA256}AAAA",
        "{PKCS5S2}AAAA",
        "$pbkdf2-sha1$i=0,l=20$8PHy8/T19vf4+fr7/P3+/w$o32RZ+pA7zYU/CjoXxYD+6ODPV0",
    ];
    for stored in malformed {
        assert!(matches!(parse(stored, &Caps::default()), Err(HashError::Malformed(_))), "{stored}");
    }
    let long = format!("$md5${}", "A".repeat(STORED_BYTES_MAX));
    assert!(matches!(parse(&long, &Caps::default()), Err(HashError::Malformed(_))));
}

#[test]
fn a_secret_beyond_the_limit_is_refused() {
    let secret = vec![b'x'; SECRET_BYTES_MAX + 1];
    let hash = parse("{MD5}HfBBg4/kffsF4STM0B+EOQ==", &Caps::default()).unwrap();
    assert!(matches!(hash.verify(&secret, &mut Arena::new()), Err(HashError::TooCostly(_))));
    assert_eq!(hash.verify(&secret[1..], &mut Arena::new()), Ok(false));
    let new = hash_new(&secret, [0; 16], &Argon2Params { m_kib: 64, t: 1, p: 1 }, &mut Arena::new());
    assert!(matches!(new, Err(HashError::TooCostly(_))));
}

#[test]
fn nothing_shown_holds_a_value() {
    for stored in HONEST {
        let shown = format!("{:?}", parse(stored, &Caps::default()).unwrap());
        assert!(shown.len() < 40 && !shown.contains('$'), "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in ".{0,200}") {
        let _ = parse(&text, &CHEAP);
    }

    #[test]
    fn text_in_the_alphabet_of_hashes_never_panics(text in r"[{$]?[a-zA-Z0-9{}$=,./+|:_-]{0,120}") {
        let _ = parse(&text, &CHEAP);
    }

    #[test]
    fn broken_honest_text_never_panics_and_matches_no_random_secret(
        model in proptest::sample::select(HONEST),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), r"[ -~]{0,3}", 0..3usize), 1..4),
        secret in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut text = model.to_owned();
        for (at, insert, remove) in edits {
            let start = at.index(text.len() + 1);
            let end = (start + remove).min(text.len());
            text.replace_range(start..end, &insert);
        }
        if let Ok(hash) = parse(&text, &CHEAP) {
            prop_assert_ne!(hash.verify(&secret, &mut Arena::new()), Ok(true));
            prop_assert_eq!(hash.decoy().relative_cost(), hash.relative_cost());
        }
    }
}
