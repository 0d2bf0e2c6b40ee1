"""``rxdb db …``: create, change and look at the schema of a database.

``--json`` prints one object, whose keys are these; null is what is not known. A command that
fails prints ``error`` too, with ``kind``, the name of the error's class, and ``message``.

- a *state* is what :meth:`rxdb.migrations.state.SchemaState.as_dict` gives: ``name``,
  ``current``, ``heads``, ``pending``, ``unknown``, ``edited``, ``half``, ``sentence``;
- ``init``, ``makemigrations``, ``merge``, ``squash``: ``revision``, ``path``, ``found`` and
  ``proven`` (sentences); ``init`` and ``stamp``: ``state``;
- ``init``, ``migrate``, ``downgrade``: ``database`` (its URL without secrets) and ``source`` (who
  named it);
- ``migrate``, ``downgrade``: ``applied`` (``revision``, ``message``, ``direction``, ``seconds``)
  and ``state``; with ``--plan``: ``plans``, each with ``target``, ``title``, ``revisions``
  (``revision``, ``message``, ``direction``, ``operations``, ``reason``, ``statements``) and
  ``losses`` (``revision``, ``what``, ``rows``, ``kind``); with ``--sql``: ``sql``;
- ``status``: ``database``, ``state`` and ``revisions``; ``history``, ``heads``: ``revisions``,
  each with ``id``, ``message``, ``path``, ``follows``, ``is_head``; in ``status`` also
  ``applied`` and ``applied_at``;
- ``check``: ``findings`` (the fields of :class:`rxdb.Finding`), ``state``, ``differences`` and
  ``targets`` (``target``, ``works``, ``problem``);
- ``repair``: ``half`` (``revision``, ``direction``, ``done``, ``total``, ``statements``), ``next``;
- ``wait``: ``answers``.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from rxdb.cli import Words
from rxdb.cli.output import Progress, named, place, verb
from rxdb.errors import NotPortable, SchemaOutdated, TablesExist, hide

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rxdb.cli.output import Output
    from rxdb.migrations.autogenerate import Question
    from rxdb.migrations.commands import Made
    from rxdb.migrations.journal import Half
    from rxdb.migrations.lookahead import Finding
    from rxdb.migrations.planning import Plan, Planned
    from rxdb.migrations.revisions import History, Revision
    from rxdb.migrations.state import SchemaState


@click.group("db", cls=Words)
def command() -> None:
    """Create, change and look at the schema of the database.

    Models are written in Python; `makemigrations` writes what changed in them into a script, and
    `migrate` applies the scripts to a database. The exit code is 0 only for success.
    """


def _pairs(_: click.Context, parameter: click.Parameter, given: Sequence[str]) -> dict[str, str]:
    """Read ``left=right``, each pair once."""
    found: dict[str, str] = {}
    for text in given:
        left, separator, right = text.partition("=")
        if not (separator and left.strip()):
            raise click.BadParameter(f"{text!r} has no =. Write: {parameter.metavar}")
        found[left.strip()] = right
    return found


class Relative(click.Command):
    """Takes -1 for a revision and not for an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put numbers after the options."""
        numbers = [text for text in args if NUMBER.fullmatch(text)]
        if numbers and "--" not in args:
            args = [*(text for text in args if text not in numbers), "--", *numbers]
        return super().parse_args(ctx, args)


NUMBER = re.compile(r"-\d+")

message_option = click.option("-m", "--message", metavar="TEXT", help="What the revision does.")


@verb(command, "init")
@message_option
@click.option("--adopt", is_flag=True, help="Take the tables that are there for the models'.")
def init(output: Output, url: str | None, message: str | None, adopt: bool) -> None:
    """Create Alembic's files and the first revision of the models, and apply it.

    A project that has an alembic.ini, such as Reflex makes it, is taken over as it is.
    """
    from rxdb import migrations
    from rxdb.migrations.state import check_schema

    _tell_database(output, url)
    progress = Progress(output)

    def run(adopt: bool) -> Made:
        return migrations.init(
            adopt=adopt,
            message=message or "initial",
            url=url,
            starting=progress.start,
            tell=progress.tell,
        )

    try:
        made = run(adopt)
    except TablesExist as error:
        if not output.can_ask:
            raise
        output.line(str(error).rpartition(" To start")[0])
        if not click.confirm("Are they what the models say, so that migrations start from them?"):
            raise
        made = run(adopt=True)
    finally:
        progress.pause()
    _tell_made(output, made)
    progress.finish()
    _tell_state(output, check_schema(url))


@verb(command, "makemigrations")
@message_option
@click.option("--empty", is_flag=True, help="Write a revision to be filled by hand.")
@click.option(
    "--rename",
    "renames",
    metavar="old=new",
    multiple=True,
    callback=_pairs,
    help="What was renamed: user.name=full_name, or one table to another. Can be repeated.",
)
@click.option(
    "--no-rename",
    "no_renames",
    metavar="old",
    multiple=True,
    help="What is gone and was not renamed: user.name, or a table. Can be repeated.",
)
@click.option(
    "--fill",
    "fills",
    metavar="table.column=value",
    multiple=True,
    callback=_pairs,
    help="What existing rows get in a new column that refuses NULL. Can be repeated.",
)
@click.option("--allow-drops", is_flag=True, help="Allow to drop most of the tables.")
def makemigrations(
    output: Output,
    url: str | None,
    message: str | None,
    empty: bool,
    renames: Mapping[str, str],
    no_renames: Sequence[str],
    fills: Mapping[str, str],
    allow_drops: bool,
) -> None:
    """Write what changed in the models into a new revision."""
    from rxdb import migrations

    made = migrations.make(
        message,
        empty=empty,
        renames=renames,
        no_renames=no_renames,
        fills=fills,
        ask=_answer if output.can_ask else None,
        allow_drops=allow_drops,
        url=url,
    )
    _tell_made(output, made)
    if made.path is None:
        output.line("No changes.")
    elif empty:
        output.line("Fill it. Then run: rxdb db migrate")
    else:
        output.line("To apply it, run: rxdb db migrate")


def _answer(question: Question) -> bool | str | None:
    """Ask the person at the terminal."""
    if question.error:
        click.secho(question.error, fg="yellow")
    if question.kind != "fill":
        return click.confirm(question.text)
    answer: str = click.prompt(f"{question.text} (nothing: stop)", default="", show_default=False)
    return answer or None


def _steps(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that migrate and downgrade have."""
    for option in reversed(
        (
            click.option("--plan", is_flag=True, help="Tell what would happen; change nothing."),
            click.option("--sql", is_flag=True, help="Print the SQL; connect to no database."),
            click.option("--dialect", metavar="NAME", help="The backend of --plan and --sql."),
            click.option("--allow-data-loss", is_flag=True, help="Rows and values may be lost."),
            click.option(
                "--lock-timeout",
                type=click.FloatRange(min=0),
                metavar="SECONDS",
                help="How long to wait for another migration to end; without it, for ever.",
            ),
        )
    ):
        function = option(function)
    return function


