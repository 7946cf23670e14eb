/* Runs a TVM module of one float32 input: numbers from standard input, the output's numbers to standard output.

site=$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
g++ -std=c++17 run_tvm_module.cc -o run_tvm_module -I $site/tvm_ffi/include \
    -L $site/tvm/lib -L $site/tvm_ffi/lib -Wl,--no-as-needed -ltvm_runtime -ltvm_ffi
LD_LIBRARY_PATH=$site/tvm/lib:$site/tvm_ffi/lib ./run_tvm_module ./module.so 1 3 224 224 < input.raw

Where it runs it needs libtvm_runtime.so (3.4 MB) and libtvm_ffi.so alone; a module that sorts needs -ltvm_runtime_extra
too, which the module.json beside it then lists. */
#include <tvm/ffi/container/tensor.h>
#include <tvm/ffi/extra/module.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

int main(int argc, char** argv) {
  namespace ffi = tvm::ffi;
  std::vector<int64_t> shape;
  for (int i = 2; i < argc; ++i) shape.push_back(std::atoll(argv[i]));

  ffi::Module machine = (*ffi::Module::LoadFromFile(argv[1])->GetFunction("vm_load_executable"))().cast<ffi::Module>();
  (*machine->GetFunction("vm_initialization"))(int{kDLCPU}, 0, 2);  // CPU 0, memory from a pool

  // memory of TVM's own, which is aligned as vector instructions want it
  ffi::Function allocate = ffi::Function::GetGlobalRequired("runtime.TVMTensorAllocWithScope");
  DLDataType float32{kDLFloat, 32, 1};
  ffi::Tensor input = allocate(ffi::Shape(shape), float32, DLDevice{kDLCPU, 0}, nullptr).cast<ffi::Tensor>();
  if (std::fread(input.data_ptr(), sizeof(float), input.numel(), stdin) != size_t(input.numel())) return 1;

  ffi::Tensor output = (*machine->GetFunction("main"))(input).cast<ffi::Tensor>();
  for (int64_t i = 0; i < output.numel(); ++i) std::printf("%.9g\n", static_cast<float*>(output.data_ptr())[i]);
}
