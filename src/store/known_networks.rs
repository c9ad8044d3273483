//! The table `known_networks`.

use ipnet::IpNet;

use super::{Store, StoreError};
use crate::domain::{ClientNetwork, EmailAddress};

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
