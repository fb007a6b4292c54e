//! What users do with their devices. A client that gets no answer repeats its request with the same ids until it is
//! acknowledged or the client gives up.

use std::future::Future;

use roost_core::error::Error;
use roost_core::ids::{ConversationId, MessageId, Seq, UserId};
use roost_core::port::{Clock, ConversationQuery, DirectRequest, Draft, Edit, MemberChange, NewConversation};
use roost_core::source::Source;
use roost_core::{contacts, last_message, messaging, typing, unread};

use super::client::Client;
use super::oracle::counters;
use super::planted_bug::{self, PlantedBug};
use super::port::Port;
use super::votes;

const CHOICES: [(u64, Action); 24] = [
    (320, Action::Send),
    (60, Action::Edit),
    (50, Action::Delete),
    (130, Action::Read),
    (50, Action::AskTotals),
    (30, Action::AskOne),
    (30, Action::AskLast),
    (30, Action::AskInbox),
    (30, Action::AskPresence),
    (20, Action::Type),
    (90, Action::BreakOff),
    (30, Action::Forget),
    (20, Action::AddMember),
    (20, Action::RemoveMember),
    (15, Action::Create),
    (15, Action::CreateDirect),
    (20, Action::Moderate),
    (4, Action::Erase),
    (10, Action::AddContact),
    (10, Action::RemoveContact),
    (8, Action::Block),
    (12, Action::Unblock),
    (40, Action::Vote),
    (35, Action::Nothing),
];

#[derive(Clone, Copy, Debug)]
enum Action {
    Send,
    Edit,
    Delete,
    Read,
    AskTotals,
    AskOne,
    AskLast,
    AskInbox,
    AskPresence,
    Type,
    BreakOff,
    Forget,
    AddMember,
    RemoveMember,
    Create,
    CreateDirect,
    /// The creator of a group deletes somebody's message.
    Moderate,
    /// A service erases a user who has no device.
    Erase,
    AddContact,
    RemoveContact,
    Block,
    Unblock,
    Vote,
    Nothing,
}

impl Action {
    /// The weight of the action in a run in which users delete often.
    const fn when_deleting(self) -> u64 {
        match self {
            Self::Send | Self::Delete | Self::Read => 280,
            Self::Edit | Self::AskTotals | Self::AskOne | Self::Forget => 30,
            Self::AddMember | Self::RemoveMember | Self::BreakOff => 20,
            _ => 5,
        }
    }
}

/// Runs one device: actions with pauses, then idle, online or offline.
pub(crate) async fn live(client: Client) {
    let (wait_ms, actions) = client.kernel().draw(|rng| (rng.below(3_000), client.world.plan.actions));
    client.kernel().pause(wait_ms).await;
    for _ in 0..actions {
        if !client.is_connected() && client.kernel().draw(|rng| rng.chance(800)) {
            client.connect().await;
        }
        client.catch_up().await;
        act(&client).await;
        let busy_ms = client.world.plan.busy_ms;
        let pause_ms = client.kernel().draw(|rng| match rng.below(100) {
            0..75 => rng.below(busy_ms),
            75..95 => rng.below(6_000),
            _ => rng.between(5_000, 100_000),
        });
        client.kernel().pause(pause_ms).await;
        client.drain();
    }
    client.world.device_finished();
    rest(client).await;
}

async fn rest(client: Client) {
    let online = client.kernel().draw(|rng| rng.chance(700));
    if !online {
        client.disconnect().await;
        return;
    }
    loop {
        if !client.is_connected() {
            client.connect().await;
        }
        client.catch_up().await;
        client.kernel().pause(4_000).await;
    }
}

