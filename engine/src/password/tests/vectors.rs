//! Vectors of our own, so that the repository stands alone: made with Python's hashlib and crypt (libxcrypt), passlib,
//! argon2-cffi and OpenSSL over the secret below.

use serde_json::json;

use super::super::*;

const SECRET: &str = "Stoa-Säule 7";

fn check(stored: &str, secret: &[u8]) -> Result<bool, HashError> {
    parse(stored, &Caps::default())?.verify(secret, &mut Arena::new())
}

/// Stored text and the name of its scheme.
const VECTORS: &[(&str, &str)] = &[
    ("$argon2id$v=19$m=64,t=2,p=2$UGZlZmZlcktvcm4xNmNocg$/XXd8ILOrJJeLbay94pWnL/iX4Jfe5oH", "argon2id"),
    ("$argon2id$v=16$m=64,t=1,p=1$UGZlZmZlcktvcm4xNmNocg$dkudexg4I/fobOc5e8CtJhRLeHybPMkDRFaAzlx4Ak0", "argon2id"),
    ("$argon2i$v=19$m=64,t=2,p=2$UGZlZmZlcktvcm4xNmNocg$yvG+wvPv+L0wfqmS5XJAGE1E66qll/vF", "argon2i"),
    ("$argon2i$m=64,t=1,p=1$UGZlZmZlcktvcm4xNmNocg$UvGKk+PWljjc0YoAsndY4KS994NmlCqUQuUZSgs68+w", "argon2i"),
    ("$argon2d$v=19$m=64,t=2,p=2$UGZlZmZlcktvcm4xNmNocg$TQbuccZihT/GqWfbvmaOxlGgwL3Wm4QJ", "argon2d"),
    ("{ARGON2}$argon2i$v=19$m=64,t=2,p=2$UGZlZmZlcktvcm4xNmNocg$yvG+wvPv+L0wfqmS5XJAGE1E66qll/vF", "argon2i"),
    ("argon2$argon2i$v=19$m=64,t=2,p=2$UGZlZmZlcktvcm4xNmNocg$yvG+wvPv+L0wfqmS5XJAGE1E66qll/vF", "argon2i"),
    ("$2b$04$abcdefghijklmnopqrstuueqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi", "bcrypt"),
    ("bcrypt$$2b$04$abcdefghijklmnopqrstuueqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi", "bcrypt"),
    ("{crypt}$2y$05$abcdefghijklmnopqrstuujasqvKdusIdFrtniFOH7L9bc62uZtU.", "bcrypt"),
    ("$2x$04$abcdefghijklmnopqrstuu79X7T2QCzthwQWoWQnEWlQkPEpBjURa", "bcrypt"),
    ("$bcrypt-sha256$v=2,t=2b,r=4$abcdefghijklmnopqrstuu$2jlmHlCiVwhmFk2sVuI0VeoeW.Wd25m", "bcrypt-sha256"),
    ("bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuuxFMdb7xDE3uuRiDnTOr4EMVe7MUZzYm", "bcrypt-sha256"),
    ("$pbkdf2-md5$i=300,l=16$8PHy8/T19vf4+fr7/P3+/w$2vpJFESbuaV6We3PFcD8MA", "pbkdf2-md5"),
    ("$pbkdf2-sha1$i=1300,l=20$8PHy8/T19vf4+fr7/P3+/w$o32RZ+pA7zYU/CjoXxYD+6ODPV0", "pbkdf2-sha1"),
    ("$pbkdf2-sha1$i=1300$8PHy8/T19vf4+fr7/P3+/w==$o32RZ+pA7zYU/CjoXxYD+6ODPV0=", "pbkdf2-sha1"),
    ("$pbkdf2-sha256$700$8PHy8/T19vf4.fr7/P3./w$6jGMv2Q0ERUmi01u72BytwSZWtvGE/DcTShEo914dRU", "pbkdf2-sha256"),
    (
        "$pbkdf2-sha384$i=500,l=48$8PHy8/T19vf4+fr7/P3+/w\
         $NJwVLNpIUCjuTQrFFGTYiGAL3ufSgLRiT2gM738GELOlSNNXppu80WOtZ94KWADs",
        "pbkdf2-sha384",
    ),
    (
        "$pbkdf2-sha512$i=1000,l=64$8PHy8/T19vf4+fr7/P3+/w\
         $nURH80T931qwym9o5RJpCkibaJ5uyW3MMhAnpduM1uezykrvH7N6opSUy37YfPnwYUQilumUw1CuKx281X5wCA",
        "pbkdf2-sha512",
    ),
    (
        "$pbkdf2-sha256$i=900,l=64$8PHy8/T19vf4+fr7/P3+/w\
         $t5C2FiXP4U7rQ5Tth6ausB9y1ykyDtPqN1lS7vQ1QHoY/F40511SRkrhBoEbM7Dv2oyMCxMC6CqHwEs+eVBTJQ",
        "pbkdf2-sha256",
    ),
    ("pbkdf2_sha256$800$Pfeffer$0dIuICde+QdLmKQ6WBix44OVmlLG5ywMNTlMOn86qNc=", "pbkdf2-sha256"),
    ("pbkdf2_sha1$800$Pfeffer$qHawJQY5GwF2xt+nAvQLfvRGhiw=", "pbkdf2-sha1"),
    ("pbkdf2:sha256:900$Pfeffer$14b04c68a7eb71eaaa7f3f17852d63ae2c984a02f02a942ecfc6aa0505af9126", "pbkdf2-sha256"),
    (
        "{PBKDF2-SHA512}600$8PHy8/T19vf4.fr7/P3./w\
         $k3G9o.A.U//3NPrXH.UExY8HeBT139lHh0u/XV9wWjrSxj7pmYxgQY8.d2QqARdPFuCY0hKMeOrFWMl3P9Wu2g",
        "pbkdf2-sha512",
    ),
    ("{PBKDF2}600$8PHy8/T19vf4.fr7/P3./w$q/2n2oMl3S0nkU2notfO50917ik", "pbkdf2-sha1"),
    (
        "{PBKDF2_SHA256}AAABkAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8i\
         b1nPfB/A5g3BsfKn2oQtNw7MlbpDqyAXwSqjDUOFy6FJrBqfRXdpG+rGRgIcN82h/eBkJBVw1eh2UUZVs4lIIpN5BK0t6TiY/pSzajyP294/\
         1d+0ql2ZIIuvoFhq0Qq4fc0RGCWDLf4A3JsqTHMaOuQGSHCL/1i333mpDbwEPHUVdfa6mnTTSrTEx4zsDSn10icpZ1tYRA5mwuYAG8j/xccv\
         WdsssRdrHD/4uN9/jmKlAIDAktTbkgxMjzcxUvASJzu4sWyZNu1Lecc6yywWlC6KPq/8KTTmSli0HmFCjELRGT/KGsHJ8+D55cQS7s3JHMAL\
         +WCbJAopoMArmzvb",
        "pbkdf2-sha256",
    ),
    ("$scrypt$ln=6,r=4,p=2$8PHy8/T19vf4+fr7/P3+/w$EeEjf4+ho6pwaYMO9UUqTsYA2+Uq6JKkcAWREzPXSlA", "scrypt"),
    ("$scrypt$ln=128,r=4,p=1$8PHy8/T19vf4+fr7/P3+/w==$c7MNMRgJaCa/LtM/YNHeJHZ88Ga2Fg2QX4rJWr43cn8=", "scrypt"),
    (
        "scrypt$Pfeffer$64$8$5$uvsJtTiOE3VOz639HDa/onwRuPn1aq65WUwVopgAafaTuU/S+Gh5PfZ77OqohtflKVYjQzAxAEaIQmmzKzEeRw==",
        "scrypt",
    ),
    (
        "scrypt:64:8:1$Pfeffer$78f4108fd014c605a2831149f49cdf0dcc6832ad7059893c0dcb1f6b5cb8d926\
         1ad9f3a6fe9fa176cfaa1a49bfac4ebccf5d729c66d1375e0e406e943e016615",
        "scrypt",
    ),
    (
        "64$8$1$f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff$b0ee6ebab410af97aa0ad8cca76c226456418f550bd82e9da26f5c9ab3155fb6\
         18cc26ed3d1247a263b0e03a09ef0a490990cc3858bf51875b3dec0290b3bbf5",
        "scrypt",
    ),
    ("{MD5}HfBBg4/kffsF4STM0B+EOQ==", "md5"),
    ("{SMD5}MroEty4675TaOQP1DbI/qwBzYWx6/w==", "smd5"),
    ("{SHA}HQ63CK5ph+zpEx7P0T1janbO5c8=", "sha"),
    ("{ssha}o+TOLFreK7AzsvXC+ReiHtAa0mgAc2Fsev8=", "ssha"),
    ("{SHA256}r3opegIBtZGsGsZi1Z4ZbWAhTEf6mVLslzfP6CXU7CM=", "sha256"),
    ("{SSHA256}wZY5HtyPranqis4sJhFAXcHLYaAH5szGytH2S0pOJhsAc2Fsev8=", "ssha256"),
    ("{SHA384}pM2cLPmcpPohnwjHX6vQy84R6RAe+o/dO84X8wmj8wsPKmLggORL0cmmAXrlmubc", "sha384"),
    ("{SSHA384}0oKiFeurEPZNnI+FzykApH7txjvu76SNx9+jC7Matzs4E66zyH3BrMtq06GpUoyPAHNhbHr/", "ssha384"),
    ("{SHA512}M0voUJ9ZwLXT6uGd8vh/hRQ86AT5yQrzKgFIXyA6iuUP/ERW+E1HYWCE7pytCafEDC0JmVmDDUbHfdEMXjMk6w==", "sha512"),
    (
        "{SSHA512}U8Y7xej7ZNPIP2Tjb/MF+87lYjLCQtkFIotgwmTSr/ZX5UrAR2/4VDiupBuglpQRmmijanemkJVvm6omOj8pcgBzYWx6/w==",
        "ssha512",
    ),
    ("{FSHP1|8|100}MTIzNDU2NzhU3TQ7TKxlx15gpmtEaDt2sOrM/HweMzntC/AdssIfiA==", "ssha256"),
    ("$1$Pfeffer$duC68EaBDYMRAcZ7Zs8ss.", "md5-crypt"),
    ("$md5-crypt$Pfeffer$duC68EaBDYMRAcZ7Zs8ss.", "md5-crypt"),
    ("$apr1$Pfeffer$BvZU1H8TAeTc0c6ZEKG/70", "apr1"),
    ("$5$rounds=1234$PfefferKorn$VZNNGymIulhdbWoPo4BhXF5CsF5VOSw4CDEZpRUAvmC", "sha256-crypt"),
    (
        "{CRYPT}$6$PfefferKorn$0B/8JFQOjISGuFa9Z2NXz677mBwEnEjorezGS4XnyfhYMf4q2I8m3hebGcxzmS2oEJ91lnwp3uH1uZbS9VYS31",
        "sha512-crypt",
    ),
    ("$sha1$300$Pfeffer$59IuiOauNbnKTB3ib2cDEU85dnw9", "sha1-crypt"),
    ("$P$6Pfeffer1Htx07V7MH9yQu4QI/shWk1", "phpass"),
    ("$H$6Pfeffer1Htx07V7MH9yQu4QI/shWk1", "phpass"),
];

