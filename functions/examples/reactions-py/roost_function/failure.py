"""Failures: what a handler answers when it refuses, or cannot do what it was asked.

The codes of errors of the store and of the records are those of functions in Rust.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from componentize_py_types import Err
from wit_world.exports import handler
from wit_world.imports import key_value, records

MESSAGE_BYTES_MAX = 1024
"""The host refuses a longer message."""

INTERNAL = "the function could not do this; the operator's log has the reason"


class Failure(Exception):
    """A refusal: the kind decides the HTTP status, the code consists of `a-z` and `_`, the message says what is allowed."""

    def __init__(
        self, kind: str, code: str, message: str, *, retry_after_ms: int | None = None, reason: str | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.code = code
        self.message = message
        self.retry_after_ms = retry_after_ms
        self.reason = reason
        """For the operator's log, not for the caller."""

    @classmethod
    def invalid(cls, message: str) -> Failure:
        """The request is not valid; the message says what is allowed."""
        return cls("invalid", "invalid", message)

    @classmethod
    def user_required(cls) -> Failure:
        """The request needs a user, and a service sent it for itself."""
        message = "this request needs a user: send a user's token, or send `Roost-User` with the service key"
        return cls("invalid", "user_required", message)

    @classmethod
    def contended(cls) -> Failure:
        """Another caller was faster, again and again."""
        return cls("unavailable", "contended", "other callers changed the same at the same time; try again")

    @classmethod
    def internal(cls, reason: str, code: str = "internal") -> Failure:
        """The function is at fault."""
        return cls("internal", code, INTERNAL, reason=reason)

    @property
    def retry(self) -> bool:
        return self.kind == "unavailable"

    def wire(self) -> handler.Failure:
        kind = handler.FailureKind[self.kind.upper().replace("-", "_")]
        message = self.message.encode()[:MESSAGE_BYTES_MAX].decode(errors="ignore")
        return handler.Failure(kind, self.code, message, self.retry, self.retry_after_ms)


def store_failure(error: key_value.Error) -> Failure:
    """What an error of the store means for the caller."""
    match error:
        case key_value.Error_Unavailable(ms):
            return Failure("unavailable", "store_unavailable", "the store did not answer", retry_after_ms=ms)
        case key_value.Error_Denied(text):
            return Failure.internal(f"denied: {text}", "denied")
        case key_value.Error_QuotaExceeded(text):
            return Failure.internal(f"quota exceeded: {text}", "quota_exceeded")
        case _:
            return Failure.internal(repr(error))


def records_failure(error: records.Error) -> Failure:
    """What an error of the records means for the caller."""
    match error:
        case records.Error_NotFound(text):
            return Failure("not-found", "not_found", text)
        case records.Error_NotAMember():
            return Failure("forbidden", "not_a_member", "the user is not a member of the conversation")
        case records.Error_Forbidden(text):
            return Failure("forbidden", "forbidden", text)
        case records.Error_Blocked():
            return Failure("forbidden", "blocked", "one of the two users has blocked the other")
        case records.Error_Conflict(text):
            return Failure("conflict", "conflict", text)
        case records.Error_VersionMismatch():
            return Failure("conflict", "version_mismatch", "the document was changed by another caller")
        case records.Error_TooLarge(text):
            return Failure("too-large", "too_large", text)
        case records.Error_Invalid(text):
            return Failure.invalid(text)
        case records.Error_Unavailable(ms):
            return Failure("unavailable", "records_unavailable", "the records did not answer", retry_after_ms=ms)
        case records.Error_QuotaExceeded(text):
            return Failure.internal(f"quota exceeded: {text}", "quota_exceeded")
        case _:
            return Failure.internal(repr(error), "denied")


class _Errors:
    """Turns an error of the contract into a Failure. (A generator as context manager would write to the frozen `Err`.)"""

    def __init__(self, translate: Callable[[Any], Failure]) -> None:
        self._translate = translate

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, thrown: BaseException | None, trace: object) -> None:
        if isinstance(thrown, Err):
            raise self._translate(thrown.value)


def store_errors() -> _Errors:
    """A block whose errors of the store become failures."""
    return _Errors(store_failure)


def records_errors() -> _Errors:
    """A block whose errors of the records become failures."""
    return _Errors(records_failure)
