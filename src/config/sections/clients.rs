//! `introspection.clients`: tables in a file, `id:digest,…` in the environment.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::super::reader::{Reader, Reading, split};
use super::super::redact::REDACTED;
use super::super::setting::Given;
use super::super::shape::sha256;
use super::super::types::IntrospectionClient;

const KEY: &str = "introspection.clients";

/// The clients. Digests are treated as secrets, because they are not salted.
pub(super) fn clients(reader: &mut Reader) -> Reading<Vec<IntrospectionClient>> {
    let parsed = reader.given(KEY).map(parse_all).unwrap_or_default();
    let clients: Vec<Reading<IntrospectionClient>> = (1..)
        .zip(parsed)
        .map(|(number, client)| {
            client.map_err(|message| reader.problem(KEY, format!("number {number} {message}")))
        })
        .collect();
    refuse_duplicates(reader, clients.iter().flatten());
    let shown: Vec<_> = clients.iter().flatten().map(shown).collect();
    reader.show(KEY, shown.into(), None);
    clients.into_iter().collect()
}

type Parsed = Result<IntrospectionClient, &'static str>;

fn parse_all(given: &Given) -> Vec<Parsed> {
    match &given.value {
        Value::String(text) if given.origin.variable().is_some() => {
            split(text).map(parse_pair).collect()
        }
        Value::Array(items) => items.iter().map(parse_item).collect(),
        _ => vec![Err("must be part of a list of { id, secret_sha256 }")],
    }
}

fn parse_pair(pair: &str) -> Parsed {
    let (id, digest) = pair
        .split_once(':')
        .ok_or("must be written id:secret_sha256")?;
    client(id, digest)
}

fn parse_item(item: &Value) -> Parsed {
    const MUST: &str = "must be { id, secret_sha256 }, both texts, and nothing else";
    let field = |table: &Table, name: &str| table.get(name)?.as_str().map(str::to_owned);
    let table = item
        .as_table()
        .filter(|table| table.len() == 2)
        .ok_or(MUST)?;
    let id = field(table, "id").ok_or(MUST)?;
    let digest = field(table, "secret_sha256").ok_or(MUST)?;
    client(&id, &digest)
}

fn client(id: &str, digest: &str) -> Parsed {
    // A colon ends the name in HTTP Basic (RFC 7617, section 2).
    let is_printable = id
        .bytes()
        .all(|b| (b == b' ' || b.is_ascii_graphic()) && b != b':');
    if !is_printable || !(1..=128).contains(&id.len()) {
        return Err("must have an id of 1 to 128 printable ASCII characters without a colon");
    }
    let secret_sha256 =
        sha256(digest).ok_or("must have a secret_sha256 of 64 hexadecimal digits")?;
    Ok(IntrospectionClient {
        id: id.to_owned(),
        secret_sha256,
    })
}

fn refuse_duplicates<'a>(
    reader: &mut Reader,
    clients: impl Iterator<Item = &'a IntrospectionClient>,
) {
    let mut seen = BTreeSet::new();
    for client in clients {
        if !seen.insert(&client.id) {
            reader.problem(KEY, format!("has the id {:?} twice", client.id));
        }
    }
}

fn shown(client: &IntrospectionClient) -> Value {
    let mut table = Table::new();
    table.insert("id".into(), client.id.clone().into());
    table.insert("secret_sha256".into(), REDACTED.into());
    table.into()
}

#[cfg(test)]
mod tests {
    use super::super::super::setting::Origin;
    use super::*;

    fn read(value: impl Into<Value>, origin: Origin) -> (Vec<String>, Vec<String>) {
        let given = Given {
            value: value.into(),
            origin,
        };
        let mut reader = Reader::new([(KEY.to_owned(), given)].into(), Vec::new());
        let clients = clients(&mut reader).unwrap_or_default();
        let ids = clients.into_iter().map(|client| client.id).collect();
        let problems = reader.finish().problems;
        (
            ids,
            problems
                .into_iter()
                .map(|problem| problem.message)
                .collect(),
        )
    }

    fn from_file(toml: &str) -> (Vec<String>, Vec<String>) {
        let table: Table = format!("clients = {toml}").parse().unwrap();
        read(table["clients"].clone(), Origin::File)
    }

    #[test]
    fn clients_are_read_from_a_file_and_from_the_environment() {
        let digest = "ab".repeat(32);
        let (ids, problems) = from_file(&format!(
            "[{{ id = \"a\", secret_sha256 = \"{digest}\" }}, {{ id = \"b\", secret_sha256 = \"{digest}\" }}]"
        ));
        assert_eq!((ids.join(" "), problems.len()), ("a b".into(), 0));
        let variable = Origin::Environment("X".into());
        let (ids, problems) = read(format!("a:{digest}, b:{digest}"), variable.clone());
        assert_eq!((ids.join(" "), problems.len()), ("a b".into(), 0));
        assert_eq!(read("", variable), (vec![], vec![]));
    }

    #[test]
    fn a_client_can_have_a_table_of_its_own_in_the_file() {
        let digest = "cd".repeat(32);
        let header = "[[introspection.clients]]";
        let table: Table = format!(
            "{header}\nid = \"a\"\nsecret_sha256 = \"{digest}\"\n{header}\nid = \"b\"\nsecret_sha256 = \"{digest}\""
        )
        .parse()
        .unwrap();
        let clients = table["introspection"]["clients"].clone();
        let (ids, problems) = read(clients, Origin::File);
        assert_eq!((ids.join(" "), problems.len()), ("a b".into(), 0));
    }

    #[test]
    fn every_client_that_is_wrong_is_told_by_its_place() {
        let digest = "ab".repeat(32);
        let (_, problems) = from_file(&format!(
            "[1, {{ id = \"a\" }}, {{ id = \"a:b\", secret_sha256 = \"{digest}\" }}, \
             {{ id = \"c\", secret_sha256 = \"hunter2\" }}]"
        ));
        assert_eq!(
            problems,
            [
                "number 1 must be { id, secret_sha256 }, both texts, and nothing else",
                "number 2 must be { id, secret_sha256 }, both texts, and nothing else",
                "number 3 must have an id of 1 to 128 printable ASCII characters without a colon",
                "number 4 must have a secret_sha256 of 64 hexadecimal digits",
            ]
        );
    }

    #[test]
    fn an_id_names_one_client() {
        let digest = "ab".repeat(32);
        let (_, problems) = read(
            format!("a:{digest},a:{digest}"),
            Origin::Environment("X".into()),
        );
        assert_eq!(problems, ["has the id \"a\" twice"]);
    }
}
