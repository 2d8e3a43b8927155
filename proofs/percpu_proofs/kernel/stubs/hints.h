// The hints of a block, whichever way a tree keeps them. Part of library.c. Our own text.

enum { HINTS = 7 };

#ifdef PERCPU_REGIONS // struct pcpu_region, a hint of size 0 being none
#define HINT_START(block, hint) ((block)->hint.start)
#define HINT_SIZE(block, hint) PERCPU_REGIONS((block)->hint)
#else // two numbers each
#define HINT_START(block, hint) ((block)->hint##_start)
#define HINT_SIZE(block, hint) ((block)->hint)
#endif

static void read_hints(int *words, const struct pcpu_block_md *block)
{
    words[0] = HINT_SIZE(block, scan_hint);
    words[1] = HINT_START(block, scan_hint);
    words[2] = HINT_SIZE(block, contig_hint);
    words[3] = HINT_START(block, contig_hint);
    words[4] = block->left_free;
    words[5] = block->right_free;
    words[6] = block->first_free;
}
