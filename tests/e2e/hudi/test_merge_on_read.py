"""Merge-on-read tables that the tests write themselves (tests/support/mor_table.py), against what their
writer knows: random commits, deletes, compactions, log compactions, clusterings, cleanings, failed
commits and archivals in both timeline layouts; then each way of merging in a table of its own."""
import concurrent.futures
import json
import os
import struct
import sys

from cluster import Scenarios, equal
from hudi_sync import Hudi, duckdb_library
from mor_table import COLUMNS, PAYLOADS, MorTable, Walk, avro_long, avro_schema, avro_value, block, data_block

STEPS = int(os.environ.get("PGVENEER_MOR_STEPS", "16"))
SEED = int(os.environ.get("PGVENEER_MOR_SEED", "1"))
TYPES = {"long": "bigint", "string": "text", "double": "double precision", "boolean": "boolean", "bytes": "bytea"}
TABLES = {
    "layout 1, commit time": {"layout": 1},
    "layout 2, event time": {"layout": 2, "ordering": "ts", "merge": "EVENT_TIME"},
    "layout 2, version 9, no meta fields": {"layout": 2, "version": 9, "meta": False},
    "layout 1, event time": {"layout": 1, "ordering": "ts", "merge": "EVENT_TIME"},
    "deletes of version 1": {"layout": 1, "deletes": 1},
    "deletes of version 2, event time": {"layout": 1, "ordering": "ts", "merge": "EVENT_TIME", "deletes": 2},
}


def make_target(h, table, name, key="id"):
    columns = [(c.lower(), TYPES[k]) for c, k in table.columns]
    h.foreign_table(f"ft_{name}", table.dir, columns)
    declared = ", ".join(f"{c} {t}" for c, t in columns)
    h.sql(f"CREATE TABLE public.{name} ({declared}, PRIMARY KEY ({key}))")
    return h.submit(f"public.{name}", f"public.ft_{name}")


def read(h, table, name):
    names = [c.lower() for c, _ in table.columns]
    with h.connection("app").cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(names)} FROM public.{name}")
        return {row[0]: dict(zip(names, row)) for row in cursor.fetchall()}


def difference(have, want):
    keys = [k for k in sorted(set(have) | set(want)) if have.get(k) != want.get(k)]
    return "; ".join(f"{k}: have {have.get(k)}, want {want.get(k)}" for k in keys[:4])


def check_walk(h, number, options):
    """After runs of random length the target is the state that its position names."""
    name = f"walk{number}"
    table = MorTable(h.folder / name, duckdb_library(), seed=SEED, **options)
    walk = Walk(table, SEED * 100 + number)
    table.commit([walk.row(k) for k in range(40)])
    task, compared = make_target(h, table, name), 0
    for _ in range(STEPS):
        for _ in range(walk.rng.randint(1, 3)):
            walk.change()
        h.write_config(hudi_sync_max_commits=walk.rng.choice([-1, -1, 1, 2]))
        log = h.run_well(task)
        have, position = read(h, table, name), h.position(f"public.{name}")
        if have != table.states[position]:
            raise AssertionError(f"at {position} ({log}): {difference(have, table.states[position])}")
        compared += 1
    if table.failed:
        table.rollback_failed()
    h.write_config(hudi_sync_max_commits=-1)
    h.run_well(task)
    equal(difference(read(h, table, name), table.rows()), "", "at the end")
    return compared


# ---- one table for each way of merging

def make_and_run(h, name, table):
    task = make_target(h, table, name)
    h.write_config()
    h.run_well(task)
    return task


def run_and_compare(h, name, table, want):
    make_and_run(h, name, table)
    have = {k: tuple(v for c, v in row.items() if c != "id") for k, row in read(h, table, name).items()}
    equal(have, want, name)


def small(h, name, properties="", columns=COLUMNS, **more):
    return MorTable(h.folder / name, duckdb_library(), columns=columns, properties=properties, **more)


