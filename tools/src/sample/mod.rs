//! The project's own people: the sample directory of the quick start, and populations of any size for tests and benches.
//!
//! People come from the generator that the benchmark suite uses too ([`stoa_benches::population`]), whose algorithm is
//! fixed, so that a seed gives the same bytes on every machine and in every version. Nobody in it is real: e-mail
//! domains are reserved ones (RFC 2606, RFC 6761), telephone numbers lie in ranges for fiction.
//!
//! The password of each user is `stoa-` and the username; [`SIGN_IN_USERNAME`] is always the first.

use std::io::{self, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use sha1::{Digest as _, Sha1};

use stoa_benches::population::{Book, GROUPS, Generator, NameKey, Person};

use crate::import::forms::uuid_text;

/// A user that is in every sample and population, for the quick start.
pub(crate) const SIGN_IN_USERNAME: &str = "ana.lopez";
/// Her password.
pub(crate) const SIGN_IN_PASSWORD: &str = "stoa-ana.lopez";

/// How many people the sample directory has.
const SAMPLE_USERS: u64 = 1000;
const SAMPLE_SEED: u64 = 7862;
/// The suffix of all names in the directory.
const BASE: &str = "dc=example,dc=com";

/// How a population is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum PopulationFormat {
    /// LDIF, hashes as `{SSHA}`, groups behind the people.
    Ldif,
    /// SCIM users, one a line, with the names of their groups; no passwords.
    Ndjson,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) users: u64,
    pub(crate) groups: u64,
    pub(crate) memberships: u64,
}

/// Writes the sample directory: 1,000 people and their groups as LDIF.
///
/// # Errors
/// If the output fails.
pub(crate) fn write_sample(out: &mut dyn Write) -> io::Result<Written> {
    population(PopulationFormat::Ldif, SAMPLE_USERS, SAMPLE_SEED, out)
}

/// Writes a population. Memory is some 20 bytes a user for LDIF's groups, and nothing for NDJSON.
///
/// # Errors
/// If the output fails.
pub(crate) fn population(format: PopulationFormat, users: u64, seed: u64, out: &mut dyn Write) -> io::Result<Written> {
    match format {
        PopulationFormat::Ldif => ldif(users, seed, out),
        PopulationFormat::Ndjson => ndjson(users, seed, out),
    }
}

/// Text is handed to the output in pieces of this size.
const PIECE_BYTES: usize = 64 * 1024;

fn ldif(users: u64, seed: u64, out: &mut dyn Write) -> io::Result<Written> {
    let mut text = Vec::with_capacity(PIECE_BYTES + 4096);
    writeln!(text, "# Made by `stoa sample`: nobody in this file is real. Sign in as {SIGN_IN_USERNAME} with")?;
    writeln!(text, "# password {SIGN_IN_PASSWORD}; everyone's password is stoa- and the username.")?;
    text.extend_from_slice(b"version: 1\n\n");
    entry(&mut text, BASE, "domain", &[("dc", "example")]);
    for unit in ["people", "groups"] {
        entry(&mut text, &format!("ou={unit},{BASE}"), "organizationalUnit", &[("ou", unit)]);
    }
    let mut generator = Generator::new(Book::short(), seed);
    let mut members: Vec<Vec<NameKey>> = vec![Vec::new(); GROUPS.len()];
    for _ in 0..users {
        let person = generator.next_person();
        for group in person.groups() {
            members[group].push(person.key);
        }
        ldif_person(&mut text, &person, &generator);
        spill(&mut text, out, PIECE_BYTES)?;
    }
    let mut written = Written { users, groups: 0, memberships: 0 };
    for ((name, description), members) in GROUPS.iter().zip(&members) {
        written.groups += 1;
        written.memberships += members.len() as u64;
        line(&mut text, "dn", &format!("cn={name},ou=groups,{BASE}"));
        line(&mut text, "objectClass", "groupOfNames");
        line(&mut text, "cn", name);
        line(&mut text, "description", description);
        if members.is_empty() {
            text.extend_from_slice(b"member:\n");
        }
        for key in members {
            line(&mut text, "member", &format!("uid={},ou=people,{BASE}", key.username(generator.book())));
            spill(&mut text, out, PIECE_BYTES)?;
        }
        text.push(b'\n');
    }
    spill(&mut text, out, 0)?;
    Ok(written)
}

