/* An interpreter of steps: a table of words, and two streams for each session, what is to be sent and
 * what came. Messages are collected until a step needs the server; that is where a segment ends. */
#include "probe_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "protocol/client_msg.h"
#include "protocol/server_msg.h"

#define POLL_NS 5000000

struct run {
    const struct probe_target *target;
    struct probe_segments segments;
    struct probe_transcript *out;
    struct probe_vars vars;
    struct probe_conn conns[PROBE_SESSIONS];
    struct buf pending[PROBE_SESSIONS]; /* to be sent */
    bool closed[PROBE_SESSIONS];        /* and written down */
    bool stopped;                       /* nothing more is to be done */
    struct probe_masks masks;
    struct slice steps; /* that are left */
    struct slice loop;  /* steps of the repeat that is on */
    unsigned rounds;
};

static void put_word(struct run *r, unsigned s, const char *word)
{
    probe_put_entry(&r->out->sessions[s], '#', slice_cstr(word));
}

static void write_down(struct run *r, unsigned s, char type, struct slice body)
{
    probe_put_message(&r->out->sessions[s], &r->masks, r->vars.id, type, body);
}

bool probe_has_timeout(const struct probe_transcript *t)
{
    struct probe_entry e;
    for (unsigned i = 0; i < PROBE_SESSIONS; i++)
        for (struct slice s = buf_slice(&t->sessions[i]); probe_next_entry(&s, &e);)
            if (e.type == '#' && slice_equals_cstr(e.body, "timeout"))
                return true;
    return false;
}

/* Reads one thing and writes it down; returns the type of a message, else 0. */
static char read_one(struct run *r, unsigned s)
{
    char type = 0;
    struct slice body;
    if (r->closed[s] || r->stopped)
        return 0;
    switch (probe_conn_read(&r->conns[s], &type, &body)) {
    case PROBE_MESSAGE: write_down(r, s, type, body); return type;
    case PROBE_BYTES: probe_put_entry(&r->out->sessions[s], '?', body); break;
    case PROBE_TIMEOUT:
        put_word(r, s, "timeout");
        r->stopped = true;
        break;
    case PROBE_CLOSED:
        put_word(r, s, "closed");
        r->closed[s] = true;
        break;
    }
    return 0;
}

static bool is_over(const struct run *r, unsigned s)
{
    return r->stopped || r->closed[s];
}

static void flush(struct run *r, unsigned s)
{
    struct buf *b = &r->pending[s];
    if (buf_length(b) > r->out->longest_bytes)
        r->out->longest_bytes = buf_length(b);
    if (buf_length(b) > 0)
        probe_conn_send(&r->conns[s], buf_data(b), buf_length(b), r->segments.piece);
    buf_clear(b);
}

/* ---- logging in --------------------------------------------------------- */

/* Up to ReadyForQuery, an error, or the end. */
static bool log_in(struct run *r, unsigned s, struct err *err)
{
    flush(r, s);
    while (!is_over(r, s)) {
        char type;
        struct slice body;
        enum probe_event e = probe_conn_read(&r->conns[s], &type, &body);
        if (e != PROBE_MESSAGE) {
            r->closed[s] = e != PROBE_TIMEOUT;
            r->stopped = e == PROBE_TIMEOUT;
            put_word(r, s, e == PROBE_TIMEOUT ? "timeout" : "closed");
            return true;
        }
        write_down(r, s, type, body);
        if (type == 'R' && !probe_conn_answer(&r->conns[s], body, r->segments.piece, err))
            return false;
        if (type == 'Z' || type == 'E')
            break;
    }
    r->vars.pid = r->conns[s].pid;
    return true;
}

static bool write_startup(const struct probe_target *t, struct buf *out, struct err *err)
{
    const char *const names_values[] = {"user", t->user, "database", t->dbname, NULL};
    return wire_write_startup(out, WIRE_PROTOCOL_3_0, names_values) || err_no_memory(err);
}

static bool open_session(struct run *r, unsigned s, struct err *err)
{
    return probe_conn_open(&r->conns[s], r->target, err) &&
           write_startup(r->target, &r->pending[s], err) && log_in(r, s, err);
}

/* ---- steps -------------------------------------------------------------- */

typedef bool step_fn(struct run *r, unsigned s, struct slice args, struct err *err);

static bool step_connect(struct run *r, unsigned s, struct slice args, struct err *err)
{
    (void)args;
    return probe_conn_open(&r->conns[s], r->target, err);
}

