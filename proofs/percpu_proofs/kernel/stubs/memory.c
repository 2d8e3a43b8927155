// Memory that can run out. Our own text.
#include "memory.h"

struct percpu_environment percpu_environment;
struct obj_cgroup percpu_objcg, percpu_root_objcg;
int percpu_cpus, percpu_memcg;
unsigned int percpu_scope;
struct percpu_request percpu_requests[MOST_REQUESTS] OUTSIDE;
int percpu_nr_requests OUTSIDE;
long percpu_asked OUTSIDE;
static int last_request OUTSIDE;
int percpu_spins;

const char *percpu_complaint OUTSIDE;

void percpu_complain(long *count, const char *what)
{
    ++*count;
    percpu_complaint = what;
}

static void percpu_stray(bool wrong, const char *what)
{
    if (wrong)
        percpu_complain(&percpu_environment.stray, what);
}

bool percpu_strikes(struct percpu_fault *fault)
{
    if (fault->next) {
        fault->next--;
        return true;
    }
    return fault->kth && --fault->kth == 0;
}

// Requests of one kind with the same flags that follow one another are one.
void percpu_ask(int kind, gfp_t gfp)
{
    const unsigned int flags = current_gfp_context(gfp) & PERCPU_FLAGS;
    int n = 0;

    while (n < percpu_nr_requests &&
           (percpu_requests[n].kind != kind || percpu_requests[n].gfp != flags))
        n++;
    if (n == MOST_REQUESTS || (percpu_asked && n == last_request))
        return;
    if (n == percpu_nr_requests)
        percpu_requests[percpu_nr_requests++] = (struct percpu_request){ kind, flags, 0 };
    percpu_requests[n].count++;
    percpu_asked++;
    last_request = n;
}

// Returns memory of which the first `zeroed` bytes are zero.
static ASIDE void *get_memory(size_t size, size_t zeroed)
{
    struct block *block = percpu_new_block(size);

    percpu_budget -= (long)size / 32; // a loop that only takes memory must end before that does
    percpu_tick();
    memset(block->memory, 0, zeroed);
    memset(block->memory + zeroed, 0x5a, size - zeroed); // what others left there, the same each time
    block->counted = false;
    return block->memory;
}

void *percpu_boot_zalloc(size_t size)
{
    return get_memory(size, size);
}

static ASIDE void *count(void *memory)
{
    container_of(memory, struct block, memory)->counted = true;
    percpu_environment.blocks++;
    return memory;
}

void *percpu_zalloc(size_t size, gfp_t gfp)
{
    void *memory;

    percpu_point(PERCPU_MEMORY);
    percpu_ask(PERCPU_METADATA, gfp);
    if (percpu_strikes(&percpu_environment.metadata_fault))
        return NULL;
    memory = count(percpu_boot_zalloc(size));
    percpu_note_struct(memory, size);
    return memory;
}

ASIDE void percpu_free(void *memory)
{
    struct block *block;

    if (!memory)
        return;
    percpu_note_freed(memory);
    block = container_of(memory, struct block, memory);
    percpu_environment.blocks -= block->counted;
    percpu_drop_block(block);
}

// pages; those of a search have no contents

#ifdef PERCPU_SEARCH
#define CONTENTS 0UL
#else
#define CONTENTS PAGE_SIZE
#endif

struct page *percpu_alloc_page(gfp_t gfp)
{
    struct page *page;

    percpu_ask(PERCPU_PAGES, gfp);
    if (percpu_strikes(&percpu_environment.page_fault) ||
        percpu_environment.live_pages >= percpu_environment.memory)
        return NULL;
    percpu_environment.page_allocs++;
    percpu_environment.live_pages++;
    page = get_memory(sizeof(*page) + CONTENTS, sizeof(*page));
    page->memory = (char *)(page + 1);
    return page;
}

void percpu_free_page(struct page *page)
{
    percpu_environment.live_pages--;
    percpu_stray(page->mapped, "POP-2: a page is given back while it is mapped");
    percpu_free(page);
}

