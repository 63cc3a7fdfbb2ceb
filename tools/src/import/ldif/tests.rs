//! LDIF as people write it, and as real directories exported it.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::{
    Format, Options,
    attrs::{AttrTable, standard},
    input::Input,
    mapping::Mapping,
    record::{ImportPassword, ImportValue, Item, MemberRef},
    testing::{Run, shared, string, strings},
};

fn input(text: &str) -> [Input; 1] {
    [Input::from_bytes("test.ldif", text.as_bytes().to_vec())]
}

#[test]
fn a_person_becomes_a_user() {
    let inputs = input(
        "version: 1\n\ndn: uid=babs,ou=people,dc=example,dc=com\nobjectClass: inetOrgPerson\nuid: babs\nCN: Barbara Jensen\n\
         cn: Babs Jensen\ncn;lang-fr: Barbe\nsn: Jensen\nmail: babs@example.com\nmail: b@example.com\n\
         telephoneNumber: +1 313 555 3233\nmobile: +1 313 555 4332\npreferredLanguage: en-US\nemployeeNumber: 42\n\
         uidNumber: 1000\nuserPassword: {SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr\nentryUUID: 597ae2f6-16a6-1027-98f4-abcdefabcdef\n\
         createTimestamp: 20200604120000Z\nmodifyTimestamp: 20200604120001Z\nmemberOf: cn=x\n",
    );
    let run = Run::plain(Format::Ldif, &inputs);
    assert_eq!(run.counts(), (1, 0, 0, 0));
    let user = run.user("babs");
    assert_eq!(user.line, 3);
    let want = [
        ("custom:cn", strings(&["Babs Jensen"])),
        ("custom:cn_lang_fr", strings(&["Barbe"])),
        ("custom:employee_number", string("42")),
        ("custom:mail", strings(&["b@example.com"])),
        ("custom:telephone_number", strings(&["+1 313 555 3233"])),
        ("custom:uid_number", ImportValue::Int(1000)),
        ("email", string("babs@example.com")),
        ("family_name", string("Jensen")),
        ("locale", string("en-US")),
        ("name", string("Barbara Jensen")),
        ("phone_number", string("+13135554332")),
        ("username", string("babs")),
    ];
    let got = run.attrs(user);
    assert_eq!(got.keys().map(String::as_str).collect::<Vec<_>>(), want.iter().map(|(n, _)| *n).collect::<Vec<_>>());
    for (name, value) in want {
        assert!(got[name] == value, "{name}");
    }
    assert_eq!(user.password, ImportPassword::Hash("{SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr".into()));
    assert_eq!(user.sub.map(|s| s[0]), Some(0x59));
    assert_eq!((user.created_at_ms, user.updated_at_ms), (Some(1_591_272_000_000), Some(1_591_272_001_000)));
}

#[test]
fn a_mapping_moves_standard_and_other_attributes() {
    let mapping =
        Mapping::parse("[attributes]\nmail = \"\"\nemployeeNumber = \"nickname\"\ncn = \"custom:full\"").unwrap();
    let inputs = input("dn: uid=a\nobjectClass: person\nuid: a\ncn: A\nmail: m@x\nemployeenumber: 7\n");
    let options = Options { mapping: Arc::new(mapping), ..Options::default() };
    let run = Run::with(Format::Ldif, &inputs, &options);
    let user = run.user("a");
    assert_eq!(user.text(standard::NICKNAME), Some("7"));
    assert_eq!(user.text(standard::EMAIL), None);
    assert!(run.attr(user, "custom:full") == Some(string("A")));
}

#[test]
fn members_may_come_before_the_entries_they_name() {
    let inputs = [
        Input::from_bytes("groups", b"dn: cn=g,dc=x\nobjectClass: groupOfNames\ncn: g\ndescription: d\nowner: cn=o\nmember: \nmember: UID = A , DC=X\nmember: cn=no,dc=x\nmember: cn=h,dc=x\n\ndn: cn=h,dc=x\nobjectClass: posixGroup\nmemberUid: z\n".to_vec()),
        Input::from_bytes("people", b"dn: uid=a,dc=x\nobjectClass: person\nuid: a\n".to_vec()),
    ];
    let run = Run::plain(Format::Ldif, &inputs);
    assert_eq!(run.counts(), (1, 2, 0, 0));
    let group = run.group("g");
    assert!(group.members == vec![MemberRef::Username("a".into())]);
    assert_eq!(group.description.as_deref(), Some("d"));
    assert_eq!(group.attributes.as_deref(), Some("{\"owner\":\"cn=o\"}"));
    assert!(run.group("h").members == vec![MemberRef::Username("z".into())]);
    assert_eq!(run.changed.len(), 2, "{:?}", run.changed);
}

