//! Exports of other products, as FusionAuth's import scripts find them: Akamai Identity Cloud, Passport.js, a list of
//! e-mail, hash and salt, and a CSV of the same. Each is recognised by the members of its records and gives the user that
//! the script's `faUsers.json` gives, without what the scripts add for FusionAuth itself (tenant, application, ids that
//! they draw).

use std::borrow::Cow;

use super::{
    super::{
        Source,
        attrs::{Kind, standard},
        forms, hashes,
        input::Input,
        json::{Object, Raw},
        place::{Notes, Origin},
        record::{ImportUser, ImportValue, Item, Text},
        time,
    },
    HashParts, Users, external,
};

/// Whose export a record is from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape {
    FusionAuth,
    Akamai,
    Passport,
    Generic,
}

/// Recognises a record by its members.
pub(super) fn shape(object: &Object<'_>) -> Shape {
    if object.has("encryptionScheme") || object.has("registrations") {
        Shape::FusionAuth
    } else if object.has("uuid") && object.has("familyName") {
        Shape::Akamai
    } else if object.has("provider") && object.has("google_id") {
        Shape::Passport
    } else if object.has("hash") && object.has("salt") {
        Shape::Generic
    } else {
        Shape::FusionAuth
    }
}

/// What the scripts for lists of hashes assume: SHA-256 over password and salt, 20,000 times (FusionAuth's own default).
const GENERIC_SCHEME: &str = "salted-sha256";
const GENERIC_FACTOR: u32 = 20_000;

impl Users {
    /// A user of Akamai Identity Cloud (Janrain).
    pub(super) fn akamai<'a>(&mut self, line: u64, mut object: Object<'a>, notes: &mut Notes) -> ImportUser<'a> {
        let mut user = ImportUser { line, ..ImportUser::default() };
        let placer = &mut self.placer;
        user.sub = object.take_string("uuid").and_then(|uuid| forms::uuid(&uuid));
        user.created_at_ms = object.take_string("created").and_then(|text| time::iso(&text));
        user.updated_at_ms = object.take_string("lastUpdated").and_then(|text| time::iso(&text));
        for (name, key) in [
            ("displayName", standard::USERNAME),
            ("email", standard::EMAIL),
            ("givenName", standard::GIVEN_NAME),
            ("familyName", standard::FAMILY_NAME),
            ("fullName", standard::NAME),
            ("birthday", standard::BIRTHDATE),
            ("gender", standard::GENDER),
        ] {
            object.move_text(name, key, placer, &mut user, notes);
        }
        object.move_phone("mobileNumber", placer, &mut user, notes);
        // A time of verification, or null.
        for (name, key) in
            [("emailVerified", standard::EMAIL_VERIFIED), ("mobileNumberVerified", standard::PHONE_NUMBER_VERIFIED)]
        {
            let verified = object.take(name).is_some();
            if verified || key == standard::EMAIL_VERIFIED {
                placer.put(&mut user, Origin::standard(name, key), ImportValue::Bool(verified), notes);
            }
        }
        user.enabled = Some(object.take("deactivateAccount").is_none());
        let password = object.take("password").and_then(Raw::object);
        if let Some(hash) = password.and_then(|mut password| password.take_string("value")) {
            user.password = hashes::checked(hash, &self.caps);
        }
        if let Some(address) = object.take("primaryAddress") {
            let origin = Origin::standard("primaryAddress", standard::ADDRESS);
            placer.put(&mut user, origin, ImportValue::Str(address.text()), notes);
        }
        if let Some(id) = object.take_string("id") {
            placer.put(&mut user, Origin::custom("akamai_id", Kind::Str, false), ImportValue::Str(id), notes);
        }
        object.move_rest(placer, &mut user, notes);
        user
    }

    /// A user of a Passport.js application.
    pub(super) fn passport<'a>(&mut self, line: u64, mut object: Object<'a>, notes: &mut Notes) -> ImportUser<'a> {
        let mut user = ImportUser { line, ..ImportUser::default() };
        if let Some(email) = object.take_string("email") {
            self.login(&mut user, email, notes);
        }
        if let Some(name) = object.take_string("name") {
            self.names(&mut user, name, notes);
        }
        object.move_bool("verified", standard::EMAIL_VERIFIED, &mut self.placer, &mut user, notes);
        object.move_text("avatar", standard::PICTURE, &mut self.placer, &mut user, notes);
        user.enabled = object.take("active").and_then(Raw::boolean);
        user.created_at_ms = object.take("created_at").and_then(Raw::time);
        user.updated_at_ms = object.take("updated_at").and_then(Raw::time);
        if let Some(id) = object.take_string("google_id") {
            user.identities.push(("google".into(), id));
        }
        match object.take_string("password") {
            Some(hash) => user.password = hashes::checked(hash, &self.caps),
            None => external(&mut user),
        }
        if let Some(at) = object.take("last_login_at").and_then(Raw::time) {
            let origin = Origin::custom("lastLoginInstant", Kind::Time, false);
            self.placer.put(&mut user, origin, ImportValue::Time(at), notes);
        }
        if let Some(id) = object.take_string("id") {
            let origin = Origin::custom("original_user_id", Kind::Str, false);
            self.placer.put(&mut user, origin, ImportValue::Str(id), notes);
        }
        object.move_rest(&mut self.placer, &mut user, notes);
        user
    }

    /// E-mail, hash, and salt as text.
    pub(super) fn generic<'a>(&mut self, line: u64, mut object: Object<'a>, notes: &mut Notes) -> ImportUser<'a> {
        let mut user = ImportUser { line, enabled: Some(true), ..ImportUser::default() };
        if let Some(email) = object.take_string("email") {
            self.login(&mut user, email, notes);
        }
        let password = object.take_string("hash").unwrap_or_default();
        let salt = Cow::Owned(forms::to_base64(object.take_string("salt").unwrap_or_default().as_bytes()));
        let parts = HashParts { scheme: GENERIC_SCHEME.into(), factor: Some(GENERIC_FACTOR), salt, password };
        user.password = self.hash(parts, notes);
        object.move_rest(&mut self.placer, &mut user, notes);
        user
    }

    /// The e-mail address is the username too, as in the scripts.
    fn login<'a>(&mut self, user: &mut ImportUser<'a>, email: Text<'a>, notes: &mut Notes) {
        let origin = Origin::standard("username", standard::USERNAME);
        self.placer.put(user, origin, ImportValue::Str(email.clone()), notes);
        self.placer.put(user, Origin::standard("email", standard::EMAIL), ImportValue::Str(email), notes);
    }

    /// The first word is the given name, the others are the family name.
    fn names<'a>(&mut self, user: &mut ImportUser<'a>, name: Text<'a>, notes: &mut Notes) {
        let (first, last) = match &name {
            Cow::Borrowed(name) => {
                let (first, last) = name.split_once(' ').unwrap_or((name, ""));
                (Cow::Borrowed(first), Cow::Borrowed(last))
            }
            Cow::Owned(name) => {
                let (first, last) = name.split_once(' ').unwrap_or((name, ""));
                (Cow::Owned(first.to_owned()), Cow::Owned(last.to_owned()))
            }
        };
        for (origin, text) in [
            (Origin::standard("firstName", standard::GIVEN_NAME), first),
            (Origin::standard("lastName", standard::FAMILY_NAME), last),
        ] {
            if !text.is_empty() {
                self.placer.put(user, origin, ImportValue::Str(text), notes);
            }
        }
    }
}