// vm areas: numbered, each SPAN bytes of address space; a freed number is used again

#define FIRST_AREA (1UL << 44)
static unsigned long span_shift;
static char *first_units; // memory of the first chunk's units
static struct area {
    struct place {
        struct page *page; // mapped here
        bool stale;        // something was, and the translation has not been flushed (TLB-1)
    } *places;             // by page of the area
} *areas;
static unsigned long nr_areas;

void percpu_set_span(unsigned long bytes)
{
    span_shift = (unsigned long)order_base_2(bytes);
    if (CONTENTS)
        first_units = percpu_boot_zalloc(bytes);
}

static unsigned long new_area(void)
{
    unsigned long n = 0;
    struct area *more;

    while (n < nr_areas && areas[n].places)
        n++;
    if (n == nr_areas) {
        more = percpu_boot_zalloc((nr_areas * 2 + 8) * sizeof(*areas));
        if (areas)
            memcpy(more, areas, nr_areas * sizeof(*areas));
        percpu_free(areas);
        areas = more;
        nr_areas = nr_areas * 2 + 8;
    }
    areas[n].places = percpu_boot_zalloc(sizeof(struct place) << (span_shift - PAGE_SHIFT));
    return n;
}

static void free_area(unsigned long n)
{
    percpu_free(areas[n].places);
    areas[n].places = NULL;
}

static struct place *place_of(unsigned long address)
{
    unsigned long n = (address - FIRST_AREA) >> span_shift;

    if (address < FIRST_AREA || n >= nr_areas || !areas[n].places)
        return NULL;
    return &areas[n].places[(address & ((1UL << span_shift) - 1)) >> PAGE_SHIFT];
}

bool percpu_is_area(unsigned long address) { return place_of(address) != NULL; }

struct page *percpu_page_at(unsigned long address)
{
    struct place *place = place_of(address);

    return place ? place->page : NULL;
}

struct vm_struct **percpu_get_vm_areas(const unsigned long *offsets, int nr, gfp_t gfp)
{
    struct vm_struct **vms, *structs;
    unsigned long n;

    percpu_ask(PERCPU_AREAS, gfp);
    if (percpu_strikes(&percpu_environment.vm_fault))
        return NULL;
    n = new_area();
    vms = count(percpu_boot_zalloc((size_t)nr * (sizeof(*vms) + sizeof(**vms))));
    structs = (struct vm_struct *)(vms + nr);
    for (int i = 0; i < nr; i++) {
        structs[i].addr = (void *)(FIRST_AREA + (n << span_shift) + offsets[i]);
        structs[i].area = n;
        vms[i] = &structs[i];
    }
    return vms;
}

void pcpu_free_vm_areas(struct vm_struct **vms, int count)
{
    unsigned long n = vms[0]->area;

    for (unsigned long i = 0; i < 1UL << (span_shift - PAGE_SHIFT); i++)
        percpu_stray(areas[n].places[i].page != NULL, "POP-4: an area of addresses goes with pages in it");
    free_area(n);
    percpu_free(vms);
}

int percpu_map(unsigned long from, unsigned long end, struct page **pages, gfp_t gfp)
{
    percpu_ask(PERCPU_TABLES, gfp);
    if (percpu_strikes(&percpu_environment.map_fault))
        return -ENOMEM;
    for (unsigned long i = 0; from < end; i++, from += PAGE_SIZE) {
        struct place *place = place_of(from);

        percpu_tick();
        percpu_stray(!place || place->page, "POP-2: a page is mapped where one is, or no area");
        if (!place || place->page)
            return -EBUSY;
        place->page = pages[i];
        pages[i]->mapped = 1;
    }
    return 0;
}

