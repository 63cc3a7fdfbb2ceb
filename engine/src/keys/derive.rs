//! Keys out of keys: HKDF-SHA-256 (RFC 5869), one label a purpose. The labels are part of the format
//! (format-spec, chapter encryption).

use std::fmt;
use std::io;

use hkdf::Hkdf;
use sha2::Sha256;
use stoa_format::{FileId, PoolId};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::seal::{HedgeKey, SealKey};
use crate::io::Io;

const MANIFEST_LABEL: &[u8] = b"stoa manifest key v1";
const HEDGE_LABEL: &[u8] = b"stoa hedge key v1";
const FILE_LABEL: &[u8] = b"stoa file key v1";

/// Expands `key` into `N` bytes: HKDF-SHA-256 with this salt, and `label ‖ context` as info.
pub(super) fn expand<const N: usize>(
    key: &[u8; 32],
    salt: Option<&[u8; 32]>,
    label: &[u8],
    context: &[&[u8]],
) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * 32, "HKDF-SHA-256 gives no more") };
    let mut info = vec![label];
    info.extend_from_slice(context);
    let mut out = Zeroizing::new([0; N]);
    let hkdf = Hkdf::<Sha256>::new(salt.map(<[u8; 32]>::as_slice), key);
    hkdf.expand_multi_info(&info, &mut *out).expect("N is within HKDF's bound");
    out
}

/// The 32 bytes at `at`, as a key.
pub(super) fn part<const N: usize>(bytes: &[u8; N], at: usize) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    out.copy_from_slice(&bytes[at..at + 32]);
    out
}

/// 32 random bytes.
pub(super) fn random_key(io: &dyn Io) -> io::Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    io.random(&mut *key)?;
    Ok(key)
}

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Zeroize, ZeroizeOnDrop)]
        pub struct $name([u8; 32]);

        impl $name {
            /// A new random one.
            ///
            /// # Errors
            /// If the operating system has no random bytes to give.
            pub fn generate(io: &dyn Io) -> io::Result<Self> {
                random_key(io).map(|key| Self(*key))
            }

            /// The one with these bytes, which the caller wipes.
            pub fn from_bytes(bytes: &[u8; 32]) -> Self {
                Self(*bytes)
            }

            /// Its bytes, for wrapping or for a sealed place only.
            pub fn secret_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }

        /// In constant time.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }

        impl Eq for $name {}
    };
}

secret! {
    /// A pool's key of one key epoch: everything of the pool is sealed under keys that come from it. It seals
    /// nothing itself.
    DataKey
}

secret! {
    /// The key of a pool's log frames between two flushes. Random, so that dropping it makes the frames
    /// unreadable even to whoever has the data key.
    PeriodKey
}

impl DataKey {
    /// The key that seals this pool's manifest.
    pub fn manifest_key(&self, pool: PoolId) -> SealKey {
        SealKey::new(&expand(&self.0, None, MANIFEST_LABEL, &[&pool.0]))
    }

    /// The key that feeds the nonces of everything sealed for this pool.
    pub fn hedge_key(&self, pool: PoolId) -> HedgeKey {
        HedgeKey::new(&expand(&self.0, None, HEDGE_LABEL, &[&pool.0]))
    }
}

impl PeriodKey {
    /// The key as it seals and opens frames.
    pub fn seal_key(&self) -> SealKey {
        SealKey::new(&self.0)
    }
}

/// What seals one column or index file.
pub struct FileKeys {
    /// Seals and opens the file's pages.
    pub key: SealKey,
    /// Stands in the file's header and is checked before any page: AES-GCM alone does not commit to its key,
    /// so without it a file could be made that opens under two.
    pub commitment: [u8; 32],
    /// Keys the root over the file's pages.
    root_key: Zeroizing<[u8; 32]>,
}

