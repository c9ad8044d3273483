//! `user`: the acts of operators on users.

use anyhow::Context as _;
use clap::{ArgAction, Args, Subcommand};
use serde_json::{Value, json};

use super::output::{self, say};
use super::{Access, connect_migrated, hashes, help, import, secret_input};
use crate::admin::Admin;
use crate::config::Config;
use crate::domain::{
    EmailAddress, InvalidEmailAddress, Operator, PlainPassword, TwoFactor, User, UserAgent, UserId,
};
use crate::store::{PasskeyRecord, SessionRecord};

/// Users read at a time by `list`.
const PAGE: i64 = 500;

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Make a user; without --password-stdin and a terminal, a strong password is made and printed
    #[command(after_long_help = help::USER_CREATE)]
    Create(CreateArgs),
    /// Make a user without a password and mail a link to set one; mails another one to a user who has not used theirs
    #[command(after_long_help = help::USER_INVITE)]
    Invite(InviteArgs),
    /// Mail a link to set a password, which nobody but the user sees
    #[command(after_long_help = help::USER_LINK)]
    Link(OneUser),
    /// List all users
    List {
        /// Count how many users have a hash of which kind instead
        #[arg(long)]
        hashes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a user
    Show(OneUser),
    /// Set a user's password and end the sessions
    Password(PasswordArgs),
    /// Give a user another address, and end the sessions; both addresses are told by mail
    Email {
        #[command(flatten)]
        user: OneUser,
        /// The new address: one that sign-in takes
        #[arg(value_name = "NEW")]
        new: EmailAddress,
    },
    /// Set whether signing in takes a mailed code
    TwoFactor {
        #[command(flatten)]
        user: OneUser,
        /// `email` or `off`
        #[arg(value_name = "email|off")]
        two_factor: TwoFactor,
    },
    /// Show which second factors a user has enrolled
    Factors(OneUser),
    /// Remove a user's authenticator app, passkeys and recovery codes, for one who has lost them, and end the sessions;
    /// codes are mailed from then on, and the user is told by mail
    ResetFactors(OneUser),
    /// Make a user an administrator, who manages the others over HTTP, or take that away
    #[command(after_long_help = help::USER_ADMINISTRATOR)]
    Administrator(AdministratorArgs),
    /// Shut a user out and end the sessions
    Disable(OneUser),
    /// Let a user in again
    Enable(OneUser),
    /// Lift every limit and block on a user, the lock of the second factor included
    Unlock(OneUser),
    /// List a user's live sessions
    Sessions(OneUser),
    /// End a user's sessions
    Signout(OneUser),
    /// Remove a user and end the sessions
    Delete(OneUser),
    /// Take over the users of another service from its export: all of them, or none if one cannot be
    ///
    /// --from names the system that the file comes from; docs/moving-in.md has a guide for each. A file
    /// that no system writes has a line of JSON for each user: {"email": …, "passwordHash": …} and, if need
    /// be, "id" (a number), "twoFactor" ("email", which is the default, or "off") and "disabled" (true or
    /// false). null for the hash stands for no password. A field of any other name is refused: it could be a
    /// misspelt one of these.
    ///
    /// Each hash is replaced by one of today's kind at the next good sign-in.
    #[command(after_long_help = help::USER_IMPORT)]
    Import(import::ImportArgs),
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    #[command(flatten)]
    user: NewUser,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Whether signing in takes a mailed code
    #[arg(long, value_name = "email|off", default_value = "email")]
    two_factor: TwoFactor,
}

#[derive(Debug, Args)]
pub(super) struct InviteArgs {
    #[command(flatten)]
    user: NewUser,
    /// Whether signing in takes a mailed code
    #[arg(long, value_name = "email|off", default_value = "email")]
    two_factor: TwoFactor,
}

#[derive(Debug, Args)]
pub(super) struct PasswordArgs {
    #[command(flatten)]
    user: OneUser,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Args)]
pub(super) struct AdministratorArgs {
    #[command(flatten)]
    user: OneUser,
    /// `on` or `off`
    #[arg(value_name = "on|off", value_parser = on_or_off, action = ArgAction::Set)]
    administrator: bool,
}

