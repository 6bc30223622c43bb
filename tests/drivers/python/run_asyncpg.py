"""asyncpg (a protocol implementation of its own; Flush-driven cursors): see scenario.py."""
import asyncio
import decimal
import io
import uuid

import asyncpg

from scenario import DATABASE, HOST, PASSWORD, PORT, USER, SLEEPS, NotApplicable, main

CASTS = ["int", "int8", "text", "text", "bytea", "numeric", "float8", "bool", "uuid", "int[]", "json"]
VALUES = [1, -2**62, "text with 'quotes' \\ ü€😀", None, b"\x00\xff\\x", decimal.Decimal("123.4500"), 1.5, True,
          uuid.UUID(int=42), [1, None, 3], '{"a": 1}']


def connection(**more):
    return asyncpg.connect(**{"host": HOST, "port": PORT, "user": USER, "password": PASSWORD,
                              "database": DATABASE, "ssl": False, **more})


async def until(condition, what):
    for _ in range(3000):
        if await condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"waited in vain: {what}")


async def connect():
    conn = await connection(server_settings={"application_name": "matrix", "geqo": "off"})
    row = await conn.fetchrow("SELECT current_setting('application_name'), current_setting('geqo'), current_user")
    settings = conn.get_settings()
    return tuple(row), settings.server_encoding, str(conn.get_server_version())


async def parameters():
    conn = await connection()
    row = await conn.fetchrow("SELECT " + ", ".join(f"${i + 1}::{c}" for i, c in enumerate(CASTS)), *VALUES)
    return tuple(row)


async def binary():
    """asyncpg asks for binary wherever it can; composite, record, range and interval need introspection
    of the catalog through prepared statements."""
    conn = await connection()
    await conn.execute("DROP TYPE IF EXISTS matrix_pair; CREATE TYPE matrix_pair AS (a int, b text)")
    row = await conn.fetchrow("SELECT ROW(1, 'x')::matrix_pair, int4range(1, 5), interval '1 day 2 s', ROW(1, 'y')")
    await conn.execute("DROP TYPE matrix_pair")
    return [str(v) for v in row]


async def prepared():
    conn = await connection()
    st = await conn.prepare("SELECT $1::int + 1")
    seen = [await st.fetchval(i) for i in range(10)]
    await conn.execute("CREATE TEMP TABLE p (id int)")
    seen.append(await conn.fetch("SELECT * FROM p"))
    await conn.execute("ALTER TABLE p ADD more int")
    try:
        seen.append(await conn.fetch("SELECT * FROM p"))
    except asyncpg.InvalidCachedStatementError as e:
        seen.append(type(e).__name__)
    seen.append(await conn.fetch("SELECT * FROM p"))
    return seen


async def portals():
    conn = await connection()
    async with conn.transaction():
        ahead = [r[0] async for r in conn.cursor("SELECT i FROM generate_series(1, $1) i", 100, prefetch=7)]
        cur = await conn.cursor("SELECT i FROM generate_series(1, 10) i")
        seen = [tuple(r) for r in await cur.fetch(3)]
        skipped = await cur.forward(2)
        return ahead, seen, skipped, tuple(await cur.fetchrow())


async def batch():
    conn = await connection()
    await conn.execute("CREATE TEMP TABLE b (id int)")
    await conn.executemany("INSERT INTO b VALUES ($1)", [(i,) for i in range(500)])
    return tuple(await conn.fetchrow("SELECT count(*), sum(id) FROM b"))


async def pipeline():
    raise NotApplicable("asyncpg has no pipeline interface; executemany (batch) sends ahead")


async def copy_in():
    conn = await connection()
    await conn.execute("CREATE TEMP TABLE c (id int8, name text)")
    tag = await conn.copy_records_to_table("c", records=[(i, f"name {i}") for i in range(2000)])
    return tag, tuple(await conn.fetchrow("SELECT count(*), max(name) FROM c"))


async def copy_out():
    conn, out = await connection(), io.BytesIO()
    tag = await conn.copy_from_query("SELECT i, 'x' || i FROM generate_series(1, $1) i", 5000, output=out)
    return tag, len(out.getvalue()), out.getvalue()[-20:].decode()


async def cancel():
    conn = await connection()
    task = asyncio.ensure_future(conn.execute("SELECT pg_sleep(60)"))
    other, pid = await connection(), conn.get_server_pid()

    async def sleeps():
        return await other.fetchval(SLEEPS.format(pid=pid)) == 1
    await until(sleeps, "the statement sleeps")
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return "cancelled", await conn.fetchval("SELECT 'alive'")
    return None


async def timeout():
    conn = await connection(server_settings={"statement_timeout": "100"})
    try:
        await conn.execute("SELECT pg_sleep(60)")
    except asyncpg.QueryCanceledError as e:
        sqlstate = e.sqlstate
    try:
        await conn.execute("SET statement_timeout = 0; SELECT pg_sleep(60)", timeout=0.1)  # by a cancel request
    except asyncio.TimeoutError:
        return sqlstate, await conn.fetchval("SELECT 'alive'")
    return None


