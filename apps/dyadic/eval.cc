#include <fmt/format.h>

#include "api/evaluate.h"
#include "base/status.h"
#include "commands.h"

namespace dyadic::cli {
namespace {

Json to_json(const Evaluation& r) {
  Json json = {{"task", r.task}, {"count", r.count}, {"metric", Json::object()}};
  if (r.spearman) json["metric"] = {{"spearman", *r.spearman}, {"pearson", *r.pearson}};
  if (r.reference_spearman)
    json["reference_metric"] = {{"spearman", *r.reference_spearman}, {"pearson", *r.reference_pearson}};
  if (r.pairs_spearman) json["metric"] = {{"pairs_spearman", *r.pairs_spearman}, {"retrieval_agreement", *r.retrieval}};
  if (r.cosine)
    json["cosine"] = {
        {"mean", r.cosine->mean}, {"p01", r.cosine->p01}, {"min", r.cosine->min}, {"count", r.cosine->count}};
  json["texts_cut"] = r.texts.cut;
  json["texts_per_second"] = r.texts_per_second;
  return json;
}

int eval(EvaluateRequest request, const std::string& columns, const Common& common) {
  if (request.task == "sts" && (!columns.empty() || request.sample || request.concatenate))
    fail(ErrorKind::kUsage, "--columns, --sample and --concatenate belong to --task cosine");
  if (!columns.empty()) request.columns = parse_numbers(columns, "--columns");
  request.encoder.session.threads = common.threads;
  request.seed = common.seed;
  const Evaluation r = evaluate_model(request);
  warn_of_cut_texts(r.texts);
  if (common.json) {
    fmt::print("{}\n", to_json(r).dump());
    return 0;
  }
  fmt::print("{}: {}\n", r.task, counted(r.count, r.task == "sts" ? "pair" : "text"));
  if (r.spearman) fmt::print("Spearman {}  Pearson {}\n", score_text(*r.spearman), score_text(*r.pearson));
  if (r.reference_spearman)
    fmt::print("reference: Spearman {}  Pearson {}  (difference {}, {})\n", score_text(*r.reference_spearman),
               score_text(*r.reference_pearson), difference_text(*r.spearman - *r.reference_spearman),
               difference_text(*r.pearson - *r.reference_pearson));
  if (r.cosine)
    fmt::print("cosine to the reference over {}: mean {:.5f}  1st percentile {:.5f}  minimum {:.5f}\n",
               counted(r.cosine->count, "text"), r.cosine->mean, r.cosine->p01, r.cosine->min);
  if (r.pairs_spearman)
    fmt::print("all pairs: Spearman {}; same nearest text for {:.1f} %\n", score_text(*r.pairs_spearman),
               100 * *r.retrieval);
  else if (r.task == "cosine")
    fmt::print("all pairs: not compared, as there are {}\n",
               r.texts.count < 3 ? "too few" : fmt::format("more than {} texts (--sample draws some)", kMostCompared));
  fmt::print("{:.1f} texts/s\n", r.texts_per_second);
  return 0;
}

}  // namespace

Action add_eval(CLI::App& app) {
  auto request = std::make_shared<EvaluateRequest>();
  auto columns = std::make_shared<std::string>();
  app.add_option("MODEL", request->model, "A .dyad file or a model folder")->required();
  app.add_option("--task", request->task, "sts: pairs with scores (TSV, fields 5-7); cosine: any text file")
      ->check(CLI::IsMember({"sts", "cosine"}))
      ->capture_default_str();
  app.add_option("--data", request->data, "The data, plain or .zst")->required();
  app.add_option("--columns", *columns, "Task cosine: columns of a .tsv that hold text, e.g. 6,7");
  app.add_option("--sample", request->sample, "Task cosine: at most this many texts, drawn by --seed; 0: all")
      ->check(whole_number(0, 10000000))
      ->capture_default_str();
  app.add_option("--concatenate", request->concatenate,
                 "Task cosine: join drawn texts until each has this many tokens, cut there; not with --max-length")
      ->check(whole_number(0, 100000))
      ->capture_default_str();
  app.add_option("--reference", request->reference, "Compare embeddings with this model's (usually the float folder)");
  app.add_option("--max-length", request->encoder.max_length, "Tokens a text is cut to; 0: the model's own")
      ->check(whole_number(0, 1000000))
      ->capture_default_str();
  set_help(app,
           "Task sts: the correlation of cosine similarities with people's scores. Task cosine: how close embeddings "
           "are to\n"
           "the reference's and, of 3 to 4000 texts, how alike both order all pairs and how often the nearest text\n"
           "is the same. A text that comes twice counts once.\n"
           "JSON: {\"task\", \"count\", \"metric\": {\"spearman\", \"pearson\"} or {\"pairs_spearman\",\n"
           "\"retrieval_agreement\"}, \"reference_metric\", \"cosine\": {\"mean\", \"p01\", \"min\", \"count\"},\n"
           "\"texts_cut\", \"texts_per_second\"}. stderr says how many texts were cut.",
           {"dyadic eval minilm.dyad --task sts --data sts-dev.tsv --reference all-MiniLM-L6-v2",
            "dyadic eval minilm.dyad --task cosine --data sentences.txt --reference all-MiniLM-L6-v2 --json"});
  return [request, columns](const Common& common) { return eval(*request, *columns, common); };
}

}  // namespace dyadic::cli
