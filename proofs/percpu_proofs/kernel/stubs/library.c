// The kernel's allocator as one library: its own source, then what drives and reads it. Our own
// text; PERCPU_SOURCE names the tree's mm/percpu.c.
#include "memory.h"
#include PERCPU_STUB // what a reviewer adds for a tree that needs more

struct pcpu_chunk;
static void percpu_examine(const struct pcpu_chunk *chunk); // a tree may be changed to call it

#define memset percpu_clear // the one thing the allocator does with areas
#include PERCPU_SOURCE
#undef memset

#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

void percpu_free_all(void);
void percpu_set_span(unsigned long bytes);
int percpu_actors(void);
void percpu_forget_actors(void);

// Stopping: a call returns early with a code, wherever the kernel stands.

#ifdef PERCPU_SEARCH
enum { BUDGET = 200000 }; // passes through loops that one step may make
#else
enum { BUDGET = 20000000 }; // those of one operation
#endif
long percpu_budget OUTSIDE;
int percpu_haste OUTSIDE = 1;
char percpu_reason[200] OUTSIDE;
static sigjmp_buf entry OUTSIDE;
static volatile sig_atomic_t inside OUTSIDE;
static volatile unsigned long entries OUTSIDE; // calls so far

static void __attribute__((noreturn)) stop(int code, const char *what)
{
    strncpy(percpu_reason, what, sizeof(percpu_reason) - 1);
    siglongjmp(entry, code);
}

void percpu_stop(int code, const char *what)
{
    percpu_note_stop(0, __builtin_frame_address(0));
    stop(code, what);
}

static void __attribute__((noreturn)) stop_in_signal(int code, const char *what, const void *context)
{
    const mcontext_t *at = &((const ucontext_t *)context)->uc_mcontext;

#if defined(__x86_64__)
    enum { RBP = 10, RIP = 16 }; // <ucontext.h> names them for GNU sources alone

    percpu_note_stop((unsigned long)at->gregs[RIP] + 1, (void *)at->gregs[RBP]);
#elif defined(__aarch64__)
    percpu_note_stop(at->pc + 1, (void *)at->regs[29]);
#else
    (void)at;
#endif
    stop(code, what);
}

static void fault(int number, siginfo_t *info, void *context)
{
    const char *what = number == SIGABRT ? "a corrupt heap" : "a bad address";

    if (inside)
        stop_in_signal(PERCPU_FAULT, percpu_is_below_stack(info->si_addr) ? "a stack overflow" : what,
                       context);
    signal(number, SIG_DFL);
    raise(number);
}

static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGABRT };
static struct sigaction before[ARRAY_SIZE(faults)] OUTSIDE; // what these did in the process

static void catch_faults(void)
{
    struct sigaction action = { .sa_sigaction = fault,
                                .sa_flags = SA_NODEFER | SA_ONSTACK | SA_SIGINFO };

    if (SANITIZED)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
        sigaction(faults[i], &action, &before[i]);
}

// A loop may pass through nothing of ours: then a call outlives a timer that rings often. (The virtual
// one is taken: the models of a comparison are timed by it, run/variant_errors.py.)
#ifdef PERCPU_SEARCH
enum { EACH = 20000, MOST_RINGS = 5 }; // microseconds of this process; rings within one step
#else
enum { EACH = 20000, MOST_RINGS = 10 }; // within one operation
#endif

static void ring(int number, siginfo_t *info, void *context)
{
    static unsigned long last OUTSIDE, rings OUTSIDE;

    (void)number, (void)info;
    rings = inside && entries == last ? rings + 1 : 0;
    last = entries;
    if (rings > (unsigned long)(MOST_RINGS / percpu_haste))
        stop_in_signal(PERCPU_ENDLESS, "BAL-3: a loop that does not end", context);
}

static void set_timer(bool on)
{
    const long each = on ? EACH : 0;
    const struct itimerval often = { { 0, each }, { 0, each } };
    const struct sigaction ringing = {
        .sa_sigaction = ring, .sa_flags = SA_NODEFER | SA_ONSTACK | SA_RESTART | SA_SIGINFO,
    };
    const struct sigaction ignored = { .sa_handler = SIG_IGN };

    sigaction(SIGPROF, on ? &ringing : &ignored, NULL);
    setitimer(ITIMER_PROF, &often, NULL);
}

