// Saving and restoring the memory of a state. Our own text.
#include <sys/mman.h>

#include "region.h"

enum { LINE = 64 };
#define STATICS ((unsigned long)(__stop_percpu_state - __start_percpu_state))

// The start as it was, and where it ends; behind that its arena is zero.
static char *root_statics OUTSIDE, *root_arena OUTSIDE;

// A state as the lines in which it differs from the start, and its live stacks.
struct image {
    unsigned long arena_used;
    long nr_lines;
    struct line {
        unsigned long at; // among the statics; ARENA and above: in the arena
        char bytes[LINE];
    } *lines;
    unsigned long stack_size[ACTORS];
    char *stacks; // one a slot
};
static struct image saved OUTSIDE, peeked OUTSIDE;

static int make(struct image *image)
{
    image->lines = percpu_reserve((STATICS + ARENA_SIZE) / LINE * sizeof(struct line) * 2);
    image->stacks = percpu_reserve(ACTORS * STACK_SIZE);
    return image->lines && image->stacks ? 0 : -1;
}

int percpu_image_root(void)
{
    root_statics = percpu_reserve(STATICS + LINE);
    root_arena = percpu_reserve(ARENA_SIZE);
    if (!root_statics || !root_arena || make(&saved) || make(&peeked))
        return -1;
    memcpy(root_statics, __start_percpu_state, STATICS);
    memcpy(root_arena, (void *)ARENA, percpu_arena_used);
    return 0;
}

static void load(const struct image *image)
{
    unsigned long used = max(percpu_arena_used, image ? image->arena_used : 0);

    memcpy(__start_percpu_state, root_statics, STATICS);
    memcpy((void *)ARENA, root_arena, used);
    if (!image)
        return;
    for (long i = 0; i < image->nr_lines; i++) {
        const struct line *line = &image->lines[i];
        char *to = line->at < ARENA ? __start_percpu_state + line->at : (char *)line->at;
        unsigned long size = line->at < ARENA ? min(STATICS - line->at, (unsigned long)LINE) : LINE;

        memcpy(to, line->bytes, size);
    }
    for (int n = 0; n < ACTORS; n++)
        memcpy((void *)(STACK_TOP(n) - image->stack_size[n]),
               image->stacks + ((unsigned long)n + 1) * STACK_SIZE - image->stack_size[n],
               image->stack_size[n]);
}

static void save(struct image *image)
{
    struct line *line = image->lines;

    image->arena_used = percpu_arena_used;
    for (unsigned long at = 0; at < STATICS; at += LINE) {
        unsigned long size = min(STATICS - at, (unsigned long)LINE);

        if (memcmp(__start_percpu_state + at, root_statics + at, size)) {
            line->at = at;
            memcpy(line++->bytes, __start_percpu_state + at, size);
        }
    }
    for (unsigned long at = 0; at < percpu_arena_used; at += LINE)
        if (memcmp((char *)ARENA + at, root_arena + at, LINE)) {
            line->at = ARENA + at;
            memcpy(line++->bytes, (char *)ARENA + at, LINE);
        }
    image->nr_lines = line - image->lines;
    for (int n = 0; n < ACTORS; n++) {
        void *sp = percpu_actors_[n].sp;

        image->stack_size[n] = sp ? STACK_TOP(n) - (unsigned long)sp : 0;
        if (image->stack_size[n])
            memcpy(image->stacks + ((unsigned long)n + 1) * STACK_SIZE - image->stack_size[n], sp,
                   image->stack_size[n]);
    }
}

void percpu_image_load_root(void) { load(NULL); }
void percpu_image_save(void) { save(&saved); }
void percpu_image_load(void) { load(&saved); }
void percpu_image_peek(void) { save(&peeked); }
void percpu_image_unpeek(void) { load(&peeked); }

// Address space that the search has taken; memory comes as it is touched.
enum { MOST_RESERVED = 64 };
static struct {
    void *memory;
    unsigned long bytes;
} reserved[MOST_RESERVED] OUTSIDE;
static int nr_reserved OUTSIDE;

// Returns room that is zero and stays until the search ends; NULL if there is none.
void *percpu_reserve(unsigned long bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED || nr_reserved == MOST_RESERVED)
        return NULL;
    reserved[nr_reserved].memory = memory;
    reserved[nr_reserved++].bytes = bytes;
    return memory;
}

int percpu_regions(void)
{
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
    const int access = PROT_READ | PROT_WRITE;

    percpu_watch(true);
    if (mmap((void *)STACKS, STACKS_END - STACKS, access, flags, -1, 0) == MAP_FAILED ||
        mmap((void *)ARENA, ARENA_SIZE, access, flags, -1, 0) == MAP_FAILED)
        return -1;
    for (int n = 0; n < ACTORS; n++)
        if (mprotect((void *)(STACK_TOP(n) - 2 * STACK_SIZE), STACK_SIZE, PROT_NONE))
            return -1;
    return 0;
}

void percpu_search_end(void)
{
    percpu_watch(false);
    munmap((void *)STACKS, STACKS_END - STACKS);
    munmap((void *)ARENA, ARENA_SIZE);
    while (nr_reserved--)
        munmap(reserved[nr_reserved].memory, reserved[nr_reserved].bytes);
    nr_reserved = 0;
}

unsigned long percpu_base(void)
{
    extern const char __ehdr_start[] __attribute__((visibility("hidden")));

    return (unsigned long)__ehdr_start;
}
