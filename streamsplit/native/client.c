/* Records between librdkafka and columns, without a Python object a record.
 *
 * The functions of librdkafka are those of the library that confluent-kafka has loaded: `streamsplit_bind` is handed
 * them. This library is a librdkafka plugin (`plugin.library.paths`): `conf_init` adds an interceptor that notes each
 * new client of its thread, so that `streamsplit_newest` can name the one that confluent-kafka has just made.
 *
 * Types and constants below are librdkafka's public ABI (rdkafka.h, 1.x and 2.x), as far as it is used here.
 */
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the columns are little-endian"
#endif

typedef struct {
    int32_t error;
    void *topic;
    int32_t partition;
    void *payload; /* of an error: its words */
    size_t length;
    void *key;
    size_t key_length;
    int64_t offset;
    void *opaque;
} message;

typedef struct {
    int32_t kind;
    union {
        void *pointer;
        int32_t number;
        struct {
            const void *start;
            size_t length;
        } memory;
        char padding[64];
    } value;
} argument; /* rd_kafka_vu_t */

enum { ARGUMENT_TOPIC = 2, ARGUMENT_PARTITION, ARGUMENT_VALUE, ARGUMENT_KEY, ARGUMENT_FLAGS = 7, ARGUMENT_HEADERS = 10 };
enum { COPY = 0x2, TO_PARTITION = 0x8 };
enum { ANY_PARTITION = -1, NO_HEADERS = -1, NULL_LENGTH = -1 };

typedef struct {
    int64_t (*consume)(void *queue, int timeout_ms, message **messages, size_t most);
    void (*destroy)(message *);
    int64_t (*timestamp)(const message *, int *kind);
    int32_t (*headers)(const message *, void **headers);
    int32_t (*header)(const void *headers, size_t index, const char **name, const void **value, size_t *length);
    int (*produce)(void *topic, int32_t partition, int flags, message *messages, int count);
    void *(*produce_one)(void *client, const argument *arguments, size_t count);
    int32_t (*error_code)(const void *error);
    void (*error_destroy)(void *error);
    void *(*headers_new)(size_t count);
    int32_t (*header_add)(void *headers, const char *name, int64_t name_length, const void *value, int64_t length);
    void (*headers_destroy)(void *headers);
    int32_t (*on_new)(void *configuration, const char *name, void *interceptor, void *opaque);
} functions;

static functions kafka;
static _Thread_local void *newest;

/* A column of byte strings: `length` is NULL_LENGTH where there is none. */
typedef struct {
    const uint8_t *buffer;
    const int64_t *start;
    const int64_t *length;
} strings;

void streamsplit_bind(const functions *found) { kafka = *found; }

/* The client that this thread has made last; each is told once. */
void *streamsplit_newest(void) {
    void *found = newest;
    newest = NULL;
    return found;
}

static int32_t note(void *client, const void *configuration, void *opaque, char *words, size_t size) {
    (void)configuration, (void)opaque, (void)words, (void)size;
    newest = client;
    return 0;
}

int32_t conf_init(void *configuration, void **opaque, char *words, size_t size) {
    (void)opaque, (void)words, (void)size;
    return kafka.on_new(configuration, "streamsplit", (void *)note, NULL);
}

/* -- from librdkafka ---------------------------------------------------------------------------------------------- */

/* Take up to `most` messages; the columns (int32 and int64, one place a message) say what they are. */
int64_t streamsplit_take(void *queue, int timeout_ms, int64_t most, message **messages, int32_t *error,
                         int32_t *partition, int64_t *offset, int64_t *length) {
    int64_t count = kafka.consume(queue, timeout_ms, messages, (size_t)most);
    for (int64_t i = 0; i < count; i++) {
        error[i] = messages[i]->error;
        partition[i] = messages[i]->partition;
        offset[i] = messages[i]->offset;
        length[i] = (int64_t)messages[i]->length;
    }
    return count;
}

void streamsplit_destroy(message **messages, int64_t count) {
    for (int64_t i = 0; i < count; i++) kafka.destroy(messages[i]);
}

/* The words of an error, at most `size` bytes; how many. */
int64_t streamsplit_words(const message *failed, uint8_t *words, int64_t size) {
    int64_t length = (int64_t)failed->length < size ? (int64_t)failed->length : size;
    if (failed->payload != NULL) memcpy(words, failed->payload, (size_t)length);
    return failed->payload == NULL ? 0 : length;
}

/* One header as it travels in a column: lengths in 4 bytes (the value's NULL_LENGTH for null), name, value. A name
 * ends at its first zero byte: librdkafka does not tell its length. */
static int64_t pack(const void *headers, uint8_t *target) {
    int64_t size = 0;
    const char *name;
    const void *value;
    size_t length;
    for (size_t i = 0; kafka.header(headers, i, &name, &value, &length) == 0; i++) {
        int32_t lengths[2] = {(int32_t)strlen(name), value == NULL ? NULL_LENGTH : (int32_t)length};
        if (value == NULL) length = 0;
        if (target != NULL) {
            memcpy(target + size, lengths, sizeof lengths);
            memcpy(target + size + sizeof lengths, name, (size_t)lengths[0]);
            if (length) memcpy(target + size + sizeof lengths + lengths[0], value, length);
        }
        size += (int64_t)sizeof lengths + lengths[0] + (int64_t)length;
    }
    return size;
}

