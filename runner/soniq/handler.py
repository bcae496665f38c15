"""Handlers: a function, the job name it serves and the policy that is registered for it."""

import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from soniq.arguments import Converter, Unfit, make_converter
from soniq.codec import Codec
from soniq.database import describe
from soniq.errors import BadDeclaration
from soniq.job import Job, seconds_to_interval
from soniq.middleware import Middleware


@dataclass(frozen=True, slots=True)
class Policy:
    """What register_job_type() is told; None leaves a matter to the queue or to the settings."""

    queue: str | None = None
    priority: int | None = None
    max_attempts: int | None = None
    timeout: timedelta | None = None
    retry_delays: list[timedelta] | None = None
    backoff: str | None = None
    max_retry_delay: timedelta | None = None
    retention: timedelta | None = None
    secret_args: tuple[str, ...] = ()


def make_policy(
    *,
    queue: str | None,
    priority: int | None,
    max_attempts: int | None,
    timeout: float | timedelta | None,
    retry_delay: float | timedelta | Iterable[float | timedelta] | None,
    backoff: str | None,
    max_retry_delay: float | timedelta | None,
    retention: float | timedelta | None,
    secret_args: Iterable[str],
) -> Policy:
    """The policy that the decorator's options describe; durations are seconds or timedeltas."""
    if retry_delay is None:
        delays = None
    elif isinstance(retry_delay, int | float | timedelta):
        delays = [seconds_to_interval("retry_delay", retry_delay)]
    else:
        delays = [seconds_to_interval("retry_delay", delay) for delay in retry_delay]
    return Policy(
        queue=queue,
        priority=priority,
        max_attempts=max_attempts,
        timeout=None if timeout is None else seconds_to_interval("timeout", timeout),
        retry_delays=delays,
        backoff=backoff,
        max_retry_delay=None
        if max_retry_delay is None
        else seconds_to_interval("max_retry_delay", max_retry_delay),
        retention=None if retention is None else seconds_to_interval("retention", retention),
        secret_args=tuple(secret_args),
    )


class Handler:
    """One registered function. `is_async` tells whether it runs as a task or on a thread.

    middleware: what is around each of its runs, the outermost first; its app may add to it later.
    codec: what opens its args and seals its results, if they are sealed.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        policy: Policy,
        middleware: Sequence[Middleware] = (),
        codec: Codec | None = None,
    ) -> None:
        self.function = function
        self.name = name
        self.policy = policy
        self.middleware = middleware
        self.codec = codec
        self.is_async = inspect.iscoroutinefunction(function)
        self.where = f"{function.__module__}.{function.__qualname__}"
        self._read_signature()

    def _read_signature(self) -> None:
        required, accepted = set(), set()
        self._takes_any = False
        self._job_parameter: str | None = None
        self._converters: dict[str, Converter] = {}
        self._convert_others: Converter | None = None
        hints = _annotations(self.function)
        for parameter in inspect.signature(self.function).parameters.values():
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
                raise BadDeclaration(
                    f"{self.where} takes {parameter} by position: args are passed by name"
                )
            if parameter.kind is parameter.VAR_KEYWORD:
                self._takes_any = True
                self._convert_others = self._converter_for(parameter, hints)
            elif hints.get(parameter.name) in (Job, "Job", "soniq.Job"):
                self._job_parameter = parameter.name
            else:
                accepted.add(parameter.name)
                if parameter.default is parameter.empty:
                    required.add(parameter.name)
                if converter := self._converter_for(parameter, hints):
                    self._converters[parameter.name] = converter
        self._required, self._accepted = frozenset(required), frozenset(accepted)

    def _converter_for(
        self, parameter: inspect.Parameter, hints: Mapping[str, Any]
    ) -> Converter | None:
        if parameter.name not in hints:
            return None
        converter = make_converter(
            hints[parameter.name], f"{self.where}: the parameter {parameter.name}"
        )
        if converter is None or parameter.default is not None:
            return converter
        convert = converter  # `when: date = None` is meant to take null
        return lambda value: None if value is None else convert(value)

    def mismatch(self, args: Mapping[str, Any]) -> str | None:
        """Why these args, as JSON has them, cannot be passed to the function; None if they can."""
        return self.bind(args)[1]

    def bind(self, args: Mapping[str, Any]) -> tuple[Mapping[str, Any], str | None]:
        """The args converted to what the function's annotations say, and None, or why they cannot be passed."""
        names = args.keys()
        if names == self._accepted and not self._converters:
            return args, None
        problems = []
        if missing := self._required - names:
            problems.append(f"missing {', '.join(sorted(missing))}")
        if not self._takes_any and (unknown := names - self._accepted):
            problems.append(f"unknown {', '.join(sorted(unknown))}")
        elif self._job_parameter in names:
            problems.append(f"{self._job_parameter} is set by Soniq")
        bound = args
        if (self._converters or self._convert_others) and not problems:
            bound, problems = self._convert(args)
        if not problems:
            return bound, None
        takes = ", ".join(sorted(self._accepted)) or "nothing"
        return (
            args,
            f"{self.where} cannot take these args: {'; '.join(problems)} (it takes {takes})",
        )

    def _convert(self, args: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        converted, problems = dict(args), []
        for name, value in args.items():
            convert = self._converters.get(name)
            if convert is None and name not in self._accepted:
                convert = self._convert_others
            if convert is None:
                continue
            try:
                converted[name] = convert(value)
            except Unfit as error:
                problems.append(f"{name} {error}")
            except Exception as error:  # an enum's _missing_, a validator of a model's
                problems.append(f"{name} cannot be converted: {describe(error)}")
        return converted, problems

    def call(self, job: Job, bound: Mapping[str, Any]) -> Any:
        """What calling the function with what bind() gave yields: a result, or a coroutine if it is async."""
        if self._job_parameter is None:
            return self.function(**bound)
        return self.function(**bound, **{self._job_parameter: job})


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:
        # A hint that cannot be evaluated at run time is the author's business; its text still tells a Job.
        return dict(getattr(function, "__annotations__", {}))
