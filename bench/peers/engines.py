#!/usr/bin/env python3
"""One peer engine as a process of its own: loads what make_models.py made and serves it over stdin and stdout.

usage: engines.py ENGINE FOLDER THREADS     ENGINE is a key of ENGINES below

Protocol, a line each way, answers in JSON; bench_peers_ours speaks it too. First, unasked: {"engine": version, "forms": [..],
"load_ms": from the file to an engine that can run, without what Python imports}.
  first IDS              runs IDS once                                                   {"ms", "private_bytes"}
  embed IDS OUT          writes one f32 unit vector a text to OUT                        {}
  check IDS              (ours only) compares the codes with the portable kernels'       {"equal": true}
  time IDS FORM SECONDS  warms up, then runs all of IDS again and again for SECONDS      {"ms": [of each pass]}
IDS is a file of texts, one a line, as token ids with spaces between them; an empty line ends a batch. FORM says how a batch
is run: padded to its longest text, packed without padding by the engine itself, or one text after the other ("single").
The time is taken around whole passes, from lists of ids to unit vectors, so it holds what Python and NumPy cost.
"""
import importlib.metadata
import json
import pathlib
import sys
import time

import numpy as np


def read_batches(path):
    texts = [[int(word) for word in line.split()] for line in pathlib.Path(path).read_text().splitlines()]
    batches, batch = [], []
    for ids in texts + [[]]:
        if ids:
            batch.append(ids)
        elif batch:
            batches.append(batch)
            batch = []
    return batches


def pad(batch):
    """Ids and mask, i64 [batch, longest]."""
    ids = np.zeros((len(batch), max(map(len, batch))), np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(batch):
        ids[row, :len(text)], mask[row, :len(text)] = text, 1
    return ids, mask


def pool(states, lengths):
    """Mean over each text's own tokens of f32 [batch, longest, hidden], as unit vectors."""
    mask = np.arange(states.shape[1]) < np.asarray(lengths)[:, None]
    mean = np.einsum("blh,bl->bh", states, mask.astype(np.float32)) / np.asarray(lengths, np.float32)[:, None]
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


# Each loader returns (forms, run): run(batch) gives unit vectors [batch, hidden]. `fixed` says that shapes repeat, as they
# do when timed, so that an engine may specialise for each of them.

def load_onnxruntime(path, threads):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(batch, fixed):
        ids, mask = pad(batch)
        return session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
    return ["padded", "single"], run


def load_openvino(path, threads):
    import openvino
    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32",
               "ENABLE_CPU_PINNING": False}
    compiled = {}

    def request(shape):
        if shape not in compiled:
            model = core.read_model(path)
            model.reshape({name: list(shape) for name in ("input_ids", "attention_mask")})
            compiled[shape] = core.compile_model(model, "CPU", options).create_infer_request()
        return compiled[shape]

    def run(batch, fixed):
        ids, mask = pad(batch)
        feeds = {"input_ids": ids, "attention_mask": mask}
        return next(iter(request(ids.shape if fixed else (-1, -1)).infer(feeds, share_inputs=True).values()))
    return ["padded", "single"], run


def load_ctranslate2(path, threads, compute_type):
    import ctranslate2
    encoder = ctranslate2.Encoder(str(path), device="cpu", compute_type=compute_type, inter_threads=1, intra_threads=threads)

    def run(batch, fixed):
        return pool(np.asarray(encoder.forward_batch(batch).last_hidden_state), list(map(len, batch)))
    return ["packed", "single"], run


def load_torch(path, threads, quantized):
    import torch
    import transformers
    torch.set_num_threads(threads)
    model = transformers.AutoModel.from_pretrained(path, attn_implementation="sdpa").eval()
    if quantized:
        torch.backends.quantized.engine = "onednn"
        model = torch.ao.quantization.quantize_dynamic(
            model, {torch.nn.Linear: torch.ao.quantization.per_channel_dynamic_qconfig}, dtype=torch.qint8)

    def run(batch, fixed):
        ids, mask = map(torch.from_numpy, pad(batch))
        with torch.inference_mode():
            states = model(input_ids=ids, attention_mask=mask).last_hidden_state
            mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            return torch.nn.functional.normalize(mean).numpy()
    return ["padded", "single"], run


# name: (PyPI package, kind, what make_models.py makes for it, loader)
ENGINES = {
    "openvino_fp32": ("openvino", "fp32", "encoder.onnx", load_openvino),
    "openvino_int8": ("openvino", "int8", "openvino_int8.xml", load_openvino),
    "onnxruntime_fp32": ("onnxruntime", "fp32", "encoder.onnx", load_onnxruntime),
    "onnxruntime_int8": ("onnxruntime", "int8", "onnxruntime_int8.onnx", load_onnxruntime),
    "ctranslate2_fp32": ("ctranslate2", "fp32", "ctranslate2", lambda *a: load_ctranslate2(*a, "float32")),
    "ctranslate2_int8": ("ctranslate2", "int8", "ctranslate2", lambda *a: load_ctranslate2(*a, "int8")),
    "torch_fp32": ("torch", "fp32", "model", lambda *a: load_torch(*a, False)),
    "torch_int8": ("torch", "int8", "model", lambda *a: load_torch(*a, True)),
}


def private_bytes():
    """Of memory that no other process shares."""
    lines = pathlib.Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private_"))


class Server:
    LONG_PASS = 0.5  # seconds; such a pass is not run once more only to warm up

    def __init__(self, run):
        self.run, self.last, self.batches = run, {}, {}

    def embed(self, ids, out):
        rows = [self.run([text], fixed=False) for batch in read_batches(ids) for text in batch]
        np.concatenate(rows).astype(np.float32).tofile(out)
        return {}

    def first(self, ids):
        ms = 1e3 * self.run_pass(ids, None)
        return {"ms": ms, "private_bytes": private_bytes()}

    def run_pass(self, ids, form):
        if ids not in self.batches:
            batches = read_batches(ids)
            self.batches[ids] = {"batch": batches, "single": [[text] for batch in batches for text in batch]}
        groups = self.batches[ids]["single" if form == "single" else "batch"]
        begin = time.perf_counter()
        for group in groups:
            self.run(group, fixed=True)
        self.last[ids, form] = time.perf_counter() - begin
        return self.last[ids, form]

    def time(self, ids, form, seconds):
        if (ids, form) not in self.last:
            self.run_pass(ids, form)  # compiles for these shapes
        warm = self.run_pass(ids, form) if self.last[ids, form] < self.LONG_PASS else 0
        samples = []
        while not samples or (sum(samples) + warm < float(seconds) and len(samples) < 1000):
            samples.append(self.run_pass(ids, form))
        return {"ms": [1e3 * s for s in samples]}


def main():
    name, folder, threads = sys.argv[1:]
    package, _, file, load = ENGINES[name]
    importlib.import_module(package)
    begin = time.perf_counter()
    forms, run = load(pathlib.Path(folder) / file, int(threads))
    load_ms = 1e3 * (time.perf_counter() - begin)
    server = Server(run)
    print(json.dumps({"engine": f"{package} {importlib.metadata.version(package)}", "forms": forms, "load_ms": load_ms}), flush=True)
    for line in sys.stdin:
        command, *arguments = line.split()
        print(json.dumps({"first": server.first, "embed": server.embed, "time": server.time}[command](*arguments)), flush=True)


if __name__ == "__main__":
    main()
