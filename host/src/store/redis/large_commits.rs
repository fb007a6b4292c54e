//! Commits of many transactions at once, such as those for the members of a large group.
//!
//! Most members of such a group may be neither cached nor connected. Their transactions are refused by their first
//! check, `present-either`, and a plain `EXISTS` of its two keys costs Redis a fifth of what a refused transaction
//! costs in a call of the script. So a few transactions are carried out first. If most of them are refused by that
//! check, the keys of the others are asked for before anything else is sent for them.

use std::collections::HashMap;

use redis::{Value as Reply, cmd};
use roost_core::key::{Key, Owner};
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
    let is_checked = |first: &[Transaction]| is_most(first.iter().filter_map(checked_keys).count());
    let Some((first, others)) = transactions
        .split_at_checked(FIRST)
        .filter(|(first, others)| others.len() >= LARGE - FIRST && is_checked(first))
    else {
        return commit::commit(requests, names, transactions).await;
    };
    let mut answers = commit::commit(requests, names, first).await?;
    let refused = answers.iter().filter(|answer| answer.outcome == Outcome::Refused(0)).count();
    // Whoever calls an unavailable server again only waits longer.
    let unavailable = |answer: &CommitAnswer| match &answer.outcome {
        Outcome::Failed(error @ StoreError::Unavailable { .. }) => Some(error.clone()),
        _ => None,
    };
    let failures: Vec<StoreError> = answers.iter().map_while(unavailable).collect();
    let answered = match failures.into_iter().nth(FIRST - 1) {
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

/// Whether so many of the first transactions are more than half.
const fn is_most(count: usize) -> bool {
    count * 2 > FIRST
}

/// The keys of the first check, if it is `present-either`.
fn checked_keys(transaction: &Transaction) -> Option<[Key; 2]> {
    match transaction.checks.first() {
        Some(Check::PresentEither(key, other)) => Some([key.clone(), Key::new(*other, key.owner)]),
        _ => None,
    }
}

/// Asks for the keys of the first checks, and carries out the transactions for which there is one.
async fn commit_existing(
    requests: &RequestSender,
    names: &RedisNames,
    transactions: &[Transaction],
) -> Result<Vec<CommitAnswer>, StoreError> {
    let asked = to_ask(transactions);
    let exists = |(index, keys): &(usize, [Key; 2])| {
        let [key, other] = keys;
        let mut command = cmd("EXISTS");
        command.arg(names.key(key)).arg(names.key(other));
        let owner = transactions.get(*index).map_or(key.owner, |transaction| transaction.owner);
        RequestUnit::single(names.slot(owner), command)
    };
    let units: Vec<RequestUnit> = asked.iter().map(exists).collect();
    let Ok(replies) = requests.send(&units).await else {
        // There is no room for so many commands at a time. The script needs fewer.
        return commit::commit(requests, names, transactions).await;
    };
    let mut answers: Vec<Option<CommitAnswer>> = vec![None; transactions.len()];
    for ((index, _), reply) in asked.into_iter().zip(replies) {
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

/// The keys to ask for, each pair with the index of its transaction. A check whose outcome another transaction of the
/// same partition could change is left to the transaction, and so is what is refused before any check.
fn to_ask(transactions: &[Transaction]) -> Vec<(usize, [Key; 2])> {
    let mut counts: HashMap<Owner, usize> = HashMap::with_capacity(transactions.len());
    for transaction in transactions {
        *counts.entry(transaction.owner.partition()).or_default() += 1;
    }
    let is_alone = |transaction: &Transaction| counts.get(&transaction.owner.partition()) == Some(&1);
    let is_valid = |transaction: &Transaction| transaction.mutations.iter().all(|each| check_score(each).is_ok());
    let keys = |(index, transaction): (usize, &Transaction)| {
        let keys = checked_keys(transaction).filter(|_| is_alone(transaction) && is_valid(transaction))?;
        Some((index, keys))
    };
    transactions.iter().enumerate().filter_map(keys).collect()
}

#[cfg(test)]
mod tests {
    use roost_core::ids::UserId;
    use roost_core::key::Space;
    use roost_core::port::Mutation;

    use super::*;

    fn transaction(user: u128) -> Transaction {
        let total = Key::of_user(Space::UnreadTotal, UserId::from_u128(user));
        Transaction::new(Owner::User(UserId::from_u128(user)))
            .check(Check::PresentEither(total.clone(), Space::Followed))
            .mutate(Mutation::Delete(total))
    }

    #[test]
    fn only_a_check_that_nothing_else_can_change_is_made_beforehand() {
        let (mut unchecked, mut refused) = (transaction(2), transaction(5));
        unchecked.checks.clear();
        let due = Key::of_user(Space::Devices, UserId::from_u128(5));
        refused.mutations.push(Mutation::OrderedPut(due, "device".into(), i64::MAX));
        let all = [transaction(1), unchecked, transaction(3), transaction(4), transaction(3), refused];
        let asked = to_ask(&all);
        assert_eq!(asked.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 3]);
        let user = UserId::from_u128(4);
        assert_eq!(asked[1].1, [Key::of_user(Space::UnreadTotal, user), Key::followed(user)]);
    }
}