@verb(command, "migrate")
@click.argument("revision", default="head")
@_steps
def migrate(output: Output, revision: str, **options: Any) -> None:
    """Bring the database to REVISION, by default the newest."""
    _step(output, revision, down=False, options=options)


@verb(command, "downgrade", kind=Relative)
@click.argument("revision")
@_steps
def downgrade(output: Output, revision: str, **options: Any) -> None:
    """Take revisions back until the database is at REVISION: an id, -1 or base.

    -2 is the second before the one that the database is at.
    """
    _step(output, revision, down=True, options=options)


def _step(output: Output, revision: str, *, down: bool, options: dict[str, Any]) -> None:
    """Plan, write the SQL, or migrate."""
    plan, sql, dialect = (options.pop(name) for name in ("plan", "sql", "dialect"))
    if dialect and not (plan or sql):
        raise click.UsageError("--dialect needs --plan or --sql.")
    if plan and sql:
        raise click.UsageError("--plan tells the SQL too; leave out --sql.")
    if sql:
        _print_sql(output, revision, down=down, dialect=dialect, url=options["url"])
    elif plan:
        _print_plans(output, revision, down=down, dialect=dialect, url=options["url"])
    else:
        _migrate(output, revision, down=down, **options)


def _migrate(
    output: Output,
    revision: str,
    *,
    down: bool,
    url: str | None,
    allow_data_loss: bool,
    lock_timeout: float | None,
) -> None:
    from rxdb import migrations
    from rxdb.migrations.state import check_schema

    shown = _tell_database(output, url)
    output.data["applied"] = []
    progress = Progress(output, "Taken back:" if down else "Applied")

    def may_lose(losses: Sequence[Finding]) -> bool:
        output.line("This loses data:", fg="yellow")
        for loss in losses:
            output.line(f"  {loss.what}")
        return click.confirm(f"Go on with {shown}?")

    run = migrations.downgrade if down else migrations.migrate
    try:
        applied = run(
            revision,
            url=url,
            allow_data_loss=allow_data_loss or (may_lose if output.can_ask else False),
            lock_timeout=lock_timeout,
            starting=progress.start,
            tell=progress.tell,
        )
    finally:
        progress.pause()
    progress.finish()
    output.data["applied"] = [asdict(one) for one in applied]
    _tell_state(output, check_schema(url), "" if applied else "Nothing to do. ")


