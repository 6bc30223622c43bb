-- Functions that need work done outside of the server, and wait for it: DESIGN.md section 2, "A
-- function can ask the proxy".
--
--   function (SQL)                     proxy                    worker
--   ask: advisory lock, INFO PV001 ──► take_request: a row ──►  task ──► job
--   await_answer: looks at the row  ◄─────────────────────────────────── answer_request
--
-- Anybody can raise such a message, so it proves who asks: each role reads a key of its own, and only
-- its own, from the view ask_key (a view reads its tables as its owner, but sees who current_user
-- is, SET ROLE and SECURITY DEFINER included), and seals the message with it. take_request knows
-- the secret that keys are made of, and asks for the rights of that role before it does anything.
--
-- A task that is asked for lives as long as some session holds the advisory lock `asker`: the lock
-- goes with a cancel, a timeout, or the session, and the job looks at it every second. Several who ask
-- for the same thing share the lock and the task.

CREATE TABLE pgveneer.ask_secret (secret text NOT NULL);
INSERT INTO pgveneer.ask_secret SELECT concat(gen_random_uuid(), gen_random_uuid());

CREATE FUNCTION pgveneer.ask_key_of(role oid, secret text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT encode(sha256(convert_to(secret || ' ' || role, 'UTF8')), 'hex') $$;

CREATE VIEW pgveneer.ask_key WITH (security_barrier) AS
    SELECT r.oid AS role, pgveneer.ask_key_of(r.oid, s.secret) AS key
      FROM pg_catalog.pg_roles r, pgveneer.ask_secret s WHERE r.rolname = current_user;
GRANT SELECT ON pgveneer.ask_key TO PUBLIC;

CREATE FUNCTION pgveneer.seal_message(key text, body text) RETURNS text
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT encode(sha256(convert_to(key || encode(sha256(convert_to(key || body, 'UTF8')), 'hex'),
                                    'UTF8')), 'hex')
$$;

-- What was asked. Answers are for the role that asked.
CREATE UNLOGGED TABLE pgveneer.request (
    request_id  text PRIMARY KEY,
    role        oid NOT NULL,
    task_id     text,                       -- that answers it; several requests may share one
    asked_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    started_at  timestamptz,                -- a job works on it
    answered_at timestamptz,
    answer      jsonb,
    error       jsonb                       -- sqlstate, message, detail, hint
);
CREATE INDEX request_task ON pgveneer.request (task_id);
ALTER TABLE pgveneer.request ENABLE ROW LEVEL SECURITY;
CREATE POLICY see ON pgveneer.request FOR SELECT USING (role = pgveneer.current_user_oid());
GRANT SELECT ON pgveneer.request TO PUBLIC;

ALTER TABLE pgveneer.task ADD COLUMN asker bigint; -- advisory lock of who waits; NULL: nobody has to
CREATE UNIQUE INDEX task_asker ON pgveneer.task (asker) WHERE asker IS NOT NULL;

CREATE FUNCTION pgveneer.is_asked_for(asker bigint) RETURNS boolean
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM pg_locks l
                    WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
                      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
                      AND (l.classid::bigint << 32) | l.objid::bigint = asker)
$$;

