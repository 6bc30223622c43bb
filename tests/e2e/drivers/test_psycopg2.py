"""psycopg2 through pgveneer: simple queries only, parameters by literal, named cursors by DECLARE, COPY,
large objects, notifications, cancel. Each scenario runs directly and through pgveneer, and both must
have seen the same."""
import datetime
import decimal
import io
import os
import select
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "support"))
from cluster import Cluster, Scenarios, equal, wait_until  # noqa: E402

try:
    import psycopg2
except ImportError:  # a python3 of the user's own in front of the system's, which has the package
    if sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])
import psycopg2.extensions  # noqa: E402
import psycopg2.extras  # noqa: E402


def connect(dsn, autocommit=True, **more):
    conn = psycopg2.connect(dsn, **more)
    conn.autocommit = autocommit
    return conn


def fetch(cur, text, params=None):
    cur.execute(text, params)
    return cur.fetchall()


def parameters(dsn):
    values = (1, -2**62, "text with 'quotes' \\ and ü€😀", None, psycopg2.Binary(b"\x00\xff\\x"),
              decimal.Decimal("123.4500"), 1.5, True, datetime.date(2024, 2, 29),
              datetime.datetime(2024, 2, 29, 12, 0, 0, 123456), datetime.timedelta(days=1),
              [1, None, 3], ["a", 'b"c'], psycopg2.extras.Json({"a": [1, None]}))
    cur = connect(dsn).cursor()
    row = fetch(cur, "SELECT " + ", ".join(["%s"] * len(values)), values)[0]
    return [bytes(v) if isinstance(v, memoryview) else v for v in row], [c[:2] for c in cur.description]


def dictionaries(dsn):
    cur = connect(dsn).cursor(cursor_factory=psycopg2.extras.RealDictCursor)
    cur.execute("SELECT %(a)s AS one, %(b)s || '%%' AS two", {"a": 1, "b": "x"})
    return [dict(r) for r in cur], psycopg2.extras.execute_values(
        cur, "SELECT * FROM (VALUES %s) v (a, b)", [(1, "x"), (2, "y")], fetch=True)


def named_cursors(dsn):
    seen = []
    conn = connect(dsn, autocommit=False)
    with conn.cursor("named") as cur:
        cur.itersize = 3
        cur.execute("SELECT i, 'row ' || i FROM generate_series(1, %s) i", (10,))
        seen.append(cur.fetchmany(2))
        seen.append(list(cur))
    with conn.cursor("odd \"name\"", scrollable=True, withhold=True) as cur:
        cur.execute("SELECT i FROM generate_series(1, 100) i")
        cur.scroll(50)
        seen.append(cur.fetchone())
        conn.commit()
        cur.scroll(10, mode="absolute")
        seen.append(cur.fetchmany(3))
    conn.rollback()
    with conn.cursor("failing") as cur:
        cur.execute("SELECT 1 / (3 - i) FROM generate_series(1, 5) i")
        try:
            cur.fetchall()
        except psycopg2.errors.DivisionByZero as e:
            seen.append(e.pgcode)
    conn.rollback()
    return seen, fetch(conn.cursor(), "SELECT 'alive'")


def transactions(dsn):
    seen = []
    conn = connect(dsn, autocommit=False)
    cur = conn.cursor()
    cur.execute("CREATE TEMP TABLE s (id int PRIMARY KEY); INSERT INTO s VALUES (1); SAVEPOINT a")
    for bad in ("INSERT INTO s VALUES (1)", "SELECT nonsense", "SELECT 1; SELECT 1/0; SELECT 2"):
        try:
            cur.execute(bad)
        except psycopg2.Error as e:
            seen.append((e.pgcode, e.diag.message_primary, e.diag.statement_position, conn.info.transaction_status))
        try:
            cur.execute("SELECT 1")
        except psycopg2.errors.InFailedSqlTransaction as e:
            seen.append(e.pgcode)
        cur.execute("ROLLBACK TO SAVEPOINT a")
    conn.commit()
    with conn:
        cur.execute("INSERT INTO s VALUES (2)")
    seen.append(fetch(cur, "SELECT array_agg(id ORDER BY id) FROM s"))
    conn.rollback()
    conn.set_session(isolation_level="SERIALIZABLE", readonly=True, deferrable=True)
    seen.append(fetch(cur, "SHOW transaction_isolation"))
    conn.rollback()
    return seen


def copy(dsn):
    seen = []
    cur = connect(dsn).cursor()
    cur.execute("CREATE TEMP TABLE c (id int, name text)")
    text = "".join(f"{i}\tname {i}\n" for i in range(20000))
    cur.copy_expert("COPY c FROM STDIN", io.StringIO(text))
    seen.append(cur.rowcount)
    out = io.StringIO()
    cur.copy_expert("COPY (SELECT * FROM c ORDER BY id) TO STDOUT", out)
    seen.append(out.getvalue() == text)
    binary = io.BytesIO()
    cur.copy_expert("COPY c TO STDOUT (FORMAT binary)", binary)
    binary.seek(0)
    cur.copy_expert("COPY c FROM STDIN (FORMAT binary)", binary)
    for bad in ("1\tx\nnonsense\n", "1\n"):
        try:
            cur.copy_expert("COPY c FROM STDIN", io.StringIO(bad))
        except psycopg2.Error as e:
            seen.append((e.pgcode, e.diag.context))

    class Breaks(io.StringIO):
        def read(self, *_):
            raise ValueError("the client gives up")
    try:
        cur.copy_expert("COPY c FROM STDIN", Breaks())
    except psycopg2.Error as e:
        seen.append(e.pgcode)
    return seen, fetch(cur, "SELECT count(*) FROM c")


