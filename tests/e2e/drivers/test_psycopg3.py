"""psycopg 3 through pgveneer: the extended protocol with parameters in text and binary, automatic
prepared statements, pipeline mode, server-side cursors, COPY, cancel, notifications, asyncio.

A scenario takes a connection string and returns what it saw; it runs directly and through pgveneer,
and both must have seen the same.
"""
import asyncio
import datetime
import decimal
import os
import sys
import threading
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from cluster import Cluster, Scenarios, equal, wait_until  # noqa: E402

try:
    import psycopg
except ImportError:  # a python3 of the user's own in front of the system's, which has the package
    if sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
from psycopg import errors  # noqa: E402
from psycopg.types.json import Jsonb  # noqa: E402

SECOND = "42000000-0000-0000-0000-000000000000"
VALUES = [1, -2**62, "text with 'quotes' \\ and ü€😀", None, b"\x00\xff\\x", decimal.Decimal("123.4500"), 1.5,
          True, datetime.date(2024, 2, 29), datetime.timedelta(days=1, seconds=3),
          datetime.datetime(2024, 2, 29, 12, 0, 0, 123456, datetime.timezone.utc), uuid.UUID(SECOND),
          [1, None, 3], ["a", 'b"c'], Jsonb({"a": [1, None]})]
CASTS = ["int", "int8", "text", "text", "bytea", "numeric", "float8", "bool", "date", "interval",
         "timestamptz", "uuid", "int[]", "text[]", "jsonb"]


def connect(dsn, **more):
    conn = psycopg.connect(dsn, autocommit=True, **more)
    conn.execute("SET timezone = 'UTC'")
    return conn


def parameters(dsn, binary):
    query = "SELECT " + ", ".join(f"%s::{cast}" for cast in CASTS)
    with connect(dsn) as conn:
        cur = conn.execute(query, VALUES, binary=binary)
        row = cur.fetchone()
        equal(row[2], VALUES[2])
        return row, [(c.name, c.type_code) for c in cur.description]


def binary_parameters(dsn):
    with connect(dsn) as conn:
        return conn.execute("SELECT %b::int8 + %b::int8, %b::bytea, %b::text", (1, 2, b"\x00\x01", "x"),
                            binary=True).fetchone()


def prepared(dsn):
    seen = []
    with connect(dsn, prepare_threshold=3) as conn:
        conn.execute("CREATE TEMP TABLE p (id int, name text)")
        for i in range(12):
            conn.execute("INSERT INTO p VALUES (%s, %s)", (i, f"n{i}"))
            seen.append(conn.execute("SELECT name FROM p WHERE id = %s", (i,)).fetchone())
        seen.append(conn.execute("SELECT count(*) FROM pg_prepared_statements").fetchone())
        conn.execute("ALTER TABLE p ADD more int")
        try:
            for _ in range(10):
                seen.append(conn.execute("SELECT * FROM p WHERE id = %s", (1,)).fetchone())
            conn.execute("ALTER TABLE p DROP more")
            seen.append(conn.execute("SELECT * FROM p WHERE id = %s", (1,)).fetchone())
        except errors.FeatureNotSupported as e:
            seen.append(e.diag.message_primary)
        seen.append(conn.execute("SELECT * FROM p WHERE id = %s", (1,), prepare=False).fetchone())
        conn.execute("DISCARD ALL")
        seen.append(conn.execute("SELECT 1", prepare=True).fetchone())
    return seen


def executemany(dsn):
    with connect(dsn) as conn, conn.cursor() as cur:
        cur.execute("CREATE TEMP TABLE m (id int PRIMARY KEY, name text)")
        cur.executemany("INSERT INTO m VALUES (%s, %s)", [(i, f"n{i}") for i in range(500)])
        count = cur.rowcount
        cur.executemany("UPDATE m SET name = %s WHERE id < %s RETURNING id",
                        [("a", 2), ("b", 1), ("c", 0)], returning=True)
        sets = []
        while True:
            sets.append(cur.fetchall())
            if not cur.nextset():
                break
        try:
            cur.executemany("INSERT INTO m VALUES (%s, %s)", [(1000, "x"), (1, "twice"), (1001, "x")])
        except errors.UniqueViolation as e:
            sets.append(e.diag.constraint_name)
        return count, sets, cur.execute("SELECT count(*) FROM m").fetchone()


