"""The compiled kernel searched by itself: every schedule of its own code, judged by the clauses."""
