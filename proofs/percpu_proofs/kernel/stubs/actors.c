// Actors: operations under way, each on a stack of its own. Our own text.
#include <ucontext.h>

#include "locks.h"

enum { MOST_ACTORS = 64, STACK = 1 << 18 };

void percpu_do(const struct percpu_operation *operation, struct percpu_outcome *outcome);
void percpu_prepare(const struct percpu_operation *operation);
int percpu_guarded(int (*step)(int, struct percpu_outcome *), int actor,
                   struct percpu_outcome *outcome);

int percpu_running = -1;
static long lent[MOST_ACTORS + 1];

long *percpu_lent(void)
{
    return &lent[percpu_running + 1];
}

static struct actor {
    ucontext_t context;
    char *stack;
    struct percpu_operation operation;
    struct percpu_outcome outcome;
    int point;
    unsigned int scope; // belongs to the task
} actors[MOST_ACTORS];
static int nr_actors;
static ucontext_t caller;
extern unsigned int percpu_scope;

void percpu_yield(int point)
{
    struct actor *actor = &actors[percpu_running];

    actor->point = point;
    actor->scope = percpu_scope;
    swapcontext(&actor->context, &caller);
}

static void body(int number)
{
    struct actor *actor = &actors[number];

    percpu_do(&actor->operation, &actor->outcome);
    actor->point = PERCPU_DONE;
}

int percpu_actor(const struct percpu_operation *operation)
{
    struct actor *actor = &actors[nr_actors];

    if (nr_actors == MOST_ACTORS)
        return -1;
    percpu_prepare(operation);
    actor->operation = *operation;
    actor->stack = malloc(STACK);
    if (!actor->stack)
        abort();
    getcontext(&actor->context);
    actor->context.uc_stack.ss_sp = actor->stack;
    actor->context.uc_stack.ss_size = STACK;
    actor->context.uc_link = &caller;
    makecontext(&actor->context, (void (*)(void))body, 1, nr_actors);
    actor->point = PERCPU_UNLOCKED;
    return nr_actors++;
}

static int step(int number, struct percpu_outcome *outcome)
{
    struct actor *actor = &actors[number];

    percpu_running = number;
    percpu_scope = actor->scope;
    swapcontext(&caller, &actor->context);
    percpu_running = -1;
    percpu_scope = 0;
    *outcome = actor->outcome;
    return actor->point;
}

int percpu_step(int number, struct percpu_outcome *outcome)
{
    int point;

    if (number < 0 || number >= nr_actors || actors[number].point == PERCPU_DONE)
        return -1;
    point = percpu_guarded(step, number, outcome);
    percpu_running = -1;
    return point;
}

int percpu_actors(void)
{
    return nr_actors;
}

void percpu_forget_actors(void)
{
    while (nr_actors)
        free(actors[--nr_actors].stack);
}
