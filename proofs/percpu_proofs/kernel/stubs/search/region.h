// The memory that a search restores, and what its parts have in common. Our own text.
#ifndef PERCPU_REGION_H
#define PERCPU_REGION_H

#include "../memory.h"

#pragma GCC visibility push(default)
#include "search.h"
#pragma GCC visibility pop

// The kernel's memory: statics of its own and of the stubs in the section percpu_state, an arena,
// and a stack for each actor. All lie at the same addresses in every state.
enum { ACTORS = 8, HANDLES = 64 };
#ifdef PERCPU_SHADED
#define STACK_SIZE (1UL << 18) // what a report of an address takes
#else
#define STACK_SIZE 8192UL
#endif
#define STACKS 0x200000000000UL
#define ARENA 0x210000000000UL
#define ARENA_SIZE (1UL << 22)
#define STACKS_END (STACKS + 2 * ACTORS * STACK_SIZE) // below each as much that must not be touched
#define STACK_TOP(number) (STACKS + 2 * ((unsigned long)(number) + 1) * STACK_SIZE)
extern char __start_percpu_state[], __stop_percpu_state[];
extern unsigned long percpu_arena_used;

struct actor {
    void *sp; // NULL: not begun
    struct percpu_operation operation;
    struct percpu_outcome outcome;
    int point;
    unsigned int scope;
    int asked, refused, warned; // what it has done, or need not, for clauses that ask at its end
    void *placed;             // the chunk of an area that it has taken and that may lack pages
    int off, size;            // of that, in bytes
};
extern struct actor percpu_actors_[ACTORS];
extern unsigned int percpu_stops;
void percpu_actor_begin(int number, const struct percpu_operation *operation);
int percpu_actor_step(int number, struct percpu_outcome *outcome);

// describe.c, a part of library.c
extern void **percpu_handles;
extern struct percpu_given *percpu_given;
long percpu_describe(int *words, int *records);
unsigned long percpu_place(unsigned long word, unsigned long stack);
unsigned long percpu_neighbour(int chunk, bool previous);
void *percpu_chunk(int number);
int percpu_number(const void *chunk);
void *percpu_area_of(void *handle, int *off);
void percpu_areas(int *chunk, int *off);
void percpu_read_slots(void);
struct hash;
void percpu_mix_unknown(struct hash *hash);
enum { PERCPU_PRIVATE = 1 << 30 };
int percpu_field(unsigned long address);
void percpu_find_placed(struct actor *actor);
long percpu_used_bytes(void);
bool percpu_lock_held(void);
int percpu_mutex_holder(void);
bool percpu_is_async(void);
bool percpu_need_not_ask(void);
bool percpu_is_atomic(const struct percpu_operation *operation);
int percpu_leaks(void);
void percpu_watch(bool on);

// image.c
int percpu_image_root(void);
void percpu_image_load_root(void);
void percpu_image_save(void);  // one, in a place of its own
void percpu_image_load(void);
void percpu_image_peek(void);  // another one
void percpu_image_unpeek(void);

// key.c
struct hash {
    unsigned long a, b;
};
struct table {
    unsigned long (*keys)[2];
    int *values;
    unsigned long size;
};
void percpu_mix(struct hash *hash, unsigned long word);
void percpu_mix_bytes(struct hash *hash, const void *from, unsigned long size);
int percpu_table_make(struct table *table, unsigned long entries);
int *percpu_table_at(struct table *table, struct hash hash);
extern int percpu_words[]; // as described last
extern int percpu_current;  // the allocator's state among those met
bool percpu_key(int quiescent, struct hash *key, int node);
int percpu_key_begin(long most);

// nodes.c
int percpu_nodes_begin(long most);

// steps.c
enum { LEFT_OUT = -100, MOST_LABELS = 512, RUNS_SHIFT = 18 };
extern struct percpu_plan percpu_plan;
extern int percpu_works_left, percpu_failures_left, percpu_begun, percpu_operations;
extern int percpu_nr_actors;
bool percpu_is_under_way(int actor);
bool percpu_frees_wrongly(const struct percpu_operation *operation);
int percpu_wrong_handle(bool held);
bool percpu_all_done(void);
int percpu_enabled(int *labels);
int percpu_take(int label);
int percpu_exact(int label);
void percpu_complete(void);
void percpu_describe_run(void);
void percpu_remember(void);
void *percpu_reserve(unsigned long bytes);

#endif
