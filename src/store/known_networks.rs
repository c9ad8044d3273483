//! The table `known_networks`.

use ipnet::IpNet;

use super::{Store, StoreError, Tx};
use crate::domain::{ClientNetwork, EmailAddress, UserId};

impl Store {
    /// Whether a user signed in from this network during the last 30 days.
    pub async fn is_known_network(
        &self,
        email: &EmailAddress,
        network: ClientNetwork,
    ) -> Result<bool, StoreError> {
        let query = sqlx::query_scalar!(
            r#"
            SELECT EXISTS (SELECT FROM known_networks JOIN users USING (user_id)
                            WHERE email = $1 AND network = $2
                              AND last_signin_at > clock_timestamp() - INTERVAL '30 days')
                AS "is_known!"
            "#,
            email.as_str(),
            network.as_net() as IpNet,
        );
        self.run(|c| Box::pin(query.fetch_one(c))).await
    }
}

impl Tx {
    /// Remembers that a user signed in from a network.
    pub async fn upsert_known_network(
        &mut self,
        user_id: UserId,
        network: ClientNetwork,
    ) -> Result<(), StoreError> {
        let query = sqlx::query!(
            r#"
            INSERT INTO known_networks (user_id, network, last_signin_at)
            VALUES ($1, $2, clock_timestamp())
            ON CONFLICT ON CONSTRAINT known_networks_pkey DO UPDATE
               SET last_signin_at = EXCLUDED.last_signin_at
            "#,
            user_id.0,
            network.as_net() as IpNet,
        );
        self.suspect.watch(query.execute(&mut *self.inner)).await?;
        Ok(())
    }
}
