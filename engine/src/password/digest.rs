//! The digests that hashes are built from, chosen at run time.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Digest as _;

/// A message digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Digest {
    Md4,
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

/// Evaluates an expression with `$type` standing for the digest's type.
macro_rules! with_digest {
    ($digest:expr, $type:ident => $body:expr) => {
        match $digest {
            Digest::Md4 => {
                type $type = md4::Md4;
                $body
            }
            Digest::Md5 => {
                type $type = md5::Md5;
                $body
            }
            Digest::Sha1 => {
                type $type = sha1::Sha1;
                $body
            }
            Digest::Sha224 => {
                type $type = sha2::Sha224;
                $body
            }
            Digest::Sha256 => {
                type $type = sha2::Sha256;
                $body
            }
            Digest::Sha384 => {
                type $type = sha2::Sha384;
                $body
            }
            Digest::Sha512 => {
                type $type = sha2::Sha512;
                $body
            }
        }
    };
}

impl Digest {
    /// The digest called `name`, in lower case and without a dash (`sha256`).
    pub(super) fn named(name: &str) -> Option<Digest> {
        Some(match name {
            "md4" => Digest::Md4,
            "md5" => Digest::Md5,
            "sha1" => Digest::Sha1,
            "sha224" => Digest::Sha224,
            "sha256" => Digest::Sha256,
            "sha384" => Digest::Sha384,
            "sha512" => Digest::Sha512,
            _ => return None,
        })
    }

    /// Its name, as [`Digest::named`] takes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Digest::Md4 => "md4",
            Digest::Md5 => "md5",
            Digest::Sha1 => "sha1",
            Digest::Sha224 => "sha224",
            Digest::Sha256 => "sha256",
            Digest::Sha384 => "sha384",
            Digest::Sha512 => "sha512",
        }
    }

    /// Length of its output in bytes.
    pub(super) fn output_bytes(self) -> usize {
        match self {
            Digest::Md4 | Digest::Md5 => 16,
            Digest::Sha1 => 20,
            Digest::Sha224 => 28,
            Digest::Sha256 => 32,
            Digest::Sha384 => 48,
            Digest::Sha512 => 64,
        }
    }

    /// Nanoseconds that one iteration of HMAC with a short message takes, roughly, on one core.
    pub(super) fn hmac_nanos(self) -> u64 {
        match self {
            Digest::Md4 | Digest::Md5 => 220,
            Digest::Sha1 => 190,
            Digest::Sha224 | Digest::Sha256 => 230,
            Digest::Sha384 | Digest::Sha512 => 800,
        }
    }

    /// The digest of `message`.
    pub(super) fn hash(self, message: &[u8]) -> Vec<u8> {
        with_digest!(self, D => D::digest(message).to_vec())
    }

    /// HMAC (RFC 2104) of `message` under `key`.
    pub(super) fn hmac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        with_digest!(self, D => match <Hmac<D> as KeyInit>::new_from_slice(key) {
            Ok(mac) => mac.chain_update(message).finalize().into_bytes().to_vec(),
            Err(_) => unreachable!("HMAC takes a key of any length"),
        })
    }

    /// PBKDF2 (RFC 8018) with HMAC of this digest, `length` bytes long.
    pub(super) fn pbkdf2(self, secret: &[u8], salt: &[u8], iterations: u32, length: usize) -> Vec<u8> {
        let mut key = vec![0; length];
        with_digest!(self, D => pbkdf2::pbkdf2_hmac::<D>(secret, salt, iterations, &mut key));
        key
    }
}

#[cfg(test)]
mod tests {
    use super::super::encoding::to_hex;
    use super::*;

    const ALL: [Digest; 7] =
        [Digest::Md4, Digest::Md5, Digest::Sha1, Digest::Sha224, Digest::Sha256, Digest::Sha384, Digest::Sha512];

    #[test]
    fn names_and_lengths_agree() {
        for digest in ALL {
            assert_eq!(Digest::named(digest.name()), Some(digest));
            assert_eq!(digest.hash(b"abc").len(), digest.output_bytes());
            assert_eq!(digest.hmac(b"key", b"abc").len(), digest.output_bytes());
        }
        assert_eq!(Digest::named("whirlpool"), None);
    }

    #[test]
    fn published_vectors() {
        assert_eq!(to_hex(&Digest::Md4.hash(b"abc")), "a448017aaf21d8525fc10ae87aa6729d"); // RFC 1320
        assert_eq!(to_hex(&Digest::Md5.hash(b"abc")), "900150983cd24fb0d6963f7d28e17f72"); // RFC 1321
        assert_eq!(
            to_hex(&Digest::Sha1.hmac(b"Jefe", b"what do ya want for nothing?")), // RFC 2202
            "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
        );
        assert_eq!(
            to_hex(&Digest::Sha1.pbkdf2(b"password", b"salt", 4096, 20)), // RFC 6070
            "4b007901b765489abead49d926f721d065a429c1"
        );
    }
}