#[test]
fn every_form_takes_its_secret_and_no_other() {
    for (stored, scheme) in VECTORS {
        let hash = parse(stored, &Caps::default()).unwrap_or_else(|error| panic!("{stored}: {error}"));
        assert_eq!(hash.scheme(), *scheme, "{stored}");
        assert_eq!(hash.verify(SECRET.as_bytes(), &mut Arena::new()), Ok(true), "{stored}");
        for wrong in ["", "Stoa-Säule 8", "Stoa-Saule 7", "Stoa-Säule 7 "] {
            assert_eq!(hash.verify(wrong.as_bytes(), &mut Arena::new()), Ok(false), "{stored} took {wrong:?}");
        }
    }
}

#[test]
fn well_known_vectors_of_others() {
    // crypt(5) of libxcrypt, and hashcat's example for Drupal 7.
    assert_eq!(
        check("$7$C6..../....SodiumChloride$kBGj9fHznVYFQMEn/qDCfrDevf9YDtcDdKvEqHJLV8D", b"pleaseletmein"),
        Ok(true)
    );
    assert_eq!(check("$S$C33783772bRXEx1aCsvY.dqgaaSu76XmVlKrW9Qu8IQlvxHlmzLf", b"hashcat"), Ok(true));
}

#[test]
fn the_broken_bcrypt_differs_exactly_where_it_was_broken() {
    let vectors: [(&str, &[u8]); 9] = [
        ("$2x$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e", b"\xa3"),
        ("$2x$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e", b"\xff\xff\xa3"),
        ("$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e", b"\xff\xff\xa3"),
        ("$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq", b"\xa3"),
        ("$2x$05$6bNw2HLQYeqHYyBfLMsv/OiwqTymGIGzFsA4hOTWebfehXHNprcAS", "ё".as_bytes()),
        ("$2y$05$6bNw2HLQYeqHYyBfLMsv/OUcZd0LKP39b87nBw3.S2tVZSqiQX6eu", "ё".as_bytes()),
        ("$2x$04$abcdefghijklmnopqrstuu8UJeum09O225.lWz2kRD.1soYq5AR1S", "äöüßé€ aeiou ñandú".as_bytes()),
        ("$2y$05$abcdefghijklmnopqrstuuEivo9FG4ny.yuYfa.bnqGF1QJKhAkcS", "äöüßé€ aeiou ñandú".as_bytes()),
        ("$2x$04$abcdefghijklmnopqrstuubzadhGtS2zEF.gu0yd0opP6cVzb.e0i", &[b'x'; 80]),
    ];
    for (stored, secret) in vectors {
        assert_eq!(check(stored, secret), Ok(true), "{stored}");
    }
    assert_eq!(check("$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e", b"\xa3"), Ok(false));
}

