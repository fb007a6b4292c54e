//! Commits of many transactions at once, such as those for the members of a large group.
//!
//! Most members of such a group may be neither cached nor connected. Their transactions are refused by their first
//! check, `present-either`, and as a command of its own this check costs Redis a fifth of what a refused transaction
//! costs in a call of the script. So a few transactions are carried out first. If most of them are refused by that
//! check, it is made for the others before anything else is sent for them.

use std::collections::HashMap;

use roost_core::key::Owner;
use roost_core::port::{Check, Outcome, StoreError, Transaction};

use super::commit::{self, CommitAnswer};
use super::connections::requests::RequestSender;
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
    let Some((first, others)) = transactions.split_at_checked(FIRST).filter(|_| transactions.len() >= LARGE) else {
        return commit::commit(requests, names, transactions).await;
    };
    let mut answers = commit::commit(requests, names, first).await?;
    let refused = first
        .iter()
        .zip(&answers)
        .filter(|(transaction, answer)| first_check(transaction).is_some() && answer.outcome == Outcome::Refused(0));
    let answered = if refused.count() * 2 > FIRST {
        commit_checked(requests, names, others).await
    } else {
        commit::commit(requests, names, others).await
    };
    match answered {
        Ok(answered) => answers.extend(answered),
        // The first transactions have been carried out, so this is the failure of the others only.
        Err(error) => answers.extend(others.iter().map(|_| Outcome::Failed(error.clone()).into())),
    }
    Ok(answers)
}

/// The check that is made beforehand.
fn first_check(transaction: &Transaction) -> Option<&Check> {
    transaction.checks.first().filter(|check| matches!(check, Check::PresentEither(..)))
}

/// Makes the first checks, and carries out the transactions that they do not refuse.
async fn commit_checked(
    requests: &RequestSender,
    names: &RedisNames,
    transactions: &[Transaction],
) -> Result<Vec<CommitAnswer>, StoreError> {
    let checks = first_checks(transactions);
    let made: Vec<Transaction> = checks.iter().map(|(_, check)| check.clone()).collect();
    let made = commit::commit(requests, names, &made).await?;
    let mut refused: Vec<Option<CommitAnswer>> = vec![None; transactions.len()];
    for ((index, _), answer) in checks.into_iter().zip(made) {
        if let (Outcome::Refused(_), Some(place)) = (&answer.outcome, refused.get_mut(index)) {
            *place = Some(answer);
        }
    }
    let left = transactions.iter().zip(&refused).filter(|(_, refused)| refused.is_none());
    let left: Vec<Transaction> = left.map(|(transaction, _)| transaction.clone()).collect();
    let mut carried_out = commit::commit(requests, names, &left).await?.into_iter();
    Ok(refused.into_iter().filter_map(|refused| refused.or_else(|| carried_out.next())).collect())
}

/// The first checks as transactions, each with the index of the transaction that it is taken from. A check whose
/// outcome an earlier transaction of the same partition could change is left to the transaction.
fn first_checks(transactions: &[Transaction]) -> Vec<(usize, Transaction)> {
    let mut counts: HashMap<Owner, usize> = HashMap::with_capacity(transactions.len());
    for transaction in transactions {
        *counts.entry(transaction.owner.partition()).or_default() += 1;
    }
    let alone = transactions
        .iter()
        .enumerate()
        .filter(|(_, transaction)| counts.get(&transaction.owner.partition()) == Some(&1));
    let check = |(index, transaction): (usize, &Transaction)| {
        let check = first_check(transaction)?;
        Some((index, Transaction::new(transaction.owner).check(check.clone())))
    };
    alone.filter_map(check).collect()
}

#[cfg(test)]
mod tests {
    use roost_core::ids::UserId;
    use roost_core::key::{Key, Space};
    use roost_core::port::Mutation;

    use super::*;

    fn transaction(user: u128) -> Transaction {
        let total = Key::of_user(Space::UnreadTotal, UserId::from_u128(user));
        Transaction::new(Owner::User(UserId::from_u128(user)))
            .check(Check::PresentEither(total.clone(), Space::Followed))
            .mutate(Mutation::Delete(total))
    }

    #[test]
    fn only_a_first_check_that_nothing_else_can_change_is_made_beforehand() {
        let mut without = transaction(2);
        without.checks.clear();
        let all = [transaction(1), without, transaction(3), transaction(4), transaction(3)];
        let checks = first_checks(&all);
        assert_eq!(checks.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 3]);
        let (_, check) = checks.last().unwrap();
        assert_eq!((check.owner, check.checks.len(), check.mutations.len()), (all[3].owner, 1, 0));
    }
}
