/* The delta codec: docs/formats/delta.md says what each function reads or writes, and modelota.content.delta has the
 * same in NumPy, which must give the same bytes. One call codes or decodes a whole operation, because what lies between
 * several small ones would cost more than they do.
 *
 * Nothing here allocates, calls the C library, or keeps state. Coded bytes are read through `input` and made through
 * `output`, working memory is taken from an `arena` that the caller provides; each knows its end, so that a hostile
 * delta gets an error, and nothing is read or written outside. Lengths that the caller gives are those of its buffers.
 *
 * Arithmetic is on integers, except in expect_run, whose binary32 operations are each rounded once (no contraction into
 * fused multiply-add: see native/build.py) and so are the same on every IEEE 754 processor.
 */
#include <stddef.h>
#include <stdint.h>

#ifndef DELTA_SOURCE_HASH
#define DELTA_SOURCE_HASH "unknown"
#endif

#define EXPORT __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))
#define LOWER 65536u       /* a lane's state is at least this between symbols */
#define SCALE_BITS 12      /* frequencies of a context sum to 4096 */
#define SCALE 4096u
#define SCALE_MASK 4095u
#define LANES_MAX 4096
#define CONTEXTS_MAX 32u
#define DIRECT 16u         /* magnitudes below have a token of their own */
#define LISTED 128u        /* tokens from here on stand for differences that are listed */
#define TILE 2048          /* values worked on at a time: what belongs to them fits the fastest cache */

/* What is wrong with coded bytes; ROOM is the caller's mistake. loops_native.py knows these numbers. */
enum { SHORT = -1, NUMBER = -2, LANES = -3, TABLES = -4, STATES = -5, WORDS = -6, TOKENS = -7, GAPS = -8, WIDTH = -9,
       ELEMENTS = -10, FORM = -11, ROOM = -100 };

EXPORT const char delta_source_hash[] = DELTA_SOURCE_HASH;

EXPORT int delta_abi(void) { return 3; }

/* ---- bytes ------------------------------------------------------------------------------------------------------- */

typedef struct { const uint8_t *at; size_t left; } input;   /* coded bytes that were not taken yet */
typedef struct { uint8_t *at; size_t left; } output;        /* room that was not filled yet */
typedef struct { uint8_t *at; size_t left; } arena;         /* memory not in use; passed by value, it frees itself */

INLINE uint32_t load(const uint8_t *p, int width) {
    uint32_t v = 0;
    if (width == 1) return p[0];
    if (width == 2) { uint16_t h; __builtin_memcpy(&h, p, 2); return h; }
    __builtin_memcpy(&v, p, 4);
    return v;
}

INLINE void store(uint8_t *p, int width, uint32_t v) {
    if (width == 1) { p[0] = (uint8_t)v; return; }
    if (width == 2) { uint16_t h = (uint16_t)v; __builtin_memcpy(p, &h, 2); return; }
    __builtin_memcpy(p, &v, 4);
}

INLINE uint64_t load64(const uint8_t *p) { uint64_t v; __builtin_memcpy(&v, p, 8); return v; }

static void copy(uint8_t *to, const uint8_t *from, size_t size) { for (size_t i = 0; i < size; i++) to[i] = from[i]; }

static void zero(uint8_t *to, size_t size) { for (size_t i = 0; i < size; i++) to[i] = 0; }

static const uint8_t *take(input *in, size_t size) {
    if (size > in->left) return 0;
    in->at += size;
    in->left -= size;
    return in->at - size;
}

static uint8_t *give(output *out, size_t size) {
    if (size > out->left) return 0;
    out->at += size;
    out->left -= size;
    return out->at - size;
}

/* A whole number of cache lines, or 0: there is not as much. */
static void *room(arena *free, size_t size) {
    size_t padding = (size_t)(-(uintptr_t)free->at & 63), whole = padding + ((size + 63) & ~(size_t)63);
    if (whole > free->left) return 0;
    free->at += whole;
    free->left -= whole;
    return free->at - whole + padding;
}

static int64_t read_number(input *in) {
    uint32_t value = 0;
    for (int place = 0; place < 4; place++) {
        const uint8_t *byte = take(in, 1);
        if (!byte) return SHORT;
        value |= (uint32_t)(*byte & 127) << (7 * place);
        if (*byte < 128) return value;
    }
    return NUMBER;
}

static int write_number(output *out, size_t value) {
    do {
        uint8_t *byte = give(out, 1);
        if (!byte) return ROOM;
        *byte = (uint8_t)((value & 127) | (value > 127 ? 128 : 0));
        value >>= 7;
    } while (value);
    return 0;
}

static inline uint32_t bits_at(const uint8_t *p, size_t bit, uint32_t count) {
    uint32_t v = 0;
    for (uint32_t i = 0; i < count; i++) v |= (uint32_t)(p[(bit + i) >> 3] >> ((bit + i) & 7) & 1) << i;
    return v;
}

/* Bits are gathered in a word that is stored after some fields; full bytes stay behind, eight are touched. */
typedef struct { uint8_t *at; uint64_t word; uint32_t bits; } packer;

INLINE void pack(packer *to, uint64_t value, uint32_t bits) {
    to->word |= value << to->bits;
    to->bits += bits;
}

INLINE void flush(packer *to) { /* at most 56 bits more fit before the next */
    __builtin_memcpy(to->at, &to->word, 8);
    to->at += to->bits >> 3;
    to->word >>= to->bits & 56;
    to->bits &= 7;
}

/* ---- frequencies ------------------------------------------------------------------------------------------------- */

/* The logarithm to base 2 of n, at least 1, times 65536: within 0.0005, and the same everywhere. */
static inline uint32_t log2_of(uint32_t n) {
    uint32_t octave = 31u - (uint32_t)__builtin_clz(n), x = (n << (31 - octave) & 0x7fffffffu) >> 15;
    uint32_t curve = 29013u - (16213u * x >> 16) + (5466u * (x * x >> 16) >> 16);
    return (octave << 16) + x + ((x * (65536u - x) >> 16) * curve >> 16);
}

/* About how many bits, times 65536, symbols with these counts take in one context, their table included;
 * those from `end` on do not occur. */
static int64_t cost_until(const uint32_t *count, const uint32_t end) {
    uint64_t total = 0;
    int64_t bits = 0;
    uint32_t last = 0, entries = 0; /* of the table */
    for (uint32_t s = 0; s < end; s++) total += count[s];
    const uint32_t log_total = log2_of(total ? (uint32_t)total : 1);
    for (uint32_t s = 0; s < end; s++) {
        if (!count[s]) continue;
        const uint32_t log = log2_of(count[s]);
        const int32_t length = SCALE_BITS + ((int32_t)(log - log_total) >> 16);
        bits += (int64_t)((uint64_t)count[s] * (log_total - log));
        if (s) entries += 4 + (uint32_t)(length > 0 ? length : 0);
        last = s;
    }
    return bits + ((int64_t)(entries + last + 8) << 16);
}

static int64_t cost_of(const uint32_t *count) { return cost_until(count, 256); }

static int64_t costs_of(const uint32_t *count, uint32_t contexts) {
    int64_t bits = 0;
    for (uint32_t c = 0; c < contexts; c++) bits += cost_of(count + 256 * (size_t)c);
    return bits;
}

/* Frequencies that sum to 4096, at least 1 for what occurs: by largest remainder, then what the small ones took too
 * much is taken from those to whom it matters least. */
static void normalise(const uint32_t *count, uint16_t *frequency) {
    uint8_t symbol[256];
    uint32_t share[256], used = 0;
    int64_t above[256]; /* the share less what is exact, times the total */
    uint64_t total = 0;
    int32_t missing = SCALE;
    for (uint32_t s = 0; s < 256; s++) {
        frequency[s] = 0;
        if (count[s]) symbol[used++] = (uint8_t)s;
        total += count[s];
    }
    if (!total) { frequency[0] = SCALE; return; }
    for (uint32_t i = 0; i < used; i++) {
        uint64_t exact = (uint64_t)count[symbol[i]] * SCALE;
        share[i] = (uint32_t)(exact / total);
        if (!share[i]) share[i] = 1;
        above[i] = (int64_t)(share[i] * total - exact);
        missing -= (int32_t)share[i];
    }
    for (; missing > 0; missing--) {
        uint32_t least = 0;
        for (uint32_t i = 1; i < used; i++) if (above[i] < above[least]) least = i;
        share[least]++;
        above[least] = INT64_MAX;
    }
    for (; missing < 0; missing++) {
        /* Removing one slot from f costs count * log2(f / (f - 1)) bits. */
        uint32_t least = 256;
        double lowest = 0;
        for (uint32_t i = 0; i < used; i++) {
            if (share[i] < 2) continue;
            double cost = (double)count[symbol[i]] / (double)(share[i] - 1);
            if (least == 256 || cost < lowest) { least = i; lowest = cost; }
        }
        share[least]--; /* there is one: at most 256 symbols share 4096 slots */
    }
    for (uint32_t i = 0; i < used; i++) frequency[symbol[i]] = (uint16_t)share[i];
}

static int write_tables(output *out, const uint16_t *frequency, uint32_t contexts) {
    size_t flags = 0, used = 0, mantissas = 0;
    uint8_t *last = give(out, contexts);
    if (!last) return ROOM;
    for (uint32_t c = 0; c < contexts; c++) {
        const uint16_t *row = frequency + 256 * (size_t)c;
        last[c] = 0;
        for (uint32_t s = 1; s < 256; s++) {
            if (!row[s]) continue;
            last[c] = (uint8_t)s;
            used++;
            mantissas += 31u - (uint32_t)__builtin_clz(row[s]);
        }
        flags += last[c];
    }
    size_t sizes[3] = {(flags + 7) / 8, (used + 1) / 2, (mantissas + 7) / 8};
    uint8_t *made = give(out, sizes[0] + sizes[1] + sizes[2]);
    if (!made) return ROOM;
    zero(made, sizes[0] + sizes[1] + sizes[2]);
    uint8_t *nibbles = made + sizes[0], *rest = nibbles + sizes[1];
    size_t flag = 0, nibble = 0, bit = 0;
    for (uint32_t c = 0; c < contexts; c++) {
        for (uint32_t s = 1; s <= last[c]; s++, flag++) {
            uint32_t f = frequency[256 * (size_t)c + s];
            if (!f) continue;
            uint32_t length = 31u - (uint32_t)__builtin_clz(f);
            made[flag >> 3] |= (uint8_t)(1u << (flag & 7));
            nibbles[nibble >> 1] |= (uint8_t)(length << (4 * (nibble & 1)));
            nibble++;
            for (uint32_t i = 0; i < length; i++, bit++) rest[bit >> 3] |= (uint8_t)((f >> i & 1) << (bit & 7));
        }
    }
    return 0;
}

