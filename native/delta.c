/* The delta codec's inner loops: docs/formats/delta.md says what they compute, and modelota.content.delta has the same
 * functions in NumPy, which must give the same bytes. Nothing here allocates, calls the C library, or keeps state.
 *
 * Every function takes the length of every buffer and returns a negative number instead of reading or writing outside.
 * Arithmetic is on integers, except in delta_predict, whose binary32 operations are each rounded once (no contraction
 * into fused multiply-add: see native/build.py) and so are the same on every IEEE 754 processor.
 */
#include <stddef.h>
#include <stdint.h>

#ifndef DELTA_SOURCE_HASH
#define DELTA_SOURCE_HASH "unknown"
#endif

#define EXPORT __attribute__((visibility("default")))
#define LOWER 65536u       /* a lane's state is at least this between symbols */
#define SCALE_BITS 12      /* frequencies of a context sum to 4096 */
#define SCALE_MASK 4095u
#define DIRECT 16u         /* magnitudes below have a token of their own */

EXPORT const char delta_source_hash[] = DELTA_SOURCE_HASH;

EXPORT int delta_abi(void) { return 1; }

static inline uint32_t load(const uint8_t *p, int width) {
    uint32_t v = 0;
    if (width == 1) return p[0];
    if (width == 2) { uint16_t h; __builtin_memcpy(&h, p, 2); return h; }
    __builtin_memcpy(&v, p, 4);
    return v;
}

static inline void store(uint8_t *p, int width, uint32_t v) {
    if (width == 1) { p[0] = (uint8_t)v; return; }
    if (width == 2) { uint16_t h = (uint16_t)v; __builtin_memcpy(p, &h, 2); return; }
    __builtin_memcpy(p, &v, 4);
}

/* ---- lanes: interleaved range asymmetric numeral systems, one static table per context -------------------------- */

static inline uint32_t bits_at(const uint8_t *p, size_t bit, uint32_t count) {
    uint32_t v = 0;
    for (uint32_t i = 0; i < count; i++) v |= (uint32_t)(p[(bit + i) >> 3] >> ((bit + i) & 7) & 1) << i;
    return v;
}

/* Frequencies from the front of `coded`: see "Tables" in the format. Returns how many bytes they took, or -1: they are
 * cut off, or a context's sum is above 4096. */
EXPORT int64_t delta_read_tables(const uint8_t *coded, size_t size, uint32_t contexts, uint16_t *frequency) {
    size_t flags = 0, used = 0, mantissas = 0, at = contexts;
    if (size < contexts) return -1;
    for (uint32_t c = 0; c < contexts; c++) flags += coded[c];
    size_t flag_bit = at * 8;
    at += (flags + 7) / 8;
    if (size < at) return -1;
    for (size_t i = 0; i < flags; i++) used += bits_at(coded, flag_bit + i, 1);
    size_t length_bit = at * 8;
    at += (used + 1) / 2;
    if (size < at) return -1;
    for (size_t i = 0; i < used; i++) {
        uint32_t length = bits_at(coded, length_bit + 4 * i, 4);
        if (length > SCALE_BITS) return -1;
        mantissas += length;
    }
    size_t mantissa_bit = at * 8;
    at += (mantissas + 7) / 8;
    if (size < at) return -1;
    for (uint32_t c = 0; c < contexts; c++) {
        uint16_t *row = frequency + ((size_t)c << 8);
        uint32_t total = 0;
        for (uint32_t s = 0; s < 256; s++) row[s] = 0;
        for (uint32_t s = 1; s <= coded[c]; s++) {
            if (!bits_at(coded, flag_bit++, 1)) continue;
            uint32_t length = bits_at(coded, length_bit, 4);
            uint32_t f = 1u << length | bits_at(coded, mantissa_bit, length);
            length_bit += 4;
            mantissa_bit += length;
            total += f;
            row[s] = (uint16_t)f;
        }
        if (total > 4096) return -1;
        row[0] = (uint16_t)(4096 - total);
    }
    return (int64_t)at;
}

/* A decoding table from frequency[context << 8 | symbol]; -1 unless each context's sum is 4096. */
EXPORT int64_t delta_table(const uint16_t *frequency, uint32_t contexts, uint32_t *table) {
    for (uint32_t c = 0; c < contexts; c++) {
        uint32_t at = 0;
        for (uint32_t s = 0; s < 256; s++) {
            uint32_t f = frequency[(c << 8) | s];
            if (f > 4096 - at) return -1;
            for (uint32_t i = 0; i < f; i++) table[(c << SCALE_BITS) | (at + i)] = (f - 1) | i << 12 | s << 24;
            at += f;
        }
        if (at != 4096) return -1;
    }
    return 0;
}

