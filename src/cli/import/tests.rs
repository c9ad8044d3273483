//! Small exports of each system, of invented people, as the systems write them.

use std::io::Write as _;

use super::record::{Person, Refusal};
use super::source::{Source, System};
use crate::domain::UserId;

/// A hash of `violet-Anvil-67` by Django 5.2.
const PBKDF2: &str =
    "pbkdf2_sha256$1000000$AkJKn36CeYKRYS7xA5DVwy$kb3IRi4lVSdj+5kikDVudYotiyRa2FtLtigsMCJKlEc=";

/// The content of a file, a line for each record: its number, and the user or why there is none.
fn read(system: System, content: &[u8]) -> Vec<String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content).unwrap();
    let mut config = tempfile::NamedTempFile::new().unwrap();
    let project = "hash_config { algorithm: SCRYPT, base64_signer_key: c2lnbmVy, \
                   base64_salt_separator: Bw==, rounds: 8, mem_cost: 14 }";
    config.write_all(project.as_bytes()).unwrap();
    let config = (system == System::Firebase).then_some(config.path());
    let source = Source::new(file.path(), system, config).unwrap();
    let records = match source.open() {
        Ok(reading) => reading.records,
        Err(error) => return vec![format!("{error:#}")],
    };
    let mut told = Vec::new();
    for record in records {
        match record {
            Ok(record) => told.push(format!("{} {}", record.number, tell(record.person))),
            Err(error) => {
                told.push(format!("{error:#}"));
                break;
            }
        }
    }
    told
}

fn tell(person: Result<Person, Refusal>) -> String {
    let person = match person {
        Ok(person) => person,
        Err(refusal) => return format!("refused: {}", refusal.told("record")),
    };
    let hash = person.hash.as_ref();
    let parts = [
        Some(person.email.unwrap_or_else(|| "nobody".to_owned())),
        person.id.map(|UserId(id)| format!("id {id}")),
        Some(hash.map_or("invited", |hash| hash.expose()).to_owned()),
        person.is_disabled.then(|| "disabled".to_owned()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join(" ")
}

#[test]
fn a_dump_of_django_has_people_and_other_models() {
    let dump = format!(
        r#"[
{{"model": "auth.group", "pk": 1, "fields": {{"name": "staff"}}}},
{{"model": "auth.user", "pk": 7, "fields": {{"password": "{PBKDF2}", "username": "ann",
  "email": "ann@example.com", "is_active": true}}}},
{{"model": "accounts.user", "pk": "0b9f", "fields": {{"password": "!Xy", "email": "",
  "username": "ben@example.com", "is_active": false}}}},
{{"model": "auth.user", "pk": 9, "fields": {{"password": "!Xy", "email": "", "username": "cron"}}}},
{{"model": "auth.user", "pk": 10, "fields": {{"password": 5, "email": "d@example.com"}}}}
]"#
    );
    assert_eq!(
        read(System::Django, dump.as_bytes()),
        [
            format!("2 ann@example.com id 7 {PBKDF2}"),
            "3 ben@example.com !Xy disabled".to_owned(),
            "4 nobody id 9 !Xy".to_owned(),
            "5 refused: password: must be text".to_owned(),
        ]
    );
    let lines = dump[1..dump.len() - 1].replace("}},", "}}");
    assert_eq!(read(System::Django, lines.as_bytes()).len(), 4);
}

#[test]
fn a_realm_of_keycloak_has_people_and_accounts_of_clients() {
    let realm = r#"{"realm": "shop", "roles": {"realm": [{"name": "x"}]}, "users": [
{"username": "ann", "email": "ann@example.com", "enabled": true, "credentials": [
  {"type": "otp", "secretData": "{}", "credentialData": "{}"},
  {"type": "password",
   "secretData": "{\"value\":\"70MX1lTmq5oyT5wMA6CjNuzhK8f3KRxUAS/fGb03eZ8=\",\"salt\":\"AAECAwQFBgcICQoLDA0ODw==\",\"additionalParameters\":{}}",
   "credentialData": "{\"hashIterations\":5,\"algorithm\":\"argon2\",\"additionalParameters\":{\"hashLength\":[\"32\"],\"memory\":[\"7168\"],\"type\":[\"id\"],\"version\":[\"1.3\"],\"parallelism\":[\"1\"]}}"}]},
{"username": "service-account-api", "serviceAccountClientId": "api", "enabled": true},
{"username": "ben@example.com", "enabled": false, "federatedIdentities": [{}]},
{"username": "old", "email": "old@example.com", "credentials": [{"type": "password", "hashIterations": 1}]},
{"username": "root"}
], "scopes": []}"#;
    assert_eq!(
        read(System::Keycloak, realm.as_bytes()),
        [
            "1 ann@example.com $argon2id$v=19$m=7168,t=5,p=1$AAECAwQFBgcICQoLDA0ODw\
             $70MX1lTmq5oyT5wMA6CjNuzhK8f3KRxUAS/fGb03eZ8",
            "3 ben@example.com invited disabled",
            "4 refused: credentials: secretData is missing",
            "5 nobody invited",
        ]
    );
    assert_eq!(
        read(System::Keycloak, br#"{"realm": "shop", "clients": []}"#),
        ["record 1: the file has no array \"users\": is it the export that the guide asks for?"]
    );
}