static int read_tables(input *in, uint32_t contexts, uint16_t *frequency) {
    size_t flags = 0, used = 0, mantissas = 0, flag_bit = 0, length_bit = 0, mantissa_bit = 0;
    const uint8_t *last = take(in, contexts);
    if (!last) return TABLES;
    for (uint32_t c = 0; c < contexts; c++) flags += last[c];
    const uint8_t *flag = take(in, (flags + 7) / 8);
    if (!flag) return TABLES;
    for (size_t i = 0; i < flags; i++) used += bits_at(flag, i, 1);
    const uint8_t *lengths = take(in, (used + 1) / 2);
    if (!lengths) return TABLES;
    for (size_t i = 0; i < used; i++) {
        uint32_t length = bits_at(lengths, 4 * i, 4);
        if (length > SCALE_BITS) return TABLES;
        mantissas += length;
    }
    const uint8_t *mantissa = take(in, (mantissas + 7) / 8);
    if (!mantissa) return TABLES;
    for (uint32_t c = 0; c < contexts; c++) {
        uint16_t *row = frequency + 256 * (size_t)c;
        uint32_t total = 0;
        for (uint32_t s = 0; s < 256; s++) row[s] = 0;
        for (uint32_t s = 1; s <= last[c]; s++) {
            if (!bits_at(flag, flag_bit++, 1)) continue;
            uint32_t length = bits_at(lengths, length_bit, 4);
            uint32_t f = 1u << length | bits_at(mantissa, mantissa_bit, length);
            length_bit += 4;
            mantissa_bit += length;
            total += f;
            row[s] = (uint16_t)f;
        }
        if (total > SCALE) return TABLES;
        row[0] = (uint16_t)(SCALE - total);
    }
    return 0;
}

/* ---- lanes: interleaved range asymmetric numeral systems, one static table per context --------------------------- */

typedef struct {
    uint32_t *table;       /* context << 12 | slot: frequency - 1 (12 bits), slot - start (12), symbol (8) */
    uint32_t *state;
    const uint8_t *word;   /* two bytes each */
    size_t words_left;
    uint32_t lanes, lane;  /* lane: of the next symbol */
} decoder;

/* Opens coded symbols, of which there are `count`. */
static int open_symbols(input *in, arena *memory, uint32_t contexts, size_t count, decoder *from) {
    int64_t lanes = read_number(in), words = lanes < 0 ? 0 : read_number(in);
    if (lanes < 0 || words < 0) return (int)(lanes < 0 ? lanes : words);
    if (lanes < 1 || lanes > LANES_MAX) return LANES;
    if ((uint64_t)words > count) return WORDS; /* a symbol takes one at most */
    uint32_t *table = room(memory, sizeof(uint32_t) * SCALE * contexts), *state = room(memory, 4 * (size_t)lanes);
    if (!table || !state) return ROOM;
    uint16_t frequency[CONTEXTS_MAX * 256];
    int failed = read_tables(in, contexts, frequency);
    if (failed) return failed;
    for (uint32_t c = 0; c < contexts; c++) {
        uint32_t *entry = table + SCALE * (size_t)c;
        for (uint32_t s = 0; s < 256; s++) {
            uint32_t f = frequency[256 * c + s];
            for (uint32_t i = 0; i < f; i++) *entry++ = (f - 1) | i << 12 | s << 24;
        }
    }
    const uint8_t *states = take(in, 4 * (size_t)lanes);
    const uint8_t *word = states ? take(in, 2 * (size_t)words) : 0;
    if (!word) return SHORT;
    for (int64_t i = 0; i < lanes; i++) {
        state[i] = load(states + 4 * i, 4);
        if (state[i] < LOWER) return STATES;
    }
    *from = (decoder){table, state, word, (size_t)words, (uint32_t)lanes, 0};
    return 0;
}

/* The next symbols; context: of each, less than there are tables, or 0: there is one table. */
INLINE int decode_some(decoder *from, const uint8_t *context, size_t count, uint8_t *symbol) {
    while (count) {
        size_t width = from->lanes - from->lane < count ? from->lanes - from->lane : count, used = 0;
        uint32_t *state = from->state + from->lane;
        const uint32_t *table = from->table;
        const uint8_t *word = from->word;
        if (from->words_left >= width) {
            /* No lane reads more than one word in a row, so there is always one to read, wanted or not: no branch. */
            for (size_t i = 0; i < width; i++) {
                uint32_t x = state[i];
                uint32_t entry = table[(context ? (uint32_t)context[i] << SCALE_BITS : 0) | (x & SCALE_MASK)];
                x = ((entry & SCALE_MASK) + 1) * (x >> SCALE_BITS) + ((entry >> 12) & SCALE_MASK);
                symbol[i] = (uint8_t)(entry >> 24);
                uint32_t filled = x << 16 | load(word + 2 * used, 2), low = x < LOWER;
                used += low;
                state[i] = low ? filled : x;
            }
        } else {
            for (size_t i = 0; i < width; i++) {
                uint32_t x = state[i];
                uint32_t entry = table[(context ? (uint32_t)context[i] << SCALE_BITS : 0) | (x & SCALE_MASK)];
                x = ((entry & SCALE_MASK) + 1) * (x >> SCALE_BITS) + ((entry >> 12) & SCALE_MASK);
                symbol[i] = (uint8_t)(entry >> 24);
                if (x < LOWER) {
                    if (used >= from->words_left) return WORDS;
                    x = x << 16 | load(word + 2 * used++, 2);
                }
                state[i] = x;
            }
        }
        from->word += 2 * used;
        from->words_left -= used;
        from->lane = (uint32_t)(from->lane + width) % from->lanes;
        symbol += width;
        if (context) context += width;
        count -= width;
    }
    return 0;
}

/* The end of coded symbols: the tail, with 16 bytes behind it. */
static int close_symbols(decoder *from, input *in, arena *memory, size_t tail_bytes, const uint8_t **tail) {
    if (from->words_left) return WORDS;
    for (uint32_t i = 0; i < from->lanes; i++) if (from->state[i] >> 16 != 1) return STATES;
    size_t carried = 2 * (size_t)from->lanes, inside = tail_bytes < carried ? tail_bytes : carried;
    uint8_t *made = room(memory, (inside == tail_bytes ? carried : tail_bytes) + 16);
    if (!made) return ROOM;
    for (uint32_t i = 0; i < from->lanes; i++) store(made + 2 * i, 2, from->state[i]);
    for (size_t i = inside; i < carried; i++) if (made[i]) return STATES;
    const uint8_t *rest = take(in, tail_bytes - inside);
    if (!rest) return SHORT;
    copy(made + inside, rest, tail_bytes - inside);
    zero(made + tail_bytes, 16);
    *tail = made;
    return 0;
}

typedef struct { uint64_t reciprocal; uint32_t rest, start; } code; /* rest: 4096 - frequency */

INLINE uint8_t *encode_all(const code *codes, const uint8_t *context, const uint8_t *symbol, size_t count,
                           uint32_t *state, size_t lanes, uint8_t *word) {
    for (size_t end = count; end > 0;) {
        size_t width = (end - 1) % lanes + 1;
        end -= width;
        for (size_t i = width; i-- > 0;) {
            code with = codes[(context ? (size_t)context[end + i] << 8 : 0) | symbol[end + i]];
            uint32_t x = state[i], large = (x >> 20) >= SCALE - with.rest;
            store(word - 2, 2, x); /* written, wanted or not */
            word -= 2 * large;
            x >>= 16 * large;
            /* x is below frequency * 2^20, and the reciprocal ceil(2^44 / frequency): exact, within 64 bits */
            state[i] = x + (uint32_t)(x * with.reciprocal >> 44) * with.rest + with.start;
        }
    }
    return word;
}

static uint32_t root_of(size_t n) {
    uint32_t root = 0;
    for (uint32_t bit = 1u << 15; bit; bit >>= 1) if ((uint64_t)(root + bit) * (root + bit) <= n) root += bit;
    return root;
}

/* How many lanes: about 2 % of what they code, more where long ones would be slow in NumPy; see lanes.py. */
static size_t lanes_for(int64_t cost, size_t count, size_t tail_bytes) {
    size_t bits = (size_t)(cost >> 16), lanes = bits / 450;
#define AT_LEAST(n) if (lanes < (n)) lanes = (n)
    if (2 * lanes > tail_bytes) {
        size_t dense = root_of(count) / 4 < bits / 500 ? root_of(count) / 4 : bits / 500;
        lanes = tail_bytes / 2;
        AT_LEAST(bits / 1100);
        AT_LEAST(dense);
    }
    AT_LEAST(count / 8192);
    size_t wanted = bits / 256 < count / 512 ? bits / 256 : count / 512;
    AT_LEAST(wanted < 8 ? wanted : 8);
    lanes = lanes < LANES_MAX ? lanes : LANES_MAX;
    lanes = lanes < count ? lanes : count;
    return lanes ? lanes : 1;
}

/* What symbols in contexts that cost this much take with their lanes: each a byte, and what the tail does not fill. */
static int64_t with_lanes(int64_t cost, size_t count, size_t tail_bytes) {
    const size_t lanes = lanes_for(cost, count, tail_bytes);
    return cost + ((int64_t)(8 * (lanes + (2 * lanes > tail_bytes ? 2 * lanes - tail_bytes : 0))) << 16);
}

