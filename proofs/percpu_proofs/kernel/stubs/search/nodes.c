// The states that schedules have led to, and the step from one to another. Our own text.
//
// A state is where a schedule leads; to come back to one, the schedule is run again from the start.
// What is met for the first time goes to Python: records of chunks, states of the allocator, moves.
#include <stdio.h>

#include "region.h"

enum { MOST_RUNS = 32, MOST_ENDLESS = 20, MOST_STEPS = 10000, MOST_DEPTH = 1 << 12 };

struct percpu_tally percpu_tally OUTSIDE;
struct percpu_node *percpu_nodes OUTSIDE;
struct percpu_move *percpu_moves OUTSIDE;
struct percpu_trouble percpu_troubles[256] OUTSIDE;
int percpu_slots[4] OUTSIDE, percpu_node OUTSIDE, percpu_label OUTSIDE;
static struct table node_table OUTSIDE, move_table OUTSIDE;
static long most_moves OUTSIDE;
static int leaks_at_start OUTSIDE; // what the boot took and the compiler sees no use for

static void enter_trouble(int node, int label, bool stopped, const char *what)
{
    for (long i = 0; i < percpu_tally.troubles; i++)
        if (!strcmp(percpu_troubles[i].what, what))
            return;
    if (percpu_tally.troubles < (long)ARRAY_SIZE(percpu_troubles)) {
        struct percpu_trouble *t = &percpu_troubles[percpu_tally.troubles++];

        *t = (struct percpu_trouble){ .node = node, .label = label, .stopped = stopped };
        snprintf(t->what, sizeof(t->what), "%s", what);
    }
}

static void check_troubles(int node, int label, const struct percpu_environment *before)
{
    const struct percpu_environment *e = &percpu_environment;

    if (e->stray > before->stray || e->misuse > before->misuse ||
        (e->warnings > before->warnings && !percpu_frees_wrongly(&percpu_move.operation)))
        enter_trouble(node, label, false, percpu_complaint);
    if (percpu_lock_held())
        enter_trouble(node, label, false,
                      "LOCK-1: a step ends, or stands still, with pcpu_lock held");
    if (percpu_all_done() && percpu_mutex_holder() != -2)
        enter_trouble(node, label, false, "LOCK-2: every operation has ended, and the mutex is held");
}

static void enter_move(int node, int label, int before)
{
    struct percpu_move *m = &percpu_move;
    struct hash hash = { 21, 22 };
    int *known;

    m->before = before;
    m->after = percpu_current;
    m->straight = percpu_nodes[node].mover == percpu_mover && !m->first;
    m->node = m->label = 0;
    percpu_mix_bytes(&hash, m, sizeof(*m));
    known = percpu_table_at(&move_table, hash);
    if (*known)
        return;
    if (percpu_tally.moves == most_moves) {
        percpu_tally.full = 1;
        return;
    }
    m->node = node;
    m->label = label;
    percpu_moves[percpu_tally.moves] = *m;
    *known = (int)++percpu_tally.moves;
}

// Runs the work once, with nothing else running; returns whether it has ended.
static bool run_work(int node, int label)
{
    const struct percpu_operation work = { .kind = 'b' };
    const long created = percpu_environment.creates;
    struct percpu_outcome outcome;
    int point, steps = 0;

    percpu_begun |= 1;
    percpu_actor_begin(0, &work);
    do
        point = percpu_actor_step(0, &outcome);
    while (point > 0 && point != PERCPU_WAITING && ++steps < MOST_STEPS &&
           percpu_environment.creates - created <= 8);
    if (point == PERCPU_WAITING)
        enter_trouble(node, label, false, "LOCK-2: balance work waits for a mutex that nobody "
                                          "gives back");
    else if (steps >= MOST_STEPS)
        enter_trouble(node, label, false, "BAL-3: a run of balance work that does not end");
    else if (point > 0)
        enter_trouble(node, label, false, "BAL-3: a run of balance work creates chunk on chunk");
    if (point < 0)
        enter_trouble(node, label, true, percpu_reason);
    return point == PERCPU_DONE;
}

// Runs the work that is asked for until there is rest, and describes that. BAL-3: it comes.
static void come_to_rest(int node, int label)
{
    struct hash key;
    int runs = 0, known = (int)percpu_tally.allocator_states, before;

    percpu_node = node;
    percpu_label = label;
    do {
        before = percpu_current;
        if (percpu_environment.work_pending) {
            if (runs++ == MOST_RUNS) {
                enter_trouble(node, label, false, "BAL-3: balance work asks for itself without end");
                return;
            }
            if (runs > 1)
                percpu_remember();
            if (!run_work(node, label))
                return;
        }
        if (!percpu_key(percpu_environment.work_pending ? 0 : PERCPU_QUIESCENT, &key, node)) {
            enter_trouble(node, label, true, percpu_reason);
            return;
        }
        if (runs) {
            percpu_describe_run();
            enter_move(node, label, before);
        }
    } while (percpu_environment.work_pending);
    if ((percpu_tally.allocator_states > known ||
         percpu_environment.blocks != percpu_states[percpu_current].blocks) &&
        percpu_leaks() > leaks_at_start)
        enter_trouble(node, label, false, "POP-4: memory to which nothing points any more");
}

