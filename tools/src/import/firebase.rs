//! Firebase `auth:export`: JSON, or the CSV without a header whose columns are known by position.
//!
//! `localId` and the provider accounts become linked identities (`localId` under the provider `firebase`), custom claims
//! the attribute `custom:claims`. Hashes are verified with the project's scrypt parameters, which the user gives beside
//! the file; without them a user with a hash has to set a new password.

use std::{borrow::Cow, sync::Arc};

use stoa_engine::password::{
    Caps,
    convert::{FirebaseParams, firebase},
};

use super::{
    Options, Plan, Source,
    attrs::{AttrTable, Kind, standard},
    forms, hashes,
    input::Input,
    json::{Elements, Object, Raw, next_records},
    place::{Notes, Origin, Placer},
    record::{Factor, FactorKind, ImportPassword, ImportUser, ImportValue, Item, Status, Text},
    time,
};

/// Plans an import of Firebase's exports, each JSON or CSV by its first character.
pub(crate) fn plan<'a>(inputs: &'a [Input], options: &Options, attributes: &Arc<AttrTable>) -> Plan<'a> {
    let mut parts: Vec<Box<dyn Source<'a> + 'a>> = Vec::new();
    for input in inputs {
        let reader = Reader {
            placer: Placer::new(attributes, &options.mapping),
            project: options.firebase.clone(),
            caps: options.caps,
        };
        let is_json = matches!(input.bytes().trim_ascii_start().first(), None | Some(b'{' | b'['));
        if is_json {
            parts.push(Box::new(JsonPart { input, elements: Elements::new(input.bytes(), &["users"]), reader }));
        } else {
            let rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(input.bytes());
            parts.push(Box::new(CsvPart { input, rows, reader }));
        }
    }
    Plan { parts, last: None, bytes_total: inputs.iter().map(|input| input.bytes().len() as u64).sum() }
}

/// What both layouts say of an account.
#[derive(Default)]
struct Account<'a> {
    local_id: Option<Text<'a>>,
    email: Option<Text<'a>>,
    email_verified: Option<bool>,
    password_hash: Option<Text<'a>>,
    salt: Option<Text<'a>>,
    name: Option<Text<'a>>,
    photo: Option<Text<'a>>,
    phone: Option<Text<'a>>,
    claims: Option<Text<'a>>,
    created: Option<Text<'a>>,
    signed_in: Option<Text<'a>>,
    disabled: Option<bool>,
    providers: Vec<(Text<'a>, Text<'a>)>,
    factors: Vec<Factor<'a>>,
}

struct Reader {
    placer: Placer,
    project: Option<FirebaseParams>,
    caps: Caps,
}

impl Reader {
    fn user<'a>(&mut self, line: u64, account: Account<'a>, notes: &mut Notes) -> Result<ImportUser<'a>, &'static str> {
        let local_id = account.local_id.filter(|id| !id.is_empty()).ok_or("the account has no localId")?;
        let mut user = ImportUser { line, factors: account.factors, ..ImportUser::default() };
        user.identities.push(("firebase".into(), local_id));
        user.identities.extend(account.providers);
        user.identities.retain(|(provider, _)| !matches!(&**provider, "password" | "phone" | ""));
        user.created_at_ms = account.created.and_then(|text| time::epoch(text.trim()));
        user.enabled = account.disabled.map(|disabled| !disabled);
        user.password = self.password(account.password_hash, account.salt, notes);
        if user.password == ImportPassword::None {
            user.status = Some(Status::External);
        }
        let texts = [
            ("email", account.email, standard::EMAIL),
            ("displayName", account.name, standard::NAME),
            ("photoUrl", account.photo, standard::PICTURE),
        ];
        for (name, text, key) in texts {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                self.placer.put(&mut user, Origin::standard(name, key), ImportValue::Str(text), notes);
            }
        }
        if let Some(verified) = account.email_verified {
            let origin = Origin::standard("emailVerified", standard::EMAIL_VERIFIED);
            self.placer.put(&mut user, origin, ImportValue::Bool(verified), notes);
        }
        if let Some(phone) = account.phone.filter(|phone| !phone.is_empty()).and_then(forms::e164) {
            let origin = Origin::standard("phoneNumber", standard::PHONE_NUMBER);
            self.placer.put(&mut user, origin, ImportValue::Str(phone), notes);
            // Firebase keeps a number only once it was confirmed by a message.
            let origin = Origin::standard("phoneNumberVerified", standard::PHONE_NUMBER_VERIFIED);
            self.placer.put(&mut user, origin, ImportValue::Bool(true), notes);
        }
        if let Some(claims) = account.claims.filter(|claims| !claims.is_empty()) {
            if serde_json::from_str::<serde::de::IgnoredAny>(&claims).is_ok() {
                let origin = Origin::custom("claims", Kind::Json, false);
                self.placer.put(&mut user, origin, ImportValue::Json(claims), notes);
            } else {
                notes.push("customAttributes is no JSON: left out".into());
            }
        }
        if let Some(at) = account.signed_in.and_then(|text| time::epoch(text.trim())) {
            let origin = Origin::custom("last_signed_in_at", Kind::Time, false);
            self.placer.put(&mut user, origin, ImportValue::Time(at), notes);
        }
        Ok(user)
    }

    fn password(&self, hash: Option<Text<'_>>, salt: Option<Text<'_>>, notes: &mut Notes) -> ImportPassword<'static> {
        let Some(hash) = hash.filter(|hash| !hash.is_empty()) else { return ImportPassword::None };
        let Some(project) = &self.project else {
            notes.push(
                "the hash cannot be verified without the project's scrypt parameters: a new password is needed".into(),
            );
            return ImportPassword::ResetRequired;
        };
        hashes::converted(firebase(project, &salt.unwrap_or_default(), &hash), &self.caps)
    }
}

