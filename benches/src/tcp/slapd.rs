//! OpenLDAP: slapd over LMDB, an entry a user, equality indexes on the aliases, uniqueness by its overlay.
//!
//! The attributes are of the suite's own schema, with matching without case for username and e-mail: the standard `mail`
//! takes ASCII only, and this population has more. What is read is read by the manager, who may see hashes.

use std::fmt::Write as _;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use stoa_format::Sub;

use super::ldap::{self, Message};
use super::process::{Process, command, free_port, program, run_well, version};
use super::talk::{Answer, Attr, Kind, Question, Talk};
use super::{Link, Place, Served, Service};
use crate::load::Alias;
use crate::peer::{ATTRIBUTES, Seen};
use crate::population::{STATUSES, Text, User};

const SERVER: &str = "slapd";
const PEOPLE: &str = "cn=people";
const MANAGER: &str = "cn=manager,cn=people";
const MODULES: &str = "/usr/lib/ldap";
/// A load of a million would take minutes, a tenth of the whole suite. Fewer entries are to its advantage.
const USERS_MAX: usize = 100_000;
/// Names in the entries, in the order of [`ATTRIBUTES`].
const NAMES: [&str; ATTRIBUTES.len()] =
    ["pUsername", "pEmail", "pPhone", "pGivenName", "pFamilyName", "pName", "pLocale", "pTier", "pPrefs"];
/// What else an entry has, and the names of the profile.
const OTHERS: [(&str, &str); 6] = [
    ("pEmailVerified", "email_verified"),
    ("pPhoneVerified", "phone_number_verified"),
    ("pStatus", "status"),
    ("pEnabled", "enabled"),
    ("pCreatedAt", "created_at"),
    ("pUpdatedAt", "updated_at"),
];
const HASH: &str = "pHash";
const LAST_SIGN_IN: &str = "pLastSignIn";

/// How the suite measures OpenLDAP.
pub(super) const SERVICE: Service = Service {
    name: "slapd",
    encrypted: false,
    about: || {
        let version = version(SERVER, "-VV");
        let version = version.split("slapd").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
        format!(
            "OpenLDAP slapd {version}: mdb, every write synced, equality indexes on sub and aliases, unique overlay, two threads a core; loaded by slapadd -q"
        )
    },
    missing: |_| {
        let lacks = [SERVER, "slapadd"].into_iter().find(|name| program(name).is_none());
        lacks.map(|name| format!("there is no {name}: benches/install.sh"))
    },
    users_max: USERS_MAX,
    // Requests of one connection are worked on at once, and answered as they are done.
    in_order: false,
    answers: |kind| matches!(kind, Kind::Profile | Kind::Hash | Kind::SignIn | Kind::BySub | Kind::Set),
    start: |place, users| Ok(Box::new(Slapd::start(place, users)?)),
};

struct Slapd {
    process: Process,
}

impl Slapd {
    fn start(place: &Place<'_>, users: &[User]) -> Result<Self> {
        let (settings, entries) = (place.dir.join("slapd.conf"), place.dir.join("people.ldif"));
        std::fs::create_dir(place.dir.join("data"))?;
        std::fs::write(&settings, settings_of(place.dir))?;
        write_entries(&entries, users)?;
        let mut add = command(&program("slapadd").context("there is no slapadd")?, None);
        add.arg("-q").arg("-f").arg(&settings).arg("-l").arg(&entries);
        run_well(add)?;
        std::fs::remove_file(&entries)?;
        let port = free_port()?;
        let mut command = command(&program(SERVER).context("there is no slapd")?, None);
        // With a level of debugging, even none, it stays in the foreground.
        command.arg("-f").arg(&settings).args(["-d", "0", "-h", &format!("ldap://127.0.0.1:{port}")]);
        Ok(Self { process: Process::start(command, port, place.dir.join("slapd.log"))? })
    }
}

fn settings_of(dir: &Path) -> String {
    let threads = 2 * std::thread::available_parallelism().map_or(1, usize::from);
    let mut text = format!("modulepath {MODULES}\nmoduleload back_mdb\nmoduleload unique\nthreads {threads}\n");
    text += &format!("pidfile {0}/slapd.pid\nargsfile {0}/slapd.args\n", dir.display());
    let caseless = [NAMES[0], NAMES[1]];
    let names = NAMES.into_iter().chain(OTHERS.map(|(name, _)| name)).chain([HASH, LAST_SIGN_IN, "pSub"]);
    for (at, name) in names.clone().enumerate() {
        // Octet strings would be compared as they are; caseExactMatch normalises too, and is what directories use.
        let rule = if caseless.contains(&name) { "caseIgnoreMatch" } else { "caseExactMatch" };
        // Numbers below an OID for experiments (RFC 4520, 1.1 of OpenLDAP's own examples).
        text += &format!(
            "attributetype ( 1.1.2.1.{at} NAME '{name}' EQUALITY {rule} SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )\n"
        );
    }
    let may: Vec<&str> = names.filter(|name| *name != "pSub").collect();
    text += &format!("objectclass ( 1.1.2.2.1 NAME 'pPerson' STRUCTURAL MUST pSub MAY ( {} ) )\n", may.join(" $ "));
    text += "objectclass ( 1.1.2.2.2 NAME 'pRoot' STRUCTURAL MUST cn )\n";
    text += &format!(
        "database mdb\nsuffix {PEOPLE}\nrootdn {MANAGER}\nrootpw manager\ndirectory {}/data\nmaxsize 17179869184\n",
        dir.display()
    );
    text += "index objectClass,pSub,pUsername,pEmail,pPhone eq\n";
    text += "overlay unique\nunique_uri ldap:///?pUsername?sub\nunique_uri ldap:///?pEmail?sub\nunique_uri ldap:///?pPhone?sub\n";
    text
}

