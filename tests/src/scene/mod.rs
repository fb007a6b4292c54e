//! The people whom benchmarks put load on: pairs and groups who have talked. What they did stands in the records;
//! the store is cold until somebody asks.
//!
//! A scene is a number and a size: whoever knows both knows every user and conversation, and two scenes share none,
//! so that several runs may use one Redis.

mod ask;

use roost::records::RecordStore;
use roost::store::Store;
use roost_core::ids::{ConversationId, Seq, UserId};
use roost_core::messaging;
use roost_core::port::{Clock, Draft, NewConversation, Records};
use serde_json::json;
use uuid::Uuid;

pub use ask::{Ask, Question};

use crate::native::{self, NativeWorld};
use roost::runtime::Caller;

/// How many are asked about in one bulk question.
const BULK: u32 = 100;

/// So many groups of one size: enough that those who write at once seldom write to the same one.
const GROUPS: u32 = 32;
/// Members of groups are numbered from here on.
const FIRST_MEMBER: u32 = 1_000_000;

/// How large a scene is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Those who talk in pairs; at least 100.
    pub people: u32,
    /// Each opens a conversation with so many of those who come next, so that everybody is in twice as many.
    pub partners: u32,
    /// Messages in each conversation of two.
    pub messages: u32,
    /// Groups of each of these numbers of members, several of each; their members talk in no pairs.
    pub groups: &'static [u32],
}

/// Somebody's whole world.
#[derive(Clone, Copy, Debug)]
pub struct Scene {
    run: u64,
    size: Size,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A client's heartbeat.
    Beat,
    /// A backend asks for one user.
    Presence,
    /// A backend asks for 100 users.
    PresenceOf100,
    /// A user asks for a contact, which the records have a say in.
    PresenceOfContact,
    /// A user's counters of all conversations.
    Unread,
    /// A user's counter of one conversation.
    UnreadOf,
    /// A user reads one message more, as long as there are any.
    Read,
    /// A message to one other.
    Send,
    /// A message to a group of so many members.
    SendTo(u32),
    /// The same, and everybody writes to one and the same group.
    SendToOne(u32),
    /// A page of 50 conversations.
    Inbox,
}

impl Operation {
    /// What tables call it.
    pub fn name(self) -> String {
        match self {
            Self::Beat => "heartbeat".into(),
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

impl Scene {
    /// One that nobody has seen before.
    pub fn new(size: Size) -> Self {
        Self { run: Uuid::new_v4().as_u64_pair().0, size }
    }

    /// The `number`-th question of an operation, spread evenly over those who can ask it.
    pub fn ask(&self, operation: Operation, number: u32) -> Ask {
        let Size { people, partners, .. } = self.size;
        let (asker, turn) = (number % people, number / people);
        let partner = 1 + turn % partners.max(1);
        let (caller, question, body) = match operation {
            Operation::Beat => (self.caller(asker), Question::Beat, json!({ "connection": "bench" })),
            Operation::Presence => (Caller::Service, Question::Presence(self.user(asker)), json!({})),
            Operation::PresenceOf100 => {
                let users: Vec<_> = (asker..asker + BULK).map(|user| self.user(user % people)).collect();
                (Caller::Service, Question::PresenceOf, json!({ "users": users }))
            }
            Operation::PresenceOfContact => {
                (self.caller(asker), Question::Presence(self.user((asker + 1) % people)), json!({}))
            }
            Operation::Unread => (self.caller(asker), Question::Unread, json!({})),
            Operation::UnreadOf => (self.caller(asker), Question::UnreadOf(self.pair(asker, partner)), json!({})),
            Operation::Read => {
                let up_to = Seq(u64::from(1 + turn / partners.max(1)));
                (self.caller(asker), Question::Read(self.pair(asker, partner)), json!({ "up_to": up_to }))
            }
            Operation::Send => (self.caller(asker), Question::Send(self.pair(asker, partner)), said(number)),
            Operation::SendTo(members) | Operation::SendToOne(members) => {
                let spread = if operation == Operation::SendTo(members) { GROUPS } else { 1 };
                let group = self.group(members, number % spread);
                (self.caller(FIRST_MEMBER + number % members), Question::Send(group), said(number))
            }
            Operation::Inbox => (self.caller(asker), Question::Inbox, json!({})),
        };
        Ask { caller, question, body: body.to_string() }
    }

    /// What warms a cold store: everybody is online and knows their counters.
    pub fn awakening(&self) -> Vec<Ask> {
        let beats = (0..self.size.people).map(|number| self.ask(Operation::Beat, number));
        let counters = self.everybody().map(|user| Ask {
            caller: self.caller(user),
            question: Question::Unread,
            body: json!({}).to_string(),
        });
        let inboxes = (0..self.size.people).map(|number| self.ask(Operation::Inbox, number));
        beats.chain(counters).chain(inboxes).collect()
    }

    /// Writes everything into the records, as if it had happened long ago.
    pub async fn write(&self, records: &RecordStore) {
        let world = native::world(Store::memory(), records.clone());
        for person in 0..self.size.people {
            let next = (person + 1) % self.size.people;
            records.add_contact(self.user(person), self.user(next)).await.expect("a contact");
            records.add_contact(self.user(next), self.user(person)).await.expect("a contact");
            for partner in 1..=self.size.partners {
                let other = (person + partner) % self.size.people;
                self.talk(&world, self.pair(person, partner), &[other, person]).await;
            }
        }
        for members in self.size.groups {
            let all: Vec<u32> = (FIRST_MEMBER..FIRST_MEMBER + members).collect();
            for number in 0..GROUPS {
                self.talk(&world, self.group(*members, number), &all).await;
            }
        }
        records.flush().await;
    }

    /// A conversation in which the first member has said everything.
    async fn talk(&self, world: &NativeWorld, conversation: ConversationId, members: &[u32]) {
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

    fn everybody(&self) -> impl Iterator<Item = u32> {
        let members = self.size.groups.iter().copied().max().unwrap_or(0);
        (0..self.size.people).chain(FIRST_MEMBER..FIRST_MEMBER + members)
    }

    fn caller(&self, number: u32) -> Caller {
        Caller::User(self.user(number))
    }

    fn user(&self, number: u32) -> UserId {
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

fn said(number: u32) -> serde_json::Value {
    json!({ "content": format!("Shall we meet at the usual place? ({number})") })
}
