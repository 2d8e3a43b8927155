// The search: states breadth first, by operations that callers have begun. Our own text.
#include "region.h"

static int *queue OUTSIDE, *following OUTSIDE;
static long head OUTSIDE, tail OUTSIDE, next_tail OUTSIDE, most_queue OUTSIDE;
static int (*links)[2] OUTSIDE;
static long nr_links OUTSIDE, most_links OUTSIDE;

// What depends on the plan, in the state that the setup has left.
int percpu_search_begin(const struct percpu_plan *chosen)
{
    struct percpu_operation last = { .handle = HANDLES - 1 };
    long most = chosen->most_states;
    void percpu_prepare(const struct percpu_operation *operation);

    percpu_plan = *chosen;
    percpu_stops = percpu_plan.stops;
    percpu_prepare(&last);
    percpu_works_left = percpu_plan.works;
    percpu_failures_left = percpu_plan.failures;
    percpu_nr_actors = percpu_plan.open ? 0 : percpu_plan.nr_operations;
    percpu_begun = percpu_operations = 0;
    if (percpu_image_root() || percpu_nodes_begin(most))
        return -1;
    most_queue = most + 8;
    most_links = percpu_plan.open ? 0 : 16 * most;
    queue = percpu_reserve((unsigned long)most_queue * 2 * sizeof(int));
    following = percpu_reserve((unsigned long)most_queue * 2 * sizeof(int));
    links = percpu_reserve((unsigned long)(most_links + 1) * sizeof(*links));
    head = next_tail = nr_links = 0;
    if (!queue || !following || !links)
        return -1;
    queue[0] = 0;
    tail = 1;
    return 0;
}

// A step has led from a node to one that was entered before, with more operations, or for the first
// time. It is gone on from when those with as few operations are.
static void enqueue(int from, int label, int to)
{
    struct percpu_node *met = &percpu_nodes[to];
    const bool begins = percpu_plan.open && met->operations > percpu_nodes[from].operations;

    if (met->operations > percpu_operations) { // not left yet: it waits for its turn
        met->parent = from;
        met->label = percpu_exact(label);
        met->depth = (unsigned short)(percpu_nodes[from].depth + 1);
        met->operations = (unsigned char)percpu_operations;
        met->mover = (unsigned char)percpu_mover;
        queue[tail++] = to;
    } else if (begins) {
        following[next_tail++] = to;
    } else {
        queue[tail++] = to;
    }
}

static void follow(int node, int label)
{
    const long states = percpu_tally.states;
    const int to = percpu_search_step(node, label);

    if (to < 0)
        return;
    if (percpu_tally.states > states ||
        (percpu_plan.open && percpu_nodes[to].operations > percpu_operations))
        enqueue(node, label, to);
    if (nr_links < most_links) {
        links[nr_links][0] = node;
        links[nr_links++][1] = to;
    }
}

// Comes to the state of a node and leaves it by every step.
static void leave(int node)
{
    int labels[MOST_LABELS], count;

    if (!percpu_search_come(node))
        return;
    count = percpu_search_enabled(node, labels);
    percpu_tally.ends += !count;
    for (int k = 0; k < count && !percpu_tally.full; k++) {
        if (k)
            percpu_image_load();
        follow(node, labels[k]);
    }
}

int percpu_search_go(long edges)
{
    const long enough = percpu_tally.edges + edges;

    while (percpu_tally.edges < enough && !percpu_tally.full) {
        int node;

        if (head == tail) {
            int *swap = queue;

            if (!next_tail) {
                percpu_tally.complete = 1;
                return 0;
            }
            queue = following;
            following = swap;
            head = 0;
            tail = next_tail;
            next_tail = 0;
            percpu_tally.operations++;
        }
        node = queue[head++];
        if (percpu_plan.open && percpu_nodes[node].operations < percpu_tally.operations)
            continue; // it was reached with fewer
        leave(node);
    }
    return !percpu_tally.full;
}

// Counts paths from the start to the ends, if no state leads back to itself.
void percpu_search_count(void)
{
    long n = percpu_tally.states, ends = 0;
    int *missing = percpu_reserve((unsigned long)(n + 1) * sizeof(int));
    int *first = percpu_reserve((unsigned long)(n + 2) * sizeof(int));
    int *fill = percpu_reserve((unsigned long)(n + 2) * sizeof(int));
    int *to = percpu_reserve((unsigned long)(nr_links + 1) * sizeof(int));
    int *order = percpu_reserve((unsigned long)(n + 1) * sizeof(int));
    double *paths = percpu_reserve((unsigned long)(n + 1) * sizeof(double)), schedules = 0;

    if (!missing || !first || !fill || !to || !order || !paths || nr_links == most_links)
        return;
    for (long i = 0; i < nr_links; i++) {
        missing[links[i][1]]++;
        first[links[i][0] + 1]++;
    }
    for (long i = 0; i < n; i++)
        first[i + 1] += first[i];
    memcpy(fill, first, (size_t)(n + 1) * sizeof(int));
    for (long i = 0; i < nr_links; i++)
        to[fill[links[i][0]]++] = links[i][1];
    paths[0] = 1;
    order[ends++] = 0;
    for (long at = 0; at < ends; at++) {
        int v = order[at];

        if (first[v] == first[v + 1])
            schedules += paths[v];
        for (int k = first[v]; k < first[v + 1]; k++) {
            paths[to[k]] += paths[v];
            if (!--missing[to[k]])
                order[ends++] = to[k];
        }
    }
    percpu_tally.schedules = ends == n ? schedules : -1;
}
