"""What training does to a tiny real Qwen2.5-VL: imitation, reinforcement, and a process killed at a random step.

python benchmarks/alignment.py kill      # {sft, grpo} × {all weights, adapters}: SIGKILL, then continued
python benchmarks/alignment.py sft       # plain, hard, soft and shuffled labels, by seed
python benchmarks/alignment.py grpo      # right and shuffled labels, by seed
python benchmarks/alignment.py garbage   # grpo from a model of whose replies 30 % are no rating, by seed
python benchmarks/alignment.py dpo       # right labels without and with imitation, and shuffled ones, by seed and step

Results are dated in RESULTS.md. The tasks are toys: they show that the parts work together, and nothing about images.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from safetensors.torch import load_file
from scipy import stats

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import tiny_vlm

from lopsided.analysis.statistics.frames import grouped
from lopsided.mllm import Scorer, TransformersBackend, create_preset
from lopsided.mllm.align import Alignment, align, plan_alignment, read_log

torch.set_num_threads(1)


def redness(picture):
    red, *others = np.asarray(picture, float).reshape(-1, 3).mean(0) / 255
    return float(np.clip(0.5 + 2 * (red - np.mean(others)), 0, 1))


def tinted(number, seed):
    """Images whose redness has nothing to do with their brightness."""
    rng = np.random.default_rng([seed, 1])  # another stream than that of the images
    pictures = []
    for picture in tiny_vlm.images(number, seed):
        shift = rng.uniform(-0.2, 0.2)
        pixels = np.asarray(picture, float) / 255 * 0.6 + 0.2 + np.array([shift, -shift / 2, -shift / 2])
        pictures.append(tiny_vlm.Image.fromarray((pixels.clip(0, 1) * 255).round().astype(np.uint8)))
    return pictures


def write_benchmark(folder, name, pictures, labels, dimension):
    lines = []
    for n, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        picture.save(folder / f"{name}-{n}.png")
        line = {"id": f"{n}", "task": "rate", "images": f"{name}-{n}.png", "target": round(100 * label, 2)}
        lines.append(json.dumps(line | {"scale": [0, 100], "dimension": dimension}))
    (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return str(folder / f"{name}.jsonl")


def settings(path, model=None, **more):
    base = {"model": str(model or tiny_vlm.trained()), "data": [{"benchmark": "jsonl", "path": path}], "trackers": []}
    return base | {"split": {"near": None, "held_out": 0}, "save_every": 10_000} | more


def ratings(model, preset, dimension, pictures):
    scorer = Scorer(TransformersBackend(model, dtype="float32"), create_preset(preset))
    return [rating.value for rating in scorer.rate(pictures, dimension=dimension)]


def srcc(values, truth):
    return float(np.asarray(stats.spearmanr(values, truth))[0])


def interval(differences):
    """Mean of paired differences with its 95 % interval (Student's t)."""
    values = np.asarray(differences, float)
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
    return f"{values.mean():+.3f} [{values.mean() - half:+.3f}, {values.mean() + half:+.3f}]"


def shuffled(labels, seed):
    return list(np.random.default_rng(seed).permutation(labels))


def sft(folder, seeds, steps):
    test = tinted(64, 10_000)
    truth = [redness(picture) for picture in test]
    bright = [tiny_vlm.brightness(picture) for picture in test]
    arms = {
        "plain": ("two-level", 0.0),
        "hard": ("hard", 1.0),
        "soft": ("two-level", 1.0),
        "shuffled": ("two-level", 1.0),
    }
    found = {name: [] for name in arms}
    untrained, seconds = [], []
    start = srcc(ratings(tiny_vlm.trained(), "q-align", "aesthetics", test), truth)
    for seed in range(seeds):
        pictures = tinted(160, seed)
        labels = [redness(picture) for picture in pictures]
        for arm, (target, weight) in arms.items():
            given = shuffled(labels, seed) if arm == "shuffled" else labels
            path = write_benchmark(folder, f"{arm}{seed}", pictures, given, "aesthetics")
            loss = {"kind": "levels", "target": target, "weight": weight, "tokens": 1.0}
            optim = {"rate": 2e-3, "batch": 16, "steps": steps}
            made = settings(path, method="sft", preset="q-align", loss=loss, optim=optim, seed=seed)
            out, began = folder / f"out-{arm}{seed}", time.perf_counter()
            done = align(plan_alignment(Alignment.model_validate(made)), out)
            seconds.append(time.perf_counter() - began)
            found[arm].append(srcc(ratings(done.model, "q-align", "aesthetics", test), truth))
            if arm == "soft":
                untrained.append(srcc(ratings(done.model, "q-align", "quality", test), bright))
            shutil.rmtree(out)
            print(seed, arm, f"{found[arm][-1]:.3f}", f"{seconds[-1]:.0f} s", flush=True)
    print(f"held-out SRCC before: {start:.3f}; a run takes {np.median(seconds):.0f} s (median)")
    for arm, values in found.items():
        print(f"{arm:9} {' '.join(f'{value:.3f}' for value in values)}  mean {np.mean(values):.3f}")
    soft = np.array(found["soft"])
    print(
        "soft - hard",
        interval(soft - found["hard"]),
        "  hard - plain",
        interval(np.subtract(found["hard"], found["plain"])),
    )
    print(
        "shuffled - before", interval(np.subtract(found["shuffled"], start)), " shuffled", interval(found["shuffled"])
    )
    print("quality (brightness), not trained here:", " ".join(f"{value:.3f}" for value in untrained))


def warmed(folder, garbage=0.0):
    """Return a model that has learnt ratings which are drawn together and noisy: there is something to reinforce.

    Args:
        folder: where the model goes.
        garbage: share of the answers it has learnt that are no ratings, to the same question.
    """
    pictures, rng = tiny_vlm.images(256, 30_000), np.random.default_rng(0)
    labels = [0.5 + 0.4 * (tiny_vlm.brightness(picture) - 0.5) + rng.normal(0, 0.15) for picture in pictures]
    path = Path(write_benchmark(folder, "warm", pictures, np.clip(labels, 0, 1), "quality"))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for n in rng.permutation(len(lines))[: round(garbage * len(lines))]:
        about = {key: lines[n][key] for key in ("id", "images", "dimension")}
        lines[n] = {**about, "task": "open", "question": tiny_vlm.NUMERIC.text, "target": "no idea"}
    path.write_text("\n".join(map(json.dumps, lines)))
    optim = {"rate": 1e-3, "batch": 16, "steps": 100}
    made = settings(str(path), method="sft", preset="numeric", optim=optim)
    return align(plan_alignment(Alignment.model_validate(made)), folder / "warm").model


def unreadable(model, pictures, draws=8):
    """Return the shares of replies that are no rating: of drawn ones, at temperature 1, and of greedy ones."""
    backend = TransformersBackend(model, dtype="float32")
    greedy, drawn = (Scorer(backend, create_preset("numeric", temperature=t)) for t in (0.0, 1.0))
    read = [rating.value for seed in range(draws) for rating in drawn.rate(pictures, dimension="quality", seed=seed)]
    said = [rating.value for rating in greedy.rate(pictures, dimension="quality")]
    return (sum(value is None for value in values) / len(values) for values in (read, said))


def garbage(folder, seeds, steps):
    test, ends = tiny_vlm.images(64, 20_000), []
    model = warmed(folder, 0.17)
    print("before: unreadable drawn {:.1%}, greedy {:.1%}".format(*unreadable(model, test)), flush=True)
    for seed in range(seeds):
        pictures = tiny_vlm.images(128, seed)
        path = write_benchmark(folder, f"right{seed}", pictures, map(tiny_vlm.brightness, pictures), "quality")
        out, began = folder / f"out-{seed}", time.perf_counter()
        done = align(plan_alignment(Alignment.model_validate(reinforced(path, model, steps, seed))), out)
        took = time.perf_counter() - began
        drawn, greedy = unreadable(done.model, test)
        ends.append(drawn)
        shutil.rmtree(out)
        print(f"{seed}: unreadable drawn {drawn:.1%}, greedy {greedy:.1%}, {took:.0f} s", flush=True)
    print(f"unreadable of the drawn replies at the end: mean {np.mean(ends):.1%}, most {max(ends):.1%}")


def reinforced(path, model, steps, seed):
    """Settings of reinforcement."""
    return settings(
        path,
        model,
        method="grpo",
        preset="numeric",
        rewards=[{"kind": "adaptive-gaussian"}],
        generation={"replies": 8, "max_tokens": 6},
        optim={"rate": 3e-4, "batch": 32, "steps": steps, "schedule": "constant", "warmup": 0},
        log_every=5,
        seed=seed,
    )


def dpo(folder, seeds, steps):
    model, test = warmed(folder), tiny_vlm.images(64, 20_000)
    held = write_benchmark(folder, "test", test, map(tiny_vlm.brightness, test), "quality")
    curves = []
    for seed in range(seeds):
        pictures = tiny_vlm.images(128, seed)
        labels = [tiny_vlm.brightness(picture) for picture in pictures]
        for arm, imitation in {"right": 0.0, "right, imitation 1": 1.0, "shuffled, imitation 1": 1.0}.items():
            given = shuffled(labels, seed) if arm.startswith("shuffled") else labels
            path = write_benchmark(folder, f"{arm}{seed}", pictures, given, "quality")
            made = settings(
                path,
                model,
                method="dpo",
                preset="numeric",
                dpo={"imitation": imitation},
                optim={"rate": 1e-4, "batch": 16, "steps": steps, "schedule": "constant", "warmup": 0},
                evaluate={"every": steps // 4, "benchmarks": {"test": {"benchmark": "jsonl", "path": held}}},
                seed=seed,
            )
            out, began = folder / f"out-{arm}{seed}", time.perf_counter()
            align(plan_alignment(Alignment.model_validate(made)), out)
            took, log = time.perf_counter() - began, read_log(out)
            shutil.rmtree(out)
            log = log.loc[log["term"].str.startswith("eval/test/quality/")].assign(seed=seed, arm=arm)
            curves.append(log)
            shown = log.loc[log["term"].str.endswith("/rmse")].sort_values("step")["value"].map("{:.2f}".format)
            print(f"{seed} {arm}: greedy RMSE by step {' '.join(shown)}, {took:.0f} s", flush=True)
    table = pd.concat(curves)
    for (arm, term), of in grouped(table, "arm", "term"):
        wide = of.pivot_table(index="seed", columns="step", values="value", dropna=False)
        for step in wide.columns[1:]:
            print(f"{arm} {term} after {step}: {wide[step].mean():.3f}, change {interval(wide[step] - wide[0])}")


def grpo(folder, seeds, steps):
    model = warmed(folder)
    test = tiny_vlm.images(64, 20_000)
    truth = 100 * np.array([tiny_vlm.brightness(picture) for picture in test])

    def rmse(model):
        values = ratings(model, "numeric", "quality", test)
        read = np.array([value is not None for value in values])
        errors = np.array([value for value in values if value is not None]) - truth[read]
        return float(np.sqrt(np.mean(errors**2))), float(1 - read.mean())

    start = rmse(model)
    print(f"before: greedy RMSE {start[0]:.2f}, unreadable {start[1]:.1%}", flush=True)
    changes = {"right": [], "shuffled": []}
    for seed in range(seeds):
        pictures = tiny_vlm.images(128, seed)
        labels = [tiny_vlm.brightness(picture) for picture in pictures]
        for arm in changes:
            given = shuffled(labels, seed) if arm == "shuffled" else labels
            path = write_benchmark(folder, f"{arm}{seed}", pictures, given, "quality")
            made = reinforced(path, model, steps, seed)
            out, began = folder / f"out-{arm}{seed}", time.perf_counter()
            done = align(plan_alignment(Alignment.model_validate(made)), out)
            took = time.perf_counter() - began
            lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
            unread = [1 - lines[n]["status/ok"] for n in (0, -1)]
            fixed = [lines[n]["rewards/gaussian/mean"] for n in (0, -1)]
            end = rmse(done.model)
            changes[arm].append(end[0] - start[0])
            shutil.rmtree(out)
            print(
                f"{seed} {arm}: greedy RMSE {end[0]:.2f}, unreadable greedy {end[1]:.1%}, sampled {unread[0]:.1%} -> "
                f"{unread[1]:.1%}, fixed Gaussian {fixed[0]:.3f} -> {fixed[1]:.3f}, {took:.0f} s",
                flush=True,
            )
    for arm, values in changes.items():
        print(f"change of greedy RMSE, {arm}: {interval(values)}")


def kill(folder, seeds, steps):
    del seeds
    pictures = tiny_vlm.images(24, 3)
    path = write_benchmark(folder, "kill", pictures, map(tiny_vlm.brightness, pictures), "quality")
    ways = {
        "sft": {"method": "sft", "loss": {"kind": "soft-digits"}},
        "grpo": {
            "method": "grpo",
            "rewards": [{"kind": "adaptive-gaussian"}],
            "generation": {"replies": 8, "max_tokens": 5},
            "kl": 0.04,
        },
    }
    for name, way in ways.items():
        for lora in (None, {"rank": 8, "dropout": 0.05, "head": True}):
            optim = {"rate": 1e-3, "batch": 8, "steps": steps}
            made = settings(path, preset="numeric", optim=optim, lora=lora, **way) | {"save_every": 2, "log_every": 1}
            file = folder / "kill.yaml"
            file.write_text(yaml.safe_dump(made))
            kind = "adapters" if lora else "all weights"
            whole, killed = folder / f"{name}-{bool(lora)}-whole", folder / f"{name}-{bool(lora)}-killed"
            command = [sys.executable, "-m", "lopsided", "align", str(file), "--to"]
            quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            subprocess.run([*command, str(whole)], check=True, **quiet)
            at = random.Random(f"{name} {lora}").randint(3, steps - 1)
            process = subprocess.Popen([*command, str(killed)], **quiet)
            log = killed / "log.jsonl"
            while process.poll() is None and (not log.exists() or log.read_text().count("\n") < at):
                time.sleep(0.01)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            reached = log.read_text().count("\n")
            done = subprocess.run([*command, str(killed)], check=True, capture_output=True, text=True)
            one, other = (load_file(place / "model" / "model.safetensors") for place in (whole, killed))
            moved = max(float((one[key] - other[key]).abs().max()) for key in one)
            same = (whole / "log.jsonl").read_text() == log.read_text()
            said = next((line for line in done.stdout.splitlines() if line.startswith("continued")), "not continued")
            print(
                f"{name}, {kind}: killed after step {reached} of {steps}, {said}; |dw| {moved}, equal logs {same}",
                flush=True,
            )


if __name__ == "__main__":
    what = sys.argv[1]
    ways = {"sft": (sft, 50), "grpo": (grpo, 150), "garbage": (garbage, 150), "dpo": (dpo, 100), "kill": (kill, 7)}
    way, steps = ways[what]
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    with tempfile.TemporaryDirectory() as place:
        way(Path(place), seeds, int(sys.argv[3]) if len(sys.argv) > 3 else steps)
