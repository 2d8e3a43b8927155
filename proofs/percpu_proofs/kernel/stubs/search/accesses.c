// What the kernel's code does to shared memory without pcpu_lock, by the hooks that the compiler
// puts in with -fsanitize=thread. Our own text.
#include "region.h"

struct percpu_access percpu_accesses[MOST_ACCESSES] OUTSIDE;
int percpu_nr_accesses OUTSIDE;
unsigned long percpu_access_stops[64] OUTSIDE;
int percpu_nr_access_stops OUTSIDE;

// Notes an access once for each place, field and lock state; a locked one only if it writes.
static void note(const void *address, bool write, unsigned long pc)
{
    const bool locked = percpu_lock_held(), mutex = percpu_mutex_holder() == percpu_running;
    int what;

    if (percpu_running < 0 || (locked && !write))
        return;
    what = percpu_field((unsigned long)address);
    if (what == PERCPU_PRIVATE)
        return;
    for (int i = 0; i < percpu_nr_accesses; i++) {
        const struct percpu_access *a = &percpu_accesses[i];

        if (a->pc == pc && a->what == what && a->write == write && a->locked == locked &&
            a->mutex == mutex)
            goto known;
    }
    if (percpu_nr_accesses < MOST_ACCESSES)
        percpu_accesses[percpu_nr_accesses++] =
            (struct percpu_access){ pc, what, write, locked, mutex, percpu_node, percpu_label };
known:
    for (int i = 0; i < percpu_nr_access_stops && !locked; i++)
        if (percpu_access_stops[i] == pc)
            percpu_yield(PERCPU_ACCESS);
}

#define HERE ((unsigned long)__builtin_return_address(0))
#define HOOKS(size) \
    void __tsan_read##size(void *a) { note(a, false, HERE); } \
    void __tsan_write##size(void *a) { note(a, true, HERE); } \
    void __tsan_unaligned_read##size(void *a) { note(a, false, HERE); } \
    void __tsan_unaligned_write##size(void *a) { note(a, true, HERE); } \
    void __tsan_volatile_read##size(void *a) { note(a, false, HERE); } \
    void __tsan_volatile_write##size(void *a) { note(a, true, HERE); }
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_read_range(void *a, long size) { (void)size; note(a, false, HERE); }
void __tsan_write_range(void *a, long size) { (void)size; note(a, true, HERE); }
void __tsan_func_entry(void *call) { (void)call; }
void __tsan_func_exit(void) {}
void __tsan_init(void) {}
