/* XXH64 with seed 0 (xxHash's specification, version 0.1.1) of many strings behind one prefix. */
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the columns are little-endian"
#endif

enum { NULL_LENGTH = -1, STRIPE = 32 };
static const uint64_t P1 = 0x9E3779B185EBCA87u, P2 = 0xC2B2AE3D27D4EB4Fu, P3 = 0x165667B19E3779F9u,
                      P4 = 0x85EBCA77C2B2AE63u, P5 = 0x27D4EB2F165667C5u;

static uint64_t turned(uint64_t value, int bits) { return value << bits | value >> (64 - bits); }

static uint64_t eight(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static uint64_t four(const uint8_t *at) {
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static uint64_t round_of(uint64_t lane, uint64_t word) { return turned(lane + word * P2, 31) * P1; }

static uint64_t stripes(const uint8_t **at, const uint8_t *end) {
    uint64_t lanes[4] = {P1 + P2, P2, 0, 0 - P1};
    for (; end - *at >= STRIPE; *at += STRIPE)
        for (int i = 0; i < 4; i++) lanes[i] = round_of(lanes[i], eight(*at + 8 * i));
    uint64_t hash = turned(lanes[0], 1) + turned(lanes[1], 7) + turned(lanes[2], 12) + turned(lanes[3], 18);
    for (int i = 0; i < 4; i++) hash = (hash ^ round_of(0, lanes[i])) * P1 + P4;
    return hash;
}

static uint64_t hash_of(const uint8_t *at, int64_t length) {
    const uint8_t *end = at + length;
    uint64_t hash = (length >= STRIPE ? stripes(&at, end) : P5) + (uint64_t)length;
    for (; end - at >= 8; at += 8) hash = turned(hash ^ round_of(0, eight(at)), 27) * P1 + P4;
    for (; end - at >= 4; at += 4) hash = turned(hash ^ four(at) * P1, 23) * P2 + P3;
    for (; at < end; at++) hash = turned(hash ^ *at * P5, 11) * P1;
    hash = (hash ^ hash >> 33) * P2;
    hash = (hash ^ hash >> 29) * P3;
    return hash ^ hash >> 32;
}

/* The hash of each string that is there, behind the prefix that `scratch` begins with and has room behind for the
 * longest. Returns how many there are. */
int64_t streamsplit_hashes(const uint8_t *buffer, const int64_t *start, const int64_t *length, int64_t rows,
                           uint8_t *scratch, int64_t prefix, uint64_t *hashes) {
    int64_t count = 0;
    for (int64_t row = 0; row < rows; row++) {
        if (length[row] == NULL_LENGTH) continue;
        memcpy(scratch + prefix, buffer + start[row], (size_t)length[row]);
        hashes[count++] = hash_of(scratch, prefix + length[row]);
    }
    return count;
}