/* Symbols as coded symbols; counts: 256 for each context; context may be 0 if there is one. */
static int write_symbols(output *out, arena memory, const uint8_t *symbol, const uint8_t *context, size_t count,
                         const uint32_t *counts, uint32_t contexts, const uint8_t *tail, size_t tail_bytes) {
    size_t lanes = lanes_for(costs_of(counts, contexts), count, tail_bytes);
    uint16_t *frequency = room(&memory, sizeof(uint16_t) * 256 * contexts);
    code *codes = room(&memory, sizeof(code) * 256 * contexts);
    uint32_t *state = room(&memory, 4 * lanes);
    uint8_t *words = room(&memory, 2 * count + 2), *end = words + 2 * count + 2;
    if (!frequency || !codes || !state || !words) return ROOM;
    for (uint32_t c = 0; c < contexts; c++) {
        uint16_t *row = frequency + 256 * (size_t)c;
        uint32_t start = 0;
        normalise(counts + 256 * (size_t)c, row);
        for (uint32_t s = 0; s < 256; s++) {
            uint32_t f = row[s];
            if (!f) continue;
            codes[256 * (size_t)c + s] = (code){(((uint64_t)1 << 44) + f - 1) / f, SCALE - f, start};
            start += f;
        }
    }
    for (size_t i = 0; i < lanes; i++) {
        uint32_t low = 2 * i < tail_bytes ? tail[2 * i] : 0, high = 2 * i + 1 < tail_bytes ? tail[2 * i + 1] : 0;
        state[i] = LOWER + (low | high << 8);
    }
    uint8_t *first = context ? encode_all(codes, context, symbol, count, state, lanes, end)
                             : encode_all(codes, 0, symbol, count, state, lanes, end);
    size_t word_bytes = (size_t)(end - first), inside = tail_bytes < 2 * lanes ? tail_bytes : 2 * lanes;
    if (write_number(out, lanes) || write_number(out, word_bytes / 2) || write_tables(out, frequency, contexts))
        return ROOM;
    uint8_t *made = give(out, 4 * lanes + word_bytes + tail_bytes - inside);
    if (!made) return ROOM;
    for (size_t i = 0; i < lanes; i++) store(made + 4 * i, 4, state[i]);
    copy(made + 4 * lanes, first, word_bytes);
    copy(made + 4 * lanes + word_bytes, tail + inside, tail_bytes - inside);
    return 0;
}

/* counts[context << 8 | symbol]; by turns in two tables, because one that was just counted is not ready to be read. */
INLINE void count_in(const uint8_t *symbol, const uint8_t *context, size_t count, const uint32_t contexts,
                     uint32_t *counts) {
    uint32_t other[16 * 256];
    zero((uint8_t *)counts, 1024 * contexts);
    zero((uint8_t *)other, 1024 * contexts);
    for (size_t i = 0; i < count; i++)
        (i & 1 ? other : counts)[(context ? (uint32_t)context[i] << 8 : 0) | symbol[i]]++;
    for (uint32_t k = 0; k < 256 * contexts; k++) counts[k] += other[k];
}

static void count_symbols(const uint8_t *symbol, size_t count, uint32_t *counts) {
    count_in(symbol, 0, count, 1, counts);
}

EXPORT int64_t delta_encode_symbols(const uint8_t *symbol, size_t count, uint8_t *coded, size_t coded_room,
                                    uint8_t *memory, size_t memory_bytes) {
    output out = {coded, coded_room};
    uint32_t counts[256];
    count_symbols(symbol, count, counts);
    int failed = write_symbols(&out, (arena){memory, memory_bytes}, symbol, 0, count, counts, 1, 0, 0);
    return failed ? failed : (int64_t)(coded_room - out.left);
}

EXPORT int64_t delta_decode_symbols(const uint8_t *coded, size_t coded_bytes, size_t count, uint8_t *symbol,
                                    uint8_t *memory, size_t memory_bytes) {
    input in = {coded, coded_bytes};
    arena free = {memory, memory_bytes};
    decoder from;
    const uint8_t *tail;
    int failed = open_symbols(&in, &free, 1, count, &from);
    if (!failed) failed = decode_some(&from, 0, count, symbol);
    if (!failed) failed = close_symbols(&from, &in, &free, 0, &tail);
    return failed ? failed : (int64_t)(coded_bytes - in.left);
}

/* ---- magnitudes and gaps ----------------------------------------------------------------------------------------- */

/* An octave has 4 tokens, or 1, in the coarse alphabet, which few elements repay. steps: 2 or 0, to whose power of two. */
enum { FINE = 2, COARSE = 0 };
#define OCTAVES 28u        /* of 32 bits, above what is DIRECT */
#define END_OF(steps) (DIRECT + (OCTAVES << (steps))) /* tokens from here to LISTED stand for nothing */

static inline uint32_t token_of(uint32_t magnitude) {
    /* Both, and then one of them: which one is hard to foretell. */
    uint32_t octave = 31u - (uint32_t)__builtin_clz(magnitude | DIRECT);
    uint32_t large = DIRECT + (octave - 4) * 4 + ((magnitude >> (octave - 2)) & 3);
    return magnitude < DIRECT ? magnitude : large;
}

static inline uint32_t coarse_token_of(uint32_t magnitude) {
    uint32_t octave = 31u - (uint32_t)__builtin_clz(magnitude | DIRECT);
    return magnitude < DIRECT ? magnitude : DIRECT + octave - 4;
}

/* How many bits a token leaves over besides its sign, and the least magnitude it stands for. */
#define BITS_OF(k) ((k) < DIRECT ? 0u : 2u + (((k) - DIRECT) >> 2))
#define START_OF(k) ((k) < DIRECT ? (k) : (4u + ((k) & 3u)) << BITS_OF(k))
#define COARSE_BITS_OF(k) ((k) < DIRECT || (k) >= END_OF(COARSE) ? 0u : 4u + (k) - DIRECT)
#define COARSE_START_OF(k) ((k) < DIRECT ? (k) : 1u << COARSE_BITS_OF(k))
#define R4(f, k) f(k), f((k) + 1), f((k) + 2), f((k) + 3)
#define R16(f, k) R4(f, k), R4(f, (k) + 4), R4(f, (k) + 8), R4(f, (k) + 12)
#define R128(f) R16(f, 0u), R16(f, 16u), R16(f, 32u), R16(f, 48u), R16(f, 64u), R16(f, 80u), R16(f, 96u), R16(f, 112u)
static const uint8_t octave_bits[256] = {R128(BITS_OF)}; /* none for what is listed */
static const uint32_t token_start[128] = {R128(START_OF)};
static const uint8_t coarse_bits[256] = {R128(COARSE_BITS_OF)};
static const uint32_t coarse_start[128] = {R128(COARSE_START_OF)};

typedef struct { uint64_t signs, extras; } leftover; /* bits that tokens leave over */

/* Adds what tokens leave over; an error if one is above those that are listed, or stands for nothing. */
INLINE int add_bits(const uint8_t *token, size_t count, uint32_t listed_count, const uint32_t steps, leftover *bits) {
    const uint32_t end = END_OF(steps);
    uint32_t some = 0, sum = 0; /* small enough to be vectorised, for not more than TILE tokens */
    uint8_t most = 0, wrong = 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t k = token[i], large = (uint8_t)(k - DIRECT);
        some += (uint8_t)(k - 1) < 127;
        sum += large < end - DIRECT ? 4 - steps + (large >> steps) : 0;
        most = k > most ? k : most;
        wrong |= (uint8_t)(k - end) < LISTED - end;
    }
    bits->signs += some;
    bits->extras += sum;
    return most >= LISTED + listed_count || wrong ? TOKENS : 0;
}

static int add_leftover(const uint8_t *token, size_t count, uint32_t listed_count, uint32_t steps, leftover *bits) {
    return steps ? add_bits(token, count, listed_count, FINE, bits) : add_bits(token, count, listed_count, COARSE, bits);
}

/* Tokens of the gaps between ascending positions, their counts and their extra bits; returns how many bytes those take,
 * eight more are touched. */
static size_t gap_tokens(const uint32_t *position, size_t count, uint8_t *token, uint32_t *counts, uint8_t *extra) {
    packer extras = {extra, 0, 0};
    uint32_t next = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t gap = position[i] - next, k = token_of(gap), bits = octave_bits[k];
        next = position[i] + 1;
        token[i] = (uint8_t)k;
        pack(&extras, gap & ((1u << bits) - 1), bits);
        flush(&extras);
    }
    count_symbols(token, count, counts);
    return (size_t)(extras.at - extra) + (extras.bits + 7) / 8;
}

static int write_gaps(output *out, arena memory, const uint32_t *position, size_t count, int64_t *cost) {
    uint32_t counts[256];
    uint8_t *token = room(&memory, count), *extra = room(&memory, 4 * count + 16);
    if (!token || !extra) return ROOM;
    size_t size = gap_tokens(position, count, token, counts, extra);
    if (cost) { /* only what it would be */
        *cost = with_lanes(cost_of(counts), count, size);
        for (uint32_t k = 0; k < LISTED; k++) *cost += (int64_t)counts[k] * octave_bits[k] << 16;
        return 0;
    }
    return write_symbols(out, memory, token, 0, count, counts, 1, extra, size);
}

typedef struct { const uint8_t *token, *extra; uint64_t bit, next; } gaps;

static int open_gaps(input *in, arena *memory, size_t count, gaps *to) {
    decoder from;
    leftover bits = {0, 0};
    uint8_t *token = room(memory, count);
    if (!token) return ROOM;
    *to = (gaps){token, 0, 0, 0};
    int failed = open_symbols(in, memory, 1, count, &from);
    for (size_t i = 0; i < count && !failed; i += TILE) {
        size_t some = count - i < TILE ? count - i : TILE;
        failed = decode_some(&from, 0, some, token + i);
        if (!failed) failed = add_leftover(token + i, some, 0, FINE, &bits);
    }
    return failed ? failed : close_symbols(&from, in, memory, (size_t)((bits.extras + 7) / 8), &to->extra);
}

INLINE uint64_t next_position(gaps *from) {
    const uint32_t k = *from->token++, bits = octave_bits[k];
    const uint64_t window = load64(from->extra + (from->bit >> 3)) >> (from->bit & 7);
    from->bit += bits;
    from->next += (token_start[k] | (window & ((1u << bits) - 1))) + (uint64_t)1;
    return from->next - 1;
}

EXPORT int64_t delta_encode_gaps(const uint32_t *position, size_t count, uint8_t *coded, size_t coded_room,
                                 uint8_t *memory, size_t memory_bytes) {
    output out = {coded, coded_room};
    int failed = write_gaps(&out, (arena){memory, memory_bytes}, position, count, 0);
    return failed ? failed : (int64_t)(coded_room - out.left);
}

EXPORT int64_t delta_decode_gaps(const uint8_t *coded, size_t coded_bytes, size_t count, size_t places,
                                 uint32_t *position, uint8_t *memory, size_t memory_bytes) {
    input in = {coded, coded_bytes};
    arena free = {memory, memory_bytes};
    gaps from;
    int failed = open_gaps(&in, &free, count, &from);
    for (size_t i = 0; i < count && !failed; i++) {
        uint64_t at = next_position(&from);
        if (at >= places) failed = GAPS;
        position[i] = (uint32_t)at;
    }
    return failed ? failed : (int64_t)(coded_bytes - in.left);
}

