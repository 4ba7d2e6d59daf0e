#!/usr/bin/env python3
"""Times Dyadic beside other engines on one sentence encoder and prints the ratios, losses included. bench/peers/run.sh
prepares everything and calls this.

Every engine is a process of its own on the same processors, with glibc's allocator kept from returning memory (page faults
cost some engines a multiple of their work otherwise). On each shape the engines take turns, round after round; a ratio is that
of two medians of one round, and its spread is that over the rounds. An engine's accuracy is measured on the same texts first,
and Dyadic's codes are compared with its portable kernels' before anything is timed.

Shapes are BATCHxTOKENS of random ids; "text" is sentences with lengths as they come, 32 a batch, where each peer runs padded
or packed as it prefers, and one sentence after the other as well, and the faster counts; "start" is a fresh process with its
file in the page cache, to the first output of 128 tokens.
What is measured is kept in FOLDER and not measured again unless the program, the model or the options have changed, or with --again.
"""
import argparse
import csv
import dataclasses
import datetime
import hashlib
import json
import math
import os
import pathlib
import random
import re
import statistics
import subprocess
import sys
import time

import numpy as np
from engines import ENGINES

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
from pages import number, table, write_block  # noqa: E402

OURS = "dyadic"
SHAPES = [f"{batch}x{length}" for batch in (1, 8, 32) for length in (16, 128, 384)]
TEXT_BATCH, TEXT_BATCHES, LONGEST_TEXT = 32, 4, 256
START_SHAPE, STARTS = "1x128", 3
# What the project wants of ratios: the geometric mean over the shapes, each shape, and text.
VNNI_GOALS = {"int8": 1.4, "int8 lowest": 1.25, "fp32": 3.5, "text": 1.8}
GOALS = {"amx": VNNI_GOALS, "avx512vnni": VNNI_GOALS, "avx2": {"fp32": 1.8, "text": 1.8}}


class EngineFailed(Exception):
    pass


