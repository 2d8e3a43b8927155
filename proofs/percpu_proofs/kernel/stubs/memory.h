// Memory that can run out: metadata, pages, mappings, vm areas, charges. Our own text.
#ifndef PERCPU_MEMORY_H
#define PERCPU_MEMORY_H

#include "bits.h"
#include "list.h"
#include "locks.h"

extern int percpu_cpus, percpu_memcg;
#define nr_cpu_ids ((unsigned int)percpu_cpus)
#define num_possible_cpus() ((unsigned int)percpu_cpus)
#define cpu_possible(cpu) ((unsigned int)(cpu) < nr_cpu_ids)
#define for_each_possible_cpu(cpu) for ((cpu) = 0; (cpu) < nr_cpu_ids; (cpu)++)

// one node, which all CPUs and pages are of
#define MAX_NUMNODES 1
#define nr_node_ids 1
#define num_possible_nodes() 1
#define num_online_nodes() 1
#define for_each_node(node) for ((node) = 0; (node) < nr_node_ids; (node)++)
#define for_each_online_node(node) for_each_node(node)
#define cpu_to_node(cpu) 0
#define page_to_nid(page) ((void)(page), 0)
#define nr_cpus_node(node) ((void)(node), num_possible_cpus())
#define NODE_DATA(node) ((struct pglist_data *)NULL)
#define NR_PERCPU_B 0
#define mod_node_page_state(data, item, value) ((void)(data), (void)(value))
#define get_boot_cpu_id() 0
struct cpumask {
    unsigned long bits[BITS_TO_LONGS(NR_CPUS)];
};

bool percpu_strikes(struct percpu_fault *fault);
void percpu_ask(int kind, gfp_t gfp); // notes a request: PERCPU_METADATA and so on

// Blocks of memory: heap.c takes them from the C library, search/arena.c from a region of its own.
struct block {
    struct list_head link;
    size_t size, asked; // in bytes; as many as were asked for
    bool counted; // the allocator asked for it, and gives it back some day
    bool live, reached; // of an arena
    _Alignas(SMP_CACHE_BYTES) char memory[];
};
struct block *percpu_new_block(size_t size);
void percpu_drop_block(struct block *block);

// Where the compiler checks addresses, an arena shades all but the bytes that were asked for while
// the kernel's code runs; ASIDE marks what may touch the rest.
#define ASIDE __attribute__((no_sanitize_address))
#ifdef PERCPU_SHADED
void percpu_shade(bool on);
#else
static inline void percpu_shade(bool on) { (void)on; }
#endif

// metadata
void *percpu_zalloc(size_t size, gfp_t gfp); // can fail on purpose, before or after a point
void *percpu_boot_zalloc(size_t size);  // cannot
void percpu_free(void *memory);
#define slab_is_available() true
#define kzalloc(size, gfp) percpu_zalloc(size, gfp)
#define __vmalloc(size, gfp) percpu_zalloc(size, gfp)
#define vzalloc(size) percpu_zalloc(size, GFP_KERNEL)
#define kvzalloc(size, gfp) percpu_zalloc(size, gfp)
#define kfree(memory) percpu_free(memory)
#define vfree(memory) percpu_free(memory)
#define kvfree(memory) percpu_free(memory)
#define kmalloc(size, gfp) percpu_zalloc(size, gfp)
#define kcalloc(count, size, gfp) percpu_zalloc((count) * (size), gfp)
#define kvcalloc(count, size, gfp) percpu_zalloc((count) * (size), gfp)
#define memblock_alloc(size, align) percpu_boot_zalloc(size)
#define memblock_alloc_from(size, align, from) percpu_boot_zalloc(size)
#define memblock_alloc_or_panic(size, align) percpu_boot_zalloc(size)
#define memblock_free(memory, size) percpu_free(memory)
#define memblock_free_early(physical, size) percpu_free((void *)(physical)) // up to 5.15
#define kmemleak_alloc_percpu(pointer, size, gfp) ((void)0)
#define kmemleak_free_percpu(pointer) ((void)0)
#define kmemleak_free(pointer) ((void)0)
#define kmemleak_ignore_phys(address) ((void)0)
#define MAX_DMA_ADDRESS 0UL

// pages: a block of one allocation is one page here, which the km backing indexes
struct page {
    unsigned long index, private, address;
    char *memory;
    int mapped;
};
struct page *percpu_alloc_page(gfp_t gfp);
void percpu_free_page(struct page *page);
struct page *percpu_alloc_block(gfp_t gfp, unsigned int order);
void percpu_free_block(struct page *block, unsigned int order);
#define alloc_pages_node(node, gfp, order) percpu_alloc_page(gfp)
#define alloc_pages(gfp, order) percpu_alloc_block(gfp, order)
#define __free_page(page) percpu_free_page(page)
#define __free_pages(block, order) percpu_free_block(block, order)
#define nth_page(block, n) ((block) + (n))
#define page_address(page) ((void *)(page)->address)
#define set_page_private(page, value) ((page)->private = (value))
#define page_private(page) ((page)->private)

// addresses: each vm area has a table of pages; the first chunk's units have their own place
#define PERCPU_FIRST (PAGE_SIZE << 20)
struct vm_struct {
    void *addr;
    unsigned long area;
};
typedef int pgprot_t;
#define PAGE_KERNEL 0
struct page *percpu_page_at(unsigned long address);
bool percpu_is_area(unsigned long address);
// flags that newer trees pass on; older ones leave it at GFP_KERNEL, inside
#define PERCPU_GFP_(last, gfp, ...) (gfp)
#define PERCPU_GFP(...) PERCPU_GFP_(__VA_ARGS__, GFP_KERNEL, 0)
struct vm_struct **percpu_get_vm_areas(const unsigned long *offsets, int count, gfp_t gfp);
#define pcpu_get_vm_areas(offsets, sizes, count, ...) \
    percpu_get_vm_areas(offsets, ((void)(sizes), count), PERCPU_GFP(__VA_ARGS__))
