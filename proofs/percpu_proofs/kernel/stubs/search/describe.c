// The allocator's state as numbers, equal for states that behave alike. Part of library.c. Our own
// text; the layout is the one that kernel/search/records.py reads.
#include "region.h"
#include "../hints.h"

static void forget_reading(struct live *one) { (void)one; }
static void forget_readings(void) {}

static int *put_hints(int *out, const struct pcpu_block_md *block)
{
    read_hints(out, block);
    return out + HINTS;
}

static int *put_longs(int *out, const unsigned long *longs, long bits)
{
    size_t size = (size_t)BITS_TO_LONGS(bits) * sizeof(long);

    memcpy(out, longs, size);
    return out + size / sizeof(int);
}

static int *put_charges(int *out, const struct pcpu_chunk *chunk, long bits)
{
    unsigned long word;

#ifdef PERCPU_OBJ_EXTS
#define VECTOR(chunk) ((chunk)->obj_exts)
#define CHARGED(chunk, bit) (VECTOR(chunk)[bit].cgroup != NULL)
#else
#define VECTOR(chunk) ((chunk)->obj_cgroups)
#define CHARGED(chunk, bit) (VECTOR(chunk)[bit] != NULL)
#endif
    *out++ = VECTOR(chunk) != NULL;
    if (!VECTOR(chunk))
        return out;
    for (long from = 0; from < bits; from += BITS_PER_LONG) {
        word = 0;
        for (long bit = from; bit < min(from + BITS_PER_LONG, bits); bit++)
            if (test_bit((unsigned long)bit, chunk->alloc_map) && CHARGED(chunk, bit))
                word |= 1UL << (bit - from);
        out = put_longs(out, &word, BITS_PER_LONG);
    }
    return out;
}

enum { ORDINARY, FIRST, RESERVED };

static int *put_chunk(int *out, struct pcpu_chunk *chunk)
{
    long bits = pcpu_chunk_map_bits(chunk);
    int kind = chunk == pcpu_first_chunk ? FIRST : chunk == pcpu_reserved_chunk ? RESERVED : 0;
    unsigned long populated = chunk->populated[0], mapped = 0, stale = 0;
    int *size = out++;
    unsigned int cpu;

    if (kind == ORDINARY)
        for (int page = 0; page < chunk->nr_pages; page++) {
            bool all = true, any = false;

            for_each_possible_cpu(cpu) {
                struct percpu_seen seen = percpu_see((unsigned long)chunk->base_addr +
                    pcpu_unit_offsets[cpu] + ((unsigned long)page << PAGE_SHIFT));

                all &= seen.mapped;
                any |= seen.stale;
            }
            mapped |= (unsigned long)all << page;
            stale |= (unsigned long)any << page;
        }
    else
        mapped = populated;
    {
        const int words[] = {
            pcpu_chunk_slot(chunk), chunk->isolated, chunk->immutable, chunk->free_bytes,
            chunk->nr_pages, chunk->nr_populated, chunk->nr_empty_pop_pages, chunk->start_offset,
            chunk->end_offset, kind,
        };

        memcpy(out, words, sizeof(words));
        out += ARRAY_SIZE(words);
    }
    out = put_longs(out, &populated, BITS_PER_LONG);
    out = put_longs(out, &mapped, BITS_PER_LONG);
    out = put_longs(out, &stale, BITS_PER_LONG);
    out = put_hints(out, &chunk->chunk_md);
    for (int block = 0; block < pcpu_chunk_nr_blocks(chunk); block++)
        out = put_hints(out, &chunk->md_blocks[block]);
    out = put_longs(out, chunk->alloc_map, bits);
    out = put_longs(out, chunk->bound_map, bits + 1);
    out = put_charges(out, chunk, bits);
    *size = (int)(out - size);
    return out;
}

// Chunks in the order of the description: by list and place, then those on none.
static struct pcpu_chunk *named[PERCPU_CHUNKS] OUTSIDE;
static int nr_named OUTSIDE;

