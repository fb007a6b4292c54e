"""The rules of reactions, with plain values."""

import json
import unittest

import rules
from roost_function import Failure

REACTION = rules.Reaction(
    conversation="6f1c1fd4-3c5b-4a8e-9d1a-0c6a2f1b7e55",
    message="00000000-0000-4000-8000-00000000000a",
    user="00000000-0000-4000-8000-00000000000b",
    reaction="👍",
)


class Rules(unittest.TestCase):
    def test_a_summary_counts_what_is_there_and_names_the_callers_own(self) -> None:
        fields = {"all": "3", "count 👍": "2", "count 😂": "0", f"by {REACTION.user} 👍": "1", "by someone 👍": "1"}
        self.assertEqual(rules.summary(fields, REACTION.user), {"counts": {"👍": 2}, "mine": ["👍"]})

    def test_adding_and_taking_back_check_what_they_rely_on(self) -> None:
        added, removed = rules.add(REACTION).wire, rules.remove(REACTION).wire
        self.assertEqual(len(added.checks), 2)
        self.assertIsNone(added.checks[0].value.value)
        self.assertEqual(removed.checks[0].value.value, "1")
        deltas = [change.value.delta for change in removed.mutations if hasattr(change.value, "delta")]
        self.assertEqual(deltas, [-1, 1, -1])

    def test_an_event_has_the_count_after_the_change(self) -> None:
        event = rules.changed(REACTION, True, {"count 👍": "2", "changes": "7"}).wire
        payload = json.loads(event.payload)
        self.assertEqual((payload["count"], payload["change"], payload["reaction"], event.durable), (2, 7, "👍", True))

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