/* table[context << 12 | slot]: frequency - 1 (12 bits), slot - start (12 bits), symbol (8 bits), from the lowest bit.
 * Returns the number of words used, or -1: words ran out or an argument is out of range. */
EXPORT int64_t delta_lanes_decode(const uint32_t *table, uint32_t contexts, const uint8_t *context, size_t count,
                                  uint32_t *state, uint32_t lanes, const uint16_t *words, size_t word_count,
                                  uint8_t *symbol) {
    size_t used = 0;
    if (lanes == 0 || contexts == 0) return -1;
    for (size_t start = 0; start < count; start += lanes) {
        size_t width = count - start < lanes ? count - start : lanes;
        uint32_t above = 0;
        for (size_t lane = 0; lane < width; lane++) above |= context[start + lane] >= contexts;
        if (above) return -1;
        if (word_count - used > width) {
            /* No lane reads more than one word in a row, so there is always one to read, wanted or not: no branch. */
            for (size_t lane = 0; lane < width; lane++) {
                uint32_t x = state[lane];
                uint32_t entry = table[((uint32_t)context[start + lane] << SCALE_BITS) | (x & SCALE_MASK)];
                x = ((entry & SCALE_MASK) + 1) * (x >> SCALE_BITS) + ((entry >> 12) & SCALE_MASK);
                symbol[start + lane] = (uint8_t)(entry >> 24);
                uint32_t filled = (x << 16) | words[used];
                uint32_t low = x < LOWER;
                used += low;
                state[lane] = low ? filled : x;
            }
            continue;
        }
        for (size_t lane = 0; lane < width; lane++) {
            uint32_t x = state[lane];
            uint32_t entry = table[((uint32_t)context[start + lane] << SCALE_BITS) | (x & SCALE_MASK)];
            x = ((entry & SCALE_MASK) + 1) * (x >> SCALE_BITS) + ((entry >> 12) & SCALE_MASK);
            symbol[start + lane] = (uint8_t)(entry >> 24);
            if (x < LOWER) {
                if (used >= word_count) return -1;
                x = (x << 16) | words[used++];
            }
            state[lane] = x;
        }
    }
    return (int64_t)used;
}

/* code[context << 8 | symbol]: frequency (low 16 bits), start (high 16). Words come out at the end of `words`, in the
 * order in which the decoder reads them. Returns their number, or -1: no room, or a symbol has frequency 0. */
EXPORT int64_t delta_lanes_encode(const uint32_t *code, uint32_t contexts, const uint8_t *context,
                                  const uint8_t *symbol, size_t count, uint32_t *state, uint32_t lanes,
                                  uint16_t *words, size_t word_room) {
    size_t at = word_room;
    if (lanes == 0) return -1;
    size_t lane = count % lanes;
    for (size_t i = count; i-- > 0;) {
        lane = lane == 0 ? lanes - 1 : lane - 1;
        uint32_t c = context[i];
        if (c >= contexts) return -1;
        uint32_t entry = code[(c << 8) | symbol[i]];
        uint32_t frequency = entry & 0xffffu;
        uint32_t x = state[lane];
        if (frequency == 0) return -1;
        if (x >= ((uint64_t)frequency << 20)) {
            if (at == 0) return -1;
            words[--at] = (uint16_t)x;
            x >>= 16;
        }
        uint32_t quotient = x / frequency;
        state[lane] = (quotient << SCALE_BITS) + (x - quotient * frequency) + (entry >> 16);
    }
    return (int64_t)(word_room - at);
}

/* counter[context << 8 | symbol], which begin at 0. */
EXPORT int64_t delta_counts(const uint8_t *context, const uint8_t *symbol, size_t count, uint32_t contexts,
                            uint32_t *counter) {
    for (size_t i = 0; i < count; i++) {
        if (context[i] >= contexts) return -1;
        counter[((uint32_t)context[i] << 8) | symbol[i]]++;
    }
    return 0;
}

/* ---- numeric differences ------------------------------------------------------------------------------------------ */

static inline uint32_t context_of(uint32_t base, uint32_t shift, uint32_t mask, uint32_t first, uint32_t contexts) {
    uint32_t e = (base >> shift) & mask;
    e = e > first ? e - first : 0;
    return e < contexts ? e : contexts - 1;
}