#[test]
fn an_export_of_firebase_is_read_as_json_and_as_csv() {
    let json = r#"{"users": [
{"localId": "a", "email": "ann@example.com", "emailVerified": true, "passwordHash": "aGFzaA==", "salt": "c2FsdA==",
 "lastSignedInAt": "1486324027000", "createdAt": "1486324027000", "providerUserInfo": []},
{"localId": "b", "email": "ben@example.com", "disabled": true, "providerUserInfo": [{"providerId": "google.com"}]},
{"localId": "c", "phoneNumber": "+1"},
{"localId": "d", "email": "dee@example.com", "passwordHash": "aGFzaA=="},
{"localId": "e", "email": "eve@example.com", "passwordHash": "UkVEQUNURUQ=", "salt": "c2FsdA=="}
]}"#;
    let hash = "$firescrypt$ln=14,r=8,p=1$c2FsdA==$aGFzaA==$Bw==$c2lnbmVy";
    let ann = format!("1 ann@example.com {hash}");
    let expected = [
        ann.as_str(),
        "2 ben@example.com invited disabled",
        "3 nobody invited",
    ];
    let told = read(System::Firebase, json.as_bytes());
    assert_eq!(told[..3], expected);
    assert_eq!(
        told[3..],
        [
            "4 refused: salt: missing",
            "5 refused: passwordHash: redacted; export with an account that may read hashes",
        ]
    );
    // The Firebase CLI ends a row with a comma, and quotes a name that has one.
    let csv = "a,ann@example.com,true,aGFzaA==,c2FsdA==,\"Doe, Ann\",,,,,,,,,,,,,,,,,,1,1,,,,\n\
               b,ben@example.com,false,,,,,9,b@gmail.com,Ben,,,,,,,,,,,,,,1,1,,true,,\n\
               c,,false,,,,,,,,,,,,,,,,,,,,,1,1,+1,,,\n";
    assert_eq!(read(System::Firebase, csv.as_bytes()), expected);
}