def check_event_time_deletes(h):
    t = small(h, "deletes", layout=2, ordering="ts", merge="EVENT_TIME", groups=1)
    rows = [{"id": k, "p": "a", "ts": 10, "v": "old"} for k in range(6)]
    t.commit(rows, base=True)
    t.commit([{"id": 1, "p": "a", "ts": 9, "v": "too old"}, {"id": 2, "p": "a", "ts": 10, "v": "same"}],
             [(3, 9), (4, 10), 5])
    t.commit([{"id": 5, "p": "a", "ts": 1, "v": "again"}])
    run_and_compare(h, "deletes", t, {0: ("a", 10, "old", None), 1: ("a", 10, "old", None), 2: ("a", 10, "same", None),
                                      3: ("a", 10, "old", None), 5: ("a", 1, "again", None)})


def check_row_flags(h):
    columns = [("id", "long"), ("p", "string"), ("_hoodie_is_deleted", "boolean"), ("op", "string")]
    t = small(h, "flags", columns=columns, groups=1,
              properties="hoodie.payload.delete.field=op\nhoodie.payload.delete.marker=gone\n")
    t.commit([{"id": k, "p": "a", "_hoodie_is_deleted": False, "op": "new"} for k in range(3)], base=True)
    t.commit([{"id": 0, "p": "a", "_hoodie_is_deleted": True}, {"id": 1, "p": "a", "op": "gone"}])
    run_and_compare(h, "flags", t, {2: ("a", False, "new")})


def check_operations(h):
    """Flink's changelog: -U and D leave nothing."""
    columns = [("id", "long"), ("p", "string"), ("v", "string")]
    t = small(h, "operations", columns=columns, groups=1)
    t.commit([{"id": k, "p": "a", "v": "old"} for k in range(4)], base=True)
    t.columns = columns + [("_hoodie_operation", "string")]
    t.commit([{"id": k, "p": "a", "v": "new", "_hoodie_operation": o} for k, o in enumerate(["I", "-U", "U", "D"])])
    t.columns = columns
    run_and_compare(h, "operations", t, {0: ("a", "new"), 2: ("a", "new")})


def check_partial_payload(h):
    t = small(h, "nondefaults", groups=1,
              properties=f"hoodie.compaction.payload.class={PAYLOADS}OverwriteNonDefaultsWithLatestAvroPayload\n")
    t.commit([{"id": k, "p": "a", "ts": 1, "v": "old", "n": 1.0} for k in range(3)], base=True)
    t.commit([{"id": 0, "p": "a", "ts": 2}, {"id": 1, "p": "a", "v": "new"}])
    t.commit([{"id": 0, "p": "a", "n": 5.0}], [1])
    run_and_compare(h, "nondefaults", t, {0: ("a", 2, "old", 5.0), 2: ("a", 1, "old", 1.0)})


def check_partial_by_event_time(h):
    t = small(h, "partial", ordering="ts", groups=1,
              properties=f"hoodie.compaction.payload.class={PAYLOADS}PartialUpdateAvroPayload\n")
    t.commit([{"id": 0, "p": "a", "ts": 5, "v": "five"}, {"id": 1, "p": "a", "ts": 5, "v": "five", "n": 5.0}], base=True)
    t.commit([{"id": 0, "p": "a", "ts": 3, "v": "three", "n": 3.0}, {"id": 1, "p": "a", "ts": 7, "v": "seven"}])
    run_and_compare(h, "partial", t, {0: ("a", 5, "five", 3.0), 1: ("a", 7, "seven", 5.0)})


def check_unavailable_values(h):
    t = small(h, "unavailable", layout=2, version=9, ordering="ts", merge="EVENT_TIME", groups=1,
              properties="hoodie.table.partial.update.mode=FILL_UNAVAILABLE\n" + MARKER)
    t.commit([{"id": 0, "p": "a", "ts": 5, "v": "kept", "n": 5.0}], base=True)
    t.commit([{"id": 0, "p": "a", "ts": 6, "v": "__debezium_unavailable_value"}])
    run_and_compare(h, "unavailable", t, {0: ("a", 6, "kept", None)})


