"""Side-by-side benchmarks: `python -m bench`. Method and results: docs/bench.md."""