/* ---- numeric differences ----------------------------------------------------------------------------------------- */

typedef struct { int width; uint32_t shift, mask; } elements;

#define COARSE_FLAG 128u   /* beside the dropped bits: tokens of the coarse alphabet */

INLINE void contexts_of(const uint8_t *base, size_t count, const int width, uint32_t shift, uint32_t mask,
                        uint32_t first, uint32_t contexts, uint8_t *context) {
    for (size_t i = 0; i < count; i++) {
        uint32_t e = (load(base + i * (size_t)width, width) >> shift) & mask;
        e = e > first ? e - first : 0;
        context[i] = (uint8_t)(e < contexts ? e : contexts - 1);
    }
}

static void find_contexts(const uint8_t *base, size_t count, elements of, uint32_t first, uint32_t contexts,
                          uint8_t *to) {
    if (of.width == 1) contexts_of(base, count, 1, of.shift, of.mask, first, contexts, to);
    else if (of.width == 2) contexts_of(base, count, 2, of.shift, of.mask, first, contexts, to);
    else contexts_of(base, count, 4, of.shift, of.mask, first, contexts, to);
}

typedef struct {
    uint32_t count, difference[LISTED];
    uint8_t slot[256];     /* by hash: the place of a difference in the list plus 1; 0: there is none */
} listing;

#define HASH(d, bits) (((d) * 2654435761u) >> (32 - (bits)))

INLINE uint32_t difference_of(const uint8_t *base, const uint8_t *target, size_t i, const int width) {
    const uint32_t all = 0xffffffffu >> (32 - 8 * width);
    return (load(target + i * (size_t)width, width) - load(base + i * (size_t)width, width)) & all;
}

/* Sorts by bytes, the lowest first; four passes, so that the result is where it was. */
static void sort(uint32_t *value, uint32_t *other, size_t count) {
    for (int shift = 0; shift < 32; shift += 8) {
        size_t place[257];
        zero((uint8_t *)place, sizeof place);
        for (size_t i = 0; i < count; i++) place[(value[i] >> shift & 255) + 1]++;
        for (int k = 0; k < 255; k++) place[k + 1] += place[k];
        for (size_t i = 0; i < count; i++) other[place[value[i] >> shift & 255]++] = value[i];
        uint32_t *swapped = value;
        value = other;
        other = swapped;
    }
}

/* Large differences that occur often in a sample: what weight decay alone did to 32-bit numbers. */
static int list_frequent(listing *to, arena memory, const uint8_t *target, const uint8_t *base, size_t count,
                         int width) {
    const size_t stride = count >> 16 ? count >> 16 : 1, sample = (count + stride - 1) / stride;
    const size_t one_in = width == 4 ? 1024 : 64;
    const uint32_t all = 0xffffffffu >> (32 - 8 * width);
    uint32_t bucket[4096];
    size_t large = 0, kept = 0, distinct = 0;
    to->count = 0;
    zero(to->slot, sizeof to->slot);
    zero((uint8_t *)bucket, sizeof bucket);
    uint32_t *value = room(&memory, 4 * sample), *often = room(&memory, 4 * sample);
    if (!value || !often) return ROOM;
    for (size_t i = 0; i < sample; i++) {
        uint32_t d = difference_of(base, target, i * stride, width);
        if (((d + DIRECT - 1) & all) < 2 * DIRECT - 1) continue;
        value[large++] = d;
        bucket[HASH(d, 12)]++;
    }
    if (large * one_in < sample || large < one_in) return 0;
    for (size_t i = 0; i < large; i++) /* others are rarer than their bucket */
        if (bucket[HASH(value[i], 12)] * one_in >= sample) value[kept++] = value[i];
    sort(value, often, kept);
    for (size_t i = 0, run; i < kept; i += run) {
        for (run = 1; i + run < kept && value[i + run] == value[i];) run++;
        value[distinct] = value[i];
        often[distinct++] = (uint32_t)run;
    }
    for (uint32_t tried = 0; tried < LISTED; tried++) {
        size_t most = 0;
        for (size_t i = 1; i < distinct; i++) if (often[i] > often[most]) most = i;
        if (!distinct || often[most] * one_in < sample) break;
        often[most] = 0;
        uint8_t *slot = to->slot + HASH(value[most], 8);
        if (*slot) continue; /* of two with the same hash, the more frequent stays */
        to->difference[to->count++] = value[most];
        *slot = (uint8_t)to->count;
    }
    return 0;
}

/* Differences target - base as tokens, how often each (exponent, token) occurs, and the bits that tokens leave over.
 * Returns the bitwise or of all magnitudes. */
INLINE uint32_t forward(const uint8_t *base, const uint8_t *target, size_t count, const int width, elements of,
                        const uint32_t steps, uint32_t drop, const listing *listed, uint8_t *token, uint32_t *histogram, packer *sign,
                        packer *extra) {
    const uint32_t all = 0xffffffffu >> (32 - 8 * width), top = 1u << (8 * width - 1);
    packer signs = *sign, extras = *extra;
    uint32_t seen = 0;
    for (size_t i = 0; i < count;) {
        /* Four at a time, because that many signs, and fine extras of two bytes, fit the word beside what is left. */
        size_t end = count - i >= 4 ? i + 4 : count;
        for (; i < end; i++) {
            uint32_t b = load(base + i * (size_t)width, width), d = difference_of(base, target, i, width);
            uint32_t negative = (d & top) != 0;
            uint32_t magnitude = negative ? (0u - d) & all : d;
            seen |= magnitude;
            magnitude >>= drop;
            uint32_t k = steps ? token_of(magnitude) : coarse_token_of(magnitude);
            if (listed && k >= DIRECT) {
                uint32_t place = listed->slot[HASH(d, 8)];
                if (place && listed->difference[place - 1] == d) k = LISTED + place - 1;
            }
            token[i] = (uint8_t)k;
            histogram[(((b >> of.shift) & of.mask) << 8) | k]++;
            uint32_t signed_token = k - 1 < 127, bits = steps ? octave_bits[k] : coarse_bits[k];
            pack(&signs, negative & signed_token, signed_token);
            pack(&extras, magnitude & ((1u << bits) - 1), bits);
            if (width == 4) flush(&extras);
        }
        flush(&signs);
        if (width < 4) flush(&extras);
    }
    *sign = signs;
    *extra = extras;
    return seen;
}

#define FORWARD(w, s, l) return forward(base, target, count, w, of, s, drop, l, token, histogram, sign, extra)
static uint32_t find_tokens(const uint8_t *base, const uint8_t *target, size_t count, elements of, uint32_t drop,
                            const listing *listed, uint8_t *token, uint32_t *histogram, packer *sign, packer *extra) {
    zero((uint8_t *)histogram, 4 * 65536);
    if (of.width == 1) FORWARD(1, FINE, listed);
    if (of.width == 4) FORWARD(4, FINE, listed);
    if (listed->count) FORWARD(2, FINE, listed);
    FORWARD(2, FINE, 0);
}

/* The coarse alphabet is for elements of four bytes. */
static uint32_t find_coarse_tokens(const uint8_t *base, const uint8_t *target, size_t count, elements of, uint32_t drop,
                                   const listing *listed, uint8_t *token, uint32_t *histogram, packer *sign,
                                   packer *extra) {
    zero((uint8_t *)histogram, 4 * 65536);
    FORWARD(4, COARSE, listed);
}

/* Exponents that occur lie within first … last; those up to `low` share a table, those from `high` on, and each between
 * has its own. If low and high are the same, all share one. */
typedef struct { uint32_t first, last, low, high, end; int64_t cost; } choice; /* end: of the tokens that occur */

static void add_counts(uint32_t *to, const uint32_t *counts, uint32_t end) {
    for (uint32_t k = 0; k < end; k++) to[k] += counts[k];
}

static choice find_exponents(const uint32_t *histogram) {
    choice found = {256, 0, 0, 0, 256, 0};
    uint32_t seen[256];
    zero((uint8_t *)seen, sizeof seen);
    for (uint32_t e = 0; e < 256; e++) {
        uint32_t any = 0;
        for (uint32_t k = 0; k < 256; k++) {
            any |= histogram[256 * e + k];
            seen[k] |= histogram[256 * e + k];
        }
        if (!any) continue;
        found.last = e;
        if (found.first == 256) found.first = e;
    }
    if (found.first == 256) found.first = 0;
    while (found.end > 1 && !seen[found.end - 1]) found.end--;
    return found;
}

/* Which exponents share a table, so that all cost least. */
static void choose_contexts(const uint32_t *histogram, choice *among) {
    int64_t low[256], high[256], alone[256], between[256], sum_alone = 0;
    uint32_t sum[256];
    zero((uint8_t *)sum, sizeof sum);
    for (uint32_t e = among->first; e <= among->last; e++) {
        add_counts(sum, histogram + 256 * e, among->end);
        low[e] = cost_until(sum, among->end);
        alone[e] = cost_until(histogram + 256 * e, among->end);
        between[e] = sum_alone += alone[e];
    }
    zero((uint8_t *)sum, sizeof sum);
    for (uint32_t e = among->last + 1; e-- > among->first;) {
        add_counts(sum, histogram + 256 * e, among->end);
        high[e] = cost_until(sum, among->end);
    }
    among->cost = INT64_MAX;
    for (uint32_t i = among->first; i < among->last; i++) {
        for (uint32_t j = i + 1; j <= among->last && j - i < CONTEXTS_MAX; j++) {
            int64_t cost = low[i] - between[i] + between[j] - alone[j] + high[j];
            if (cost < among->cost) { among->cost = cost; among->low = i; among->high = j; }
        }
    }
    if (high[among->first] <= among->cost) {
        among->cost = high[among->first];
        among->low = among->high = among->first;
    }
}

/* Merges counts as was chosen: those of contexts stand from `low` on. */
static void merge_counts(uint32_t *histogram, const choice *by) {
    for (uint32_t e = by->first; e < by->low; e++)
        add_counts(histogram + 256 * by->low, histogram + 256 * e, by->end);
    for (uint32_t e = by->high + 1; e <= by->last; e++)
        add_counts(histogram + 256 * by->high, histogram + 256 * e, by->end);
}

