//! `explain`: why a person cannot sign in, or what became of a request, in plain words.

use std::str::FromStr;

use anyhow::ensure;
use clap::Args;
use serde_json::{Value, json};

use super::output::say;
use super::words::{
    end_sentence, kind_name, mail_sentence, obstacle_code, obstacle_text, reason_sentence,
};
use super::{Access, connect_migrated, output, user};
use crate::admin::{Admin, Explanation, MailState, Obstacle};
use crate::config::Config;
use crate::domain::{
    AuditKind, AuditReason, EmailAddress, EndReason, Outcome, RequestId, Timestamp, UserAgent,
};
use crate::store::{AuditRecord, MailRecord, SessionHistory};

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// A request's id (`requestId` in a refusal, the header `X-Request-Id`), or a person's address
    #[arg(value_name = "REQUEST_ID|EMAIL")]
    subject: Subject,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone)]
enum Subject {
    Request(RequestId),
    Address(EmailAddress),
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('@') {
            let address = text.parse::<EmailAddress>();
            return address.map(Self::Address).map_err(|e| e.to_string());
        }
        let id = RequestId::parse(text).map(Self::Request);
        id.ok_or_else(|| "neither a request's id nor an address".to_owned())
    }
}

pub(super) async fn run(args: &ExplainArgs, config: &Config) -> anyhow::Result<()> {
    let admin = Admin::new(connect_migrated(config, Access::Reads).await?, config);
    let found = match &args.subject {
        Subject::Address(email) => admin.explain_address(email).await?,
        Subject::Request(request_id) => {
            let found = admin.explain_request(request_id).await?;
            ensure!(
                !found.events.is_empty(),
                "nothing is on record for this request; these are not recorded: a refresh that was \
                 granted to a network that its session is known from, a request that was malformed \
                 or had no token, 503, a flood (429 with cause `flood`), \
                 repeated attempts at a limit, and strangers when many come at once. The \
                 server's log has each request's line, with its cause, unless it was one of a \
                 flood: look there for this id. `explain EMAIL` tells the limits that are on; \
                 an address has an @"
            );
            found
        }
    };
    if args.json {
        output::json(&explanation_json(&found));
    } else {
        print(&found);
    }
    Ok(())
}

fn print(found: &Explanation) {
    print_person(found);
    section("Mails of the last days", found.mails.iter().map(mail_line));
    let session = |session| session_line(session, found.now);
    section("Sessions", found.sessions.iter().map(session));
    let older = found
        .has_older_events
        .then(|| "(there are older events)".to_owned());
    let events = older.into_iter().chain(found.events.iter().map(event_line));
    section("Events, newest last", events);
}

fn print_person(found: &Explanation) {
    let mut lines: Vec<String> = found.obstacles.iter().map(obstacle_text).collect();
    match (&found.email, &found.user) {
        (Some(email), Some(user)) => {
            say!(
                "{email} is user number {}, {}, with second factor {}.",
                user.user_id,
                if user.is_disabled() {
                    "disabled"
                } else {
                    "enabled"
                },
                user.two_factor
            );
            if lines.is_empty() {
                lines.push(
                    "None on record. The server's log has every refusal, by its request."
                        .to_owned(),
                );
            }
        }
        (Some(email), None) => say!("{email} is nobody's address."),
        (None, _) => {}
    }
    section("Obstacles to signing in now", lines);
}

fn section(title: &str, lines: impl IntoIterator<Item = String>) {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_some() {
        say!("\n{title}:");
    }
    for line in lines {
        say!("  {line}");
    }
}

fn mail_line(mail: &MailRecord) -> String {
    let reply = printable(mail.last_reply.as_deref().unwrap_or("none"));
    format!(
        "{}  {} Attempts: {}; last reply: {reply}",
        output::instant(mail.created_at),
        mail_sentence(&mail.kind, MailState::of(mail)),
        mail.attempts,
    )
}

fn session_line(session: &SessionHistory, now: Timestamp) -> String {
    let device = session
        .last_user_agent
        .as_ref()
        .and_then(UserAgent::short_name);
    let device = device.map_or_else(String::new, |device| format!(" with {device}"));
    format!(
        "{}  {} opened from {}, last used {} from {}{device}. {}",
        output::instant(session.created_at),
        session.session_id,
        session.network,
        output::instant(session.last_used_at),
        session.last_network,
        session_sentence(session, now),
    )
}

fn session_sentence(session: &SessionHistory, now: Timestamp) -> String {
    if let Some(at) = session.ended_at {
        let word = session.end_reason.as_deref().unwrap_or_default();
        let reason = match EndReason::from_stored(word) {
            Some(reason) => end_sentence(reason),
            None => word,
        };
        return format!("Ended {}: {reason}", output::instant(at));
    }
    if session.expires_at <= now {
        return format!("Ran out {}.", output::instant(session.expires_at));
    }
    if session.idle_expires_at <= now {
        let at = output::instant(session.idle_expires_at);
        return format!("Ran out {at}: nobody refreshed it in time.");
    }
    match session.refresh_blocked_until.filter(|until| *until > now) {
        Some(until) => format!(
            "Live; refreshing is blocked until {} after too many attempts.",
            output::instant(until)
        ),
        None => "Live.".to_owned(),
    }
}

