"""The ports of `ml-service serve`, tried before anything starts: TorchServe itself says nothing useful later."""

import errno
import socket

from api.settings import Settings
from cli.errors import CommandError

LOOPBACK = "127.0.0.1"


def check_ports(settings: Settings) -> None:
    """Raises `CommandError` with the setting to change if a port is taken or the host cannot be listened on."""
    model_server = range(settings.torchserve_port, settings.torchserve_port + 3)
    if settings.port in model_server:
        raise CommandError(f"PORT: {settings.port} is one of the model server's three, from TORCHSERVE_PORT on")
    check_port("PORT", settings.host, settings.port)
    for port in model_server:
        check_port("TORCHSERVE_PORT", LOOPBACK, port)


def check_port(setting: str, host: str, port: int) -> None:
    """Raises `CommandError` if `port` of `host` cannot be listened on; `setting` is who asks for it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(f"{setting}: port {port} of {host} is taken by another program") from None
        if error.errno == errno.EACCES:
            raise CommandError(f"{setting}: port {port} needs more rights than this user has") from None
        reason = str(error.strerror).partition(" (")[0]  # the rest repeats the address
        raise CommandError(f"HOST: cannot listen on {host}: {reason}") from None


def base_url(host: str, port: int) -> str:
    """Where a program on this machine reaches a server that listens on `host`."""
    reachable = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