/* Counts of fine tokens become those of coarse ones; returns how many have 4 in their octave. */
static uint64_t coarsen(const uint32_t *fine, const choice *rows, uint32_t *coarse) {
    uint64_t large = 0;
    for (size_t e = rows->first; e <= rows->last; e++) {
        const uint32_t *from = fine + 256 * e;
        uint32_t *to = coarse + 256 * e;
        copy((uint8_t *)to, (const uint8_t *)from, 1024);
        zero((uint8_t *)(to + DIRECT), 4 * (LISTED - DIRECT));
        for (uint32_t k = DIRECT; k < LISTED; k++) {
            to[DIRECT + (k - DIRECT) / 4] += from[k];
            large += from[k];
        }
    }
    return large;
}

static int write_elements(output *out, arena memory, const uint8_t *target, const uint8_t *base, size_t size,
                          elements of) {
    const size_t count = size / (size_t)of.width;
    listing listed;
    if (list_frequent(&listed, memory, target, base, count, of.width)) return ROOM;
    size_t sign_room = count / 8 + 9, extra_room = of.width == 4 ? 4 * count + 16 : count / 8 * 29 + 38;
    uint8_t *token = room(&memory, count), *context = room(&memory, count);
    uint32_t *histogram = room(&memory, 4 * 65536);
    uint8_t *tail = room(&memory, sign_room + extra_room);
    if (!token || !context || !histogram || !tail) return ROOM;
    packer sign = {tail, 0, 0}, extra = {tail + sign_room, 0, 0};
    uint32_t drop = 0, steps = FINE;
    uint32_t seen = find_tokens(base, target, count, of, 0, &listed, token, histogram, &sign, &extra);
    if (seen && !(seen & 1)) { /* all differences are multiples of 2: values of a narrower type, widened */
        drop = (uint32_t)__builtin_ctz(seen);
        sign = (packer){tail, 0, 0};
        extra = (packer){tail + sign_room, 0, 0};
        find_tokens(base, target, count, of, drop, &listed, token, histogram, &sign, &extra);
    }
    choice chosen = find_exponents(histogram);
    choose_contexts(histogram, &chosen);
    if (of.width == 4) {
        arena free = memory;
        uint32_t *other = room(&free, 4 * 65536);
        choice coarse = chosen;
        if (!other) return ROOM;
        const uint64_t large = coarsen(histogram, &chosen, other);
        if (2 * large > count) {
            choose_contexts(other, &coarse);
            if (coarse.cost + (int64_t)(FINE * large << 16) < chosen.cost) {
                steps = COARSE;
                chosen = coarse;
                sign = (packer){tail, 0, 0};
                extra = (packer){tail + sign_room, 0, 0};
                find_coarse_tokens(base, target, count, of, drop, &listed, token, histogram, &sign, &extra);
            }
        }
    }
    merge_counts(histogram, &chosen);
    const uint32_t first = chosen.low, contexts = chosen.high - chosen.low + 1;
    size_t sign_bytes = (size_t)(sign.at - tail) + (sign.bits + 7) / 8;
    size_t extra_bytes = (size_t)(extra.at - tail) - sign_room + (extra.bits + 7) / 8;
    copy(tail + sign_bytes, tail + sign_room, extra_bytes);
    uint8_t *head = give(out, 7 + listed.count * (size_t)of.width);
    if (!head) return ROOM;
    const uint32_t fields[7] = {(uint32_t)of.width, of.shift, of.mask, first, contexts,
                                drop | (steps == COARSE ? COARSE_FLAG : 0), listed.count};
    for (int i = 0; i < 7; i++) head[i] = (uint8_t)fields[i];
    for (uint32_t i = 0; i < listed.count; i++) store(head + 7 + i * (size_t)of.width, of.width, listed.difference[i]);
    if (contexts > 1) find_contexts(base, count, of, first, contexts, context);
    return write_symbols(out, memory, token, contexts > 1 ? context : 0, count, histogram + 256 * first, contexts, tail,
                         sign_bytes + extra_bytes);
}

INLINE void inverse(const uint8_t *base, const uint8_t *token, size_t count, const int width, const uint32_t *start,
                    const uint8_t *bits_of, const uint8_t *sign, const uint8_t *extra, uint32_t drop, uint8_t *target) {
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
            uint32_t k = token[i], b = load(base + i * (size_t)width, width), bits = bits_of[k];
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

static int read_elements(input *in, arena memory, const uint8_t *base, size_t size, uint8_t *target) {
    const uint8_t *head = take(in, 7);
    if (!head) return SHORT;
    const elements of = {head[0], head[1], head[2]};
    const uint32_t first = head[3], contexts = head[4], drop = head[5] & ~COARSE_FLAG, listed_count = head[6];
    const uint32_t steps = head[5] & COARSE_FLAG ? COARSE : FINE;
    const uint8_t *bits_of = steps ? octave_bits : coarse_bits;
    if ((of.width != 1 && of.width != 2 && of.width != 4) || size % (size_t)of.width) return WIDTH;
    const uint32_t bits_each = 8 * (uint32_t)of.width;
    if (of.shift >= bits_each || drop >= bits_each || !contexts || contexts > CONTEXTS_MAX || listed_count > LISTED)
        return ELEMENTS;
    const uint8_t *list = take(in, listed_count * (size_t)of.width);
    if (!list) return SHORT;
    uint32_t start[256];
    for (uint32_t k = 0; k < LISTED; k++) {
        start[k] = (steps ? token_start : coarse_start)[k] << drop;
        start[LISTED + k] = k < listed_count ? load(list + k * (size_t)of.width, of.width) : 0;
    }
    const size_t count = size / (size_t)of.width;
    uint8_t *token = room(&memory, count), context[TILE];
    if (!token) return ROOM;
    decoder from;
    leftover bits = {0, 0};
    int failed = open_symbols(in, &memory, contexts, count, &from);
    for (size_t i = 0; i < count && !failed; i += TILE) {
        size_t some = count - i < TILE ? count - i : TILE;
        if (contexts > 1) find_contexts(base + i * (size_t)of.width, some, of, first, contexts, context);
        failed = contexts > 1 ? decode_some(&from, context, some, token + i) : decode_some(&from, 0, some, token + i);
        if (!failed) failed = add_leftover(token + i, some, listed_count, steps, &bits);
    }
    if (failed) return failed;
    const size_t sign_bytes = (size_t)((bits.signs + 7) / 8);
    const uint8_t *sign;
    failed = close_symbols(&from, in, &memory, sign_bytes + (size_t)((bits.extras + 7) / 8), &sign);
    if (failed) return failed;
    const uint8_t *extra = sign + sign_bytes;
    if (of.width == 1) inverse(base, token, count, 1, start, bits_of, sign, extra, drop, target);
    else if (of.width == 2) inverse(base, token, count, 2, start, bits_of, sign, extra, drop, target);
    else inverse(base, token, count, 4, start, bits_of, sign, extra, drop, target);
    return 0;
}

EXPORT int64_t delta_encode_elements(const uint8_t *target, const uint8_t *base, size_t size, int width, uint32_t shift,
                                     uint32_t mask, uint8_t *coded, size_t coded_room, uint8_t *memory,
                                     size_t memory_bytes) {
    if ((width != 1 && width != 2 && width != 4) || shift > 31 || mask > 255) return ROOM;
    output out = {coded, coded_room};
    const elements of = {width, shift, mask};
    int failed = write_elements(&out, (arena){memory, memory_bytes}, target, base, size, of);
    return failed ? failed : (int64_t)(coded_room - out.left);
}

EXPORT int64_t delta_decode_elements(const uint8_t *coded, size_t coded_bytes, const uint8_t *base, size_t size,
                                     uint8_t *target, uint8_t *memory, size_t memory_bytes) {
    input in = {coded, coded_bytes};
    int failed = read_elements(&in, (arena){memory, memory_bytes}, base, size, target);
    return failed ? failed : (int64_t)(coded_bytes - in.left);
}

/* ---- quantised blocks -------------------------------------------------------------------------------------------- */

/* Where a block's fields lie: see the table in the format. form 0: 32 bytes. 1: 32 quants, 16 bytes of low nibbles and
 * high nibbles, and where `five` is set 32 fifth bits. 2: 256 quants in four runs of 64, each 32 bytes of low and high
 * nibbles; fifth bits, where `five` is set, are bit 2 run and 2 run + 1 of 32 bytes. 3: 256 quants in two halves of
 * 128, each 64 bytes of low and high nibbles, and 32 bytes of two more bits. `offset` is what a stored quant is above
 * its value, `minimum` the sign of minima, `minima` whether groups have minima beside their scales, 6 bits each. */
typedef struct {
    uint32_t bytes, values, group;
    int32_t low, high;
    uint32_t halves, half_at[2], subs_at;
    int form, five;
    uint32_t low_at, high_at, offset;
    float minimum;
    int minima;
} layout;

static const layout layouts[9] = {
    [1] = {34, 32, 32, -128, 127, 1, {0, 0}, 0, 0, 0, 2, 0, 0, 1, 0},       /* q8_0 */
    [2] = {18, 32, 32, -8, 7, 1, {0, 0}, 0, 1, 0, 2, 0, 8, 1, 0},           /* q4_0 */
    [3] = {20, 32, 32, 0, 15, 2, {0, 2}, 0, 1, 0, 4, 0, 0, -1, 0},          /* q4_1 */
    [4] = {22, 32, 32, -16, 15, 1, {0, 0}, 0, 1, 1, 6, 2, 16, 1, 0},        /* q5_0 */
    [5] = {24, 32, 32, 0, 31, 2, {0, 2}, 0, 1, 1, 8, 4, 0, -1, 0},          /* q5_1 */
    [6] = {144, 256, 32, 0, 15, 2, {0, 2}, 4, 2, 0, 16, 0, 0, 1, 1},        /* q4_k */
    [7] = {176, 256, 32, 0, 31, 2, {0, 2}, 4, 2, 1, 48, 16, 0, 1, 1},       /* q5_k */
    [8] = {210, 256, 16, -32, 31, 1, {208, 0}, 192, 3, 0, 0, 128, 32, 1, 0} /* q6_k */
};
#define SUBS 16 /* scales and minima of groups in a block that has them */

INLINE void split_block(const int form, const int five, const uint8_t *low, const uint8_t *high, uint8_t offset,
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

INLINE void join_block(const int form, const int five, const uint8_t *in, uint8_t offset, uint8_t *low, uint8_t *high) {
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
                high[32 * half + j] =
                    (uint8_t)((a >> 4 & 3) | (b >> 4 & 3) << 2 | (c >> 4 & 3) << 4 | (d >> 4 & 3) << 6);
            }
    }
}

