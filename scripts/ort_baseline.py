#!/usr/bin/env python3
"""Times ONNX Runtime in float32 on a BERT-like sentence encoder given as a Hugging Face folder, and prints one JSON object.

The network is written as an ONNX graph here (MatMul, Add, Erf, LayerNormalization, Softmax; mean pooling; L2), so that the
comparison depends on no exporter. With --texts and --embeddings (what `dyadic run` of the float model printed for the same
texts) its results are compared first: bench checks before it times.

usage: ort_baseline.py MODEL [--batch 1,32] [--length 16,128,384] [--threads 1] [--seconds 1.0]
                       [--texts FILE --embeddings FILE.jsonl]

Exit 3, with the reason on stderr, where ONNX Runtime is not installed.
"""
import argparse
import json
import pathlib
import sys
import time
import unicodedata

try:
    import numpy as np
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper
except ImportError as missing:
    print(f"ort_baseline: skipped: {missing}", file=sys.stderr)
    sys.exit(3)

OPSET = 17  # the first with LayerNormalization


def read_safetensors(path):
    data = np.memmap(path, np.uint8, "r")
    header_bytes = int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8:8 + header_bytes].tobytes())
    body = data[8 + header_bytes:]
    types = {"F32": np.float32, "I64": np.int64}
    return {name: body[slice(*t["data_offsets"])].view(types[t["dtype"]]).reshape(t["shape"])
            for name, t in header.items() if name != "__metadata__"}


class GraphWriter:
    def __init__(self, weights):
        self.weights, self.nodes, self.initializers, self.known = weights, [], [], set()

    def constant(self, value, name, dtype=np.float32):
        if name not in self.known:
            self.known.add(name)
            self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def op(self, kind, *inputs, **attributes):
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def linear(self, x, name):
        weight = self.constant(np.ascontiguousarray(self.weights[name + ".weight"].T), name + ".weight_t")
        return self.op("Add", self.op("MatMul", x, weight), self.constant(self.weights[name + ".bias"], name + ".bias"))

    def norm(self, x, name, epsilon):
        gamma, beta = [self.constant(self.weights[f"{name}.{part}"], f"{name}.{part}") for part in ("weight", "bias")]
        return self.op("LayerNormalization", x, gamma, beta, epsilon=epsilon)

    def gelu(self, x):
        scaled = self.op("Div", x, self.constant(np.sqrt(2), "sqrt2"))
        return self.op("Mul", self.op("Mul", x, self.op("Add", self.op("Erf", scaled), self.constant(1, "one"))),
                       self.constant(0.5, "half"))


