use stoa_format::{KeyEpoch, PoolId};

use super::*;
use crate::io::SimDisk;
use crate::io::sim::{Call, Crash, Failure, Fault, Keep};

const CHEAP: PassphraseCost = PassphraseCost { memory_kib: 64, passes: 1, lanes: 1 };
const CONTEXT: WrapContext = WrapContext { pool: PoolId([1; 16]), key_epoch: KeyEpoch(2) };
const PATH: &str = "DATA.key";

fn create(disk: &SimDisk, passphrase: Option<&[u8]>) -> LocalProvider {
    LocalProvider::create(disk.io(), PATH.as_ref(), passphrase.map(|text| (text, CHEAP))).unwrap()
}

fn open(disk: &SimDisk, passphrase: Option<&[u8]>) -> Result<LocalProvider, KeyError> {
    LocalProvider::open(disk.io(), PATH.as_ref(), passphrase)
}

#[test]
fn a_wrapped_key_comes_back_after_reopening() {
    for passphrase in [None, Some(b"correct horse".as_slice())] {
        let disk = SimDisk::new(1);
        let data_key = DataKey::from_bytes(&[7; 32]);
        let first = create(&disk, passphrase);
        let wrapped = first.wrap(&data_key, &CONTEXT).unwrap();
        assert_eq!((wrapped.provider.as_str(), wrapped.key_id.as_str()), ("local", first.key_id()));
        let wrapped = WrappedKey::decode(&wrapped.to_bytes()).unwrap();
        // What was created survives a power loss at once.
        let again = open(&disk.crash(Crash::whole(Keep::None)), passphrase).unwrap();
        assert!(again.unwrap(&wrapped, &CONTEXT).unwrap() == data_key);
        let status = LocalProvider::status(&disk, PATH.as_ref()).unwrap();
        assert_eq!(status, KeyFileStatus { key_id: first.key_id().to_owned(), passphrase: passphrase.map(|_| CHEAP) });
    }
}

#[test]
fn wrong_key_damage_and_wrong_place_are_told_apart() {
    let (disk, other) = (SimDisk::new(1), SimDisk::new(2));
    let provider = create(&disk, None);
    let wrapped = provider.wrap(&DataKey::from_bytes(&[7; 32]), &CONTEXT).unwrap();
    assert!(matches!(create(&other, None).unwrap(&wrapped, &CONTEXT), Err(KeyError::WrongKey { .. })));
    let foreign = WrappedKey { provider: "pkcs11".into(), ..wrapped.clone() };
    assert!(matches!(provider.unwrap(&foreign, &CONTEXT), Err(KeyError::WrongKey { .. })));
    for place in [WrapContext { pool: PoolId([2; 16]), ..CONTEXT }, WrapContext { key_epoch: KeyEpoch(3), ..CONTEXT }] {
        assert!(matches!(provider.unwrap(&wrapped, &place), Err(KeyError::Damaged { .. })));
    }
    for at in 0..wrapped.bytes.len() {
        let mut changed = wrapped.clone();
        changed.bytes[at] ^= 1;
        assert!(matches!(provider.unwrap(&changed, &CONTEXT), Err(KeyError::Damaged { .. })));
        changed.bytes.truncate(at);
        assert!(matches!(provider.unwrap(&changed, &CONTEXT), Err(KeyError::Damaged { .. })));
    }
}

#[test]
fn wrong_passphrase_is_told_from_damage() {
    let disk = SimDisk::new(1);
    create(&disk, Some(b"right"));
    assert!(matches!(open(&disk, Some(b"wrong")), Err(KeyError::WrongPassphrase { .. })));
    assert!(matches!(open(&disk, Some(b"")), Err(KeyError::WrongPassphrase { .. })));
    assert!(matches!(open(&disk, None), Err(KeyError::PassphraseNeeded { .. })));
    let bytes = disk.contents(PATH).unwrap();
    for at in 0..bytes.len() as u64 {
        let disk = disk.crash(Crash::whole(Keep::All));
        disk.flip_bit(PATH, at, 0).unwrap();
        assert!(matches!(open(&disk, Some(b"right")), Err(KeyError::FileDamaged { .. })), "byte {at}");
    }
    for len in 0..bytes.len() as u64 {
        let disk = disk.crash(Crash::whole(Keep::All));
        disk.resize(PATH, len).unwrap();
        assert!(matches!(open(&disk, Some(b"right")), Err(KeyError::FileDamaged { .. })), "length {len}");
    }
}

/// Damage that a forger has covered with a matching checksum.
#[test]
fn damage_with_a_matching_checksum_is_found_by_the_seal_and_the_key_id() {
    let disk = SimDisk::new(1);
    create(&disk, Some(b"right"));
    let mut bytes = disk.contents(PATH).unwrap();
    let end = bytes.len() - 4;
    for at in [12, 112 + 30, end - 1] {
        bytes[at] ^= 1;
        let crc = crc32fast::hash(&bytes[..end]).to_le_bytes();
        disk.overwrite(PATH, 0, &bytes[..end]).unwrap();
        disk.overwrite(PATH, end as u64, &crc).unwrap();
        assert!(matches!(open(&disk, Some(b"right")), Err(KeyError::FileDamaged { .. })), "byte {at}");
        bytes[at] ^= 1;
    }
    let plain = SimDisk::new(1);
    create(&plain, None);
    let mut bytes = plain.contents(PATH).unwrap();
    bytes[40] ^= 1;
    let crc = crc32fast::hash(&bytes[..64]).to_le_bytes();
    plain.overwrite(PATH, 0, &[&bytes[..64], &crc].concat()).unwrap();
    assert!(matches!(open(&plain, None), Err(KeyError::FileDamaged { .. })));
}

