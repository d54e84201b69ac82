"""What each service's database role may do, tried by logging in as it.

The objects are read from the database's own catalogue, so a new table, partition, view, sequence or
function is tried without being named here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest
from psycopg import errors, sql

from infra.migrate import ROLE_CONNECTIONS, SERVICES, migrate, provision_roles
from libs.common.runtime.schema.base import (
    APPEND_ONLY,
    COLUMNS,
    DEFINERS,
    PRIVATE,
    TEMPORARY,
    WRITERS,
)
from tests.support.servers import ServerProcess, drop_database

PASSWORD = "test-only"
LATE = "market_quotes_p_2001_01"  # a partition made after the roles got their rights


@dataclass(frozen=True)
class Relation:
    """A table, partition, view or materialised view; `root` is whom a partition belongs to."""

    name: str
    root: str
    kind: str
    columns: tuple[tuple[str, str], ...]


@pytest.fixture(scope="module")
def owner(pg_server: ServerProcess) -> Iterator[str]:
    """A migrated database with logins, as its owner."""
    name = f"roles_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(pg_server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = pg_server.url.rsplit("/", 1)[0] + f"/{name}"
    migrate(url, dict.fromkeys(SERVICES, PASSWORD))
    yield url
    drop_database(pg_server.url, name)


@pytest.fixture(scope="module")
def relations(owner: str) -> list[Relation]:
    with psycopg.connect(owner) as connection:
        connection.execute("SELECT ensure_month_partition('market_quotes', '2001-01-01')")
        rows = connection.execute(
            """
            SELECT c.relname, coalesce(pg_partition_root(c.oid), c.oid)::regclass::text, c.relkind,
                   array_agg(a.attname ORDER BY a.attnum),
                   array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum)
            FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
              AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity <> 'a'
            GROUP BY c.oid, c.relname, c.relkind ORDER BY c.relname
            """
        ).fetchall()
    return [
        Relation(name, root, kind, tuple(zip(names, types, strict=True)))
        for name, root, kind, names, types in rows
    ]


@pytest.fixture(params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def login(owner: str, service: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(as_role(owner, service)) as connection:
        yield connection
        connection.rollback()


@pytest.fixture(scope="module")
def logins(owner: str) -> Iterator[dict[str, psycopg.Connection]]:
    connections = {name: psycopg.connect(as_role(owner, name)) for name in SERVICES}
    yield connections
    for connection in connections.values():
        connection.close()


def as_role(owner: str, service: str) -> str:
    scheme, _, rest = owner.partition("://")
    return f"{scheme}://{service}:{PASSWORD}@{rest.rpartition('@')[2]}"


def allowed(connection: psycopg.Connection, statement: sql.Composable | str) -> bool:
    """Try a statement and take it back; an error other than "not permitted" fails the test."""
    query = sql.SQL(statement) if isinstance(statement, str) else statement
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(query)
    except errors.InsufficientPrivilege:
        return False
    except (errors.ObjectNotInPrerequisiteState, errors.WrongObjectType):
        return False  # a view that nobody can write
    except (errors.IntegrityError, errors.FeatureNotSupported):
        return True  # the right was there: a row, a trigger or the kind of table stood in the way
    return True


def attempts(relation: Relation) -> dict[str, sql.Composable]:
    """Return a statement for each verb that touches every column and no row."""
    name = sql.Identifier(relation.name)
    columns = sql.SQL(", ").join(sql.Identifier(column) for column, _ in relation.columns)
    return {
        "SELECT": sql.SQL("SELECT {} FROM {} WHERE false").format(columns, name),
        "INSERT": _insert(relation.name, relation.columns),
        "UPDATE": _update(relation.name, relation.columns),
        "DELETE": sql.SQL("DELETE FROM {}").format(name),
        "TRUNCATE": sql.SQL("TRUNCATE {}").format(name),
    }


def due(relation: Relation, service: str) -> set[str]:
    """Return the verbs that a service is to have, by what the schema's modules declare."""
    readers = (*PRIVATE[relation.root], *WRITERS[relation.root]) if relation.root in PRIVATE else ()
    verbs = {"SELECT"} if relation.root not in PRIVATE or service in readers else set()
    if relation.name != relation.root or service not in WRITERS.get(relation.root, ()):
        return verbs  # a partition is written through its parent
    if relation.name in COLUMNS:
        inserted, updated = COLUMNS[relation.name]
        names = {column for column, _ in relation.columns}
        return (
            verbs
            | ({"INSERT"} if names <= set(inserted) else set())
            | ({"UPDATE"} if names <= set(updated) else set())
        )
    return verbs | ({"INSERT"} if relation.name in APPEND_ONLY else {"INSERT", "UPDATE", "DELETE"})


