"""psqlODBC through unixODBC and pyodbc (libpq below, SQL of its own above): see scenario.py."""
import datetime
import decimal

import pyodbc

from scenario import DATABASE, HOST, PASSWORD, PORT, USER, NotApplicable, cancel_when_asleep, main, until


def connection(extra="", autocommit=True, password=PASSWORD):
    return pyodbc.connect(f"Driver={{PostgreSQL Unicode}};Server={HOST};Port={PORT};Uid={USER};"
                          f"Pwd={password};Database={DATABASE};{extra}", autocommit=autocommit)


def rows(conn, sql, *params):
    return [tuple(r) for r in conn.execute(sql, *params).fetchall()]


def ask(sql):
    return rows(connection(), sql)[0][0]


def state_of(conn, sql):
    try:
        conn.execute(sql).fetchall()
    except pyodbc.Error as e:
        return e.args[0]
    raise AssertionError(f"no error from {sql}")


def connect():
    conn = connection("ConnSettings=SET geqo = off")
    return rows(conn, "SELECT current_setting('geqo'), current_user"), conn.getinfo(pyodbc.SQL_DBMS_VER)


def parameters():
    return rows(connection(), "SELECT CAST(? AS int), CAST(? AS int8), CAST(? AS text), CAST(? AS bytea), "
                "CAST(? AS numeric), CAST(? AS float8), CAST(? AS date), CAST(? AS text)",
                1, -2**62, "text with 'quotes' \\ ü€", b"\x00\xff\\x", decimal.Decimal("123.45"), 1.5,
                datetime.date(2024, 2, 29), None)


def binary():
    raise NotApplicable("psqlODBC has text results only")


def prepared():
    conn = connection("UseServerSidePrepare=1")
    cur = conn.cursor()
    return [tuple(cur.execute("SELECT CAST(? AS int) + 1", i).fetchone()) for i in range(10)], \
        rows(conn, "SELECT count(*) > 0 FROM pg_prepared_statements")


def portals():
    conn = connection("UseDeclareFetch=1;Fetch=3", autocommit=False)
    cur = conn.cursor().execute("SELECT i FROM generate_series(1, 100) i")
    return [tuple(r) for r in cur.fetchmany(4)], len(cur.fetchall())


def batch():
    conn = connection()
    cur = conn.cursor()
    cur.execute("CREATE TEMP TABLE b (id int)")
    cur.fast_executemany = True
    cur.executemany("INSERT INTO b VALUES (?)", [(i,) for i in range(500)])
    return rows(conn, "SELECT count(*), sum(id) FROM b")


def pipeline():
    raise NotApplicable("ODBC has no pipeline")


def copy_in():
    raise NotApplicable("ODBC has no COPY")


def copy_out():
    raise NotApplicable("ODBC has no COPY")


def cancel():
    conn = connection()
    cur = conn.cursor()
    pid = cur.execute("SELECT pg_backend_pid()").fetchone()[0]
    cancel_when_asleep(pid, ask, cur.cancel)
    try:
        cur.execute("SELECT pg_sleep(60)").fetchall()
    except pyodbc.Error as e:
        return e.args[0], rows(conn, "SELECT 'alive'")
    return None


def timeout():
    conn = connection()
    conn.execute("SET statement_timeout = 100")
    return state_of(conn, "SELECT pg_sleep(60)::text")


def notices():
    cur = connection().cursor()
    cur.execute("DO $$ BEGIN RAISE WARNING 'two'; END $$")
    return [text for kind, text in cur.messages]


def listen():
    raise NotApplicable("ODBC has no notifications")


def large_objects():
    conn = connection(autocommit=False)
    oid = conn.execute("SELECT lo_from_bytea(0, ?)", b"abc" * 10000).fetchone()[0]
    seen = rows(conn, f"SELECT length(lo_get({oid})), lo_get({oid}, 3, 3)")
    conn.execute(f"SELECT lo_unlink({oid})").fetchall()
    conn.commit()
    return seen


def batch_error():
    conn = connection()
    conn.execute("CREATE TEMP TABLE e (id int PRIMARY KEY)")
    try:
        conn.cursor().executemany("INSERT INTO e VALUES (?)", [(1,), (2,), (1,), (3,)])
    except pyodbc.IntegrityError as e:
        return e.args[0], rows(conn, "SELECT count(*) FROM e")
    return None


def transaction():
    conn = connection(autocommit=False)
    conn.execute("CREATE TEMP TABLE t (id int)")
    conn.commit()
    conn.execute("INSERT INTO t VALUES (1)")
    state = state_of(conn, "SELECT 1/0")
    conn.rollback()
    return state, rows(conn, "SELECT count(*) FROM t")


def savepoint():
    """Protocol=7.4-2: the driver itself makes a savepoint for each statement."""
    conn, seen = connection("Protocol=7.4-2", autocommit=False), []
    conn.execute("CREATE TEMP TABLE s (id int PRIMARY KEY)")
    for value in (1, 1, 2):
        try:
            conn.execute("INSERT INTO s VALUES (?)", value)
        except pyodbc.IntegrityError as e:
            seen.append(e.args[0])
    conn.commit()
    return seen, rows(conn, "SELECT count(*), sum(id) FROM s")


def large_value():
    data = bytes(range(256)) * 4096
    got = rows(connection("MaxLongVarcharSize=8000000;ByteaAsLongVarBinary=1"), "SELECT CAST(? AS bytea)", data)
    return len(got[0][0]), got[0][0] == data


def vendor_task():
    conn = connection()
    return rows(conn, "SELECT what, failure_times FROM pg_task_show(?)", "SQLonHudi"), \
        state_of(conn, "SELECT pg_task_pause('no such task')")


def vendor_cursor():
    conn = connection(autocommit=False)
    conn.execute("DECLARE c1 PARALLEL RETRIEVE CURSOR FOR SELECT * FROM generate_series(1, 10)")
    found = rows(conn, "SELECT endpoint_name FROM gp_endpoints WHERE cursor_name = ?", "c1")
    conn.execute("CHECK PARALLEL RETRIEVE CURSOR c1 NOWAIT")
    conn.execute("CLOSE c1")
    conn.commit()
    return found


def vendor_rebuild():
    conn = connection()
    conn.execute("DROP TABLE IF EXISTS matrix_rebuild")
    conn.execute("CREATE TABLE matrix_rebuild (id int PRIMARY KEY)")
    query_id = rows(conn, "ASYNC REBUILD TABLE matrix_rebuild ADD COLUMN more text")[0][0]
    until(lambda: rows(conn, "SELECT status FROM hologres.rebuild_progress(?) WHERE step = 'swap'",
                       query_id)[0][0] == "done", "the table is rebuilt")
    return [d[0] for d in conn.execute("SELECT * FROM matrix_rebuild").description]


if __name__ == "__main__":
    main({name: f for name, f in list(globals().items()) if callable(f) and f.__module__ == "__main__"
          and name not in ("connection", "ask", "rows", "state_of")})
