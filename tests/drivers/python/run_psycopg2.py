"""psycopg2 (libpq, simple protocol): see scenario.py."""
import io
import select

import psycopg2
import psycopg2.extras
from psycopg2 import errors

from scenario import DATABASE, HOST, PASSWORD, PORT, USER, NotApplicable, cancel_when_asleep, main, until


def connection(**more):
    conn = psycopg2.connect(**{"host": HOST, "port": PORT, "user": USER, "password": PASSWORD,
                               "dbname": DATABASE, **more})
    conn.autocommit = True
    return conn


def run(conn, sql, params=None):
    cur = conn.cursor()
    cur.execute(sql, params)
    return cur.fetchall() if cur.description else cur.statusmessage


def ask(sql):
    conn = connection()
    try:
        return run(conn, sql)[0][0]
    finally:
        conn.close()


def connect():
    conn = connection(application_name="matrix", options="-c geqo=off")
    return run(conn, "SELECT current_setting('application_name'), current_setting('geqo'), current_user"), \
        conn.server_version, conn.get_parameter_status("standard_conforming_strings")


def parameters():
    return run(connection(), "SELECT %s, %s, %s, %s::bytea, %s, %s::int[], %s",
               (1, "text with 'quotes' \\ ü€😀", None, psycopg2.Binary(b"\x00\xff\\x"), 1.5, [1, None, 3], True))


def binary():
    raise NotApplicable("psycopg2 has text results only")


def prepared():
    conn = connection()
    run(conn, "PREPARE q(int) AS SELECT $1 + 1")
    return [run(conn, "EXECUTE q(%s)", (i,)) for i in range(10)]


def portals():
    conn = connection()
    conn.autocommit = False
    cur = conn.cursor("named")
    cur.itersize = 3
    cur.execute("SELECT i FROM generate_series(1, 10) i")
    return cur.fetchmany(2), list(cur)


def batch():
    conn = connection()
    run(conn, "CREATE TEMP TABLE b (id int)")
    cur = conn.cursor()
    psycopg2.extras.execute_batch(cur, "INSERT INTO b VALUES (%s)", [(i,) for i in range(500)], page_size=100)
    psycopg2.extras.execute_values(cur, "INSERT INTO b VALUES %s", [(i,) for i in range(500)])
    return run(conn, "SELECT count(*), sum(id) FROM b")


def pipeline():
    raise NotApplicable("psycopg2 waits for each answer")


def copy_in():
    conn = connection()
    run(conn, "CREATE TEMP TABLE c (id int8, name text)")
    conn.cursor().copy_expert("COPY c FROM STDIN", io.StringIO("".join(f"{i}\tname {i}\n" for i in range(2000))))
    return run(conn, "SELECT count(*), max(name) FROM c")


def copy_out():
    out = io.StringIO()
    connection().cursor().copy_expert("COPY (SELECT i, 'x' || i FROM generate_series(1, 5000) i) TO STDOUT", out)
    return len(out.getvalue()), out.getvalue()[-20:]


def cancel():
    conn = connection()
    cancel_when_asleep(conn.get_backend_pid(), ask, conn.cancel)
    try:
        run(conn, "SELECT pg_sleep(60)")
    except errors.QueryCanceled as e:
        return e.diag.message_primary, run(conn, "SELECT 'alive'")
    return None


def timeout():
    try:
        run(connection(options="-c statement_timeout=100"), "SELECT pg_sleep(60)")
    except errors.QueryCanceled as e:
        return e.pgcode, e.diag.message_primary
    return None


def notices():
    conn = connection()
    run(conn, "DO $$ BEGIN RAISE WARNING 'two' USING HINT = 'h', ERRCODE = '01234'; END $$")
    return conn.notices


def listen():
    conn = connection()
    run(conn, "LISTEN news")
    ask("SELECT pg_notify('news', 'payload')::text")

    def arrived():
        select.select([conn], [], [], 1)
        conn.poll()
        return conn.notifies
    until(arrived, "the notification")
    return [(n.channel, n.payload) for n in conn.notifies]