def _tell_database(output: Output, url: str | None) -> str:
    """Say which database is about to be changed, and who named it; return it without secrets."""
    from rxdb.dialect import show
    from rxdb.migrations import database

    shown, source = show(database.target(url).url), database.setting(url).source
    output.data |= {"database": shown, "source": source}
    output.line(f"{shown} ({source})", dim=True)
    return shown


def _print_plans(
    output: Output, revision: str, *, down: bool, dialect: str | None, url: str | None
) -> None:
    from rxdb import migrations

    targets = [dialect] if dialect else None
    own, *others = migrations.plan(revision, down=down, targets=targets, url=url)
    output.data["plans"] = [asdict(plan) for plan in (own, *others)]
    _print_plan(output, own)
    losses = [loss for loss in own.losses if loss.rows != 0]
    for loss in losses:
        output.line(f"  This could lose data: {loss.what}", fg="yellow")
    if own.revisions and not losses:
        output.line("  No data would be lost.")
    for plan in others:
        output.line()
        _print_plan(output, plan)


def _print_sql(
    output: Output, revision: str, *, down: bool, dialect: str | None, url: str | None
) -> None:
    from rxdb import migrations
    from rxdb.migrations import database

    name = dialect or (database.target(url).dialect.name if url else "")
    way = revision if ":" in revision or not down else f"head:{revision}"
    output.data["sql"] = text = migrations.sql(way, dialect=name, down=down)
    output.line(text.rstrip("\n"))


def _print_plan(output: Output, plan: Plan) -> None:
    heading = plan.title if plan.title.lower() == plan.target else f"{plan.title}, {plan.target}"
    output.line(heading, bold=True)
    if not plan.revisions:
        output.line("  Nothing to do.")
    for revision in plan.revisions:
        _print_planned(output, revision)


def _print_planned(output: Output, planned: Planned) -> None:
    verb = "Apply" if planned.direction == "upgrade" else "Take back"
    output.line(f"  {verb} {named(planned.revision, planned.message)}")
    for operation in planned.operations:
        output.line(f"    {operation}")
    if planned.reason:
        output.line(f"    This may not be all: {planned.reason}", fg="yellow")
    if planned.statements is None:
        output.line("    Its SQL depends on the database as it is.", dim=True)
    for statement in planned.statements or ():
        for line in statement.splitlines():
            output.line(f"      {line}", dim=True)


