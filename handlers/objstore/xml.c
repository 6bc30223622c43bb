#include "xml.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <expat.h>

#include "base/buf.h"

#define XML_MAX_DEPTH 16
#define XML_PATH_BYTES 512
#define XML_TEXT_BYTES ((size_t)64 << 10)

struct reader {
    XML_Parser parser; /* owns */
    xml_on_end on_end;
    void *arg;
    struct err *err;
    char path[XML_PATH_BYTES];
    size_t ends[XML_MAX_DEPTH];   /* length of the path above each element */
    size_t starts[XML_MAX_DEPTH]; /* where the text of each open element begins */
    size_t depth;
    struct buf text; /* of all open elements */
    bool failed;
};

static void fail(struct reader *r, const char *why)
{
    if (!r->failed)
        err_set(r->err, SQLSTATE_IO_ERROR, "answer of the object store cannot be read: %s", why);
    r->failed = true;
    XML_StopParser(r->parser, XML_FALSE);
}

static void XMLCALL on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    struct reader *r = arg;
    const char *colon = strrchr(name, ':');
    size_t n = strlen(r->path);
    (void)attributes;
    if (colon != NULL)
        name = colon + 1;
    if (r->depth == XML_MAX_DEPTH || n + strlen(name) + 2 > sizeof r->path) {
        fail(r, "it is nested too deeply");
        return;
    }
    r->ends[r->depth] = n;
    r->starts[r->depth++] = buf_length(&r->text);
    snprintf(r->path + n, sizeof r->path - n, "%s%s", n == 0 ? "" : "/", name);
}

static void XMLCALL on_text(void *arg, const XML_Char *text, int len)
{
    struct reader *r = arg;
    if (!buf_append(&r->text, text, (size_t)len))
        fail(r, "an element is too long");
}

/* Children have taken their text away by now, so what is left behind the start is the element's. */
static void XMLCALL on_end(void *arg, const XML_Char *name)
{
    struct reader *r = arg;
    (void)name;
    if (r->failed)
        return;
    size_t start = r->starts[--r->depth];
    struct slice text = slice_cstr("");
    if (buf_length(&r->text) > start)
        text = slice_part(buf_slice(&r->text), start, buf_length(&r->text));
    if (!r->on_end(r->arg, r->path, text, r->err)) {
        r->failed = true;
        XML_StopParser(r->parser, XML_FALSE);
    }
    r->text.end = r->text.start + start;
    r->path[r->ends[r->depth]] = '\0';
}

static void XMLCALL on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id,
                               const XML_Char *public_id, int has_subset)
{
    (void)name, (void)system_id, (void)public_id, (void)has_subset;
    fail(arg, "it declares a document type");
}

bool xml_read(struct slice document, xml_on_end callback, void *arg, struct err *err)
{
    struct reader r = {.on_end = callback, .arg = arg, .err = err};
    if (document.len > INT_MAX)
        return err_set(err, SQLSTATE_IO_ERROR, "answer of the object store is too long");
    r.parser = XML_ParserCreate(NULL);
    if (r.parser == NULL)
        return err_no_memory(err);
    buf_init(&r.text, XML_TEXT_BYTES);
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, on_start, on_end);
    XML_SetCharacterDataHandler(r.parser, on_text);
    XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
    enum XML_Status status = XML_Parse(r.parser, document.data, (int)document.len, XML_TRUE);
    if (status != XML_STATUS_OK && !r.failed)
        fail(&r, XML_ErrorString(XML_GetErrorCode(r.parser)));
    buf_fini(&r.text);
    XML_ParserFree(r.parser);
    return !r.failed;
}
