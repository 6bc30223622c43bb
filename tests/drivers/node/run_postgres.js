// postgres.js (pipelines by itself, prepares each statement, COPY streams): see scenario.js.
"use strict";
const postgres = require("postgres");
const {pipeline} = require("node:stream/promises");
const {Readable} = require("node:stream");
const {main, notApplicable, sleeps, until, where} = require("./scenario.js");

const open = (more = {}) => postgres({...where, max: 1, onnotice: () => {}, ...more});
const errorOf = (promise) => promise.then(() => { throw new Error("no error"); }, (e) => [e.code, e.message, e.detail]);
const plain = (result) => Array.from(result, (row) => ({...row}));

main({
    async connect() {
        const sql = open({connection: {application_name: "matrix", geqo: "off"}});
        return plain(await sql`SELECT current_setting('application_name') a, current_setting('geqo') g, current_user u`);
    },
    async parameters() {
        const sql = open();
        return plain(await sql`SELECT ${1}::int a, ${"text with 'quotes' \\ ü€😀"}::text b, ${null}::text c,
            ${Buffer.from([0, 255, 92])}::bytea d, ${[1, 2, 3]}::int[] e, ${sql.json({a: [1, null]})}::jsonb f, ${true}::bool g`);
    },
    binary: notApplicable("postgres.js has text results only"),
    async prepared() {
        const sql = open(), seen = [];
        for (let i = 0; i < 10; i++)
            seen.push(plain(await sql`SELECT ${i}::int + 1 AS v`));
        return [seen, plain(await sql`SELECT count(*)::int n FROM pg_prepared_statements`)];
    },
    async portals() {
        const sql = open(), seen = [];
        await sql`SELECT i FROM generate_series(1, 10) i`.cursor(3, (rows) => { seen.push(plain(rows)); });
        await sql`SELECT i FROM generate_series(1, 1000000) i`.cursor(2, (rows) => { seen.push(plain(rows)); return sql.CLOSE; });
        return [seen, plain(await sql`SELECT 'alive' a`)];
    },
    async batch() {
        const sql = open();
        const results = await sql.unsafe("CREATE TEMP TABLE b (id int); INSERT INTO b VALUES (1), (2); SELECT sum(id)::int s FROM b");
        return results.map((r) => [r.command, r.count, plain(r)]);
    },
    async pipeline() {
        const sql = open(), work = [];
        for (let i = 0; i < 200; i++)
            work.push(i === 100 ? errorOf(sql`SELECT 1/${0}::int`) : sql`SELECT ${i}::int v`);
        const done = await Promise.all(work);
        return [done[99][0].v, done[100], done[199][0].v];
    },
    async copy_in() {
        const sql = open();
        await sql`CREATE TEMP TABLE c (id int, name text)`;
        const lines = Array.from({length: 2000}, (_, i) => `${i}\tname ${i}\n`);
        await pipeline(Readable.from(lines), await sql`COPY c FROM STDIN`.writable());
        return plain(await sql`SELECT count(*)::int n, max(name) m FROM c`);
    },
    async copy_out() {
        const sql = open();
        let bytes = 0;
        for await (const piece of await sql`COPY (SELECT i, 'x' || i FROM generate_series(1, 500) i) TO STDOUT`.readable())
            bytes += piece.length;
        return [bytes, plain(await sql`SELECT 'alive' a`)];
    },
    async cancel() {
        const sql = open(), other = open();
        const [{pid}] = await sql`SELECT pg_backend_pid() pid`;
        const query = sql`SELECT pg_sleep(60)`;
        const sleeping = errorOf(query);
        await until(async () => (await other.unsafe(sleeps(pid)))[0].n === 1, "the statement sleeps");
        query.cancel();
        return [await sleeping, plain(await sql`SELECT 'alive' a`)];
    },
    async timeout() {
        const sql = open({connection: {statement_timeout: 100}});
        return [await errorOf(sql`SELECT pg_sleep(60)`), plain(await sql`SELECT 'alive' a`)];
    },
    async notices() {
        const seen = [];
        const sql = open({onnotice: (n) => seen.push([n.severity, n.code, n.message, n.hint])});
        await sql.unsafe("DO $$ BEGIN RAISE WARNING 'two' USING HINT = 'h', ERRCODE = '01234'; END $$");
        return seen;
    },
    async listen() {
        const sql = open();
        const arrived = new Promise((resolve) => sql.listen("news", resolve, () => open().notify("news", "payload")));
        return arrived;
    },
    async large_objects() {
        return open().begin(async (sql) => {
            const [{oid}] = await sql`SELECT lo_from_bytea(0, ${Buffer.alloc(30000, "abc")}) AS oid`;
            const seen = plain(await sql`SELECT length(lo_get(${oid}::oid)) n, lo_get(${oid}::oid, 3, 3) b`);
            await sql`SELECT lo_unlink(${oid}::oid)`;
            return seen;
        });
    },
    async batch_error() {
        const sql = open();
        return [await errorOf(sql.unsafe("SELECT 1; SELECT 1/0; SELECT 2")), plain(await sql`SELECT 'alive' a`)];
    },
    async transaction() {
        const sql = open();
        await sql`CREATE TEMP TABLE t (id int)`;
        const failed = await errorOf(sql.begin(async (tx) => {
            await tx`INSERT INTO t VALUES (${1})`;
            await tx`SELECT 1/${0}::int`;
        }));
        return [failed, plain(await sql`SELECT count(*)::int n FROM t`)];
    },
    async savepoint() {
        const sql = open(), seen = [];
        await sql`CREATE TEMP TABLE s (id int PRIMARY KEY)`;
        await sql.begin(async (tx) => {
            for (const v of [1, 1, 2])
                await tx.savepoint((sp) => sp`INSERT INTO s VALUES (${v})`).catch((e) => seen.push(e.code));
        });
        return [seen, plain(await sql`SELECT array_agg(id) a FROM s`)];
    },
    async large_value() {
        const sql = open(), data = Buffer.alloc(16 << 20, "0123456789abcdef\0");
        const [row] = await sql`SELECT length(${data}::bytea) n, ${data}::bytea d`;
        return [row.n, data.equals(row.d)];
    },
    async vendor_task() {
        const sql = open();
        return [plain(await sql`SELECT what, failure_times FROM pg_task_show(${"SQLonHudi"})`),
            (await errorOf(sql`SELECT pg_task_pause(${"no such task"})`))[0]];
    },
    async vendor_cursor() {
        return open().begin(async (sql) => {
            await sql`DECLARE c1 PARALLEL RETRIEVE CURSOR FOR SELECT * FROM generate_series(1, 10)`;
            const found = await sql`SELECT endpoint_name, auth_token FROM gp_endpoints WHERE cursor_name = ${"c1"}`;
            const reader = open({password: found[0].auth_token, connection: {gp_session_role: "retrieve"}, fetch_types: false});
            const some = await reader.unsafe(`RETRIEVE 3 FROM ENDPOINT ${found[0].endpoint_name}`);
            const rest = await reader.unsafe(`RETRIEVE ALL FROM ENDPOINT ${found[0].endpoint_name}`);
            const check = await sql`CHECK PARALLEL RETRIEVE CURSOR c1 NOWAIT`;
            await sql`CLOSE c1`;
            return [found.length, plain(some), rest.length, check.command];
        });
    },
    async vendor_rebuild() {
        const sql = open();
        await sql.unsafe("DROP TABLE IF EXISTS matrix_rebuild; CREATE TABLE matrix_rebuild (id int PRIMARY KEY)");
        const [{query_id}] = await sql`ASYNC REBUILD TABLE matrix_rebuild ADD COLUMN more text`;
        await until(async () => (await sql`SELECT status FROM hologres.rebuild_progress(${query_id}) WHERE step = 'swap'`)[0].status
            === "done", "the table is rebuilt");
        return (await sql`SELECT * FROM matrix_rebuild`).columns.map((c) => c.name);
    },
});