def large_objects():
    conn = connection()
    conn.autocommit = False
    lo = conn.lobject(0, "wb")
    lo.write(b"abc" * 10000)
    lo.seek(10)
    lo.truncate(20000)
    oid = lo.oid
    lo.close()
    again = conn.lobject(oid, "rb")
    data = again.read()
    again.unlink()
    conn.commit()
    return len(data), data[:6].decode()


def batch_error():
    conn = connection()
    run(conn, "CREATE TEMP TABLE e (id int PRIMARY KEY)")
    try:
        psycopg2.extras.execute_batch(conn.cursor(), "INSERT INTO e VALUES (%s)", [(1,), (2,), (1,), (3,)])
    except errors.UniqueViolation as e:
        return e.pgcode, e.diag.message_detail, run(conn, "SELECT count(*) FROM e")
    return None


def transaction():
    conn = connection()
    run(conn, "CREATE TEMP TABLE t (id int)")
    conn.autocommit = False
    run(conn, "INSERT INTO t VALUES (1)")
    try:
        run(conn, "SELECT 1/0")
    except errors.DivisionByZero as e:
        status = conn.get_transaction_status()
        conn.rollback()
        return e.pgcode, status, run(conn, "SELECT count(*) FROM t")
    return None


def savepoint():
    conn, seen = connection(), []
    conn.autocommit = False
    run(conn, "CREATE TEMP TABLE s (id int PRIMARY KEY)")
    for value in (1, 1, 2):
        run(conn, "SAVEPOINT x")
        try:
            run(conn, "INSERT INTO s VALUES (%s)", (value,))
        except errors.UniqueViolation as e:
            seen.append(e.pgcode)
            run(conn, "ROLLBACK TO x")
    conn.commit()
    return seen, run(conn, "SELECT array_agg(id) FROM s")


def large_value():
    data = bytes(range(256)) * 65536
    row = run(connection(), "SELECT length(%s::bytea), %s::bytea", (psycopg2.Binary(data),) * 2)[0]
    return row[0], bytes(row[1]) == data


def vendor_task():
    conn = connection()
    rows = run(conn, "SELECT what, failure_times FROM pg_task_show(%s)", ("SQLonHudi",))
    try:
        run(conn, "SELECT pg_task_pause(%s)", ("no such task",))
    except psycopg2.Error as e:
        return rows, e.pgcode
    return None


def vendor_cursor():
    conn = connection()
    conn.autocommit = False
    run(conn, "DECLARE c1 PARALLEL RETRIEVE CURSOR FOR SELECT * FROM generate_series(1, 10)")
    rows = run(conn, "SELECT endpoint_name, auth_token FROM gp_endpoints WHERE cursor_name = %s", ("c1",))
    reader = connection(password=rows[0][1], options="-c gp_session_role=retrieve")
    some = run(reader, f"RETRIEVE 3 FROM ENDPOINT {rows[0][0]}")
    rest = run(reader, f"RETRIEVE ALL FROM ENDPOINT {rows[0][0]}")
    check = run(conn, "CHECK PARALLEL RETRIEVE CURSOR c1 NOWAIT")
    run(conn, "CLOSE c1")
    return len(rows), some, len(rest), check


def vendor_rebuild():
    conn = connection()
    run(conn, "DROP TABLE IF EXISTS matrix_rebuild")
    run(conn, "CREATE TABLE matrix_rebuild (id int PRIMARY KEY)")
    query_id = run(conn, "ASYNC REBUILD TABLE matrix_rebuild ADD COLUMN more text")[0][0]
    until(lambda: run(conn, "SELECT status FROM hologres.rebuild_progress(%s) WHERE step = 'swap'",
                      (query_id,))[0][0] == "done", "the table is rebuilt")
    cur = conn.cursor()
    cur.execute("SELECT * FROM matrix_rebuild")
    return [c.name for c in cur.description]


if __name__ == "__main__":
    main({name: f for name, f in list(globals().items()) if callable(f) and f.__module__ == "__main__"
          and name not in ("connection", "ask", "run")})
