// Actors on stacks that a search saves and restores with the rest. Our own text.
#include "region.h"

void percpu_do(const struct percpu_operation *operation, struct percpu_outcome *outcome);
int percpu_guarded(int (*step)(int, struct percpu_outcome *), int actor,
                   struct percpu_outcome *outcome);

unsigned int percpu_stops OUTSIDE = ~0u;
int percpu_running = -1;
struct actor percpu_actors_[ACTORS];
static long lent[ACTORS + 1];
static void *caller OUTSIDE;
static bool away OUTSIDE; // on an actor's stack
extern unsigned int percpu_scope;

long *percpu_lent(void) { return &lent[percpu_running + 1]; }

// Goes on with another stack. What is needed to come back lies on the stack that is left: all that
// a search has to keep is what lies there, from where `from` says.
void percpu_switch(void **from, void *to);
#if defined(PERCPU_UCONTEXT) || !(defined(__x86_64__) || defined(__aarch64__))
#include <ucontext.h>

enum { BELOW = 256 }; // bytes of a stack that percpu_switch may use below the context
struct left {
    void *frame, *back;
    ucontext_t context;
};

static struct left *left_at(void **sp) { return (struct left *)((char *)sp + BELOW); }

noinline void percpu_switch(void **from, void *to)
{
    struct left here = { .frame = __builtin_frame_address(0), .back = __builtin_return_address(0) };

    *from = (char *)&here - BELOW;
    swapcontext(&here.context, &left_at(to)->context);
}

static void **lay(void **top, void (*entry)(void))
{
    const unsigned long size = ALIGN(sizeof(struct left), 64);
    struct left *left = (struct left *)((char *)top - size);

    getcontext(&left->context);
    left->context.uc_stack.ss_sp = (char *)top - STACK_SIZE;
    left->context.uc_stack.ss_size = STACK_SIZE - size;
    makecontext(&left->context, entry, 0);
    return (void **)((char *)left - BELOW);
}
static void *frame_of(void **sp) { return *(void **)left_at(sp)->frame; }
static void *return_of(void **sp) { return left_at(sp)->back; }
#elif defined(__x86_64__)
enum { SAVED = 6 };
asm(".text\n.hidden percpu_switch\n.globl percpu_switch\n.type percpu_switch,@function\n"
    "percpu_switch:\n"
    "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n");

static void **lay(void **top, void (*entry)(void))
{
    *--top = NULL;
    *--top = (void *)entry; // the stack is 8 bytes off a multiple of 16 once this is popped
    return top - SAVED;
}
static void *frame_of(void **sp) { return sp[5]; }
static void *return_of(void **sp) { return sp[6]; }
#elif defined(__aarch64__)
enum { SAVED = 20 }; // x19 to x30, d8 to d15
asm(".text\n.hidden percpu_switch\n.globl percpu_switch\n.type percpu_switch,%function\n"
    "percpu_switch:\n"
    "sub sp, sp, #160\n"
    "stp x19, x20, [sp, #0]\nstp x21, x22, [sp, #16]\nstp x23, x24, [sp, #32]\n"
    "stp x25, x26, [sp, #48]\nstp x27, x28, [sp, #64]\nstp x29, x30, [sp, #80]\n"
    "stp d8, d9, [sp, #96]\nstp d10, d11, [sp, #112]\n"
    "stp d12, d13, [sp, #128]\nstp d14, d15, [sp, #144]\n"
    "mov x9, sp\nstr x9, [x0]\nmov sp, x1\n"
    "ldp x19, x20, [sp, #0]\nldp x21, x22, [sp, #16]\nldp x23, x24, [sp, #32]\n"
    "ldp x25, x26, [sp, #48]\nldp x27, x28, [sp, #64]\nldp x29, x30, [sp, #80]\n"
    "ldp d8, d9, [sp, #96]\nldp d10, d11, [sp, #112]\n"
    "ldp d12, d13, [sp, #128]\nldp d14, d15, [sp, #144]\n"
    "add sp, sp, #160\nret\n");

static void **lay(void **top, void (*entry)(void))
{
    top -= SAVED;
    top[11] = (void *)entry;
    return top;
}
static void *frame_of(void **sp) { return sp[10]; }
static void *return_of(void **sp) { return sp[11]; }
#endif

// A switch as those who check addresses know it: they are told the stack that it goes to.
#ifdef PERCPU_SHADED
#include <sanitizer/common_interface_defs.h>

static const void *caller_stack OUTSIDE;
static size_t caller_stack_size OUTSIDE;

