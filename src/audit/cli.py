"""`cellwave audit`: keys and tenants in the control plane, and what a cell has to be helped with."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError

from audit import keys as known
from audit import moves, repair, terms
from audit.cells import InCell, in_cell
from audit.control import controlled, telling
from audit.glass import break_glass
from audit.handlers.common.directory import SCOPES, Kind
from audit.handlers.common.events import A_TENANT, AN_APPLICATION, is_application, is_tenant
from audit.handlers.common.retention import CLASSES
from audit.handlers.log.store import Missing
from audit.handlers.log.verifier import COSIGNATURE, Wrong
from audit.homes import give_homes, homes_in, known_regions, residents
from audit.publish import known_tenants, regions
from audit.publish import publish as tell_cells
from audit.retain import SETTLES, in_force, keeper, settled
from audit.schema_cli import app as schema_app
from audit.staff import tell_tenants
from audit.streams import streams_in
from audit.verify import logs_in, read_log
from audit.witness.cli import app as witness_app
from audit.witness.cli import keys_of
from audit.witness.collect import Collected, collect, witnesses_of
from cellwave.cli.show import console, keep_whole, row, table, tell, tell_json, when
from cellwave.errors import BadInput, CellwaveError
from cellwave.fleet.parse import parse_fleet
from cellwave.project import find_project

DAY_S, HOUR_S = 86400, 3600
QUEUES = ("ingest", "log", "exports", "streams")  # of a cell, each with one of dead letters

app = typer.Typer(
    help="Keys of the audit service, and what a cell has to be helped with.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.add_typer(schema_app, name="schema")
app.add_typer(witness_app, name="witness")
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Of = Annotated[str, typer.Option(metavar="APPLICATION[/TENANT]", help="Only theirs (default: all).")]
CellName = Annotated[str, typer.Argument(metavar="CELL", help="As cells/ has it.")]
Hashes = Annotated[list[str], typer.Argument(metavar="HASH...", help="Of keys, or what they begin with.")]


@app.command()
def key(
    holders: Annotated[
        list[str],
        typer.Argument(
            metavar="APPLICATION[/TENANT]...",
            help="An application's key writes events for its tenants, a tenant's reads its own.",
        ),
    ],
    region: Annotated[
        list[str] | None,
        typer.Option(help="A product region whose cells are told; may be given again (default: all)."),
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What the key may do; may be given again (default: write and read, or read and export; view, "
            "which makes links to tenants' viewers, only when it is named)."
        ),
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="It ends by itself then (default: never).")] = None,
    cell: Annotated[
        str,
        typer.Option(help="Their home: a nested cell is nobody's otherwise (default: the next with room)."),
    ] = "",
) -> None:
    """Make keys, and print each, once, as a JSON line. Every cell knows them within two minutes.

    Who is new is given a home: a cell of each region with room. `cells` shows what room there is.

    Example: [bold]cellwave audit key acme acme/north --region us[/]
    """
    wanted = [holder(text) for text in holders]
    for _, tenant in wanted:
        _refuse_scopes_not_of("tenant" if tenant else "application", scope or ())
    with controlled():
        there = regions()  # before anything is changed that no cell could be told of
        for name in region or ():
            if name not in there:
                raise BadInput("--region", f"found {name!r}", f"one of {', '.join(there)}")
        brought = [(name, tenant) for name, _ in wanted for tenant in known_tenants(name)]
        give_homes(wanted, brought, region or there, cell)
        with telling():
            for application, tenant in wanted:
                lasts = None if days is None else days * DAY_S
                made = known.make_key(application, tenant, region or (), scope or (), lasts)
                _show(application, tenant, made)


@app.command("cells")
def list_cells(as_json: Json = False) -> None:
    """List the cells of the product regions, with how many tenants are at home in each and how many may be.

    Example: [bold]cellwave audit cells[/]
    """
    with controlled():
        found = [
            {
                "region": region.name,
                **asdict(cell),
                "home": count[cell.name],
                "full": count[cell.name] >= cell.tenants,
            }
            for region in known_regions().values()
            for count in [residents(homes_in(region.name))]
            for cell in region.cells
        ]
    if as_json:
        tell_json(found)
        return
    shown = table("cell", "region", "at home", "room for", "", "takes over", "nested under")
    for one in found:
        names = (str(one[name] or "") for name in ("failover", "parent"))
        room = (str(one[name]) for name in ("name", "region", "home", "tenants"))
        row(shown, *room, "full" if one["full"] else "", *names)
    keep_whole(shown, 0)
    console().print(shown)


@app.command()
def move(
    tenant: Annotated[str, typer.Argument(metavar="APPLICATION/TENANT", help="Who is moved.")],
    cell: CellName,
    as_json: Json = False,
) -> None:
    """Move a tenant to another cell of its product region. Begin again after a kill: it goes on where it was.

    New events go to the new cell once its history is there; reads ask both. Half an hour later a last run copies what
    came to the old one meanwhile.

    Example: [bold]cellwave audit move acme/north us-east-1[/]
    """
    application, name = _tenant(tenant)
    step, objects, events = "done", 0, 0
    with controlled():
        moving = moves.begin(application, name, cell)
        settled = moving.settled
        if moving.step != "done":
            with (
                _cell(moving.source) as source,
                _cell(moving.target) as target,
                console(stderr=True).status(tenant) as shown,
            ):
                copy = partial(moves.copy_missing, source, target, f"{application}/{name}/")
                for step, todo, done, found in moves.run(moving, copy, tell_cells):
                    objects, events = objects + (done > 0), events + found
                    shown.update(f"{tenant}: {step}: {done:,} of {todo:,} objects")
    state = "done" if settled else "settling"
    if as_json:
        told = {"tenant": tenant, "from": moving.source, "to": cell, "state": state}
        tell_json({**told, "objects": objects, "events": events})
    else:
        tell(
            f"{tenant} is at home in {cell}; copied {events:,} events of {objects:,} objects from {moving.source}"
        )
        if not settled:
            minutes = moves.SETTLED // 60
            tell(f"run this again in {minutes} minutes, for what reaches {moving.source} until then")
            tell(f"streams that {tenant} has in {moving.source} get nothing new: make them anew")


@app.command("keys")
def list_keys(as_json: Json = False) -> None:
    """List the keys: never they themselves, their hashes.

    Example: [bold]cellwave audit keys[/]
    """
    with controlled():
        found = known.list_keys()
    if as_json:
        tell_json([one.item for one in found])
        return
    shown = table("key", "application", "tenant", "scopes", "regions", "given", "ends")
    for one in found:
        scopes, where = ", ".join(one.scopes), ", ".join(one.regions) or "all"
        ends = "" if one.expires is None else when(one.expires)
        row(shown, one.hash[:12], one.application, one.tenant or "", scopes, where, when(one.created), ends)
    keep_whole(shown, 0)
    console().print(shown)


@app.command()
def rotate(
    hashes: Hashes,
    hours: Annotated[int, typer.Option(min=0, help="How long the old ones go on.")] = 24,
) -> None:
    """Make a key in the place of each, and print it as a JSON line; the old ones end by themselves.

    Example: [bold]cellwave audit rotate 4f1d2c3b --hours 48[/]
    """
    with controlled(), _telling_of(hashes) as found:
        for one in found:
            _show(one.application, one.tenant, known.successor(one))
            known.end(one, int(time.time()) + hours * HOUR_S)


@app.command()
def revoke(hashes: Hashes) -> None:
    """Take keys away. Every cell refuses them within two minutes; an upload session lasts its 15 minutes.

    Example: [bold]cellwave audit revoke 4f1d2c3b[/]
    """
    with controlled(), _telling_of(hashes) as found:
        for one in found:
            known.revoke(one)


@app.command()
def retention(
    whose: Annotated[
        str, typer.Argument(metavar="APPLICATION[/TENANT]", help="A tenant; an application for its floor.")
    ],
    kept: Annotated[
        str, typer.Argument(metavar="[CLASS]", help=f"{', '.join(CLASSES)}. Without one, it is shown.")
    ] = "",
    hold: Annotated[str, typer.Option(metavar="REASON", help="Let nothing of the tenant end.")] = "",
    release: Annotated[str, typer.Option(metavar="REASON", help="Take the hold away.")] = "",
) -> None:
    """How long a tenant's events are kept that are stored from now on; for what is stored already, see `retain`.

    A hold is in force within two minutes: nothing of the tenant ends until it is released. The tenant reads the reason.
    An application's class is the vendor's floor, which no class of its tenants is below.

    Example: [bold]cellwave audit retention acme/north 7y[/]
    """
    application, tenant = holder(whose)
    _refuse_unclear(tenant, kept, hold, release)
    with controlled():
        regions()
        if kept or hold or release:
            with telling():
                _set_terms(application, tenant, kept, hold, release)
        for line in terms.shown(application, tenant):
            tell(line)


def _refuse_unclear(tenant: str | None, kept: str, hold: str, release: str) -> None:
    if kept and kept not in CLASSES:
        raise BadInput("CLASS", f"found {kept!r}", f"one of {', '.join(CLASSES)}")
    if sum(map(bool, (kept, hold, release))) > 1:
        raise BadInput("APPLICATION[/TENANT]", "found several things to do", "a class, --hold or --release")
    if tenant is None and (hold or release):
        raise BadInput("APPLICATION[/TENANT]", "found an application", "a tenant: holds are each a tenant's")


def _set_terms(application: str, tenant: str | None, kept: str, hold: str, release: str) -> None:
    if tenant is None:
        terms.set_floor(application, kept)
    elif kept:
        terms.set_class(application, tenant, kept)
    elif hold:
        terms.hold(application, tenant, hold)
    else:
        terms.release(application, tenant, release)


@app.command("break-glass")
def last_resort(
    cell: CellName,
    reason: Annotated[str, typer.Option(help="Why. Every tenant that it is about reads it.")],
    of: Of = "",
) -> None:
    """Take on a cell's role of last resort, which its archive's policy leaves out, for a quarter of an hour.

    The log of each tenant that has anything in the cell's archive tells of it first; with --of, it opens nothing but
    theirs. Prints a shell's variables.

    Example: [bold]eval "$(cellwave audit break-glass eu-west-1 --of acme/north --reason 'court order 12')"[/]
    """
    prefix = _prefix(of)
    with _cell(cell) as at:
        tenants = repair.tenants(at.client("s3"), at.bucket("archive"), prefix)
        for name, value in break_glass(at, tenants, reason, prefix).items():
            tell(f"export {name}={shlex.quote(value)}")


@app.command()
def retain(cell: CellName, of: Of = "", as_json: Json = False) -> None:
    """Bring what a cell has stored to its tenants' terms: ends lengthened, never shortened; holds put or lifted.

    Within a day of a hold, and whenever a class was lengthened. Begin again after a kill: what is done is passed over.

    Example: [bold]cellwave audit retain eu-west-1 --of acme/north[/]
    """
    prefix = _prefix(of)
    with _cell(cell) as at:
        in_force(at)  # or nothing is done, and nothing told
        _tell_tenants(at, prefix, "audit.retention.applied")
        objects, changed, began = 0, 0, time.time()
        with console(stderr=True).status(f"{cell}: looking through the archive") as shown:
            for done in keeper(at).retain(partial(in_force, at), began, prefix):
                objects, changed = objects + 1, changed + done
                shown.update(f"{cell}: {changed:,} of {objects:,} objects changed")
        all_seen = settled(at, began)
    if as_json:
        tell_json({"cell": cell, "objects": objects, "changed": changed, "settled": all_seen})
        return
    tell(f"{cell}: {changed:,} of {objects:,} objects changed")
    if not all_seen:
        tell(
            f"run this again in {SETTLES // 60} minutes: {cell} was told of something just now, and may have been"
        )
        tell("storing events by what it knew before")


@app.command()
def publish() -> None:
    """Tell the cells once more: after a command that could not, or a new product region.

    Example: [bold]cellwave audit publish[/]
    """
    with controlled(), telling():
        pass


@app.command()
def reindex(
    cell: CellName,
    of: Of = "",
    as_json: Json = False,
) -> None:
    """Make a cell's index anew from its archive. What is right there stays; begin again after a kill.

    Example: [bold]cellwave audit reindex eu-west-1 --of acme/north[/]
    """
    prefix = _prefix(of)
    with _cell(cell) as at:
        _tell_tenants(at, prefix, "audit.index.made")
        s3, archive, index = at.client("s3"), at.bucket("archive"), at.table("index")
        repair.remark(s3, at.bucket("config"), index, cell, repair.tenants(s3, archive, prefix))
        found = repair.reindex(s3, archive, index, prefix)
        objects = events = 0
        with console(stderr=True).status(f"{cell}: reading the archive") as shown:
            for count in found:
                objects, events = objects + 1, events + count
                shown.update(f"{cell}: {events:,} events of {objects:,} objects")
    if as_json:
        tell_json({"cell": cell, "objects": objects, "events": events})
    else:
        tell(f"{cell}: {events:,} events of {objects:,} objects are in the index")


@app.command()
def relog(
    cell: CellName,
    of: Of = "",
    as_json: Json = False,
) -> None:
    """Have archived events logged that have no entry: from before there were logs, or given up. It takes minutes.

    Example: [bold]cellwave audit relog eu-west-1 --of acme/north[/]
    """
    prefix = _prefix(of)
    with _cell(cell) as at:
        _tell_tenants(at, prefix, "audit.log.fed")
        sqs = at.client("sqs")
        queue = sqs.get_queue_url(QueueName=at.name("log"))["QueueUrl"]
        objects = sum(repair.announce(at.client("s3"), sqs, at.bucket("archive"), queue, prefix))
    if as_json:
        tell_json({"cell": cell, "objects": objects})
    else:
        tell(f"{cell}: the log is told of {objects:,} objects of the archive")


def _tell_tenants(at: InCell, prefix: str, name: str) -> None:
    tell_tenants(at, repair.tenants(at.client("s3"), at.bucket("archive"), prefix), name)


def _prefix(of: str) -> str:
    """Where in the archive that application's or tenant's events are; all of it for an empty text."""
    return "/".join(part for part in holder(of) if part) + "/" if of else ""


@app.command()
def redrive(
    cell: CellName,
    of: Annotated[
        str, typer.Option("--queue", metavar="QUEUE", help=f"Whose dead letters: {', '.join(QUEUES)}.")
    ] = QUEUES[0],
    as_json: Json = False,
) -> None:
    """Send what a cell's processor gave up back to it, or what is no log or export yet: after a mend, within 14 days.

    Example: [bold]cellwave audit redrive eu-west-1 --queue exports[/]
    """
    if of not in QUEUES:
        raise BadInput("--queue", f"found {of!r}", f"one of {', '.join(QUEUES)}")
    with _cell(cell) as at:
        sqs = at.client("sqs")
        dead, queue = (sqs.get_queue_url(QueueName=at.name(name))["QueueUrl"] for name in (f"{of}-dead", of))
        sent = repair.redrive(sqs, dead, queue)
    if as_json:
        tell_json({"cell": cell, "queue": of, "sent": sent})
    else:
        tell(f"{cell}: {sent:,} messages are sent back to {of}")


@app.command("streams")
def list_streams(cell: CellName, as_json: Json = False) -> None:
    """List a cell's streams, those in trouble first: how each is, how far behind its log, and its last error.

    Example: [bold]cellwave audit streams eu-west-1[/]
    """
    with _cell(cell) as at:
        found = streams_in(at, time.time())
    if as_json:
        tell_json(found)
        return
    shown = table("stream", "tenant", "kind", "state", "behind", "error")
    for one in found:
        behind = f"{one['behind']['entries']:,} entries, {one['behind']['seconds']:,} s"
        row(shown, one["stream"], one["tenant"], one["kind"], one["state"], behind, one["error"])
    keep_whole(shown, 0)
    console().print(shown)


@app.command()
def cosign(cell: CellName, of: Of = "", as_json: Json = False) -> None:
    """Have a cell's logs cosigned by its witnesses (its labels `witnesses` and `witness_quorum`); run it once a minute.

    Exit code 1 when a witness refuses one: it has seen another history of that log.

    Example: [bold]cellwave audit cosign eu-west-1[/]
    """
    prefix = _prefix(of)
    with _cell(cell) as at:
        witnesses, quorum = witnesses_of(at.cell)
        if not witnesses:
            raise BadInput(
                "CELL", f"{cell} has no witnesses", "a label `witnesses: KEY PLACE, KEY PLACE` in cells/"
            )
        found = {}
        for store, of_log in logs_in(at, prefix):
            try:
                found[of_log.name] = collect(store, of_log, witnesses, quorum)
            except (Wrong, Missing) as error:
                raise CellwaveError(f"{of_log.name} can't be read: {error}") from None
    _show_cosigned(cell, {name: one for name, one in found.items() if one}, quorum, as_json)


def _show_cosigned(cell: str, found: Mapping[str, Collected], quorum: int, as_json: bool) -> None:
    if as_json:
        tell_json(
            {"cell": cell, "quorum": quorum, "logs": {name: asdict(one) for name, one in found.items()}}
        )
    else:
        for name, one in found.items():
            for witness, why in one.said.items():
                tell(f"{name}: {witness}: {why}")
        enough = sum(one.signed >= quorum for one in found.values())
        tell(f"{cell}: {enough} of {len(found)} logs are cosigned by {quorum} witnesses or more")
    if any(one.refused for one in found.values()):
        raise typer.Exit(1)


@app.command()
def verify(
    cell: CellName,
    tenant: Annotated[str, typer.Argument(metavar="APPLICATION/TENANT", help="Whose log.")],
    kept: Annotated[
        list[Path] | None,
        typer.Option(
            help="A file with a checkpoint of before; may be given again.", exists=True, dir_okay=False
        ),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write the log there, for the verifier that stands alone.")
    ] = None,
    *,
    witness: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="A witness's public key; may be given again."),
    ] = None,
    quorum: Annotated[
        int | None, typer.Option(min=1, help="How many of them must have signed (default: all).")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a tenant's log in a cell: every archived event against its entry, all of them against what was signed.

    Exit code 1 when anything was altered, dropped, inserted, reordered, back-dated, cut or forked.

    Example: [bold]cellwave audit verify eu-west-1 acme/north --kept checkpoint.txt[/]
    """
    application, name = _tenant(tenant)
    witnesses = keys_of(witness or [], "--witness", COSIGNATURE)
    enough = len(witnesses) if quorum is None else quorum
    if enough > len({one.public for one in witnesses}):
        raise BadInput(
            "--quorum", f"found {enough}", f"at most {len(witnesses)}, the witnesses that are named"
        )
    with _cell(cell) as at:
        tell_tenants(at, [(application, name)], "audit.log.verified")
        try:
            found = read_log(at, application, name)
            wrong = found.findings([path.read_text() for path in kept or ()], witnesses, enough)
        except (Wrong, ValueError) as error:
            raise CellwaveError(f"the log can't be checked: {error}") from None
    if save:
        save.touch(mode=0o600)  # it holds what is logged
        save.write_text("".join(f"{line}\n" for line in found.lines()))
    size, root = found.checkpoint.size, found.checkpoint.root.hex()
    if as_json:
        tell_json(
            {
                "log": found.key.name,
                "size": size,
                "root": root,
                "key": str(found.key),
                "pending": found.pending,
                "findings": wrong,
            }
        )
    else:
        for line in wrong:
            tell(line)
        tell(
            f"{found.key.name}: {size:,} entries, {len(wrong)} findings; {found.pending} events have none yet"
        )
        tell(f"  root {root}")
        tell(f"  key {found.key}")
    if wrong:
        raise typer.Exit(1)