class Engine:
    """A child that speaks the protocol of engines.py."""

    def __init__(self, name, command, environment, log):
        self.name, self.log = name, log
        with open(log, "w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
                                            env=environment)
        self.about = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            words = self.log.read_text(encoding="utf-8").strip().splitlines()
            raise EngineFailed(f"{self.name}: {words[-1] if words else f'ended with {self.process.returncode}'}")
        return json.loads(line)

    def ask(self, *words):
        try:
            print(*words, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass  # answer() says why
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


@dataclasses.dataclass
class Texts:
    """What engines are compared on: sentences, and where there are any, scores of pairs of neighbours."""
    sentences: list
    scores: list
    source: str


def columns(path):
    rows = subprocess.run(["zstd", "-dcf", path], check=True, capture_output=True).stdout.decode().splitlines()
    return [row.split("\t") for row in rows]


def read_texts(options):
    if options.stsb:
        dev, train = (columns(options.stsb / f"sts-{part}.csv.zst") for part in ("dev", "train"))
        return (Texts([text for row in dev for text in row[5:7]], [float(row[4]) for row in dev], "STS-B dev"),
                [text for row in train for text in row[5:7]])
    calibration, evaluation = (path.read_text(encoding="utf-8").splitlines() for path in options.sentences)
    return Texts(evaluation, [], "one half of examples/sentences.txt"), calibration


def spread_out(items, count):
    """`count` of the items at even steps, in order."""
    return [items[i * len(items) // count] for i in range(min(count, len(items)))]


def write_ids(options):
    """Files of token ids by name: accuracy, calibration, text and the shapes."""
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(str(options.model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST_TEXT)
    texts, calibration = read_texts(options)

    def tokens(sentences):
        return [e.ids for e in tokenizer.encode_batch(sentences)]

    files = {"accuracy": [tokens(texts.sentences)], "calibration": [tokens(spread_out(calibration, 300))]}
    sentences = tokens(spread_out(texts.sentences, TEXT_BATCH * TEXT_BATCHES))
    files["text"] = [sentences[i:i + TEXT_BATCH] for i in range(0, len(sentences), TEXT_BATCH)]
    for shape in {*options.shapes, START_SHAPE}:
        if shape not in ("text", "start"):
            batch, length = map(int, shape.split("x"))
            draw = random.Random(shape)
            files[shape] = [[[draw.randrange(tokenizer.get_vocab_size()) for _ in range(length)] for _ in range(batch)]]
    folder = options.folder / "ids"
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, batches in files.items():
        paths[name] = folder / f"{name}.ids"
        paths[name].write_text("\n\n".join("\n".join(" ".join(map(str, ids)) for ids in batch) for batch in batches) + "\n")
    sizes = {name: (sum(len(batch) for batch in batches), sum(len(ids) for batch in batches for ids in batch))
             for name, batches in files.items()}
    return texts, paths, sizes


def environment(options, name):
    variables = dict(os.environ, MALLOC_MMAP_MAX_="0", MALLOC_TRIM_THRESHOLD_="1000000000000", MALLOC_TOP_PAD_="67108864")
    for library in ("OMP", "MKL", "OPENBLAS"):
        variables[f"{library}_NUM_THREADS"] = str(options.threads)
    for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "DYADIC_ISA"):
        variables.pop(variable, None)
    if name == OURS and options.isa:
        variables["DYADIC_ISA"] = options.isa
    return variables


def make(options, name, calibration):
    """Makes what a peer runs. EngineFailed with the reason if that cannot be done."""
    log = options.folder / "logs" / f"make-{name}.log"
    command = [sys.executable, HERE / "make_models.py", name, options.model, calibration, options.folder / "models"]
    with open(log, "w", encoding="utf-8") as out:
        made = subprocess.run(command, stdout=out, stderr=out, check=False)
    if made.returncode:
        raise EngineFailed(log.read_text(encoding="utf-8").strip().splitlines()[-1])


def start(options, name):
    """The engine's process. EngineFailed with the reason if it ends."""
    peer = [sys.executable, HERE / "engines.py", name, options.folder / "models", options.threads]
    command = [options.ours, options.dyad, options.threads] if name == OURS else peer
    return Engine(name, list(map(str, command)), environment(options, name), options.folder / "logs" / f"{name}.log")


def file_hash(*files):
    digest = hashlib.sha256()
    for file in files:
        digest.update(pathlib.Path(file).read_bytes())
    return digest.hexdigest()[:16]


class Store:
    """Results by name, each with the key of all that it depends on."""

    def __init__(self, folder, again):
        self.folder, self.again = folder, again
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, name, key):
        path = self.folder / f"{name}.json"
        if not path.exists():
            return None
        record = json.loads(path.read_text(encoding="utf-8"))
        return record["value"] if record["key"] == key else None

    def keep(self, name, key, make):
        value = None if self.again else self.get(name, key)
        if value is None:
            value = make()
            temporary = self.folder / f"{name}.json.new"
            temporary.write_text(json.dumps({"key": key, "value": value}), encoding="utf-8")
            temporary.rename(self.folder / f"{name}.json")
        return value


def ranks(values):
    """Ranks from 1, equal values sharing their mean."""
    values = np.asarray(values)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def measure_accuracy(options, texts, paths, sizes, engines, store):
    embeddings = {}
    for name, engine in engines.items():
        key = [file_hash(options.dyad) if name == OURS else engine.about["engine"], file_hash(paths["accuracy"])]
        out = options.folder / f"embeddings-{name}.f32"

        def embed(engine=engine, out=out):
            engine.ask("embed", paths["accuracy"], out)
            return True

        if not out.exists():
            store.folder.joinpath(f"embeddings-{name}.json").unlink(missing_ok=True)
        store.keep(f"embeddings-{name}", key, embed)
        embeddings[name] = np.fromfile(out, np.float32).reshape(sizes["accuracy"][0], -1).astype(np.float64)
    float_engines = ("torch_fp32", "onnxruntime_fp32", "openvino_fp32", "ctranslate2_fp32")
    reference = next((name for name in float_engines if name in embeddings), None)
    result = {}
    for name, rows in embeddings.items():
        result[name] = {}
        if reference:
            cosines = (rows * embeddings[reference]).sum(1)
            result[name] = {"reference": reference, "mean": float(cosines.mean()), "min": float(cosines.min())}
        if texts.scores:
            similar = (rows[::2] * rows[1::2]).sum(1)
            result[name]["spearman"] = float(np.corrcoef(ranks(similar), ranks(texts.scores))[0, 1])
    return result


def several_forms(options, shape):
    return shape == "text" or (options.one_by_one and not shape.startswith("1x"))


def measure(options, shape, ids, engines, skipped):
    """{engine: {form: {"rounds": [median ms of each round], "min", "max"}}}; a peer that fails goes to `skipped`."""
    engines[OURS].ask("check", ids)
    turns = [(engine, form) for engine in engines.values()
             for form in engine.about["forms"][:None if several_forms(options, shape) else 1]]
    samples = {turn: [] for turn in turns}
    failed = set()
    for turn in range(options.rounds):
        first = turn % len(turns)
        for engine, form in turns[first:] + turns[:first]:
            try:
                samples[engine, form].append(engine.ask("time", ids, form, options.seconds)["ms"])
            except EngineFailed as reason:
                if engine.name == OURS:
                    raise
                failed.add(engine)
                skipped[f"{engine.name} at {shape}"] = str(reason)
    result = {}
    for (engine, form), rounds in samples.items():
        if engine in failed:
            continue
        result.setdefault(engine.name, {})[form] = {"rounds": [statistics.median(ms) for ms in rounds],
                                                    "min": min(map(min, rounds)), "max": max(map(max, rounds))}
    return result


def measure_start(options, paths, engines):
    """{engine: medians of "total_ms" from the start of the process, "load_ms", "first_ms", "private_bytes"}"""
    samples = {name: [] for name in engines}
    for _ in range(STARTS):
        for name in engines:
            begin = time.perf_counter()
            engine = start(options, name)
            first = engine.ask("first", paths[START_SHAPE])
            samples[name].append({"total_ms": 1e3 * (time.perf_counter() - begin), "load_ms": engine.about["load_ms"],
                                  "first_ms": first["ms"], "private_bytes": first["private_bytes"]})
            engine.close()
    return {name: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for name, rows in samples.items()}


# What is printed.

def median_ms(timing):
    return statistics.median(timing["rounds"])


def best_form(forms):
    return min(forms.items(), key=lambda item: median_ms(item[1]))


def ratios(cell, timing):
    """A peer's timing over ours, a number a round."""
    return [theirs / ours for ours, theirs in zip(best_form(cell[OURS])[1]["rounds"], timing["rounds"])]


def ratio_to(cell, name):
    """Of the engine's fastest form, median of the rounds."""
    return statistics.median(ratios(cell, best_form(cell[name])[1]))


def fastest(cell, kind):
    """The name of the fastest peer of a kind, or None."""
    names = [name for name in cell if name != OURS and ENGINES[name][1] == kind]
    return min(names, key=lambda name: median_ms(best_form(cell[name])[1]), default=None)


def peer_columns(cell, kind):
    name = fastest(cell, kind)
    if not name:
        return ["-", "-", "-"]
    form, timing = best_form(cell[name])
    shown = name if len(cell[name]) == 1 else f"{name}, {form}"
    r = ratios(cell, timing)
    return [shown, number(median_ms(timing)), f"**{statistics.median(r):.2f}** ({min(r):.2f} .. {max(r):.2f})"]


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values)))


