// Locks, the work queue, and the points at which an actor stands still. Our own text.
#ifndef PERCPU_LOCKS_H
#define PERCPU_LOCKS_H

#include "types.h"

// Where an operation under way stands: between two of these others may run.
enum {
    PERCPU_DONE,
    PERCPU_UNLOCKED, // pcpu_lock has just been released
    PERCPU_MEMORY,   // about to allocate metadata
    PERCPU_RELEASED, // the mutex has just been released
    PERCPU_FAILED,   // about to report a failed allocation
    PERCPU_RESCHED,  // at a call of cond_resched
    PERCPU_WAITING,  // for the mutex
    PERCPU_ACCESS,   // about to access what others may, without pcpu_lock
};
extern int percpu_running; // the actor that runs, -1 if none
void percpu_yield(int point);
static inline void percpu_point(int point)
{
    if (percpu_running >= 0)
        percpu_yield(point);
}

typedef struct {
    int held;
} spinlock_t;
extern int percpu_spins; // spinlocks held
#define DEFINE_SPINLOCK(name) spinlock_t name

static inline void percpu_misuse(bool wrong, const char *what)
{
    if (wrong)
        percpu_complain(&percpu_environment.misuse, what);
}

static inline void spin_lock(spinlock_t *lock)
{
    percpu_tick();
    if (lock->held)
        percpu_stop(PERCPU_BUG, "LOCK-1: a spinlock is taken twice");
    lock->held = 1;
    percpu_spins++;
}

static inline void spin_unlock(spinlock_t *lock)
{
    percpu_misuse(!lock->held, "LOCK-1: a spinlock is released that nobody holds");
    lock->held = 0;
    if (--percpu_spins <= 0) { // others run once the outermost is released
        percpu_spins = 0;
        percpu_point(PERCPU_UNLOCKED);
    }
}
#define spin_lock_irq(lock) spin_lock(lock)
#define spin_unlock_irq(lock) spin_unlock(lock)
#define spin_lock_irqsave(lock, flags) ((flags) = 0, spin_lock(lock))
#define spin_unlock_irqrestore(lock, flags) ((void)(flags), spin_unlock(lock))

struct mutex {
    int held; // by whom, 0: nobody
};
#define PERCPU_ME (percpu_running + 2)
#define DEFINE_MUTEX(name) struct mutex name

static inline void mutex_lock(struct mutex *mutex)
{
    while (mutex->held) {
        if (percpu_running < 0)
            percpu_stop(PERCPU_BUG, "LOCK-2: a mutex is taken twice");
        percpu_yield(PERCPU_WAITING);
    }
    mutex->held = PERCPU_ME;
}

static inline int mutex_lock_killable(struct mutex *mutex)
{
    mutex_lock(mutex);
    if (!percpu_environment.killed_waits)
        return 0;
    percpu_environment.killed_waits--;
    mutex->held = 0;
    return -EINTR;
}

static inline void mutex_unlock(struct mutex *mutex)
{
    percpu_misuse(!mutex->held, "LOCK-2: a mutex is released that nobody holds");
    percpu_misuse(mutex->held && mutex->held != PERCPU_ME, "LOCK-2: a mutex is released by another");
    mutex->held = 0;
    percpu_point(PERCPU_RELEASED);
}
#define lockdep_assert_held(lock) \
    percpu_misuse(!(lock)->held, "LOCK-1: a lock that is wanted is not held, " PERCPU_HERE)
#define lockdep_is_held(lock) ((lock)->held)

static inline bool spin_trylock(spinlock_t *lock)
{
    if (lock->held)
        return false;
    spin_lock(lock);
    return true;
}
static inline bool mutex_trylock(struct mutex *mutex)
{
    return mutex->held ? false : (mutex->held = PERCPU_ME);
}
#define spin_trylock_irqsave(lock, flags) ((flags) = 0, spin_trylock(lock))
#define spin_is_locked(lock) ((lock)->held)
#define mutex_is_locked(mutex) ((mutex)->held)
#define lockdep_assert_not_held(lock) \
    percpu_misuse((lock)->held, "LOCK-2: a lock is held that must not be, " PERCPU_HERE)
#define lockdep_assert_irqs_disabled() ((void)0)