def holder(text: str) -> tuple[str, str | None]:
    """Who is to hold a key, an application or its tenant; BadInput when that can be neither."""
    application, slash, tenant = text.partition("/")
    where = "APPLICATION[/TENANT]"
    if not is_application(application):
        raise BadInput(where, f"found the application {application!r}", AN_APPLICATION)
    if slash and not is_tenant(tenant):
        raise BadInput(where, f"found the tenant {tenant!r}", A_TENANT)
    return application, tenant if slash else None


def _tenant(text: str) -> tuple[str, str]:
    application, tenant = holder(text)
    if tenant is None:
        raise BadInput("APPLICATION/TENANT", f"found {text!r}", "the application, a slash, and its tenant")
    return application, tenant


def _refuse_scopes_not_of(kind: Kind, scopes: Sequence[str]) -> None:
    for name in scopes:
        if name not in SCOPES[kind]:
            article = "an" if kind == "application" else "a"
            right = f"of {article} {kind}'s key one of {', '.join(SCOPES[kind])}"
            raise BadInput("--scope", f"found {name!r}", right)


def _show(application: str, tenant: str | None, made: str) -> None:
    # At once: should the next one fail, this one exists and is never shown again.
    tell_json({"applicationId": application, "tenantId": tenant, "key": made})


@contextmanager
def _telling_of(hashes: Sequence[str]) -> Iterator[list[known.Key]]:
    """The keys of these hashes, all of which are there before the first is changed."""
    regions()
    found = known.find(hashes, known.list_keys())
    with telling():
        yield found


@contextmanager
def _cell(name: str) -> Iterator[InCell]:
    """The cell of that name, and in words what keeps it from being used; BadInput when there is none."""
    fleet = parse_fleet(find_project().config_files())
    named = {cell.name: cell for cell in fleet.cells}
    if name not in named:
        raise BadInput("CELL", f"found {name!r}", f"one of {', '.join(named)}")
    try:
        yield in_cell(fleet, named[name])
    except (BotoCoreError, ClientError) as error:
        raise CellwaveError(f"{name} can't be reached, or refuses it: {error}") from None