#define EACH_FORM(step)                 \
    switch (of->form * 2 + of->five) {  \
    case 0: step(0, 0) break;           \
    case 2: step(1, 0) break;           \
    case 3: step(1, 1) break;           \
    case 4: step(2, 0) break;           \
    case 5: step(2, 1) break;           \
    default: step(3, 0)                 \
    }

static void split_quants(const layout *of, const uint8_t *block, size_t blocks, uint8_t *value) {
#define SPLIT(form, five)                                                                                         \
    for (size_t i = 0; i < blocks; i++)                                                                           \
        split_block(form, five, block + i * of->bytes + of->low_at, block + i * of->bytes + of->high_at,          \
                    (uint8_t)of->offset, value + i * of->values);
    EACH_FORM(SPLIT)
}

static void join_quants(const layout *of, const uint8_t *value, size_t blocks, uint8_t *block) {
#define JOIN(form, five)                                                                                          \
    for (size_t i = 0; i < blocks; i++)                                                                           \
        join_block(form, five, value + i * of->values, (uint8_t)of->offset, block + i * of->bytes + of->low_at,   \
                   block + i * of->bytes + of->high_at);
    EACH_FORM(JOIN)
}

static void split_subs(const layout *of, const uint8_t *block, size_t blocks, uint8_t *value) {
    for (size_t i = 0; i < blocks; i++, value += SUBS) {
        const uint8_t *at = block + i * of->bytes + of->subs_at;
        if (!of->minima) { copy(value, at, SUBS); continue; }
        for (int j = 0; j < 4; j++) {
            value[2 * j] = at[j] & 63;
            value[2 * j + 1] = at[4 + j] & 63;
            value[8 + 2 * j] = (uint8_t)((at[8 + j] & 15) | at[j] >> 6 << 4);
            value[8 + 2 * j + 1] = (uint8_t)(at[8 + j] >> 4 | at[4 + j] >> 6 << 4);
        }
    }
}

static void join_subs(const layout *of, const uint8_t *value, size_t blocks, uint8_t *block) {
    for (size_t i = 0; i < blocks; i++, value += SUBS) {
        uint8_t *at = block + i * of->bytes + of->subs_at;
        if (!of->minima) { copy(at, value, SUBS); continue; }
        for (int j = 0; j < 4; j++) {
            uint8_t high_scale = value[8 + 2 * j] & 63, high_minimum = value[8 + 2 * j + 1] & 63;
            at[j] = (uint8_t)((value[2 * j] & 63) | high_scale >> 4 << 6);
            at[4 + j] = (uint8_t)((value[2 * j + 1] & 63) | high_minimum >> 4 << 6);
            at[8 + j] = (uint8_t)((high_scale & 15) | high_minimum << 4);
        }
    }
}

/* A binary16 number, exactly. */
static inline float half_of(const uint8_t *p) {
    uint32_t h = load(p, 2), exponent = h >> 10 & 31, fraction = h & 1023;
    union { uint32_t bits; float number; } it;
    if (exponent == 0) it.number = (float)fraction * 5.9604644775390625e-8f; /* 2^-24 */
    else it.bits = (exponent == 31 ? 255u : exponent + 112) << 23 | fraction << 13;
    it.bits |= (h & 0x8000u) << 16;
    return it.number;
}

static inline int finite(float number) {
    union { float number; uint32_t bits; } it = {number};
    return (it.bits & 0x7f800000u) != 0x7f800000u;
}

typedef struct { float scale, minimum, new_scale, new_minimum; } change; /* of a group, or of one kind of its values */

static inline uint8_t moves(const change *by) {
    return (by->scale != by->new_scale || by->minimum != by->new_minimum) && by->new_scale != 0 && finite(by->scale) &&
           finite(by->minimum) && finite(by->new_scale) && finite(by->new_minimum);
}

/* Groups of values that are foretold together: the quants, or the scales and minima of groups (`subs`), of which a
 * block has one group. Of two kinds, scales and minima, one beside the other, each has a change of its own. */
typedef struct {
    const layout *of;
    const uint8_t *old_block;
    size_t blocks, groups, rows;  /* rows: groups that moved */
    uint32_t group, kinds, tile;  /* tile: blocks worked on at a time */
    int32_t low, high;
    int subs;
    const change *by;             /* `kinds` for each group */
    const uint8_t *moved;         /* of each group: a bit for each kind */
} foretold;

/* What values become when scale and minimum change: round((v * scale - minimum + minimum') / scale') in binary32,
 * halves to even, between low and high. side: how far the quotient was from what it was rounded to, in 0 … 3, and
 * whether it was below it (bit 7). */
INLINE void expect_run(const int8_t *from, uint32_t count, change by, int32_t low, int32_t high, int8_t *to,
                       uint8_t *side) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it leaves no bits below the units */
    const float least = (float)low, most = (float)high;
    for (uint32_t i = 0; i < count; i++) {
        float product = (float)from[i] * by.scale;
        float difference = product - by.minimum;
        float raised = difference + by.new_minimum;
        float p = raised / by.new_scale;
        p = p > least ? p : least; /* not a number becomes the least */
        p = p < most ? p : most;
        float far = p + magic;
        float whole = far - magic;
        float rest = (p - whole) * 16.0f; /* exact */
        float size = rest < 0.0f ? -rest : rest;
        to[i] = (int8_t)(int32_t)whole;
        side[i] = (uint8_t)((size >= 4.0f) + (size >= 6.0f) + (size >= 7.0f) + (rest < 0.0f ? 128 : 0));
    }
}

/* Expectations of the groups that moved, from `group` on, one row after the other; returns the number of rows. */
INLINE size_t expect_tile(const foretold *all, const int8_t *before, size_t group, size_t groups, int8_t *value,
                          uint8_t *side) {
    size_t row = 0;
    for (size_t g = 0; g < groups; g++) {
        const uint8_t moved = all->moved[group + g];
        if (!moved) continue;
        const int8_t *from = before + g * all->group;
        int8_t *to = value + row * all->group;
        uint8_t *beside = side + row++ * all->group;
        if (all->kinds == 1) {
            const change by = all->by[group + g];
            if (all->group == 32) expect_run(from, 32, by, all->low, all->high, to, beside);
            else expect_run(from, 16, by, all->low, all->high, to, beside);
            continue;
        }
        for (uint32_t kind = 0; kind < 2; kind++) {
            int8_t old[SUBS / 2], new[SUBS / 2];
            uint8_t far[SUBS / 2] = {0};
            for (int i = 0; i < SUBS / 2; i++) new[i] = old[i] = from[2 * i + (int)kind];
            if (moved >> kind & 1)
                expect_run(old, SUBS / 2, all->by[2 * (group + g) + kind], all->low, all->high, new, far);
            for (int i = 0; i < SUBS / 2; i++) {
                to[2 * i + (int)kind] = new[i];
                beside[2 * i + (int)kind] = far[i];
            }
        }
    }
    return row;
}

typedef size_t expecting(const foretold *all, const int8_t *before, size_t group, size_t groups, int8_t *value,
                         uint8_t *side);

static size_t expect_any(const foretold *all, const int8_t *before, size_t group, size_t groups, int8_t *value,
                         uint8_t *side) {
    return expect_tile(all, before, group, groups, value, side);
}

#if defined(__x86_64__)
/* The same operations on eight numbers at once, where the processor and the system allow it. */
static __attribute__((target("avx2"))) size_t expect_wide(const foretold *all, const int8_t *before, size_t group,
                                                          size_t groups, int8_t *value, uint8_t *side) {
    return expect_tile(all, before, group, groups, value, side);
}
#endif

/* Whether eight numbers at once can be had. To be asked once: a virtual machine takes long to answer. */
EXPORT int64_t delta_wide(void) {
#if defined(__x86_64__)
    uint32_t a, b, c, d;
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(1), "c"(0));
    if ((c & (3u << 27)) != 3u << 27) return 0; /* AVX, and XGETBV to ask about it */
    __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    if ((a & 6) != 6) return 0; /* the system does not save the registers */
    __asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(7), "c"(0));
    return b >> 5 & 1;
#else
    return 0;
#endif
}

/* One tile at a time: its values before, what is expected of those that moved, and their contexts. */
typedef struct {
    size_t block, blocks, group, groups, rows;
    int8_t before[TILE], value[TILE];
    uint8_t side[TILE], context[TILE / 2];
} tile;

static void foretell(const foretold *all, int wide, size_t block, tile *now) {
    const size_t left = all->blocks - block, per_block = all->subs ? 1 : all->of->values / all->of->group;
    now->block = block;
    now->blocks = left < all->tile ? left : all->tile;
    now->group = block * per_block;
    now->groups = now->blocks * per_block;
    const uint8_t *from = all->old_block + block * all->of->bytes;
    if (all->subs) split_subs(all->of, from, now->blocks, (uint8_t *)now->before);
    else split_quants(all->of, from, now->blocks, (uint8_t *)now->before);
#if defined(__x86_64__)
    expecting *expect = wide ? expect_wide : expect_any;
#else
    expecting *expect = expect_any;
    (void)wide;
#endif
    now->rows = expect(all, now->before, now->group, now->groups, now->value, now->side);
    for (size_t i = 0; i < now->rows * all->group / 2; i++)
        now->context[i] = (uint8_t)((now->side[2 * i] & 3) << 2 | (now->side[2 * i + 1] & 3));
}

/* Fills `all` for the quants or the scales of groups; 0, or ROOM. */
static int prepare(foretold *all, arena *memory, const layout *of, const uint8_t *old, const uint8_t *new,
                   size_t blocks, int subs) {
    const size_t per_block = subs ? 1 : of->values / of->group;
    *all = (foretold){of, old, blocks, blocks * per_block, 0, subs ? SUBS : of->group, subs && of->minima ? 2 : 1,
                      (uint32_t)(TILE / (subs ? SUBS : of->values)), of->low, of->high, subs, 0, 0};
    if (subs) { all->low = of->minima ? 0 : -128; all->high = of->minima ? 63 : 127; }
    change *by = room(memory, sizeof(change) * all->groups * all->kinds);
    uint8_t *moved = room(memory, all->groups);
    if (!by || !moved) return ROOM;
    all->by = by;
    all->moved = moved;
    for (size_t b = 0; b < blocks; b++) {
        const uint8_t *was = old + b * of->bytes, *is = new + b * of->bytes;
        change half[2] = {{0, 0, 0, 0}, {0, 0, 0, 0}}; /* as scales, the second for minima */
        for (uint32_t field = 0; field < of->halves; field++) {
            half[field].scale = half_of(was + of->half_at[field]);
            half[field].new_scale = half_of(is + of->half_at[field]);
        }
        if (subs) {
            moved[b] = 0;
            for (uint32_t kind = 0; kind < all->kinds; kind++) {
                *by = half[kind];
                moved[b] |= (uint8_t)(moves(by++) << kind);
            }
            all->rows += moved[b] != 0;
            continue;
        }
        uint8_t before[SUBS], after[SUBS];
        const uint32_t step = of->minima ? 2 : 1;
        if (of->subs_at) {
            split_subs(of, was, 1, before);
            split_subs(of, is, 1, after);
        }
        for (uint32_t g = 0; g < per_block; g++, by++, moved++) {
            *by = (change){half[0].scale, half[1].scale, half[0].new_scale, half[1].new_scale};
            if (of->subs_at) {
                by->scale *= (float)(int8_t)before[step * g];
                by->new_scale *= (float)(int8_t)after[step * g];
                by->minimum = of->minima ? by->minimum * (float)(int8_t)before[step * g + 1] : 0;
                by->new_minimum = of->minima ? by->new_minimum * (float)(int8_t)after[step * g + 1] : 0;
            }
            by->minimum *= of->minimum;
            by->new_minimum *= of->minimum;
            *moved = moves(by);
            all->rows += *moved;
        }
    }
    return 0;
}