#[test]
fn bcrypt_reads_72_bytes_and_stops_at_nul() {
    let stored = "$2y$05$abcdefghijklmnopqrstuujf8SX2ahXLwp9w/B.Y5XdysS6yR576q";
    for (length, expected) in [(71, false), (72, true), (73, true), (80, true), (4000, true)] {
        assert_eq!(check(stored, &vec![b'x'; length]), Ok(expected), "{length}");
    }
    let stored = "$2b$04$abcdefghijklmnopqrstuueqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi";
    assert_eq!(check(stored, &[SECRET.as_bytes(), b"\0more"].concat()), Ok(true));
}

#[test]
fn a_new_hash_is_parsed_taken_and_needs_no_upgrade() {
    let mut arena = Arena::new();
    let params = Argon2Params { m_kib: 64, t: 2, p: 2 };
    let stored = hash_new(SECRET.as_bytes(), [7; 16], &params, &mut arena).unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=64,t=2,p=2$BwcHBwcHBwcHBwcHBwcHBw$"), "{stored}");
    let hash = parse(&stored, &Caps::default()).unwrap();
    assert_eq!(hash.verify(SECRET.as_bytes(), &mut arena), Ok(true));
    assert!(!hash.needs_upgrade(&params));
    assert!(hash.needs_upgrade(&Argon2Params::default()));
    assert!(!hash.needs_upgrade(&Argon2Params { m_kib: 32, t: 4, p: 1 }), "as much work, more memory");
    assert!(hash.needs_upgrade(&Argon2Params { m_kib: 64, t: 3, p: 2 }));
    for (stored, _) in VECTORS.iter().filter(|(_, scheme)| *scheme != "argon2id") {
        assert!(parse(stored, &Caps::default()).unwrap().needs_upgrade(&params));
    }
    assert!(hash_new(b"x", [7; 16], &Argon2Params { m_kib: 7, t: 1, p: 1 }, &mut arena).is_err());
}

