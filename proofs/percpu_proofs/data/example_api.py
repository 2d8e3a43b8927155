"""Empty pages: what reclaim gives back, what a real kernel kept, and what lets it keep them.

Run it with `python -m percpu_proofs.data.example_api`; in a notebook leave out the prints.
"""

import percpu_spec as ps

GEOMETRY = "unit=32768,static=4096,reserved=0,dyn=28672,cpus=2"  # 8 pages a unit, the fewest


def look() -> None:
    """Drive an allocator of Linux 7.1 under contracts, then read a real kernel's state."""
    a = ps.allocator("7.1", contracts="full", geometry=GEOMETRY)
    areas = [a.alloc(4096) for _ in range(22)]  # three chunks, full
    for area in areas[7:19]:
        a.free(area)
    print(ps.draw(a))
    print(ps.check(a, "RCL-3"))  # not asked: a chunk waits on to_depopulate
    a.balance()
    print(ps.draw(a, chunk=2))  # drained, sidelined
    print(ps.check(a))  # every clause

    burst = [a.alloc(4096, atomic=True) for _ in range(12)]
    print(f"{sum(area is not None for area in burst)} of {len(burst)} atomic requests were served")
    print(ps.check(a, "API-5"))

    state = ps.read_state("612_4.removed60")  # ships; yours: percpu-spec state live --save FILE
    verdicts = ps.check(state)
    print(f"{state.release} breaks what it is known for: {', '.join(verdicts.known)}")
    print(verdicts["RCL-3"].found[0])
    ps.draw(state, chunk=7).save("chunk7.svg")
    print(ps.explain("R1"))  # how it comes to that


def search() -> None:
    """Let a scenario find the schedule that does it, and see that the fixes leave none."""
    review = ps.review("7.1", "reference", searches=["reclaim-frees"])
    for cell in review.broken:
        print(cell.variant, cell.clause, cell.example and cell.example.message)


if __name__ == "__main__":  # a search starts processes, which import this file
    look()
    search()
