#!/usr/bin/env python3
"""Makes the files that one peer engine runs, from a Hugging Face folder. What is there already stays.

usage: make_models.py ENGINE MODEL CALIBRATION.ids FOLDER     ENGINE is a key of ENGINES in engines.py
"""
import json
import pathlib
import shutil
import sys

from engines import ENGINES, pad, read_batches

ROOT = pathlib.Path(__file__).resolve().parents[2]
CALIBRATION_TEXTS = 300


def make_encoder(model, folder, _):
    """The plain ONNX graph, mean pooling and unit vector inside."""
    sys.path.append(str(ROOT / "scripts"))
    from ort_baseline import encoder, read_safetensors
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (folder / "encoder.onnx").write_bytes(encoder(config, read_safetensors(model / "model.safetensors")))


def make_onnxruntime_int8(model, folder, _):
    """Weights s8 by channel, activations u8 by tensor, found anew in every call."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    quantize_dynamic(folder / "encoder.onnx", folder / "onnxruntime_int8.onnx", op_types_to_quantize=["MatMul"],
                     per_channel=True, weight_type=QuantType.QInt8)


def make_openvino_int8(model, folder, calibration):
    """Post-training quantization of NNCF for transformers."""
    import nncf
    import openvino
    texts = [text for batch in read_batches(calibration) for text in batch][:CALIBRATION_TEXTS]
    data = nncf.Dataset(texts, lambda text: dict(zip(("input_ids", "attention_mask"), pad([text]))))
    quantized = nncf.quantize(openvino.Core().read_model(folder / "encoder.onnx"), data, subset_size=len(texts),
                              model_type=nncf.ModelType.TRANSFORMER)
    openvino.save_model(quantized, folder / "openvino_int8.xml", compress_to_fp16=False)


def make_ctranslate2(model, folder, _):
    """One f32 model; the engine quantizes it when it is loaded as int8."""
    import ctranslate2
    ctranslate2.converters.TransformersConverter(str(model)).convert(str(folder / "ctranslate2"), force=True)


def link_model(model, folder, _):
    (folder / "model").symlink_to(model)


# What each file is made by, and what must be there first.
MAKERS = {
    "encoder.onnx": (make_encoder, None),
    "onnxruntime_int8.onnx": (make_onnxruntime_int8, "encoder.onnx"),
    "openvino_int8.xml": (make_openvino_int8, "encoder.onnx"),
    "ctranslate2": (make_ctranslate2, None),
    "model": (link_model, None),
}


def make(file, model, folder, calibration):
    if (folder / file).exists():
        return
    maker, first = MAKERS[file]
    if first:
        make(first, model, folder, calibration)
    unfinished = folder / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    if first:
        (unfinished / first).symlink_to(folder / first)
    maker(model, unfinished, calibration)
    for made in sorted(unfinished.iterdir()):
        if made.name != first:
            made.rename(folder / made.name)
    shutil.rmtree(unfinished)


def main():
    engine, model, calibration, folder = sys.argv[1:]
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    make(ENGINES[engine][2], pathlib.Path(model).resolve(), pathlib.Path(folder).resolve(), calibration)


if __name__ == "__main__":
    main()
