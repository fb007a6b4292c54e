//! The users of a benchmark: pairs and groups with an existing message history in the records. The store stays empty
//! until the benchmark sends requests.
//!
//! A scenario is identified by a number and a size: both together determine every user and conversation. Two scenarios
//! share no user, so several runs can use the same Redis.

mod request;

use roost::records::RecordStore;
use roost::store::Store;
use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::messaging;
use roost_core::port::{Clock, Draft, NewConversation, Records};
use serde_json::json;
use uuid::Uuid;

pub use request::{ApiRequest, ApiRoute};

use crate::native::{self, NativeWorld};
use roost::runtime::Caller;

/// The number of users in one bulk query.
const BULK: u32 = 100;

/// The number of groups of each size: enough that concurrent senders seldom write to the same group.
const GROUPS: u32 = 32;
/// The number of the first group member; group members and pair users have different numbers.
const FIRST_MEMBER: u32 = 1_000_000;

/// The size of a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Users with conversations of two; at least 100.
    pub users: u32,
    /// Each user opens a conversation with this many of the next users, so every user is in twice as many
    /// conversations.
    pub partners: u32,
    /// Messages in each conversation of two.
    pub messages: u32,
    /// The sizes of the groups. There are several groups of each size; their members have no conversations of two.
    pub groups: &'static [u32],
}

/// The users and conversations of one benchmark run.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    run: u64,
    size: Size,
}

/// The operation that a benchmark measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScenarioOperation {
    /// A client's heartbeat.
    Heartbeat,
    /// A backend asks for one user.
    Presence,
    /// A backend asks for 100 users.
    PresenceOf100,
    /// A user asks for the presence of a contact, which needs the records.
    PresenceOfContact,
    /// A user asks for the counters of all conversations.
    Unread,
    /// A user asks for the counter of one conversation.
    UnreadOf,
    /// A user marks one more message as read, as long as there are unread ones.
    Read,
    /// A user sends a message in a conversation of two.
    Send,
    /// A user sends a message to a group of this many members.
    SendTo(u32),
    /// The same, with all senders writing to one and the same group.
    SendToOne(u32),
    /// A user asks for a page of 50 conversations.
    Inbox,
}

impl ScenarioOperation {
    /// The name of the operation in tables.
    pub fn name(self) -> String {
        match self {
            Self::Heartbeat => "heartbeat".into(),
            Self::Presence => "presence".into(),
            Self::PresenceOf100 => "presence-100".into(),
            Self::PresenceOfContact => "presence-contact".into(),
            Self::Unread => "unread-total".into(),
            Self::UnreadOf => "unread-one".into(),
            Self::Read => "mark-read".into(),
            Self::Send => "send-1".into(),
            Self::SendTo(members) => format!("send-{members}"),
            Self::SendToOne(members) => format!("send-{members}-same"),
            Self::Inbox => "inbox-50".into(),
        }
    }
}

impl Scenario {
    /// A scenario with new users and conversations.
    pub fn new(size: Size) -> Self {
        Self { run: Uuid::new_v4().as_u64_pair().0, size }
    }

    /// The `number`-th request of an operation; numbers are spread evenly over the users who can send it.
    pub fn request(&self, operation: ScenarioOperation, number: u32) -> ApiRequest {
        let Size { users, partners, .. } = self.size;
        let (caller_index, round) = (number % users, number / users);
        let partner = 1 + round % partners.max(1);
        let (caller, question, body) = match operation {
            ScenarioOperation::Heartbeat => {
                (self.caller(caller_index), ApiRoute::Heartbeat, json!({ "connection": "bench" }))
            }
            ScenarioOperation::Presence => (Caller::Service, ApiRoute::Presence(self.user(caller_index)), json!({})),
            ScenarioOperation::PresenceOf100 => {
                let users: Vec<_> = (caller_index..caller_index + BULK).map(|user| self.user(user % users)).collect();
                (Caller::Service, ApiRoute::PresenceOf, json!({ "users": users }))
            }
            ScenarioOperation::PresenceOfContact => {
                (self.caller(caller_index), ApiRoute::Presence(self.user((caller_index + 1) % users)), json!({}))
            }
            ScenarioOperation::Unread => (self.caller(caller_index), ApiRoute::Unread, json!({})),
            ScenarioOperation::UnreadOf => {
                (self.caller(caller_index), ApiRoute::UnreadOf(self.pair(caller_index, partner)), json!({}))
            }
            ScenarioOperation::Read => {
                let up_to = Seq(u64::from(1 + round / partners.max(1)));
                (self.caller(caller_index), ApiRoute::Read(self.pair(caller_index, partner)), json!({ "up_to": up_to }))
            }
            ScenarioOperation::Send => {
                (self.caller(caller_index), ApiRoute::Send(self.pair(caller_index, partner)), message_body(number))
            }
            ScenarioOperation::SendTo(members) | ScenarioOperation::SendToOne(members) => {
                let spread = if operation == ScenarioOperation::SendTo(members) { GROUPS } else { 1 };
                let group = self.group(members, number % spread);
                (self.caller(FIRST_MEMBER + number % members), ApiRoute::Send(group), message_body(number))
            }
            ScenarioOperation::Inbox => (self.caller(caller_index), ApiRoute::Inbox, json!({})),
        };
        ApiRequest { caller, question, body: body.to_string() }
    }

