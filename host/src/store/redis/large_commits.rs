//! Commits of many transactions at once, such as those for the members of a large group.
//!
//! Most members of such a group may be neither cached nor connected. Their transactions are refused by their first
//! check, `present-either`, and a plain `EXISTS` of its two keys costs Redis a fifth of what a refused transaction
//! costs in a call of the script. So a few transactions are carried out first. If most of them are refused by that
//! check, the keys of the others are asked for before anything else is sent for them.

use redis::{Value as Reply, cmd};
use roost_core::key::Key;
use roost_core::port::{Check, Outcome, StoreError, Transaction};

use super::commit::{self, CommitAnswer, check_score};
use super::connections::requests::{RequestSender, RequestUnit};
use super::names::RedisNames;

/// The number of transactions from which on a few are carried out first: for fewer, another round trip costs more than
/// it can save.
const LARGE: usize = 256;
/// The number of transactions that are carried out first.
const FIRST: usize = 64;

/// Carries out valid transactions; returns their answers in the order given.
pub(super) async fn commit(
    requests: &RequestSender,
    names: &RedisNames,
    transactions: &[Transaction],
) -> Result<Vec<CommitAnswer>, StoreError> {
    let (first, others) = transactions.split_at(transactions.len().min(FIRST));
    let is_most = |count: usize| count * 2 > FIRST;
    if transactions.len() < LARGE || !is_most(first.iter().filter(|each| checks_either(each)).count()) {
        return commit::commit(requests, names, transactions).await;
    }
    let mut answers = commit::commit(requests, names, first).await?;
    let refused = answers.iter().filter(|answer| answer.outcome == Outcome::Refused(0)).count();
    // Whoever calls an unavailable server again only waits longer.
    let failures: Option<Vec<StoreError>> = answers.iter().map(unavailable).collect();
    let answered = match failures.and_then(|mut all| all.pop()) {
        Some(error) => Err(error),
        None if is_most(refused) => commit_existing(requests, names, others).await,
        None => commit::commit(requests, names, others).await,
    };
    match answered {
        Ok(answered) => answers.extend(answered),
        // The first transactions have their answers, so this is the failure of the others only.
        Err(error) => answers.extend(others.iter().map(|_| Outcome::Failed(error.clone()).into())),
    }
    Ok(answers)
}

fn unavailable(answer: &CommitAnswer) -> Option<StoreError> {
    match &answer.outcome {
        Outcome::Failed(error @ StoreError::Unavailable { .. }) => Some(error.clone()),
        _ => None,
    }
}

/// Whether the first check is `present-either`.
fn checks_either(transaction: &Transaction) -> bool {
    matches!(transaction.checks.first(), Some(Check::PresentEither(..)))
}

/// Asks for the keys of the first checks, and carries out the transactions for which there is one.
async fn commit_existing(
    requests: &RequestSender,
    names: &RedisNames,
    transactions: &[Transaction],
) -> Result<Vec<CommitAnswer>, StoreError> {
    let asked = transactions.iter().enumerate();
    let (asked, units): (Vec<usize>, Vec<RequestUnit>) =
        asked.filter_map(|(index, each)| Some((index, exists(each, names)?))).unzip();
    let Ok(replies) = requests.send(&units).await else {
        // There is no room for so many commands at a time. The script needs fewer.
        return commit::commit(requests, names, transactions).await;
    };
    let mut answers: Vec<Option<CommitAnswer>> = vec![None; transactions.len()];
    for (index, reply) in asked.into_iter().zip(replies) {
        if let Some(answer) = answers.get_mut(index) {
            *answer = match reply.map(|reply| reply.last()) {
                Ok(Reply::Int(0)) => Some(Outcome::Refused(0).into()),
                Err(error @ StoreError::Unavailable { .. }) => Some(Outcome::Failed(error).into()),
                _ => None,
            };
        }
    }
    let left = transactions.iter().zip(&answers).filter(|(_, answer)| answer.is_none());
    let left: Vec<Transaction> = left.map(|(transaction, _)| transaction.clone()).collect();
    let mut carried_out = commit::commit(requests, names, &left).await?.into_iter();
    Ok(answers.into_iter().filter_map(|answer| answer.or_else(|| carried_out.next())).collect())
}

/// Asks how many of the two keys of the first check exist. What is refused before any check is left to the transaction.
fn exists(transaction: &Transaction, names: &RedisNames) -> Option<RequestUnit> {
    let Some(Check::PresentEither(key, other)) = transaction.checks.first() else { return None };
    if transaction.mutations.iter().any(|mutation| check_score(mutation).is_err()) {
        return None;
    }
    let mut command = cmd("EXISTS");
    command.arg(names.key(key)).arg(names.key(&Key::new(*other, key.owner)));
    Some(RequestUnit::single(names.slot(transaction.owner), command))
}