#[derive(Debug, Args)]
pub(super) struct NewUser {
    /// The user's address: one that sign-in takes
    email: EmailAddress,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct OneUser {
    /// The user's address
    #[arg(value_parser = address_of_a_user)]
    email: EmailAddress,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// An address that a user may have although no new user could get it: it may be older than a rule.
fn address_of_a_user(text: &str) -> Result<EmailAddress, InvalidEmailAddress> {
    let stored = || EmailAddress::from_stored(text.to_ascii_lowercase());
    text.parse().or_else(|error| stored().ok_or(error))
}

fn on_or_off(text: &str) -> Result<bool, &'static str> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("must be `on` or `off`"),
    }
}

impl OneUser {
    fn say(&self, what: &str) {
        if self.json {
            output::json(&json!({ "email": self.email, "result": what }));
        } else {
            say!("{}: {what}.", self.email);
        }
    }
}

pub(super) async fn run(
    command: UserCommand,
    config: &Config,
    actor: &Operator,
) -> anyhow::Result<()> {
    let admin = Admin::new(connect_migrated(config, access(&command)).await?, config);
    match command {
        UserCommand::Create(args) => create(&admin, actor, config, &args).await?,
        UserCommand::Invite(args) => invite(&admin, actor, &args).await?,
        UserCommand::Link(user) => {
            admin.mail_link(actor, &user.email).await?;
            user.say("a link to set a password goes out by mail");
        }
        UserCommand::List { hashes: true, json } => hashes::list(&admin, json).await?,
        UserCommand::List { json, .. } => list(&admin, json).await?,
        UserCommand::Show(user) => show(&admin, &user).await?,
        UserCommand::Password(args) => change_password(&admin, actor, config, &args).await?,
        UserCommand::Email { user, new } => {
            admin.change_email(actor, &user.email, &new).await?;
            user.say(&format!("address changed to {new}, sessions ended"));
        }
        UserCommand::TwoFactor { user, two_factor } => {
            admin
                .change_two_factor(actor, &user.email, two_factor)
                .await?;
            user.say(&format!("second factor is {two_factor}"));
        }
        UserCommand::Administrator(args) => {
            change_administrator(&admin, actor, config, &args).await?;
        }
        UserCommand::Disable(user) => {
            admin.disable_user(actor, &user.email).await?;
            user.say("disabled, sessions ended");
        }
        UserCommand::Enable(user) => {
            admin.enable_user(actor, &user.email).await?;
            user.say("enabled");
        }
        UserCommand::Factors(user) => factors(&admin, &user).await?,
        UserCommand::ResetFactors(user) => {
            admin.reset_factors(actor, &user.email).await?;
            user.say("second factors removed, sessions ended, told by mail");
        }
        UserCommand::Unlock(user) => {
            admin.unlock_user(actor, &user.email).await?;
            user.say("unlocked");
        }
        UserCommand::Sessions(user) => sessions(&admin, &user).await?,
        UserCommand::Signout(user) => {
            let ended = admin.sign_user_out(actor, &user.email).await?;
            user.say(&format!("{ended} sessions ended"));
        }
        UserCommand::Delete(user) => {
            admin.delete_user(actor, &user.email).await?;
            user.say("deleted, sessions ended");
        }
        UserCommand::Import(args) => import::run(&admin, actor, config, &args).await?,
    }
    Ok(())
}

fn access(command: &UserCommand) -> Access {
    match command {
        UserCommand::List { .. }
        | UserCommand::Show(_)
        | UserCommand::Factors(_)
        | UserCommand::Sessions(_) => Access::Reads,
        UserCommand::Import(args) if args.dry_run => Access::Reads,
        _ => Access::Writes,
    }
}

async fn create(
    admin: &Admin,
    actor: &Operator,
    config: &Config,
    args: &CreateArgs,
) -> anyhow::Result<()> {
    let (user, two_factor) = (&args.user, args.two_factor);
    let (made, password) = if args.password_stdin {
        (None, secret_input::from_stdin()?)
    } else {
        let typed = if secret_input::has_terminal() {
            secret_input::from_prompt()?
        } else {
            None
        };
        if let Some(password) = typed {
            (None, password)
        } else {
            let (text, password) = secret_input::generate();
            (Some(text), password)
        }
    };
    let pool = hashes::single_pool(&config.passwords);
    let user_id = admin
        .create_user(actor, &pool, &user.email, password, two_factor)
        .await?;
    if user.json {
        let mut created =
            json!({ "id": user_id, "email": user.email, "twoFactor": two_factor.as_str() });
        if let Some(made) = &made {
            created["password"] = json!(made);
        }
        output::json(&created);
    } else {
        say!(
            "{}: created with number {user_id}, second factor {two_factor}.",
            user.email
        );
        if let Some(made) = &made {
            say!("Password (shown this once): {made}");
        }
    }
    Ok(())
}