async fn act(client: &Client) {
    let weights =
        CHOICES.map(|(weight, action)| if client.world.plan.deletes_often { action.when_deleting() } else { weight });
    let index = client.kernel().draw(|rng| rng.weighted(&weights));
    let (_, action) = CHOICES[index];
    client.kernel().note("act", [index as u64, 0], || format!("{} {action:?}", client.name));
    let Some(host) = client.some_host() else { return };
    match action {
        Action::Send => send(client).await,
        Action::Edit => edit(client).await,
        Action::Delete => delete(client).await,
        Action::Read => read(client).await,
        Action::AskTotals => ask_totals(client, host).await,
        Action::AskOne => ask_one(client, host).await,
        Action::AskLast => ask_last(client, host).await,
        Action::AskInbox => ask_inbox(client, host).await,
        Action::AskPresence => client.query_presence(host).await,
        Action::Type => type_(client, host).await,
        Action::BreakOff => break_off(client).await,
        Action::Forget => forget(client, host).await,
        Action::AddMember | Action::RemoveMember => change_members(client, action).await,
        Action::Create => create(client).await,
        Action::CreateDirect => create_direct(client).await,
        Action::Moderate => moderate(client).await,
        Action::Erase => erase(client, host).await,
        Action::AddContact | Action::RemoveContact | Action::Block | Action::Unblock => {
            change_contact(client, host, action).await;
        }
        Action::Vote => {
            if let Some(conversation) = some_conversation(client) {
                client.ask(host, move |port| async move { votes::vote(&port, conversation).await }).await;
            }
        }
        Action::Nothing => {}
    }
}

/// Repeats a request until it is acknowledged or refused for good, or the attempts are used up.
async fn retry_until_acknowledged<T, F>(client: &Client, mut job: impl FnMut(Port) -> F) -> Option<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let tries = client.kernel().draw(|rng| rng.between(1, 6));
    for _ in 0..tries {
        if let Some(host) = client.some_host() {
            match client.ask(host, &mut job).await {
                Some(Ok(value)) => return Some(value),
                Some(Err(error)) if !error.retry() => {
                    client.kernel().note("refused", [0; 2], || format!("{}: {error}", client.name));
                    return None;
                }
                Some(Err(_)) | None => {}
            }
        }
        let pause_ms = client.kernel().draw(|rng| rng.between(50, 2_000));
        client.kernel().pause(pause_ms).await;
    }
    None
}

fn some_conversation(client: &Client) -> Option<ConversationId> {
    let mine = client.world.records.conversations_of(client.user);
    client.kernel().draw(|rng| rng.pick(&mine))
}

async fn send(client: &Client) {
    let Some(conversation) = some_conversation(client) else { return };
    let id = client.world.message_id();
    let content = format!("message {}", client.world.name());
    client.world.ground_truth().contents.insert(content.clone(), conversation);
    let sent = retry_until_acknowledged(client, |port| {
        let content = content.clone();
        let id = if client.world.has_bug(PlantedBug::NewIdOnRetry) { client.world.message_id() } else { id };
        let sender = client.user;
        async move {
            let draft = Draft { conversation, sender, id: Some(id), kind: "text".into(), content, at: port.now() };
            messaging::send(&port, draft).await
        }
    });
    if let Some(sent) = sent.await {
        client.kernel().note("acked", [sent.message.seq.0, 0], || format!("{}: {}", client.name, sent.message.content));
        client.world.ground_truth().acknowledged.insert(sent.message.id, conversation);
    }
}

/// One of the messages that the device shows and that its user wrote.
fn own_message(client: &Client) -> Option<(ConversationId, MessageId)> {
    let shown: Vec<_> = {
        let state = client.state();
        state.view.messages.iter().map(|((conversation, _), (id, _))| (*conversation, *id)).collect()
    };
    let own: Vec<_> = {
        let ground_truth = client.world.ground_truth();
        let wrote = |(conversation, id): &(ConversationId, MessageId)| {
            let changes = ground_truth.changes.get(conversation).into_iter().flatten();
            changes.into_iter().any(|change| change.message == *id && change.sender == client.user)
        };
        shown.into_iter().filter(wrote).collect()
    };
    client.kernel().draw(|rng| rng.pick(&own))
}

async fn edit(client: &Client) {
    let Some((conversation, message)) = own_message(client) else { return };
    let content = format!("edit {}", client.world.name());
    let editor = client.user;
    retry_until_acknowledged(client, |port| {
        let content = content.clone();
        async move {
            let edit = Edit { conversation, message, editor, content, at: port.now() };
            messaging::edit(&port, edit).await
        }
    })
    .await;
}

async fn delete(client: &Client) {
    let Some((conversation, message)) = own_message(client) else { return };
    let user = client.user;
    retry_until_acknowledged(client, |port| async move {
        messaging::delete(&port, Some(user), conversation, message).await
    })
    .await;
}