EXPORT int64_t delta_contexts(const uint8_t *base, size_t count, int width, uint32_t shift, uint32_t mask,
                              uint32_t first, uint32_t contexts, uint8_t *context) {
    if ((width != 1 && width != 2 && width != 4) || shift > 31 || contexts == 0 || contexts > 256) return -1;
    if (width == 1)
        for (size_t i = 0; i < count; i++) context[i] = (uint8_t)context_of(base[i], shift, mask, first, contexts);
    else if (width == 2)
        for (size_t i = 0; i < count; i++)
            context[i] = (uint8_t)context_of(load(base + 2 * i, 2), shift, mask, first, contexts);
    else
        for (size_t i = 0; i < count; i++)
            context[i] = (uint8_t)context_of(load(base + 4 * i, 4), shift, mask, first, contexts);
    return 0;
}

static inline uint32_t token_of(uint32_t magnitude) {
    /* Both, and then one of them: which one is hard to foretell. */
    uint32_t octave = 31u - (uint32_t)__builtin_clz(magnitude | DIRECT);
    uint32_t large = DIRECT + (octave - 4) * 4 + ((magnitude >> (octave - 2)) & 3);
    return magnitude < DIRECT ? magnitude : large;
}

#define LISTED 128u /* tokens from here on stand for differences that are listed */

/* Where in `listed` a difference is, or -1: slot[hash(difference)] is a place in it plus 1, 0 if there is none. */
static inline int listed_at(uint32_t d, const uint32_t *listed, const uint8_t *slot) {
    int place = (int)slot[(d * 2654435761u) >> 24] - 1;
    return place >= 0 && listed[place] == d ? place : -1;
}

/* How many bits a token leaves over besides its sign, and the least magnitude it stands for. */
#define BITS_OF(k) ((k) < DIRECT ? 0u : 2u + (((k) - DIRECT) >> 2))
#define START_OF(k) ((k) < DIRECT ? (k) : (4u + ((k) & 3u)) << BITS_OF(k))
#define R4(f, k) f(k), f((k) + 1), f((k) + 2), f((k) + 3)
#define R16(f, k) R4(f, k), R4(f, (k) + 4), R4(f, (k) + 8), R4(f, (k) + 12)
#define R128(f) R16(f, 0u), R16(f, 16u), R16(f, 32u), R16(f, 48u), R16(f, 64u), R16(f, 80u), R16(f, 96u), R16(f, 112u)
static const uint8_t octave_bits[256] = {R128(BITS_OF)}; /* none for what is listed */
static const uint32_t token_start[128] = {R128(START_OF)};

/* Bits of signs and of extras that tokens leave over: bits[0], bits[1]. -1: a token above those that are listed. */
EXPORT int64_t delta_leftover_bits(const uint8_t *token, size_t count, uint32_t listed_count, uint64_t *bits) {
    uint64_t signs = 0, extras = 0;
    uint8_t most = 0;
    for (size_t start = 0; start < count;) {
        size_t end = count - start < 4096 ? count : start + 4096;
        uint32_t some = 0, sum = 0; /* small enough to be vectorised */
        for (size_t i = start; i < end; i++) {
            uint8_t k = token[i], large = (uint8_t)(k - DIRECT);
            some += (uint8_t)(k - 1) < 127;
            sum += large < LISTED - DIRECT ? 2 + (large >> 2) : 0;
            most = k > most ? k : most;
        }
        signs += some;
        extras += sum;
        start = end;
    }
    bits[0] = signs;
    bits[1] = extras;
    return most >= LISTED + listed_count ? -1 : 0;
}

static inline uint64_t load64(const uint8_t *p) { uint64_t v; __builtin_memcpy(&v, p, 8); return v; }

/* Differences target - base as tokens, how often each (exponent, token) occurs, and the bits that tokens leave over.
 * `any` gets the bitwise or of all magnitudes. Bits are gathered in a word that is stored after each value; the bytes
 * that are full stay behind. */
