/* `pgveneer probe`: is what a client gets through a proxy the same, byte for byte, as what the server
 * gives it directly?
 *
 *     inputs ──► thread …     each input: direct, then proxied in every segmentation, then compare
 *
 * Every input (proxy/probe/NAME.probe, part of the binary) is played against the server as it is written
 * ("whole") and coalesced, which are two different conversations; what the proxy gives is compared
 * with the one of the same kind. A segmentation that would cut or join nothing is not played again. The
 * corpus makes temporary objects only. The proxied side need not be pgveneer. */
#include "main.h"

#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conninfo.h"
#include "probe_run.h"

#define MAX_SEGMENTATIONS 16
#define MAX_THREADS 64
#define SHOWN_BYTES 300
#define DEFAULT_SEGMENTS "1,2,3,7,8191,whole,coalesced"

extern const struct probe_file probe_files[]; /* the last one has no name */

struct probe {
    struct conninfo info[2];
    struct probe_target direct;
    struct probe_target proxied;
    struct probe_segments segments[MAX_SEGMENTATIONS];
    size_t segment_count;
    const char *only; /* part of the names to be run; NULL: all */
    bool shows_answers;
    unsigned threads;
    unsigned timeout_ms;
    pthread_mutex_t lock; /* of what follows, and of stdout */
    size_t next_file;
    struct slice text; /* of the present file, what is left */
    unsigned inputs;
    unsigned skipped;     /* not compared: encryption is offered */
    unsigned differences; /* and inputs that could not be played */
};

static void print_usage(FILE *out)
{
    fputs(
        "pgveneer probe --direct CONNINFO --proxied CONNINFO [options]\n"
        "Plays the corpus of protocol inputs against a server, directly and through a proxy.\n"
        "\n"
        "  --direct CONNINFO   'host=… port=… user=… password=… dbname=…', as in libpq\n"
        "  --proxied CONNINFO  the same server and user through the proxy\n"
        "  --segments LIST     how the proxied input is cut: bytes of a segment, whole, coalesced\n"
        "                      (" DEFAULT_SEGMENTS ")\n"
        "  --only TEXT         inputs with this in their names (\"file: name\")\n"
        "  --list              names of the inputs; nothing is connected\n"
        "  --answers           what the server answers, as types of messages; nothing is compared\n"
        "  --threads N         inputs at a time (8)\n"
        "  --timeout SECONDS   for every answer (20)\n"
        "A password that is not given is that of PGPASSWORD.\n"
        "Exit code 0: no difference; 1: differences, each printed; 2: wrong usage.\n",
        out);
}

/* ---- telling ------------------------------------------------------------ */

static void print_bytes(struct slice s)
{
    for (size_t i = 0; i < s.len && i < SHOWN_BYTES; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c == 0)
            putchar('|');
        else if (c < ' ' || c > '~')
            printf("\\x%02x", c);
        else
            putchar(c);
    }
    if (s.len > SHOWN_BYTES)
        printf("… (%zu bytes)", s.len);
}

static void print_entry(const char *side, bool is_there, const struct probe_entry *e)
{
    printf("    %-8s ", side);
    if (!is_there) {
        puts("nothing more");
        return;
    }
    if (e->type != '#')
        printf("%c ", e->type);
    print_bytes(e->body);
    putchar('\n');
}

/* Types of messages; a number says how often one comes one after the other. */
static void print_letters(struct slice session)
{
    struct probe_entry e, next;
    unsigned count = 1;
    bool more = probe_next_entry(&session, &e);
    while (more) {
        more = probe_next_entry(&session, &next);
        if (more && next.type == e.type && e.type != 'Z' && e.type != '#') {
            count++;
            continue;
        }
        if (e.type == '#')
            printf("[%.*s]", (int)e.body.len, e.body.data);
        else
            putchar(e.type);
        if (e.type == 'Z' && e.body.len == 1)
            putchar(e.body.data[0]);
        if (count > 1)
            printf("%u", count);
        putchar(more ? ' ' : '\n');
        count = 1;
        e = next;
    }
}

