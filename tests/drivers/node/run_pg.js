// node pg with pg-cursor (Flush-driven portals) and pg-copy-streams: see scenario.js.
"use strict";
const {Client} = require("pg");
const Cursor = require("pg-cursor");
const {from: copyFrom, to: copyTo} = require("pg-copy-streams");
const {pipeline} = require("node:stream/promises");
const {Readable} = require("node:stream");
const {main, notApplicable, sleeps, until, where} = require("./scenario.js");

const open = async (more = {}) => {
    const client = new Client({...where, ...more});
    client.on("error", () => {});
    await client.connect();
    return client;
};
const errorOf = (promise) => promise.then(() => { throw new Error("no error"); }, (e) => [e.code, e.message, e.detail]);
const rows = async (client, ...query) => (await client.query(...query)).rows;

main({
    async connect() {
        const c = await open({application_name: "matrix", options: "-c geqo=off"});
        return rows(c, "SELECT current_setting('application_name') a, current_setting('geqo') g, current_user u");
    },
    async parameters() {
        return rows(await open(), "SELECT $1::int a, $2::text b, $3::text c, $4::bytea d, $5::int[] e, $6::jsonb f, $7::bool g",
            [1, "text with 'quotes' \\ ü€😀", null, Buffer.from([0, 255, 92]), [1, null, 3], {a: [1, null]}, true]);
    },
    async binary() {
        return rows(await open(), {text: "SELECT $1::int a, 'text' b, 1.5::float8 c, true d, '\\x00ff'::bytea e", values: [7], binary: true});
    },
    async prepared() {
        const c = await open(), seen = [];
        for (let i = 0; i < 10; i++)
            seen.push(await rows(c, {name: "q", text: "SELECT $1::int + 1 AS v", values: [i]}));
        seen.push(await rows(c, "SELECT count(*)::int n FROM pg_prepared_statements"));
        return seen;
    },
    async portals() {
        const c = await open();
        const cursor = c.query(new Cursor("SELECT i FROM generate_series(1, $1::int) i", [10]));
        const seen = [await cursor.read(3), await cursor.read(3), await cursor.read(100), await cursor.read(1)];
        await cursor.close();
        const early = c.query(new Cursor("SELECT i FROM generate_series(1, 1000000) i"));
        seen.push(await early.read(2));
        await early.close();
        return [seen, await rows(c, "SELECT 'alive' a")];
    },
    async batch() {
        const c = await open();
        const results = await c.query("CREATE TEMP TABLE b (id int); INSERT INTO b VALUES (1), (2); SELECT sum(id)::int s FROM b");
        return results.map((r) => [r.command, r.rowCount, r.rows]);
    },
    pipeline: notApplicable("node pg waits for each answer"),
    async copy_in() {
        const c = await open();
        await c.query("CREATE TEMP TABLE c (id int, name text)");
        const lines = Array.from({length: 2000}, (_, i) => `${i}\tname ${i}\n`);
        await pipeline(Readable.from(lines), c.query(copyFrom("COPY c FROM STDIN")));
        const failed = await errorOf(pipeline(Readable.from(["nonsense\n"]), c.query(copyFrom("COPY c FROM STDIN"))));
        return [failed, await rows(c, "SELECT count(*)::int n, max(name) m FROM c")];
    },
    async copy_out() {
        const c = await open();
        let bytes = 0;
        for await (const piece of c.query(copyTo("COPY (SELECT i, 'x' || i FROM generate_series(1, 50000) i) TO STDOUT")))
            bytes += piece.length;
        return [bytes, await rows(c, "SELECT 'alive' a")];
    },
    async cancel() {
        const c = await open(), other = await open();
        const sleeping = errorOf(c.query("SELECT pg_sleep(60)"));
        await until(async () => (await rows(other, sleeps(c.processID)))[0].n === 1, "the statement sleeps");
        const canceller = new Client(where);
        canceller.connection.once("connect", () => canceller.connection.cancel(c.processID, c.secretKey));
        canceller.connection.connect(where.port, where.host);
        return [await sleeping, await rows(c, "SELECT 'alive' a")];
    },
    async timeout() {
        const c = await open({statement_timeout: 100});
        return [await errorOf(c.query("SELECT pg_sleep(60)")), await rows(c, "SELECT 'alive' a")];
    },
    async notices() {
        const c = await open(), seen = [];
        c.on("notice", (n) => seen.push([n.severity, n.code, n.message, n.hint]));
        await c.query("DO $$ BEGIN RAISE WARNING 'two' USING HINT = 'h', ERRCODE = '01234'; END $$");
        return seen;
    },
    async listen() {
        const c = await open(), other = await open();
        await c.query("LISTEN news");
        const arrived = new Promise((resolve) => c.once("notification", (n) => resolve([n.channel, n.payload])));
        await other.query("SELECT pg_notify('news', 'payload')");
        return arrived;
    },
    async large_objects() {
        const c = await open();
        await c.query("BEGIN");
        const [{oid}] = await rows(c, "SELECT lo_from_bytea(0, $1) AS oid", [Buffer.alloc(30000, "abc")]);
        const seen = await rows(c, "SELECT length(lo_get($1)) n, lo_get($1, 3, 3) b", [oid]);
        await c.query("SELECT lo_unlink($1)", [oid]);
        await c.query("COMMIT");
        return seen;
    },
    async batch_error() {
        const c = await open();
        return [await errorOf(c.query("SELECT 1; SELECT 1/0; SELECT 2")), await rows(c, "SELECT 'alive' a")];
    },
    async transaction() {
        const c = await open();
        await c.query("CREATE TEMP TABLE t (id int)");
        await c.query("BEGIN");
        await c.query("INSERT INTO t VALUES ($1)", [1]);
        const seen = [await errorOf(c.query("SELECT 1/$1::int", [0])), await errorOf(c.query("SELECT 1"))];
        await c.query("ROLLBACK");
        return [seen, await rows(c, "SELECT count(*)::int n FROM t")];
    },
    async savepoint() {
        const c = await open(), seen = [];
        await c.query("CREATE TEMP TABLE s (id int PRIMARY KEY)");
        await c.query("BEGIN");
        for (const v of [1, 1, 2]) {
            await c.query("SAVEPOINT x");
            await c.query("INSERT INTO s VALUES ($1)", [v]).catch(async (e) => {
                seen.push(e.code);
                await c.query("ROLLBACK TO x");
            });
        }
        await c.query("COMMIT");
        return [seen, await rows(c, "SELECT array_agg(id) a FROM s")];
    },
    async large_value() {
        const data = Buffer.alloc(16 << 20, "0123456789abcdef\0");
        const [row] = await rows(await open(), "SELECT length($1::bytea) n, $1::bytea d", [data]);
        return [row.n, data.equals(row.d)];
    },
    async vendor_task() {
        const c = await open();
        return [await rows(c, "SELECT what, failure_times FROM pg_task_show($1)", ["SQLonHudi"]),
            (await errorOf(c.query("SELECT pg_task_pause($1)", ["no such task"])))[0]];
    },
    async vendor_cursor() {
        const c = await open();
        await c.query("BEGIN");
        await c.query("DECLARE c1 PARALLEL RETRIEVE CURSOR FOR SELECT * FROM generate_series(1, 10)");
        const found = await rows(c, "SELECT endpoint_name, auth_token FROM gp_endpoints WHERE cursor_name = $1", ["c1"]);
        const reader = await open({password: found[0].auth_token, options: "-c gp_session_role=retrieve"});
        const some = await rows(reader, `RETRIEVE 3 FROM ENDPOINT ${found[0].endpoint_name}`);
        const rest = await rows(reader, {name: "r", text: `RETRIEVE ALL FROM ENDPOINT ${found[0].endpoint_name}`});
        const check = (await c.query("CHECK PARALLEL RETRIEVE CURSOR c1 NOWAIT")).command;
        await c.query("CLOSE c1");
        await c.query("COMMIT");
        return [found.length, some, rest.length, check];
    },
    async vendor_rebuild() {
        const c = await open();
        await c.query("DROP TABLE IF EXISTS matrix_rebuild; CREATE TABLE matrix_rebuild (id int PRIMARY KEY)");
        const [{query_id}] = await rows(c, "ASYNC REBUILD TABLE matrix_rebuild ADD COLUMN more text");
        await until(async () => (await rows(c, "SELECT status FROM hologres.rebuild_progress($1) WHERE step = 'swap'",
            [query_id]))[0].status === "done", "the table is rebuilt");
        return (await c.query("SELECT * FROM matrix_rebuild")).fields.map((f) => f.name);
    },
});
