"""The helper package, on imports that a test replaces."""

import json
import unittest
from typing import Any
from unittest.mock import patch

from componentize_py_types import Err
from roost_function import (
    Decision,
    Event,
    Failure,
    Reply,
    Route,
    Schedule,
    Transaction,
    app,
    conversation,
    define_function,
    publish,
    query,
    records,
    shard,
    store,
    user,
)
from roost_function.ids import parse_uuid, to_id, to_uuid
from wit_world.exports import handler
from wit_world.imports import key_value as wire
from wit_world.imports import records as wire_records

ID = "6f1c1fd4-ffff-4a8e-9d1a-0c6a2f1b7e55"
KEY = app(shard(0), "votes")


class Ids(unittest.TestCase):
    def test_an_id_keeps_its_bits(self) -> None:
        id = to_id(ID.upper())
        self.assertEqual((id.first, id.second, id.third, id.fourth), (0x6F1C1FD4, 0xFFFF4A8E, 0x9D1A0C6A, 0x2F1B7E55))
        self.assertEqual(to_uuid(id), ID)
        self.assertIsNone(parse_uuid("6f1c1fd4"))
        with self.assertRaises(ValueError):
            to_id("ada")


class LiveState(unittest.TestCase):
    def test_answers_are_read_in_the_plain_form_and_a_missing_key_is_none(self) -> None:
        answers = [
            wire.Value_PlainFields([("n", "🐈")]),
            wire.Value_PlainNamedFields([["x", None]]),
            wire.Value_Missing(),
            wire.Value_TimeToLive(None),
            wire.Value_Bytes("é".encode()),
        ]
        asked = [query.fields(KEY), query.named_fields([KEY], ["a", "b"]), query.counter(KEY), query.time_to_live(KEY)]
        with patch.object(wire, "read", return_value=answers) as read:
            found = store.read(*asked, query.text(KEY))
        self.assertEqual(found, [{"n": "🐈"}, [["x", None]], None, "unlimited", "é"])
        self.assertIsInstance(read.call_args.args[0][0], wire.Query_PlainFields)

    def test_a_transaction_is_written_as_the_contract_has_it(self) -> None:
        transaction = Transaction(user(ID)).absent(KEY).set(KEY, "é", 5).set_fields(KEY, {"a": "1"})
        event = Event.durable("votes.changed", {"n": 1})
        written = transaction.publish(event).publish_to([ID], event).publish(event, {"sum": 1, "left": 0}).wire
        self.assertEqual(written.mutations[0].value, wire.Set(KEY, b"\xc3\xa9", 5))
        self.assertEqual(written.mutations[1].value.fields, [("a", "1")])
        self.assertEqual(json.loads(written.publications[0].payload), {"n": 1})
        self.assertEqual(written.addressed, [wire.AddressedEvent([to_id(ID)], event.wire)])
        expected = [wire.PublishedResult(1, "sum", 1), wire.PublishedResult(1, "left", 0)]
        self.assertEqual((len(written.publications), written.published_results), (2, expected))

    def test_an_update_reads_again_after_a_lost_race_a_bounded_number_of_times(self) -> None:
        def rule(present: int) -> Decision:
            return Decision(Transaction(shard(0)).equals(KEY, str(present)).add(KEY, 1), present)

        lost, won = [wire.Outcome_Refused(0)], [wire.Outcome_Committed([7])]
        with patch.object(wire, "read", return_value=[wire.Value_Counter(4)]):
            with patch.object(wire, "commit", side_effect=[lost, lost, won]):
                self.assertEqual(store.update([query.counter(KEY)], rule), (4, [7]))
            with patch.object(wire, "commit", return_value=lost) as commit, self.assertRaises(Failure) as raised:
                store.update([query.counter(KEY)], rule)
        self.assertEqual((raised.exception.code, raised.exception.retry), ("contended", True))
        self.assertEqual(commit.call_count, store.TRIES_MAX)

    def test_an_error_of_the_store_is_a_failure_whether_raised_or_an_outcome(self) -> None:
        error = wire.Error_Unavailable(250)
        with patch.object(wire, "read", side_effect=Err(error)), self.assertRaises(Failure) as raised:
            store.read_one(query.counter(KEY))
        self.assertEqual((raised.exception.code, raised.exception.retry_after_ms), ("store_unavailable", 250))
        with patch.object(wire, "commit", return_value=[wire.Outcome_Failed(error)]), self.assertRaises(Failure):
            store.commit(Transaction(shard(0)))
        with patch.object(wire, "read", side_effect=TypeError("a bug")), self.assertRaises(TypeError):
            store.read()

    def test_a_message_that_is_too_long_is_cut_between_two_characters(self) -> None:
        self.assertEqual(Failure.invalid("a" + "🐈" * 1000).wire().message, "a" + "🐈" * 255)

    def test_publications_are_sent_in_calls_of_at_most_1024(self) -> None:
        with patch("wit_world.imports.pub_sub.publish") as sent:
            publish([ID] * 2000, Event.ephemeral("a", 1))
        self.assertEqual([len(call.args[0]) for call in sent.call_args_list], [1024, 976])


