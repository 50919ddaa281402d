/* Implements strait:plugin@0.2.0 by the canonical ABI: the host needs only a core module with these
 * exports. */
#include "strait.h"

#include <stdlib.h>
#include <string.h>

#ifdef __wasm__
#define IMPORT(name) __attribute__((import_module("strait:plugin/host@0.2.0"), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))
#else
/* In tests: strait_test.c is the host. */
#define IMPORT(name)
#define EXPORT(name)
#endif
#define TRANSFORM "strait:plugin/transform@0.2.0#"
#define POST "cabi_post_" TRANSFORM

enum { COLUMNS = 19, NULL_LEN = -1 };
#define NULL_EDIT 0xffffffffu

IMPORT("log") void host_log(uint32_t level, const uint8_t *text, size_t len);
IMPORT("count") void host_count(uint32_t counter, uint64_t delta);

/* Ends the call. The operator sees the message. */
static _Noreturn void fail(const char *message) {
    strait_log(STRAIT_ERROR, strait_text(message));
    __builtin_trap();
}

/* --- memory: valid for one call of the host --- */

typedef struct chunk {
    struct chunk *next;
    size_t used, size;
    max_align_t data[];
} chunk;

static chunk *chunks;

EXPORT("cabi_realloc") void *cabi_realloc(void *old, size_t old_len, size_t align, size_t len) {
    (void)align; /* at most 16, the alignment of every piece */
    size_t need = (len + 15) & ~(size_t)15;
    if (!chunks || chunks->size - chunks->used < need) {
        size_t size = need > (512u << 10) ? need : (512u << 10);
        chunk *more = malloc(sizeof(chunk) + size);
        if (!more) fail("out of memory");
        *more = (chunk){.next = chunks, .size = size};
        chunks = more;
    }
    void *at = (uint8_t *)chunks->data + chunks->used;
    chunks->used += need;
    if (old_len) memcpy(at, old, old_len < len ? old_len : len);
    return at;
}

/* Keeps one chunk for the next call. */
static void release(void) {
    while (chunks && chunks->next) {
        chunk *next = chunks->next;
        free(chunks);
        chunks = next;
    }
    if (chunks) chunks->used = 0;
}

EXPORT(POST "describe") void post_describe(void *result) { (void)result; release(); }
EXPORT(POST "configure") void post_configure(void *result) { (void)result; release(); }
EXPORT(POST "open-topic") void post_open_topic(void *result) { (void)result; release(); }
EXPORT(POST "process") void post_process(void *result) { (void)result; release(); }

/* --- lists of texts in the canonical ABI --- */

typedef struct {
    const void *data;
    size_t len;
} list;

static list text_list(const char *text) { return (list){text ? text : "", text ? strlen(text) : 0}; }

static list texts_list(const char *const *texts) {
    size_t len = 0;
    while (texts && texts[len]) len++;
    list *items = cabi_realloc(NULL, 0, 4, len * sizeof(list));
    for (size_t i = 0; i < len; i++) items[i] = text_list(texts[i]);
    return (list){items, len};
}

/* --- describe, configure, open-topic --- */

typedef struct {
    list name, version, description, config_schema;
    uint32_t effects;
    bool fails_closed;
    list reject_codes, options;
} wit_about;

/* Options of a link and of a plan. */
enum { RESIDENCY = 2, PROTECTS = 1, SHAPES = 2 };

typedef struct {
    uint32_t number;
    list value;
} option;

static const char *const *reject_codes;

EXPORT(TRANSFORM "describe") wit_about *transform_describe(void) {
    strait_about about = {0};
    plugin_describe(&about);
    static wit_about wit;
    reject_codes = about.reject_codes;
    wit = (wit_about){
        .name = text_list(about.name),
        .version = text_list(about.version),
        .description = text_list(about.description),
        .config_schema = text_list(about.config_schema ? about.config_schema : "{\"type\":[\"object\",\"null\"]}"),
        .effects = about.effects,
        .fails_closed = about.fails_closed,
        .reject_codes = texts_list(about.reject_codes),
    };
    return &wit;
}

static strait_bytes bytes(const uint8_t *data, size_t len) { return (strait_bytes){data, len}; }

/* Returns a permanent copy, because the plugin may keep texts of its configuration. */
static strait_bytes kept(const uint8_t *data, size_t len) {
    uint8_t *copy = malloc(len + 1);
    if (!copy) fail("out of memory");
    if (len) memcpy(copy, data, len);
    return bytes(copy, len);
}