struct JsonPart<'a> {
    input: &'a Input,
    elements: Elements<'a>,
    reader: Reader,
}

fn account_of(mut object: Object<'_>) -> Account<'_> {
    let mut account = Account {
        local_id: object.take_string("localId"),
        email: object.take_string("email"),
        email_verified: object.take("emailVerified").and_then(Raw::boolean),
        password_hash: object.take_string("passwordHash"),
        salt: object.take_string("salt"),
        name: object.take_string("displayName"),
        photo: object.take_string("photoUrl"),
        phone: object.take_string("phoneNumber"),
        claims: object.take_string("customAttributes"),
        created: object.take_string("createdAt"),
        signed_in: object.take_string("lastSignedInAt"),
        disabled: object.take("disabled").and_then(Raw::boolean),
        ..Account::default()
    };
    for provider in object.take("providerUserInfo").into_iter().flat_map(Raw::elements) {
        account.providers.extend(provider.object().and_then(provider_of));
    }
    for (number, factor) in object.take("mfaInfo").into_iter().flat_map(Raw::elements).enumerate() {
        let Some(mut object) = factor.object() else { continue };
        if object.has("totpInfo") {
            let id = object.take_string("mfaEnrollmentId");
            account.factors.push(Factor {
                kind: FactorKind::Totp,
                id: id.unwrap_or_else(|| Cow::Owned(format!("firebase-{}", number + 1))),
                label: object.take_string("displayName"),
                blob: Cow::Borrowed(factor.0),
            });
        }
    }
    account
}

fn provider_of(mut provider: Object<'_>) -> Option<(Text<'_>, Text<'_>)> {
    let id = provider.take_string("providerId")?;
    let subject = provider.take_string("rawId").or_else(|| provider.take_string("federatedId"))?;
    (!subject.is_empty()).then_some((id, subject))
}

impl<'a> Source<'a> for JsonPart<'a> {
    fn input(&self) -> &'a str {
        self.input.name()
    }

    fn next_batch(&mut self, max: usize, out: &mut Vec<Item<'a>>) -> bool {
        let Self { elements, reader, .. } = self;
        next_records(elements, max, out, |line, text, notes, out| {
            let object = Object::parse(text)?;
            out.push(Item::User(reader.user(line, account_of(object), notes)?));
            Ok(())
        })
    }

    fn bytes_done(&self) -> u64 {
        self.elements.at() as u64
    }
}

/// Columns of the four providers that have their own: id, e-mail, name and picture each.
const PROVIDER_COLUMNS: [(usize, &str); 4] =
    [(7, "google.com"), (11, "facebook.com"), (15, "twitter.com"), (19, "github.com")];
/// Fewest columns of a row: up to the telephone number.
const COLUMNS_MIN: usize = 26;

struct CsvPart<'a> {
    input: &'a Input,
    rows: csv::Reader<&'a [u8]>,
    reader: Reader,
}