/// Tables, and the record that is read from each.
const TABLES: [(&str, &str); 17] = [
    // ASP.NET Core Identity, as sqlcmd or Excel write it.
    (
        "Id;Email;PasswordHash;LockoutEnd\r\n8f-2;Ann@Example.com;$2y$10$abc;\r\n",
        "2 Ann@Example.com $2y$10$abc",
    ),
    // Laravel, with mysql --batch.
    (
        "id\temail\tpassword\tdeleted_at\n7\tann@example.com\t$2y$10$abc\tNULL\n",
        "2 ann@example.com id 7 $2y$10$abc",
    ),
    (
        "id,email,password,deleted_at\n\n7,ann@example.com,$2y$10$abc,2026-01-01\n",
        "2 ann@example.com id 7 $2y$10$abc disabled",
    ),
    // Devise, of somebody who came by way of OmniAuth.
    (
        "id,email,encrypted_password\n7,ann@example.com,\"\"\n",
        "2 ann@example.com id 7 invited",
    ),
    // WordPress, with wp user list, as CSV and as JSON.
    (
        "ID,user_login,user_email,user_pass\n7,ann,ann@example.com,$2y$10$abc\n",
        "2 ann@example.com id 7 $2y$10$abc",
    ),
    (
        r#"[{"ID": 7, "user_email": "ann@example.com", "user_pass": "$2y$10$abc"}]"#,
        "1 ann@example.com id 7 $2y$10$abc",
    ),
    // Better Auth, of which user and account were joined.
    (
        r#"[{"id": "x1", "email": "ann@example.com", "password": "$2y$10$abc", "banned": true}]"#,
        "1 ann@example.com $2y$10$abc disabled",
    ),
    // Flask, with PostgreSQL's truths.
    (
        "\u{feff}username,password_hash,active\nann@example.com,\"$2y$10$abc\",f\n",
        "2 ann@example.com $2y$10$abc disabled",
    ),
    (
        "email,hash\nann@example.com,\\N\n",
        "2 ann@example.com invited",
    ),
    (
        "email,hash,two_factor\nann@example.com,$2y$10$abc,sms\n",
        "2 refused: twoFactor: must be \"email\" or \"off\"",
    ),
    (
        "email,hash,active\nann@example.com,$2y$10$abc,maybe\n",
        "2 refused: enabled: must be true or false",
    ),
    (
        "email,hash\nann@example.com,$2y$10$abc,x\n",
        "2 refused: it has not as many columns as the first line",
    ),
    (
        r#"[{"email": "ann@example.com", "password": "$2y$10$abc", "hash": "$2y$10$abc"}]"#,
        "1 refused: passwordHash: two members could be it",
    ),
    (
        r#"[{"email": "ann@example.com", "password": ["$2y$10$abc"]}]"#,
        "1 refused: passwordHash: must be text",
    ),
    (r#"["x"]"#, "1 refused: must be a JSON object"),
    (
        "email,password,hash\n",
        "two columns could be passwordHash: leave one of them out",
    ),
    (
        "ann@example.com,$2y$10$abc\n",
        "the first line names no column email; it may be called email, useremail, emailaddress, mail",
    ),
];

#[test]
fn a_table_is_read_by_the_names_of_its_columns() {
    for (table, told) in TABLES {
        assert_eq!(read(System::Table, table.as_bytes()), [told], "{table}");
    }
    let not_utf8 = [b"email,hash\nann@example.com,".as_slice(), b"\xff\n"].concat();
    assert_eq!(
        read(System::Table, &not_utf8),
        ["2 refused: passwordHash: not UTF-8"]
    );
    let utf16 = b"\xff\xfee\0m\0";
    assert_eq!(
        read(System::Table, utf16),
        ["it is UTF-16; save it as UTF-8"]
    );
}

#[test]
fn an_ldif_has_people_and_other_entries() {
    let ldif = "version: 1\n\n\
        # The root\ndn: dc=example,dc=com\nobjectClass: domain\n\n\
        dn: uid=ann,ou=people,dc=example,dc=com\nuid: ann\nmail: ann@exam\n ple.com\nMail: a@example.com\n\
        userPassword:: e1NTSEF9YWJj\njpegPhoto:: AAAA\n AAAA\n\n\
        dn: uid=ben\nmail: ben@example.com\nuserPassword: {CRYPT}!\nnsAccountLock: TRUE\n\n\
        dn: uid=cy\nuid: cy@example.com\nuserPassword: {sasl}cy@EXAMPLE.COM\n\
        pwdAccountLockedTime: 000001010000Z\n\n\
        dn: cn=replicator\nuserPassword: {SSHA}abc\n\n\
        dn: uid=dee\nmail: dee@example.com\nuserPassword: a\nuserPassword: b\n\n\
        dn: uid=eve\r\nmail: eve@example.com\r\nuserPassword:: ~\r\n\r\n\
        dn: cn=Fay\nuserPrincipalName: fay@example.com\nuserAccountControl: 514\n";
    assert_eq!(
        read(System::Ldap, ldif.as_bytes()),
        [
            "7 ann@example.com {SSHA}abc",
            "16 ben@example.com {CRYPT}! disabled",
            "21 cy@example.com invited disabled",
            "26 nobody {SSHA}abc",
            "29 refused: userPassword: stands there more than once",
            "34 refused: userpassword: not base64",
            "38 fay@example.com invited disabled",
        ]
    );
}

#[test]
fn an_identity_of_kratos_has_its_address_in_its_traits() {
    let identities = r#"[
{"id": "a", "state": "active", "traits": {"email": "ann@example.com", "name": {"first": "Ann"}},
 "credentials": {"password": {"type": "password", "config": {"hashed_password": "$2a$10$abc"}}}},
{"id": "b", "state": "inactive", "traits": {"username": "ben@example.com"}, "credentials": {"oidc": {}}},
{"id": "c", "traits": {}}
]"#;
    assert_eq!(
        read(System::Kratos, identities.as_bytes()),
        [
            "1 ann@example.com $2a$10$abc",
            "2 ben@example.com invited disabled",
            "3 nobody invited",
        ]
    );
}
