//! The golden vectors of format-spec, made by another implementation from the text of its chapter on encryption.

use std::sync::Arc;

use serde_json::Value;
use stoa_format::{FileId, KeyEpoch, PoolId};

use super::derive::expand;
use super::*;
use crate::io::{Io, OpenMode, SimDisk};

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn bytes(vector: &Value, name: &str) -> Vec<u8> {
    let text = vector[name].as_str().unwrap_or_else(|| panic!("{vector} has no {name}"));
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn array<const N: usize>(vector: &Value, name: &str) -> [u8; N] {
    bytes(vector, name).try_into().unwrap()
}

fn seal(key: &SealKey, hedge: &HedgeKey) -> Vec<u8> {
    let mut out = Vec::new();
    key.seal(hedge, [5; 16], b"place", b"text", &mut out);
    out
}

/// A key file on a disk of its own.
fn disk_with(content: &[u8]) -> SimDisk {
    let disk = SimDisk::new(1);
    disk.open("DATA.key".as_ref(), OpenMode::Create).unwrap().write_all_at(content, 0).unwrap();
    disk
}

fn check(vector: &Value) {
    let pool = || PoolId(array(vector, "pool"));
    let data_key = || DataKey::from_bytes(&array(vector, "data_key"));
    let hedge = HedgeKey::new(&[1; 32]);
    match vector["kind"].as_str().unwrap() {
        "file keys" => {
            let (file, salt) = (vector["file_id"].as_u64().unwrap(), array(vector, "salt"));
            let keys = FileKeys::derive(&data_key(), pool(), FileId(file), &salt);
            assert_eq!(seal(&keys.key, &hedge), seal(&SealKey::new(&array(vector, "key")), &hedge));
            assert!(keys.commits_to(&array(vector, "commitment")));
        }
        "pool keys" => {
            let manifest = SealKey::new(&array(vector, "manifest_key"));
            assert_eq!(seal(&data_key().manifest_key(pool()), &hedge), seal(&manifest, &hedge));
            let expected = HedgeKey::new(&array(vector, "hedge_key"));
            assert_eq!(seal(&manifest, &data_key().hedge_key(pool())), seal(&manifest, &expected));
        }
        "seal" => {
            let (key, hedge) = (SealKey::new(&array(vector, "key")), HedgeKey::new(&array(vector, "hedge_key")));
            let (ad, plain) = (bytes(vector, "ad"), bytes(vector, "plain"));
            let (mut sealed, mut opened) = (Vec::new(), Vec::new());
            key.seal(&hedge, array(vector, "random"), &ad, &plain, &mut sealed);
            assert_eq!(sealed, bytes(vector, "sealed"));
            key.open(&ad, &sealed, &mut opened).unwrap();
            assert_eq!(opened, plain);
        }
        "does not open" => {
            let key = SealKey::new(&array(vector, "key"));
            assert!(key.open(&bytes(vector, "ad"), &bytes(vector, "sealed"), &mut Vec::new()).is_err());
        }
        "unwrap" => {
            let provider = provider_of(&array(vector, "customer_key"));
            let wrapped = WrappedKey::decode(&bytes(vector, "wrapped")).unwrap();
            let key_epoch = KeyEpoch(vector["key_epoch"].as_u64().unwrap() as u32);
            let unwrapped = provider.unwrap(&wrapped, &WrapContext { pool: pool(), key_epoch });
            match vector["refusal"].as_str() {
                None => assert!(unwrapped.unwrap() == data_key()),
                Some("damaged") => assert!(matches!(unwrapped, Err(KeyError::Damaged { .. }))),
                Some("wrong key") => assert!(matches!(unwrapped, Err(KeyError::WrongKey { .. }))),
                other => panic!("{other:?}"),
            }
        }
        other => panic!("{other}"),
    }
}

/// The provider that holds this customer key in a file without a passphrase.
fn provider_of(customer_key: &[u8; 32]) -> LocalProvider {
    use stoa_format::keyfile::{CUSTOMER_KEY_INFO, KeyFile, Protection};
    let derived = expand::<80>(customer_key, None, CUSTOMER_KEY_INFO, &[]);
    let (key_id, mut file) = (derived[64..].try_into().unwrap(), Vec::new());
    KeyFile { write_version: 1, key_id, protection: Protection::None { key: customer_key } }.encode(&mut file);
    LocalProvider::open(disk_with(&file).io(), "DATA.key".as_ref(), None).unwrap()
}

#[test]
fn keys() {
    for vector in lines(include_str!("../../../format-spec/vectors/keys.jsonl")) {
        println!("{vector}");
        check(&vector);
    }
}

#[test]
fn key_files() {
    for vector in lines(include_str!("../../../format-spec/vectors/key-file.jsonl")) {
        println!("{vector}");
        let io: Arc<dyn Io> = disk_with(&bytes(&vector, "hex")).io();
        let opened = LocalProvider::open(io, "DATA.key".as_ref(), vector["passphrase"].as_str().map(str::as_bytes));
        match (vector["error"].as_str(), vector["refusal"].as_str()) {
            (None, None) => {
                let expected = provider_of(&array(&vector, "customer_key"));
                let opened = opened.unwrap();
                assert_eq!(opened.key_id(), expected.key_id());
                let is_newer = matches!(opened.set_passphrase(None), Err(KeyError::Newer { .. }));
                assert_eq!(is_newer, vector["name"].as_str().unwrap().starts_with("newer"));
            }
            (Some(_), None) | (None, Some("damaged")) => assert!(matches!(opened, Err(KeyError::FileDamaged { .. }))),
            (None, Some("wrong passphrase")) => assert!(matches!(opened, Err(KeyError::WrongPassphrase { .. }))),
            (None, Some("needs its passphrase")) => assert!(matches!(opened, Err(KeyError::PassphraseNeeded { .. }))),
            other => panic!("{other:?}"),
        }
    }
}
