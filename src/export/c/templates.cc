#include "export/c/templates.h"

#include <cctype>

#include "base/status.h"

namespace dyadic::export_c_detail {

std::string instantiate(const char* text, const Variables& variables) {
  std::string result;
  for (const char* p = text; *p; ++p) {
    const char* end = p + 1;
    while (*p == '@' && (std::isalpha(static_cast<unsigned char>(*end)) || *end == '_')) ++end;
    if (*p != '@' || *end != '@' || end == p + 1) {
      result += *p;
      continue;
    }
    const auto variable = variables.find(std::string(p + 1, end));
    DYADIC_CHECK(variable != variables.end(), std::string(p + 1, end));
    result += variable->second;
    p = end;
  }
  return result;
}

const char kCHeader[] = R"(/* A trained network that computes with integers only. Written by `dyadic export c`. */
#ifndef @MACRO@_H
#define @MACRO@_H
#include <stdint.h>
#include <string.h>

/* The longest text, in tokens. Fewer, e.g. -D@MACRO@_MAX_LENGTH=32, need less static memory. */
#ifndef @MACRO@_MAX_LENGTH
#define @MACRO@_MAX_LENGTH @max_length@
#endif
#if @MACRO@_MAX_LENGTH < 1 || @MACRO@_MAX_LENGTH > @max_length@
#error "@MACRO@_MAX_LENGTH must be 1..@max_length@: for longer texts nothing is proved, nor is memory planned"
#endif

/* The elements of a result. */
#define @MACRO@_@OUTPUT@_SIZE @output_size@

enum { @MACRO@_OK = 0, @MACRO@_BAD_LENGTH = 1, @MACRO@_BAD_INPUT = 2, @MACRO@_BAD_WEIGHTS = 3 };
@weights_header@
/* Runs the network on one text of `length` tokens, 1..@MACRO@_MAX_LENGTH. Not for two threads at once: memory is static.
   @input@: `length` integers of @input_lo@..@input_hi@.
   @output@: @output_count@ codes@meaning@.
   Returns @MACRO@_OK, or one of the above with @output@ untouched. */
int @prefix@_run(const @input_type@ *@input@, int32_t length, @output_type@ *@output@);

/* The same, and shows every result of every layer as it is computed: `count` codes of `width` bytes each. */
#define @MACRO@_LAYERS @layers@
typedef void (*@prefix@_tap)(void *context, int layer, int output, const void *codes, int64_t count, int width);
int @prefix@_run_tapped(const @input_type@ *@input@, int32_t length, @output_type@ *@output@, @prefix@_tap tap, void *context);
const char *@prefix@_layer_name(int layer); /* 0 .. @MACRO@_LAYERS - 1 */
int64_t @prefix@_arena_bytes(void);         /* of static memory */

#endif
)";

const char kCWeightsHeader[] = R"(
/* Must be called first, with the contents of @prefix@.bin (little-endian), which must stay where they are. Returns
   @MACRO@_OK or, if size, alignment to 64 bytes, contents or the machine's byte order are wrong, @MACRO@_BAD_WEIGHTS. */
#define @MACRO@_WEIGHT_BYTES @weight_bytes@
int @prefix@_use_weights(const void *bytes, size_t size);
)";

const char kCUseWeights[] = R"(
int @prefix@_use_weights(const void *bytes, size_t size) {
  static const uint16_t one = 1;
  const unsigned char *byte = bytes;
  uint64_t hash = UINT64_C(0xcbf29ce484222325);
  size_t i;
  if (*(const unsigned char *)&one != 1) return @MACRO@_BAD_WEIGHTS; /* a big-endian machine */
  if (size != @MACRO@_WEIGHT_BYTES || (uintptr_t)bytes % 64 != 0) return @MACRO@_BAD_WEIGHTS;
  for (i = 0; i < size; ++i) hash = (hash ^ byte[i]) * UINT64_C(0x100000001b3);
  if (hash != UINT64_C(0x@weight_hash@)) return @MACRO@_BAD_WEIGHTS;
  weights = bytes;
  return @MACRO@_OK;
}
)";

const char kCSourceHead[] =
    R"(/* A trained network that computes with integers only: see @prefix@.h. Written by `dyadic export c`. */
@include@ "@prefix@.h"

)";

const char kCWeightDeclarations[] = R"(/* The constants of the layers. */
#ifndef @MACRO@_WEIGHTS_H
#define @MACRO@_WEIGHTS_H
#include <stdint.h>

)";

const char kCRun[] = R"(static const struct {
  void (*run)(char *arena, int64_t length);
  int first_output, outputs;
} layers[@MACRO@_LAYERS] = {
@layer_rows@};

static const struct {
  int at, width; /* in the arena; bytes of a code */
  int64_t per_text, per_token;
} outputs[] = {
@output_rows@};

static const char *const names[@MACRO@_LAYERS] = {
@name_rows@};

