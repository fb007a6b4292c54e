//! Reads counters as any Redis client would: with plain commands, without any code of Roost.

use std::collections::BTreeMap;

use redis::aio::ConnectionLike;
use redis::cmd;
use uuid::Uuid;

use super::verification::{Counters, UnreadCounts};

/// A plain Redis client of a server or of a Cluster.
pub struct RedisCounters<C> {
    connection: C,
    in_cluster: bool,
}

impl<C: ConnectionLike> RedisCounters<C> {
    /// Reads from a standalone server.
    pub const fn standalone(connection: C) -> Self {
        Self { connection, in_cluster: false }
    }

    /// Reads from a Cluster, where the owner is a hash tag.
    pub const fn in_cluster(connection: C) -> Self {
        Self { connection, in_cluster: true }
    }
}

impl<C: ConnectionLike> Counters for RedisCounters<C> {
    async fn of(&mut self, user: Uuid) -> Option<UnreadCounts> {
        let owner = if self.in_cluster { format!("{{{user}}}") } else { user.to_string() };
        let get = |key: String| cmd("GET").arg(key).to_owned();
        let total: Option<u64> =
            get(format!("unread:total:{owner}")).query_async(&mut self.connection).await.expect("a number");
        let total = total?;
        let counted: Vec<Uuid> = {
            let fields: Vec<String> = cmd("HKEYS")
                .arg(format!("unread:seq:{owner}"))
                .query_async(&mut self.connection)
                .await
                .expect("a hash");
            fields.iter().map(|field| field.parse().expect("a conversation's id")).collect()
        };
        let mut counts = BTreeMap::new();
        for conversation in counted {
            let key = format!("unread:conv:{owner}:{conversation}");
            let count: Option<u64> = get(key).query_async(&mut self.connection).await.expect("a number");
            if let Some(count) = count.filter(|count| *count > 0) {
                counts.insert(conversation, count);
            }
        }
        Some((total, counts))
    }
}
