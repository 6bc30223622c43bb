"""The type mapping, value by value: what DuckDB writes into a Parquet file comes out of the target as
expected, through the direct load and through staging; what PostgreSQL cannot hold is refused with
column, row key and value."""
import sys

from cluster import Scenarios, equal
from hudi_sync import Hudi

# source expression (DuckDB), target type, the target's text
GOOD = [
    ("true", "boolean", "t"),
    ("(-32768)::INTEGER", "smallint", "-32768"),
    ("(-2147483648)::INTEGER", "integer", "-2147483648"),
    ("7::INTEGER", "bigint", "7"),
    ("7::INTEGER", "real", "7"),
    ("7::BIGINT", "double precision", "7"),
    ("7::INTEGER", "numeric", "7"),
    ("7::INTEGER", "text", "7"),
    ("(-9223372036854775808)::BIGINT", "bigint", "-9223372036854775808"),
    ("2147483647::BIGINT", "integer", "2147483647"),
    ("9223372036854775807::BIGINT", "text", "9223372036854775807"),
    ("1.1::FLOAT", "real", "1.1"),
    ("0.1::FLOAT", "double precision", "0.10000000149011612"),
    ("0.1::DOUBLE", "double precision", "0.1"),
    ("'nan'::DOUBLE", "double precision", "NaN"),
    ("'-inf'::FLOAT", "real", "-Infinity"),
    ("12.34::DECIMAL(4,2)", "numeric(4,2)", "12.34"),
    ("(-0.05)::DECIMAL(9,2)", "numeric", "-0.05"),
    ("123456789012.345678::DECIMAL(18,6)", "numeric(18,6)", "123456789012.345678"),
    ("99999999999999999999999999999999999999::DECIMAL(38,0)", "numeric(38)", "9" * 38),
    ("0.00000000000000000000000000000000000001::DECIMAL(38,38)", "numeric(38,38)", "0." + "0" * 37 + "1"),
    ("(-10000)::DECIMAL(18,0)", "numeric", "-10000"),
    ("12.345::DECIMAL(9,3)", "numeric(9,2)", "12.35"),
    ("12.50::DECIMAL(9,2)", "text", "12.50"),
    ("DATE '1969-12-31'", "date", "1969-12-31"),
    ("DATE '0001-01-01'", "date", "0001-01-01"),
    ("TIME '23:59:59.999999'", "time", "23:59:59.999999"),
    ("TIMESTAMP '2020-02-29 12:34:56.789012'", "timestamp", "2020-02-29 12:34:56.789012"),
    ("TIMESTAMP '1582-10-04 00:00:00'", "timestamp", "1582-10-04 00:00:00"),
    ("TIMESTAMP_MS '2020-02-29 12:34:56.789'", "timestamp", "2020-02-29 12:34:56.789"),
    ("TIMESTAMP_NS '2020-02-29 12:34:56.789012345'", "timestamp", "2020-02-29 12:34:56.789012"),
    ("TIMESTAMPTZ '2020-02-29 12:34:56.789012+02'", "timestamptz", "2020-02-29 10:34:56.789012+00"),
    ("TIMESTAMPTZ '2020-02-29 12:34:56+00'", "timestamp", "2020-02-29 12:34:56"),
    ("TIMESTAMP '2020-02-29 12:34:56'", "timestamptz", "2020-02-29 12:34:56+00"),
    ("DATE '2020-02-29'", "text", "2020-02-29"),
    ("''", "text", ""),
    ("'é€😀'", "varchar(3)", "é€😀"),
    ("'ab'", "char(4)", "ab  "),
    ("'ab      '", "char(3)", "ab "),
    ("'happy'", "public.mood", "happy"),
    ("'10.0.0.1/8'", "inet", "10.0.0.1/8"),
    ("'1 day'", "interval", "1 day"),
    ("5::INTEGER", "public.positive", "5"),
    ("'0aBc'::BLOB", "bytea", "\\x30614263"),
    ("'\\x00\\xFF'::BLOB", "bytea", "\\x00ff"),
    ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID", "uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("'{A0EEBC99-9c0b4ef8bb6d6bb9bd380a11}'", "uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("'{\"a\": [1, 2]}'", "jsonb", '{"a": [1, 2]}'),
    ("'{\"a\":  1}'", "json", '{"a":  1}'),
    ("[1, NULL, 3]::INTEGER[]", "integer[]", "{1,NULL,3}"),
    ("[]::INTEGER[]", "bigint[]", "{}"),
    ("['a', 'b c', NULL]", "text[]", '{a,"b c",NULL}'),
    ("[TIMESTAMP_NS '2020-01-01 00:00:00']", "timestamp[]", '{"2020-01-01 00:00:00"}'),
    ("[1.50::DECIMAL(9,2)]", "numeric(9,2)[]", "{1.50}"),
    ("[1, NULL]::INTEGER[]", "json", "[1,null]"),
    ("{'a': 1, 'b': 'x\"y', 'c': NULL, 'd': [true], 'e': 1.50::DECIMAL(4,2)}", "json",
     '{"a":1,"b":"x\\"y","c":null,"d":[true],"e":"1.50"}'),
    ("{'t': TIMESTAMP '2020-01-01 01:02:03.5', 'd': DATE '2020-01-01', 'f': 0.1::FLOAT, 'b': 'a'::BLOB}", "text",
     '{"t":"2020-01-01 01:02:03.500000","d":"2020-01-01","f":0.1,"b":"\\\\x61"}'),
    ("MAP {'k': 1, 'l': 2}", "jsonb", '{"k": 1, "l": 2}'),
    ("NULL::INTEGER", "text", None),
]

# source expression, target type, SQLSTATE's place in the log, words of the log
BAD = [
    ("32768::INTEGER", "smallint", "out of range"),
    ("2147483648::BIGINT", "integer", "out of range"),
    ("1000.00::DECIMAL(9,2)", "numeric(5,2)", "out of range"),
    ("'abcd'", "varchar(3)", "too long"),
    ("'ab' || chr(0)", "text", "NUL"),
    ("'zz'", "uuid", "not a UUID"),
    ("NULL::INTEGER", "integer NOT NULL", "null"),
    ("['abcd']", "varchar(3)[]", "too long"),
]

# refused before a row is read: the task is suspended
UNFIT = [
    ("'x'", "integer"), ("1.5::DOUBLE", "integer"), ("1.5::DOUBLE", "real"), ("1::INTEGER", "date"),
    ("'x'::BLOB", "text"), ("[1]", "integer"), ("{'a': 1}", "integer[]"), ("[[1]]", "integer[]"), ("true", "integer"),
]


def write(h, table, expressions):
    columns = ", ".join(f"{e} AS c{i}" for i, e in enumerate(expressions))
    h.writer("create", table, "--key", "id", "--sql", f"SELECT 1::INTEGER AS id, {columns}")
    h.foreign_table("f" + table, table, [("id", "integer")] + [(f"c{i}", "text") for i in range(len(expressions))])


def create(h, target, types):
    h.sql(f"CREATE TABLE public.{target} (id integer PRIMARY KEY, " +
          ", ".join(f"c{i} {t}" for i, t in enumerate(types)) + ")")


def check_values(h, target):
    for i, (expression, kind, want) in enumerate(GOOD):
        got = h.cluster.direct.psql("-At", "-P", "null=<null>", check=True, PGTZ="UTC",
                                    stdin=f"SET bytea_output = hex; SELECT c{i} FROM public.{target}").stdout
        got = got.split("\n", 1)[1][:-1] if got.startswith("SET") else got[:-1]
        equal(got, "<null>" if want is None else want, f"{expression} as {kind}")


def main():
    s = Scenarios("types")
    with Hudi() as h:
        h.sql("""CREATE TYPE public.mood AS ENUM ('sad', 'happy');
            CREATE DOMAIN public.positive AS integer CHECK (VALUE > 0)""")

        @s.scenario(f"{len(GOOD)} values through staging")
        def _():
            write(h, "good", [g[0] for g in GOOD])
            create(h, "staged", [g[1] for g in GOOD])
            h.run_well(h.submit("public.staged", "public.fgood"))
            check_values(h, "staged")

        @s.scenario("the same directly, where types are PostgreSQL's own")
        def _():
            other = [g[1].startswith("public.") or g[1] in ("inet", "interval") for g in GOOD]
            create(h, "direct", ["text" if o else g[1] for o, g in zip(other, GOOD)])
            write(h, "plain", ["'x'" if o else g[0] for o, g in zip(other, GOOD)])
            h.run_well(h.submit("public.direct", "public.fplain"))
            for i, g in enumerate(GOOD):
                if not other[i]:
                    equal(h.sql(f"SELECT d.c{i}::text IS NOT DISTINCT FROM s.c{i}::text FROM public.direct d, public.staged s"),
                          "t", f"{g[0]} as {g[1]}")

        def refused(n, expression, kind, word):
            write(h, f"bad{n}", [expression])
            create(h, f"bad{n}", [kind])
            task = h.submit(f"public.bad{n}", f"public.fbad{n}")
            h.run(task)
            state, failures, log = h.outcome(task)
            equal((state, failures), ("active", 1), log)
            for part in (word, '"c0"', "id = 1"):
                if part not in log:
                    raise AssertionError(f"no {part!r} in {log!r}")
            equal(h.sql(f"SELECT count(*) FROM public.bad{n}"), "0")

        for n, (expression, kind, word) in enumerate(BAD):
            s.run(f"refused: {expression} as {kind}", refused, n, expression, kind, word)

        @s.scenario(f"{len(UNFIT)} pairs of types that do not go together")
        def _():
            for n, (expression, kind) in enumerate(UNFIT):
                write(h, f"unfit{n}", [expression])
                create(h, f"unfit{n}", [kind])
                task = h.submit(f"public.unfit{n}", f"public.funfit{n}")
                h.run(task)
                state, _, log = h.outcome(task)
                equal(state, "suspended", f"{expression} as {kind}: {log}")
                if '"c0"' not in log:
                    raise AssertionError(log)

        @s.scenario("types of keys: deletes find their rows")
        def _():
            for n, (expression, kind) in enumerate((
                    ("('k' || i)::VARCHAR", "varchar(10)"), ("('k' || i)::VARCHAR", "char(5)"), ("i::INTEGER", "bigint"),
                    ("DATE '2020-01-01' + i::INTEGER", "date"), ("(i / 4)::DECIMAL(9,2)", "numeric"),
                    ("('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1' || i)::VARCHAR", "uuid"),
                    ("TIMESTAMPTZ '2020-01-01 00:00:00+00' + INTERVAL (i) HOUR", "timestamptz"),
                    ("('10.0.0.' || i)::VARCHAR", "inet"))):
                h.writer("create", f"key{n}", "--key", "k", "--groups", 1, "--sql",
                         f"SELECT {expression} AS k, i AS v FROM range(5) t(i)")
                h.foreign_table(f"fkey{n}", f"key{n}", [("k", "text"), ("v", "bigint")])
                h.sql(f"CREATE TABLE public.key{n} (k {kind} PRIMARY KEY, v bigint)")
                task = h.submit(f"public.key{n}", f"public.fkey{n}")
                h.run_well(task)
                h.writer("delete", f"key{n}", "--keys-sql", f"SELECT {expression} AS k FROM range(2, 4) t(i)")
                h.run_well(task)
                equal(h.sql(f"SELECT v FROM public.key{n} ORDER BY v"), "0\n1\n4", kind)
                equal(h.history(task), [5, 2], kind)
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
