// Runs the TVM module in engine/ through the C interface of its runtime: no other library of TVM, and no Python.
#pragma once

#include <tvm/ffi/c_api.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace engine {

// A tensor in ordinary memory, rows first. `bytes` holds its elements.
struct Tensor {
  DLDataType dtype;
  std::vector<int64_t> shape;
  std::vector<char> bytes;

  int64_t size() const {
    int64_t count = 1;
    for (int64_t each : shape) count *= each;
    return count;
  }
};

// "float32", "int64", "bool", as numpy names them.
inline DLDataType dtype(const std::string& name) {
  static const std::map<std::string, DLDataType> known = {
      {"float16", {kDLFloat, 16, 1}}, {"float32", {kDLFloat, 32, 1}}, {"float64", {kDLFloat, 64, 1}},
      {"int8", {kDLInt, 8, 1}},       {"int16", {kDLInt, 16, 1}},     {"int32", {kDLInt, 32, 1}},
      {"int64", {kDLInt, 64, 1}},     {"uint8", {kDLUInt, 8, 1}},     {"uint16", {kDLUInt, 16, 1}},
      {"uint32", {kDLUInt, 32, 1}},   {"uint64", {kDLUInt, 64, 1}},   {"bool", {kDLBool, 8, 1}}};
  auto found = known.find(name);
  if (found == known.end()) throw std::runtime_error("no type " + name);
  return found->second;
}

// A value of the runtime; one that is an object is let go with it.
class Value {
 public:
  Value() { any_.type_index = kTVMFFINone; any_.zero_padding = 0; any_.v_int64 = 0; }
  Value(Value&& other) noexcept : Value() { std::swap(any_, other.any_); }
  Value& operator=(Value&& other) noexcept { std::swap(any_, other.any_); return *this; }
  Value(const Value&) = delete;
  ~Value() { if (is_object()) TVMFFIObjectDecRef(any_.v_obj); }

  bool is_object() const { return any_.type_index >= kTVMFFIStaticObjectBegin; }
  TVMFFIAny* any() { return &any_; }
  const TVMFFIAny& view() const { return any_; }

 private:
  TVMFFIAny any_;
};

inline void check(int status) {
  if (status == 0) return;
  TVMFFIObjectHandle raised = nullptr;
  TVMFFIErrorMoveFromRaised(&raised);
  std::string said = "TVM's runtime failed";
  if (raised) {
    auto* cell = reinterpret_cast<TVMFFIErrorCell*>(static_cast<char*>(raised) + sizeof(TVMFFIObject));
    said.assign(cell->message.data, cell->message.size);
    TVMFFIObjectDecRef(raised);
  }
  throw std::runtime_error(said);
}

inline TVMFFIAny packed(int32_t kind, int64_t bits) {
  TVMFFIAny value;
  value.type_index = kind;
  value.zero_padding = 0;
  value.v_int64 = bits;
  return value;
}
inline TVMFFIAny packed(int64_t number) { return packed(kTVMFFIInt, number); }
inline TVMFFIAny packed(const char* text) { return packed(kTVMFFIRawStr, reinterpret_cast<int64_t>(text)); }
inline TVMFFIAny packed(const Value& value) { return value.view(); }

inline Value call(TVMFFIObjectHandle function, std::vector<TVMFFIAny> arguments) {
  Value result;
  check(TVMFFIFunctionCall(function, arguments.data(), static_cast<int32_t>(arguments.size()), result.any()));
  return result;
}

inline TVMFFIObjectHandle global(const std::string& name) {
  TVMFFIByteArray text{name.data(), name.size()};
  TVMFFIObjectHandle found = nullptr;
  check(TVMFFIFunctionGetGlobal(&text, &found));
  if (!found) throw std::runtime_error("the libraries have no " + name + ": they are of another version");
  return found;
}

