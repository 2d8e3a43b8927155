// Keys of states: 128 bits, equal for states that behave alike. Our own text.
#include "region.h"

int percpu_words[PERCPU_COUNTERS + 2 * PERCPU_CHUNKS] OUTSIDE, percpu_current OUTSIDE;
int *percpu_record_words OUTSIDE;
long *percpu_record_at OUTSIDE;
struct percpu_state *percpu_states OUTSIDE;
unsigned long percpu_undescribed[64] OUTSIDE;
int percpu_nr_undescribed OUTSIDE;
static int records[1 << 16] OUTSIDE; // of the chunks described last
static struct table record_table OUTSIDE, state_table OUTSIDE;
static long records_used OUTSIDE, most_records OUTSIDE, most_states OUTSIDE;

static unsigned long fold(unsigned long a, unsigned long b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (unsigned long)product ^ (unsigned long)(product >> 64);
}

void percpu_mix(struct hash *hash, unsigned long word)
{
    hash->a = fold(hash->a ^ word, 0x9E3779B97F4A7C15UL);
    hash->b = fold(hash->b + word, 0xD6E8FEB86659FD93UL) ^ hash->a;
}

void percpu_mix_bytes(struct hash *hash, const void *from, unsigned long size)
{
    const char *bytes = from;
    unsigned long lane[4] = { 1, 2, 3, 4 }, words[4], rest = 0;

    for (; size >= sizeof(words); bytes += sizeof(words), size -= sizeof(words)) {
        memcpy(words, bytes, sizeof(words));
        for (int i = 0; i < 4; i++)
            lane[i] = fold(lane[i] ^ words[i], 0xA0761D6478BD642FUL + 2 * (unsigned long)i);
    }
    for (int i = 0; i < 4; i++)
        percpu_mix(hash, lane[i]);
    for (; size >= sizeof(rest); bytes += sizeof(rest), size -= sizeof(rest)) {
        memcpy(&rest, bytes, sizeof(rest));
        percpu_mix(hash, rest);
    }
    rest = 0;
    memcpy(&rest, bytes, size);
    percpu_mix(hash, rest ^ size << 56);
}

int percpu_table_make(struct table *table, unsigned long entries)
{
    unsigned long size = 1024;

    while (size < 2 * entries)
        size *= 2;
    table->size = size;
    table->keys = percpu_reserve(size * sizeof(*table->keys));
    table->values = percpu_reserve(size * sizeof(*table->values));
    return table->keys && table->values ? 0 : -1;
}

// Where the value of a key is; 0 for one that was never set.
int *percpu_table_at(struct table *table, struct hash hash)
{
    unsigned long at = hash.a & (table->size - 1);

    while (table->values[at] && !(table->keys[at][0] == hash.a && table->keys[at][1] == hash.b))
        at = (at + 1) & (table->size - 1);
    table->keys[at][0] = hash.a;
    table->keys[at][1] = hash.b;
    return &table->values[at];
}

static void mix_actor(struct hash *hash, int n)
{
    const struct actor *actor = &percpu_actors_[n];
    const struct percpu_operation *o = &actor->operation;

    percpu_mix(hash, (unsigned long)o->kind << 32 | o->gfp);
    percpu_mix(hash, o->size);
    percpu_mix(hash, o->align << 1 | (unsigned long)o->reserved);
    if (!percpu_plan.open)
        percpu_mix(hash, (unsigned long)o->handle);
    if (actor->point == PERCPU_DONE) {
        percpu_mix(hash, 0xD0);
        return;
    }
    percpu_mix(hash, (unsigned long)((unsigned)(actor->point == PERCPU_WAITING) << 1 |
                     (unsigned)actor->asked << 2 | (unsigned)actor->refused << 3 |
                     (unsigned)(percpu_mutex_holder() == n) << 4 | (unsigned)actor->warned << 5 |
                     actor->scope << 6));
    percpu_mix(hash, actor->placed ? (unsigned long)percpu_number(actor->placed) << 32 |
                                     (unsigned long)actor->off : ~0UL);
    for (unsigned long *w = actor->sp; (unsigned long)w < STACK_TOP(n); w++)
        percpu_mix(hash, percpu_place(*w, STACK_TOP(n)));
}

