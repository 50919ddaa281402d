/* Runs a plugin natively, without Wasm and without a host, for unit tests: records in, edits out.
 *
 * Compile the test with the plugin and strait_test.c (and not strait.c, which it contains):
 * cc -I sdk -o build/test plugin_test.c plugin.c sdk/strait_test.c && build/test
 *
 * Columns are packed by the layout in plugin.wit, as far as the plugin's needs request them. Fields
 * are given with each record, because finding them in a value is the host's work. */
#ifndef STRAIT_TEST_H
#define STRAIT_TEST_H

#include "strait.h"

/* A place where the path at the index `path` of `fields` matches. The last one has json = NULL. */
typedef struct {
    uint32_t path;
    const char *json, *pointer;
} strait_test_field;

/* The last one has name = NULL. */
typedef struct {
    const char *name, *value;
} strait_test_header;

/* A record to pass to a plugin. A text that is NULL is Kafka's null. */
typedef struct {
    const char *key, *value;
    uint8_t state;
    int64_t timestamp_ms;
    const strait_test_header *headers;
    /* In the order of their paths. */
    const strait_test_field *fields;
} strait_test_record;

/* Describes and configures the plugin on a link from `aws` to `gcp`, and opens the topic with six
 * partitions. Returns NULL, or what the plugin says is wrong. */
const char *strait_test_open(const char *config, const char *topic);

/* Passes records in one batch. Returns a line per edit, such as `2 field 0 = "***"`: the record's
 * index, the operation, the argument, the bytes. Bits of `mode`: 1 warm-up, 2 second try. */
const char *strait_test_process(uint32_t mode, const strait_test_record *records, uint32_t count);

#endif