static bool step_open(struct run *r, unsigned s, struct slice args, struct err *err)
{
    (void)args;
    return open_session(r, s, err);
}

static bool step_login(struct run *r, unsigned s, struct slice args, struct err *err)
{
    r->conns[s].lies = slice_equals_cstr(slice_trim(args), "wrong");
    return log_in(r, s, err);
}

static void wait_for_close(struct run *r, unsigned s)
{
    while (!is_over(r, s))
        read_one(r, s);
}

/* The answer to a request for encryption; with one in hand the two legs go different ways. */
static void wait_for_byte(struct run *r, unsigned s)
{
    char byte = 0;
    enum probe_event e = probe_conn_read_byte(&r->conns[s], &byte);
    put_word(r, s, e == PROBE_MESSAGE ? "byte" : e == PROBE_TIMEOUT ? "timeout" : "closed");
    r->closed[s] = e == PROBE_CLOSED;
    r->out->is_encrypted |= byte == 'S' || byte == 'G';
    r->stopped |= e == PROBE_TIMEOUT || r->out->is_encrypted;
}

static bool step_wait(struct run *r, unsigned s, struct slice args, struct err *err)
{
    struct slice types = probe_take_word(&args), count = probe_take_word(&args);
    unsigned left = 1;
    char digits[16] = "";
    if (count.len > 0 && count.len < sizeof digits) {
        memcpy(digits, count.data, count.len);
        left = (unsigned)strtoul(digits, NULL, 10);
    }
    if (types.len == 0 || left == 0)
        return err_set(err, SQLSTATE_SYNTAX_ERROR, "wait for what?");
    bool is_close = slice_equals_cstr(types, "close"), is_byte = slice_equals_cstr(types, "byte");
    if (r->segments.coalesced && !is_close && !is_byte)
        return true;
    flush(r, s);
    if (is_close)
        wait_for_close(r, s);
    if (is_byte)
        wait_for_byte(r, s);
    while (!is_close && !is_byte && left > 0 && !is_over(r, s)) {
        char type = read_one(r, s);
        left -= type != 0 && slice_find_byte(types, type) < types.len;
    }
    return true;
}

static bool step_setup(struct run *r, unsigned s, struct slice args, struct err *err)
{
    struct buf line;
    buf_init(&line, PROBE_MAX_BYTES);
    buf_append_cstr(&line, "Q ");
    buf_append_slice(&line, args);
    bool ok = probe_write_message(buf_slice(&line), &r->vars, &r->pending[s], err) &&
              step_wait(r, s, slice_cstr("Z"), err);
    buf_fini(&line);
    return ok;
}

/* One question to pg_stat_activity; *yes is its answer. */
static bool ask(struct probe_conn *c, const char *query, bool *yes, struct err *err)
{
    struct buf out;
    char type = 0;
    struct slice body;
    buf_init(&out, PROBE_MAX_BYTES);
    bool ok = wire_write_query(&out, slice_cstr(query)) || err_no_memory(err);
    if (ok)
        probe_conn_send(c, buf_data(&out), buf_length(&out), 0);
    buf_fini(&out);
    *yes = false;
    while (ok && type != 'Z') {
        if (probe_conn_read(c, &type, &body) != PROBE_MESSAGE || type == 'E')
            return err_set(err, SQLSTATE_CONNECTION_FAILURE, "pg_stat_activity cannot be asked");
        *yes |= type == 'D' && slice_ends_with(body, "1");
    }
    return ok;
}

/* A session of its own, of which nothing is written down. */
static bool open_helper(const struct probe_target *t, struct probe_conn *c, struct err *err)
{
    struct buf out;
    char type = 0;
    struct slice body;
    if (!probe_conn_open(c, t, err))
        return false;
    buf_init(&out, PROBE_MAX_BYTES);
    bool ok = write_startup(t, &out, err);
    if (ok)
        probe_conn_send(c, buf_data(&out), buf_length(&out), 0);
    buf_fini(&out);
    while (ok && type != 'Z') {
        if (probe_conn_read(c, &type, &body) != PROBE_MESSAGE || type == 'E')
            return err_set(err, SQLSTATE_CONNECTION_FAILURE, "a second session cannot log in");
        ok = type != 'R' || probe_conn_answer(c, body, 0, err);
    }
    return ok;
}

