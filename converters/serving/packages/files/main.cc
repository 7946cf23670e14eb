// Runs the engine on the sample, or on files of raw numbers, one for each input, in the order of engine/io.txt:
//
//     run                            checks that the sample gives what it should; exit status 1 where it doesn't
//     run OUT input0.bin input1.bin  writes OUT/output0.bin, OUT/output1.bin, ...
#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>

#include "engine.hpp"

using engine::Tensor;

static const double kTolerance = 1e-3;  // of the largest number: what another processor's order of additions may cost

static std::vector<char> read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("can't read " + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct Described {
  std::string name;
  Tensor like;
};

// Lines of `input NAME DTYPE SIZES...` and the same of outputs.
static std::vector<Described> described(const std::string& folder, const std::string& kind) {
  std::ifstream file(folder + "/engine/io.txt");
  std::vector<Described> found;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string what, type;
    Described each;
    words >> what >> each.name >> type;
    if (what != kind) continue;
    each.like.dtype = engine::dtype(type);
    for (int64_t size; words >> size;) each.like.shape.push_back(size);
    found.push_back(each);
  }
  return found;
}

template <typename T>
static bool close(const Tensor& found, const Tensor& expected) {
  auto* mine = reinterpret_cast<const T*>(found.bytes.data());
  auto* its = reinterpret_cast<const T*>(expected.bytes.data());
  double largest = 0;
  for (int64_t i = 0; i < expected.size(); ++i) {
    if (std::isfinite(its[i])) largest = std::max(largest, std::fabs(static_cast<double>(its[i])));
  }
  for (int64_t i = 0; i < expected.size(); ++i) {
    bool same = mine[i] == its[i] || (std::isnan(mine[i]) && std::isnan(its[i]));
    if (!same && !(std::fabs(static_cast<double>(mine[i]) - its[i]) <= kTolerance * largest)) return false;
  }
  return true;
}

static bool same(const Tensor& found, const Tensor& expected) {
  bool alike = found.shape == expected.shape && found.bytes.size() == expected.bytes.size();
  if (!alike || found.dtype.code != expected.dtype.code || found.dtype.bits != expected.dtype.bits) return false;
  if (found.dtype.code == kDLFloat && found.dtype.bits == 32) return close<float>(found, expected);
  if (found.dtype.code == kDLFloat && found.dtype.bits == 64) return close<double>(found, expected);
  return found.bytes == expected.bytes;
}

int main(int argc, char** argv) try {
  const std::string folder = FOLDER;
  engine::Engine run(folder + "/engine/module.so");
  std::vector<Tensor> inputs;
  int place = 0;
  for (Described& each : described(folder, "input")) {
    if (argc > 1 && argc <= place + 2) throw std::runtime_error("no file for input " + each.name);
    each.like.bytes = read(argc > 1 ? argv[place + 2] : folder + "/sample/input" + std::to_string(place) + ".bin");
    if (each.like.bytes.size() != static_cast<size_t>(each.like.size()) * each.like.dtype.bits / 8) {
      throw std::runtime_error(each.name + " has " + std::to_string(each.like.bytes.size()) + " bytes, which is not its size");
    }
    inputs.push_back(each.like);
    ++place;
  }
  std::vector<Tensor> outputs = run(inputs);
  int wrong = 0;
  place = 0;
  for (Described& each : described(folder, "output")) {
    const std::string file = "/output" + std::to_string(place) + ".bin";
    if (argc > 1) {
      std::ofstream(argv[1] + file, std::ios::binary).write(outputs[place].bytes.data(), outputs[place].bytes.size());
    } else {
      each.like.bytes = read(folder + "/sample" + file);
      bool alike = same(outputs[place], each.like);
      std::cout << each.name << ": " << (alike ? "as expected" : "DIFFERS") << "\n";
      wrong += !alike;
    }
    ++place;
  }
  return wrong ? 1 : 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