// One thread at a time may call it. TVM_NUM_THREADS bounds the threads of its kernels.
class Engine {
 public:
  explicit Engine(const std::string& module)
      : allocate_(global("runtime.TVMTensorAllocWithScope")), fill_(global("runtime.TVMTensorCopyFromBytes")),
        shape_(global("ffi.Shape")), size_(global("ffi.ArraySize")), item_(global("ffi.ArrayGetItem")),
        of_(global("ffi.ModuleGetFunction")) {
    Value loaded = call(global("ffi.ModuleLoadFromFile"), {packed(module.c_str())});
    machine_ = call(function(loaded, "vm_load_executable").view().v_obj, {});
    // on the CPU, the first of them, with a pool of memory
    call(function(machine_, "vm_initialization").view().v_obj, {packed(int64_t{1}), packed(int64_t{0}), packed(int64_t{2})});
    main_ = function(machine_, "main");
  }

  // Inputs and outputs in the order of engine/io.txt. Throws std::runtime_error for what doesn't fit.
  std::vector<Tensor> operator()(const std::vector<Tensor>& inputs) {
    std::vector<Value> held;
    std::vector<TVMFFIAny> arguments;
    for (const Tensor& input : inputs) held.push_back(given(input));
    for (const Value& each : held) arguments.push_back(packed(each));
    Value result = call(main_.view().v_obj, arguments);
    std::vector<Tensor> outputs;
    if (result.view().type_index != kTVMFFIArray) {
      outputs.push_back(taken(result));
      return outputs;
    }
    int64_t count = call(size_, {packed(result)}).view().v_int64;
    for (int64_t place = 0; place < count; ++place) outputs.push_back(taken(call(item_, {packed(result), packed(place)})));
    return outputs;
  }

 private:
  Value function(const Value& module, const char* name) {
    Value found = call(of_, {packed(module), packed(name), packed(kTVMFFIBool, 0)});
    if (!found.is_object()) throw std::runtime_error(std::string("the module has no ") + name);
    return found;
  }

  // A copy in memory of TVM's own, which is aligned as vector instructions want it.
  Value given(const Tensor& input) {
    std::vector<TVMFFIAny> sizes;
    for (int64_t each : input.shape) sizes.push_back(packed(each));
    Value shape = call(shape_, sizes);
    TVMFFIAny type = packed(kTVMFFIDataType, 0), device = packed(kTVMFFIDevice, 0);
    type.v_dtype = input.dtype;
    device.v_device = DLDevice{kDLCPU, 0};
    Value tensor = call(allocate_, {packed(shape), type, device, packed(kTVMFFINone, 0)});
    call(fill_, {packed(tensor), packed(kTVMFFIOpaquePtr, reinterpret_cast<int64_t>(input.bytes.data())),
                 packed(static_cast<int64_t>(input.bytes.size()))});
    return tensor;
  }

  // A tensor, or a shape, which is a vector of int64.
  static Tensor taken(const Value& value) {
    char* content = reinterpret_cast<char*>(value.view().v_obj) + sizeof(TVMFFIObject);
    Tensor found;
    if (value.view().type_index == kTVMFFIShape) {
      auto* cell = reinterpret_cast<TVMFFIShapeCell*>(content);
      found.dtype = DLDataType{kDLInt, 64, 1};
      found.shape = {static_cast<int64_t>(cell->size)};
      found.bytes.resize(cell->size * sizeof(int64_t));
      if (cell->size) std::memcpy(found.bytes.data(), cell->data, found.bytes.size());
      return found;
    }
    auto* tensor = reinterpret_cast<DLTensor*>(content);
    found.dtype = tensor->dtype;
    found.shape.assign(tensor->shape, tensor->shape + tensor->ndim);
    found.bytes.resize(static_cast<size_t>(found.size()) * tensor->dtype.bits / 8);
    if (!found.bytes.empty()) {
      std::memcpy(found.bytes.data(), static_cast<char*>(tensor->data) + tensor->byte_offset, found.bytes.size());
    }
    return found;
  }

  TVMFFIObjectHandle allocate_, fill_, shape_, size_, item_, of_;
  Value machine_, main_;
};

}  // namespace engine
