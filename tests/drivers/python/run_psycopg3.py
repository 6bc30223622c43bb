"""psycopg 3 (libpq): see scenario.py."""
import datetime
import decimal
import uuid

import psycopg
from psycopg import errors
from psycopg.types.json import Jsonb

from scenario import DATABASE, HOST, PASSWORD, PORT, USER, cancel_when_asleep, main, until

VALUES = [1, -2**62, "text with 'quotes' \\ ü€😀", None, b"\x00\xff\\x", decimal.Decimal("123.4500"), 1.5, True,
          datetime.date(2024, 2, 29), uuid.UUID(int=42), [1, None, 3], Jsonb({"a": [1, None]})]
CASTS = ["int", "int8", "text", "text", "bytea", "numeric", "float8", "bool", "date", "uuid", "int[]", "jsonb"]


def connection(**more):
    return psycopg.connect(host=HOST, port=PORT, user=USER, password=PASSWORD, dbname=DATABASE,
                           autocommit=True, **more)


def ask(sql):
    with connection() as conn:
        return conn.execute(sql).fetchone()[0]


def connect():
    with connection(application_name="matrix", options="-c geqo=off -c search_path=x,public") as conn:
        return conn.execute("SELECT current_setting('application_name'), current_setting('geqo'), current_user, "
                            "current_setting('search_path')").fetchone(), conn.info.server_version


def parameters():
    with connection() as conn:
        return conn.execute("SELECT " + ", ".join(f"%s::{c}" for c in CASTS), VALUES).fetchone()


def binary():
    with connection() as conn:
        cur = conn.execute("SELECT " + ", ".join(f"%s::{c}" for c in CASTS), VALUES, binary=True)
        return cur.fetchone(), [(c.name, c.type_code) for c in cur.description]


def prepared():
    seen = []
    with connection(prepare_threshold=3) as conn:
        conn.execute("CREATE TEMP TABLE p (id int, name text)")
        for i in range(10):
            conn.execute("INSERT INTO p VALUES (%s, %s)", (i, f"n{i}"))
            seen.append(conn.execute("SELECT name FROM p WHERE id = %s", (i,)).fetchone())
        seen.append(conn.execute("SELECT count(*) FROM pg_prepared_statements").fetchone())
        conn.execute("DISCARD ALL")
        seen.append(conn.execute("SELECT 1", prepare=True).fetchone())
    return seen


def portals():
    with connection() as conn, conn.transaction(), conn.cursor("named") as cur:
        cur.itersize = 3
        cur.execute("SELECT i FROM generate_series(1, %s) i", (10,))
        return cur.fetchmany(2), [r[0] for r in cur]


def batch():
    with connection() as conn, conn.cursor() as cur:
        cur.execute("CREATE TEMP TABLE b (id int)")
        cur.executemany("INSERT INTO b VALUES (%s)", [(i,) for i in range(500)])
        return cur.rowcount, cur.execute("SELECT count(*), sum(id) FROM b").fetchone()


def pipeline():
    with connection() as conn, conn.pipeline():
        cursors = [conn.execute("SELECT %s::int", (i,)) for i in range(200)]
        return [c.fetchone()[0] for c in cursors][-3:]


def copy_in():
    with connection() as conn, conn.cursor() as cur:
        cur.execute("CREATE TEMP TABLE c (id int8, name text)")
        with cur.copy("COPY c FROM STDIN (FORMAT binary)") as out:
            out.set_types(["int8", "text"])
            for i in range(2000):
                out.write_row((i, f"name\t{i}"))
        return cur.rowcount, cur.execute("SELECT count(*), max(name) FROM c").fetchone()


def copy_out():
    with connection() as conn, conn.cursor() as cur:
        with cur.copy("COPY (SELECT i, 'x' || i FROM generate_series(1, 5000) i) TO STDOUT") as data:
            rows = list(data.rows())
        return len(rows), rows[-1]


def cancel():
    with connection() as conn:
        cancel_when_asleep(conn.info.backend_pid, ask, conn.cancel)
        try:
            conn.execute("SELECT pg_sleep(60)")
        except errors.QueryCanceled as e:
            return e.diag.message_primary, conn.execute("SELECT 'alive'").fetchone()
    return None


def timeout():
    with connection(options="-c statement_timeout=100") as conn:
        try:
            conn.execute("SELECT pg_sleep(60)")
        except errors.QueryCanceled as e:
            return e.sqlstate, e.diag.message_primary
    return None