async fn invite(admin: &Admin, actor: &Operator, args: &InviteArgs) -> anyhow::Result<()> {
    let user = &args.user;
    let is_new = admin
        .invite_user(actor, &user.email, args.two_factor)
        .await?;
    let what = if is_new {
        "invited; a link to set a password goes out by mail"
    } else {
        "not new, and has no password yet; another link goes out by mail"
    };
    if user.json {
        output::json(&json!({ "email": user.email, "result": what }));
    } else {
        say!("{}: {what}.", user.email);
    }
    Ok(())
}

async fn change_password(
    admin: &Admin,
    actor: &Operator,
    config: &Config,
    args: &PasswordArgs,
) -> anyhow::Result<()> {
    let user = &args.user;
    // Before anybody types a password for a user that does not exist.
    admin.find_user(&user.email).await?;
    let password = new_password(args.password_stdin)?;
    admin
        .change_password(
            actor,
            &hashes::single_pool(&config.passwords),
            &user.email,
            password,
        )
        .await?;
    user.say("password changed, sessions ended");
    Ok(())
}

fn new_password(password_stdin: bool) -> anyhow::Result<PlainPassword> {
    if password_stdin {
        return secret_input::from_stdin();
    }
    anyhow::ensure!(
        secret_input::has_terminal(),
        "there is no terminal to ask on; give the password on standard input with --password-stdin"
    );
    secret_input::from_prompt()?.context("no password was typed")
}

async fn change_administrator(
    admin: &Admin,
    actor: &Operator,
    config: &Config,
    args: &AdministratorArgs,
) -> anyhow::Result<()> {
    let (user, is_administrator) = (&args.user, args.administrator);
    let found = admin
        .change_administrator(actor, &user.email, is_administrator)
        .await?;
    user.say(match (is_administrator, config.administration.requires_mfa) {
        (false, _) => "no administrator",
        (true, true) if !found.has_strong_factor() => {
            "administrator, once an authenticator app or a passkey is set up on the account page"
        }
        (true, _) => "administrator",
    });
    Ok(())
}

async fn list(admin: &Admin, as_json: bool) -> anyhow::Result<()> {
    let mut all = Vec::new();
    let mut after = UserId(i64::MIN);
    loop {
        let page = admin.list_users(after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.user_id;
        all.extend(page);
    }
    if as_json {
        output::json(&Value::Array(all.iter().map(user_json).collect()));
    } else {
        let rows: Vec<[String; 5]> = all.iter().map(user_row).collect();
        output::table(["ID", "EMAIL", "SECOND FACTOR", "STATE", "CREATED"], &rows);
    }
    Ok(())
}

async fn show(admin: &Admin, user: &OneUser) -> anyhow::Result<()> {
    let found = admin.find_user(&user.email).await?;
    if user.json {
        output::json(&user_json(&found));
        return Ok(());
    }
    let password = match (&found.password_hash, found.password_changed_at) {
        (None, _) => "none; cannot sign in before one is set".to_owned(),
        (Some(_), Some(at)) => format!("set {}", output::instant(at)),
        (Some(_), None) => "set".to_owned(),
    };
    let blocks = admin.list_blocks(&user.email).await?;
    say!("number:          {}", found.user_id);
    say!("email:           {}", found.email);
    say!("state:           {}", state(&found));
    if found.is_administrator {
        say!("role:            administrator");
    }
    say!("password:        {password}");
    say!("second factor:   {}", second_factor(&found));
    say!("wrong in a row:  {} codes", found.second_factor_failures);
    say!("created:         {}", output::instant(found.created_at));
    for (scope, until) in blocks {
        say!("blocked:         {scope}, until {}", output::instant(until));
    }
    Ok(())
}

async fn factors(admin: &Admin, user: &OneUser) -> anyhow::Result<()> {
    let found = admin.find_user(&user.email).await?;
    let factors = admin.find_factors(found.user_id).await?;
    if user.json {
        let totp = factors.totp.map(|(enrolled, last)| {
            json!({
                "createdAt": output::instant(enrolled),
                "lastUsedAt": last.map(output::instant),
            })
        });
        output::json(&json!({
            "email": found.email,
            "twoFactor": found.two_factor.as_str(),
            "totp": totp,
            "passkeys": factors.passkeys.iter().map(passkey_json).collect::<Value>(),
            "recoveryCodesLeft": factors.recovery_codes_left,
        }));
        return Ok(());
    }
    let app = match factors.totp {
        None => "none".to_owned(),
        Some((enrolled, None)) => format!("enrolled {}", output::instant(enrolled)),
        Some((enrolled, Some(last))) => {
            let (enrolled, last) = (output::instant(enrolled), output::instant(last));
            format!("enrolled {enrolled}, last used {last}")
        }
    };
    let mailed = match found.two_factor {
        _ if found.has_strong_factor() => "not taken beside an app or a passkey",
        TwoFactor::Email => "asked for",
        TwoFactor::Off => "not asked for",
    };
    say!("authenticator app:  {app}");
    if factors.passkeys.is_empty() {
        say!("passkeys:           none");
    }
    for passkey in &factors.passkeys {
        say!("passkey:            {}", passkey_line(passkey));
    }
    say!("recovery codes:     {} left", factors.recovery_codes_left);
    say!("mailed code:        {mailed}");
    Ok(())
}

fn passkey_json(passkey: &PasskeyRecord) -> Value {
    json!({
        "id": passkey.passkey_id.0,
        "name": passkey.name,
        "domain": passkey.rp_id,
        "createdAt": output::instant(passkey.created_at),
        "lastUsedAt": passkey.last_used_at.map(output::instant),
        "synced": passkey.is_synced,
        "alone": passkey.verifies_user,
    })
}

fn passkey_line(passkey: &PasskeyRecord) -> String {
    let added = output::instant(passkey.created_at);
    let used = passkey.last_used_at.map(output::instant);
    let used = used
        .map(|at| format!(", last used {at}"))
        .unwrap_or_default();
    format!(
        "{} for {}, added {added}{used}",
        passkey.name, passkey.rp_id
    )
}

async fn sessions(admin: &Admin, user: &OneUser) -> anyhow::Result<()> {
    let sessions = admin.list_sessions(&user.email).await?;
    if user.json {
        output::json(&Value::Array(sessions.iter().map(session_json).collect()));
    } else {
        let rows: Vec<[String; 6]> = sessions.iter().map(session_row).collect();
        let head = ["SESSION", "OPENED", "FROM", "LAST USED", "FROM", "DEVICE"];
        output::table(head, &rows);
    }
    Ok(())
}

fn state(user: &User) -> &'static str {
    if user.is_disabled() {
        "disabled"
    } else {
        "enabled"
    }
}