__attribute__((weak)) const strait_counter *plugin_counters(size_t *count) {
    *count = 0;
    return NULL;
}

__attribute__((weak)) void plugin_end_batch(void) {}

typedef struct {
    list name, rule;
    bool expected;
} wit_counter;

EXPORT(TRANSFORM "configure")
void *transform_configure(const uint8_t *config, size_t config_len, const uint8_t *link, size_t link_len,
                          const uint8_t *source, size_t source_len, uint32_t has_source_region,
                          const uint8_t *source_region, size_t source_region_len, const uint8_t *target, size_t target_len,
                          uint32_t has_target_region, const uint8_t *target_region, size_t target_region_len,
                          const option *options, size_t options_len) {
    strait_link info = {
        .link = kept(link, link_len),
        .source = kept(source, source_len),
        .source_region = has_source_region ? kept(source_region, source_region_len) : (strait_bytes){0},
        .target = kept(target, target_len),
        .target_region = has_target_region ? kept(target_region, target_region_len) : (strait_bytes){0},
    };
    for (size_t i = 0; i < options_len; i++)
        if (options[i].number == RESIDENCY)
            info.demands_residency = options[i].value.len == 1 && *(const uint8_t *)options[i].value.data == 1;
    /* One list of mistakes, or a list of counters and one of options. */
    static struct { uint32_t is_error; list list, options; } result;
    static struct { list path, message; } error;
    /* The codes, where describe was not called. */
    strait_about about = {0};
    plugin_describe(&about);
    reject_codes = about.reject_codes;
    const char *path = "";
    const char *wrong = plugin_configure(kept(config, config_len), &info, &path);
    if (wrong) {
        error.path = text_list(path);
        error.message = text_list(wrong);
        result.is_error = 1;
        result.list = (list){&error, 1};
        return &result;
    }
    size_t count = 0;
    const strait_counter *counters = plugin_counters(&count);
    wit_counter *lifted = cabi_realloc(NULL, 0, 4, count * sizeof *lifted);
    for (size_t i = 0; i < count; i++)
        lifted[i] = (wit_counter){text_list(counters[i].name), text_list(counters[i].rule), counters[i].expected};
    result.is_error = 0;
    result.list = (list){lifted, count};
    return &result;
}

typedef struct {
    uint64_t is_error;
    struct { uint32_t is_some; list text; uint32_t pad; } name;
    uint64_t sees;
    list columns, header_names;
    uint32_t all_headers;
    list fields;
    uint32_t effects;
    list output_topics;
    uint32_t value_max_bytes;
    uint64_t lookback[3];
    list options;
} wit_plan;

_Static_assert(sizeof(void *) != 4 || sizeof(wit_plan) == 112, "the layout of result<topic-plan, string>");

static list plan_options(const strait_plan *plan) {
    static const uint8_t lenient = 1;
    static option options[2];
    size_t count = 0;
    if (plan->protects) options[count++] = (option){PROTECTS, text_list(plan->protects)};
    if (plan->lenient_shapes) options[count++] = (option){SHAPES, {&lenient, 1}};
    return (list){options, count};
}

