//! A user's credentials: the password in three shapes, and further factors.

use std::borrow::Cow;

use serde_json::Value;
use stoa_engine::password::{
    Caps,
    convert::{KeycloakHash, from_keycloak, keycloak},
};
use zeroize::Zeroizing;

use super::super::{
    hashes,
    json::{Object, Raw},
    place::Notes,
    record::{Factor, FactorKind, ImportPassword, ImportUser},
};

/// Reads one credential into the user.
pub(super) fn read<'a>(user: &mut ImportUser<'a>, raw: Raw<'a>, caps: &Caps, notes: &mut Notes) {
    let Some(mut credential) = raw.object() else {
        notes.push("a credential is no object: left out".into());
        return;
    };
    let kind = credential.take_string("type").unwrap_or_default();
    match &*kind {
        "password" => {
            if credential.take("temporary").and_then(Raw::boolean) == Some(true) {
                user.temporary = true;
            }
            user.password = password(&mut credential, caps);
        }
        // What the realm's policy forbids to use again: nothing here reads it.
        "password-history" => {}
        "otp" | "totp" => factor(user, FactorKind::Totp, raw, &mut credential),
        "webauthn" | "webauthn-passwordless" => factor(user, FactorKind::Webauthn, raw, &mut credential),
        "recovery-authn-codes" => factor(user, FactorKind::Recovery, raw, &mut credential),
        _ => notes.push("a credential of a kind that is not kept: left out".into()),
    }
}

fn password<'a>(credential: &mut Object<'a>, caps: &Caps) -> ImportPassword<'a> {
    if let (Some(data), Some(secret)) = (credential.take_string("credentialData"), credential.take_string("secretData"))
    {
        return hashes::converted(from_keycloak(&data, &secret), caps);
    }
    if let Some(value) = credential.take_string("hashedSaltedValue") {
        return legacy(credential, value.into_owned(), caps);
    }
    match credential.take_string("value") {
        Some(value) => ImportPassword::Plain(Zeroizing::new(value.into_owned())),
        None => ImportPassword::Unsupported { reason: "a password credential without a hash".into() },
    }
}

/// The flat members of releases before 8.
fn legacy(credential: &mut Object<'_>, value: String, caps: &Caps) -> ImportPassword<'static> {
    let iterations = credential.take("hashIterations").and_then(Raw::int).and_then(|n| u32::try_from(n).ok());
    let parts = KeycloakHash {
        algorithm: credential.take_string("algorithm").map_or_else(|| "pbkdf2".to_owned(), Cow::into_owned),
        iterations: iterations.unwrap_or(1),
        salt: credential.take_string("salt").unwrap_or_default().into_owned(),
        value,
        additional: Value::Null,
    };
    hashes::converted(keycloak(&parts), caps)
}

/// Keeps the whole credential as the factor's blob.
fn factor<'a>(user: &mut ImportUser<'a>, kind: FactorKind, raw: Raw<'a>, credential: &mut Object<'a>) {
    let own_id = credential.take_string("id");
    let data = credential.take_string("credentialData").unwrap_or_default();
    // A WebAuthn credential is found by the id that the authenticator knows.
    let authenticator_id = (kind == FactorKind::Webauthn)
        .then(|| {
            serde_json::from_str::<Value>(&data).ok()?["credentialId"].as_str().map(|id| Cow::Owned(id.to_owned()))
        })
        .flatten();
    let id = authenticator_id.or(own_id);
    let id = id.unwrap_or_else(|| Cow::Owned(format!("keycloak-{}", user.factors.len() + 1)));
    let label = credential.take_string("userLabel").filter(|label| !label.is_empty());
    user.factors.push(Factor { kind, id, label, blob: Cow::Borrowed(raw.0) });
}