@verb(command, "stamp")
@click.argument("revision", default="head")
@click.option(
    "--purge",
    is_flag=True,
    help="Forget what the database was at before, such as a revision whose script is gone.",
)
def stamp(output: Output, revision: str, url: str | None, purge: bool) -> None:
    """Say that the database is at REVISION, and run nothing."""
    from rxdb import migrations
    from rxdb.migrations.state import check_schema

    migrations.stamp(revision, purge=purge, url=url)
    _tell_state(output, check_schema(url))


@verb(command, "history", has_url=False)
def history(output: Output) -> None:
    """List the revisions from the first to the newest."""
    from rxdb.migrations import revisions

    read = revisions.read()
    _list(output, read, [revision.id for revision in read.in_order()])


@verb(command, "heads", has_url=False)
def heads(output: Output) -> None:
    """List the newest revisions: one, unless two follow the same one."""
    from rxdb.migrations import revisions

    read = revisions.read()
    _list(output, read, read.heads)


def _list(output: Output, read: History, ids: Sequence[str]) -> None:
    found = [read.revisions[key] for key in ids]
    output.data["revisions"] = [_described(revision, read) for revision in found]
    for revision in found:
        after = f" (follows {' and '.join(revision.down)})" if len(revision.down) > 1 else ""
        output.line(f"{_name(revision, read)}{after}  {place(revision.path)}")
    if not found:
        output.line("There are no revisions. Run: rxdb db makemigrations")


@verb(command, "merge", has_url=False)
@message_option
def merge(output: Output, message: str | None) -> None:
    """Write a revision that joins several heads to one."""
    from rxdb import migrations
    from rxdb.migrations import revisions

    found = revisions.read().heads
    if len(found) <= 1:
        output.data |= {"revision": None, "path": None, "found": [], "proven": []}
        output.line(f"Nothing to merge: there is one head ({', '.join(found) or 'none'}).")
        return
    made = migrations.merge(message or f"merge {' and '.join(found)}")
    _tell_made(output, made)
    output.line("To apply it, run: rxdb db migrate")


@verb(command, "squash")
@message_option
def squash(output: Output, url: str | None, message: str | None) -> None:
    """Replace all revisions by one that creates the tables of the models.

    It has the id of the newest one, so every database at head stays there. The old files go to
    squashed/ beside versions/.
    """
    from rxdb import migrations
    from rxdb.migrations.state import SQUASHED

    count = len(migrations.history())
    made = migrations.squash(message or "squashed", url=url)
    _tell_made(output, made, with_changes=False)
    if made.path is not None:
        away = place(made.path.parent.parent / SQUASHED)
        files = "1 script is" if count == 1 else f"{count} scripts are"
        output.line(f"The {files} in {away} now; what they did to rows is not repeated.")


@verb(command, "status")
def status(output: Output, url: str | None) -> None:
    """Say where the database stands among the revisions."""
    from rxdb.migrations import revisions
    from rxdb.migrations.state import check_schema

    read = revisions.read()
    now = check_schema(url)
    output.data["database"] = database = _database(url)
    rows = [(revision, _is_applied(revision.id, now)) for revision in read.in_order()]
    times = now.applied_at
    output.data["revisions"] = [
        {
            **_described(revision, read),
            "applied": applied,
            "applied_at": times[revision.id].isoformat() if revision.id in times else None,
        }
        for revision, applied in rows
    ]
    output.line(database, dim=True)
    for revision, applied in rows:
        sign, color = SIGNS[applied]
        parts = [_name(revision, read)]
        if applied and revision.id in times:
            parts.append(f"{times[revision.id]:%Y-%m-%d %H:%M:%S} UTC")
        if revision.id in now.edited:
            parts.append("edited since")
        output.line(f"  [{click.style(sign, fg=color)}] {', '.join(parts)}")
    for key in now.unknown:
        output.line(f"  [?] {key}, no script here describes it", fg="yellow")
    if now.half is not None:
        output.line(f"  {now.half}", fg="yellow")
    _tell_state(output, now)


