/* libcurl's multi interface with an easy handle for each exchange.
 *
 * URLs are sent as they are: the signature covers them, so nothing may tidy them up (PATH_AS_IS).
 * Redirects are not followed, since a signature for another host would have to be made by the caller.
 * Certificates are always checked. Proxies are taken from the environment, as for other programs
 * (http_proxy, https_proxy, no_proxy).
 *
 * There is no limit of time for a whole exchange, which may be a large file over a thin line: what is
 * limited is silence. */
#include "transport.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#define TRANSPORT_CONNECTIONS 16

struct transport {
    CURLM *multi;
    char *ca_file; /* owns; NULL */
    long timeout_s;
};

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    struct transport_exchange *x = arg;
    s3_head_read(&x->head, slice_of(data, size * count));
    return size * count;
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
    struct transport_exchange *x = arg;
    return x->on_body(x->arg, x, slice_of(data, size * count)) ? size * count : 0;
}

bool transport_open(const struct transport_settings *s, struct transport **out, struct err *err)
{
    *out = NULL;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(err, SQLSTATE_INTERNAL_ERROR, "libcurl does not start");
    struct transport *t = calloc(1, sizeof *t);
    if (t == NULL)
        return err_no_memory(err);
    t->timeout_s = s->timeout_s;
    t->multi = curl_multi_init();
    bool has_ca = s->ca_file != NULL && s->ca_file[0] != '\0';
    t->ca_file = has_ca ? strdup(s->ca_file) : NULL;
    if (t->multi == NULL || (has_ca && t->ca_file == NULL)) {
        transport_close(t);
        return err_no_memory(err);
    }
    curl_multi_setopt(t->multi, CURLMOPT_MAXCONNECTS, (long)TRANSPORT_CONNECTIONS);
    *out = t;
    return true;
}

void transport_close(struct transport *t)
{
    if (t == NULL)
        return;
    if (t->multi != NULL)
        curl_multi_cleanup(t->multi);
    free(t->ca_file);
    free(t);
}

static bool put_headers(CURL *easy, struct transport_exchange *x)
{
    struct curl_slist *list = NULL;
    for (size_t i = 0; i < x->header_count; i++) {
        struct curl_slist *longer = curl_slist_append(list, x->headers[i]);
        if (longer == NULL) {
            curl_slist_free_all(list);
            return false;
        }
        list = longer;
    }
    x->list = list;
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list);
    return true;
}

static void put_options(const struct transport *t, CURL *easy, struct transport_exchange *x)
{
    curl_easy_setopt(easy, CURLOPT_PRIVATE, x);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, x->trouble);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "pgveneer/" PGVENEER_VERSION);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (t->ca_file != NULL)
        curl_easy_setopt(easy, CURLOPT_CAINFO, t->ca_file);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, t->timeout_s);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, t->timeout_s);
    curl_easy_setopt(easy, CURLOPT_NOBODY, strcmp(x->method, "HEAD") == 0 ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, x);
}

bool transport_start(struct transport *t, struct transport_exchange *x, struct err *err)
{
    CURL *easy = curl_easy_init();
    s3_head_init(&x->head);
    x->trouble[0] = '\0';
    x->easy = x->list = NULL;
    if (easy == NULL)
        return err_no_memory(err);
    put_options(t, easy, x);
    if (curl_easy_setopt(easy, CURLOPT_URL, x->url) != CURLE_OK || !put_headers(easy, x)) {
        curl_easy_cleanup(easy);
        return err_no_memory(err);
    }
    x->easy = easy;
    if (curl_multi_add_handle(t->multi, easy) == CURLM_OK)
        return true;
    transport_drop(t, x);
    return err_set(err, SQLSTATE_INTERNAL_ERROR, "libcurl does not take a request");
}

void transport_drop(struct transport *t, struct transport_exchange *x)
{
    if (x->easy == NULL)
        return;
    curl_multi_remove_handle(t->multi, x->easy);
    curl_easy_cleanup(x->easy);
    curl_slist_free_all(x->list);
    x->easy = x->list = NULL;
}

static enum transport_end judge(CURLcode code)
{
    switch (code) {
    case CURLE_OK: return TRANSPORT_ANSWERED;
    case CURLE_WRITE_ERROR: return TRANSPORT_STOPPED;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT: return TRANSPORT_UNREACHABLE;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR: return TRANSPORT_UNTRUSTED;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CIPHER: return TRANSPORT_IMPOSSIBLE;
    default: return TRANSPORT_CUT;
    }
}

/* A timeout before anything was connected is nobody there; later, a cut. */
static enum transport_end judge_timeout(CURL *easy)
{
    curl_off_t connected_us = 0;
    curl_easy_getinfo(easy, CURLINFO_CONNECT_TIME_T, &connected_us);
    return connected_us == 0 ? TRANSPORT_UNREACHABLE : TRANSPORT_CUT;
}

static struct transport_exchange *take_ended(struct transport *t)
{
    int left;
    for (CURLMsg *m = curl_multi_info_read(t->multi, &left); m != NULL;
         m = curl_multi_info_read(t->multi, &left)) {
        char *owner = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &owner);
        struct transport_exchange *x = (struct transport_exchange *)owner;
        x->end = code == CURLE_OPERATION_TIMEDOUT ? judge_timeout(m->easy_handle) : judge(code);
        if (code != CURLE_OK && x->trouble[0] == '\0')
            snprintf(x->trouble, sizeof x->trouble, "%s", curl_easy_strerror(code));
        transport_drop(t, x);
        return x;
    }
    return NULL;
}

bool transport_wait(struct transport *t, int timeout_ms, struct transport_exchange **ended,
                    struct err *err)
{
    int running;
    *ended = take_ended(t);
    if (*ended != NULL)
        return true;
    if (curl_multi_perform(t->multi, &running) != CURLM_OK ||
        curl_multi_poll(t->multi, NULL, 0, timeout_ms, NULL) != CURLM_OK ||
        curl_multi_perform(t->multi, &running) != CURLM_OK)
        return err_set(err, SQLSTATE_INTERNAL_ERROR, "libcurl does not work");
    *ended = take_ended(t);
    return true;
}
