// Model folders as Hugging Face and sentence-transformers write them: config.json, model.safetensors (sharded or not),
// tokenizer files, and modules.json with pooling and normalisation.
#pragma once
#include <map>
#include <string>

#include "graph/graph.h"
#include "graph/model.h"

namespace dyadic {

struct ImportedModel {
  // Real dialect. Inputs token, position, type i32[T], start, length i32[B]; output "embedding" f32[B, hidden_size].
  Graph graph;
  Symbols symbols;                       // T tokens, B texts, L: the longest text
  std::map<std::string, Tensor> assets;  // u8: the tokenizer's and the configuration's files, by path in the folder
  std::map<std::string, std::string> metadata;
  int64_t max_length = 0;     // tokens a text is cut to (sentence_bert_config.json), special tokens included
  int64_t max_positions = 0;  // tokens a text may have at most
  int64_t vocabulary = 0;     // rows of the token table
  bool normalize = false;     // the embedding has length 1
  std::string pooling;        // "mean"
};

// True for a folder with a config.json or a modules.json: import_huggingface() is the one to read it.
bool looks_like_huggingface(const std::string& dir);
// kMalformed or kFailed where import_huggingface() would find no model folder to read.
void require_huggingface(const std::string& dir);

// Reads an encoder whose model_type is "bert". Every tensor is checked against config.json before the graph is built.
// kMalformed, naming file and key (or tensor and index), for whatever is missing, contradictory, not finite or not
// supported; files are read only if they lie in the folder, links resolved.
ImportedModel import_huggingface(const std::string& dir);

}  // namespace dyadic
