// Steps of actors: which are possible, and what one does. Our own text.
#include "region.h"

// labels of an open search; below: an actor; the last two where wrong frees are refused
enum { WORK = 32, BEGIN = 64, FREE = 128, AGAIN = 192, INSIDE = 193 };
enum { LABEL = 0xff, FAULT_SHIFT = 8 };     // above: which request for memory fails
// above: how often the actor runs to a point of its own

struct percpu_plan percpu_plan OUTSIDE;
struct percpu_move percpu_move OUTSIDE;
int percpu_mover OUTSIDE;
static struct percpu_outcome outcome OUTSIDE;

// what a state has beside the kernel's memory and the actors
int percpu_works_left STATE, percpu_failures_left STATE, percpu_begun STATE;
int percpu_operations STATE, percpu_nr_actors STATE;

enum { FAULTS = 10 };
struct refusal {
    long *counter;
    long value; // the request that is refused, counted from now
};

static struct refusal refusal(int number)
{
    struct percpu_environment *e = &percpu_environment;
    const struct refusal refusals[FAULTS] = {
        { &e->page_fault.next, 1 }, { &e->vm_fault.next, 1 }, { &e->metadata_fault.kth, 1 },
        { &e->map_fault.next, 1 }, { &e->charge_fault.next, 1 }, { &e->killed_waits, 1 },
        { &e->metadata_fault.kth, 2 }, { &e->metadata_fault.kth, 3 }, { &e->metadata_fault.kth, 4 },
        { &e->map_fault.kth, 2 },
    };

    return refusals[number];
}

bool percpu_is_under_way(int n)
{
    return percpu_begun >> n & 1 && percpu_actors_[n].point != PERCPU_DONE;
}

bool percpu_all_done(void)
{
    for (int n = 0; n < ACTORS; n++)
        if (percpu_is_under_way(n))
            return false;
    return percpu_plan.open || percpu_begun == (1 << percpu_nr_actors) - 1;
}

// The handle whose area an open search frees wrongly: the first that was freed, or that is held.
int percpu_wrong_handle(bool held)
{
    for (int h = 0; h < HANDLES; h++)
        if (percpu_given[h].address && (percpu_handles[h] != NULL) == held)
            return h;
    return -1;
}

static bool may_begin(const struct percpu_operation *o, bool mutex)
{
    switch (o->kind) {
    case 'f': return percpu_handles[o->handle] != NULL;
    case 'd': return !percpu_handles[o->handle] && percpu_given[o->handle].address;
    case 'w': return percpu_given[o->handle].address != NULL;
    case 's': return true;
    default: return !mutex || percpu_plan.waiting || (o->kind == 'a' && percpu_is_atomic(o));
    }
}

int percpu_enabled(int *labels)
{
    int count = 0, callers = 0, work = 0, plain;
    bool mutex = percpu_mutex_holder() != -2;

    for (int n = 0; n < ACTORS; n++)
        if (percpu_is_under_way(n)) {
            if (percpu_actors_[n].operation.kind == 'b')
                work++;
            else
                callers++;
            if (!(percpu_actors_[n].point == PERCPU_WAITING && mutex))
                labels[count++] = n;
        }
    if (percpu_plan.open) {
        if (percpu_environment.work_pending && !work && (percpu_plan.waiting || !mutex))
            labels[count++] = WORK;
        if (percpu_operations < percpu_plan.longest && callers < percpu_plan.together) {
            for (int k = 0; k < percpu_plan.nr_operations; k++)
                if (!mutex || percpu_plan.waiting || percpu_is_atomic(&percpu_plan.operations[k]))
                    labels[count++] = BEGIN + k;
            for (int h = 0; h < HANDLES; h++)
                if (percpu_handles[h])
                    labels[count++] = FREE + h;
            if (percpu_refuses && percpu_wrong_handle(false) >= 0)
                labels[count++] = AGAIN;
            if (percpu_refuses && percpu_wrong_handle(true) >= 0)
                labels[count++] = INSIDE;
        }
    } else {
        for (int n = 0; n < percpu_nr_actors; n++) {
            const struct percpu_operation *o = &percpu_plan.operations[n];

            if (percpu_begun >> n & 1)
                continue;
            if (may_begin(o, mutex))
                labels[count++] = n;
        }
        if (percpu_environment.work_pending && percpu_works_left && (percpu_plan.waiting || !mutex) &&
            percpu_nr_actors < ACTORS)
            labels[count++] = percpu_nr_actors;
    }
    plain = count;
    if (percpu_failures_left)
        for (int k = 0; k < plain; k++)
            for (int f = 0; f < FAULTS; f++)
                if (percpu_plan.faults >> f & 1 && count < MOST_LABELS)
                    labels[count++] = labels[k] | 1 << (FAULT_SHIFT + f);
    return count;
}