EXPORT(TRANSFORM "open-topic")
wit_plan *transform_open_topic(const uint8_t *topic, size_t topic_len, uint32_t partitions, const option *options,
                               size_t options_len) {
    (void)options, (void)options_len;
    static const uint32_t numbers[] = {1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 15, 16, 17, 18, 8, 9, 10};
    static const uint32_t bits[] = {STRAIT_SEE_OFFSET, STRAIT_SEE_TIMESTAMP, STRAIT_SEE_KEY, STRAIT_SEE_KEY,
                                    STRAIT_SEE_VALUE, STRAIT_SEE_VALUE, STRAIT_SEE_VALUE_STATE,
                                    STRAIT_SEE_FIELD_POINTERS, STRAIT_SEE_HEADERS, STRAIT_SEE_HEADERS,
                                    STRAIT_SEE_HEADERS, STRAIT_SEE_HEADERS, STRAIT_SEE_HEADERS,
                                    STRAIT_SEE_TIMESTAMP_TYPE, STRAIT_SEE_ORIGIN};
    static uint32_t columns[sizeof numbers / sizeof *numbers];
    static wit_plan plan;
    strait_plan made = {0};
    plan = (wit_plan){0};
    bool sees = plugin_open_topic(bytes(topic, topic_len), partitions, &made);
    if (made.failure) {
        list text = text_list(made.failure);
        plan.is_error = 1;
        /* The text has the place of the name. */
        memcpy(&plan.name, &text, sizeof text);
        return &plan;
    }
    plan.name.is_some = made.name != NULL;
    plan.name.text = text_list(made.name);
    plan.options = plan_options(&made);
    if (!sees) return &plan;
    strait_needs needs = made.needs;
    if (needs.header_names || needs.see & STRAIT_SEE_ALL_HEADERS) needs.see |= STRAIT_SEE_HEADERS;
    size_t count = 0;
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
        if (needs.see & bits[i]) columns[count++] = numbers[i];
    for (size_t i = sizeof bits / sizeof *bits; needs.fields && i < sizeof numbers / sizeof *numbers; i++)
        columns[count++] = numbers[i];
    plan.sees = 1;
    plan.columns = (list){columns, count};
    plan.header_names = texts_list(needs.header_names);
    plan.all_headers = (needs.see & STRAIT_SEE_ALL_HEADERS) != 0;
    plan.fields = texts_list(needs.fields);
    plan.effects = needs.effects;
    plan.output_topics = texts_list(needs.output_topics);
    plan.value_max_bytes = needs.value_max_bytes;
    if (needs.lookback_records) {
        plan.lookback[0] = 1;
        plan.lookback[1] = needs.lookback_records;
        plan.lookback[2] = needs.lookback_millis;
    }
    return &plan;
}

/* --- process --- */

struct strait_record {
    strait_bytes topic;
    uint32_t partition, index, mode;
    const list *origins;
    size_t origins_len;
    uint64_t base_offset;
    const uint8_t *column[COLUMNS];
    size_t column_len[COLUMNS];
    uint32_t fields;
    /* Start of this record's bytes, occurrences and headers. */
    size_t key, value, occurrence, field, header, header_name, header_value;
};

/* Edits of the batch. Their memory grows and is reused. */
static uint32_t *ops;
static size_t ops_len, ops_size;
static uint8_t *out;
static size_t out_len, out_size;

static void *grown(void *data, size_t *size, size_t need, size_t item) {
    if (need <= *size) return data;
    *size = need * 2;
    data = realloc(data, *size * item);
    if (!data) fail("out of memory");
    return data;
}

static void append(strait_bytes data) {
    if (!data.len) return;
    out = grown(out, &out_size, out_len + data.len, 1);
    memcpy(out + out_len, data.data, data.len);
    out_len += data.len;
}

static void edit(const strait_record *record, uint32_t op, uint32_t arg, uint32_t len) {
    ops = grown(ops, &ops_size, ops_len + 4, sizeof *ops);
    memcpy(ops + ops_len, (uint32_t[]){record->index, op, arg, len}, 16);
    ops_len += 4;
}

static void edit_bytes(const strait_record *record, uint32_t op, uint32_t arg, strait_bytes data) {
    edit(record, op, arg, data.data ? data.len : NULL_EDIT);
    if (data.data) append(data);
}

static const uint8_t *column(const strait_record *record, uint32_t number, size_t end, const char *missing) {
    if (!record->column[number]) fail(missing);
    if (end > record->column_len[number]) fail("a column is too short");
    return record->column[number];
}

static uint32_t u32_at(const strait_record *record, uint32_t number, size_t at) {
    uint32_t value;
    memcpy(&value, column(record, number, (at + 1) * 4, "the plugin reads a column that its needs do not request") + at * 4, 4);
    return value;
}

static strait_bytes run(const strait_record *record, uint32_t lengths, uint32_t data, size_t at, size_t start) {
    int32_t len = (int32_t)u32_at(record, lengths, at);
    if (len == NULL_LEN) return (strait_bytes){0};
    return bytes(column(record, data, start + (size_t)len, "a column of lengths has no column of bytes") + start, (size_t)len);
}

static size_t length_at(const strait_record *record, uint32_t lengths, size_t at) {
    int32_t len = (int32_t)u32_at(record, lengths, at);
    return len > 0 ? (size_t)len : 0;
}

/* Advances to the next record. */
static void next(strait_record *record) {
    if (record->column[3]) record->key += length_at(record, 3, record->index);
    if (record->column[5]) record->value += length_at(record, 5, record->index);
    for (uint32_t field = 0; record->column[8] && field < record->fields; field++) {
        uint32_t count = u32_at(record, 8, (size_t)record->index * record->fields + field);
        for (; count; count--) record->field += length_at(record, 9, record->occurrence++);
    }
    if (record->column[12]) {
        for (uint32_t count = u32_at(record, 12, record->index); count; count--, record->header++) {
            record->header_name += length_at(record, 13, record->header);
            record->header_value += length_at(record, 15, record->header);
        }
    }
    record->index++;
}