    /// The requests that fill an empty store: every user is online and has cached counters.
    pub fn warm_up_requests(&self) -> Vec<ApiRequest> {
        let heartbeats = (0..self.size.users).map(|number| self.request(ScenarioOperation::Heartbeat, number));
        let counters = self.all_users().map(|user| ApiRequest {
            caller: self.caller(user),
            question: ApiRoute::Unread,
            body: json!({}).to_string(),
        });
        let inboxes = (0..self.size.users).map(|number| self.request(ScenarioOperation::Inbox, number));
        heartbeats.chain(counters).chain(inboxes).collect()
    }

    /// Writes the conversations and messages into the records, as existing history.
    pub async fn write(&self, records: &RecordStore) {
        let world = native::world(Store::memory(), records.clone());
        for person in 0..self.size.users {
            let next = (person + 1) % self.size.users;
            records.add_contact(self.user(person), self.user(next)).await.expect("a contact");
            records.add_contact(self.user(next), self.user(person)).await.expect("a contact");
            for partner in 1..=self.size.partners {
                let other = (person + partner) % self.size.users;
                self.write_conversation(&world, self.pair(person, partner), &[other, person]).await;
            }
        }
        for members in self.size.groups {
            let all: Vec<u32> = (FIRST_MEMBER..FIRST_MEMBER + members).collect();
            for number in 0..GROUPS {
                self.write_conversation(&world, self.group(*members, number), &all).await;
            }
        }
        records.flush().await;
    }

    /// Creates a conversation in which the first member has sent every message.
    async fn write_conversation(&self, world: &NativeWorld, conversation: ConversationId, members: &[u32]) {
        let members: Vec<UserId> = members.iter().map(|member| self.user(*member)).collect();
        let sender = members[0];
        let new = NewConversation { id: Some(conversation), creator: sender, members, at: world.now() };
        world.create_conversation(new).await.expect("a conversation");
        for number in 0..self.size.messages {
            let (kind, content) = ("text".to_owned(), format!("message {number}"));
            let draft = Draft { conversation, sender, id: None, kind, content, at: world.now() };
            messaging::send(world, draft).await.expect("a message");
        }
    }

    fn all_users(&self) -> impl Iterator<Item = u32> {
        let members = self.size.groups.iter().copied().max().unwrap_or(0);
        (0..self.size.users).chain(FIRST_MEMBER..FIRST_MEMBER + members)
    }

    fn caller(&self, number: u32) -> Caller {
        Caller::User(self.user(number))
    }

    /// A user of the scenario, by number.
    pub fn user(&self, number: u32) -> UserId {
        UserId::from_u128(self.id(1, u64::from(number)))
    }

    fn pair(&self, person: u32, partner: u32) -> ConversationId {
        ConversationId::from_u128(self.id(2, u64::from(person) << 16 | u64::from(partner)))
    }

    fn group(&self, members: u32, number: u32) -> ConversationId {
        ConversationId::from_u128(self.id(3, u64::from(members) << 16 | u64::from(number)))
    }

    fn id(&self, kind: u128, number: u64) -> u128 {
        u128::from(self.run) << 64 | kind << 60 | u128::from(number)
    }
}

fn message_body(number: u32) -> serde_json::Value {
    json!({ "content": format!("Shall we meet at the usual place? ({number})") })
}
