// Blocks of memory from one arena, where a search can save and restore them. Our own text.
#include "region.h"

enum { LINE = SMP_CACHE_BYTES, POISON = 0x6b };

unsigned long percpu_arena_used;
static struct block *freed; // linked by next, the last one first

#ifdef PERCPU_SHADED
#include <sanitizer/asan_interface.h>

static bool shaded OUTSIDE;

static void shade(const struct block *block)
{
    if (!shaded)
        return;
    __asan_poison_memory_region(block, sizeof(*block) + block->size);
    if (block->live)
        __asan_unpoison_memory_region(block->memory, block->asked);
}

static void unshade(const struct block *block)
{
    __asan_unpoison_memory_region(block, sizeof(*block) + block->size);
}

void percpu_shade(bool on)
{
    shaded = on;
    if (!on)
        __asan_unpoison_memory_region((void *)ARENA, ARENA_SIZE);
    for (unsigned long at = ARENA; on && at < ARENA + percpu_arena_used;) {
        struct block *block = (struct block *)at;

        shade(block);
        at += sizeof(*block) + block->size;
    }
}
#else
static void shade(const struct block *block) { (void)block; }
static void unshade(const struct block *block) { (void)block; }
#endif

static bool is_poisoned(const struct block *block)
{
    for (size_t i = 0; i < block->size; i++)
        if (block->memory[i] != POISON)
            return false;
    return true;
}

struct block *percpu_new_block(size_t size)
{
    struct block **link = &freed, *block;
    const size_t asked = size;

    size = ALIGN(size, (size_t)LINE);
    while (*link && (*link)->size != size)
        link = (struct block **)&(*link)->link.next;
    block = *link;
    if (block) {
        *link = (struct block *)block->link.next;
        unshade(block);
        if (!is_poisoned(block))
            percpu_stop(PERCPU_BUG, "POP-4: memory is written after it was freed");
    } else {
        if (percpu_arena_used + sizeof(*block) + size > ARENA_SIZE)
            percpu_stop(PERCPU_BUG, "no memory left in the arena of the search");
        block = (struct block *)(ARENA + percpu_arena_used);
        percpu_arena_used += sizeof(*block) + size;
        block->size = size;
    }
    block->link = (struct list_head){ NULL, NULL };
    block->asked = asked;
    block->live = true;
    block->reached = false;
    shade(block);
    return block;
}

void percpu_drop_block(struct block *block)
{
    unsigned long at = (unsigned long)block;

    if (at < ARENA || at >= ARENA + percpu_arena_used || at % LINE)
        percpu_stop(PERCPU_BUG, "POP-4: what is freed was never allocated");
    if (!block->live)
        percpu_stop(PERCPU_BUG, "POP-4: memory is freed twice");
    block->live = false;
    unshade(block);
    memset(block->memory, POISON, block->size);
    block->link.next = (struct list_head *)freed;
    freed = block;
    shade(block);
}

void percpu_free_all(void) {}

// Which block an address points into. Blocks lie one behind the other.
static struct block *block_at(unsigned long address)
{
    unsigned long at = ARENA;

    if (address < ARENA || address >= ARENA + percpu_arena_used)
        return NULL;
    while (at < ARENA + percpu_arena_used) {
        struct block *block = (struct block *)at;
        unsigned long end = at + sizeof(*block) + block->size;

        if (address < end)
            return address >= (unsigned long)block->memory ? block : NULL;
        at = end;
    }
    return NULL;
}

static void reach(const void *from, size_t size);

static void reach_word(unsigned long word)
{
    struct block *block = block_at(word);

    if (block && block->live && !block->reached) {
        block->reached = true;
        reach(block->memory, block->size);
    }
}

static void reach(const void *from, size_t size)
{
    const unsigned long *words = from;

    for (size_t i = 0; i < size / sizeof(*words); i++)
        reach_word(words[i]);
}

// Counts blocks to which nothing points any more. Asked at rest: no stack holds a pointer.
int percpu_leaks(void)
{
    int leaks = 0;

    for (unsigned long at = ARENA; at < ARENA + percpu_arena_used;) {
        struct block *block = (struct block *)at;

        block->reached = false;
        at += sizeof(*block) + block->size;
    }
    reach(__start_percpu_state, (size_t)(__stop_percpu_state - __start_percpu_state));
    for (unsigned long at = ARENA; at < ARENA + percpu_arena_used;) {
        struct block *block = (struct block *)at;

        leaks += block->live && !block->reached;
        at += sizeof(*block) + block->size;
    }
    return leaks;
}
