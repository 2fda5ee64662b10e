"""`audiolm serve`: the page, and the verbs over HTTP."""

import ipaddress
import re
import secrets
import socket
import warnings

import click

from audiolm.cli.options import THREADS, use_threads
from audiolm.errors import ConfigurationError


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="The port to listen at; 0 for any that is free.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    help="A model to serve, as everywhere; may be given several times. All bundled ones unless "
    "given.",
)
@click.option(
    "--token",
    envvar="AUDIOLM_TOKEN",
    help="What requests must bear; made up, and printed, where others than this machine can ask.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Recordings that are made at a time.",
)
@click.option(
    "--queue",
    type=click.IntRange(0, 1000),
    default=8,
    show_default=True,
    help="Requests that may wait; others are told when to ask again.",
)
@click.option(
    "--longest",
    type=click.FloatRange(1, 3600),
    default=60.0,
    show_default=True,
    help="Seconds that a recording may last which comes in or is made.",
)
@click.option(
    "--upload",
    type=click.FloatRange(0.1, 2000),
    default=25.0,
    show_default=True,
    help="Megabytes that a file may have.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Where to compute.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=THREADS,
    show_default=True,
    help="CPU threads that each recording is made with.",
)
@click.option("--quiet", is_flag=True, help="Print errors only, and a token that was made up.")
def command(
    host: str,
    port: int,
    models: tuple[str, ...],
    token: str | None,
    workers: int,
    queue: int,
    longest: float,
    upload: float,
    device: str,
    threads: int,
    quiet: bool,
) -> None:
    """Open a page to play with at http://127.0.0.1:8000, and the same verbs over HTTP.

    Only this machine can ask, unless --host says otherwise; then a token is needed, which is
    printed at start. Ctrl-C ends it.
    """
    try:
        import uvicorn

        from audiolm.server.app import Limits, create_app
    except ImportError as error:
        raise ConfigurationError(
            f"serve: {error.name} is not installed; install it with: pip install 'audiolm[page]'"
        ) from None
    from audiolm.server.served import served_models

    if token is not None and not re.fullmatch("[!-~]+", token):
        raise ConfigurationError(
            "--token: need letters, digits and signs of ASCII without blanks; give others, or none "
            "and one is made up where needed"
        )
    made_up = token is None and not is_loopback(host)
    if made_up:
        token = secrets.token_urlsafe(24)
    listener = listening_socket(host, port)
    with listener:
        use_threads(threads)
        served = served_models(models, device)
        # Of prompts that are cut, or silent: there is nobody at this terminal to be told.
        warnings.simplefilter("ignore", UserWarning)
        limits = Limits(workers, queue, round(upload * 1e6), longest)
        config = uvicorn.Config(
            create_app(served, limits, token),
            log_level="warning",
            access_log=False,
            server_header=False,
            http="h11",
            ws="none",
            limit_concurrency=512,
            timeout_graceful_shutdown=2,
            timeout_keep_alive=5,
        )
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{listener.getsockname()[1]}/"
        if made_up:
            click.echo(f"token: {token}")
            address += f"#token={token}"
        if not quiet:
            names = ", ".join(served)
            click.echo(f"audiolm {names}: open {address} in a browser; Ctrl-C ends it")
        uvicorn.Server(config).run(sockets=[listener])


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket that listens at host and port.

    Raises:
        ConfigurationError: the port is in use or not allowed, or there is no such address here.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(
            f"--host {host}: is no address of this machine ({error}); use 127.0.0.1 or 0.0.0.0"
        ) from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"--port {port}: cannot be listened at on {host} ({error.strerror}); name another"
        ) from None
    return listener
