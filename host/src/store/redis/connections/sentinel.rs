//! Asks sentinels which server is the primary of a service.

use redis::RedisError;

use super::{Address, Dial};
use super::server::Unusable;

/// The answer of the first sentinel that has one.
pub(crate) async fn primary(dial: &Dial, service: &str) -> Result<Address, Unusable> {
    let mut last = Unusable::Strange("SENTINEL");
    for sentinel in dial.seeds() {
        match ask(dial, &sentinel, service).await {
            Ok(Some((host, port))) => return Ok(Address { host, port }),
            Ok(None) => {}
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

async fn ask(dial: &Dial, sentinel: &Address, service: &str) -> Result<Option<(String, u16)>, RedisError> {
    let mut connection = dial.connect_sentinel(sentinel).await?;
    redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(service).query_async(&mut connection).await
}