static inline void forward(const uint8_t *base, const uint8_t *target, size_t count, const int width, uint32_t shift,
                           uint32_t mask, uint32_t drop, const uint32_t *listed, const uint8_t *slot, uint8_t *token,
                           uint32_t *histogram, uint32_t *any, uint8_t *sign, uint8_t *extra) {
    const uint32_t all = 0xffffffffu >> (32 - 8 * width), top = 1u << (8 * width - 1);
    uint64_t signs = 0, extras = 0;
    uint32_t seen = 0, sign_bits = 0, extra_bits = 0;
    for (size_t i = 0; i < count;) {
        /* Four at a time, because that many signs, and extras of two bytes, fit the word beside what is left in it. */
        size_t end = count - i >= 4 ? i + 4 : count;
        for (; i < end; i++) {
            uint32_t b = load(base + i * (size_t)width, width), t = load(target + i * (size_t)width, width);
            uint32_t d = (t - b) & all, negative = (d & top) != 0;
            uint32_t magnitude = negative ? (0u - d) & all : d;
            seen |= magnitude;
            magnitude >>= drop;
            uint32_t k = token_of(magnitude);
            if (listed && k >= DIRECT) {
                int place = listed_at(d, listed, slot);
                if (place >= 0) k = LISTED + (uint32_t)place;
            }
            token[i] = (uint8_t)k;
            histogram[(((b >> shift) & mask) << 8) | k]++;
            uint32_t signed_token = k - 1 < 127, bits = octave_bits[k];
            signs |= (uint64_t)(negative & signed_token) << sign_bits;
            sign_bits += signed_token;
            extras |= (uint64_t)(magnitude & ((1u << bits) - 1)) << extra_bits;
            extra_bits += bits;
            if (width == 4) {
                __builtin_memcpy(extra, &extras, 8);
                extra += extra_bits >> 3;
                extras >>= extra_bits & 56;
                extra_bits &= 7;
            }
        }
        __builtin_memcpy(sign, &signs, 8);
        sign += sign_bits >> 3;
        signs >>= sign_bits & 8;
        sign_bits &= 7;
        if (width < 4) {
            __builtin_memcpy(extra, &extras, 8);
            extra += extra_bits >> 3;
            extras >>= extra_bits & 56;
            extra_bits &= 7;
        }
    }
    *any = seen;
}

/* listed: differences with tokens of their own; listed_count at most 128. sign, extra: room for 8 bytes more than the
 * most bits there can be, 1 and 29 for each value; filled from the lowest bit of their first byte. */
EXPORT int64_t delta_forward(const uint8_t *base, const uint8_t *target, size_t count, int width, uint32_t shift,
                             uint32_t mask, uint32_t drop, const uint32_t *listed, uint32_t listed_count,
                             uint8_t *token, uint32_t *histogram, uint32_t *any, uint8_t *sign, size_t sign_room,
                             uint8_t *extra, size_t extra_room) {
    uint8_t slot[256] = {0};
    if (shift > 31 || mask > 255 || drop > 31 || listed_count > 128) return -1;
    if (sign_room < count / 8 + 9 || extra_room < count / 8 * 29 + 38) return -1;
    for (uint32_t i = listed_count; i-- > 0;) slot[(listed[i] * 2654435761u) >> 24] = (uint8_t)(i + 1);
    if (listed_count == 0) listed = 0;
    if (width == 1) forward(base, target, count, 1, shift, mask, drop, listed, slot, token, histogram, any, sign, extra);
    else if (width == 2) forward(base, target, count, 2, shift, mask, drop, listed, slot, token, histogram, any, sign, extra);
    else if (width == 4) forward(base, target, count, 4, shift, mask, drop, listed, slot, token, histogram, any, sign, extra);
    else return -1;
    return 0;
}

static inline void inverse(const uint8_t *base, const uint8_t *token, size_t count, const int width,
                           const uint32_t *start, const uint8_t *sign, const uint8_t *extra, uint32_t drop,
                           uint8_t *target) {
    uint64_t sign_at = 0, extra_at = 0;
    size_t i = 0;
    while (i < count) {
        if (count - i >= 8 && load64(token + i) == 0) {
            for (int w = 0; w < width; w++)
                __builtin_memcpy(target + i * (size_t)width + 8 * w, base + i * (size_t)width + 8 * w, 8);
            i += 8;
            continue;
        }
        size_t end = count - i >= 8 ? i + 8 : count;
        for (; i < end; i++) {
            uint32_t k = token[i], b = load(base + i * (size_t)width, width), bits = octave_bits[k];
            uint32_t window = (uint32_t)(load64(extra + (extra_at >> 3)) >> (extra_at & 7));
            uint32_t step = start[k] | (window & ((1u << bits) - 1)) << drop, signed_token = k - 1 < 127;
            /* What a token without a sign reads here does not matter to it. */
            uint32_t negative = 0u - ((uint32_t)(sign[sign_at >> 3] >> (sign_at & 7)) & signed_token);
            store(target + i * (size_t)width, width, b + ((step ^ negative) - negative));
            extra_at += bits;
            sign_at += signed_token;
        }
    }
}

/* target = base + difference. Both inputs need 8 bytes after their bits. Returns 0, or -1: too few, or a token above
 * those that are listed, or an argument is out of range. */