#[test]
fn the_arena_grows_is_reused_and_gives_back_the_excess() {
    let mut arena = Arena::new();
    let hash = |arena: &mut Arena, m_kib| hash_new(b"x", [1; 16], &Argon2Params { m_kib, t: 1, p: 1 }, arena).unwrap();
    let fresh = hash(&mut arena, 64);
    hash(&mut arena, 256);
    assert_eq!(arena.held_bytes(), 256 * 1024);
    assert_eq!(hash(&mut arena, 64), fresh, "what the arena held before must not matter");
    assert_eq!(arena.held_bytes(), 256 * 1024);
    hash(&mut arena, u32::try_from(Arena::RETAINED_BLOCKS_MAX).unwrap() + 8);
    assert_eq!(arena.held_bytes(), 0);
}

#[test]
fn a_decoy_costs_the_same_and_holds_nothing_of_its_model() {
    for (stored, scheme) in VECTORS {
        let model = parse(stored, &Caps::default()).unwrap();
        let decoy = model.decoy();
        assert_eq!((decoy.scheme(), decoy.relative_cost()), (*scheme, model.relative_cost()));
        assert_eq!(decoy.0.verify(SECRET.as_bytes(), &mut Arena::new()), Ok(false), "{scheme}");
        decoy.spend(SECRET.as_bytes(), &mut Arena::new());
    }
    let decoy = |stored| parse(stored, &Caps::default()).unwrap().decoy();
    let one = decoy("$1$Pfeffer$duC68EaBDYMRAcZ7Zs8ss.");
    assert_eq!(one, decoy("$1$SuMrG47$ymvzYjr7QcEQjaK5m1PGx1"));
    assert_ne!(one, decoy("$apr1$Pfeffer$BvZU1H8TAeTc0c6ZEKG/70"));
}

