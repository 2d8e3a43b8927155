// Blocks of memory from the C library, for a kernel that runs beside the model. Our own text.
#include "memory.h"

static LIST_HEAD(blocks); // all there are, so that the end of a run leaves nothing behind

struct block *percpu_new_block(size_t size)
{
    struct block *block;
    void *memory; // ends where what was asked for does: address checks see what goes beyond

    if (posix_memalign(&memory, SMP_CACHE_BYTES, sizeof(*block) + size))
        percpu_stop(PERCPU_BUG, "no memory left for the library");
    block = memory;
    block->size = size;
    list_add(&block->link, &blocks);
    return block;
}

void percpu_drop_block(struct block *block)
{
    list_del(&block->link);
    free(block);
}

void percpu_free_all(void)
{
    while (!list_empty(&blocks))
        percpu_free(list_first_entry(&blocks, struct block, link)->memory);
}
