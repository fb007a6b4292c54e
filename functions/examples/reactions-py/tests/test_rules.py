"""The rules of reactions, with plain values."""

import json
import unittest

import rules
from roost_function import Decision, Failure
from roost_function.ids import to_id

REACTION = rules.Reaction(
    conversation="6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55",
    message="00000000-0000-4000-8000-00000000000a",
    user="00000000-0000-4000-8000-00000000000b",
    reaction="👍",
)


def deltas(decision: Decision) -> list[tuple[str, int]]:
    """The fields to which a decision adds, and how much."""
    changes = [change.value for change in decision.transaction.wire.mutations]
    return [(change.field, change.delta) for change in changes if hasattr(change, "delta")]


class Rules(unittest.TestCase):
    def test_a_summary_counts_what_is_there_and_names_the_callers_own(self) -> None:
        fields = {"all": "3", "count 👍": "2", "count 😂": "0", f"by {REACTION.user} 👍": "1", "by someone 👍": "1"}
        self.assertEqual(rules.summary(fields, REACTION.user), {"counts": {"👍": 2}, "mine": ["👍"]})

    def test_the_first_reaction_is_added_on_the_condition_that_nothing_has_changed(self) -> None:
        decision = rules.change(REACTION, True, {}, [REACTION.user])
        (check,) = decision.transaction.wire.checks
        self.assertEqual((check.value.field, check.value.value), ("changes", None))
        self.assertEqual(deltas(decision), [("count 👍", 1), ("changes", 1), ("all", 1)])
        self.assertEqual([event.users for event in decision.transaction.wire.addressed], [[to_id(REACTION.user)]])
        self.assertEqual(decision.reply, {"counts": {"👍": 1}, "mine": ["👍"]})

    def test_a_reaction_is_taken_back_and_the_event_has_the_count_after_the_change(self) -> None:
        before = {"all": "3", "changes": "6", "count 👍": "3", REACTION.by: "1"}
        decision = rules.change(REACTION, False, before, [REACTION.user])
        self.assertEqual(decision.transaction.wire.checks[0].value.value, "6")
        self.assertEqual(deltas(decision), [("count 👍", -1), ("changes", 1), ("all", -1)])
        event = decision.transaction.wire.addressed[0].event
        payload = json.loads(event.payload)
        found = (payload["count"], payload["change"], payload["added"], payload["reaction"], event.durable)
        self.assertEqual(found, (2, 7, False, "👍", True))
        self.assertEqual(list(payload), rules.CHANGED["required"])
        self.assertEqual(list(payload), list(rules.CHANGED["properties"]))
        self.assertEqual(decision.reply, {"counts": {"👍": 2}, "mine": []})
        self.assertEqual(len(before), 4, "the rule may be asked again with what was read")

    def test_a_repetition_changes_nothing_and_notifies_nobody(self) -> None:
        there = {"all": "1", "changes": "1", "count 👍": "1", REACTION.by: "1"}
        for added, before in [(True, there), (False, {})]:
            decision = rules.change(REACTION, added, before, [REACTION.user])
            written = decision.transaction.wire
            self.assertEqual((written.checks, written.mutations, written.addressed), ([], [], []))
            self.assertEqual(decision.reply, rules.summary(before, REACTION.user))

    def test_a_message_has_a_bounded_number_of_reactions(self) -> None:
        with self.assertRaisesRegex(Failure, "at most 1000 reactions"):
            rules.change(REACTION, True, {"all": "1000", "changes": "1000"}, [REACTION.user])

    def test_a_backends_choice_is_checked(self) -> None:
        self.assertEqual(rules.allowed_body({"allowed": ["🐈", "ok"]}), ["🐈", "ok"])
        refused = [None, {}, {"allowed": []}, {"allowed": ["a" * 33]}, {"allowed": [" a"]}, {"allowed": [7]}]
        for body in [*refused, {"allowed": ["a\n"]}, {"allowed": ["a"], "more": 1}, {"allowed": ["\ud83d"]}]:
            with self.subTest(body=repr(body)), self.assertRaises(Failure) as raised:
                rules.allowed_body(body)
            self.assertEqual(raised.exception.code, "invalid")
        with self.assertRaisesRegex(Failure, "allows only 👍"):
            rules.check_allowed("🐈", None)
        rules.check_allowed("🐈", ["🐈"])