/* What comes behind an ordinary login, which differs in the number of reported settings only. */
static struct slice skip_login(struct slice session)
{
    static const char order[] = "RSKZ";
    struct slice rest = session;
    struct probe_entry e;
    const char *at = order;
    while (probe_next_entry(&rest, &e)) {
        if (e.type != *at && e.type == at[1])
            at++;
        if (e.type != *at)
            return session;
        if (e.type == 'Z')
            return rest;
    }
    return session;
}

static void print_segments(struct probe_segments s)
{
    if (s.coalesced)
        printf("coalesced");
    else if (s.piece == 0)
        printf("whole");
    else
        printf("in segments of %zu", s.piece);
}

static void print_difference(const struct probe_input *input, struct probe_segments segments,
                             struct slice direct, struct slice proxied, unsigned session)
{
    struct probe_entry a, b;
    bool has_a, has_b;
    struct slice rest_a = direct, rest_b = proxied;
    unsigned n = 0;
    do {
        has_a = probe_next_entry(&rest_a, &a);
        has_b = probe_next_entry(&rest_b, &b);
        n++;
    } while (has_a && has_b && a.type == b.type && slice_equals(a.body, b.body));
    printf("differs  %s: %.*s (", input->file, (int)input->name.len, input->name.data);
    print_segments(segments);
    printf("), session %u, message %u\n", session + 1, n);
    print_entry("direct", has_a, &a);
    print_entry("proxied", has_b, &b);
    printf("    direct   ");
    print_letters(direct);
    printf("    proxied  ");
    print_letters(proxied);
}

/* ---- one input ---------------------------------------------------------- */

static void tell_failure(struct probe *p, const struct probe_input *input, const char *side,
                         const struct err *err)
{
    pthread_mutex_lock(&p->lock);
    p->differences++;
    printf("failed   %s: %.*s, %s: %s\n", input->file, (int)input->name.len, input->name.data, side,
           err->message);
    pthread_mutex_unlock(&p->lock);
}

/* False after a message: the input cannot be played. */
static bool play(struct probe *p, const struct probe_input *input, const struct probe_target *side,
                 struct probe_segments segments, struct probe_transcript *out)
{
    struct err err;
    const char *name = side == &p->direct ? "direct" : "proxied";
    if (!probe_run(side, input, segments, out, &err)) {
        tell_failure(p, input, name, &err);
        return false;
    }
    if (side == &p->direct && probe_has_timeout(out)) {
        err_set(&err, SQLSTATE_QUERY_CANCELED, "the server does not answer");
        tell_failure(p, input, name, &err);
        return false;
    }
    return true;
}

static void compare(struct probe *p, const struct probe_input *input,
                    struct probe_segments segments, const struct probe_transcript *direct,
                    const struct probe_transcript *proxied)
{
    for (unsigned s = 0; s < PROBE_SESSIONS; s++) {
        struct slice a = buf_slice(&direct->sessions[s]), b = buf_slice(&proxied->sessions[s]);
        if (slice_equals(a, b))
            continue;
        pthread_mutex_lock(&p->lock);
        p->differences++;
        print_difference(input, segments, a, b, s);
        pthread_mutex_unlock(&p->lock);
        return;
    }
}

/* direct[0] as written, direct[1] coalesced; NULL when it cannot be played. */
static const struct probe_transcript *direct_of(struct probe *p, const struct probe_input *input,
                                                struct probe_segments segments,
                                                struct probe_transcript direct[2], bool played[2])
{
    unsigned i = segments.coalesced && !probe_keeps_order(input);
    if (!played[i] && !play(p, input, &p->direct, (struct probe_segments){0, i != 0}, &direct[i]))
        return NULL;
    played[i] = true;
    return &direct[i];
}

/* Would this segmentation cut or join nothing, and is what is whole played anyway? */
static bool is_whole(const struct probe *p, const struct probe_input *input,
                     struct probe_segments segments, const struct probe_transcript *direct)
{
    bool has_whole = false;
    for (size_t i = 0; i < p->segment_count; i++)
        has_whole |= !p->segments[i].coalesced && p->segments[i].piece == 0;
    if (!has_whole)
        return false;
    if (segments.coalesced)
        return probe_keeps_order(input);
    return segments.piece > 0 && segments.piece >= direct->longest_bytes;
}

