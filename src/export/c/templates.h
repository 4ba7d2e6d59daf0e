// Texts of an exported program with @name@ where variables stand.
#pragma once
#include <map>
#include <string>

namespace dyadic::export_c_detail {

using Variables = std::map<std::string, std::string>;

// Every @name@ must be a variable. An @ that begins no name (letters and _) stands for itself.
std::string instantiate(const char* text, const Variables& variables);

extern const char kCHeader[], kCWeightsHeader[];
extern const char kCSourceHead[], kCRun[], kCUseWeights[], kCWeightDeclarations[];
extern const char kCTestProgram[], kCTestVectors[];
extern const char kCMakefile[], kCReadme[], kCReadmeBinary[], kCReadmeArrays[], kCReadmeCall[];

}  // namespace dyadic::export_c_detail
