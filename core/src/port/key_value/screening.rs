//! Takes the transactions that exceed a bound out of a call, so that each of them fails alone and the others are
//! carried out. Every adapter screens a call before it carries anything out.

use super::{
    Check, Mutation, Outcome, StoreError, Transaction, addressed, counted, limit, published_result, validate_check,
    validate_event, validate_function, validate_mutation, validate_owner,
};
use crate::key::Owner;
use crate::limits::{CALL_BYTES_MAX, CALL_ITEMS_MAX, TRANSACTION_ITEMS_MAX};

/// The transactions of a call that can be carried out, and the outcomes of those that are too large.
#[derive(Debug, Default)]
pub struct ScreenedCall {
    accepted: Vec<Transaction>,
    /// The index and the error of each transaction that is too large, in ascending order.
    refused: Vec<(usize, StoreError)>,
}

impl ScreenedCall {
    /// Validates the transactions of a call, with the same errors for every adapter. A transaction that exceeds a bound
    /// of its own is too large; so is one beyond the first [`CALL_ITEMS_MAX`], and one that does not fit into
    /// [`CALL_BYTES_MAX`] with those accepted before it.
    ///
    /// # Errors
    /// A transaction that is not valid for another reason fails the whole call.
    pub fn of(transactions: Vec<Transaction>) -> Result<Self, StoreError> {
        let (mut refused, mut bytes) = (Vec::new(), 0_usize);
        for (index, transaction) in transactions.iter().enumerate() {
            match validate_transaction(transaction).and_then(|size| fits(index, bytes.saturating_add(size))) {
                Ok(sum) => bytes = sum,
                Err(error @ StoreError::TooLarge(_)) => refused.push((index, error)),
                Err(error) => return Err(error),
            }
        }
        if refused.is_empty() {
            return Ok(Self { accepted: transactions, refused });
        }
        let mut next_refused = refused.iter().map(|(index, _)| *index).peekable();
        let is_accepted = |index: usize| next_refused.next_if_eq(&index).is_none();
        let accepted = keep(transactions, is_accepted);
        Ok(Self { accepted, refused })
    }

    /// The positions of the transactions that are too large, in ascending order.
    pub fn refused(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.refused.iter().map(|(index, _)| *index)
    }

    /// Takes out the transactions that can be carried out.
    pub fn take_accepted(&mut self) -> Vec<Transaction> {
        std::mem::take(&mut self.accepted)
    }

    /// The outcomes of the whole call in order, from those of the accepted transactions.
    pub fn outcomes(self, accepted: Vec<Outcome>) -> Vec<Outcome> {
        if self.refused.is_empty() {
            return accepted;
        }
        let mut accepted = accepted.into_iter();
        let mut all = Vec::with_capacity(accepted.len() + self.refused.len());
        for (index, error) in self.refused {
            all.extend(accepted.by_ref().take(index - all.len()));
            all.push(Outcome::Failed(error));
        }
        all.extend(accepted);
        all
    }
}

fn fits(index: usize, bytes: usize) -> Result<usize, StoreError> {
    limit("transactions in a call", index + 1, CALL_ITEMS_MAX)?;
    limit("bytes in a call", bytes, CALL_BYTES_MAX)?;
    Ok(bytes)
}

fn keep(transactions: Vec<Transaction>, mut is_kept: impl FnMut(usize) -> bool) -> Vec<Transaction> {
    let kept = transactions.into_iter().enumerate().filter(|(index, _)| is_kept(*index));
    kept.map(|(_, transaction)| transaction).collect()
}

/// Validates one transaction, with the same errors for every adapter. Returns its size in bytes.
fn validate_transaction(transaction: &Transaction) -> Result<usize, StoreError> {
    // What is not valid is found first, so that a transaction has one error, whatever its size.
    let counted_items = items(transaction);
    let what = "checks, mutations, publications and published results in a transaction";
    let mut too_large = limit(what, counted_items, TRANSACTION_ITEMS_MAX).err();
    let mut bytes = 0_usize;
    let mut add = |size: Result<usize, StoreError>| match size {
        Ok(size) => {
            bytes += size;
            Ok(())
        }
        Err(error @ StoreError::TooLarge(_)) => {
            too_large.get_or_insert(error);
            Ok(())
        }
        Err(error) => Err(error),
    };
    for check in &transaction.checks {
        validate_owner(transaction.owner, check.key())?;
        add(validate_check(check).map(|size| counted(check.key(), size)))?;
    }
    for mutation in &transaction.mutations {
        validate_owner(transaction.owner, mutation.key())?;
        add(validate_mutation(mutation).map(|size| counted(mutation.key(), size)))?;
    }
    validate_function(transaction)?;
    if !transaction.publications.is_empty() && !matches!(transaction.owner, Owner::User(_)) {
        return Err(StoreError::Invalid("only a transaction of a user can publish events".into()));
    }
    for event in &transaction.publications {
        add(validate_event(event))?;
    }
    add(published_result::validate(transaction))?;
    add(addressed::validate(&transaction.addressed))?;
    too_large.map_or(Ok(bytes), Err)
}

