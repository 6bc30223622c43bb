/* evhttp behind a table of paths. It is for a monitoring system in the same network: no TLS, no login, no
 * secrets in what it tells; small limits on what a request may hold, and few seconds for it.
 *
 * A client may go away while its answer is being made. evhttp frees its request then, so the close
 * callback takes it out of ours, and the answer is dropped. */
#include "http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <event2/buffer.h>
#include <event2/http.h>

#define HTTP_MAX_HEADER_BYTES 8192
#define HTTP_MAX_BODY_BYTES 0
#define HTTP_TIMEOUT_S 15

struct http {
    struct evhttp *server;
    const struct http_path *paths;
    size_t count;
};

struct http_request {
    struct evhttp_request *request; /* NULL: the client is gone */
};

static void on_close(struct evhttp_connection *c, void *arg)
{
    (void)c;
    struct http_request *r = arg;
    r->request = NULL;
}

void http_answer(struct http_request *r, int status, const char *type, struct buf *body)
{
    struct evhttp_request *q = r->request;
    free(r);
    if (q == NULL)
        return;
    struct evbuffer *out = evbuffer_new();
    evhttp_connection_set_closecb(evhttp_request_get_connection(q), NULL, NULL);
    evhttp_add_header(evhttp_request_get_output_headers(q), "Content-Type", type);
    evhttp_add_header(evhttp_request_get_output_headers(q), "Cache-Control", "no-store");
    if (out != NULL && body != NULL && !body->failed)
        evbuffer_add(out, buf_data(body), buf_length(body));
    if (out == NULL || body == NULL || body->failed)
        status = HTTP_INTERNAL;
    evhttp_send_reply(q, status, NULL, out);
    if (out != NULL)
        evbuffer_free(out);
}

static const struct http_path *find_path(const struct http *h, const char *path)
{
    for (size_t i = 0; path != NULL && i < h->count; i++)
        if (strcmp(h->paths[i].path, path) == 0)
            return &h->paths[i];
    return NULL;
}

static void on_request(struct evhttp_request *q, void *arg)
{
    struct http *h = arg;
    const struct http_path *p = find_path(h, evhttp_uri_get_path(evhttp_request_get_evhttp_uri(q)));
    if (p == NULL) {
        evhttp_send_error(q, HTTP_NOTFOUND, NULL);
        return;
    }
    struct http_request *r = calloc(1, sizeof *r);
    if (r == NULL) {
        evhttp_send_error(q, HTTP_SERVUNAVAIL, NULL);
        return;
    }
    r->request = q;
    evhttp_connection_set_closecb(evhttp_request_get_connection(q), on_close, r);
    p->handle(p->arg, r);
}

bool http_open(struct loop *loop, const char *addr, uint16_t port, const struct http_path *paths,
               size_t count, struct http **out, struct err *err)
{
    struct http *h = calloc(1, sizeof *h);
    *out = NULL;
    if (h == NULL)
        return err_no_memory(err);
    h->paths = paths;
    h->count = count;
    h->server = evhttp_new(loop_base(loop));
    if (h->server == NULL) {
        http_close(h);
        return err_no_memory(err);
    }
    evhttp_set_allowed_methods(h->server, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD);
    evhttp_set_max_headers_size(h->server, HTTP_MAX_HEADER_BYTES);
    evhttp_set_max_body_size(h->server, HTTP_MAX_BODY_BYTES);
    evhttp_set_timeout(h->server, HTTP_TIMEOUT_S);
    evhttp_set_gencb(h->server, on_request, h);
    errno = 0;
    if (evhttp_bind_socket(h->server, addr, port) != 0) {
        http_close(h);
        return err_set_errno(err, errno == 0 ? EADDRNOTAVAIL : errno,
                             "could not listen on http_addr \"%s\", http_port %u", addr, port);
    }
    *out = h;
    return true;
}

void http_close(struct http *h)
{
    if (h == NULL)
        return;
    if (h->server != NULL)
        evhttp_free(h->server);
    free(h);
}
