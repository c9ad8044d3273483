//! Verifies the tokens that come in, a line each, until standard input ends.

mod verify;

use std::env;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, stdin, stdout};

use verify::{Refusal, Settings, Verifier};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let verifier = Verifier::start(Settings {
        auth_url: env::var("AUTH_URL")?,
        issuer: env::var("ISSUER")?,
        audience: env::var("AUDIENCE")?,
        client_id: env::var("CLIENT_ID")?,
        client_secret: env::var("CLIENT_SECRET")?,
        cooldown: Duration::from_secs_f64(env::var("JWKS_COOLDOWN")?.parse()?),
    })
    .await?;
    let mut lines = BufReader::new(stdin()).lines();
    let mut out = stdout();
    while let Some(line) = lines.next_line().await? {
        let (number, token) = line.split_once(' ').unwrap_or_default();
        let (outcome, detail) = match verifier.verify(token).await {
            Ok(claims) => ("good", claims.sid),
            Err(Refusal::Invalid(why)) => ("refused", why),
            Err(Refusal::Unavailable(why)) => ("unavailable", why),
        };
        let answer =
            json!({"number": number.parse::<u64>()?, "outcome": outcome, "detail": detail});
        out.write_all(format!("{answer}\n").as_bytes()).await?;
        out.flush().await?;
    }
    Ok(())
}
