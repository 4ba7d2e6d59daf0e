#!/usr/bin/env python3
"""Writes the tables of docs/performance.md or docs/performance-amx.md that `dyadic` alone can measure: limits, shapes, profile, executors.

usage: bench/tables.py DYADIC MODEL.dyad PAGE [limits] [shapes] [profile] [executors]     all four unless some are named
"""
import json
import re
import subprocess
import sys

from pages import number, table, write_block

SHAPES = ["--batch", "1,8,32", "--length", "16,128,384"]
OPERATIONS = {"dot": "8-bit products, GMAC/s", "float": "float products, GMAC/s", "lookup_16": "look-ups, 16 entries, G/s",
              "lookup_256": "look-ups, 256 entries, G/s", "mul_shift": "64-bit multiply and shift, G/s"}


def run(dyadic, *arguments, isa=None):
    environment = {"DYADIC_ISA": isa} if isa else {}
    words = ["env", *(f"{k}={v}" for k, v in environment.items()), dyadic, *arguments, "--json", "--quiet"]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        sys.exit(f"error: {' '.join(words)} ended with {done.returncode}")
    return json.loads(done.stdout)


def heading(report):
    return f"{report['cpu']}, commit {report['commit']}."


def limits(dyadic, _):
    r = run(dyadic, "doctor")
    isas = list(dict.fromkeys(limit["isa"] for limit in r["limits"]))
    value = {(limit["what"], limit["isa"]): limit["per_second"] for limit in r["limits"]}
    rows = [[words, *(number(value[what, isa] * 1e-9) for isa in isas)] for what, words in OPERATIONS.items()]
    memory = ", ".join(f"{m['level']} {number(m['bytes_per_second'] * 1e-9)}" for m in r["memory"])
    return f"{r['cpu']}, one core.\n\n{table(['limit', *isas], rows)}\n\nReading memory, GB/s: {memory}."


def shapes(dyadic, model):
    best = run(dyadic, "bench", model, *SHAPES)
    reports = [best]
    if below := {"amx": "avx512vnni", "avx512vnni": "avx2"}.get(best["isa"]):
        reports.append(run(dyadic, "bench", model, *SHAPES, isa=below))
    header, rows = ["batch x tokens"], []
    for r in reports:
        header += [f"{r['isa']}, ms (min .. max)", "GMAC/s", f"of {number(r['limit_gmacs'])}"]
    for results in zip(*(r["results"] for r in reports)):
        rows.append([f"{results[0]['batch']} x {results[0]['length']}"])
        for result in results:
            ms = result["ms"]
            rows[-1] += [f"{number(ms['median'])} ({number(ms['min'])} .. {number(ms['max'])})", number(result["gmacs"]),
                         f"{100 * result['fraction']:.0f} %"]
    return f"{heading(best)}\n\n{table(header, rows)}"


def profile(dyadic, model):
    r = run(dyadic, "bench", model, "--batch", "1", "--length", "128")
    result = r["results"][0]
    kinds = {}
    for layer in result["layers"]:
        name = re.sub(r"layer\.\d+/", "", layer["name"])
        kind = kinds.setdefault((name, layer["executor"]), {"count": 0, "ms": 0, "floor": 0})
        kind["count"] += 1
        kind["ms"] += layer["ms"]
        kind["floor"] += layer["fraction"] * layer["ms"]
    total = result["profiled_ms"]

    def row(name, executor, count, ms, floor):
        limit = [f"{floor:.3f}", f"{100 * floor / ms:.0f} %"] if floor > 0 else ["-", "-"]
        return [name, executor, count, f"{ms:.3f}", f"{100 * ms / total:.1f} %", *limit]

    rows = [row(name, executor, *kind.values()) for (name, executor), kind in kinds.items()]
    inside, floor = sum(kind["ms"] for kind in kinds.values()), sum(kind["floor"] for kind in kinds.values())
    rows += [row("all layers", "", sum(kind["count"] for kind in kinds.values()), inside, floor),
             row("outside them", "", "", total - inside, 0), row("the run", "", "", total, floor)]
    header = ["layer", "kernel", "layers", "ms", "share", "its 8-bit products at the limit, ms", "of the limit"]
    return f"{heading(r)} Limit: {r['limit_gmacs']:.1f} GMAC/s.\n\n{table(header, rows)}"


def executors(dyadic, model):
    r = run(dyadic, "bench", model, "--executors", "--batch", "1", "--length", "128")
    names = ["hand", "gcc", "clang", "tile"]
    rows = []
    for row in r["rows"]:
        times = [f"{row['ms'][n]:.3f}" if n in row["ms"] else "-" for n in names]
        times = [f"**{t}**" if n == row["fastest"] else t for n, t in zip(names, times)]
        rows.append([f"{row['composite']}: {row['layer']}", row["layers"], row["isa"], *times,
                     f"{row['gain']:.1f}" if row["gain"] else "-", row["used"]])
    skipped = "".join(f"\n\n{line}" for line in r["skipped"])
    header = ["first layer of a body", "layers", "isa", *names, "gain by hand", "runs as"]
    return f"{heading(r)} Milliseconds of all its layers at {r['batch']} x {r['length']}.\n\n{table(header, rows)}{skipped}"


TABLES = {"limits": limits, "shapes": shapes, "profile": profile, "executors": executors}


def main():
    if len(sys.argv) < 4 or any(name not in TABLES for name in sys.argv[4:]):
        sys.exit(__doc__.strip())
    dyadic, model, page, *names = sys.argv[1:]
    for name in names or TABLES:
        print(f"measuring {name}", file=sys.stderr)
        write_block(page, name, TABLES[name](dyadic, model))


if __name__ == "__main__":
    main()
