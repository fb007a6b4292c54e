//! All counters of users, in answers that hold a bounded number of them: the first users whole, the next one in part,
//! and those after it not at all.

use roost_core::ids::{ConversationId, UserId};
use roost_core::limits::COUNTERS_MAX;
use roost_core::port::{Counter, UnreadSnapshot};

use super::values::{UuidId, read_counter};
use super::{ColumnResult, Parameter, QueryResult, SqlConnection};

/// A user, and the conversation above which the counters are asked for.
pub(super) type CountersFrom = (UserId, Option<ConversationId>);

/// Answers the counters of users, in the order asked. A user who is asked for twice takes a statement of their own.
pub(super) async fn counters_of_users<C: SqlConnection>(
    sql: &mut C,
    asked: &[CountersFrom],
) -> QueryResult<Vec<UnreadSnapshot>> {
    let mut left = COUNTERS_MAX;
    let mut answers = Vec::with_capacity(asked.len());
    let mut rest = asked;
    while !rest.is_empty() {
        let (segment, others) = rest.split_at(different_users(rest));
        let answered = read(sql, segment, left).await?;
        left -= answered.iter().map(|snapshot| snapshot.counters.len()).sum::<usize>();
        answers.extend(answered);
        rest = others;
    }
    Ok(answers)
}

/// The number of entries, from the first one on, whose users are all different.
fn different_users(asked: &[CountersFrom]) -> usize {
    let mut seen = std::collections::BTreeSet::new();
    asked.iter().take_while(|(user, _)| seen.insert(*user)).count()
}

/// Reads at most `left` counters, and one more to know whether those are all.
async fn read<C: SqlConnection>(sql: &mut C, asked: &[CountersFrom], left: usize) -> QueryResult<Vec<UnreadSnapshot>> {
    let first = |after: Option<ConversationId>| after.map_or(Some(0), |after| after.bits().checked_add(1));
    let pairs = asked.iter().filter_map(|(user, after)| Some((first(*after)?, user.bits()))).collect();
    let parameters = vec![Parameter::Members(pairs), (left as u64 + 1).into()];
    let rows = sql.rows(C::STATEMENTS.counters_of_users, parameters).await?;
    let mut rows = rows.iter().map(read_counter).collect::<ColumnResult<Vec<(UserId, Counter)>>>()?;
    let cut_at = if rows.len() > left { rows.pop().map(|(user, _)| user) } else { None };
    Ok(distribute(asked, rows, cut_at))
}

/// Hands the counters, which are in the order of the users, to their users. `cut_at` is the user whose counters did not
/// all fit.
fn distribute(asked: &[CountersFrom], rows: Vec<(UserId, Counter)>, cut_at: Option<UserId>) -> Vec<UnreadSnapshot> {
    let mut rows = rows.into_iter().peekable();
    let mut is_cut = false;
    let answer = |(user, _): &CountersFrom| {
        is_cut |= cut_at == Some(*user);
        let mut counters = Vec::new();
        while let Some((_, counter)) = rows.next_if(|(of, _)| of == user) {
            counters.push(counter);
        }
        UnreadSnapshot { user: *user, counters, more: is_cut }
    };
    asked.iter().map(answer).collect()
}

#[cfg(test)]
mod tests {
    use roost_core::ids::Seq;

    use super::*;

    const fn user(number: u128) -> UserId {
        UserId::from_u128(number)
    }

    fn counters(of: &[(u128, u128)]) -> Vec<(UserId, Counter)> {
        let counter = |id: u128| Counter {
            conversation: ConversationId::from_u128(id),
            count: 0,
            seq: Seq(0),
            joined: Seq(0),
            read: Seq(0),
            announced: Seq(0),
        };
        of.iter().map(|(number, id)| (user(*number), counter(*id))).collect()
    }

    fn answered(rows: &[(u128, u128)], cut_at: Option<u128>) -> Vec<(usize, bool)> {
        let asked = [(user(2), None), (user(1), None), (user(3), None)];
        let answers = distribute(&asked, counters(rows), cut_at.map(user));
        assert_eq!(answers.iter().map(|answer| answer.user).collect::<Vec<_>>(), [user(2), user(1), user(3)]);
        answers.into_iter().map(|answer| (answer.counters.len(), answer.more)).collect()
    }

    #[test]
    fn counters_go_to_their_users_and_the_rest_is_marked() {
        assert_eq!(answered(&[(2, 1), (2, 2), (3, 1)], None), [(2, false), (0, false), (1, false)]);
        assert_eq!(answered(&[(2, 1), (1, 1)], Some(1)), [(1, false), (1, true), (0, true)]);
        assert_eq!(answered(&[(2, 1)], Some(3)), [(1, false), (0, false), (0, true)]);
        assert_eq!(answered(&[], Some(2)), [(0, true); 3]);
    }

    #[test]
    fn a_user_who_is_asked_for_again_begins_another_statement() {
        let asked = [(user(1), None), (user(2), None), (user(1), None), (user(1), None)];
        assert_eq!([&asked[..], &asked[2..], &asked[3..]].map(different_users), [2, 1, 1]);
    }
}
