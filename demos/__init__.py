"""Small trained agents: `worldplan.load("demo:hopper")`. Made by `benchmarks/demos.py`."""
