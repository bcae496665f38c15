"""Arguments as a handler's annotations want them: checked, and made from the JSON that a job holds.

What JSON has is checked here (int, str, float, bool, None, Any, Literal, list, dict, unions), and so is what it has
only as text: datetime, date, time, UUID, Decimal and enums. Anything beyond is pydantic's business, if it is installed
(`pip install soniq[pydantic]`). Without it such a parameter takes whatever comes, except one that wants an object with
fields, which nothing could make of JSON: that is refused where the handler is declared.
"""

import dataclasses
import enum
import json
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from soniq.errors import BadDeclaration

# Gives the value to pass on, or raises Unfit.
Converter = Callable[[Any], Any]
MOST_SHOWN = 80  # characters of a value in a message


class Unfit(Exception):
    """A value is not what the annotation says; the message tells what is wanted and what was given."""


def make_converter(annotation: Any, where: str) -> Converter | None:
    """What checks and converts values for an annotation; None if any value will do.

    where: the parameter, for messages. Raises BadDeclaration for a model without pydantic.
    """
    try:
        return _basic(annotation)
    except _BeyondBasics:
        pass
    if (pydantic := _pydantic()) is not None:
        return _by_pydantic(pydantic, annotation)
    if _is_model(annotation):
        raise BadDeclaration(
            f"{where} is annotated with {_name_of(annotation)}, and nothing here makes one of JSON: install"
            " soniq[pydantic], or annotate it with dict"
        )
    return None


def to_json(args: Mapping[str, Any]) -> str:
    """Arguments as JSON text; dates, UUIDs, Decimals, enums and pydantic's models become what handlers convert back.

    Raises TypeError, ValueError or RecursionError for what is not JSON.
    """
    return json.dumps(dict(args), allow_nan=False, default=_as_json)


def _as_json(value: Any) -> Any:
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case UUID() | Decimal():
            return str(value)
        case enum.Enum():
            return value.value
    dump = getattr(
        type(value), "model_dump", None
    )  # a model of pydantic's, which need not be imported for this
    if dump is not None:
        return dump(value, mode="json")
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


class _BeyondBasics(Exception):
    """Raised for an annotation that this module leaves to pydantic."""


def _basic(annotation: Any) -> Converter | None:
    if annotation is Any or annotation is object or isinstance(annotation, str | typing.TypeVar):
        return None
    try:
        hash(annotation)
    except TypeError:  # as Annotated[int, [...]]
        raise _BeyondBasics from None
    if annotation in EXACT:
        return EXACT[annotation]
    if annotation in FROM_TEXT:
        return _from_text(annotation, FROM_TEXT[annotation])
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        if len(arguments) > 1 and _pydantic() is not None:
            raise _BeyondBasics  # what stands beside the type may be a constraint
        return _basic(arguments[0])
    if origin in (Union, types.UnionType):
        return _one_of(annotation, [_basic(each) for each in arguments])
    if origin is Literal:
        return _literal(arguments)
    if origin is list and len(arguments) == 1:
        return _list_of(_basic(arguments[0]))
    if origin is dict and len(arguments) == 2 and arguments[0] is str:
        return _dict_of(_basic(arguments[1]))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _enum(annotation)
    raise _BeyondBasics


def _exactly(wanted: str, accepted: tuple[type, ...], refused: tuple[type, ...] = ()) -> Converter:
    def check(value: Any) -> Any:
        if not isinstance(value, accepted) or isinstance(value, refused):
            raise Unfit(f"{_shown(value)}, not {wanted}")
        return value

    return check