def notices():
    seen = []
    with connection() as conn:
        conn.add_notice_handler(lambda d: seen.append((d.severity, d.sqlstate, d.message_primary, d.message_hint)))
        conn.execute("DO $$ BEGIN RAISE WARNING 'two' USING HINT = 'h', ERRCODE = '01234'; END $$")
    return seen


def listen():
    with connection() as listener:
        listener.execute("LISTEN news")
        ask("SELECT pg_notify('news', 'payload')::text")
        for n in listener.notifies():
            return n.channel, n.payload


def large_objects():
    with connection() as conn, conn.transaction():
        oid = conn.execute("SELECT lo_from_bytea(0, %s)", (b"abc" * 10000,)).fetchone()[0]
        seen = conn.execute("SELECT length(lo_get(%s)), lo_get(%s, 3, 3)", (oid, oid)).fetchone()
        conn.execute("SELECT lo_unlink(%s)", (oid,))
        return seen


def batch_error():
    with connection() as conn:
        conn.execute("CREATE TEMP TABLE e (id int PRIMARY KEY)")
        try:
            conn.cursor().executemany("INSERT INTO e VALUES (%s)", [(1,), (2,), (1,), (3,)])
        except errors.UniqueViolation as e:
            return e.sqlstate, e.diag.message_detail, conn.execute("SELECT count(*) FROM e").fetchone()
    return None


def transaction():
    with connection() as conn:
        conn.execute("CREATE TEMP TABLE t (id int)")
        try:
            with conn.transaction():
                conn.execute("INSERT INTO t VALUES (1)")
                conn.execute("SELECT 1/0")
        except errors.DivisionByZero as e:
            return e.sqlstate, conn.info.transaction_status.name, conn.execute("SELECT count(*) FROM t").fetchone()
    return None


def savepoint():
    seen = []
    with connection() as conn:
        conn.execute("CREATE TEMP TABLE s (id int PRIMARY KEY)")
        with conn.transaction():
            for value in (1, 1, 2):
                try:
                    with conn.transaction():
                        conn.execute("INSERT INTO s VALUES (%s)", (value,))
                except errors.UniqueViolation as e:
                    seen.append(e.sqlstate)
        return seen, conn.execute("SELECT array_agg(id) FROM s").fetchone()


def large_value():
    with connection() as conn:
        data = bytes(range(256)) * 65536
        row = conn.execute("SELECT length(%b::bytea), %b::bytea", (data, data), binary=True).fetchone()
        return row[0], row[1] == data


def vendor_task():
    with connection() as conn:
        cur = conn.execute("SELECT what, failure_times FROM pg_task_show(%s)", ("SQLonHudi",))
        try:
            conn.execute("SELECT pg_task_pause(%s)", ("no such task",))
        except errors.Error as e:
            return cur.fetchall(), [c.name for c in cur.description], e.sqlstate


def vendor_cursor():
    with connection() as conn, conn.transaction():
        conn.execute("DECLARE c1 PARALLEL RETRIEVE CURSOR FOR SELECT * FROM generate_series(1, 10)")
        rows = conn.execute("SELECT endpoint_name, auth_token FROM gp_endpoints WHERE cursor_name = %s",
                            ("c1",)).fetchall()
        with psycopg.connect(host=HOST, port=PORT, user=USER, password=rows[0][1], dbname=DATABASE,
                             options="-c gp_session_role=retrieve", autocommit=True) as reader:
            some = reader.execute(f"RETRIEVE 3 FROM ENDPOINT {rows[0][0]}").fetchall()
            rest = reader.execute(f"RETRIEVE ALL FROM ENDPOINT {rows[0][0]}").fetchall()
        check = conn.execute("CHECK PARALLEL RETRIEVE CURSOR c1 NOWAIT").statusmessage
        conn.execute("CLOSE c1")
        return len(rows), some, len(rest), check


def vendor_rebuild():
    with connection() as conn:
        conn.execute("DROP TABLE IF EXISTS matrix_rebuild")
        conn.execute("CREATE TABLE matrix_rebuild (id int PRIMARY KEY)")
        query_id = conn.execute("ASYNC REBUILD TABLE matrix_rebuild ADD COLUMN more text").fetchone()[0]
        until(lambda: conn.execute("SELECT status FROM hologres.rebuild_progress(%s) WHERE step = 'swap'",
                                   (query_id,)).fetchone()[0] == "done", "the table is rebuilt")
        return [c.name for c in conn.execute("SELECT * FROM matrix_rebuild").description]


if __name__ == "__main__":
    main({name: f for name, f in list(globals().items()) if callable(f) and f.__module__ == "__main__"
          and name not in ("connection", "ask")})
