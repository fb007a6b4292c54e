//! Creates conversations, lists and changes their members.

use super::announce::confirm;
use super::membership::{announce_creation, announce_membership, joined};
use crate::announcing::count_pending;
use crate::error::Error;
use crate::ids::UserId;
use crate::messaging::rules::validation::validate_page;
use crate::port::{
    Confirmation, Created, DirectRequest, MemberChange, MembersPage, MembersQuery, NewConversation, World,
    records_bounds,
};

/// Creates a conversation. With the id and the members of an existing one, the existing conversation is returned.
pub async fn create<W: World>(world: &W, conversation: NewConversation) -> Result<Created, Error> {
    let members = records_bounds::members(&conversation)?;
    let created = world.create_conversation(conversation).await?;
    count_pending(world, &announce_creation(world, &created, &members).await);
    Ok(created)
}

/// The pair of two users, created if there is none.
pub async fn create_direct<W: World>(world: &W, request: DirectRequest) -> Result<Created, Error> {
    records_bounds::direct(&request)?;
    let created = world.create_direct(request).await?;
    count_pending(world, &announce_creation(world, &created, &request.users()).await);
    Ok(created)
}

/// A page of a conversation's members.
pub async fn members<W: World>(world: &W, query: MembersQuery) -> Result<MembersPage, Error> {
    validate_page(query.limit)?;
    Ok(world.members(query).await?)
}

/// Adds a member, who sees the messages sent from now on. Returns all members.
pub async fn add_member<W: World>(world: &W, change: MemberChange) -> Result<Vec<UserId>, Error> {
    let before = joined(world, change.conversation, change.user).await?;
    let members = world.add_member(change).await?;
    if before.is_none() {
        announce(world, change).await;
    }
    Ok(members)
}

/// Removes a member and the member's counters of the conversation. Returns the remaining members.
pub async fn remove_member<W: World>(world: &W, change: MemberChange) -> Result<Vec<UserId>, Error> {
    let before = joined(world, change.conversation, change.user).await?;
    let members = world.remove_member(change).await?;
    if before.is_some() {
        announce(world, change).await;
    }
    Ok(members)
}

/// Tells whoever is concerned, and confirms the one move that this call has made. A repetition that moved nothing is
/// not announced: what an earlier call left pending is left to [`super::recover`].
async fn announce<W: World>(world: &W, change: MemberChange) {
    let MemberChange { conversation, user, .. } = change;
    let announced = announce_membership(world, conversation, user).await;
    if !count_pending(world, &announced) {
        confirm(world, vec![Confirmation::Membership(conversation, user, 1)]).await;
    }
}