#[test]
fn what_cannot_be_taken_is_told_with_its_line() {
    let inputs = input(
        "dn: uid=a\nchangetype: delete\n\ndn: uid=b\nobjectClass: person\nuserCertificate:< file:///etc/passwd\n\n\
         dn: uid\nobjectClass: person\n\nuid: x\n\ndn: uid=c\nchangetype: add\nobjectClass: person\n\n\
         dn: uid=d\nobjectClass: person\ndn: uid=e\n\ndn: ou=o\nobjectClass: organizationalUnit\n",
    );
    let run = Run::plain(Format::Ldif, &inputs);
    assert_eq!(run.counts(), (1, 0, 5, 1));
    assert_eq!(run.refused.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 6, 8, 11, 17]);
    assert_eq!(run.user("c").line, 13);
}

#[test]
fn real_directories_come_out_with_their_counts() {
    // users, groups, refused, skipped
    let want = [
        ("test.ldif", (11, 3, 0, 5)),
        ("test-ordered.ldif", (11, 3, 0, 5)),
        ("test-glued.ldif", (11, 3, 0, 5)),
        ("test-compmatch.ldif", (12, 3, 0, 5)),
        ("test-whoami.ldif", (14, 3, 0, 5)),
        ("test-dn.ldif", (0, 31, 0, 4)),
        ("test-lang.ldif", (0, 0, 0, 1)),
        ("test-refint.ldif", (7, 0, 0, 2)),
        ("test-unique.ldif", (1, 0, 0, 2)),
        ("ppolicy.ldif", (5, 2, 0, 9)),
        ("passwd.ldif", (5, 0, 0, 1)),
        // Several searches in one file: groups that are printed again are refused.
        ("memberof.out.ldif", (25, 4, 4, 36)),
        ("nis_sample.ldif", (25, 16, 0, 1224)),
        ("its9282-exampledb.ldif", (999, 0, 0, 12)),
    ];
    for (name, counts) in want {
        let Some(input) = shared(&format!("ldif/{name}")) else { return };
        let inputs = [input];
        let run = Run::plain(Format::Ldif, &inputs);
        assert_eq!(run.counts(), counts, "{name}: {:?} {:?}", run.refused, run.changed);
    }
}

#[test]
fn planet_express_arrives_with_its_crew() {
    let names = [
        "30_groups_crew",
        "30_groups_admin",
        "00_people",
        "10_people_amy",
        "10_people_bender",
        "10_people_fry",
        "10_people_hermes",
        "10_people_leela",
        "10_people_professor",
        "10_people_zoidberg",
    ];
    let mut inputs = Vec::new();
    for name in names {
        let Some(input) = shared(&format!("ldif/planetexpress/{name}.ldif")) else { return };
        inputs.push(input);
    }
    let run = Run::plain(Format::Ldif, &inputs);
    assert_eq!(run.counts(), (7, 2, 0, 1));
    let crew: Vec<_> = ["bender", "fry", "leela"].map(|name| MemberRef::Username(name.into())).into();
    assert!(run.group("ship_crew").members == crew);
    assert_eq!(run.group("admin_staff").members.len(), 2);
    let amy = run.user("amy");
    assert_eq!(amy.password, ImportPassword::Hash("{SSHA}wJv9s2Z9m0bS0R1WY7B7BEfDUVOC86cpV/uC0w==".into()));
    let Some(ImportValue::Bytes(photo)) = run.attr(run.user("bender"), "custom:jpeg_photo") else { panic!("no photo") };
    assert!(photo.starts_with(b"\xff\xd8") && photo.len() > 20_000);
    assert!(run.attr(run.user("hermes"), "custom:employee_type") == Some(strings(&["Accountant", "Bureaucrat"])));
}

#[test]
fn parts_give_what_the_whole_gives() {
    let Some(input) = shared("ldif/its9282-exampledb.ldif") else { return };
    let inputs = [input];
    let whole = Run::plain(Format::Ldif, &inputs);
    let options = Options { part_bytes: 50_000, ..Options::default() };
    let plan = super::super::plan(Format::Ldif, &inputs, &options, &whole.attributes);
    assert!(plan.parts.len() > 10);
    let parts = Run::of(plan, &whole.attributes);
    assert!(whole.users == parts.users && whole.groups == parts.groups && whole.skipped == parts.skipped);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        words in prop::collection::vec(prop::sample::select(vec![
            "dn: uid=a,dc=x\n", "dn: cn=g\n", "objectClass: person\n", "objectClass: groupOfNames\n", "uid: a\n", "cn:: w7w=\n",
            "member: uid=a,dc=x\n", " folded\n", "\n", "userPassword:: \n", "mail: \n", "stoa-rest: {}\n", "entryUUID: 1\n", "#c\n", "cn;x: é\n",
        ]), 0..40),
    ) {
        for bytes in [bytes, words.concat().into_bytes()] {
            let inputs = [Input::from_bytes("x", bytes)];
            let options = Options { part_bytes: 40, ..Options::default() };
            let plan = super::super::plan(Format::Ldif, &inputs, &options, &Arc::new(AttrTable::default()));
            let mut items = Vec::new();
            for mut source in plan.parts.into_iter().chain(plan.last) {
                while source.next_batch(3, &mut items) {}
            }
            for item in &items {
                let _: &Item<'_> = item;
                let _ = format!("{item:?}");
            }
        }
    }
}