def server_cursors(dsn):
    seen = []
    with psycopg.connect(dsn) as conn:
        with conn.cursor("named", binary=False) as cur:
            cur.execute("SELECT i, 'row ' || i FROM generate_series(1, %s) i", (10,))
            cur.itersize = 3
            seen.append([c.name for c in cur.description])
            seen.append(cur.fetchmany(2))
            seen.append(list(cur))
        with conn.cursor("scroll", scrollable=True, withhold=True) as cur:
            cur.execute("SELECT i FROM generate_series(1, 100) i")
            cur.scroll(50)
            seen.append(cur.fetchone())
            cur.scroll(10, mode="absolute")
            conn.commit()
            seen.append(cur.fetchmany(3))
        with conn.cursor('odd "name"') as cur:
            cur.execute("SELECT 1 / (3 - i) FROM generate_series(1, 5) i")
            try:
                cur.fetchall()
            except errors.DivisionByZero as e:
                seen.append(e.sqlstate)
            conn.rollback()
        seen.append(conn.execute("SELECT 'alive'").fetchone())
    return seen


def copy(dsn, binary):
    form = "(FORMAT binary)" if binary else ""
    seen = []
    with connect(dsn) as conn, conn.cursor() as cur:
        cur.execute("CREATE TEMP TABLE c (id int8, name text, at timestamptz)")
        with cur.copy(f"COPY c FROM STDIN {form}") as out:
            if binary:
                out.set_types(["int8", "text", "timestamptz"])
            for i in range(5000):
                out.write_row((i, f"name\t{i}\\" if i % 3 else None, VALUES[10]))
        seen.append(cur.rowcount)
        with cur.copy(f"COPY (SELECT * FROM c ORDER BY id) TO STDOUT {form}") as data:
            if binary:
                data.set_types(["int8", "text", "timestamptz"])
            seen.append([row for row in data.rows()][:7])
        try:
            with cur.copy("COPY c FROM STDIN") as out:
                for i in range(100):
                    out.write(f"{i}\tx\t\\N\n" if i != 50 else "nonsense\n")
        except errors.Error as e:
            seen.append((e.sqlstate, e.diag.context))
        try:
            with cur.copy("COPY c FROM STDIN") as out:
                out.write("1\tx\t\\N\n")
                raise ValueError("the client gives up")
        except errors.QueryCanceled as e:  # the server's answer to CopyFail
            seen.append((e.diag.message_primary, e.diag.context))
        with cur.copy("COPY c TO STDOUT") as data:
            seen.append(sum(len(block) for block in data))
        seen.append(cur.execute("SELECT count(*), count(name) FROM c").fetchone())
    return seen


def pipeline(dsn):
    seen = []
    with connect(dsn) as conn:
        conn.execute("CREATE TEMP TABLE q (id int PRIMARY KEY)")
        with conn.pipeline() as p:
            cursors = [conn.execute("INSERT INTO q VALUES (%s) RETURNING id", (i,)) for i in range(300)]
            p.sync()
            cursors.append(conn.execute("SELECT count(*) FROM q"))
        seen.append([c.fetchone() for c in cursors][-3:])
        try:
            with conn.pipeline() as p:
                first = conn.execute("SELECT 'first'")
                conn.execute("INSERT INTO q VALUES (1)")
                conn.execute("INSERT INTO q VALUES (9999)")
                p.sync()
        except errors.UniqueViolation as e:
            seen.append((e.sqlstate, first.fetchone()))
        with conn.pipeline():
            with conn.transaction():
                conn.execute("INSERT INTO q VALUES (1000)")
                try:
                    with conn.transaction():
                        conn.execute("SELECT 1/0").fetchone()
                except errors.DivisionByZero:
                    seen.append("caught")
                conn.execute("INSERT INTO q VALUES (1001)")
        seen.append(conn.execute("SELECT count(*), max(id) FROM q").fetchone())
    return seen