static bool step_until(struct run *r, unsigned s, struct slice args, struct err *err)
{
    const struct timespec pause = {.tv_nsec = POLL_NS};
    struct probe_conn c = {0};
    char query[512];
    bool yes = false;
    flush(r, s);
    if (is_over(r, s))
        return true;
    snprintf(query, sizeof query,
             "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE pid = %u AND %.*s",
             r->conns[s].pid, (int)args.len, args.data);
    bool ok = open_helper(r->target, &c, err);
    unsigned tries = r->target->timeout_ms / (POLL_NS / 1000000);
    while (ok && !yes && tries-- > 0) {
        ok = ask(&c, query, &yes, err);
        if (ok && !yes)
            nanosleep(&pause, NULL);
    }
    probe_conn_close(&c);
    if (ok && !yes) {
        put_word(r, s, "timeout");
        r->stopped = true;
    }
    return ok;
}

/* The key as the input wants it. */
static struct slice choose_key(const struct probe_conn *c, struct slice how, char *room,
                               size_t size)
{
    memset(room, 0, size);
    memcpy(room, c->key, c->key_bytes);
    if (slice_equals_cstr(how, "wrong"))
        room[0] ^= 1;
    size_t bytes = slice_equals_cstr(how, "short")   ? 3
                   : slice_equals_cstr(how, "long")  ? size
                   : slice_equals_cstr(how, "nokey") ? 0
                                                     : c->key_bytes;
    return slice_of(room, bytes);
}

static bool step_cancel(struct run *r, unsigned s, struct slice args, struct err *err)
{
    struct probe_conn c = {0};
    struct buf out;
    char room[300], type, text[64];
    struct slice body;
    size_t bytes = 0;
    flush(r, s);
    struct wire_cancel m = {r->conns[s].pid,
                            choose_key(&r->conns[s], slice_trim(args), room, sizeof room)};
    buf_init(&out, sizeof room * 2);
    bool ok =
        (wire_write_cancel(&out, &m) || err_no_memory(err)) && probe_conn_open(&c, r->target, err);
    if (ok) {
        probe_conn_send(&c, buf_data(&out), buf_length(&out), r->segments.piece);
        enum probe_event e;
        while ((e = probe_conn_read(&c, &type, &body)) == PROBE_MESSAGE || e == PROBE_BYTES)
            bytes += body.len;
        snprintf(text, sizeof text, "cancel: %s after %zu bytes",
                 e == PROBE_CLOSED ? "closed" : "timeout", bytes);
        put_word(r, s, text);
    }
    probe_conn_close(&c);
    buf_fini(&out);
    return ok;
}

static bool step_end(struct run *r, unsigned s, struct slice args, struct err *err)
{
    (void)args, (void)err;
    flush(r, s);
    probe_conn_end(&r->conns[s]);
    return true;
}

static bool step_repeat(struct run *r, unsigned s, struct slice args, struct err *err)
{
    char digits[16];
    (void)s;
    args = slice_trim(args);
    if (args.len == 0 || args.len >= sizeof digits)
        return err_set(err, SQLSTATE_SYNTAX_ERROR, "repeat how often?");
    memcpy(digits, args.data, args.len);
    digits[args.len] = '\0';
    r->rounds = (unsigned)strtoul(digits, NULL, 10);
    r->vars.n = 1;
    r->loop = r->steps;
    return true;
}

static bool step_done(struct run *r, unsigned s, struct slice args, struct err *err)
{
    (void)s, (void)args, (void)err;
    if (r->vars.n < r->rounds) {
        r->vars.n++;
        r->steps = r->loop;
    }
    return true;
}

static void note_types(bool types[256], struct slice args)
{
    args = slice_trim(args);
    for (size_t i = 0; i < args.len; i++)
        types[(unsigned char)args.data[i]] = true;
}

static bool step_digits(struct run *r, unsigned s, struct slice args, struct err *err)
{
    (void)s, (void)err;
    note_types(r->masks.digits, args);
    return true;
}

static bool step_bodies(struct run *r, unsigned s, struct slice args, struct err *err)
{
    (void)s, (void)err;
    note_types(r->masks.bodies, args);
    return true;
}

static bool step_without(struct run *r, unsigned s, struct slice args, struct err *err)
{
    (void)s, (void)err;
    note_types(r->masks.without, args);
    return true;
}

static bool step_uncut(struct run *r, unsigned s, struct slice args, struct err *err)
{
    (void)s, (void)args, (void)err;
    r->segments.piece = 0;
    return true;
}

static bool step_source(struct run *r, unsigned s, struct slice args, struct err *err)
{
    (void)s, (void)args, (void)err;
    r->masks.source = true;
    return true;
}

