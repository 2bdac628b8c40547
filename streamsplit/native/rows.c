/* Rows of Avro, put together from columns; and texts checked. */
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the columns are little-endian"
#endif

enum { FIXED, PIECES, TEXTS, OPTIONAL_TEXTS, INTEGERS, OPTIONAL_DOUBLES };
enum { NULL_LENGTH = -1, LONGEST_INTEGER = 10 };
static const uint8_t FIRST_BRANCH = 0, SECOND_BRANCH = 2;

/* One column. FIXED: `width` bytes a row, `stride` bytes apart. PIECES: byte strings as they are. TEXTS: behind their
 * length. OPTIONAL_TEXTS: nullable (["null", ...]). INTEGERS: int64. OPTIONAL_DOUBLES: float64, NaN is null. */
typedef struct {
    int64_t kind;
    const uint8_t *data;
    const int64_t *start;
    const int64_t *length;
    int64_t width;
    int64_t stride;
} column;

static uint8_t *integer(uint8_t *at, int64_t value) {
    uint64_t rest = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
    for (; rest > 0x7F; rest >>= 7) *at++ = (uint8_t)(rest | 0x80);
    *at++ = (uint8_t)rest;
    return at;
}

static uint8_t *bytes(uint8_t *at, const uint8_t *source, int64_t length) {
    memcpy(at, source, (size_t)length);
    return at + length;
}

static uint8_t *text(uint8_t *at, const column *each, int64_t row) {
    return bytes(integer(at, each->length[row]), each->data + each->start[row], each->length[row]);
}

static uint8_t *cell(uint8_t *at, const column *each, int64_t row) {
    double number;
    switch (each->kind) {
    case FIXED:
        return bytes(at, each->data + row * each->stride, each->width);
    case PIECES:
        return bytes(at, each->data + each->start[row], each->length[row]);
    case TEXTS:
        return text(at, each, row);
    case OPTIONAL_TEXTS:
        if (each->length[row] == NULL_LENGTH) return *at = FIRST_BRANCH, at + 1;
        *at = SECOND_BRANCH;
        return text(at + 1, each, row);
    case INTEGERS:
        return integer(at, ((const int64_t *)each->data)[row]);
    default:
        number = ((const double *)each->data)[row];
        if (number != number) return *at = FIRST_BRANCH, at + 1;
        *at = SECOND_BRANCH;
        return bytes(at + 1, (const uint8_t *)&number, sizeof number);
    }
}

/* Most bytes that some rows take. */
int64_t streamsplit_rows_bound(const column *columns, int64_t count, int64_t rows) {
    int64_t bound = 0;
    for (const column *each = columns; each < columns + count; each++) {
        if (each->kind == FIXED) bound += rows * each->width;
        if (each->kind == INTEGERS || each->kind == OPTIONAL_DOUBLES) bound += rows * LONGEST_INTEGER;
        if (each->length == NULL) continue;
        bound += rows * (1 + LONGEST_INTEGER);
        for (int64_t row = 0; row < rows; row++) bound += each->length[row] > 0 ? each->length[row] : 0;
    }
    return bound;
}

/* Write rows one behind the other; `ends[row]` is where each ends. Returns the bytes written. */
int64_t streamsplit_rows(const column *columns, int64_t count, int64_t rows, uint8_t *target, int64_t *ends) {
    uint8_t *at = target;
    for (int64_t row = 0; row < rows; row++) {
        for (const column *each = columns; each < columns + count; each++) at = cell(at, each, row);
        ends[row] = at - target;
    }
    return at - target;
}

/* Length of the character of UTF-8 (RFC 3629) at `at`; 0 where there is none. */
static int64_t character(const uint8_t *at, const uint8_t *end) {
    uint8_t first = at[0], low = 0x80, high = 0xBF;
    int64_t length = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    if (length == 0 || length > end - at) return 0;
    if (first == 0xE0) low = 0xA0;  /* shorter forms exist */
    if (first == 0xED) high = 0x9F; /* surrogates */
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F; /* beyond U+10FFFF */
    for (int64_t i = 1; i < length; i++) {
        if (at[i] < low || at[i] > high) return 0;
        low = 0x80, high = 0xBF;
    }
    return length;
}

/* Clear `good[row]` where a text is no UTF-8, or reaches beyond the buffer's `size`; nulls are good. Nothing outside
 * the texts is read. */
void streamsplit_utf8(const uint8_t *buffer, const int64_t *start, const int64_t *length, int64_t rows, int64_t size,
                      uint8_t *good) {
    for (int64_t row = 0; row < rows; row++) {
        if (length[row] == NULL_LENGTH) continue;
        if (length[row] < 0 || start[row] < 0 || length[row] > size || start[row] > size - length[row]) {
            good[row] = 0;
            continue;
        }
        const uint8_t *at = buffer + start[row], *end = at + length[row];
        for (; end - at >= 8; at += 8) {
            uint64_t word;
            memcpy(&word, at, sizeof word);
            if (word & 0x8080808080808080u) break;
        }
        while (at < end) {
            int64_t size = character(at, end);
            if (size == 0) {
                good[row] = 0;
                break;
            }
            at += size;
        }
    }
}