INLINE uint32_t fold(uint8_t residual) { return (uint8_t)(residual << 1 ^ (uint8_t)(0 - (residual >> 7))); }

static inline uint8_t unfold(uint32_t folded) { return (uint8_t)((folded >> 1) ^ (0u - (folded & 1))); }

/* Residuals as symbols: of four values where the group stayed, two bits each; of two where it moved, four bits each. A
 * residual, folded to 0, -1, 1, -2, … = 0, 1, 2, 3, …, that is too large fills its place and follows as an escape. */
typedef struct { uint8_t *symbol, *escape; size_t symbols, escapes; } residuals;

INLINE void add_residuals(residuals *to, const uint8_t *folded, const int many, size_t count) {
    const uint8_t full = many == 4 ? 3 : 15;
    uint8_t digit[32], *out = to->symbol + to->symbols, most = 0;
    for (size_t i = 0; i < count; i++) {
        digit[i] = folded[i] < full ? folded[i] : full;
        most = folded[i] > most ? folded[i] : most;
    }
    for (size_t i = 0; i < count / (size_t)many; i++) {
        uint32_t digits = load(digit + i * (size_t)many, many);
        out[i] = (uint8_t)(many == 4 ? digits | digits >> 6 | digits >> 12 | digits >> 18 : digits | digits >> 4);
    }
    to->symbols += count / (size_t)many;
    for (size_t i = 0; i < count && most >= full; i++)
        if (folded[i] >= full) to->escape[to->escapes++] = folded[i];
}

INLINE void code_groups(const foretold *all, const tile *now, const uint8_t *after, const uint32_t group,
                        residuals *still, residuals *moved) {
    uint8_t folded[32];
    size_t row = 0;
    for (size_t g = 0; g < now->groups; g++) {
        const uint8_t *is = after + g * group;
        if (!all->moved[now->group + g]) {
            const uint8_t *was = (const uint8_t *)now->before + g * group;
            for (uint32_t i = 0; i < group; i++) folded[i] = (uint8_t)fold((uint8_t)(is[i] - was[i]));
            add_residuals(still, folded, 4, group);
            continue;
        }
        const uint8_t *guess = (const uint8_t *)now->value + row * group, *beside = now->side + row++ * group;
        for (uint32_t i = 0; i < group; i++) {
            uint8_t flip = (uint8_t)(0 - (beside[i] >> 7));
            folded[i] = (uint8_t)fold((uint8_t)(((uint8_t)(is[i] - guess[i]) ^ flip) - flip));
        }
        add_residuals(moved, folded, 2, group);
    }
}

static void code_tile(const foretold *all, const tile *now, const uint8_t *after, residuals *still, residuals *moved) {
    if (all->group == 32) code_groups(all, now, after, 32, still, moved);
    else code_groups(all, now, after, 16, still, moved);
}

/* Eight sums, or eight negations where a byte of `flip` is all ones, at once. */
INLINE uint64_t add_bytes(uint64_t a, uint64_t b) {
    const uint64_t high = 0x8080808080808080u;
    return ((a & ~high) + (b & ~high)) ^ ((a ^ b) & high);
}

INLINE uint64_t negate_bytes(uint64_t a, uint64_t flip) { return add_bytes(a ^ flip, flip & 0x0101010101010101u); }

typedef struct {
    uint32_t quads[256];  /* four unfolded residuals of a still symbol */
    uint16_t pairs[256];  /* two of a moved one */
    uint8_t full[256];    /* bit 0: a still symbol with an escape, bit 1: a moved one */
} unfolded;

static void unfold_all(unfolded *to) {
    for (uint32_t k = 0; k < 256; k++) {
        to->quads[k] = 0;
        to->full[k] = (k & 15) == 15 || k >> 4 == 15 ? 2 : 0;
        for (uint32_t j = 0; j < 4; j++) {
            to->quads[k] |= (uint32_t)unfold(k >> (2 * j) & 3) << (8 * j);
            if ((k >> (2 * j) & 3) == 3) to->full[k] |= 1;
        }
        to->pairs[k] = (uint16_t)(unfold(k & 15) | unfold(k >> 4) << 8);
    }
}

/* Eight residuals of `many` (4 or 2) in a symbol, with escapes in their places: as many as were counted. */
static uint64_t with_escapes(const uint8_t *symbol, int many, const uint8_t **escape) {
    const int bits = 8 / many;
    const uint32_t full = (1u << bits) - 1;
    uint8_t out[8];
    for (int i = 0; i < 8; i++) {
        uint32_t folded = symbol[i / many] >> (bits * (i % many)) & full;
        out[i] = unfold(folded == full ? *(*escape)++ : folded);
    }
    return load64(out);
}

static void restore_tile(const foretold *all, const tile *now, const unfolded *by, residuals *still, residuals *moved,
                         uint8_t *after) {
    const uint32_t group = all->group;
    const uint8_t *quad = still->symbol, *still_escape = still->escape;
    const uint8_t *pair = moved->symbol, *moved_escape = moved->escape;
    size_t row = 0;
    for (size_t g = 0; g < now->groups; g++) {
        uint8_t *to = after + g * group;
        if (!all->moved[now->group + g]) {
            const uint8_t *was = (const uint8_t *)now->before + g * group;
            for (uint32_t i = 0; i < group; i += 8, quad += 2) {
                uint64_t found = by->quads[quad[0]] | (uint64_t)by->quads[quad[1]] << 32;
                if ((by->full[quad[0]] | by->full[quad[1]]) & 1) found = with_escapes(quad, 4, &still_escape);
                found = add_bytes(found, load64(was + i));
                __builtin_memcpy(to + i, &found, 8);
            }
            continue;
        }
        const uint8_t *guess = (const uint8_t *)now->value + row * group, *beside = now->side + row++ * group;
        for (uint32_t i = 0; i < group; i += 8, pair += 4) {
            uint64_t found = by->pairs[pair[0]] | (uint64_t)by->pairs[pair[1]] << 16 |
                             (uint64_t)by->pairs[pair[2]] << 32 | (uint64_t)by->pairs[pair[3]] << 48;
            if ((by->full[pair[0]] | by->full[pair[1]] | by->full[pair[2]] | by->full[pair[3]]) & 2)
                found = with_escapes(pair, 2, &moved_escape);
            uint64_t flip = (load64(beside + i) >> 7 & 0x0101010101010101u) * 255;
            found = add_bytes(negate_bytes(found, flip), load64(guess + i));
            __builtin_memcpy(to + i, &found, 8);
        }
    }
    still->symbol = (uint8_t *)quad;
    moved->symbol = (uint8_t *)pair;
    still->escape = (uint8_t *)still_escape;
    moved->escape = (uint8_t *)moved_escape;
}

/* How residual symbols are coded: see the format. */
enum { DENSE = 0, SPARSE = 1, MERGED = 2, SINGLE = 3 };

INLINE void merge_contexts(uint8_t *context, size_t count) { /* the greater of the two distances */
    for (size_t i = 0; i < count; i++) {
        uint8_t first = context[i] >> 2, second = context[i] & 3;
        context[i] = first > second ? first : second;
    }
}

/* Codes symbols in 1 or 16 contexts (0: in one), the way that is smallest, or where it is about as small, by the gaps
 * between those that are not 0. Their contexts may be changed. */
static int write_residuals(output *out, arena memory, const residuals *of, uint8_t *context) {
    const uint32_t contexts = context ? 16 : 1;
    uint32_t counts[16 * 256], merged[4 * 256], single[256];
    const uint32_t *best = counts;
    size_t zeros = 0;
    int form = DENSE;
    if (context) count_in(of->symbol, context, of->symbols, 16, counts);
    else count_symbols(of->symbol, of->symbols, counts);
    int64_t cost = with_lanes(costs_of(counts, contexts), of->symbols, of->escapes);
    if (context) { /* a short stream does not repay many tables */
        zero((uint8_t *)merged, sizeof merged);
        zero((uint8_t *)single, sizeof single);
        for (uint32_t c = 0; c < 16; c++) {
            uint32_t greater = c >> 2 > (c & 3) ? c >> 2 : c & 3;
            for (uint32_t s = 0; s < 256; s++) {
                merged[greater << 8 | s] += counts[c << 8 | s];
                single[s] += counts[c << 8 | s];
            }
        }
        int64_t other = with_lanes(costs_of(merged, 4), of->symbols, of->escapes);
        if (other < cost) { form = MERGED; cost = other; best = merged; }
        other = with_lanes(cost_of(single), of->symbols, of->escapes);
        if (other < cost) { form = SINGLE; cost = other; best = single; }
    }
    for (uint32_t c = 0; c < contexts; c++) zeros += counts[c << 8];
    if (zeros * 16 > of->symbols * 15) {
        size_t count = of->symbols - zeros, n = 0;
        arena free = memory;
        uint32_t *position = room(&free, 4 * count), value_counts[256];
        uint8_t *value = room(&free, count);
        int64_t gaps_cost;
        if (!position || !value) return ROOM;
        for (size_t i = 0; i < of->symbols; i++) {
            if (of->symbols - i >= 8 && load64(of->symbol + i) == 0) { i += 7; continue; }
            if (!of->symbol[i]) continue;
            position[n] = (uint32_t)i;
            value[n++] = of->symbol[i];
        }
        count_symbols(value, count, value_counts);
        if (write_gaps(out, free, position, count, &gaps_cost)) return ROOM;
        gaps_cost += with_lanes(cost_of(value_counts), count, of->escapes);
        if (gaps_cost <= cost + ((int64_t)(64 + of->symbols / 512) << 16)) {
            uint8_t *head = give(out, 1);
            if (!head) return ROOM;
            *head = SPARSE;
            if (write_number(out, count) || write_gaps(out, free, position, count, 0)) return ROOM;
            return write_symbols(out, free, value, 0, count, value_counts, 1, of->escape, of->escapes);
        }
    }
    uint8_t *head = give(out, 1);
    if (!head) return ROOM;
    *head = (uint8_t)form;
    if (form == MERGED) merge_contexts(context, of->symbols);
    return write_symbols(out, memory, of->symbol, form == SINGLE ? 0 : context, of->symbols, best,
                         form == DENSE ? contexts : form == MERGED ? 4 : 1, of->escape, of->escapes);
}

