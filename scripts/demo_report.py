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
    rows = [
        ("file", megabytes(float_bytes), megabytes(inspect["file_bytes"]), f"{inspect['file_bytes'] / float_bytes:.3f}x"),
        ("multiply-accumulates 8 x 8 bits", "", f"{100 * inspect['macs'].get('8x8', 0):.2f} %", ""),
        ("float islands", "", len(verify["islands"]), ""),
        ("integer-only", "", "yes" if verify["integer_only"] else "no", ""),
        (f"equal bits in {len(verify['backends'])} executions (listed below)", "", "yes" if verify["equal"] else "no", ""),
        (f"{cosine['count']} sentences: cosine to float, mean / 1st percentile / minimum", "", cosines(cosine), ""),
        ("  Spearman over all pairs, to float", "", f"{cosine['metric']['pairs_spearman']:.4f}", ""),
        ("  same nearest sentence as float", "", f"{100 * cosine['metric']['retrieval_agreement']:.1f} %", ""),
    ]
    if sts_integer:
        a, b = sts_float["metric"]["spearman"], sts_integer["metric"]["spearman"]
        rows += [("STS-B dev: Spearman", f"{a:.4f}", f"{b:.4f}", f"{b - a:+.4f}"),
                 ("  cosine to float, mean / 1st percentile / minimum", "", cosines(sts_integer), "")]
    print_rows("Size, proof, accuracy", ("", "float", "integer-only", "ratio or difference"), rows)
    print("executions:", ", ".join(verify["backends"]))
    for reason in verify["skipped"]:
        print("skipped:", reason)

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
