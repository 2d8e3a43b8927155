// The allocator's state as flat records. Part of library.c. Our own text.

#include "hints.h"

enum { HEADER = 11, PLACE = 3, MOST_EXAMINED = 4096 };

int percpu_globals[8];
struct percpu_record **percpu_records;
long *percpu_places;
static int most_records;

// The record of a chunk, and the maps as they were when it was read last.
struct reading {
    struct percpu_record record;
    unsigned long *shadow;
};

static void forget_reading(struct live *one)
{
    if (!one->reading)
        return;
    free(one->reading->record.words);
    free(one->reading->record.maps);
    free(one->reading->shadow);
    free(one->reading);
}

static void forget_readings(void)
{
    free(percpu_records);
    free(percpu_places);
}

int percpu_examined[MOST_EXAMINED], percpu_nr_examined;

// Of no use to a tree that does not tell.
static void __attribute__((unused)) percpu_examine(const struct pcpu_chunk *chunk)
{
    const int n = live_of(chunk);

    if (n >= 0 && percpu_nr_examined < MOST_EXAMINED)
        percpu_examined[percpu_nr_examined++] = live[n].id;
}

static void read_map(unsigned char *bytes, const unsigned long *map, unsigned long *shadow,
                     long nr_bits, bool *changed)
{
    for (long from = 0; from < nr_bits; from += BITS_PER_LONG) {
        unsigned long word = map[from / BITS_PER_LONG];
        long end = min(nr_bits - from, (long)BITS_PER_LONG);

        if (word == shadow[from / BITS_PER_LONG])
            continue;
        *changed = true;
        shadow[from / BITS_PER_LONG] = word;
        for (long bit = 0; bit < end; bit++)
            bytes[from + bit] = word >> bit & 1;
    }
}

static bool charged_at(const struct pcpu_chunk *chunk, long bit)
{
#ifdef PERCPU_OBJ_EXTS
    return chunk->obj_exts[bit].cgroup != NULL;
#else
    return chunk->obj_cgroups[bit] != NULL;
#endif
}

static bool has_vector(const struct pcpu_chunk *chunk)
{
#ifdef PERCPU_OBJ_EXTS
    return chunk->obj_exts != NULL;
#else
    return chunk->obj_cgroups != NULL;
#endif
}

static void *cleared(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (!memory)
        abort();
    return memory;
}

static void make_reading(struct live *one)
{
    struct pcpu_chunk *chunk = one->chunk;
    struct percpu_record *record;
    long bits = pcpu_chunk_map_bits(chunk), words;

    one->reading = cleared(1, sizeof(*one->reading));
    record = &one->reading->record;
    record->id = one->id;
    record->nr_words = HEADER + HINTS * (1 + pcpu_chunk_nr_blocks(chunk));
    record->nr_maps = chunk->nr_pages + bits + bits + 1 + (has_vector(chunk) ? bits : 0);
    words = BITS_TO_LONGS((long)chunk->nr_pages) + BITS_TO_LONGS(bits) + BITS_TO_LONGS(bits + 1);
    record->words = cleared((size_t)record->nr_words, sizeof(int));
    record->maps = cleared(1, (size_t)record->nr_maps);
    one->reading->shadow = cleared((size_t)words, sizeof(long));
}