def with_goal(ratio, isa, goal):
    wanted = GOALS.get(isa, {}).get(goal)
    return f"{ratio:.2f}" + (f" (goal {wanted}{'' if ratio >= wanted else ', MISSED'})" if wanted else "")


def summary(cells, isa, kind):
    """A sentence on the ratios to the fastest peer of a kind over the shapes."""
    found = {shape: ratio_to(cell, fastest(cell, kind)) for shape, cell in cells.items()
             if shape != "text" and fastest(cell, kind)}
    if not found:
        return ""
    low = min(found, key=found.get)
    return (f"Fastest {kind} peer over Dyadic on {len(found)} shapes: geometric mean "
            f"{with_goal(geometric_mean(found.values()), isa, kind)}, lowest {with_goal(found[low], isa, kind + ' lowest')} "
            f"at {low}. ")


def losses(cells):
    """Every peer that is faster than Dyadic, in one form or another."""
    lines = []
    for shape, cell in cells.items():
        for name in cell:
            if name != OURS and (ratio := ratio_to(cell, name)) < 1:
                lines.append(f"{name} at {shape} ({ratio:.2f})")
    return "Losses: " + ("; ".join(lines) if lines else "none") + "."


def report(run):
    cells, about = run["cells"], run["about"]
    parts = [f"{about['cpu']}, {about['isa']}, {about['threads']} thread{'s' * (about['threads'] > 1)}, commit {about['commit']}, "
             f"{about['date']}; {about['rounds']} rounds. Milliseconds; a ratio is peer over Dyadic, above 1 where Dyadic is "
             "faster: median (lowest .. highest round)."]
    rows = [[shape, number(median_ms(best_form(cell[OURS])[1])), *peer_columns(cell, "int8"), *peer_columns(cell, "fp32")]
            for shape, cell in cells.items()]
    parts.append(table(["batch x tokens", "Dyadic", "fastest int8 peer", "ms", "ratio", "fastest fp32 peer", "ms", "ratio"], rows))
    parts.append((summary(cells, about["isa"], "int8") + summary(cells, about["isa"], "fp32") + losses(cells)).strip())
    if len(cells.get("text", {})) > 1:
        texts, tokens = run["text"]
        rows = [[name, form, number(ms), f"{1e3 * texts / ms:.0f}", f"{1e3 * tokens / ms:.0f}",
                 f"{statistics.median(ratios(cells['text'], timing)):.2f}"]
                for name, forms in cells["text"].items() for form, timing in forms.items() for ms in [median_ms(timing)]]
        low = min(ratio_to(cells["text"], name) for name in cells["text"] if name != OURS)
        parts.append(f"Sentences with lengths as they come, {TEXT_BATCH} a batch ({texts} of {run['source']}, {tokens} tokens); "
                     f"fastest peer over Dyadic {with_goal(low, about['isa'], 'text')}:")
        parts.append(table(["engine", "form", "ms", "texts/s", "tokens/s", "ratio"], sorted(rows, key=lambda row: float(row[-1]))))
    names = dict.fromkeys(name for cell in cells.values() for name in cell)
    shapes = [shape for shape in cells if shape != "text"]
    if shapes:
        parts.append("Medians of all engines, milliseconds:")
        rows = [[name, *(number(median_ms(best_form(cells[s][name])[1])) if name in cells[s] else "-" for s in shapes)]
                for name in names]
        parts.append(table(["engine", *shapes], rows))
    if run["start"]:
        rows = [[name, *(number(s[key]) for key in ("total_ms", "load_ms", "first_ms")), number(s["private_bytes"] / 1e6)]
                for name, s in run["start"].items()]
        parts.append(f"From a file in the page cache to the first output of {START_SHAPE}, median of {STARTS} fresh processes; the "
                     "peers' include Python and its imports:")
        parts.append(table(["engine", "process to output, ms", "loading, ms", "first run, ms", "private memory, MB"], rows))
    if run["accuracy"]:
        rows = [[name, run["versions"].get(name, ""), f"{a['spearman']:.5f}" if "spearman" in a else "-",
                 *([f"{a['mean']:.5f}", f"{a['min']:.5f}"] if "mean" in a else ["-", "-"])] for name, a in run["accuracy"].items()]
        parts.append(f"Accuracy on {run['source']}, cosine to {next(iter(run['accuracy'].values())).get('reference', 'nothing')}:")
        parts.append(table(["engine", "version", "Spearman", "cosine, mean", "minimum"], rows))
    parts += [f"SKIPPED {name}: {reason}" for name, reason in run["skipped"].items()]
    return "\n\n".join(parts) + "\n"


