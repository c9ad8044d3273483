//! The table `links`.

use std::time::Duration;

use ipnet::IpNet;

use super::run::Run as _;
use super::{Store, StoreError, Tx, columns, seconds};
use crate::domain::{
    ClientNetwork, EmailAddress, LinkId, LinkOutcome, LinkPurpose, MailKind, RequestId, Timestamp,
    UserId,
};

/// A link that was asked for.
#[derive(Debug)]
pub struct NewLink<'a> {
    /// Its id, from which its token follows.
    pub link_id: LinkId,
    /// The address that it was asked for.
    pub email: &'a EmailAddress,
    /// Whether the account may get a mail. Otherwise a decoy is written.
    pub is_mailed: bool,
    /// The network that asked for it. `None`: an operator.
    pub network: Option<ClientNetwork>,
    /// The request that asked for it.
    pub request_id: &'a RequestId,
    /// The lifetimes, by purpose.
    pub lifetimes: LinkLifetimes,
}

/// How long links work.
#[derive(Debug, Clone, Copy)]
pub struct LinkLifetimes {
    /// For a user who has a password.
    pub reset: Duration,
    /// For a user who has none.
    pub invitation: Duration,
}

/// The answer to a wish for a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InsertedLink {
    /// The user who has the address.
    pub user_id: Option<UserId>,
    /// Whether they get the link, and if not, why.
    pub outcome: LinkOutcome,
}

/// A link that was found, in any state.
#[derive(Debug, Clone)]
pub struct FoundLink {
    /// The id that its token carries.
    pub link_id: LinkId,
    /// The occasion for it.
    pub purpose: LinkPurpose,
    /// The user whose password it sets.
    pub user_id: UserId,
    /// The address of that user.
    pub email: EmailAddress,
    /// When it stops working.
    pub expires_at: Timestamp,
    /// Whether it can be used.
    pub is_live: bool,
}

/// A link that this caller, and no other one, has used up.
#[derive(Debug)]
pub struct ConsumedLink {
    /// The user whose password it sets.
    pub user_id: UserId,
    /// The user's credentials, unchanged since the link was made.
    pub credential_version: i32,
}

impl Store {
    /// A link of a user; `None` if it is a decoy, or long gone.
    pub async fn find_link(
        &self,
        link_id: LinkId,
        purpose: LinkPurpose,
    ) -> Result<Option<FoundLink>, StoreError> {
        let query = sqlx::query!(
            r#"
            SELECT u.user_id, u.email, l.expires_at,
                   l.consumed_at IS NULL AND l.expires_at > clock_timestamp()
                       AND u.credential_version = l.credential_version
                       AND u.disabled_at IS NULL AS "is_live!"
              FROM links AS l JOIN users AS u USING (user_id)
             WHERE l.link_id = $1 AND l.purpose = $2
            "#,
            link_id.0,
            purpose.as_str(),
        );
        let row = self.fetch_optional(query).await?;
        row.map(|row| {
            Ok(FoundLink {
                link_id,
                purpose,
                user_id: UserId(row.user_id),
                email: columns::email(&row.email)?,
                expires_at: row.expires_at,
                is_live: row.is_live,
            })
        })
        .transpose()
    }
}

impl Tx {
    /// Makes a link for the user with an address and puts its mail into the outbox, or writes a decoy and a
    /// mail that was given up: two rows either way, by one statement, so that the time does not tell who has
    /// an account. A user without a password gets an invitation.
    pub async fn insert_link(&mut self, new: &NewLink<'_>) -> Result<InsertedLink, StoreError> {
        let query = sqlx::query!(
            r#"
            WITH asked AS (
                SELECT u.user_id, u.credential_version, u.password_hash IS NULL AS is_invitation,
                       u.disabled_at IS NOT NULL AS is_disabled,
                       u.user_id IS NOT NULL AND u.disabled_at IS NULL AND $3 AS is_wanted
                  FROM (SELECT) AS one
                  LEFT JOIN (SELECT * FROM users WHERE email = $2 FOR KEY SHARE) AS u ON TRUE
            ), link AS (
                INSERT INTO links (link_id, user_id, purpose, credential_version, created_at,
                                   expires_at, client_network)
                SELECT $1, CASE WHEN is_wanted THEN user_id END,
                       CASE WHEN is_invitation THEN $4::TEXT ELSE $5::TEXT END,
                       CASE WHEN is_wanted THEN credential_version END, now,
                       now + make_interval(secs => CASE WHEN is_invitation THEN $6::FLOAT8
                                                        ELSE $7::FLOAT8 END), $8
                  FROM asked, (SELECT clock_timestamp() AS now) AS clock
                RETURNING link_id, user_id, created_at, expires_at
            ), mail AS (
                INSERT INTO outbox (kind, link_id, recipient_id, expires_at, request_id,
                                    next_attempt_at, given_up_at)
                SELECT CASE WHEN is_invitation THEN $9::TEXT ELSE $10::TEXT END, link_id,
                       link.user_id, expires_at, $11, created_at,
                       CASE WHEN link.user_id IS NULL THEN created_at END
                  FROM link, asked
            )
            SELECT user_id AS "user_id?", is_disabled AS "is_disabled!" FROM asked
            "#,
            new.link_id.0,
            new.email.as_str(),
            new.is_mailed,
            LinkPurpose::Invitation.as_str(),
            LinkPurpose::Reset.as_str(),
            seconds(new.lifetimes.invitation),
            seconds(new.lifetimes.reset),
            new.network.map(|network| network.as_net()) as Option<IpNet>,
            MailKind::InvitationLink.as_str(),
            MailKind::ResetLink.as_str(),
            new.request_id.as_str(),
        );
        let row = self.fetch_one(query).await?;
        Ok(InsertedLink {
            user_id: row.user_id.map(UserId),
            outcome: match row.user_id {
                None => LinkOutcome::UnknownAddress,
                Some(_) if row.is_disabled => LinkOutcome::UserDisabled,
                Some(_) if !new.is_mailed => LinkOutcome::NotMailed,
                Some(_) => LinkOutcome::Mailed,
            },
        })
    }

    /// Uses up a live link whose user is enabled and has the same credentials as when it was made; `None`
    /// otherwise. Of any number of callers one gets it.
    pub async fn consume_link(
        &mut self,
        link_id: LinkId,
    ) -> Result<Option<ConsumedLink>, StoreError> {
        let query = sqlx::query!(
            r#"
            UPDATE links AS l
               SET consumed_at = clock_timestamp()
              FROM users AS u
             WHERE l.link_id = $1
               AND l.consumed_at IS NULL
               AND l.expires_at > clock_timestamp()
               AND u.user_id = l.user_id
               AND u.credential_version = l.credential_version
               AND u.disabled_at IS NULL
            RETURNING u.user_id, u.credential_version
            "#,
            link_id.0,
        );
        let row = self.fetch_optional(query).await?;
        Ok(row.map(|row| ConsumedLink {
            user_id: UserId(row.user_id),
            credential_version: row.credential_version,
        }))
    }

    /// Removes a user's links with their mails.
    pub async fn delete_links_of(&mut self, user_id: UserId) -> Result<(), StoreError> {
        let query = sqlx::query!("DELETE FROM links WHERE user_id = $1", user_id.0);
        self.execute(query).await?;
        Ok(())
    }
}
