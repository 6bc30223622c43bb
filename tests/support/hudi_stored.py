"""As hudi_sync, with the tables in an S3-compatible store of tests/support/s3.py.

    with Server() as server, Stored(server) as h: …
    StoredTable(h, "t", …)      a MorTable whose files are in the bucket, each from the moment on which it is written
"""
import json

from hudi_sync import Hudi, duckdb_library, quote
from mor_table import MorTable

BUCKET = "lake"


class Stored(Hudi):
    """Folders of tables are put into a bucket of the server as they are declared."""

    def __init__(self, server, **settings):
        super().__init__(**settings)
        self.server = server

    def __enter__(self):
        super().__enter__()
        self.server.make_bucket(BUCKET)
        self.cache = self.folder / "cache"
        self.make_server("bucket", self.server.options())
        return self

    def store_settings(self):
        return {"hudi_cache_dir": self.folder / "cache", "hudi_store_timeout": 5}

    def write_config(self, **settings):
        super().write_config(**self.store_settings(), **settings)

    def make_server(self, name, options):
        self.sql(f"CALL pgveneer.create_server({quote(name)}, 'dfs_fdw', {quote(json.dumps(options))}, false)")

    def place(self, folder):
        """Path in the bucket."""
        return f"tables/{(self.folder / folder).relative_to(self.folder)}"

    def store(self, folder):
        """Path in the bucket of what lies in the folder now."""
        self.server.put_folder(BUCKET, self.place(folder), self.folder / folder)
        return self.place(folder)

    def foreign_table(self, name, folder, columns, server="bucket"):
        declared = json.dumps([{"name": n, "type": t, "collation": None, "not_null": False} for n, t in columns])
        options = json.dumps({"foldername": f"/{BUCKET}/{self.store(folder)}/", "format": "hudi"})
        self.sql(f"CALL pgveneer.create_foreign_table(ARRAY['public', {quote(name)}], {quote(declared)}, {quote(server)}, "
                 f"{quote(options)}, false, '')")


class StoredTable(MorTable):
    def __init__(self, h, name, **more):
        self.server, self.place = h.server, h.place(name)
        super().__init__(h.folder / name, duckdb_library(), **more)

    def publish(self, temp, path):
        super().publish(temp, path)
        self.server.put(BUCKET, f"{self.place}/{path}", (self.dir / path).read_bytes())

    def remove(self, path):
        super().remove(path)
        self.server.remove(BUCKET, f"{self.place}/{path}")