void pcpu_free_vm_areas(struct vm_struct **areas, int count);
int percpu_map(unsigned long from, unsigned long end, struct page **pages, gfp_t gfp);
#define vmap_pages_range_noflush(from, end, protection, pages, ...) \
    percpu_map(from, end, pages, PERCPU_GFP(__VA_ARGS__))
void vunmap_range_noflush(unsigned long from, unsigned long end);
void percpu_flush(unsigned long from, unsigned long end);
void percpu_clear(void *address, int byte, size_t size);
void percpu_use(unsigned long address, size_t size);
enum { MOST_CLEARED = 16 };
struct percpu_cleared {
    unsigned long from;
    size_t size;
};
extern struct percpu_cleared percpu_cleared[MOST_CLEARED];
extern unsigned int percpu_nr_cleared;
bool percpu_was_cleared(unsigned long address, size_t size);
struct percpu_seen {
    bool mapped, stale;
};
struct percpu_seen percpu_see(unsigned long address);
#define vmalloc_to_page(address) percpu_page_at((unsigned long)(address))
#define virt_to_page(address) percpu_page_at((unsigned long)(address))
#define is_vmalloc_addr(address) (percpu_page_at((unsigned long)(address)) != NULL)
#define page_to_phys(page) ((phys_addr_t)(page))
#define __pa(address) ((phys_addr_t)(address))
#define flush_cache_vmap(from, end) ((void)(from), (void)(end))
#define flush_cache_vunmap(from, end) ((void)(from), (void)(end))
#define flush_cache_vmap_early(from, end) ((void)(from), (void)(end))
#define flush_tlb_kernel_range(from, end) percpu_flush(from, end)

// the static part ends nowhere that matters; pointers count from its start
#define __per_cpu_start ((char *)PAGE_SIZE)
#define __per_cpu_end ((char *)PAGE_SIZE)
#define per_cpu_ptr(pointer, cpu) \
    ((void *)((char *)(pointer) + ((char *)pcpu_base_addr - __per_cpu_start) + \
              pcpu_unit_offsets[cpu]))

struct percpu_given {
    void *address;
    int chunk; // by its number
};

// memory cgroups: one of them, which the current task may belong to
struct mem_cgroup {
    int unused;
};
struct obj_cgroup {
    long references;
};
extern struct obj_cgroup percpu_objcg, percpu_root_objcg;
#define obj_cgroup_is_root(objcg) ((objcg) == &percpu_root_objcg)
// references that the operation under way took for its request, before it has an area (older
// kernels): they count as the area's when it is over
long *percpu_lent(void);
#define mem_cgroup_kmem_disabled() (!percpu_memcg)
#define memcg_kmem_enabled() (percpu_memcg)
#define memcg_kmem_online() (percpu_memcg)
#define MEMCG_PERCPU_B 0
#define mod_memcg_state(memcg, item, value) ((void)(memcg))
#define obj_cgroup_memcg(objcg) ((struct mem_cgroup *)NULL)

static inline struct obj_cgroup *current_obj_cgroup(void)
{
    if (percpu_environment.has_objcg)
        return &percpu_objcg;
    return percpu_environment.root_objcg ? &percpu_root_objcg : NULL;
}

static inline void obj_cgroup_get(struct obj_cgroup *objcg) { percpu_environment.objcg_refs++; }
static inline void obj_cgroup_put(struct obj_cgroup *objcg) { percpu_environment.objcg_refs--; }
static inline struct obj_cgroup *get_obj_cgroup_from_current(void)
{
    *percpu_lent() += percpu_environment.has_objcg;
    return current_obj_cgroup();
}

static inline int obj_cgroup_charge(struct obj_cgroup *objcg, gfp_t gfp, size_t size)
{
    percpu_ask(PERCPU_CHARGE, gfp);
    if (percpu_strikes(&percpu_environment.charge_fault))
        return -ENOMEM;
    percpu_environment.charged += (long)size;
    return 0;
}

static inline void obj_cgroup_uncharge(struct obj_cgroup *objcg, size_t size)
{
    percpu_environment.charged -= (long)size;
}

// under review: whole pages are charged first, and what an area leaves of them given back
#define mem_cgroup_lruvec(memcg, data) ((struct lruvec *)NULL)
#define mod_memcg_lruvec_state(lruvec, item, value) ((void)(lruvec), (void)(value))
#define obj_cgroup_nid(objcg, node) ((void)(node), (objcg))
#define obj_cgroup_precharge(objcg, gfp, pages) \
    obj_cgroup_charge(objcg, gfp, (size_t)(pages) << PAGE_SHIFT)
#define obj_cgroup_unprecharge(objcg, pages) \
    obj_cgroup_uncharge(objcg, (size_t)(pages) << PAGE_SHIFT)
#define obj_cgroup_account_kmem(objcg, pages) ((void)(objcg), (void)(pages))

// trace events
void percpu_note_struct(void *memory, size_t size);
void percpu_note_freed(void *memory);
void percpu_chunk_created(void *base);
void percpu_chunk_destroyed(void *base);
#define trace_percpu_create_chunk(base) percpu_chunk_created(base)
#define trace_percpu_destroy_chunk(base) percpu_chunk_destroyed(base)
#define trace_percpu_alloc_percpu(...) ((void)0)
#define trace_percpu_alloc_percpu_fail(...) percpu_point(PERCPU_FAILED)
#define trace_percpu_free_percpu(...) ((void)0)

#endif