/* ------------------------------ what callers see */
@use_weights@
int @prefix@_run_tapped(const @input_type@ *@input@, int32_t length, @output_type@ *@output@, @prefix@_tap tap, void *context) {
  char *const arena = storage + (64 - (uintptr_t)storage % 64) % 64;
  int64_t i;
  int layer, o;
@weights_check@  if (length < 1 || length > @MACRO@_MAX_LENGTH) return @MACRO@_BAD_LENGTH;
  for (i = 0; i < length; ++i)
    if (@input@[i] < @input_lo@ || @input@[i] > @input_hi@) return @MACRO@_BAD_INPUT;
@copies@  for (layer = 0; layer < @MACRO@_LAYERS; ++layer) {
    /* A later layer uses memory again for other types. Read like this, the function cannot be merged with an earlier. */
    void (*volatile run)(char *, int64_t) = layers[layer].run;
    run(arena, length);
    for (o = 0; tap && o < layers[layer].outputs; ++o) {
      const int k = layers[layer].first_output + o;
      tap(context, layer, o, arena + outputs[k].at, outputs[k].per_text + outputs[k].per_token * length, outputs[k].width);
    }
  }
@results@  return @MACRO@_OK;
}

int @prefix@_run(const @input_type@ *@input@, int32_t length, @output_type@ *@output@) {
  return @prefix@_run_tapped(@input@, length, @output@, 0, 0);
}

const char *@prefix@_layer_name(int layer) { return names[layer]; }

int64_t @prefix@_arena_bytes(void) { return ARENA_BYTES; }
)";

const char kCTestProgram[] = R"(/* Runs the network on the texts of test_vectors.h and compares every layer.
   usage: ./test_@prefix@ [--time N]   N more runs of the first text, timed */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

@include@ "@prefix@.h"
@include@ "test_vectors.h"

#define MAX_OUTPUTS @max_outputs@
#define FNV_BASIS UINT64_C(0xcbf29ce484222325)

static uint64_t hashes[@MACRO@_LAYERS][MAX_OUTPUTS];

static uint64_t hash_byte(uint64_t hash, unsigned byte) { return (hash ^ byte) * UINT64_C(0x100000001b3); }

static void hash_number(uint64_t *hash, uint64_t number, int bytes) { /* little-endian */
  int b;
  for (b = 0; b < bytes; ++b) *hash = hash_byte(*hash, (unsigned)(number >> (8 * b)) & 255u);
}

static void hash_codes(void *context, int layer, int output, const void *codes, int64_t count, int width) {
  int64_t i;
  (void)context;
  for (i = 0; i < count; ++i) {
    uint64_t number;
    switch (width) {
      case 1: number = ((const uint8_t *)codes)[i]; break;
      case 2: number = ((const uint16_t *)codes)[i]; break;
      case 4: number = ((const uint32_t *)codes)[i]; break;
      default: number = ((const uint64_t *)codes)[i]; break;
    }
    hash_number(&hashes[layer][output], number, width);
  }
}

/* A layer's hash is that of its outputs' hashes, one after the other. */
static uint64_t layer_hash(int layer) {
  static const int outputs[@MACRO@_LAYERS] = {@output_counts@};
  uint64_t hash = FNV_BASIS;
  int o;
  for (o = 0; o < outputs[layer]; ++o) hash_number(&hash, hashes[layer][o], 8);
  return hash;
}

#ifdef @MACRO@_WEIGHT_BYTES
static int load_weights(void) {
  char *memory = malloc(@MACRO@_WEIGHT_BYTES + 64);
  FILE *file = fopen("@prefix@.bin", "rb");
  if (!memory || !file) return @MACRO@_BAD_WEIGHTS;
  memory += (64 - (uintptr_t)memory % 64) % 64;
  if (fread(memory, 1, @MACRO@_WEIGHT_BYTES, file) != @MACRO@_WEIGHT_BYTES) return @MACRO@_BAD_WEIGHTS;
  fclose(file);
  return @prefix@_use_weights(memory, @MACRO@_WEIGHT_BYTES);
}
#endif

