// Doubly linked lists with the kernel's interface. Our own text.
#ifndef PERCPU_LIST_H
#define PERCPU_LIST_H

#include "types.h"

struct list_head {
    struct list_head *next, *prev;
};

#define LIST_HEAD_INIT(name) { &(name), &(name) }
#define LIST_HEAD(name) struct list_head name = LIST_HEAD_INIT(name)

static inline void INIT_LIST_HEAD(struct list_head *head) { head->next = head->prev = head; }
static inline bool list_empty(const struct list_head *head) { return head->next == head; }
static inline bool list_is_singular(const struct list_head *head)
{
    return !list_empty(head) && head->next == head->prev;
}

static inline void percpu_link(struct list_head *entry, struct list_head *before)
{
    struct list_head *after = before->next;

    before->next = after->prev = entry;
    entry->prev = before;
    entry->next = after;
}

static inline void percpu_unlink(struct list_head *entry)
{
    entry->prev->next = entry->next;
    entry->next->prev = entry->prev;
}

static inline void list_add(struct list_head *entry, struct list_head *head)
{
    percpu_link(entry, head);
}

static inline void list_add_tail(struct list_head *entry, struct list_head *head)
{
    percpu_link(entry, head->prev);
}

static inline void list_del(struct list_head *entry)
{
    percpu_unlink(entry);
    entry->next = entry->prev = NULL;
}

static inline void list_del_init(struct list_head *entry)
{
    percpu_unlink(entry);
    INIT_LIST_HEAD(entry);
}

static inline void list_move(struct list_head *entry, struct list_head *head)
{
    percpu_unlink(entry);
    percpu_link(entry, head);
}

static inline void list_move_tail(struct list_head *entry, struct list_head *head)
{
    percpu_unlink(entry);
    percpu_link(entry, head->prev);
}

static inline void list_splice_init(struct list_head *list, struct list_head *head)
{
    if (list_empty(list))
        return;
    list->next->prev = head;
    list->prev->next = head->next;
    head->next->prev = list->prev;
    head->next = list->next;
    INIT_LIST_HEAD(list);
}

static inline void list_splice(struct list_head *list, struct list_head *head)
{
    struct list_head old = *list;

    list_splice_init(list, head);
    *list = old;
}

static inline void list_splice_tail_init(struct list_head *list, struct list_head *head)
{
    list_splice_init(list, head->prev);
}

static inline void list_rotate_left(struct list_head *head)
{
    if (!list_empty(head))
        list_move_tail(head->next, head);
}

static inline size_t list_count_nodes(struct list_head *head)
{
    size_t count = 0;

    for (struct list_head *entry = head->next; percpu_tick(), entry != head; entry = entry->next)
        count++;
    return count;
}

static inline bool list_is_first(const struct list_head *entry, const struct list_head *head)
{
    return entry->prev == head;
}

static inline bool list_is_last(const struct list_head *entry, const struct list_head *head)
{
    return entry->next == head;
}
#define list_is_head(entry, head) ((entry) == (head))

#define list_entry(pointer, type, member) container_of(pointer, type, member)
#define list_first_entry(head, type, member) list_entry((head)->next, type, member)
#define list_last_entry(head, type, member) list_entry((head)->prev, type, member)
#define list_first_entry_or_null(head, type, member) \
    (list_empty(head) ? NULL : list_first_entry(head, type, member))
#define list_next_entry(entry, member) list_entry((entry)->member.next, typeof(*(entry)), member)
#define list_prev_entry(entry, member) list_entry((entry)->member.prev, typeof(*(entry)), member)
#define list_entry_is_head(entry, head, member) (&(entry)->member == (head))

#define list_for_each_entry(entry, head, member) \
    for (entry = list_first_entry(head, typeof(*entry), member); \
         percpu_tick(), !list_entry_is_head(entry, head, member); \
         entry = list_next_entry(entry, member))
#define list_for_each_entry_reverse(entry, head, member) \
    for (entry = list_last_entry(head, typeof(*entry), member); \
         percpu_tick(), !list_entry_is_head(entry, head, member); \
         entry = list_prev_entry(entry, member))
#define list_for_each_entry_continue(entry, head, member) \
    for (entry = list_next_entry(entry, member); \
         percpu_tick(), !list_entry_is_head(entry, head, member); \
         entry = list_next_entry(entry, member))
#define list_for_each_entry_safe_reverse(entry, following, head, member) \
    for (entry = list_last_entry(head, typeof(*entry), member), \
         following = list_prev_entry(entry, member); \
         percpu_tick(), !list_entry_is_head(entry, head, member); \
         entry = following, following = list_prev_entry(following, member))
#define list_for_each_entry_safe(entry, following, head, member) \
    for (entry = list_first_entry(head, typeof(*entry), member), \
         following = list_next_entry(entry, member); \
         percpu_tick(), !list_entry_is_head(entry, head, member); \
         entry = following, following = list_next_entry(following, member))

#endif