/// Converts, reads and checks.
fn converted(stored: Result<String, HashError>) -> Result<bool, HashError> {
    check(&stored?, SECRET.as_bytes())
}

#[test]
fn auth0_objects_become_texts() {
    let salt = json!({"value": "Pfeffer", "position": "prefix"});
    let objects = [
        json!({"algorithm": "sha256", "salt": salt, "hash": {"encoding": "hex",
            "value": "a80bdf8efe4c3ad5dabc5b104b77b4b29f0353c0fc85a072808f9c5b89def29d"}}),
        json!({"algorithm": "sha512", "salt": {"value": "UGZlZmZlcg==", "encoding": "base64", "position": "suffix"},
            "hash": {"encoding": "base64", "value":
            "oSrE/q5Powa47aRvulqpuwiiNyNWu50DdkBQtFijtcCXkS94Ud1eh6/n28cWBbGSh+06iGgoJK6HzRDISFKgyA=="}}),
        json!({"algorithm": "md5", "password": {"encoding": "utf16le"},
            "hash": {"encoding": "base64", "value": "1o114wS4Xg8vx3owN+9s2w=="}}),
        json!({"algorithm": "hmac", "hash": {"encoding": "base64", "digest": "sha1",
            "value": "0VL+5gcTdPktEYBltiaAwfmtPME=", "key": {"value": "736868", "encoding": "hex"}}}),
        json!({"algorithm": "hmac", "salt": salt, "hash": {"encoding": "hex", "digest": "sha256",
            "value": "4c93de7d8b4f3be837e4a78576eaf9caab81c1df6accb5934263d231cc2653d8",
            "key": {"value": "Schlüssel", "encoding": "utf8"}}}),
        json!({"algorithm": "scrypt", "keylen": 32, "cost": 64, "salt": salt, "hash": {"encoding": "hex",
            "value": "78f4108fd014c605a2831149f49cdf0dcc6832ad7059893c0dcb1f6b5cb8d926"}}),
        json!({"algorithm": "bcrypt",
            "hash": {"value": "$2b$04$abcdefghijklmnopqrstuueqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi"}}),
        json!({"algorithm": "ldap", "hash": {"value": "{SSHA}o+TOLFreK7AzsvXC+ReiHtAa0mgAc2Fsev8="}}),
        json!({"algorithm": "pbkdf2",
            "hash": {"value": "$pbkdf2-md5$i=300,l=16$8PHy8/T19vf4+fr7/P3+/w$2vpJFESbuaV6We3PFcD8MA"}}),
    ];
    for object in &objects {
        assert_eq!(converted(convert::auth0_custom(object)), Ok(true), "{object}");
    }
    // The NT hash of "NEWPASSWORD", published with passlib: MD4 over UTF-16.
    let nt = json!({"algorithm": "md4", "password": {"encoding": "utf16le"},
        "hash": {"encoding": "hex", "value": "256781a62031289d3c2c98c14f1efc8c"}});
    assert_eq!(check(&convert::auth0_custom(&nt).unwrap(), b"NEWPASSWORD"), Ok(true));
    assert_eq!(
        convert::auth0_custom(&json!({"algorithm": "whirlpool", "hash": {"value": "00"}})),
        Err(HashError::UnknownScheme)
    );
    for object in [json!(null), json!({"algorithm": "md5"}), json!({"algorithm": "bcrypt", "hash": {"value": "x"}})] {
        assert!(matches!(convert::auth0_custom(&object), Err(HashError::Malformed(_))), "{object}");
    }
}

