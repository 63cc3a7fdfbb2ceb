//! Amazon Cognito's user import CSV.
//!
//! The columns are Cognito's own, one for each custom attribute that is a single string, `password_hash`, and
//! `stoa:rest`. Values that Cognito's rules would change (empty, spaces at the ends, line ends, a backslash) stand in
//! `stoa:rest`. A group is a row of `stoa:rest` alone, which Cognito refuses and whoever sends the file there removes.

use std::{
    io::{self, Write},
    sync::Arc,
};

use super::{ExportMember, ExportUser, Exporter, Memberships, ReadBack, boolean};
use crate::import::{
    Format,
    attrs::{AttrTable, Kind, standard},
    forms,
    record::{AttrKey, ImportGroup, ImportPassword, ImportUser},
    rest::RestGroup,
    time,
};

/// Columns of strings between the username and the others.
const TEXTS: [(&str, AttrKey); 14] = [
    ("name", standard::NAME),
    ("given_name", standard::GIVEN_NAME),
    ("family_name", standard::FAMILY_NAME),
    ("nickname", standard::NICKNAME),
    ("preferred_username", standard::PREFERRED_USERNAME),
    ("profile", standard::PROFILE),
    ("picture", standard::PICTURE),
    ("website", standard::WEBSITE),
    ("email", standard::EMAIL),
    ("gender", standard::GENDER),
    ("zoneinfo", standard::ZONEINFO),
    ("locale", standard::LOCALE),
    ("phone_number", standard::PHONE_NUMBER),
    ("address", standard::ADDRESS),
];

/// Writes Cognito's CSV.
pub(super) struct Cognito<'w> {
    out: Box<dyn Write + 'w>,
    header: String,
    customs: Vec<AttrKey>,
    read_back: ReadBack,
}

impl<'w> Cognito<'w> {
    pub(super) fn new(attributes: Arc<AttrTable>, mut out: Box<dyn Write + 'w>) -> io::Result<Self> {
        let read_back = ReadBack::new(Format::CognitoCsv, attributes);
        let mut header = String::from("cognito:username");
        for (name, _) in TEXTS {
            header.push(',');
            header.push_str(name);
        }
        header.push_str(",email_verified,phone_number_verified,birthdate,updated_at,cognito:mfa_enabled");
        let mut customs = Vec::new();
        for (key, name) in read_back.customs(Kind::Str, false) {
            header.push_str(",custom:");
            header.push_str(&name);
            customs.push(key);
        }
        header.push_str(",password_hash,stoa:rest\n");
        out.write_all(header.as_bytes())?;
        Ok(Self { out, header, customs, read_back })
    }

    /// All columns but the last.
    fn row(&self, user: &ImportUser<'_>) -> String {
        let username = user.text(standard::USERNAME).filter(|name| is_carried(name));
        // The column must have a value; one that was made up is dropped again by `stoa:rest`.
        let stand_in = || user.sub.as_ref().map_or_else(|| "-".to_owned(), forms::uuid_text);
        let mut row = username.map_or_else(stand_in, escaped);
        let mut cell = |text: Option<&str>| {
            row.push(',');
            row.push_str(&text.filter(|text| is_carried(text)).map(escaped).unwrap_or_default());
        };
        for (_, key) in TEXTS {
            let text = user.text(key);
            cell(if key == standard::PHONE_NUMBER { text.filter(|text| forms::is_e164(text)) } else { text });
        }
        for key in [standard::EMAIL_VERIFIED, standard::PHONE_NUMBER_VERIFIED] {
            cell(boolean(user, key).map(|value| if value { "TRUE" } else { "FALSE" }));
        }
        cell(user.text(standard::BIRTHDATE).and_then(us_birthdate).as_deref());
        // Seconds; what is below them stands in `stoa:rest`.
        cell(user.updated_at_ms.map(|ms| ms.div_euclid(1000).to_string()).as_deref());
        cell(Some("FALSE"));
        for key in &self.customs {
            cell(user.text(*key));
        }
        cell(match &user.password {
            ImportPassword::Hash(hash) => Some(hash),
            _ => None,
        });
        row
    }
}

impl Exporter for Cognito<'_> {
    fn memberships(&self) -> Memberships {
        Memberships::OfUsers
    }

    fn group(&mut self, group: &ImportGroup<'_>) -> io::Result<()> {
        let rest = RestGroup { name: Some(group.name.to_string()), ..RestGroup::of(group) };
        let columns = self.header.matches(',').count();
        let rest = forms::to_base64(rest.text().unwrap_or_default().as_bytes());
        writeln!(self.out, "{}{rest}", ",".repeat(columns))
    }

    fn member(&mut self, _: &ExportMember<'_>) -> io::Result<()> {
        Ok(())
    }

    fn user(&mut self, user: &ExportUser<'_>) -> io::Result<()> {
        let row = self.row(&user.user);
        let native = format!("{}{row},\n", self.header);
        let rest = self.read_back.rest(native.into_bytes(), &user.user).unwrap_or_default();
        writeln!(self.out, "{row},{}", forms::to_base64(rest.as_bytes()))
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Whether a value comes back from the CSV as it is.
fn is_carried(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && !text.contains(['\\', '\n', '\r'])
}

fn escaped(text: &str) -> String {
    text.replace(',', "\\,")
}

/// `yyyy-mm-dd` as `mm/dd/yyyy`, if it is a day.
fn us_birthdate(iso: &str) -> Option<String> {
    time::iso_day(iso)?;
    Some(format!("{}/{}/{}", &iso[5..7], &iso[8..], &iso[..4]))
}