// Begins and ends a search in a process: the timer rings meanwhile, and faults have a stack of their
// own, as the actors' are small.
void percpu_watch(bool on)
{
    static char memory[1 << 16] OUTSIDE;
    static stack_t stack_before OUTSIDE;
    const stack_t stack = { .ss_sp = memory, .ss_size = sizeof(memory) };

    set_timer(on);
    sigaltstack(on ? &stack : &stack_before, on ? &stack_before : NULL);
    for (size_t i = 0; !on && i < ARRAY_SIZE(faults); i++)
        sigaction(faults[i], &before[i], NULL);
}

// A call into the kernel begins or ends. A search has its timer all along; other libraries may live
// side by side, so each has it for as long as a call of its own.
static void enter(bool on)
{
    inside = on;
    entries++;
    percpu_budget = BUDGET / percpu_haste;
    percpu_shade(on);
#ifndef PERCPU_SEARCH
    set_timer(on);
#endif
}

#define ENTER(failed) \
    do { \
        int code_ = sigsetjmp(entry, 0); \
        if (code_) { \
            enter(false); \
            return failed; \
        } \
        enter(true); \
    } while (0)
#define LEAVE(value) \
    do { \
        typeof(value) value_ = (value); \
        enter(false); \
        return value_; \
    } while (0)

// Chunks: each has a number, and a record that outlives nothing but its chunk.

struct reading;
static struct live {
    struct pcpu_chunk *chunk;
    int id;
    struct reading *reading; // what reading.c keeps of it
} *live STATE;
static int nr_live STATE, most_live STATE;
static void forget_reading(struct live *one), forget_readings(void);

// Returns a table with room for more entries, the old one freed.
static void *grown(void *table, size_t entry, long count, long most)
{
    void *more = percpu_boot_zalloc((size_t)most * entry);

    if (table)
        memcpy(more, table, (size_t)count * entry);
    percpu_free(table);
    return more;
}

static int new_live(struct pcpu_chunk *chunk, int id)
{
    if (nr_live == most_live) {
        most_live = most_live * 2 + 16;
        live = grown(live, sizeof(*live), nr_live, most_live);
    }
    live[nr_live] = (struct live){ .chunk = chunk, .id = id };
    return nr_live++;
}

static void forget_live(int n)
{
    forget_reading(&live[n]);
    live[n] = live[--nr_live];
}

static int live_of(const struct pcpu_chunk *chunk)
{
    for (int n = 0; n < nr_live; n++)
        if (live[n].chunk == chunk)
            return n;
    return -1;
}

// The event names the address, not the chunk, which was allocated not long before.
static struct pcpu_chunk *recent[8] STATE;
static int nr_recent STATE;

void percpu_note_struct(void *memory, size_t size)
{
    if (size == pcpu_chunk_struct_size)
        recent[nr_recent++ % (int)ARRAY_SIZE(recent)] = memory;
}

void percpu_note_freed(void *memory)
{
    for (int n = 0; n < nr_live; n++) // without the event that tells
        if (live[n].chunk == memory) {
            if (live[n].id <= 0)
                percpu_stop(PERCPU_BUG, "LIST-1: a chunk that boot has made is destroyed");
            forget_live(n);
            break;
        }
    for (int i = 0; i < (int)ARRAY_SIZE(recent); i++)
        if (recent[i] == memory)
            recent[i] = NULL;
}

// A chunk has an address before the event: with the km backing its pages are counted in between.
static void note_addressed(void)
{
    for (int i = 0; i < (int)ARRAY_SIZE(recent); i++)
        if (recent[i] && percpu_is_area((unsigned long)recent[i]->base_addr)) {
            new_live(recent[i], (int)percpu_environment.creates);
            recent[i] = NULL;
        }
}

void percpu_chunk_created(void *base)
{
    (void)base;
    note_addressed();
    percpu_environment.creates++;
}

void percpu_chunk_destroyed(void *base)
{
    percpu_environment.destroys++;
    for (int n = 0; n < nr_live; n++)
        if (live[n].id > 0 && live[n].chunk->base_addr == base) {
            forget_live(n);
            return;
        }
}

// Boot

static struct pcpu_alloc_info *layout(const struct percpu_shape *shape)
{
    struct pcpu_alloc_info *info = pcpu_alloc_alloc_info(shape->groups, shape->cpus + shape->spare);
    unsigned int *cpus = info->groups[0].cpu_map;
    unsigned long offset = 0;