EXPORT int64_t delta_inverse(const uint8_t *base, const uint8_t *token, size_t count, int width, uint32_t drop,
                             const uint32_t *listed, uint32_t listed_count, const uint8_t *sign, size_t sign_bytes,
                             const uint8_t *extra, size_t extra_bytes, uint8_t *target) {
    uint64_t bits[2];
    uint32_t start[256];
    if (drop > 31 || listed_count > 128 || delta_leftover_bits(token, count, listed_count, bits) < 0) return -1;
    if (sign_bytes < bits[0] / 8 + 9 || extra_bytes < bits[1] / 8 + 9) return -1;
    for (uint32_t k = 0; k < 128; k++) {
        start[k] = token_start[k] << drop;
        start[LISTED + k] = k < listed_count ? listed[k] : 0;
    }
    if (width == 1) inverse(base, token, count, 1, start, sign, extra, drop, target);
    else if (width == 2) inverse(base, token, count, 2, start, sign, extra, drop, target);
    else if (width == 4) inverse(base, token, count, 4, start, sign, extra, drop, target);
    else return -1;
    return 0;
}

/* ---- quantised blocks --------------------------------------------------------------------------------------------- */

/* Where a block's quants lie. form 0: 32 bytes. 1: 32 quants, 16 bytes of low nibbles and high nibbles, and where `five`
 * is set 32 fifth bits. 2: 256 quants in four runs of 64, each 32 bytes of low and high nibbles; fifth bits, where `five`
 * is set, are bit 2 run and 2 run + 1 of 32 bytes. 3: 256 quants in two halves of 128, each 64 bytes of low and high
 * nibbles, and 32 bytes of two more bits. `offset` is what a stored quant is above its value. */
static inline void split_block(int form, int five, const uint8_t *low, const uint8_t *high, uint8_t offset,
                               uint8_t *out) {
    if (form == 0) {
        __builtin_memcpy(out, low, 32);
    } else if (form == 1) {
        uint32_t fifth = 0;
        if (five) __builtin_memcpy(&fifth, high, 4);
        for (int j = 0; j < 16; j++) {
            out[j] = (uint8_t)(((low[j] & 15) | (five ? ((fifth >> j) & 1) << 4 : 0)) - offset);
            out[16 + j] = (uint8_t)(((low[j] >> 4) | (five ? ((fifth >> (16 + j)) & 1) << 4 : 0)) - offset);
        }
    } else if (form == 2) {
        for (int run = 0; run < 4; run++)
            for (int j = 0; j < 32; j++) {
                uint8_t both = low[32 * run + j], bits = five ? (uint8_t)(high[j] >> (2 * run)) : 0;
                out[64 * run + j] = (uint8_t)(((both & 15) | (bits & 1) << 4) - offset);
                out[64 * run + 32 + j] = (uint8_t)(((both >> 4) | (bits & 2) << 3) - offset);
            }
    } else {
        for (int half = 0; half < 2; half++)
            for (int j = 0; j < 32; j++) {
                uint8_t first = low[64 * half + j], second = low[64 * half + 32 + j], bits = high[32 * half + j];
                uint8_t *to = out + 128 * half + j;
                to[0] = (uint8_t)(((first & 15) | (bits & 3) << 4) - offset);
                to[32] = (uint8_t)(((second & 15) | (bits >> 2 & 3) << 4) - offset);
                to[64] = (uint8_t)(((first >> 4) | (bits >> 4 & 3) << 4) - offset);
                to[96] = (uint8_t)(((second >> 4) | (bits >> 6) << 4) - offset);
            }
    }
}

static inline void join_block(int form, int five, const uint8_t *in, uint8_t offset, uint8_t *low, uint8_t *high) {
    if (form == 0) {
        __builtin_memcpy(low, in, 32);
    } else if (form == 1) {
        uint32_t fifth = 0;
        for (int j = 0; j < 16; j++) {
            uint8_t a = (uint8_t)(in[j] + offset), b = (uint8_t)(in[16 + j] + offset);
            low[j] = (uint8_t)((a & 15) | b << 4);
            if (five) fifth |= (uint32_t)(a >> 4 & 1) << j | (uint32_t)(b >> 4 & 1) << (16 + j);
        }
        if (five) __builtin_memcpy(high, &fifth, 4);
    } else if (form == 2) {
        for (int run = 0; run < 4; run++)
            for (int j = 0; j < 32; j++) {
                uint8_t a = (uint8_t)(in[64 * run + j] + offset), b = (uint8_t)(in[64 * run + 32 + j] + offset);
                low[32 * run + j] = (uint8_t)((a & 15) | b << 4);
                if (!five) continue;
                uint8_t bits = (uint8_t)(((a >> 4 & 1) | (b >> 3 & 2)) << (2 * run));
                high[j] = run ? high[j] | bits : bits;
            }
    } else {
        for (int half = 0; half < 2; half++)
            for (int j = 0; j < 32; j++) {
                const uint8_t *from = in + 128 * half + j;
                uint8_t a = (uint8_t)(from[0] + offset), b = (uint8_t)(from[32] + offset);
                uint8_t c = (uint8_t)(from[64] + offset), d = (uint8_t)(from[96] + offset);
                low[64 * half + j] = (uint8_t)((a & 15) | c << 4);
                low[64 * half + 32 + j] = (uint8_t)((b & 15) | d << 4);
                high[32 * half + j] = (uint8_t)((a >> 4 & 3) | (b >> 4 & 3) << 2 | (c >> 4 & 3) << 4 | (d >> 4 & 3) << 6);
            }
    }
}