MARKER = "hoodie.record.merge.property.hoodie.write.partial.update.unavailable.value=__debezium_unavailable_value\n"
DEFAULTS = json.dumps({"type": "record", "name": "r", "fields": [
    {"name": "id", "type": ["null", "long"], "default": None}, {"name": "p", "type": ["null", "string"], "default": None},
    {"name": "ts", "type": ["null", "long"], "default": None},
    {"name": "v", "type": ["string", "null"], "default": "none"}, {"name": "n", "type": ["double", "null"], "default": 0.0}]})


def defaults_row(key, ts, v, n):
    """Of DEFAULTS, where null is the second type of the union."""
    def second(value, kind):
        return avro_long(1) if value is None else avro_long(0) + avro_value(value, kind)[1:]
    return (avro_value(key, "long") + avro_value("a", "string") + avro_value(ts, "long") + second(v, "string") +
            second(n, "double"))


def check_defaults(h):
    """Hudi's Java sources: PartialUpdateAvroPayload.overwriteField keeps the older value for null alone;
    OverwriteWithLatestAvroPayload.overwriteField (OverwriteNonDefaultsWithLatest) for the default alone, and
    PartialUpdateHandler.reconcileDefaultValues (IGNORE_DEFAULTS of version 9) as well."""
    by_default = {0: ("a", 2, "old", None), 1: ("a", 2, None, 1.0), 2: ("a", 2, "new", 5.0)}
    cases = [
        ("PartialUpdateAvroPayload", {"ordering": "ts"}, {0: ("a", 2, "none", 1.0), 1: ("a", 2, "old", 0.0), 2: ("a", 2, "new", 5.0)}),
        ("OverwriteNonDefaultsWithLatestAvroPayload", {}, by_default),
        ("IGNORE_DEFAULTS", {"layout": 2, "version": 9}, by_default),
    ]
    for number, (rule, options, want) in enumerate(cases):
        line = (f"hoodie.table.partial.update.mode={rule}\n" if rule.isupper() else
                f"hoodie.compaction.payload.class={PAYLOADS}{rule}\n")
        t = small(h, f"defaults{number}", groups=1, meta=False, properties=line, **options)
        t.commit([{"id": k, "p": "a", "ts": 1, "v": "old", "n": 1.0} for k in range(3)], base=True)
        t.commit([{"id": k, "p": "a", "ts": 2} for k in range(3)])
        log = t.dir / t.groups[0].logs[0][0]
        rows = [defaults_row(0, 2, "none", None), defaults_row(1, 2, None, 0.0), defaults_row(2, 2, "new", 5.0)]
        content = struct.pack(">ii", 3, len(rows)) + b"".join(struct.pack(">i", len(r)) + r for r in rows)
        log.write_bytes(block(3, {0: t.instants[-1], 2: DEFAULTS}, content))
        run_and_compare(h, f"defaults{number}", t, want)


def check_delete_markers(h):
    """AWSDmsAvroPayload.isDMSDeleteRecord and AbstractDebeziumAvroPayload.isDebeziumDeleteRecord: equalsIgnoreCase."""
    for number, (payload, column, marks, more) in enumerate([
            ("AWSDmsAvroPayload", "Op", ["I", "D", "d", "U"], {}),
            ("debezium.PostgresDebeziumAvroPayload", "_change_operation_type", ["c", "D", "d", "u"], {"_event_lsn": 5}),
            ("debezium.MySqlDebeziumAvroPayload", "_change_operation_type", ["c", "D", "d", "u"],
             {"_event_bin_file": "mysql-bin.000002", "_event_pos": 5})]):
        columns = [("id", "long"), ("p", "string"), (column, "string")]
        columns += [(c, "long" if isinstance(v, int) else "string") for c, v in more.items()]
        t = small(h, f"marks{number}", columns=columns, groups=1,
                  properties=f"hoodie.compaction.payload.class={PAYLOADS}{payload}\n")
        t.commit([{"id": k, "p": "a", column: "r", **more} for k in range(4)], base=True)
        t.commit([{"id": k, "p": "a", column: m, **more} for k, m in enumerate(marks)])
        run_and_compare(h, f"marks{number}", t, {k: ("a", marks[k], *more.values()) for k in (0, 3)})