def encoder(config, weights):
    """input_ids, attention_mask i64 [batch, length] -> embedding f32 [batch, hidden]."""
    g, epsilon = GraphWriter(weights), config["layer_norm_eps"]
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head = hidden // heads
    ints = lambda name, *values: g.constant(values, name, np.int64)
    table = lambda name: g.constant(weights[f"embeddings.{name}_embeddings.weight"], name)

    length = g.op("Slice", g.op("Shape", "input_ids"), ints("i1", 1), ints("i2", 2))
    x = g.op("Add", g.op("Gather", table("word"), "input_ids"), g.op("Slice", table("position"), ints("i0", 0), length, ints("i0", 0)))
    x = g.op("Add", x, g.constant(weights["embeddings.token_type_embeddings.weight"][0], "type0"))
    x = g.norm(x, "embeddings.LayerNorm", epsilon)
    mask = g.op("Cast", "attention_mask", to=TensorProto.FLOAT)
    bias = g.op("Mul", g.op("Sub", g.constant(1, "one"), g.op("Unsqueeze", mask, ints("i12", 1, 2))), g.constant(-1e9, "far"))

    split = ints("split", 0, 0, heads, head)
    for i in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{i}"
        q, k, v = [g.op("Reshape", g.linear(x, f"{name}.attention.self.{part}"), split) for part in ("query", "key", "value")]
        q, v = [g.op("Transpose", t, perm=[0, 2, 1, 3]) for t in (q, v)]
        scores = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 2, 3, 1]))
        scores = g.op("Add", g.op("Div", scores, g.constant(np.sqrt(head), "sqrt_head")), bias)
        context = g.op("Transpose", g.op("MatMul", g.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
        context = g.op("Reshape", context, ints("join", 0, 0, hidden))
        x = g.norm(g.op("Add", g.linear(context, f"{name}.attention.output.dense"), x), f"{name}.attention.output.LayerNorm", epsilon)
        inner = g.gelu(g.linear(x, f"{name}.intermediate.dense"))
        x = g.norm(g.op("Add", g.linear(inner, f"{name}.output.dense"), x), f"{name}.output.LayerNorm", epsilon)

    weight = g.op("Unsqueeze", mask, ints("i2", 2))
    total = g.op("ReduceSum", g.op("Mul", x, weight), ints("i1", 1), keepdims=0)
    mean = g.op("Div", total, g.op("ReduceSum", weight, ints("i1", 1), keepdims=0))
    square = g.op("Sqrt", g.op("ReduceSum", g.op("Mul", mean, mean), ints("i1", 1), keepdims=1))
    g.nodes.append(helper.make_node("Div", [mean, square], ["embedding"]))

    ids, valid = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "length"]) for n in ("input_ids", "attention_mask")]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", hidden])
    graph = helper.make_graph(g.nodes, "encoder", [ids, valid], [output], g.initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def session(model, threads, batch=None, length=None):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    if batch:
        options.add_free_dimension_override_by_name("batch", batch)
        options.add_free_dimension_override_by_name("length", length)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def word_pieces(text, vocabulary):
    """WordPiece of uncased BERT for plain text: letters, digits and ASCII punctuation."""
    text = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    spaced = "".join(c if c.isalnum() else f" {c} " for c in text)
    ids = [vocabulary["[CLS]"]]
    for word in spaced.split():
        pieces, start = [], 0
        while start < len(word):
            ends = (e for e in range(len(word), start, -1) if ("##" * (start > 0)) + word[start:e] in vocabulary)
            end = next(ends, None)
            if end is None:
                pieces = ["[UNK]"]
                break
            pieces.append(("##" * (start > 0)) + word[start:end])
            start = end
        ids += [vocabulary[p] for p in pieces]
    return ids + [vocabulary["[SEP]"]]


def read_embeddings(path):
    """Lines of `dyadic run`: {"text": .., "embedding": [..]}."""
    return [np.asarray(json.loads(line)["embedding"], np.float64) for line in path.read_text(encoding="utf-8").splitlines()]


def agreement(run, folder, texts, embeddings):
    vocabulary = {word: i for i, word in enumerate((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())}
    cosines = []
    for text, other in zip(texts.read_text(encoding="utf-8").splitlines(), read_embeddings(embeddings), strict=True):
        ids = np.array([word_pieces(text, vocabulary)])
        own = run.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0].astype(np.float64)
        cosines.append(float(own @ other / np.linalg.norm(own) / np.linalg.norm(other)))
    return {"count": len(cosines), "mean": float(np.mean(cosines)), "min": min(cosines)}


def milliseconds(run, batch, length, words, seconds):
    ids = np.random.default_rng(0).integers(0, words, (batch, length))
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    times, begin = [], time.perf_counter()
    run.run(None, feeds)
    while len(times) < 3 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        run.run(None, feeds)
        times.append(1e3 * (time.perf_counter() - start))
    return {"min": min(times), "median": float(np.median(times)), "max": max(times)}


def main():
    numbers = lambda text: [int(x) for x in text.split(",")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--batch", type=numbers, default=[1, 32])
    parser.add_argument("--length", type=numbers, default=[16, 128, 384])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--texts", type=pathlib.Path)
    parser.add_argument("--embeddings", type=pathlib.Path)
    a = parser.parse_args()
    config = json.loads((a.model / "config.json").read_text(encoding="utf-8"))
    model = encoder(config, read_safetensors(a.model / "model.safetensors"))
    report = {"runtime": f"onnxruntime {onnxruntime.__version__}", "threads": a.threads, "results": []}
    if a.texts and a.embeddings:
        report["cosine"] = agreement(session(model, a.threads), a.model, a.texts, a.embeddings)
    for batch in a.batch:
        for length in a.length:
            run = session(model, a.threads, batch, length)
            ms = milliseconds(run, batch, length, config["vocab_size"], a.seconds)
            report["results"].append({"batch": batch, "length": length, "ms": ms})
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