static int idle_actor(void)
{
    for (int n = 0; n < ACTORS; n++)
        if (!percpu_is_under_way(n))
            return n;
    return 0;
}

static int free_handle(void)
{
    for (int h = 0; h < HANDLES; h++) {
        bool used = percpu_handles[h] != NULL;

        for (int n = 0; n < ACTORS && !used; n++)
            used = percpu_is_under_way(n) && percpu_actors_[n].operation.kind == 'a' &&
                percpu_actors_[n].operation.handle == h;
        if (!used)
            return h;
    }
    percpu_tally.full = 1;
    return HANDLES - 1;
}

// Begins what a label begins; returns the actor.
static int begin(int label)
{
    struct percpu_operation operation = { .kind = 'b' };
    int n = label;

    if (!percpu_plan.open) {
        if (percpu_begun >> n & 1)
            return n;
        if (n == percpu_nr_actors) {
            percpu_works_left--;
            percpu_nr_actors++;
        } else {
            operation = percpu_plan.operations[n];
        }
    } else {
        if (label < WORK)
            return n;
        n = idle_actor();
        if (label >= AGAIN) {
            operation.kind = label == AGAIN ? 'd' : 'w';
            operation.size = label == AGAIN ? 0 : 4;
            operation.handle = percpu_wrong_handle(label == INSIDE);
        } else if (label >= FREE) {
            operation.kind = 'f';
            operation.handle = label - FREE;
        } else if (label >= BEGIN) {
            operation = percpu_plan.operations[label - BEGIN];
            operation.handle = free_handle();
        }
        percpu_operations += label != WORK;
    }
    percpu_begun |= 1 << n;
    percpu_actor_begin(n, &operation);
    percpu_move.first = 1;
    return n;
}

bool percpu_frees_wrongly(const struct percpu_operation *operation)
{
    return operation->kind == 'd' || operation->kind == 'w';
}

static int nr_runs OUTSIDE; // of the actor, within the step that was taken last

static int run_once(int n)
{
    nr_runs++;
    return percpu_actor_step(n, &outcome);
}

// Lets an actor run to its next point, or over so many as a label says; with merge over those that
// the model does not stop at.
static int run(int n, int runs)
{
    int kind = percpu_actors_[n].operation.kind, point = run_once(n);

    while (runs > nr_runs && point > 0)
        point = run_once(n);
    if (runs)
        return point;
    while (percpu_plan.merge &&
           (point == PERCPU_UNLOCKED || (point == PERCPU_RELEASED && kind == 'b'))) {
        if (point == PERCPU_UNLOCKED) { // it goes on if nothing but its end is left
            const long asked = percpu_environment.balance_requests;
            const int requests = percpu_nr_requests;
            int next;

            percpu_image_peek();
            next = run_once(n);
            if (next == PERCPU_RELEASED || (next == PERCPU_DONE &&
                (kind == 'b' || kind == 'd' || kind == 'w' ||
                 (kind == 'f' && percpu_environment.balance_requests == asked)))) {
                point = next;
                continue;
            }
            percpu_image_unpeek();
            percpu_nr_requests = requests;
            nr_runs--;
            break;
        }
        point = run_once(n);
    }
    return point;
}

// Notes an area that a blocking allocation has taken in this step, or has given up.
static void note_placed(struct actor *actor, long used)
{
    long taken = percpu_used_bytes() - used;

    if (actor->operation.kind != 'a' || percpu_is_atomic(&actor->operation))
        return;
    if (taken < 0)
        actor->placed = NULL;
    if (taken > 0)
        percpu_find_placed(actor);
}

// The chunks of the state that steps leave, by their number in it.
static void *chunks[PERCPU_CHUNKS] OUTSIDE;
static int nr_chunks OUTSIDE;

