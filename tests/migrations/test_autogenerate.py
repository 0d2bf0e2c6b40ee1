"""What the comparison of models with a database sees, what it does not, and what it refuses."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Callable
from typing import Any, Literal

import pytest
import sqlalchemy as sa
import zoo
from sqlmodel import AutoString
from zoo_changes import HARD

from rxdb import Feature, Target, types
from rxdb.errors import BadConfig, FillMissing, MigrationError, NoModels
from rxdb.migrations.autogenerate import Question, Wishes
from rxdb.model import NAMING_CONVENTION

pytestmark = [pytest.mark.needs(Feature.GENERATED_KEYS, Feature.REFLECTED_CONSTRAINTS)]

c = sa.Column


class Color(enum.Enum):
    red = 1
    blue = 2


def models(*columns: Any, **args: Any) -> sa.MetaData:
    """Return the metadata of one table ``user``."""
    made = sa.MetaData(naming_convention=NAMING_CONVENTION)
    sa.Table("user", made, c("id", sa.Integer, primary_key=True), *columns, **args)
    return made


def every_type() -> sa.MetaData:
    """Models with the common types of SQLModel and SQLAlchemy, and every kind of server default."""
    made = sa.MetaData(naming_convention=NAMING_CONVENTION)
    sa.Table("other", made, c("id", sa.Integer, primary_key=True), comment="it's 100%")
    sa.Table(
        "pair",
        made,
        c("a", sa.Integer, primary_key=True, autoincrement=False),
        c("b", sa.String(10), primary_key=True),
        c("other_id", sa.ForeignKey("other.id", ondelete="SET NULL")),
    )
    sa.Table(
        "link",
        made,
        c("id", sa.BigInteger, primary_key=True),
        c("a", sa.Integer),
        c("b", sa.String(10)),
        sa.ForeignKeyConstraint(["a", "b"], ["pair.a", "pair.b"], ondelete="CASCADE"),
        sa.UniqueConstraint("a", "b"),
    )
    sa.Table(
        "every",
        made,
        c("id", sa.Integer, primary_key=True),
        c("text_50", sa.String(50), unique=True, server_default=HARD, nullable=False),
        c("model_text", AutoString(length=30), index=True),
        c("model_text_free", AutoString()),
        c("long", sa.Text),
        c("ratio", sa.Float, server_default="1.5"),
        c("double", sa.Double, server_default=sa.text("2.5")),
        c("small", sa.SmallInteger, server_default=sa.text("3")),
        c("big", sa.BigInteger, server_default="-5"),
        c("money", sa.Numeric(12, 4), server_default=sa.text("1.25")),
        c("number", sa.Numeric),
        c("zoned", sa.DateTime(timezone=True), server_default=sa.func.now()),
        c("moment", sa.DateTime, server_default=sa.func.current_timestamp()),
        c("day", sa.Date),
        c("time", sa.Time),
        c("took", sa.Interval),
        c("yes", sa.Boolean, server_default=sa.true(), nullable=False),
        c("no", sa.Boolean, server_default=sa.false()),
        c("text_yes", sa.Boolean, server_default=sa.text("true")),
        c("json", sa.JSON),
        c("document", types.JSON()),
        c("document_of", types.JSON(list[int])),
        c("aware", types.UTCDateTime()),
        c("size", types.of_annotation(Literal["small", "it's large"], name="size")),
        c("long_money", sa.Numeric(30, 10)),
        c("very_long", sa.String(70_000)),
        c("uuid", sa.Uuid),
        c("empty", sa.String(5), server_default=""),
        c("quoted", sa.String(20), server_default="'a'"),
        c("sql_text", sa.String(20), server_default=sa.text("'a b'")),
        c("color", sa.Enum(Color), server_default="red"),
        c("checked", sa.Enum(Color, native_enum=False, create_constraint=True, name="checked")),
        c("plain", sa.Enum("x", "y'z", native_enum=False)),
        c("bytes", sa.LargeBinary),
        c("bytes_20", sa.LargeBinary(20)),
        c("other_id", sa.ForeignKey("other.id"), index=True),
        c("parent_id", sa.ForeignKey("every.id", ondelete="CASCADE"), index=True),
        c("age", sa.Integer, comment="it's 5%"),
        c("next_age", sa.Integer, sa.Computed("age + 1", persisted=True)),
        sa.CheckConstraint("age > 0 and text_50 in ('a','b%')"),
        sa.CheckConstraint("age < 100", name="young"),
        sa.Index(
            "ix_part",
            "age",
            postgresql_where=sa.text("age > 5"),
            sqlite_where=sa.text("age > 5"),
        ),
        sa.Index(None, "age", "money", unique=True),
        comment="hm: 100%",
    )
    return made


@pytest.fixture
def compare(engine: sa.Engine, target: Target) -> Callable[..., zoo.Script]:
    """Compare the database under test with models."""

    def compare(metadata: Any, **options: Any) -> zoo.Script:
        with engine.connect() as connection:
            return zoo.compare(connection, target, metadata, **options)

    return compare


@pytest.fixture
def create(engine: sa.Engine) -> Callable[[sa.MetaData], None]:
    """Create tables without a migration."""

    def create(metadata: sa.MetaData) -> None:
        with engine.begin() as connection:
            metadata.create_all(connection)

    return create


def test_nothing_differs_after_create_all(compare: Any, create: Any) -> None:
    create(every_type())
    assert compare(every_type()).found == ()


def test_nothing_differs_after_migrating(compare: Any, engine: sa.Engine, target: Target) -> None:
    script = compare(every_type(), blank=True)
    with engine.connect() as connection:
        for direction in ("upgrade", "downgrade", "upgrade"):
            zoo.run(connection, target, script, direction, every_type())
    assert compare(every_type(), scripts=(script.source,)).found == ()
    assert "dialects" not in script.source
    assert "sqlalchemy.dialects" not in "".join(script.imports)


def test_one_row_of_defaults_is_the_same_everywhere(
    compare: Any, engine: sa.Engine, target: Target
) -> None:
    table = every_type().tables["every"]
    script = compare(every_type(), blank=True)
    with engine.connect() as connection:
        zoo.run(connection, target, script, "upgrade", every_type())
        with connection.begin():
            connection.execute(table.insert().values(id=1, text_50="a", age=1))
            row = connection.execute(sa.select(table)).mappings().one()
    assert row["quoted"] == "'a'"
    assert row["sql_text"] == "a b"
    assert (row["yes"], row["no"], row["text_yes"]) == (True, False, True)
    assert (row["small"], row["big"], row["ratio"]) == (3, -5, 1.5)
    assert row["color"] is Color.red
    assert row["empty"] == ""


REAL: dict[str, tuple[list[Any], list[Any]]] = {
    "type": ([c("x", sa.Integer)], [c("x", sa.String(5))]),
    "length": ([c("x", sa.String(5))], [c("x", sa.String(6))]),
    "scale": ([c("x", sa.Numeric(8, 2))], [c("x", sa.Numeric(8, 3))]),
    "nullability": ([c("x", sa.Integer)], [c("x", sa.Integer, nullable=False)]),
    "server default": ([c("x", sa.Integer)], [c("x", sa.Integer, server_default="1")]),
    "another server default": (
        [c("x", sa.String(9), server_default="it's")],
        [c("x", sa.String(9), server_default="its")],
    ),
    "no server default": ([c("x", sa.Integer, server_default="1")], [c("x", sa.Integer)]),
    "index": ([c("x", sa.Integer)], [c("x", sa.Integer, index=True)]),
    "no index": ([c("x", sa.Integer, index=True)], [c("x", sa.Integer)]),
    "unique index": (
        [c("x", sa.Integer), sa.Index("i", "x")],
        [c("x", sa.Integer), sa.Index("i", "x", unique=True)],
    ),
    "unique": ([c("x", sa.Integer)], [c("x", sa.Integer, unique=True)]),
    "not unique": ([c("x", sa.Integer, unique=True)], [c("x", sa.Integer)]),
    "foreign key": ([c("x", sa.Integer)], [c("x", sa.ForeignKey("user.id"))]),
    "what a foreign key does": (
        [c("x", sa.ForeignKey("user.id"))],
        [c("x", sa.ForeignKey("user.id", ondelete="CASCADE"))],
    ),
    "check": ([c("x", sa.Integer)], [c("x", sa.Integer), sa.CheckConstraint("x > 1")]),
    "another check": (
        [c("x", sa.Integer), sa.CheckConstraint("x > 1", name="a")],
        [c("x", sa.Integer), sa.CheckConstraint("x > 2", name="a")],
    ),
    "checked enum": (
        [c("x", sa.Enum("a", name="k", native_enum=False, create_constraint=True))],
        [c("x", sa.Enum("a", "b", name="k", native_enum=False, create_constraint=True))],
    ),
    "partial index": (
        [c("x", sa.Integer), sa.Index("i", "x", postgresql_where=sa.text("x > 1"))],
        [c("x", sa.Integer), sa.Index("i", "name", postgresql_where=sa.text("x > 1"))],
    ),
}


@pytest.mark.parametrize("name", list(REAL))
def test_a_real_difference_is_seen(compare: Any, create: Any, name: str) -> None:
    before, after = (
        models(c("name", sa.String(9)), *(_copied(item) for item in part)) for part in REAL[name]
    )
    create(before)
    assert compare(before).found == ()
    assert compare(after).found != ()


def _copied(item: Any) -> Any:
    return item._copy() if isinstance(item, sa.Column | sa.CheckConstraint) else _index(item)


def _index(item: sa.Index) -> sa.Index:
    names = [str(getattr(e, "name", e)) for e in item._pending_colargs]
    return sa.Index(item.name, *names, unique=item.unique, **item.kwargs)


def test_comments_are_seen_where_they_are_kept(
    compare: Any, create: Any, engine: sa.Engine
) -> None:
    create(models(c("x", sa.Integer, comment="a"), comment="a"))
    found = compare(models(c("x", sa.Integer, comment="b"), comment="b")).found
    assert len(found) == (2 if engine.dialect.supports_comments else 0)


# names


def test_other_names_for_the_same_are_no_difference(compare: Any, engine: sa.Engine) -> None:
    with engine.begin() as connection:  # as Reflex makes them: without a naming convention
        plain = sa.MetaData()
        sa.Table("team", plain, c("id", sa.Integer, primary_key=True))
        sa.Table(
            "user",
            plain,
            c("id", sa.Integer, primary_key=True),
            c("email", sa.String(50), unique=True),
            c("nick", sa.String(50), index=True),
            c("team_id", sa.ForeignKey("team.id"), index=True),
        )
        plain.create_all(connection)
    made = models(
        c("email", sa.String(50), unique=True),
        c("nick", sa.String(50), index=True),
        c("team_id", sa.ForeignKey("team.id"), index=True),
    )
    sa.Table("team", made, c("id", sa.Integer, primary_key=True))
    assert compare(made).found == ()


def test_what_has_no_name_can_be_dropped(compare: Any, engine: sa.Engine, target: Target) -> None:
    plain = sa.MetaData()
    sa.Table("team", plain, c("id", sa.Integer, primary_key=True))
    user = sa.Table(
        "user",
        plain,
        c("id", sa.Integer, primary_key=True),
        c("email", sa.String(50), unique=True),
        c("team_id", sa.ForeignKey("team.id")),
    )
    made = models(c("email", sa.String(50)), c("team_id", sa.Integer))
    sa.Table("team", made, c("id", sa.Integer, primary_key=True))
    with engine.begin() as connection:
        plain.create_all(connection)
        connection.execute(user.insert().values(email="a"))
    script = compare(made)
    assert len(script.found) == 2
    with engine.connect() as connection:
        zoo.run(connection, target, script, "upgrade", made)
        with connection.begin():
            connection.execute(user.insert().values(email="a", team_id=99))
    assert compare(made).found == ()


# renames


def test_a_rename_is_asked_for(compare: Any, create: Any) -> None:
    create(models(c("mail", sa.String(20))))
    asked: list[Question] = []

    def answer(question: Question) -> bool:
        asked.append(question)
        return True

    script = compare(models(c("email", sa.String(20))), wishes=Wishes(ask=answer))
    assert script.found == ("Column user.mail was renamed to email.",)
    assert asked[0].text == "Was `user.mail` renamed to `email`?"
    assert "new_column_name='email'" in script.upgrade
    assert "new_column_name='mail'" in script.downgrade


def test_a_rename_that_nobody_confirms_is_told_how_to_say_it(compare: Any, create: Any) -> None:
    create(models(c("mail", sa.String(20))))
    found = compare(models(c("email", sa.String(20)))).found
    assert "If user.mail was renamed to email, say so: --rename user.mail=email" in found
    assert "Column user.mail was removed." in found


def test_a_column_of_another_type_is_no_rename(compare: Any, create: Any) -> None:
    create(models(c("mail", sa.String(20))))
    found = compare(models(c("age", sa.Integer))).found
    assert found == ("Column user.age was added.", "Column user.mail was removed.")


@pytest.mark.parametrize(
    ("renames", "sentence"),
    [
        ({"user.mail": "phone"}, "there is no new column phone. New: email."),
        ({"user.nick": "email"}, "user.nick is not gone from the models. Gone: user.mail."),
    ],
)
def test_a_wrong_rename_is_refused(
    compare: Any, create: Any, renames: dict[str, str], sentence: str
) -> None:
    create(models(c("mail", sa.String(20))))
    with pytest.raises(MigrationError) as error:
        compare(models(c("email", sa.String(20))), wishes=Wishes(renames=renames))
    assert sentence in str(error.value)


# fill values


def test_a_value_that_nobody_knows_is_asked_for(compare: Any, create: Any) -> None:
    create(models())
    made = models(c("age", sa.Integer, nullable=False))
    with pytest.raises(FillMissing) as error:
        compare(made)
    assert str(error.value).endswith("Add: --fill user.age=VALUE")
    answers = iter(["old", "18"])
    wishes = Wishes(ask=lambda question: next(answers))
    assert ".values({'age': 18})" in compare(made, wishes=wishes).upgrade


def test_a_wrong_fill_is_refused(compare: Any, create: Any) -> None:
    create(models())
    made = models(c("age", sa.Integer, nullable=False, default=1))
    with pytest.raises(MigrationError, match=r"--fill user\.age=old"):
        compare(made, wishes=Wishes(fills={"user.age": "old"}))
    with pytest.raises(
        MigrationError, match=r"user\.size gets no value now\. New columns: user\.age"
    ):
        compare(made, wishes=Wishes(fills={"user.size": "1"}))


def test_a_callable_is_never_frozen(compare: Any, create: Any) -> None:
    create(models())
    script = compare(
        models(
            c("token", sa.Uuid, nullable=False, default=uuid.uuid4),
            c("at", sa.DateTime, nullable=False, default=dt.datetime.now),
        )
    )
    assert "server_default" not in script.upgrade
    assert "uuid.uuid4, key=[sa.column('id', sa.Integer())]" in script.upgrade
    assert "datetime.datetime.now, key=" in script.upgrade
    assert {"import uuid", "import datetime"} <= set(script.imports)


def test_a_lambda_needs_a_value(compare: Any, create: Any) -> None:
    create(models())
    made = models(c("token", sa.String(9), nullable=False, default=lambda: "x"))
    with pytest.raises(FillMissing, match="a function that a script cannot name"):
        compare(made)
    assert "'y'" in compare(made, wishes=Wishes(fills={"user.token": "y"})).upgrade


# guards


def test_a_table_that_no_revision_made_is_left_alone(compare: Any, create: Any) -> None:
    foreign = sa.MetaData()
    sa.Table("not_mine", foreign, c("id", sa.Integer, primary_key=True))
    create(models())
    create(foreign)
    assert compare(models()).found == ()


def test_most_tables_are_not_dropped_without_a_word(
    compare: Any, engine: sa.Engine, target: Target
) -> None:
    many = models()
    for name in ("a", "b", "d"):
        sa.Table(name, many, c("id", sa.Integer, primary_key=True))
    first = compare(many, blank=True)
    with engine.connect() as connection:
        zoo.run(connection, target, first, "upgrade", many)
    scripts = (first.source,)
    with pytest.raises(
        NoModels, match="Of the 4 tables that the migrations know, the models have 1"
    ):
        compare(models(), scripts=scripts, wishes=Wishes())
    with pytest.raises(NoModels):
        compare(sa.MetaData(), scripts=scripts, wishes=Wishes())
    found = compare(models(), scripts=scripts, wishes=Wishes(allow_drops=True)).found
    assert found == ("Table a was removed.", "Table b was removed.", "Table d was removed.")


def test_two_bases_with_one_table_are_refused(compare: Any) -> None:
    with pytest.raises(BadConfig, match="Two registered bases have a table 'user'"):
        compare((models(), models()))


def test_several_bases_are_compared_together(compare: Any, create: Any) -> None:
    other = sa.MetaData()
    sa.Table("other", other, c("id", sa.Integer, primary_key=True))
    create(models())
    assert compare((models(), other)).found == ("Table other was added.",)


def test_the_users_own_filter_is_asked(compare: Any, create: Any) -> None:
    create(models())

    def include(item: Any, name: str | None, kind: str, reflected: bool, other: Any) -> bool:
        return name != "secret"

    made = models(c("secret", sa.Integer), c("x", sa.Integer))
    assert compare(made, user={"include_object": include}).found == ("Column user.x was added.",)


def test_the_users_own_rendering_wins(compare: Any) -> None:
    def render(kind: str, item: Any, context: Any) -> str | bool:
        return "mine.Number()" if kind == "type" and isinstance(item, sa.Integer) else False

    script = compare(models(), blank=True, user={"render_item": render})
    assert "sa.Column('id', mine.Number(), nullable=False)" in script.upgrade


def test_a_script_tells_its_sql_without_a_database(
    compare: Any, create: Any, engine: sa.Engine
) -> None:
    create(models(c("x", sa.Enum("a", name="kind"))))
    made = models(
        c("x", sa.Enum("a", "b", name="kind")),
        c("note", sa.String(80), default=HARD),
        c("data", sa.JSON, default={"a": [1]}),
        c("u", sa.Uuid, default=uuid.UUID(int=1)),
        c("at", sa.DateTime, default=dt.datetime(2001, 2, 3)),  # noqa: DTZ001 - the column has no time zone
        c("color", sa.Enum(Color), default=Color.red),
    )
    made_before = "op.create_table('user', sa.Column('x', sa.Enum('a', name='kind')))"
    scripts = (f"def upgrade():\n    {made_before}",)
    sql = zoo.write_sql(compare(made, scripts=scripts), engine.dialect)
    assert "ADD COLUMN note" in sql
    assert "it''s 100%" in sql
    assert "UPDATE" in sql


# enums


def test_new_members_are_seen_on_every_backend(
    compare: Any, engine: sa.Engine, target: Target
) -> None:
    before, after = (
        models(c("color", sa.Enum(*members, name="color"), nullable=False))
        for members in (("red", "blue"), ("red", "blue", "gold"))
    )
    first = compare(before, blank=True)
    with engine.connect() as connection:
        zoo.run(connection, target, first, "upgrade", before)
    script = compare(after, scripts=(first.source,))
    assert script.found == ("The enum of user.color gained gold.",)
    assert compare(after, scripts=(first.source, script.source)).is_empty is (
        not engine.dialect.supports_native_enum
    )


@pytest.mark.needs(Feature.SCHEMAS)
def test_equal_tables_of_two_schemas_are_told_apart(
    compare: Any, engine: sa.Engine, target: Target
) -> None:
    made = models(c("x", sa.Integer))
    sa.Table(
        "user",
        made,
        c("id", sa.Integer, primary_key=True),
        c("y", sa.String(5), index=True),
        schema=zoo.SCHEMA,
    )
    try:
        script = compare(made, blank=True)
        assert "CreateSchema" in script.upgrade
        with engine.connect() as connection:
            zoo.run(connection, target, script, "upgrade", made)
        assert compare(made, scripts=(script.source,)).found == ()
        with engine.connect() as connection:
            zoo.run(connection, target, script, "downgrade", made)
    finally:
        zoo.clear(engine, target)
