"""`cellwave audit witness`: be a witness of others' logs."""

from __future__ import annotations

import binascii
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError

from audit.handlers.log.verifier import COSIGNATURE, ED25519, Key, Wrong
from audit.witness.places import answer_all, box_of
from audit.witness.protocol import BAD, OK, UNKNOWN, Answer
from audit.witness.witness import Cosigner, Kept, Witness
from cellwave.cli.show import say, tell
from cellwave.errors import BadInput, CellwaveError

MOST_BYTES = 64 * 1024  # of a request

app = typer.Typer(help="Be a witness: cosign the checkpoints of logs that only grow.", no_args_is_help=True)
KeyFile = Annotated[Path, typer.Option("--key", help="The file with the witness's private key.")]
StateFile = Annotated[Path, typer.Option("--state", help="The file in which it keeps what it cosigned.")]
Logs = Annotated[
    list[str],
    typer.Option(
        "--log",
        metavar="KEY",
        help="A log's public key, or a cell's for all of its logs; may be given again.",
    ),
]


@app.command()
def key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The witness's: a URL without its scheme.")],
    key_file: KeyFile,
    state_file: StateFile,
) -> None:
    """Make a witness's key and its state, and print its public key.

    Example: [bold]cellwave audit witness key witness.example/w1 --key w1.key --state w1.json[/]
    """
    if not name or any(one in "+" or one.isspace() for one in name):
        raise BadInput("NAME", f"found {name!r}", "a name without blanks and plus signs")
    made = Cosigner.new(name)
    if key_file.exists():
        raise BadInput("--key", f"found {key_file}, which is there", "a file that is not")
    Kept(state_file).create()
    key_file.touch(mode=0o600, exist_ok=False)
    key_file.write_text(made.dump())
    tell(str(made.key))


@app.command()
def answer(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="s3://BUCKET/PREFIX, or a folder.")],
    key_file: KeyFile,
    state_file: StateFile,
    log: Logs,
    every: Annotated[
        int | None, typer.Option(min=1, help="Look again after so many seconds (default: once).")
    ] = None,
) -> None:
    """Answer what lies in a bucket or a folder.

    Example: [bold]cellwave audit witness answer s3://my-witness/eu --key w1.key --state w1.json --log KEY --every 60[/]
    """
    witness, box = _witness(key_file, state_file, log), box_of(place, "PLACE")
    while True:
        try:
            say(f"{place}: {answer_all(box, witness.add_checkpoint)} requests are answered")
        except (BotoCoreError, ClientError, OSError) as error:
            if every is None:
                raise CellwaveError(f"{place} can't be used: {error}") from None
            say(f"{place} can't be used, and is looked at again: {error}")
        if every is None:
            return
        time.sleep(every)


@app.command()
def serve(
    key_file: KeyFile,
    state_file: StateFile,
    log: Logs,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of this host alone; 0 is any.")] = 8421,
) -> None:
    """Answer by HTTP (C2SP tlog-witness), until Ctrl-C. Put a proxy before it that speaks TLS.

    Example: [bold]cellwave audit witness serve --key w1.key --state w1.json --log KEY[/]
    """
    server = server_of(_witness(key_file, state_file, log), port)
    say(f"http://127.0.0.1:{server.server_address[1]}")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return


def server_of(witness: Witness, port: int) -> ThreadingHTTPServer:
    """What answers by HTTP on this host's own address."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = self.headers.get("content-length", "")
            if self.path != "/add-checkpoint":
                self.close_connection = True
                self._say(Answer(UNKNOWN, "there is POST /add-checkpoint\n"))
            elif not length.isascii() or not length.isdigit() or int(length) > MOST_BYTES:
                self.close_connection = True
                self._say(Answer(BAD, f"expected a body of at most {MOST_BYTES} bytes\n"))
            else:
                self._say(witness.add_checkpoint(self.rfile.read(int(length)).decode(errors="replace")))

        def do_GET(self) -> None:
            first, _, rest = self.path.removeprefix("/").partition("/")
            note = witness.newest(first) if rest == "checkpoint" else None
            self._say(Answer(UNKNOWN, "no checkpoint\n") if note is None else Answer(OK, note))

        def _say(self, found: Answer) -> None:
            body = found.body.encode()
            self.send_response(found.status)
            self.send_header("Content-Type", found.content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing of each request."""

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def _witness(key_file: Path, state_file: Path, logs: list[str]) -> Witness:
    try:
        cosigner = Cosigner.parse(key_file.read_text())
    except (OSError, ValueError, IndexError, binascii.Error) as error:
        right = "a file that `cellwave audit witness key` made"
        raise BadInput("--key", f"{key_file}: {type(error).__name__}", right) from None
    kept = Kept(state_file)
    kept.read()
    return Witness(cosigner, keys_of(logs, "--log", ED25519), kept)


def keys_of(texts: list[str], where: str, kind: int) -> list[Key]:
    """Public keys of that kind; BadInput for what is none."""
    try:
        found = [Key.parse(text) for text in texts]
    except Wrong as error:
        raise BadInput(where, str(error), "NAME+HASH+BASE64, as it was printed") from None
    other = next((key for key in found if key.kind != kind), None)
    if other:
        whose, right = (
            ("a log's", "a witness's key") if kind == COSIGNATURE else ("a witness's", "a log's key")
        )
        raise BadInput(where, f"{other} is {whose}", right)
    return found