def write_csv(path, run):
    with open(path, "w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(["cpu", "isa", "threads", "commit", "date", "shape", "engine", "form", "median_ms", "min_ms", "max_ms",
                        "ratio_median", "ratio_min", "ratio_max"])
        about = [run["about"][key] for key in ("cpu", "isa", "threads", "commit", "date")]
        for shape, cell in run["cells"].items():
            for name, forms in cell.items():
                for form, timing in forms.items():
                    r = ratios(cell, timing)
                    rows.writerow([*about, shape, name, form, median_ms(timing), timing["min"], timing["max"],
                                    statistics.median(r), min(r), max(r)])


def parse_options():
    def names(text):
        return text.split(",")

    parser = argparse.ArgumentParser(prog="bench/peers/run.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "dyad", "ours", "folder"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--commit", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--stsb", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--sentences", type=pathlib.Path, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--shapes", type=names, default=[*SHAPES, "text", "start"],
                        help="e.g. 1x128,32x16,text; default: all eleven")
    parser.add_argument("--peers", type=names, help=f"some of {','.join(ENGINES)}; default: all, those of fp32 with --isa")
    parser.add_argument("--threads", type=int, default=1, help="of every engine; default 1")
    parser.add_argument("--isa", choices=["portable", "avx2", "avx512vnni", "amx"], help="caps Dyadic's instruction set, not the peers'")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.25, help="of each engine in each round, at least one run")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 0.1 seconds")
    parser.add_argument("--one-by-one", action="store_true", help="also run batches of one length a text at a time")
    parser.add_argument("--again", action="store_true", help="measure what has been measured, too")
    parser.add_argument("--no-accuracy", action="store_true")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--csv", type=pathlib.Path)
    parser.add_argument("--write", type=pathlib.Path, help="a Markdown page whose block for this instruction set and number of "
                        "threads is replaced, e.g. docs/performance.md")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 0.1
    options.peers = options.peers or [name for name, row in ENGINES.items() if not options.isa or row[1] == "fp32"]
    if unknown := [name for name in options.peers if name not in ENGINES]:
        parser.error(f"no such peer: {', '.join(unknown)}; there are {', '.join(ENGINES)}")
    if unknown := [shape for shape in options.shapes if not re.fullmatch("text|start|[1-9][0-9]*x[1-9][0-9]*", shape)]:
        parser.error(f"no such shape: {', '.join(unknown)}; a shape is BATCHxTOKENS, text or start")
    return options