void vunmap_range_noflush(unsigned long from, unsigned long end)
{
    percpu_environment.unmaps++;
    for (; from < end; from += PAGE_SIZE) {
        struct place *place = place_of(from);

        percpu_tick();
        if (place && place->page) {
            place->page->mapped = 0;
            *place = (struct place){ .stale = true };
        }
    }
}

void percpu_flush(unsigned long from, unsigned long end)
{
    percpu_environment.tlb_flushes++;
    for (; from < end; from += PAGE_SIZE) {
        struct place *place = place_of(from);

        percpu_tick();
        if (place)
            place->stale = false;
    }
}

struct percpu_seen percpu_see(unsigned long address)
{
    struct place *place = place_of(address);

    return (struct percpu_seen){ place && place->page, place && place->stale };
}

// a block of the km backing: its pages stand in a row, and its address leads to them
struct page *percpu_alloc_block(gfp_t gfp, unsigned int order)
{
    unsigned long n, count = 1UL << order;
    struct page *pages;

    percpu_ask(PERCPU_PAGES, gfp);
    if (percpu_strikes(&percpu_environment.page_fault) ||
        percpu_environment.live_pages + (long)count > percpu_environment.memory)
        return NULL;
    percpu_environment.page_allocs += (long)count;
    percpu_environment.live_pages += (long)count;
    pages = get_memory(count * (sizeof(*pages) + CONTENTS), count * sizeof(*pages));
    n = new_area();
    pages->address = FIRST_AREA + (n << span_shift);
    for (unsigned long i = 0; i < count && i < 1UL << (span_shift - PAGE_SHIFT); i++) {
        pages[i].memory = (char *)(pages + count) + i * CONTENTS;
        areas[n].places[i].page = &pages[i];
    }
    return pages;
}

void percpu_free_block(struct page *block, unsigned int order)
{
    percpu_environment.live_pages -= 1L << order;
    free_area((block->address - FIRST_AREA) >> span_shift);
    percpu_free(block);
}

// Calls `each` on the memory behind a range of addresses, page by page; notes what is not mapped or
// was something else, which a CPU may still see.
static void on_memory(unsigned long from, size_t size, void (*each)(char *memory, size_t size))
{
    while (size) {
        size_t part = min(size, PAGE_SIZE - offset_in_page(from));
        struct place *place;

        if (from < FIRST_AREA) {
            if (CONTENTS)
                each(first_units + (from - PERCPU_FIRST), part);
        } else {
            place = place_of(from);
            percpu_stray(!place || !place->page, "POP-2: an area is touched where no page is");
            percpu_stray(place && place->stale, "TLB-1: an area is touched before its flush");
            if (CONTENTS && place && place->page)
                each(place->page->memory + offset_in_page(from), part);
        }
        from += part;
        size -= part;
    }
}

static void zero(char *memory, size_t size) { memset(memory, 0, size); }

// What the operation under way has cleared last; enough for an area's copy on each CPU.
struct percpu_cleared percpu_cleared[MOST_CLEARED];
unsigned int percpu_nr_cleared;

// Stands for memset on an area, which must be mapped whole (POP-2).
void percpu_clear(void *address, int byte, size_t size)
{
    percpu_cleared[percpu_nr_cleared++ % MOST_CLEARED] =
        (struct percpu_cleared){ (unsigned long)address, byte ? 0 : size };
    on_memory((unsigned long)address, size, zero);
}

static void use(char *memory, size_t size)
{
    for (size_t i = 0; i < size; i++)
        percpu_stray(memory[i] != 0, "API-6: an area is not zero");
    memset(memory, 0x5a, size);
}

bool percpu_was_cleared(unsigned long address, size_t size)
{
    for (unsigned int i = 0; i < MOST_CLEARED; i++)
        if (percpu_cleared[i].from <= address &&
            address + size <= percpu_cleared[i].from + percpu_cleared[i].size)
            return true;
    return false;
}

// Does what a caller does: finds an area zeroed (API-6) and writes to it.
void percpu_use(unsigned long address, size_t size)
{
    on_memory(address, size, use);
}
