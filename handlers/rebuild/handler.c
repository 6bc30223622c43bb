/* The statements of online rebuilds (Hologres, "REBUILD"; seeds/002).
 *
 * What has no SQL form becomes a CALL on the client's own connection: so a submit is part of the
 * client's transaction. hologres.rebuild_progress and hologres.hg_table_properties are real objects
 * that the client names with their schema. */
#include "rebuild/handler.h"

#include "base/attr.h"

#include "parse.h"

static const struct handler_object objects[] = {
    {"hg_clean_rebuild_tmp_tables", "hologres", HANDLER_FUNCTION, true, NULL},
    {"set_table_property", "hologres", HANDLER_FUNCTION, false, NULL},
};

static const struct handler_statement statements[] = {
    {"async rebuild table", rebuild_parse_submit},
    {"suspend", rebuild_parse_suspend},
    {"resume", rebuild_parse_resume},
    {"alter table", rebuild_parse_alter},
    {"create table", rebuild_parse_create},
    {"create unlogged table", rebuild_parse_create},
};

static const char *const anchors[] = {
    "rebuild",         "suspend",         "resume",        "readonly",         "write_options",
    "ddl_options",     "_table_property", "orientation",   "distribution_key", "clustering_key",
    "segment_key",     "event_time_col",  "bitmap_col",    "dictionary_enc",   "table_group",
    "time_to_live_in", "storage_format",  "storage_mode",  "binlog",           "partition_expir",
    "keep_alive",      "partition_keep",  "partition_req", "partition_gen",    "auto_partitioning",
};

const struct handler rebuild_handler = {
    .name = "rebuild",
    .objects = objects,
    .object_count = ARRAY_LEN(objects),
    .statements = statements,
    .statement_count = ARRAY_LEN(statements),
    .anchors = anchors,
    .anchor_count = ARRAY_LEN(anchors),
};