/// A text as it was stored, without characters that a terminal would take for commands.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "?")
}

fn event_line(event: &AuditRecord) -> String {
    let asides = [
        event.network.map(|network| format!("from {network}")),
        event
            .actor
            .as_ref()
            .map(|actor| format!("by {}", printable(actor))),
        event.session_id.map(|id| format!("session {id}")),
        event.request_id.as_ref().map(|id| format!("request {id}")),
        event.detail.as_deref().map(printable),
    ];
    let asides: Vec<String> = asides.into_iter().flatten().collect();
    let asides = if asides.is_empty() {
        String::new()
    } else {
        format!(" ({})", asides.join("; "))
    };
    format!(
        "{}  {}: {}{asides}",
        output::instant(event.happened_at),
        event_title(event),
        event_sentence(event),
    )
}

/// `Sign-in refused`, `Code accepted`, `User changed`.
fn event_title(event: &AuditRecord) -> String {
    let Some(kind) = AuditKind::from_stored(&event.kind) else {
        return event.kind.clone();
    };
    let attempts = [
        AuditKind::Signin,
        AuditKind::Confirm,
        AuditKind::Refresh,
        AuditKind::Signout,
    ];
    let outcome = match Outcome::from_stored(&event.outcome) {
        _ if !attempts.contains(&kind) => "",
        Some(Outcome::Refused) => " refused",
        Some(Outcome::Granted) | None => " accepted",
    };
    format!("{}{outcome}", kind_name(kind))
}

/// The sentence for an event's reason; the bare word if a later version wrote it.
fn event_sentence(event: &AuditRecord) -> String {
    match AuditReason::from_stored(&event.reason) {
        Some(reason) => reason_sentence(reason).to_owned(),
        None => format!("{}.", event.reason),
    }
}

fn explanation_json(found: &Explanation) -> Value {
    json!({
        "email": found.email,
        "user": found.user.as_ref().map(user::user_json),
        "obstacles": found.obstacles.iter().map(obstacle_json).collect::<Vec<_>>(),
        "mails": found.mails.iter().map(mail_json).collect::<Vec<_>>(),
        "sessions": (found.sessions.iter())
            .map(|session| session_json(session, found.now))
            .collect::<Vec<_>>(),
        "hasOlderEvents": found.has_older_events,
        "events": found.events.iter().map(event_json).collect::<Vec<_>>(),
    })
}

fn obstacle_json(obstacle: &Obstacle) -> Value {
    let mut body = json!({ "code": obstacle_code(obstacle), "text": obstacle_text(obstacle) });
    if let Obstacle::Limited {
        scope,
        network,
        until,
    } = obstacle
    {
        body["limit"] = json!(scope.as_str());
        body["network"] = json!(network.map(|network| network.to_string()));
        body["until"] = json!(output::instant(*until));
    }
    body
}

fn mail_json(mail: &MailRecord) -> Value {
    json!({
        "kind": mail.kind,
        "requestedAt": output::instant(mail.created_at),
        "requestId": mail.request_id,
        "text": mail_sentence(&mail.kind, MailState::of(mail)),
        "attempts": mail.attempts,
        "sentAt": mail.sent_at.map(output::instant),
        "givenUpAt": mail.given_up_at.map(output::instant),
        "lastReply": mail.last_reply,
    })
}

fn session_json(session: &SessionHistory, now: Timestamp) -> Value {
    json!({
        "id": session.session_id,
        "createdAt": output::instant(session.created_at),
        "lastUsedAt": output::instant(session.last_used_at),
        "expiresAt": output::instant(session.expires_at),
        "endedAt": session.ended_at.map(output::instant),
        "endReason": session.end_reason,
        "network": session.network.to_string(),
        "lastNetwork": session.last_network.to_string(),
        "lastUserAgent": session.last_user_agent.as_ref().map(UserAgent::as_str),
        "device": session.last_user_agent.as_ref().and_then(UserAgent::short_name),
        "text": session_sentence(session, now),
    })
}

fn event_json(event: &AuditRecord) -> Value {
    json!({
        "happenedAt": output::instant(event.happened_at),
        "kind": event.kind,
        "outcome": event.outcome,
        "reason": event.reason,
        "text": event_sentence(event),
        "network": event.network.map(|network| network.to_string()),
        "requestId": event.request_id,
        "sessionId": event.session_id,
        "actor": event.actor,
        "detail": event.detail,
    })
}
