"""A merge-on-read Hudi table in a local folder, and what it must look like after every commit.

Writes what Hudi's writers leave: base files (Parquet, by DuckDB), log files with Avro data blocks, delete
blocks and commands, JSON commit metadata, timelines of layout 1 and 2; compaction (planned and done at
different times), log compaction, clustering, cleaning, rollback, archival. Rows are merged here in plain
dictionaries, by code that shares nothing with the reader: `states` maps each completed instant to the rows
that a reader must see.

    t = MorTable(folder / "t", layout=2, ordering="ts", merge="EVENT_TIME")
    t.commit([{"id": 1, "p": "a", "ts": 5, "v": "x"}])
    t.commit([], deletes=[1])
    t.compact()
    t.rows()                                 # what the newest commit left
"""
import ctypes
import json
import os
import pathlib
import random
import re
import struct
import time
import uuid

MAGIC = b"#HUDI#"
META = ["_hoodie_commit_time", "_hoodie_commit_seqno", "_hoodie_record_key", "_hoodie_partition_path",
        "_hoodie_file_name"]
COLUMNS = [("id", "long"), ("p", "string"), ("ts", "long"), ("v", "string"), ("n", "double")]
SQL_TYPES = {"long": "BIGINT", "string": "VARCHAR", "double": "DOUBLE", "boolean": "BOOLEAN", "int": "INTEGER",
             "bytes": "BLOB"}
PAYLOADS = "org.apache.hudi.common.model."


class Duck:
    """Enough of DuckDB's C API to write a Parquet file."""

    def __init__(self, library):
        self.lib = ctypes.CDLL(library)
        self.lib.duckdb_result_error.restype = ctypes.c_char_p
        database = ctypes.c_void_p()
        self.connection = ctypes.c_void_p()
        self.lib.duckdb_open(None, ctypes.byref(database))
        self.lib.duckdb_connect(database, ctypes.byref(self.connection))
        self.run("SET threads = 1")

    def run(self, sql):
        result = ctypes.create_string_buffer(64)
        if self.lib.duckdb_query(self.connection, sql.encode(), result) != 0:
            raise AssertionError(self.lib.duckdb_result_error(result).decode())
        self.lib.duckdb_destroy_result(result)


def literal(value, kind):
    if value is None:
        return f"CAST(NULL AS {SQL_TYPES[kind]})"
    if kind == "bytes":
        return f"from_hex('{value.hex()}')"
    if kind == "string":
        return "'" + value.replace("'", "''") + "'"
    return f"CAST({value!r} AS {SQL_TYPES[kind]})"


# ---- Avro

def avro_long(v):
    z, out = (v << 1) ^ (v >> 63), bytearray()
    while z >= 0x80:
        out.append(0x80 | (z & 0x7F))
        z >>= 7
    return bytes(out) + bytes([z])


def avro_bytes(b):
    return avro_long(len(b)) + b


def avro_value(value, kind):
    """Of ["null", kind]."""
    if value is None:
        return avro_long(0)
    return avro_long(1) + {"long": avro_long, "int": avro_long, "string": lambda s: avro_bytes(s.encode()),
                           "double": lambda d: struct.pack("<d", d), "bytes": avro_bytes,
                           "boolean": lambda b: b"\1" if b else b"\0"}[kind](value)


def avro_schema(columns):
    fields = [{"name": n, "type": ["null", k], "default": None} for n, k in columns]
    return json.dumps({"type": "record", "name": "r", "namespace": "hoodie.t", "fields": fields})


# ---- blocks

def block(kind, headers, content):
    head = struct.pack(">iii", 1, kind, len(headers))
    for key, text in headers.items():
        raw = text.encode()
        head += struct.pack(">ii", key, len(raw)) + raw
    body = head + struct.pack(">q", len(content)) + content + struct.pack(">i", 0)
    return MAGIC + struct.pack(">q", len(body) + 8) + body + struct.pack(">q", len(body) + 14)


def data_block(instant, columns, rows, version=3, more=None):
    parts = [struct.pack(">ii", version, len(rows))]
    for row in rows:
        record = b"".join(avro_value(row.get(n), k) for n, k in columns)
        parts += [struct.pack(">i", len(record)), record]
    return block(3, {0: instant, 2: avro_schema(columns), **(more or {})}, b"".join(parts))