class Documents(unittest.TestCase):
    def test_a_document_is_changed_without_losing_the_change_of_another_caller(self) -> None:
        found = [[wire_records.Document(4, "[4]")], [wire_records.Document(5, "[5]")]]
        puts = [Err(wire_records.Error_VersionMismatch(5)), 6]
        with (
            patch.object(wire_records, "read_documents", side_effect=found),
            patch.object(wire_records, "put_document", side_effect=puts) as put,
        ):
            updated = records.update_document(conversation(ID), "allowed", lambda value: [*value, 0])
        self.assertEqual((updated.version, updated.value), (6, [5, 0]))
        self.assertEqual((put.call_args.args[0].json, put.call_args.args[0].expected), ("[5, 0]", 5))

    def test_errors_of_the_records_have_the_codes_of_other_functions(self) -> None:
        with patch.object(wire_records, "membership", side_effect=Err(wire_records.Error_NotAMember())):
            with self.assertRaises(Failure) as raised:
                records.membership(ID, ID)
        self.assertEqual((raised.exception.kind, raised.exception.code), ("forbidden", "not_a_member"))


def fail(request: Any) -> None:
    raise KeyError("a bug")


Handler = define_function(
    name="votes",
    version="1.0.0",
    routes=[
        Route(
            "PUT",
            "/v1/votes/{poll}/{choice}",
            "user",
            lambda request: Reply(201, {**request.parameters, "user": request.user, "body": request.json()}),
            parameters={"choice": {"type": "string"}},
        ),
        Route("DELETE", "/v1/votes", "service", lambda request: None),
        Route("GET", "/v1/votes", "public", fail),
    ],
    messages={"vote": lambda payload, call: {"payload": payload, "from": call.user}},
    socket={"messages": {"vote": {"summary": "Votes."}}},
    hooks={"connected": lambda connection, call: {"votes": connection}},
    schedules={"sweep": Schedule(1000, lambda shard, call: {"shard": shard}, shards=2)},
    publications={"message.new": lambda published, call: vars(published)},
    grants={"read": ["app"]},
)


def call(request: Any, caller: Any = None) -> handler.Reply:
    caller = caller or handler.Caller_User(to_id(ID))
    return Handler().handle(handler.Invocation(caller, "t", 1, request))


def http(route: int, parameters: list[tuple[str, str]], body: str = "") -> handler.Request_Http:
    return handler.Request_Http(handler.HttpRequest(route, parameters, None, body.encode()))


class Calls(unittest.TestCase):
    def test_the_manifest_lists_what_the_function_offers(self) -> None:
        manifest = Handler().describe()
        self.assertEqual((manifest.messages, manifest.hooks), (["vote"], [handler.Hook.CONNECTED]))
        self.assertEqual(json.loads(manifest.socket), {"messages": {"vote": {"summary": "Votes."}}})
        self.assertEqual(manifest.schedules, [handler.Schedule("sweep", 1000, 2)])
        self.assertEqual(manifest.publications, ["message.new"])
        self.assertEqual(manifest.grants, handler.Grants([wire.Space.APP], [], handler.Recipients.NOBODY, []))
        poll, choice = json.loads(manifest.routes[0].operation)["parameters"]
        self.assertEqual((poll["name"], poll["schema"]["format"], choice["schema"]), ("poll", "uuid", {"type": "string"}))

    def test_a_call_reaches_its_handler_and_its_value_becomes_the_reply(self) -> None:
        put = call(http(0, [("poll", ID.upper()), ("choice", "🐈")], '{"n":1}'))
        self.assertEqual(put.status, 201)
        self.assertEqual(json.loads(put.body), {"poll": ID, "choice": "🐈", "user": ID, "body": {"n": 1}})
        self.assertEqual(call(http(1, [])), handler.Reply(204, ""))
        frame = handler.Request_Message(handler.SocketMessage("c", "vote", "[1]"))
        self.assertEqual(json.loads(call(frame).body), {"payload": [1], "from": ID})
        connected = handler.Request_Connected(handler.Connection(to_id(ID), "c"))
        self.assertEqual(json.loads(call(connected).body), {"votes": [ID, "c"]})
        tick = handler.Request_Tick(handler.Tick("sweep", 1))
        self.assertEqual(json.loads(call(tick).body), {"shard": 1})
        said = handler.Published("c.1", "message.new", '{"n":1}', [to_id(ID)], 2)
        expected = {"id": "c.1", "name": "message.new", "payload": {"n": 1}, "users": [ID], "attempt": 2}
        self.assertEqual(json.loads(call(handler.Request_Publication(said)).body), expected)

    def refusal(self, request: Any, caller: Any = None) -> handler.Failure:
        with self.assertRaises(Err) as raised:
            call(request, caller)
        return raised.exception.value

    def test_a_refusal_is_a_failure_and_a_fault_is_logged_and_not_shown(self) -> None:
        invalid = self.refusal(http(0, [("poll", "x"), ("choice", "a")]))
        self.assertEqual(invalid.message, 'poll must be a UUID, not "x"')
        self.assertEqual((invalid.kind, invalid.code), (handler.FailureKind.INVALID, "invalid"))
        choice = [("poll", ID), ("choice", "a")]
        self.assertRegex(self.refusal(http(0, choice, "{")).message, "^the body is not JSON")
        self.assertEqual(self.refusal(http(0, choice, "1"), handler.Caller_Service()).code, "user_required")
        with patch("roost_function.function.log") as log:
            self.assertEqual(self.refusal(http(2, [])).code, "internal")
        self.assertIn("a bug", log.call_args.args[1])
