//! The documented calls, as they are documented: they must work with curl.

use std::process::Stdio;

use backoffice_auth::domain::TwoFactor;
use serde_json::Value;
use tokio::process::Command;

use crate::support::{Answer, TestApp, parse, post, send, soon};

const SIGNIN: &str = r#"curl --location --request POST 'https://host.name/api/v2/signin' \
--data-raw '{
"email": "foo@bar.com",
"password": "Secret123"
}'"#;

const CONFIRM: &str = r#"curl --location --request POST 'https://host.name/api/v2/2fa/confirm' \
--data-raw '{
"token": "b2fcf999-2b0b-451d-9888-094a79117aa5",
"code": "123456"
}'"#;

const REFRESH: &str = r#"curl --location --request POST 'https://host.name/api/v2/refresh' \
--data-raw '{
"refreshToken": "<refresh token>"
}'"#;

const SIGNOUT: &str = r"curl --location --request POST 'https://host.name/api/v2/signout' \
--header 'Authorization: Bearer <token>'";

/// The whole way of a user with a second factor, by the calls as documented.
async fn walk(app: &TestApp, call: impl AsyncFn(String) -> Answer) {
    app.create("foo@bar.com", "Secret123", TwoFactor::Email)
        .await;
    let here = format!("http://{}", app.public_addr());
    let call = async |line: &str, words: &[(&str, &str)]| {
        let mut line = line.replace("https://host.name", &here);
        for (word, value) in words {
            assert!(line.contains(word), "{line}");
            line = line.replace(word, value);
        }
        call(line).await
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();

    let challenge = call(SIGNIN, &[]).await.ok();
    assert_eq!(challenge["2faRequired"], true);
    let token = text(&challenge["2faDetails"]["token"]);
    let code = app.code_for("foo@bar.com").await;
    let documented = [
        ("b2fcf999-2b0b-451d-9888-094a79117aa5", token.as_str()),
        ("123456", code.as_str()),
    ];
    let first = call(CONFIRM, &documented).await.pair();
    let second = call(REFRESH, &[("<refresh token>", &first.refresh)])
        .await
        .pair();
    call(SIGNOUT, &[("<token>", &second.access)])
        .await
        .ok_and_empty();
    let again = call(SIGNOUT, &[("<token>", &second.access)]).await;
    again.problem(401, "invalid_access_token");
}

#[tokio::test]
async fn the_documented_calls_work_in_the_bytes_that_curl_makes_of_them() {
    let app = TestApp::start().await;
    let address = app.public_addr();
    walk(&app, async |line| send(address, &bytes_of(&line)).await).await;
}

/// The bytes that curl sends for a documented call, but that it closes the connection.
fn bytes_of(line: &str) -> Vec<u8> {
    let between = |start: &str, end: &str| {
        let (_, rest) = line.split_once(start)?;
        rest.rsplit_once(end).map(|(text, _)| text.to_owned())
    };
    let url = line.split('\'').nth(1).unwrap();
    let path = url.splitn(4, '/').nth(3).unwrap();
    let body = between("--data-raw '", "'").unwrap_or_default();
    let header = between("--header '", "'");
    let header = header.iter().filter_map(|line| line.split_once(": "));
    let mut headers = vec![("User-Agent", "curl/8.5.0"), ("Accept", "*/*")];
    headers.extend(header);
    if !body.is_empty() {
        headers.push(("Content-Type", "application/x-www-form-urlencoded"));
    }
    post(&format!("/{path}"), &headers, body.as_bytes())
}

#[tokio::test]
async fn the_documented_calls_work_in_a_shell() {
    if !has_curl().await {
        // The test above sends the same bytes.
        return;
    }
    let app = TestApp::start().await;
    walk(&app, async |line| {
        let line = format!("{line} --silent --show-error --include --noproxy '*'");
        let run = Command::new("sh").arg("-c").arg(line).output();
        let output = soon("curl", run).await.unwrap();
        assert!(output.status.success(), "{output:?}");
        parse(&output.stdout)
    })
    .await;
}

async fn has_curl() -> bool {
    let version = Command::new("curl")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    version.await.is_ok_and(|status| status.success())
}
