"""`soniq dashboard`: serves soniq.dashboard by uvicorn."""

import asyncio
import ipaddress
import logging
import os
import signal
import socket
import sys

import click

from soniq import logs
from soniq.commands.common import EXIT_CODES, told_in_a_line
from soniq.commands.flags import as_texts, setting_options
from soniq.commands.worker import warn_of_unknown_names, with_unknown_names
from soniq.database import check_schema, close, connect_at_start
from soniq.errors import BadSettings, SoniqError
from soniq.settings import DashboardSettings, names_of, read_dashboard_settings

log = logging.getLogger("soniq.dashboard")


@click.command(epilog=EXIT_CODES)
@setting_options(names_of(DashboardSettings))
def dashboard(**flags: str | bool | None) -> None:
    """Serves the dashboard, by default to this machine alone and only to look, until SIGTERM or SIGINT.

    Needs `pip install soniq[dashboard]`. Its database login needs soniq_observer, or soniq_admin to see into jobs and
    to act on them.
    """
    with told_in_a_line("soniq dashboard"):
        with with_unknown_names():
            settings = read_dashboard_settings(os.environ, as_texts(flags))
        logs.set_up(settings.log_level, settings.log_format)
        warn_of_unknown_names()
        _serve(settings)


def _serve(settings: DashboardSettings) -> None:
    try:
        import uvicorn

        from soniq.dashboard import dashboard
    except ImportError as error:
        raise SoniqError(
            f"the dashboard needs a package that is missing: {error}; run: pip install soniq[dashboard]"
        ) from error
    application = dashboard(
        settings.database_url,
        write=settings.dashboard_write,
        api_key=settings.dashboard_api_key,
        trusted_header=settings.dashboard_trusted_header,
        hosts=[settings.dashboard_host],
    )
    asyncio.run(_visit(settings.database_url))
    with _listener(settings) as listener:
        # What uvicorn itself does is of interest where it fails.
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
        host, port = listener.getsockname()[:2]
        log.info(
            "the dashboard is at http://%s:%s, %s",
            f"[{host}]" if ":" in host else host,
            port,
            "to look and to act" if settings.dashboard_write else "only to look",
        )
        is_open = settings.dashboard_api_key is None and settings.dashboard_trusted_header is None
        if is_open and not ipaddress.ip_address(host).is_loopback:
            log.warning(
                "whoever reaches %s from other machines sees what is there: set SONIQ_DASHBOARD_API_KEY to a long"
                " secret, or SONIQ_DASHBOARD_TRUSTED_HEADER behind a proxy that signs people in",
                host,
            )
        config = uvicorn.Config(
            application,
            log_config=None,
            access_log=False,
            server_header=False,
            # Pages that are open keep their connections, and have nothing to lose.
            timeout_graceful_shutdown=3,
        )
        # Once it has stopped, uvicorn sends itself again the signal that it was stopped by.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: sys.exit(0))
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            log.info("stopped")


async def _visit(url: str) -> None:
    """What is wrong with the address or the schema is told now, as by all commands."""
    connection = await connect_at_start(url, "dashboard")
    try:
        await check_schema(connection, url)
    finally:
        await close(connection)


def _listener(settings: DashboardSettings) -> socket.socket:
    host, port = settings.dashboard_host, settings.dashboard_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise BadSettings(
            f"SONIQ_DASHBOARD_HOST is {host} and SONIQ_DASHBOARD_PORT {port}, where this machine lets nobody listen:"
            f" {error.strerror or error}; give an interface of this machine, and a port that is free"
        ) from error
