"""Tables of accuracies made from whole numbers of hits, for tests of their audit."""

import pandas as pd


def made(rng, models=6, swap=False):
    """A true table: hits drawn per item and counted by two groupings."""
    category, template = rng.integers(0, 3, 700), rng.integers(0, 2, 700)
    sizes = [("category", f"c{c}", int((category == c).sum())) for c in range(3)]
    sizes += [("template", f"t{t}", int((template == t).sum())) for t in range(2)]
    sizes = pd.DataFrame([*sizes, ("all", "Overall", 700)], columns=["grouping", "group", "items"])
    rows = []
    for model in range(models):
        right = rng.random(700) < 0.2 + 0.1 * model
        row = {f"c{c}": right[category == c].mean() for c in range(3)}
        row |= {f"t{t}": right[template == t].mean() for t in range(2)} | {"Overall": right.mean()}
        rows.append({"model": f"m{model}", **{name: round(100 * value, 2) for name, value in row.items()}})
    table = pd.DataFrame(rows)
    return (table.rename(columns={"c0": "c1", "c1": "c0"}) if swap else table), sizes