static void probe_one(struct probe *p, const struct probe_input *input)
{
    struct probe_transcript direct[2] = {0};
    bool played[2] = {false, false}, is_encrypted = false;
    for (size_t i = 0; i < p->segment_count && !is_encrypted; i++) {
        struct probe_transcript proxied = {0};
        const struct probe_transcript *want = direct_of(p, input, p->segments[i], direct, played);
        if (want == NULL)
            break;
        if (is_whole(p, input, p->segments[i], want))
            continue;
        if (play(p, input, &p->proxied, p->segments[i], &proxied)) {
            is_encrypted = want->is_encrypted || proxied.is_encrypted;
            if (!is_encrypted)
                compare(p, input, p->segments[i], want, &proxied);
        }
        probe_transcript_fini(&proxied);
    }
    probe_transcript_fini(&direct[0]);
    probe_transcript_fini(&direct[1]);
    pthread_mutex_lock(&p->lock);
    p->skipped += is_encrypted;
    pthread_mutex_unlock(&p->lock);
}

static void show_answer(struct probe *p, const struct probe_input *input)
{
    struct probe_transcript direct = {0};
    if (play(p, input, &p->direct, (struct probe_segments){0}, &direct)) {
        pthread_mutex_lock(&p->lock);
        for (unsigned s = 0; s < PROBE_SESSIONS; s++) {
            if (buf_length(&direct.sessions[s]) == 0)
                continue;
            printf("%s: %.*s: ", input->file, (int)input->name.len, input->name.data);
            struct slice said = buf_slice(&direct.sessions[s]), rest = skip_login(said);
            if (rest.len < said.len)
                printf("login ");
            print_letters(rest);
        }
        pthread_mutex_unlock(&p->lock);
    }
    probe_transcript_fini(&direct);
}

/* ---- all inputs --------------------------------------------------------- */

static bool is_wanted(const struct probe *p, const struct probe_input *input)
{
    char name[256];
    snprintf(name, sizeof name, "%s: %.*s", input->file, (int)input->name.len, input->name.data);
    return p->only == NULL || strstr(name, p->only) != NULL;
}

/* Takes the next input that is wanted; false: there is none. Call with the lock. */
static bool next_input(struct probe *p, struct probe_input *input)
{
    while (true) {
        if (probe_next_input(&p->text, input)) {
            input->file = probe_files[p->next_file - 1].name;
            if (is_wanted(p, input))
                return true;
            continue;
        }
        if (probe_files[p->next_file].name == NULL)
            return false;
        p->text = slice_cstr(probe_files[p->next_file++].text);
    }
}

static void *work(void *arg)
{
    struct probe *p = arg;
    struct probe_input input;
    while (true) {
        pthread_mutex_lock(&p->lock);
        bool more = next_input(p, &input);
        p->inputs += more;
        pthread_mutex_unlock(&p->lock);
        if (!more)
            return NULL;
        if (p->shows_answers)
            show_answer(p, &input);
        else
            probe_one(p, &input);
    }
}

static void list_inputs(struct probe *p)
{
    struct probe_input input;
    while (next_input(p, &input))
        printf("%s: %.*s\n", input.file, (int)input.name.len, input.name.data);
}

static int run_all(struct probe *p)
{
    pthread_t threads[MAX_THREADS];
    unsigned started = 0;
    while (started < p->threads && pthread_create(&threads[started], NULL, work, p) == 0)
        started++;
    if (started == 0)
        work(p);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (p->shows_answers)
        return p->differences == 0 ? MAIN_OK : MAIN_FAILED;
    printf("%u inputs, each in %zu segmentations: %u differences\n", p->inputs, p->segment_count,
           p->differences);
    if (p->skipped > 0)
        printf("%u inputs were not compared: encryption is offered on one side\n", p->skipped);
    return p->differences == 0 ? MAIN_OK : MAIN_FAILED;
}

/* ---- the command line --------------------------------------------------- */

static bool usage(const char *what, const char *value)
{
    fprintf(stderr, "pgveneer probe: %s \"%s\"\n", what, value);
    return false;
}