#[test]
fn fusionauth_okta_and_passport_parts_become_texts() {
    let salt = "UGZlZmZlcg==";
    let fusionauth = |scheme, factor, hash| converted(convert::fusionauth(scheme, factor, salt, hash));
    assert_eq!(fusionauth("salted-sha256", 50, "K0YiaYslpjGYfhOffnGiXFaMbhEWty+uSrTsTTvL3SQ="), Ok(true));
    assert_eq!(fusionauth("salted-sha256", 51, "K0YiaYslpjGYfhOffnGiXFaMbhEWty+uSrTsTTvL3SQ="), Ok(false));
    assert_eq!(fusionauth("salted-md5", 3, "HIIYt2xzBsR+jHeFuCQWCg=="), Ok(true));
    assert_eq!(fusionauth("salted-hmac-sha256", 1, "Nk0N9N5X/TjKxwZhLy05cInjFqACjjhHuav3p8rXnWE="), Ok(true));
    let key = "UK3WE0OA/ic8wMxVZ8W6btBOXGHupqmJNFgE7RBIqBpaG24o2yOUWGuORBNq36q9dL+CCnUau+3FN1KhYQXaNA==";
    assert_eq!(fusionauth("salted-pbkdf2-hmac-sha256-512", 100, key), Ok(true));
    let phpass = convert::fusionauth("phpass-md5", 256, "Pfeffer1", "Htx07V7MH9yQu4QI/shWk1");
    assert_eq!(converted(phpass), Ok(true));
    let (salt, hash) = ("abcdefghijklmnopqrstuu", "eqYyFRTrNgIWpKW2h5F0Jjqm/481Mdi");
    assert_eq!(converted(convert::fusionauth("bcrypt", 4, salt, hash)), Ok(true));
    assert_eq!(converted(convert::okta_bcrypt(4, salt, hash)), Ok(true));
    assert!(convert::okta_bcrypt(40, salt, hash).is_err() && convert::okta_bcrypt(4, salt, "short").is_err());
    assert_eq!(convert::fusionauth("salted-rot13", 1, salt, hash), Err(HashError::UnknownScheme));
    let passport = "eb8e5c6f18dff87abad4a6f78200baaac291ced2b6d593bd3bc4b2e35976492d";
    assert_eq!(converted(convert::passport_local("sha256", 250, "00ff17", passport)), Ok(true));
}