EXPORT(TRANSFORM "process")
void *transform_process(const uint8_t *topic, size_t topic_len, uint32_t partition, uint32_t count, uint64_t base_offset,
                        uint32_t mode, const option *options, size_t options_len, const list *origins, size_t origins_len, const uint32_t *columns, size_t columns_len,
                        const uint8_t *data, size_t data_len) {
    (void)options, (void)options_len;
    static struct { uint32_t is_error; list ops, data; } result;
    strait_record record = {.topic = bytes(topic, topic_len), .partition = partition, .base_offset = base_offset,
                            .mode = mode, .origins = origins, .origins_len = origins_len};
    for (size_t i = 0; i + 2 < columns_len; i += 3) {
        uint32_t number = columns[i], start = columns[i + 1], len = columns[i + 2];
        if (start > data_len || len > data_len - start) fail("a column is outside the data");
        if (number >= COLUMNS) continue; /* from a newer host */
        record.column[number] = data + start;
        record.column_len[number] = len;
    }
    if (count && record.column[8]) record.fields = record.column_len[8] / 4 / count;
    ops_len = out_len = 0;
    while (record.index < count) {
        plugin_on_record(&record);
        next(&record);
    }
    plugin_end_batch();
    result.ops = (list){ops, ops_len};
    result.data = (list){out, out_len};
    return &result;
}

/* --- reading a record --- */

strait_bytes strait_topic(const strait_record *record) { return record->topic; }
uint32_t strait_partition(const strait_record *record) { return record->partition; }
bool strait_is_warm_up(const strait_record *record) { return record->mode & 1; }
bool strait_is_second_try(const strait_record *record) { return record->mode & 2; }
uint64_t strait_offset(const strait_record *record) { return record->base_offset + u32_at(record, 1, record->index); }

int64_t strait_timestamp_ms(const strait_record *record) {
    int64_t value;
    size_t at = (size_t)record->index * 8;
    memcpy(&value, column(record, 2, at + 8, "the plugin reads the timestamp, but its needs do not request it") + at, 8);
    return value;
}

bool strait_timestamp_is_append_time(const strait_record *record) {
    return column(record, 17, record->index + 1, "the plugin reads the timestamp's type, but its needs do not request it")[record->index] == 1;
}

strait_bytes strait_origin(const strait_record *record) {
    uint32_t at = u32_at(record, 18, record->index);
    return at < record->origins_len ? bytes(record->origins[at].data, record->origins[at].len) : (strait_bytes){0};
}

strait_bytes strait_key(const strait_record *record) { return run(record, 3, 4, record->index, record->key); }
strait_bytes strait_value(const strait_record *record) { return run(record, 5, 6, record->index, record->value); }

uint8_t strait_value_state(const strait_record *record) {
    return column(record, 7, record->index + 1, "the plugin reads the value's state, but its needs do not request it")[record->index];
}

bool strait_is_judged(uint8_t value_state) { return value_state == STRAIT_PARSED || value_state == STRAIT_NULL; }

uint32_t strait_field_count(const strait_record *record, uint32_t field) {
    if (field >= record->fields) fail("the plugin reads a field that its needs do not request");
    return u32_at(record, 8, (size_t)record->index * record->fields + field);
}

/* Returns the number among all occurrences of the record. */
static uint32_t occurrence(const strait_record *record, uint32_t field, uint32_t nth) {
    if (nth >= strait_field_count(record, field)) fail("the plugin reads an occurrence of a field that does not exist");
    for (uint32_t before = 0; before < field; before++) nth += strait_field_count(record, before);
    return nth;
}

strait_bytes strait_field(const strait_record *record, uint32_t field, uint32_t nth) {
    size_t start = record->field, at = record->occurrence;
    for (uint32_t skip = occurrence(record, field, nth); skip; skip--) start += length_at(record, 9, at++);
    return run(record, 9, 10, at, start);
}

strait_bytes strait_field_pointer(const strait_record *record, uint32_t field, uint32_t nth) {
    /* All lengths of the batch, then all bytes. */
    size_t start = record->column_len[9], at = record->occurrence + occurrence(record, field, nth);
    for (size_t before = 0; before < at; before++) start += length_at(record, 11, before);
    return run(record, 11, 11, at, start);
}

