"""What a request is refused with: a status, a code, what is wrong and what to do about it."""

import asyncpg

from soniq.commands.common import WHO_MAY
from soniq.database import CONNECTION_LOST, describe
from soniq.errors import SchemaMismatch, SchemaMissing, SoniqError

# SQLSTATEs of Soniq whose meaning has an HTTP status of its own; the others tell of a bad value.
STATUS_OF = {"SQ020": 404, "SQ024": 409, "SQ027": 403}


class Refusal(Exception):
    """Raised wherever a request cannot be answered; it becomes a page, or {"error": ...} in the API.

    status: as HTTP has it. code: a SQLSTATE of Soniq's, or a word, for programs.
    """

    def __init__(self, status: int, code: str, message: str, remedy: str) -> None:
        super().__init__(f"{message}; {remedy}")
        self.status = status
        self.code = code
        self.message = message
        self.remedy = remedy


def not_found(what: str, remedy: str) -> Refusal:
    """Nothing of that name or number."""
    return Refusal(404, "not_found", what, remedy)


def conflict(message: str, remedy: str) -> Refusal:
    """It is there, and not in a state in which that could be done."""
    return Refusal(409, "conflict", message, remedy)


def bad_value(message: str, remedy: str) -> Refusal:
    """What was given cannot be read."""
    return Refusal(422, "bad_value", message, remedy)


def forbidden(message: str) -> Refusal:
    """The database's login may not do that."""
    return Refusal(403, "forbidden", message, f"{WHO_MAY[0].upper()}{WHO_MAY[1:]}.")


def away(reason: str) -> Refusal:
    """The database cannot be asked."""
    return Refusal(
        503,
        "database_away",
        f"The database does not answer: {reason}",
        "Check that the server is up and SONIQ_DATABASE_URL leads to it; the dashboard tries again with each request.",
    )


def from_database(error: BaseException) -> Refusal | None:
    """What a driver's or a connection's error comes to; None for an error of another kind."""
    match error:
        case asyncpg.InsufficientPrivilegeError():
            return forbidden(f"The database refuses: {_message(error)}")
        # Before CONNECTION_LOST, of which it is one to asyncpg: a value that no parameter can be made of.
        case asyncpg.DataError():
            return bad_value(_message(error), "Correct the value.")
        case asyncpg.QueryCanceledError():
            return away(_message(error))
        case SchemaMissing(__cause__=asyncpg.InsufficientPrivilegeError() as cause):
            return forbidden(f"The database refuses: {_message(cause)}")
        case SchemaMissing() | SchemaMismatch():
            return Refusal(
                503, "schema", str(error), "Deploy the schema of this version: soniq setup."
            )
        case SoniqError():
            return away(str(error))
        case _ if isinstance(error, CONNECTION_LOST):
            return away(describe(error))
        case asyncpg.PostgresError(sqlstate=str(sqlstate)) if sqlstate.startswith("SQ"):
            status = STATUS_OF.get(sqlstate, 422)
            return Refusal(status, sqlstate, _message(error), getattr(error, "hint", None) or "")
        # The server has no room, memory or disk: another moment may be better.
        case asyncpg.InsufficientResourcesError():
            return away(_message(error))
        case _:
            return None


def _message(error: BaseException) -> str:
    return str(getattr(error, "message", None) or error)