def _insert(table: str, columns: tuple[tuple[str, str], ...]) -> sql.Composable:
    return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} WHERE false").format(
        sql.Identifier(table),
        sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns),
        sql.SQL(", ").join(sql.SQL("CAST(NULL AS " + kind + ")") for _, kind in columns),
    )


def _update(table: str, columns: tuple[tuple[str, str], ...]) -> sql.Composable:
    # Without a WHERE: a condition would need SELECT too.
    return sql.SQL("UPDATE {} SET {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(
            sql.SQL("{} = NULL").format(sql.Identifier(name)) for name, _ in columns
        ),
    )


def test_every_table_of_the_database_has_a_declared_writer(relations: list[Relation]) -> None:
    tables = {relation.root for relation in relations if relation.kind in {"r", "p"}}
    assert tables == WRITERS.keys() | {"alembic_version"}


def test_a_role_does_to_each_relation_what_is_declared_and_no_more(
    login: psycopg.Connection, service: str, relations: list[Relation]
) -> None:
    wrong = []
    for relation in relations:
        given = {verb for verb, way in attempts(relation).items() if allowed(login, way)}
        if relation.name == LATE:
            given |= due(relation, service)  # read through its parent until roles are renewed
        if given != due(relation, service):
            wrong.append((relation.name, sorted(given), sorted(due(relation, service))))
    assert wrong == []


def test_a_role_writes_the_columns_that_are_declared_and_no_others(
    login: psycopg.Connection, service: str, relations: list[Relation]
) -> None:
    wrong = []
    for relation in relations:
        writes = relation.name == relation.root and service in WRITERS.get(relation.root, ())
        if relation.name in COLUMNS and writes:
            inserted, updated = COLUMNS[relation.name]
            for column in relation.columns:
                may = (
                    allowed(login, _insert(relation.name, (column,))),
                    allowed(login, _update(relation.name, (column,))),
                )
                if may != (column[0] in inserted, column[0] in updated):
                    wrong.append((relation.name, column[0], may))
        elif not writes:
            # No way in through a single column, nor a right that no verb above shows.
            row = login.execute(
                "SELECT has_any_column_privilege(%s, 'INSERT, UPDATE, REFERENCES') "
                "OR has_table_privilege(%s, 'TRIGGER, MAINTAIN')",
                (relation.name, relation.name),
            ).fetchone()
            if row != (False,):
                wrong.append((relation.name, "some column", row))
    assert wrong == []


def test_a_view_shows_nothing_private(owner: str) -> None:
    with psycopg.connect(owner) as connection:
        shown = connection.execute(
            """
            SELECT DISTINCT r.ev_class::regclass::text, d.refobjid::regclass::text
            FROM pg_rewrite r JOIN pg_depend d ON d.objid = r.oid
            WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
            """
        ).fetchall()
    assert [(view, table) for view, table in shown if table in PRIVATE] == []


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE public.mine (x int)",
        "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE TYPE public.mine AS (x int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "ALTER ROLE CURRENT_USER CREATEROLE",
        "ALTER ROLE postgres PASSWORD 'x'",
        "SET SESSION AUTHORIZATION postgres",
        "SET ROLE postgres",
        "GRANT pg_read_all_data TO CURRENT_USER",
        "ALTER TABLE orders ADD COLUMN mine int",
        "DROP TABLE orders",
        "CREATE INDEX ON orders (id)",
        "CREATE TRIGGER t BEFORE INSERT ON orders EXECUTE FUNCTION refuse_change()",
        "ALTER TABLE ledger_transfers DISABLE TRIGGER ALL",
        "COMMENT ON TABLE orders IS 'mine'",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT pg_reload_conf()",
        "COPY (SELECT 1) TO '/tmp/mine'",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SET session_replication_role = replica",
        "SELECT pg_create_logical_replication_slot('mine', 'pgoutput')",
    ],
)
def test_no_role_changes_the_schema_or_itself(
    logins: dict[str, psycopg.Connection], statement: str
) -> None:
    assert [name for name, login in logins.items() if allowed(login, statement)] == []


def test_no_role_touches_a_sequence(login: psycopg.Connection, owner: str) -> None:
    with psycopg.connect(owner) as connection:
        names = connection.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'S'"
            " AND relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert names
    for (name,) in names:
        for call in ("nextval({})", "setval({}, 1)"):
            statement = sql.SQL("SELECT " + call).format(sql.Literal(name))
            assert not allowed(login, statement), name