uint32_t strait_header_count(const strait_record *record) { return u32_at(record, 12, record->index); }

static strait_bytes header(const strait_record *record, uint32_t header, uint32_t lengths, size_t start) {
    if (header >= strait_header_count(record)) fail("the plugin reads a header that does not exist");
    size_t at = record->header;
    for (; header; header--) start += length_at(record, lengths, at++);
    return run(record, lengths, lengths + 1, at, start);
}

strait_bytes strait_header_name(const strait_record *record, uint32_t nth) {
    return header(record, nth, 13, record->header_name);
}

strait_bytes strait_header_value(const strait_record *record, uint32_t nth) {
    return header(record, nth, 15, record->header_value);
}

/* --- the outcome for the record --- */

void strait_drop(strait_record *record) { edit(record, 0, 0, 0); }
void strait_reject(strait_record *record, const char *code, strait_bytes reason) {
    uint32_t index = 0;
    for (; reject_codes && reject_codes[index]; index++) {
        if (strcmp(reject_codes[index], code)) continue;
        edit(record, 13, index, reason.len);
        append(reason);
        return;
    }
    fail("the code of a reject is not one of the plugin's reject codes");
}
void strait_reject_of(strait_record *record, uint32_t counter, const char *code, strait_bytes reason) {
    edit(record, 15, counter, 0);
    strait_reject(record, code, reason);
}
void strait_set_key(strait_record *record, strait_bytes key) { edit_bytes(record, 1, 0, key); }
void strait_set_value(strait_record *record, strait_bytes value) { edit_bytes(record, 2, 0, value); }
void strait_set_field(strait_record *record, uint32_t field, uint32_t nth, strait_bytes json) {
    edit_bytes(record, 3, occurrence(record, field, nth), json);
}
void strait_insert_field(strait_record *record, uint32_t field, strait_bytes json) { edit_bytes(record, 4, field, json); }
void strait_set_header(strait_record *record, uint32_t nth, strait_bytes value) { edit_bytes(record, 5, nth, value); }
void strait_remove_header(strait_record *record, uint32_t nth) { edit(record, 6, nth, 0); }
void strait_add_header(strait_record *record, strait_bytes name, strait_bytes value) {
    if (value.data)
        edit(record, 7, name.len, name.len + value.len);
    else
        edit(record, 8, 0, name.len);
    append(name);
    append(value);
}
void strait_set_timestamp_ms(strait_record *record, int64_t timestamp_ms) {
    edit(record, 9, 0, 8);
    append(bytes((const uint8_t *)&timestamp_ms, 8));
}
void strait_set_topic(strait_record *record, strait_bytes topic) { edit_bytes(record, 10, 0, topic); }
void strait_set_partition(strait_record *record, uint32_t partition) { edit(record, 11, partition, 0); }
void strait_partition_by(strait_record *record, strait_bytes data) {
    edit(record, 12, 0, data.len);
    append(data);
}
void strait_emit(strait_record *record) { edit(record, 14, 0, 0); }

/* --- helpers --- */

void strait_log(uint32_t level, strait_bytes message) { host_log(level, message.data, message.len); }
void strait_count(uint32_t counter, uint64_t delta) { host_count(counter, delta); }
strait_bytes strait_text(const char *text) { return bytes((const uint8_t *)text, strlen(text)); }

bool strait_equal(strait_bytes data, const char *text) {
    return data.data && data.len == strlen(text) && !memcmp(data.data, text, data.len);
}

bool strait_starts_with(strait_bytes data, strait_bytes prefix) {
    return data.data && data.len >= prefix.len && !memcmp(data.data, prefix.data, prefix.len);
}

strait_bytes strait_config_text(strait_bytes config, const char *name) {
    size_t name_len = strlen(name);
    /* Texts alternate between quotes: a name, then its value. */
    strait_bytes member = {0};
    for (size_t at = 0; at < config.len; at++) {
        if (config.data[at] != '"') continue;
        size_t start = ++at;
        for (; at < config.len && config.data[at] != '"'; at++)
            if (config.data[at] == '\\') at++;
        if (at >= config.len) break;
        strait_bytes text = bytes(config.data + start, at - start);
        if (member.data) {
            if (member.len == name_len && !memcmp(member.data, name, name_len)) return text;
            member = (strait_bytes){0};
        } else {
            member = text;
        }
    }
    return (strait_bytes){0};
}