/// The number of checks, mutations, publications and published results that count towards the limit.
fn items(transaction: &Transaction) -> usize {
    let checks = transaction.checks.iter().map(Check::key);
    let keys = checks.chain(transaction.mutations.iter().map(Mutation::key));
    let published = transaction.publications.len() + transaction.published_results.len();
    keys.map(|key| counted(key, 1)).sum::<usize>() + published + transaction.addressed.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::UserId;
    use crate::key::{Key, Space};
    use crate::limits::VALUE_BYTES_MAX;

    fn of_user(number: u128, values: usize, bytes: usize) -> Transaction {
        let user = UserId::from_u128(number);
        let set = || Mutation::Set(Key::of_user(Space::Online, user), vec![0; bytes], None);
        (0..values).fold(Transaction::new(Owner::User(user)), |all, _| all.mutate(set()))
    }

    /// The owners of the accepted transactions, and the positions of those that are too large.
    fn screened(transactions: Vec<Transaction>) -> (Vec<Owner>, Vec<usize>) {
        let mut screened = ScreenedCall::of(transactions).unwrap();
        let accepted = screened.take_accepted();
        let outcomes = screened.outcomes(vec![Outcome::Committed(Vec::new()); accepted.len()]);
        let failed = outcomes
            .iter()
            .enumerate()
            .filter(|(_, outcome)| matches!(outcome, Outcome::Failed(StoreError::TooLarge(_))));
        let failed: Vec<usize> = failed.map(|(index, _)| index).collect();
        assert_eq!(outcomes.len(), accepted.len() + failed.len());
        (accepted.iter().map(|transaction| transaction.owner).collect(), failed)
    }

    fn users(numbers: &[u128]) -> Vec<Owner> {
        numbers.iter().map(|number| Owner::User(UserId::from_u128(*number))).collect()
    }

    #[test]
    fn a_transaction_that_is_too_large_leaves_the_others() {
        let call = vec![
            of_user(1, 1, VALUE_BYTES_MAX + 1),
            of_user(2, 1, 1),
            of_user(3, TRANSACTION_ITEMS_MAX + 1, 0),
            of_user(4, 1, 1),
        ];
        assert_eq!(screened(call), (users(&[2, 4]), vec![0, 2]));
        assert_eq!(screened(vec![of_user(1, 1, 1), of_user(2, 1, 1)]), (users(&[1, 2]), vec![]));
        assert_eq!(screened(Vec::new()), (Vec::new(), Vec::new()));
    }

    #[test]
    fn what_does_not_fit_into_the_call_any_more_is_too_large() {
        let half = CALL_BYTES_MAX / VALUE_BYTES_MAX / 2;
        let call = vec![
            of_user(1, half, VALUE_BYTES_MAX),
            of_user(2, half + 1, VALUE_BYTES_MAX),
            of_user(3, half, VALUE_BYTES_MAX),
            of_user(4, 1, 1),
        ];
        assert_eq!(screened(call), (users(&[1, 3]), vec![1, 3]));
        let (accepted, failed) = screened(vec![of_user(1, 0, 0); CALL_ITEMS_MAX + 2]);
        assert_eq!((accepted.len(), failed), (CALL_ITEMS_MAX, vec![CALL_ITEMS_MAX, CALL_ITEMS_MAX + 1]));
    }

    #[test]
    fn an_invalid_transaction_fails_the_call_even_beside_one_that_is_too_large() {
        let mut foreign = of_user(2, 1, 1);
        foreign.owner = Owner::User(UserId::from_u128(3));
        let call = vec![of_user(1, 1, VALUE_BYTES_MAX + 1), foreign];
        assert!(matches!(ScreenedCall::of(call), Err(StoreError::CrossPartition(_))));
    }
}