static const struct step_row {
    const char *word;
    step_fn *run;
    bool keeps_order; /* an input with this step is not coalesced */
} rows[] = {
    {"connect", step_connect, false}, {"open", step_open, false},
    {"login", step_login, false},     {"setup", step_setup, false},
    {"wait", step_wait, false},       {"until", step_until, true},
    {"cancel", step_cancel, true},    {"end", step_end, false},
    {"repeat", step_repeat, false},   {"done", step_done, false},
    {"digits", step_digits, false},   {"bodies", step_bodies, false},
    {"without", step_without, false}, {"source", step_source, false},
    {"uncut", step_uncut, false},
};

static const struct step_row *find_row(struct slice word)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (slice_equals_cstr(word, rows[i].word))
            return &rows[i];
    return NULL;
}

/* Takes "2: " off the line. */
static unsigned take_session(struct slice *line)
{
    if (line->len < 3 || line->data[0] < '1' || line->data[0] > '0' + PROBE_SESSIONS ||
        line->data[1] != ':')
        return 0;
    unsigned s = (unsigned)(line->data[0] - '1');
    *line = slice_part(*line, 3, line->len);
    return s;
}

static bool run_step(struct run *r, struct slice line, struct err *err)
{
    unsigned s = take_session(&line);
    struct slice args = line;
    struct slice word = probe_take_word(&args);
    const struct step_row *row = find_row(word);
    if (row != NULL)
        return row->run(r, s, args, err);
    return probe_write_message(line, &r->vars, &r->pending[s], err);
}

/* ---- an input ----------------------------------------------------------- */

bool probe_keeps_order(const struct probe_input *input)
{
    struct slice line, steps = input->steps;
    while (probe_next_step(&steps, &line)) {
        if (take_session(&line) > 0)
            return true;
        const struct step_row *row = find_row(probe_take_word(&line));
        if (row != NULL && row->keeps_order)
            return true;
    }
    return false;
}

static bool begins_with_connect(struct slice steps)
{
    struct slice line;
    return probe_next_step(&steps, &line) && slice_equals_cstr(probe_take_word(&line), "connect");
}

static bool run_steps(struct run *r, const struct probe_input *input, struct err *err)
{
    struct slice line;
    r->steps = input->steps;
    if (!begins_with_connect(input->steps) && !open_session(r, 0, err))
        return false;
    while (!r->stopped && probe_next_step(&r->steps, &line))
        if (!run_step(r, line, err))
            return err_context(err, "%.*s", (int)input->name.len, input->name.data);
    for (unsigned s = 0; s < PROBE_SESSIONS; s++) {
        if (r->conns[s].target == NULL || is_over(r, s))
            continue;
        if (!wire_write_empty(&r->pending[s], 'X'))
            return err_no_memory(err);
        flush(r, s);
        wait_for_close(r, s);
    }
    return true;
}

/* Another one in every run of every process, and always as long. */
static void make_id(char id[PROBE_ID_CHARS + 1])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    uint8_t random[PROBE_ID_CHARS];
    if (!crypto_random(random, sizeof random))
        memset(random, 0, sizeof random);
    for (size_t i = 0; i < PROBE_ID_CHARS; i++)
        id[i] = letters[random[i] % 26];
    id[PROBE_ID_CHARS] = '\0';
}

bool probe_run(const struct probe_target *target, const struct probe_input *input,
               struct probe_segments segments, struct probe_transcript *out, struct err *err)
{
    struct run r = {.target = target,
                    .segments = segments,
                    .out = out,
                    .vars = {.user = target->user, .dbname = target->dbname}};
    make_id(r.vars.id);
    r.segments.coalesced = segments.coalesced && !probe_keeps_order(input);
    out->is_encrypted = false;
    out->longest_bytes = 0;
    for (unsigned s = 0; s < PROBE_SESSIONS; s++) {
        buf_init(&out->sessions[s], PROBE_MAX_BYTES);
        buf_init(&r.pending[s], PROBE_MAX_BYTES);
    }
    bool ok = run_steps(&r, input, err);
    for (unsigned s = 0; s < PROBE_SESSIONS; s++) {
        probe_conn_close(&r.conns[s]);
        ok = ok && (!out->sessions[s].failed || err_no_memory(err));
        buf_fini(&r.pending[s]);
    }
    return ok;
}

void probe_transcript_fini(struct probe_transcript *t)
{
    for (unsigned s = 0; s < PROBE_SESSIONS; s++)
        buf_fini(&t->sessions[s]);
}
