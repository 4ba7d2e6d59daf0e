#include "real/onednn.h"

#include <pthread.h>

#include <csignal>
#include <oneapi/dnnl/dnnl.hpp>

#include "base/status.h"

// Of the OpenMP run-time library that oneDNN is linked with. Only these two calls are needed, so nothing here is
// compiled with OpenMP; the number of threads they get and set is the calling thread's own.
extern "C" int omp_get_max_threads(void);
extern "C" void omp_set_num_threads(int);

namespace dyadic {
namespace {

// One thread, and no signals: oneDNN's matrix products keep their stack pointer in memory of the heap for a while,
// where the frame of a signal handler (2.7 kB with AVX-512) would write over what lies there. Signals wait till the
// call ends.
class CallScope {
 public:
  CallScope() : threads_before_(omp_get_max_threads()) {
    sigset_t waiting;
    sigfillset(&waiting);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) sigdelset(&waiting, fault);
    pthread_sigmask(SIG_BLOCK, &waiting, &signals_before_);
    omp_set_num_threads(1);
  }
  ~CallScope() {
    omp_set_num_threads(threads_before_);
    pthread_sigmask(SIG_SETMASK, &signals_before_, nullptr);
  }
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

 private:
  int threads_before_;
  sigset_t signals_before_;
};

// Runs a primitive whose only arguments are a source and a destination of one layout. oneDNN caches primitives by
// their description: making one again costs about a microsecond.
template <class Primitive, class Description>
void run_primitive(const Description& description, const dnnl::memory::desc& layout, const float* x, float* y) {
  const CallScope scope;
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  thread_local dnnl::stream stream(engine);
  const Primitive primitive(typename Primitive::primitive_desc(description, engine));
  dnnl::memory source(layout, engine, const_cast<float*>(x)), destination(layout, engine, y);
  primitive.execute(stream, {{DNNL_ARG_SRC, source}, {DNNL_ARG_DST, destination}});
  stream.wait();
}

}  // namespace

void OneDnn::sgemm(int64_t m, int64_t n, int64_t k, float alpha, ConstMatrix x, ConstMatrix w, bool transposed,
                   float beta, Matrix y) {
  if (m == 0 || n == 0) return;
  const CallScope scope;
  const auto status = dnnl_sgemm('N', transposed ? 'T' : 'N', m, n, k, alpha, x.data, x.stride, w.data, w.stride, beta,
                                 y.data, y.stride);
  if (status != dnnl_success) fail(ErrorKind::kFailed, "dnnl_sgemm failed with status ", static_cast<int>(status));
}

void OneDnn::activate(Activation f, const float* x, float* y, int64_t count) {
  if (count == 0) return;
  constexpr dnnl::algorithm kAlgorithms[] = {dnnl::algorithm::eltwise_gelu_erf, dnnl::algorithm::eltwise_gelu_tanh,
                                             dnnl::algorithm::eltwise_tanh, dnnl::algorithm::eltwise_logistic};
  const dnnl::memory::desc layout({count}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::a);
  run_primitive<dnnl::eltwise_forward>(
      dnnl::eltwise_forward::desc(dnnl::prop_kind::forward_inference, kAlgorithms[static_cast<int>(f)], layout), layout,
      x, y);
}

void OneDnn::softmax_rows(float* x, int64_t rows, int64_t columns) {
  if (rows == 0 || columns == 0) return;
  const dnnl::memory::desc layout({rows, columns}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::ab);
  run_primitive<dnnl::softmax_forward>(
      dnnl::softmax_forward::desc(dnnl::prop_kind::forward_inference, layout, /*softmax_axis=*/1), layout, x, x);
}

}  // namespace dyadic
