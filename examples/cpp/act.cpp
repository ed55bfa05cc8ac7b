// Acts from C++ with a file that `worldplan export RUN agent.pt2` wrote; worldplan is not needed.
// Reads an observation a line from standard input, and writes an action a line:
//
//     ./act agent.pt2 [SEED] < observations.txt
//
// See README.md beside this file.
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/torch.h>

// How many numbers a part has, "observation" or "state", in what the file says of itself (JSON).
int64_t size_of(const std::string& part, const std::string& about) {
  const std::string start = "\"" + part + "\": {\"size\": ";
  const auto at = about.find(start);
  if (at == std::string::npos) throw std::runtime_error("expected " + start + " in " + about);
  return std::stol(about.substr(at + start.size()));
}

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "expected FILE.pt2 [SEED]\n";
    return 2;
  }
  c10::InferenceMode guard;
  torch::inductor::AOTIModelPackageLoader decide(argv[1]);
  const std::string about = decide.get_metadata()["worldplan"];
  std::cerr << about << "\n";
  const int64_t width = size_of("observation", about);
  torch::manual_seed(argc > 2 ? std::stol(argv[2]) : 0);

  torch::Tensor state = torch::zeros({1, size_of("state", about)});  // an episode begins with zeros
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream numbers(line);
    std::vector<float> x;
    for (float number; numbers >> number;) x.push_back(number);
    if (static_cast<int64_t>(x.size()) != width) {
      std::cerr << "expected " << width << " numbers, got " << x.size() << ": " << line << "\n";
      return 1;
    }
    torch::Tensor observation = torch::from_blob(x.data(), {1, width}).clone();
    std::vector<torch::Tensor> found = decide.run({observation, state});
    state = found[1];
    torch::Tensor action = found[0].to(torch::kDouble).flatten();
    for (int64_t i = 0; i < action.numel(); ++i) {
      std::cout << (i ? " " : "") << action[i].item<double>();
    }
    std::cout << std::endl;
  }
}