def test_functions_with_the_owners_rights_are_for_those_who_need_them(
    login: psycopg.Connection, service: str
) -> None:
    rows = login.execute(
        """
        SELECT proname, prosecdef, coalesce(proconfig::text, ''),
               has_function_privilege(current_user, oid, 'EXECUTE'),
               has_function_privilege('public', oid, 'EXECUTE')
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        """
    ).fetchall()
    definers = {row[0]: row for row in rows if row[1]}
    assert definers.keys() == DEFINERS.keys()
    for name, _, config, may, anybody in definers.values():
        assert "search_path=public, pg_temp" in config, name
        assert may == (service in DEFINERS[name]), name
        assert not anybody, name
    # The others run with the caller's own rights.
    assert all(may and not anybody for _, definer, _, may, anybody in rows if not definer)


def test_the_sums_of_the_ledger_cannot_be_moved_through_a_table_of_ones_own(owner: str) -> None:
    # ledger_apply() runs with its owner's rights. Whoever could hang it on a temporary table of his
    # own could move any account's sums without a transfer; TEMPORARY and EXECUTE were anybody's.
    for service in SERVICES:
        with psycopg.connect(as_role(owner, service)) as connection:
            if service in TEMPORARY:
                connection.execute("CREATE TEMPORARY TABLE mine (LIKE ledger_transfers)")
            else:
                with pytest.raises(errors.InsufficientPrivilege, match="temporary"):
                    connection.execute("CREATE TEMPORARY TABLE mine (LIKE ledger_transfers)")
                continue
            with pytest.raises(errors.InsufficientPrivilege, match="ledger_apply"):
                connection.execute(
                    "CREATE TRIGGER t AFTER INSERT ON mine FOR EACH ROW"
                    " EXECUTE FUNCTION ledger_apply()"
                )


def test_roles_have_no_power_beyond_their_grants(owner: str) -> None:
    with psycopg.connect(owner) as connection:
        powers = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) AND (rolsuper OR rolcreaterole"
            " OR rolcreatedb OR rolbypassrls OR rolreplication OR rolconnlimit <> %s)",
            (list(SERVICES), ROLE_CONNECTIONS),
        ).fetchall()
        memberships = connection.execute(
            "SELECT member::regrole::text, roleid::regrole::text FROM pg_auth_members"
            " WHERE member::regrole::text = ANY(%s) OR roleid::regrole::text = ANY(%s)",
            (list(SERVICES), list(SERVICES)),
        ).fetchall()
        owned = connection.execute(
            "SELECT relname FROM pg_class WHERE relowner::regrole::text = ANY(%s)",
            (list(SERVICES),),
        ).fetchall()
    assert (powers, memberships, owned) == ([], [], [])


def test_a_power_that_somebody_gave_a_role_is_taken_back(owner: str) -> None:
    role = sql.Identifier(SERVICES[0])
    with psycopg.connect(owner) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} CREATEROLE BYPASSRLS").format(role))
        connection.execute(sql.SQL("GRANT ALL ON SCHEMA public TO {}").format(role))
        connection.execute(sql.SQL("GRANT ALL ON users TO {}").format(role))
        connection.execute(sql.SQL("GRANT UPDATE (name) ON users TO {}").format(role))
        connection.execute(
            sql.SQL("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {}").format(role)
        )
        provision_roles(connection, {})
        row = connection.execute(
            "SELECT rolcreaterole, rolbypassrls, has_schema_privilege(rolname, 'public', 'CREATE'),"
            " has_any_column_privilege(rolname, 'users', 'INSERT, UPDATE'),"
            " has_sequence_privilege(rolname, 'outbox_seq_seq', 'USAGE')"
            " FROM pg_roles WHERE rolname = %s",
            (SERVICES[0],),
        ).fetchone()
        connection.rollback()
    assert row == (False, False, False, False, False)


def test_only_the_services_enter_the_database(pg_server: ServerProcess, owner: str) -> None:
    stranger = f"stranger_{uuid.uuid4().hex[:8]}"
    make = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
    with psycopg.connect(pg_server.url, autocommit=True) as connection:
        connection.execute(make.format(sql.Identifier(stranger), sql.Literal(PASSWORD)))
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(as_role(owner, stranger))


def test_a_role_without_a_password_cannot_log_in(pg_server: ServerProcess, owner: str) -> None:
    role = sql.Identifier(SERVICES[0])
    with psycopg.connect(pg_server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD NULL").format(role))
    try:
        with pytest.raises(psycopg.OperationalError, match="authentication failed"):
            psycopg.connect(as_role(owner, SERVICES[0]))
    finally:
        with psycopg.connect(pg_server.url, autocommit=True) as connection:
            given = sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(PASSWORD))
            connection.execute(given)