int main(int argc, char **argv) {
  static @output_type@ result[@MACRO@_@OUTPUT@_SIZE];
  const @input_type@ *text = texts;
  const @output_type@ *wanted = expected;
  int t, layer, skipped = 0, wrong = 0;
#ifdef @MACRO@_WEIGHT_BYTES
  if (load_weights() != @MACRO@_OK) {
    fprintf(stderr, "@prefix@.bin: missing, or not the weights of this program\n");
    return 1;
  }
#endif
  memset(result, 0, sizeof result);
  for (layer = 0; layer < @MACRO@_LAYERS; ++layer)
    for (t = 0; t < MAX_OUTPUTS; ++t) hashes[layer][t] = FNV_BASIS;
  for (t = 0; t < TEXTS; ++t) {
    const int64_t size = @expected_size@;
    int64_t i = 0;
    if (lengths[t] > @MACRO@_MAX_LENGTH) {
      ++skipped;
    } else {
      const int code = @prefix@_run_tapped(text, lengths[t], result, hash_codes, 0);
      while (i < size && code == @MACRO@_OK && result[i] == wanted[i]) ++i;
      if (i < size) {
        printf("text %d (%d tokens): returned %d, element %d is %ld, expected %ld\n", t, (int)lengths[t], code, (int)i,
               (long)result[i], (long)wanted[i]);
        ++wrong;
      }
    }
    text += lengths[t];
    wanted += size;
  }
  if (skipped) printf("SKIPPED: %d texts longer than %d tokens, and so the layers' hashes\n", skipped, @MACRO@_MAX_LENGTH);
  for (layer = 0; layer < @MACRO@_LAYERS && !skipped; ++layer) {
    const uint64_t hash = layer_hash(layer);
    if (hash == layer_hashes[layer]) continue;
    printf("layer %s: hash %08lx%08lx is not the model's\n", @prefix@_layer_name(layer), (unsigned long)(hash >> 32),
           (unsigned long)(hash & 0xffffffffu));
    ++wrong;
    break;
  }
  printf("%d texts, %d layers, %ld bytes of static memory: %s\n", TEXTS - skipped, @MACRO@_LAYERS,
         (long)@prefix@_arena_bytes(), wrong ? "WRONG" : "all equal in every bit");
  if (argc == 3 && strcmp(argv[1], "--time") == 0 && lengths[0] <= @MACRO@_MAX_LENGTH) {
    const long runs = atol(argv[2]);
    const clock_t begin = clock();
    long n;
    for (n = 0; n < runs; ++n) @prefix@_run(texts, lengths[0], result);
    printf("%ld microseconds for the first text, %d tokens\n",
           (long)((clock() - begin) * (1000000 / CLOCKS_PER_SEC) / (runs > 0 ? runs : 1)), (int)lengths[0]);
  }
  return wrong != 0;
}
)";

const char kCTestVectors[] = R"(/* Texts, and what the network must give for them. */
#include <stdint.h>

#define TEXTS @texts@
static const int32_t lengths[TEXTS] = {
@lengths@};
static const @input_type@ texts[@token_count@] = {
@tokens@};
static const @output_type@ expected[@expected_count@] = {
@expected@};
/* Of every layer, over all texts: 64-bit FNV-1a, as `dyadic verify` prints them. */
static const uint64_t layer_hashes[@MACRO@_LAYERS] = {
@hashes@};
)";

const char kCMakefile[] =
    R"(# make test: builds the network and checks it against its test vectors. CC and CFLAGS may be given, and RUN, which runs
# programs of another machine.
CC ?= cc
CFLAGS ?= -O3
STRICT = -std=c99 -Wall -Wextra -Wpedantic -Werror

test: test_@prefix@
	$(RUN) ./test_@prefix@

test_@prefix@: test.o @objects@
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

test.o: test.c test_vectors.h @prefix@.h
@objects@: @prefix@.h @weights_header_file@
%.o: %.c
	$(CC) $(STRICT) $(CFLAGS) -c -o $@ $<

clean:
	rm -f test_@prefix@ test.o @objects@
.PHONY: test clean
)";

const char kCReadme[] = R"(@prefix@: a trained network in C99, integers only
Written by `dyadic export c`. The folder is replaced as a whole when the model is exported again.

Compile @sources@ into your program; nothing but <stdint.h> and <string.h> is needed, no float, no heap.
@weights_text@
    @include@ "@prefix@.h"

    static @input_type@ @input@[] = {@example_tokens@};
    static @output_type@ @output@[@MACRO@_@OUTPUT@_SIZE];
@weights_call@    if (@prefix@_run(@input@, @example_length@, @output@) != @MACRO@_OK) ...

@input@ holds the token ids of one text, as the model's tokenizer gives them, special tokens included: at most
@max_length@, or fewer if everything is compiled with -D@MACRO@_MAX_LENGTH=N. @output@ gets @output_count@ codes@meaning@.

Static memory: @arena_bytes@ bytes for texts of up to @max_length@ tokens. It belongs to one call at a time.

    make test              builds everything and compares @texts@ texts, layer by layer, with the model
    make test CC=clang CFLAGS="-O3 -march=native"
    ./test_@prefix@ --time 100

The results are the same bits with any compiler, flags and machine. Optimisation matters for speed: -O3 -march=native
lets the compiler use vector instructions.
)";

const char kCReadmeBinary[] =
    R"(The weights are @prefix@.bin, @weight_bytes@ bytes, little-endian. Map it, read it into memory that is aligned to 64 bytes,
or link it, e.g. with the assembler: .section .rodata; .balign 64; .global w; w: .incbin "@prefix@.bin"
)";

const char kCReadmeCall[] = R"(    if (@prefix@_use_weights(w, @MACRO@_WEIGHT_BYTES) != @MACRO@_OK) ...
)";

const char kCReadmeArrays[] = R"(The weights are the arrays of @prefix@_weights.c.
)";

}  // namespace dyadic::export_c_detail