static void arrive(void *fake) { __sanitizer_finish_switch_fiber(fake, NULL, NULL); }
static void arrive_first(void)
{
    __sanitizer_finish_switch_fiber(NULL, &caller_stack, &caller_stack_size);
}
static void leave(void **fake, const void *stack, size_t size)
{
    __sanitizer_start_switch_fiber(fake, stack, size);
}
static void leave_to_caller(void **fake)
{
    leave(fake, caller_stack, caller_stack_size);
}
#else
static void arrive(void *fake) { (void)fake; }
static void arrive_first(void) {}
static void leave(void **fake, const void *stack, size_t size) { (void)fake, (void)stack, (void)size; }
static void leave_to_caller(void **fake) { (void)fake; }
#endif

void percpu_yield(int point)
{
    struct actor *actor = &percpu_actors_[percpu_running];
    void *fake = NULL;

    if (point != PERCPU_UNLOCKED && percpu_lock_held())
        percpu_complain(&percpu_environment.misuse,
                        "LOCK-2: a step may sleep, or stands still, with pcpu_lock held");
    if (point != PERCPU_WAITING && !(percpu_stops >> point & 1))
        return;
    actor->point = point;
    actor->scope = percpu_scope;
    leave_to_caller(&fake);
    percpu_switch(&actor->sp, caller);
    arrive(fake);
}

static void __attribute__((noreturn)) entry(void)
{
    struct actor *actor = &percpu_actors_[percpu_running];

    arrive_first();
    percpu_do(&actor->operation, &actor->outcome);
    actor = &percpu_actors_[percpu_running];
    actor->point = PERCPU_DONE;
    leave_to_caller(NULL);
    percpu_switch(&actor->sp, caller);
    __builtin_trap();
}

void percpu_actor_begin(int number, const struct percpu_operation *operation)
{
    struct actor *actor = &percpu_actors_[number];

    memset((void *)(STACK_TOP(number) - STACK_SIZE), 0, STACK_SIZE);
    *actor = (struct actor){ .operation = *operation, .point = PERCPU_UNLOCKED };
    actor->sp = lay((void **)STACK_TOP(number), entry);
}

static int step(int number, struct percpu_outcome *outcome)
{
    struct actor *actor = &percpu_actors_[number];
    void *fake = NULL;

    percpu_running = number;
    percpu_scope = actor->scope;
    away = true;
    leave(&fake, (void *)(STACK_TOP(number) - STACK_SIZE), STACK_SIZE);
    percpu_switch(&caller, actor->sp);
    arrive(fake);
    away = false;
    if (actor->point == PERCPU_DONE)
        actor->sp = (void *)STACK_TOP(number);
    *outcome = actor->outcome;
    return actor->point;
}

int percpu_actor_step(int number, struct percpu_outcome *outcome)
{
    int point = percpu_guarded(step, number, outcome);

    if (away) { // it stopped where it stood
        leave_to_caller(NULL);
        arrive(NULL);
        away = false;
    }
    percpu_running = -1;
    percpu_scope = 0;
    return point;
}

unsigned long percpu_stop_trace[32] OUTSIDE;
int percpu_nr_stop_trace OUTSIDE;

void percpu_note_stop(unsigned long pc, void **frame)
{
    unsigned long at = (unsigned long)frame;
    int count = 0;

    if (pc)
        percpu_stop_trace[count++] = pc;
    while (at >= STACKS && at < STACKS_END - 16 && !percpu_is_below_stack(frame) &&
           count < (int)ARRAY_SIZE(percpu_stop_trace)) {
        percpu_stop_trace[count++] = (unsigned long)frame[1];
        frame = frame[0];
        if ((unsigned long)frame <= at)
            break;
        at = (unsigned long)frame;
    }
    percpu_nr_stop_trace = count;
}

bool percpu_is_below_stack(const void *address)
{
    const unsigned long at = (unsigned long)address;

    return at >= STACKS && at < STACKS_END && (at - STACKS) % (2 * STACK_SIZE) < STACK_SIZE;
}

int percpu_search_trace(int number, unsigned long *addresses, int most, int *point)
{
    struct actor *actor = &percpu_actors_[number];
    unsigned long top = STACK_TOP(number);
    void **frame;
    int count = 0;

    *point = actor->point;
    if (!actor->sp || actor->point == PERCPU_DONE)
        return 0;
    addresses[count++] = (unsigned long)return_of(actor->sp);
    frame = frame_of(actor->sp);
    while (count < most && (unsigned long)frame > (unsigned long)actor->sp &&
           (unsigned long)frame < top - 16) {
        addresses[count++] = (unsigned long)frame[1];
        frame = *frame;
    }
    return count;
}

void percpu_search_operation(int actor, struct percpu_operation *operation)
{
    *operation = percpu_actors_[actor].operation;
}

int percpu_search_holder(void) { return percpu_mutex_holder(); }

int percpu_actors(void) { return ACTORS; }
int percpu_actor(const struct percpu_operation *operation) { (void)operation; return -1; }
int percpu_step(int actor, struct percpu_outcome *outcome) { (void)actor, (void)outcome; return -1; }
void percpu_forget_actors(void) {}
