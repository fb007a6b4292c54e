//! Transactions on a Cluster: the bound of a function's items in one slot is what the other slots leave, as far as this
//! host knows, and the state of each ledger is noted for the other hosts.

use roost_core::port::{AppBound, Outcome, StoreError, Transaction, app_function};

use super::app_totals::AppTotals;
use super::commit::{self, CommitAnswer, outcomes_of};
use super::connections::requests::RequestSender;
use super::large_commits;
use super::names::RedisNames;

/// Carries out valid transactions; returns their outcomes in the order given.
pub(super) async fn commit(
    (requests, totals): (&RequestSender, &AppTotals),
    names: &RedisNames,
    transactions: &[Transaction],
) -> Result<Vec<Outcome>, StoreError> {
    if transactions.iter().all(|transaction| app_function(transaction).is_none()) {
        return large_commits::commit(requests, names, transactions).await.map(outcomes_of);
    }
    let sent: Vec<BoundedTransaction> = transactions.iter().map(|each| bounded(totals, names, each)).collect();
    let mut answers = send(requests, (totals, names), &sent).await?;
    // What a slot has that this host did not know was counted twice: on its own, and in the sum over all slots. Now the
    // slot is known.
    let is_doubtful = |index: &usize| {
        let is_unknown = sent.get(*index).is_some_and(|sent| !sent.is_known);
        is_unknown && answers.get(*index).is_some_and(|answer| answer.exceeding_bytes.is_some())
    };
    let doubtful: Vec<usize> = (0..sent.len()).filter(is_doubtful).collect();
    let again = doubtful.iter().filter_map(|index| transactions.get(*index));
    let again: Vec<BoundedTransaction> = again.map(|each| bounded(totals, names, each)).collect();
    let repeated = send(requests, (totals, names), &again).await?;
    for (index, answer) in doubtful.into_iter().zip(repeated) {
        answers.get_mut(index).into_iter().for_each(|place| *place = answer.clone());
    }
    Ok(outcomes_of(answers))
}

/// A transaction with the bound on the ledger of its slot.
struct BoundedTransaction {
    transaction: Transaction,
    /// The bound over all slots.
    bound: Option<AppBound>,
    /// Whether this host knows the slot.
    is_known: bool,
}

fn bounded(totals: &AppTotals, names: &RedisNames, transaction: &Transaction) -> BoundedTransaction {
    let (mut transaction, bound) = (transaction.clone(), transaction.app_bound);
    let mut is_known = true;
    if let Some((function, bound)) = app_function(&transaction).zip(bound) {
        let (left, known) = totals.bound_of(function, names.slot(transaction.owner), bound);
        (transaction.app_bound, is_known) = (Some(left), known);
    }
    BoundedTransaction { transaction, bound, is_known }
}

/// Carries out transactions, and notes what their ledgers have. An error names the bound over all slots.
async fn send(
    requests: &RequestSender,
    (totals, names): (&AppTotals, &RedisNames),
    sent: &[BoundedTransaction],
) -> Result<Vec<CommitAnswer>, StoreError> {
    let transactions: Vec<Transaction> = sent.iter().map(|sent| sent.transaction.clone()).collect();
    let mut answers = commit::commit(requests, names, &transactions).await?;
    for (sent, answer) in sent.iter().zip(&mut answers) {
        let Some(function) = app_function(&sent.transaction) else { continue };
        if let Some(state) = answer.ledger {
            totals.note(function, names.slot(sent.transaction.owner), state);
        }
        if let (Some(bytes), Some(bound), Some(left)) = (answer.exceeding_bytes, sent.bound, sent.transaction.app_bound)
        {
            let elsewhere = bound.0.saturating_sub(left.0);
            answer.outcome = Outcome::Failed(bound.exceeded(function, bytes.saturating_add(elsewhere)));
            totals.note_full(function);
        }
    }
    Ok(answers)
}