#define EACH_FORM(step)                                      \
    switch (form * 2 + !!five) {                             \
    case 0: for (size_t i = 0; i < blocks; i++) step(0, 0) break; \
    case 2: for (size_t i = 0; i < blocks; i++) step(1, 0) break; \
    case 3: for (size_t i = 0; i < blocks; i++) step(1, 1) break; \
    case 4: for (size_t i = 0; i < blocks; i++) step(2, 0) break; \
    case 5: for (size_t i = 0; i < blocks; i++) step(2, 1) break; \
    case 6: for (size_t i = 0; i < blocks; i++) step(3, 0) break; \
    default: return -1;                                      \
    }

/* The last byte of `low` and `high` that a form touches, from their start, is within the block: the caller's tables. */
EXPORT int64_t delta_split(const uint8_t *block, size_t blocks, uint32_t block_bytes, int form,
                           uint32_t low_at, uint32_t high_at, uint32_t offset, int five, uint8_t *quant) {
    const size_t values = form < 2 ? 32 : 256;
#define SPLIT(f, v)                                                                                            \
    split_block(f, v, block + i * block_bytes + low_at, block + i * block_bytes + high_at, (uint8_t)offset,    \
                quant + i * values);
    EACH_FORM(SPLIT)
    return 0;
}

EXPORT int64_t delta_join(const uint8_t *quant, size_t blocks, uint32_t block_bytes, int form,
                          uint32_t low_at, uint32_t high_at, uint32_t offset, int five, uint8_t *block) {
    const size_t values = form < 2 ? 32 : 256;
#define JOIN(f, v)                                                                                             \
    join_block(f, v, quant + i * values, (uint8_t)offset, block + i * block_bytes + low_at,                    \
               block + i * block_bytes + high_at);
    EACH_FORM(JOIN)
    return 0;
}

/* What the values of moved groups become when scale and minimum change: round((v * scale - minimum + minimum') / scale')
 * in binary32, halves to even, between low and high. Scales and minima of moved groups are finite, new scales not 0.
 * value, side: one row for each moved group, in order. side: how far the quotient was from what it was rounded to, in
 * 0 … 3, and whether it was below it (bit 7). context: of each pair of values, from the two distances.
 * Returns the number of moved groups, or -1: more than there is room for, or an argument is out of range. */
static inline __attribute__((always_inline)) int64_t expect(const int8_t *before, size_t groups, uint32_t group, const uint8_t *moved,
                            const float *old_scale, const float *old_minimum, const float *new_scale,
                            const float *new_minimum, int32_t low, int32_t high, size_t room, int8_t *value,
                            uint8_t *side, uint8_t *context) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it leaves no bits below the units */
    const float least = (float)low, most = (float)high;
    size_t row = 0;
    if (low < -128 || high > 127 || (group & 1)) return -1;
    for (size_t g = 0; g < groups; g++) {
        if (!moved[g]) continue;
        if (row >= room) return -1;
        const float s = old_scale[g], m = old_minimum[g], s2 = new_scale[g], m2 = new_minimum[g];
        const int8_t *from = before + g * group;
        int8_t *to = value + row * group;
        uint8_t *beside = side + row * group, *pair = context + row * (group >> 1);
        for (uint32_t i = 0; i < group; i++) {
            float product = (float)from[i] * s;
            float difference = product - m;
            float raised = difference + m2;
            float p = raised / s2;
            p = p > least ? p : least; /* not a number becomes the least */
            p = p < most ? p : most;
            float far = p + magic;
            float whole = far - magic;
            float rest = (p - whole) * 16.0f; /* exact */
            float size = rest < 0.0f ? -rest : rest;
            to[i] = (int8_t)(int32_t)whole;
            beside[i] = (uint8_t)((size >= 4.0f) + (size >= 6.0f) + (size >= 7.0f) + (rest < 0.0f ? 128 : 0));
        }
        for (uint32_t i = 0; i < group; i += 2)
            pair[i >> 1] = (uint8_t)((beside[i] & 3) << 2 | (beside[i + 1] & 3));
        row++;
    }
    return (int64_t)row;
}