impl FileKeys {
    /// The keys of one file: HKDF with the file's salt gives key (32) ‖ commitment (32) ‖ root key (32). Without
    /// the salt, which stands in the manifest alone, the data key does not open the file.
    pub fn derive(data_key: &DataKey, pool: PoolId, file: FileId, salt: &[u8; 32]) -> Self {
        let all = expand::<96>(&data_key.0, Some(salt), FILE_LABEL, &[&pool.0, &file.0.to_le_bytes()]);
        Self { key: SealKey::new(&part(&all, 0)), commitment: *part(&all, 32), root_key: part(&all, 64) }
    }

    /// Keyed BLAKE3 for the root over the file's pages.
    pub(crate) fn root_hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&self.root_key)
    }

    /// Whether the commitment in a file's header is the one of these keys; in constant time.
    #[must_use]
    pub fn commits_to(&self, commitment: &[u8; 32]) -> bool {
        self.commitment.ct_eq(commitment).into()
    }
}

impl fmt::Debug for FileKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKeys(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::SimDisk;

    const POOL: PoolId = PoolId([7; 16]);

    fn opens(one: &SealKey, other: &SealKey) -> bool {
        let mut sealed = Vec::new();
        one.seal(&HedgeKey::new(&[0; 32]), [0; 16], b"", b"text", &mut sealed);
        other.open(b"", &sealed, &mut Vec::new()).is_ok()
    }

    #[test]
    fn file_keys_depend_on_everything() {
        let key = DataKey::from_bytes(&[1; 32]);
        let derive = |pool, file, salt| FileKeys::derive(&key, pool, FileId(file), salt);
        let keys = derive(POOL, 1, &[2; 32]);
        let same = derive(POOL, 1, &[2; 32]);
        assert!(opens(&keys.key, &same.key) && keys.commits_to(&same.commitment));
        for other in [
            derive(PoolId([8; 16]), 1, &[2; 32]),
            derive(POOL, 2, &[2; 32]),
            derive(POOL, 1, &[3; 32]),
            FileKeys::derive(&DataKey::from_bytes(&[9; 32]), POOL, FileId(1), &[2; 32]),
        ] {
            assert!(!opens(&keys.key, &other.key) && !keys.commits_to(&other.commitment));
        }
    }

    /// Computed with the RFC 5869 construction in Python (hmac, hashlib), apart from this code.
    #[test]
    fn file_keys_are_hkdf() {
        let both = expand::<64>(&[1; 32], Some(&[2; 32]), FILE_LABEL, &[&POOL.0, &5u64.to_le_bytes()]);
        let keys = FileKeys::derive(&DataKey::from_bytes(&[1; 32]), POOL, FileId(5), &[2; 32]);
        assert_eq!(keys.commitment, both[32..]);
        assert!(opens(&keys.key, &SealKey::new(&part(&both, 0))));
        let hex: String = both.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, HKDF_VECTOR);
    }

    const HKDF_VECTOR: &str = "fba0826eb926be4f68fdeeb42f626312b4bce243ab1238a36f74e6cbdd936f5299f33a125c363f86fb4c77cf64e66c3e6e1b7b1ee806761c6418ee32e26d7e0e";

    #[test]
    fn purposes_are_apart() {
        let key = DataKey::from_bytes(&[1; 32]);
        let manifest = key.manifest_key(POOL);
        assert!(opens(&manifest, &key.manifest_key(POOL)));
        assert!(!opens(&manifest, &key.manifest_key(PoolId([8; 16]))));
        assert!(!opens(&manifest, &SealKey::new(key.secret_bytes())));
        let hedge = expand::<32>(&[1; 32], None, HEDGE_LABEL, &[&POOL.0]);
        assert!(!opens(&manifest, &SealKey::new(&hedge)));
    }

    #[test]
    fn random_keys_differ_and_show_nothing() {
        let io = SimDisk::new(1).io();
        let (one, two) = (DataKey::generate(&*io).unwrap(), DataKey::generate(&*io).unwrap());
        assert!(one != two && one == one.clone());
        assert_eq!(format!("{one:?}"), "DataKey(..)");
        let period = PeriodKey::generate(&*io).unwrap();
        assert_eq!(format!("{period:?}"), "PeriodKey(..)");
        assert!(opens(&period.seal_key(), &PeriodKey::from_bytes(period.secret_bytes()).seal_key()));
    }
}
