//! Runs one case of a scenario, step by step, on a host of its own, and compares what each step leads to.

use anyhow::anyhow;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use roost_core::ids::{ConnectionId, ConversationId, UserId};
use roost_core::port::{NewConversation, Records};
use roost_core::time::Timestamp;
use serde_json::{Value, json};

use super::file::{CaseStep, ExpectedEvent, Given, OneOrMore};
use super::pattern::{Mismatch, Names, shown};
use super::state;
use crate::app::{OfflineAnswer, OfflineCaller, OfflineEvent, OfflineHook, OfflineHost};
use crate::runtime::Connection;

/// The first ids of users and of conversations; the others count up from them.
const USERS: u128 = 0xada0_0000_0000_4000_8000_0000_0000_0001;
const CONVERSATIONS: u128 = 0xc0de_0000_0000_4000_8000_0000_0000_0001;
/// What a path must not contain as it is.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'\\').add(b'^').add(b'|');

/// A case that runs.
pub(super) struct CaseRun {
    pub(super) host: OfflineHost,
    pub(super) names: Names,
    /// The function under test.
    pub(super) function: String,
    users: Vec<(String, UserId)>,
}

impl CaseRun {
    /// Puts everything that is given into a new world.
    pub(super) async fn begin(host: OfflineHost, given: &Given) -> anyhow::Result<Self> {
        let users: Vec<_> = ids(USERS, given.users.iter()).map(|(name, id)| (name, UserId::from_u128(id))).collect();
        let mut names = Names::default();
        for (name, user) in &users {
            names.set(name, json!(user));
            host.follow(*user).await?;
        }
        // The component under test comes first. Its file may have another name.
        let function = host.names.first().cloned().unwrap_or_default();
        let mut run = Self { host, names, function, users };
        for [one, other] in &given.contacts {
            let (one, other) = (run.user(one)?, run.user(other)?);
            run.host.records.add_contact(one, other).await?;
            run.host.records.add_contact(other, one).await?;
        }
        for ((name, id), members) in ids(CONVERSATIONS, given.conversations.keys()).zip(given.conversations.values()) {
            let members = members.iter().map(|member| run.user(member)).collect::<anyhow::Result<Vec<_>>>()?;
            let creator =
                members.first().copied().ok_or_else(|| anyhow!("the conversation {name:?} needs a member"))?;
            let id = ConversationId::from_u128(id);
            run.names.set(&name, json!(id));
            let new = NewConversation { id: Some(id), creator, members, at: run.host.clock.now() };
            run.host.records.create_conversation(new).await?;
        }
        Ok(run)
    }

    fn user(&self, name: &str) -> anyhow::Result<UserId> {
        let found = self.users.iter().find(|(known, _)| known == name);
        found.map(|(_, user)| *user).ok_or_else(|| {
            let known: Vec<&str> = self.users.iter().map(|(name, _)| name.as_str()).collect();
            anyhow!("there is no user {name:?}; the users are {}", known.join(", "))
        })
    }

    /// Carries out a step, and answers every mismatch with what it expects.
    pub(super) async fn step(&mut self, step: &CaseStep) -> anyhow::Result<Vec<Mismatch>> {
        let users: Vec<UserId> = self.users.iter().map(|(_, user)| *user).collect();
        self.host.renew_followed(&users).await?;
        self.host.take_events();
        self.names.set("now", json!(self.host.clock.now()));
        let answer = self.act(step).await?;
        self.host.make_triggered_calls().await?;
        // Confirmations of announcements take effect a little later.
        self.host.records.flush().await;
        let mut mismatches = Vec::new();
        if let Some(answer) = answer {
            self.compare_answer(step, &answer, &mut mismatches)?;
            self.keep(step, &answer, &mut mismatches);
        }
        if let Some(expected) = &step.events {
            self.compare_events(expected, &mut mismatches)?;
        }
        for key in &step.state {
            state::compare_key(self, key, &mut mismatches).await?;
        }
        for document in &step.documents {
            state::compare_document(self, document, &mut mismatches).await?;
        }
        Ok(mismatches)
    }

