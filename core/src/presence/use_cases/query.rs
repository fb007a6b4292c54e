//! Answers which users are online, as far as the viewer may know it.
//!
//! Who is visible is asked after the presence was read. Whoever is still visible then had the generation that was read
//! before any block that follows, so that the event that hides the user has a higher one.

use std::collections::BTreeSet;

use super::validate_length;
use crate::error::Error;
use crate::event::PresenceView;
use crate::ids::UserId;
use crate::insertion::CollectByInsertion as _;
use crate::port::{Telemetry, Value, World};
use crate::presence::rules::record;
use crate::store_calls::{GroupAnswer, read_each};

/// On whose behalf presence is queried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// Sees the user's own presence and that of mutual contacts without a block.
    User(UserId),
    /// Sees every user's presence.
    Service,
}

/// The presence of these users, in the order of `users`; at most [`crate::limits::LIST_MAX`]. A user whom the viewer
/// may not see is answered like a user who was never seen.
pub async fn query<W: World>(world: &W, viewer: Viewer, users: &[UserId]) -> Result<Vec<PresenceView>, Error> {
    validate_length("users", users.len())?;
    let Viewer::User(viewer) = viewer else {
        return look_up(world, users.to_vec()).await;
    };
    let mut views = look_up(world, users.to_vec()).await?;
    let visible = visible_to(world, viewer, users).await?;
    for view in views.iter_mut().filter(|view| !visible.contains(&view.user)) {
        *view = never_seen(view.user);
    }
    Ok(views)
}

/// The presence of all contacts whom the user may see, in ascending order of their ids. The records are asked twice:
/// whose presence to read, and afterwards, as above, who of them is still visible.
pub async fn of_contacts<W: World>(world: &W, user: UserId) -> Result<Vec<PresenceView>, Error> {
    let contacts = audience(world, user).await?;
    let mut views = look_up(world, contacts).await?;
    if !views.is_empty() {
        let visible = audience(world, user).await?;
        views.retain(|view| visible.contains(&view.user));
    }
    Ok(views)
}

async fn visible_to<W: World>(world: &W, viewer: UserId, queried: &[UserId]) -> Result<BTreeSet<UserId>, Error> {
    let mut visible: BTreeSet<UserId> = std::iter::once(viewer).collect_by_insertion();
    if queried.iter().any(|user| *user != viewer) {
        visible.extend(audience(world, viewer).await?);
    }
    Ok(visible)
}

async fn audience<W: World>(world: &W, user: UserId) -> Result<Vec<UserId>, Error> {
    let audiences = world.audience(vec![user]).await?;
    Ok(audiences.into_iter().next().map(|audience| audience.visible).unwrap_or_default())
}

/// Answers from the status, not from the `online` key. Between the last heartbeat and the sweep, an answer from the key
/// would be ahead of the announcement, and nothing would correct it if the user came back.
async fn look_up<W: World>(world: &W, users: Vec<UserId>) -> Result<Vec<PresenceView>, Error> {
    let answers = read_each(world, record::view_queries(&users), 1).await?;
    users.into_iter().zip(answers).map(|(user, answer)| view(world, user, answer)).collect()
}

/// A user whose record is a value of another type is counted, and answered as never seen. An error would refuse the
/// presence of everybody else: in `hello`, that of all contacts.
fn view(world: &impl Telemetry, user: UserId, answer: GroupAnswer) -> Result<PresenceView, Error> {
    let Ok(values) = answer else {
        world.count("presence_unreadable", &[], 1);
        return Ok(never_seen(user));
    };
    Ok(record::view(user, values.first().unwrap_or(&Value::Missing))?)
}

const fn never_seen(user: UserId) -> PresenceView {
    PresenceView { user, online: false, last_seen: None, generation: 0 }
}