-- Features replace these three for their category.
-- What lets requests share a task; NULL: each has its own.
CREATE FUNCTION pgveneer.request_share(category text, params jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT NULL::text $$;
-- Raises what the role must not do.
CREATE FUNCTION pgveneer.check_request(role oid, category text, params jsonb) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'nobody answers requests of category "%"', category USING ERRCODE = '0A000';
END $$;
-- The SQL command that must not stand in a transaction block, as it would wait for its locks.
CREATE FUNCTION pgveneer.request_alone(category text, params jsonb) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$ SELECT NULL::text $$;

CREATE FUNCTION pgveneer.asker_lock(id text, category text, params jsonb) RETURNS bigint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT hashtextextended('pgveneer ask ' || category || ' '
                            || coalesce(pgveneer.request_share(category, params), id), 0)
$$;

-- The side of the function ----------------------------------------------------------------------

CREATE FUNCTION pgveneer.raise_error(error jsonb) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    state text := coalesce(nullif(error ->> 'sqlstate', ''), 'XX000');
    message text := coalesce(error ->> 'message', 'unknown error');
    detail text := coalesce(error ->> 'detail', '');
    hint text := coalesce(error ->> 'hint', '');
BEGIN
    IF detail <> '' AND hint <> '' THEN
        RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message, DETAIL = detail, HINT = hint;
    ELSIF detail <> '' THEN
        RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message, DETAIL = detail;
    ELSIF hint <> '' THEN
        RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message, HINT = hint;
    END IF;
    RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message;
END $$;

-- Looks at the row with growing pauses; each look has a snapshot of its own, since the function is
-- VOLATILE. pg_sleep ends with a cancel or a timeout.
CREATE FUNCTION pgveneer.await_answer(id text) RETURNS jsonb
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    since constant timestamptz := clock_timestamp();
    -- the proxy takes a request at once; a session that has had an answer is patient
    patience constant interval := CASE current_setting('pgveneer.has_proxy', true)
                                       WHEN 'on' THEN '15 s' ELSE '3 s' END;
    pause double precision := 0.002;
    r pgveneer.request;
    taken boolean := false;
BEGIN
    LOOP
        SELECT * INTO r FROM pgveneer.request q WHERE q.request_id = id;
        IF FOUND AND r.answered_at IS NOT NULL THEN
            IF r.error IS NOT NULL THEN
                PERFORM pgveneer.raise_error(r.error);
            END IF;
            RETURN r.answer;
        ELSIF taken AND r.request_id IS NULL THEN
            RAISE EXCEPTION 'the request was forgotten' USING ERRCODE = '57014';
        ELSIF r.request_id IS NULL AND clock_timestamp() > since + patience THEN
            RAISE EXCEPTION 'pgveneer does not answer in this session'
                USING ERRCODE = '55000',
                      DETAIL = 'This needs work outside of the server, which pgveneer does.',
                      HINT = 'Connect through pgveneer. If you did, its log says what the matter is.';
        ELSIF r.request_id IS NOT NULL AND r.started_at IS NULL
              AND clock_timestamp() > since + interval '60 s' THEN
            RAISE EXCEPTION 'no worker of pgveneer took the request within 60 s'
                USING ERRCODE = '55000',
                      HINT = 'Is "pgveneer worker" running, and does its setting "databases" hold '
                             'this one?';
        END IF;
        taken := r.request_id IS NOT NULL;
        PERFORM pg_sleep(pause);
        pause := least(pause * 1.3, 0.1);
    END LOOP;
END $$;

-- The lock is taken in a subtransaction that is always rolled back: so it is given back at the end,
-- whatever the end is, and a loop of many calls does not gather locks.
CREATE FUNCTION pgveneer.ask(category text, params jsonb) RETURNS jsonb
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    id constant text := pgveneer.new_task_id();
    who record;
    body text;
    answer jsonb;
BEGIN
    IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
        RAISE EXCEPTION 'pgveneer cannot answer in a transaction of isolation level %',
                        upper(current_setting('transaction_isolation'))
            USING ERRCODE = '0A000',
                  DETAIL = 'Its snapshot is older than the answer and would not show it.',
                  HINT = 'Use READ COMMITTED.';
    END IF;
    SELECT * INTO who FROM pgveneer.ask_key;
    body := translate(encode(convert_to(jsonb_build_object('id', id, 'category', category,
                'params', params, 'at', extract(epoch FROM clock_timestamp()))::text, 'UTF8'),
                'base64'), E'\n', '');
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(pgveneer.asker_lock(id, category, params));
        RAISE INFO 'this session asks pgveneer, and waits for the answer'
            USING ERRCODE = 'PV001', DETAIL = concat_ws('.', who.role, body,
                                                        pgveneer.seal_message(who.key, body));
        answer := pgveneer.await_answer(id);
        RAISE EXCEPTION 'answered' USING ERRCODE = 'PV002';
    EXCEPTION WHEN SQLSTATE 'PV002' THEN
        PERFORM set_config('pgveneer.has_proxy', 'on', false);
    END;
    RETURN answer;
END $$;

-- The side of the proxy: called by the service role ------------------------------------------------

-- What a message says; raises when it is not what its role sealed, or is old.
CREATE FUNCTION pgveneer.open_message(message text, OUT role oid, OUT body jsonb)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parts text[] := string_to_array(message, '.');
BEGIN
    IF cardinality(parts) <> 3 OR parts[1] !~ '^[0-9]{1,10}$' THEN
        RAISE EXCEPTION 'malformed request' USING ERRCODE = '22023';
    END IF;
    role := parts[1]::oid;
    IF parts[3] IS DISTINCT FROM (SELECT pgveneer.seal_message(pgveneer.ask_key_of(open_message.role,
                                                                                 s.secret), parts[2])
                                    FROM pgveneer.ask_secret s)
       OR NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = open_message.role) THEN
        RAISE EXCEPTION 'a request that role % did not seal', role USING ERRCODE = '28000';
    END IF;
    body := convert_from(decode(parts[2], 'base64'), 'UTF8')::jsonb;
    IF (body ->> 'id') IS NULL OR (body ->> 'category') IS NULL
       OR jsonb_typeof(body -> 'params') IS DISTINCT FROM 'object'
       OR jsonb_typeof(body -> 'at') IS DISTINCT FROM 'number'
       OR abs(extract(epoch FROM clock_timestamp())::numeric - (body ->> 'at')::numeric) > 60
       OR body ->> 'id' !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN
        RAISE EXCEPTION 'a request that is malformed or old' USING ERRCODE = '22023';
    END IF;