static int *name_chunk(int *out, int **records, struct pcpu_chunk *chunk, int slot)
{
    if (nr_named == PERCPU_CHUNKS)
        percpu_stop(PERCPU_BUG, "more chunks than a search describes");
    named[nr_named++] = chunk;
    *out++ = slot;
    *records = put_chunk(*records, chunk);
    return out;
}

static long describe(int *words, int *records)
{
    bool listed[PERCPU_CHUNKS] = { false };
    int *out = words;

    note_addressed();
    nr_named = 0;
    {
        const int counters[PERCPU_COUNTERS] = {
            (int)pcpu_nr_populated, pcpu_nr_empty_pop_pages, pcpu_atomic_alloc_failed,
            pcpu_async_enabled, pcpu_alloc_mutex.held != 0,
            (int)percpu_environment.work_pending, (int)percpu_environment.charged,
            (int)percpu_environment.objcg_refs, (int)percpu_environment.live_pages,
            pcpu_lock.held, 0,
        };

        memcpy(out, counters, sizeof(counters));
        out += PERCPU_COUNTERS;
    }
    if (nr_live > PERCPU_CHUNKS)
        percpu_stop(PERCPU_BUG, "more chunks than a search describes");
    for (int slot = 0; slot < pcpu_nr_slots; slot++) {
        struct pcpu_chunk *chunk;

        list_for_each_entry(chunk, &pcpu_chunk_lists[slot], list) {
            int n = live_of(chunk);

            if (n < 0 || listed[n])
                percpu_stop(PERCPU_BUG, "LIST-1: a chunk that is gone is on a list, or one twice");
            listed[n] = true;
            out = name_chunk(out, &records, chunk, slot);
        }
    }
    for (int n = 0; n < nr_live; n++)
        if (!listed[n])
            out = name_chunk(out, &records, live[n].chunk, live[n].id == -1 ? -1 : -2);
    words[PERCPU_COUNTERS - 1] = nr_named;
    return out - words;
}

// Returns the number of words; of chunks there follow two each, list and record.
long percpu_describe(int *words, int *records)
{
    ENTER(-1L);
    LEAVE(describe(words, records));
}

int percpu_number(const void *chunk)
{
    for (int n = 0; n < nr_named; n++)
        if (named[n] == chunk)
            return n;
    return -1;
}

void *percpu_chunk(int number) { return named[number]; }

int percpu_chunk_id(int number)
{
    int n = live_of(named[number]);

    return n < 0 ? -2 : live[n].id;
}

// A word of a stack or of a static, as it is in states that behave alike: an address among a
// chunk's memory by the chunk's number, one on the actor's own stack by its distance from the top.
unsigned long percpu_place(unsigned long word, unsigned long stack)
{
    enum { AT_STACK = 15, AT_ARENA };
    const unsigned long tag = 0x7000UL << 48;

    if (word < 1UL << 44 || word >= ARENA + ARENA_SIZE)
        return word;
    if (stack && stack - word < STACK_SIZE)
        return tag + ((unsigned long)AT_STACK << 40) + (stack - word);
    for (int n = 0; n < nr_named; n++) {
        const struct pcpu_chunk *c = named[n];
        const unsigned long bits = (unsigned long)c->nr_pages << PAGE_SHIFT >> 2;
        const struct { unsigned long from, size; } parts[] = {
            { (unsigned long)c, pcpu_chunk_struct_size },
            { (unsigned long)c->md_blocks, ((unsigned long)c->nr_pages + 1) * sizeof(*c->md_blocks) },
            { (unsigned long)c->alloc_map, bits / 8 + 8 },
            { (unsigned long)c->bound_map, bits / 8 + 16 },
            { (unsigned long)c->base_addr, (unsigned long)pcpu_unit_size * (nr_cpu_ids + 1) },
            { (unsigned long)c->data, 64 },
        };

        for (unsigned long part = 0; part < ARRAY_SIZE(parts); part++)
            if (parts[part].from && word - parts[part].from < parts[part].size)
                return tag + ((unsigned long)n << 40) + (part << 36) + (word - parts[part].from);
    }
    return word >= ARENA ? tag + ((unsigned long)AT_ARENA << 40) : word;
}

