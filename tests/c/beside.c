// SPDX-License-Identifier: GPL-2.0-only
/* Written for tests of `beside`: shapes of C that kernels have, and three functions that go the
 * way of the model's own. No line of it is the kernel's. { */

#define pcpu_not_a_function(x) \
	do { if (x) { panic("{"); } } while (0)

static const struct shape shapes[] = {
	{ .name = "pcpu_shape", .call = pcpu_shape, },
};

struct pcpu_shape {
	int (*call)(int size);
	int bits;
};

DEFINE_SPINLOCK(pcpu_shape_lock);

static void pcpu_shape_with_branches(int nr) __must_hold(&pcpu_shape_lock)
{
	int plain, *pointer, array[4];
	int first = 0, last;

	/* if (comment) { */
	if (nr < 0)
		goto out;
	else if (nr == 1) {
		pr_warn("; } %d\n", nr);
		return;
	}
#ifdef CONFIG_SHAPE
	first = shape_of(nr);
#else
	first = never_looked_at(nr);
	if (first) {
#endif
#if 0
	dead_code(nr);
#endif
	for (last = nr; last; last--)
		array[last] = ';';
	for_each_shape(nr, last)
		shape_done(last);
	for_each_shape_safe(nr, last) {
		do {
			nr--;
		} while (nr);
	}
	switch (nr) {
	case 1:
		plain += 2;
		break;
	default:
		pointer->field <<= 1;
	}
out:
	++first;
}

#ifdef CONFIG_SHAPE
static __always_inline int
pcpu_twice(int size)
{
	int bits = size / 4;

	return bits;
}
#else
static int pcpu_twice(int size)
{
	return 0;
}
#endif

#ifndef CONFIG_SHAPE
static void pcpu_stub(void)
{
}
#else
static void pcpu_stub(void)
{
	work_hard();
}
#endif

/* the model's reintegrate_chunk, told the other way round */
static void pcpu_reintegrate_chunk(struct pcpu_chunk *who)
{
	lockdep_assert_held(&pcpu_lock);
	if (!who->isolated)
		return;
	who->isolated = false;
	pcpu_nr_empty_pop_pages += who->nr_empty_pop_pages;
	pcpu_chunk_relocate(who, -1);
}

/* the model's free_percpu in few words, with a step that it has not */
void free_percpu(void __percpu *area)
{
	unsigned long irqs;
	struct pcpu_chunk *chunk = pcpu_chunk_addr_search(area);

	if (!area)
		return;
	spin_lock_irqsave(&pcpu_lock, irqs);
	polish_the_brass(chunk);
	size = pcpu_free_area(chunk, off);
	pcpu_memcg_free_hook(chunk, off, size);
	if (chunk->nr_pages && pcpu_should_reclaim_chunk(chunk)) {
		pcpu_isolate_chunk(chunk);
		need_balance = true;
	}
	trace_percpu_free_percpu(chunk->base_addr, off, area);
	spin_unlock_irqrestore(&pcpu_lock, irqs);
	if (need_balance)
		pcpu_schedule_balance_work();
}

/* the model's update_empty_pages, with the two counts in the other order */
static inline void pcpu_update_empty_pages(struct pcpu_chunk *chunk, int nr)
{
	if (chunk != pcpu_reserved_chunk && !chunk->isolated)
		pcpu_nr_empty_pop_pages += nr;
	chunk->nr_empty_pop_pages += nr;
}