def batches(dsn):
    cur = connect(dsn).cursor()
    cur.execute("CREATE TEMP TABLE b (id int PRIMARY KEY, name text)")
    rows = [(i, f"n{i}") for i in range(1000)]
    psycopg2.extras.execute_batch(cur, "INSERT INTO b VALUES (%s, %s)", rows, page_size=100)
    cur.execute("PREPARE p AS UPDATE b SET name = $2 WHERE id = $1")
    psycopg2.extras.execute_batch(cur, "EXECUTE p (%s, %s)", [(i, "x") for i in range(300)])
    cur.execute("DEALLOCATE p")
    return fetch(cur, "SELECT count(*), count(*) FILTER (WHERE name = 'x') FROM b")


def large_objects(dsn):
    conn = connect(dsn, autocommit=False)
    large = conn.lobject(0, "wb")
    large.write(b"x" * 300000)
    large.seek(1000)
    large.write(b"hello")
    large.close()
    again = conn.lobject(large.oid, "rb")
    again.seek(998)
    seen = again.read(9)
    again.unlink()
    conn.commit()
    return seen


def cancel(dsn):
    conn = connect(dsn)
    pid = conn.info.backend_pid

    def cancel_when_it_sleeps():
        other = connect(dsn).cursor()
        wait_until(lambda: fetch(other, "SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = %s",
                                 (pid,))[0][0], "the statement runs")
        conn.cancel()
    thread = threading.Thread(target=cancel_when_it_sleeps)
    thread.start()
    try:
        conn.cursor().execute("SELECT pg_sleep(60)")
        raise AssertionError("not cancelled")
    except psycopg2.errors.QueryCanceled as e:
        seen = e.diag.message_primary
    thread.join()
    return seen, fetch(conn.cursor(), "SELECT 'alive'")


def notices_and_notifications(dsn):
    conn, other = connect(dsn), connect(dsn)
    cur = conn.cursor()
    cur.execute("DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$; LISTEN news")
    other.cursor().execute("NOTIFY news, 'a'; NOTIFY news, 'b'")
    while len(conn.notifies) < 2:
        if not select.select([conn], [], [], 30)[0]:
            raise AssertionError("no notification within 30 s")
        conn.poll()
    return conn.notices, [(n.channel, n.payload) for n in conn.notifies]


def asynchronous(dsn):
    conn = psycopg2.connect(dsn, async_=True)

    def wait():
        while True:
            state = conn.poll()
            if state == psycopg2.extensions.POLL_OK:
                return
            reading = state == psycopg2.extensions.POLL_READ
            ready = select.select([conn] if reading else [], [] if reading else [conn], [], 30)
            if ready == ([], [], []):
                raise AssertionError("nothing within 30 s")
    wait()
    cur = conn.cursor()
    cur.execute("SELECT pg_sleep(0.1), repeat('x', 10000000)")
    wait()
    return len(cur.fetchone()[1])


def replication(dsn):
    """A walsender speaks the same protocol; its statements are not SQL."""
    conn = psycopg2.connect(dsn, connection_factory=psycopg2.extras.LogicalReplicationConnection)
    cur = conn.cursor()
    cur.execute("IDENTIFY_SYSTEM")
    seen = [c[0] for c in cur.description], cur.fetchone()[3]
    cur.create_replication_slot("drivers", output_plugin="test_decoding", slot_type=psycopg2.extras.REPLICATION_LOGICAL)
    writer = connect(dsn).cursor()
    writer.execute("CREATE TABLE replicated (id int); INSERT INTO replicated VALUES (1), (2); DROP TABLE replicated")
    messages = []
    cur.start_replication("drivers", decode=True, options={"include-xids": "0", "skip-empty-xacts": "1"})

    def consume():
        message = cur.read_message()
        while message is not None:
            messages.append(message.payload)
            message.cursor.send_feedback(flush_lsn=message.data_start)
            message = cur.read_message()
        return "COMMIT" in messages[-1:]
    wait_until(consume, "the changes arrive")
    conn.close()
    writer.execute("SELECT active_pid FROM pg_replication_slots WHERE slot_name = 'drivers'")
    wait_until(lambda: not fetch(writer, "SELECT active FROM pg_replication_slots WHERE slot_name = 'drivers'")[0][0],
               "the slot is free")
    writer.execute("SELECT pg_drop_replication_slot('drivers')")
    return seen, messages


SCENARIOS = {
    "parameters of many types": parameters,
    "dictionaries and execute_values": dictionaries,
    "named cursors": named_cursors,
    "transactions, savepoints, recovery": transactions,
    "COPY in and out": copy,
    "batches and EXECUTE": batches,
    "large objects": large_objects,
    "cancel": cancel,
    "notices and notifications": notices_and_notifications,
    "asynchronous connection": asynchronous,
    "logical replication": replication,
}


def same(c, scenario, user):
    direct, proxied = scenario(c.direct.dsn(user)), scenario(c.proxy.dsn(user))
    equal(proxied, direct)


def main():
    s = Scenarios("psycopg2 " + psycopg2.__version__.split()[0])
    with Cluster(settings={"wal_level": "logical"}) as c:
        c.start_proxy("proxy")
        for name, scenario in SCENARIOS.items():
            s.run(name, same, c, scenario, "postgres" if scenario is replication else "app")
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