def transactions(dsn):
    seen = []
    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE TEMP TABLE s (id int PRIMARY KEY)")
        with conn.transaction():
            conn.execute("INSERT INTO s VALUES (1)")
            for value in (2, 1, 3):
                try:
                    with conn.transaction():
                        conn.execute("INSERT INTO s VALUES (%s)", (value,))
                except errors.UniqueViolation as e:
                    seen.append((e.sqlstate, e.diag.message_primary, e.diag.message_detail))
        conn.commit()
        try:
            conn.execute("SELECT nonsense")
        except errors.UndefinedColumn as e:
            seen.append((e.sqlstate, e.diag.statement_position, conn.info.transaction_status.name))
        try:
            conn.execute("SELECT 1")
        except errors.InFailedSqlTransaction as e:
            seen.append(e.sqlstate)
        conn.rollback()
        seen.append(conn.execute("SELECT array_agg(id ORDER BY id) FROM s").fetchone())
        conn.rollback()
        conn.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        conn.read_only = True
        seen.append(conn.execute("SHOW transaction_isolation").fetchone())
    return seen


def two_phase(dsn):
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE twophase (id int)")
    conn = psycopg.connect(dsn)
    xid = conn.xid(7, "gtrid", "bqual")
    conn.tpc_begin(xid)
    conn.execute("INSERT INTO twophase VALUES (1)")
    conn.tpc_prepare()
    conn.tpc_rollback()
    conn.tpc_begin(xid)
    conn.execute("INSERT INTO twophase VALUES (2)")
    conn.tpc_prepare()
    conn.close()
    with psycopg.connect(dsn) as conn:
        recovered = conn.tpc_recover()
        conn.rollback()  # tpc_recover has begun a transaction
        conn.tpc_commit(recovered[0])
        rows = conn.execute("SELECT id FROM twophase").fetchall()
        conn.execute("DROP TABLE twophase")
        return [(x.gtrid, x.bqual) for x in recovered], rows