fn account_of_row(row: &csv::StringRecord) -> Result<Account<'static>, &'static str> {
    if row.len() < COLUMNS_MIN {
        return Err("the row has fewer than 26 columns");
    }
    let text = |at: usize| row.get(at).filter(|text| !text.is_empty()).map(|text| Cow::Owned(text.to_owned()));
    let boolean = |at: usize| row.get(at).and_then(|text| forms::boolean(text.trim()));
    let mut account = Account {
        local_id: text(0),
        email: text(1),
        email_verified: boolean(2),
        password_hash: text(3),
        salt: text(4),
        name: text(5),
        photo: text(6),
        created: text(23),
        signed_in: text(24),
        phone: text(25),
        disabled: boolean(26),
        claims: text(27),
        ..Account::default()
    };
    for (at, provider) in PROVIDER_COLUMNS {
        account.providers.extend(text(at).map(|subject| (Cow::Borrowed(provider), subject)));
    }
    for provider in Raw(row.get(28).unwrap_or("").as_bytes()).elements() {
        let provider = Object::parse(provider.0).ok().and_then(provider_of);
        let owned = provider.map(|(id, subject)| (Cow::Owned(id.into_owned()), Cow::Owned(subject.into_owned())));
        account.providers.extend(owned.filter(|provider| !account.providers.contains(provider)));
    }
    Ok(account)
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
            match read {
                Ok(false) => return false,
                Ok(true) => {
                    let user = account_of_row(&row).and_then(|account| self.reader.user(line, account, &mut notes));
                    out.push(user.map_or_else(|reason| Item::Refused { line, reason: reason.into() }, Item::User));
                    out.extend(notes.drain(..).map(|note| Item::Changed { line, note }));
                }
                Err(_) => out.push(Item::Refused { line, reason: "the row is no UTF-8".into() }),
            }
        }
        true
    }

    fn bytes_done(&self) -> u64 {
        self.rows.position().byte()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Format,
        testing::{Run, string},
    };
    use super::*;
    use proptest::prelude::*;

    /// The example of firebase/scrypt's README: password `user1password`.
    const HASH: &str = "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==";
    const SIGNER: &str = "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==";

    fn options() -> Options {
        let project = FirebaseParams::new(SIGNER, "Bw==", 8, 14).ok();
        Options { firebase: project, ..Options::default() }
    }

    #[test]
    fn json_and_csv_say_the_same() {
        let json = format!(
            r#"{{"users":[{{"localId":"u1","email":"a@x","emailVerified":true,"passwordHash":"{HASH}","salt":"42xEC+ixf3L2lw==","displayName":"A, B","createdAt":"1591272000000","phoneNumber":"+4930123456","disabled":true,"customAttributes":"{{\"role\":\"x\"}}","providerUserInfo":[{{"providerId":"google.com","rawId":"7"}},{{"providerId":"password","rawId":"a@x"}}]}},{{"email":"no id"}}]}}"#
        );
        let csv = format!(
            "u1,a@x,true,{HASH},42xEC+ixf3L2lw==,\"A, B\",,7,,,,,,,,,,,,,,,,1591272000000,,+4930123456,true,\"{{\"\"role\"\":\"\"x\"\"}}\",\nshort,row\n"
        );
        let inputs = [Input::from_bytes("j", json.into_bytes()), Input::from_bytes("c", csv.into_bytes())];
        let run = Run::with(Format::Firebase, &inputs, &options());
        assert_eq!(run.counts(), (2, 0, 2, 0), "{:?}", run.refused);
        assert!(run.users[0] == run.users[1]);
        let user = &run.users[0];
        assert!(run.attr(user, "name") == Some(string("A, B")));
        assert!(user.identities == [("firebase".into(), "u1".into()), ("google.com".into(), "7".into())]);
        assert_eq!((user.enabled, user.created_at_ms), (Some(false), Some(1_591_272_000_000)));
        let ImportPassword::Hash(hash) = &user.password else { panic!("no hash: {:?}", user.password) };
        let stored = stoa_engine::password::parse(hash, &Caps::default()).unwrap();
        let mut arena = stoa_engine::password::Arena::new();
        assert_eq!(stored.verify(b"user1password", &mut arena), Ok(true));
    }

    #[test]
    fn without_parameters_a_new_password_is_needed() {
        let json = format!(r#"[{{"localId":"u","passwordHash":"{HASH}","salt":""}},{{"localId":"v"}}]"#);
        let inputs = [Input::from_bytes("j", json.into_bytes())];
        let run = Run::plain(Format::Firebase, &inputs);
        assert_eq!(run.users[0].password, ImportPassword::ResetRequired);
        assert_eq!((run.users[1].status, run.changed.len()), (Some(Status::External), 1));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>, text in "[a,\"\n{}\\[\\]:]{0,60}") {
            let inputs = [Input::from_bytes("x", bytes), Input::from_bytes("y", text.into_bytes())];
            let _ = Run::plain(Format::Firebase, &inputs);
        }
    }
}