#if defined(__x86_64__)
/* The same operations on eight numbers at once, where the processor and the system allow it. */
static __attribute__((target("avx2"))) int64_t expect_wide(const int8_t *before, size_t groups, uint32_t group, const uint8_t *moved,
                            const float *old_scale, const float *old_minimum, const float *new_scale,
                            const float *new_minimum, int32_t low, int32_t high, size_t room, int8_t *value,
                            uint8_t *side, uint8_t *context) {
    return expect(before, groups, group, moved, old_scale, old_minimum, new_scale, new_minimum, low, high,
                  room, value, side, context);
}

static int wide(void) {
    uint32_t a, b, c, d;
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(1), "c"(0));
    if ((c & (3u << 27)) != 3u << 27) return 0; /* AVX, and XGETBV to ask about it */
    __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    if ((a & 6) != 6) return 0; /* the system does not save the registers */
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
    return b >> 5 & 1;
}
#endif

EXPORT int64_t delta_expect(const int8_t *before, size_t groups, uint32_t group, const uint8_t *moved,
                            const float *old_scale, const float *old_minimum, const float *new_scale,
                            const float *new_minimum, int32_t low, int32_t high, size_t room, int8_t *value,
                            uint8_t *side, uint8_t *context) {
#if defined(__x86_64__)
    if (wide())
        return expect_wide(before, groups, group, moved, old_scale, old_minimum, new_scale, new_minimum, low, high,
                           room, value, side, context);
#endif
    return expect(before, groups, group, moved, old_scale, old_minimum, new_scale, new_minimum, low, high,
                  room, value, side, context);
}

/* Residuals as symbols: of four values where the group stayed, two bits each; of two where it moved, four bits each. A
 * residual, folded to 0, -1, 1, -2, … = 0, 1, 2, 3, …, that is too large fills its place and follows as an escape.
 * Rooms are in symbols and bytes. escaped[0], escaped[1]: how many of each kind. Returns 0, or -1: no room. */
EXPORT int64_t delta_residuals(const int8_t *after, const int8_t *before, size_t groups, uint32_t group,
                               const uint8_t *moved, const int8_t *value, const uint8_t *side, size_t rows,
                               uint8_t *still_symbol, uint8_t *moved_symbol, uint8_t *still_escape,
                               uint8_t *moved_escape, uint64_t *escaped) {
    size_t row = 0, still = 0, still_escapes = 0, moved_escapes = 0;
    if (group & 3) return -1;
    for (size_t g = 0; g < groups; g++) {
        const int8_t *now = after + g * group;
        if (!moved[g]) {
            const int8_t *was = before + g * group;
            uint8_t *out = still_symbol + still * (group >> 2);
            for (uint32_t i = 0; i < group; i += 4) {
                uint32_t symbol = 0;
                for (uint32_t j = 0; j < 4; j++) {
                    int8_t r = (int8_t)(now[i + j] - was[i + j]);
                    uint8_t folded = (uint8_t)((uint8_t)r << 1 ^ (uint8_t)(r >> 7));
                    if (folded >= 3) still_escape[still_escapes++] = folded;
                    symbol |= (folded < 3 ? folded : 3u) << (2 * j);
                }
                out[i >> 2] = (uint8_t)symbol;
            }
            still++;
            continue;
        }
        if (row >= rows) return -1;
        const int8_t *guess = value + row * group;
        const uint8_t *beside = side + row * group;
        uint8_t *out = moved_symbol + row * (group >> 1);
        for (uint32_t i = 0; i < group; i += 2) {
            uint32_t symbol = 0;
            for (uint32_t j = 0; j < 2; j++) {
                uint8_t flip = (uint8_t)(0 - (beside[i + j] >> 7));
                uint8_t u = (uint8_t)(((uint8_t)(now[i + j] - guess[i + j]) ^ flip) - flip);
                uint8_t folded = (uint8_t)(u << 1 ^ (uint8_t)(0 - (u >> 7)));
                if (folded >= 15) moved_escape[moved_escapes++] = folded;
                symbol |= (folded < 15 ? folded : 15u) << (4 * j);
            }
            out[i >> 1] = (uint8_t)symbol;
        }
        row++;
    }
    escaped[0] = still_escapes;
    escaped[1] = moved_escapes;
    return 0;
}

