// What the Node clients of the matrix share: see ../python/scenario.py for the form of the output.
"use strict";

const env = process.env;
exports.where = {host: env.PGHOST, port: Number(env.PGPORT), user: env.PGUSER, password: env.PGPASSWORD, database: env.PGDATABASE};
exports.sleeps = (pid) => `SELECT count(*)::int AS n FROM pg_stat_activity WHERE pid = ${pid} AND wait_event = 'PgSleep'`;

class NotApplicable extends Error {}
exports.notApplicable = (why) => () => { throw new NotApplicable(why); };

exports.until = async (condition, what) => {
    for (let i = 0; i < 3000; i++) {
        if (await condition())
            return;
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`waited in vain: ${what}`);
};

exports.main = async (scenarios) => {
    const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(scenarios);
    for (const scenario of names) {
        const line = {scenario};
        try {
            if (!(scenario in scenarios))
                throw new NotApplicable("no such interface in this client");
            line.saw = await scenarios[scenario]();
        } catch (e) {
            if (e instanceof NotApplicable)
                line.na = e.message;
            else
                line.failed = e.stack;
        }
        console.log(JSON.stringify(line));
    }
    process.exit(0); // open connections of the scenarios end with the process
};