async def notices():
    conn, seen = await connection(), []
    conn.add_log_listener(lambda c, m: seen.append((m.severity, m.sqlstate, m.message, m.hint)))
    await conn.execute("DO $$ BEGIN RAISE WARNING 'two' USING HINT = 'h', ERRCODE = '01234'; END $$")
    await asyncio.sleep(0)
    return seen


async def listen():
    conn, seen = await connection(), asyncio.Queue()
    await conn.add_listener("news", lambda c, pid, channel, payload: seen.put_nowait((channel, payload)))
    await (await connection()).execute("SELECT pg_notify('news', 'payload')")
    return await asyncio.wait_for(seen.get(), 60)


async def large_objects():
    conn = await connection()
    async with conn.transaction():
        oid = await conn.fetchval("SELECT lo_from_bytea(0, $1)", b"abc" * 10000)
        row = await conn.fetchrow("SELECT length(lo_get($1)), lo_get($1, 3, 3)", oid)
        await conn.execute(f"SELECT lo_unlink({oid})")
        return tuple(row)


async def batch_error():
    conn = await connection()
    await conn.execute("CREATE TEMP TABLE e (id int PRIMARY KEY)")
    try:
        await conn.executemany("INSERT INTO e VALUES ($1)", [(1,), (2,), (1,), (3,)])
    except asyncpg.UniqueViolationError as e:
        return e.sqlstate, e.detail, await conn.fetchval("SELECT count(*) FROM e")
    return None


async def transaction():
    conn = await connection()
    await conn.execute("CREATE TEMP TABLE t (id int)")
    try:
        async with conn.transaction(isolation="serializable"):
            await conn.execute("INSERT INTO t VALUES (1)")
            await conn.execute("SELECT 1/0")
    except asyncpg.DivisionByZeroError as e:
        return e.sqlstate, conn.is_in_transaction(), await conn.fetchval("SELECT count(*) FROM t")
    return None


async def savepoint():
    conn, seen = await connection(), []
    await conn.execute("CREATE TEMP TABLE s (id int PRIMARY KEY)")
    async with conn.transaction():
        for value in (1, 1, 2):
            try:
                async with conn.transaction():
                    await conn.execute("INSERT INTO s VALUES ($1)", value)
            except asyncpg.UniqueViolationError as e:
                seen.append(e.sqlstate)
    return seen, await conn.fetchval("SELECT array_agg(id) FROM s")


async def large_value():
    conn, data = await connection(), bytes(range(256)) * 65536
    row = await conn.fetchrow("SELECT length($1::bytea), $1::bytea", data)
    return row[0], row[1] == data


async def vendor_task():
    conn = await connection()
    rows = await conn.fetch("SELECT what, failure_times FROM pg_task_show($1)", "SQLonHudi")
    try:
        await conn.fetchval("SELECT pg_task_pause($1)", "no such task")
    except asyncpg.PostgresError as e:
        return rows, e.sqlstate
    return None


async def vendor_cursor():
    conn = await connection()
    async with conn.transaction():
        await conn.execute("DECLARE c1 PARALLEL RETRIEVE CURSOR FOR SELECT * FROM generate_series(1, 10)")
        rows = await conn.fetch("SELECT endpoint_name, auth_token FROM gp_endpoints WHERE cursor_name = $1", "c1")
        reader = await connection(password=rows[0][1], server_settings={"gp_session_role": "retrieve"})
        some = await reader.fetch(f"RETRIEVE 3 FROM ENDPOINT {rows[0][0]}")
        rest = await reader.fetch(f"RETRIEVE ALL FROM ENDPOINT {rows[0][0]}")
        check = await conn.execute("CHECK PARALLEL RETRIEVE CURSOR c1 NOWAIT")
        await conn.execute("CLOSE c1")
        return len(rows), [tuple(r) for r in some], len(rest), check


async def vendor_rebuild():
    conn = await connection()
    await conn.execute("DROP TABLE IF EXISTS matrix_rebuild")
    await conn.execute("CREATE TABLE matrix_rebuild (id int PRIMARY KEY)")
    query_id = await conn.fetchval("ASYNC REBUILD TABLE matrix_rebuild ADD COLUMN more text")

    async def is_done():
        return await conn.fetchval("SELECT status FROM hologres.rebuild_progress($1) WHERE step = 'swap'",
                                   query_id) == "done"
    await until(is_done, "the table is rebuilt")
    st = await conn.prepare("SELECT * FROM matrix_rebuild")
    return [a.name for a in st.get_attributes()]


if __name__ == "__main__":
    main({name: lambda f=f: asyncio.run(f()) for name, f in list(globals().items())
          if asyncio.iscoroutinefunction(f) and name not in ("connection", "until")})