// Enters the present state, which a step has led to from another one.
static int enter_node(long parent, int label, struct hash key)
{
    const struct percpu_node *from = parent < 0 ? NULL : &percpu_nodes[parent];
    struct percpu_node *node = &percpu_nodes[percpu_tally.states];

    *node = (struct percpu_node){
        .key = { key.a, key.b }, .parent = (int)parent, .label = label, .state = percpu_current,
        .depth = (unsigned short)(from ? from->depth + 1 : 0),
        .operations = (unsigned char)percpu_operations, .mover = (unsigned char)percpu_mover,
    };
    if (node->depth > percpu_tally.depth)
        percpu_tally.depth = node->depth;
    return (int)percpu_tally.states++;
}

// Makes room for so many states, and enters the present one, from which all others are come to.
int percpu_nodes_begin(long most)
{
    struct hash key;

    memset(&percpu_tally, 0, sizeof(percpu_tally));
    percpu_tally.schedules = -1;
    most_moves = 4 * most + 1024;
    percpu_nodes = percpu_reserve((unsigned long)(most + 8) * sizeof(*percpu_nodes));
    percpu_moves = percpu_reserve((unsigned long)most_moves * sizeof(*percpu_moves));
    if (!percpu_nodes || !percpu_moves || percpu_key_begin(most) ||
        percpu_table_make(&node_table, (unsigned long)most) ||
        percpu_table_make(&move_table, (unsigned long)most_moves))
        return -1;
    percpu_mover = ACTORS;
    percpu_read_slots();
    leaks_at_start = percpu_leaks();
    if (!percpu_key(0, &key, 0))
        return -1;
    *percpu_table_at(&node_table, key) = enter_node(-1, 0, key) + 1;
    return 0;
}

int percpu_search_path(int node, int *labels, int most)
{
    int depth = percpu_nodes[node].depth, at = depth;

    for (int n = node; percpu_nodes[n].parent >= 0; n = percpu_nodes[n].parent)
        if (--at < most && at >= 0)
            labels[at] = percpu_nodes[n].label;
    return depth;
}

int percpu_search_replay(const int *labels, int count)
{
    percpu_image_load_root();
    for (int i = 0; i < count; i++)
        if (percpu_take(labels[i]) < 0)
            return i;
    return count;
}

// A step that leads back: the operation may go round in a circle, and never end by itself.
static void check_end(int node, int label)
{
    struct percpu_outcome outcome;
    int point, steps = 0;

    percpu_image_peek();
    do
        point = percpu_actor_step(percpu_mover, &outcome);
    while (point > 0 && point != PERCPU_WAITING && ++steps < MOST_STEPS);
    percpu_image_unpeek();
    if (steps == MOST_STEPS)
        enter_trouble(node, label, false, "BAL-3: an operation that runs alone does not end");
}

// Takes a step out of the present state, which is that of a node. Returns the node that it leads to,
// -1 if to none: a refusal that nothing asked for, a stop of the kernel's, no more room.
int percpu_search_step(int node, int label)
{
    const struct percpu_environment before = percpu_environment;
    int *known, at = percpu_nodes[node].state;
    long states = percpu_tally.allocator_states;
    struct hash key;
    int point;

    percpu_node = node;
    percpu_label = label;
    point = percpu_take(label);
    if (point == LEFT_OUT)
        return -1;
    percpu_tally.edges++;
    label = percpu_exact(label);
    if (point < 0 || !percpu_key(0, &key, (int)percpu_tally.states)) {
        percpu_tally.kernel_stops++;
        if (point == PERCPU_ENDLESS && ++percpu_tally.endless == MOST_ENDLESS)
            percpu_tally.full = 1;
        enter_trouble(node, label, true, percpu_reason);
        return -1;
    }
    percpu_complete();
    check_troubles(node, label, &before);
    enter_move(node, label, at);
    known = percpu_table_at(&node_table, key);
    if (*known && percpu_is_under_way(percpu_mover) &&
        percpu_nodes[*known - 1].depth <= percpu_nodes[node].depth)
        check_end(node, label);
    if (*known) {
        if (percpu_tally.allocator_states > states)
            percpu_states[percpu_tally.allocator_states - 1].node = *known - 1;
        return *known - 1;
    }
    if (percpu_tally.states >= percpu_plan.most_states) {
        percpu_tally.full = 1;
        percpu_tally.allocator_states = states; // what is met here has no state to be met from
        return -1;
    }
    *known = enter_node(node, label, key) + 1;
    return *known - 1;
}

static bool stuck(void)
{
    for (int n = 0; n < ACTORS; n++)
        if (percpu_is_under_way(n))
            return true;
    return false;
}

// Returns the steps that can be taken in the present state, which is that of a node, and how many;
// if nothing is under way, what the work makes of the state is looked at too.
int percpu_search_enabled(int node, int *labels)
{
    const int count = percpu_enabled(labels);

    percpu_remember();
    percpu_image_save();
    if (percpu_all_done() && (percpu_plan.open || !count)) {
        come_to_rest(node, -1);
        percpu_image_load();
        percpu_remember(); // the chunks of this state, not of one on the way to rest
    }
    if (!count && stuck())
        enter_trouble(node, -1, false, "BAL-3: what is under way can never go on");
    return count;
}

// Comes to the state of a node; returns whether it is there.
int percpu_search_come(int node)
{
    int path[MOST_DEPTH], depth = percpu_search_path(node, path, MOST_DEPTH);

    if (depth > MOST_DEPTH) {
        enter_trouble(percpu_nodes[node].parent, -1, false, "BAL-3: a schedule without end");
        percpu_tally.full = 1;
        return 0;
    }
    if (percpu_search_replay(path, depth) != depth) {
        enter_trouble(node, -1, true, "a state that its own schedule does not lead to again");
        return 0;
    }
    return 1;
}