void percpu_remember(void)
{
    struct hash ignored;

    percpu_key(0, &ignored, 0);
    nr_chunks = percpu_words[PERCPU_COUNTERS - 1];
    for (int c = 0; c < nr_chunks; c++)
        chunks[c] = percpu_chunk(c);
}

static int number_before(const void *chunk)
{
    for (int c = 0; c < nr_chunks; c++)
        if (chunks[c] == chunk)
            return c;
    return -1;
}

// Takes the step of a label and describes it in percpu_move, but for states. Returns where the actor
// stands then, LEAVE_OUT for a failure that nothing asked for, a negative number for a stop.
int percpu_take(int label)
{
    const unsigned int faults = (unsigned int)label >> FAULT_SHIFT & (1 << FAULTS) - 1;
    struct percpu_environment *e = &percpu_environment;
    struct percpu_move *m = &percpu_move;
    struct actor *actor;
    long asked = e->balance_requests, used = percpu_used_bytes(), warnings = e->warnings;
    int n, point;

    percpu_nr_requests = 0;
    memset(m, 0, sizeof(*m));
    m->freed = m->chunk = m->placed = -1;
    for (int f = 0; f < FAULTS; f++)
        if (faults >> f & 1)
            *refusal(f).counter = refusal(f).value;
    n = percpu_mover = begin(label & LABEL);
    actor = &percpu_actors_[n];
    if (m->first && actor->operation.kind == 'f')
        m->freed = number_before(percpu_area_of(percpu_handles[actor->operation.handle],
                                                &m->freed_off));
    nr_runs = 0;
    point = run(n, label >> RUNS_SHIFT);
    if (faults) {
        percpu_failures_left--;
        for (int f = 0; f < FAULTS; f++)
            if (faults >> f & 1 && *refusal(f).counter) {
                if (point >= 0)
                    return LEFT_OUT;
                *refusal(f).counter = 0;
            }
        actor->refused = 1;
    }
    if (point < 0)
        return point;
    if (actor->operation.kind == 'a') // only allocations are asked whether they have, or need not
        actor->asked |= e->balance_requests != asked || !percpu_is_async() ||
                        (percpu_used_bytes() > used && percpu_need_not_ask());
    m->operation = actor->operation;
    m->operation.handle = 0;
    m->done = point == PERCPU_DONE;
    m->ok = m->done && outcome.ok;
    m->asked = actor->asked;
    m->refused = actor->refused;
    m->holds = percpu_mutex_holder() == n;
    if (percpu_frees_wrongly(&actor->operation))
        m->warned = actor->warned |= e->warnings != warnings;
    memset(m->requests, 0xff, sizeof(m->requests));
    for (int r = 0; r < percpu_nr_requests; r++) {
        unsigned int *flags = &m->requests[percpu_requests[r].kind];

        *flags = (*flags == ~0u ? 0 : *flags) | percpu_requests[r].gfp;
    }
    note_placed(actor, used);
    return point;
}

// Returns the label of the step that was taken last, with how often its actor ran.
int percpu_exact(int label) { return label | nr_runs << RUNS_SHIFT; }

static void note_origins(void)
{
    for (int c = 0; c < PERCPU_CHUNKS; c++)
        percpu_move.origin[c] = c < percpu_words[PERCPU_COUNTERS - 1] ?
            (signed char)number_before(percpu_chunk(c)) : -1;
}

// Describes a run of the work that nobody else has run beside, once the state after it is described.
void percpu_describe_run(void)
{
    percpu_move = (struct percpu_move){ .whole = 1, .first = 1, .done = 1, .operation.kind = 'b' };
    percpu_move.freed = percpu_move.chunk = percpu_move.placed = -1;
    note_origins();
}

// Completes percpu_move, once the state after the step is described.
void percpu_complete(void)
{
    struct percpu_move *m = &percpu_move;
    struct actor *actor = &percpu_actors_[percpu_mover];

    note_origins();
    if (m->ok && m->operation.kind == 'a')
        m->chunk = percpu_number(percpu_area_of(percpu_handles[actor->operation.handle], &m->off));
    if (actor->placed && !m->done) {
        m->placed = percpu_number(actor->placed);
        m->placed_off = actor->off;
        m->placed_size = actor->size;
    }
}