def check_debezium_order(h):
    """PostgresDebeziumAvroPayload.shouldPickCurrentRecord: the stored row stays only if its _event_lsn is higher;
    MySqlDebeziumAvroPayload.isCurrentSeqLatest: file, then position."""
    columns = [("id", "long"), ("p", "string"), ("v", "string"), ("_event_lsn", "long")]
    t = small(h, "lsn", columns=columns, groups=1,
              properties=f"hoodie.compaction.payload.class={PAYLOADS}debezium.PostgresDebeziumAvroPayload\n")
    t.commit([{"id": k, "p": "a", "v": "old", "_event_lsn": 5} for k in range(3)] +
             [{"id": 3, "p": "a", "v": "old", "_event_lsn": None}], base=True)
    t.commit([{"id": k, "p": "a", "v": "new", "_event_lsn": 4 + k} for k in range(4)])
    run_and_compare(h, "lsn", t, {0: ("a", "old", 5), 1: ("a", "new", 5), 2: ("a", "new", 6), 3: ("a", "new", 7)})
    columns = [("id", "long"), ("p", "string"), ("v", "string"), ("_event_bin_file", "string"), ("_event_pos", "long")]
    t = small(h, "seq", columns=columns, groups=1,
              properties=f"hoodie.compaction.payload.class={PAYLOADS}debezium.MySqlDebeziumAvroPayload\n")
    t.commit([{"id": k, "p": "a", "v": "old", "_event_bin_file": "b.000002", "_event_pos": 50} for k in range(4)] +
             [{"id": 4, "p": "a", "v": "old"}], base=True)
    new = [("b.000001", 99), ("b.000002", 9), ("b.000002", 50), ("b.000003", 1), ("b.000001", 1)]
    t.commit([{"id": k, "p": "a", "v": "new", "_event_bin_file": f, "_event_pos": n} for k, (f, n) in enumerate(new)])
    run_and_compare(h, "seq", t, {0: ("a", "old", "b.000002", 50), 1: ("a", "old", "b.000002", 50),
                                  2: ("a", "new", "b.000002", 50), 3: ("a", "new", "b.000003", 1),
                                  4: ("a", "new", "b.000001", 1)})


def check_unavailable_bytes(h):
    """PostgresDebeziumAvroPayload.containsBytesToastedValues; PartialUpdateHandler.isBytesTyped."""
    columns = [("id", "long"), ("p", "string"), ("ts", "long"), ("b", "bytes")]
    t = small(h, "toast", layout=2, version=9, ordering="ts", merge="EVENT_TIME", groups=1, columns=columns,
              properties="hoodie.table.partial.update.mode=FILL_UNAVAILABLE\n" + MARKER)
    t.commit([{"id": k, "p": "a", "ts": 5, "b": b"kept"} for k in range(2)], base=True)
    t.commit([{"id": 0, "p": "a", "ts": 6, "b": b"__debezium_unavailable_value"}, {"id": 1, "p": "a", "ts": 6, "b": b"new"}])
    make_and_run(h, "toast", t)
    equal(h.sql("SELECT string_agg(encode(b, 'escape'), ',' ORDER BY id) FROM toast"), "kept,new")


def check_partial_out_of_order(h):
    """A row that fills a gap from behind: its ordering value is lower, and yet its commit changed the row."""
    t = small(h, "behind", ordering="ts", groups=1,
              properties=f"hoodie.compaction.payload.class={PAYLOADS}PartialUpdateAvroPayload\n")
    t.commit([{"id": 0, "p": "a", "ts": 5, "v": None, "n": 5.0}, {"id": 1, "p": "a", "ts": 5, "v": "five"}], base=True)
    task = make_and_run(h, "behind", t)
    t.commit([{"id": 0, "p": "a", "ts": 3, "v": "three", "n": 3.0}])
    h.run_well(task)
    have = {k: tuple(row.values())[1:] for k, row in read(h, t, "behind").items()}
    equal(have, {0: ("a", 5, "three", 5.0), 1: ("a", 5, "five", None)})