    async fn act(&self, step: &CaseStep) -> anyhow::Result<Option<OfflineAnswer>> {
        if let Some(span) = step.span() {
            self.host.clock.advance(span.map_err(anyhow::Error::msg)?);
            return Ok(None);
        }
        if let Some(request) = &step.request {
            return self.request(step, request).await.map(Some);
        }
        if let Some(frame) = &step.frame {
            let payload = step.payload.as_ref().map_or(Ok(Value::Null), |payload| self.fill_in(payload))?;
            let (_, connection) = self.connection(step)?;
            let Connection { user, id } = connection;
            return Ok(Some(self.host.frame((user, id), frame, &payload).await));
        }
        if let Some(hook) = &step.hook {
            return Ok(Some(self.host.hook(self.hook(step, hook)?).await));
        }
        let Some(schedule) = &step.tick else { return Ok(None) };
        let answer = self.host.tick(&self.function, schedule, step.shard).await;
        answer.map(Some).ok_or_else(|| anyhow!("the function {} has no schedule {schedule:?}", self.function))
    }

    async fn request(&self, step: &CaseStep, request: &str) -> anyhow::Result<OfflineAnswer> {
        let request = self.text(request)?;
        let (method, path) = request.split_once(' ').unwrap_or((&request, ""));
        let path = utf8_percent_encode(path, ESCAPED).to_string();
        let body = step.body.as_ref().map(|body| self.fill_in(body)).transpose()?;
        let caller = self.caller(step.r#as.as_deref().unwrap_or_default())?;
        self.host.request(caller, (method, &path), body.as_ref()).await
    }

    fn caller(&self, name: &str) -> anyhow::Result<OfflineCaller> {
        Ok(match name {
            "nobody" => OfflineCaller::Nobody,
            "service" => OfflineCaller::Service,
            name => match name.strip_prefix("service for ") {
                Some(user) => OfflineCaller::ServiceFor(self.user(user)?),
                None => OfflineCaller::User(self.user(name)?),
            },
        })
    }

    /// The user of a frame or a hook, and the connection: the named one, or one for each user.
    fn connection(&self, step: &CaseStep) -> anyhow::Result<(String, Connection)> {
        let name = step.r#as.clone().unwrap_or_default();
        let user = self.user(&name)?;
        let id = step.connection.clone().unwrap_or_else(|| format!("of-{name}"));
        let id: ConnectionId = self.text(&id)?.parse()?;
        Ok((name, Connection { user, id }))
    }

    fn hook(&self, step: &CaseStep, hook: &str) -> anyhow::Result<OfflineHook> {
        let (_, connection) = self.connection(step)?;
        Ok(match hook {
            "connected" => OfflineHook::Connected(connection),
            "heartbeat" => OfflineHook::Heartbeat(vec![connection]),
            "disconnected" => OfflineHook::Disconnected(connection),
            _ => {
                let named = step.conversations.as_ref().map(|names| {
                    names.iter().map(|name| self.id(name)?.parse().map_err(anyhow::Error::from)).collect()
                });
                OfflineHook::Sync(connection.user, named.transpose()?)
            }
        })
    }

    fn compare_answer(
        &self,
        step: &CaseStep,
        answer: &OfflineAnswer,
        mismatches: &mut Vec<Mismatch>,
    ) -> anyhow::Result<()> {
        let found = answer.refusal.as_ref().map(|(code, message)| format!("{code}: {message}"));
        match (&step.code, &answer.refusal) {
            (Some(expected), Some((code, _))) if expected == code => {}
            (Some(expected), _) => {
                let found = found.unwrap_or_else(|| "success".to_owned());
                mismatches.push(Mismatch::new("code", format!("expected {expected}, found {found}")));
            }
            (None, Some(_)) if step.status.is_none() => {
                let status = answer.status.map(|status| format!("{status} ")).unwrap_or_default();
                let found = found.unwrap_or_default();
                mismatches.push(Mismatch::new("answer", format!("expected success, found {status}{found}")));
            }
            (None, _) => {}
        }
        if let (Some(expected), Some(found)) = (step.status, answer.status)
            && expected != found
        {
            mismatches.push(Mismatch::of("status", expected, &json!(found)));
        }
        if let Some(expected) = &step.reply {
            let pattern = self.names.pattern(expected).map_err(anyhow::Error::msg)?;
            pattern.compare("reply", &answer.body, mismatches);
        }
        Ok(())
    }

    fn keep(&mut self, step: &CaseStep, answer: &OfflineAnswer, mismatches: &mut Vec<Mismatch>) {
        for (name, pointer) in &step.keep {
            match answer.body.pointer(pointer) {
                Some(value) => self.names.set(name, value.clone()),
                None => {
                    let problem = format!("the reply has nothing at {pointer:?}: {}", shown(&answer.body));
                    mismatches.push(Mismatch::new(format!("keep.{name}"), problem));
                }
            }
        }
    }

    /// Compares the events of each user. The order of the events of one user counts, that of different users does not.
    fn compare_events(&self, expected: &[ExpectedEvent], mismatches: &mut Vec<Mismatch>) -> anyhow::Result<()> {
        let found = self.host.take_events();
        for (name, user) in &self.users {
            let expected: Vec<_> = expected.iter().filter(|event| event.to.names().any(|to| to == name)).collect();
            let found: Vec<_> = found.iter().filter(|event| event.user == *user).collect();
            for (index, expected) in expected.iter().enumerate() {
                let place = format!("events to {name}[{index}]");
                match found.get(index) {
                    Some(found) => self.compare_event(&place, expected, found, mismatches)?,
                    None => {
                        mismatches.push(Mismatch::new(place, format!("expected {}, found nothing", expected.r#type)))
                    }
                }
            }
            for (index, found) in found.iter().enumerate().skip(expected.len()) {
                let problem = format!("expected nothing, found {} {}", found.name, shown(&found.payload));
                mismatches.push(Mismatch::new(format!("events to {name}[{index}]"), problem));
            }
        }
        for name in expected.iter().flat_map(|event| event.to.names()) {
            self.user(name)?;
        }
        Ok(())
    }

    fn compare_event(
        &self,
        place: &str,
        expected: &ExpectedEvent,
        found: &OfflineEvent,
        mismatches: &mut Vec<Mismatch>,
    ) -> anyhow::Result<()> {
        if expected.r#type != found.name {
            let problem = format!("expected {}, found {} {}", expected.r#type, found.name, shown(&found.payload));
            mismatches.push(Mismatch::new(place, problem));
            return Ok(());
        }
        if let Some(payload) = &expected.payload {
            let pattern = self.names.pattern(payload).map_err(anyhow::Error::msg)?;
            pattern.compare(&format!("{place}.payload"), &found.payload, mismatches);
        }
        if let Some(durable) = expected.durable
            && durable != found.durable
        {
            mismatches.push(Mismatch::of(format!("{place}.durable"), durable, &json!(found.durable)));
        }
        Ok(())
    }

    /// The id that a name stands for, or the id itself.
    pub(super) fn id(&self, name: &str) -> anyhow::Result<String> {
        if let Ok(Value::String(id)) = self.names.value(name) {
            return Ok(id.clone());
        }
        self.text(name)
    }

    pub(super) fn text(&self, text: &str) -> anyhow::Result<String> {
        self.names.text(text).map_err(anyhow::Error::msg)
    }

    fn fill_in(&self, value: &Value) -> anyhow::Result<Value> {
        self.names.fill_in(value).map_err(anyhow::Error::msg)
    }
}

impl OneOrMore {
    fn names(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::One(name) => std::slice::from_ref(name).iter().map(String::as_str),
            Self::More(names) => names.iter().map(String::as_str),
        }
    }
}

fn ids<'a>(first: u128, names: impl Iterator<Item = &'a String>) -> impl Iterator<Item = (String, u128)> {
    names.zip(first..).map(|(name, id)| (name.clone(), id))
}

/// The time at which a case begins.
pub(super) fn start(given: &Given) -> Result<Timestamp, String> {
    /// 2026-01-01T00:00:00Z, as the clock of the unit tests.
    const DEFAULT: Timestamp = Timestamp(1_767_225_600_000);
    match &given.start {
        None => Ok(DEFAULT),
        Some(text) => Timestamp::parse_rfc3339(text).ok_or_else(|| {
            format!("given: start {text:?} is no time; write RFC 3339, such as \"2026-01-01T00:00:00Z\"")
        }),
    }
}