static void read_chunk(struct live *one, int slot)
{
    struct pcpu_chunk *chunk = one->chunk;
    long bits = pcpu_chunk_map_bits(chunk), nr_pages = chunk->nr_pages;
    int nr_blocks = pcpu_chunk_nr_blocks(chunk);
    int words[HEADER + HINTS] = {
        one->id, slot, pcpu_chunk_slot(chunk), chunk->isolated, chunk->immutable,
        chunk->free_bytes, chunk->nr_pages, chunk->nr_populated, chunk->nr_empty_pop_pages,
        chunk->start_offset, chunk->end_offset,
    };
    struct percpu_record *record;
    unsigned long *shadow;
    unsigned char *maps;
    bool changed = false;

    if (!one->reading)
        make_reading(one);
    record = &one->reading->record;
    if (record->nr_words != HEADER + HINTS * (1 + nr_blocks))
        percpu_stop(PERCPU_BUG, "a chunk that changed its size");
    read_hints(words + HEADER, &chunk->chunk_md);
    if (memcmp(record->words, words, sizeof(words))) {
        memcpy(record->words, words, sizeof(words));
        changed = true;
    }
    for (int block = 0; block < nr_blocks; block++) {
        int *last = record->words + HEADER + HINTS * (1 + block);

        read_hints(words, &chunk->md_blocks[block]);
        if (memcmp(last, words, HINTS * sizeof(int))) {
            memcpy(last, words, HINTS * sizeof(int));
            changed = true;
        }
    }
    maps = record->maps;
    shadow = one->reading->shadow;
    read_map(maps, chunk->populated, shadow, nr_pages, &changed);
    maps += nr_pages;
    shadow += BITS_TO_LONGS(nr_pages);
    read_map(maps, chunk->alloc_map, shadow, bits, &changed);
    maps += bits;
    shadow += BITS_TO_LONGS(bits);
    read_map(maps, chunk->bound_map, shadow, bits + 1, &changed);
    maps += bits + 1;
    // an area's charge comes and goes with its bits, or later if others run in between
    if (has_vector(chunk) && (changed || percpu_actors()))
        for (long bit = 0; bit < bits; bit++) {
            changed |= maps[bit] != charged_at(chunk, bit);
            maps[bit] = charged_at(chunk, bit);
        }
    record->changes += changed;
}

static void *resized(void *memory, size_t size)
{
    memory = realloc(memory, size);
    if (!memory)
        abort();
    return memory;
}

// Reads a chunk as the next record.
static int note_chunk(struct live *one, int slot, int count)
{
    long *place = percpu_places + PLACE * count;

    read_chunk(one, slot);
    percpu_records[count] = &one->reading->record;
    place[0] = one->id;
    place[1] = slot;
    place[2] = percpu_records[count]->changes;
    return count + 1;
}

// Reads lists, then chunks: the reserved one, those on lists in their order, those on none.
static int read_state(void)
{
    int count = 0;
    bool listed[most_live];

    memset(listed, 0, sizeof(listed));
    percpu_globals[0] = (int)pcpu_nr_populated;
    percpu_globals[1] = pcpu_nr_empty_pop_pages;
    percpu_globals[2] = pcpu_atomic_alloc_failed;
    percpu_globals[3] = pcpu_async_enabled;
    percpu_globals[4] = pcpu_nr_slots;
    percpu_globals[5] = pcpu_sidelined_slot;
    percpu_globals[6] = pcpu_free_slot;
    percpu_globals[7] = pcpu_to_depopulate_slot;
    if (most_records < most_live) {
        most_records = most_live;
        percpu_records = resized(percpu_records, (size_t)most_live * sizeof(*percpu_records));
        percpu_places = resized(percpu_places, (size_t)most_live * PLACE * sizeof(long));
    }
    for (int slot = 0; slot < pcpu_nr_slots; slot++) {
        struct pcpu_chunk *chunk;

        list_for_each_entry(chunk, &pcpu_chunk_lists[slot], list) {
            int n = live_of(chunk);

            if (n < 0 || listed[n])
                percpu_stop(PERCPU_BUG, "a list with a chunk that is not live, or twice");
            listed[n] = true;
            count = note_chunk(&live[n], slot, count);
        }
    }
    for (int n = 0; n < nr_live; n++)
        if (!listed[n])
            count = note_chunk(&live[n], live[n].id == -1 ? -1 : -2, count);
    return count;
}

int percpu_read(void)
{
    ENTER(-1);
    note_addressed();
    LEAVE(read_state());
}