static bool read_segments(struct probe *p, const char *list)
{
    p->segment_count = 0;
    for (const char *at = list; *at != '\0';) {
        size_t n = strcspn(at, ",");
        struct slice word = slice_of(at, n);
        struct probe_segments s = {0};
        s.coalesced = slice_equals_cstr(word, "coalesced");
        if (!s.coalesced && !slice_equals_cstr(word, "whole")) {
            char *end;
            s.piece = strtoul(at, &end, 10);
            if (s.piece == 0 || end != at + n)
                return usage("not a list of segments:", list);
        }
        if (p->segment_count == MAX_SEGMENTATIONS)
            return usage("too long a list of segments:", list);
        p->segments[p->segment_count++] = s;
        at += n + (at[n] == ',');
    }
    return p->segment_count > 0 || usage("not a list of segments:", list);
}

static bool read_target(struct probe *p, const char *text, struct conninfo *info,
                        struct probe_target *out)
{
    struct err err;
    const char *password = getenv("PGPASSWORD");
    if (!conninfo_read(text, info, &err) ||
        !conn_resolve(info->host, info->port, &out->address, &err))
        return usage(err.message, text);
    if (info->sslmode >= TLS_REQUIRE)
        return usage("the probe speaks in the clear:", text);
    if (info->user[0] == '\0')
        return usage("no user in", text);
    out->user = info->user;
    out->dbname = info->dbname[0] != '\0' ? info->dbname : info->user;
    out->password = info->password[0] != '\0' || password == NULL ? info->password : password;
    out->timeout_ms = p->timeout_ms;
    return true;
}

static bool read_number(const char *text, unsigned max, unsigned *out)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || n == 0 || n > max)
        return usage("not a number that is possible here:", text);
    *out = (unsigned)n;
    return true;
}

struct probe_options {
    const char *direct;
    const char *proxied;
    const char *segments;
    bool lists;
    bool helps;
};

static bool read_options(int argc, char **argv, struct probe *p, struct probe_options *o)
{
    static const struct option long_options[] = {
        {"direct", required_argument, NULL, 'd'},   {"proxied", required_argument, NULL, 'p'},
        {"segments", required_argument, NULL, 's'}, {"only", required_argument, NULL, 'o'},
        {"list", no_argument, NULL, 'l'},           {"answers", no_argument, NULL, 'a'},
        {"threads", required_argument, NULL, 't'},  {"timeout", required_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
    };
    int opt;
    unsigned seconds = 20;
    bool ok = true;
    while (ok && (opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (opt) {
        case 'd': o->direct = optarg; break;
        case 'p': o->proxied = optarg; break;
        case 's': o->segments = optarg; break;
        case 'o': p->only = optarg; break;
        case 'l': o->lists = true; break;
        case 'a': p->shows_answers = true; break;
        case 't': ok = read_number(optarg, MAX_THREADS, &p->threads); break;
        case 'w': ok = read_number(optarg, 3600, &seconds); break;
        case 'h': o->helps = true; break;
        default: ok = false;
        }
    }
    p->timeout_ms = seconds * 1000;
    if (ok && optind < argc)
        ok = usage("unexpected argument", argv[optind]);
    return ok;
}

int main_probe(int argc, char **argv)
{
    static struct probe p = {.threads = 8, .lock = PTHREAD_MUTEX_INITIALIZER};
    struct probe_options o = {.segments = DEFAULT_SEGMENTS};
    if (!read_options(argc, argv, &p, &o) || !read_segments(&p, o.segments))
        return MAIN_USAGE;
    if (o.helps) {
        print_usage(stdout);
        return MAIN_OK;
    }
    if (o.lists) {
        list_inputs(&p);
        return MAIN_OK;
    }
    if (o.direct == NULL || (o.proxied == NULL && !p.shows_answers)) {
        print_usage(stderr);
        return MAIN_USAGE;
    }
    if (!read_target(&p, o.direct, &p.info[0], &p.direct) ||
        (o.proxied != NULL && !read_target(&p, o.proxied, &p.info[1], &p.proxied)))
        return MAIN_USAGE;
    return run_all(&p);
}
