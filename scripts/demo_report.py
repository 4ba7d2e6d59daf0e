#!/usr/bin/env python3
"""What scripts/demo.sh needs beside the command line tool; standard library only.

usage: demo_report.py split SENTENCES CALIBRATION EVALUATION    splits the lines of a text in two by their SHA-256
       demo_report.py table FOLDER MODEL                        prints the table from the JSON files in FOLDER
"""
import hashlib
import json
import pathlib
import sys


def split(sentences, calibration, evaluation):
    halves = ([], [])
    for line in pathlib.Path(sentences).read_text(encoding="utf-8").splitlines():
        halves[hashlib.sha256(line.encode()).digest()[0] & 1].append(line + "\n")
    for half, path in zip(halves, (calibration, evaluation)):
        pathlib.Path(path).write_text("".join(half), encoding="utf-8")
    print(f"{len(halves[0])} lines to {calibration}, {len(halves[1])} to {evaluation}")


def ranks(values):
    """1-based ranks, ties share their mean."""
    order = sorted(range(len(values)), key=values.__getitem__)
    result, i = [0.0] * len(values), 0
    while i < len(order):
        j = i
        while j + 1 < len(order) and values[order[j + 1]] == values[order[i]]:
            j += 1
        for k in order[i:j + 1]:
            result[k] = (i + j) / 2 + 1
        i = j + 1
    return result


def pearson(a, b):
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    dev_a, dev_b = [x - mean_a for x in a], [x - mean_b for x in b]
    dot = lambda x, y: sum(u * v for u, v in zip(x, y))
    return dot(dev_a, dev_b) / (dot(dev_a, dev_a) * dot(dev_b, dev_b)) ** 0.5


def unit_vectors(path):
    """Lines of `dyadic run`: {"embedding": [...]} or a bare list."""
    vectors = []
    for line in path.read_text(encoding="utf-8").splitlines():
        value = json.loads(line)
        vector = value["embedding"] if isinstance(value, dict) else value
        norm = sum(x * x for x in vector) ** 0.5
        vectors.append([x / norm for x in vector])
    return vectors


def similarities(vectors):
    return [[sum(x * y for x, y in zip(a, b)) for b in vectors] for a in vectors]


def neighbours(matrix, k):
    """The k nearest others of each row."""
    return [sorted((j for j in range(len(row)) if j != i), key=lambda j: -row[j])[:k] for i, row in enumerate(matrix)]


def retrieval(float_path, integer_path):
    a, b = [similarities(unit_vectors(p)) for p in (float_path, integer_path)]
    pairs = [(i, j) for i in range(len(a)) for j in range(i)]
    spearman = pearson(*[ranks([m[i][j] for i, j in pairs]) for m in (a, b)])
    first = [x == y for x, y in zip(neighbours(a, 1), neighbours(b, 1))]
    shared = [len(set(x) & set(y)) / 5 for x, y in zip(neighbours(a, 5), neighbours(b, 5))]
    return {"count": len(a), "spearman": spearman, "first": sum(first) / len(first), "top5": sum(shared) / len(shared)}


def print_rows(title, header, rows):
    cells = [[str(c) for c in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    line = lambda row: "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip()
    print(f"\n{title}\n{line(cells[0])}\n{'-' * (sum(widths) + 2 * len(widths) - 2)}")
    print("\n".join(line(row) for row in cells[1:]))


def table(folder, model):
    folder = pathlib.Path(folder)
    read = lambda name: json.loads((folder / name).read_text()) if (folder / name).is_file() else None
    inspect, verify, cosine, bench = [read(f"{n}.json") for n in ("inspect", "verify", "cosine", "bench")]
    ort, sts_float, sts_integer = [read(f"{n}.json") for n in ("ort", "sts_float", "sts_integer")]
    megabytes = lambda size: f"{size / 1e6:.1f} MB"
    cosines = lambda e: "{mean:.4f} / {p01:.4f} / {min:.4f}".format(**e["cosine"])

    float_bytes = (pathlib.Path(model) / "model.safetensors").stat().st_size
    found = retrieval(folder / "float.jsonl", folder / "integer.jsonl")
    rows = [
        ("file", megabytes(float_bytes), megabytes(inspect["file_bytes"]), f"{inspect['file_bytes'] / float_bytes:.3f}x"),
        ("multiply-accumulates 8 x 8 bits", "", f"{100 * inspect['macs'].get('8x8', 0):.2f} %", ""),
        ("float islands", "", len(verify["islands"]), ""),
        ("integer-only", "", "yes" if verify["integer_only"] else "no", ""),
        (f"equal bits: {', '.join(verify['backends'])}", "", "yes" if verify["equal"] else "NO", ""),
        (f"{found['count']} sentences: cosine to float, mean / 1st percentile / minimum", "", cosines(cosine), ""),
        ("  Spearman over all pairs, to float", "", f"{found['spearman']:.4f}", ""),
        ("  same nearest sentence as float", "", f"{100 * found['first']:.1f} %", ""),
        ("  nearest five shared with float", "", f"{100 * found['top5']:.1f} %", ""),
    ]
    if sts_integer:
        a, b = sts_float["metric"]["spearman"], sts_integer["metric"]["spearman"]
        rows += [("STS-B dev: Spearman", f"{a:.4f}", f"{b:.4f}", f"{b - a:+.4f}"),
                 ("  cosine to float, mean / 1st percentile / minimum", "", cosines(sts_integer), "")]
    print_rows("Size, proof, accuracy", ("", "float", "integer-only", "ratio or difference"), rows)

    times = {(r["batch"], r["length"]): r["ms"]["median"] for r in ort["results"]} if ort else {}
    rows = []
    for r in bench["results"]:
        own, base, other = r["ms"]["median"], r["baseline_ms"]["median"], times.get((r["batch"], r["length"]))
        ratio = lambda x: f"{x / own:.2f}x" if x else "-"
        shown = lambda x: f"{x:.2f}" if x else "-"
        rows.append((f"{r['batch']} x {r['length']}", shown(own), shown(base), ratio(base), shown(other), ratio(other)))
    print_rows(f"Milliseconds a batch (median), {bench['threads']} thread(s), {bench['isa']}",
               ("batch x length", "integer-only", "own float", "ratio", ort["runtime"] + " fp32" if ort else "onnxruntime", "ratio"),
               rows)
    if ort and "cosine" in ort:
        print(f"\n{ort['runtime']} and the own float executor agree: cosine at least {ort['cosine']['min']:.6f} "
              f"on {ort['cosine']['count']} sentences")


if __name__ == "__main__":
    commands = {"split": (split, 3), "table": (table, 2)}
    name, arguments = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if name not in commands or len(arguments) != commands[name][1]:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    commands[name][0](*arguments)
