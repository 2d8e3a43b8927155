// What the compiled library offers to Python. cffi reads this file as it stands: declarations only.

struct percpu_fault {
    long next; // so many of the coming requests fail
    long kth;  // the request that fails, counted from now; 0: none
};

// Scripted failures, and counters of what the allocator asked the kernel for.
struct percpu_environment {
    struct percpu_fault page_fault, map_fault, vm_fault, metadata_fault, charge_fault;
    long killed_waits, has_objcg, root_objcg, memory;
    // from here on in the order that the comparison reads
    long live_pages, page_allocs, creates, destroys;
    long tlb_flushes, warnings, charged, objcg_refs, balance_requests, work_pending;
    long printed, stack_dumps; // differ between versions
    long stray;  // memory touched where nothing is mapped, through a stale translation or not
                 // zeroed; pages freed while mapped
    long misuse; // locks taken or released wrongly
    long unmaps; // units' ranges unmapped
    long blocks; // of memory other than pages that the allocator holds
};

// What was asked for, with the flags of percpu_spec.gfp, the task's scope applied. The count leaves out
// a request that is like the one before it.
enum { PERCPU_METADATA, PERCPU_AREAS, PERCPU_PAGES, PERCPU_TABLES, PERCPU_CHARGE, PERCPU_KINDS,
       MOST_REQUESTS = 64 };
struct percpu_request {
    int kind;
    unsigned int gfp;
    long count;
};
extern struct percpu_request percpu_requests[64];
extern int percpu_nr_requests;
extern long percpu_asked; // the sum of all counts

struct percpu_shape {
    long unit, static_size, reserved, dyn;
    int cpus, groups, spare, memcg, async_enabled; // spare: units that belong to no CPU
    int root_objcg; // a task of the root group has an object cgroup (from 7.1 on)
};

extern int percpu_refuses; // a free that names no live area is refused: it may be asked for

struct percpu_operation {
    int kind; // a letter of the operation language
    int handle;
    unsigned long size, align; // of the others than 'a', size is the count, or an offset
    int reserved;
    unsigned int gfp; // from bit 16 on: the scopes that the task is in
};

struct percpu_outcome {
    int ok, chunk, warned;
    long off;
};

// One chunk as it stands. `words`: id, slot, computed slot, isolated, immutable, free_bytes,
// nr_pages, nr_populated, nr_empty_pop_pages, start_offset, end_offset, then seven hints of the
// chunk and of each block. `maps`: a byte a bit, populated, alloc_map, bound_map, and the object
// vector where there is one.
struct percpu_record {
    int id, nr_words;
    long nr_maps;
    int *words;
    unsigned char *maps;
    long changes; // how often words or maps have changed
};

extern struct percpu_environment percpu_environment;
extern char percpu_reason[200];   // why the last call stopped
extern int percpu_haste;          // this part of the time is enough to call a loop endless
extern int percpu_globals[8];     // nr_populated, float, atomic_failed, async, and four slots
// LOW and HIGH of the float, the slot below which chunks that fail go, and the flags that a request
// needs, all of them, to sleep
extern const int percpu_constants[4];
extern struct percpu_record **percpu_records;
extern long *percpu_places; // of each record id, list (-1 reserved, -2 owned), and changes
// Ids of the chunks that searches have examined since the count was set to 0, the first ones of
// them; in a tree that is changed to tell.
extern int percpu_examined[4096], percpu_nr_examined;

// Each returns a negative number when the kernel stopped; percpu_reason says why.
int percpu_boot(const struct percpu_shape *shape);
int percpu_apply(const struct percpu_operation *operation, struct percpu_outcome *outcome);
long percpu_run(const struct percpu_operation *operations, long count, long handles);
int percpu_read(void); // how many records there are now
void percpu_end(void);

// Actors: operations under way, each on a stack of its own. A step runs one to its next point.
int percpu_actor(const struct percpu_operation *operation);
int percpu_step(int actor, struct percpu_outcome *outcome);
int percpu_mutex_held(void);