#[test]
fn keycloak_credentials_become_texts_and_go_back() {
    let data = r#"{"hashIterations":900,"algorithm":"pbkdf2-sha256","additionalParameters":{}}"#;
    let secret = r#"{"salt":"8PHy8/T19vf4+fr7/P3+/w==","value":
        "t5C2FiXP4U7rQ5Tth6ausB9y1ykyDtPqN1lS7vQ1QHoY/F40511SRkrhBoEbM7Dv2oyMCxMC6CqHwEs+eVBTJQ=="}"#;
    let argon2_data = r#"{"hashIterations":2,"algorithm":"argon2","additionalParameters":{"hashLength":["24"],
        "memory":["64"],"type":["id"],"version":["1.3"],"parallelism":["2"]}}"#;
    let argon2_secret = r#"{"salt":"UGZlZmZlcktvcm4xNmNocg==","value":"/XXd8ILOrJJeLbay94pWnL/iX4Jfe5oH"}"#;
    for (data, secret) in [(data, secret), (argon2_data, argon2_secret)] {
        let stored = convert::from_keycloak(data, secret).unwrap();
        assert_eq!(check(&stored, SECRET.as_bytes()), Ok(true));
        let back = convert::to_keycloak(&stored, &Caps::default());
        assert_eq!(back.additional["stoa"], json!(null), "Keycloak's own form says it all");
        assert_eq!(convert::keycloak(&back), Ok(stored));
    }
    assert_eq!(
        convert::from_keycloak(r#"{"hashIterations":1,"algorithm":"rot13"}"#, argon2_secret),
        Err(HashError::UnknownScheme)
    );
    assert!(convert::from_keycloak("{", argon2_secret).is_err());
    assert!(convert::from_keycloak(data, "{}").is_err());
    let django = "pbkdf2_sha256$800$Pfeffer$0dIuICde+QdLmKQ6WBix44OVmlLG5ywMNTlMOn86qNc=";
    let mut parts = convert::to_keycloak(django, &Caps::default());
    parts.additional = json!({});
    assert_eq!(converted(convert::keycloak(&parts)), Ok(true), "Keycloak can check it, although the text differs");
}

#[test]
fn exports_give_back_the_same_text() {
    for (stored, _) in VECTORS {
        assert_eq!(convert::ldap(&convert::to_ldap(stored)), *stored);
        assert!(convert::to_ldap(stored).starts_with('{'), "without a mark it would be read as plain text");
        assert_eq!(convert::auth0_custom(&convert::to_auth0_custom(stored)).as_deref(), Ok(*stored));
        let parts = convert::to_keycloak(stored, &Caps::default());
        assert_eq!(convert::keycloak(&parts).as_deref(), Ok(*stored));
    }
    assert_eq!(convert::ldap("{crypt}$6$salt$hash"), "$6$salt$hash");
    assert_eq!(convert::ldap("{CRYPT}rqXexS6ZhobKA"), "{CRYPT}rqXexS6ZhobKA");
    assert_eq!(convert::to_ldap("$6$salt$hash"), "{CRYPT}$6$salt$hash");
    assert_eq!(convert::to_auth0_custom("$2b$04$x")["algorithm"], json!("bcrypt"));
}
