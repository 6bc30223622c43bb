"""pg8000 (a protocol implementation of its own, extended protocol only): see scenario.py."""
import datetime
import decimal
import io
import uuid

import pg8000.dbapi
import pg8000.native

from scenario import DATABASE, HOST, PASSWORD, PORT, USER, NotApplicable, main, until

VALUES = [1, -2**62, "text with 'quotes' \\ ü€😀", None, b"\x00\xff\\x", decimal.Decimal("123.4500"), 1.5, True,
          datetime.date(2024, 2, 29), uuid.UUID(int=42), [1, None, 3]]
CASTS = ["int", "int8", "text", "text", "bytea", "numeric", "float8", "bool", "date", "uuid", "int[]"]


def connection(**more):
    return pg8000.native.Connection(**{"user": USER, "password": PASSWORD, "host": HOST, "port": int(PORT),
                                       "database": DATABASE, **more})


def error_of(conn, sql, **params):
    try:
        conn.run(sql, **params)
    except pg8000.native.DatabaseError as e:
        return e.args[0]["C"], e.args[0]["M"], e.args[0].get("D")
    raise AssertionError(f"no error from {sql}")


def connect():
    conn = connection(application_name="matrix")
    return conn.run("SELECT current_setting('application_name'), current_user"), sorted(map(str, conn.parameter_statuses))


def parameters():
    return connection().run("SELECT " + ", ".join(f"CAST(:v{i} AS {c})" for i, c in enumerate(CASTS)),
                            **{f"v{i}": v for i, v in enumerate(VALUES)})


def binary():
    raise NotApplicable("pg8000 has text formats only")


def prepared():
    conn = connection()
    st = conn.prepare("SELECT CAST(:v AS int) + 1")
    seen = [st.run(v=i) for i in range(10)]
    st.close()
    return seen


def portals():
    raise NotApplicable("pg8000 has no row-limited portals")


def batch():
    conn = pg8000.dbapi.connect(user=USER, password=PASSWORD, host=HOST, port=int(PORT), database=DATABASE)
    cur = conn.cursor()
    cur.execute("CREATE TEMP TABLE b (id int)")
    cur.executemany("INSERT INTO b VALUES (%s)", [(i,) for i in range(500)])
    cur.execute("SELECT count(*), sum(id) FROM b")
    return cur.fetchall()


def pipeline():
    raise NotApplicable("pg8000 waits for each answer")


def copy_in():
    conn = connection()
    conn.run("CREATE TEMP TABLE c (id int8, name text)")
    conn.run("COPY c FROM STDIN", stream=io.BytesIO(b"".join(b"%d\tname %d\n" % (i, i) for i in range(2000))))
    return conn.row_count, conn.run("SELECT count(*), max(name) FROM c")


def copy_out():
    out = io.BytesIO()
    connection().run("COPY (SELECT i, 'x' || i FROM generate_series(1, 5000) i) TO STDOUT", stream=out)
    return len(out.getvalue()), out.getvalue()[-20:].decode()


def cancel():
    raise NotApplicable("pg8000 has no cancel")


def timeout():
    conn = connection()
    conn.run("SET statement_timeout = 100")
    return error_of(conn, "SELECT pg_sleep(60)")


def notices():
    conn = connection()
    conn.run("DO $$ BEGIN RAISE WARNING 'two' USING HINT = 'h', ERRCODE = '01234'; END $$")
    return [{k.decode(): v.decode() for k, v in n.items() if k in (b"S", b"C", b"M", b"H")} for n in conn.notices]


def listen():
    conn = connection()
    conn.run("LISTEN news")
    connection().run("SELECT pg_notify('news', 'payload')")

    def arrived():
        conn.run("SELECT 1")
        return conn.notifications
    until(arrived, "the notification")
    return conn.notifications[0][1:]


def large_objects():
    conn = connection()
    conn.run("BEGIN")
    oid = conn.run("SELECT lo_from_bytea(0, :data)", data=b"abc" * 10000)[0][0]
    seen = conn.run("SELECT length(lo_get(CAST(:o AS oid))), lo_get(CAST(:o AS oid), 3, 3)", o=oid)
    conn.run("SELECT lo_unlink(CAST(:o AS oid))", o=oid)
    conn.run("COMMIT")
    return seen


def batch_error():
    conn = pg8000.dbapi.connect(user=USER, password=PASSWORD, host=HOST, port=int(PORT), database=DATABASE)
    cur = conn.cursor()
    cur.execute("CREATE TEMP TABLE e (id int PRIMARY KEY)")
    conn.commit()
    try:
        cur.executemany("INSERT INTO e VALUES (%s)", [(1,), (2,), (1,), (3,)])
    except pg8000.dbapi.DatabaseError as e:
        conn.rollback()
        cur.execute("SELECT count(*) FROM e")
        return e.args[0]["C"], e.args[0]["D"], cur.fetchall()
    return None


def transaction():
    conn = connection()
    conn.run("CREATE TEMP TABLE t (id int)")
    conn.run("BEGIN")
    conn.run("INSERT INTO t VALUES (1)")
    first = error_of(conn, "SELECT 1/0")
    second = error_of(conn, "SELECT 1")
    conn.run("ROLLBACK")
    return first, second, conn.run("SELECT count(*) FROM t")


def savepoint():
    conn, seen = connection(), []
    conn.run("CREATE TEMP TABLE s (id int PRIMARY KEY)")
    conn.run("BEGIN")
    for value in (1, 1, 2):
        conn.run("SAVEPOINT x")
        try:
            conn.run("INSERT INTO s VALUES (:v)", v=value)
        except pg8000.native.DatabaseError as e:
            seen.append(e.args[0]["C"])
            conn.run("ROLLBACK TO x")
    conn.run("COMMIT")
    return seen, conn.run("SELECT array_agg(id) FROM s")


def large_value():
    data = bytes(range(256)) * 65536
    row = connection().run("SELECT length(CAST(:d AS bytea)), CAST(:d AS bytea)", d=data)[0]
    return row[0], row[1] == data


def vendor_task():
    conn = connection()
    rows = conn.run("SELECT what, failure_times FROM pg_task_show(:k)", k="SQLonHudi")
    return rows, error_of(conn, "SELECT pg_task_pause(:t)", t="no such task")[0]


def vendor_cursor():
    conn = connection()
    conn.run("BEGIN")
    conn.run("DECLARE c1 PARALLEL RETRIEVE CURSOR FOR SELECT * FROM generate_series(1, 10)")
    rows = conn.run("SELECT endpoint_name, auth_token FROM gp_endpoints WHERE cursor_name = :c", c="c1")
    conn_tag = conn.run("CHECK PARALLEL RETRIEVE CURSOR c1 NOWAIT")
    conn.run("CLOSE c1")
    conn.run("COMMIT")
    return len(rows), conn_tag


def vendor_rebuild():
    conn = connection()
    conn.run("DROP TABLE IF EXISTS matrix_rebuild")
    conn.run("CREATE TABLE matrix_rebuild (id int PRIMARY KEY)")
    query_id = conn.run("ASYNC REBUILD TABLE matrix_rebuild ADD COLUMN more text")[0][0]
    until(lambda: conn.run("SELECT status FROM hologres.rebuild_progress(:q) WHERE step = 'swap'",
                           q=query_id)[0][0] == "done", "the table is rebuilt")
    conn.run("SELECT * FROM matrix_rebuild")
    return [c["name"] for c in conn.columns]


if __name__ == "__main__":
    main({name: f for name, f in list(globals().items()) if callable(f) and f.__module__ == "__main__"
          and name not in ("connection", "error_of")})
