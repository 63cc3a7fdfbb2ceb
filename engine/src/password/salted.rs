//! Plain digests of secret and salt, and HMACs: fast, so weak; taken only to be replaced at the next sign-in.
//!
//! | form | written by |
//! | --- | --- |
//! | `{SSHA}blob`, `{SMD5}`, `{SHA256}`, … | LDAP: digest of secret ‖ salt, then the salt, in base64 |
//! | `{FSHP1\|8\|4096}blob` | Fairly Secure Hashed Passwords: digest of salt ‖ secret, iterated |
//! | `sha1$salt$hash`, `md5$…` | Django of old: digest of salt ‖ secret, hexadecimal |
//! | `$sha256$hash` | Ory Kratos: no salt |
//! | `$sha256$pf=template$salt$hash` | Ory Kratos: the template, in base64, says where `{SALT}` and `{PASSWORD}` stand |
//! | `$sha256$pf=…,i=20000,enc=utf16le$salt$hash` | this crate: also iterations, and how the secret becomes bytes |
//! | `$hmac-sha256$hash$key` | Ory Kratos: base64 of the hexadecimal HMAC of the secret |
//! | `$hmac-sha256$pf=…,enc=…$salt$hash$key` | this crate: with a salt in the message, the HMAC in base64 |

use zeroize::Zeroizing;

use super::caps::Caps;
use super::digest::Digest;
use super::encoding::{base64, decimal, fields, hex, to_base64_padded};
use super::{HashError, same};

const SALT_MARK: &str = "{SALT}";
const PASSWORD_MARK: &str = "{PASSWORD}";

/// How the secret becomes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextEncoding {
    /// As it came.
    Utf8,
    /// UTF-16, little-endian, as Windows has it.
    Utf16Le,
}

/// One piece of the message that is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Salt,
    Password,
    Literal(String),
}

/// How the message is put together; the secret stands in it exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Template {
    pieces: Vec<Piece>,
    encoding: TextEncoding,
}

impl Template {
    fn password_then_salt() -> Self {
        Template { pieces: vec![Piece::Password, Piece::Salt], encoding: TextEncoding::Utf8 }
    }

    fn salt_then_password() -> Self {
        Template { pieces: vec![Piece::Salt, Piece::Password], encoding: TextEncoding::Utf8 }
    }

    /// Reads text such as `{SALT}??{PASSWORD}`.
    fn parse(text: &str, encoding: TextEncoding) -> Result<Self, HashError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let marks = [(SALT_MARK, Piece::Salt), (PASSWORD_MARK, Piece::Password)];
            if let Some((mark, piece)) = marks.into_iter().find(|(mark, _)| rest.starts_with(mark)) {
                pieces.push(piece);
                rest = &rest[mark.len()..];
                continue;
            }
            let next = [SALT_MARK, PASSWORD_MARK].iter().filter_map(|mark| rest.find(mark)).min();
            let (literal, after) = rest.split_at(next.unwrap_or(rest.len()));
            pieces.push(Piece::Literal(literal.to_owned()));
            rest = after;
        }
        // Without the secret in it, every secret would match.
        if pieces.iter().filter(|piece| **piece == Piece::Password).count() != 1 {
            return Err(HashError::Malformed("template without {PASSWORD}"));
        }
        Ok(Template { pieces, encoding })
    }

    /// The message for `secret`, or nothing if it has no such encoding.
    fn fill(&self, secret: &[u8], salt: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let encoded = match self.encoding {
            TextEncoding::Utf8 => Zeroizing::new(secret.to_vec()),
            TextEncoding::Utf16Le => {
                let text = std::str::from_utf8(secret).ok()?;
                Zeroizing::new(text.encode_utf16().flat_map(u16::to_le_bytes).collect())
            }
        };
        let mut message = Zeroizing::new(Vec::with_capacity(encoded.len() + salt.len() + 64));
        for piece in &self.pieces {
            message.extend_from_slice(match piece {
                Piece::Salt => salt,
                Piece::Password => &encoded,
                Piece::Literal(text) => text.as_bytes(),
            });
        }
        Some(message)
    }
}

/// The parameters between the name and the salt: `pf=…[,i=…][,enc=…]`.
struct Params {
    template: Template,
    iterations: u32,
}

