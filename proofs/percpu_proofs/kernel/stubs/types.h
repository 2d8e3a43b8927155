// Types, attributes and small macros of the kernel, for user space. Our own text.
#ifndef PERCPU_TYPES_H
#define PERCPU_TYPES_H

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC visibility push(default)
#include "interface.h"
#pragma GCC visibility pop

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;
// What <signal.h> of arm64 has from linux/types.h, in the place of which there is a header of ours.
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef unsigned int gfp_t;
typedef uintptr_t phys_addr_t;

// How the library was configured: SMP or one CPU, memory cgroups, an architecture that sets itself
// up, a size of pages.
#ifndef PERCPU_UP
#define CONFIG_SMP 1
#endif
#define CONFIG_MEMCG 1
#define CONFIG_MEMCG_KMEM 1
#define CONFIG_HAVE_SETUP_PER_CPU_AREA 1
#define CONFIG_64BIT 1
#ifdef PERCPU_KM
#define CONFIG_NEED_PER_CPU_KM 1
#endif

#define PERCPU_ARG_1 0,
#define PERCPU_SECOND(ignored, value, ...) value
#define PERCPU_IS_SET(...) PERCPU_SECOND(__VA_ARGS__ 1, 0, 0)
#define PERCPU_PASTE(value) PERCPU_IS_SET(PERCPU_ARG_##value)
#define IS_ENABLED(option) PERCPU_PASTE(option)
#define IS_BUILTIN(option) IS_ENABLED(option)

#define __percpu
#define __force
#define __user
#define __init
#define __initdata
#define __initconst
#define __ref
#define __meminit
#define __read_mostly
#define __ro_after_init
#define __maybe_unused __attribute__((unused))
#define __always_unused __attribute__((unused))
#define __flatten
#define __must_check
#undef __always_inline
#define __always_inline inline
#define noinline __attribute__((noinline))
#define __alloc_size(...)
#define __malloc
#define __counted_by(member)
#define __aligned(n) __attribute__((aligned(n)))
#define SMP_CACHE_BYTES 64
#define ____cacheline_aligned_in_smp __attribute__((aligned(SMP_CACHE_BYTES)))
#define EXPORT_SYMBOL(name)
#define EXPORT_SYMBOL_GPL(name)
#define EXPORT_SYMBOL_NS(...)
#define EXPORT_SYMBOL_NS_GPL(...)
#define EXPORT_SYMBOL_FOR_MODULES(...)
#define DEFINE_FREE(...)
#define alloc_hooks(call) (call)
#define early_param(name, function) \
    static int (*const percpu_early_##function)(char *) __attribute__((unused)) = function;
#define subsys_initcall(function)
#define core_initcall(function)

#define likely(x) (x)
#define unlikely(x) (x)
#define barrier() ((void)0)
#define READ_ONCE(x) (x)
#define WRITE_ONCE(x, value) ((x) = (value))
#define data_race(x) (x)
#define fallthrough __attribute__((fallthrough))
#define might_sleep() ((void)0)
#define might_alloc(gfp) ((void)(gfp))

#define PAGE_SHIFT PERCPU_PAGE_SHIFT
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))
#define BITS_PER_LONG 64
#define BITS_PER_BYTE 8
#ifdef PERCPU_SEARCH
#define NR_CPUS 64 // less to save and restore
#else
#define NR_CPUS 8192
#endif

#define __ALIGN_MASK(x, mask) (((x) + (mask)) & ~(mask))
#define ALIGN(x, a) __ALIGN_MASK(x, (typeof(x))(a) - 1)
#define ALIGN_DOWN(x, a) ((x) & ~((typeof(x))(a) - 1))
#define IS_ALIGNED(x, a) (((x) & ((typeof(x))(a) - 1)) == 0)
#define DIV_ROUND_UP(n, d) (((n) + (d) - 1) / (d))
#define roundup(x, y) (DIV_ROUND_UP(x, y) * (y))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define PFN_ALIGN(x) (((unsigned long)(x) + (PAGE_SIZE - 1)) & PAGE_MASK)
#define PFN_UP(x) (((x) + PAGE_SIZE - 1) >> PAGE_SHIFT)
#define PFN_DOWN(x) ((x) >> PAGE_SHIFT)
#define PAGE_ALIGN(x) ALIGN(x, PAGE_SIZE)
#define offset_in_page(p) ((unsigned long)(p) & (PAGE_SIZE - 1))
#define container_of(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))
#define struct_size(pointer, member, count) \
    (sizeof(*(pointer)) + (count) * sizeof((pointer)->member[0]))

#define min(a, b) ({ typeof(a) a_ = (a); typeof(b) b_ = (b); a_ < b_ ? a_ : b_; })
#define max(a, b) ({ typeof(a) a_ = (a); typeof(b) b_ = (b); a_ > b_ ? a_ : b_; })
#define min_t(type, a, b) min((type)(a), (type)(b))
#define max_t(type, a, b) max((type)(a), (type)(b))
#define min3(a, b, c) min(min(a, b), c)
#define max3(a, b, c) max(max(a, b), c)
#define clamp(value, low, high) min(max(value, low), high)
#define clamp_t(type, value, low, high) min_t(type, max_t(type, value, low), high)
#define swap(a, b) do { typeof(a) t_ = (a); (a) = (b); (b) = t_; } while (0)