END $$;

CREATE FUNCTION pgveneer.error_object(state text, message text, detail text, hint text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT jsonb_build_object('sqlstate', state, 'message', message, 'detail', detail, 'hint', hint) $$;

-- What nobody waits for any more.
CREATE FUNCTION pgveneer.sweep_requests() RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM pgveneer.request WHERE asked_at < clock_timestamp() - interval '10 min'
       AND (answered_at < clock_timestamp() - interval '10 min'
            OR NOT EXISTS (SELECT FROM pgveneer.task t WHERE t.task_id = request.task_id));
    DELETE FROM pgveneer.task t USING pgveneer.request q
     WHERE q.request_id = t.task_id AND t.run_every IS NULL AND t.state = 'done'
       AND q.answered_at < clock_timestamp() - interval '5 s';
    DELETE FROM pgveneer.task WHERE asker IS NOT NULL AND lease_until IS NULL
       AND created_at < clock_timestamp() - interval '1 min' AND NOT pgveneer.is_asked_for(asker);
$$;

-- The task that will answer: one that is under way already, or a new one. Who ends a task takes
-- `asker` out of its row before it answers, so nobody comes too late here.
CREATE FUNCTION pgveneer.request_task(id text, of_role oid, of_category text, with_params jsonb,
                                      lock bigint, OUT task text, OUT works boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    LOOP
        INSERT INTO pgveneer.task (task_id, category, what, owner, params, asker)
        VALUES (id, of_category, coalesce(with_params ->> 'kind', ''), of_role, with_params, lock)
        ON CONFLICT (asker) WHERE asker IS NOT NULL DO NOTHING
        RETURNING task_id, false INTO task, works;
        EXIT WHEN FOUND;
        SELECT t.task_id, t.lease_until IS NOT NULL INTO task, works FROM pgveneer.task t
         WHERE t.asker = lock FOR SHARE;
        EXIT WHEN FOUND;
    END LOOP;
END $$;

-- in_block: the asking session is in a transaction block.
CREATE FUNCTION pgveneer.take_request(message text, in_block boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    m record := pgveneer.open_message(message);
    id text := m.body ->> 'id';
    category text := m.body ->> 'category';
    params jsonb := m.body -> 'params';
    lock bigint := pgveneer.asker_lock(id, category, params);
    alone text := pgveneer.request_alone(category, params);
    t record;
    e record;
BEGIN
    IF NOT pgveneer.is_asked_for(lock) THEN
        RETURN;
    END IF;
    PERFORM pgveneer.sweep_requests();
    IF in_block AND alone IS NOT NULL THEN
        INSERT INTO pgveneer.request (request_id, role, answered_at, error)
        VALUES (id, m.role, clock_timestamp(), pgveneer.error_object('25001',
                alone || ' cannot run inside a transaction block', '', ''))
        ON CONFLICT DO NOTHING;
        RETURN;
    END IF;
    BEGIN
        PERFORM pgveneer.check_request(m.role, category, params);
    EXCEPTION WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS alone = RETURNED_SQLSTATE;
        INSERT INTO pgveneer.request (request_id, role, answered_at, error)
        VALUES (id, m.role, clock_timestamp(), pgveneer.error_object(alone, SQLERRM, '', ''))
        ON CONFLICT DO NOTHING;
        RETURN;
    END;
    IF EXISTS (SELECT FROM pgveneer.request q WHERE q.request_id = id) THEN
        RETURN; -- said twice
    END IF;
    t := pgveneer.request_task(id, m.role, category, params, lock);
    INSERT INTO pgveneer.request (request_id, role, task_id, started_at)
    VALUES (id, m.role, t.task, CASE WHEN t.works THEN clock_timestamp() END);
    PERFORM pg_notify('pgveneer_task', '');
END $$;

-- The asking client is gone: the function ends, and with it the lock.
CREATE FUNCTION pgveneer.withdraw_request(message text) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE pgveneer.request
       SET answered_at = clock_timestamp(),
           error = pgveneer.error_object('57014', 'the client is gone', '', '')
     WHERE request_id = (SELECT m.body ->> 'id' FROM pgveneer.open_message(message) m)
       AND answered_at IS NULL
$$;

-- The side of the job ------------------------------------------------------------------------------

CREATE FUNCTION pgveneer.start_requests(of_task text) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE pgveneer.request SET started_at = clock_timestamp()
     WHERE task_id = of_task AND started_at IS NULL
$$;

-- Ends the task's requests in the transaction of what was done. One of answer and error is NULL.
CREATE FUNCTION pgveneer.answer_requests(of_task text, with_answer jsonb, with_error jsonb) RETURNS void
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE pgveneer.task SET asker = NULL WHERE task_id = of_task;
    UPDATE pgveneer.request SET answered_at = clock_timestamp(), answer = with_answer, error = with_error
     WHERE task_id = of_task AND answered_at IS NULL;
END $$;

-- A task that ends otherwise (removed, paused, its job crashed) ends those who wait for it.
CREATE FUNCTION pgveneer.task_asked_guard() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM pgveneer.answer_requests(OLD.task_id, NULL, pgveneer.error_object('57014',
                'the request was removed', '', ''));
    ELSIF NEW.state <> 'active' OR NEW.failure_times > OLD.failure_times THEN
        PERFORM pgveneer.answer_requests(OLD.task_id, NULL, pgveneer.error_object(
                CASE WHEN NEW.state = 'paused' THEN '57014' ELSE 'XX000' END,
                coalesce(nullif(NEW.last_log, ''), 'the request ended without an answer'), '', ''));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER task_asked_guard
    AFTER DELETE OR UPDATE OF state, failure_times ON pgveneer.task
    FOR EACH ROW WHEN (OLD.asker IS NOT NULL) EXECUTE FUNCTION pgveneer.task_asked_guard();

-- Only the service role calls what the proxy and the job call.
REVOKE ALL ON FUNCTION pgveneer.take_request(text, boolean), pgveneer.withdraw_request(text),
    pgveneer.open_message(text), pgveneer.request_task(text, oid, text, jsonb, bigint),
    pgveneer.start_requests(text), pgveneer.answer_requests(text, jsonb, jsonb),
    pgveneer.sweep_requests() FROM PUBLIC;