SIGNS = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}


def _is_applied(revision: str, now: SchemaState) -> bool | None:
    """Return whether a revision is applied; None where the database is at something unknown."""
    if now.name == "ahead":
        return True if revision in now.applied_at else None
    return revision not in now.pending


def _database(url: str | None) -> str:
    """Return the database without secrets; SQLAlchemy is not needed for a text."""
    from rxdb import config
    from rxdb.config import DBConfig

    wanted = url if url is not None else config.database().url
    if isinstance(wanted, DBConfig):
        wanted = wanted.url()
    if isinstance(wanted, str):
        return hide(wanted)
    return hide(wanted.render_as_string(hide_password=True))


@verb(command, "check")
@click.option("--targets", metavar="a,b,c", help="Backends to try, instead of Config.targets.")
@click.option("--models-only", is_flag=True, help="Look at the models, and at no database.")
def check(output: Output, url: str | None, targets: str | None, models_only: bool) -> None:
    """Fail unless the database is at head, equal to the models, and all works on all targets.

    The targets are Config.targets or --targets, such as sqlite,postgresql,mysql. It is told what in
    the models would fail or mean something else there, and all revisions are compiled for them.
    """
    from rxdb import migrations
    from rxdb.migrations.state import check_schema

    wanted = [name.strip() for name in targets.split(",") if name.strip()] if targets else None
    output.data |= {"findings": [], "state": None, "differences": None, "targets": []}
    findings = _lint(output, wanted, url, models_only=models_only)
    if models_only:
        if findings:
            raise NotPortable(findings)
        return
    now = check_schema(url)
    if now.name == "no migrations":
        migrations.history()  # raises what says so
    output.data["state"] = now.as_dict()
    problems = [] if now.is_current else [now.sentence]
    if now.is_current:
        output.line(now.sentence, fg="green")
        found = migrations.differences(url=url)
        output.data["differences"] = list(found)
        if found:
            listed = "".join(f"\n  {sentence}" for sentence in found)
            problems.append(
                f"The models differ from the migrations:{listed}\nRun: rxdb db makemigrations"
            )
        else:
            output.line("The models are what the migrations say.", fg="green")
    for one in migrations.compile_all(wanted):
        output.data["targets"].append({**asdict(one), "works": one.works})
        if one.works:
            output.line(f"All revisions work on {one.target}.", fg="green")
        else:
            problem = (one.problem or "").removeprefix("MigrationError: ")
            problems.append(f"The revisions cannot run on {one.target}: {problem}")
    if problems:
        raise SchemaOutdated("\n".join([*problems, *filter(None, [findings])]))
    if findings:
        raise NotPortable(findings)


def _lint(output: Output, wanted: list[str] | None, url: str | None, *, models_only: bool) -> str:
    """Tell what is found in the models for the targets; return the sentence that sums it up."""
    from rxdb import config
    from rxdb.linting import check_models, dialects
    from rxdb.migrations import models

    own: list[Any] = [url if url is not None else config.database().url] if models_only else []
    targets = wanted or config.get_config().targets or own
    if not targets:
        return ""
    found = check_models(targets, models.load())
    output.data["findings"] = [asdict(one) for one in found]
    for one in found:
        heading, problem, fix = str(one).splitlines()
        output.line(heading, fg="yellow", bold=True)
        output.line(problem)
        output.line(fix, dim=True)
    titles = ", ".join(dialect.title for dialect in dialects(targets))
    if not found:
        output.line(f"Nothing is found in the models for {titles}.", fg="green")
        return ""
    things = "1 thing is" if len(found) == 1 else f"{len(found)} things are"
    return (
        f"{things} found in the models for {titles}. What is meant can be allowed: "
        f'info={{"rxdb_allow": ["{found[0].code}"]}}'
    )


