"""Sealing: args and results are kept in the database so that only who has the key can read them.

What is sealed stands in the place of an object or a result as {"$sealed": "..."}, in base64. The database never sees a
key. Not sealed are names, queues, headers, keys, the args of periodic jobs, and what a handler's exception says.
"""

import json
from base64 import b64decode, b64encode
from typing import Any, Protocol

SEALED = "$sealed"


class Codec(Protocol):
    """Whatever turns bytes into others that it alone can turn back, such as cryptography's MultiFernet.

    That one seals with the first of its keys and opens with any of them. So keys are rotated by giving runners the new
    one behind the old, then everybody the new one in front, and by taking the old one away when nothing is left that it
    has sealed.
    """

    def encrypt(self, data: bytes, /) -> bytes:
        """Seals."""

    def decrypt(self, data: bytes, /) -> bytes:
        """Opens what encrypt() gave. May raise anything for what it cannot open."""


class CannotOpen(Exception):
    """Args are sealed by a key that is not at hand."""


def seal(codec: Codec, text: str) -> str:
    """JSON text as JSON text that only the codec can read."""
    return json.dumps({SEALED: b64encode(codec.encrypt(text.encode())).decode()})


def opened(codec: Codec | None, value: dict[str, Any]) -> dict[str, Any]:
    """What is in sealed args; others as they are. Raises CannotOpen, which says the remedy."""
    if SEALED not in value:
        return value
    if codec is None:
        raise CannotOpen("its args are sealed, and this app has no key: give Soniq(codec=...)")
    try:
        args: dict[str, Any] = json.loads(codec.decrypt(b64decode(value[SEALED])))
    except Exception as error:  # a codec may raise anything
        raise CannotOpen(
            f"its args are sealed, and this app's codec cannot open them ({type(error).__name__}):"
            " give Soniq(codec=...) the key that sealed them, too"
        ) from error
    return args