fn ldif_person(text: &mut Vec<u8>, person: &Person, generator: &Generator) {
    let book = generator.book();
    let username = person.key.username(book);
    line(text, "dn", &format!("uid={username},ou=people,{BASE}"));
    text.extend_from_slice(b"objectClass: inetOrgPerson\n");
    line(text, "uid", &username);
    line(text, "cn", &person.full_name(book));
    line(text, "sn", person.key.family_name(book));
    line(text, "givenName", person.key.given_name(book));
    line(text, "mail", &person.email(book));
    if let Some(number) = person.phone_number(book) {
        line(text, "mobile", &number);
    }
    line(text, "preferredLanguage", person.locale);
    line(text, "title", person.title);
    line(text, "employeeNumber", &person.number.to_string());
    line(text, "userPassword", &ssha(&username, generator.salt()));
    line(text, "entryUUID", &uuid_text(&person.sub));
    line(text, "createTimestamp", &crate::import::time::to_generalized(person.created_at_ms));
    text.push(b'\n');
}

/// `{SSHA}` (RFC 2307 and the directories after it): base64 of SHA-1 over password and salt, then the salt.
fn ssha(username: &str, salt: [u8; 8]) -> String {
    let mut hash = Sha1::new();
    hash.update(b"stoa-");
    hash.update(username.as_bytes());
    hash.update(salt);
    let mut bytes = hash.finalize().to_vec();
    bytes.extend_from_slice(&salt);
    format!("{{SSHA}}{}", BASE64.encode(bytes))
}

