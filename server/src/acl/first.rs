//! The first start: user `admin` with a random secret, which stands in a file of mode 0600.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stoa_engine::Store;

use super::{Acl, Actor, DOCUMENT, document, secret};
use crate::error::ServeError;

/// Whether a first secret was minted, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstSecret {
    /// The store has access-control users: nothing was done.
    Present,
    /// User `admin` was made; the secret stands in this file.
    Minted(PathBuf),
}

/// Makes user `admin`, who may do everything, unless the store has access-control users, and
/// writes the random secret to `file` (mode 0600), which is replaced if it is there.
///
/// The file is durable before the user exists: a crash in between leaves a file that opens nothing,
/// and the next start writes another.
///
/// # Errors
/// The file cannot be written, or the store does not take the user.
pub fn mint_admin(store: &Store, file: &Path) -> Result<FirstSecret, ServeError> {
    if store.document(DOCUMENT).is_some() {
        return Ok(FirstSecret::Present);
    }
    let text = secret::generate(256);
    write_private(file, text.as_bytes()).map_err(|source| ServeError::File { path: file.to_path_buf(), source })?;
    let mut admin = Actor::unlimited("admin");
    admin.secrets.push(secret::SecretHash::new(text.as_bytes()));
    let users = [(admin.name().clone(), Arc::new(admin))].into();
    store.set_document(DOCUMENT, document::encode(&users)).map_err(ServeError::Store)?;
    Ok(FirstSecret::Minted(file.to_path_buf()))
}

/// Gives an access-control user of a store that nobody serves one new secret in place of all former ones, and
/// switches the user on: the way back in where nobody can authenticate any more.
///
/// # Errors
/// There is no such user, or the store does not take the change.
pub fn reset_secret(store: &Store, name: &str, secret: &[u8]) -> Result<(), ServeError> {
    let acl = Acl::load(store).map_err(ServeError::Access)?;
    if acl.user(name).is_none() {
        return Err(ServeError::Access("there is no access-control user of that name in this store".to_string()));
    }
    let added = [b">", secret].concat();
    let added = zeroize::Zeroizing::new(added);
    acl.set_user(store, name, &[b"on", b"resetpass", &added]).map_err(|refused| ServeError::Access(refused.to_string()))
}

/// Writes a file that only its owner can read, durably.
fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(directory)?.sync_all()
}
