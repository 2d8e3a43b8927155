// What a compiled library offers to a search. cffi reads this file as it stands: declarations only.

// Where a search begins: a booted kernel that has done the setup. How it goes on: with operations of
// an alphabet, or with actors that run one operation each.
struct percpu_plan {
    int nr_operations;
    struct percpu_operation operations[16]; // the actors'; of an open search, the alphabet
    int open;           // whether callers choose from the alphabet, and free what they hold
    int longest;        // operations that callers begin, in an open search
    int together;       // callers under way at once, in an open search
    int works;          // runs of the balance work at most, of actors
    int waiting;        // actors may begin while the mutex is held
    int failures;       // requests for memory that fail at most
    unsigned int faults; // which may fail, a bit each: PERCPU_FAULTS in their order
    unsigned int stops; // points at which actors stand still, a bit each; those where one waits do
    int merge;          // steps as the model has them: an actor goes on over points of its own
    int raw;            // keys are all of memory; sound by nature, and many more
    long most_states;
};

struct percpu_tally {
    long states, edges, ends, depth, kernel_stops;
    long allocator_states, records, moves, troubles;
    long endless; // steps that had to be stopped; after so many the search ends
    int operations; // begun by callers, in the states that are being left now
    int complete, full;
    double schedules; // from the start to an end; -1: not counted
};

// A state of the search. Its label says what led to it from its parent.
struct percpu_node {
    unsigned long key[2];
    int parent, label, state;
    unsigned short depth;
    unsigned char operations, mover;
};

// The allocator's part of states: counters, then list and record of each chunk.
enum { PERCPU_COUNTERS = 11, PERCPU_CHUNKS = 24, PERCPU_QUIESCENT = 1, PERCPU_SETTLED = 2 };
struct percpu_state {
    int node, flags, length;
    long blocks; // of memory, when it was met first
    int words[59]; // PERCPU_COUNTERS + 2 * PERCPU_CHUNKS
};

// What a step did, or a whole run of the work alone: the states before and after it, and what its
// operation has to do with it.
struct percpu_move {
    int node, label; // of a whole run: the state that it begins in, and -1
    int before, after;
    int whole;
    struct percpu_operation operation;
    int first, done, ok, straight; // straight: from the end of the actor's step before
    int asked, refused, holds; // work asked for; memory refused so far; the mutex is the actor's
    int warned; // by a free that names no live area
    unsigned int requests[5]; // the flags of what was asked for, by PERCPU_KINDS; all ones: nothing was
    int freed, freed_off; // chunk before the step, -1: none, and the area's offset in bytes
    int chunk, off; // of an area handed out, by the chunk after the step
    int placed, placed_off, placed_size; // an area that a blocking allocation under way has taken
    signed char origin[24]; // of each chunk after the step which one before, -1: none
};

// What went wrong below all clauses: a stop of the kernel's, or what the stubs have seen.
struct percpu_trouble {
    int node, label, stopped;
    char what[160];
};

int percpu_regions(void); // before the boot: room for what a search restores
unsigned long percpu_base(void); // where the library is loaded
int percpu_search_begin(const struct percpu_plan *plan); // -1: no memory
int percpu_search_go(long edges);   // search on; 1: there is more
// One step at a time, each out of the present state: that of a node. The start is node 0.
int percpu_search_come(int node);
int percpu_search_enabled(int node, int *labels); // at most 512
int percpu_search_step(int node, int label);      // -1: it leads to no node
void percpu_search_count(void);     // the schedules
void percpu_search_end(void);       // nothing may be called after
int percpu_search_path(int node, int *labels, int most);
// Runs steps from the start; returns how many were done. Where the last one stands is in the trace.
int percpu_search_replay(const int *labels, int count);
void percpu_search_operation(int actor, struct percpu_operation *operation);
// Return addresses of an actor's functions under way, innermost first, and where it stands.
int percpu_search_trace(int actor, unsigned long *addresses, int most, int *point);
extern unsigned long percpu_stop_trace[32]; // the same of the code that stopped last
extern int percpu_nr_stop_trace;
int percpu_search_holder(void); // the actor that holds the mutex, or a negative number
int percpu_search_look(int *words, int *records, int most);
// Of what was looked at last: 0 the first chunk, -1 the reserved one, then as they were created.
int percpu_chunk_id(int number);

extern struct percpu_tally percpu_tally;
extern struct percpu_node *percpu_nodes;
extern struct percpu_state *percpu_states;
extern struct percpu_move *percpu_moves, percpu_move;
extern struct percpu_trouble percpu_troubles[256];
extern int *percpu_record_words;  // one after the other, each with its length first
extern long *percpu_record_at;
extern int percpu_mover, percpu_node, percpu_label; // of the step under way
extern int percpu_slots[4]; // how many lists; the sidelined, the free, the to_depopulate one
extern unsigned long percpu_undescribed[64]; // variables that no clause sees: offset, size of each
extern int percpu_nr_undescribed;

// Accesses to what actors share, in a library that is compiled to note them. `what` is the offset of
// a field of a chunk, one of the parts below, or a variable as a negative number, -1 - its offset
// in the library.
enum { PERCPU_BLOCKS = 100000, PERCPU_ALLOC_MAP, PERCPU_BOUND_MAP, PERCPU_VECTOR, MOST_ACCESSES = 4096 };
struct percpu_access {
    unsigned long pc;
    int what, write, locked, mutex;
    int node, label; // the step that made it first
};
extern struct percpu_access percpu_accesses[4096];
extern int percpu_nr_accesses;
extern unsigned long percpu_access_stops[64]; // places at which an actor stands still
extern int percpu_nr_access_stops;
int percpu_field_offset(const char *name); // of a chunk's field; -1: there is none