fn ndjson(users: u64, seed: u64, out: &mut dyn Write) -> io::Result<Written> {
    let mut text = Vec::with_capacity(PIECE_BYTES + 4096);
    let mut generator = Generator::new(Book::short(), seed);
    let mut memberships = 0;
    for _ in 0..users {
        let person = generator.next_person();
        let book = generator.book();
        // The generator's texts have no character that JSON escapes.
        write!(
            text,
            r#"{{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"id":"{}","userName":"{}","name":{{"formatted":"{}","givenName":"{}","familyName":"{}"}},"emails":[{{"value":"{}","primary":true}}],"locale":"{}","title":"{}","active":{},"meta":{{"created":"{}"}},"#,
            uuid_text(&person.sub),
            person.key.username(book),
            person.full_name(book),
            person.key.given_name(book),
            person.key.family_name(book),
            person.email(book),
            person.locale,
            person.title,
            person.enabled,
            crate::import::time::rfc3339(person.created_at_ms),
        )?;
        if let Some(number) = person.phone_number(book) {
            write!(text, r#""phoneNumbers":[{{"value":"{number}"}}],"#)?;
        }
        text.extend_from_slice(b"\"groups\":[");
        for (i, group) in person.groups().enumerate() {
            memberships += 1;
            let separator = if i == 0 { "" } else { "," };
            write!(text, r#"{separator}{{"display":"{}"}}"#, GROUPS[group].0)?;
        }
        text.extend_from_slice(b"]}\n");
        spill(&mut text, out, PIECE_BYTES)?;
    }
    spill(&mut text, out, 0)?;
    Ok(Written { users, groups: GROUPS.len() as u64, memberships })
}

fn entry(text: &mut Vec<u8>, dn: &str, class: &str, attributes: &[(&str, &str)]) {
    line(text, "dn", dn);
    line(text, "objectClass", class);
    for (name, value) in attributes {
        line(text, name, value);
    }
    text.push(b'\n');
}

/// One attribute line: the generator's values are safe strings, or go in base64. Not folded: the longest is an e-mail.
fn line(text: &mut Vec<u8>, name: &str, value: &str) {
    text.extend_from_slice(name.as_bytes());
    if value.is_ascii() {
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
    } else {
        text.extend_from_slice(b":: ");
        text.extend_from_slice(BASE64.encode(value).as_bytes());
    }
    text.push(b'\n');
}

fn spill(text: &mut Vec<u8>, out: &mut dyn Write, above: usize) -> io::Result<()> {
    if text.len() > above {
        out.write_all(text)?;
        text.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{Format, attrs::standard, input::Input, record::ImportPassword, testing::Run};

    fn sample() -> Vec<u8> {
        let mut text = Vec::new();
        let written = write_sample(&mut text).unwrap();
        assert_eq!((written.users, written.groups), (1000, GROUPS.len() as u64));
        text
    }

    #[test]
    fn the_sample_is_the_same_each_time_and_imports_whole() {
        let text = sample();
        assert!(text == sample());
        let inputs = [Input::from_bytes("sample.ldif", text)];
        let run = Run::plain(Format::Ldif, &inputs);
        assert_eq!((run.counts(), run.changed.len()), ((1000, GROUPS.len(), 0, 3), 0), "{:?}", run.changed);
        let ana = &run.users[0];
        assert_eq!(ana.text(standard::USERNAME), Some(SIGN_IN_USERNAME));
        let ImportPassword::Hash(hash) = &ana.password else { panic!("no hash") };
        let stored = stoa_engine::password::parse(hash, &stoa_engine::password::Caps::default()).unwrap();
        let mut arena = stoa_engine::password::Arena::new();
        assert_eq!(stored.verify(SIGN_IN_PASSWORD.as_bytes(), &mut arena), Ok(true));
        assert_eq!(run.group("everyone").members.len(), 1000);
        assert!(run.groups.iter().all(|group| !group.members.is_empty()));
        let emails: Vec<_> = run.users.iter().filter_map(|user| user.text(standard::EMAIL)).collect();
        assert!(emails.iter().any(|email| email.ends_with("@münchen.example")));
        assert!(run.users.iter().any(|user| !user.text(standard::NAME).unwrap().is_ascii()));
        // Unique aliases are unique.
        for key in [standard::USERNAME, standard::EMAIL, standard::PHONE_NUMBER] {
            let mut values: Vec<_> =
                run.users.iter().filter_map(|user| user.text(key)).map(str::to_lowercase).collect();
            let count = values.len();
            values.sort();
            values.dedup();
            assert_eq!(values.len(), count);
        }
    }

    #[test]
    fn both_formats_say_the_same_of_a_population() {
        let (mut ldif, mut ndjson) = (Vec::new(), Vec::new());
        let a = population(PopulationFormat::Ldif, 500, 3, &mut ldif).unwrap();
        let b = population(PopulationFormat::Ndjson, 500, 3, &mut ndjson).unwrap();
        assert_eq!(a, b);
        let (ldif, ndjson) = ([Input::from_bytes("l", ldif)], [Input::from_bytes("n", ndjson)]);
        let (ldif, ndjson) = (Run::plain(Format::Ldif, &ldif), Run::plain(Format::Scim, &ndjson));
        assert_eq!((ldif.users.len(), ndjson.users.len(), ndjson.refused.len()), (500, 500, 0));
        for (a, b) in ldif.users.iter().zip(&ndjson.users) {
            assert!(a.sub == b.sub && a.created_at_ms == b.created_at_ms);
            for key in [standard::USERNAME, standard::EMAIL, standard::PHONE_NUMBER, standard::NAME, standard::LOCALE] {
                assert_eq!(a.text(key), b.text(key));
            }
        }
        let mut other = Vec::new();
        population(PopulationFormat::Ldif, 500, 4, &mut other).unwrap();
        assert!(other != ldif_bytes(3));
    }

    fn ldif_bytes(seed: u64) -> Vec<u8> {
        let mut text = Vec::new();
        population(PopulationFormat::Ldif, 500, seed, &mut text).unwrap();
        text
    }
}
