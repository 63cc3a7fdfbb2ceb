//! What is asked of a server, and what speaking its protocol means.

use anyhow::Result;

use crate::load::Alias;
use crate::peer::Seen;
use crate::population::User;

/// The schema's extra attributes that are set one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attr {
    /// `custom:prefs`.
    Prefs,
    /// `custom:last_sign_in`: what stands for sign-in state. Checking a password would measure Argon2id and no store.
    LastSignIn,
}

impl Attr {
    /// The attribute's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prefs => "custom:prefs",
            Self::LastSignIn => "custom:last_sign_in",
        }
    }
}

/// Users that a page of a listing shows.
pub const PAGE_USERS: usize = 60;
/// Users that a page of an export shows.
pub const EXPORTED_USERS: usize = 500;

/// One question. Each is answered in one hop.
#[derive(Debug, Clone, Copy)]
pub enum Question<'q> {
    /// The whole profile of who has this e-mail address.
    Profile(&'q str),
    /// The password hash of who has this e-mail address.
    Hash(&'q str),
    /// Password hash, status and whether the user is enabled, by an alias.
    SignIn(Alias, &'q str),
    /// The whole profile of a sub.
    BySub(&'q [u8; 16]),
    /// The names of a user's groups.
    Groups(&'q [u8; 16]),
    /// Sets an attribute, durably.
    Set(&'q [u8; 16], Attr, &'q str),
    /// Sets the password hash, durably.
    Password(&'q [u8; 16], &'q str),
    /// Makes a user, durably; not found if an alias is taken.
    Create(&'q User),
    /// Puts a user into a group, by number, durably.
    Join(u16, &'q [u8; 16]),
    /// Takes a user out of a group, durably.
    Leave(u16, &'q [u8; 16]),
    /// The profiles of the first [`PAGE_USERS`] by username from a prefix on.
    Prefix(&'q str),
    /// The profiles of a page of [`PAGE_USERS`] members of a group.
    Members(u16),
    /// How many users' family name contains this, which is ASCII in small letters, in any case; no index helps.
    Count(&'q str),
    /// The profiles of a page of [`EXPORTED_USERS`] of all users: the first, or that after a cursor.
    Page(Option<&'q str>),
    /// Removes a user with all that belongs to it, durably.
    Delete(&'q User),
}

/// What kind of question one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "as the questions")]
pub enum Kind {
    Profile,
    Hash,
    SignIn,
    BySub,
    Groups,
    Set,
    Password,
    Create,
    Join,
    Leave,
    Prefix,
    Members,
    Count,
    Page,
    Delete,
}

impl Question<'_> {
    /// Of what kind it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Profile(_) => Kind::Profile,
            Self::Hash(_) => Kind::Hash,
            Self::SignIn(..) => Kind::SignIn,
            Self::BySub(_) => Kind::BySub,
            Self::Groups(_) => Kind::Groups,
            Self::Set(..) => Kind::Set,
            Self::Password(..) => Kind::Password,
            Self::Create(_) => Kind::Create,
            Self::Join(..) => Kind::Join,
            Self::Leave(..) => Kind::Leave,
            Self::Prefix(_) => Kind::Prefix,
            Self::Members(_) => Kind::Members,
            Self::Count(_) => Kind::Count,
            Self::Page(_) => Kind::Page,
            Self::Delete(_) => Kind::Delete,
        }
    }
}

/// One whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its bytes.
    pub length: usize,
    /// There is such a user; a write was done.
    pub found: bool,
    /// Where the next page begins.
    pub cursor: Option<String>,
}

impl Answer {
    /// One without a cursor.
    pub(super) fn of(length: usize, found: bool) -> Self {
        Self { length, found, cursor: None }
    }
}

/// Speaks a protocol on one connection; neither waits nor touches a socket.
pub trait Talk: Send {
    /// Appends what asks the question. Must be one that the service [answers](super::Service::answers).
    fn ask(&mut self, question: Question<'_>, out: &mut Vec<u8>);

    /// Reads the answer to the oldest open question, which was of this kind, from the front of what has come, and
    /// shows all its values; `None` if not all of it is there yet.
    ///
    /// # Errors
    /// What the server says, and bytes that are no answer to that.
    fn answer(&mut self, kind: Kind, bytes: &[u8], seen: &mut Seen) -> Result<Option<Answer>>;
}

/// The name of a group, by number, for every system alike.
pub fn group_name(group: u16) -> String {
    format!("group-{group:03}")
}