    info->static_size = (size_t)shape->static_size;
    info->reserved_size = (size_t)shape->reserved;
    info->dyn_size = (size_t)shape->dyn;
    info->unit_size = info->alloc_size = (size_t)shape->unit;
    info->atom_size = PAGE_SIZE;
    for (int group = 0, cpu = 0, unit = 0; group < shape->groups; group++) {
        struct pcpu_group_info *this = &info->groups[group];
        int here = shape->cpus / shape->groups + (group < shape->cpus % shape->groups);

        this->base_offset = offset;
        this->cpu_map = cpus + unit;
        for (int i = 0; i < here; i++, cpu++)
            this->cpu_map[i] = (unsigned int)cpu;
        here += shape->spare / shape->groups + (group < shape->spare % shape->groups);
        this->nr_units = here; // those behind the CPUs' belong to none
        unit += here;
        offset += (unsigned long)(this->nr_units + 1) * info->unit_size; // a unit's gap between
    }
    percpu_set_span(offset);
    return info;
}

int percpu_boot(const struct percpu_shape *shape)
{
    struct pcpu_alloc_info *info;

    catch_faults();
    ENTER(-1);
    percpu_cpus = shape->cpus;
    percpu_memcg = shape->memcg;
    percpu_environment.has_objcg = 1;
    percpu_environment.root_objcg = shape->root_objcg;
    percpu_environment.memory = 1 << 19;
    info = layout(shape);
    pcpu_setup_first_chunk(info, (void *)PERCPU_FIRST);
    pcpu_free_alloc_info(info);
    if (shape->async_enabled)
        percpu_enable_async();
    new_live(pcpu_first_chunk, 0);
    if (pcpu_reserved_chunk)
        new_live(pcpu_reserved_chunk, -1);
    percpu_environment.warnings = percpu_environment.printed = percpu_environment.misuse = 0;
    LEAVE(0);
}

void percpu_end(void)
{
    percpu_forget_actors();
    while (nr_live)
        forget_live(0);
    forget_readings();
    percpu_free_all();
}

// Operations

void **percpu_handles STATE;
#define handles percpu_handles
static long nr_handles STATE;
int percpu_refuses OUTSIDE;

// What each handle was given last, and by which chunk, whether it has freed it since or not.
struct percpu_given *percpu_given STATE;

static void need_handles(long count)
{
    if (count <= nr_handles)
        return;
    count = max(count, nr_handles * 2 + 16);
    handles = grown(handles, sizeof(*handles), nr_handles, count);
    percpu_given = grown(percpu_given, sizeof(*percpu_given), nr_handles, count);
    nr_handles = count;
}

static void script(const struct percpu_operation *operation)
{
    struct percpu_environment *now = &percpu_environment;
    long count = (long)operation->size;

    switch (operation->kind) {
    case 'P': now->page_fault.next = count; break;
    case 'Q': now->page_fault.kth = count; break;
    case 'M': now->map_fault.next = count; break;
    case 'm': now->map_fault.kth = count; break;
    case 'C': now->vm_fault.next = count; break;
    case 'Z': now->metadata_fault.kth = count; break;
    case 'K': now->killed_waits = count; break;
    case 'H': now->charge_fault.next = count; break;
    case 'U': now->has_objcg = count == 1; break;
    case 'E': percpu_enable_async(); break;
    default: percpu_stop(PERCPU_BUG, "an operation that is not in the language");
    }
}

static void work(void)
{
    percpu_environment.work_pending = 0;
    pcpu_balance_work.function(&pcpu_balance_work);
}

// Every CPU's copy of an area has been cleared by the operation that hands it out.
static void check_cleared(unsigned long address, size_t size)
{
    unsigned int cpu;

    if ((unsigned int)percpu_cpus <= MOST_CLEARED)
        for_each_possible_cpu(cpu)
            if (!percpu_was_cleared(address + pcpu_unit_offsets[cpu], size)) {
                percpu_complain(&percpu_environment.stray, "API-6: an area is not cleared");
                break;
            }
    memset(percpu_cleared, 0, sizeof(percpu_cleared));
    percpu_nr_cleared = 0;
}

static int live_with(int id)
{
    for (int n = 0; n < nr_live; n++)
        if (live[n].id == id)
            return n;
    return -1;
}

// Whether a tree that refuses wrong frees can be asked for this one: that takes a page of a live
// chunk, and no area that starts there. Anything else is no question to the allocator (API-2).
static bool may_refuse(int id, void *pointer)
{
    int n = live_with(id);
    const struct pcpu_chunk *chunk;
    unsigned long at, bit;

    if (!percpu_refuses || !pointer || n < 0)
        return false;
    chunk = live[n].chunk;
    at = (unsigned long)__pcpu_ptr_to_addr(pointer) - (unsigned long)chunk->base_addr;
    bit = at / PCPU_MIN_ALLOC_SIZE;
    if (at >= (unsigned long)chunk->nr_pages << PAGE_SHIFT ||
        !test_bit(at >> PAGE_SHIFT, chunk->populated) ||
        (test_bit(bit, chunk->alloc_map) && test_bit(bit, chunk->bound_map)))
        return false;
    return chunk->immutable ||
        percpu_page_at((unsigned long)chunk->base_addr + pcpu_unit_offsets[0] + at) != NULL;
}

