/* The statements of parallel retrieve cursors (seeds/004; spec/parallel-cursor.md).
 *
 * Statements are read here (parse.c) and carried out by the proxy (proxy/cursor.h). The lists of
 * endpoints are functions and views of the support schema: before each use the proxy hands them the
 * endpoints of the moment in a session setting, so they are right in every transaction, whatever its
 * snapshot. The view gp_endpoints has six columns in the oldest generation and nine since Greenplum 6.20:
 * a text that mentions a name only the newer one has means that one. */
#include "parallel_cursor/handler.h"

#include "base/attr.h"

#include "parse.h"

static const struct handler_object objects[] = {
    {"gp_endpoints", "pgveneer", HANDLER_RELATION, false, NULL},
    {"gp_endpoints_info", "pgveneer", HANDLER_FUNCTION, false, NULL},
    {"gp_endpoints", "pgveneer_greenplum", HANDLER_FUNCTION, false, NULL},
    {"gp_get_endpoints", "pgveneer_greenplum", HANDLER_FUNCTION, false, NULL},
    {"gp_session_endpoints", "pgveneer_greenplum", HANDLER_RELATION, false, NULL},
    {"gp_get_session_endpoints", "pgveneer_greenplum", HANDLER_FUNCTION, false, NULL},
    {"gp_segment_endpoints", "pgveneer_greenplum", HANDLER_RELATION, false, NULL},
    {"gp_segment_endpoints", "pgveneer_greenplum", HANDLER_FUNCTION, false, NULL},
    {"gp_get_segment_endpoints", "pgveneer_greenplum", HANDLER_FUNCTION, false, NULL},
    {"gp_wait_parallel_retrieve_cursor", "pgveneer_greenplum", HANDLER_FUNCTION, false, NULL},
    {"gp_check_parallel_retrieve_cursor", "pgveneer_greenplum", HANDLER_FUNCTION, false, NULL},
};

static const char *const newer_words[] = {"cursorname", "endpointname",  "state", "username",
                                          "sessionid",  "gp_segment_id", NULL};

static const struct handler_variant variants[] = {
    {"gp_endpoints", "pgveneer_greenplum", newer_words}};

static const struct handler_statement statements[] = {
    {"declare", parse_declare},   {"explain", parse_explain}, {"check parallel", parse_check},
    {"retrieve", parse_retrieve}, {"fetch", parse_fetch},     {"move", parse_fetch},
};

static const char *const anchors[] = {"retrieve", "endpoints", "savepoint"};

const struct handler parallel_cursor_handler = {
    .name = "parallel_cursor",
    .objects = objects,
    .object_count = ARRAY_LEN(objects),
    .statements = statements,
    .statement_count = ARRAY_LEN(statements),
    .anchors = anchors,
    .anchor_count = ARRAY_LEN(anchors),
    .variants = variants,
    .variant_count = ARRAY_LEN(variants),
    .reads_endpoints = true,
};