// What a tree has in its chunks and blocks beyond what is described: compared as it stands.
void percpu_mix_unknown(struct hash *hash)
{
    for (int n = 0; n < nr_named; n++) {
        struct pcpu_chunk c = *named[n];
        const unsigned long *words = (const unsigned long *)&c;

        memset(&c.list, 0, sizeof(c.list));
        memset(&c.chunk_md, 0, sizeof(c.chunk_md));
        c.free_bytes = c.nr_pages = c.nr_populated = c.nr_empty_pop_pages = 0;
        c.start_offset = c.end_offset = 0;
        c.immutable = c.isolated = false;
        c.base_addr = NULL;
        c.data = NULL;
        c.alloc_map = c.bound_map = NULL;
        c.md_blocks = NULL;
        VECTOR(&c) = NULL;
        for (size_t i = 0; i < sizeof(c) / sizeof(*words); i++)
            if (words[i])
                percpu_mix(hash, percpu_place(words[i], 0) ^ i);
        if (sizeof(c.chunk_md) > 32) { // eight numbers in the trees that are known
            percpu_mix_bytes(hash, &named[n]->chunk_md, sizeof(c.chunk_md));
            percpu_mix_bytes(hash, named[n]->md_blocks,
                             (size_t)named[n]->nr_pages * sizeof(c.chunk_md));
        }
    }
}

// Who stands beside a chunk on a list of a step's own; no description shows that order.
unsigned long percpu_neighbour(int chunk, bool previous)
{
    const struct list_head *link = &named[chunk]->list;

    return percpu_place((unsigned long)(previous ? link->prev : link->next), 0);
}

// Returns the chunk of an area, NULL for none, and the area's offset in it in bytes.
void *percpu_area_of(void *handle, int *off)
{
    char *address = __pcpu_ptr_to_addr(handle);

    for (int n = 0; n < nr_live; n++) {
        unsigned long at = (unsigned long)(address - (char *)live[n].chunk->base_addr);

        if (at < (unsigned long)pcpu_unit_size) {
            *off = (int)at;
            return live[n].chunk;
        }
    }
    *off = 0;
    return NULL;
}

// Areas that callers hold, by handle: chunk and offset in bytes; -100: none, -99: of no chunk.
void percpu_areas(int *chunk, int *off)
{
    for (int h = 0; h < HANDLES; h++) {
        void *holder;

        chunk[h] = -100;
        off[h] = 0;
        if (h >= nr_handles || !handles[h])
            continue;
        holder = percpu_area_of(handles[h], &off[h]);
        chunk[h] = holder ? percpu_number(holder) : -99;
    }
}

// Bytes of areas, and of what no area may use.
long percpu_used_bytes(void)
{
    long used = 0;

    note_addressed();
    for (int n = 0; n < nr_live; n++)
        used += ((long)live[n].chunk->nr_pages << PAGE_SHIFT) - live[n].chunk->free_bytes;
    return used;
}

static bool is_known(const char *address)
{
    for (int h = 0; h < nr_handles; h++)
        if (handles[h] && (char *)__pcpu_ptr_to_addr(handles[h]) == address)
            return true;
    for (int n = 0; n < ACTORS; n++) {
        const struct actor *actor = &percpu_actors_[n];

        if (actor->point != PERCPU_DONE && actor->placed &&
            (char *)((struct pcpu_chunk *)actor->placed)->base_addr + actor->off == address)
            return true;
    }
    return false;
}

static bool find_placed(struct pcpu_chunk *chunk, struct actor *actor)
{
    unsigned long bits = (unsigned long)pcpu_chunk_map_bits(chunk), end;

    for (unsigned long bit = find_first_bit(chunk->alloc_map, bits); bit < bits;
         bit = find_next_bit(chunk->alloc_map, bits, end)) {
        int off = (int)bit * PCPU_MIN_ALLOC_SIZE;

        end = find_next_bit(chunk->bound_map, bits + 1, bit + 1);
        if (off < chunk->start_offset || is_known((char *)chunk->base_addr + off))
            continue;
        actor->placed = chunk;
        actor->off = off;
        actor->size = (int)(end - bit) * PCPU_MIN_ALLOC_SIZE;
        return true;
    }
    return false;
}