def start_all(options, paths, skipped):
    engines = {}
    for name in [OURS, *options.peers]:
        print(f"starting {name}", file=sys.stderr)
        try:
            if name != OURS:
                make(options, name, paths["calibration"])
            engines[name] = start(options, name)
        except EngineFailed as reason:
            if name == OURS:
                raise
            skipped[name] = str(reason)
            print(f"SKIPPED {name}: {reason}", file=sys.stderr)
    return engines


def measure_all(options):
    texts, paths, sizes = write_ids(options)
    skipped = {}
    engines = start_all(options, paths, skipped)
    about = engines[OURS].about
    run = {"about": {"cpu": about["cpu"], "isa": about["isa"], "threads": options.threads, "commit": options.commit,
                     "date": str(datetime.date.today()), "rounds": options.rounds},
           "source": texts.source, "text": sizes["text"], "cells": {}, "start": {}, "accuracy": {}, "skipped": skipped,
           "versions": {name: engine.about["engine"] for name, engine in engines.items()}}
    if not options.no_accuracy:
        print("measuring accuracy", file=sys.stderr)
        run["accuracy"] = measure_accuracy(options, texts, paths, sizes, engines, Store(options.folder / "results", False))
    store = Store(options.folder / "results" / f"{about['isa']}-{options.threads}", options.again)
    key = [file_hash(options.ours, options.dyad), options.rounds, options.seconds, options.one_by_one, list(engines)]
    for shape in options.shapes:
        print(f"timing {shape}", file=sys.stderr)
        if shape == "start":
            run["start"] = store.keep(shape, key, lambda: measure_start(options, paths, engines))
        else:
            run["cells"][shape] = store.keep(shape, [*key, file_hash(paths[shape])],
                                             lambda shape=shape: measure(options, shape, paths[shape], engines, skipped))
    for engine in engines.values():
        engine.close()
    return run


def main():
    options = parse_options()
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < options.threads:
        sys.exit(f"error: {options.threads} threads, but this process may use {len(allowed)} processors")
    os.sched_setaffinity(0, allowed[-options.threads:])
    (options.folder / "logs").mkdir(parents=True, exist_ok=True)
    try:
        run = measure_all(options)
    except EngineFailed as reason:
        sys.exit(f"error: {reason}")
    page = report(run)
    print(page)
    if options.json:
        options.json.write_text(json.dumps(run, indent=1), encoding="utf-8")
    if options.csv:
        write_csv(options.csv, run)
    if options.write:
        write_block(options.write, f"peers-{run['about']['isa']}-{options.threads}", page)


if __name__ == "__main__":
    main()