def check_partial_blocks(h):
    """IS_PARTIAL: a block whose schema has only what changes."""
    t = small(h, "blocks", layout=2, groups=1)
    t.commit([{"id": k, "p": "a", "ts": 1, "v": "old", "n": 1.0} for k in range(3)], base=True)
    whole, t.columns = t.columns, [("v", "string")]
    t.commit([{"id": 1, "p": "a", "v": None}, {"id": 2, "p": "a", "v": "new"}], more={7: "true"})
    t.columns = whole
    run_and_compare(h, "blocks", t, {0: ("a", 1, "old", 1.0), 1: ("a", 1, None, 1.0), 2: ("a", 1, "new", 1.0)})


def check_types_that_change(h):
    """A column becomes wider from block to block, and is missing in the base file."""
    columns = [("id", "long"), ("p", "string")]
    t = small(h, "types", columns=columns, groups=1)
    t.commit([{"id": k, "p": "a"} for k in range(3)], base=True)
    t.columns = columns + [("x", "int")]
    t.commit([{"id": 1, "p": "a", "x": 7}])
    t.columns = columns + [("x", "long")]
    t.commit([{"id": 2, "p": "a", "x": 1 << 40}])
    run_and_compare(h, "types", t, {0: ("a", None), 1: ("a", 7), 2: ("a", 1 << 40)})


def check_corrupt_blocks(h):
    """A writer that died in the middle of a block; another one went on behind it."""
    t = small(h, "corrupt", groups=1)
    t.commit([{"id": 0, "p": "a", "ts": 1, "v": "old", "n": None}], base=True)
    t.commit([{"id": 0, "p": "a", "ts": 2, "v": "new", "n": None}])
    log = t.dir / t.groups[0].logs[0][0]
    whole = log.read_bytes()
    log.write_bytes(data_block(t.instants[-1], COLUMNS, [{"id": 0, "v": "torn"}])[:-20] + whole + whole[:30])
    run_and_compare(h, "corrupt", t, {0: ("a", 2, "new", None)})


def check_refused(h):
    """Log files that cannot be read exactly, with what was found."""
    cases = {
        "HFile data blocks": lambda i: block(4, {0: i, 2: avro_schema(COLUMNS)}, b"x"),
        "delete blocks of version 1 in Java's own serialization": lambda i: block(
            1, {0: i}, b"\0\0\0\1\0\0\0\4\xac\xed\0\5"),
        "delete blocks of version 4": lambda i: block(1, {0: i}, b"\0\0\0\4\0\0\0\0"),
        "data blocks of version 4": lambda i: data_block(i, COLUMNS, [], version=4),
        "field \"u\" of a log file is a union of several types": lambda i: block(
            3, {0: i, 2: '{"type":"record","name":"r","fields":[{"name":"u","type":["int","string"]}]}'},
            b"\0\0\0\3\0\0\0\0"),
    }
    for number, (text, content) in enumerate(cases.items()):
        t = small(h, f"refused{number}", groups=1)
        t.commit([{"id": 0, "p": "a"}], base=True)
        t.commit([{"id": 0, "p": "a"}])
        (t.dir / t.groups[0].logs[0][0]).write_bytes(content(t.instants[-1]))
        task = make_target(h, t, f"refused{number}")
        h.write_config()
        h.run(task)
        state, _, log = h.outcome(task)
        if state != "suspended" or text not in log:
            raise AssertionError(f"{text}: {state}: {log}")


MERGES = [check_event_time_deletes, check_row_flags, check_operations, check_partial_payload,
          check_partial_by_event_time, check_defaults, check_delete_markers, check_debezium_order,
          check_partial_out_of_order, check_unavailable_values, check_unavailable_bytes, check_partial_blocks, check_types_that_change,
          check_corrupt_blocks, check_refused]


def main():
    s = Scenarios("merge-on-read")
    with Hudi() as h:
        lanes = [h.new_lane(n) for n in range(2)]

        def work(lane):
            for number, (title, options) in enumerate(TABLES.items()):
                if number % 2 == int(lane.lane):
                    s.run(f"random walk, {title}", check_walk, lane, number, options)
            for number, check in enumerate(MERGES):
                if number % 2 == int(lane.lane):
                    s.run(check.__name__.removeprefix("check_").replace("_", " "), check, lane)
            lane.close_lane()

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(work, lanes))
    return s.finish()


if __name__ == "__main__":
    sys.exit(main())