static size_t count_escapes(const uint8_t *symbol, size_t count, int moved) {
    size_t sum = 0;
    for (size_t start = 0; start < count; start += TILE) {
        const size_t end = count - start < TILE ? count : start + TILE;
        uint32_t some = 0; /* small enough to be vectorised */
        if (moved) for (size_t i = start; i < end; i++) some += ((symbol[i] & 15) == 15) + (symbol[i] >> 4 == 15);
        else for (size_t i = start; i < end; i++)
            some += ((symbol[i] & 3) == 3) + ((symbol[i] & 12) == 12) + ((symbol[i] & 48) == 48) +
                    (symbol[i] >> 6 == 3);
        sum += some;
    }
    return sum;
}

/* Residual symbols that are being read. Where their contexts are needed, `from` goes on; otherwise all is there. */
typedef struct { int form; decoder from; residuals of; } reading;

/* Opens `count` residual symbols, in 1 or 16 contexts, and reads them if that takes no contexts. */
static int open_residuals(input *in, arena *memory, size_t count, uint32_t contexts, reading *to) {
    const uint8_t *form = take(in, 1);
    uint8_t *symbol = room(memory, count + 8);
    if (!form) return SHORT;
    if (!symbol) return ROOM;
    to->form = *form;
    to->of = (residuals){symbol, 0, count, 0};
    if (*form > SINGLE || (contexts == 1 && *form > SPARSE)) return FORM;
    if (*form != SPARSE) {
        const uint32_t tables = *form == SINGLE ? 1 : *form == MERGED ? 4 : contexts;
        int failed = open_symbols(in, memory, tables, count, &to->from);
        return failed || tables > 1 ? failed : decode_some(&to->from, 0, count, symbol);
    }
    int64_t some = read_number(in);
    if (some < 0) return (int)some;
    if ((uint64_t)some > count) return GAPS;
    gaps places;
    uint8_t *value = room(memory, (size_t)some);
    if (!value) return ROOM;
    int failed = open_gaps(in, memory, (size_t)some, &places);
    if (!failed) failed = open_symbols(in, memory, 1, (size_t)some, &to->from);
    if (!failed) failed = decode_some(&to->from, 0, (size_t)some, value);
    zero(symbol, count);
    for (int64_t i = 0; i < some && !failed; i++) {
        uint64_t at = next_position(&places);
        if (at < count) symbol[at] = value[i];
        else failed = GAPS;
    }
    return failed;
}

static int close_residuals(input *in, arena *memory, int moved, reading *of) {
    const uint8_t *tail;
    of->of.escapes = count_escapes(of->of.symbol, of->of.symbols, moved);
    int failed = close_symbols(&of->from, in, memory, of->of.escapes, &tail);
    of->of.escape = (uint8_t *)tail;
    return failed;
}

static int write_values(output *out, arena memory, const layout *of, const uint8_t *old, const uint8_t *new,
                        size_t blocks, int subs, int wide) {
    foretold all;
    int failed = prepare(&all, &memory, of, old, new, blocks, subs);
    if (failed) return failed;
    const size_t moving = all.rows * all.group, staying = all.groups * all.group - moving;
    residuals still = {room(&memory, staying / 4), room(&memory, staying), 0, 0};
    residuals moved = {room(&memory, moving / 2), room(&memory, moving), 0, 0};
    uint8_t *context = room(&memory, moving / 2), after[TILE];
    if (!still.symbol || !still.escape || !moved.symbol || !moved.escape || !context) return ROOM;
    tile now;
    for (size_t block = 0; block < blocks; block += all.tile) {
        foretell(&all, wide, block, &now);
        if (subs) split_subs(of, new + block * of->bytes, now.blocks, after);
        else split_quants(of, new + block * of->bytes, now.blocks, after);
        copy(context + moved.symbols, now.context, now.rows * all.group / 2);
        code_tile(&all, &now, after, &still, &moved);
    }
    failed = write_residuals(out, memory, &still, 0);
    return failed ? failed : write_residuals(out, memory, &moved, context);
}

/* Where a tile's symbols and escapes begin, if it waits for escapes of moved groups. */
typedef struct { size_t block; uint8_t *still_symbol, *still_escape, *moved_symbol; } waiting;

static int read_values(input *in, arena memory, const layout *of, const uint8_t *old, uint8_t *new, size_t blocks,
                       int subs, int wide) {
    foretold all;
    unfolded by;
    reading still, moved;
    int failed = prepare(&all, &memory, of, old, new, blocks, subs);
    if (failed) return failed;
    unfold_all(&by);
    const size_t moving = all.rows * all.group, staying = all.groups * all.group - moving;
    waiting *wait = room(&memory, sizeof(waiting) * (blocks / all.tile + 1)), *waits = wait;
    if (!wait) return ROOM;
    failed = open_residuals(in, &memory, staying / 4, 1, &still);
    if (!failed) failed = close_residuals(in, &memory, 0, &still);
    if (!failed) failed = open_residuals(in, &memory, moving / 2, 16, &moved);
    if (failed) return failed;
    const int there = moved.form == SPARSE || moved.form == SINGLE;
    if (there) failed = close_residuals(in, &memory, 1, &moved);
    tile now;
    uint8_t after[TILE];
    residuals stays = still.of, moves_on = moved.of;
    for (size_t block = 0; block < blocks && !failed; block += all.tile) {
        foretell(&all, wide, block, &now);
        const size_t some = now.rows * all.group / 2;
        size_t escapes = 0;
        if (!there) {
            if (moved.form == MERGED) merge_contexts(now.context, some);
            failed = decode_some(&moved.from, now.context, some, moves_on.symbol);
            escapes = count_escapes(moves_on.symbol, some, 1);
        }
        if (failed) break;
        if (escapes) { /* they come behind all symbols */
            const size_t quads = (now.groups - now.rows) * all.group / 4;
            *waits++ = (waiting){block, stays.symbol, stays.escape, moves_on.symbol};
            stays.escape += count_escapes(stays.symbol, quads, 0);
            stays.symbol += quads;
            moves_on.symbol += some;
            continue;
        }
        restore_tile(&all, &now, &by, &stays, &moves_on, after);
        if (subs) join_subs(of, after, now.blocks, new + block * of->bytes);
        else join_quants(of, after, now.blocks, new + block * of->bytes);
    }
    if (!failed && !there) failed = close_residuals(in, &memory, 1, &moved);
    if (failed) return failed;
    moves_on = moved.of;
    for (; wait < waits; wait++) {
        foretell(&all, wide, wait->block, &now);
        stays.symbol = wait->still_symbol;
        stays.escape = wait->still_escape;
        moves_on.symbol = wait->moved_symbol;
        restore_tile(&all, &now, &by, &stays, &moves_on, after);
        if (subs) join_subs(of, after, now.blocks, new + wait->block * of->bytes);
        else join_quants(of, after, now.blocks, new + wait->block * of->bytes);
    }
    return 0;
}

static void gather_halves(const layout *of, const uint8_t *block, size_t blocks, uint32_t field, uint8_t *half) {
    for (size_t i = 0; i < blocks; i++) store(half + 2 * i, 2, load(block + i * of->bytes + of->half_at[field], 2));
}

static const elements half_elements = {2, 10, 31};

/* number: of the layout, 1 … 8. wide: what delta_wide said. */
EXPORT int64_t delta_encode_blocks(const uint8_t *target, const uint8_t *base, size_t blocks, uint32_t number, int wide,
                                   uint8_t *coded, size_t coded_room, uint8_t *memory, size_t memory_bytes) {
    if (number < 1 || number > 8) return ROOM;
    const layout *of = layouts + number;
    output out = {coded, coded_room};
    arena free = {memory, memory_bytes};
    uint8_t *was = room(&free, 2 * blocks), *is = room(&free, 2 * blocks);
    if (!was || !is) return ROOM;
    int failed = 0;
    for (uint32_t field = 0; field < of->halves && !failed; field++) {
        gather_halves(of, base, blocks, field, was);
        gather_halves(of, target, blocks, field, is);
        failed = write_elements(&out, free, is, was, 2 * blocks, half_elements);
    }
    if (!failed && of->subs_at) failed = write_values(&out, free, of, base, target, blocks, 1, wide);
    if (!failed) failed = write_values(&out, free, of, base, target, blocks, 0, wide);
    return failed ? failed : (int64_t)(coded_room - out.left);
}

EXPORT int64_t delta_decode_blocks(const uint8_t *coded, size_t coded_bytes, const uint8_t *base, size_t blocks,
                                   uint32_t number, int wide, uint8_t *target, uint8_t *memory, size_t memory_bytes) {
    if (number < 1 || number > 8) return ROOM;
    const layout *of = layouts + number;
    input in = {coded, coded_bytes};
    arena free = {memory, memory_bytes};
    uint8_t *was = room(&free, 2 * blocks), *is = room(&free, 2 * blocks);
    if (!was || !is) return ROOM;
    int failed = 0;
    for (uint32_t field = 0; field < of->halves && !failed; field++) {
        gather_halves(of, base, blocks, field, was);
        failed = read_elements(&in, free, was, 2 * blocks, is);
        if (failed) break;
        for (size_t i = 0; i < blocks; i++) store(target + i * of->bytes + of->half_at[field], 2, load(is + 2 * i, 2));
    }
    if (!failed && of->subs_at) failed = read_values(&in, free, of, base, target, blocks, 1, wide);
    if (!failed) failed = read_values(&in, free, of, base, target, blocks, 0, wide);
    return failed ? failed : (int64_t)(coded_bytes - in.left);
}