def cancel(dsn):
    with connect(dsn) as conn:
        pid = conn.info.backend_pid

        def cancel_when_it_sleeps():
            with connect(dsn) as other:
                wait_until(lambda: other.execute(
                    "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone()[0],
                    "the statement runs")
            conn.cancel()
        thread = threading.Thread(target=cancel_when_it_sleeps)
        thread.start()
        try:
            conn.execute("SELECT pg_sleep(%s)", (60,))
            raise AssertionError("not cancelled")
        except errors.QueryCanceled as e:
            seen = e.diag.message_primary
        thread.join()
        return seen, conn.execute("SELECT 'alive'").fetchone()


def statement_timeout(dsn):
    with psycopg.connect(dsn, options="-c statement_timeout=100") as conn:
        try:
            conn.execute("SELECT pg_sleep(60)")
        except errors.QueryCanceled as e:
            return e.diag.message_primary
    return None


def notices(dsn):
    seen = []
    with connect(dsn) as conn:
        conn.add_notice_handler(lambda d: seen.append((d.severity, d.sqlstate, d.message_primary, d.message_hint)))
        conn.execute("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two' USING HINT = 'h', ERRCODE = '01234'; END $$")
        conn.execute("DROP TABLE IF EXISTS missing")
    return seen


def notifications(dsn):
    with connect(dsn) as listener, connect(dsn) as sender:
        listener.execute("LISTEN news")
        for i in range(3):
            sender.execute("SELECT pg_notify('news', %s)", (f"payload {i}",))
        seen = []
        for n in listener.notifies():  # blocks until something arrives while the session is idle
            seen.append((n.channel, n.payload))
            if len(seen) == 3:
                break
        return seen


def large_values(dsn):
    with connect(dsn) as conn:
        data = os.urandom(1 << 20) * 24
        row = conn.execute("SELECT md5(%b::bytea), length(%b::bytea), %b::bytea", (data, data, data), binary=True)
        equal(row.fetchone()[2] == data, True, "the bytes came back")
        rows = conn.execute("SELECT repeat('x', 1000) FROM generate_series(1, 50000)").fetchall()
        return len(rows), {len(r[0]) for r in rows}


def terminated(dsn):
    conn = connect(dsn)
    try:
        conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    except psycopg.OperationalError as e:
        return e.sqlstate, str(e), conn.closed, conn.broken
    return None


def encodings(dsn):
    with psycopg.connect(dsn, client_encoding="latin1", autocommit=True) as conn:
        seen = [conn.info.encoding, conn.execute("SELECT 'ü' || %s", ("é",)).fetchone()]
        try:
            conn.execute("SELECT chr(8364)")
        except errors.UntranslatableCharacter as e:
            seen.append(e.sqlstate)
        conn.execute("SET client_encoding TO 'SJIS'")
        return seen + [conn.execute("SELECT %s", ("表示",)).fetchone(), conn.execute("SELECT '表示'").fetchone()]


def session(dsn):
    with psycopg.connect(dsn, application_name="app name", options="-c geqo=off -c search_path=x,public") as conn:
        info = conn.info
        return (conn.execute("SELECT current_setting('application_name'), current_setting('geqo'), "
                             "current_setting('search_path'), current_user").fetchone(),
                info.server_version, info.parameter_status("standard_conforming_strings"),
                info.parameter_status("TimeZone"), info.parameter_status("is_superuser"))


def refused(dsn):
    seen = []
    for change in ({"password": "wrong"}, {"dbname": "missing"}, {"user": "nobody"}, {"options": "-c nonsense=1"}):
        try:
            psycopg.connect(dsn, **change).close()
            seen.append("accepted")
        except psycopg.OperationalError as e:
            seen.append(str(e).partition("FATAL:")[2])
    return seen


def asynchronous(dsn):
    async def work(i):
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            async with conn.pipeline():
                a = await conn.execute("SELECT %s::int", (i,))
                b = await conn.execute("SELECT pg_sleep(0.01)")
                return (await a.fetchone(), (await b.fetchone())[0] == "")

    async def all_of_them():
        return await asyncio.gather(*(work(i) for i in range(20)))
    return asyncio.run(all_of_them())


SCENARIOS = {
    "parameters of many types": lambda dsn: parameters(dsn, False),
    "parameters, binary results": lambda dsn: parameters(dsn, True),
    "binary parameters": binary_parameters,
    "automatic prepared statements": prepared,
    "executemany": executemany,
    "server-side cursors": server_cursors,
    "COPY in and out": lambda dsn: copy(dsn, False),
    "COPY in and out, binary": lambda dsn: copy(dsn, True),
    "pipeline mode": pipeline,
    "transactions, savepoints, recovery": transactions,
    "two-phase commit": two_phase,
    "cancel": cancel,
    "statement_timeout": statement_timeout,
    "notices": notices,
    "LISTEN and NOTIFY": notifications,
    "large values": large_values,
    "a terminated server process": terminated,
    "client encodings": encodings,
    "startup parameters": session,
    "refused logins": refused,
    "asyncio, 20 connections": asynchronous,
}


def same(c, scenario):
    direct, proxied = scenario(c.direct.dsn()), scenario(c.proxy.dsn())
    equal(proxied, direct)
    if direct is None:
        raise AssertionError("the scenario saw nothing")


def main():
    s = Scenarios("psycopg " + psycopg.__version__)
    with Cluster(settings={"max_prepared_transactions": "5"}) as c:
        c.start_proxy("proxy")
        for name, scenario in SCENARIOS.items():
            s.run(name, same, c, scenario)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