/// All entries as LDIF, values in base64 where they need it (RFC 2849).
fn write_entries(path: &Path, users: &[User]) -> Result<()> {
    use base64::Engine as _;
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    writeln!(file, "dn: {PEOPLE}\nobjectClass: pRoot\ncn: people\n")?;
    let mut entry = String::new();
    for user in users {
        entry.clear();
        let sub = Sub(user.sub).to_string();
        let mut put = |name: &str, value: &str| {
            let is_safe = value.bytes().all(|byte| (0x21..0x7f).contains(&byte)) && !value.starts_with([':', '<']);
            // Writing to a String does not fail.
            let _ = match is_safe {
                true => writeln!(entry, "{name}: {value}"),
                false => writeln!(entry, "{name}:: {}", base64::engine::general_purpose::STANDARD.encode(value)),
            };
        };
        put("dn", &format!("pSub={sub},{PEOPLE}"));
        put("objectClass", "pPerson");
        put("pSub", &sub);
        for (name, (_, text)) in NAMES.into_iter().zip(ATTRIBUTES) {
            if !user.text(text).is_empty() {
                put(name, user.text(text));
            }
        }
        put(HASH, user.text(Text::Hash));
        let truth = |is: bool| if is { "true" } else { "false" };
        put("pEmailVerified", truth(user.email_verified));
        if !user.text(Text::Phone).is_empty() {
            put("pPhoneVerified", truth(user.phone_verified));
        }
        put("pStatus", STATUSES[usize::from(user.status)].0);
        put("pEnabled", truth(user.enabled));
        put("pCreatedAt", &user.created_at_ms.to_string());
        put("pUpdatedAt", &user.updated_at_ms.to_string());
        writeln!(file, "{entry}")?;
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(())
}

impl Served for Slapd {
    fn connect(&self) -> Result<Link> {
        let (mut stream, mut out) = (self.process.connect()?, Vec::new());
        ldap::bind(&mut out, 1, MANAGER, "manager");
        stream.write_all(&out)?;
        let (mut bytes, mut chunk) = (Vec::new(), [0; 512]);
        loop {
            if let Some((message, _)) = ldap::message(&bytes)? {
                ensure!(message == Message::Done { code: 0 }, "slapd does not know its manager");
                break;
            }
            let count = stream.read(&mut chunk)?;
            ensure!(count > 0, "slapd has closed the connection");
            bytes.extend_from_slice(&chunk[..count]);
        }
        Ok(Link { stream, talk: Box::new(SlapdTalk { number: 1 }) })
    }

    fn stop(self: Box<Self>) -> Result<()> {
        self.process.stop(Signal::TERM)
    }
}

/// Searches and modifications.
struct SlapdTalk {
    /// The last message's.
    number: u32,
}

impl Talk for SlapdTalk {
    fn ask(&mut self, question: Question<'_>, out: &mut Vec<u8>) {
        self.number = self.number % 0x7fff_ffff + 1;
        let profile = || NAMES.into_iter().chain(OTHERS.map(|(name, _)| name)).chain(["pSub"]);
        let dn = |sub: &[u8; 16]| format!("pSub={},{PEOPLE}", Sub(*sub));
        match question {
            Question::Profile(email) => ldap::search(out, self.number, PEOPLE, "pEmail", email, profile()),
            Question::Hash(email) => ldap::search(out, self.number, PEOPLE, "pEmail", email, [HASH].into_iter()),
            Question::SignIn(alias, value) => {
                let name = match alias {
                    Alias::Username => "pUsername",
                    Alias::Email => "pEmail",
                    Alias::Phone => "pPhone",
                };
                ldap::search(out, self.number, PEOPLE, name, value, [HASH, "pStatus", "pEnabled"].into_iter());
            }
            Question::BySub(sub) => {
                ldap::search(out, self.number, PEOPLE, "pSub", &Sub(*sub).to_string(), profile());
            }
            Question::Set(sub, Attr::Prefs, value) => ldap::replace(out, self.number, &dn(sub), "pPrefs", value),
            Question::Set(sub, Attr::LastSignIn, value) => {
                ldap::replace(out, self.number, &dn(sub), LAST_SIGN_IN, value);
            }
            // Nothing else is asked: `answers` says so.
            _ => {}
        }
    }

    fn answer(&mut self, kind: Kind, bytes: &[u8], seen: &mut Seen) -> Result<Option<Answer>> {
        let (mut at, mut found) = (0, false);
        loop {
            let Some((message, length)) = ldap::message(&bytes[at..])? else { return Ok(None) };
            at += length;
            match message {
                Message::Entry(entry) => {
                    found = true;
                    if matches!(kind, Kind::Profile | Kind::BySub) {
                        seen.begin_user();
                    }
                    entry.each(|name, value| {
                        show(name, value, seen);
                        Ok(())
                    })?;
                }
                Message::Done { code } => {
                    ensure!(code == 0, "slapd answers with the result {code} (RFC 4511, appendix A)");
                    return Ok(Some(Answer::of(at, found || kind == Kind::Set)));
                }
            }
        }
    }
}

fn show(name: &str, value: &str, seen: &mut Seen) {
    if !seen.keeps() {
        return seen.text(name, value);
    }
    let other = || OTHERS.iter().find(|(known, _)| *known == name).map(|(_, shown)| *shown);
    match NAMES.iter().position(|known| *known == name) {
        Some(at) => seen.text(ATTRIBUTES[at].0, value),
        None if name == "pSub" => seen.text("sub", &value.replace('-', "")),
        None if name == HASH => seen.text("hash", value),
        None => seen.text(other().unwrap_or(name), value),
    }
}
