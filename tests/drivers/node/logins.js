// Logs in with node pg (without and with channel binding) and postgres.js, each by every way of
// process.argv: CLIENT PORT TLS PASSWORD, four words a login. Prints "works" or the error, a line each.
"use strict";
const {Client} = require("pg");
const postgres = require("postgres");

const where = (port, tls, password) => ({host: "127.0.0.1", port: Number(port), user: "u_scram", password, database: "app",
    ssl: tls === "TLS" ? {rejectUnauthorized: false} : false});

const byPg = async (options) => {
    const client = new Client(options);
    client.on("error", () => {});
    await client.connect();
    const {rows} = await client.query("SELECT $1::int + 1 AS v", [41]);
    await client.end();
    return rows[0].v;
};
const byPostgres = async (options) => {
    const sql = postgres({...options, max: 1, connect_timeout: 20});
    try {
        return (await sql`SELECT ${41}::int + 1 AS v`)[0].v;
    } finally {
        await sql.end({timeout: 1});
    }
};
const clients = {
    "pg": byPg,
    "pg,binding": (options) => byPg({...options, enableChannelBinding: true}),
    "postgres": byPostgres,
};

(async () => {
    for (let at = 2; at < process.argv.length; at += 4) {
        const [client, ...rest] = process.argv.slice(at, at + 4);
        let outcome;
        try {
            outcome = await clients[client](where(...rest)) === 42 ? "works" : "wrong answer";
        } catch (e) {
            outcome = `${e.code} ${e.message}`.replace(/\n/g, " ");
        }
        console.log(outcome);
    }
    process.exit(0);
})();