fn second_factor(user: &User) -> &'static str {
    if user.has_totp {
        "authenticator app"
    } else if user.has_passkey {
        "passkey"
    } else {
        user.two_factor.as_str()
    }
}

fn user_row(user: &User) -> [String; 5] {
    [
        user.user_id.to_string(),
        user.email.to_string(),
        second_factor(user).to_owned(),
        state(user).to_owned(),
        output::instant(user.created_at),
    ]
}

pub(super) fn user_json(user: &User) -> Value {
    json!({
        "id": user.user_id,
        "email": user.email,
        "twoFactor": user.two_factor.as_str(),
        "totp": user.has_totp,
        "passkey": user.has_passkey,
        "administrator": user.is_administrator,
        "disabled": user.is_disabled(),
        "hasPassword": user.password_hash.is_some(),
        "wrongCodesInARow": user.second_factor_failures,
        "createdAt": output::instant(user.created_at),
        "disabledAt": user.disabled_at.map(output::instant),
        "passwordChangedAt": user.password_changed_at.map(output::instant),
    })
}

fn session_row(session: &SessionRecord) -> [String; 6] {
    [
        session.session_id.to_string(),
        output::instant(session.created_at),
        session.network.to_string(),
        output::instant(session.last_used_at),
        session.last_network.to_string(),
        session
            .last_user_agent
            .as_ref()
            .and_then(UserAgent::short_name)
            .or_else(|| session.last_user_agent.clone().map(UserAgent::into_text))
            .unwrap_or_default(),
    ]
}

fn session_json(session: &SessionRecord) -> Value {
    json!({
        "id": session.session_id,
        "createdAt": output::instant(session.created_at),
        "lastUsedAt": output::instant(session.last_used_at),
        "expiresAt": output::instant(session.expires_at),
        "network": session.network.to_string(),
        "userAgent": session.user_agent.as_ref().map(UserAgent::as_str),
        "lastNetwork": session.last_network.to_string(),
        "lastUserAgent": session.last_user_agent.as_ref().map(UserAgent::as_str),
        "device": session.last_user_agent.as_ref().and_then(UserAgent::short_name),
    })
}