// Does one operation; the actors share it.
void percpu_do(const struct percpu_operation *operation, struct percpu_outcome *outcome)
{
    long warnings = percpu_environment.warnings;
    void **handle = &handles[operation->handle], *address;
    unsigned int scope;

    *outcome = (struct percpu_outcome){ .ok = 1 };
    switch (operation->kind) {
    case 'a':
        scope = percpu_enter_scope(PERCPU_SCOPES(operation->gfp));
        address = PERCPU_ALLOC(operation->size, operation->align, operation->reserved,
                               operation->gfp & PERCPU_FLAGS);
        percpu_leave_scope(PERCPU_SCOPES(operation->gfp), scope);
        handles[operation->handle] = address; // the table may have moved meanwhile
        percpu_given[operation->handle] = (struct percpu_given){ .address = address };
        outcome->ok = address != NULL;
        if (address) {
            struct pcpu_chunk *chunk = pcpu_chunk_addr_search(__pcpu_ptr_to_addr(address));
            int n = live_of(chunk);

            if (n < 0)
                percpu_stop(PERCPU_BUG, "an area of no live chunk");
            outcome->chunk = percpu_given[operation->handle].chunk = live[n].id;
            outcome->off = (char *)__pcpu_ptr_to_addr(address) - (char *)chunk->base_addr;
            check_cleared((unsigned long)__pcpu_ptr_to_addr(address), operation->size);
        }
        break;
    case 'f':
        address = *handle;
        *handle = NULL;
        outcome->ok = address != NULL;
        free_percpu(address);
        break;
    case 'd':
    case 'w':
        address = (char *)percpu_given[operation->handle].address +
            (operation->kind == 'w' ? operation->size : 0);
        outcome->ok = percpu_given[operation->handle].address &&
            may_refuse(percpu_given[operation->handle].chunk, address);
        if (outcome->ok)
            free_percpu(address);
        break;
    case 's': // no kernel says what comes of it
        outcome->ok = 0;
        break;
    case 'B':
        outcome->ok = (int)percpu_environment.work_pending;
        if (!outcome->ok)
            break;
        // falls through
    case 'b':
        work();
        break;
    default:
        script(operation);
    }
    outcome->warned = (int)(percpu_environment.warnings - warnings);
    percpu_environment.objcg_refs += *percpu_lent();
    *percpu_lent() = 0;
}

int percpu_apply(const struct percpu_operation *operation, struct percpu_outcome *outcome)
{
    need_handles(operation->handle + 1);
    ENTER(-1);
    percpu_do(operation, outcome);
    if (operation->kind == 'a' && outcome->ok) {
        char *base = __pcpu_ptr_to_addr(handles[operation->handle]);
        unsigned int cpu;

        for_each_possible_cpu(cpu)
            percpu_use((unsigned long)base + pcpu_unit_offsets[cpu], operation->size);
    }
    LEAVE(0);
}

long percpu_run(const struct percpu_operation *operations, long count, long handles_needed)
{
    struct percpu_outcome outcome;

    need_handles(handles_needed);
    ENTER(-1L);
    for (long n = 0; n < count; n++) {
        percpu_budget = BUDGET / percpu_haste;
        entries++;
        percpu_do(&operations[n], &outcome);
    }
    LEAVE(count);
}

int percpu_mutex_held(void)
{
    return pcpu_alloc_mutex.held;
}

void percpu_prepare(const struct percpu_operation *operation)
{
    need_handles(operation->handle + 1);
}

int percpu_guarded(int (*step)(int, struct percpu_outcome *), int actor,
                   struct percpu_outcome *outcome)
{
    ENTER(code_);
    LEAVE(step(actor, outcome));
}

// A tree may have others than 6.12: what is promised goes by them.
#ifndef PCPU_SLOT_FAIL_THRESHOLD
#define PCPU_SLOT_FAIL_THRESHOLD 3
#endif
const int percpu_constants[4] = {
    PCPU_EMPTY_POP_PAGES_LOW, PCPU_EMPTY_POP_PAGES_HIGH, PCPU_SLOT_FAIL_THRESHOLD, PERCPU_NEEDED,
};

#ifdef PERCPU_SEARCH
#include "search/describe.c"
#else
#include "reading.c"
#endif