# ---- Kryo, as Hudi used it for deletes before version 3

def kryo_varint(v):
    out = bytearray()
    while v >= 0x80:
        out.append(0x80 | (v & 0x7F))
        v >>= 7
    return bytes(out) + bytes([v])


def kryo_string(text):
    units = len(text.encode("utf-16-le")) // 2
    if 1 < units < 64 and text.isascii():
        return text[:-1].encode() + bytes([ord(text[-1]) | 0x80])
    n, raw = units + 1, text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    units_bytes = b"".join(chr(u).encode("utf-8", "surrogatepass")
                           for u in struct.unpack(f"<{units}H", raw.encode("utf-16-le")))
    first = bytes([0x80 | n]) if n < 64 else bytes([0xC0 | (n & 0x3F)]) + kryo_varint(n >> 6)
    return first + units_bytes


class Kryo:
    """Classes are named once, strings written once: later ones are numbers."""

    def __init__(self):
        self.classes, self.strings, self.objects = {}, {}, 0

    def named(self, name):
        if name in self.classes:
            return b"\1" + kryo_varint(self.classes[name])
        self.classes[name] = len(self.classes)
        return b"\1" + kryo_varint(self.classes[name]) + kryo_string(name)

    def new(self):
        self.objects += 1
        return b"\1"

    def text(self, text):
        if text in self.strings:
            return kryo_varint(self.strings[text] + 2)
        self.strings[text] = self.objects
        return self.new() + kryo_string(text)

    def deletes(self, keys, version):
        members = "HoodieKey" if version == 1 else "DeleteRecord"
        out = self.named(f"[L{PAYLOADS}{members};") + self.new() + kryo_varint(len(keys) + 1)
        for key, partition, ordering in keys:
            if version == 2:
                out += self.named(PAYLOADS + "DeleteRecord") + self.new()
            out += self.named(PAYLOADS + "HoodieKey") + self.new() + self.text(partition) + self.text(key)
            if version == 2:  # classes 0 and 7: Integer, Long
                out += b"\2" + avro_long(0) if ordering is None else b"\x09" + avro_long(ordering)
        return out


def delete_block(instant, keys, version=3, more=None):
    """keys: (record key, partition, ordering value or None). Versions 1 and 2 are Java objects; 1 has no ordering."""
    if version < 3:
        content = Kryo().deletes(keys, version)
        return block(1, {0: instant, **(more or {})}, struct.pack(">ii", version, len(content)) + content)
    records = b""
    for key, partition, ordering in keys:
        records += avro_value(key, "string") + avro_value(partition, "string")
        records += avro_long(2) + avro_long(0) if ordering is None else avro_long(3) + avro_long(ordering)
    content = avro_long(len(keys)) + records + avro_long(0) if keys else avro_long(0)
    return block(1, {0: instant, **(more or {})}, struct.pack(">ii", version, len(content)) + content)


class Group:
    """A file group: what lies there, and the rows that its newest slice has when merged."""

    def __init__(self, partition):
        self.partition, self.id = partition, f"{uuid.uuid4()}-0"
        self.base = None        # (path, instant)
        self.old_bases = []
        self.logs = []          # (path, slice's instant, commit's instant)
        self.blocks = []        # of the slice: (instant, rows, deletes) for log compaction
        self.rows = {}
        self.slice_instant = None
        self.planned = None     # instant of a compaction that is planned, and the rows that it will write