impl Params {
    fn parse(text: &str, caps: &Caps) -> Result<Self, HashError> {
        let (mut template, mut iterations, mut encoding) = (None, 1, TextEncoding::Utf8);
        for part in text.split(',') {
            match part.split_once('=') {
                Some(("pf", value)) => {
                    let bytes = base64(value, "template")?;
                    template = Some(String::from_utf8(bytes).map_err(|_| HashError::Malformed("template"))?);
                }
                Some(("i", value)) => iterations = decimal(value, "iterations")?,
                Some(("enc", "utf16le")) => encoding = TextEncoding::Utf16Le,
                Some(("enc", "utf8")) => encoding = TextEncoding::Utf8,
                _ => return Err(HashError::Malformed("digest parameters")),
            }
        }
        caps.check_iterations(iterations, 1)?;
        let template = template.ok_or(HashError::Malformed("template missing"))?;
        Ok(Params { template: Template::parse(&template, encoding)?, iterations })
    }
}

/// A parsed digest of secret and salt.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SaltedDigest {
    digest: Digest,
    template: Template,
    iterations: u32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl SaltedDigest {
    fn new(
        digest: Digest,
        template: Template,
        iterations: u32,
        salt: Vec<u8>,
        hash: Vec<u8>,
    ) -> Result<Self, HashError> {
        if hash.len() != digest.output_bytes() {
            return Err(HashError::Malformed("digest length"));
        }
        Ok(SaltedDigest { digest, template, iterations, salt, hash })
    }

    /// Parses what follows `{SCHEME}`; `salted` ones carry at least one byte of salt behind the digest.
    pub(super) fn parse_ldap(digest: Digest, salted: bool, text: &str) -> Result<Self, HashError> {
        let mut hash = base64(text, "digest")?;
        if hash.len() < digest.output_bytes() || salted != (hash.len() > digest.output_bytes()) {
            return Err(HashError::Malformed("digest length"));
        }
        let salt = hash.split_off(digest.output_bytes());
        Self::new(digest, Template::password_then_salt(), 1, salt, hash)
    }

    /// Parses `FSHPn|salt bytes|iterations` and what follows the closing brace.
    pub(super) fn parse_fshp(head: &str, text: &str, caps: &Caps) -> Result<Self, HashError> {
        const WHAT: &str = "fshp parameters";
        let mut parts = head.split('|');
        let digest = match parts.next() {
            Some("FSHP0") => Digest::Sha1,
            Some("FSHP1") => Digest::Sha256,
            Some("FSHP2") => Digest::Sha384,
            Some("FSHP3") => Digest::Sha512,
            _ => return Err(HashError::UnknownScheme),
        };
        let mut next = || decimal(parts.next().unwrap_or_default(), WHAT);
        let (salt_bytes, iterations) = (next()? as usize, next()?);
        caps.check_iterations(iterations, 1)?;
        let mut salt = base64(text, "digest")?;
        if parts.next().is_some() || salt.len() != salt_bytes.saturating_add(digest.output_bytes()) {
            return Err(HashError::Malformed(WHAT));
        }
        let hash = salt.split_off(salt_bytes);
        Self::new(digest, Template::salt_then_password(), iterations, salt, hash)
    }

    /// Parses what follows `md5$` or `sha1$` in the form of old Django.
    pub(super) fn parse_django(digest: Digest, text: &str) -> Result<Self, HashError> {
        let [salt, hash] = fields(text, "digest fields")?;
        let hash = hex(hash, "digest")?;
        Self::new(digest, Template::salt_then_password(), 1, salt.as_bytes().to_vec(), hash)
    }

    /// Parses what follows `$DIGEST$`: `hash`, or `parameters$salt$hash`.
    pub(super) fn parse_modular(digest: Digest, text: &str, caps: &Caps) -> Result<Self, HashError> {
        if !text.contains('$') {
            return Self::new(digest, Template::password_then_salt(), 1, Vec::new(), base64(text, "digest")?);
        }
        let [params, salt, hash] = fields(text, "digest fields")?;
        let Params { template, iterations } = Params::parse(params, caps)?;
        Self::new(digest, template, iterations, base64(salt, "digest salt")?, base64(hash, "digest")?)
    }

    pub(super) fn scheme(&self) -> &'static str {
        match (self.digest, self.salt.is_empty()) {
            (Digest::Md4, true) => "md4",
            (Digest::Md5, true) => "md5",
            (Digest::Sha1, true) => "sha",
            (Digest::Sha224, true) => "sha224",
            (Digest::Sha256, true) => "sha256",
            (Digest::Sha384, true) => "sha384",
            (Digest::Sha512, true) => "sha512",
            (Digest::Md4, false) => "smd4",
            (Digest::Md5, false) => "smd5",
            (Digest::Sha1, false) => "ssha",
            (Digest::Sha224, false) => "ssha224",
            (Digest::Sha256, false) => "ssha256",
            (Digest::Sha384, false) => "ssha384",
            (Digest::Sha512, false) => "ssha512",
        }
    }

    pub(super) fn verify(&self, secret: &[u8]) -> bool {
        let Some(message) = self.template.fill(secret, &self.salt) else { return false };
        let mut state = self.digest.hash(&message);
        for _ in 1..self.iterations {
            state = self.digest.hash(&state);
        }
        same(&state, &self.hash)
    }

    pub(super) fn cost_micros(&self) -> u64 {
        1 + u64::from(self.iterations) * self.digest.hmac_nanos() / 2000
    }

    pub(super) fn blank(&mut self) {
        self.salt.fill(0);
        self.hash.fill(0);
    }
}

