//! Who is online, as far as the one who asks may know.

use std::collections::BTreeSet;

use super::at_most_a_list;
use crate::error::Error;
use crate::event::PresenceView;
use crate::ids::UserId;
use crate::port::World;
use crate::presence::rules::record;
use crate::store_calls::read_all;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// Sees themselves and mutual contacts without a block.
    User(UserId),
    /// Sees everybody.
    Service,
}

/// Presence of these users, in the order asked; at most [`crate::limits::LIST_MAX`]. Somebody whom the viewer
/// may not see is answered like somebody never seen.
pub async fn query<W: World>(world: &W, viewer: Viewer, users: &[UserId]) -> Result<Vec<PresenceView>, Error> {
    at_most_a_list("users", users.len())?;
    let Viewer::User(viewer) = viewer else {
        return look_up(world, users.to_vec()).await;
    };
    let visible = visible_to(world, viewer, users).await?;
    let (seen, hidden): (Vec<UserId>, Vec<UserId>) = users.iter().partition(|user| visible.contains(user));
    let mut seen = look_up(world, seen).await?.into_iter();
    let mut hidden =
        hidden.into_iter().map(|user| PresenceView { user, online: false, last_seen: None, generation: 0 });
    let in_order = users.iter().filter_map(|user| if visible.contains(user) { seen.next() } else { hidden.next() });
    Ok(in_order.collect())
}

/// Presence of everybody whom the user may see, in ascending order.
pub async fn of_contacts<W: World>(world: &W, user: UserId) -> Result<Vec<PresenceView>, Error> {
    let contacts = audience(world, user).await?;
    look_up(world, contacts).await
}

async fn visible_to<W: World>(world: &W, viewer: UserId, asked: &[UserId]) -> Result<BTreeSet<UserId>, Error> {
    let mut visible = BTreeSet::from([viewer]);
    if asked.iter().any(|user| *user != viewer) {
        visible.extend(audience(world, viewer).await?);
    }
    Ok(visible)
}

async fn audience<W: World>(world: &W, user: UserId) -> Result<Vec<UserId>, Error> {
    let audiences = world.audience(vec![user]).await?;
    Ok(audiences.into_iter().next().map(|audience| audience.visible).unwrap_or_default())
}

/// By status, which is what contacts were told: between the last sign of life and the sweep, an answer that ran ahead
/// of the announcement would never be corrected if the user came back.
async fn look_up<W: World>(world: &W, users: Vec<UserId>) -> Result<Vec<PresenceView>, Error> {
    let values = read_all(world, record::view_queries(&users), 1).await?;
    users.into_iter().zip(&values).map(|(user, value)| Ok(record::view(user, value)?)).collect()
}