/// Deletes one of the messages that the device shows in a group that its user has created.
async fn moderate(client: &Client) {
    let user = client.user;
    let shown: Vec<(ConversationId, MessageId)> = {
        let state = client.state();
        let messages = state.view.messages.iter().map(|((conversation, _), (id, _))| (*conversation, *id));
        messages.filter(|(conversation, _)| client.world.records.is_creator(*conversation, user)).collect()
    };
    let Some((conversation, message)) = client.kernel().draw(|rng| rng.pick(&shown)) else { return };
    retry_until_acknowledged(client, |port| async move {
        messaging::delete(&port, Some(user), conversation, message).await
    })
    .await;
}

/// A service erases the user without devices. It goes on until nothing is left, or gives up; another one goes on later.
async fn erase(client: &Client, host: usize) {
    let user = client.world.passive;
    client.ask(host, move |port| async move { messaging::erase(&port, user).await.ok() }).await;
}

async fn read(client: &Client) {
    let Some(conversation) = some_conversation(client) else { return };
    let shown: Vec<Seq> = {
        let state = client.state();
        state.view.messages.keys().filter(|(id, _)| *id == conversation).map(|(_, seq)| *seq).collect()
    };
    let up_to = client.kernel().draw(|rng| if rng.chance(500) { None } else { rng.pick(&shown) });
    let user = client.user;
    if client.world.has_bug(PlantedBug::SetZeroOnRead) {
        retry_until_acknowledged(client, |port| async move {
            planted_bug::mark_read(&port, user, conversation, up_to).await
        })
        .await;
        return;
    }
    let reply = retry_until_acknowledged(client, |port| async move {
        let answer_bounds = counters::answer_bounds(&port.world, user);
        let reply = messaging::mark_read(&port, user, conversation, up_to).await;
        if let Ok(reply) = &reply {
            counters::one_answered(&port.world, user, &answer_bounds, conversation, reply.value.unread);
        }
        reply
    });
    if let Some(reply) = reply.await {
        let (up_to, mut ground_truth) = (reply.value.up_to, client.world.ground_truth());
        let read = ground_truth.read.entry((user, conversation)).or_default();
        *read = up_to.max(*read);
        // A read position that was stored while the store was unavailable reaches the counters with the recovery.
        if reply.source == Source::Store {
            let applied = ground_truth.read_applied.entry((user, conversation)).or_default();
            *applied = up_to.max(*applied);
        }
    }
}

async fn ask_totals(client: &Client, host: usize) {
    let user = client.user;
    let answer = client.ask(host, |port| async move {
        let answer_bounds = counters::answer_bounds(&port.world, user);
        let zeros = port.world.has_bug(PlantedBug::MissingIsZero);
        let answer = if zeros {
            planted_bug::totals(&port, user).await
        } else {
            unread::totals(&port, user).await.map(|totals| totals.value)
        };
        if let Ok(totals) = answer {
            counters::answered(&port.world, user, &answer_bounds, &totals);
        }
    });
    answer.await;
}

async fn ask_one(client: &Client, host: usize) {
    let Some(conversation) = some_conversation(client) else { return };
    let user = client.user;
    let answer = client.ask(host, move |port| async move {
        let answer_bounds = counters::answer_bounds(&port.world, user);
        if let Ok(count) = unread::of_conversation(&port, user, conversation).await {
            counters::one_answered(&port.world, user, &answer_bounds, conversation, count.value);
        }
    });
    answer.await;
}

async fn ask_last(client: &Client, host: usize) {
    let Some(conversation) = some_conversation(client) else { return };
    let user = client.user;
    let answer = client.ask(host, move |port| async move {
        let answer_bounds = counters::answer_bounds(&port.world, user);
        let last = last_message::get(&port, user, conversation).await.map(|last| last.value);
        counters::last_answered(&port.world, user, &answer_bounds, conversation, &last);
    });
    answer.await;
}

async fn ask_inbox(client: &Client, host: usize) {
    let user = client.user;
    let answer = client.ask(host, move |port| async move {
        let answer_bounds = counters::answer_bounds(&port.world, user);
        let query = ConversationQuery::Page { cursor: None, limit: 50 };
        let Ok(page) = messaging::inbox(&port, user, query).await else { return };
        for entry in page.value.conversations {
            counters::one_answered(&port.world, user, &answer_bounds, entry.id, entry.unread);
            let last = entry.last_message.ok_or(Error::NoMessage);
            counters::last_answered(&port.world, user, &answer_bounds, entry.id, &last);
        }
    });
    answer.await;
}