// Finds the area that no handle holds and no other actor has taken: this one has.
void percpu_find_placed(struct actor *actor)
{
    for (int n = 0; n < nr_live; n++)
        if (find_placed(live[n].chunk, actor))
            return;
}

#define UNNOTED __attribute__((no_sanitize("thread")))

// What an address is of: see struct percpu_access. Memory that only one actor can reach is nobody
// else's business: a chunk that is being made, what was never a chunk's, stacks.
UNNOTED int percpu_field(unsigned long address)
{
    if (address >= (unsigned long)__start_percpu_state &&
        address < (unsigned long)__stop_percpu_state)
        return -1 - (int)(address - percpu_base());
    for (int n = 0; n < nr_live; n++) {
        const struct pcpu_chunk *c = live[n].chunk;
        const unsigned long bits = (unsigned long)c->nr_pages << PAGE_SHIFT >> 2;

        if (address - (unsigned long)c < pcpu_chunk_struct_size)
            return (int)(address - (unsigned long)c);
        if (address - (unsigned long)c->md_blocks < (unsigned long)c->nr_pages * sizeof(*c->md_blocks))
            return PERCPU_BLOCKS;
        if (address - (unsigned long)c->alloc_map < bits / 8)
            return PERCPU_ALLOC_MAP;
        if (address - (unsigned long)c->bound_map < bits / 8 + 8)
            return PERCPU_BOUND_MAP;
        if (VECTOR(c) && address - (unsigned long)VECTOR(c) < bits * sizeof(*VECTOR(c)))
            return PERCPU_VECTOR;
    }
    return PERCPU_PRIVATE;
}

#define FIELD(name) { #name, offsetof(struct pcpu_chunk, name) }
int percpu_field_offset(const char *name)
{
    static const struct {
        const char *name;
        size_t offset;
    } fields[] = {
        FIELD(list), FIELD(free_bytes), FIELD(chunk_md), FIELD(base_addr), FIELD(alloc_map),
        FIELD(bound_map), FIELD(md_blocks), FIELD(data), FIELD(immutable), FIELD(isolated),
        FIELD(start_offset), FIELD(end_offset), FIELD(nr_pages), FIELD(nr_populated),
        FIELD(nr_empty_pop_pages), FIELD(populated),
    };

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if (!strcmp(fields[i].name, name))
            return (int)fields[i].offset;
    return -1;
}

UNNOTED bool percpu_lock_held(void) { return pcpu_lock.held; }
UNNOTED int percpu_mutex_holder(void)
{
    return pcpu_alloc_mutex.held - 2;
}
bool percpu_is_atomic(const struct percpu_operation *operation)
{
    const unsigned int was = percpu_enter_scope(PERCPU_SCOPES(operation->gfp));
    const gfp_t gfp = current_gfp_context(operation->gfp);

    percpu_leave_scope(PERCPU_SCOPES(operation->gfp), was);
    return (gfp & PERCPU_NEEDED) != PERCPU_NEEDED;
}

void percpu_read_slots(void)
{
    percpu_slots[0] = pcpu_nr_slots;
    percpu_slots[1] = pcpu_sidelined_slot;
    percpu_slots[2] = pcpu_free_slot;
    percpu_slots[3] = pcpu_to_depopulate_slot;
}

bool percpu_is_async(void) { return pcpu_async_enabled; }

// Whether an allocation that has taken its area has found the float high enough. Up to 6.12 it looks
// at its end only.
bool percpu_need_not_ask(void)
{
#ifdef PERCPU_FLOAT_LOCKED
    return pcpu_nr_empty_pop_pages >= PCPU_EMPTY_POP_PAGES_LOW;
#else
    return false;
#endif
}