#define GFP_BIT(n) (1u << (n)) // the numbers of percpu_spec.gfp
#define __GFP_HIGH GFP_BIT(0)
#define __GFP_IO GFP_BIT(1)
#define __GFP_FS GFP_BIT(2)
#define __GFP_DIRECT_RECLAIM GFP_BIT(3)
#define __GFP_KSWAPD_RECLAIM GFP_BIT(4)
#define __GFP_NOWARN GFP_BIT(5)
#define __GFP_NOFAIL GFP_BIT(6)
#define __GFP_NORETRY GFP_BIT(7)
#define __GFP_ACCOUNT GFP_BIT(8)
#define __GFP_ZERO GFP_BIT(9)
#define __GFP_HIGHMEM GFP_BIT(10)
#define __GFP_RECLAIM (__GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM)
#define GFP_KERNEL (__GFP_RECLAIM | __GFP_IO | __GFP_FS)
#define GFP_NOFS (__GFP_RECLAIM | __GFP_IO)
#define GFP_NOIO __GFP_RECLAIM
#define GFP_ATOMIC (__GFP_HIGH | __GFP_KSWAPD_RECLAIM)
#define GFP_NOWAIT __GFP_KSWAPD_RECLAIM
#ifndef PERCPU_NEEDED
#define PERCPU_NEEDED __GFP_DIRECT_RECLAIM // flags that a request needs, all of them, to sleep
#endif
#define PERCPU_FLAGS (GFP_BIT(9) - 1) // those that percpu_spec.gfp has
#define PERCPU_SCOPES(gfp) ((gfp) >> 16 & 3) // what an operation's flags say of its task
#define gfpflags_allow_blocking(gfp) (((gfp) & __GFP_DIRECT_RECLAIM) != 0)

// Running off: every loop of the kernel's passes through a list, a map or a lock.
enum { PERCPU_BUG = -1, PERCPU_ENDLESS = -2, PERCPU_FAULT = -3 };
extern long percpu_budget;
void percpu_stop(int code, const char *what) __attribute__((noreturn));
#ifdef PERCPU_SEARCH // where the code stood that stops: in which functions, to be told
void percpu_note_stop(unsigned long pc, void **frame);
bool percpu_is_below_stack(const void *address);
#else
static inline void percpu_note_stop(unsigned long pc, void **frame) { (void)pc, (void)frame; }
static inline bool percpu_is_below_stack(const void *address) { (void)address; return false; }
#endif
static inline void percpu_tick(void)
{
    if (--percpu_budget < 0)
        percpu_stop(PERCPU_ENDLESS, "BAL-3: a loop that does not end");
}

// What is wrong is counted, and the last said in words, a clause's id first.
void percpu_complain(long *count, const char *what);
extern const char *percpu_complaint;
#ifdef PERCPU_SEARCH
#define STATE __attribute__((section("percpu_state"))) // of what a search restores, by name
#define OUTSIDE __attribute__((section("percpu_outside")))
#else
#define STATE
#define OUTSIDE
#endif

#define PERCPU_TEXT_(x) #x
#define PERCPU_TEXT(x) PERCPU_TEXT_(x)
#define PERCPU_HERE __FILE__ ":" PERCPU_TEXT(__LINE__)
#define BUG() percpu_stop(PERCPU_BUG, "BUG at " PERCPU_HERE)
#define BUG_ON(condition) do { if (condition) BUG(); } while (0)
#define VM_BUG_ON(condition) BUG_ON(condition)
#define panic(...) percpu_stop(PERCPU_BUG, "panic at " PERCPU_HERE)
#define BUILD_BUG_ON(condition) _Static_assert(!(condition), #condition)
#define WARN(condition, ...) \
    ({ bool c_ = (condition); \
       if (c_) \
           percpu_complain(&percpu_environment.warnings, "WARN at " PERCPU_HERE); \
       c_; })
#define WARN_ON(condition) WARN(condition, "")
#define WARN_ON_ONCE(condition) WARN_ON(condition)
#define WARN_ONCE(condition, ...) WARN(condition, "")
#define VM_WARN_ON(condition) WARN_ON(condition)

#define KERN_EMERG ""
#define KERN_DEBUG ""
#define KERN_INFO ""
#define printk(...) ((void)0)
#define pr_cont(...) ((void)0)
#define pr_emerg(...) ((void)0)
#define pr_crit(...) ((void)0)
#define pr_err(...) ((void)0)
#define pr_info(...) ((void)0)
#define pr_debug(...) ((void)0)
#define pr_warn(...) ((void)percpu_environment.printed++)
#define pr_warn_ratelimited(...) pr_warn(__VA_ARGS__)
#define pr_warn_once(...) pr_warn(__VA_ARGS__)
#define pr_notice(...) ((void)0)
#define pr_err_ratelimited(...) ((void)0)
#define dump_stack() ((void)percpu_environment.stack_dumps++)
#define _RET_IP_ 0UL
#define _THIS_IP_ 0UL

static inline int fls(unsigned int x) { return x ? 32 - __builtin_clz(x) : 0; }
static inline int fls64(u64 x) { return x ? 64 - __builtin_clzll(x) : 0; }
static inline int fls_long(unsigned long x) { return fls64(x); }
static inline unsigned long __ffs(unsigned long x) { return (unsigned long)__builtin_ctzl(x); }
static inline unsigned long __fls(unsigned long x) { return 63UL - (unsigned long)__builtin_clzl(x); }
#define ffs(x) __builtin_ffs(x)
#define ilog2(x) (fls64(x) - 1)
#define order_base_2(x) ((x) > 1 ? fls64((x) - 1) : 0)
#define get_order(size) order_base_2(PFN_UP(size))
#define is_power_of_2(x) ((x) != 0 && ((x) & ((x) - 1)) == 0)
#define roundup_pow_of_two(x) (1UL << order_base_2(x))
#define rounddown_pow_of_two(x) (1UL << ilog2(x))
#define lcm(a, b) max(a, b) // of sizes of which one is a multiple of the other
#define hweight_long(x) __builtin_popcountl(x)

#endif