// Of several things whose order does not matter.
static void mix_unordered(struct hash *sum, struct hash one)
{
    sum->a += one.a;
    sum->b += one.b | 1;
}

static void mix_handles(struct hash *hash)
{
    int chunk[HANDLES];
    int off[HANDLES];
    struct hash sum = { 0, 0 };

    percpu_areas(chunk, off);
    for (int h = 0; h < HANDLES; h++) {
        struct hash one = { 3, 5 };

        if (chunk[h] == -100)
            continue;
        percpu_mix(&one, percpu_plan.open ? 0 : (unsigned long)h);
        percpu_mix(&one, (unsigned long)chunk[h] << 40 ^ (unsigned long)(unsigned int)off[h]);
        mix_unordered(&sum, one);
    }
    percpu_mix(hash, sum.a);
    percpu_mix(hash, sum.b);
}

// What callers may free wrongly, where they do.
static void mix_given(struct hash *hash, int h)
{
    const struct percpu_given *given = &percpu_given[h];
    int off = 0;
    void *chunk = given->address ? percpu_area_of(given->address, &off) : NULL;

    percpu_mix(hash, (unsigned long)(chunk ? percpu_number(chunk) : -1) << 40 ^
                     (unsigned long)(unsigned int)off << 1 ^ (percpu_handles[h] != NULL));
}

static void mix_wrong_frees(struct hash *hash)
{
    if (percpu_plan.open && percpu_refuses)
        for (int held = 0; held < 2; held++) {
            int h = percpu_wrong_handle(held);

            if (h >= 0)
                mix_given(hash, h);
            percpu_mix(hash, (unsigned long)(h >= 0));
        }
    for (int n = 0; !percpu_plan.open && n < percpu_plan.nr_operations; n++)
        if (percpu_frees_wrongly(&percpu_plan.operations[n]))
            mix_given(hash, percpu_plan.operations[n].handle);
}

static void mix_all_memory(struct hash *hash)
{
    percpu_mix_bytes(hash, __start_percpu_state,
                     (unsigned long)(__stop_percpu_state - __start_percpu_state));
    percpu_mix_bytes(hash, (void *)ARENA, percpu_arena_used);
    for (int n = 0; n < ACTORS; n++)
        if (percpu_actors_[n].sp)
            percpu_mix_bytes(hash, percpu_actors_[n].sp,
                             STACK_TOP(n) - (unsigned long)percpu_actors_[n].sp);
}

static void mix_rest(struct hash *hash)
{
    struct hash sum = { 0, 0 };

    for (int c = 0; c < percpu_words[PERCPU_COUNTERS - 1]; c++)
        if (percpu_words[PERCPU_COUNTERS + c] == -2) {
            percpu_mix(hash, percpu_neighbour(c, false));
            percpu_mix(hash, percpu_neighbour(c, true));
        }
    percpu_mix_unknown(hash);
    for (int i = 0; i + 1 < percpu_nr_undescribed; i += 2) {
        const char *from = (const char *)percpu_base() + percpu_undescribed[i];
        unsigned long word;

        for (unsigned long at = 0; at < percpu_undescribed[i + 1]; at += sizeof(word)) {
            word = 0;
            memcpy(&word, from + at, min(sizeof(word), percpu_undescribed[i + 1] - at));
            percpu_mix(hash, percpu_place(word, 0));
        }
    }
    mix_handles(hash);
    mix_wrong_frees(hash);
    percpu_mix(hash, (unsigned long)percpu_environment.blocks); // else what leaks is met before
    percpu_mix(hash, (unsigned long)percpu_works_left << 32 | (unsigned long)percpu_failures_left);
    for (int n = 0; n < ACTORS; n++) {
        struct hash one = { 7, 9 };

        if (percpu_plan.open ? !percpu_is_under_way(n) : !(percpu_begun >> n & 1))
            continue;
        if (!percpu_plan.open)
            percpu_mix(&one, (unsigned long)n);
        mix_actor(&one, n);
        mix_unordered(&sum, one);
    }
    percpu_mix(hash, sum.a);
    percpu_mix(hash, sum.b);
}