/// Whether a file is no JSON.
pub(super) fn is_csv(text: &[u8]) -> bool {
    !matches!(text.trim_ascii_start().first(), None | Some(b'{' | b'['))
}

/// The CSV of FusionAuth's example: quoted values under a header, among them LOGIN, PASSWORD and PASSWORD_SALT.
pub(super) struct CsvPart<'a> {
    input: &'a Input,
    rows: csv::Reader<&'a [u8]>,
    header: Option<Vec<String>>,
    users: Users,
}

impl<'a> CsvPart<'a> {
    pub(super) fn new(input: &'a Input, users: Users) -> Self {
        let rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(input.bytes());
        Self { input, rows, header: None, users }
    }

    fn row(
        &mut self,
        line: u64,
        header: &[String],
        row: &csv::StringRecord,
        notes: &mut Notes,
    ) -> Result<ImportUser<'a>, &'static str> {
        if row.len() != header.len() {
            return Err("the row has another number of values than the header has columns");
        }
        let get = |name: &str| {
            let at = header.iter().position(|column| column == name)?;
            row.get(at).filter(|text| !text.is_empty()).map(|text| Cow::Owned(text.to_owned()))
        };
        let mut user = ImportUser { line, enabled: Some(true), ..ImportUser::default() };
        for (name, key) in [
            ("login", standard::USERNAME),
            ("email", standard::EMAIL),
            ("first_name", standard::GIVEN_NAME),
            ("last_name", standard::FAMILY_NAME),
        ] {
            if let Some(text) = get(name) {
                self.users.placer.put(&mut user, Origin::standard(name, key), ImportValue::Str(text), notes);
            }
        }
        if let Some(text) = get("middle_name") {
            let origin = Origin::custom("middleName", Kind::Str, false);
            self.users.placer.put(&mut user, origin, ImportValue::Str(text), notes);
        }
        let password = get("password").ok_or("the row has no password")?;
        let salt = get("password_salt").unwrap_or_default();
        let parts = HashParts { scheme: GENERIC_SCHEME.into(), factor: Some(GENERIC_FACTOR), salt, password };
        user.password = self.users.hash(parts, notes);
        Ok(user)
    }
}

impl<'a> Source<'a> for CsvPart<'a> {
    fn input(&self) -> &'a str {
        self.input.name()
    }

    fn next_batch(&mut self, max: usize, out: &mut Vec<Item<'a>>) -> bool {
        let (mut row, mut notes) = (csv::StringRecord::new(), Notes::new());
        for _ in 0..max {
            let read = self.rows.read_record(&mut row);
            let line = row.position().map_or_else(|| self.rows.position().line(), csv::Position::line);
            match (read, self.header.take()) {
                (Ok(false), _) => return false,
                (Err(_), header) => {
                    self.header = header;
                    out.push(Item::Refused { line, reason: "the row is no UTF-8".into() });
                }
                (Ok(true), None) => self.header = Some(row.iter().map(|name| name.trim().to_lowercase()).collect()),
                (Ok(true), Some(header)) => {
                    let user = self.row(line, &header, &row, &mut notes);
                    self.header = Some(header);
                    out.push(user.map_or_else(|reason| Item::Refused { line, reason: reason.into() }, Item::User));
                    out.extend(notes.drain(..).map(|note| Item::Changed { line, note }));
                }
            }
        }
        true
    }

    fn bytes_done(&self) -> u64 {
        self.rows.position().byte()
    }
}