#[test]
fn a_missing_file_names_the_path_and_the_remedy() {
    let disk = SimDisk::new(1);
    let error = open(&disk, None).unwrap_err().to_string();
    assert!(error.starts_with("no key file DATA.key: put the one back"), "{error}");
    assert!(disk.files().is_empty(), "nothing is minted");
}

#[test]
fn a_key_file_is_never_overwritten_by_a_new_key() {
    let disk = SimDisk::new(1);
    create(&disk, None);
    let before = disk.contents(PATH).unwrap();
    let again = LocalProvider::create(disk.io(), PATH.as_ref(), None);
    assert!(matches!(again, Err(KeyError::Exists { .. })));
    assert_eq!(disk.contents(PATH).unwrap(), before);
}

#[test]
fn the_passphrase_changes_and_the_key_does_not() {
    let disk = SimDisk::new(1);
    let provider = create(&disk, None);
    let wrapped = provider.wrap(&DataKey::from_bytes(&[7; 32]), &CONTEXT).unwrap();
    provider.set_passphrase(Some((b"one", CHEAP))).unwrap();
    assert!(matches!(open(&disk, None), Err(KeyError::PassphraseNeeded { .. })));
    let provider = open(&disk, Some(b"one")).unwrap();
    provider.set_passphrase(Some((b"two", CHEAP))).unwrap();
    assert!(matches!(open(&disk, Some(b"one")), Err(KeyError::WrongPassphrase { .. })));
    open(&disk, Some(b"two")).unwrap().unwrap(&wrapped, &CONTEXT).unwrap();
    provider.set_passphrase(None).unwrap();
    open(&disk, Some(b"not looked at")).unwrap().unwrap(&wrapped, &CONTEXT).unwrap();
    assert_eq!(disk.files(), [PATH]);
}

#[test]
fn unfit_passphrases_are_refused_and_change_nothing() {
    let disk = SimDisk::new(1);
    let provider = create(&disk, None);
    let before = disk.contents(PATH).unwrap();
    let costly = PassphraseCost { memory_kib: (1 << 20) + 1, ..CHEAP };
    for (text, cost) in [(vec![], CHEAP), (vec![b'x'; PASSPHRASE_BYTES_MAX + 1], CHEAP), (vec![b'x'], costly)] {
        assert!(matches!(provider.set_passphrase(Some((&text, cost))), Err(KeyError::UnfitPassphrase(_))));
    }
    assert_eq!(disk.contents(PATH).unwrap(), before);
}

#[test]
fn a_crash_while_the_passphrase_changes_leaves_one_of_the_two() {
    let start = SimDisk::new(1);
    create(&start, Some(b"old"));
    for stop in 0.. {
        let disk = start.crash(Crash::whole(Keep::All));
        let provider = open(&disk, Some(b"old")).unwrap();
        disk.stop_after(stop);
        let done = provider.set_passphrase(Some((b"new", CHEAP))).is_ok();
        for seed in 0..20 {
            let after = disk.crash(Crash::noisy(Keep::Random(seed), 512, seed));
            let (old, new) = (open(&after, Some(b"old")).is_ok(), open(&after, Some(b"new")).is_ok());
            assert!(new || (old && !done), "step {stop} seed {seed}");
            assert_eq!(after.files(), [PATH], "nothing is left beside");
        }
        if done {
            return;
        }
    }
}

#[test]
fn a_failed_write_leaves_no_key_behind() {
    for (call, failure) in [(Call::Write, Failure::NoSpace), (Call::Sync, Failure::Io), (Call::Rename, Failure::Io)] {
        let disk = SimDisk::new(1);
        disk.inject(Fault::new(call, failure));
        assert!(matches!(LocalProvider::create(disk.io(), PATH.as_ref(), None), Err(KeyError::Io(_))));
        assert!(disk.files().is_empty(), "{:?}", disk.files());
    }
}

#[test]
fn no_secret_shows() {
    let disk = SimDisk::new(1);
    let provider = create(&disk, Some(b"hunter22"));
    let text = format!("{provider:?} {:?}", open(&disk, Some(b"hunter23")).unwrap_err());
    assert!(!text.contains("hunter"), "{text}");
    let secret: String = provider.key.secret_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(!text.contains(&secret[..8]), "{text}");
    assert!(!disk.contents(PATH).unwrap().windows(8).any(|bytes| bytes == &provider.key.secret_bytes()[..8]));
}

/// The default cost, once, and a length of passphrase at its bound.
#[test]
fn the_default_cost_works() {
    let disk = SimDisk::new(1);
    let passphrase = vec![0xff; PASSPHRASE_BYTES_MAX];
    LocalProvider::create(disk.io(), PATH.as_ref(), Some((&passphrase, PassphraseCost::default()))).unwrap();
    open(&disk, Some(&passphrase)).unwrap();
}