def _as_float(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Unfit(f"{_shown(value)}, not a number")
    try:
        return float(value)
    except OverflowError:
        raise Unfit(f"{_shown(value)}, too large for a float") from None


def _as_decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError
    return Decimal(str(value))


def _from_iso(parse: Callable[[str], Any]) -> Converter:
    def convert(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError
        return parse(value)

    return convert


def _from_text(annotation: type, parse: Converter) -> Converter:
    wanted = f"{_article(annotation.__name__)} as text"

    def convert(value: Any) -> Any:
        try:
            return parse(value)
        except (ValueError, InvalidOperation):
            raise Unfit(f"{_shown(value)}, not {wanted}") from None

    return convert


def _enum(annotation: type[enum.Enum]) -> Converter:
    known = ", ".join(repr(member.value) for member in annotation)

    def convert(value: Any) -> Any:
        try:
            return annotation(value)
        except (ValueError, TypeError):
            raise Unfit(f"{_shown(value)}, not one of {known}") from None

    return convert


def _literal(known: tuple[Any, ...]) -> Converter:
    values = {(type(value), value): value for value in known if not isinstance(value, enum.Enum)}
    if len(values) < len(known):
        raise _BeyondBasics

    def check(value: Any) -> Any:
        try:
            return values[type(value), value]
        except (KeyError, TypeError):
            raise Unfit(
                f"{_shown(value)}, not one of {', '.join(map(repr, values.values()))}"
            ) from None

    return check


def _one_of(annotation: Any, converters: list[Converter | None]) -> Converter | None:
    if None in converters:
        return None
    alternatives = [converter for converter in converters if converter is not None]

    def convert(value: Any) -> Any:
        for alternative in alternatives:
            try:
                return alternative(value)
            except Unfit as error:
                problem = error
        if len(alternatives) == 2 and _as_none in alternatives and value is not None:
            [wanted] = [each for each in alternatives if each is not _as_none]
            wanted(value)  # says what is wrong with it; that None would do too is no news
        raise Unfit(f"{_shown(value)}, not {_name_of(annotation)}") from problem

    return convert


def _list_of(element: Converter | None) -> Converter:
    if element is None:
        return _as_list

    def convert(value: Any) -> Any:
        return [_inside(f"[{index}]", element, each) for index, each in enumerate(_as_list(value))]

    return convert


def _dict_of(element: Converter | None) -> Converter:
    if element is None:
        return _as_dict

    def convert(value: Any) -> Any:
        return {key: _inside(f"[{key!r}]", element, each) for key, each in _as_dict(value).items()}

    return convert


def _inside(place: str, element: Converter, value: Any) -> Any:
    try:
        return element(value)
    except Unfit as error:
        raise Unfit(f"at {place} {error}") from None


def _pydantic() -> Any:
    """The module, if version 2 or later is installed."""
    if find_spec("pydantic") is None:
        return None
    pydantic = import_module("pydantic")
    return pydantic if hasattr(pydantic, "TypeAdapter") else None


def _by_pydantic(pydantic: Any, annotation: Any) -> Converter | None:
    try:
        validate = pydantic.TypeAdapter(annotation).validate_python
    except (pydantic.errors.PydanticUserError, TypeError):
        return None  # a class of which pydantic knows nothing either

    def convert(value: Any) -> Any:
        try:
            return validate(value)
        except pydantic.ValidationError as error:
            problems = "; ".join(
                f"{''.join(f'[{part!r}]' for part in each['loc'])} {each['msg']}".strip()
                for each in error.errors(include_url=False, include_context=False)[:5]
            )
            raise Unfit(f"{_shown(value)}, not {_name_of(annotation)}: {problems}") from None

    return convert


def _is_model(annotation: Any) -> bool:
    """Whether it is a class with fields, or has one among what it is made of."""
    return (isinstance(annotation, type) and dataclasses.is_dataclass(annotation)) or any(
        _is_model(each) for each in get_args(annotation)
    )


def _name_of(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _article(name: str) -> str:
    return f"an {name}" if name[0] in "aeioAEIO" else f"a {name}"


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number or a nesting beyond what Python writes
        text = "something too large to show"
    cut = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
    return f"is {cut} ({'null' if value is None else type(value).__name__})"


_as_none = _exactly("null", (types.NoneType,))
_as_list = _exactly("a list", (list,))
_as_dict = _exactly("an object", (dict,))
EXACT: dict[Any, Converter] = {
    int: _exactly("an int", (int,), (bool,)),
    str: _exactly("a str", (str,)),
    float: _as_float,
    bool: _exactly("a bool", (bool,)),
    None: _as_none,
    types.NoneType: _as_none,
    list: _as_list,
    dict: _as_dict,
}
FROM_TEXT: dict[Any, Converter] = {
    datetime: _from_iso(datetime.fromisoformat),
    date: _from_iso(date.fromisoformat),
    time: _from_iso(time.fromisoformat),
    UUID: _from_iso(UUID),
    Decimal: _as_decimal,
}
