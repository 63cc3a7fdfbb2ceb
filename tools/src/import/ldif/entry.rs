//! What the lines of one LDIF record are: which attributes mean something to an import, and what kind of entry it is.

use std::borrow::Cow;

use super::{dn, lines::Line};

/// An attribute's meaning for the import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Dn,
    ChangeType,
    Control,
    ObjectClass,
    /// `uid`.
    Uid,
    Mail,
    Surname,
    GivenName,
    CommonName,
    Mobile,
    Telephone,
    Language,
    Password,
    EntryUuid,
    ObjectGuid,
    Created,
    Modified,
    Description,
    /// `member`, `uniqueMember`, by DN.
    Member,
    /// `memberUid`, by username.
    MemberUid,
    /// `pwdAccountLockedTime`.
    LockedTime,
    /// `nsAccountLock`, `loginDisabled`.
    LockFlag,
    /// Active Directory's `userAccountControl`.
    AccountControl,
    /// `pwdReset`.
    PasswordReset,
    /// Our own field (see [`rest`](super::super::rest)).
    Rest,
    /// The directory's own book-keeping, and what other entries say again.
    Ignored,
    /// Anything else: becomes a custom attribute.
    Other,
}

/// The field of an attribute description without options; the comparison is without case.
pub(crate) fn field(name: &[u8]) -> Field {
    let mut lower = [0; 40];
    let Some(lower) = lower.get_mut(..name.len()) else { return Field::Other };
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    match &*lower {
        b"dn" => Field::Dn,
        b"objectclass" => Field::ObjectClass,
        b"uid" | b"userid" => Field::Uid,
        b"cn" | b"commonname" => Field::CommonName,
        b"sn" | b"surname" => Field::Surname,
        b"givenname" | b"gn" => Field::GivenName,
        b"mail" | b"rfc822mailbox" => Field::Mail,
        b"mobile" | b"mobiletelephonenumber" => Field::Mobile,
        b"telephonenumber" => Field::Telephone,
        b"preferredlanguage" => Field::Language,
        b"userpassword" => Field::Password,
        b"entryuuid" => Field::EntryUuid,
        b"objectguid" => Field::ObjectGuid,
        b"createtimestamp" | b"whencreated" => Field::Created,
        b"modifytimestamp" | b"whenchanged" => Field::Modified,
        b"description" => Field::Description,
        b"member" | b"uniquemember" => Field::Member,
        b"memberuid" => Field::MemberUid,
        b"pwdaccountlockedtime" => Field::LockedTime,
        b"nsaccountlock" | b"logindisabled" => Field::LockFlag,
        b"useraccountcontrol" => Field::AccountControl,
        b"pwdreset" => Field::PasswordReset,
        b"changetype" => Field::ChangeType,
        b"control" => Field::Control,
        b"stoa-rest" => Field::Rest,
        b"memberof"
        | b"ismemberof"
        | b"structuralobjectclass"
        | b"entrycsn"
        | b"contextcsn"
        | b"creatorsname"
        | b"modifiersname"
        | b"entrydn"
        | b"subschemasubentry"
        | b"hassubordinates"
        | b"numsubordinates"
        | b"pwdchangedtime"
        | b"pwdfailuretime"
        | b"pwdhistory"
        | b"pwdgraceusetime"
        | b"pwdlastsuccess"
        | b"pwdpolicysubentry"
        | b"nsuniqueid"
        | b"parentid"
        | b"entryid"
        | b"instancetype"
        | b"usnchanged"
        | b"usncreated"
        | b"objectcategory"
        | b"objectsid"
        | b"dscorepropagationdata"
        | b"distinguishedname"
        | b"objectclasses"
        | b"ntsecuritydescriptor"
        | b"authpassword"
        | b"sambantpassword"
        | b"sambalmpassword" => Field::Ignored,
        _ => Field::Other,
    }
}

/// An attribute description's name and options: `cn;lang-en` is `cn` and `lang-en`.
pub(crate) fn split_options(description: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b';', description) {
        Some(at) => (&description[..at], Some(&description[at + 1..])),
        None => (description, None),
    }
}