/* Bytes of the values, of the keys, and of the packed headers of some messages. */
void streamsplit_measure(message **messages, int64_t count, int64_t *totals) {
    totals[0] = totals[1] = totals[2] = 0;
    for (int64_t i = 0; i < count; i++) {
        void *headers;
        totals[0] += (int64_t)messages[i]->length;
        totals[1] += (int64_t)messages[i]->key_length;
        if (kafka.headers(messages[i], &headers) == 0) totals[2] += pack(headers, NULL);
    }
}

static int64_t copy(uint8_t *target, const void *source, size_t length, int64_t *start, int64_t at, int64_t *size) {
    *start = at;
    *size = source == NULL ? NULL_LENGTH : (int64_t)length;
    if (source == NULL) return at;
    memcpy(target + at, source, length);
    return at + (int64_t)length;
}

/* Copy messages to `buffer`, values first, then keys, then headers, as `totals` measured them, and destroy them.
 * `starts` and `lengths` are (3, count): values, keys, headers. */
void streamsplit_unpack(message **messages, int64_t count, const int64_t *totals, uint8_t *buffer, int64_t *starts,
                        int64_t *lengths, int64_t *timestamps) {
    int64_t value = 0, key = totals[0], header = totals[0] + totals[1];
    for (int64_t i = 0; i < count; i++) {
        message *each = messages[i];
        void *headers;
        int kind;
        value = copy(buffer, each->payload, each->length, starts + i, value, lengths + i);
        key = copy(buffer, each->key, each->key_length, starts + count + i, key, lengths + count + i);
        int64_t *size = lengths + 2 * count + i;
        starts[2 * count + i] = header;
        *size = kafka.headers(each, &headers) == 0 ? pack(headers, buffer + header) : NO_HEADERS;
        if (*size > 0) header += *size;
        timestamps[i] = kafka.timestamp(each, &kind);
        kafka.destroy(each);
    }
}

/* -- to librdkafka ------------------------------------------------------------------------------------------------ */

static void *start_of(strings column, int64_t row) {
    return column.length[row] == NULL_LENGTH ? NULL : (void *)(column.buffer + column.start[row]);
}

static size_t length_of(strings column, int64_t row) {
    return column.length[row] == NULL_LENGTH ? 0 : (size_t)column.length[row];
}

static void *unpacked(strings column, int64_t row) {
    const uint8_t *at = start_of(column, row), *end = at + length_of(column, row);
    void *headers = kafka.headers_new(8);
    while (at < end) {
        int32_t lengths[2];
        memcpy(lengths, at, sizeof lengths);
        const char *name = (const char *)at + sizeof lengths;
        const uint8_t *value = at + sizeof lengths + lengths[0];
        int null = lengths[1] == NULL_LENGTH;
        kafka.header_add(headers, name, lengths[0], null ? NULL : value, null ? 0 : lengths[1]);
        at = value + (null ? 0 : lengths[1]);
    }
    return headers;
}

static int32_t produce_with_headers(void *client, void *topic, int64_t row, strings values, strings keys,
                                    const int32_t *partitions, strings packed) {
    argument arguments[6] = {
        {ARGUMENT_TOPIC, {.pointer = topic}},
        {ARGUMENT_PARTITION, {.number = partitions[row]}},
        {ARGUMENT_FLAGS, {.number = COPY}},
        {ARGUMENT_VALUE, {.memory = {start_of(values, row), length_of(values, row)}}},
        {ARGUMENT_KEY, {.memory = {start_of(keys, row), length_of(keys, row)}}},
        {ARGUMENT_HEADERS, {.pointer = NULL}},
    };
    int some = packed.length[row] > 0;
    if (some) arguments[5].value.pointer = unpacked(packed, row);
    void *error = kafka.produce_one(client, arguments, some ? 6 : 5);
    if (error == NULL) return 0;
    if (some) kafka.headers_destroy(arguments[5].value.pointer);
    int32_t code = kafka.error_code(error);
    kafka.error_destroy(error);
    return code;
}

/* Hand records from row `first` up to `count` to the client, in order, up to the first that it refuses.
 * Returns the row it stopped at, `count` where it took all; `*error` is the code of the refusal.
 * `scratch` has room for `count` messages; without headers `packed.length` is NULL. */
int64_t streamsplit_produce(void *client, void *topic, int64_t first, int64_t count, const strings *values,
                            const strings *keys, const int32_t *partitions, const strings *packed, message *scratch,
                            int32_t *error) {
    *error = 0;
    if (packed != NULL) {
        for (int64_t row = first; row < count; row++) {
            *error = produce_with_headers(client, topic, row, *values, *keys, partitions, *packed);
            if (*error) return row;
        }
        return count;
    }
    memset(scratch, 0, (size_t)(count - first) * sizeof *scratch);
    for (int64_t row = first; row < count; row++) {
        message *each = scratch + (row - first);
        each->partition = partitions[row];
        each->payload = start_of(*values, row);
        each->length = length_of(*values, row);
        each->key = start_of(*keys, row);
        each->key_length = length_of(*keys, row);
    }
    kafka.produce(topic, ANY_PARTITION, COPY | TO_PARTITION, scratch, (int)(count - first));
    for (int64_t row = first; row < count; row++) {
        *error = scratch[row - first].error;
        if (*error) return row;
    }
    return count;
}

int64_t streamsplit_message_bytes(void) { return (int64_t)sizeof(message); }
