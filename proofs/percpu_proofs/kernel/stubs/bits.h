// Bitmaps with the kernel's interface, a word at a time. Our own text.
#ifndef PERCPU_BITS_H
#define PERCPU_BITS_H

#include "types.h"

#define BITS_TO_LONGS(n) DIV_ROUND_UP(n, BITS_PER_LONG)
#define BIT_WORD(n) ((n) / BITS_PER_LONG)
#define BIT_MASK(n) (1UL << ((n) % BITS_PER_LONG))
#define BIT(n) (1UL << (n))
#define GENMASK(high, low) ((~0UL << (low)) & (~0UL >> (BITS_PER_LONG - 1 - (high))))
#define DECLARE_BITMAP(name, bits) unsigned long name[BITS_TO_LONGS(bits)]

static inline bool test_bit(unsigned long n, const unsigned long *map)
{
    return map[BIT_WORD(n)] >> n % BITS_PER_LONG & 1;
}

static inline void set_bit(unsigned long n, unsigned long *map) { map[BIT_WORD(n)] |= BIT_MASK(n); }
static inline void clear_bit(unsigned long n, unsigned long *map)
{
    map[BIT_WORD(n)] &= ~BIT_MASK(n);
}
#define __set_bit set_bit
#define __clear_bit clear_bit

static inline bool test_and_set_bit(unsigned long n, unsigned long *map)
{
    bool was = test_bit(n, map);

    set_bit(n, map);
    return was;
}

static inline bool test_and_clear_bit(unsigned long n, unsigned long *map)
{
    bool was = test_bit(n, map);

    clear_bit(n, map);
    return was;
}
#define __test_and_set_bit test_and_set_bit
#define __test_and_clear_bit test_and_clear_bit
#define assign_bit(n, map, value) ((value) ? set_bit(n, map) : clear_bit(n, map))

static inline unsigned long percpu_next(const unsigned long *map, unsigned long size,
                                        unsigned long n, unsigned long flip)
{
    unsigned long word;

    percpu_tick();
    if (n >= size)
        return size;
    word = (map[BIT_WORD(n)] ^ flip) & ~0UL << n % BITS_PER_LONG;
    n -= n % BITS_PER_LONG;
    while (!word) {
        n += BITS_PER_LONG;
        if (n >= size)
            return size;
        word = map[BIT_WORD(n)] ^ flip;
    }
    return min(n + __ffs(word), size);
}

static inline unsigned long find_next_bit(const unsigned long *map, unsigned long size,
                                          unsigned long from)
{
    return percpu_next(map, size, from, 0);
}

static inline unsigned long find_next_zero_bit(const unsigned long *map, unsigned long size,
                                               unsigned long from)
{
    return percpu_next(map, size, from, ~0UL);
}

#define find_first_bit(map, size) find_next_bit(map, size, 0)
#define find_first_zero_bit(map, size) find_next_zero_bit(map, size, 0)

static inline unsigned long find_last_bit(const unsigned long *map, unsigned long size)
{
    unsigned long n = BITS_TO_LONGS(size), word, left = size % BITS_PER_LONG;

    percpu_tick();
    while (n--) {
        word = map[n];
        if (left)
            word &= BIT_MASK(left) - 1;
        left = 0;
        if (word)
            return n * BITS_PER_LONG + __fls(word);
    }
    return size;
}

static inline void percpu_range(unsigned long *map, unsigned long from, unsigned long nr, bool set)
{
    unsigned long end = from + nr, mask;

    percpu_tick();
    while (from < end) {
        mask = ~0UL << from % BITS_PER_LONG;
        if (BIT_WORD(from) == BIT_WORD(end - 1))
            mask &= ~0UL >> (BITS_PER_LONG - 1 - (end - 1) % BITS_PER_LONG);
        if (set)
            map[BIT_WORD(from)] |= mask;
        else
            map[BIT_WORD(from)] &= ~mask;
        from = (BIT_WORD(from) + 1) * BITS_PER_LONG;
    }
}

// a negative count is the kernel's: nothing happens there either
#define bitmap_set(map, from, nr) percpu_range(map, from, (int)(nr) > 0 ? (nr) : 0, true)
#define bitmap_clear(map, from, nr) percpu_range(map, from, (int)(nr) > 0 ? (nr) : 0, false)
#define bitmap_fill(map, nr) percpu_range(map, 0, nr, true)
#define bitmap_zero(map, nr) percpu_range(map, 0, nr, false)
#define bitmap_empty(map, nr) (find_first_bit(map, nr) >= (nr))
#define bitmap_full(map, nr) (find_first_zero_bit(map, nr) >= (nr))

static inline unsigned int bitmap_weight(const unsigned long *map, unsigned long size)
{
    unsigned int weight = 0;

    for (unsigned long n = find_first_bit(map, size); n < size; n = find_next_bit(map, size, n + 1))
        weight++;
    return weight;
}

#define for_each_set_bit(bit, map, size) \
    for ((bit) = find_first_bit(map, size); (bit) < (size); \
         (bit) = find_next_bit(map, size, (bit) + 1))
#define for_each_set_bitrange(start, end, map, size) \
    for ((start) = 0; percpu_next_range(map, size, &(start), &(end), 0); (start) = (end) + 1)
#define for_each_clear_bitrange(start, end, map, size) \
    for ((start) = 0; percpu_next_range(map, size, &(start), &(end), ~0UL); (start) = (end) + 1)
#define for_each_set_bitrange_from(start, end, map, size) \
    for (; percpu_next_range(map, size, &(start), &(end), 0); (start) = (end) + 1)
#define for_each_clear_bitrange_from(start, end, map, size) \
    for (; percpu_next_range(map, size, &(start), &(end), ~0UL); (start) = (end) + 1)

// the iterators of 5.14 to 5.16, and what they step with
#define bitmap_for_each_set_region(map, from, to, start, size) \
    for ((from) = (start); percpu_next_range(map, size, &(from), &(to), 0); (from) = (to) + 1)
#define bitmap_for_each_clear_region(map, from, to, start, size) \
    for ((from) = (start); percpu_next_range(map, size, &(from), &(to), ~0UL); (from) = (to) + 1)

// Finds the range [*start, *end) of bits unlike flip from *start on; false if there is none.
static inline bool percpu_next_range(const unsigned long *map, unsigned long size,
                                     unsigned int *start, unsigned int *end, unsigned long flip)
{
    *start = percpu_next(map, size, *start, flip);
    *end = percpu_next(map, size, *start + 1ul, ~flip);
    return *start < size;
}

static inline void bitmap_next_set_region(const unsigned long *map, unsigned int *start,
                                          unsigned int *end, unsigned int size)
{
    percpu_next_range(map, size, start, end, 0);
}

static inline void bitmap_next_clear_region(const unsigned long *map, unsigned int *start,
                                            unsigned int *end, unsigned int size)
{
    percpu_next_range(map, size, start, end, ~0UL);
}

#endif