/// A parsed HMAC of the secret under a key of the application.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct HmacHash {
    digest: Digest,
    template: Template,
    salt: Vec<u8>,
    hash: Vec<u8>,
    key: Vec<u8>,
}

impl HmacHash {
    /// Parses what follows `$hmac-DIGEST$`: `hash$key`, or `parameters$salt$hash$key`.
    pub(super) fn parse(digest: Digest, text: &str, caps: &Caps) -> Result<Self, HashError> {
        let (template, salt, hash, key) = if text.starts_with("pf=") {
            let [params, salt, hash, key] = fields(text, "hmac fields")?;
            let Params { template, iterations } = Params::parse(params, caps)?;
            if iterations != 1 {
                return Err(HashError::Malformed("hmac iterations"));
            }
            (template, base64(salt, "hmac salt")?, base64(hash, "hmac")?, key)
        } else {
            let [hash, key] = fields(text, "hmac fields")?;
            let hexadecimal = base64(hash, "hmac")?;
            let hexadecimal = std::str::from_utf8(&hexadecimal).map_err(|_| HashError::Malformed("hmac"))?;
            (Template::password_then_salt(), Vec::new(), hex(hexadecimal, "hmac")?, key)
        };
        if hash.len() != digest.output_bytes() {
            return Err(HashError::Malformed("hmac length"));
        }
        Ok(HmacHash { digest, template, salt, hash, key: base64(key, "hmac key")? })
    }

    pub(super) fn scheme(&self) -> &'static str {
        match self.digest {
            Digest::Md4 => "hmac-md4",
            Digest::Md5 => "hmac-md5",
            Digest::Sha1 => "hmac-sha1",
            Digest::Sha224 => "hmac-sha224",
            Digest::Sha256 => "hmac-sha256",
            Digest::Sha384 => "hmac-sha384",
            Digest::Sha512 => "hmac-sha512",
        }
    }

    pub(super) fn verify(&self, secret: &[u8]) -> bool {
        let Some(message) = self.template.fill(secret, &self.salt) else { return false };
        same(&self.digest.hmac(&self.key, &message), &self.hash)
    }

    pub(super) fn blank(&mut self) {
        for part in [&mut self.salt, &mut self.hash, &mut self.key] {
            part.fill(0);
        }
    }
}

/// Where the salt stands beside the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SaltPosition {
    Before,
    After,
}

/// The parameters that [`Params::parse`] reads.
fn to_params(position: SaltPosition, iterations: u32, encoding: TextEncoding) -> String {
    let template = match position {
        SaltPosition::Before => [SALT_MARK, PASSWORD_MARK].concat(),
        SaltPosition::After => [PASSWORD_MARK, SALT_MARK].concat(),
    };
    let mut params = format!("pf={}", to_base64_padded(template.as_bytes()));
    if iterations != 1 {
        params.push_str(&format!(",i={iterations}"));
    }
    if encoding == TextEncoding::Utf16Le {
        params.push_str(",enc=utf16le");
    }
    params
}

/// The string that this crate stores for a digest that came in parts.
pub(super) fn to_modular(
    digest: Digest,
    position: SaltPosition,
    iterations: u32,
    encoding: TextEncoding,
    salt: &[u8],
    hash: &[u8],
) -> String {
    let params = to_params(position, iterations, encoding);
    format!("${}${params}${}${}", digest.name(), to_base64_padded(salt), to_base64_padded(hash))
}

/// The string that this crate stores for an HMAC that came in parts.
pub(super) fn to_hmac(
    digest: Digest,
    position: SaltPosition,
    encoding: TextEncoding,
    salt: &[u8],
    hash: &[u8],
    key: &[u8],
) -> String {
    let (name, params, text) = (digest.name(), to_params(position, 1, encoding), to_base64_padded);
    format!("$hmac-{name}${params}${}${}${}", text(salt), text(hash), text(key))
}
