//! tokio-postgres (a protocol implementation of its own; pipelines by itself, row-limited portals,
//! binary COPY): see ../../python/scenario.py for the form of the output.
use bytes::Bytes;
use futures_util::{future, pin_mut, stream, SinkExt, StreamExt, TryStreamExt};
use serde_json::{json, Value};
use std::{env, time::Duration};
use tokio::sync::mpsc;
use tokio_postgres::{binary_copy, types::Type, AsyncMessage, Client, Config, IsolationLevel, NoTls, SimpleQueryMessage};

type Saw = Result<Value, Box<dyn std::error::Error>>;

fn config() -> Config {
    let var = |name| env::var(name).unwrap();
    let mut config = Config::new();
    config.host(&var("PGHOST")).port(var("PGPORT").parse().unwrap()).user(&var("PGUSER"));
    config.password(var("PGPASSWORD")).dbname(&var("PGDATABASE"));
    config
}

/// The client, and what arrives without being asked for.
async fn open_with(config: Config) -> Result<(Client, mpsc::UnboundedReceiver<AsyncMessage>), tokio_postgres::Error> {
    let (client, mut connection) = config.connect(NoTls).await?;
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut messages = stream::poll_fn(move |cx| connection.poll_message(cx));
        while let Some(Ok(message)) = messages.next().await {
            let _ = tell.send(message);
        }
    });
    Ok((client, told))
}

async fn open() -> Result<Client, tokio_postgres::Error> {
    Ok(open_with(config()).await?.0)
}

fn error_of<T>(result: Result<T, tokio_postgres::Error>) -> Value {
    match result {
        Ok(_) => panic!("no error"),
        Err(e) => {
            let e = e.as_db_error().unwrap_or_else(|| panic!("not the server's: {e}"));
            json!([e.code().code(), e.message(), e.detail()])
        }
    }
}