class MorTable:
    def __init__(self, folder, library, layout=1, version=None, ordering=None, merge="COMMIT_TIME", meta=True,
                 partitioned=True, columns=COLUMNS, properties="", seed=1, groups=2, deletes=3):
        self.dir, self.layout, self.ordering, self.event = pathlib.Path(folder), layout, ordering, merge == "EVENT_TIME"
        self.meta, self.columns, self.groups_each = meta, columns, groups
        self.delete_version = deletes  # of delete blocks
        self.duck, self.rng = Duck(library), random.Random(seed)
        self.version = version or (8 if layout == 2 else 6)
        self.timeline = self.dir / (".hoodie/timeline" if layout == 2 else ".hoodie")
        (self.timeline / ("history" if layout == 2 else "archived")).mkdir(parents=True)
        self.groups, self.gone, self.states, self.instants, self.last_ms = [], [], {}, [], 0
        self.failed, self.counter, self.tombs = None, 0, {}
        lines = ["hoodie.table.name=t", "hoodie.table.type=MERGE_ON_READ", f"hoodie.table.version={self.version}",
                 f"hoodie.timeline.layout.version={layout}", "hoodie.table.recordkey.fields=id",
                 f"hoodie.table.partition.fields={'p' if partitioned else ''}",
                 f"hoodie.populate.meta.fields={'true' if meta else 'false'}",
                 "hoodie.table.timeline.timezone=UTC", "hoodie.table.base.file.format=PARQUET"]
        if ordering:
            lines.append(f"hoodie.table.{'ordering.fields' if self.version >= 9 else 'precombine.field'}={ordering}")
        if "merge.mode" not in properties and "payload.class" not in properties:
            lines.append(f"hoodie.record.merge.mode={merge}_ORDERING" if self.version >= 8 else
                         f"hoodie.compaction.payload.class={PAYLOADS}" +
                         ("DefaultHoodieRecordPayload" if self.event else "OverwriteWithLatestAvroPayload"))
        self.write(".hoodie/hoodie.properties", ("\n".join(lines) + "\n" + properties + "\n").encode())

    # ---- files

    def write(self, path, content):
        """Whole at once, as a reader sees it."""
        full = self.dir / path
        full.parent.mkdir(parents=True, exist_ok=True)
        temp = self.dir / ".hoodie" / f".temp_{os.getpid()}"
        temp.write_bytes(content)
        temp.chmod(0o644)
        for folder in (full.parent, full.parent.parent):
            folder.chmod(0o755)
        self.publish(temp, path)

    def publish(self, temp, path):
        """From now on the file is there."""
        temp.rename(self.dir / path)

    def remove(self, path):
        (self.dir / path).unlink(missing_ok=True)

    def remove_instant(self, instant):
        """As Hudi does, the completed file last."""
        paths = [*self.timeline.glob(f"{instant}.*"), *self.timeline.glob(f"{instant}_*")]
        for path in sorted(paths, key=lambda p: p.suffix not in (".requested", ".inflight")):
            self.remove(path.relative_to(self.dir))

    def now(self):
        self.last_ms = max(int(time.time() * 1000), self.last_ms + 1)
        return time.strftime("%Y%m%d%H%M%S", time.gmtime(self.last_ms // 1000)) + f"{self.last_ms % 1000:03}"

    def partition_of(self, row):
        return row["p"]

    def mark_partition(self, partition):
        path = f"{partition}/.hoodie_partition_metadata"
        if not (self.dir / path).exists():
            self.write(path, b"#partition metadata\n")

    def write_base(self, group, instant, rows, previous):
        self.mark_partition(group.partition)
        self.counter += 1
        name = f"{group.id}_{self.counter}-1-0_{instant}.parquet"
        columns = ([(m, "string") for m in META] if self.meta else []) + self.columns
        values = ", ".join("(" + ", ".join(literal(name if c == META[4] else r.get(c), k) for c, k in columns) + ")"
                           for r in rows)
        names = ", ".join(f'"{c}"' for c, _ in columns)
        if not rows:
            values = "(" + ", ".join(literal(None, k) for _, k in columns) + ")"
        temp = self.dir / ".hoodie" / f".temp_{os.getpid()}.parquet"
        self.duck.run(f"COPY (SELECT * FROM (VALUES {values}) t({names}) {'' if rows else 'WHERE false'}) "
                      f"TO '{temp}' (FORMAT parquet, COMPRESSION zstd)")
        temp.chmod(0o644)
        path = f"{group.partition}/{name}"
        self.publish(temp, path)
        if group.base:
            group.old_bases.append(group.base)
        group.base = (path, instant)
        return self.stat(group, path, previous, len(rows))

    def write_log(self, group, instant, content):
        """A new log file of the group's slice; its write statistic."""
        self.mark_partition(group.partition)
        self.counter += 1
        if group.slice_instant is None:
            group.slice_instant = instant
        named = group.slice_instant if self.layout == 1 else instant
        version = 1 + len([l for l in group.logs if l[1] == named])
        path = f"{group.partition}/.{group.id}_{named}.log.{version}_{self.counter}-1-0"
        self.write(path, content)
        group.logs.append((path, named, instant))
        return self.stat(group, path, group.slice_instant, 1)

    @staticmethod
    def stat(group, path, previous, writes):
        return {"fileId": group.id, "path": path, "prevCommit": previous or "null", "numWrites": writes,
                "numDeletes": 0, "numUpdateWrites": 0, "partitionPath": group.partition, "fileSizeInBytes": 1}

    # ---- instants

    def begin(self, action):
        instant = self.now()
        self.write(f"{self.timeline.relative_to(self.dir)}/{instant}.{action}.requested", b"")
        self.write(f"{self.timeline.relative_to(self.dir)}/{instant}.{action}.inflight", b"")
        return instant

    def complete(self, instant, action, operation, stats, replaced=(), compacted=False):
        partitions = {}
        for s in stats:
            partitions.setdefault(s["partitionPath"], []).append(s)
        gone = {}
        for g in replaced:
            gone.setdefault(g.partition, []).append(g.id)
        metadata = {"partitionToWriteStats": partitions, "compacted": compacted,
                    "extraMetadata": {"schema": avro_schema(self.columns)}, "operationType": operation}
        if action == "replacecommit":
            metadata["partitionToReplaceFileIds"] = gone
        completed = f"_{self.now()}" if self.layout == 2 else ""
        state = self.merged()
        self.states[instant] = state
        self.instants.append(instant)
        self.write(f"{self.timeline.relative_to(self.dir)}/{instant}{completed}.{action}", json.dumps(metadata).encode())
        return instant

    def merged(self):
        return {key: {c: row.get(c) for c, _ in self.columns} for g in self.groups for key, row in g.rows.items()}

    def rows(self):
        return self.states[self.instants[-1]] if self.instants else {}

    # ---- rows

    def stamp(self, row, instant, group):
        self.counter += 1
        return {**row, META[0]: instant, META[1]: f"{instant}_0_{self.counter}", META[2]: str(row["id"]),
                META[3]: group.partition, META[4]: ""}

    def wins(self, new, old):
        return old is None or not self.event or new.get(self.ordering) >= old.get(self.ordering)

    def group_of(self, key, partition, fresh):
        for g in self.groups:
            if key in g.rows:
                return g
        here = [g for g in self.groups if g.partition == partition]
        while len(here) < self.groups_each:
            here.append(Group(partition))
            fresh.append(here[-1])
            self.groups.append(here[-1])
        return here[hash(key) % len(here)]

    def commit(self, rows, deletes=(), fail=False, base=None, **block_options):
        """Upserts rows and deletes keys (or (key, ordering value) pairs). base: new groups get base files."""
        instant = self.begin("deltacommit")
        fresh, per_group, stats = [], {}, []
        for row in rows:
            g = self.group_of(row["id"], self.partition_of(row), fresh)
            per_group.setdefault(g.id, (g, [], []))[1].append(self.stamp(row, instant, g))
        for item in deletes:
            key, ordering = item if isinstance(item, tuple) else (item, None)
            g = next((g for g in self.groups if key in g.rows), None)
            if g:
                per_group.setdefault(g.id, (g, [], []))[2].append((key, ordering))
        before = {g.id: dict(g.rows) for g in self.groups}
        for g, new, gone in per_group.values():
            if g in fresh and (self.rng.random() < 0.5 if base is None else base):
                kept = {}
                for row in new:
                    if self.wins(row, kept.get(row["id"])):
                        kept[row["id"]] = row
                stats.append(self.write_base(g, instant, list(kept.values()), None))
                g.rows, g.slice_instant = dict(kept), instant
                continue
            stats.append(self.append(g, instant, new, gone, **block_options))
        if fail:
            for g in self.groups:
                g.rows = before[g.id]
            self.failed = (instant, stats, fresh)
            return instant
        return self.complete(instant, "deltacommit", "UPSERT" if rows else "DELETE", stats)

    def append(self, g, instant, new, gone, version=3, more=None):
        columns = ([(m, "string") for m in META] if self.meta else []) + self.columns
        content = data_block(instant, columns, new, version, more) if new else b""
        if gone:
            content += delete_block(instant, [(str(k), g.partition, o) for k, o in gone], self.delete_version, more)
        for row in new:
            old = g.rows.get(row["id"])
            if self.wins(row, old):
                g.rows[row["id"]] = row
        for key, ordering in gone:
            old = g.rows.get(key)
            if self.event and ordering is not None:
                self.tombs[key] = max(ordering, self.tombs.get(key, 0))
            if old is not None and (not self.event or ordering is None or ordering >= old[self.ordering]):
                del g.rows[key]
        g.blocks.append((instant, new, gone))
        stat = self.write_log(g, instant, content)
        stat["numDeletes"] = len(gone)
        return stat

    # ---- services

    def plan_compaction(self, groups=None):
        """Logs from now on belong to the slice that the compaction will begin (layout 1 names them so)."""
        chosen = [g for g in (groups or self.groups) if g.logs and not g.planned]
        if not chosen:
            return None
        instant = self.now()
        self.write(f"{self.timeline.relative_to(self.dir)}/{instant}.compaction.requested", b"")
        for g in chosen:
            g.planned = (instant, dict(g.rows), g.slice_instant)
            g.slice_instant, g.blocks = instant, []
        return instant

    def finish_compaction(self):
        chosen = [g for g in self.groups if g.planned]
        if not chosen:
            return None
        instant = chosen[0].planned[0]
        chosen = [g for g in chosen if g.planned[0] == instant]
        self.write(f"{self.timeline.relative_to(self.dir)}/{instant}.compaction.inflight", b"")
        stats = []
        for g in chosen:
            _, rows, previous = g.planned
            stats.append(self.write_base(g, instant, list(rows.values()), previous))
            g.planned = None
        return self.complete(instant, "commit", "COMPACT", stats, compacted=True)

    def compact(self):
        return self.finish_compaction() if self.plan_compaction() else None

    def log_compact(self):
        """The slice's blocks of one group as one block. Event time keeps the block's rows and deletes as they are."""
        chosen = [g for g in self.groups if len(g.blocks) > 1 and not g.planned]
        if not chosen or self.event:
            return None
        g = self.rng.choice(chosen)
        instant, times = self.begin("logcompaction"), ",".join(b[0] for b in g.blocks)
        last = {}
        for _, new, gone in g.blocks:
            for row in new:
                last[row["id"]] = row
            for key, _ in gone:
                last[key] = None
        rows = [r for r in last.values() if r]
        columns = ([(m, "string") for m in META] if self.meta else []) + self.columns
        content = data_block(instant, columns, rows, more={4: times})
        dead = [(str(k), g.partition, None) for k, r in last.items() if r is None]
        if dead:
            content += delete_block(instant, dead, self.delete_version, {4: times})
        g.blocks = [(instant, rows, [(k, None) for k, r in last.items() if r is None])]
        stat = self.write_log(g, instant, content)
        return self.complete(instant, "deltacommit", "LOG_COMPACT", [stat], compacted=True)

    def cluster(self):
        chosen = [g for g in self.groups if not g.planned and g.rows]
        if not chosen:
            return None
        partition = self.rng.choice(chosen).partition
        old = [g for g in chosen if g.partition == partition]
        instant, stats = self.begin("clustering" if self.layout == 2 else "replacecommit"), []
        fresh = [Group(partition) for _ in range(self.rng.randint(1, 2))]
        for g in old:
            for key, row in g.rows.items():
                fresh[hash(key) % len(fresh)].rows[key] = row
        for g in fresh:
            stats.append(self.write_base(g, instant, list(g.rows.values()), None))
            g.slice_instant = instant
        self.replace(old, fresh)
        return self.complete(instant, "replacecommit", "CLUSTER", stats, replaced=old)

    def overwrite(self, partition, rows):
        old = [g for g in self.groups if g.partition == partition]
        if any(g.planned for g in old):
            return None
        instant = self.begin("replacecommit")
        g = Group(partition)
        g.rows = {r["id"]: self.stamp(r, instant, g) for r in rows}
        stats = [self.write_base(g, instant, list(g.rows.values()), None)]
        g.slice_instant = instant
        self.replace(old, [g])
        return self.complete(instant, "replacecommit", "INSERT_OVERWRITE", stats, replaced=old)

    def replace(self, old, fresh):
        self.groups = [g for g in self.groups if g not in old] + fresh
        self.gone += old

    def clean(self):
        """Files of slices and groups that the newest state does not need."""
        instant = self.begin("clean")
        for g in self.gone:
            for path, *_ in g.logs + g.old_bases + ([g.base] if g.base else []):
                self.remove(path)
        self.gone = []
        for g in self.groups:
            if g.planned or not g.old_bases:
                continue
            for path, _ in g.old_bases:
                self.remove(path)
            needed = [l for l in g.logs if self.completed_at(l[2]) >= g.base[1]] if self.layout == 2 else \
                     [l for l in g.logs if l[1] >= g.base[1]]
            for log in g.logs:
                if log not in needed:
                    self.remove(log[0])
            g.old_bases, g.logs = [], needed
        completed = f"_{self.now()}" if self.layout == 2 else ""
        self.write(f"{self.timeline.relative_to(self.dir)}/{instant}{completed}.clean", b"{}")

    def completed_at(self, instant):
        for path in self.timeline.glob(f"{instant}_*"):
            return re.match(r"\d+_(\d+)", path.name).group(1)
        return instant

    def rollback_failed(self):
        """Layout 1 leaves the blocks and writes a command behind them, layout 2 removes the files."""
        if not self.failed:
            return
        failed, stats, fresh = self.failed
        instant = self.begin("rollback")
        for s in stats:
            g = next(g for g in self.groups if g.id == s["fileId"])
            if self.layout == 1 and ".log." in s["path"]:
                self.write_log(g, instant, block(0, {0: instant, 1: failed, 3: "0"}, b""))
            else:
                self.remove(s["path"])
                g.logs = [l for l in g.logs if l[0] != s["path"]]
            g.blocks = [b for b in g.blocks if b[0] != failed]
        for g in fresh:
            if self.layout == 2 or g.base:
                self.groups.remove(g)
        self.remove_instant(failed)
        content = json.dumps({"startRollbackTime": instant, "commitsRollback": [failed]}).encode()
        completed = f"_{self.now()}" if self.layout == 2 else ""
        self.write(f"{self.timeline.relative_to(self.dir)}/{instant}{completed}.rollback", content)
        self.failed = None

    def archive(self, keep):
        """Leaves the newest commits on the timeline. As Hudi does, not before replaced groups are cleaned."""
        old = sorted(self.instants)[:-keep]  # by requested time
        if not old or any(g.planned for g in self.groups) or self.failed:
            return
        self.clean()
        name = "archived/.commits_.archive.1_1-0-1" if self.layout == 1 else "history/1_2_0.parquet"
        self.write(f"{self.timeline.relative_to(self.dir)}/{name}", MAGIC)
        for instant in old:
            self.remove_instant(instant)
        self.instants = [i for i in self.instants if i not in old]


class Walk:
    """Random commits and services, one a step."""

    def __init__(self, table, seed, keys=60):
        self.t, self.rng, self.keys, self.step = table, random.Random(seed), keys, 0

    def row(self, key, partition=None):
        self.step += 1
        # A delete with an ordering value is forgotten when its slice is compacted: rows below it stay away.
        ts = max(self.rng.randint(1, 50), self.t.tombs.get(key, 0)) if self.t.event else self.step
        return {"id": key, "p": partition or f"p{key % 3}", "ts": ts, "v": self.rng.choice([None, f"v{self.step}"]),
                "n": self.rng.choice([None, self.step / 4])}

    def some(self, most):
        return self.rng.sample(range(self.keys), self.rng.randint(1, most))

    def change(self):
        t, dice = self.t, self.rng.random()
        if t.failed:  # what follows a failed commit first takes it back
            return t.rollback_failed() if self.rng.random() < 0.5 else None
        if dice < 0.45:
            gone = [(k, self.rng.randint(1, 50)) if t.event and self.rng.random() < 0.7 else k for k in self.some(4)]
            rows = [self.row(k) for k in self.some(10) if k not in [g[0] if isinstance(g, tuple) else g for g in gone]]
            return t.commit(rows, gone if self.rng.random() < 0.6 else ())
        if dice < 0.52:
            return t.commit([self.row(k) for k in self.some(5)], fail=True)
        if dice < 0.60:
            return t.plan_compaction()
        if dice < 0.72:
            return t.finish_compaction() or t.compact()
        if dice < 0.78:
            return t.log_compact()
        if dice < 0.85:
            return t.cluster()
        if dice < 0.89:
            p = self.rng.randint(0, 2)
            return t.overwrite(f"p{p}", [self.row(k, f"p{p}") for k in self.some(6) if k % 3 == p] or [self.row(p, f"p{p}")])
        if dice < 0.96:
            return t.clean()
        return t.archive(self.rng.randint(3, 8))
