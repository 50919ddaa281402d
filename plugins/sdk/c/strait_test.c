#include "strait.c"
#include "strait_test.h"

#include <stdarg.h>
#include <stdio.h>

void host_log(uint32_t level, const uint8_t *text, size_t len) {
    fprintf(stderr, "%u: %.*s\n", (unsigned)level, (int)len, (const char *)text);
}

void host_count(uint32_t counter, uint64_t delta) { (void)counter, (void)delta; }

static wit_plan *opened;
static strait_bytes opened_topic;
static uint64_t next_offset = 100;

const char *strait_test_open(const char *config, const char *topic) {
    typedef struct { uint32_t is_error; list list; } outcome;
    strait_bytes json = strait_text(config), link = strait_text("aws-to-gcp"), source = strait_text("aws"),
                 target = strait_text("gcp");
    transform_describe();
    const outcome *configured =
        transform_configure(json.data, json.len, link.data, link.len, source.data, source.len, 0, NULL, 0, target.data,
                            target.len, 0, NULL, 0, NULL, 0);
    if (configured->is_error) return ((const list *)configured->list.data)[1].data;
    opened_topic = strait_text(topic);
    opened = transform_open_topic(opened_topic.data, opened_topic.len, 6, NULL, 0);
    return opened->is_error ? (const char *)((const list *)&opened->name)->data : NULL;
}

typedef struct {
    uint8_t *data;
    size_t len, size;
} buffer;

static void put(buffer *to, const void *data, size_t len) {
    to->data = grown(to->data, &to->size, to->len + len, 1);
    if (len) memcpy(to->data + to->len, data, len);
    to->len += len;
}

static void put_u32(buffer *to, uint32_t number) { put(to, &number, sizeof number); }
static void put_length(buffer *to, const char *text) { put_u32(to, text ? (uint32_t)strlen(text) : NULL_EDIT); }
static void put_text(buffer *to, const char *text) { put(to, text, text ? strlen(text) : 0); }

static void pack(buffer *to, uint32_t number, const strait_test_record *record, uint32_t index) {
    static const strait_test_field no_fields[1];
    static const strait_test_header no_headers[1];
    const strait_test_field *fields = record->fields ? record->fields : no_fields;
    const strait_test_header *headers = record->headers ? record->headers : no_headers;
    uint8_t state = record->value ? record->state : STRAIT_NULL;
    uint32_t count = 0;
    switch (number) {
    case 1: put_u32(to, index); break;
    case 2: put(to, &record->timestamp_ms, 8); break;
    case 3: put_length(to, record->key); break;
    case 4: put_text(to, record->key); break;
    case 5: put_length(to, record->value); break;
    case 6: put_text(to, record->value); break;
    case 7: put(to, &state, 1); break;
    case 8:
        for (uint32_t path = 0; path < opened->fields.len; path++, count = 0) {
            for (const strait_test_field *at = fields; at->json; at++) count += at->path == path;
            put_u32(to, count);
        }
        break;
    case 12:
        while (headers[count].name) count++;
        put_u32(to, count);
        break;
    case 17: put(to, "", 1); break;
    case 18: put_u32(to, 0); break;
    }
    for (; fields->json; fields++) {
        if (number == 9) put_length(to, fields->json);
        if (number == 10) put_text(to, fields->json);
        if (number == 11) put_length(to, fields->pointer ? fields->pointer : "");
    }
    for (; headers->name; headers++) {
        if (number == 13) put_length(to, headers->name);
        if (number == 14) put_text(to, headers->name);
        if (number == 15) put_length(to, headers->value);
        if (number == 16) put_text(to, headers->value);
    }
}

static char lines[1 << 16];
static size_t lines_len;

static void say(const char *format, ...) {
    va_list values;
    va_start(values, format);
    int len = vsnprintf(lines + lines_len, sizeof lines - lines_len, format, values);
    va_end(values);
    lines_len += (size_t)len;
    if (lines_len >= sizeof lines) fail("the edits of a test are too long");
}

static void say_edit(const uint32_t *edit, const uint8_t *data) {
    static const char *const names[] = {"drop", "key", "value", "field", "insert", "header", "remove header", "add header",
                                        "add null header", "timestamp", "topic", "partition", "partition by", "reject", "emit",
                                        "rule"};
    uint32_t op = edit[1];
    int64_t timestamp_ms;
    say("%s%u %s", lines_len ? "\n" : "", (unsigned)edit[0], names[op]);
    if ((op >= 3 && op <= 7) || op == 11 || op == 13 || op == 15) say(" %u", (unsigned)edit[2]);
    if (edit[3] == NULL_EDIT) {
        say(" = null");
    } else if (op == 9) {
        memcpy(&timestamp_ms, data, 8);
        say(" = %lld", (long long)timestamp_ms);
    } else if (op != 0 && op != 6 && op != 11 && op != 14 && op != 15) {
        say(" = %.*s", (int)edit[3], (const char *)data);
    }
}

const char *strait_test_process(uint32_t mode, const strait_test_record *records, uint32_t count) {
    typedef struct { uint32_t is_error; list ops, data; } outcome;
    const uint32_t *numbers = opened->columns.data;
    list origin = text_list("aws");
    uint32_t directory[3 * COLUMNS];
    buffer data = {0};
    for (size_t i = 0; i < opened->columns.len; i++) {
        while (data.len % 8) put(&data, "", 1);
        size_t start = data.len;
        for (uint32_t at = 0; at < count; at++) pack(&data, numbers[i], &records[at], at);
        for (uint32_t at = 0; numbers[i] == 11 && at < count; at++)
            for (const strait_test_field *field = records[at].fields; field && field->json; field++)
                put_text(&data, field->pointer);
        memcpy(directory + 3 * i, (uint32_t[]){numbers[i], (uint32_t)start, (uint32_t)(data.len - start)}, 12);
    }
    const outcome *judged =
        transform_process(opened_topic.data, opened_topic.len, 3, count, next_offset, mode, NULL, 0, &origin, 1, directory,
                          3 * opened->columns.len, data.data, data.len);
    next_offset += count;
    lines_len = 0;
    lines[0] = 0;
    const uint8_t *bytes = judged->data.data;
    const uint32_t *ops = judged->ops.data;
    for (size_t at = 0; at + 4 <= judged->ops.len; at += 4) {
        say_edit(ops + at, bytes);
        if (ops[at + 3] != NULL_EDIT) bytes += ops[at + 3];
    }
    free(data.data);
    return lines;
}