async fn until(client: &Client, sql: &str, want: &str) -> Result<(), tokio_postgres::Error> {
    for _ in 0..3000 {
        if let Some(SimpleQueryMessage::Row(row)) = client.simple_query(sql).await?.first() {
            if row.get(0) == Some(want) {
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain: {sql}")
}

async fn connect() -> Saw {
    let mut c = config();
    c.application_name("matrix").options("-c geqo=off");
    let (c, _) = open_with(c).await?;
    let r = c.query_one("SELECT current_setting('application_name'), current_setting('geqo'), current_user::text", &[]).await?;
    Ok(json!([r.get::<_, String>(0), r.get::<_, String>(1), r.get::<_, String>(2)]))
}

async fn parameters() -> Saw {
    let text = "text with 'quotes' \\ ü€😀";
    let r = open().await?.query_one("SELECT $1::int, $2::int8, $3::text, $4::text, $5::bytea, $6::float8, $7::bool, $8::int[]",
        &[&1i32, &(-1i64 << 62), &text, &None::<&str>, &&[0u8, 255][..], &1.5f64, &true, &vec![Some(1i32), None]]).await?;
    Ok(json!([r.get::<_, i32>(0), r.get::<_, i64>(1), r.get::<_, &str>(2), r.get::<_, Option<&str>>(3), r.get::<_, &[u8]>(4),
        r.get::<_, f64>(5), r.get::<_, bool>(6), r.get::<_, Vec<Option<i32>>>(7)]))
}

/// Every result of the extended protocol is binary here; text comes by the simple one.
async fn binary() -> Saw {
    let c = open().await?;
    let sql = "SELECT 7, 'x'::text, 1.5::float8, '\\x00ff'::bytea";
    let r = c.query_one(sql, &[]).await?;
    let text: Vec<Value> = c.simple_query(sql).await?.iter().filter_map(|m| match m {
        SimpleQueryMessage::Row(r) => Some(json!([r.get(0), r.get(1), r.get(2), r.get(3)])),
        _ => None,
    }).collect();
    Ok(json!([r.get::<_, i32>(0), r.get::<_, &str>(1), r.get::<_, f64>(2), r.get::<_, &[u8]>(3), text]))
}

async fn prepared() -> Saw {
    let c = open().await?;
    let st = c.prepare_typed("SELECT $1 + 1", &[Type::INT4]).await?;
    let mut seen = vec![];
    for i in 0..10i32 {
        seen.push(c.query_one(&st, &[&i]).await?.get::<_, i32>(0));
    }
    drop(st);
    let left = c.query_one("SELECT count(*) FROM pg_prepared_statements", &[]).await?.get::<_, i64>(0);
    Ok(json!([seen, left]))
}

async fn portals() -> Saw {
    let mut c = open().await?;
    let tx = c.transaction().await?;
    let portal = tx.bind("SELECT i FROM generate_series(1, $1) i", &[&10i32]).await?;
    let mut seen = vec![];
    for limit in [3, 4, 100] {
        seen.push(tx.query_portal(&portal, limit).await?.iter().map(|r| r.get::<_, i32>(0)).collect::<Vec<_>>());
    }
    drop(portal);
    tx.commit().await?;
    Ok(json!(seen))
}

async fn batch() -> Saw {
    let c = open().await?;
    c.batch_execute("CREATE TEMP TABLE b (id int); INSERT INTO b VALUES (1), (2)").await?;
    Ok(json!(c.query_one("SELECT sum(id) FROM b", &[]).await?.get::<_, i64>(0)))
}

async fn pipeline() -> Saw {
    let c = open().await?;
    let st = c.prepare("SELECT 1 / ($1::int - 100)").await?;
    let numbers: Vec<i32> = (0..200).collect();
    let all = future::join_all(numbers.iter().map(|i| {
        let (c, st) = (&c, &st);
        async move { c.query_one(st, &[i]).await }
    })).await;
    let (ok, failed): (Vec<_>, Vec<_>) = all.into_iter().partition(|r| r.is_ok());
    Ok(json!([ok.len(), failed.into_iter().map(error_of).collect::<Vec<_>>()]))
}

async fn copy_in() -> Saw {
    let c = open().await?;
    c.batch_execute("CREATE TEMP TABLE c (id int8, name text)").await?;
    let writer = binary_copy::BinaryCopyInWriter::new(c.copy_in("COPY c FROM STDIN (FORMAT binary)").await?, &[Type::INT8, Type::TEXT]);
    pin_mut!(writer);
    for i in 0..2000i64 {
        writer.as_mut().write(&[&i, &format!("name {i}")]).await?;
    }
    let rows = writer.finish().await?;
    let sink = c.copy_in("COPY c FROM STDIN").await?;
    pin_mut!(sink);
    sink.send(Bytes::from_static(b"nonsense\n")).await?;
    let failed = error_of(sink.finish().await);
    let r = c.query_one("SELECT count(*), max(name) FROM c", &[]).await?;
    Ok(json!([rows, failed, r.get::<_, i64>(0), r.get::<_, &str>(1)]))
}

async fn copy_out() -> Saw {
    let c = open().await?;
    let pieces: Vec<Bytes> = c.copy_out("COPY (SELECT i, 'x' || i FROM generate_series(1, 50000) i) TO STDOUT").await?.try_collect().await?;
    Ok(json!([pieces.len(), pieces.iter().map(|p| p.len()).sum::<usize>()]))
}

async fn cancel() -> Saw {
    let c = open().await?;
    let pid = c.query_one("SELECT pg_backend_pid()", &[]).await?.get::<_, i32>(0);
    let token = c.cancel_token();
    let canceller = tokio::spawn(async move {
        let other = open().await.unwrap();
        let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'PgSleep'");
        until(&other, &sql, "1").await.unwrap();
        token.cancel_query(NoTls).await.unwrap();
    });
    let failed = error_of(c.batch_execute("SELECT pg_sleep(60)").await);
    canceller.await?;
    Ok(json!([failed, c.query_one("SELECT 'alive'", &[]).await?.get::<_, &str>(0)]))
}

async fn timeout() -> Saw {
    let mut c = config();
    c.options("-c statement_timeout=100");
    Ok(error_of(open_with(c).await?.0.batch_execute("SELECT pg_sleep(60)").await))
}

async fn notices() -> Saw {
    let (c, mut told) = open_with(config()).await?;
    c.batch_execute("DO $$ BEGIN RAISE WARNING 'two' USING HINT = 'h', ERRCODE = '01234'; END $$").await?;
    match told.recv().await {
        Some(AsyncMessage::Notice(n)) => Ok(json!([n.severity(), n.code().code(), n.message(), n.hint()])),
        _ => panic!("no notice"),
    }
}

async fn listen() -> Saw {
    let (c, mut told) = open_with(config()).await?;
    c.batch_execute("LISTEN news").await?;
    open().await?.execute("SELECT pg_notify('news', $1)", &[&"payload"]).await?;
    match told.recv().await {
        Some(AsyncMessage::Notification(n)) => Ok(json!([n.channel(), n.payload()])),
        _ => panic!("no notification"),
    }
}

async fn large_objects() -> Saw {
    let mut c = open().await?;
    let tx = c.transaction().await?;
    let oid: u32 = tx.query_one("SELECT lo_from_bytea(0, $1)", &[&b"abc".repeat(10000)]).await?.get(0);
    let r = tx.query_one("SELECT length(lo_get($1)), lo_get($1, 3, 3)", &[&oid]).await?;
    tx.execute("SELECT lo_unlink($1)", &[&oid]).await?;
    tx.commit().await?;
    Ok(json!([r.get::<_, i32>(0), r.get::<_, &[u8]>(1)]))
}

async fn batch_error() -> Saw {
    let c = open().await?;
    let failed = error_of(c.simple_query("SELECT 1; SELECT 1/0; SELECT 2").await);
    Ok(json!([failed, c.query_one("SELECT 'alive'", &[]).await?.get::<_, &str>(0)]))
}

async fn transaction() -> Saw {
    let mut c = open().await?;
    c.batch_execute("CREATE TEMP TABLE t (id int)").await?;
    let tx = c.build_transaction().isolation_level(IsolationLevel::Serializable).start().await?;
    tx.execute("INSERT INTO t VALUES ($1)", &[&1i32]).await?;
    let first = error_of(tx.query("SELECT 1/$1::int", &[&0i32]).await);
    let second = error_of(tx.query("SELECT 1", &[]).await);
    drop(tx); // rolls back, without waiting
    Ok(json!([first, second, c.query_one("SELECT count(*) FROM t", &[]).await?.get::<_, i64>(0)]))
}

async fn savepoint() -> Saw {
    let mut c = open().await?;
    c.batch_execute("CREATE TEMP TABLE s (id int PRIMARY KEY)").await?;
    let mut tx = c.transaction().await?;
    let mut seen = vec![];
    for v in [1i32, 1, 2] {
        let inner = tx.savepoint("x").await?;
        match inner.execute("INSERT INTO s VALUES ($1)", &[&v]).await {
            Ok(_) => inner.commit().await?,
            failed => {
                seen.push(error_of(failed));
                inner.rollback().await?;
            }
        }
    }
    tx.commit().await?;
    Ok(json!([seen, c.query_one("SELECT array_agg(id) FROM s", &[]).await?.get::<_, Vec<i32>>(0)]))
}

async fn large_value() -> Saw {
    let data = b"0123456789abcdef".repeat(1 << 20);
    let r = open().await?.query_one("SELECT length($1::bytea), $1::bytea", &[&data]).await?;
    Ok(json!([r.get::<_, i32>(0), r.get::<_, &[u8]>(1) == data]))
}

async fn vendor_task() -> Saw {
    let c = open().await?;
    let rows = c.query("SELECT what, failure_times FROM pg_task_show($1)", &[&"SQLonHudi"]).await?;
    let failed = error_of(c.query("SELECT pg_task_pause($1)", &[&"no such task"]).await);
    Ok(json!([rows.len(), failed[0]]))
}

async fn vendor_cursor() -> Saw {
    let mut c = open().await?;
    let tx = c.transaction().await?;
    tx.batch_execute("DECLARE c1 PARALLEL RETRIEVE CURSOR FOR SELECT * FROM generate_series(1, 10)").await?;
    let found = tx.query("SELECT endpoint_name::text, auth_token::text FROM gp_endpoints WHERE cursor_name = $1", &[&"c1"]).await?;
    let endpoint: &str = found[0].get(0);
    let mut login = config();
    login.password(found[0].get::<_, &str>(1)).options("-c gp_session_role=retrieve");
    let (reader, _) = open_with(login).await?;
    let some: Vec<i32> = reader.query(&format!("RETRIEVE 3 FROM ENDPOINT {endpoint}"), &[]).await?.iter().map(|r| r.get(0)).collect();
    let rest = reader.query(&format!("RETRIEVE ALL FROM ENDPOINT {endpoint}"), &[]).await?.len();
    tx.batch_execute("CHECK PARALLEL RETRIEVE CURSOR c1 NOWAIT").await?;
    tx.batch_execute("CLOSE c1").await?;
    tx.commit().await?;
    Ok(json!([found.len(), some, rest]))
}

async fn vendor_rebuild() -> Saw {
    let c = open().await?;
    c.batch_execute("DROP TABLE IF EXISTS matrix_rebuild").await?;
    c.batch_execute("CREATE TABLE matrix_rebuild (id int PRIMARY KEY)").await?;
    let id: String = c.query_one("ASYNC REBUILD TABLE matrix_rebuild ADD COLUMN more text", &[]).await?.get(0);
    until(&c, &format!("SELECT status FROM hologres.rebuild_progress('{id}') WHERE step = 'swap'"), "done").await?;
    let st = c.prepare("SELECT * FROM matrix_rebuild").await?;
    Ok(json!(st.columns().iter().map(|c| c.name()).collect::<Vec<_>>()))
}

/// None: no such scenario here.
async fn run(name: &str) -> Option<Saw> {
    macro_rules! pick {
        ($($scenario:ident)*) => {
            match name {
                $(stringify!($scenario) => Some(tokio::spawn(async { $scenario().await.map_err(|e| format!("{e:?}")) }).await
                    .map_err(|e| e.into()).and_then(|r| r.map_err(|e| e.into()))),)*
                _ => None,
            }
        };
    }
    pick!(connect parameters binary prepared portals batch pipeline copy_in copy_out cancel timeout notices listen
          large_objects batch_error transaction savepoint large_value vendor_task vendor_cursor vendor_rebuild)
}

#[tokio::main]
async fn main() {
    for name in env::args().skip(1) {
        let line = match run(&name).await {
            None => json!({"scenario": name, "na": "no such interface in this client"}),
            Some(Ok(saw)) => json!({"scenario": name, "saw": saw}),
            Some(Err(e)) => json!({"scenario": name, "failed": e.to_string()}),
        };
        println!("{line}");
    }
}