// Nobody has an area that may still lack pages.
static int settled(void)
{
    for (int n = 0; n < ACTORS; n++)
        if (percpu_is_under_way(n) && percpu_actors_[n].operation.kind == 'a' &&
            !percpu_is_atomic(&percpu_actors_[n].operation))
            return 0;
    return PERCPU_SETTLED;
}

static int enter_record(const int *record)
{
    struct hash hash = { 5, 7 };
    int *known;

    percpu_mix_bytes(&hash, record, (unsigned long)record[0] * sizeof(int));
    known = percpu_table_at(&record_table, hash);
    if (!*known) {
        if (percpu_tally.records == most_records) {
            percpu_tally.full = 1;
            return 0;
        }
        percpu_record_at[percpu_tally.records] = records_used;
        memcpy(percpu_record_words + records_used, record, (size_t)record[0] * sizeof(int));
        records_used += record[0];
        *known = (int)++percpu_tally.records;
    }
    return *known - 1;
}

// Describes the state: `current` is the allocator's, the key is of all. Returns false if the kernel's
// lists cannot be read.
bool percpu_key(int quiescent, struct hash *key, int node)
{
    struct hash hash = { 11, 13 };
    const int *record = records;
    struct percpu_state *state;
    long length = percpu_describe(percpu_words, records);
    int flags = quiescent | settled(), *known;
    int described[PERCPU_COUNTERS + 2 * PERCPU_CHUNKS];

    if (length < 0)
        return false;
    memcpy(described, percpu_words, sizeof(int) * PERCPU_COUNTERS);
    for (int c = 0; c < percpu_words[PERCPU_COUNTERS - 1]; c++, record += record[0]) {
        described[PERCPU_COUNTERS + 2 * c] = percpu_words[PERCPU_COUNTERS + c];
        described[PERCPU_COUNTERS + 2 * c + 1] = enter_record(record);
    }
    length = PERCPU_COUNTERS + 2 * percpu_words[PERCPU_COUNTERS - 1];
    percpu_mix_bytes(&hash, described, (unsigned long)length * sizeof(int));
    *key = hash;
    percpu_mix(&hash, (unsigned long)flags);
    known = percpu_table_at(&state_table, hash);
    if (!*known) {
        if (percpu_tally.allocator_states == most_states) {
            percpu_tally.full = 1;
            return true;
        }
        state = &percpu_states[percpu_tally.allocator_states];
        *state = (struct percpu_state){ .node = node, .flags = flags, .length = (int)length,
                                        .blocks = percpu_environment.blocks };
        memcpy(state->words, described, sizeof(int) * (size_t)length);
        *known = (int)++percpu_tally.allocator_states;
    }
    percpu_current = *known - 1;
    if (percpu_plan.raw) {
        *key = (struct hash){ 1, 2 };
        mix_all_memory(key);
    } else {
        mix_rest(key);
    }
    return true;
}

// Makes room for what is met in a search of so many states.
int percpu_key_begin(long most)
{
    most_records = 1L << 22;
    most_states = 2 * most + 1024;
    records_used = 0;
    percpu_states = percpu_reserve((unsigned long)most_states * sizeof(*percpu_states));
    percpu_record_words = percpu_reserve((unsigned long)most_records * 2048);
    percpu_record_at = percpu_reserve((unsigned long)most_records * sizeof(long));
    return percpu_states && percpu_record_words && percpu_record_at &&
        !percpu_table_make(&record_table, (unsigned long)most_records) &&
        !percpu_table_make(&state_table, (unsigned long)most_states) ? 0 : -1;
}

int percpu_search_look(int *words, int *to, int most)
{
    long length = percpu_describe(percpu_words, records), size = 0;

    if (length < 0)
        return -1;
    for (int c = 0; c < percpu_words[PERCPU_COUNTERS - 1]; c++)
        size += records[size];
    if (size > most)
        return -1;
    memcpy(words, percpu_words, (size_t)length * sizeof(int));
    memcpy(to, records, (size_t)size * sizeof(int));
    return (int)length;
}