/* Eight sums, or eight negations where a byte of `flip` is all ones, at once. */
static inline uint64_t add_bytes(uint64_t a, uint64_t b) {
    const uint64_t high = 0x8080808080808080u;
    return ((a & ~high) + (b & ~high)) ^ ((a ^ b) & high);
}

static inline uint64_t negate_bytes(uint64_t a, uint64_t flip) {
    return add_bytes(a ^ flip, flip & 0x0101010101010101u);
}

static inline uint8_t unfold(uint32_t folded) { return (uint8_t)((folded >> 1) ^ (0u - (folded & 1))); }

/* Unfolds `many` (4 or 2) residuals of each of the symbols that make eight values; escapes take their places.
 * Returns how many escapes that took, or -1: there are too few. */
static inline int64_t eight(const uint8_t *symbol, int many, uint32_t full, const uint8_t *escape, size_t escapes,
                            uint8_t *out) {
    size_t at = 0;
    const int bits = 8 / many;
    for (int i = 0; i < 8; i++) {
        uint32_t folded = symbol[i / many] >> (bits * (i % many)) & full;
        if (folded == full) {
            if (at >= escapes) return -1;
            folded = escape[at++];
        }
        out[i] = unfold(folded);
    }
    return (int64_t)at;
}

/* The reverse. Returns 0, or -1: not as many groups, or fewer escapes, than the symbols need. */
EXPORT int64_t delta_restore(const int8_t *before, size_t groups, uint32_t group, const uint8_t *moved,
                             const int8_t *value, const uint8_t *side, size_t rows, const uint8_t *still_symbol,
                             const uint8_t *moved_symbol, const uint8_t *still_escape, size_t still_escapes,
                             const uint8_t *moved_escape, size_t moved_escapes, int8_t *after) {
    uint32_t quads[256];  /* four unfolded residuals of a still symbol */
    uint16_t pairs[256];  /* two of a moved one */
    uint8_t full[256];    /* bit 0: a still symbol with an escape, bit 1: a moved one */
    size_t row = 0, still = 0, still_at = 0, moved_at = 0;
    if (group & 7 || rows > groups) return -1;
    for (uint32_t k = 0; k < 256; k++) {
        quads[k] = 0;
        full[k] = (k & 15) == 15 || k >> 4 == 15 ? 2 : 0;
        for (uint32_t j = 0; j < 4; j++) {
            quads[k] |= (uint32_t)unfold(k >> (2 * j) & 3) << (8 * j);
            if ((k >> (2 * j) & 3) == 3) full[k] |= 1;
        }
        pairs[k] = (uint16_t)(unfold(k & 15) | unfold(k >> 4) << 8);
    }
    for (size_t g = 0; g < groups; g++) {
        uint8_t *now = (uint8_t *)after + g * group;
        if (!moved[g]) {
            if (still >= groups - rows) return -1;
            const uint8_t *was = (const uint8_t *)before + g * group;
            const uint8_t *in = still_symbol + still++ * (group >> 2);
            for (uint32_t i = 0; i < group; i += 8, in += 2) {
                uint64_t found = quads[in[0]] | (uint64_t)quads[in[1]] << 32;
                if ((full[in[0]] | full[in[1]]) & 1) {
                    int64_t took = eight(in, 4, 3, still_escape + still_at, still_escapes - still_at, (uint8_t *)&found);
                    if (took < 0) return -1;
                    still_at += (size_t)took;
                }
                found = add_bytes(found, load64(was + i));
                __builtin_memcpy(now + i, &found, 8);
            }
            continue;
        }
        if (row >= rows) return -1;
        const uint8_t *guess = (const uint8_t *)value + row * group, *beside = side + row * group;
        const uint8_t *in = moved_symbol + row++ * (group >> 1);
        for (uint32_t i = 0; i < group; i += 8, in += 4) {
            uint64_t found = pairs[in[0]] | (uint64_t)pairs[in[1]] << 16 | (uint64_t)pairs[in[2]] << 32 |
                             (uint64_t)pairs[in[3]] << 48;
            if ((full[in[0]] | full[in[1]] | full[in[2]] | full[in[3]]) & 2) {
                int64_t took = eight(in, 2, 15, moved_escape + moved_at, moved_escapes - moved_at, (uint8_t *)&found);
                if (took < 0) return -1;
                moved_at += (size_t)took;
            }
            uint64_t flip = (load64(beside + i) >> 7 & 0x0101010101010101u) * 255;
            found = add_bytes(negate_bytes(found, flip), load64(guess + i));
            __builtin_memcpy(now + i, &found, 8);
        }
    }
    return 0;
}
