/* objstore_probe OPTION=VALUE… COMMAND ARGUMENT…   one store, opened once; what tests ask of it.
 *
 *   list FOLDER     a line an entry: path, size ("/" for a folder)
 *   read PATH       the content
 *   fetch PATH…     a line an object: its local path, and the sum of its bytes
 *   hold PATH…      as fetch, then waits for the end of standard input
 *
 * Options are those of struct objstore_s3_options; ends with 0, or with 1 after "SQLSTATE: message",
 * detail and hint on standard error. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "objstore/objstore.h"

static bool take_option(struct objstore_s3_options *o, const char *name, const char *value)
{
    const struct {
        const char *name;
        const char **field;
    } texts[] = {
        {"root", &o->root},
        {"address", &o->address},
        {"encrypt", &o->encrypt},
        {"region", &o->region},
        {"addressing", &o->addressing},
        {"access_key", &o->access_key},
        {"secret_access_key", &o->secret_access_key},
        {"security_token", &o->security_token},
        {"ca_file", &o->ca_file},
        {"cache_folder", &o->cache_folder},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (strcmp(texts[i].name, name) != 0)
            continue;
        *texts[i].field = value;
        return true;
    }
    if (strcmp(name, "cache_bytes") == 0)
        o->cache_bytes = strtoll(value, NULL, 10);
    else if (strcmp(name, "timeout_s") == 0)
        o->timeout_s = (unsigned)strtoul(value, NULL, 10);
    return strcmp(name, "cache_bytes") == 0 || strcmp(name, "timeout_s") == 0;
}

static bool list(struct objstore *st, struct arena *a, const char *folder, struct err *err)
{
    struct objstore_listing l;
    if (!objstore_list(st, a, folder, &l, err))
        return false;
    for (size_t i = 0; i < l.count; i++) {
        if (l.items[i].is_folder)
            printf("%s /\n", l.items[i].path);
        else
            printf("%s %lld\n", l.items[i].path, (long long)l.items[i].size_bytes);
    }
    return true;
}

static bool read_one(struct objstore *st, const char *path, struct err *err)
{
    struct buf b;
    buf_init(&b, (size_t)64 << 20);
    bool ok = objstore_read(st, path, &b, err);
    if (ok)
        fwrite(buf_data(&b), 1, buf_length(&b), stdout);
    buf_fini(&b);
    return ok;
}

static bool print_file(const char *path, struct err *err)
{
    unsigned long long sum = 0, bytes = 0;
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return err_set(err, SQLSTATE_UNDEFINED_FILE, "\"%s\" is not there", path);
    for (int c = getc(f); c != EOF; c = getc(f), bytes++)
        sum = sum * 31 + (unsigned char)c;
    fclose(f);
    printf("%s %llu %llu\n", path, bytes, sum);
    return true;
}

static bool fetch(struct objstore *st, struct arena *a, char **paths, size_t count, struct err *err)
{
    const char **local = calloc(count + 1, sizeof *local);
    bool ok = objstore_fetch_all(st, a, (const char *const *)paths, count, local, err);
    for (size_t i = 0; ok && i < count; i++)
        ok = print_file(local[i], err);
    free(local);
    return ok;
}

static bool run(struct objstore *st, struct arena *a, char **words, size_t count, struct err *err)
{
    if (strcmp(words[0], "list") == 0)
        return list(st, a, count > 1 ? words[1] : "", err);
    if (strcmp(words[0], "read") == 0 && count > 1)
        return read_one(st, words[1], err);
    if (strcmp(words[0], "fetch") == 0)
        return fetch(st, a, words + 1, count - 1, err);
    if (strcmp(words[0], "hold") != 0)
        return err_set(err, SQLSTATE_SYNTAX_ERROR, "unknown command");
    if (!fetch(st, a, words + 1, count - 1, err))
        return false;
    fflush(stdout);
    while (getchar() != EOF)
        ;
    return true;
}

int main(int argc, char **argv)
{
    struct objstore_s3_options o = {.timeout_s = 30};
    struct objstore *st = NULL;
    struct arena a;
    struct err err;
    int i = 1;
    for (char *equals; i < argc && (equals = strchr(argv[i], '=')) != NULL; i++) {
        *equals = '\0';
        if (!take_option(&o, argv[i], equals + 1))
            return 2;
    }
    if (i == argc || o.root == NULL)
        return 2;
    arena_init(&a, 0);
    bool ok = objstore_open_s3(&o, &st, &err) && run(st, &a, argv + i, (size_t)(argc - i), &err);
    if (!ok)
        fprintf(stderr, "%s: %s\n%s\n%s\n", err.sqlstate, err.message, err.detail, err.hint);
    objstore_close(st);
    arena_fini(&a);
    return ok ? 0 : 1;
}