/// Whether a line's attribute description has options.
pub(crate) fn has_options(line: &Line<'_>) -> bool {
    memchr::memchr(b';', &line.name).is_some()
}

/// Whether the options say that the value is binary; false for every other option.
pub(crate) fn is_binary_option(options: Option<&[u8]>) -> bool {
    options.is_some_and(|options| options.eq_ignore_ascii_case(b"binary"))
}

/// What an entry is to an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Person,
    Group,
    Neither,
}

/// Classifies an entry by its object classes.
pub(crate) fn classify(lines: &[Line<'_>]) -> Class {
    let mut class = Class::Neither;
    for line in lines {
        if line.field != Field::ObjectClass {
            continue;
        }
        let is =
            |names: &[&str]| names.iter().any(|name| line.value.trim_ascii().eq_ignore_ascii_case(name.as_bytes()));
        if is(&["groupOfNames", "groupOfUniqueNames", "posixGroup", "group", "groupOfMembers", "groupOfEntries"]) {
            class = Class::Group;
        } else if class == Class::Neither
            && is(&[
                "inetOrgPerson",
                "person",
                "organizationalPerson",
                "residentialPerson",
                "newPilotPerson",
                "pilotPerson",
                "OpenLDAPperson",
                "posixAccount",
                "account",
                "user",
                "inetUser",
            ])
        {
            class = Class::Person;
        }
    }
    class
}

/// Whether a record is one of those that ldapsearch writes beside the entries, unless told not to: a referral to
/// another server, and what became of the search.
pub(crate) fn is_of_the_search(lines: &[Line<'_>]) -> bool {
    let is = |line: &Line<'_>, name: &str| line.name.eq_ignore_ascii_case(name.as_bytes());
    lines.first().is_some_and(|first| is(first, "search") || is(first, "result"))
        || (!lines.is_empty() && lines.iter().all(|line| is(line, "ref")))
}

/// Why a record is not the content of an entry, if it is not.
pub(crate) fn fault(lines: &[Line<'_>]) -> Option<&'static str> {
    let Some(first) = lines.first() else { return Some("the record is empty") };
    if !first.name.eq_ignore_ascii_case(b"dn") {
        return Some("the record does not begin with its dn");
    }
    for line in &lines[1..] {
        match line.field {
            Field::Dn => return Some("two dn lines in one record: the empty line between entries is missing"),
            Field::ChangeType if !line.value.trim_ascii().eq_ignore_ascii_case(b"add") => {
                return Some("a change record that is no add: an import takes entries, not changes");
            }
            Field::Control => return Some("a change record with a control: an import takes entries, not changes"),
            _ => {}
        }
    }
    None
}

/// The username of a person: the first `uid`, else the value that names the entry. The second part says which.
pub(crate) fn username<'a>(lines: &[Line<'a>]) -> Option<(Cow<'a, str>, bool)> {
    let uid =
        lines.iter().find(|line| line.field == Field::Uid && !has_options(line) && !line.value.trim_ascii().is_empty());
    if let Some(line) = uid {
        return text(line.value.clone()).map(|uid| (trimmed(uid), true));
    }
    rdn_value(lines).map(|value| (Cow::Owned(value), false))
}

/// Without spaces around it: LDAP compares names and addresses without them (RFC 4518, 2.6.1).
pub(crate) fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_matches(' ')),
        Cow::Owned(text) if text.trim_matches(' ').len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim_matches(' ').to_owned()),
    }
}

/// The value that names the entry in its place: that of `uid` or `cn` if its RDN has one, else the first.
pub(crate) fn rdn_value(lines: &[Line<'_>]) -> Option<String> {
    let mut rdn = dn::parse(&lines.first()?.value)?.into_iter().next()?;
    let at = ["uid", "cn"].iter().find_map(|name| rdn.iter().position(|ava| ava.attribute == *name)).unwrap_or(0);
    let value = rdn.swap_remove(at).value;
    (!value.is_empty()).then_some(value)
}

/// A value as text; None if it is no UTF-8.
pub(crate) fn text(value: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    match value {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
    }
}