async fn type_(client: &Client, host: usize) {
    let Some(conversation) = some_conversation(client) else { return };
    let user = client.user;
    client.ask(host, move |port| async move { typing::typing(&port, user, conversation).await.ok() }).await;
}

async fn forget(client: &Client, host: usize) {
    let user = client.user;
    client.ask(host, move |port| async move { unread::forget(&port, user).await.ok() }).await;
}

async fn change_members(client: &Client, action: Action) {
    let groups: Vec<_> = {
        let mine = client.world.records.conversations_of(client.user).into_iter();
        mine.filter(|id| !client.world.is_pair(*id)).collect()
    };
    let (group, user) = client.kernel().draw(|rng| (rng.pick(&groups), rng.pick(&client.world.users)));
    let (Some(conversation), Some(user)) = (group, user) else { return };
    let actor = Some(client.user);
    retry_until_acknowledged(client, |port| async move {
        let change = MemberChange { conversation, actor, user, at: port.now() };
        match action {
            Action::AddMember => messaging::add_member(&port, change).await,
            _ => messaging::remove_member(&port, change).await,
        }
    })
    .await;
}

async fn create(client: &Client) {
    let (id, creator) = (client.world.conversation_id(), client.user);
    let everybody = client.world.users.clone();
    let members: Vec<_> =
        client.kernel().draw(|rng| everybody.into_iter().filter(|user| *user == creator || rng.chance(500)).collect());
    if members.len() < 2 {
        return;
    }
    retry_until_acknowledged(client, |port| {
        let members = members.clone();
        async move {
            let new = NewConversation { id: Some(id), creator, members, at: port.now() };
            messaging::create(&port, new).await
        }
    })
    .await;
}

/// Opens the pair with another user, at the same time as the other one may.
async fn create_direct(client: &Client) {
    let (user, others) = (client.user, client.world.users.clone());
    let Some(other) = client.kernel().draw(|rng| rng.pick(&others)).filter(|other| *other != user) else { return };
    retry_until_acknowledged(client, |port| async move {
        let request = DirectRequest { user, other, may_create: true, at: port.now() };
        messaging::create_direct(&port, request).await
    })
    .await;
}

/// Disconnects for a short time, for about the grace period, or for about the lifetime of a device.
async fn break_off(client: &Client) {
    client.disconnect().await;
    let away_ms = client.kernel().draw(|rng| match rng.below(100) {
        0..40 => 0,
        40..70 => rng.between(9_000, 14_000),
        70..90 => rng.between(57_000, 66_000),
        _ => rng.between(0, 90_000),
    });
    client.kernel().pause(away_ms).await;
}

async fn change_contact(client: &Client, host: usize, action: Action) {
    let user = client.user;
    let Some(other) = other_user(client, action) else { return };
    let answer = client.ask(host, move |port| async move {
        match action {
            Action::AddContact => contacts::add(&port, user, other).await.ok(),
            Action::RemoveContact => contacts::remove(&port, user, other).await.ok(),
            Action::Block => contacts::block(&port, user, other).await.ok(),
            _ => contacts::unblock(&port, user, other).await.ok(),
        }
    });
    answer.await;
}

/// The user whom a change of a contact is about. Adding and unblocking change something if they can: with a user at
/// random they rarely would, and two users would hardly ever see each other again.
fn other_user(client: &Client, action: Action) -> Option<UserId> {
    let (user, records) = (client.user, &client.world.records);
    let others: Vec<UserId> = client.world.users.iter().copied().filter(|other| *other != user).collect();
    let changed: Vec<UserId> = match action {
        Action::AddContact => {
            let contacts = records.contacts_of(user);
            others.iter().copied().filter(|other| !contacts.contains(other)).collect()
        }
        Action::Unblock => records.blocks_of(user),
        _ => Vec::new(),
    };
    let candidates = if changed.is_empty() { others } else { changed };
    client.kernel().draw(|rng| rng.pick(&candidates))
}
