#!/usr/bin/env python3
"""Makes models/tiny-encoder: a BERT-like sentence encoder with random weights, small enough to commit, for quick tests.

usage: make_tiny_model.py [FOLDER] (default models/tiny-encoder). Needs NumPy; the same files in every run.

The weights are random, not trained, but scaled so that the network is worth quantizing: scores of attention have a
standard deviation between 1 and 2, every sublayer adds half to nine tenths of what its residual stream holds, LayerNorm
gammas spread around 1, and two outlier channels, as trained encoders have them, run through the residual stream: the first
LayerNorm makes them large, the linear layers' weights make little of them, the last LayerNorm makes them small again.
The vocabulary is letters, digits, suffixes and the commonest words of examples/sentences.txt.
"""
import collections
import json
import pathlib
import re
import string
import struct
import sys

import numpy

ROOT = pathlib.Path(__file__).resolve().parent.parent
SEED = 20240607
VOCABULARY, WIDTH, LAYERS, HEADS, FFN, POSITIONS, MAX_LENGTH = 1000, 64, 2, 4, 128, 128, 64
OUTLIERS = {11: 5.0, 37: -4.0}  # channel: how much larger it is
SUFFIXES = "s es ed ing er ers est ly y ies al ness ment tion able ful less en n t d r th st nd".split()


def vocabulary():
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.punctuation]
    characters = string.ascii_lowercase + string.digits
    pieces += [*characters, *("##" + c for c in characters), *("##" + s for s in SUFFIXES if len(s) > 1)]
    text = (ROOT / "examples/sentences.txt").read_text(encoding="utf-8").lower()
    counts = collections.Counter(word for word in re.findall("[a-z]+", text) if len(word) > 1)
    words = sorted(counts, key=lambda word: (-counts[word], word))
    pieces += words[: VOCABULARY - len(pieces)]
    assert len(pieces) == len(set(pieces)) == VOCABULARY
    return pieces


def weights():
    random = numpy.random.RandomState(SEED)  # the legacy generator: its stream is the same in every version of NumPy
    tensors = {}

    def normal(name, *shape, scale):
        tensors[name] = (random.standard_normal(shape) * scale).astype("<f4")

    def linear(name, rows, columns, scale):
        normal(name + ".weight", rows, columns, scale=scale)
        normal(name + ".bias", rows, scale=0.05)
        if columns == WIDTH and not name.endswith("attention.output.dense"):  # reads the residual stream
            for channel, factor in OUTLIERS.items():
                tensors[name + ".weight"][:, channel] /= abs(factor)

    def layer_norm(name, outlier_power=0):
        gamma = numpy.exp(random.standard_normal(WIDTH) * 0.2)
        for channel, factor in OUTLIERS.items():
            gamma[channel] *= factor**outlier_power
        tensors[name + ".weight"] = gamma.astype("<f4")
        normal(name + ".bias", WIDTH, scale=0.1)

    normal("embeddings.word_embeddings.weight", VOCABULARY, WIDTH, scale=0.06)
    normal("embeddings.position_embeddings.weight", POSITIONS, WIDTH, scale=0.02)
    normal("embeddings.token_type_embeddings.weight", 2, WIDTH, scale=0.02)
    layer_norm("embeddings.LayerNorm", outlier_power=1)
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        for part, scale in (("query", 0.16), ("key", 0.16), ("value", 0.1)):
            linear(prefix + "attention.self." + part, WIDTH, WIDTH, scale)
        linear(prefix + "attention.output.dense", WIDTH, WIDTH, 0.15)
        layer_norm(prefix + "attention.output.LayerNorm")
        linear(prefix + "intermediate.dense", FFN, WIDTH, 0.12)
        linear(prefix + "output.dense", WIDTH, FFN, 0.12)
        layer_norm(prefix + "output.LayerNorm", outlier_power=-1 if layer == LAYERS - 1 else 0)
    return tensors


def write_safetensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(t.tobytes() for t in tensors.values()))


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "models/tiny-encoder"
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)

    def write_json(name, value):
        (folder / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")

    write_json("config.json", {
        "architectures": ["BertModel"], "model_type": "bert", "vocab_size": VOCABULARY, "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": FFN, "hidden_act": "gelu",
        "layer_norm_eps": 1e-12, "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "pad_token_id": 0,
        "position_embedding_type": "absolute"})
    write_json("tokenizer_config.json", {
        "tokenizer_class": "BertTokenizer", "do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True,
        "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]",
        "model_max_length": POSITIONS})
    write_json("sentence_bert_config.json", {"max_seq_length": MAX_LENGTH, "do_lower_case": False})
    write_json("modules.json", [
        {"idx": i, "name": str(i), "path": path, "type": "sentence_transformers.models." + kind}
        for i, (path, kind) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")])])
    write_json("1_Pooling/config.json", {
        "word_embedding_dimension": WIDTH, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False})
    (folder / "vocab.txt").write_text("".join(piece + "\n" for piece in vocabulary()), encoding="utf-8")
    write_safetensors(folder / "model.safetensors", weights())


if __name__ == "__main__":
    main()
