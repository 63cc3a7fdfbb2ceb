use std::path::PathBuf;

use proptest::prelude::*;

use super::keccak::Shake128;
use super::*;

/// The two cases of the specification: key byte, associated data, cipher text and tag.
const PUBLISHED: [(u8, &[u8], &str); 2] = [
    (1, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
    (3, b"c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
];
const PUBLISHED_NONCE: &[u8; 24] = b"ABCDEFGHIJKLMNOPQRSTUVWX";
const PUBLISHED_TEXT: &[u8] = b"XAES-256-GCM";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sealed_with(key: &[u8; 32], nonce: &[u8; 24], ad: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    SealKey::new(key).seal_with_nonce(nonce, ad, plain, &mut out);
    out
}

#[test]
fn published_vectors() {
    for (byte, ad, expected) in PUBLISHED {
        let sealed = sealed_with(&[byte; 32], PUBLISHED_NONCE, ad, PUBLISHED_TEXT);
        assert_eq!(&sealed[..24], PUBLISHED_NONCE);
        assert_eq!(hex(&sealed[24..]), expected);
        let mut plain = b"before ".to_vec();
        SealKey::new(&[byte; 32]).open(ad, &sealed, &mut plain).unwrap();
        assert_eq!(plain, b"before XAES-256-GCM");
    }
}

#[test]
fn published_intermediate_values() {
    let key = SealKey::new(&[1; 32]);
    assert_eq!(hex(&*key.k1), "e531954aca063d5b8d9c47a47d4cc6f0");
    let (subkey, rest) = key.subkey(PUBLISHED_NONCE);
    assert_eq!(hex(&*subkey), "c8612c9ed53fe43e8e005b828a1631a0bbcb6ab2f46514ec4f439fcfd0fa969b");
    assert_eq!(&rest, b"MNOPQRSTUVWX");
    // With this key the top bit of L is set.
    assert_eq!(hex(&*SealKey::new(&[3; 32]).k1), "23810ec50edb99f374409466ed1f4b7b");
}

/// The specification's accumulated vector: many random cases, hashed into one value.
fn accumulated(rounds: usize) -> String {
    let (mut source, mut sum) = (Shake128::default(), Shake128::default());
    for _ in 0..rounds {
        let (key, nonce) = (source.next::<32>(), source.next::<24>());
        let mut plain = vec![0; usize::from(source.next::<1>()[0])];
        source.squeeze(&mut plain);
        let mut ad = vec![0; usize::from(source.next::<1>()[0])];
        source.squeeze(&mut ad);
        sum.absorb(&sealed_with(&key, &nonce, &ad, &plain)[24..]);
    }
    hex(&sum.next::<32>())
}

#[test]
fn accumulated_vector() {
    assert_eq!(accumulated(10_000), "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939");
}

/// The shared file of vectors, where there is one, says the same as the figures above.
#[test]
fn shared_vectors() {
    let data = std::env::var_os("STOA_SHARED_DATA").map(PathBuf::from);
    let data = data.unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data")));
    let path = data.join("vectors/xaes-256-gcm.json");
    #[expect(clippy::disallowed_methods, reason = "test data, not the store's")]
    let Ok(text) = std::fs::read(&path) else {
        println!("skipped: no {}", path.display());
        return;
    };
    let vectors: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    for (case, (byte, ad, expected)) in cases.iter().zip(PUBLISHED) {
        assert_eq!(case["key"], hex(&[byte; 32]));
        assert_eq!(case["aad_ascii"].as_str().map(str::as_bytes), Some(ad));
        assert_eq!(case["ciphertext"], expected);
    }
    assert_eq!(cases.len(), PUBLISHED.len());
    assert_eq!(vectors["accumulated"]["10000"], accumulated(10_000));
}

proptest! {
    /// What one implementation seals the other opens, and both seal the same.
    #[test]
    fn implementations_agree(key: [u8; 32], nonce: [u8; 12], ad: Vec<u8>, plain in proptest::collection::vec(any::<u8>(), 0..600)) {
        let (mut one, mut two) = (plain.clone(), plain.clone());
        let tag = gcm_aws::seal(&key, &nonce, &ad, &mut one);
        prop_assert_eq!(tag, gcm_rust::seal(&key, &nonce, &ad, &mut two));
        prop_assert_eq!(&one, &two);
        let wrong = tag.map(|byte| byte ^ 1);
        prop_assert!(!gcm_rust::open(&key, &nonce, &ad, &wrong, &mut one.clone()));
        prop_assert!(!gcm_aws::open(&key, &nonce, &ad, &wrong, &mut one.clone()));
        prop_assert!(gcm_rust::open(&key, &nonce, &ad, &tag, &mut one));
        prop_assert!(gcm_aws::open(&key, &nonce, &ad, &tag, &mut two));
        prop_assert!(one == plain && two == plain);
    }

    #[test]
    fn what_is_sealed_opens_and_nothing_else(key: [u8; 32], random: [u8; 16], ad: Vec<u8>, plain: Vec<u8>, at: prop::sample::Index, bit in 0u8..8) {
        let (key, hedge) = (SealKey::new(&key), HedgeKey::new(&[9; 32]));
        let (mut sealed, mut out) = (vec![], vec![]);
        key.seal(&hedge, random, &ad, &plain, &mut sealed);
        prop_assert_eq!(sealed.len(), plain.len() + SEAL_OVERHEAD_BYTES);
        key.open(&ad, &sealed, &mut out).unwrap();
        prop_assert_eq!(&out, &plain);
        let mut other_ad = ad.clone();
        other_ad.push(0);
        prop_assert_eq!(key.open(&other_ad, &sealed, &mut out), Err(OpenError::Tag));
        prop_assert_eq!(SealKey::new(&[7; 32]).open(&ad, &sealed, &mut out), Err(OpenError::Tag));
        let at = at.index(sealed.len());
        prop_assert!(key.open(&ad, &sealed[..at], &mut out).is_err());
        sealed[at] ^= 1 << bit;
        prop_assert_eq!(key.open(&ad, &sealed, &mut out), Err(OpenError::Tag));
        prop_assert_eq!(out, plain, "a failure leaves the output as it was");
    }
}

/// With a generator that always says the same, nonces differ as soon as anything sealed differs.
#[test]
fn nonces_repeat_only_for_the_same_text() {
    let hedge = HedgeKey::new(&[9; 32]);
    let nonce = |ad: &[u8], plain: &[u8]| hedge.nonce([0; 16], ad, plain);
    let all = [nonce(b"", b"ab"), nonce(b"a", b"b"), nonce(b"ab", b""), nonce(b"", b"abc"), nonce(b"", b"")];
    for (i, one) in all.iter().enumerate() {
        assert!(all[i + 1..].iter().all(|other| other != one));
    }
    assert_eq!(nonce(b"a", b"b"), nonce(b"a", b"b"));
    assert_ne!(nonce(b"a", b"b"), hedge.nonce([1; 16], b"a", b"b"));
    assert_ne!(nonce(b"a", b"b"), HedgeKey::new(&[8; 32]).nonce([0; 16], b"a", b"b"));
}

#[test]
fn debug_shows_no_key() {
    assert_eq!(format!("{:?} {:?}", SealKey::new(&[1; 32]), HedgeKey::new(&[2; 32])), "SealKey(..) HedgeKey(..)");
}

/// `cargo test -p stoa-engine --lib seal_speed -- --ignored --nocapture` prints what a page costs.
#[test]
#[ignore = "measures"]
#[expect(clippy::disallowed_methods, reason = "measures real time")]
fn seal_speed() {
    use std::time::Instant;
    let (key, hedge) = (SealKey::new(&[1; 32]), HedgeKey::new(&[2; 32]));
    for plain_bytes in [64, 1024, 16 << 10] {
        let (plain, rounds) = (vec![7u8; plain_bytes], 20_000);
        let (mut sealed, mut out) = (Vec::new(), Vec::new());
        let start = Instant::now();
        for _ in 0..rounds {
            sealed.clear();
            key.seal(&hedge, [0; 16], &[0; 58], &plain, &mut sealed);
        }
        let seal = start.elapsed() / rounds;
        let start = Instant::now();
        for _ in 0..rounds {
            out.clear();
            key.open(&[0; 58], &sealed, &mut out).unwrap();
        }
        let open = start.elapsed() / rounds;
        let start = Instant::now();
        for i in 0..rounds {
            let mut nonce = *PUBLISHED_NONCE;
            nonce[0] = i as u8;
            std::hint::black_box(key.subkey(&nonce));
        }
        let subkey = start.elapsed() / rounds;
        println!("{plain_bytes} B: seal {seal:?}, open {open:?}, of which subkey {subkey:?}");
    }
}