@verb(command, "repair")
@click.option("--done", is_flag=True, help="All of the revision is there now, made by hand.")
@click.option("--clear", is_flag=True, help="Nothing of the revision is there now.")
def repair(output: Output, url: str | None, done: bool, clear: bool) -> None:
    """Show what is done of a revision that stopped half-way, and what to do next.

    `rxdb db migrate` goes on after what is done. Where it cannot, since its script has to be
    another one, bring the database to the revision's end or to its beginning by hand, and say
    so with --done or --clear.
    """
    if done and clear:
        raise click.UsageError("--done and --clear exclude each other.")
    from rxdb import migrations
    from rxdb.migrations.state import check_schema

    half = migrations.half_applied(url)
    output.data["half"] = asdict(half) if half else None
    if half is None:
        next_step = check_schema(url).sentence
        output.line("No revision is half applied.")
    else:
        _print_half(output, half)
        if done or clear:
            migrations.repair(done=done, url=url)
            next_step = check_schema(url).sentence
        else:
            next_step = _after(half)
    output.data["next"] = next_step
    output.line(next_step)


def _print_half(output: Output, half: Half) -> None:
    output.line(f"The {half.direction} of {half.revision} is {half}.", fg="yellow")
    for step in half.statements:
        sign, color = SIGNS[{"done": True, "failed": False}.get(step.state)]
        times = f", {step.times} times" if step.times > 1 else ""
        text = " ".join(step.statement.split())
        state = "" if step.state == "done" else f" ({STEP_STATES.get(step.state, step.state)})"
        output.line(f"  [{click.style(sign, fg=color)}] {text}{times}{state}")
    left = (half.total or 0) - len(half.statements)
    if left > 0:
        output.line(f"  [ ] {left} more")


STEP_STATES = {"failed": "failed", "started": "its process ended while it ran"}


def _after(half: Half) -> str:
    again = (
        "rxdb db migrate"
        if half.direction == "upgrade"
        else "rxdb db downgrade with the revision that was asked for"
    )
    return (
        f"Correct what made it stop. To go on after what is done, run: {again}. Made by hand, all "
        f"of it: rxdb db repair --done. Undone by hand, all of it: rxdb db repair --clear"
    )


@verb(command, "wait")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait.",
)
def wait(output: Output, url: str | None, timeout: float) -> None:
    """Wait until the database answers."""
    import rxdb

    output.data["answers"] = False
    rxdb.wait(timeout, url, tell=output.tell)
    output.data["answers"] = True
    output.line("The database answers.", fg="green")


def _tell_made(output: Output, made: Made, *, with_changes: bool = True) -> None:
    """Tell of a new file and what is in it."""
    output.data |= {
        "revision": made.revision or None,
        "path": str(made.path) if made.path else None,
        "found": list(made.found),
        "proven": list(made.proven),
    }
    for sentence in made.found if with_changes else ():
        output.line(sentence)
    for sentence in made.proven:
        output.line(sentence, dim=True)
    if made.path is not None:
        output.line(f"Written: {place(made.path)}")


def _tell_state(output: Output, now: SchemaState, before: str = "") -> None:
    output.data["state"] = now.as_dict()
    color = "green" if now.is_current else "yellow"
    output.line(f"{before}{now.sentence}", fg=color)


def _described(revision: Revision, read: History) -> dict[str, Any]:
    return {
        "id": revision.id,
        "message": revision.message,
        "path": str(revision.path),
        "follows": list(revision.down),
        "is_head": revision.id in read.heads,
    }


def _name(revision: Revision, read: History) -> str:
    head = " (head)" if revision.id in read.heads else ""
    return named(f"{revision.id}{head}", revision.message)