// Locks that the end of a scope releases.
typedef spinlock_t *percpu_spinlock;
typedef struct mutex *percpu_mutex;
static inline percpu_spinlock percpu_take_spinlock(spinlock_t *lock)
{
    spin_lock(lock);
    return lock;
}
static inline percpu_mutex percpu_take_mutex(struct mutex *mutex)
{
    mutex_lock(mutex);
    return mutex;
}
static inline void percpu_leave_spinlock(percpu_spinlock *lock) { spin_unlock(*lock); }
static inline void percpu_leave_mutex(percpu_mutex *mutex) { mutex_unlock(*mutex); }
#define percpu_spinlock_irq percpu_spinlock
#define percpu_spinlock_irqsave percpu_spinlock
#define percpu_take_spinlock_irq percpu_take_spinlock
#define percpu_take_spinlock_irqsave percpu_take_spinlock
#define percpu_leave_spinlock_irq percpu_leave_spinlock
#define percpu_leave_spinlock_irqsave percpu_leave_spinlock
#define PERCPU_UNIQUE_(line) held_##line##_
#define PERCPU_UNIQUE(line) PERCPU_UNIQUE_(line)
#define PERCPU_HELD(kind, name) \
    percpu_##kind name __attribute__((cleanup(percpu_leave_##kind), unused)) = percpu_take_##kind
#define guard(kind) PERCPU_HELD(kind, PERCPU_UNIQUE(__LINE__))
#define scoped_guard(kind, lock) \
    for (PERCPU_HELD(kind, held_)(lock), once_ = NULL; !once_; once_ = held_)

// One CPU runs at a time here: a plain variable is atomic.
typedef struct {
    int counter;
} atomic_t;
typedef struct {
    long counter;
} atomic_long_t;
#define ATOMIC_INIT(value) { value }
#define ATOMIC_LONG_INIT(value) { value }
#define atomic_read(atomic) ((atomic)->counter)
#define atomic_set(atomic, value) ((void)((atomic)->counter = (value)))
#define atomic_inc(atomic) ((void)(atomic)->counter++)
#define atomic_dec(atomic) ((void)(atomic)->counter--)
#define atomic_add(value, atomic) ((void)((atomic)->counter += (value)))
#define atomic_sub(value, atomic) ((void)((atomic)->counter -= (value)))
#define atomic_inc_return(atomic) (++(atomic)->counter)
#define atomic_dec_return(atomic) (--(atomic)->counter)
#define atomic_dec_and_test(atomic) (--(atomic)->counter == 0)
#define atomic_xchg(atomic, value) \
    ({ int was_ = (atomic)->counter; (atomic)->counter = (value); was_; })
#define atomic_long_read atomic_read
#define atomic_long_set atomic_set
#define atomic_long_inc atomic_inc
#define atomic_long_dec atomic_dec
#define atomic_long_add atomic_add
#define atomic_long_sub atomic_sub

// Takes one away where that leaves nothing negative; the result is what would be left.
static inline int atomic_dec_if_positive(atomic_t *atomic)
{
    int left = atomic->counter - 1;

    if (left >= 0)
        atomic->counter = left;
    return left;
}

struct work_struct {
    void (*function)(struct work_struct *work);
};
#define DECLARE_WORK(name, run) struct work_struct name = { run }

static inline bool schedule_work(struct work_struct *work)
{
    percpu_environment.balance_requests++;
    percpu_environment.work_pending = 1;
    return true;
}
#define queue_work(queue, work) schedule_work(work)

#define cond_resched() percpu_point(PERCPU_RESCHED)
#define rcu_read_lock() ((void)0)
#define rcu_read_unlock() ((void)0)
#define preempt_disable() ((void)0)
#define preempt_enable() ((void)0)
#define raw_smp_processor_id() 0
#define smp_processor_id() 0

// A task that must not cause I/O, or must not use file systems: the balance work says so of itself.
enum { PERCPU_NOIO = 1, PERCPU_NOFS = 2 }; // as PERCPU_SCOPES has them
extern unsigned int percpu_scope;
static inline unsigned int percpu_enter_scope(unsigned int scope)
{
    const unsigned int was = percpu_scope & scope;

    percpu_scope |= scope;
    return was;
}
static inline void percpu_leave_scope(unsigned int scope, unsigned int was)
{
    percpu_scope = (percpu_scope & ~scope) | was;
}
#define memalloc_noio_save() percpu_enter_scope(PERCPU_NOIO)
#define memalloc_noio_restore(was) percpu_leave_scope(PERCPU_NOIO, was)
#define memalloc_nofs_save() percpu_enter_scope(PERCPU_NOFS)
#define memalloc_nofs_restore(was) percpu_leave_scope(PERCPU_NOFS, was)
static inline gfp_t current_gfp_context(gfp_t gfp)
{
    if (percpu_scope & PERCPU_NOIO)
        gfp &= ~(__GFP_IO | __GFP_FS);
    else if (percpu_scope & PERCPU_NOFS)
        gfp &= ~__GFP_FS;
    return gfp;
}

#endif
